"""`import petcam` is light, and what most people come for is found when it is first used."""
import ast, subprocess, sys
from pathlib import Path
import pytest
import petcam

ROOT = Path(__file__).parents[1]

@pytest.mark.parametrize('name', petcam._HOMES)
def test_each_name_is_the_one_of_its_module(name):
    home = ROOT.joinpath('petcam', *petcam._HOMES[name].split('.')).with_suffix('.py')
    said, = [ast.literal_eval(n.value) for n in ast.parse(home.read_text(encoding='utf-8')).body
             if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '') == '__all__']
    assert name in said and getattr(petcam, name) is getattr(sys.modules[f'petcam.{petcam._HOMES[name]}'], name)

def test_star_and_tab_completion():
    names = {}
    exec('from petcam import *', names)
    assert names['grad_cam'] is petcam.gradcam.grad_cam and set(petcam._HOMES) <= names.keys()
    assert {*petcam._HOMES, 'engine', 'gradcam', 'localise', '__version__'} <= set(dir(petcam))

def test_modules_need_no_import_of_their_own():
    code = 'import petcam; print(petcam.heatmap.upsample.__name__, petcam.engine.__name__)'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ['upsample', 'petcam.engine']

def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'petcam' has no attribute 'grad_cams'"): petcam.grad_cams
    assert not hasattr(petcam, '__wrapped__')
