// The link to the other language leads to the section that is being read: both have the same ids.
document.addEventListener('click', event => {
    const link = event.target.closest?.('a.pc-language');
    if (!link) return;
    const page = link.dataset.page ??= link.getAttribute('href');   // kept for one who comes back
    if (page.includes('#')) return;
    const places = [...document.querySelectorAll('main section section[id], main dt[id]')];
    const above = places.filter(place => place.getBoundingClientRect().top < window.innerHeight/3);
    link.href = page + (above.length ? `#${above.at(-1).id}` : '');
}, true);
