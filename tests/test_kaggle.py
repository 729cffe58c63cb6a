"""On Kaggle and Colab: the first cell, what `make kaggle` makes, and the lessons on a machine like Kaggle's with the internet off."""
import json, os, re, shutil, subprocess, sys, sysconfig, time, venv
from pathlib import Path
import pytest
from petcam.files.storage import cache_dir
from petcam.toy.scenes import make_toypets

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import first_cell, kaggle
from dist import missing
from project import chinese, lessons, settings, wheel_name

LESSONS = lessons()

@pytest.mark.parametrize('lesson', LESSONS, ids=lambda p: p.stem)
def test_the_first_code_cell_installs_petcam(lesson):
    first = next(c for c in json.loads(lesson.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code')
    assert ''.join(first['source']) == first_cell.CELL, 'run tools/first_cell.py'
    assert first['outputs'] == []

def test_the_first_cell_does_nothing_where_petcam_is(monkeypatch, capfd):
    monkeypatch.setattr(subprocess, 'run', lambda *a, **k: pytest.fail('it installs'))
    exec(first_cell.CELL, {})
    assert capfd.readouterr() == ('', '')

def test_a_folder_called_petcam_is_not_petcam(tmp_path):
    (tmp_path/'petcam').mkdir()                                                 # as after `git clone`
    cell = first_cell.CELL.replace('subprocess.run', '(lambda words, check: print(words))')
    alone = [sys.executable, '-S', '-c', cell]                                  # without the packages that are installed
    assert 'git+' in subprocess.run(alone, cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout

@pytest.mark.parametrize('attached', ['petcam-wheel', 'datasets/someone/petcam-wheel', None])
def test_what_the_first_cell_installs(attached, tmp_path, monkeypatch):
    asked, wheel = [], tmp_path/str(attached)/'petcam-0.0.1-py3-none-any.whl'
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    monkeypatch.setattr(subprocess, 'run', lambda words, check: asked.extend(words))
    if attached: wheel.parent.mkdir(parents=True); wheel.touch()
    exec(first_cell.CELL.replace('/kaggle/input', str(tmp_path)), {})
    assert asked[-1] == (str(wheel) if attached else 'git+' + settings()['git_url']) and '--no-deps' in asked

def test_a_wheel_beside_the_lesson_is_installed(tmp_path, monkeypatch): # as one uploads it in Colab
    asked = []
    monkeypatch.chdir(tmp_path); (tmp_path/'petcam-0.0.1-py3-none-any.whl').touch()
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    monkeypatch.setattr(subprocess, 'run', lambda words, check: asked.extend(words))
    exec(first_cell.CELL, {})
    assert asked[-1] == 'petcam-0.0.1-py3-none-any.whl' and '--no-deps' in asked

def test_putting_the_cell_in_changes_no_other(tmp_path):
    import nbformat
    notebook = nbformat.read(LESSONS[0], 4)
    notebook.cells = [c for c in notebook.cells if c.id != 'install']
    before = [dict(c) for c in notebook.cells]
    assert first_cell.put(notebook) and not first_cell.put(notebook)
    assert [dict(c) for c in notebook.cells if c.id != 'install'] == before and notebook.cells[1].source == first_cell.CELL

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "What `make kaggle` makes"
    folder = tmp_path_factory.mktemp('made')/'kaggle'
    kaggle.build(folder, 'someone')
    return folder

def test_the_dataset_holds_the_wheel(made):
    about = json.loads((made/'petcam-wheel'/'dataset-metadata.json').read_text())
    assert about['id'] == 'someone/petcam-wheel' and 6 <= len(about['title']) <= 50 and about['licenses'] == [{'name': 'apache-2.0'}]
    wheel, = (made/'petcam-wheel').glob('*.whl')
    assert not missing(wheel) and wheel.name == wheel_name()                    # the name that the site's buttons have

@pytest.mark.parametrize('lesson', LESSONS + chinese(), ids=kaggle.folder_name)
def test_each_lesson_has_its_metadata(made, lesson):
    folder = made/kaggle.folder_name(lesson)
    about = json.loads((folder/'kernel-metadata.json').read_text())
    assert (folder/about['code_file']).read_bytes() == lesson.read_bytes()
    assert about['id'] == 'someone/' + about['title'].lower().replace(' ', '-') and 5 <= len(about['title']) <= 50
    assert about['enable_internet'] is about['enable_gpu'] is False and about['dataset_sources'] == ['someone/petcam-wheel']

# the machine: tools/kaggle_machine, a fresh Python with all packages but petcam, and the datasets at one mount point or the other

MOUNTS = dict(old='{name}', new='datasets/someone/{name}')
RUN = '''import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
notebook.cells.append(nbformat.v4.new_code_cell("import petcam; assert petcam.__file__.startswith('/kaggle/venv/'), petcam.__file__"))
NotebookClient(notebook, timeout=900).execute()
first = next(c for c in notebook.cells if c.cell_type == 'code')
assert not first.outputs, first.outputs
'''

@pytest.fixture
def machine(tmp_path):
    "A folder that tools/kaggle_machine shows as /kaggle"
    if not sys.platform == 'linux' or subprocess.run(['unshare', '--map-root-user', '--mount', '--net', 'true'], capture_output=True).returncode:
        pytest.skip('this machine does not let us make a machine without a network (unshare)')
    (tmp_path/'packages').mkdir(); (tmp_path/'working').mkdir()
    for package in Path(sysconfig.get_path('purelib')).iterdir():
        if 'petcam' not in package.name: (tmp_path/'packages'/package.name).symlink_to(package)
    venv.create(tmp_path/'venv', symlinks=True)
    site, = (tmp_path/'venv'/'lib').glob('python*/site-packages')
    (site/'packages.pth').write_text('/kaggle/packages\n')
    (tmp_path/'run.py').write_text(RUN)
    return tmp_path

def run_on(machine, *words):
    done = subprocess.run([ROOT/'tools'/'kaggle_machine', machine, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

def attach(machine, source, name, mount):
    target = machine/'input'/MOUNTS[mount].format(name=name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target)

LOOK = """
import socket
from importlib.util import find_spec
assert find_spec('torch') and not find_spec('petcam')
try: socket.create_connection(('1.1.1.1', 53), 3)
except OSError: pass
else: raise SystemExit('there is a network')"""

def test_the_machine_is_like_kaggles(machine):
    said = run_on(machine, 'bash', '-c', f'touch /kaggle/working/mine; for f in /kaggle/input /usr /tmp; do ! touch $f/x || exit 1; done; python -c "{LOOK}" && pwd')
    assert said.splitlines()[-1] == '/kaggle/working' and (machine/'working'/'mine').exists()

def run_lessons(machine, made, mount, lessons):
    "Attach the wheel at one mount point and images at the other, run `lessons`, and see what they leave"
    attach(machine, made/'petcam-wheel', 'petcam-wheel', mount)
    attach(machine, make_toypets(cache_dir()/'toypets'), 'toy-pets', next(m for m in MOUNTS if m != mount))
    for lesson in lessons: shutil.copy(lesson, machine/'working')
    for lesson in lessons:
        start = time.monotonic()
        run_on(machine, 'python', '/kaggle/run.py', lesson.name)
        print(f"{lesson.stem}: {time.monotonic()-start:.0f} s", flush=True)
    left = {f.name for f in (machine/'working').iterdir()} - {l.name for l in lessons}
    assert left <= {'models', 'build'}                                          # lesson 03 saves, lesson 13 tries the command
    assert not (machine/'home'/'.cache'/'petcam'/'toypets').exists()            # the attached images were found, none drawn

def two_hours():
    "The lessons that 00_start sends a visitor with two hours to"
    text = ''.join(json.loads((ROOT/'nbs'/'00_start.ipynb').read_text(encoding='utf-8'))['cells'][-1]['source'])
    return [LESSONS[0], *(ROOT/'nbs'/name for name in re.findall(r'\]\((\d\w*\.ipynb)\) \| \d+ \|', text))]

@pytest.mark.skipif('PETCAM_KAGGLE' not in os.environ, reason='takes minutes: make kaggle-test')
@pytest.mark.timeout(3600)
def test_the_two_hours_with_a_clock(machine, made):
    "As a visitor has it: the wheel attached and nothing else, so the pets are drawn and the network is trained here"
    attach(machine, made/'petcam-wheel', 'petcam-wheel', 'new')
    took, path = [], two_hours()
    for lesson in path:
        shutil.copy(lesson, machine/'working')
        start, before = time.monotonic(), os.times()
        run_on(machine, 'python', '/kaggle/run.py', lesson.name)
        took.append(time.monotonic() - start)
        cpu = sum(os.times()[2:4]) - sum(before[2:4])                            # of the children, in user and in system
        print(f'{lesson.stem}: {took[-1]:.0f} s, of which the processor worked {cpu:.0f} s', flush=True)
    assert len(path) >= 4 and sum(took) < 30*60                                 # of 120 minutes; the others are for reading

@pytest.mark.parametrize('mount,lesson', [('old', '02_head'), ('new', '01_augment')])
def test_a_short_lesson_without_the_internet(machine, made, mount, lesson): run_lessons(machine, made, mount, [ROOT/'nbs'/f'{lesson}.ipynb'])

@pytest.mark.skipif('PETCAM_KAGGLE' not in os.environ, reason='takes minutes: make kaggle-test')
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('mount', MOUNTS)
def test_all_lessons_without_the_internet(machine, made, mount): run_lessons(machine, made, mount, LESSONS)
