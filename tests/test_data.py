"""Finding, splitting, labelling and loading pets."""
import hashlib
import shutil
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from petcam import data as module
from petcam.data import find_pets, get_data, label_of, split_by_rand_pct
from petcam.files.images import BadImage, list_images, load_image
from petcam.onecycle import cnn_learner

CASES = Path(__file__).parent/'cases'

def test_split_equals_fastais(golden):
    for case in golden['split_v1_numpy'].values():
        if not isinstance(case, dict) or 'valid_sha256_of_comma_joined' not in case: continue
        train, valid = split_by_rand_pct(case['n'], case['valid_pct'], case['seed'])
        digest = hashlib.sha256(','.join(map(str, valid)).encode()).hexdigest()
        assert digest == case['valid_sha256_of_comma_joined']
        assert len(train) == case['n_train'] and train[:10].tolist() == case['train_first10']
        assert sorted([*train, *valid]) == list(range(case['n']))

def test_split_of_ten():
    train, valid = split_by_rand_pct(10)
    assert valid.tolist() == [4, 1] and train.tolist() == [0, 2, 3, 5, 6, 7, 8, 9]

@pytest.mark.parametrize('name, values', [
    ('valid_pct', (100, -.2)), ('valid_pct', (100, 20)), ('valid_pct', (100, float('nan'))), ('n', (-1,)), ('n', (0,)), ('n', (10.5,)),
    ('seed', (100, .2, -1)), ('seed', (100, .2, 10**20)), ('seed', (100, .2, None)), ('seed', (100, .2, 1.5))])
def test_a_split_that_is_none(name, values):
    with pytest.raises(ValueError, match=f'{name} is .*; expected'): split_by_rand_pct(*values)

@pytest.mark.parametrize('option', [
    dict(size=0), dict(size=96.5), dict(size='96'), dict(bs=0), dict(bs=-8), dict(bs=None), dict(workers=-1),
    dict(padding_mode='reflect'), dict(valid_pct=-.2), dict(valid_pct=80), dict(seed=-1)])
def test_values_that_no_data_can_have_are_named_before_training(few_pets, option):
    [name] = option
    with pytest.raises(ValueError, match=f'{name} is .*; expected'):
        get_data(**dict(dict(size=32, bs=8, path=few_pets, workers=0), **option))

def test_patterns_that_find_no_label(few_pets, capsys):
    for pattern, why in ('(', 'is not a regular expression'), ('a+', 'has no brackets'):
        for f in (lambda: get_data(32, 8, path=few_pets, pattern=pattern), lambda: label_of('a_1.jpg', pattern)):
            with pytest.raises(ValueError, match=f'pattern .*{why}'): f()
    with pytest.raises(ValueError, match='images: no image has a label in its name'):
        get_data(32, 8, path=few_pets, pattern=r'(\d+)\.gif')
    with pytest.raises(ValueError, match='valid_pct is 1: of 40 images none is left'):
        get_data(32, 8, path=few_pets, valid_pct=1)

def test_as_many_files_as_classes(few_pets):
    ds = get_data(32, 8, path=few_pets).valid_ds
    with pytest.raises(ValueError, match='8 files, but 7 class indices'): replace(ds, y=ds.y[:7])

def test_split_leaves_numpys_own_randomness_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    split_by_rand_pct(100)
    assert np.random.rand() == expected

def test_real_photographs(real_pets, golden):
    pets = find_pets(real_pets, quiet=True)
    assert len(pets.files) == 940 and pets.kind == 'real' and not pets.broken
    assert pets.trimaps == real_pets/'annotations'/'trimaps'
    assert pets.boxes == real_pets/'annotations'/'xmls'
    data = get_data(64, 16, path=pets)
    assert data.classes == golden['classes_in_order'] and data.classes.index('leonberger') == 25
    assert data.valid_ds.files[150].name == 'Abyssinian_60.jpg' # why images are chosen by class
    assert data.valid_ds.files[data.first_of('leonberger')].name == 'leonberger_160.jpg'
    odd = [f for f in pets.files if Image.open(f).format != 'JPEG']
    assert len(odd) == 2 and all(load_image(f).shape[0] == 3 for f in odd)

def test_listing_is_sorted_and_passes_over_what_is_no_image(few_pets):
    (few_pets/'images'/'stray.mat').write_bytes(b'MATLAB')
    (few_pets/'images'/'.hidden_1.jpg').write_bytes(b'')
    files, broken = list_images(few_pets/'images')
    assert len(files) == 40 and not broken and files == sorted(files, key=lambda f: f.name)

def test_broken_files_are_passed_over_with_a_count(few_pets, capsys):
    whole = (few_pets/'images'/'beagle_1.jpg').read_bytes()
    (few_pets/'images'/'beagle_2.jpg').write_bytes(whole[:len(whole)//2])
    (few_pets/'images'/'beagle_3.jpg').write_bytes(b'')
    data = get_data(32, 8, path=few_pets)
    said = capsys.readouterr().out
    assert 'passed over 2 that cannot be read: beagle_2.jpg (image file is truncated' in said
    assert 'beagle_3.jpg (it is empty)' in said
    seen = sum(len(y) for dl in (data.train_dl, data.valid_dl) for _, y in dl)
    assert seen == 38 - len(data.train_ds) % 8

# --- where the pets are ---

def copies(folder, n, source):
    folder.mkdir(parents=True)
    for i in range(n): (folder/f'pug_{i}.jpg').symlink_to(source)

def test_the_order_of_the_places(few_pets, tmp_path, monkeypatch):
    image, kaggle, cache = few_pets/'images'/'beagle_1.jpg', tmp_path/'kaggle', tmp_path/'cache'
    toys = tmp_path/'toys'
    copies(toys/'images', 2, image)
    (toys/'toypets.json').write_text('{}')
    monkeypatch.setattr(module, 'make_toypets', lambda folder: toys)
    monkeypatch.setenv('PETCAM_CACHE', str(cache))
    monkeypatch.delenv('PETCAM_DATA', raising=False)
    def look(path=None):
        return find_pets(path, quiet=True, kaggle=kaggle)

    assert look().kind == 'toy'
    copies(cache/'oxford-iiit-pet'/'images', 3, image)
    assert look().why == 'downloaded earlier'
    copies(kaggle/'datasets'/'someone'/'the-oxfordiiit-pet-dataset'/'images'/'images', 1001, image)
    assert 'Kaggle' in look().why
    monkeypatch.setenv('PETCAM_DATA', str(few_pets))
    assert 'PETCAM_DATA' in look().why
    assert look(toys).kind == 'toy' and len(look(toys).files) == 2

@pytest.mark.parametrize('layout', [
    'the-oxfordiiit-pet-dataset/images/images',
    'the-oxfordiiit-pet-dataset/images',
    'd/tanlikesmath/pets/images',
    'datasets/tanlikesmath/the-oxfordiiit-pet-dataset/images',
    'datasets/tanlikesmath/the-oxfordiiit-pet-dataset/images/images'])
def test_kaggles_mount_points_and_layouts(few_pets, tmp_path, layout, monkeypatch):
    monkeypatch.delenv('PETCAM_DATA', raising=False)
    images = tmp_path/'input'/layout
    copies(images, 1001, few_pets/'images'/'beagle_1.jpg')
    copies(tmp_path/'input'/'other-dataset'/'x', 5, few_pets/'images'/'beagle_1.jpg')
    trimaps = images.parent/'annotations'/'annotations'/'trimaps'
    trimaps.mkdir(parents=True)
    pets = find_pets(quiet=True, kaggle=tmp_path/'input')
    assert pets.images == images and pets.trimaps == trimaps

def test_a_folder_may_be_a_link(few_pets, tmp_path):
    (tmp_path/'linked').mkdir()
    (tmp_path/'linked'/'images').symlink_to(few_pets/'images')
    assert find_pets(tmp_path/'linked', quiet=True).images == tmp_path/'linked'/'images'

def test_a_named_folder_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='gone.* is not a folder'):
        find_pets(tmp_path/'gone')
    with pytest.raises(FileNotFoundError, match='holds no images'):
        find_pets(tmp_path)
    monkeypatch.setenv('PETCAM_DATA', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='PETCAM_DATA'):
        find_pets()

# --- labels and classes ---

def test_labels_unknown_to_training_are_left_out(few_pets, capsys):
    names = sorted(f.name for f in (few_pets/'images').iterdir())
    new = 'Bengal_1.jpg'
    shutil.copy(few_pets/'images'/'beagle_1.jpg', few_pets/'images'/new)
    at = sorted([*names, new]).index(new)
    seed = next(s for s in range(100) if at in split_by_rand_pct(41, seed=s)[1])
    data = get_data(32, 8, path=few_pets, seed=seed)
    assert '1 validation images left out' in capsys.readouterr().out
    assert data.classes == ['Abyssinian', 'beagle'] and len(data.valid_ds) == 7

def test_a_name_without_a_label():
    with pytest.raises(ValueError, match="no label in 'holiday.jpg'"):
        label_of('holiday.jpg')

def test_a_file_without_a_breed_is_passed_over_and_said(few_pets, capsys):
    shutil.copy(few_pets/'images'/'beagle_1.jpg', few_pets/'images'/'holiday.jpg')
    data = get_data(32, 8, path=few_pets)
    assert len(data.train_ds) + len(data.valid_ds) == 40
    assert 'passed over 1 with no label' in capsys.readouterr().out

def test_one_class_is_an_error(few_pets):
    for f in (few_pets/'images').glob('beagle*'): f.unlink()
    with pytest.raises(ValueError, match=r"all 20 images are of one class, \['Abyssinian'\]"):
        get_data(32, 8, path=few_pets)

def test_the_first_of_a_class(few_pets):
    data = get_data(32, 8, path=few_pets)
    for k, name in enumerate(['Abyssinian', 'beagle']):
        at = data.first_of(name)
        assert data.valid_ds[at][1] == k and k not in data.valid_ds.y[:at]
        assert data.valid_ds.files[at].name.startswith(name) and data.first_of(k) == at
    with pytest.raises(ValueError, match='beagle'): # the nearest name
        data.first_of('bagel')
    only = [i for i, k in enumerate(data.valid_ds.y) if k == 0]
    without = replace(data.valid_ds, files=[data.valid_ds.files[i] for i in only], y=[0]*len(only))
    with pytest.raises(ValueError, match=f'no beagle among the {len(only)} validation images'):
        replace(data, valid_ds=without).first_of('beagle')

# --- batches ---

def same(batches, others):
    return all(torch.equal(a, b) and torch.equal(ya, yb)
               for (a, ya), (b, yb) in zip(batches, others, strict=True))

def test_seed_gives_the_same_batches_whoever_makes_them(few_pets):
    def epoch(data):
        torch.manual_seed(3)
        return list(data.train_dl), torch.rand(1)

    data = get_data(32, 8, path=few_pets)
    first, after = epoch(data)
    others = [get_data(32, 8, path=few_pets, workers=n) for n in (0, 1, 2)]
    for again, after_again in map(epoch, [data, *others]):
        assert after == after_again # nor is anything else drawn from the generator
        assert same(first, again)
    assert not torch.equal(list(data.train_dl)[0][0], first[0][0]) # another epoch, other images

def test_a_broken_off_epoch_leaves_a_loader_that_works(few_pets):
    data = get_data(32, 8, path=few_pets)
    for _ in data.train_dl: break
    torch.manual_seed(3)
    again = list(data.train_dl)
    torch.manual_seed(3)
    assert same(again, list(get_data(32, 8, path=few_pets, workers=0).train_dl))

def test_data_is_not_changed_behind_the_loaders_back(few_pets):
    data = get_data(32, 8, path=few_pets)
    for thing, name in (data, 'bs'), (data.train_ds, 'size'):
        with pytest.raises(FrozenInstanceError, match=name): setattr(thing, name, 16)
    assert next(iter(replace(data, bs=2).train_dl))[0].shape == (2, 3, 32, 32)

def test_one_item_takes_files_images_and_tensors(few_pets):
    data = get_data(96, 8, path=few_pets)
    f = data.valid_ds.files[0]
    for form in (f, str(f), Image.open(f), load_image(f)):
        torch.testing.assert_close(data.denorm(data.one_item(form))[0], data.valid_ds[0][0])

def test_a_file_that_breaks_while_training_is_named_without_a_traceback(few_pets):
    data = get_data(32, 8, path=few_pets)
    for f in data.train_ds.files: f.write_bytes(b'')
    with pytest.raises(BadImage) as e: list(data.train_dl)
    assert 'is not an image' in str(e.value)
    assert 'Traceback' not in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize('workers', [0, 2])
def test_files_that_break_while_training_are_passed_over(few_pets, workers, capsys):
    data = get_data(32, 8, path=few_pets, workers=workers)
    train, valid = data.train_ds.files[3], data.valid_ds.files[5]
    for file in (train, valid): shutil.copy(CASES/'whole_but_undecodable_77.jpg', file)
    for epoch in range(2):
        sizes = sorted(len(yb) for _, yb in data.train_dl)
        xs, ys = zip(*data.valid_dl)
        assert sizes == [7, 8, 8, 8] and torch.cat(ys).tolist() == data.valid_ds.y
        grey = [i for i, x in enumerate(data.denorm(torch.cat(xs))) if (x - .5).abs().max() < 1e-6]
        assert grey == [5]
        said = capsys.readouterr().out
        if epoch: assert not said # once
        else: assert said.count('passed over 1 that can no longer be read') == 2 and train.name in said and valid.name in said

def tiny_body():
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())

def test_broken_files_are_not_the_end_of_a_run(few_pets, tmp_path):
    data = get_data(32, 8, path=few_pets, workers=1)
    for file in [*data.train_ds.files[:20], *data.valid_ds.files[:3]]: file.write_bytes(b'')
    learn = cnn_learner(data, tiny_body(), weights=None, model_dir=tmp_path/'models', precision='fp32')
    learn.fit_one_cycle(1)
    logits, y, losses = learn.predictions()
    assert y.tolist() == data.valid_ds.y and losses.isfinite().all() and np.isfinite(learn.losses).all()
