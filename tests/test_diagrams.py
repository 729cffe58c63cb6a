"Promises of web.diagrams: valid SVG, no text outside it, colours that can be read, links that lead to the lessons."
import json, re
from pathlib import Path
import xml.etree.ElementTree as ET
import pytest
from petcam.web import diagrams

NBS = Path(__file__).parents[1]/'nbs'
NAMES = [name for name in diagrams.__all__ if name != 'Diagram']
SVG = '{http://www.w3.org/2000/svg}'

def drawn(name): return str(getattr(diagrams, name)())

@pytest.mark.parametrize('name', NAMES)
def test_each_diagram_is_xml_with_a_title_and_a_description_of_its_own(name):
    svg = ET.fromstring(drawn(name))
    ids = [e.get('id') for e in svg.iter() if e.get('id')]
    assert svg.tag == SVG + 'svg' and svg.get('aria-labelledby').split() == ids
    assert svg.find(SVG + 'title').text and len(svg.find(SVG + 'desc').text) > 50

def test_all_ids_differ_for_a_page_may_hold_several():
    ids = re.findall(r' id="([^"]+)"', ''.join(map(drawn, NAMES)))
    assert len(ids) == len(set(ids)) == 2*len(NAMES)

# (top, left, bottom, right) of text in units of the view box, and pairs of texts that lie on each other
MEASURE = '''() => {
    const found = [], boxes = [...document.querySelectorAll('svg text')].map(t => [t, t.getBBox()]);
    const paper = document.querySelector('svg').viewBox.baseVal;
    for (const [t, b] of boxes)
        if (b.x < 0 || b.y < 0 || b.x + b.width > paper.width || b.y + b.height > paper.height) found.push('outside: ' + t.textContent);
    for (const [t, b] of boxes) for (const [u, c] of boxes)
        if (t !== u && b.x < c.x + c.width && c.x < b.x + b.width && b.y + 3 < c.y + c.height && c.y + 3 < b.y + b.height)
            found.push('on each other: ' + t.textContent + ' | ' + u.textContent);
    return [boxes.length, found, document.querySelector('svg').getBoundingClientRect().width]
}'''

@pytest.mark.parametrize('name', NAMES)
def test_no_text_lies_outside_the_paper_or_on_another(browser, name):
    with browser.new_page(viewport=dict(width=390, height=844)) as page:
        page.set_content(drawn(name))
        count, found, width = page.evaluate(MEASURE)
    assert count > 4 and found == []
    assert width > 360                    # as wide as a telephone: a unit is nearly a pixel

def luminance(colour):
    linear = [c/12.92 if c <= .04045 else ((c + .055)/1.055)**2.4 for c in (v/255 for v in colour)]
    return sum(w*c for w, c in zip((.2126, .7152, .0722), linear))

def contrast(a, b):
    low, high = sorted(map(luminance, (a, b)))
    return (high + .05)/(low + .05)

STYLE = "() => Object.fromEntries(%s.map(o => [o, (document.body.className = o, getComputedStyle(document.querySelector('.' + o)).fill)]))"

@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('page_theme', [True, False])
def test_letters_stand_out_from_all_they_stand_on_in_light_and_dark(browser, theme, page_theme):
    "Where the page has a theme the diagram follows it, whatever the system says; else the system"
    other = 'dark' if theme == 'light' else 'light'
    kinds = 'ink', 'soft', 'paper', 'field', 'blue', 'red'
    shapes = '<text class="ink">a</text><text class="soft">a</text>' + ''.join(f'<rect class="{o}"/>' for o in kinds[2:])
    svg = drawn('two_poolings').replace('</style>', '</style>' + shapes)
    with browser.new_page(color_scheme=other if page_theme else theme) as page:
        page.set_content((f'<html data-theme="{theme}">' if page_theme else '<html>') + svg)
        fills = {o: page.evaluate(f"getComputedStyle(document.querySelector('svg .{o}')).fill") for o in kinds}
    c = {o: [int(v) for v in re.findall(r'\d+', fill)[:3]] for o, fill in fills.items()}
    assert (luminance(c['paper']) > .5) == (theme == 'light')
    most = max(float(o) for name in NAMES for o in re.findall(r'fill-opacity="([\d.]+)"', drawn(name)) if o != '1')
    mixed = [[most*t + (1 - most)*p for t, p in zip(c[tint], c['paper'])] for tint in ('red', 'blue')]
    for ground in c['paper'], c['field'], *mixed: assert contrast(c['ink'], ground) >= 4.5
    for ground in c['paper'], c['field']: assert contrast(c['soft'], ground) >= 4.5
    assert contrast(c['blue'], c['paper']) >= 4.5        # links

def test_shown_as_an_image_it_follows_the_system(browser):
    "As JupyterLab and code hosts show it: no page around it lends it colours"
    from base64 import b64encode
    uri = 'data:image/svg+xml;base64,' + b64encode(drawn('sliding_kernel').encode()).decode()
    corner = ('() => { const i = document.images[0], c = document.createElement("canvas").getContext("2d");'
              'c.drawImage(i, 0, 0, 300, 150); return [...c.getImageData(2, 2, 1, 1).data] }')
    for theme in 'light', 'dark':
        with browser.new_page(color_scheme=theme) as page:
            page.set_content(f'<meta name="color-scheme" content="light dark"><img src="{uri}">')
            page.wait_for_function('document.images[0].complete')
            assert (luminance(page.evaluate(corner)[:3]) > .5) == (theme == 'light')

def test_the_map_links_each_lesson_by_its_own_title():
    first = lambda path: ''.join(json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source']).splitlines()[0][2:]
    lessons = {p.stem: first(p) for p in sorted(NBS.glob('[01]*.ipynb'))}
    svg = ET.fromstring(drawn('course_map'))
    shown = {a.get('href'): ''.join(a.itertext()).strip() for a in svg.iter(SVG + 'a')}
    assert shown == {f'{name}.html': title for name, title in lessons.items()}
