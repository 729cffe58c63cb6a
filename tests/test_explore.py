"Promises of petcam.explore: the map on show is the right one, a step computes nothing, a page holds what was computed."
import asyncio, base64, copy, io, json, os, re, shutil, subprocess, time
from pathlib import Path
import numpy as np
import pytest, torch
from PIL import Image
from torch import nn
from petcam.explore import CamExplorer, MapStore, explorer_fragment, explorer_html
from petcam.engine.explanation import in_place
from petcam.engine.targets import probabilities, verdict
from petcam.heatmap import describe, overlay, upsample
from petcam.engine.layers import layers_of, stage_ends
from petcam.methods import CLASS_AGNOSTIC, METHODS
from petcam.web.explorer import _packed, _table, quantise
from petcam.widgets.explorer import _opened
from petcam.widgets.store import panels

NAMES = ['cat', 'dog', 'fox', 'hen', 'owl']

def small(k=5): # a 4-d map of three sizes, in-place ReLUs, more than one stage
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 3, stride=2),
                         nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(inplace=True),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, k)).eval()

@pytest.fixture
def model(): return small()

@pytest.fixture(scope='module')
def images(): return [*torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))]

def slow_pass(model, name, x, k, versus=None): # full backward through a copy -> activation and gradient (c,h,w)
    model, seen = copy.deepcopy(model).requires_grad_(True).eval(), []
    model.get_submodule(name).register_forward_hook(lambda m, i, o: (seen.append(o.clone()), seen[0].retain_grad(), seen[0].clone())[-1])
    y = model(x)[0]
    (y[k] if versus is None else y[k] - y[versus]).backward()
    return seen[0].detach()[0], seen[0].grad[0]

def slow(*args, **kw): # Grad-CAM, channel by channel
    a, g = slow_pass(*args, **kw)
    return sum(g[c].mean()*a[c] for c in range(len(a)))


def test_the_map_on_show_is_that_of_the_class_layer_and_image(model, images):
    e = CamExplorer(model, images, class_names=NAMES)
    for i, layer, k in [(0, '6', 0), (1, '6', 4), (1, '4', 2), (0, '2', 3), (0, '6', 1)]:
        e.image, e.layer, e.target = i, layer, NAMES[k]
        torch.testing.assert_close(e.map, slow(model, layer, e.store.item(i)[0], k), atol=1e-6, rtol=1e-4)
        assert (e.image, e.layer, e.target) == (i, layer, NAMES[k])

def test_a_slider_moved_changes_image_words_and_map(model, images):
    e = CamExplorer(model, images, class_names=NAMES, target='cat')
    seen = set()
    for k in range(5):
        e.class_slider.value = k
        seen.add((e.display.value, e.said.value, e.notes[0].value, tuple(e.map.flatten().tolist())))
        assert NAMES[k] in e.said.value
    assert [len(set(o)) for o in zip(*seen)] == [5, 5, 5, 5]
    before = e.display.value
    e.layer_slider.value = '2'
    assert e.display.value != before and e.map.shape == layers_of(model, e.store.item(0)[0])['2'][1:]

def test_starts_at_the_predicted_class_and_the_last_layer(model, images):
    e = CamExplorer(model, images[1])
    assert e.target == f"class {int(model(e.store.item(0)[0]).argmax())}" and e.layer == '6' and e.verdict.rank == 1

def test_a_step_on_a_known_map_runs_no_network_and_is_quick(model, images):
    e, runs = CamExplorer(model, torch.rand(3, 192, 192), class_names=NAMES), []
    for layer in e.store.layers: e.layer = layer
    handle = model.register_forward_hook(lambda *a: runs.append(1))
    times = []
    for k in [0, 1, 2, 3, 4]*6:
        start = time.process_time(); e.class_slider.value = k; times.append(time.process_time() - start)
    for layer in e.store.layers*3: e.layer_slider.value = layer
    handle.remove()
    assert not runs and np.median(times) <= .03

def test_classes_are_computed_in_blocks():
    model, runs = small(70), []
    e = CamExplorer(model, torch.rand(3, 40, 40), target=0, layers='6')
    model.register_forward_hook(lambda *a: runs.append(1))
    e.target = 63; assert not runs
    e.target = 64; assert len(runs) == 1
    e.target = 69; assert len(runs) == 1
    torch.testing.assert_close(e.map, slow(model, '6', e.store.item(0)[0], 69), atol=1e-6, rtol=1e-4)

def test_every_method_is_that_of_the_lesson_and_costs_one_pass_for_all(model, images):
    e = CamExplorer(model, images[0], class_names=NAMES, layer='4')
    passes, runs = [slow_pass(model, '4', e.store.item(0)[0], k) for k in range(5)], []
    model.register_forward_hook(lambda *a: runs.append(1))
    for method, f in METHODS.items():
        for k, (a, g) in enumerate(passes):
            e.target, e.method = k, method
            torch.testing.assert_close(e.map, f(a[None], g[None])[0], atol=1e-6, rtol=1e-4)
            assert method in e.words() and ('the same for every class' in e.words()) == (method in CLASS_AGNOSTIC)
    assert len(runs) == 1 # for the methods that do not look at the class; the others were known from the first map on

@pytest.mark.parametrize('method', ['Grad-CAM', 'LayerCAM', 'HiResCAM', 'Grad-CAM++'])
def test_this_class_rather_than_that(model, images, method):
    e = CamExplorer(model, images[0], class_names=NAMES)
    e.method, e.layer, e.target, e.versus = method, '2', 'hen', 'dog'
    a, g = slow_pass(model, '2', e.store.item(0)[0], 3, versus=1)
    torch.testing.assert_close(e.map, METHODS[method](a[None], g[None])[0], atol=1e-6, rtol=1e-4)
    assert e.versus == 'dog' and 'versus dog' in e.words()
    e.versus = None
    assert e.versus is None and 'versus' not in e.words()

def test_classes_in_the_order_of_their_probability(model, images):
    e = CamExplorer(model, images, class_names=NAMES, target='fox')
    before = e.display.value
    e.by_probability = True
    for i in (0, 1):
        e.image = i
        y = model(e.store.item(i)[0])[0].tolist()
        assert [v for _, v in e.class_slider.options] == sorted(range(5), key=lambda k: -y[k]) and e.target == 'fox'
    e.image = 0
    assert e.display.value == before
    e.by_probability = False
    assert [n for n, _ in e.class_slider.options] == NAMES and e.target == 'fox'

def test_three_hundred_images_make_pages_and_only_one_page_is_loaded(model):
    loaded = []
    e = CamExplorer(model, [torch.full((3, 40, 40), i/300) for i in range(300)], prepare=lambda p: (loaded.append(round(float(p[0, 0, 0])*300)), (p[None], p))[1])
    assert len(e.thumbnails.row.children) == 8 and set(loaded) == set(range(8)) and e.thumbnails.position.value == '1 to 8 of 300'
    e.image = 299
    assert [o.description for o in e.thumbnails.row.children] == [f'image {i}' for i in range(297, 301)] and max(loaded) == 299
    e.thumbnails.pager.children[0].click() # the earlier ones
    e.thumbnails.row.children[0].click()
    assert e.image == 288 and e.thumbnails.position.value == '289 to 296 of 300' and 'px-on' in e.thumbnails.row.children[0]._dom_classes
    assert 100 not in loaded

def png(image): # (3,h,w) -> the bytes of a file
    with io.BytesIO() as f: Image.fromarray((image.permute(1, 2, 0)*255).byte().numpy()).save(f, 'PNG'); return f.getvalue()

@pytest.mark.parametrize('old', [True, False], ids=['ipywidgets 7', 'ipywidgets 8'])
def test_uploaded_images_are_shown_and_what_is_no_image_is_named(model, images, old):
    e = CamExplorer(model, images, class_names=NAMES, target='cat')
    files = [('mine.png', png(images[1])), ('notes.txt', b'words')]
    value = {n: dict(metadata=dict(name=n), content=c) for n, c in files} if old else tuple(dict(name=n, content=memoryview(c)) for n, c in files)
    e._take(dict(new=value))
    assert e.store.titles == ['image 1', 'image 2', 'mine'] and e.image == 2 and e.target == 'cat'
    assert 'notes.txt' in e.said.value and 'alert' in e.said.value and [n for n, _ in e.chooser.options] == e.store.titles
    torch.testing.assert_close(e.map, slow(model, '6', e.store.item(2)[0], 0), atol=1e-6, rtol=1e-4)
    e.target = 'dog'
    assert 'notes.txt' not in e.said.value

def test_an_error_is_said_once(model, images, tmp_path):
    (tmp_path/'broken.png').write_bytes(b'no image')
    e = CamExplorer(model, [images[0], tmp_path/'broken.png'], class_names=NAMES)
    with pytest.raises(ValueError, match='broken.png'): e.image = 1
    e.target = e.target # no change, so nothing is drawn

def test_a_image_that_the_model_cannot_take_is_not_added(model, images):
    e = CamExplorer(model, images[0], class_names=NAMES)
    with pytest.raises(ValueError, match='nan'): e.add(torch.full((3, 50, 50), float('nan')))
    assert e.store.titles == ['image 1'] and e.image == 0 and not [o for o in e.store.cache if o[0] == 1 or o[1] == 1]
    e.add(images[1], 'good')
    torch.testing.assert_close(e.map, slow(model, '6', e.store.item(1)[0], e.class_slider.value), atol=1e-6, rtol=1e-4)

def test_refresh_sees_other_weights(model, images):
    e = CamExplorer(model, images[0], class_names=NAMES, target='fox')
    with torch.no_grad(): model[9].weight.mul_(-1)
    e.refresh()
    torch.testing.assert_close(e.map, slow(model, '6', e.store.item(0)[0], 2), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(e.store.logits(0), model(e.store.item(0)[0])[0].detach())

def test_starts_with_what_it_is_given(model, images):
    e = CamExplorer(model, images[0], class_names=NAMES, target='fox', layer='4', method='LayerCAM', versus='hen')
    assert (e.target, e.layer, e.method, e.versus) == ('fox', '4', 'LayerCAM', 'hen') and e.words().startswith('fox versus hen: logit')

def test_methods_of_a_page(model, images):
    assert contents(explorer_fragment(model, images[0], methods='LayerCAM'))['methods'] == ['LayerCAM']
    with pytest.raises(ValueError, match='no method given'): explorer_fragment(model, images[0], methods=[])
    with pytest.raises(ValueError, match='nearest.*LayerCAM'): explorer_fragment(model, images[0], methods=['Layercam2'])

def test_a_photograph_that_lies_on_its_side_is_shown_upright(model):
    wide, exif = Image.fromarray(np.zeros((20, 60, 3), np.uint8)), Image.Exif()
    exif[0x112] = 6 # turn by 90 degrees
    with io.BytesIO() as f: wide.save(f, 'JPEG', exif=exif); assert _opened(f.getvalue()).shape == (3, 60, 20)

def test_while_nobody_asks_the_neighbours_are_computed(model, images):
    async def rest():
        e = CamExplorer(model, images[0], class_names=NAMES, layers=['2', '4', '6'], layer='4')
        known = lambda: [o for o in e.store.layers if e.store.knows(0, o, 0, 'Grad-CAM', None)]
        e.target = 1
        at_first = known()
        for _ in range(100):
            await asyncio.sleep(.02)
            if len(known()) == 3: break
        return at_first, known()
    at_first, later = asyncio.run(rest())
    assert '2' not in at_first and later == ['2', '4', '6']

def test_what_cannot_be_computed_ahead_disturbs_nobody(model, images):
    async def rest():
        e = CamExplorer(model, images[0], class_names=NAMES, layers=['4', '6'])
        good, e.store._class_maps = e.store._class_maps, lambda *a: 1/0
        said = e.said.value
        e._wait(); await asyncio.sleep(.2)
        assert e.said.value == said
        e.layer_slider.value = '4' # by hand
        assert 'division' in e.said.value and e.layer == '6'
        e.store._class_maps = good
        e.layer = '4'
        return e.layer
    assert asyncio.run(rest()) == '4'

@pytest.mark.parametrize('what,bad,near', [('method', 'Grad', 'Grad-CAM'), ('method', 6, '0 to 5'), ('versus', 'ow', 'owl'), ('target', 'ow', 'owl'), ('target', 5, '0 to 4'), ('target', -1, '0 to 4'), ('layer', '61', '6'),
    ('layer', nn.ReLU(), 'no layer'), ('image', 2, '0 to 1'), ('image', 'pictur 2', 'image 2'), ('alpha', 1.5, '0 to 1')])
def test_a_wrong_value_says_what_was_expected_and_changes_nothing(model, images, what, bad, near):
    e = CamExplorer(model, images, class_names=NAMES)
    state = lambda: (e.target, e.layer, e.image, e.alpha, e.display.value, e.said.value, e.map.tolist())
    before = state()
    with pytest.raises(ValueError, match=near): setattr(e, what, bad)
    assert state() == before

def test_an_unreadable_image_is_named_and_the_explorer_works_on(model, images, tmp_path):
    broken = tmp_path/'broken.png'; broken.write_bytes(b'no image')
    e = CamExplorer(model, [images[0], broken], class_names=NAMES, target='cat')
    before = e.display.value
    e.chooser.value = 1 # by hand: a message in the widget
    assert 'broken.png' in e.said.value and e.image == 0 and e.display.value == before
    with pytest.raises(ValueError, match='broken.png'): e.image = 'broken'
    e.target = 'hen'
    assert 'broken.png' not in e.said.value and 'hen' in e.said.value
    with pytest.raises(ValueError, match='broken.png'): CamExplorer(model, broken)

@pytest.mark.parametrize('args,kw,said', [(([],), {}, 'no images'), ((torch.zeros(3, 9),), {}, 'image 1'), (([5],), {}, 'int'),
    ((torch.rand(3, 40, 40),), dict(class_names=['a']), '5 scores, but there are 1'), ((torch.rand(3, 40, 40),), dict(layers=[]), 'usable'),
    ((torch.rand(3, 40, 40),), dict(layers=['7']), 'no layer .7.'), ((torch.rand(3, 40, 40),), dict(target='cat'), 'nearest')])
def test_bad_input_is_one_clear_message(model, args, kw, said):
    with pytest.raises(ValueError, match=said): CamExplorer(model, *args, **kw)

def test_images_of_every_kind_give_the_same_map(model, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (48, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path/'x.png')
    kinds = [tmp_path/'x.png', str(tmp_path/'x.png'), Image.fromarray(pixels), pixels, torch.tensor(pixels).permute(2, 0, 1)/255]
    maps = [CamExplorer(model, o, target=1).map for o in kinds]
    for o in maps[1:]: torch.testing.assert_close(o, maps[0])

def test_own_preparation_and_a_model_with_one_class(images):
    model = small(1)
    e = CamExplorer(model, images, prepare=lambda p: (2*p[None] - 1, p))
    torch.testing.assert_close(e.map, slow(model, '6', 2*images[0][None] - 1, 0), atol=1e-6, rtol=1e-4)
    assert 'rank' not in e.words() and '%' not in e.words().split('.')[0] # a single score is a score

def test_the_model_stays_as_it_was(model, images):
    model.train(); model[3].eval()
    state, modes = copy.deepcopy(model.state_dict()), [o.training for o in model.modules()]
    e = CamExplorer(model, images); e.layer, e.target, e.image = '2', 3, 1
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()) and modes == [o.training for o in model.modules()]
    assert all(p.grad is None for p in model.parameters()) and not any(o._forward_hooks for o in model.modules())

def test_what_is_kept_is_bounded_and_the_oldest_goes_first(model, images):
    store, made, order = MapStore(model, images[0], keep=1000), [], []
    store.forget()
    for key in np.random.RandomState(0).randint(0, 30, 300).tolist():
        before = len(made)
        got = store._kept(key, lambda: (made.append(key), torch.full((25,), float(key)))[1]) # 100 bytes
        assert (got == key).all() and (len(made) == before) == (key in order)
        order = [o for o in order if o != key][-9:] + [key] # the ten that were asked for last
        assert set(store.cache) == set(order)
    assert len(made) > 100

def test_a_value_larger_than_the_cache_is_kept_until_the_next_one(model, images):
    store, made = MapStore(model, images[0], keep=1000), []
    large = lambda key: store._kept(key, lambda: (made.append(key), torch.full((10**4,), float(key)))[1])
    for key in (1, 1, 2, 2, 1): assert (large(key) == key).all()
    assert made == [1, 2, 1] and list(store.oversized) == [1]
    store.forget()
    assert not store.oversized and not len(store.cache)

def test_few_maps_are_kept_in_a_small_store(model, images):
    store = MapStore(model, [images[0]]*20, keep=3e5)
    for i in range(20): store.map(i, '2', 0)
    assert 0 < sum(o.nbytes if not isinstance(o, tuple) else sum(t.nbytes for t in o if t is not None) for o in store.cache.values()) <= 3e5 and not store.oversized

def test_stage_ends_of_known_networks():
    from torchvision.models import mobilenet_v3_small, resnet18
    x = torch.rand(1, 3, 96, 96)
    assert stage_ends(layers_of(resnet18(), x)) == ['relu', 'layer1', 'layer2', 'layer3', 'layer4']
    assert stage_ends(layers_of(mobilenet_v3_small(), x)) == ['features.0', 'features.1', 'features.3', 'features.8', 'features']

def test_panels_by_hand():
    under, m = np.full((4, 4, 3), 100, np.uint8), torch.tensor([[1., -1.], [0., 2.]])
    p = panels(under, m, alpha=1)
    assert p.shape == (4, 3*4 + 12, 3) and (p[:, :4] == 100).all() and (p[:, 4:10] == 255).all()
    cells = p[:, 10:14].reshape(2, 2, 2, 2, 3).transpose(0, 2, 1, 3, 4) # each cell is one block of one colour
    assert all((cells[r, c] == cells[r, c, 0, 0]).all() for r in range(2) for c in range(2))
    red, blue, white, dark = (cells[r, c, 0, 0].astype(int) for r, c in [(0, 0), (0, 1), (1, 0), (1, 1)])
    assert red[0] > red[2] and blue[2] > blue[0] and white.min() > 240 and dark.sum() < red.sum()
    assert (p[:, 14+6:] == overlay(under, m, 1)).all()
    for one in (panels(under, m, signed=False), panels(under, m.clamp(min=0), signed=False)): assert (one == panels(under, m, signed=False)).all()

def test_settings_change_the_image_as_they_say(model, images):
    e = CamExplorer(model, images[0], target=3)
    e.alpha, e.signed = 0., False
    assert (e.pixels()[:, -80:] == e.pixels()[:, :80]).all() # the bare image
    e.alpha = .5
    assert (e.pixels() == panels(e.store.pixels(0), e.map.relu(), .5, False)).all()
    e.signed, e.same_scale = True, True
    top = int(model(e.store.item(0)[0]).argmax())
    assert (e.pixels() == panels(e.store.pixels(0), e.map, .5, limit=float(slow(model, '6', e.store.item(0)[0], top).abs().max()))).all()

def test_a_still_image_where_there_is_no_front_end(model, images):
    e = CamExplorer(model, images, class_names=NAMES)
    bundle = e._repr_mimebundle_()
    assert bundle['application/vnd.jupyter.widget-view+json']['model_id'] == e.model_id and e.target in bundle['text/plain']
    assert Image.open(io.BytesIO(base64.b64decode(bundle['image/jpeg']))).size[0] == 3*80 + 12

def test_save_writes_the_image_or_says_why_not(model, images, tmp_path):
    e = CamExplorer(model, images, target=2)
    e.save(tmp_path/'new'/'x.png')
    assert (np.asarray(Image.open(tmp_path/'new'/'x.png'))[-64:] == e.pixels()).all()
    for bad in ('xyz', 'psd'): # Pillow can only read the second
        with pytest.raises(ValueError, match=f"ends with '.{bad}'"): e.save(tmp_path/f'x.{bad}')
    assert sorted(o.name for o in tmp_path.rglob('*')) == ['new', 'x.png'] # nothing half-written

# ---------- the page with no kernel ----------
def contents(fragment): return json.loads(re.search(r'application/json">(.*?)</script>', fragment)[1])

def test_images_may_be_given_names(model, images):
    assert CamExplorer(model, images, titles=['left', 'right']).chooser.options == (('left', 0), ('right', 1))
    with pytest.raises(ValueError, match='2 images, but 1 titles'): CamExplorer(model, images, titles=['left'])

def test_the_page_holds_the_maps_within_half_a_step(model, images):
    store, data = MapStore(model, images, class_names=NAMES), contents(explorer_fragment(model, images, class_names=NAMES))
    assert data['class_names'] == NAMES and data['layers'] == store.layers
    for i, p in enumerate(data['images']):
        assert np.allclose(p['logits'], store.logits(i), atol=1e-4)
        for name, methods in zip(data['layers'], p['layers']):
            for method, o in zip(data['methods'], methods):
                n = 1 if method in CLASS_AGNOSTIC else 5
                q = np.frombuffer(base64.b64decode(o['maps']), np.uint8).reshape(n, o['h'], o['w'])
                for k in range(n):
                    a, g = slow_pass(model, name, store.item(i)[0], k)
                    m, lo, hi = METHODS[method](a[None], g[None])[0].numpy(), o['lo'][k], o['hi'][k]
                    assert np.abs(lo + q[k]/255*(hi - lo) - m).max() <= (hi - lo)/510*1.01 + 1e-6

def test_quantise_of_a_flat_map():
    lo, hi, q = quantise(torch.full((2, 3, 3), 7.))
    assert lo.tolist() == hi.tolist() == [7., 7.] and not q.any()

def test_no_name_can_break_out_of_the_page_and_nothing_is_fetched(model, images, tmp_path):
    evil = '</script><img src=x onerror=alert(1)>'
    page = explorer_html(model, images[0], tmp_path/'x.html', title=evil, class_names=[evil, *NAMES[1:]]).read_text()
    assert evil not in page and page.count('<script') == page.count('</script>') == 4
    assert not re.search(r'(src|href)="(?!data:)|https?://|@import|url\((?!data:)', page)
    assert [o.name for o in tmp_path.iterdir()] == ['x.html']
    assert len({re.search('id="(px[0-9a-f]+)"', explorer_fragment(model, images[0]))[1] for _ in range(3)}) == 3

def test_large_layers_are_left_out_of_the_page():
    data = contents(explorer_fragment(small(), torch.rand(3, 128, 128)))
    assert data['layers'] == ['4', '6'] # '2' has 63 x 63 cells

@pytest.fixture(scope='module')
def page(images, tmp_path_factory, browser):
    path = explorer_html(small(), images, tmp_path_factory.mktemp('page')/'x.html', class_names=NAMES)
    page = browser.new_page(viewport=dict(width=900, height=900))
    page.asked, page.failed = [], []
    page.on('request', lambda r: page.asked.append(r.url))
    page.on('pageerror', lambda e: page.failed.append(str(e)))
    page.goto(path.as_uri()); page.wait_for_selector('.px-list li')
    return page

def test_in_a_browser_it_starts_at_the_predicted_class_and_the_last_layer(page, images):
    store = MapStore(small(), images, class_names=NAMES)
    top = int(store.logits(0).argmax())
    assert [page.input_value(f'.px-{o}') for o in ('target', 'layer', 'alpha', 'method')] == [str(top), '2', '0.8', '0']
    h, w = store.shapes['6'][1:]
    start = f"{verdict(store.logits(0), top, NAMES)}, {h} x {w}, late (layer 6), "
    assert page.inner_text('.px-words').startswith(start)
    assert page.inner_text('.px-list [aria-pressed=true]').startswith(NAMES[top])

def test_in_a_browser_the_map_on_show_is_the_right_one(page, images):
    model, rng = small(), np.random.RandomState(0)
    store = MapStore(model, images, class_names=NAMES)
    methods = page.evaluate("document.querySelector('.px').petcam.data.methods")
    for i, l, k, j in zip(*(rng.randint(0, n, 20).tolist() for n in (2, 3, 5, len(methods)))):
        got = page.evaluate('''async ([i, k, l, j]) => { const r = document.querySelector('.px').petcam; await r.show(i, k, l, j);
            const m = r.map(), c = document.querySelector('.px-over');
            return {h: m.h, w: m.w, v: [...m.values], said: document.querySelector('.px-words').textContent, size: [c.height, c.width],
                    over: [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data],
                    under: [...document.querySelector('.px-image').getContext('2d').getImageData(0, 0, c.width, c.height).data]}; }''', [i, k, l, j])
        a, g = slow_pass(model, store.layers[l], store.item(i)[0], k)
        m = METHODS[methods[j]](a[None], g[None])[0]
        shown = torch.tensor(got['v']).view(got['h'], got['w'])
        assert (shown - m).abs().max() <= (m.max() - m.min())/500
        rgb = lambda o: np.array(o, np.uint8).reshape(*got['size'], 4)[..., :3]
        ours = overlay(rgb(got['under']), shown, .8, signed=True).astype(int) # our own drawing of the page's map and image
        assert np.abs(rgb(got['over']) - ours).max() <= 2 and got['size'] == [64, 80]
        assert describe(shown).split('. ')[0] in got['said'] and all(o in got['said'] for o in (NAMES[k], store.layers[l], methods[j]))
    assert not page.failed and len([o for o in page.asked if not o.startswith('data:')]) == 1

def test_in_a_browser_the_map_lies_where_the_model_has_looked(page, tmp_path):
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 80), indexing='ij')
    images = torch.stack([x, y, 1 - x*y]) # smooth, for JPEG
    how = dict(size=48, class_names=NAMES, activation='sigmoid', layers=['6']) # of 64 x 80 the 64 x 64 in the middle
    path, e = explorer_html(small(), images, tmp_path/'x.html', **how), CamExplorer(small(), images, **how)
    box = [round(o) for o in e.store.box(0)]
    assert np.abs(np.subtract(box, (8, 0, 72, 64))).max() <= 1
    view = page.context.browser.new_page()
    view.goto(path.as_uri()); view.wait_for_selector('.px-list li')
    pixels = lambda name: np.array(view.evaluate('name => { const c = document.querySelector(name); return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }', name)).reshape(64, 80, 4)[..., :3]
    whole, over, squares = map(pixels, ('.px-image', '.px-over', '.px-squares'))
    ours = e.pixels()
    inside = np.zeros((64, 80), bool)
    inside[box[1]:box[3], box[0]:box[2]] = True
    for drawn, at in ((whole, 0), (squares, 86), (over, 172)):
        off = np.abs(drawn - ours[:, at:at + 80].astype(int)).max(2) # the page's image is a JPEG, and its maps have 256 levels
        assert np.median(off[inside]) <= 6 and np.ptp(drawn[~inside], axis=1).max() <= 1
    assert view.inner_text('.px-words') == e.words() and '%' in view.inner_text('.px-list')
    view.close()

def test_in_a_browser_the_keyboard_is_enough(page):
    page.evaluate("document.querySelector('.px').petcam.show(0, 0, 2)")
    image = lambda: page.evaluate("document.querySelector('.px-squares').toDataURL()")
    seen = [image()]
    for control, key in [('target', 'ArrowRight'), ('layer', 'ArrowLeft'), ('target', 'End'), ('positive', 'Space')]:
        page.focus(f'.px-{control}'); page.keyboard.press(key); seen.append(image())
    page.focus('.px-method'); page.keyboard.press('ArrowDown'); assert 'HiResCAM' in page.inner_text('.px-words')
    page.keyboard.press('ArrowUp')
    assert len(set(seen)) == 5 and page.get_attribute('.px-target', 'aria-valuetext').startswith('owl')
    page.focus('.px-thumbnails input:checked'); page.keyboard.press('ArrowRight'); page.wait_for_timeout(200)
    assert page.get_attribute('.px-image', 'aria-label') == 'image 2'
    assert page.evaluate("document.documentElement.scrollWidth") <= 900

def test_in_a_narrow_browser_a_long_strip_scrolls_and_not_the_page(tmp_path, page):
    path = explorer_html(small(), list(torch.rand(12, 3, 48, 48)), tmp_path/'x.html', methods=['Grad-CAM', 'mean activation'])
    narrow = page.context.browser.new_page(viewport=dict(width=400, height=800))
    narrow.goto(path.as_uri()); narrow.wait_for_selector('.px-list li')
    narrow.focus('.px-thumbnails input:checked')
    for _ in range(11): narrow.keyboard.press('ArrowRight')
    narrow.wait_for_timeout(300)
    assert narrow.evaluate('[document.documentElement.scrollWidth <= 400, scrollX, document.querySelector(".px-thumbnails").scrollLeft > 300]') == [True, 0, True]
    narrow.select_option('.px-method', label='mean activation')
    assert 'the same for every class' in narrow.inner_text('.px-words')
    narrow.close()

# ---------- the page's functions of numbers and words, in Node ----------
def map_cases(): # maps of many shapes: noise, whole numbers (thirds with halves), flat, without positive evidence
    rng = np.random.RandomState(0)
    for h, w in [(6, 6), (1, 1), (2, 5), (7, 3), (11, 11), (4, 9)]:
        yield from (torch.tensor(rng.randn(h, w), dtype=torch.float32)*scale for scale in (1, 1e-3, 1e4))
        for _ in range(10):
            m = torch.tensor(rng.randint(-3, 5, (h, w)), dtype=torch.float32)
            m[0, 0] = 4 # `describe` divides by the maximum: still exact, so halves are halves
            yield m
        yield from (torch.zeros(h, w), torch.full((h, w), 2.), -torch.rand(h, w))
    for n in range(1, 41): yield torch.tensor([[float(n), 0., 40. - n, 64., -9.]])

def flat(m): return m.flatten().tolist()

def js_cases(model, images):
    store = MapStore(model, images, class_names=NAMES)
    explorers = [CamExplorer(model, images, class_names=NAMES, size=size, activation=o) for size, o in [(None, None), (48, 'sigmoid'), (None, 'none')]]
    rng = np.random.RandomState(0)
    cases = dict(unpack=[], upsample=[], overlay=[], nearest=[], inPlace=[], probabilities=[], fixed=[], describe=[], verdict=[], words=[])
    for layer in store.layers:
        for method in METHODS:
            packed = _packed(store, 1, layer, method)
            lo, hi, q = quantise(torch.stack([store.map(1, layer, k, method) for k in range(5)]))
            for k in range(5):
                shown = lo[k] + q[k]/255*(hi[k] - lo[k])
                if (hi[k] - lo[k]) < 1: cases['unpack'].append(dict(packed=packed, target=k, values=flat(shown)))
                for e in explorers:
                    e.image, e.layer, e.method, e.target = 1, layer, method, k
                    cases['words'].append(dict(text=e.words(), h=len(e.map), w=len(e.map.T), values=flat(e.map), names=NAMES, layer=layer, depth=store.depths[layer], method=method, target=k,
                        logits=e.store.logits(1).tolist(), agnostic=method in CLASS_AGNOSTIC, activation=e.store.activation, box=list(e.store.box(1) or []), note=''))
    for m in map_cases():
        (h, w), (H, W) = m.shape, rng.randint(1, 40, 2).tolist()
        here = dict(h=h, w=w, values=flat(m))
        cases['describe'].append(dict(here, text=describe(m)))
        if m.abs().max() > 100: continue
        cases['upsample'].append(dict(here, H=H, W=W, large=flat(upsample(m, (H, W)))))
        squares = np.asarray(Image.fromarray(m.numpy()).resize((W, H), Image.Resampling.NEAREST))
        tie = any((2*i + 1)*n % (2*size) == 0 for n, size in ((h, H), (w, W)) for i in range(size)) # a pixel on the edge of two squares: either is right
        if not tie: cases['nearest'].append(dict(here, H=H, W=W, squares=squares.flatten().tolist()))
        under, alpha, signed = rng.randint(0, 256, (H, W, 3), np.uint8), float(rng.rand()), bool(rng.rand() > .5)
        drawn, limit = m if signed else m.clamp(min=0), float(m.abs().max()*rng.choice([1, .5, 2])) or 1.
        pixels = overlay(under, drawn, alpha, signed=signed, limit=limit)
        box = sorted(rng.randint(-5, W + 5, 2).tolist()) + sorted(rng.randint(-5, H + 5, 2).tolist())
        box = box[0], box[2], box[1] + 1, box[3] + 1
        whole = lambda o: np.dstack([o, np.full((H, W), 255, np.uint8)]).flatten().tolist()
        cases['overlay'].append(dict(h=h, w=w, values=flat(drawn), H=H, W=W, under=whole(under), table=_table('RdBu_r' if signed else 'magma'),
            colours=dict(alpha=alpha, signed=signed, limit=limit), pixels=whole(pixels)))
        cases['inPlace'].append(dict(width=W, height=H, data=whole(under), box=box, pixels=whole(in_place(under, box, lambda part: 255 - part))))
    for k in (1, 2, 37):
        y = torch.tensor(rng.randn(k)*3, dtype=torch.float32)
        names = [f'class {i}' for i in range(k)]
        for how in ('softmax', 'sigmoid', 'none'):
            cases['probabilities'].append(dict(logits=y.tolist(), activation=how, p=probabilities(y, how).tolist()))
            cases['verdict'] += [dict(logits=y.tolist(), target=i, names=names, activation=how, text=str(verdict(y, i, names, how))) for i in range(k)]
    cases['fixed'] = [dict(v=v, digits=d, text=f'{v:.{d}f}') for d in (0, 1, 2) for v in [*np.arange(0 if d == 0 else -6, 6, .125), *rng.randn(200)*9, 2.675, 1.005, 99.95]]
    return cases

def test_the_page_s_functions_give_petcam_s_numbers_and_words(model, images, tmp_path):
    node = shutil.which('node')
    if not node: pytest.skip('Node is not installed')
    (tmp_path/'cases.json').write_text(json.dumps(js_cases(model, images)))
    tests = sorted(map(str, (Path(__file__).parent/'js').glob('*.test.mjs')))
    done = subprocess.run([node, '--test', *tests], env={**os.environ, 'PETCAM_CASES': str(tmp_path/'cases.json')}, capture_output=True, text=True)
    assert done.returncode == 0 and '# skipped 0' in done.stdout, done.stdout[-6000:]
