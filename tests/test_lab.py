"In a real JupyterLab, in a real browser: the sliders of the explorer move by keyboard, and the map on show is the one asked for."
import base64, io, json, os, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SETTINGS = {'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False),
            'notebook-extension/tracker': dict(windowingMode='none', autoStartDefaultKernel=True)}

def free_port():
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); return s.getsockname()[1]

def lab_settings(home): # no news, all cells on the page; nothing of the user's own
    for name, values in SETTINGS.items():
        f = home/'settings/@jupyterlab'/f'{name}.jupyterlab-settings'
        f.parent.mkdir(parents=True, exist_ok=True); f.write_text(json.dumps(values))
    own = dict(CONFIG_DIR='config', DATA_DIR='data', RUNTIME_DIR='runtime')
    return {**os.environ, **{f'JUPYTER_{k}': str(home/v) for k, v in own.items()}, 'JUPYTERLAB_SETTINGS_DIR': str(home/'settings'),
            'JUPYTERLAB_WORKSPACES_DIR': str(home/'spaces'), 'IPYTHONDIR': str(home/'ipython'), 'PYTHONPATH': str(ROOT), 'OMP_WAIT_POLICY': 'PASSIVE'}

@pytest.fixture(scope='module')
def server(tmp_path_factory):
    pytest.importorskip('jupyterlab', reason="JupyterLab is not installed: pip install -e '.[lab]', or make .venv/lab")
    home, work, port = tmp_path_factory.mktemp('home'), tmp_path_factory.mktemp('work'), free_port()
    shutil.copy(ROOT/'nbs/09_explore.ipynb', work)
    options = [f'ServerApp.port={port}', 'ServerApp.ip=127.0.0.1', 'IdentityProvider.token=', 'ServerApp.password=', f'ServerApp.root_dir={work}',
               'LabApp.extension_manager=readonly', 'LabApp.expose_app_in_browser=True']
    with open(home/'log', 'w') as log:
        lab = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', *(f'--{o}' for o in options)],
                               stdout=log, stderr=subprocess.STDOUT, env=lab_settings(home))
    try:
        for _ in range(300):
            assert lab.poll() is None, (home/'log').read_text()[-2000:]
            try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api', timeout=2); break
            except OSError: time.sleep(.2)
        yield f'http://127.0.0.1:{port}'
    finally: lab.terminate(); lab.wait(20)

RUN_ALL = '''async () => {
  const app = window.jupyterapp; await app.restored;
  const panel = app.shell.currentWidget; await panel.context.ready; await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
}'''

@pytest.fixture(scope='module')
def lab(browser, server):
    page = browser.new_page(viewport=dict(width=1400, height=1000))
    page.set_default_timeout(120_000)
    page.goto(f'{server}/doc/tree/09_explore.ipynb?reset')
    page.locator('.jp-NotebookPanel').wait_for()
    page.evaluate(RUN_ALL) # resolves when every cell has run
    return page

@pytest.fixture(scope='module')
def ours(): # the lesson's explorer, in this process
    from petcam.explore import CamExplorer
    from petcam.resize import lesson_learner
    from petcam.toy.scenes import draw_pair
    learn = lesson_learner()
    return CamExplorer(learn, [draw_pair('leonberger', 'Abyssinian', seed=3)[0], *learn.data.valid_ds.files[:3]], target='leonberger')

EXPLORER = '.widget-vbox:has(> .widget-image):has(.widget-label:text-is("Layer"))'
def explorer(page): return page.locator(EXPLORER).first
def handle(page, name): return explorer(page).locator(f'.widget-hslider:has(.widget-label:text-is("{name}")) .noUi-handle')
def said(page): return explorer(page).locator('[role=status]').inner_text()

def on_show(page): # the image, decoded
    data = explorer(page).locator('> .widget-image').evaluate('''async o => {
      const bytes = new Uint8Array(await (await fetch((o.src ? o : o.querySelector('img')).src)).arrayBuffer());
      return btoa([...bytes].map(b => String.fromCharCode(b)).join('')); }''')
    return decoded(base64.b64decode(data))

def press(page, name, key, wanted): # until the words say what is wanted
    from playwright.sync_api import expect
    handle(page, name).focus(); page.keyboard.press(key)
    expect(explorer(page).locator('[role=status]')).to_contain_text(wanted, timeout=30_000)

def decoded(data): return np.asarray(Image.open(io.BytesIO(data))).astype(float)

def nearest(ours, shown): # of all classes and layers, the one whose image is nearest to the one on show
    def away(layer, k): ours.layer, ours.target = layer, k; return np.abs(ours.pixels().astype(float) - shown).mean()
    return min((away(layer, k), layer, ours.store.class_names[k]) for layer in ours.store.layers for k in range(len(ours.store.class_names)))

def test_no_cell_printed_an_error(lab):
    wrong = lab.locator('.jp-OutputArea-output[data-mime-type*="stderr"], .jp-OutputArea-output[data-mime-type*="error"]')
    assert wrong.count() == 0, wrong.first.inner_text()

def test_the_map_on_show_is_that_of_the_class_and_the_layer(lab, ours):
    classes, layers = ours.store.class_names, ours.store.layers
    k = classes.index('leonberger')
    assert said(lab).startswith('leonberger') and nearest(ours, on_show(lab))[1:] == (layers[-1], 'leonberger')
    for name, key, layer, cls in [('Class', 'ArrowRight', -1, k+1), ('Class', 'ArrowRight', -1, k+2), ('Layer', 'ArrowLeft', -2, k+2),
                                  ('Class', 'ArrowLeft', -2, k+1), ('Layer', 'ArrowLeft', -3, k+1), ('Class', 'Home', -3, 0)]:
        press(lab, name, key, f'{classes[cls]}:' if name == 'Class' else f'layer {layers[layer]}),')
        assert said(lab).startswith(f'{classes[cls]}:') and f'layer {layers[layer]}),' in said(lab)
        assert nearest(ours, on_show(lab))[1:] == (layers[layer], classes[cls])
        ours.layer, ours.target = layers[layer], classes[cls]
        assert np.abs(decoded(ours.display.value) - on_show(lab)).mean() < 1

WATCH = '''o => { const image = o.matches('img') ? o : o.querySelector('img'); window.drawn = [];
  new MutationObserver(() => window.drawn.push(performance.now())).observe(image, {attributes: true, attributeFilter: ['src']}); }'''

def test_a_class_on_its_slider_is_wide_enough_for_a_hand(lab, ours):
    wide = handle(lab, 'Class').evaluate("o => o.closest('.noUi-target').getBoundingClientRect().width")
    assert wide/len(ours.store.class_names) >= 10 # pixels

def test_a_slider_that_is_dragged_ends_where_the_hand_does_and_nothing_queues_up(lab, ours):
    from playwright.sync_api import expect
    press(lab, 'Layer', 'End', f'layer {ours.store.layers[-1]}),'); press(lab, 'Class', 'Home', f'{ours.store.class_names[0]}:')
    explorer(lab).locator('> .widget-image').evaluate(WATCH)
    handle(lab, 'Class').focus()
    for _ in range(20): lab.keyboard.press('ArrowRight')
    expect(explorer(lab).locator('[role=status]')).to_contain_text(f'{ours.store.class_names[20]}:', timeout=30_000)
    drawn = lab.evaluate('window.drawn.length')
    lab.wait_for_timeout(1500)
    assert 1 <= drawn <= 20 and lab.evaluate('window.drawn.length') == drawn # nothing comes late
    assert nearest(ours, on_show(lab))[1:] == (ours.store.layers[-1], ours.store.class_names[20])

def test_the_thumbnails_the_method_and_the_other_class_by_keyboard(lab, ours):
    from playwright.sync_api import expect
    words = explorer(lab).locator('[role=status]')
    explorer(lab).locator('.widget-vbox button').nth(1).focus(); lab.keyboard.press('Enter')
    expect(explorer(lab).locator('button.px-on')).to_have_text(ours.store.titles[1], timeout=30_000)
    for menu, method in [('Method', 'LayerCAM'), ('Versus', 'beagle')]:
        explorer(lab).locator(f'.widget-dropdown:has(.widget-label:text-is("{menu}")) select').select_option(label=method)
        expect(words).to_contain_text(method, timeout=30_000)
    ours.image, ours.method, ours.versus = 1, 'LayerCAM', 'beagle'
    assert nearest(ours, on_show(lab))[1:] == (ours.store.layers[-1], ours.store.class_names[20])

def test_an_uploaded_image_is_shown(lab, ours, tmp_path):
    from playwright.sync_api import expect
    Image.fromarray(np.full((60, 90, 3), (40, 160, 80), np.uint8)).save(tmp_path/'meadow.png'); (tmp_path/'notes.txt').write_text('words')
    with lab.expect_file_chooser() as chooser: explorer(lab).locator('.widget-upload').click()
    chooser.value.set_files([tmp_path/'meadow.png', tmp_path/'notes.txt'])
    expect(explorer(lab).locator('[role=alert]')).to_contain_text('notes.txt', timeout=30_000)
    assert explorer(lab).locator('button.px-on').inner_text() == 'meadow'
    shown = on_show(lab) # image, map, overlay; of the image its middle, which the model sees
    h, w = len(shown)//3, (shown.shape[1] - 12)//3
    assert np.abs(shown[h:-h, w//3:2*w//3] - (40, 160, 80)).max() < 12

@pytest.mark.parametrize('theme', ['Light', 'Dark'])
@pytest.mark.parametrize('width', [1400, 800])
def test_it_fits_the_page(lab, theme, width): # look at the images in build/
    lab.set_viewport_size(dict(width=width, height=1000))
    lab.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", f'JupyterLab {theme}')
    explorer(lab).scroll_into_view_if_needed(); lab.wait_for_timeout(1500)
    (ROOT/'build').mkdir(exist_ok=True); lab.screenshot(path=ROOT/f'build/lab-{width}-{theme.lower()}.png')
    assert explorer(lab).evaluate('''o => { const edge = o.getBoundingClientRect().right + 2;
      return [...o.querySelectorAll('*')].every(e => e.getBoundingClientRect().right <= edge); }''')
