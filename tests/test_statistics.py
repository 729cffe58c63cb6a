"Promises of petcam.engine.statistics and plots: the numbers of scipy, of slow loops, and of closed forms."
import math, random
from itertools import product
from statistics import NormalDist
import numpy as np
import pytest, torch
from matplotlib.figure import Figure
from petcam.engine.plots import plot_intervals
from petcam.engine.statistics import Interval, bootstrap, kendall_tau, paired_bootstrap, spearman

A, B = [.9, .8, .75, .6, .95, .4, .7, .85, .5, .65], [.7, .82, .6, .55, .8, .45, .6, .7, .52, .5]
Q = [[1, 0], [1, 1], [0, 0], [1, 1], [0, 1], [1, 1], [0, 0], [1, 0]]

# --- intervals

def test_the_intervals_are_those_of_the_golden_numbers(): # scipy 1.17.1, numpy 2.4.6, the same draws
    assert paired_bootstrap(A, B) == pytest.approx((.086, .03195, .13505, 10), abs=1e-9)
    assert paired_bootstrap(Q) == pytest.approx((.5625, .3125, .8125, 8), abs=1e-9)

@pytest.mark.parametrize('level', [.5, .9, .95])
def test_scipy_gives_the_same_interval_within_its_sampling_error(level):
    stats = pytest.importorskip('scipy.stats')
    rng = np.random.default_rng(3)
    a, b = rng.gamma(2, size=60), rng.gamma(2, size=60)
    of_scipy = stats.bootstrap((a, b), lambda a, b, axis: (a - b).mean(axis), paired=True, vectorized=True, method='percentile', n_resamples=9999,
                               confidence_level=level, random_state=np.random.default_rng(7))
    ours = paired_bootstrap(a, b, level=level)
    assert ours.mean == pytest.approx((a - b).mean())
    assert ours[1:3] == pytest.approx(tuple(of_scipy.confidence_interval), abs=.04*of_scipy.standard_error*3)

def test_all_samples_of_four_images_in_closed_form(): # 4^4 equally likely draws: no chance left
    d = [0., 1., 5., 20.]
    every = [sum(o)/4 for o in product(d, repeat=4)]
    ours = paired_bootstrap(d, draws=40000, level=.8)
    low, high = np.quantile(every, [.1, .9])
    gap = max(np.diff(sorted(set(every))))
    assert abs(ours.low - low) <= gap and abs(ours.high - high) <= gap and ours.low < ours.mean < ours.high

def test_the_interval_is_as_wide_as_the_standard_error_says():
    x = torch.randn(400, generator=torch.Generator().manual_seed(0))
    half = NormalDist().inv_cdf(.975)*float(x.std(correction=0))/20
    ours = paired_bootstrap(x)
    assert ours.low == pytest.approx(ours.mean - half, abs=.08*half) and ours.high == pytest.approx(ours.mean + half, abs=.08*half)

def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [paired_bootstrap(rng.normal(1, 1, 40), draws=400, level=.9) for _ in range(300)]
    covered = sum(o.low <= 1 <= o.high for o in intervals)
    assert 250 <= covered <= 290 # 270 expected; the percentile interval is a little narrow

def test_pairing_takes_out_what_makes_an_image_hard():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=100)*5
    a, b = hard + rng.normal(size=100) + .5, hard + rng.normal(size=100)
    paired = paired_bootstrap(a, b)
    shuffled = paired_bootstrap(a, rng.permutation(b))
    assert paired.low > 0 > shuffled.low and shuffled.high - shuffled.low > 3*(paired.high - paired.low)
    back = paired_bootstrap(b, a)
    assert back[:3] == pytest.approx((-paired.mean, -paired.high, -paired.low))

def test_the_questions_of_an_image_are_resampled_together(): # a slow loop, and the naive answer
    rng, draw = np.random.default_rng(2), random.Random(5)
    rows = (rng.normal(size=(30, 1)) + rng.normal(size=(30, 3))*.1).tolist() # three questions, nearly one
    means = []
    for _ in range(4000):
        total = 0.
        for _ in range(30): total += sum(rows[draw.randrange(30)])
        means.append(total/90)
    means.sort()
    ours, naive = paired_bootstrap(rows), paired_bootstrap(np.ravel(rows))
    width = ours.high - ours.low
    assert abs(ours.low - means[100]) < .06*width and abs(ours.high - means[3899]) < .06*width
    assert naive.high - naive.low == pytest.approx(width/3**.5, rel=.15) # as if 90 images
    assert ours.n == 30 and ours.mean == pytest.approx(naive.mean)

def test_asking_again_adds_nothing():
    q = torch.tensor(Q)
    assert paired_bootstrap(q.repeat(1, 5)) == pytest.approx(paired_bootstrap(q)) and paired_bootstrap(q.float().mean(1)) == paired_bootstrap(q)

def test_any_statistic_with_rows_that_stay_together():
    stats = pytest.importorskip('scipy.stats')
    rng = np.random.default_rng(4)
    a = rng.normal(size=50)
    b = a + rng.normal(size=50)
    ours = bootstrap(lambda a, b: np.corrcoef(a, b)[0, 1], a, b, draws=3000)
    of_scipy = stats.bootstrap((a, b), lambda a, b: np.corrcoef(a, b)[0, 1], paired=True, vectorized=False, method='percentile', n_resamples=3000,
                               random_state=np.random.default_rng(8)).confidence_interval
    assert ours.mean == np.corrcoef(a, b)[0, 1] and ours[1:3] == pytest.approx(tuple(of_scipy), abs=.03)
    assert bootstrap(lambda a, b: float(np.abs(a - b).max()), a, a + 1, draws=50)[:3] == pytest.approx((1, 1, 1))

def test_draws_repeat_and_the_random_state_stays():
    state, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = paired_bootstrap(A, B)
    assert first == paired_bootstrap(A, B) and first != paired_bootstrap(A, B, seed=1)
    assert torch.equal(state, torch.get_rng_state()) and (np.random.get_state()[1] == of_numpy).all()

@pytest.mark.parametrize('kind', [list, tuple, np.array, torch.tensor, lambda o: torch.tensor(o, dtype=torch.double, requires_grad=True)])
def test_lists_arrays_and_tensors(kind): assert paired_bootstrap(kind(A), kind(B)) == pytest.approx(paired_bootstrap(A, B), abs=1e-6)

def test_hits_are_numbers_too(): assert paired_bootstrap(torch.tensor([True, False, True, True])).mean == .75

def test_one_image_has_no_interval():
    mean, low, high, n = paired_bootstrap([.5])
    assert (mean, n) == (.5, 1) and math.isnan(low) and math.isnan(high)

@pytest.mark.parametrize('wrong,said', [
    (dict(a=[]), r'a must be \(n,\) or \(n,q\), not empty'), (dict(a=A, b=[1., math.nan]), r'b must be .* got \(2,\) with 1 nan'), (dict(a=.5), r'got \(\)'),
    (dict(a=A, b=B[:9]), r'got \(10,\) and \(9,\)'), (dict(a=Q, b=[1]*8), r'got \(8, 2\) and \(8,\)'), (dict(a=A, level=95), 'level is 95; expected a number between 0 and 1'),
    (dict(a=A, level=0), 'level is 0'), (dict(a=A, level=math.nan), 'level is nan'), (dict(a=A, draws=0), 'draws is 0; expected a whole number'),
    (dict(a=A, draws=1.5), 'draws is 1.5'), (dict(a=A, seed=-1), 'seed is -1')])
def test_what_cannot_be_compared_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said): paired_bootstrap(**wrong)

def test_samples_of_other_images_are_refused():
    with pytest.raises(ValueError, match=r'the same n images, got \[10, 3\]'): bootstrap(np.mean, A, B[:3])
    with pytest.raises(ValueError, match=r'the same n images, got \[\]'): bootstrap(np.mean)

def test_an_interval_prints_its_three_numbers():
    o = Interval(-.086, -.13505, .03195, 10)
    assert str(o) == f'{o}' == '-8.6 [-13.5, 3.2] points' and f'{o:.3f}' == '-0.086 [-0.135, 0.032]' and f'{o:+.0%}' == '-9% [-14%, +3%]'

# --- rankings

def with_ties(rng, n): return rng.integers(0, max(2, n//2), n).astype(float)

def slow_ranks(x): return [sum(o < v for o in x) + (sum(o == v for o in x) + 1)/2 for v in x]

def slow_tau(a, b):
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    sign = lambda x, i, j: (x[i] > x[j]) - (x[i] < x[j])
    both = sum(sign(a, i, j)*sign(b, i, j) for i, j in pairs)
    untied = [sum(sign(x, i, j) != 0 for i, j in pairs) for x in (a, b)]
    return both/math.sqrt(untied[0]*untied[1]) if all(untied) else math.nan

@pytest.mark.parametrize('n', [2, 3, 6, 17, 200])
@pytest.mark.parametrize('seed', range(4))
def test_rankings_are_those_of_scipy_and_of_slow_loops(n, seed):
    rng = np.random.default_rng((n, seed))
    a, b = with_ties(rng, n), with_ties(rng, n)
    ra, rb = (np.array(slow_ranks(o)) - (n + 1)/2 for o in (a, b))
    if not (ra.any() and rb.any()): assert spearman(a, b).isnan() and math.isnan(kendall_tau(a, b)); return
    assert float(spearman(a, b)) == pytest.approx((ra*rb).sum()/math.sqrt((ra**2).sum()*(rb**2).sum()), abs=1e-12)
    assert kendall_tau(a, b) == pytest.approx(slow_tau(a.tolist(), b.tolist()), abs=1e-12)
    stats = pytest.importorskip('scipy.stats')
    assert float(spearman(a, b)) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)

def test_rankings_of_the_golden_numbers():
    x, y, tied = [1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5], [1, 2, 2, 4, 5, 6]
    assert kendall_tau(x, y) == pytest.approx(.6, abs=1e-6) and kendall_tau(x, tied) == pytest.approx(.966092, abs=1e-6)
    assert float(spearman(x, y)) == pytest.approx(.828571, abs=1e-6) and float(spearman(x, tied)) == pytest.approx(.985611, abs=1e-6)

def test_spearman_of_many_rows_is_that_of_each():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randint(5, (3, 4, 12), generator=g), torch.randn(4, 12, generator=g)
    rows = torch.stack([torch.stack([spearman(a[i, j], b[j]) for j in range(4)]) for i in range(3)])
    torch.testing.assert_close(spearman(a, b), rows)
    torch.testing.assert_close(spearman(a.transpose(0, 1), b[:, None]), rows.T) # not contiguous

def test_spearman_of_large_maps_is_exact_and_quick(): # as large as an image: no table of all pairs
    n = 224*224
    x = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert spearman(x, x) == 1 and spearman(x, -x) == -1
    swapped = x.clone(); swapped[x == 0], swapped[x == 1] = 1, 0
    assert 1 - float(spearman(x, swapped)) == pytest.approx(12/(n*(n*n - 1)), rel=.1, abs=3e-16) # 1 - 6*sum(d*d)/(n(n^2-1))

def test_only_the_order_counts():
    x = torch.randn(30, generator=torch.Generator().manual_seed(1))
    y = x + torch.randn(30, generator=torch.Generator().manual_seed(2))
    assert spearman(x.exp(), y) == spearman(x, y) and kendall_tau(x**3, y) == kendall_tau(x, y) == -kendall_tau(-x, y)

def test_infinite_values_have_a_rank(): assert spearman([-math.inf, 0, math.inf], [1, 2, 3]) == 1

@pytest.mark.parametrize('a,b,said', [([1], [2], r'a must be \(\.\.\.,n\), two values or more'), ([1., math.nan], [1, 2], r'a must be .* with 1 nan'),
                                      ([1, 2], [1, 2, 3], r'got \(2,\) and \(3,\)')])
def test_what_cannot_be_ranked_is_refused(a, b, said):
    for f in (spearman, kendall_tau):
        with pytest.raises(ValueError, match=said): f(a, b)

def test_kendall_takes_two_lists():
    with pytest.raises(ValueError, match=r'two lists \(n,\), got \(2, 3\) and \(2, 3\)'): kendall_tau(torch.ones(2, 3), torch.ones(2, 3))

# --- plots

def test_dots_lie_where_the_numbers_say():
    ax = Figure().subplots()
    ax.figure.canvas.draw()
    rows = {'A': Interval(.5, .4, .7, 9), 'B': Interval(-.1, -.3, .1, 9)}
    plot_intervals(ax, rows, baselines=['B'], chance=.25, hollow={'B': Interval(0., -.1, .1, 9)}, scale=1)
    dots = [(*o.get_xdata(), *o.get_ydata(), o.get_color(), o.get_mfc()) for o in ax.lines if o.get_marker() == 'o']
    assert dots[:2] == [(.5, 0, 'C0', 'C0'), (-.1, 1, 'grey', 'grey')] and dots[2][:1] == (0.,) and 1 < dots[2][1] < 1.5 and dots[2][2:] == ('grey', 'white')
    assert [tuple(o.get_xdata()) for o in ax.lines if o.get_marker() != 'o'] == [(.25, .25), (.4, .7), (-.3, .1), (-.1, .1)]
    assert ax.transData.transform((0, 0))[1] > ax.transData.transform((0, 1))[1] # the first is on top

def test_a_name_that_has_no_row_is_refused():
    rows = {'Grad-CAM': Interval(.5, .4, .7, 9)}
    for wrong in (dict(baselines=['GradCAM']), dict(hollow={'GradCAM': rows['Grad-CAM']})):
        with pytest.raises(ValueError, match="no row 'GradCAM'; the nearest names are Grad-CAM"): plot_intervals(Figure().subplots(), rows, **wrong)
