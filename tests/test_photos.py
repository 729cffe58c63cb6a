"""The same cells on photographs: one lesson, here; `make photos` runs them all."""
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import photos
from project import lessons

def test_a_few_of_each_breed_are_linked(tmp_path):
    for name in ('beagle_9.jpg', 'beagle_10.jpg', 'beagle_100.jpg', 'Egyptian_Mau_3.jpg', 'Egyptian_Mau_3.mat'):
        path = tmp_path/'all'/'images'/name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path/'all'/'annotations'/'trimaps').mkdir(parents=True)
    few = photos.subset(tmp_path/'all', tmp_path/'few', 2)
    assert sorted(p.name for p in (few/'images').iterdir()) == ['Egyptian_Mau_3.jpg', 'beagle_10.jpg', 'beagle_9.jpg']
    assert (few/'annotations'/'trimaps').is_dir()
    photos.subset(tmp_path/'all', tmp_path/'few', 1)
    assert len(list((few/'images').iterdir())) == 2

def test_a_cell_that_fails_is_named(tmp_path):
    import nbformat
    new = nbformat.v4
    nbformat.write(new.new_notebook(cells=[new.new_code_cell('a = 1', id='fine'), new.new_code_cell('import os\nassert os.environ["X"] == "2", "three"', id='bad')]), tmp_path/'00_x.ipynb')
    assert photos.run(tmp_path/'00_x.ipynb', dict(X='2'), tmp_path) is None
    problem = photos.run(tmp_path/'00_x.ipynb', dict(X='3'), tmp_path)
    assert problem.startswith('cell bad: ') and 'AssertionError: three' in problem and '\x1b' not in problem

def test_the_lesson_on_grad_cam_holds_on_photographs(real_pets, real_weights, tmp_path):
    import nbformat
    environment = photos.prepare(real_pets, real_weights, images=5)
    photos.train(environment)
    before = {p: p.read_bytes() for p in lessons()}
    lesson, = [p for p in lessons() if p.stem.endswith('_gradcam')]
    notebook = nbformat.read(lesson, 4)
    notebook.cells.append(nbformat.v4.new_code_cell("assert data.kind == 'real', data.kind", id='kind'))
    nbformat.write(notebook, tmp_path/lesson.name)
    assert (problem := photos.run(tmp_path/lesson.name, environment)) is None, problem
    assert before == {p: p.read_bytes() for p in lessons()}             # nothing of them is stored
