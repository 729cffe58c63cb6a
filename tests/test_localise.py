"Promises of petcam.localise and petcam.study: scores against slow loops, masks cropped as the image is, baselines that know nothing."
import csv, importlib, weakref
from dataclasses import replace
import numpy as np
import pytest, torch
from PIL import Image
from petcam.data import Data, LESSON_TFMS, PetSet
from petcam.files.pets import Pets
from petcam.engine.layers import last_layers
from petcam.engine.scoring import auc, best_iou, crop_mask, deletion, insertion, iou, trimap_mask
from petcam.localise import Score, centre_prior, energy_inside, pointing_game, randomize_weights, score
from petcam.study import (METRICS, Questions, class_quads, draw_pairs, evaluate_maps, grid_mosaics, in_corners, is_confident, markdown,
                          single_images, study, study_html, tables, write_rows)
from petcam.methods import maps_of

the_study = importlib.import_module('petcam.study') # the module; `study` is its function

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
    with pytest.raises(ValueError, match='no images'): score(torch.zeros(0))

def test_the_centre_prior_is_a_gaussian_in_the_middle():
    prior = centre_prior((6, 9), .3)
    for i in range(6):
        for j in range(9):
            want = np.exp(-.5*((i - 2.5)/1.8)**2)*np.exp(-.5*((j - 4)/2.7)**2)
            assert abs(prior[i, j] - want) < 1e-6
    assert centre_prior(5).shape == (5, 5)

@pytest.mark.parametrize('h,w', [(64, 64), (100, 80), (90, 200), (40, 64), (300, 210)])
def test_a_mask_is_cropped_as_its_image_is(data, h, w):
    i, j = np.mgrid[:h, :w]
    mask = ((i - .4*h)/(.3*h))**2 + ((j - .55*w)/(.25*w))**2 < 1
    image = Image.fromarray(np.repeat(mask[..., None]*np.uint8(255), 3, 2)) # the mask as an image, prepared as images are
    seen = data.denorm(data.one_item(image))[0, 0]
    clear = (seen - .5).abs() > .01
    assert (crop_mask(data, mask)[clear] == (seen > .5)[clear]).all() and clear.float().mean() > .95
    assert crop_mask(data, mask).shape == (64, 64) and 0 < crop_mask(data, mask).float().mean() < 1

def test_pairs_are_what_they_say_and_depend_on_the_seed_only(data):
    a, b, c = draw_pairs(data, 3, seed=1), draw_pairs(data, 3, seed=1), draw_pairs(data, 3, seed=2)
    assert all(torch.equal(*o) for o in zip(a, b)) and not torch.equal(a.xb, c.xb)
    assert a.xb.shape == (3, 3, 64, 64) and a.targets.shape == (3, 2) and a.masks.shape == (3, 2, 64, 64)
    assert not (a.masks[:, 0] & a.masks[:, 1]).any() and (a.masks.float().mean((2, 3)) > .05).all()
    assert (a.targets[:, 0] != a.targets[:, 1]).all()
    cols = torch.arange(64.)
    left, right = ((o.float().sum(1)*cols).sum(1)/o.float().sum((1, 2)) for o in a.masks.unbind(1))
    assert (left < right).all()

@pytest.mark.parametrize('asked', [True, False])
def test_a_map_that_knows_the_answer_wins_and_one_that_swaps_it_loses(data, monkeypatch, asked):
    pairs = draw_pairs(data, 4)
    def known(model, layers, questions):
        rows = [next(i for i, o in enumerate(pairs.xb) if torch.equal(o, x)) for x in questions.xb]
        sides = [[pairs.targets[r].tolist().index(k) for k in ks] for r, ks in zip(rows, questions.targets.tolist())]
        return [{'Grad-CAM': torch.stack([torch.stack([pairs.masks[r, s if asked else 1 - s] for s in ss]) for r, ss in zip(rows, sides)]).float()}]
    monkeypatch.setattr(the_study, '_maps_of_layers', known)
    swapped = pairs._replace(masks=pairs.masks.flip(1)) # the mask of the other animal
    scores, other = evaluate_maps(None, '0', pairs), evaluate_maps(None, '0', swapped)
    right = 1. if asked else 0.
    cam, on_other = scores['Grad-CAM'], other['Grad-CAM']
    assert score(cam['pointing']).mean == score(cam['energy']).mean == right and score(on_other['pointing']).mean == 1 - right
    prior, chance = scores['centred Gaussian'], scores['chance']
    assert torch.equal(prior['pointing'], other['centred Gaussian']['pointing'].flip(1))
    assert score(prior['pointing']) == score(other['centred Gaussian']['pointing'])
    assert score(prior['pointing']).mean <= .5 and score(prior['pointing']).n == 4
    assert np.isclose(score(chance['pointing']).mean, pairs.masks.float().mean())

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
    top = lambda model, layers, q: [{'Grad-CAM': torch.eye(8)[7 if set(q.targets.flatten().tolist()) != {2} else 0].view(1, 1, 8, 1).expand(len(q.xb), 1, -1, 8)}]
    monkeypatch.setattr(the_study, '_maps_of_layers', top)
    scores = evaluate_maps(None, '0', single_images(data, files[:5], [2]*5))
    assert score(scores['Grad-CAM']['pointing']) == Score(1., 0., 5) and np.isclose(score(scores['chance']['energy']).mean, 40/64)
    with pytest.raises(FileNotFoundError, match='pug_5.jpg has no trimap'): single_images(data, files, [2]*6)

def test_bad_data_is_named(data):
    with pytest.raises(FileNotFoundError, match='pug_1.jpg has no trimap'): trimap_mask(data, 'pug_1.jpg')
    with pytest.raises(ValueError, match='expected as many images as class indices, and at least one, got 0 and 0'): study(net(), data, [], [])
    with pytest.raises(ValueError, match='0 of the 2 classes can be drawn'): draw_pairs(replace(data, classes=['cat', 'dog']), 1)


# ---- without a trained network: what the other metrics and benchmarks promise

def slow_iou(m, mask, at):
    up = enlarged(m.tolist(), *mask.shape)
    top = max(v for row in up for v in row)
    both = either = 0
    for i, row in enumerate(up):
        for j, v in enumerate(row):
            piece, inside = v > 0 and v >= at*top, bool(mask[i, j])
            both += piece and inside; either += piece or inside
    return both/either if either else 0.

@pytest.mark.parametrize('h,w,H,W', [(4, 4, 12, 12), (3, 5, 20, 14), (6, 6, 6, 6)])
def test_iou_against_slow_loops(h, w, H, W):
    g = torch.Generator().manual_seed(h*w*H*W)
    maps, masks = torch.randn(12, h, w, generator=g), torch.rand(12, H, W, generator=g) > .5
    maps[0] = 0; maps[1] = -1; masks[2] = False; masks[3] = True; maps[4] *= 1e6; maps[5] *= 1e-6
    for at in (0., .2, .5, .83):
        torch.testing.assert_close(iou(maps, masks, at), torch.tensor([slow_iou(*o, at) for o in zip(maps, masks)]), atol=1e-3, rtol=0)
    best = [max(slow_iou(m, mask, k/20) for k in range(21)) for m, mask in zip(maps, masks)]
    torch.testing.assert_close(best_iou(maps, masks), torch.tensor(best), atol=1e-2, rtol=0)
    with pytest.raises(ValueError, match='1.5'): iou(maps, masks, 1.5)

def test_best_iou_is_exact_where_no_height_is_on_a_border():
    maps = torch.tensor([[[.93, .41], [.77, -.2]]]); mask = torch.tensor([[[1, 1], [0, 0]]]).bool()
    assert best_iou(maps, mask).item() == pytest.approx(2/3) and iou(maps, mask).item() == pytest.approx(1/3)
    assert best_iou(torch.tensor([[[2., 1.96]]]), torch.tensor([[[1, 0]]])).item() == 1 # at the very top only the peak is left

class Weighs(torch.nn.Module): # the logit of class 1 is a weighted sum of the pixels, that of class 0 is 0
    def __init__(self, w): super().__init__(); self.w = torch.nn.Parameter(w)
    def forward(self, x): s = (x*self.w).sum((1, 2, 3)); return torch.stack([0*s, s], 1)

def sigmoid(v): return 1/(1 + np.exp(-v))

@pytest.mark.parametrize('steps', [3, 7, 16])
def test_deletion_and_insertion_of_a_linear_model(steps):
    g = torch.Generator().manual_seed(steps)
    w, x = torch.randn(1, 4, 4, generator=g), torch.randn(3, 1, 4, 4, generator=g)
    model, maps = Weighs(w), torch.randn(3, 4, 4, generator=g)
    going, coming = deletion(model, x, maps, 1, steps), insertion(model, x, maps, [1, 1, 0], steps)
    bell = np.array([[np.exp(-.5*((i - j)/.2)**2) for j in range(4)] for i in range(4)])
    bell /= bell.sum(1, keepdims=True)
    for b in range(3):
        order = sorted(range(16), key=lambda i: -maps[b].flatten()[i])
        full = x[b, 0].numpy().astype(float); soft = bell @ full @ bell.T
        for s in range(steps + 1):
            gone = [i for place, i in enumerate(order) if place < 16*s/steps]
            left, come = full.copy().reshape(-1), soft.copy().reshape(-1)
            left[gone] = 0; come[gone] = full.reshape(-1)[gone]
            logit = lambda v: float((v*w.flatten().numpy()).sum())
            assert going[b, s].item() == pytest.approx(sigmoid(logit(left)), abs=1e-5)
            assert coming[b, s].item() == pytest.approx(sigmoid((1, 1, -1)[b]*logit(come)), abs=1e-5)
    c = going[0].tolist()
    assert auc(going)[0].item() == pytest.approx(sum((p + q)/2 for p, q in zip(c, c[1:]))/steps, abs=1e-6)

def test_the_curves_leave_the_model_alone_and_refuse_what_does_not_fit():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(2, 3, 8, 8)
    a, b = deletion(model, x, torch.randn(2, 2, 2), [0, 1]), deletion(model, x, torch.zeros(2, 2, 2), 0)
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and a.shape == b.shape == (2, 11)
    torch.testing.assert_close(b, deletion(model, x, torch.ones(2, 5, 5), 0)) # nothing to go by: the same random order
    with pytest.raises(ValueError, match=r'expected 2 maps \(b,h,w\), got \(3, 2, 2\)'): deletion(model, x, torch.randn(3, 2, 2), 0)
    for f in deletion, insertion:
        with pytest.raises(ValueError, match=r'expected 2 maps \(b,h,w\), got \(2, 2\)'): f(model, x, torch.randn(2, 2), 0)
        with pytest.raises(ValueError, match='not finite'): f(model, x, torch.full((2, 2, 2), float('nan')), 0)
        for no_batch in x[0], None:
            with pytest.raises(ValueError, match='x must be a float batch'): f(model, no_batch, torch.randn(2, 2, 2), 0)
        with pytest.raises(ValueError, match='class 99 is out of range'): f(model, x, torch.randn(2, 2, 2), 99)
        with pytest.raises(ValueError, match='1 targets for 2 images'): f(model, x, torch.randn(2, 2, 2), [1])
        with pytest.raises(ValueError, match='steps must be 1 or more, got 0'): f(model, x, torch.randn(2, 2, 2), 1, steps=0)
        predicted = model.eval()(x).argmax(1)
        torch.testing.assert_close(f(model, x, maps := torch.randn(2, 2, 2)), f(model, x, maps, predicted))

def test_the_curve_of_a_single_score_is_the_score_or_its_sigmoid():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
    x, whole = torch.randn(2, 1, 4, 4), torch.rand(2, 4, 4)
    torch.testing.assert_close(deletion(model, x, whole, 0)[:, 0], model(x)[:, 0].detach())
    curve = deletion(model, x, whole, 0, activation='sigmoid')
    torch.testing.assert_close(curve[:, 0], model(x)[:, 0].sigmoid().detach()); torch.testing.assert_close(curve[:, -1], model[1].bias.detach().sigmoid().expand(2))

@pytest.mark.parametrize('scale', [1e-38, 1e-30, 1e30])
def test_energy_does_not_depend_on_the_scale(scale):
    maps, masks = torch.rand(3, 4, 4), torch.rand(3, 16, 16) > .5
    torch.testing.assert_close(energy_inside(maps*scale, masks), energy_inside(maps, masks), rtol=1e-5, atol=0)

def test_a_trimap_is_no_mask():
    maps, trimap = torch.rand(1, 4, 4), torch.randint(1, 4, (1, 8, 8))
    for f in pointing_game, energy_inside, iou, best_iou:
        with pytest.raises(ValueError, match='a mask is true or false, got values from 1 to 3'): f(maps, trimap)
    assert energy_inside(maps, (trimap != 2)*255) == energy_inside(maps, trimap != 2)

def test_last_layers_of_a_network_with_maps_of_one_size():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    assert last_layers(model, torch.randn(2, 3, 16, 16)) == ['1']

def test_a_study_needs_a_class_for_each_image():
    with pytest.raises(ValueError, match='at least one, got 3 and 2'): study(None, None, ['a', 'b', 'c'], [0, 1])
    with pytest.raises(ValueError, match='at least one, got 0 and 0'): study(None, None, [], [])

def some_questions(n=8, s=6, classes=4):
    g = torch.Generator().manual_seed(n)
    return Questions(torch.randn(n, 3, s, s, generator=g), torch.arange(n)[:, None] % classes, torch.rand(n, 1, s, s, generator=g) > .5)

def test_a_grid_holds_its_four_images_and_the_masks_are_their_cells():
    q = some_questions(); g = grid_mosaics(q)
    assert g.xb.shape == (2, 3, 12, 12) and g.targets.tolist() == [[0, 1, 2, 3]]*2 and g.masks.shape == (2, 4, 12, 12)
    for i in range(2):
        for j in range(4):
            assert torch.equal(g.xb[i][:, g.masks[i, j]].view(3, 6, 6), q.xb[4*i + j]) # what lies in the cell is the image
    with pytest.raises(ValueError, match='got 6'): grid_mosaics(some_questions(6))
    with pytest.raises(ValueError, match='four classes'): grid_mosaics(some_questions(8, classes=3))

def test_quads_are_of_four_classes_use_no_image_twice_and_waste_little():
    ks = np.random.RandomState(0).randint(0, 9, 90).tolist()
    out = class_quads(ks, 1)
    assert all(len({ks[i] for i in o}) == 4 for o in out.tolist()) and len(set(out.flatten().tolist())) == out.numel() > 60
    assert torch.equal(out, class_quads(ks, 1)) and not torch.equal(out[0], class_quads(ks, 2)[0])
    assert class_quads([1, 2, 3, 3]).shape == (0, 4)

def test_a_shifted_mask_goes_exactly_with_its_image():
    xb, masks = torch.zeros(5, 3, 4, 4), torch.zeros(5, 1, 4, 4, dtype=torch.bool)
    for i, (r, c) in enumerate([(0, 0), (3, 1), (2, 2), (1, 3), (0, 3)]): xb[i, :, r, c] = 1; masks[i, 0, r, c] = True
    out = in_corners(Questions(xb, torch.zeros(5, 1, dtype=torch.long), masks))
    assert out.xb.shape == (5, 3, 8, 8) and torch.equal(out.xb[:, 0] > 0, out.masks[:, 0]) and (out.masks.sum((1, 2, 3)) == 1).all()
    at = out.masks[:, 0].nonzero()[:, 1:].tolist()
    assert at == [[0, 0], [3, 5], [6, 2], [5, 7], [0, 3]] # the four corners in turn

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2, 1)),
                               torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4))

def test_random_weights_are_others_finite_repeatable_and_the_model_stays():
    model, x = net(), torch.randn(6, 3, 16, 16)
    model[0][1].running_mean += 7; before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    a, b, c = randomize_weights(model, x, 1), randomize_weights(model, x, 1), randomize_weights(model, x, 2)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model.training and torch.equal(state, torch.get_rng_state())
    same = lambda p, q: all(torch.equal(v, q.state_dict()[k]) for k, v in p.state_dict().items())
    assert same(a, b) and not same(a, c) and not a.training
    for k, v in a.state_dict().items():
        if v.is_floating_point() and k not in ('0.1.weight', '0.1.bias'): assert not torch.equal(v, before[k]), k
    seen = a[0][0](x)
    torch.testing.assert_close(a[0][1].running_mean, seen.mean((0, 2, 3))); assert a[0][1].momentum == .1
    with pytest.raises(ValueError, match='got 1'): randomize_weights(model, x[:1])

def test_random_weights_of_a_module_with_its_own_parameters_are_the_old_ones_in_another_order():
    w = torch.arange(64.).view(1, 8, 8); randomized = randomize_weights(Weighs(w.clone()), torch.randn(2, 1, 8, 8))
    assert not torch.equal(randomized.w, w) and torch.equal(randomized.w.flatten().sort().values, w.flatten())

def test_evaluate_maps_scores_what_the_functions_say_and_its_baselines_know_nothing():
    model, q = net().eval(), some_questions(6, 16)
    randomized = randomize_weights(model, q.xb)
    values = evaluate_maps(model, model[0], q, randomized, seed=3)
    for name, m in maps_of(randomized, '0', q.xb, q.targets[:, 0].tolist()).items():
        torch.testing.assert_close(values[f'{name}, random weights']['energy'][:, 0], energy_inside(m, q.masks[:, 0]))
    maps = maps_of(model, '0', q.xb, q.targets[:, 0].tolist())
    for name, m in maps.items():
        for measure, f in (('pointing', pointing_game), ('energy', energy_inside), ('IoU at half', iou), ('best IoU', best_iou)):
            torch.testing.assert_close(values[name][measure][:, 0], f(m, q.masks[:, 0]).float())
    torch.testing.assert_close(values['chance']['energy'][:, 0], q.masks.float().mean((1, 2, 3)))
    prior = centre_prior(16).expand(6, 16, 16)
    torch.testing.assert_close(values['centred Gaussian']['energy'][:, 0], energy_inside(prior, q.masks[:, 0]))
    again, other = (evaluate_maps(model, '0', q, seed=s)['random map']['energy'] for s in (3, 4))
    assert torch.equal(again, values['random map']['energy']) and not torch.equal(again, other)

def test_what_ignores_the_class_has_a_quarter_of_the_energy_in_every_grid():
    values = evaluate_maps(net().eval(), '0', grid_mosaics(some_questions(16, 16)))
    for name in ('mean activation', 'Eigen-CAM', 'centred Gaussian', 'chance'):
        e = values[name]['energy']
        assert torch.allclose(e.sum(1)[e.sum(1) > 0], torch.ones(()), atol=1e-4) and (name.endswith('n') or (e.sum(1) > 0).any())

def test_last_layers_of_other_models():
    from torchvision.models import resnet18
    with torch.no_grad(): assert last_layers(resnet18(), torch.zeros(1, 3, 64, 64)) == ['layer4', 'layer3']
    assert last_layers(net(), torch.zeros(1, 3, 16, 16)) == ['0', '0.2']

def noisy_pets(tmp_path): # 8 images of noise, their left halves masked -> files, class numbers
    (tmp_path/'images').mkdir(); (tmp_path/'annotations'/'trimaps').mkdir(parents=True)
    files, ys = [], []
    for i in range(8):
        files.append(tmp_path/'images'/f'{CLASSES[i % 4]}_{i}.jpg'); ys.append(i % 4)
        Image.fromarray(np.random.RandomState(i).randint(0, 255, (70, 64, 3)).astype(np.uint8)).save(files[-1])
        trimap = np.full((70, 64), 2, np.uint8); trimap[:, :32] = 1
        Image.fromarray(trimap).save(tmp_path/'annotations'/'trimaps'/f'{CLASSES[i % 4]}_{i}.png')
    return files, ys

def test_a_study_keeps_numbers_and_no_tensors(tmp_path, monkeypatch): # small tensors that stay pin the memory of large ones
    files, ys = noisy_pets(tmp_path)
    made = []
    evaluate = the_study._evaluate
    def spied(*args):
        for out in evaluate(*args):
            assert sum(o() is not None for o in made) <= len(out)*len(METRICS) # those of the part before are still on their way
            made.extend(weakref.ref(v) for scores in out.values() for v in scores.values())
            yield out
    monkeypatch.setattr(the_study, '_evaluate', spied)
    study(net(), make_data(tmp_path, files, ys), files, ys, ['0'], pairs=3, curves=0, bs=2)
    assert len(made) > 200

def test_a_study_its_csv_and_its_page(tmp_path):
    files, ys = noisy_pets(tmp_path)
    data, model = make_data(tmp_path, files, ys), net()
    model[3].weight.data *= 200 # sure of one class at least
    before = {k: v.clone() for k, v in model.state_dict().items()}
    result = study(model, data, files, ys, ['0', '0.0'], pairs=3, curves=2, bs=4)
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    numbers = {(r.game, r.layer, r.method, r.measure): r for r in result.rows}
    assert len(numbers) == len(result.rows) and {r.n for r in result.rows if r.measure == 'deletion'} == {2}
    whole = evaluate_maps(model.eval(), '0', single_images(data, files, ys))
    assert numbers['single', '0', 'Grad-CAM', 'energy'].mean == pytest.approx(score(whole['Grad-CAM']['energy']).mean, abs=1e-6)
    torch.testing.assert_close(result.energy, whole['Grad-CAM']['energy'][:, 0], atol=1e-5, rtol=0)
    assert numbers['single', '0.0', 'chance', 'pointing'].mean == pytest.approx(.5, abs=.02) and result.energy.shape == (8,)
    with open(write_rows(tmp_path/'x.csv', result.rows), newline='') as f: lines = list(csv.DictReader(f))
    assert [tuple(o.values()) for o in lines] == [tuple(map(str, r)) for r in result.rows]
    title, (head, body) = next(iter(tables(result.rows).items()))
    said = markdown(head, body).splitlines()
    assert title == 'layer 0, single pets' and len(said) == len(body) + 2 and len({len(o) for o in said}) == 1
    cam = next(row for row in body if row[0] == 'Grad-CAM'); e = numbers['single', '0', 'Grad-CAM', 'energy']
    assert cam[head.index('energy (8)')] == f'{100*e.mean:.1f} ± {100*e.se:.1f}'
    page = study_html(model, data, files, ys, result, [('seed', '<0>')], n=2)
    best = files[int(result.energy.argmax())].name
    worst = files[int(result.energy.argmin())].name
    assert page.count('<img') == 2 + 4 and page.index(best) < page.index('The least energy') < page.index(worst) and '&lt;0&gt;' in page and 'lies inside the mask' in page and 'toy pets' in page # a figure for each layer, four maps
    with pytest.raises(ValueError, match="no layer '0.9'"): study(model, data, files, ys, ['0.9'])

def test_confident_means_more_than_half_of_the_probability():
    model = Weighs(torch.ones(1, 1, 1)) # the probability of class 1 is the sigmoid of the pixel
    q = Questions(torch.tensor([3., -3., .1, -.1, 9.]).view(5, 1, 1, 1), torch.tensor([[1], [1], [1], [0], [0]]), None)
    assert is_confident(model, q).tolist() == [True, False, True, True, False]

def test_mosaics_take_images_of_the_whole_pool_that_the_network_is_confident_of(monkeypatch):
    pool = [(f'{k}_{i}.jpg', k) for k in range(6) for i in range(10)]
    monkeypatch.setattr(the_study, 'single_images', lambda data, files, targets, with_masks: list(files))
    monkeypatch.setattr(the_study, 'is_confident', lambda model, names: [not o.startswith('3') for o in names])
    chosen = the_study._confident_quads(None, None, pool, 5, 0, 7)
    assert len(chosen) == 20 == len(set(chosen)) and all(len({k for _, k in chosen[i:i+4]}) == 4 for i in range(0, 20, 4)) and 3 not in {k for _, k in chosen}
    monkeypatch.setattr(the_study, 'is_confident', lambda model, names: [False]*len(names))
    assert the_study._confident_quads(None, None, pool, 5, 0, 7) == []

def test_pointing_and_energy_equal_quantus_where_both_compute_them():
    "Quantus sums signed values and needs a single maximum: maps above zero, without ties, are common ground"
    quantus = pytest.importorskip('quantus')
    maps, masks = torch.rand(12, 9, 11, generator=torch.Generator().manual_seed(0)), torch.zeros(12, 9, 11, dtype=torch.bool)
    for i in range(12): masks[i, i//3:6, 2:11-i//2] = True
    given = dict(a_batch=maps[:, None].numpy(), s_batch=masks[:, None].numpy())
    plain = dict(abs=False, normalise=False, return_aggregate=False, disable_warnings=True)
    mass = quantus.RelevanceMassAccuracy(**plain).evaluate_batch(**given)
    torch.testing.assert_close(energy_inside(maps, masks), torch.as_tensor(mass).float())
    hits = quantus.PointingGame(**plain).evaluate_batch(**given)
    assert pointing_game(maps, masks).tolist() == [bool(o) for o in hits] and 0 < sum(hits) < 12
