"""Finding, checking, splitting, loading and downloading images."""
import hashlib, http.server, io, shutil, tarfile, threading
from dataclasses import FrozenInstanceError, replace
import numpy as np
import pytest
import torch
from PIL import Image
from petcam import data as module
from petcam.data import find_pets, get_data, label_of, split_by_rand_pct
from petcam.files.downloads import download_pets, fetch
from petcam.files.images import BadImage, is_whole, list_images, load_image

def test_split_equals_fastais(golden):
    for case in golden['split_v1_numpy'].values():
        if not isinstance(case, dict) or 'valid_sha256_of_comma_joined' not in case: continue
        train, valid = split_by_rand_pct(case['n'], case['valid_pct'], case['seed'])
        assert hashlib.sha256(','.join(map(str, valid)).encode()).hexdigest() == case['valid_sha256_of_comma_joined']
        assert len(train) == case['n_train'] and train[:10].tolist() == case['train_first10']
        assert sorted([*train, *valid]) == list(range(case['n']))

def test_split_leaves_numpys_own_randomness_alone():
    np.random.seed(5); expected = np.random.rand()
    np.random.seed(5); split_by_rand_pct(100); assert np.random.rand() == expected

def test_real_photographs(real_pets, golden):
    pets = find_pets(real_pets, quiet=True)
    assert len(pets.files) == 940 and pets.kind == 'real' and not pets.broken
    assert pets.trimaps == real_pets/'annotations'/'trimaps' and pets.boxes == real_pets/'annotations'/'xmls'
    data = get_data(64, 16, path=pets)
    assert data.classes == golden['classes_in_order'] and data.classes.index('leonberger') == 25
    odd = [f for f in pets.files if Image.open(f).format != 'JPEG']
    assert len(odd) == 2 and all(load_image(f).shape[0] == 3 for f in odd)

def test_listing_is_sorted_and_passes_over_what_is_no_image(few_pets):
    (few_pets/'images'/'stray.mat').write_bytes(b'MATLAB'); (few_pets/'images'/'.hidden_1.jpg').write_bytes(b'')
    files, broken = list_images(few_pets/'images')
    assert len(files) == 40 and not broken and files == sorted(files, key=lambda f: f.name)

def test_broken_files_are_passed_over_with_a_count(few_pets, capsys):
    whole = (few_pets/'images'/'beagle_1.jpg').read_bytes()
    (few_pets/'images'/'beagle_2.jpg').write_bytes(whole[:len(whole)//2])
    (few_pets/'images'/'beagle_3.jpg').write_bytes(b'')
    data = get_data(32, 8, path=few_pets)
    assert 'passed over 2 that cannot be read: beagle_2.jpg, beagle_3.jpg' in capsys.readouterr().out
    assert sum(len(y) for _, y in data.train_dl) + sum(len(y) for _, y in data.valid_dl) == 38 - len(data.train_ds) % 8

@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'GIF', 'BMP', 'WEBP'])
def test_every_cut_is_noticed(tmp_path, format):
    out = io.BytesIO(); Image.fromarray(np.random.RandomState(0).randint(0, 255, (40,40,3), np.uint8)).save(out, format)
    path, whole = tmp_path/'a_1.jpg', out.getvalue()
    path.write_bytes(whole); assert is_whole(path)
    path.write_bytes(whole + b'\0\0'); assert is_whole(path)      # some real files have padding behind
    for cut in (0, 10, len(whole)//2, len(whole)*9//10):
        path.write_bytes(whole[:cut]); assert not is_whole(path), (format, cut)

def test_unreadable_image_is_named(tmp_path):
    (tmp_path/'x_1.jpg').write_text('hello')
    with pytest.raises(BadImage, match='x_1.jpg is not an image'): load_image(tmp_path/'x_1.jpg')

def test_alpha_palette_and_grey_become_three_colours(tmp_path):
    for mode in ('RGBA', 'P', 'L', 'CMYK', '1'):
        suffix = 'tiff' if mode == 'CMYK' else 'png'
        Image.new(mode, (5,4)).save(tmp_path/f'x.{suffix}')
        assert load_image(tmp_path/f'x.{suffix}').shape == (3,4,5)

def copies(folder, n, source):
    folder.mkdir(parents=True)
    for i in range(n): (folder/f'pug_{i}.jpg').symlink_to(source)

def test_the_order_of_the_places(few_pets, tmp_path, monkeypatch):
    image, kaggle, cache = few_pets/'images'/'beagle_1.jpg', tmp_path/'kaggle', tmp_path/'cache'
    toys = tmp_path/'toys'; copies(toys/'images', 2, image); (toys/'toypets.json').write_text('{}')
    monkeypatch.setattr(module, 'make_toypets', lambda folder: toys)
    monkeypatch.setenv('PETCAM_CACHE', str(cache)); monkeypatch.delenv('PETCAM_DATA', raising=False)
    look = lambda path=None: find_pets(path, quiet=True, kaggle=kaggle)
    assert look().kind == 'toy'
    copies(cache/'oxford-iiit-pet'/'images', 3, image);                               assert look().why == 'downloaded earlier'
    copies(kaggle/'datasets'/'someone'/'the-oxfordiiit-pet-dataset'/'images'/'images', 1001, image); assert 'Kaggle' in look().why
    monkeypatch.setenv('PETCAM_DATA', str(few_pets));                                   assert 'PETCAM_DATA' in look().why
    assert look(toys).kind == 'toy' and len(look(toys).files) == 2

@pytest.mark.parametrize('layout', ['the-oxfordiiit-pet-dataset/images/images', 'the-oxfordiiit-pet-dataset/images', 'd/tanlikesmath/pets/images',
    'datasets/tanlikesmath/the-oxfordiiit-pet-dataset/images', 'datasets/tanlikesmath/the-oxfordiiit-pet-dataset/images/images'])
def test_kaggles_mount_points_and_layouts(few_pets, tmp_path, layout, monkeypatch):
    monkeypatch.delenv('PETCAM_DATA', raising=False)
    copies(tmp_path/'input'/layout, 1001, few_pets/'images'/'beagle_1.jpg')
    copies(tmp_path/'input'/'other-dataset'/'x', 5, few_pets/'images'/'beagle_1.jpg')
    trimaps = (tmp_path/'input'/layout).parent/'annotations'/'annotations'/'trimaps'; trimaps.mkdir(parents=True)
    pets = find_pets(quiet=True, kaggle=tmp_path/'input')
    assert pets.images == tmp_path/'input'/layout and pets.trimaps == trimaps

def test_a_folder_may_be_a_link(few_pets, tmp_path):
    (tmp_path/'linked').mkdir(); (tmp_path/'linked'/'images').symlink_to(few_pets/'images')
    assert find_pets(tmp_path/'linked', quiet=True).images == tmp_path/'linked'/'images'

def test_what_was_asked_for_and_is_not_there_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='gone.* is not a folder'): find_pets(tmp_path/'gone')
    with pytest.raises(FileNotFoundError, match='holds no images'): find_pets(tmp_path)
    monkeypatch.setenv('PETCAM_DATA', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='PETCAM_DATA'): find_pets()

def test_labels_unknown_to_training_are_left_out(few_pets, capsys):
    _, valid = split_by_rand_pct(41)
    names = sorted(f.name for f in (few_pets/'images').iterdir())
    new = 'Bengal_1.jpg'
    shutil.copy(few_pets/'images'/'beagle_1.jpg', few_pets/'images'/new)
    at = sorted([*names, new]).index(new)
    seed = next(s for s in range(100) if at in split_by_rand_pct(41, seed=s)[1])
    data = get_data(32, 8, path=few_pets, seed=seed)
    assert '1 validation images left out' in capsys.readouterr().out
    assert data.classes == ['Abyssinian', 'beagle'] and len(data.valid_ds) == 7

def test_a_name_without_a_label(): 
    with pytest.raises(ValueError, match="no label in 'holiday.jpg'"): label_of('holiday.jpg')

def test_seed_gives_the_same_batches_whoever_makes_them(few_pets):
    def epoch(data): torch.manual_seed(3); return list(data.train_dl), torch.rand(1)
    data = get_data(32, 8, path=few_pets)
    first, after = epoch(data)
    for again, after_again in (epoch(data), *(epoch(get_data(32, 8, path=few_pets, workers=n)) for n in (0, 1, 2))):
        assert after == after_again                                             # nor is anything else drawn from the generator
        for (a, ya), (b, yb) in zip(first, again, strict=True): assert torch.equal(a, b) and torch.equal(ya, yb)
    assert not torch.equal(list(data.train_dl)[0][0], first[0][0])              # another epoch, other images

def test_a_broken_off_epoch_leaves_a_loader_that_works(few_pets):
    data = get_data(32, 8, path=few_pets)
    for _ in data.train_dl: break
    torch.manual_seed(3); again = list(data.train_dl)
    torch.manual_seed(3); expected = list(get_data(32, 8, path=few_pets, workers=0).train_dl)
    for (a, ya), (b, yb) in zip(again, expected, strict=True): assert torch.equal(a, b) and torch.equal(ya, yb)

def test_data_is_not_changed_behind_the_loaders_back(few_pets):
    data = get_data(32, 8, path=few_pets)
    for thing, name in (data, 'bs'), (data.train_ds, 'size'):
        with pytest.raises(FrozenInstanceError, match=name): setattr(thing, name, 16)
    assert next(iter(replace(data, bs=2).train_dl))[0].shape == (2,3,32,32)

def test_one_item_takes_files_images_and_tensors(few_pets):
    data = get_data(96, 8, path=few_pets)
    f = data.valid_ds.files[0]
    for form in (f, str(f), Image.open(f), load_image(f)): torch.testing.assert_close(data.denorm(data.one_item(form))[0], data.valid_ds[0][0])

def test_a_large_jpeg_is_decoded_small_and_looks_the_same(few_pets, tmp_path):
    data, file = get_data(96, 8, path=few_pets), tmp_path/'large_1.jpg'
    y, x = np.mgrid[:1200,:1600]
    Image.fromarray(np.stack([127+120*np.sin(x/90), 127+120*np.cos(y/70), (x+y)/11], -1).astype(np.uint8)).save(file, quality=95)
    small = load_image(file, 2*96)
    assert small.shape == (3,300,400)                                           # a quarter; an eighth would be too small
    whole = torch.nn.functional.avg_pool2d(load_image(file), 4)
    assert (small-whole).abs().max() < 6/255 and (small-whole).abs().mean() < 1/255
    by_file, by_tensor = data.one_item(file), data.one_item(load_image(file))
    assert not torch.equal(by_file, by_tensor) and (data.denorm(by_file)-data.denorm(by_tensor)).abs().max() < 6/255
    assert torch.equal(load_image(data.valid_ds.files[0], 192), load_image(data.valid_ds.files[0]))   # already small enough

# --- downloading ---

class Server(http.server.BaseHTTPRequestHandler):
    files, asked, break_after = {}, [], None
    def do_GET(self):
        body, start = self.files[self.path.rsplit('/', 1)[1]], 0
        if requested := self.headers.get('Range'): start = int(requested[6:-1])
        self.asked.append(start)
        if start >= len(body) and start: return self.send_error(416)
        self.send_response(206 if start else 200); self.send_header('Content-Length', len(body)-start); self.end_headers()
        self.wfile.write(body[start:self.break_after or None])
    def log_message(self, *args): pass

@pytest.fixture
def server():
    Server.files, Server.asked, Server.break_after = {}, [], None
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{s.server_port}/'
    s.shutdown(); s.server_close()

md5 = lambda b: hashlib.md5(b).hexdigest()

def test_a_download_goes_on_where_it_broke_off(server, tmp_path):
    content = bytes(range(256))*100
    Server.files['a.bin'], Server.break_after = content, 9000
    with pytest.raises(ConnectionError, match='are kept, try again'): fetch(server+'a.bin', tmp_path/'a.bin', md5(content), show=False)
    assert not (tmp_path/'a.bin').exists()
    Server.break_after = None
    assert fetch(server+'a.bin', tmp_path/'a.bin', md5(content), show=False).read_bytes() == content
    assert Server.asked == [0, 9000] and [f.name for f in tmp_path.iterdir()] == ['a.bin']
    fetch(server+'a.bin', tmp_path/'a.bin', md5(content)); assert len(Server.asked) == 2          # it is there: nothing is asked

def test_a_damaged_download_is_deleted_and_said(server, tmp_path):
    Server.files['a.bin'] = b'not what was promised'
    with pytest.raises(ConnectionError, match='arrived damaged'): fetch(server+'a.bin', tmp_path/'a.bin', md5(b'x'), show=False)
    assert not list(tmp_path.iterdir())

def packed(name, source):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar: tar.add(source, name)
    return out.getvalue()

def test_download_and_unpack(server, few_pets, tmp_path, monkeypatch):
    Server.files = {'images.tar.gz': packed('images', few_pets/'images'), 'annotations.tar.gz': packed('annotations', few_pets/'images')}
    sums = {name: md5(body) for name, body in Server.files.items()}
    monkeypatch.setenv('PETCAM_CACHE', str(tmp_path/'cache')); monkeypatch.delenv('PETCAM_DATA', raising=False)
    folder = download_pets(url=server, archives=sums)
    assert sorted(f.name for f in folder.iterdir()) == ['annotations', 'images']
    assert len(find_pets(quiet=True, kaggle=tmp_path).files) == 40
    download_pets(url=server, archives=sums); assert len(Server.asked) == 2

def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(ConnectionError, match='could not be downloaded'): download_pets(tmp_path, url='http://127.0.0.1:9/')

def test_the_archives_are_those_that_torchvision_names():
    from torchvision.datasets import OxfordIIITPet
    assert {(module.PETS_URL+n, s) for n, s in module.ARCHIVES.items()} == set(OxfordIIITPet._RESOURCES)

def test_a_image_damaged_in_the_middle_is_passed_over(few_pets):
    whole, damaged = (few_pets/'images'/f'beagle_{k}.jpg' for k in (98, 99))   # PNGs, whatever their names say
    Image.effect_noise((64,64), 50).save(whole, 'PNG')
    content = bytearray(whole.read_bytes())
    content[800:1000] = bytes(200)
    damaged.write_bytes(content)
    assert is_whole(whole) and find_pets(few_pets, quiet=True).broken == [damaged]

def test_a_link_to_nowhere_is_passed_over(few_pets):
    (few_pets/'images'/'beagle_98.jpg').symlink_to('/nowhere/at/all.jpg')
    assert [f.name for f in find_pets(few_pets, quiet=True).broken] == ['beagle_98.jpg']

def test_a_file_without_a_breed_is_passed_over_and_said(few_pets, capsys):
    shutil.copy(few_pets/'images'/'beagle_1.jpg', few_pets/'images'/'holiday.jpg')
    data = get_data(32, 8, path=few_pets)
    assert len(data.train_ds)+len(data.valid_ds) == 40 and 'passed over 1 with no label' in capsys.readouterr().out

def test_one_class_is_an_error(few_pets):
    for f in (few_pets/'images').glob('beagle*'): f.unlink()
    with pytest.raises(ValueError, match=r"all 20 images are of one class, \['Abyssinian'\]"): get_data(32, 8, path=few_pets)

def test_a_file_that_breaks_while_training_is_named_without_a_traceback(few_pets):
    data = get_data(32, 8, path=few_pets)
    for f in data.train_ds.files: f.write_bytes(b'')
    with pytest.raises(BadImage) as e: list(data.train_dl)
    assert 'is not an image' in str(e.value) and 'Traceback' not in str(e.value) and '\n' not in str(e.value)
