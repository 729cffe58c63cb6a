"""Reading and checking images, and downloading: what lies under `petcam.data`."""
import hashlib
import http.server
import io
import os
import resource
import shutil
import struct
import tarfile
import threading
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps, features
from petcam.data import find_pets, get_data
from petcam.engine.names import clean_name
from petcam.files import downloads
from petcam.files.downloads import download_pets, fetch
from petcam.files.images import (BadImage, as_tensor, denormalize, list_images, load_image, load_mask, normalize,
                                 pil_image, why_broken)
from petcam.files.pets import load_box

# --- images ---

CASES = Path(__file__).parent/'cases'

def refusal(path, **options):
    "What `load_image` says of the file, which it must name in one line"
    with pytest.raises(BadImage) as e: load_image(path, **options)
    said = str(e.value)
    assert clean_name(path) in said and '\n' not in said and said.isprintable()
    return said

def stored(path):
    "The file as 8-bit RGB, by nothing but Pillow's own `convert`"
    with Image.open(path) as image: return np.asarray(image.convert('RGB'))

def values(path):
    "What `load_image` gives, as (h,w,3) from 0 to 255"
    return (load_image(path)*255).permute(1, 2, 0).numpy()

def arrow(h=6, w=10):
    "Colours without any symmetry"
    y, x = np.mgrid[:h, :w]
    return np.stack([20*x, 40*y, 255 - 12*x - 9*y], -1).astype(np.uint8)

@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'AVIF'])
def test_every_cut_is_noticed(tmp_path, format):
    if format == 'AVIF' and not features.check('avif'): pytest.skip('this Pillow has no AVIF')
    out = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(out, format)
    path, whole = tmp_path/'a_1.jpg', out.getvalue()
    for complete in (whole, whole + b'\0\0'): # some real files have padding behind
        path.write_bytes(complete)
        assert not why_broken(path)
    for cut in (0, 10, len(whole)//2, len(whole)*9//10):
        path.write_bytes(whole[:cut])
        assert why_broken(path), (format, cut)

def test_unreadable_image_is_named(tmp_path):
    (tmp_path/'x_1.jpg').write_text('hello')
    assert 'x_1.jpg is not an image' in refusal(tmp_path/'x_1.jpg')

def test_alpha_palette_and_grey_become_three_colours(tmp_path):
    for mode in ('RGBA', 'LA', 'P', 'L', 'CMYK', '1', 'YCbCr', 'LAB'):
        file = tmp_path/('x.png' if mode in ('RGBA', 'LA', 'P', 'L', '1') else 'x.tiff')
        Image.new(mode, (5, 4)).save(file)
        assert load_image(file).shape == (3, 4, 5)

def test_the_cases_that_went_wrong_once():
    for name in ('avif_78.jpg', 'dds_79.jpg', 'whole_but_undecodable_77.jpg'):
        assert refusal(CASES/name) and why_broken(CASES/name)
    assert (values(CASES/'cmyk.jpg') == stored(CASES/'cmyk.jpg')).all()
    ramp = np.asarray(Image.open(CASES/'grey16_ramp.png')).astype(float)/65535
    assert np.abs(load_image(CASES/'grey16_ramp.png').numpy() - ramp).max() < 1e-6
    hidden = np.asarray(Image.open(CASES/'hidden_colour.png')).astype(float)
    alpha = hidden[..., 3:]/255
    on_white = hidden[..., :3]*alpha + 255*(1 - alpha)
    assert (alpha == 0).any() and np.abs(values(CASES/'hidden_colour.png') - on_white).max() < 1
    with Image.open(CASES/'orientation_6.jpg') as image:
        upright = np.rot90(np.asarray(image), -1)
    assert (values(CASES/'orientation_6.jpg') == upright).all() and upright.shape[:2] == (200, 120)
    for name in ('an.gif', 'an.png', 'an.webp'):
        with pytest.warns(UserWarning, match=f'{name} holds several images; the first'):
            assert np.abs(values(CASES/name) - stored(CASES/name)).max() < 1

# --- size and kind ---

@pytest.mark.parametrize('name, pixels', [('bomb_20000x20000.jpg', '400000000'),
                                          ('gif_13000_1670.jpg', '13000 x 13000')])
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_a_bomb_is_refused_before_it_is_decoded(name, pixels):
    before = resource.getrusage(resource.RUSAGE_SELF)
    assert pixels in refusal(CASES/name) and pixels in why_broken(CASES/name)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 1 and after.ru_maxrss - before.ru_maxrss < 1e5 # kB

def test_the_limit_of_pixels_is_a_parameter(tmp_path):
    Image.new('RGB', (40, 30)).save(tmp_path/'x.png')
    assert '40 x 30 pixels are more than max_pixels=1199' in refusal(tmp_path/'x.png', max_pixels=1199)
    for enough in (1200, None): assert load_image(tmp_path/'x.png', max_pixels=enough).shape[1] == 30
    with pytest.raises(BadImage, match='more than max_pixels'):
        as_tensor(Image.new('L', (40, 30)), max_pixels=1199)

def test_an_icon_that_holds_more_than_it_says(tmp_path):
    png = io.BytesIO()
    Image.new('RGB', (300, 300)).save(png, 'PNG')
    entry = struct.pack('<BBBBHHII', 16, 16, 0, 0, 1, 32, len(png.getvalue()), 22)
    (tmp_path/'x.jpg').write_bytes(struct.pack('<HHH', 0, 1, 1) + entry + png.getvalue())
    assert '300 x 300' in refusal(tmp_path/'x.jpg', max_pixels=1000)

def test_a_large_photograph_is_read_small_where_little_is_needed(tmp_path):
    y, x = np.mgrid[:1200, :1600]
    waves = np.stack([127 + 120*np.sin(x/90), 127 + 120*np.cos(y/70), (x + y)/11], -1)
    waves = Image.fromarray(waves.astype(np.uint8))
    for name in ('x.jpg', 'x.png'):
        waves.save(tmp_path/name, quality=95)
        small = load_image(tmp_path/name, 2*96)
        assert small.shape == (3, 300, 400) # a quarter; an eighth would be too small
        whole = torch.nn.functional.avg_pool2d(load_image(tmp_path/name), 4)
        assert (small - whole).abs().max() < 6/255 and (small - whole).abs().mean() < 1/255

def test_only_files_are_opened(tmp_path):
    os.mkfifo(tmp_path/'pug_1.jpg')
    (tmp_path/'pug_2.jpg').mkdir()
    (tmp_path/'pug_3.jpg').symlink_to(tmp_path/'pug_1.jpg')
    (tmp_path/'pug_4.jpg').symlink_to(tmp_path/'pug_4.jpg') # to itself
    (tmp_path/'pug_5.jpg').write_bytes(b'')
    (tmp_path/'pug_6.jpg').symlink_to('/dev/zero')
    Image.new('RGB', (5, 4)).save(tmp_path/'pug_7.jpg')
    says = dict(zip(range(1, 7), ['regular file', 'a folder', 'regular file', 'levels of symbolic',
                                  'is empty', 'regular file']))
    for k, what in says.items(): assert what in refusal(tmp_path/f'pug_{k}.jpg')
    assert 'No such file' in refusal(tmp_path/'pug_8.jpg') and 'null' in refusal(f'{tmp_path}/\0.jpg')
    images, broken = list_images(tmp_path)
    assert [f.name for f in images] == ['pug_7.jpg'] and len(broken) == 6

def test_no_other_program_is_started(tmp_path, monkeypatch):
    Image.new('RGB', (5, 4)).save(tmp_path/'x.eps')
    monkeypatch.setattr('subprocess.Popen', None)
    monkeypatch.setattr('subprocess.check_call', None)
    assert 'EPS is not read' in refusal(tmp_path/'x.eps')

@pytest.mark.parametrize('error', [MemoryError(), RecursionError('too deep'), KeyError('x'),
    RuntimeError('two\nlines'), struct.error('short'), NotImplementedError(), OverflowError('wide')])
def test_whatever_a_decoder_raises_is_a_bad_image(tmp_path, monkeypatch, error):
    def fail(self): raise error
    Image.new('RGB', (5, 4)).save(tmp_path/'x.png')
    monkeypatch.setattr('PIL.PngImagePlugin.PngImageFile.load', fail)
    why = refusal(tmp_path/'x.png')
    assert (str(error).strip("'").split('\n')[0] or type(error).__name__) in why
    with pytest.raises(BadImage, match='x.png'): as_tensor(Image.open(tmp_path/'x.png'))

def test_names_of_any_bytes(tmp_path):
    folder = tmp_path/'pets'
    folder.mkdir()
    for name in (b'caf\xe9_1.jpg', b'red\x1b[31m_2.jpg', b'two\nlines_3.jpg'):
        with open(os.path.join(os.fsencode(folder), name), 'wb') as f: f.write(b'no image')
    images, broken = list_images(folder)
    assert len(broken) == 3 and all(refusal(f).encode() for f in broken)

# --- orientation ---

@pytest.mark.parametrize('format', ['PNG', 'WEBP', 'TIFF', 'JPEG', 'AVIF'])
@pytest.mark.parametrize('number', range(1, 9))
def test_an_image_is_turned_once_wherever_it_comes_from(tmp_path, format, number):
    if format == 'AVIF' and not features.check('avif'): pytest.skip('this Pillow has no AVIF')
    exif, path = Image.Exif(), tmp_path/'x.jpg'
    exif[0x0112] = number
    Image.fromarray(np.kron(arrow(), np.ones((8, 8, 1), np.uint8))).save(
        path, format, exif=exif, **({'lossless': True} if format == 'WEBP' else {}))
    with Image.open(path) as image: right = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    assert right.shape[:2] == ((48, 80) if number < 5 else (80, 48))
    assert (values(path) == right).all() and (np.asarray(pil_image(path)) == right).all()
    assert torch.equal(as_tensor(Image.open(path)), load_image(path))
    assert torch.equal(as_tensor(pil_image(path)), load_image(path)) # not once more

def test_damaged_exif_turns_nothing(tmp_path):
    Image.fromarray(arrow()).save(tmp_path/'x.png', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    assert (values(tmp_path/'x.png') == arrow()).all()
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(arrow()).save(tmp_path/'y.png', exif=exif)
    assert (values(tmp_path/'y.png') == arrow()).all()

@pytest.mark.parametrize('number', range(1, 9))
def test_a_mask_is_turned_with_its_image(tmp_path, number):
    exif = Image.Exif()
    exif[0x0112] = number
    trimap = (arrow()[..., 2] % 3 + 1).astype(np.uint8)
    Image.fromarray(arrow()).save(tmp_path/'x.png', exif=exif)
    Image.fromarray(trimap).save(tmp_path/'stored.png')
    Image.fromarray(trimap).save(tmp_path/'tagged.png', exif=exif)
    with Image.open(tmp_path/'tagged.png') as image: right = np.asarray(ImageOps.exif_transpose(image))
    for name in ('stored.png', 'tagged.png'): # drawn without a look at EXIF, or by the same camera
        assert (load_mask(tmp_path/name, tmp_path/'x.png') == right).all()
    assert (load_mask(tmp_path/'stored.png') == trimap).all()
    if number >= 5: # an upright mask has another shape
        Image.fromarray(right).save(tmp_path/'upright.png')
        assert (load_mask(tmp_path/'upright.png', tmp_path/'x.png') == right).all()
        Image.fromarray(right).resize((3, 5)).save(tmp_path/'small.png')
        assert load_mask(tmp_path/'small.png', tmp_path/'x.png').shape == (5, 3)

def test_masks_of_all_kinds_keep_their_values(tmp_path):
    inside = np.zeros((4, 6), bool)
    inside[1:3, 2:5] = True
    palette = Image.fromarray(inside.astype(np.uint8)*3).convert('P')
    palette = Image.fromarray(inside.astype(np.uint8)*3, 'P') if palette.mode != 'P' else palette
    palette.putpalette([255, 0, 0]*256) # all of one colour: the index is what counts
    coloured = np.zeros((4, 6, 4), np.uint8)
    coloured[..., 1], coloured[..., 3] = 200, inside*255 # one colour, and transparent elsewhere
    masks = {'1': Image.fromarray(inside), 'L': Image.fromarray(inside.astype(np.uint8)*255),
             'P': palette, 'RGBA': Image.fromarray(coloured),
             'RGB': Image.fromarray(coloured*inside[..., None]).convert('RGB'),
             'I;16': Image.fromarray(inside.astype(np.uint16)*65535)}
    for mode, mask in masks.items():
        assert mask.mode == mode
        mask.save(tmp_path/'m.png')
        found = load_mask(tmp_path/'m.png')
        assert found.shape == (4, 6) and ((found > 0) == inside).all(), mode
    (tmp_path/'m.png').write_bytes(b'')
    with pytest.raises(BadImage, match='m.png'): load_mask(tmp_path/'m.png')

# --- colours ---

def test_transparent_parts_are_white(tmp_path):
    red, nothing, half = (255, 0, 0, 255), (0, 0, 255, 0), (0, 0, 0, 128)
    image = Image.new('RGBA', (3, 1))
    for k, colour in enumerate((red, nothing, half)): image.putpixel((k, 0), colour)
    right = [[255, 0, 0], [255, 255, 255], [127, 127, 127]]
    for name in ('x.png', 'x.webp', 'x.tiff'):
        image.save(tmp_path/name, **({'lossless': True} if name == 'x.webp' else {}))
        assert np.abs(values(tmp_path/name)[0] - right).max() < 1, name
    with_hole = Image.new('P', (2, 1))
    with_hole.putpalette([0, 0, 255, 255, 0, 0])
    with_hole.putpixel((1, 0), 1)
    grey = Image.new('L', (2, 1))
    grey.putpixel((1, 0), 90)
    for image, key, seen in (with_hole, 0, [255, 0, 0]), (grey, 0, [90]*3), (grey.convert('RGB'), (0, 0, 0), [90]*3):
        image.save(tmp_path/'x.png', transparency=key)
        assert np.abs(values(tmp_path/'x.png')[0] - [[255]*3, seen]).max() < 1e-4
    with_hole.save(tmp_path/'x.gif', transparency=0)
    assert (values(tmp_path/'x.gif')[0] == [[255]*3, [255, 0, 0]]).all()

def swapped_profile():
    "sRGB's own profile, its red and its green exchanged"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    return profile.replace(b'rXYZ', b'?XYZ').replace(b'gXYZ', b'rXYZ').replace(b'?XYZ', b'gXYZ')

def test_profiles_become_srgb(tmp_path):
    image = Image.fromarray(arrow())
    image.save(tmp_path/'x.png', icc_profile=swapped_profile())
    assert np.abs(values(tmp_path/'x.png') - arrow()[..., [1, 0, 2]]).max() < 3
    image.putalpha(255)
    image.save(tmp_path/'x.png', icc_profile=swapped_profile())
    assert np.abs(values(tmp_path/'x.png') - arrow()[..., [1, 0, 2]]).max() < 3
    assert np.abs(as_tensor(Image.open(tmp_path/'x.png')).numpy() - load_image(tmp_path/'x.png').numpy()).max() == 0

@pytest.mark.parametrize('mode', ['RGB', 'L', 'P'])
def test_a_profile_that_is_damaged_or_of_other_colours_is_passed_over(tmp_path, mode):
    image = Image.fromarray(arrow()).convert(mode)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile('LAB')).tobytes()
    for profile in (b'no profile', swapped_profile()[:200], lab):
        image.save(tmp_path/'x.png', icc_profile=profile)
        assert (values(tmp_path/'x.png') == np.asarray(image.convert('RGB'))).all()

def test_srgb_itself_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    Image.fromarray(arrow()).save(tmp_path/'x.png', icc_profile=profile)
    assert (values(tmp_path/'x.png') == arrow()).all()

def test_grey_with_more_than_8_bits_is_scaled(tmp_path):
    ramp = np.linspace(0, 65535, 60).astype(np.uint16).reshape(6, 10)
    right = torch.tensor(ramp/65535).float().expand(3, -1, -1)
    Image.fromarray(ramp).save(tmp_path/'x.png')
    Image.fromarray(ramp).save(tmp_path/'x.tiff')
    (tmp_path/'x.pgm').write_bytes(b'P5 10 6 65535\n' + ramp.astype('>u2').tobytes())
    Image.fromarray(65535 - ramp).save(tmp_path/'inverted.tiff', tiffinfo={262: 0})
    for name in ('x.png', 'x.tiff', 'x.pgm', 'inverted.tiff'):
        torch.testing.assert_close(load_image(tmp_path/name), right, atol=1e-6, rtol=0)
        assert np.abs(np.asarray(pil_image(tmp_path/name))[..., 0] - ramp/257).max() <= .5
    torch.testing.assert_close(as_tensor(Image.fromarray(ramp)), right, atol=1e-6, rtol=0)

def test_floats_stay_or_are_refused(tmp_path):
    ramp = np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10)
    Image.fromarray(ramp).save(tmp_path/'x.tiff')
    torch.testing.assert_close(load_image(tmp_path/'x.tiff'), torch.tensor(ramp).expand(3, -1, -1))
    nowhere = np.where(ramp > .5, np.float32('nan'), ramp)
    for wrong, why in (ramp*255, '0 to 255, expected 0 to 1; divide by 255'), (ramp - .5, '-0.5 to 0.5'), (nowhere, 'nan'):
        Image.fromarray(wrong).save(tmp_path/'x.tiff')
        assert why in refusal(tmp_path/'x.tiff') and why in why_broken(tmp_path/'x.tiff')
    Image.fromarray((ramp*1e9).astype(np.int32)).save(tmp_path/'x.tiff')
    assert '32-bit integers' in refusal(tmp_path/'x.tiff')

# --- what is not a file ---

def test_forms_of_one_image(tmp_path):
    Image.fromarray(arrow()).save(tmp_path/'x.png')
    x = load_image(tmp_path/'x.png')
    forms = [arrow(), arrow()/255, torch.tensor(arrow()), torch.tensor(arrow()).permute(2, 0, 1), x.double(),
             Image.fromarray(arrow()), x.permute(1, 2, 0).numpy()[::-1][::-1], str(tmp_path/'x.png'),
             np.dstack([arrow(), np.full((6, 10), 255, np.uint8)])]
    for form in forms: torch.testing.assert_close(as_tensor(form), x)
    assert as_tensor(x) is x and as_tensor(x*1.05 - .02) is not None # a little overshoot
    square = torch.rand(3, 3, 3) # a tensor has its colours first, an array last
    assert torch.equal(as_tensor(square), square)
    assert torch.equal(as_tensor(square.numpy()), square.permute(2, 0, 1))

X = torch.rand(3, 6, 10)
@pytest.mark.parametrize('image, why', [
    ((X, 25), 'is a tuple of 2'), ([X], 'is a list of 1'), (None, 'is a NoneType'), (25, 'is a int'),
    (X[None], r'is \(1, 3, 6, 10\) torch.float32, a batch: give one'), (X[None, None], 'a batch of volumes'),
    (X[0], r'is \(6, 10\) torch.float32, which is grey'), (X[0].numpy(), r'is \(6, 10\) float32, which is grey'),
    ((X*9999).numpy().astype(np.uint16).transpose(1, 2, 0), r'is \(6, 10, 3\) uint16'),
    (X.bool(), 'torch.bool'), (X[:2], r'is \(2, 6, 10\)'), (X[:, :0], r'is \(3, 0, 10\)'), (torch.zeros(()), r'is \(\)'),
    ((X - .45)/.225, 'values from .* expected 0 to 1; a normalised image'), (X*2 - 1, 'a normalised image'),
    (X*255, 'divide by 255'), (X/0, 'to inf'), (X*float('nan'), 'from nan'), (X.numpy().astype(object), 'object')])
def test_what_is_no_image_is_told_what_it_is(image, why):
    with pytest.raises(ValueError, match=f'image 3.*{why}'): as_tensor(image, name='image 3')

def test_a_pillow_image_without_pixels_or_closed(tmp_path):
    with pytest.raises(BadImage, match='the image .*0 x 5: there are no pixels'): as_tensor(Image.new('RGB', (0, 5)))
    Image.new('RGB', (5, 4)).save(tmp_path/'x.png')
    with Image.open(tmp_path/'x.png') as image: image.close()
    with pytest.raises(BadImage, match='x.png'): as_tensor(image)

@pytest.mark.parametrize('wrong', [0, -5, float('nan')])
def test_at_least_is_a_number_of_pixels(wrong):
    with pytest.raises(ValueError, match=f'at_least is {wrong}'): load_image(CASES/'cmyk.jpg', wrong)

def test_only_colours_are_normalised():
    for wrong in (torch.zeros(3, 4, 4, dtype=torch.uint8), torch.rand(1, 4, 4), torch.rand(4, 4)):
        for f in (normalize, denormalize):
            with pytest.raises(ValueError, match=r'expected floats \(...,3,h,w\), got'): f(wrong)

# --- folders ---

def test_an_image_damaged_in_the_middle_is_passed_over(few_pets):
    # PNGs, whatever their names say
    whole, damaged = (few_pets/'images'/f'beagle_{k}.jpg' for k in (98, 99))
    Image.effect_noise((64, 64), 50).save(whole, 'PNG')
    content = bytearray(whole.read_bytes())
    content[800:1000] = bytes(200)
    damaged.write_bytes(content)
    assert not why_broken(whole) and find_pets(few_pets, quiet=True).broken == [damaged]

def test_a_jpeg_that_ends_well_and_breaks_in_its_middle_is_found_before_training(few_pets, capsys):
    shutil.copy(CASES/'whole_but_undecodable_77.jpg', few_pets/'images'/'beagle_98.jpg')
    shutil.copy(CASES/'bomb_20000x20000.jpg', few_pets/'images'/'beagle_99.jpg')
    data = get_data(32, 8, path=few_pets)
    said = capsys.readouterr().out
    assert 'passed over 2 that cannot be read: beagle_98.jpg (broken data stream' in said
    assert len(data.train_ds) + len(data.valid_ds) == 40

def test_a_link_to_nowhere_is_passed_over(few_pets):
    (few_pets/'images'/'beagle_98.jpg').symlink_to('/nowhere/at/all.jpg')
    assert [f.name for f in find_pets(few_pets, quiet=True).broken] == ['beagle_98.jpg']

def test_a_folder_that_is_none(tmp_path):
    (tmp_path/'x.jpg').write_bytes(b'x')
    for name in ('nowhere', 'x.jpg'):
        with pytest.raises(FileNotFoundError, match=f'{name} is not a folder'): list_images(tmp_path/name)

def test_a_file_is_looked_at_again_when_it_has_changed(tmp_path):
    path = tmp_path/'x.png'
    path.write_bytes(b'x')
    assert why_broken(path)
    Image.new('RGB', (5, 4)).save(path)
    assert not why_broken(path)

def test_reading_small_looks_the_same_to_the_network(few_pets, tmp_path):
    data, file = get_data(96, 8, path=few_pets), tmp_path/'large_1.jpg'
    y, x = np.mgrid[:1200, :1600]
    waves = np.stack([127 + 120*np.sin(x/90), 127 + 120*np.cos(y/70), (x + y)/11], -1)
    Image.fromarray(waves.astype(np.uint8)).save(file, quality=95)
    by_file, by_tensor = data.one_item(file), data.one_item(load_image(file))
    assert not torch.equal(by_file, by_tensor)
    assert (data.denorm(by_file) - data.denorm(by_tensor)).abs().max() < 6/255
    already_small = data.valid_ds.files[0]
    assert torch.equal(load_image(already_small, 192), load_image(already_small))

def test_a_box_that_is_no_box(tmp_path):
    (tmp_path/'x.xml').write_text('<a><xmin>3</xmin></a>')
    for name in ('x.xml', 'y.xml'):
        with pytest.raises(ValueError, match=f"{name} is not a box in PASCAL VOC's format"): load_box(tmp_path/name)

# --- downloads ---

class Server(http.server.BaseHTTPRequestHandler):
    files, starts, break_after = {}, [], None

    def do_GET(self):
        body, start = self.files[self.path.rsplit('/', 1)[1]], 0
        if requested := self.headers.get('Range'): start = int(requested[6:-1])
        self.starts.append(start)
        if start >= len(body) and start: return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', len(body) - start)
        self.end_headers()
        self.wfile.write(body[start:self.break_after or None])

    def log_message(self, *args):
        return

@pytest.fixture
def server():
    Server.files, Server.starts, Server.break_after = {}, [], None
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{s.server_port}/'
    s.shutdown()
    s.server_close()

def md5(content):
    return hashlib.md5(content).hexdigest()

def test_a_download_resumes_where_it_broke_off(server, tmp_path):
    content, path = bytes(range(256))*100, tmp_path/'a.bin'
    Server.files['a.bin'], Server.break_after = content, 9000
    with pytest.raises(ConnectionError, match='are kept, try again'):
        fetch(server + 'a.bin', path, md5(content), show=False)
    assert not path.exists()
    Server.break_after = None
    assert fetch(server + 'a.bin', path, md5(content), show=False).read_bytes() == content
    assert Server.starts == [0, 9000] and [f.name for f in tmp_path.iterdir()] == ['a.bin']
    fetch(server + 'a.bin', path, md5(content))
    assert len(Server.starts) == 2 # it is there: nothing is requested

def test_a_download_that_only_lacks_its_name_is_not_received_again(server, tmp_path):
    Server.files['a.bin'] = b'all of it'
    (tmp_path/'a.bin.part').write_bytes(b'all of it')
    path = fetch(server + 'a.bin', tmp_path/'a.bin', md5(b'all of it'), show=False)
    assert path.read_bytes() == b'all of it' and Server.starts == [9]

def test_a_damaged_download_is_deleted_and_said(server, tmp_path):
    Server.files['a.bin'] = b'not what was promised'
    with pytest.raises(ConnectionError, match='arrived damaged'):
        fetch(server + 'a.bin', tmp_path/'a.bin', md5(b'x'), show=False)
    assert not list(tmp_path.iterdir())

def test_a_download_shows_its_progress(server, tmp_path, capsys):
    Server.files['a.bin'] = bytes(3_000_000)
    fetch(server + 'a.bin', tmp_path/'a.bin', md5(bytes(3_000_000)))
    assert '3.00M/3.00M' in capsys.readouterr().err

def packed(name, source):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar: tar.add(source, name)
    return out.getvalue()

def test_download_and_unpack(server, few_pets, tmp_path, monkeypatch):
    Server.files = {'images.tar.gz': packed('images', few_pets/'images'),
                    'annotations.tar.gz': packed('annotations', few_pets/'images')}
    sums = {name: md5(body) for name, body in Server.files.items()}
    monkeypatch.setenv('PETCAM_CACHE', str(tmp_path/'cache'))
    monkeypatch.delenv('PETCAM_DATA', raising=False)
    folder = download_pets(url=server, archives=sums)
    assert sorted(f.name for f in folder.iterdir()) == ['annotations', 'images']
    assert len(find_pets(quiet=True, kaggle=tmp_path).files) == 40
    download_pets(url=server, archives=sums)
    assert len(Server.starts) == 2

def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(ConnectionError, match='could not be downloaded'):
        download_pets(tmp_path, url='http://127.0.0.1:9/')

def test_the_archives_are_those_that_torchvision_names():
    from torchvision.datasets import OxfordIIITPet
    ours = {(downloads.PETS_URL + name, md5) for name, md5 in downloads.ARCHIVES.items()}
    assert ours == set(OxfordIIITPet._RESOURCES)
