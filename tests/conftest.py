"""What several tests need: golden numbers, small images, a browser."""
import json, os, shutil, signal, threading
from pathlib import Path
import psutil
import pytest
import torch
from PIL import Image

HERE = Path(__file__).parent
os.environ['PETCAM_LANG'] = 'en'   # whatever the locale of the machine; its processes, too
signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell's background ignores Ctrl-C, which some tests press
torch.set_num_threads(1)   # small networks: more threads only wait for each other
REAL_PETS, REAL_WEIGHTS = HERE.parents[1]/'shared'/'pets', HERE.parents[1]/'shared'/'weights'/'mobilenet_v2-imagenet.pth'

@pytest.fixture(scope='session')
def golden(): return json.loads((HERE/'golden.json').read_text())

CHROME = os.environ.get('CHROME') or shutil.which('chromium') or shutil.which('google-chrome')
QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--disable-dev-shm-usage']   # it asks nobody for anything by itself

@pytest.fixture(scope='module')   # Playwright's event loop would be in the way of other modules' own
def browser():
    "Chromium, without a window"
    playwright = pytest.importorskip('playwright.sync_api', reason="Playwright is not installed: pip install -e '.[dev]'")
    if not CHROME: pytest.skip('no browser: apt-get install chromium, or set CHROME')
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROME, args=QUIET)
        yield chromium
        chromium.close()
        # a process that a test has forked keeps the driver's pipe open, and the driver would wait for its end for ever
        late = threading.Timer(10, stop_driver)
        late.start()
    late.cancel()

@pytest.fixture(scope='session')
def site():
    "All pages of the site"
    from sitepages import built     # which needs npm and Sphinx
    return built()

@pytest.fixture
def tab(browser, site):
    "A page that notes what it asks for and complains about"
    tab = browser.new_page()
    tab.elsewhere, tab.complaints = [], []
    tab.on('request', lambda r: None if r.url.startswith(('file:', 'data:', 'blob:')) else tab.elsewhere.append(r.url))
    tab.on('console', lambda m: tab.complaints.append(m.text) if m.type == 'error' else None)
    tab.on('pageerror', lambda e: tab.complaints.append(str(e)))
    yield tab
    tab.close()

def stop_driver():
    for child in psutil.Process().children():
        if 'playwright' in ' '.join(child.cmdline()): child.kill()

@pytest.fixture
def real_pets():
    if not REAL_PETS.is_dir(): pytest.skip('the real photographs are not here (../shared/pets)')
    return REAL_PETS

@pytest.fixture
def real_weights():
    if not REAL_WEIGHTS.exists(): pytest.skip('the real weights are not here (../shared/weights)')
    return REAL_WEIGHTS

@pytest.fixture
def few_pets(tmp_path):
    "A folder of 40 small images: 20 reddish 'Abyssinian', 20 greenish 'beagle'"
    folder = tmp_path/'pets'/'images'
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    for breed, colour in (('Abyssinian', (200,60,60)), ('beagle', (60,200,60))):
        for i in range(20):
            noise = torch.randint(-40, 40, (48,64,3)) + torch.tensor(colour)
            Image.fromarray(noise.clamp(0,255).byte().numpy()).save(folder/f'{breed}_{i+1}.jpg')
    return folder.parent
