"""A page prepares an image as Python does: petcam/web/prepare.js against Pillow, torch and petcam's own Preparation."""
import base64, io, json, shutil, struct, subprocess, zlib
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from petcam.augment import Transforms, get_transforms
from petcam.engine.preparation import Preparation, Recipe, preparation_for
from petcam.engine.zoo import LessonTransform
from petcam.files.images import BadImage, load_image, pil_image
from petcam.web.recipe import recipe_of
from petcam.widgets.store import _shrunk
from torch import nn
from torchvision import models

HERE = Path(__file__).parent
PREPARE = HERE.parent/'petcam'/'web'/'prepare.js'
FILTERS = dict(nearest=0, lanczos=1, bilinear=2, bicubic=3, box=4, hamming=5)
NET = nn.Conv2d(3, 2, 1)
SIZES = (1, 1), (7, 5), (64, 48), (300, 3), (3, 300), (101, 77), (160, 120), (33, 501), (375, 500), (500, 375)   # width, height

def called(cases, tmp_path): # the answers of prepare.js to [function, argument, ...]
    node = shutil.which('node')
    if not node: pytest.skip('Node is not installed')
    path = tmp_path/'cases.json'
    path.write_text(json.dumps(cases))
    done = subprocess.run([node, HERE/'js'/'call.mjs', PREPARE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout, object_hook=revived)

def revived(o):
    if set(o) == {'floats'}: return np.frombuffer(base64.b64decode(o['floats']), np.float32)
    if set(o) == {'bytes'}: return np.frombuffer(base64.b64decode(o['bytes']), np.uint8)
    return o

def sent(image): # Pillow image -> as prepare.js has it
    pixels = np.asarray(image.convert('RGBA'))
    return dict(width=image.width, height=image.height, data=dict(bytes=base64.b64encode(pixels.tobytes()).decode()))

def pixels(o): # and back
    return o['data'].reshape(o['height'], o['width'], 4)[..., :3].astype(int)

def noise(w, h, seed=0): # of all values; with an odd seed of black and white only, which sharp filters overshoot
    values = np.random.RandomState(seed).randint(0, 256, (h, w, 3))
    return Image.fromarray(((values > 127)*255 if seed % 2 else values).astype(np.uint8))

IMAGES = [noise(w, h, i) for i, (w, h) in enumerate(SIZES)]

# --- Pillow's own functions, bit for bit ---

@pytest.mark.parametrize('filter', FILTERS)
def test_pixels_are_resized_as_pillow_does(filter, tmp_path):
    rng = np.random.RandomState(1)
    jobs = [(image, (w, h)) for image in IMAGES
            for w, h in [(1, 1), (224, 224), (13, 200), (200, 13), (image.width, 9), (9, image.height), *rng.randint(1, 400, (3, 2)).tolist()]]
    answers = called([['resize', sent(image), *size, filter] for image, size in jobs], tmp_path)
    for (image, size), o in zip(jobs, answers):
        assert np.array_equal(pixels(o), np.asarray(image.resize(size, FILTERS[filter]))), (filter, image.size, size)
        assert (o['data'][3::4] == 255).all()

def test_pixels_are_reduced_as_pillow_does(tmp_path):
    jobs = [(image, factor) for image in [*IMAGES, noise(129, 131)] for factor in (2, 4, 8)]
    for (image, factor), o in zip(jobs, called([['reduce', sent(image), factor] for image, factor in jobs], tmp_path)):
        assert np.array_equal(pixels(o), np.asarray(image.reduce(factor))), (image.size, factor)

def test_what_is_shown_has_the_pixels_that_python_shows(tmp_path):
    images = [noise(*size) for size in [(320, 200), (500, 375), (375, 500), (31, 900), (2100, 41), (40, 1703)]]
    for image, o in zip(images, called([['shrunk', sent(o), 320] for o in images], tmp_path)):
        whole = preparation_for(NET, size=32)(image)[1]
        assert np.array_equal(pixels(o), _shrunk(whole, 320)), image.size

# --- the network's input ---

@pytest.mark.parametrize('how', [dict(), dict(interpolation='bicubic', crop_pct=.875), dict(interpolation='lanczos', crop_pct=.95),
    dict(interpolation='nearest', crop_pct=1.3), dict(crop_mode='squash'), dict(crop_mode='border', interpolation='bicubic'),
    dict(crop_mode='border', crop_pct=.9, mean=(.5,), std=(.25,))], ids=str)
def test_a_recipe_s_input_is_equal(how, tmp_path):
    jobs = [(image, Recipe(size=size, **how)) for image in IMAGES for size in ((224, 224), (64, 96), (33, 31))]
    answers = called([['prepared', sent(image), told(recipe)] for image, recipe in jobs], tmp_path)
    boxes = 0
    for (image, recipe), o in zip(jobs, answers):
        if 'error' in o:
            with pytest.raises(ValueError, match='height and width must be > 0'): recipe(image)
            assert 'expected at least one' in o['error'], o
            continue
        x = recipe(image)[0].numpy()
        assert np.array_equal(o['x'].reshape(x.shape), x), (image.size, recipe)
        boxes += same_box(o['box'], recipe, image)
    assert boxes >= 12

def told(recipe): # what `recipe_of` says of it
    class Network(nn.Conv2d):
        pretrained_cfg = dict(input_size=(3, *recipe.size), mean=recipe.mean, std=recipe.std, interpolation=recipe.interpolation,
                              crop_pct=recipe.crop_pct, crop_mode=recipe.crop_mode)
    return recipe_of(Network(3, 2, 1))

def same_box(box, transform, image): # as `Preparation` measures it, to one pixel of the input? False: it cannot be measured
    if min(image.size) < 48: return False
    measured = Preparation(transform, torch.zeros(1))._measure(*image.size)
    if measured is None: return False
    left, top, right, bottom = measured.box
    h, w = transform(image).shape[2:]
    for value, other, pixel in zip(box or (0, 0, 1, 1), measured.box, 2*[(right - left)/w, (bottom - top)/h]):
        assert abs(value - other) < pixel, (box, measured.box, image.size, transform)
    return True

@pytest.mark.parametrize('size', [224, 128, 64, 33])
def test_a_learner_s_input_lies_within_a_millionth(size, tmp_path):
    images = [*IMAGES, *(noise(w, h, w + h) for w, h in [(1000, 801), (224, 300), (128, 128), (448, 777), (256, 256), (2*size, 3*size)])]
    prepare = lambda image: LessonTransform(size)(image)[None]
    answers = called([['prepared', sent(o), recipe_of(NET, LessonTransform(size))] for o in images], tmp_path)
    boxes = 0
    for image, o in zip(images, answers):
        x = prepare(image)[0].numpy()
        assert np.abs(o['x'].reshape(x.shape) - x).max() <= 1e-6, image.size
        boxes += same_box(o['box'], prepare, image)
    assert boxes >= 8

def test_torchvision_s_presets_are_equal(tmp_path):
    image = noise(500, 375)
    for weights in (models.MobileNet_V2_Weights.IMAGENET1K_V2, models.EfficientNet_B0_Weights.IMAGENET1K_V1, models.EfficientNet_V2_S_Weights.DEFAULT):
        o, = called([['prepared', sent(image), recipe_of(NET, weights.transforms())]], tmp_path)
        x = weights.transforms()(image).numpy()
        assert np.array_equal(o['x'].reshape(x.shape), x), weights

def test_a_photograph_that_is_read_at_half_its_size(tmp_path, real_pets):
    "Pillow reads a large JPEG at 1/2, 1/4 or 1/8; the page reads it whole and takes means: nearly the same"
    prepare, paths = LessonTransform(96), sorted((real_pets/'images').glob('beagle_*.jpg'))[:8]
    answers = called([['prepared', sent(pil_image(path)), recipe_of(NET, prepare)] for path in paths], tmp_path)
    differences = [np.abs(o['x'] - prepare(path).numpy().flatten()).mean() for path, o in zip(paths, answers)]
    assert 0 < max(differences) < .03, differences

# --- what cannot be repeated ---

def test_what_a_page_cannot_repeat_is_named():
    class Data:
        valid_ds, size, classes = type('', (), dict(tfms=get_transforms()[0])), 32, ['a', 'b']
        one_item = print
    class Learner:
        model, data = NET, Data
    with pytest.raises(ValueError, match='resizing and a centre crop'): recipe_of(Learner)
    Data.valid_ds.tfms = Transforms()
    assert recipe_of(Learner)['size'] == 32
    with pytest.raises(ValueError, match='Conv2d does not say what size.*give size='): recipe_of(NET)
    with pytest.raises(ValueError, match='which a page cannot repeat'): recipe_of(NET, torch.relu)
    with pytest.raises(ValueError, match='leave out size'): recipe_of(NET, torch.relu, size=3)

# --- files, in Chromium ---

DECODE = '''async ([base64, name, recipe]) => {
  const file = new File([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], name);
  const text = o => btoa(Array.from(new Uint8Array(o.buffer), c => String.fromCharCode(c)).join(''));
  try {
    const image = await decode(file);
    if (recipe) return {floats: text(prepared(image, recipe).x)};
    return {width: image.width, height: image.height, data: text(image.data)};
  } catch (e) { return {error: e.message}; }
}'''

@pytest.fixture
def decoded(browser):
    page = browser.new_page()
    page.add_script_tag(path=PREPARE)
    yield lambda path, recipe=None: page.evaluate(DECODE, [base64.b64encode(path.read_bytes()).decode(), path.name, recipe])
    page.close()

def difference(answer, path): # largest and mean, in grey levels, from what petcam reads
    got = np.frombuffer(base64.b64decode(answer['data']), np.uint8).reshape(answer['height'], answer['width'], 4)
    want = np.asarray(pil_image(path)).astype(int)
    assert got.shape[:2] == want.shape[:2] and (got[..., 3] == 255).all(), path.name
    off = np.abs(got[..., :3] - want)
    return off.max(), off.mean()

def coloured(w=61, h=43): # smooth, with an edge, no side like another
    y, x = np.mgrid[:h, :w]
    return Image.fromarray(np.stack([x*255//w, y*255//h, 255*(x > 2*y)], -1).astype(np.uint8))

def with_turn(number):
    exif = Image.Exif()
    exif[0x112] = number
    return exif

def png(w, h, depth, colours, rows): # of any kind, from its bytes
    part = lambda name, data: struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    return b'\x89PNG\r\n\x1a\n' + part(b'IHDR', struct.pack('>IIBBBBB', w, h, depth, colours, 0, 0, 0)) + part(b'IDAT', zlib.compress(rows)) + part(b'IEND', b'')

@pytest.mark.parametrize('number', range(1, 9))
def test_a_photograph_is_upright(number, decoded, tmp_path):
    path = tmp_path/'turned.jpg'
    coloured().save(path, quality=95, exif=with_turn(number))
    assert difference(decoded(path), path) == (0, 0)

def images_of_each_kind(folder): # name -> how far from Pillow at most, in grey levels
    image = coloured()
    clear = image.convert('RGBA')
    clear.putalpha(Image.fromarray(np.mgrid[:43, :61][1].astype(np.uint8)*4))
    sixteen = (np.random.RandomState(0).rand(43, 61)*65535).astype(np.uint16)
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    swapped = swapped.replace(b'rXYZ', b'?XYZ').replace(b'gXYZ', b'rXYZ').replace(b'?XYZ', b'gXYZ')   # red and green exchanged
    made = {'progressive.jpg': (image, dict(progressive=True), 0), 'baseline.jpg': (image, dict(quality=90), 0), 'whole.jpg': (image, dict(subsampling=0), 0),
            'half.jpg': (image, dict(subsampling=1), 0), 'grey.jpg': (image.convert('L'), {}, 0), 'inks.jpg': (image.convert('CMYK'), {}, 0),
            'alpha.png': (clear, {}, 0), 'grey-alpha.png': (clear.convert('LA'), {}, 0), 'palette.png': (image.quantize(16), {}, 0),
            'hole.png': (image.quantize(16), dict(transparency=3), 0), 'grey.png': (image.convert('L'), {}, 0), 'one-bit.png': (image.convert('1'), {}, 0),
            'turned.png': (image, dict(exif=with_turn(6)), 0), 'sixteen.png': (Image.fromarray(sixteen), {}, 1), 'palette.gif': (image.quantize(16), {}, 0),
            'lossy.webp': (image, {}, 0), 'whole.webp': (image, dict(lossless=True), 0), 'alpha.webp': (clear, dict(lossless=True, exact=True), 1),
            'plain.bmp': (image, {}, 0), 'swapped.png': (image, dict(icc_profile=swapped), 3), 'swapped.jpg': (image, dict(icc_profile=swapped), 4)}
    for name, (image, how, _) in made.items(): image.save(folder/name, **how)
    (folder/'sixteen-rgb.png').write_bytes(png(5, 4, 16, 2, b''.join(b'\0' + np.random.RandomState(i).bytes(30) for i in range(4))))
    return {name: most for name, (*_, most) in made.items()} | {'sixteen-rgb.png': 0}

def test_a_file_of_each_kind_has_the_pixels_that_python_reads(decoded, tmp_path):
    for name, most in images_of_each_kind(tmp_path).items():
        answer = decoded(tmp_path/name)
        assert 'error' not in answer, answer
        assert difference(answer, tmp_path/name)[0] <= most, (name, difference(answer, tmp_path/name))

def test_from_a_file_to_the_input(decoded, tmp_path):
    path = tmp_path/'x.jpg'
    noise(300, 200).save(path, quality=95, exif=with_turn(8))
    weights = models.MobileNet_V2_Weights.IMAGENET1K_V1
    x = revived(decoded(path, recipe_of(NET, weights.transforms())))
    assert np.array_equal(x, weights.transforms()(pil_image(path)).numpy().flatten())

DAMAGED = {'empty.jpg': 'is empty; expected an image', 'words.jpg': 'is not an image that can be read; expected JPEG, PNG',
           'cut.jpg': 'cannot be read: this JPEG file is damaged, or', 'cut.png': 'cannot be read: this PNG file is damaged, or',
           'wrong.png': 'cannot be read: this PNG file is damaged, or', 'cut.webp': 'cannot be read: this WebP file is damaged, or',
           'page.tif': 'is a file of kind TIFF, which cannot be read here; save it as JPEG or PNG', 'phone.heic': 'is a file of kind HEIC, which',
           'paper.pdf': 'is a file of kind PDF, which', 'drawing.svg': 'is a file of kind SVG, which',
           'large.png': 'has 81 million pixels (9000 x 9000); expected at most 67 million', 'bomb.png': 'this PNG file is damaged, or larger than this browser can hold',
           'long.png': 'has 70000 x 3 pixels, which is more than this browser can hold'}

def test_a_file_that_cannot_be_read_is_one_sentence(decoded, tmp_path):
    def saved(kind, **how):
        file = io.BytesIO()
        noise(61, 43).save(file, kind, **how)
        return file.getvalue()
    whole = saved('PNG')
    middle = len(whole)//2
    contents = {'empty.jpg': b'', 'words.jpg': b'a text', 'cut.jpg': saved('JPEG')[:900], 'cut.png': whole[:middle],
        'wrong.png': whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1:], 'cut.webp': saved('WEBP', lossless=True)[:2000], 'page.tif': saved('TIFF'),
        'phone.heic': b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(99), 'paper.pdf': b'%PDF-1.4', 'drawing.svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        'large.png': png(9000, 9000, 1, 0, (b'\0' + bytes(1125))*9000), 'bomb.png': png(60000, 60000, 1, 0, b''), 'long.png': png(70000, 3, 8, 0, (b'\0' + bytes(70000))*3)}
    assert contents.keys() == DAMAGED.keys()
    for name, content in contents.items():
        (tmp_path/name).write_bytes(content)
        said = decoded(tmp_path/name).get('error', 'nothing')
        assert said.startswith(f'{name} ') and DAMAGED[name] in said and said.endswith('.'), (name, said)
        if name not in ('page.tif', 'long.png'):
            with pytest.raises(BadImage): load_image(tmp_path/name)
