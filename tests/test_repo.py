"""The project keeps its own rules: the module map, light imports, lessons that a reader can read."""
import ast, re, json, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(f.stem for f in (ROOT/'petcam').glob('*.py') if not f.stem.startswith('_'))
LESSONS = sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))

# who may import whom: the map in CONTRIBUTING.md
MAP = dict(sliders='', toypets='', augment='sliders', kernels='sliders', hooks='sliders', head='toypets', data='augment toypets',
           onecycle='data head sliders toypets', resize='data onecycle sliders',
           heatmap='hooks', gradcam='hooks', relatives='gradcam heatmap hooks', explore='data gradcam heatmap hooks relatives sliders',
           localise='data gradcam heatmap hooks relatives report toypets',
           report='data explore gradcam heatmap onecycle toypets', cli='augment data head heatmap hooks localise onecycle relatives report resize toypets')

@pytest.mark.parametrize('name', MODULES)
def test_modules_import_only_along_the_map(name):
    tree = ast.parse((ROOT/'petcam'/f'{name}.py').read_text())
    used = {(n.module or '').split('.')[-1] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.level or n.module.startswith('petcam.'))}
    assert used - {''} <= set(MAP[name].split()), f'{name} imports {used}'

@pytest.mark.parametrize('name', MODULES)
def test_each_module_imports_in_a_fresh_process(name):
    subprocess.run([sys.executable, '-c', f'import petcam.{name}'], check=True)

def test_import_petcam_is_light():
    code = "import sys, petcam, petcam.cli; print([m for m in ('torch','matplotlib','ipywidgets','numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'

def cells(path, kind): return [c for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_a_lesson_reads_as_a_lesson(path):
    words, code = cells(path, 'markdown'), cells(path, 'code')
    first = ''.join(words[0]['source'])
    assert first.startswith('# ') and '\n> ' in first, 'title, then a one-line summary'
    assert '## Questions' in ''.join(words[-1]['source']) or any('## Questions' in ''.join(c['source']) for c in words[-3:]), 'ends with questions'
    assert any(c['outputs'] for c in code), 'stored outputs'
    assert not any(o['output_type'] == 'error' for c in code for o in c['outputs'])
    assert max(len([l for l in c['source'] if l.strip() and not l.startswith('#|')]) for c in code) <= 25, 'no cell longer than a screen'
    assert any('assert' in ''.join(c['source']) for c in code), 'tests in its cells'
    stored = [str(o.get('data', o.get('text'))) for c in code for o in c['outputs']]
    assert not [o for o in stored if re.search(r'/(tmp|root|home|work|Users)/', o)], 'no path of the machine that ran it'
    assert path.stat().st_size <= 300_000 and 'widgets' not in json.loads(path.read_text(encoding='utf-8'))['metadata']

def test_public_functions_have_docstrings():
    missing = []
    for name in MODULES:
        for node in ast.parse((ROOT/'petcam'/f'{name}.py').read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith('_') and not ast.get_docstring(node): missing.append(f'{name}.{node.name}')
    assert not missing

def test_the_pins_of_the_tools_are_in_one_place():
    for f in ('Makefile', 'CONTRIBUTING.md', 'pyproject.toml', '.ci/run', 'README.md'): assert 'nbdev==' not in (ROOT/f).read_text()
    assert 'nbdev==' in (ROOT/'settings.ini').read_text()
