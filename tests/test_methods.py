"Each relative of Grad-CAM against loops over single numbers, and against what must be the same for all."
import numpy as np
import pytest, torch
from torch import nn
from petcam.engine.backward import activation_and_gradient
from petcam.gradcam import grad_cam
from petcam.methods import METHODS, class_activation_map, explain_batch, maps_of, score_cam

@pytest.fixture
def parts(): return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)), torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))

@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)).eval()

@pytest.fixture
def x(): return torch.randn(3, 3, 9, 11, generator=torch.Generator().manual_seed(2))

def places(f, a, g): # f(activations (c,), gradients (c,), channel-wise sums) at each place, one number at a time
    return np.array([[[f(a[b,:,i,j], g[b,:,i,j], b) for j in range(a.shape[3])] for i in range(a.shape[2])] for b in range(len(a))])

def test_each_method_against_loops(parts):
    a, g = (o.double().numpy() for o in parts)
    def plus_plus(b, k):
        w = 0.
        for gij in g[b,k].flat: w += gij**2/(2*gij**2 + gij**3*a[b,k].sum())*max(gij, 0)
        return w
    by_loops = {'mean activation': lambda ai, gi, b: sum(ai)/len(ai),
                'Grad-CAM': lambda ai, gi, b: sum(ai[k]*g[b,k].mean() for k in range(5)),
                'Grad-CAM++': lambda ai, gi, b: sum(ai[k]*plus_plus(b, k) for k in range(5)),
                'HiResCAM': lambda ai, gi, b: sum(p*q for p, q in zip(ai, gi)),
                'LayerCAM': lambda ai, gi, b: sum(p*max(q, 0) for p, q in zip(ai, gi))}
    assert set(by_loops) == set(METHODS) - {'Eigen-CAM'}
    for name, f in by_loops.items(): np.testing.assert_allclose(METHODS[name](*(o.double() for o in parts)).numpy(), places(f, a, g), rtol=1e-9, atol=1e-12, err_msg=name)

def test_eigen_cam_is_the_strongest_eigenvector_of_the_places(parts):
    maps = METHODS['Eigen-CAM'](*parts)
    for a, m in zip(parts[0].double().flatten(2), maps.double().flatten(1)):
        values, vectors = np.linalg.eigh((a.T @ a).numpy())                      # (places, places)
        want = vectors[:,-1]*np.sqrt(values[-1])
        np.testing.assert_allclose(m, want*np.sign(want.sum()), atol=1e-5)
        assert m.sum() > 0

def test_a_channel_without_gradient_changes_nothing_in_grad_cam_plus_plus(parts):
    a, g = parts
    g[:, 2] = 0
    m = METHODS['Grad-CAM++'](a, g)
    a[:, 2] = 100.
    assert m.isfinite().all() and torch.equal(m, METHODS['Grad-CAM++'](a, g))

def test_maps_of_asks_for_the_class_once_and_leaves_the_model(net, x):
    seen = []
    handle = net.register_forward_hook(lambda m, i, y: seen.append(torch.equal(i[0], x)))
    net.train()
    maps = maps_of(net, '1', x, [0, 1, 4])
    assert seen.count(True) == 1 and list(maps) == list(METHODS) and net.training and all(p.grad is None for p in net.parameters())
    handle.remove()
    torch.testing.assert_close(maps['Grad-CAM'], grad_cam(net, '1', x, [0, 1, 4]))
    assert list(maps_of(net, '1', x, 0, ['LayerCAM'])) == ['LayerCAM']

def test_cam_is_refused_where_there_is_none(net, x):
    with pytest.raises(ValueError, match="CAM needs average pooling and one linear layer behind '1', and Sequential has something else"):
        class_activation_map(net, '1', x, 0)

def test_score_cam_against_one_mask_at_a_time_whatever_the_batches(net, x):
    with torch.no_grad():
        acts, want = net[:2](x), []
        for xi, ai in zip(x, acts):
            masks = [nn.functional.interpolate(((c-c.min())/(c.max()-c.min()))[None,None], xi.shape[1:], mode='bilinear')[0,0] for c in ai]
            w = torch.tensor([net((xi*m)[None])[0,3] for m in masks]).softmax(0)
            want.append(sum(wi*c for wi, c in zip(w, ai)))
    for bs in 1, 4, 32: torch.testing.assert_close(score_cam(net, '1', x, 3, bs), torch.stack(want))

def test_score_cam_asks_for_one_class_of_each_image(net, x):
    each = score_cam(net, '1', x, ['e', 'a', 'b'], class_names=list('abcde'))
    for i, k in enumerate((4, 0, 1)): torch.testing.assert_close(each[[i]], score_cam(net, '1', x[[i]], k))
    torch.testing.assert_close(score_cam(net, '1', x), score_cam(net, '1', x, net(x).argmax(1)))
    with pytest.raises(TypeError, match='a class is a whole number or a name, got <function'): score_cam(net, '1', x, lambda y: y[:, 0])
    with pytest.raises(ValueError, match='2 targets for 3 images'): score_cam(net, '1', x, [1, 2])

@pytest.fixture
def pooled(): # a network that CAM can explain
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()

def test_cam_asks_for_one_class_of_each_image(pooled, x):
    a, w = pooled[:2](x).detach(), pooled[4].weight.detach()
    want = torch.stack([sum(w[k,c]*a[i,c] for c in range(6)) for i, k in enumerate((4, 0, 1))])
    torch.testing.assert_close(class_activation_map(pooled, '1', x, ['e', 'a', 'b'], class_names=list('abcde')), want)
    torch.testing.assert_close(class_activation_map(pooled, '1', x), class_activation_map(pooled, '1', x, pooled(x).argmax(1)))

@pytest.mark.parametrize('f', [class_activation_map, score_cam])
@pytest.mark.parametrize('dtype, near', [(torch.float64, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 3e-2)])
def test_models_of_other_precision(pooled, x, f, dtype, near):
    want = f(pooled, '1', x, 3)
    got = f(pooled.to(dtype), '1', x.to(dtype), 3)
    assert got.dtype == torch.promote_types(dtype, torch.float32) and (got - want).abs().max() < near*want.abs().max()

@pytest.mark.parametrize('f', [class_activation_map, score_cam])
def test_maps_under_autocast_have_32_bits(pooled, x, f):
    want = f(pooled, '1', x, 3)
    with torch.autocast('cpu', torch.bfloat16): got = f(pooled, '1', x, 3)
    assert got.dtype == torch.float32 and 0 < (got - want).abs().max() < .03*want.abs().max()

@pytest.mark.parametrize('target', [torch.tensor([2, 0, 1]), np.array([2, 0, 1]), ['c', 'a', 'b'], (2, 'a', np.int64(1))])
def test_explain_takes_classes_as_grad_cam_does(net, x, target):
    said = explain_batch(net, '1', x, target, class_names=list('abcde'))
    assert [e.verdict.name for e in said] == ['c', 'a', 'b']
    torch.testing.assert_close(torch.stack([e.map for e in said]), grad_cam(net, '1', x, [2, 0, 1]))

@pytest.mark.parametrize('call', [lambda m, x: score_cam(m, 'm.1', x, 3), lambda m, x: maps_of(m, 'm.1', x, methods='mean activation')['mean activation'],
                                  lambda m, x: torch.stack([e.map for e in explain_batch(m, 'm.1', x, 3, 'Eigen-CAM')]), lambda m, x: class_activation_map(m, 'm.1', x, 3)])
def test_methods_without_a_gradient_need_none(pooled, x, call):
    class Model(nn.Module):
        def __init__(self): super().__init__(); self.m, self.grad = pooled, True
        def forward(self, x):
            with torch.set_grad_enabled(self.grad): return self.m(x)
    m = Model()
    want = call(m, x)
    m.grad = False
    torch.testing.assert_close(call(m, x), want)
    with pytest.raises(ValueError, match='through a gradient'): explain_batch(m, 'm.1', x, 3)

def test_explain_more_targets(net, x):
    assert [e.verdict.name for e in explain_batch(net, '1', x, range(3))] == ['class 0', 'class 1', 'class 2']
    assert [e.verdict.name for e in explain_batch(net, '1', x, torch.tensor(4))] == ['class 4']*3
    with pytest.raises(ValueError, match='2 names for the 5 classes'): explain_batch(net, '1', x, 0, class_names=['a', 'b'])

def test_explain_a_function_of_what_is_no_tensor(net, x):
    class Wrapped(nn.Module):
        def __init__(self): super().__init__(); self.m = net
        def forward(self, x): return dict(logits=self.m(x), other=None)
    said = explain_batch(Wrapped(), 'm.1', x, lambda out: out['logits'][:, 2])
    assert [(e.verdict, e.target) for e in said] == [(None, None)]*3
    torch.testing.assert_close(torch.stack([e.map for e in said]), grad_cam(net, '1', x, 2))

def test_explain_says_what_was_asked(net, x):
    names = list('abcde')
    y = net(x).detach()
    for said, yi, m in zip(explain_batch(net, '1', x, 'c', class_names=names), y, grad_cam(net, '1', x, 2)):
        torch.testing.assert_close(said.map, m)
        assert said.verdict.name == 'c' and abs(said.verdict.logit-yi[2]) < 1e-6 and said.verdict.rank == int((yi > yi[2]).sum())+1
        assert said.layer == '1' and ('does not believe' in str(said)) == (said.verdict.rank > 1) and 'Grad-CAM at layer' in str(said)
    assert [e.verdict.rank for e in explain_batch(net, net[1], x)] == [1, 1, 1]
    assert [e.verdict.name for e in explain_batch(net, '1', x, ['a', 'b', 'e'], class_names=names)] == ['a', 'b', 'e']

@pytest.mark.parametrize('call', [maps_of, explain_batch])
def test_an_unknown_method_is_named(net, x, call):
    with pytest.raises(ValueError, match="no method 'GradCAM'; the nearest names are Grad-CAM"): call(net, '1', x, 0, **{'methods' if call is maps_of else 'method': ['GradCAM'] if call is maps_of else 'GradCAM'})

def test_the_last_usable_layer_is_the_one_that_is_left_out(net, x):
    assert [e.layer for e in explain_batch(net, None, x, 0)] == ['2']*3
    torch.testing.assert_close(maps_of(net, None, x, 0), maps_of(net, '2', x, 0))

def test_a_function_is_a_method_too(net, x):
    for e, m in zip(explain_batch(net, '1', x, 2, lambda a, g: 3*(a*g).sum(1)), METHODS['HiResCAM'](*activation_and_gradient(net, '1', x, 2)[:2])):
        torch.testing.assert_close(e.map, 3*m)

def test_an_explanation_keeps_its_image(net, x):
    shown = torch.rand(3, 3, 9, 11)
    for e, image, k in zip(explain_batch(net, '1', x, [0, 4, 2], images=shown), shown, (0, 4, 2)):
        assert torch.equal(e.image, image) and e.target == k and e.overlay().shape == (9, 11, 3)
    with pytest.raises(ValueError, match='2 images to show for 3'): explain_batch(net, '1', x, 0, images=shown[:2])
    with pytest.raises(ValueError, match='has no image'): explain_batch(net, '1', x, 0)[0].overlay()

def test_a_function_that_gives_no_map_is_refused_by_explain_too(net, x):
    with pytest.raises(ValueError, match=r'method must give \(b,h,w\), here .* and gives'): explain_batch(net, '1', x, 0, lambda a, g: a.mean((1, 2)))
