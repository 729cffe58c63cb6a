"Each relative of Grad-CAM against loops over single numbers, and against what must be the same for all."
import numpy as np
import pytest, torch
from torch import nn
from petcam.gradcam import grad_cam
from petcam.relatives import METHODS, class_activation_map, explain, maps_of, score_cam

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
    handle = net.register_forward_hook(lambda *_: seen.append(1))
    net.train()
    maps = maps_of(net, '1', x, [0, 1, 4])
    assert len(seen) == 1 and list(maps) == list(METHODS) and net.training and all(p.grad is None for p in net.parameters())
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

def test_explain_says_what_was_asked(net, x):
    names = list('abcde')
    y = net(x).detach()
    for said, yi, m in zip(explain(net, '1', x, 'c', names=names), y, grad_cam(net, '1', x, 2)):
        torch.testing.assert_close(said.map, m)
        assert said.verdict.name == 'c' and abs(said.verdict.logit-yi[2]) < 1e-6 and said.verdict.rank == int((yi > yi[2]).sum())+1
        assert said.layer == '1' and ('does not believe' in str(said)) == (said.verdict.rank > 1) and 'Grad-CAM at layer' in str(said)
    assert [e.verdict.rank for e in explain(net, net[1], x)] == [1, 1, 1]
    assert [e.verdict.name for e in explain(net, '1', x, ['a', 'b', 'e'], names=names)] == ['a', 'b', 'e']

@pytest.mark.parametrize('call', [maps_of, explain])
def test_an_unknown_method_is_named(net, x, call):
    with pytest.raises(ValueError, match="no method 'GradCAM'; expected .*Grad-CAM"): call(net, '1', x, 0, **{'methods' if call is maps_of else 'method': ['GradCAM'] if call is maps_of else 'GradCAM'})
