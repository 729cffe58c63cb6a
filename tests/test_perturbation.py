"Promises of petcam.perturbation and of the curves in petcam.engine.scoring: slow loops, golden numbers of the authors' own code."
import numpy as np
import pytest, torch
from petcam.engine.scoring import deletion, insertion

class Weighs(torch.nn.Module): # the logit of class 1 is a weighted sum of the pixels, that of class 0 is 0
    def __init__(self, w):
        super().__init__()
        self.w, self.seen = torch.nn.Parameter(w), []
    def forward(self, x):
        self.seen.append(len(x))
        s = (x*self.w).sum((1, 2, 3))
        return torch.stack([0*s, s], 1)

def slow_curve(w, start, end, m, steps): # one image, one map: pixel after pixel from `start` to `end`
    order = sorted(range(m.numel()), key=lambda i: -m.flatten()[i])
    out = []
    for s in range(steps + 1):
        now = start.clone()
        for i in [i for place, i in enumerate(order) if place < m.numel()*s/steps]:
            now[:, i//m.shape[1], i % m.shape[1]] = end[:, i//m.shape[1], i % m.shape[1]]
        out.append(float((now*w).sum().sigmoid()))
    return out

@pytest.mark.parametrize('steps', [1, 5, 12])
@pytest.mark.parametrize('bs', [1, 2, 5, 64])
def test_several_maps_at_once_are_each_alone_with_fewer_images_asked(steps, bs):
    g = torch.Generator().manual_seed(steps)
    x, w, maps = torch.randn(2, 3, 4, 3, generator=g), torch.randn(3, 4, 3, generator=g), torch.randn(4, 2, 4, 3, generator=g)
    model = Weighs(w)
    going = deletion(model, x, maps, 1, steps, bs=bs)
    assert sum(model.seen) == 2*(2 + 4*(steps - 1)) and max(model.seen) <= max(bs, 2) # the ends are asked once
    want = [[slow_curve(w, x[i], torch.zeros(3, 4, 3), m[i], steps) for i in range(2)] for m in maps]
    torch.testing.assert_close(going, torch.tensor(want), atol=1e-5, rtol=0)
    coming = insertion(model, x, maps, 1, steps, bs=bs)
    for k, m in enumerate(maps):
        torch.testing.assert_close(coming[k], insertion(model, x, m, 1, steps), atol=1e-6, rtol=0)
    torch.testing.assert_close(coming[..., -1], going[..., 0])

def test_other_inputs_are_repeated_with_their_images():
    class Shifted(torch.nn.Module): # each image has a number of its own, and a table that is none of theirs
        def forward(self, x, shift, table):
            assert table.shape == (7, 2) and len(x) == len(shift)
            return torch.stack([0*shift, x.sum((1, 2, 3)) + shift], 1)
    x, shift, table = torch.randn(3, 1, 2, 2), torch.tensor([1., -2., .5]), torch.zeros(7, 2)
    maps = torch.randn(2, 3, 2, 2)
    got = deletion(Shifted(), (x, shift, table), maps, 1, 4, bs=100)
    for m, curves in zip(maps, got):
        for i in range(3):
            torch.testing.assert_close(curves[i:i+1], deletion(Shifted(), (x[i:i+1], shift[i:i+1], table), m[i:i+1], 1, 4))

def test_maps_of_other_images_are_refused():
    model, x = Weighs(torch.ones(1, 4, 4)), torch.randn(2, 1, 4, 4)
    for shape in ((3, 4, 4), (2, 3, 4, 4), (0, 2, 4, 4)):
        with pytest.raises(ValueError, match=r'expected 2 maps \(b,h,w\)'): deletion(model, x, torch.zeros(shape))
    with pytest.raises(ValueError, match='bs must be 1 or more, got 0'): insertion(model, x, torch.zeros(2, 4, 4), bs=0)



# ---- engine.imputation

from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from petcam.engine.imputation import _fill, _neighbours, impute

IMAGE = ((torch.arange(60)*7 % 17)/10).view(1, 2, 5, 6)

@pytest.mark.parametrize('missing,want', [ # golden numbers of the authors' NoisyLinearImputer (e6b9987), in row order
    ((slice(2, 3), slice(2, 3)), [[.733333, .766667]]),
    ((slice(0, 1), slice(0, 1)), [[.9, 1.16]]),
    ((slice(0, 1), slice(3, 4)), [[1.0125, .3375]]),
    ((slice(1, 3), slice(2, 4)), [[.953333, .726374], [.746667, .772528], [.846667, .741758], [.753333, .787912]]),
    ((slice(0, 1), slice(0, 6)), [[1.029412, .973085], [1.023529, .832713], [.914706, .707767], [.785294, .648355], [.676471, .835654], [.670588, 1.094262]])])
def test_the_fill_is_that_of_the_authors(missing, want):
    gone = torch.zeros(1, 5, 6, dtype=torch.bool)
    gone[0][missing] = True
    filled = impute(IMAGE, gone, noise=0)
    torch.testing.assert_close(filled[0][:, gone[0]].T, torch.tensor(want), atol=2e-6, rtol=0)
    assert torch.equal(filled[0][:, ~gone[0]], IMAGE[0][:, ~gone[0]])

def test_the_system_is_that_of_the_authors(): # for (0,0) and (0,1); theirs has the other sign
    units = torch.zeros(2, 1, 5, 6)
    units[0, 0, 0, 0] = units[1, 0, 0, 1] = 1
    d, across = _neighbours(torch.ones(1, 1, 5, 6)), _neighbours(units)
    matrix = (across - d*units)[:, 0, 0, :2]
    torch.testing.assert_close(matrix, torch.tensor([[-.416667, .166667], [.166667, -.666667]]), atol=1e-6, rtol=0)
    known = IMAGE.clone()
    known[..., 0, :2] = 0
    torch.testing.assert_close(-_neighbours(known)[0, :, 0, :2].T, torch.tensor([[-.258333, -.266667], [-.591667, -.325]]), atol=1e-6, rtol=0)

def solved(x, gone): # (c,h,w), (h,w): the equations pixel by pixel, by a direct sparse solver
    at = {tuple(p): k for k, p in enumerate(gone.nonzero().tolist())}
    a, b = lil_matrix((len(at), len(at))), np.zeros((len(at), len(x)))
    for (i, j), k in at.items():
        for p in range(i - 1, i + 2):
            for q in range(j - 1, j + 2):
                if (p, q) == (i, j) or not (0 <= p < gone.shape[0] and 0 <= q < gone.shape[1]): continue
                w = 1/6 if p == i or q == j else 1/12
                a[k, k] += w
                if (p, q) in at: a[k, at[p, q]] -= w
                else: b[k] += w*x[:, p, q].double().numpy()
    out = x.double().clone()
    out[:, gone] = torch.tensor(spsolve(a.tocsr(), b).reshape(len(at), len(x)).T)
    return out

@pytest.mark.parametrize('h,w,c', [(37, 50, 3), (64, 21, 1), (1, 40, 2), (3, 2, 4)])
@pytest.mark.parametrize('kind', ['scattered', 'half', 'nearly all'])
def test_each_hole_of_a_batch_against_a_direct_solver(h, w, c, kind):
    g = torch.Generator().manual_seed(h*w)
    x = torch.randn(3, c, h, w, generator=g)*torch.tensor([1., 1e-2, 50.]).view(3, 1, 1, 1)
    rows = torch.arange(w).expand(3, h, w)
    gone = {'scattered': torch.rand(3, h, w, generator=g) < .4, 'half': rows >= (w + 1)//2, 'nearly all': torch.rand(3, h, w, generator=g) < .98}[kind]
    gone[:, h//2, 0] = False
    gone[2] &= torch.rand(h, w, generator=g) < .5 # the images are not equally hard
    got = impute(x, gone, noise=0)
    for i in range(3):
        torch.testing.assert_close(got[i].double(), solved(x[i], gone[i]), atol=2e-4*float(x[i].abs().max()), rtol=0)

def test_coarser_images_change_the_number_of_steps_and_not_the_fill():
    g = torch.Generator().manual_seed(0)
    x, gone = torch.randn(1, 3, 96, 101, generator=g), torch.ones(1, 1, 96, 101, dtype=torch.bool)
    gone[..., 40:50, 7] = False
    (fast, few), (plain, many) = _fill(x, gone), _fill(x, gone, multilevel=False)
    torch.testing.assert_close(fast, plain, atol=1e-3, rtol=0)
    assert few < 60 and many > 3*few

def test_noise_is_on_missing_pixels_only_and_does_not_depend_on_the_batch():
    x, gone = torch.rand(2, 3, 60, 60), torch.rand(2, 60, 60) < .5
    plain, noisy = impute(x, gone, noise=0), impute(x, gone, noise=.2, seed=3)
    change = (noisy - plain)[gone[:, None].expand_as(x)]
    assert abs(change.std() - .2) < .01 and abs(change.mean()) < .01 and torch.equal(noisy, impute(x, gone, noise=.2, seed=3))
    assert torch.equal(noisy[~gone[:, None].expand_as(x)], x[~gone[:, None].expand_as(x)])
    torch.testing.assert_close(noisy[1:], impute(x[1:], gone[1:], noise=.2, seed=3), atol=5e-3, rtol=0) # solved to a part of the noise
    assert not torch.equal(noisy, impute(x, gone, noise=.2, seed=4)) and torch.equal(impute(x, gone*0), x)
    state = torch.get_rng_state()
    impute(x, gone)
    assert torch.equal(torch.get_rng_state(), state)
    half = impute(x.half(), gone.numpy(), noise=0)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), plain, atol=2e-3, rtol=0)

@pytest.mark.parametrize('x,gone,more,said', [
    (torch.rand(3, 4, 4), torch.zeros(3, 4, 4), {}, r'floats \(b,c,h,w\), got \(3, 4, 4\)'),
    (torch.ones(1, 1, 4, 4).byte(), torch.zeros(1, 4, 4), {}, 'uint8'),
    (torch.rand(2, 1, 4, 4), torch.zeros(1, 4, 4), {}, r'missing must be \(2, 4, 4\), got \(1, 4, 4\)'),
    (torch.rand(2, 1, 4, 4), torch.stack([torch.ones(4, 4), torch.zeros(4, 4)]), {}, 'misses all of its pixels'),
    (torch.full((1, 1, 4, 4), float('nan')), torch.zeros(1, 4, 4), {}, '16 values'),
    (torch.rand(1, 1, 4, 4), torch.zeros(1, 4, 4), dict(noise=-1), 'noise must be a number from 0, got -1')])
def test_what_cannot_be_filled_is_refused(x, gone, more, said):
    with pytest.raises(ValueError, match=said): impute(x, gone, **more)
