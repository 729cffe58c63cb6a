"""A page with a network in it, opened from disk in Chromium with the network off: what it answers, what it takes, what it says where it cannot."""
import base64, io, re
import numpy as np
import pytest, torch
from PIL import Image
from torch import nn
from petcam import export_page
from petcam.engine.targets import verdict
from petcam.methods import CLASS_AGNOSTIC, METHODS
from petcam.web.live import engine_files
from petcam.widgets.store import MapStore
from axe import violations
from conftest import CHROME, QUIET

NAMES = [f'{colour} {animal}' for colour in ('red', 'green', 'blue', 'white', 'black', 'grey', 'striped', 'spotted', 'small', 'large', 'old', 'young')
         for animal in ('cat', 'dog', 'fox', 'hen', 'owl', 'cow', 'bee', 'ape', 'ant', 'elk')]
LAYERS, SIZE = ['0.2', '0.5', '0'], (40, 56)
HOW = dict(class_names=NAMES, layers=LAYERS, size=SIZE, mean=(.5, .4, .3), std=(.2, .3, .4))

def network(k=len(NAMES)): # three stages, and a head that is not linear
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Conv2d(12, 24, 3, 2), nn.BatchNorm2d(24),
                         nn.ReLU(inplace=True), nn.Conv2d(24, 32, 3), nn.ReLU(inplace=True))
    model = nn.Sequential(body, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, k)).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1: p.mul_(1.4)
        head = model[-1] # without what all images have in common, which would make one class win always
        features = torch.stack([model[:-1](torch.randn(1, 3, *SIZE))[0] for _ in range(20)])
        head.bias.sub_(head(features).mean(0))
        for p in head.parameters(): p.mul_(40)
    return model

def rounded(): # with the weights that the page has
    model = network()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1: p.copy_(p.half().float())
    return model

def picture(seed, h=60, w=90):
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC))

def opened_image(seed): return Image.fromarray(picture(seed)) # Pillow resizes it, in bytes; an array would be resized in floats

def file_of(pixels, format='PNG', **options):
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format, **options)
        return file.getvalue()

@pytest.fixture(scope='module')
def path(tmp_path_factory):
    for name in ('onnx', 'onnxscript'): pytest.importorskip(name)
    try: engine_files()
    except ConnectionError as e: pytest.skip(str(e))
    return export_page(network(), tmp_path_factory.mktemp('live')/'page.html', [opened_image(0), opened_image(3)], titles=['one', 'two'], note='It has learnt nothing.',
                       methods=list(METHODS), **HOW)

@pytest.fixture(scope='module')
def store(): return MapStore(rounded(), [opened_image(0), opened_image(3)], **HOW)

def opened(browser, path, script=None, wait=True, **options):
    page = browser.new_context(offline=True, **options).new_page()
    page.asked, page.failed = [], []
    page.on('request', lambda r: page.asked.append(r.url))
    page.on('pageerror', lambda e: page.failed.append(str(e)))
    if script: page.add_init_script(script)
    page.goto(path.as_uri())
    if wait: settled(page)
    return page

BUSY = "!document.querySelector('.px-list li') || !document.querySelector('.px').petcam.map()"

def settled(page, seconds=60): # the map that was asked for is on show
    for _ in range(20*seconds):
        page.wait_for_timeout(50)
        if not page.evaluate(BUSY): return
    raise AssertionError(f'not ready: {page.inner_text(".px-own")}')

@pytest.fixture(scope='module')
def page(browser, path):
    page = opened(browser, path, viewport=dict(width=1400, height=1000))
    yield page
    assert page.failed == []
    page.context.close()

def said(page): return page.inner_text('.px-words')
def status(page): return page.inner_text('.px-status')
def problem(page): return page.inner_text('.px-problem')
def titles(page): return page.locator('.px-thumbnails label').all_inner_texts()

def until(page, holds, seconds=20):
    for _ in range(20*seconds):
        if holds(): return
        page.wait_for_timeout(50)
    raise AssertionError(f'{page.inner_text(".px-own")}\n{said(page)}')

ASK = """async ([i, k, layer, method]) => { const r = document.querySelector('.px').petcam; await r.show(i, k, layer, method);
  while (!r.map()) await new Promise(next => setTimeout(next, 5));
  const {h, w, values, agnostic} = r.map(), {logits, box} = r.data.images[i];
  return {h, w, values: [...values], agnostic, logits, box, words: document.querySelector('.px-words').textContent}; }"""

# ---------- it answers as Python does ----------

def test_every_layer_method_and_class_is_as_torch_has_it(page, store):
    for n, (i, layer) in enumerate((i, layer) for i in range(2) for layer in range(3)):
        for j, method in enumerate(METHODS):
            k = (17*n + 5*j) % len(NAMES)
            got = page.evaluate(ASK, [i, k, layer, j])
            want = store.map(i, LAYERS[layer], k, method)
            assert (got['h'], got['w']) == want.shape
            torch.testing.assert_close(torch.tensor(got['values']).view(want.shape), want, rtol=1e-4, atol=1e-4*float(want.abs().max()))
            torch.testing.assert_close(torch.tensor(got['logits']), store.logits(i), rtol=0, atol=1e-4)
            assert got['agnostic'] == (method in CLASS_AGNOSTIC)
            assert got['words'].startswith(verdict(torch.tensor(got['logits']), k, NAMES)) and f'layer {LAYERS[layer]}), {method}' in got['words']
            assert got['box'] == [round(o) for o in store.box(i, 320)]

def test_the_scale_of_the_predicted_class(page, store):
    most = [float(store.map(0, '0', k).abs().max()) for k in range(len(NAMES))]
    best, k = int(store.logits(0).argmax()), most.index(min(most))
    own, other = most[best], most[k]
    page.evaluate(ASK, [0, k, 2, list(METHODS).index('Grad-CAM')])
    high = lambda: float(page.inner_text('.px-high').removeprefix('positive +'))
    assert high() == pytest.approx(other, rel=.06) and own != pytest.approx(other, rel=.2)
    page.check('.px-same-scale')
    settled(page)
    until(page, lambda: high() == pytest.approx(own, rel=.06))
    page.uncheck('.px-same-scale')

def test_nothing_is_fetched_and_nothing_can_be(page, path):
    assert [o for o in page.asked if not o.startswith(('data:', 'blob:'))] == [path.as_uri()]
    refused = page.evaluate("""async () => { const found = [], tell = e => found.push(e.effectiveDirective);
      document.addEventListener('securitypolicyviolation', tell);
      await fetch('https://example.org/').catch(() => {});
      new Image().src = 'https://example.org/x.png';
      navigator.sendBeacon('https://example.org/', 'x');
      document.head.append(Object.assign(document.createElement('script'), {src: 'https://example.org/x.js'}));
      await new Promise(next => setTimeout(next, 300));
      document.removeEventListener('securitypolicyviolation', tell);
      return found.sort(); }""")
    assert refused == ['connect-src', 'connect-src', 'img-src', 'script-src-elem']

def test_the_last_question_wins(page):
    page.evaluate(ASK, [0, 0, 2, 2])
    page.evaluate("""() => { const slider = document.querySelector('.px-target'), layer = document.querySelector('.px-layer');
      for (let k = 1; k < 100; k++) { slider.value = k; layer.value = k % 3; slider.dispatchEvent(new Event('input')); } }""")
    settled(page)
    assert said(page).startswith(NAMES[99]) and f'(layer {LAYERS[0]})' in said(page)
    assert page.get_attribute('.px-app', 'aria-busy') is None

def test_a_slow_map_is_said_to_be_on_its_way_and_the_page_stays_awake(browser, path):
    page = opened(browser, path, script="""const post = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function(o) { setTimeout(() => post.call(this, o), o.do === 'map' && window.late || 0); };""")
    page.evaluate("() => { window.late = 1500; const o = document.querySelector('.px-target'); o.value = 3; o.dispatchEvent(new Event('input')); }")
    until(page, lambda: page.get_attribute('.px-app', 'aria-busy') == 'true', 1)
    assert said(page) == 'Computing this map …' and page.inner_text('.px-target-value').startswith(NAMES[3])
    assert page.evaluate("getComputedStyle(document.querySelector('.px-over')).opacity") == '0.4'
    page.focus('.px-alpha'); page.keyboard.press('ArrowLeft')
    assert page.inner_text('.px-alpha-value').startswith('75')
    settled(page)
    assert said(page).startswith(NAMES[3]) and page.get_attribute('.px-app', 'aria-busy') is None
    page.context.close()

def test_the_page_stays_awake_while_it_looks_at_a_large_photograph(page):
    large = base64.b64encode(file_of(np.asarray(opened_image(3).resize((4000, 3000))), 'JPEG')).decode()
    took, gap, ticks = page.evaluate("""async base64 => {
      const image = new Blob([Uint8Array.from(atob(base64), c => c.charCodeAt(0))]), times = [performance.now()];
      const clock = setInterval(() => times.push(performance.now()), 10);
      const {seconds} = await document.querySelector('.px').petcam.ask('look', {title: 'large', image});
      clearInterval(clock);
      return [seconds, Math.max(...times.slice(1).map((t, i) => t - times[i]))/1000, times.length]; }""", large)
    assert gap < took/2 and ticks > 10

# ---------- the reader's own images ----------

def of_python(pixels): # the beginning of the words for an image of one's own
    mine = MapStore(rounded(), [Image.fromarray(pixels)], **HOW)
    return verdict(mine.logits(0), int(mine.logits(0).argmax()), NAMES)

def test_chosen_files_become_thumbnails_and_the_first_is_shown(browser, path):
    page = opened(browser, path, viewport=dict(width=390, height=800))
    files = [dict(name=f'{i}.png', mimeType='image/png', buffer=file_of(picture(i, 80, 70))) for i in (5, 6)]
    page.set_input_files('.px-files', files)
    until(page, lambda: len(titles(page)) == 4)
    settled(page)
    assert titles(page) == ['one', 'two', '5.png', '6.png'] and page.get_attribute('.px-image', 'aria-label') == '5.png'
    assert said(page).startswith(of_python(picture(5, 80, 70)))
    assert re.fullmatch(r'Looked at 6.png in \d\.\d\d s\.', status(page)) and problem(page) == ''
    page.locator('.px-thumbnails label').nth(3).click()
    settled(page)
    assert said(page).startswith(of_python(picture(6, 80, 70)))
    page.set_input_files('.px-files', files[:1]) # the same file again
    until(page, lambda: len(titles(page)) == 5)
    newest = page.locator('.px-thumbnails label').nth(4).bounding_box()
    assert 0 <= newest['x'] and newest['x'] + newest['width'] <= 390 and page.failed == []
    page.context.close()

def test_one_that_cannot_be_read_is_said_in_a_sentence_and_nothing_is_lost(browser, path):
    page = opened(browser, path)
    before = said(page)
    bad = [dict(name='notes.txt', mimeType='text/plain', buffer=b'no image'), dict(name='empty.png', mimeType='image/png', buffer=b'')]
    page.set_input_files('.px-files', bad)
    until(page, lambda: 'empty.png' in problem(page))
    assert 'notes.txt' in problem(page) and page.get_attribute('.px-problem', 'role') == 'alert'
    assert said(page) == before and titles(page) == ['one', 'two'] and status(page).startswith('Looked at one in ')
    page.set_input_files('.px-files', [bad[0], dict(name='good.png', mimeType='image/png', buffer=file_of(picture(7)))])
    until(page, lambda: 'good.png' in titles(page))
    settled(page)
    assert 'notes.txt' in problem(page) and 'empty.png' not in problem(page) and said(page).startswith(of_python(picture(7)))
    page.set_input_files('.px-files', [dict(name='better.png', mimeType='image/png', buffer=file_of(picture(8)))])
    until(page, lambda: 'better.png' in titles(page))
    assert problem(page) == '' and page.failed == []
    page.context.close()

DROP = """async ([base64, name, kind]) => {
  const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0)), given = new DataTransfer();
  if (name) given.items.add(new File([bytes], name, {type: 'image/png'})); else given.setData('text/uri-list', 'https://example.org/cat.png');
  const event = name => kind === 'paste' ? new ClipboardEvent(name, {clipboardData: given, bubbles: true, cancelable: true})
    : new DragEvent(name, {dataTransfer: given, bubbles: true, cancelable: true});
  if (kind === 'paste') return document.body.dispatchEvent(event('paste'));
  const over = event('dragover'); document.body.dispatchEvent(over);
  const marked = !!document.querySelector('.px-dropping'), drop = event('drop'); document.body.dispatchEvent(drop);
  return [over.defaultPrevented, marked, drop.defaultPrevented, !!document.querySelector('.px-dropping')]; }"""

def test_an_image_may_be_dropped_anywhere_or_pasted_and_a_link_is_none(browser, path):
    page = opened(browser, path)
    assert page.evaluate(DROP, [base64.b64encode(file_of(picture(9))).decode(), 'dropped.png', 'drop']) == [True, True, True, False]
    until(page, lambda: titles(page)[2:] == ['dropped.png'])
    settled(page)
    assert said(page).startswith(of_python(picture(9)))
    page.evaluate(DROP, [base64.b64encode(file_of(picture(10))).decode(), 'pasted.png', 'paste'])
    until(page, lambda: titles(page)[3:] == ['pasted.png'])
    settled(page)
    assert said(page).startswith(of_python(picture(10)))
    assert page.evaluate(DROP, ['', '', 'drop'])[2]
    until(page, lambda: problem(page).startswith('That was no file'))
    assert len(titles(page)) == 4 and page.failed == []
    page.context.close()

def test_an_image_dropped_while_the_network_loads_is_looked_at_when_it_is_ready(browser, path):
    page = opened(browser, path, wait=False)
    page.evaluate(DROP, [base64.b64encode(file_of(picture(11))).decode(), 'early.png', 'drop'])
    until(page, lambda: titles(page)[2:] == ['early.png'], 60)
    settled(page)
    until(page, lambda: said(page).startswith(of_python(picture(11))))
    page.context.close()

def test_a_photograph_on_its_side_stands_upright(browser, path):
    page = opened(browser, path)
    turned, exif = Image.fromarray(picture(12)).transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x112] = 6 # to be turned by 90 degrees, clockwise
    page.set_input_files('.px-files', [dict(name='side.png', mimeType='image/png', buffer=file_of(np.asarray(turned), exif=exif))])
    until(page, lambda: 'side.png' in titles(page))
    settled(page)
    assert said(page).startswith(of_python(picture(12))) and page.evaluate("['width', 'height'].map(o => document.querySelector('.px-image')[o])") == [90, 60]
    page.context.close()

def test_the_camera_shows_itself_takes_a_picture_and_is_switched_off(browser, path):
    fake = [*QUIET, '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
    chromium = browser.browser_type.launch(executable_path=CHROME, args=fake)
    page = opened(chromium, path)
    on = lambda: page.evaluate("!!document.querySelector('.px-view video').srcObject")
    running = lambda: page.evaluate("document.querySelector('.px-view video').videoWidth") > 0
    page.click('.px-camera')
    until(page, running)
    assert on() and page.is_visible('.px-view')
    page.click('.px-stop')
    assert not on() and not page.is_visible('.px-view') and titles(page) == ['one', 'two']
    page.click('.px-camera')
    until(page, running)
    page.click('.px-shutter')
    until(page, lambda: titles(page)[2:] == ['camera'])
    settled(page)
    assert not on() and page.get_attribute('.px-image', 'aria-label') == 'camera'
    colours = page.evaluate("[...new Uint32Array(document.querySelector('.px').petcam.data.images[2].pixels.data.buffer)]")
    assert len(set(colours)) > 1 # no black frame
    assert page.failed == []
    chromium.close()

def test_a_camera_that_is_refused(browser, path):
    page = opened(browser, path)
    page.click('.px-camera')
    until(page, lambda: problem(page).startswith('The camera cannot be used: '))
    assert not page.is_visible('.px-view') and page.failed == []
    page.context.close()

def test_a_phone_takes_the_picture_with_its_own_camera(browser, path):
    page = opened(browser, path, viewport=dict(width=390, height=800), is_mobile=True, has_touch=True)
    with page.expect_file_chooser() as chooser: page.tap('.px-camera')
    assert chooser.value.element.get_attribute('capture') == 'environment'
    chooser.value.set_files(dict(name='phone.png', mimeType='image/png', buffer=file_of(picture(13))))
    until(page, lambda: 'phone.png' in titles(page))
    settled(page)
    assert said(page).startswith(of_python(picture(13))) and page.evaluate('document.documentElement.scrollWidth') <= 390
    page.context.close()

# ---------- many classes ----------

def listed(page): return [o.split('\n')[0] for o in page.locator('.px-list li').all_inner_texts()]

def test_the_five_most_probable_classes_and_the_chosen_one_are_listed_and_any_is_found(page, store):
    page.evaluate(ASK, [0, 0, 2, 2])
    best = [NAMES[k] for k in store.logits(0).argsort(descending=True)]
    chosen = next(name for name in reversed(best))
    page.evaluate(ASK, [0, NAMES.index(best[0]), 2, 2])
    assert listed(page) == best[:5] and page.get_attribute('.px-search', 'placeholder') == 'one of 120 classes'
    page.evaluate(ASK, [0, NAMES.index(chosen), 2, 2])
    assert listed(page) == [*best[:5], chosen]
    page.fill('.px-search', 'fox')
    assert listed(page) == [o for o in best if o.endswith('fox')]
    page.fill('.px-search', 'fox bl')
    assert sorted(listed(page)) == ['black fox', 'blue fox']
    page.keyboard.press('Enter')
    settled(page)
    first = listed(page)[0]
    assert said(page).startswith(f'{first}: ') and page.inner_text('.px-list [aria-pressed=true]').startswith(first)
    page.keyboard.press('ArrowDown'); page.keyboard.press('ArrowDown'); page.keyboard.press('Enter')
    settled(page)
    assert said(page).startswith(f'{listed(page)[1]}: ')
    page.keyboard.press('ArrowDown') # from the last back to the field
    assert page.evaluate("document.activeElement.className") == 'px-search'
    page.fill('.px-search', 'unicorn')
    assert listed(page) == ['No class has words that begin so.']
    page.fill('.px-search', '')
    page.evaluate(ASK, [0, 0, 2, 2])
    assert listed(page)[:5] == best[:5]

def test_a_network_that_is_not_sure_says_so(page, store):
    best = [float(store.logits(i).softmax(0).max()) for i in (0, 1)]
    assert best[0] < .5 < best[1]
    page.evaluate(ASK, [0, 0, 2, 2])
    assert page.inner_text('.px-doubt') == f'The network is not sure: its most probable class has only {100*best[0]:.1f}%.'
    page.evaluate(ASK, [1, 0, 2, 2])
    assert page.inner_text('.px-doubt') == ''

def test_the_promise_and_what_the_network_has_learnt_stand_beside_the_button(page):
    assert page.inner_text('.px-own').count('Your image does not leave this page. It has learnt nothing.') == 1

# ---------- browsers that cannot ----------

@pytest.mark.parametrize('script, words', [('delete window.DecompressionStream', 'it lacks unpacking of gzip.'),
    ('delete window.Worker', 'it lacks background workers.'), ('WebAssembly.validate = () => false', '(SIMD).')])
def test_a_browser_that_cannot_says_what_it_lacks_and_keeps_the_still_image(browser, path, script, words):
    page = opened(browser, path, script=script, wait=False)
    assert words in problem(page) and problem(page).endswith('Below is a still image.')
    assert page.is_visible('.px-still') and not page.is_visible('.px-app') and not page.is_visible('.px-offer') and not page.is_visible('.px-progress')
    assert page.failed == []
    page.context.close()

def test_a_damaged_page_says_so_and_keeps_the_still_image(browser, path, tmp_path):
    text = path.read_text(encoding='utf-8')
    weights = re.search(r'class="px-weights">(.*?)<', text, re.S)[1]
    damaged = tmp_path/'damaged.html'
    damaged.write_text(text.replace(weights, weights[:len(weights)//8*4]), encoding='utf-8')
    page = opened(browser, damaged, wait=False)
    until(page, lambda: problem(page).startswith('The network could not be started: '), 60)
    said_so = problem(page)
    page.evaluate(DROP, [base64.b64encode(file_of(picture(9))).decode(), 'dropped.png', 'drop'])
    page.wait_for_timeout(300)
    assert problem(page) == said_so and page.is_visible('.px-still') and not page.is_visible('.px-offer') and page.failed == []
    page.context.close()

def test_a_worker_that_cannot_be_read(browser, path, tmp_path):
    broken = tmp_path/'broken.html'
    broken.write_text(path.read_text(encoding='utf-8').replace('class="px-worker">', 'class="px-worker">)('), encoding='utf-8')
    page = opened(browser, broken, wait=False)
    until(page, lambda: problem(page).startswith("The network could not be started: The network's worker has stopped ("), 60)
    assert page.is_visible('.px-still') and page.failed == []
    later = page.evaluate("document.querySelector('.px-live').petcam.ask('look', {}).catch(({message}) => message)")
    assert later.startswith("The network's worker has stopped (")
    page.context.close()

def test_while_it_loads_a_bar_moves_and_the_still_image_shows(browser, path):
    page = opened(browser, path, wait=False, script="""const seen = window.seen = [];
      addEventListener('DOMContentLoaded', () => new MutationObserver(() => { const bar = document.querySelector('.px-progress'), doing = document.querySelector('.px-status').textContent;
        seen.push([bar ? bar.value : 2, doing, !!document.querySelector('.px-still')]); }).observe(document.querySelector('.px-own'), {subtree: true, childList: true, attributes: true}));""")
    settled(page)
    seen = page.evaluate('seen')
    values = [o[0] for o in seen]
    assert values == sorted(values) and len(set(values)) >= 5
    assert {'Unpacking the network.', 'Building the network.'} <= {o[1] for o in seen} and all(still for value, _, still in seen if value < 1)
    assert not page.is_visible('.px-progress')
    page.context.close()

# ---------- for everybody ----------

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1400, 390])
def test_nothing_keeps_people_out(browser, path, scheme, width):
    page = opened(browser, path, viewport=dict(width=width, height=900), color_scheme=scheme)
    page.set_input_files('.px-files', [dict(name='x.txt', mimeType='text/plain', buffer=b'x')])
    until(page, lambda: 'x.txt' in problem(page))
    assert violations(page) == []
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    reached = set()
    for _ in range(12):
        page.keyboard.press('Tab')
        reached.add(page.evaluate("document.activeElement.className"))
    assert {'px-choose', 'px-target', 'px-layer', 'px-alpha', 'px-method', 'px-search'} <= reached
    page.context.close()
