(() => {
{{ asset('language.js') }}
const tr = translator({{ table }});
for (const part of document.querySelectorAll('.px, .pc-exercise, .pc-exercise-progress')) bilingual(part, tr)('zh');
})();
