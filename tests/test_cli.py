"""The command: wrong requests cost one line, and the main job does what it says."""
import subprocess, sys
from pathlib import Path
import pytest
import torch
from PIL import Image
from petcam import cli
from petcam.cli import main

def typed(capsys, *words):
    "Exit status, and what was said on stdout and stderr"
    try: status = main([str(w) for w in words])
    except SystemExit as e: status = e.code
    said = capsys.readouterr()
    return status, said.out, said.err.strip()

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A real, tiny run on 40 coloured images"
    root = tmp_path_factory.mktemp('run')
    folder = root/'pets'; folder.mkdir()
    torch.manual_seed(0)
    for breed, colour in (('Abyssinian', (200,60,60)), ('leonberger', (60,200,60))):
        for i in range(20): Image.fromarray((torch.randint(-40,40,(48,64,3))+torch.tensor(colour)).clamp(0,255).byte().numpy()).save(folder/f'{breed}_{i}.jpg')
    assert main(['run', '--data', str(folder), '--arch', 'resnet18', '--weights', 'none', '--size', '64', '--bs', '8', '--epochs', '3,1,1', '--out', str(root/'out')]) == 0
    return root

def test_run_writes_report_and_network(trained):
    page = (trained/'out'/'report.html').read_text()
    for part in ('What was used', 'Training', 'Two animals', 'Mistakes', 'most surprising'): assert part in page
    assert 'http' not in page.replace('http-equiv', '') and 'stage-1' in page and 'resnet18' in page
    assert sorted(f.name for f in (trained/'out').iterdir()) == ['models', 'report.html']          # nothing half-made is left
    assert sorted(f.stem for f in (trained/'out'/'models').iterdir()) == ['resume', 'resume-before', 'stage-1', 'stage-2', 'stage-3']

def test_cam_draws_the_class_asked_for(trained, capsys):
    image, model, out = trained/'pets'/'leonberger_3.jpg', trained/'out'/'models'/'stage-3.pth', trained/'maps'
    maps = []
    for name in ('leonberger', 'Abyssinian'):
        status, said, _ = typed(capsys, 'cam', image, '--class', name, '--model', model, '--out', out)
        assert status == 0 and name in said and f'leonberger_3-{name}.png' in said
        maps.append(Image.open(out/f'leonberger_3-{name}.png')); assert maps[-1].size == (64,64)
    assert maps[0].tobytes() != maps[1].tobytes()
    for name in ('leonberger', 'Abyssinian'):                                   # a method that does not know the class
        assert typed(capsys, 'cam', image, '--class', name, '--model', model, '--out', out, '--method', 'Eigen-CAM')[0] == 0
        maps.append(Image.open(out/f'leonberger_3-{name}.png'))
    assert maps[2].tobytes() == maps[3].tobytes() != maps[0].tobytes()

@pytest.mark.parametrize('more, expected', [
    (['--class', 'leonburger'], "no class 'leonburger'; the nearest names are leonberger"),
    (['--layer', '0.99'], "0.99"),
    (['--method', 'GradCAM'], "no method 'GradCAM'; the nearest names are Grad-CAM"),
    (['--model', 'gone.pth'], 'gone.pth: no such file'),
])
def test_cam_says_what_is_wrong_in_one_line(trained, capsys, more, expected):
    model = [] if '--model' in more else ['--model', trained/'out'/'models'/'stage-3.pth']
    status, _, said = typed(capsys, 'cam', trained/'pets'/'leonberger_3.jpg', *model, *more)
    assert status == 1 and expected in said and '\n' not in said and said.startswith('petcam: ')

def test_cam_with_files_that_are_not_what_they_should_be(trained, capsys, tmp_path):
    model = trained/'out'/'models'/'stage-3.pth'
    (tmp_path/'x.jpg').write_bytes(b'')
    for words, expected in ((['cam', tmp_path/'x.jpg', '--model', model], 'x.jpg is not an image'),
                            (['cam', tmp_path/'gone.jpg', '--model', model], 'gone.jpg'),
                            (['cam', trained/'pets'/'leonberger_3.jpg', '--model', tmp_path/'x.jpg'], 'x.jpg is not a whole file of weights'),
                            (['cam', trained/'pets'/'leonberger_3.jpg', '--model', model, '--out', tmp_path/'x.jpg'/'map.png'], 'x.jpg: cannot write there')):
        status, _, said = typed(capsys, *words)
        assert status == 1 and expected in said and '\n' not in said

@pytest.mark.parametrize('words, expected', [
    (['run', '--data', '/nowhere'], "'/nowhere' is not a folder"),
    (['run', '--data', '{empty}'], 'holds no images named like'),
    (['run', '--data', '{pets}', '--arch', 'resnet43'], "arch 'resnet43' does not exist; the nearest are"),
    (['run', '--data', '{pets}', '--arch', 'resnet18', '--weights', 'gone.pth'], "'gone.pth': no such file"),
    (['run', '--data', '{pets}', '--arch', 'resnet18', '--weights', 'toy'], "there are no toy weights for 'resnet18'"),
    (['run', '--data', '{pets}', '--arch', 'resnet18', '--weights', '{other}'], 'do not fit'),
    (['run', '--data', '{pets}', '--out', '{file}/x'], 'cannot write there'),
    (['run', '--data', '{pets}', '--arch', 'mobilenet_v3_small', '--weights', 'none', '--bs', '500'], 'do not fill one batch of 500'),
])
def test_run_says_what_is_wrong_in_one_line(few_pets, tmp_path, capsys, words, expected):
    (tmp_path/'empty').mkdir(); (tmp_path/'file').touch(); torch.save({'x': torch.ones(1)}, tmp_path/'other.pth')
    names = dict(empty=tmp_path/'empty', pets=few_pets, file=tmp_path/'file', other=tmp_path/'other.pth')
    words = [w.format(**names) for w in words] + ([] if '--out' in words else ['--out', tmp_path/'out'])
    status, _, said = typed(capsys, *words)
    assert status == 1 and expected in said and '\n' not in said

def test_all_images_broken(few_pets, tmp_path, capsys):
    for f in (few_pets/'images').iterdir(): f.write_bytes(b'')
    status, _, said = typed(capsys, 'run', '--data', few_pets, '--out', tmp_path/'out')
    assert status == 1 and 'none of the 40 images' in said

@pytest.mark.parametrize('words', [['run', '--epochs', 'three'], ['run', '--size', '0'], ['run', '--bs', '-1'], ['fly'], [], ['cam']])
def test_what_cannot_be_understood_is_status_2(words, capsys):
    status, _, said = typed(capsys, *words)
    assert status == 2 and 'Traceback' not in said

@pytest.mark.parametrize('command', ['run', 'cam', 'data', 'lab'])
def test_help_shows_an_example(command, capsys):
    status, said, _ = typed(capsys, command, '--help')
    assert status == 0 and f'example: petcam {command}' in said

def test_a_report_that_exists_is_not_lost(trained, monkeypatch):
    "A run that fails while it writes leaves yesterday's report as it was"
    from petcam import report
    path = trained/'out'/'report.html'
    before = path.read_text()
    monkeypatch.setattr(report, 'report_html', lambda *a, **k: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError): report.write_report(path, None, [], [])
    assert path.read_text() == before

def test_lab_copies_the_lessons_and_keeps_changes(tmp_path, capsys):
    cli._lab(tmp_path, start=False)
    (tmp_path/'00_data.ipynb').write_text('mine')
    cli._lab(tmp_path, start=False)
    assert (tmp_path/'00_data.ipynb').read_text() == 'mine' and (tmp_path/'08_gradcam.ipynb').exists()

def test_the_command_itself_starts():
    out = subprocess.run([Path(sys.executable).parent/'petcam', '--help'], capture_output=True, text=True, check=True).stdout
    assert 'run|cam|data|lab' in out

def test_cam_takes_a_number_and_writes_the_kind_of_image_asked_for(trained, capsys, tmp_path):
    model = trained/'out'/'models'/'stage-3.pth'
    status, said, _ = typed(capsys, 'cam', trained/'pets'/'leonberger_3.jpg', '--class', '1', '--model', model, '--out', tmp_path/'map.jpg')
    assert status == 0 and 'leonberger: logit' in said and 'toy' not in said
    with Image.open(tmp_path/'map.jpg') as drawn: assert drawn.format == 'JPEG' and drawn.size == (64,64)

def test_cam_draws_what_it_can_and_names_the_rest(trained, capsys, tmp_path):
    model = trained/'out'/'models'/'stage-3.pth'
    for name in 'ab': (tmp_path/name).mkdir(); (tmp_path/name/'x_1.jpg').write_bytes((trained/'pets'/'leonberger_3.jpg').read_bytes())
    (tmp_path/'bad.jpg').write_bytes(b'')
    status, said, wrong = typed(capsys, 'cam', tmp_path/'bad.jpg', tmp_path/'a'/'x_1.jpg', tmp_path/'b'/'x_1.jpg', '--class', 'leonberger', '--model', model, '--out', tmp_path/'maps')
    assert status == 1 and 'bad.jpg is not an image' in wrong
    assert sorted(f.name for f in (tmp_path/'maps').iterdir()) == ['x_1-leonberger-2.png', 'x_1-leonberger.png']

def test_cam_says_when_the_network_knows_only_toys(trained, capsys, tmp_path):
    state = torch.load(trained/'out'/'models'/'stage-3.pth', weights_only=True)
    state['about']['kind'] = 'toy'
    torch.save(state, tmp_path/'toy.pth')
    said = typed(capsys, 'cam', trained/'pets'/'leonberger_3.jpg', '--model', tmp_path/'toy.pth', '--out', tmp_path/'map.png')[1]
    assert 'learnt from toy pets' in said

def test_images_too_small_for_the_network_are_said_before_training(few_pets, tmp_path, capsys):
    status, _, said = typed(capsys, 'run', '--data', few_pets, '--arch', 'alexnet', '--weights', 'none', '--size', '32', '--out', tmp_path/'out')
    assert status == 1 and 'alexnet cannot take images of 32 pixels' in said

@pytest.fixture(scope='module')
def masked(trained):
    "The images of `trained`, and a trimap for 24 of the 40: the left half is pet"
    trimaps = trained/'annotations'/'trimaps'; trimaps.mkdir(parents=True)
    whole = Image.new('L', (64,48), 2); whole.paste(1, (0,0,32,48))
    for breed in ('Abyssinian', 'leonberger'):
        for i in range(12): whole.save(trimaps/f'{breed}_{i}.png')
    return trained

def test_localise_scores_prints_and_writes_the_same(masked, capsys):
    import csv
    model, out = masked/'out'/'models'/'stage-3.pth', masked/'scores'
    status, said, wrong = typed(capsys, 'localise', '--model', model, '--data', masked/'pets', '--n', '6', '--layers', '0', '--curves', '2', '--out', out)
    assert (status, wrong) == (0, '') and '6 with trimaps' in said and 'no grids' in said and '\r' not in said
    with open(out/'localise.csv', newline='') as f: rows = {(r['game'], r['layer'], r['method'], r['measure']): r for r in csv.DictReader(f)}
    line = next(l for l in said.splitlines() if l.startswith('| LayerCAM '))
    for cell, (measure, n) in zip(line.split('|')[2:], (('pointing', 6), ('energy', 6), ('IoU at half', 6), ('best IoU', 6), ('insertion', 2), ('deletion', 2))):
        r = rows['single', '0', 'LayerCAM', measure]
        assert cell.strip() == f"{100*float(r['mean']):.1f} ± {100*float(r['se']):.1f}" and int(r['n']) == n
    assert abs(float(rows['single', '0', 'chance', 'pointing']['mean']) - .5) < .03 and ('shifted', '0', 'Grad-CAM, random weights', 'energy') in rows
    page = (out/'localise.html').read_text()
    assert line.split('|')[3].strip().replace(' ', '\xa0') in page and page.count('<img') == 6 and 'http' not in page and 'real photographs' in page
    assert sorted(f.name for f in out.iterdir()) == ['localise.csv', 'localise.html']
    again = typed(capsys, 'localise', '--model', model, '--data', masked/'pets', '--n', '6', '--layers', '0', '--curves', '2', '--out', masked/'again')
    assert (masked/'again'/'localise.csv').read_text() == (out/'localise.csv').read_text() and again[0] == 0

def test_localise_can_leave_out_what_was_trained_on(masked, capsys):
    from petcam.data import split_by_rand_pct
    files = sorted((masked/'pets').iterdir(), key=lambda f: f.name)
    valid = [files[i].name for i in split_by_rand_pct(40)[1] if (masked/'annotations'/'trimaps'/f'{files[i].stem}.png').exists()]
    status, said, _ = typed(capsys, 'localise', '--model', masked/'out'/'models'/'stage-3.pth', '--data', masked/'pets', '--split', 'valid', '--layers', '0',
                            '--curves', '1', '--out', masked/'valid')
    page = (masked/'valid'/'localise.html').read_text()
    shown = [f.name for f in files if f'{f.name}:' in page]
    assert status == 0 and f'{len(valid)} with trimaps' in said and len(valid) > 2 and set(shown) <= set(valid) and shown

@pytest.mark.parametrize('words, expected', [
    (['--model', 'gone.pth'], 'gone.pth: no such file'),
    (['--data', '{few}'], 'none of the 40 images has a trimap'),
    (['--layers', '0,0.99'], "no layer '0.99'"),
    (['--layers', '1.4'], '1.4'),
    (['--data', '{strange}'], 'the network does not know beagle; it has learnt 2 classes, such as Abyssinian, leonberger'),
    (['--n', '1'], 'one image is too few'),
    (['--out', '{few}/images/beagle_1.jpg'], 'cannot write there'),
    (['--data', '/nowhere'], "'/nowhere' is not a folder"),
])
def test_localise_says_what_is_wrong_in_one_line(masked, few_pets, tmp_path, capsys, words, expected):
    if '{strange}' in words:
        import shutil
        shutil.copytree(few_pets, tmp_path/'strange')
        (tmp_path/'strange'/'annotations'/'trimaps').mkdir(parents=True)
        for i in range(1, 21): Image.new('L', (64,48), 1).save(tmp_path/'strange'/'annotations'/'trimaps'/f'beagle_{i}.png')
    words = [w.format(few=few_pets, strange=tmp_path/'strange') for w in words]
    for option, value in (('--model', masked/'out'/'models'/'stage-3.pth'), ('--data', masked/'pets'), ('--out', tmp_path/'out')):
        if option not in words: words += [option, value]
    status, _, said = typed(capsys, 'localise', *words)
    assert status == 1 and expected in said and '\n' not in said and said.startswith('petcam: ')

def test_localise_help_shows_an_example(capsys):
    status, said, _ = typed(capsys, 'localise', '--help')
    assert status == 0 and 'example: petcam localise' in said
