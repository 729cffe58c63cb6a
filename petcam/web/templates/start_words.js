(() => {
{{ asset('language.js') }}
document.querySelectorAll('.px-table').forEach(openWords);
})();
