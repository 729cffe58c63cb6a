"""The site and what its tests ask of pages in either language: links, headings, widths, colours, accessibility."""
import fcntl, os, subprocess, sys
from contextlib import suppress
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from urllib.parse import unquote, urlsplit
import pytest
from axe import violations

ROOT = Path(__file__).parents[1]
SITE = ROOT/'build'/'site'

class Page(HTMLParser):
    "What a page links to, loads and names"
    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.loads, self.ids, self.images = path, [], [], set(), []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if 'id' in a: self.ids.add(a['id'])
        if tag == 'a' and 'href' in a: self.links.append(a['href'])
        if tag in ('script', 'img', 'iframe') and 'src' in a: self.loads.append(a['src'])
        if tag == 'link' and a.get('rel') in ('stylesheet', 'icon', 'preload', 'shortcut icon'): self.loads.append(a['href'])
        if tag == 'img': self.images.append(a)

def built():
    "All pages of the site, which the first of several processes builds: {path: Page}"
    if not find_spec('sphinx') or not find_spec('ziamath'): pytest.skip("Sphinx is not installed: pip install -e '.[docs]', or `make docs`")
    run, mark = os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid())), SITE.with_suffix('.run')
    SITE.parent.mkdir(exist_ok=True)
    with open(SITE.with_suffix('.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != run:
            done = subprocess.run([sys.executable, str(ROOT/'tools'/'docs.py')], capture_output=True, text=True)
            assert not done.returncode, done.stdout + done.stderr
            mark.write_text(run)
    return {p.relative_to(SITE).as_posix(): Page(p) for p in sorted(SITE.rglob('*.html'))}

def dead_links(pages, site):
    "What pages link to or load and is not there; anchors, too"
    dead = []
    for name, page in pages.items():
        for link in page.links + page.loads:
            at = urlsplit(link)
            if at.scheme in ('http', 'https', 'data', 'mailto'): continue
            target = (page.path.parent/unquote(at.path)).resolve() if at.path else page.path
            there = site.get(target.relative_to(SITE).as_posix()) if target.is_relative_to(SITE) else None
            if not target.exists() or at.fragment and there and there.path.name != 'photo.html' and unquote(at.fragment) not in there.ids: dead.append(f'{name}: {link}')
    return dead

def address(name): return f'file://{SITE/name}'

def hold_still(tab):
    "Nothing moves; a style that the policy of the page for photographs lets through"
    tab.evaluate('''() => { const s = new CSSStyleSheet(); s.replaceSync('* {transition: none !important; animation: none !important}'); document.adoptedStyleSheets.push(s); }''')

# text whose colour is too near to that of what it stands on (WCAG: 4.5, or 3 for large letters)
PALE = '''() => {
  const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const read = s => { c.clearRect(0, 0, 1, 1); c.fillStyle = s; c.fillRect(0, 0, 1, 1); const d = c.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3]/255]; };
  const colours = {}, rgba = s => (colours[s] ||= read(s)).slice();
  const over = (a, b) => [0, 1, 2].map(i => a[i]*a[3] + b[i]*(1 - a[3])).concat(1);
  const light = v => v.slice(0, 3).map(x => (x /= 255) <= .04045 ? x/12.92 : ((x + .055)/1.055)**2.4).reduce((s, x, i) => s + x*[.2126, .7152, .0722][i], 0);
  const known = new Map(), under = e => { // the colour below, and how much of a text is seen
    if (!e) return [[255, 255, 255, 1], 1];
    if (!known.has(e)) { const s = getComputedStyle(e), [b, seen] = under(e.parentElement); known.set(e, [over(rgba(s.backgroundColor), b), seen*s.opacity]); }
    return known.get(e);
  };
  const seen = new Map(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || e.closest('script,style,noscript,.pc-said,canvas,[aria-hidden=true]')) continue;
    if (!e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    const s = getComputedStyle(e), size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && +s.fontWeight >= 700;
    const [b, part] = under(e), ink = rgba(s.color);
    ink[3] *= part;
    const [x, y] = [light(over(ink, b)), light(b)].sort((p, q) => q - p), ratio = (x + .05)/(y + .05);
    if (ratio < (large ? 3 : 4.5)) seen.set(`${ratio.toFixed(2)} ${e.tagName}.${e.className}: ${text.slice(0, 30)}`.slice(0, 120), 1);
  }
  return [...seen.keys()].slice(0, 5);
}'''

HEADINGS = "() => [...document.querySelectorAll('main :is(h1, h2, h3, h4, h5, h6)')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])"

def unreadable(tab, pages):
    "Headings that skip a level, pages wider than the window, pale letters; in light and dark, wide and narrow"
    found = []
    for name in pages:
        tab.set_viewport_size(dict(width=1400, height=900))
        tab.goto(address(name))
        hold_still(tab)
        levels = tab.evaluate(HEADINGS)
        if levels[:1] != [1] or 1 in levels[1:] or any(b > a + 1 for a, b in zip(levels, levels[1:])): found.append(f'{name}: headings {levels}')
        for theme, width in product(('light', 'dark'), (1400, 390)):
            tab.evaluate('theme => document.documentElement.dataset.theme = theme', theme)
            tab.set_viewport_size(dict(width=width, height=900))
            wide = tab.evaluate('document.documentElement.scrollWidth')
            if wide > width: found.append(f'{name}, {theme}, at {width} px: {wide} px wide')
            found += [f'{name}, {theme}, at {width} px: {o}' for o in tab.evaluate(PALE)]
    return found

REACHED = "() => [...document.querySelectorAll('pre')].every(o => o.scrollWidth <= o.clientWidth || o.tabIndex >= 0)"

def serious(tab, names):
    "Folded parts are opened; what a narrow or a dark page may change is tried again there. Around the article all pages are alike"
    from playwright.sync_api import TimeoutError
    found, within = [], 'html'
    for name in names:
        tab.set_viewport_size(dict(width=1400, height=900))
        tab.goto(address(name))
        hold_still(tab)
        tab.evaluate("document.documentElement.dataset.theme = 'light'; document.querySelectorAll('details').forEach(o => o.open = true)")
        found += [f'{name}: {o}' for o in violations(tab, within=within)]
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        tab.set_viewport_size(dict(width=390, height=900))
        tab.wait_for_timeout(400)
        with suppress(TimeoutError): tab.wait_for_function(REACHED, timeout=5000)    # the theme looks later, how much so on a busy machine, which parts can be scrolled
        found += [f'{name}, dark, narrow: {o}' for o in violations(tab, 'color-contrast', 'scrollable-region-focusable', within=within)]
        within = 'main'
    return found
