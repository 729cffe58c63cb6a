"The localisation score of one's own images and masks, against masks that are cut by hand."
import warnings
import numpy as np
import pytest, torch
from PIL import Image
from torch import nn
from torchvision.transforms import functional as TF
from petcam.localise import energy_inside, pointing_game
from petcam.methods import maps_of
from petcam.study import score_folder

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 5, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()

@pytest.fixture
def folder(tmp_path):
    "Six images of noise, 90 x 120, with an ellipse as the mask of each"
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:90, :120]
    for name in ('images', 'masks'): (tmp_path/name).mkdir()
    for i in range(6):
        mask = ((y - rng.uniform(20, 70))/20)**2 + ((x - rng.uniform(30, 90))/25)**2 < 1
        noise = rng.integers(0, 255, (10, 14, 3)).astype(np.uint8)
        image = Image.fromarray(noise).resize((120, 90))
        image.save(tmp_path/'images'/f'pug_{i}.png'); Image.fromarray((mask*255).astype(np.uint8)).save(tmp_path/'masks'/f'pug_{i}.png')
    return tmp_path

def by_hand(folder, model, ks, size): # the centre of each image and of its mask, with torchvision's own functions
    xb, masks = [], []
    for i in range(6):
        for name, found in ('images', xb), ('masks', masks):
            t = TF.to_tensor(Image.open(folder/name/f'pug_{i}.png'))
            found.append(TF.center_crop(TF.resize(t, size, antialias=True), size))
    xb, masks = (torch.stack(xb) - .5)/.25, torch.cat(masks) > .5
    return maps_of(model, '2', xb, ks), masks

def scores(result): return {(r.method, r.measure): r for r in result.rows}

def test_the_scores_are_those_of_masks_that_are_cut_by_hand(folder):
    model, ks = net(), [0, 1, 2, 3, 0, 1]
    found = scores(score_folder(model, folder/'images', folder/'masks', ks, ['2'], size=64, mean=.5, std=.25))
    maps, masks = by_hand(folder, model, ks, 64)
    for name in ('Grad-CAM', 'HiResCAM', 'mean activation'):
        assert found[name, 'energy'].mean == pytest.approx(float(energy_inside(maps[name], masks).mean()), abs=.01)
        assert found[name, 'pointing'].mean == pytest.approx(float(pointing_game(maps[name], masks).float().mean()), abs=.01)
    assert found['chance', 'energy'].mean == pytest.approx(float(masks.float().mean()), abs=.01) and found['chance', 'energy'].n == 6
    assert ('Grad-CAM, random weights', 'energy') in found and ('centred Gaussian', 'best IoU') in found

@pytest.mark.parametrize('kind', ['trimap', 'palette', 'rgb', 'alpha', 'jpeg', '16 bits', 'ones'])
def test_masks_of_every_format_give_the_same_scores(folder, kind):
    want = scores(score_folder(net(), folder/'images', folder/'masks', 0, size=64, mean=.5, std=.25))
    for f in sorted((folder/'masks').iterdir()):
        inside = np.array(Image.open(f)) > 0
        eight = inside.astype(np.uint8)
        made = {'trimap': lambda: Image.fromarray(np.where(inside, 1, 2).astype(np.uint8)), 'rgb': lambda: Image.fromarray(np.stack([0*eight, 200*eight, 0*eight], 2)),
                'alpha': lambda: Image.fromarray(np.stack([0*eight + 255]*3 + [255*eight], 2)), 'jpeg': lambda: Image.fromarray(255*eight), 'ones': lambda: Image.fromarray(eight),
                '16 bits': lambda: Image.fromarray(40000*inside.astype(np.uint16)), 'palette': lambda: Image.fromarray(7*eight)}[kind]()
        if kind == 'palette': made = made.convert('P'); made.putpalette([i for k in range(256) for i in (k, 255 - k, 3)])
        f.unlink()
        made.save(f.with_suffix('.jpg'), quality=95) if kind == 'jpeg' else made.save(f)
    got = scores(score_folder(net(), folder/'images', folder/'masks', 0, size=64, mean=.5, std=.25))
    for key in want: assert got[key].mean == pytest.approx(want[key].mean, abs=.01 if kind == 'jpeg' else 1e-6), (kind, key)

def test_what_does_not_fit_is_left_out_by_name_and_the_neighbours_go_on(folder):
    Image.new('L', (120, 90)).save(folder/'masks'/'pug_0.png')                       # no inside
    Image.new('L', (90, 90), 1).save(folder/'masks'/'pug_1.png')                     # another shape, and no outside
    (folder/'masks'/'pug_2.png').unlink()
    with pytest.warns(UserWarning, match=r'left out: pug_0.png: the mask pug_0.png is outside everywhere.*pug_1.png.*1 without a mask'):
        assert {r.n for r in score_folder(net(), folder/'images', folder/'masks', 0, size=64).rows} == {3}
    for f in (folder/'masks').iterdir(): f.write_bytes(b'junk')
    with pytest.raises(ValueError, match='no image could be scored; pug_0.png: '): score_folder(net(), folder/'images', folder/'masks', 0, size=64)
    for f in (folder/'masks').iterdir(): f.rename(f.with_stem('cat' + f.stem))
    with pytest.raises(ValueError, match='none of the 6 images has a mask in .*such as pug_0.png'): score_folder(net(), folder/'images', folder/'masks', 0, size=64)

def test_wrong_arguments_are_named(folder):
    score = lambda *args, **kw: score_folder(net(), folder/'images', folder/'masks', *args, **dict(size=64) | kw)
    with pytest.raises(ValueError, match='2 targets for 6 images'): score([0, 1])
    with pytest.raises(ValueError, match='class 9 is out of range'): score(9)
    with pytest.raises(ValueError, match="no layer 'nope'"): score(0, layers='nope')
    with pytest.raises(ValueError, match='4 classes|for the 4'): score('pug', class_names=['pug', 'cat'])

def test_images_of_several_sizes_need_a_size(folder):
    Image.new('RGB', (60, 60)).save(folder/'images'/'pug_0.png'); Image.fromarray(np.eye(60, dtype=np.uint8)).save(folder/'masks'/'pug_0.png')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(ValueError, match='inputs of several sizes.*give size='): score_folder(net(), folder/'images', folder/'masks', 0)
