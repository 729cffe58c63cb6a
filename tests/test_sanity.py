"Promises of petcam.sanity and what it stands on: similarity against scikit-image and golden numbers, randomisation against Quantus."
import copy, warnings
import numpy as np
import pytest, torch
from torch import nn
from petcam.engine import randomization
from petcam.engine.randomization import layer_order, randomized_by_layer
from petcam.engine.similarity import NORMALIZATIONS, normalize_maps, ssim
from petcam.engine.statistics import spearman
from petcam.methods import CLASS_AGNOSTIC, METHODS, maps_of
from petcam.sanity import randomized_maps

def waves(): # the two maps of Quantus's golden numbers
    n = np.arange(256)
    p, q = np.sin(n*.37), np.sin(n*.37 + .8) + .3*np.cos(n*1.7)
    return [torch.tensor(o.reshape(16, 16), dtype=torch.float) for o in (p, q)]

@pytest.mark.parametrize('how,want', [(None, .170257), ('second moment', .170305), ('min-max', .585303), ('absolute', -.037896)])
def test_ssim_equals_quantus_after_each_normalisation(how, want):
    p, q = (o if how is None else normalize_maps(o, how) for o in waves())
    assert abs(float(ssim(p, q)) - want) < 1e-5

@pytest.mark.parametrize('r,want', [(2, .54295), (1, .531588)])
def test_ssim_with_a_gaussian_window_equals_scikit_images(r, want):
    p, q = (normalize_maps(o, 'min-max') for o in waves())
    assert abs(float(ssim(p, q, sigma=1.5, data_range=r)) - want) < 1e-5

def test_the_second_moment_is_quantuss():
    p, _ = waves()
    torch.testing.assert_close(normalize_maps(p), p/.705377, rtol=1e-5, atol=1e-5)

@pytest.mark.parametrize('h,w,side,sigma', [(16, 16, 7, None), (9, 20, 5, None), (7, 7, 7, None), (30, 13, 11, 1.5), (6, 6, 3, None)])
def test_ssim_equals_scikit_image(h, w, side, sigma):
    metrics = pytest.importorskip('skimage.metrics')
    g = torch.Generator().manual_seed(h*w)
    a, b = torch.randn(4, h, w, generator=g), torch.randn(4, h, w, generator=g)
    b[0], b[1], b[2] = a[0] + .1*b[0], -a[1], 1e3*b[2]
    kinds = dict(gaussian_weights=True, sigma=sigma) if sigma else dict(win_size=side)
    want = [metrics.structural_similarity(u.double().numpy(), v.double().numpy(), data_range=float(max(u.max(), v.max()) - min(u.min(), v.min())), **kinds)
            for u, v in zip(a, b)]
    torch.testing.assert_close(ssim(a, b, None if sigma else side, sigma), torch.tensor(want, dtype=torch.float), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ssim(a[None], b[:, None]).diagonal(), ssim(a, b)) # one for several

def test_ssim_against_a_slow_loop():
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(5, 6, generator=g).double(), torch.rand(5, 6, generator=g).double()
    scores = []
    for i in range(3):
        for j in range(4):
            u, v = a[i:i+3, j:j+3].flatten(), b[i:i+3, j:j+3].flatten()
            c = torch.cov(torch.stack([u, v])) # divides by n-1
            scores.append((2*u.mean()*v.mean() + 1e-4)*(2*c[0, 1] + 9e-4)/(u.mean()**2 + v.mean()**2 + 1e-4)/(c[0, 0] + c[1, 1] + 9e-4))
    torch.testing.assert_close(ssim(a, b, 3, data_range=1.).double(), torch.stack(scores).mean(), atol=1e-6, rtol=0)

@pytest.mark.parametrize('how', NORMALIZATIONS)
def test_a_scale_has_no_unit_and_hides_no_image_behind_another(how):
    m = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(1))
    for factor in (1e-25, 1e-3, 1e4, 1e25): torch.testing.assert_close(normalize_maps(factor*m, how), normalize_maps(m, how), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(normalize_maps(m, how)[1, 1], normalize_maps(m[1, 1], how))
    assert not normalize_maps(torch.zeros(2, 3, 3), how).any()

@pytest.mark.parametrize('call,said', [
    (lambda m: ssim(m, m, 4), 'side is 4'), (lambda m: ssim(m, m, 9), 'side is 9'), (lambda m: ssim(m, m, sigma=0), 'sigma is 0'),
    (lambda m: ssim(m, torch.rand(2, 7, 7)), r'\(2, 7, 7\)'), (lambda m: ssim(m, m[:, :1, :1]), r'\(3, 1, 1\)'), (lambda m: ssim(m/0, m), 'not finite'),
    (lambda m: normalize_maps(m, 'min max'), "'min max'.*min-max"), (lambda m: normalize_maps(m[0, 0]), r'\(7,\)'), (lambda m: ssim(m[:, :2, :2], m[:, :2, :2]), '3 x 3')])
def test_what_cannot_be_compared_is_refused(call, said):
    with pytest.raises(ValueError, match=said): call(torch.rand(3, 7, 7))

# --- random weights

def golden_model():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)).eval()
    torch.manual_seed(0)
    for i in (0, 2, 3, 6): model[i].reset_parameters()
    return model, torch.tensor(np.sin(np.arange(128)*.37).reshape(2, 1, 8, 8), dtype=torch.float)

def input_gradients(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x)[[0, 1], [0, 2]].sum(), x)[0][:, 0]

def ranks_correlate(a, b): return spearman(a.flatten(1), b.flatten(1)) # (b,h,w) both

def as_quantus_does(monkeypatch): # one seed before each layer, and statistics of 0 and 1
    monkeypatch.setattr(randomization, '_refit_behind', lambda *args: None)
    monkeypatch.setattr(randomization, '_layer_seeds', lambda names, seed: dict.fromkeys(names, seed + 1))

MPRT = {'cascading': {'6': (.008929, .34098), '3': (.008929, .34098), '2': (.116209, -.042216), '0': (.08109, .154625)},
        'bottom-up': {'0': (.174359, -.020513), '2': (.111447, .202518), '3': (.111447, .202518), '6': (.08109, .154625)}}

@pytest.mark.parametrize('order', MPRT)
def test_with_its_seeds_and_statistics_the_numbers_are_quantuss(order, monkeypatch):
    as_quantus_does(monkeypatch)
    model, x = golden_model()
    trained = input_gradients(model, x).abs()
    found = {name: ranks_correlate(input_gradients(net, x).abs(), trained) for name, net in randomized_by_layer(model, x, order, seed=42)}
    assert list(found) == list(MPRT[order])
    for name, want in MPRT[order].items(): np.testing.assert_allclose(found[name], want, atol=1e-5)

@pytest.mark.parametrize('ours,theirs', [('cascading', 'top_down'), ('bottom-up', 'bottom_up'), ('independent', 'independent')])
def test_quantus_itself_agrees(ours, theirs, monkeypatch):
    quantus = pytest.importorskip('quantus')
    as_quantus_does(monkeypatch)
    model, x = golden_model()
    def explain(model, inputs, targets, **_): return input_gradients(model, torch.as_tensor(inputs))[:, None].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        test = quantus.MPRT(layer_order=theirs, disable_warnings=True)
        scores = test(model=copy.deepcopy(model), x_batch=x.numpy(), y_batch=np.array([0, 2]), explain_func=explain, channel_first=True, device='cpu')
    trained = input_gradients(model, x).abs()
    found = {name: ranks_correlate(input_gradients(net, x).abs(), trained) for name, net in randomized_by_layer(model, x, ours, seed=42)}
    assert set(found) == set(scores) - {'original'}
    for name in found: np.testing.assert_allclose(found[name], scores[name], atol=1e-5)

def test_equal_shapes_get_different_weights_and_every_order_the_same_ones():
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)), nn.Flatten(), nn.Linear(192, 2)).eval()
    x = torch.randn(2, 3, 8, 8)
    down, up, alone = ([net for _, net in randomized_by_layer(model, x, o, seed=3)] for o in ('cascading', 'bottom-up', 'independent'))
    assert not torch.equal(down[-1][0].weight, down[-1][1].weight)
    assert all(torch.equal(*o) for o in zip(down[-1].parameters(), up[-1].parameters()))
    for name, net in zip(layer_order(model, x), alone): assert torch.equal(net.get_submodule(name).weight, down[-1].get_submodule(name).weight)

def test_the_statistics_behind_new_weights_are_those_of_the_images_and_the_others_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    model(torch.randn(8, 3, 8, 8)); model.eval()
    x = torch.randn(5, 3, 8, 8)
    for name, net in randomized_by_layer(model, x, 'independent'):
        with torch.no_grad(): seen = {i: net[:i](x) for i in (1, 3)}
        for i in (1, 3):
            if i < int(name): assert torch.equal(net[i].running_var, model[i].running_var) and net[i].num_batches_tracked == model[i].num_batches_tracked
            else:
                torch.testing.assert_close(net[i].running_mean, seen[i].mean((0, 2, 3)), atol=1e-3, rtol=1e-2) # 180/179: the variance while fitting is the biased one
                torch.testing.assert_close(net[i].running_var, seen[i].var((0, 2, 3)), atol=1e-3, rtol=1e-2)
            assert net[i].momentum == .1 and net[i].track_running_stats and not net[i].training

def test_the_model_and_the_random_state_stay_as_they_are():
    model, x = golden_model()
    model.train(); model[4].eval()
    before, modes, state = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()], torch.get_rng_state()
    for _, net in randomized_by_layer(model, x): assert not net.training
    layer_order(model, x)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and [m.training for m in model.modules()] == modes
    assert torch.equal(state, torch.get_rng_state()) and not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())

class Patches(nn.Module): # a small transformer: a class token, positions, attention whose projection never runs
    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3) # defined first, used last
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 17, 8))
        self.patches, self.attention = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        t = self.patches(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(len(t), -1, -1), t], 1) + self.places
        return self.head(self.norm(t + self.attention(t, t, t)[0])[:, 0])

def test_the_order_is_that_of_use_and_bare_parameters_count_too():
    model, x = Patches().eval(), torch.randn(2, 3, 16, 16)
    order = layer_order(model, x)
    assert list(order) == ['head', 'norm', 'attention.out_proj', 'attention', 'patches', 'Patches'] and order['Patches'] == ['']
    assert list(layer_order(model, x, depth=1)) == ['head', 'norm', 'attention', 'patches', 'Patches']
    *_, (name, last) = randomized_by_layer(model, x)
    for key, p in model.named_parameters():
        same = torch.equal(p, last.get_parameter(key))
        assert same == (key in ('norm.weight', 'norm.bias', 'attention.in_proj_bias')), key # all ones, all zeros: drawn as such again
    assert torch.equal(last.token.sort().values, model.token.sort().values) # its own values, in another order

@pytest.mark.parametrize('name', ['resnet18', 'mobilenet_v3_small', 'vit_b_16', 'convnext_tiny', 'swin_t'])
def test_real_architectures_from_head_to_stem(name):
    from torchvision import models
    torch.manual_seed(0)
    model, x = getattr(models, name)(num_classes=4).eval(), torch.randn(2, 3, 224 if name == 'vit_b_16' else 64, 224 if name == 'vit_b_16' else 64)
    order = layer_order(model, x)
    assert sorted(o for names in order.values() for o in names) == sorted(n for n, m in model.named_modules() if [*m.parameters(recurse=False)])
    first, last = next(iter(order)), list(order)[-3:]
    assert first in ('fc', 'classifier.3', 'heads.head', 'classifier.2', 'head')
    assert set(last) & {'conv1', 'features.0.0', 'conv_proj', 'features.0.0.0'}
    if name in ('vit_b_16', 'swin_t'): return # slow, and nothing new
    *_, (_, net) = randomized_by_layer(model, x, layers=layer_order(model, x, depth=1))
    assert not any(torch.equal(p, net.get_parameter(n)) for n, p in model.named_parameters() if p.unique().numel() > 1) # ConvNeXt's scales are all 1e-6

def test_layers_of_ones_own_and_what_is_refused():
    model, x = golden_model()
    assert [n for n, _ in randomized_by_layer(model, x, layers={'top': ['6', '3'], 'rest': ['2', '0']})] == ['top', 'rest']
    for call, said in ((lambda: randomized_by_layer(model, x, 'cascade'), "'cascade'.*cascading"), (lambda: randomized_by_layer(model, x, seed=-1), 'seed is -1'),
                       (lambda: layer_order(model, x, depth=0), 'depth is 0'), (lambda: randomized_by_layer(model, x, layers={'top': ['1']}), "no module with parameters of its own '1'"),
                       (lambda: randomized_by_layer(model, x, layers={}), 'layers'), (lambda: layer_order(model, x[0, 0]), 'batch')):
        with pytest.raises(ValueError, match=said): call()

# --- maps of networks that know ever less

def test_the_maps_are_those_of_each_network_for_the_class_that_the_trained_one_predicts():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()
    x = torch.randn(4, 3, 9, 9)
    with torch.no_grad(): predicted = model(x).argmax(1).tolist()
    for order in ('cascading', 'independent', 'bottom-up'):
        found = randomized_maps(model, model[2], x, order=order, draws=2, seed=5)
        assert list(found) == list(METHODS)
        for draw in range(2):
            for step, (_, net) in enumerate(randomized_by_layer(model, x, order, seed=5 + draw)):
                for name, want in maps_of(net, '2', x, predicted).items(): torch.testing.assert_close(found[name][draw, step], want)
    named = randomized_maps(model, '2', x, 'c', 'Grad-CAM', class_names='a b c d e'.split(), draws=1)
    torch.testing.assert_close(named['Grad-CAM'], randomized_maps(model, '2', x, 2, 'Grad-CAM', draws=1)['Grad-CAM'])

def test_a_map_that_never_asks_the_head_stays_and_a_flipped_head_flips_the_map():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2, bias=False)).eval()
    x = torch.randn(3, 3, 9, 9)
    trained = maps_of(model, '1', x, 0)
    found = randomized_maps(model, '1', x, 0, draws=3)
    for name in CLASS_AGNOSTIC: torch.testing.assert_close(found[name][:, 0], trained[name].expand(3, -1, -1, -1))
    with torch.no_grad(): a = model[1](model[0](x))
    for draw in range(3): # Grad-CAM by hand: the new head's weights times the old activations
        _, net = next(randomized_by_layer(model, x, seed=draw))
        torch.testing.assert_close(found['Grad-CAM'][draw, 0], torch.einsum('c,bchw->bhw', net[4].weight[0].detach(), a)/49)

def test_random_maps_are_at_zero_and_equal_maps_at_one():
    g = torch.Generator().manual_seed(0)
    noise, maps = torch.randn(500, 6, 6, generator=g), torch.randn(500, 6, 6, generator=g)
    rho = spearman(noise.flatten(1), maps.flatten(1))
    assert abs(float(rho.mean())) < 4/(500*35)**.5 and abs(float(rho.std()) - 1/35**.5) < .02 # known: the variance is 1/(n-1)
    assert abs(float(ssim(noise, maps).mean())) < .03
    torch.testing.assert_close(ssim(maps, maps), torch.ones(500))

def test_what_randomized_maps_refuses():
    model, x = golden_model()
    for call, said in ((lambda: randomized_maps(model, '4', x, draws=0), 'draws is 0'), (lambda: randomized_maps(model, '4', x, methods=['GradCAM']), "'GradCAM'.*Grad-CAM"),
                       (lambda: randomized_maps(model, '40', x), "no layer '40'"), (lambda: randomized_maps(model, '4', x[:1]), 'two images')):
        with pytest.raises(ValueError, match=said): call()
