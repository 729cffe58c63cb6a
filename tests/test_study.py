"Promises of petcam.study: one forward pass gives what many gave, and every comparison is paired and named."
import importlib
import numpy as np
import pytest, torch
from scipy.stats import bootstrap
from torch import nn
from petcam.engine.adapter import Adapter
from petcam.engine.backward import activation_and_gradient, gradients_and_notes
from petcam.engine.scoring import auc, best_iou, deletion, insertion, iou
from petcam.engine.statistics import paired_bootstrap
from petcam.localise import centre_prior, energy_inside, randomize_weights
from petcam.methods import METHODS, maps_of
from petcam.study import Questions, all_maps, insertion_deletion, study_figure, tables
the_study = importlib.import_module('petcam.study') # the module; `study` is its function

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 2, padding=1), nn.ReLU()),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()

def questions(n=5, q=2, size=12):
    g = torch.Generator().manual_seed(1)
    return Questions(torch.randn(n, 3, size, size, generator=g), torch.stack([torch.randperm(5, generator=g)[:q] for _ in range(n)]),
                     torch.rand(n, q, size, size, generator=g) > .5)

class Counts(nn.Module): # the sizes of the batches that pass through a model
    def __init__(self, model):
        super().__init__()
        self.model, self.batches = model, []
    def forward(self, x):
        self.batches.append(len(x))
        return self.model(x)

def test_one_forward_pass_gives_the_gradients_of_all_layers_and_targets():
    model, q = Counts(net()), questions()
    of_layers, y = gradients_and_notes(model, ['model.0.0', 'model.0'], q.xb, q.targets.T.tolist(), None, Adapter())
    assert model.batches.count(len(q.xb)) == 1 and not y.requires_grad # beside the three images that a layer is probed with
    for layer, (a, gs, _) in zip(('0.0', '0'), of_layers):
        for ks, g in zip(q.targets.T.tolist(), gs):
            want_a, want_g, _ = activation_and_gradient(model.model, layer, q.xb, ks)
            assert torch.equal(a, want_a) and torch.equal(g, want_g)

def test_the_maps_of_several_questions_and_layers_are_those_of_one_after_another():
    model, q = net(), questions()
    for layer, maps in zip(('0.0', '0'), the_study._maps_of_layers(model, ['0.0', '0'], q, bs=2)):
        for j in range(2):
            for name, m in maps_of(model, layer, q.xb, q.targets[:, j].tolist()).items():
                torch.testing.assert_close(maps[name][:, j], m, atol=1e-6, rtol=1e-4)
        assert list(maps) == list(METHODS) == list(all_maps(model, layer, q))

def test_the_curves_of_all_methods_and_layers_are_those_of_each_alone():
    model, q = net(), questions(q=1)
    randomized = randomize_weights(model, q.xb)
    both = the_study._areas(model, ['0.0', '0'], q, randomized, 7, steps=4)
    for layer, areas in zip(('0.0', '0'), both):
        maps = {name: m[:, 0] for name, m in all_maps(model, layer, q).items()} | {'centred Gaussian': centre_prior(12).expand(5, 12, 12)}
        maps['Grad-CAM, random weights'] = all_maps(randomized, layer, q)['Grad-CAM'][:, 0]
        assert areas.keys() == maps.keys() | {'random map'} == insertion_deletion(model, layer, q, randomized, 7, 4).keys()
        for name, m in maps.items():
            for f in (insertion, deletion):
                torch.testing.assert_close(areas[name][f.__name__][:, 0], auc(f(model, q.xb, m, q.targets[:, 0], 4)), atol=1e-5, rtol=0)

def test_scores_of_pixels_are_those_of_a_loop_over_pixels():
    g = torch.Generator().manual_seed(0)
    m, inside = torch.randn(3, 6, 7, generator=g), torch.rand(3, 6, 7, generator=g) > .6
    m[2] *= 1e-30 # tiny sums must not vanish
    for one, mask, e, best in zip(m, inside, energy_inside(m, inside), best_iou(m, inside, 20)):
        positive = [(float(v), bool(i)) for v, i in zip(one.flatten(), mask.flatten()) if v > 0]
        assert float(e) == pytest.approx(sum(v for v, i in positive if i)/sum(v for v, _ in positive), rel=1e-5)
        assert float(best) == pytest.approx(max(float(iou(one[None], mask[None], k/20)) for k in range(21)), abs=1e-6)

def values(n=40):
    rng = np.random.default_rng(0)
    hard = rng.normal(0, .1, (n, 1))
    means = {'Grad-CAM': .7, 'LayerCAM': .5, 'Grad-CAM, random weights': .52, 'centred Gaussian': .6, 'chance': .4}
    return {('single', '0', name, measure): (mean + hard + rng.normal(0, .02, (n, 1))).tolist() for measure in ('energy', 'deletion') for name, mean in means.items()}

def test_each_method_is_compared_with_the_best_baseline_on_the_same_images():
    v = values()
    rows = {(r.method, r.measure): r for r in the_study._rows(v)}
    assert {r.baseline for r in rows.values() if r.method in METHODS and r.measure == 'energy'} == {'centred Gaussian'}
    assert {r.baseline for r in rows.values() if r.method in METHODS and r.measure == 'deletion'} == {'chance'} # less is better
    assert all(r.baseline == '' and np.isnan(r.gain) for r in rows.values() if r.method not in METHODS)
    for measure, best, sign in (('energy', 'centred Gaussian', 1), ('deletion', 'chance', -1)):
        d = sign*(np.array(v['single', '0', 'LayerCAM', measure]) - np.array(v['single', '0', best, measure]))[:, 0]
        r = rows['LayerCAM', measure]
        want = bootstrap((d,), np.mean, n_resamples=9999, method='percentile', rng=0).confidence_interval
        assert r.gain == pytest.approx(d.mean()) and r.gain_low == pytest.approx(want.low, abs=.002) and r.gain_high == pytest.approx(want.high, abs=.002)
        same = paired_bootstrap(v['single', '0', 'LayerCAM', measure], draws=1999)
        assert (r.low, r.high) == pytest.approx(same[1:3], abs=1e-12) # the same draws
        assert r.high - r.low > 2*(r.gain_high - r.gain_low) # hard images are hard for both

def test_the_table_and_the_figure_show_the_differences():
    rows = the_study._rows(values())
    head, body = tables(rows)['layer 0, better than the best baseline by']
    assert head == ['better than', 'energy: centred Gaussian', 'deletion: chance']
    row = next(o for o in body if o[0] == 'Grad-CAM'); r = next(r for r in rows if (r.method, r.measure) == ('Grad-CAM', 'energy'))
    assert row[1] == f'{100*r.gain:+.1f} [{100*r.gain_low:.1f}, {100*r.gain_high:.1f}]' and next(o for o in body if o[0] == 'HiResCAM')[1] == ''
    above, _, below, _ = study_figure(rows, '0').axes
    drawn = [line for line in below.lines if line.get_marker() == 'o']
    assert [line.get_xdata()[0] for line in drawn] == pytest.approx([100*o.gain for o in rows if o.baseline and o.measure == 'energy'])
    assert 'centred Gaussian' in below.get_title() and '40 images' in above.get_title()
    hollow = [line for line in above.lines if line.get_mfc() == 'white']
    assert [line.get_xdata()[0] for line in hollow] == pytest.approx([100*o.mean for o in rows if o.method == 'Grad-CAM, random weights' and o.measure == 'energy'])
