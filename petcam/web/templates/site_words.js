(() => {
{{ asset('language.js') }}
const tr = translator({{ table }});
for (const part of document.querySelectorAll('.px, .pc-exercise, .pc-exercise-progress, .pc-diagram, .check')) bilingual(part, tr)('zh');
})();
