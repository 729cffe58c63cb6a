"Promises of petcam.localise: scores against slow loops, masks that go the way of the picture, controls that know nothing."
import types
from dataclasses import replace
import numpy as np
import pytest, torch
from PIL import Image
from petcam import localise
from petcam.data import Data, LESSON_TFMS, PetSet, Pets
from petcam.localise import (Score, centred_gaussian, crop_mask, draw_pairs, energy_inside, pair_game, pointing_game, score,
                             trimap_game, trimap_mask)

CLASSES = ['Abyssinian', 'Bombay', 'pug', 'samoyed']

def make_data(folder, files=(), y=(), size=64):
    ds = PetSet(list(files), list(y), LESSON_TFMS[1], size)
    return Data(ds, ds, CLASSES, 4, Pets(folder/'images', 'toy', 'made by a test', list(files), []), torch.device('cpu'), 0)

@pytest.fixture
def data(tmp_path): return make_data(tmp_path)

def enlarged(m, H, W): # bilinear, cell by cell, in plain Python
    h, w = len(m), len(m[0])
    def between(i, n, size):
        at = min(max((i + .5)*n/size - .5, 0), n - 1); a = int(at)
        return a, min(a + 1, n - 1), at - a
    out = []
    for i in range(H):
        a, b, f = between(i, h, H)
        rows = [m[a], m[b]]
        out.append([])
        for j in range(W):
            c, d, g = between(j, w, W)
            top, low = (r[c]*(1 - g) + r[d]*g for r in rows)
            out[-1].append(top*(1 - f) + low*f)
    return out

def slow_game(m, mask):
    up = enlarged(m.tolist(), *mask.shape); flat = [v for row in up for v in row]
    best = max(flat)
    peak = [(i, j) for i, row in enumerate(up) for j, v in enumerate(row) if v > best - 1e-5]
    inside = sum(bool(mask[i, j]) for i, j in peak)
    return m.max() > m.min() and 2*inside >= len(peak)

def slow_energy(m, mask):
    up, inside, total = enlarged(m.tolist(), *mask.shape), 0., 0.
    for i, row in enumerate(up):
        for j, v in enumerate(row):
            if v > 0: total += v; inside += v*bool(mask[i, j])
    return inside/total if total else 0.


@pytest.mark.parametrize('h,w,H,W', [(4, 4, 16, 16), (3, 5, 20, 14), (7, 7, 7, 7), (6, 6, 9, 31), (1, 1, 8, 8)])
def test_both_scores_against_slow_loops(h, w, H, W):
    g = torch.Generator().manual_seed(h*w*H*W)
    maps, masks = torch.randn(30, h, w, generator=g), torch.rand(30, H, W, generator=g) > .5
    maps[0] = 0; maps[1] = -1; masks[2] = False; masks[3] = True; maps[4, 0, 0] = 9; maps[5, -1, -1] = 9
    assert pointing_game(maps, masks).tolist() == [slow_game(*o) for o in zip(maps, masks)]
    torch.testing.assert_close(energy_inside(maps, masks), torch.tensor([slow_energy(*o) for o in zip(maps, masks)]), atol=1e-5, rtol=1e-4)

def test_the_upper_left_is_not_favoured(): # argmax takes the first of several equal pixels; here each corner counts the same
    maps = torch.zeros(4, 4, 4)
    for i, (r, c) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3)]): maps[i, r, c] = 1
    near = torch.zeros(4, 32, 32, dtype=torch.bool)
    near[0, 2:5, 2:5] = near[1, 2:5, 27:30] = near[2, 27:30, 2:5] = near[3, 27:30, 27:30] = True # inside the plateau of 4 x 4
    assert len(set(pointing_game(maps, near).tolist())) == 1
    whole = torch.zeros(4, 32, 32, dtype=torch.bool)
    whole[0, :8, :8] = whole[1, :8, 24:] = whole[2, 24:, :8] = whole[3, 24:, 24:] = True
    assert pointing_game(maps, whole).all() and not pointing_game(maps, ~whole).any()

def test_scores_take_masks_of_any_kind_and_leave_their_input_alone():
    m, mask = torch.randn(2, 5, 5), (torch.rand(2, 10, 10) > .5)
    copies = m.clone(), mask.clone()
    for kind in (mask, mask.int(), mask.float(), mask.numpy(), mask.numpy().astype(np.uint8)):
        assert pointing_game(m, kind).tolist() == pointing_game(m, mask).tolist()
        torch.testing.assert_close(energy_inside(m, kind), energy_inside(m, mask))
    assert torch.equal(m, copies[0]) and torch.equal(mask, copies[1])

@pytest.mark.parametrize('maps,masks,said', [(torch.rand(2, 4, 4), torch.ones(3, 4, 4), r'\(2, 4, 4\) and \(3, 4, 4\)'),
    (torch.rand(4, 4), torch.ones(4, 4), 'b,h,w'), (torch.full((1, 2, 2), float('inf')), torch.ones(1, 4, 4), '4 values')])
def test_what_cannot_be_compared_is_refused(maps, masks, said):
    for f in (pointing_game, energy_inside):
        with pytest.raises(ValueError, match=said): f(maps, masks)

def test_score_is_the_mean_and_its_standard_error():
    v = np.random.RandomState(0).rand(50)
    assert np.allclose(score(v)[:2], [v.mean(), v.std(ddof=1)/50**.5]) and score(v).n == 50
    two = np.random.RandomState(1).rand(50, 2)
    assert np.allclose(score(two), score(two.mean(1)))
    assert str(Score(.5, .0123, 9)) == '50.0 ± 1.2 %'
    with pytest.raises(ValueError, match='no pictures'): score(torch.zeros(0))

def test_the_hill_is_a_gaussian_in_the_middle():
    hill = centred_gaussian((6, 9), .3)
    for i in range(6):
        for j in range(9):
            want = np.exp(-.5*((i - 2.5)/1.8)**2)*np.exp(-.5*((j - 4)/2.7)**2)
            assert abs(hill[i, j] - want) < 1e-6
    assert centred_gaussian(5).shape == (5, 5)

@pytest.mark.parametrize('h,w', [(64, 64), (100, 80), (90, 200), (40, 64), (300, 210)])
def test_a_mask_goes_the_way_of_its_picture(data, h, w):
    i, j = np.mgrid[:h, :w]
    mask = ((i - .4*h)/(.3*h))**2 + ((j - .55*w)/(.25*w))**2 < 1
    picture = Image.fromarray(np.repeat(mask[..., None]*np.uint8(255), 3, 2)) # the mask as a picture, through the picture's way
    seen = data.denorm(data.one_item(picture))[0, 0]
    sure = (seen - .5).abs() > .01
    assert (crop_mask(data, mask)[sure] == (seen > .5)[sure]).all() and sure.float().mean() > .95
    assert crop_mask(data, mask).shape == (64, 64) and 0 < crop_mask(data, mask).float().mean() < 1

def test_pairs_are_what_they_say_and_depend_on_the_seed_only(data):
    a, b, c = draw_pairs(data, 3, seed=1), draw_pairs(data, 3, seed=1), draw_pairs(data, 3, seed=2)
    assert all(torch.equal(*o) for o in zip(a, b)) and not torch.equal(a.xb, c.xb)
    assert a.xb.shape == (3, 3, 64, 64) and a.ks.shape == (3, 2) and a.masks.shape == (3, 2, 64, 64)
    assert not (a.masks[:, 0] & a.masks[:, 1]).any() and (a.masks.float().mean((2, 3)) > .05).all()
    assert (a.ks[:, 0] != a.ks[:, 1]).all()
    cols = torch.arange(64.)
    left, right = ((o.float().sum(1)*cols).sum(1)/o.float().sum((1, 2)) for o in a.masks.unbind(1))
    assert (left < right).all()

def learner(data): return types.SimpleNamespace(data=data, model=torch.nn.Sequential(torch.nn.Identity()))

@pytest.mark.parametrize('asked', [True, False])
def test_a_map_that_knows_the_answer_wins_and_one_that_swaps_it_loses(data, monkeypatch, asked):
    pairs = draw_pairs(data, 4)
    def known(model, layer, xb, ks):
        rows = [next(i for i, o in enumerate(pairs.xb) if torch.equal(o, x)) for x in xb]
        side = [pairs.ks[r].tolist().index(k) for r, k in zip(rows, ks)]
        return torch.stack([pairs.masks[r, s if asked else 1 - s] for r, s in zip(rows, side)]).float()
    monkeypatch.setattr(localise, 'grad_cam', known)
    table = pair_game(learner(data), n=4)
    cam = {k: v.mean for k, v in table['Grad-CAM'].items()}
    assert cam == (dict(pointing=1., other=0., energy=1.) if asked else dict(pointing=0., other=1., energy=0.))
    hill, chance = table['centred Gaussian'], table['chance']
    assert hill['pointing'] == hill['other'] and hill['pointing'].mean <= .5 and hill['pointing'].n == 4
    assert np.isclose(chance['pointing'].mean, pairs.masks.float().mean())

def test_single_pets_are_scored_by_their_trimaps(tmp_path, monkeypatch):
    (tmp_path/'images').mkdir(); (tmp_path/'annotations'/'trimaps').mkdir(parents=True)
    files = []
    for i in range(6):
        files.append(tmp_path/'images'/f'pug_{i}.jpg')
        Image.new('RGB', (80, 64), (i*40, 0, 0)).save(files[-1])
        if i == 5: continue # one has no trimap
        trimap = np.full((64, 80), 2, np.uint8); trimap[:32] = 1; trimap[32:40] = 3
        Image.fromarray(trimap).save(tmp_path/'annotations'/'trimaps'/f'pug_{i}.png')
    data = make_data(tmp_path, files, [2]*6)
    assert trimap_mask(data, files[0])[:40].all() and not trimap_mask(data, files[0])[40:].any() # the border is pet
    monkeypatch.setattr(localise, 'grad_cam', lambda model, layer, xb, ks: torch.eye(8)[7 if set(ks) != {2} else 0].view(1, 8, 1).expand(len(xb), -1, 8))
    table = trimap_game(learner(data))
    assert table['Grad-CAM']['pointing'] == Score(1., 0., 5) and np.isclose(table['chance']['energy'].mean, 40/64)
    with pytest.raises(FileNotFoundError, match='pug_5.jpg has no trimap'): trimap_mask(data, files[5])

def test_bad_data_is_named(data):
    with pytest.raises(FileNotFoundError, match='none of the 0 validation pictures has a trimap'): trimap_game(learner(data))
    with pytest.raises(ValueError, match='0 of the 2 classes can be drawn'): draw_pairs(replace(data, classes=['cat', 'dog']), 1)
