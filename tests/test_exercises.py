"""Every exercise is solved by its folded solution, in its lesson, and has at least two wrong answers that are told apart; those of the site are answered in a browser."""
import ast, importlib, json, re, sys
from pathlib import Path
import nbformat
import pytest
from petcam.exercises.core import UNANSWERED, Exercise

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import docs_exercises
from project import lessons, notebooks

CHECKERS = {f'{p.stem}': p for p in notebooks() if re.match('56[a-z]_exercises', p.stem)}

def read(path): return nbformat.read(path, 4)

def nodes(path): # of all code cells
    return [node for c in read(path).cells if c.cell_type == 'code' for part in docs_exercises.statements(c.source) for node in ast.walk(part)]

def named_first(path, function): # the first argument of each call of `function`
    calls = [n for n in nodes(path) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == function and n.args]
    return [n.args[0].id for n in calls if isinstance(n.args[0], ast.Name)]

def defined(path): # {name: Exercise}, of the module that a workshop notebook makes
    name = re.search(r'^#\| default_exp (\S+)', '\n'.join(c.source for c in read(path).cells), re.M)[1]
    return {k: o for k, o in vars(importlib.import_module(f'petcam.{name}')).items() if isinstance(o, Exercise)}

def places(path): return docs_exercises.places(read(path).cells)

@pytest.mark.parametrize('path', CHECKERS.values(), ids=CHECKERS)
def test_each_exercise_has_a_right_answer_and_two_wrong_ones(path): # `make test` runs the notebook, where each of them is asserted
    right, wrong = named_first(path, 'right'), named_first(path, 'wrong')
    few = {name: (right.count(name), wrong.count(name)) for name in defined(path) if not right.count(name) or wrong.count(name) < 2}
    assert defined(path) and not few, f'right and wrong answers, written one by one: {few}'

@pytest.mark.parametrize('path', CHECKERS.values(), ids=CHECKERS)
def test_each_exercise_is_asked_in_its_lesson(path):
    asked = {(p.stem, name) for p in lessons() for place in places(p) for name in place.names}
    assert not [(o.lesson, name) for name, o in defined(path).items() if (o.lesson, name) not in asked]

@pytest.mark.parametrize('path', lessons(), ids=lambda p: p.stem)
def test_a_lesson_asks_and_says_how_far_one_is(path):
    cells, known = read(path).cells, docs_exercises.checkers(read(path).cells)
    asked = [known[name] for place in places(path) for name in place.names]
    assert len(asked) >= 3 and {o.lesson for o in asked} == {path.stem}
    assert any(o.page for o in asked), 'a number or a choice, which the site can check'
    assert not all(o.page for o in asked), 'code, or a setting to find'
    for place in places(path):
        starter = cells[place.cell]
        assert len(place.solutions) == 1, f'one folded solution with one block of python below {starter.source!r}'
        said = ''.join(o.get('text', '') for o in starter.outputs)
        assert said.count(UNANSWERED) == len(place.names) and 'Right.' not in said, f'{place.names}: the starter, as stored, says {said!r}'
    last = [c.source for c in cells if c.cell_type == 'code'][-3:]
    assert any(f"progress('{path.stem}')" in source for source in last)

@pytest.mark.parametrize('path', lessons(), ids=lambda p: p.stem)
def test_the_folded_solutions_are_right(path, tmp_path):
    from nbclient import NotebookClient
    notebook, asked = read(path), places(path)
    for place in asked: notebook.cells[place.cell].source = docs_exercises.solved(notebook.cells[place.cell].source, place)
    NotebookClient(notebook, timeout=600, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}}).execute()
    said = {name: o for place in asked for name, o in zip(place.names, [outputs(notebook.cells[place.cell])]*len(place.names))}
    assert not [f'{name}: {o}' for name, o in said.items() if 'Not ' in o]
    n = sum(len(place.names) for place in asked)
    assert any(f'Exercises: {n} of {n} right.' in outputs(c) for c in notebook.cells if 'progress(' in c.source)

def outputs(cell): return ''.join(o.get('text', '') for o in cell.outputs)

# --- the tools

def lesson(*cells):
    make = lambda o: nbformat.v4.new_markdown_cell(o[1:]) if o.startswith('#') else nbformat.v4.new_code_cell(o)
    return [make(o) for o in cells]

@pytest.fixture
def module(monkeypatch):
    import types
    from petcam.exercises.core import choice, code, number
    made = types.ModuleType('petcam.exercises.tried')
    made.check_size = number('x', 3, hints={2: '<b>too "small"'}, otherwise='no', why='it is 3')
    made.check_sum = choice('x', 'a', options=dict(a='one & all', b='none'), hints=dict(b='look again'), why='so it is')
    made.check_code = code('x', why='done')(lambda answer: None)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made

START = 'from petcam.exercises.tried import check_size, check_sum\nfrom petcam.exercises.tried import check_code\nfrom petcam.exercises.core import progress'
FOLDED = '#<details><summary>Solution</summary>\n\n```python\nanswer = 3\n```\n\nThree.\n\n</details>'

def test_starters_and_solutions_are_found(module):
    cells = lesson(START, 'check_nothing(1)', '%matplotlib inline\nanswer = None # a number\nanswer\ncheck_size(answer)', FOLDED, 'x = check_sum', 'check_sum(None)')
    one, two = docs_exercises.places(cells)
    assert (one.cell, one.names, one.solutions) == (2, ['check_size'], ['answer = 3\n']) and (two.cell, two.solutions) == (5, [])
    assert docs_exercises.solved(cells[2].source, one) == 'answer = 3\ncheck_size(answer)'
    with_imports = 'import a\nfrom b import (c,\n    d)\nx = 1\n' + cells[2].source.partition('\n')[2]
    assert docs_exercises.solved(with_imports, one) == 'import a\nfrom b import (c,\n    d)\nanswer = 3\ncheck_size(answer)'

def test_the_site_shows_forms_for_numbers_and_choices(module):
    cells = lesson(START, 'answer = None\ncheck_size(answer)', 'check_sum(None)', 'def f(): ...\ncheck_code(f)', "progress('x')", '1 + 1')
    known = docs_exercises.checkers(cells)
    number, choice, code, progress, other = [docs_exercises.exercise_cell(c, c, known) for c in cells[1:]]
    assert json.loads(ast.literal_eval(repr(unescaped(number.source)))) == module.check_size.page | dict(right=[3 - 1e-9, 3 + 1e-9])
    assert choice.source.count('type="radio"') == 2 and 'one &amp; all' in choice.source and '<b>' not in number.source
    assert code.source == cells[3].source and 'Run the lesson' in code.outputs[0].data['text/html']
    assert 'on this page: 2' in progress.source and '1 more asks for code' in progress.source and other is cells[5]
    assert '\n\n' not in number.source.strip(), 'MyST would end the form there'

def unescaped(source):
    import html
    return html.unescape(re.search(r'data-exercise="([^"]*)"', source)[1])

# --- in a browser

HERE = 'petcam/web'
PAGE = '''<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Exercises</title>
<style>html {{ color-scheme: light dark; font: 16px sans-serif; }} body {{ margin: 1rem; }} {style}</style></head><body><main><h1>Exercises</h1>{body}</main><script>{script}</script></body></html>'''

@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_answers_on_the_page(module, browser, tmp_path, scheme):
    cells = lesson(START, 'check_size(None)', 'check_sum(None)', "progress('x')")
    body = ''.join(docs_exercises.exercise_cell(c, c, docs_exercises.checkers(cells)).source for c in cells[1:])
    script, style = ((ROOT/HERE/f'exercises.{kind}').read_text(encoding='utf-8') for kind in ('js', 'css'))
    (tmp_path/'page.html').write_text(PAGE.format(body=body, script=script, style=style), encoding='utf-8')
    tab = browser.new_page(viewport=dict(width=390, height=800), color_scheme=scheme)
    complaints = []
    tab.on('pageerror', lambda e: complaints.append(str(e)))
    tab.goto((tmp_path/'page.html').as_uri())
    number, choice = tab.locator('form').all()
    status = lambda form: form.locator('[role=status]').inner_text()
    progress = lambda: tab.locator('.pc-exercise-progress').inner_text()
    assert '0 of 2 right' in progress() and '1 more asks for code' in progress()
    number.locator('button').click()
    assert status(number) == 'Not answered yet.'
    for answer, words in {'2': 'Not yet: <b>too "small"', '9': 'Not yet: no', 'many': 'Not yet: a number is asked for.', '3,0': 'Right. it is 3'}.items():
        number.get_by_label('Your answer').fill(answer)
        number.get_by_label('Your answer').press('Enter')
        assert status(number) == words
    assert '1 of 2 right' in progress()
    choice.get_by_label('b: none').check()
    choice.locator('button').click()
    assert status(choice) == 'Not yet: look again'
    choice.get_by_label('a: one & all').check()
    choice.locator('button').click()
    assert status(choice) == 'Right. so it is' and '2 of 2 right' in progress() and not complaints
    assert tab.evaluate('document.documentElement.scrollWidth') <= 390
    tab.close()
