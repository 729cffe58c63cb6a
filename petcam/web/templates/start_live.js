(() => {
{{ asset('explorer.js') }}
{{ asset('live.js') }}
for (const root of document.querySelectorAll('.px-live')) openLive(root);
})();
