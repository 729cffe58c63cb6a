// The link to the other language leads to the section that is being read: both have the same ids.
addEventListener('click', event => {
    const link = event.target.closest?.('a.pc-language');
    if (!link || link.hash) return;
    const places = [...document.querySelectorAll('main section section[id], main dt[id]')];
    const above = places.filter(place => place.getBoundingClientRect().top < innerHeight/3);
    if (above.length) link.hash = above.at(-1).id;
}, true);
// coming back to a page that the browser has kept
addEventListener('pageshow', () => {
    for (const link of document.querySelectorAll('a.pc-language[data-page]')) link.href = link.dataset.page;
});
