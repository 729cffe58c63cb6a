"""Which part decides: redrawing, effects, evidence and their agreement, against other code and by hand."""
import csv
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats
from torch import nn

from petcam import parts
from petcam.engine.backward import ZeroGradient
from petcam.files.images import normalize
from petcam.files.storage import is_ours
from petcam.head import create_cnn
from petcam.localise import centre_prior, randomize_weights
from petcam.methods import CLASS_AGNOSTIC, METHODS, maps_of
from petcam.parts import (BASELINES, PartStudy, ablate_parts, agreements, part_effects,
                          part_evidence, parts_study, plot_parts, rank_agreement, report_parts)
from petcam.toy.animals import FACE, PARTS
from petcam.toy.scenes import draw_pet

NAN = float('nan')

# visinf/funnybirds-framework at 1350bbe, on the world that is described beside the numbers in
# `funnybirds-part-importance` and `funnybirds-protocols` of checks-golden.json
BOXES = {'eye01': (2, 4, 10, 12), 'eye02': (2, 4, 14, 16), 'beak': (2, 5, 2, 5),
         'foot01': (18, 22, 3, 5), 'foot02': (18, 22, 8, 10), 'wing01': (9, 13, 2, 6),
         'wing02': (9, 13, 9, 13), 'tail': (10, 14, 18, 22)}
BIRD_PARTS = ['beak', 'eye', 'foot', 'tail', 'wing']
WEIGHTS = dict(beak=5, eye=1, foot=2, tail=4, wing=3)
VARIANTS = [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [1, 1, 0, 0, 2], [1, 1, 2, 2, 0], [0, 1, 1, 0, 1],
            [2, 2, 2, 2, 2]]
OBJECTS = {'bg0': (20, 23, 16, 19), 'bg1': (2, 5, 19, 22)}
LOGITS = [[16.1, 7.7, 8.3, 5.0, 13.7, 1.1], [7.1, 17.6, 1.1, 1.1, 15.1, 1.1],
          [7.1, 1.1, 19.1, 8.9, 8.1, 5.6], [4.1, 1.1, 8.3, 20.6, 2.5, 10.1]]
IMPORTANCE = [{'eye': 14.7, 'beak': 10.200001, 'foot': 18.9, 'wing': 26.099999, 'tail': 12.4},
              {'eye': 14.4, 'beak': 9.4, 'foot': 19.599999, 'wing': 25.200001, 'tail': 12.5}]

def pieces(name):
    return [box for o, box in BOXES.items() if o.startswith(name)]

def filled(boxes):
    mask = torch.zeros(24, 24, dtype=torch.bool)
    for top, bottom, left, right in boxes: mask[top:bottom, left:right] = True
    return mask

def bird(k, without=None):
    x = torch.zeros(3, 24, 24)
    for name, variant in zip(BIRD_PARTS, VARIANTS[k]):
        if name != without: x[:, filled(pieces(name))] = variant + 1
    x[:, filled(OBJECTS.values())] = 1
    return x

class Birds(nn.Module):
    def forward(self, x):
        y = torch.ones(len(x), 6) + .5 - .4
        for name in BIRD_PARTS:
            box = pieces(name)[0]
            shown = x[:, 0, box[0], box[2]]
            for c in range(6):
                is_own = shown == VARIANTS[c][BIRD_PARTS.index(name)] + 1
                y[:, c] += is_own*WEIGHTS[name]*(1 + .1*c)
        return y

def bird_map(t):
    row, column = torch.meshgrid(torch.arange(24), torch.arange(24), indexing='ij')
    return ((7*row + 3*column + 5*t) % 11 - 3)/10

def importance(t):
    "FunnyBirds' sums, from ours: each piece enlarged by two pixels, positive minus negative"
    m, sums = bird_map(t), {}
    for name in BIRD_PARTS:
        masks = torch.stack([filled([o]) for o in pieces(name)])
        large = F.max_pool2d(masks[None].float(), 5, 1, 2)[0] > 0
        sums[name] = float((part_evidence(m, large) - part_evidence(-m, large)).sum())
    return sums

@pytest.mark.parametrize('t', [0, 1])
def test_sums_over_parts_are_those_of_funnybirds(t):
    assert importance(t) == pytest.approx(IMPORTANCE[t], abs=1e-4)

def test_single_deletion_is_that_of_funnybirds():
    with torch.no_grad():
        assert np.allclose(Birds()(torch.stack([bird(k) for k in range(4)])), LOGITS, atol=1e-5)
    effects = [part_effects(Birds(), torch.stack([bird(k), *(bird(k, o) for o in BIRD_PARTS)]), k)
               for k in range(4)]
    for k, e in enumerate(effects):
        assert torch.allclose(e, torch.tensor([5., 1, 2, 4, 3])*(1 + .1*k), atol=1e-5)
    evidence = torch.tensor([[importance(k)[o] for o in BIRD_PARTS] for k in range(4)])
    rho = rank_agreement(torch.stack(effects), evidence)
    assert np.allclose(rho, -.6) and np.allclose((rho/2 + .5).mean(), .2)

# drawing

def pixels(image):
    return normalize(torch.from_numpy(np.array(image)).permute(2, 0, 1)/255)

@pytest.mark.parametrize('pose', ['portrait', 'standing'])
def test_a_pet_is_drawn_whole_and_without_each_part(pose):
    pet = ablate_parts('beagle', (1, 2), 60, pose)
    image, mask, found = draw_pet('beagle', (1, 2), (60, 60), pose=pose, parts=True)
    assert pet.names == list(found) and torch.equal(pet.x[0], pixels(image))
    head = pet.masks[pet.names.index('head')]
    for x, m, name in zip(pet.x[1:], pet.masks, pet.names):
        without = draw_pet('beagle', (1, 2), (60, 60), pose=pose, without=name)
        assert torch.equal(x, pixels(without[0])), name
        if name != 'head': assert np.array_equal(m, found[name]), name
        assert bool((m & ~head).any()) == (name not in (*FACE, 'head')), name
    assert np.array_equal(head, mask - (sum(found[o] for o in set(found) - {*FACE, 'head'})))
    outside = ~pet.masks.any(0) # soft shadows reach a little further
    assert ((pet.x[1:] - pet.x[0]).abs().amax(1)[:, outside] > .1).float().mean() < .02

# effects, evidence, agreement

class Reader(nn.Module):
    "Logits that are linear in the pixels; dropout would disturb them in training mode"
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 3*8*8, generator=generator))
        self.drop = nn.Dropout(.5)

    def forward(self, x): return self.drop(x.flatten(1) @ self.weight.T)

class InDict(nn.Module):
    "Several outputs, so that one has to be named"
    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, x): return dict(features=x, scores=self.inner(x))

def test_effects_are_differences_of_logits_in_eval_mode_and_the_model_stays():
    model, x = Reader(), torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    before, state = model.weight.detach().clone(), torch.get_rng_state()
    effects = part_effects(model, x, 2)
    for i in range(4):
        by_hand = sum(float(w)*float(a - b) for w, a, b in
                      zip(model.weight[2].detach(), x[0].flatten(), x[i+1].flatten()))
        assert float(effects[i]) == pytest.approx(by_hand, abs=1e-4)
    assert model.training and model.drop.training and not effects.requires_grad
    assert torch.equal(model.weight, before) and model.weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(part_effects(InDict(model), x, 2, logits='scores'), effects)

def test_evidence_is_the_sum_of_what_is_above_zero():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 6, 5, generator=generator)
    masks = torch.rand(4, 6, 5, generator=generator) > .5
    found = part_evidence(maps, masks)
    for i, j, p in np.ndindex(2, 3, 4):
        by_hand = sum(max(0., float(maps[i, j, y, x])) for y in range(6) for x in range(5)
                      if masks[p, y, x])
        assert float(found[i, j, p]) == pytest.approx(by_hand, abs=1e-5)
    # a coarse map is enlarged first: a constant one gives the area
    assert torch.equal(part_evidence(torch.full((2, 2), 3.), masks), 3.*masks.sum((1, 2)))

def test_agreement_is_scipys_over_the_parts_one_sees():
    rng = np.random.default_rng(0)
    effects = rng.integers(0, 5, (60, 8)).astype(float) # with ties
    evidence = rng.normal(size=(60, 8)).round(1)
    hidden = rng.random((60, 8)) < .3
    hidden[:, :2] = False
    effects[hidden] = NAN
    found = rank_agreement(torch.tensor(effects), torch.tensor(evidence))
    for f, a, b, h in zip(found, effects, evidence, hidden):
        constant = len(set(a[~h])) == 1 or len(set(b[~h])) == 1
        assert float(f) == pytest.approx(0 if constant else stats.spearmanr(a[~h], b[~h])[0])

def test_a_map_that_ranks_nothing_agrees_with_nothing():
    effects = torch.tensor([[1., 2., 3.]])
    assert rank_agreement(effects, torch.zeros(1, 3)) == 0
    assert rank_agreement(effects, torch.tensor([[0., 0., 1.]])) > 0

@pytest.mark.parametrize('call,words', [
    (lambda: part_effects(Reader(), torch.zeros(1, 3, 8, 8), 0), 'an image and some without'),
    (lambda: part_effects(Reader(), torch.zeros(2, 3, 8, 8), 9), '9'),
    (lambda: part_evidence(torch.zeros(4, 4), torch.ones(4, 4)), r'masks \(p,h,w\), got \(4, 4\)'),
    (lambda: rank_agreement(torch.zeros(2, 3), torch.zeros(3, 2)), r'\(2, 3\) and \(3, 2\)'),
    (lambda: rank_agreement(torch.tensor([[1., NAN]]), torch.ones(1, 2)), 'two visible parts'),
    (lambda: parts_study(Reader(), ['pug', 'hamster']), 'hamster'),
    (lambda: parts_study(Reader(), []), 'an empty list'),
    (lambda: parts_study(Reader(), ['pug'], n=0), 'n'),
    (lambda: parts_study(Reader(), ['pug'], workers=-1), 'workers'),
])
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words): call()

# the study

CLASSES = ['pug', 'Bengal', 'beagle']

@pytest.fixture(scope='module')
def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()

@pytest.fixture(scope='module')
def study_of_few(small_net):
    return parts_study(small_net, CLASSES, n=7, layers=['2', '4'], size=64, seed=3, bs=3, workers=0)

def test_a_study_holds_what_single_pets_give(small_net, study_of_few):
    r = study_of_few
    assert r.breeds == [CLASSES[i % 3] for i in range(7)] and list(r.evidence) == ['2', '4']
    randomized = randomize_weights(small_net, ablate_parts('pug', (3, 0), 64).x, 3)
    for i in (0, 4, 6):
        pet, k = ablate_parts(r.breeds[i], (3, i), 64), i % 3
        at = [PARTS.index(o) for o in pet.names]
        hidden = [j for j in range(8) if j not in at]
        assert torch.allclose(r.effects[i, at], part_effects(small_net, pet.x, k), atol=1e-5)
        assert r.effects[i, hidden].isnan().all() and len(at) >= 6
        for net, more in (small_net, ''), (randomized, ', random weights'):
            for name, m in maps_of(net, '2', pet.x[:1], k).items():
                up = F.interpolate(m[None], (64, 64), mode='bilinear')[0, 0].clamp(min=0)
                by_hand = torch.stack([up[mask].sum() for mask in pet.masks])
                found = r.evidence['2'][name + more][i]
                assert torch.allclose(found[at], by_hand, rtol=1e-3, atol=1e-3), name
                assert found[hidden].isnan().all()
        area = pet.masks.sum((1, 2)).float()
        assert torch.equal(r.evidence['4']['part area'][i, at], area)
        prior = F.interpolate(centre_prior((15, 15))[None, None], (64, 64), mode='bilinear')[0, 0]
        by_hand = (prior*pet.masks).sum((1, 2))
        assert torch.allclose(r.evidence['2']['centred Gaussian'][i, at], by_hand, rtol=1e-4)
    assert len({tuple(o) for o in r.evidence['2']['random map'].nan_to_num(0).tolist()}) == 7

def test_processes_and_batches_change_no_number(small_net, study_of_few):
    state = torch.get_rng_state(), random.getstate()
    other = parts_study(small_net, CLASSES, n=7, layers=['2', '4'], size=64, seed=3, bs=3, workers=2)
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()
    assert torch.equal(other.effects.nan_to_num(9), study_of_few.effects.nan_to_num(9))
    for layer, methods in study_of_few.evidence.items():
        for name, v in methods.items():
            assert torch.equal(v.nan_to_num(9), other.evidence[layer][name].nan_to_num(9)), name

def test_a_model_with_several_outputs_is_asked_for_one(small_net):
    more = dict(n=2, size=48, workers=0)
    named = parts_study(InDict(small_net), CLASSES, logits='scores', **more)
    plain = parts_study(small_net, CLASSES, layers=[o.removeprefix('inner.')
                                                    for o in named.evidence], **more)
    assert torch.equal(named.effects.nan_to_num(9), plain.effects.nan_to_num(9))
    for layer, methods in plain.evidence.items():
        for name, v in methods.items():
            other = named.evidence[f'inner.{layer}'][name]
            assert torch.allclose(v.nan_to_num(9), other.nan_to_num(9), atol=1e-4), name

def test_the_head_is_ranked_only_when_asked(study_of_few):
    without, with_head = agreements(study_of_few), agreements(study_of_few, leave_out=())
    kept = [i for i, o in enumerate(PARTS) if o != 'head']
    r, area = study_of_few, study_of_few.evidence['2']['part area']
    for i in range(7):
        for columns, found in (kept, without), (range(8), with_head):
            a, b = (o[i, list(columns)] for o in (r.effects, area))
            seen = a.isfinite()
            assert float(found['2']['part area'][i]) == pytest.approx(
                stats.spearmanr(a[seen], b[seen])[0])
    assert set(without['2']) == {*METHODS, *(f'{o}, random weights' for o in METHODS), *BASELINES}

def a_study(n=40):
    "Effects 1 to 8; Grad-CAM is right, the random map wrong, all others right on every other pet"
    effects = torch.arange(1., 9).repeat(n, 1)
    mixed = effects.clone()
    mixed[::2] = mixed[::2].flip(1)
    names = [*METHODS, *(f'{o}, random weights' for o in METHODS), *BASELINES]
    evidence = {o: mixed for o in names} | {'Grad-CAM': effects, 'random map': -effects}
    return PartStudy(['pug']*n, effects, {'0': evidence})

def test_the_figure_and_the_rows_say_what_the_study_says():
    rows = {(layer, name, measure): o for layer, name, measure, o in parts._rows(a_study())}
    assert rows['', 'network', 'logit lost without tail'][:3] == (8, 8, 8)
    assert rows['0', 'Grad-CAM', 'agreement'][:3] == pytest.approx((1, 1, 1))
    assert rows['0', 'random map', 'agreement'].mean == pytest.approx(-1)
    # the best baseline is no random map; the best class-agnostic method has no difference to itself
    gain = rows['0', 'Grad-CAM', 'agreement minus centred Gaussian']
    assert gain.mean == pytest.approx(1) and gain.low > .5
    agnostic = CLASS_AGNOSTIC[0]
    assert ('0', agnostic, f'agreement minus {agnostic}') not in rows
    assert rows['0', 'LayerCAM', f'agreement minus {agnostic}'][:3] == (0, 0, 0)
    figure = plot_parts(a_study())
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0].startswith('logit lost') and titles[1].startswith('layer 0')
    dots = {ax.get_yticklabels()[int(line.get_ydata()[0])].get_text(): line.get_xdata()[0]
            for ax in figure.axes[1:] for line in ax.lines if line.get_marker() == 'o'
            and float(line.get_ydata()[0]).is_integer()}
    assert dots['Grad-CAM'] == pytest.approx(1) and dots['random map'] == pytest.approx(-1)

@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    net = create_cnn('mobilenet_v3_small', 3, bn_final=True)
    path = tmp_path/'net.pth'
    about = dict(arch='mobilenet_v3_small', classes=CLASSES, size=64, bn_final=True, kind='toy')
    torch.save(dict(model=net.state_dict(), about=about), path)
    return path

def test_the_command_prints_and_writes_its_numbers(trained, tmp_path, capsys):
    out = tmp_path/'out'
    for _ in range(2): # its own files may be replaced
        report_parts(trained, n=5, layers=['0'], out=out, workers=0)
    said = capsys.readouterr().out
    for words in ('without ears', 'layer 0, rank correlation', 'part area', 'agreement minus',
                  'What it proves', '5 toy pets, seed 0', str(out/'parts.csv')):
        assert words in said
    with open(out/'parts.csv', newline='') as f: rows = list(csv.DictReader(f))
    found = {(o['layer'], o['method'], o['measure']): o for o in rows}
    cam = found['0', 'Grad-CAM', 'agreement']
    assert -1 <= float(cam['low']) <= float(cam['mean']) <= float(cam['high']) <= 1
    assert cam['n'] == '5' and ('0', 'part area', 'agreement, head ranked too') in found
    assert f"{float(cam['mean']):.2f} [" in said
    with Image.open(out/'parts.png') as image: assert image.size[0] > 600
    assert is_ours(out/'parts.png') and is_ours(out/'parts.csv')

def test_the_command_replaces_no_file_of_others_and_knows_its_layers(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, 'parts_study', lambda *_, **__: pytest.fail('drawn before the check'))
    with pytest.raises(ValueError, match="no_layer"):
        report_parts(trained, n=2, layers=['no_layer'], out=tmp_path)
    (tmp_path/'parts.csv').write_text('precious')
    with pytest.raises(ValueError, match='parts.csv is there already'):
        report_parts(trained, n=2, out=tmp_path)
    assert (tmp_path/'parts.csv').read_text() == 'precious'

def test_a_model_that_sees_nothing_loses_nothing():
    "And no map agrees with that"
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x): return 0*self.conv(x).mean((2, 3))[:, :3]

    with pytest.warns(ZeroGradient):
        r = parts_study(Blind(), CLASSES, n=3, layers=['conv'], size=48, workers=0)
    assert r.effects[r.effects.isfinite()].abs().max() == 0
    assert all((v == 0).all() for v in agreements(r)['conv'].values())
