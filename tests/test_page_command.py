"""`petcam page`: it writes a page, refuses in one line what it cannot do, and replaces nothing of yours."""
import json, re
import pytest
from PIL import Image
from petcam.cli import main
from petcam.head import create_cnn
from petcam.training.weights import write_tensors

NET = '''
import torch
from torch import nn
torch.manual_seed(0)
def net(): return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
'''

def typed(capsys, *words):
    try: status = main([str(w) for w in words])
    except SystemExit as e: status = e.code
    said = capsys.readouterr()
    return status, said.out, said.err.strip()

@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'page_net.py').write_text(NET)
    (tmp_path/'names.txt').write_text('cat\ndog\nfish\n')
    for name, colour in (('red.png', 'red'), ('blue.jpg', 'blue')): Image.new('RGB', (60, 40), colour).save(tmp_path/name)
    (tmp_path/'broken.jpg').write_bytes(b'no image')
    return tmp_path

OWN = '--model', 'page_net.py:net', '--classes', 'names.txt', '--size', 32

@pytest.fixture
def no_npm(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '')
    monkeypatch.setenv('PETCAM_CACHE', str(tmp_path/'cache'))

def data_of(path): return json.loads(re.search(r'<script type="application/json">(.*?)</script>', path.read_text(), re.S)[1])

def test_a_page_with_stored_maps(here, capsys):
    status, said, wrong = typed(capsys, 'page', 'red.png', 'blue.jpg', *OWN, '--stored', '--title', 'Red & blue')
    assert status == 0 and re.fullmatch(r'wrote page.html \(0\.\d MB\)\n', said) and not wrong
    data = data_of(here/'page.html')
    assert [o['title'] for o in data['images']] == ['red', 'blue'] and data['class_names'] == ['cat', 'dog', 'fish'] and 'live' not in data
    assert '<h1>Red &amp; blue</h1>' in (here/'page.html').read_text()
    assert typed(capsys, 'page', *OWN, '--stored')[0] == 0 # petcam's own page is replaced
    assert [o['title'] for o in data_of(here/'page.html')['images']] == ['two toy pets']

def test_a_page_with_the_network_in_it(here, capsys):
    from petcam.web.live import engine_files
    for name in ('onnx', 'onnxscript'): pytest.importorskip(name)
    try: engine_files()
    except ConnectionError as e: pytest.skip(str(e))
    status, said, _ = typed(capsys, 'page', 'red.png', *OWN, '--layers', '1', '--out', 'deep/er/live.html')
    assert status == 0 and re.fullmatch(r'wrote deep/er/live.html \(\d\.\d MB\)\n', said)
    assert data_of(here/'deep'/'er'/'live.html')['live']['shapes'] == [[8, 15, 15]]

def test_without_npm_a_note_says_why(here, no_npm, capsys):
    status, said, wrong = typed(capsys, 'page', 'red.png', *OWN)
    assert status == 0 and 'wrote page.html' in said and wrong.startswith('note: the page holds stored maps only: npm is not installed') and '\n' not in wrong

def test_a_network_that_has_learnt_from_drawings_is_called_one(here, no_npm, capsys):
    about = dict(arch='squeezenet1_1', bn_final=False, weights='None', classes=['beagle', 'pug'], size=64, kind='toy')
    write_tensors(dict(model=create_cnn('squeezenet1_1', 2).state_dict(), about=about), here/'net.pth')
    status, said, _ = typed(capsys, 'page', 'red.png', '--model', 'net.pth', '--stored')
    assert status == 0 and 'has learnt from toy pets' in said
    assert 'The network is squeezenet1_1. It has learnt 2 classes from toy pets, which are drawings: what it says of a photograph means little.' in (here/'page.html').read_text()

@pytest.mark.parametrize('words, expected', [
    (['red.png', *OWN, '--out', 'page.png'], 'expected the name of a page, such as page.html'),
    (['red.png', *OWN, '--out', 'mine.html'], 'mine.html is there already, and petcam has not written it'),
    (['red.png', *OWN, '--out', 'red.png/x.html'], 'cannot write there'),
    (['gone.png', *OWN], 'gone.png'), (['broken.jpg', *OWN], 'broken.jpg is not an image'),
    (['red.png', *OWN[:-2], '--stored', '--layers', 'nope'], "no layer 'nope'"),
    (['red.png', *OWN, '--stored', '--activation', 'none', '--model', 'gone.pth'], 'gone.pth: no such file'),
    (['red.png', '--model', 'page_net.py:net', '--classes', 'page_net.py', '--size', 32, '--stored'], 'class names'),
    (['red.png', '--model', 'torchvision:resnet5O'], "torchvision has no 'resnet5O'"),
])
def test_what_cannot_be_done_costs_one_line(here, no_npm, capsys, words, expected):
    (here/'mine.html').write_text('mine')
    status, _, said = typed(capsys, 'page', *words)
    said = [o for o in said.splitlines() if not o.startswith('note: ')]
    assert status == 1 and len(said) == 1 and said[0].startswith('petcam: ') and expected in said[0]
    assert (here/'mine.html').read_text() == 'mine' and not (here/'page.html').exists()

def test_force_replaces_what_is_there(here, capsys):
    (here/'mine.html').write_text('mine')
    assert typed(capsys, 'page', 'red.png', *OWN, '--stored', '--out', 'mine.html', '--force')[0] == 0
    assert data_of(here/'mine.html')['class_names'] == ['cat', 'dog', 'fish']

def test_the_size_is_asked_for_where_nobody_knows_it(here, capsys):
    from petcam.web.live import engine_files
    try: engine_files()
    except ConnectionError as e: pytest.skip(str(e))
    status, _, said = typed(capsys, 'page', 'red.png', *OWN[:-2])
    assert status == 1 and 'size' in said and '\n' not in said
