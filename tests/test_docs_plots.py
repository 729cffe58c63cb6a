"""The plots of the page of results: their numbers are the table's, and lie where the axis says."""
import ast
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
import pytest
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
from docs_plots import MARK, draw, plots, read_cell, read_table, ticks, with_plots

PAGE = '''Words.

<!-- plot | energy (9) -->

| method           | energy (9)     |   other |
| ---------------- | -------------: | ------: |
| Grad-CAM         |  50.0 ± 10.0   |     1.0 |
| HiResCAM         | 80 [70, 95]    |     2.0 |
| centred Gaussian | 90.0 [85, 95]  |     3.0 |
| chance           | 40.0 ± 0.1     |         |

More words.
'''

def parts(svg):
    "Of a plot: where each name's dot and line are, and where the ticks stand"
    names = [t.text for t in svg.iter('text') if t.get('text-anchor') == 'end']
    dots = {name: c for name, c in zip(names, svg.iter('circle'), strict=True)}
    spans = {o.get('y1'): (float(o.get('x1')), float(o.get('x2')))
             for o in svg.iter('line') if o.get('stroke-width') == '2'}
    marks = {float(t.text): float(t.get('x')) for t in svg.iter('text')
             if t.get('text-anchor') == 'middle'}
    return dots, {name: spans[o.get('cy')] for name, o in dots.items()}, marks

def the_svg():
    page = with_plots(PAGE)
    block = page[page.index('<div class="pc-plots"'):page.index('</div>') + 6]
    return page, ET.fromstring(block).find('svg')

def test_dots_and_intervals_stand_where_the_axis_says():
    _, svg = the_svg()
    dots, lines, marks = parts(svg)
    (a, at_a), *_, (b, at_b) = marks.items()
    def value(x): return a + (x - at_a)*(b - a)/(at_b - at_a)
    want = {'Grad-CAM': (50, 30.4, 69.6), 'HiResCAM': (80, 70, 95), 'centred Gaussian': (90, 85, 95)}
    assert list(dots) == list(want) # chance is a line
    for name, (mean, low, high) in want.items():
        found = [value(float(dots[name].get('cx'))), *map(value, lines[name])]
        assert found == pytest.approx([mean, low, high], abs=.4), name
    [dashed] = [o for o in svg.iter('line') if o.get('stroke-dasharray')]
    assert value(float(dashed.get('x1'))) == pytest.approx(40, abs=.4)

def test_baselines_are_grey_and_the_best_is_bold():
    _, svg = the_svg()
    dots, *_ = parts(svg)
    grey = dots['centred Gaussian'].get('fill')
    assert [o.get('fill') == grey for o in dots.values()] == [False, False, True]
    bold = [t.text for t in svg.iter('text') if t.get('font-weight') == 'bold'][1:]
    assert bold == ['centred Gaussian'] # the best, also where it is a baseline
    fewer = {'a': (9., 8., 10.), 'b': (3., 2., 4.)}
    for title, want in (('deletion (5)', ['b']), ('energy', ['a']), ('SSIM, all', [])):
        svg = draw(title, fewer)
        assert [t.text for t in svg.iter('text') if t.get('font-weight') == 'bold'][1:] == want

def test_the_table_stays_folded_with_all_its_numbers():
    page, _ = the_svg()
    table = PAGE[PAGE.index('| method'):PAGE.index('\nMore')]
    assert f'<summary>The numbers</summary>\n\n{table}\n</details>' in page
    assert page.startswith('Words.') and page.endswith('More words.\n') and '<!--' not in page
    assert with_plots('no table\n') == 'no table\n'

def test_a_column_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match='energie.*energy'):
        plots(['energie'], *read_table(PAGE.splitlines()[4:9]))

def test_cells_and_ticks():
    assert read_cell('+8.4 [7.7, 9.2]') == (8.4, 7.7, 9.2) and read_cell('-0.2') == (-.2,)*3
    assert read_cell('') is None
    for low, high in ((0, 1), (23.7, 100.2), (-.05, .7), (-18., 31), (24.9, 25.1)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 6 and low <= found[0] < found[-1] <= high

def test_the_page_of_results_names_columns_that_it_has():
    page = (ROOT/'docs'/'results.md').read_text(encoding='utf-8')
    made, marked = with_plots(page), MARK.findall(page)
    assert len(marked) >= 7 and page.count('<!-- plot') == len(marked)
    assert made.count('<svg') == sum(len(columns.split('|')) for columns, _ in marked)
    drawn = ''.join(o for o in made.splitlines() if 'pc-plots' in o)
    for svg in ET.fromstring(f'<x>{drawn}</x>').iter('svg'):
        _, _, width, height = map(float, svg.get('viewBox').split())
        for o in svg.iter('circle'):
            assert 0 < float(o.get('cx')) < width and 0 < float(o.get('cy')) < height

# --- what the words say stands in the tables

RESULTS = (ROOT/'docs'/'results.md').read_text(encoding='utf-8')
TABLES = [read_table(o.splitlines()) for o in re.findall(r'(?:^\|.*\n)+', RESULTS, re.M)]

def of(column, method, i=0): # a cell of the i-th table that has the column
    head, rows = [(head, rows) for head, rows in TABLES if column in head][i]
    return read_cell(next(row for row in rows if row[0] == method)[head.index(column)])

def test_a_finer_layer_helps_layercam_on_toy_pets_and_not_on_photographs():
    toys = [of('grids: energy (125)', 'LayerCAM', i)[0] for i in (0, 1)]     # last layer, middle layer
    photographs = [of('grids: energy (62)', 'LayerCAM', i) for i in (0, 1)]
    assert toys[1] > toys[0] and photographs[1][2] < photographs[0][1]       # the intervals are apart
    said = (f'({toys[1]} % beside {toys[0]} %); on photographs less '
            f'({photographs[1][0]} % beside {photographs[0][0]} %)')
    assert said in RESULTS
    lesson = (ROOT/'nbs'/'10_localise.ipynb').read_text(encoding='utf-8')
    assert (f'(from {toys[0]:.0f} to {toys[1]:.0f} %), falls from '
            f'{photographs[0][0] + .01:.0f} to {photographs[1][0]:.0f} %') in lesson

def test_the_lesson_has_the_photographs_numbers_from_the_page():
    nb = json.loads((ROOT/'nbs'/'10_localise.ipynb').read_text(encoding='utf-8'))
    cell = next(s for c in nb['cells'] if (s := ''.join(c['source'])).startswith('photos = {'))
    photos = ast.literal_eval(cell.removeprefix('photos = '))
    names = {'centre prior': 'centred Gaussian'}
    for name in 'Grad-CAM', 'HiResCAM', 'LayerCAM', 'mean activation', 'centre prior':
        columns = 'pointing (600)', 'grids: energy (62)'
        assert photos[name] == tuple(of(o, names.get(name, name)) for o in columns), name

def test_the_larger_images_helped_one_seed_of_three():
    _, rows = next(o for o in TABLES if o[0][0] == 'seed')
    gains = [read_cell(row[2])[0] - read_cell(row[3])[0] for row in rows]
    assert sorted(gains) == pytest.approx([-.5, -.5, 1.6])
    assert 'helped one of the three seeds: the other two made half a point more' in RESULTS
