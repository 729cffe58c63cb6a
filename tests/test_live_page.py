"""A page with a network in it, read without a browser: what stands in the file, what it forbids itself, and what is written where onnxruntime-web is not to be had."""
import base64, copy, gzip, hashlib, io, json, os, re, shutil, subprocess, tarfile, warnings
from pathlib import Path
import numpy as np
import pytest, torch
from PIL import Image
from torch import nn
from petcam import export_page
from petcam.resize import lesson_learner
from petcam.web.live import engine_files

NAMES = ['cat', 'dog', 'neither']
EVIL = '</script><script>alert(1)</script>'

def small(k=3):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 24, 3, 2), nn.BatchNorm2d(24), nn.ReLU(inplace=True), nn.Conv2d(24, 16, 3), nn.ReLU(inplace=True))
    return nn.Sequential(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, k))).eval()

def pixels(seed=0): return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)

HOW = dict(class_names=NAMES, size=32, layers=['0.2', '0'])

@pytest.fixture(scope='module')
def engine():
    try: return engine_files()
    except ConnectionError as e: pytest.skip(str(e))

@pytest.fixture(scope='module')
def page(engine, tmp_path_factory):
    for name in ('onnx', 'onnxscript'): pytest.importorskip(name)
    path = export_page(small(), tmp_path_factory.mktemp('page')/'page.html', [pixels(0), pixels(1)], title='Noise & more', titles=['one', EVIL], **HOW)
    return path.read_text(encoding='utf-8')

def data_of(page): return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
def block(page, name): return gzip.decompress(base64.b64decode(re.search(rf'<script type="text/plain" class="px-{name}">(.*?)</script>', page, re.S)[1]))
def policy_of(page): return dict(o.strip().split(' ', 1) if ' ' in o.strip() else (o.strip(), '') for o in re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].split(';'))
def hashed(text): return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

# ---------- what stands in the file ----------

def test_the_network_in_the_file_is_the_one_that_was_given(page, tmp_path):
    ort = pytest.importorskip('onnxruntime')
    (tmp_path/'weights').write_bytes(block(page, 'weights'))
    model, x = small(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1: p.copy_(p.half().float()) # as in the page
        want = [model(x), model[0][:3](x), model[0](x)]
    (tmp_path/'forward.onnx').write_bytes(gzip.decompress(base64.b64decode(data_of(page)['live']['graphs']['forward'])))
    session = ort.InferenceSession(tmp_path/'forward.onnx')
    assert [o.name for o in session.get_outputs()] == ['logits', '0.2', '0']
    for got, expected in zip(session.run(None, {'x': x.numpy()}), want): assert np.abs(got - expected.numpy()).max() < 1e-5

def test_the_engine_in_the_file_is_the_one_that_npm_signed(page):
    assert hashlib.sha256(block(page, 'wasm')).hexdigest() == '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2'
    assert hashlib.sha256(block(page, 'engine')).hexdigest() == '11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90'
    assert block(page, 'wasm').startswith(b'\0asm') and b'MIT License' in block(page, 'engine')[:300]

def test_what_the_page_knows(page):
    data = data_of(page)
    assert (data['class_names'], data['layers'], data['live']['size'], data['live']['shapes']) == (NAMES, ['0.2', '0'], [32, 32], [[24, 15, 15], [16, 13, 13]])
    assert data['live']['recipe']['kind'] == 'recipe' and data['live']['recipe']['size'] == [32, 32]
    assert [o['title'] for o in data['images']] == ['one', EVIL] and set(data['images'][0]) == {'title', 'src'} # no stored maps
    for i, image in enumerate(data['images']):
        kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(image['src'].removeprefix('data:image/png;base64,')))))
        assert (kept == pixels(i)).all() # to the bit: it is prepared as the image itself would be
    assert 'knows 3 classes' in data['live']['note']

def test_nothing_in_the_page_names_an_address_or_ends_a_script(page):
    assert not re.search(r'(?:https?|wss?|ftp)://', page) and not re.search(r'\b(?:src|href)=["\'](?!data:)', page)
    assert EVIL not in page and '<h1>Noise &amp; more</h1>' in page and '<title>petcam · Noise &amp; more</title>' in page

def test_no_name_is_declared_twice_in_the_worker(page, tmp_path):
    node = shutil.which('node')
    if not node: pytest.skip('no Node: apt-get install nodejs')
    (tmp_path/'worker.js').write_text(re.search(r'<script type="text/plain" class="px-worker">(.*?)</script>', page, re.S)[1])
    run = subprocess.run([node, '--check', tmp_path/'worker.js'], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

def test_the_line_in_the_documentation(engine, tmp_path, monkeypatch):
    for name in ('onnx', 'onnxscript'): pytest.importorskip(name)
    line, = re.findall(r"`petcam\.(export_page\(.*?\))`", (Path(__file__).parents[1]/'docs'/'your_model.md').read_text(encoding='utf-8'))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels()).save('photo.jpg')
    data = data_of(eval(line, dict(export_page=export_page, model=small(), names=NAMES)).read_text())
    assert data['images'][0]['title'] == 'photo' and data['live']['size'] == [224, 224] and data['class_names'] == NAMES

def test_the_licence_of_the_engine_goes_with_it(page):
    assert 'The network runs in onnxruntime-web 1.30.0, Copyright (c) Microsoft Corporation' in page and 'Permission is hereby granted, free of charge' in page

# ---------- what the browser is told ----------

def test_the_policy_lets_nothing_out(page):
    policy = policy_of(page)
    assert policy['default-src'] == "'none'" and 'connect-src' not in policy and 'form-action' in policy
    assert policy['worker-src'] == 'blob:' and set(policy['img-src'].split()) == {'data:', 'blob:'}
    allowed = policy['script-src'].split() + policy['style-src'].split()
    assert not {"'unsafe-inline'", "'unsafe-eval'", "'self'", '*', 'data:'} & set(allowed) and 'http' not in ' '.join(policy.values())
    run = re.findall(r'<script>(.*?)</script>', page, re.S)
    assert len(run) == 2 and {o for o in policy["script-src"].split() if "sha256" in o} == {*map(hashed, run)}
    assert {hashed(o) for o in re.findall(r'<style>(.*?)</style>', page, re.S)} <= set(policy['style-src'].split())

# ---------- where it is not to be had ----------

def with_npm(monkeypatch, folder, script=None):
    "An empty cache, and a program called npm that runs `script`, or none"
    bin = folder/'bin'
    bin.mkdir(exist_ok=True)
    if script:
        (bin/'npm').write_text(f'#!{shutil.which("sh")}\n{script}\n')
        (bin/'npm').chmod(0o755)
    monkeypatch.setenv('PATH', str(bin))
    monkeypatch.setenv('PETCAM_CACHE', str(folder/'cache'))
    return folder/'cache'

def packed(path, files):
    with tarfile.open(path, 'w:gz', compresslevel=1) as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(f'package/dist/{name}')
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))

def test_without_npm_the_page_has_stored_maps_and_says_so(tmp_path, monkeypatch):
    with_npm(monkeypatch, tmp_path)
    with pytest.warns(UserWarning, match='stored maps only: npm is not installed'): path = export_page(small(), tmp_path/'x.html', [pixels()], note='A small one.', **HOW)
    page = path.read_text()
    assert '<p><span>A small one.</span> The page shows stored maps of these images only: the network is not in it (npm is not installed' in page
    image, = data_of(page)['images']
    assert len(image['logits']) == 3 and len(image['layers']) == 2 and 'live' not in data_of(page)
    assert 'wasm' not in page.partition('<style>')[0] and 'px-weights' not in page
    with warnings.catch_warnings(): # asked for, it is no trouble
        warnings.simplefilter('error')
        assert 'not in it.</p>' in export_page(small(), tmp_path/'y.html', [pixels()], live=False, **HOW).read_text()

@pytest.fixture(scope='module')
def archives(engine, tmp_path_factory):
    "The package as npm would bring it, and three that are not whole"
    folder = tmp_path_factory.mktemp('archives')
    (script, one), (wasm, other) = [(name, gzip.decompress(o)) for name, o in engine.items()]
    packed(folder/'good', {script: one, wasm: other})
    packed(folder/'bad', {script: one, wasm: other[:-1] + b'!'})
    packed(folder/'few', {script: one})
    (folder/'cut').write_bytes((folder/'good').read_bytes()[:200_000])
    return {o.name: o for o in folder.iterdir()}

@pytest.mark.parametrize('script, why', [
    ('echo "npm error code ENOTFOUND" >&2; exit 1', 'npm could not get onnxruntime-web@1.30.0 .npm error code ENOTFOUND'),
    ('exit 0', 'no archive is there'),
    ('echo no archive > x.tgz', 'arrived damaged .ReadError'),
    ('cp "$BAD" x.tgz', 'arrived damaged: ort-wasm-simd-threaded.wasm is not the file that petcam knows'),
    ('cp "$FEW" x.tgz', 'arrived damaged .KeyError'),
    ('cp "$CUT" x.tgz', 'arrived damaged'),
])
def test_a_download_that_is_not_what_it_should_be_is_refused(archives, tmp_path, monkeypatch, script, why):
    for name, path in archives.items(): monkeypatch.setenv(name.upper(), str(path))
    cache = with_npm(monkeypatch, tmp_path, script.replace('cp ', f'{shutil.which("cp")} '))
    with pytest.raises(ConnectionError, match=why) as e: engine_files()
    assert '\n' not in str(e.value) and not list(cache.rglob('*'))

def test_a_damaged_copy_in_the_cache_is_fetched_again(engine, archives, tmp_path, monkeypatch):
    good = {name: gzip.decompress(data) for name, data in engine.items()}
    monkeypatch.setenv('GOOD', str(archives['good']))
    cache = with_npm(monkeypatch, tmp_path, f'{shutil.which("cp")} "$GOOD" x.tgz')
    for _ in range(2):
        assert {name: gzip.decompress(o) for name, o in engine_files().items()} == good
        kept = sorted(o for o in cache.rglob('*') if o.is_file())
        assert [o.name for o in kept] == sorted(f'{name}.gz' for name in good)
        kept[0].write_bytes(kept[0].read_bytes()[:-9]) # and once more
    (tmp_path/'bin'/'npm').unlink()
    with pytest.raises(ConnectionError, match='npm is not installed'): engine_files() # the damaged one is not taken
    kept[0].write_bytes(gzip.compress(b'another program'))
    with pytest.raises(ConnectionError, match='npm is not installed'): engine_files()

# ---------- calls ----------

@pytest.mark.parametrize('how, expected', [
    (dict(size=None), 'size'), (dict(inputs=lambda x: x), 'inputs given; expected a model that makes logits'), (dict(logits=0, call=1), 'call, logits given'),
    (dict(size=None, transform=lambda image: torch.zeros(3, 32, 32)), 'transform'), (dict(methods=['GradCAM']), "no method 'GradCAM'"), (dict(layers=['nope']), "no layer 'nope'"), (dict(class_names=['a']), 'class names')])
def test_what_a_page_cannot_hold_is_refused_and_the_old_page_stays(engine, tmp_path, how, expected):
    path = tmp_path/'x.html'
    path.write_text('mine')
    with pytest.raises(ValueError, match=expected): export_page(small(), path, [pixels()], **(HOW | how))
    assert path.read_text() == 'mine' and [o.name for o in tmp_path.iterdir()] == ['x.html']

def test_a_write_that_fails_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path/'x.html'
    path.write_text('old')
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='No space left'): export_page(small(), path, [pixels()], live=False, **HOW)
    assert path.read_text() == 'old' and [o.name for o in tmp_path.iterdir()] == ['x.html']

def test_the_model_comes_back_as_it_was(engine, tmp_path):
    model = small().train()
    model[0][0].weight.requires_grad_(False)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    export_page(model, tmp_path/'x.html', [pixels()], **HOW)
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items()) and torch.equal(torch.get_rng_state(), random)
    assert all(m.training for m in model.modules()) and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [p.requires_grad for p in model.parameters()][:2] == [False, True] and all(p.grad is None for p in model.parameters())

def test_a_toy_learner_s_page_is_small_and_says_that_it_is_toy(engine, tmp_path):
    for name in ('onnx', 'onnxscript'): pytest.importorskip(name)
    learn = lesson_learner()
    path = export_page(learn, tmp_path/'toy.html')
    data = data_of(path.read_text())
    assert path.stat().st_size < 10e6 and len(data['images']) == 3 and data['class_names'] == learn.data.classes
    assert 'toy pets, which are drawings' in data['live']['note'] and data['live']['recipe']['kind'] == 'square'
