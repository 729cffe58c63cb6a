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
    with pytest.raises(ValueError, match='bs is 0'): insertion(model, x, torch.zeros(2, 4, 4), bs=0)



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
    (torch.rand(1, 1, 4, 4), torch.zeros(1, 4, 4), dict(noise=-1), 'noise is -1'),
    (torch.rand(1, 1, 4, 4), torch.zeros(1, 4, 4), dict(seed=-1), 'seed is -1')])
def test_what_cannot_be_filled_is_refused(x, gone, more, said):
    with pytest.raises(ValueError, match=said): impute(x, gone, **more)


# ---- petcam.perturbation: the numbers of the authors' own code

from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from petcam.engine.scoring import _curves, auc, cell_masks
from petcam.perturbation import road, single_deletion

class Linear(torch.nn.Module): # logits of (3,k,k) images, as the golden numbers' recipes say
    def __init__(self, k, relu=False):
        super().__init__()
        self.w, self.relu = (torch.arange(3.*3*k*k)*.11).cos().view(3, 3*k*k)/4, relu
    def forward(self, x): return (x.relu() if self.relu else x).flatten(1) @ self.w.T

def waves(b, k): return (torch.arange(1.*b*3*k*k)*.37).sin().view(b, 3, k, k)

SMALL, STEPS = waves(2, 8), ((torch.arange(128)*29 % 61)/60).view(2, 8, 8)
LARGE = waves(4, 16)
LARGE_MAPS = torch.stack([((13*b + 7*torch.arange(16)[:, None] + 3*torch.arange(16)) % 11 - 3)/10 for b in range(4)])

def near(got, want): torch.testing.assert_close(torch.as_tensor(got).float(), torch.tensor(want), atol=2e-6, rtol=1e-5)

@pytest.mark.parametrize('percentile,morf,lerf', [(20, (-.118162, -.45905), (-.385611, .504117)), (50, (-.004731, -.070426), (.194543, .038451)),
                                                  (90, (-.094524, -.046064), (.055148, -.229962))])
def test_road_gives_the_changes_of_pytorch_grad_cam(percentile, morf, lerf): # 084273b; it counts pixels by a percentile
    gone = [int((m >= np.percentile(m, percentile)).sum()) for m in STEPS.numpy()]
    assert gone == {20: [51, 51], 50: [32, 32], 90: [7, 7]}[percentile]
    n, whole = gone[0], Linear(8)(SMALL).softmax(1)[[0, 1], [0, 2]]
    near(whole, [.497307, .486497])
    near(road(Linear(8), SMALL, STEPS, [0, 2], fractions=[n/64], noise=0)[:, 0] - whole, morf)
    near(road(Linear(8), SMALL, STEPS, [0, 2], 'LeRF', fractions=[(64 - n)/64], noise=0)[:, 0] - whole, lerf)

def test_road_combined_as_in_pytorch_grad_cam():
    n = [int((STEPS[0].numpy() >= np.percentile(STEPS[0].numpy(), p)).sum()) for p in range(10, 91, 10)]
    morf = road(Linear(8), SMALL, STEPS, [0, 2], fractions=[o/64 for o in n], noise=0)
    lerf = road(Linear(8), SMALL, STEPS, [0, 2], 'LeRF', fractions=[(64 - o)/64 for o in n], noise=0)
    near((lerf - morf).mean(1)/2, [-.022525, .099513])

def test_road_counts_pixels_as_the_authors(monkeypatch): # tleemann/road_evaluation e6b9987: 64 pixels
    counts = []
    monkeypatch.setattr('petcam.perturbation.impute', lambda x, missing, noise, seed: counts.append(int(missing[0].sum())) or x)
    for order in ('MoRF', 'LeRF'): road(Linear(8), SMALL, STEPS, 0, order, [.1, .3])
    assert counts == [6, 19, 58, 45]

@pytest.mark.parametrize('order', ['MoRF', 'LeRF'])
def test_road_of_several_maps_pixel_by_pixel(order):
    g = torch.Generator().manual_seed(4)
    x, maps = torch.randn(2, 3, 9, 6, generator=g), torch.randn(3, 2, 9, 6, generator=g)
    w = torch.randn(3, 9, 6, generator=g)
    got = road(Weighs(w), x, maps, 1, order, [.2, .75], noise=0, bs=3)
    assert got.shape == (3, 2, 2)
    for m, of_map in zip(maps, got):
        for image, heat, curve in zip(x, m, of_map):
            ranked = sorted(range(54), key=lambda i: -heat.flatten()[i])
            for p, score in zip((.2, .75), curve):
                chosen = ranked[:int(p*54)] if order == 'MoRF' else ranked[int(p*54):]
                gone = torch.zeros(54, dtype=torch.bool)
                gone[chosen] = True
                full = solved(image, gone.view(9, 6)).float()
                assert score.item() == pytest.approx(float((full*w).sum().sigmoid()), abs=1e-4)

def test_road_with_nothing_removed_is_the_whole_image():
    whole = Linear(8)(SMALL).softmax(1)[[0, 1], [0, 2]]
    near(road(Linear(8), SMALL, STEPS, [0, 2], fractions=[0])[:, 0], whole.tolist())
    near(road(Linear(8), SMALL, STEPS, [0, 2], 'LeRF', fractions=[1])[:, 0], whole.tolist())

@pytest.mark.parametrize('more,said', [(dict(fractions=[1]), 'leave a pixel at least'), (dict(fractions=[]), 'got \\[\\]'),
    (dict(fractions=[-.1]), 'a fraction is -0.1'), (dict(order='LeRF', fractions=[.001]), 'leave a pixel'), (dict(order='MoFR'), "order 'MoFR'"), (dict(bs=0), 'bs is 0')])
def test_road_refuses_what_cannot_be_removed(more, said):
    with pytest.raises(ValueError, match=said): road(Linear(8), SMALL, STEPS, 0, **more)

def test_single_deletion_is_that_of_idsds(): # visinf/idsds 8e84200
    model, ks = Linear(16, relu=True), [0, 2, 1, 0]
    near(model(LARGE)[0], [.756722, -1.128026, 1.367901])
    rho = single_deletion(model, LARGE, LARGE_MAPS, ks)
    near(rho, [.124078, -.378143, -.178731, .119647])
    near(rho.mean(), -.078287)
    flat = LARGE_MAPS.clone()
    flat[1] = 0
    near(single_deletion(model, LARGE, flat, ks).nanmean(), .021664)
    own = (LARGE.relu()*model.w[ks].view(4, 3, 16, 16)).sum(1) # input times gradient of a linear network: exact
    near(single_deletion(model, LARGE, own, ks), [1.]*4)

def test_single_deletion_cell_by_cell_with_a_remainder():
    g = torch.Generator().manual_seed(5)
    x, maps, w = torch.randn(2, 3, 11, 7, generator=g), torch.randn(2, 2, 11, 7, generator=g), torch.randn(3, 11, 7, generator=g)
    got = single_deletion(Weighs(w), x, maps, 1, grid=3)
    for m in range(2):
        for b in range(2):
            said, fell = [], []
            for i in range(3):
                for j in range(3): # cells of 3 x 2 pixels: two rows and a column are left over
                    cell = slice(3*i, 3*i + 3), slice(2*j, 2*j + 2)
                    said.append(float(maps[m, b][cell].sum()))
                    fell.append(float((x[b]*w)[(slice(None), *cell)].sum()))
            assert float(got[m, b]) == pytest.approx(spearmanr(said, fell).statistic, abs=1e-6)
    assert single_deletion(Weighs(w), x, torch.zeros(2, 11, 7), 1).isnan().all()

def test_signals_have_no_cells():
    with pytest.raises(ValueError, match=r'expected images \(b,c,h,w\), their size is \(9,\)'): single_deletion(Weighs(torch.ones(1, 9)), torch.ones(2, 1, 9), torch.ones(2, 9), 0)

def test_incremental_deletion_of_idsds_is_deletion():
    model, ks = Linear(16, relu=True), [0, 2, 1, 0]
    maps = LARGE_MAPS + 1e-4*(16*torch.arange(16)[:, None] + torch.arange(16)) # no ties
    near(deletion(model, LARGE, maps, ks, 8)[:, :8].mean(), .368981) # the last step, all grey, is not counted
    near(deletion(model, LARGE, -maps, ks, 8)[:, :8].mean(), .332673)

def test_insertion_and_deletion_are_those_of_rise(): # eclique/RISE d91ea00, with its own blur
    saliency = (torch.arange(128)*29 % 61 + torch.arange(128)/1000).view(2, 8, 8)
    going = deletion(Linear(8), SMALL, saliency, None, 8)
    near(going[0], [.497307, .46685, .472899, .468466, .33982, .219727, .278951, .421172, .333333])
    near(auc(going)[0], .3854)
    near(auc(going).mean(), .401977)
    delta = np.zeros((11, 11))
    delta[5, 5] = 1
    kernel = torch.tensor(gaussian_filter(delta, 5)).float()
    blur = lambda x: torch.nn.functional.conv2d(x, kernel.expand(3, 1, 11, 11), padding=5, groups=3)
    coming = _curves(Linear(8), SMALL, saliency, None, 8, None, 16, {}, blur, False)
    near(coming[0], [.359527, .388464, .308848, .37543, .502506, .620112, .497015, .410352, .497307])
    near(auc(coming).mean(), .427117)

def test_the_cells_of_a_grid():
    cells = cell_masks((9, 12), 4)
    for k, cell in enumerate(cells): # 2 x 3 pixels each, a row is left over
        want = torch.zeros(9, 12, dtype=torch.bool)
        want[2*(k//4):2*(k//4) + 2, 3*(k % 4):3*(k % 4) + 3] = True
        assert torch.equal(cell, want)
    for grid in (0, 10):
        with pytest.raises(ValueError, match='grid is .*from 1 to 9'): cell_masks((9, 12), grid)

def test_the_model_comes_back_as_it_was():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(.5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    x, maps = torch.ones(2, 3, 8, 8), torch.arange(32.).view(2, 4, 4)
    a, _ = road(model, x, maps, 0), single_deletion(model, x, maps, 0)
    assert torch.equal(a, road(model, x, maps, 0)) and model.training and torch.is_grad_enabled() and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match='expected 2 maps'): road(model, x, maps[:1])
    with pytest.raises(ValueError, match='expected 2 maps'): single_deletion(model, x, maps[:1])


# ---- engine.in_domain

from petcam.engine.in_domain import deleting_cells

class Remembers(torch.nn.Module):
    def forward(self, x):
        self.seen = x
        return x

def test_cells_are_deleted_where_the_model_trains_and_only_there():
    model, x = Remembers(), torch.randn(6000, 1, 9, 8)
    with deleting_cells(model, 4, .3):
        assert model.eval()(x) is x
        torch.manual_seed(0)
        model.train()(x)
    gone, cells = model.seen != x, cell_masks((9, 8), 4)
    patterns = {tuple(c.flatten().tolist()): k for k, c in enumerate(cells)}
    lost = [patterns.get(tuple(o.flatten().tolist())) for o in gone]
    some = gone.flatten(1).any(1)
    assert torch.equal(some, torch.tensor([o is not None for o in lost])) # one whole cell, or nothing
    assert abs(some.double().mean() - .3) < .03 and (model.seen[gone] == 0).all()
    counts = np.bincount([o for o in lost if o is not None], minlength=16)
    assert abs(counts - counts.mean()).max() < 5*counts.mean()**.5 # each cell alike
    assert model.train()(x) is x # the hook is gone

@pytest.mark.parametrize('more,said', [(dict(grid=0), 'grid is 0'), (dict(p=1.5), 'p is 1.5'), (dict(model=None), 'nn.Module')])
def test_wrong_cells_are_refused(more, said):
    with pytest.raises((ValueError, TypeError), match=said):
        with deleting_cells(**dict(dict(model=Remembers()), **more)): pass

def test_one_fraction_and_one_cell():
    torch.manual_seed(0)
    net, x, maps = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3*64, 4)).eval(), torch.randn(2, 3, 8, 8), torch.rand(2, 4, 4)
    torch.testing.assert_close(road(net, x, maps, 1, fractions=.3, noise=0.), road(net, x, maps, 1, fractions=(.1, .3), noise=0.)[:, 1:])
    with pytest.raises(ValueError, match='grid is 1'): single_deletion(net, x, maps, 1, grid=1)
