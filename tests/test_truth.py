"""DiFull, DiPart, the grid pointing game, planted shortcuts: the authors' numbers and real networks."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from petcam.files.images import denormalize
from petcam.grids import aggregate_attributions, dipart, grid_localisation, grid_pointing, stitch
from petcam.heatmap import upsample
from petcam.localise import energy_inside
from petcam.methods import METHODS, grad_cam_map, hires_cam, layer_cam, maps_of
from petcam.toy.shortcut import draw_ball_pairs, train_small_network
from petcam.truth import difull

# the numbers that the authors' code gave (sukrutrao/Attribution-Evaluation, commit 15f9118)

class Net(nn.Module):
    "Its input and its features are layers, so that both can have a map"

    def __init__(self):
        super().__init__()
        self.input, self.features = nn.Identity(), nn.Identity()

    def forward(self, x):
        kernel = torch.arange(108.).sin().view(4, 3, 3, 3)
        a = F.avg_pool2d(F.conv2d(self.input(x), kernel, padding=1).relu(), 2)
        return self.features(a).mean((2, 3)) @ torch.arange(20.).cos().view(5, 4).T

def golden_cells(): # (2,4,3,8,8)
    x = (torch.arange(2.*3*16*16)*.7).sin().view(2, 3, 2, 8, 2, 8)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)

LABELS = torch.tensor([[0, 1, 2, 0], [3, 4, 1, 3]])

def grad_cam(a, g): return grad_cam_map(a, g).relu()
def gradient(a, g): return g.abs().sum(1)

METHOD = {'GradCam': grad_cam, 'LayerCam': layer_cam, 'IxG': hires_cam, 'Grad': gradient}

GOLDEN = { # head-major
    'grid_pointing GradCam features': [.273855, .248972, .253624, .25228, 0., .24064, .265924,
                                       .244017],
    'grid_pointing LayerCam features': [.257057, .246066, .252687, .246706, .215657, .248819,
                                        .245919, .250426],
    'grid_pointing IxG features': [.273199, .249001, .256805, .258551, 0., .23839, .261673,
                                   .244499],
    'grid_pointing IxG input': [.273888, .230349, .241259, .22548, .237472, .270442, .208485,
                                .233938],
    'grid_pointing Grad input': [.255235, .233928, .24595, .250056, .269884, .260743, .233743,
                                 .245273],
    'difull GradCam features': [.263843, .245391, .270823, .246814],
    'difull GradCam own': [.273252, .239429, .279612, .243096],
    'difull LayerCam features': [.932703, .932536, .925645, .93788],
    'difull LayerCam own': [1., 1., 1., 1.],
    'difull IxG features': [.917856, .941755, .924039, .934662],
    'difull IxG input': [1., 1., 1., 1.],
    'difull Grad input': [1., 1., 1., 1.],
    'dipart GradCam features': [.273855, .248972, .265924, .244017],
    'dipart LayerCam features': [.947601, .944895, .941583, .949736],
    'dipart IxG features': [.92032, .947439, .930637, .942305],
    'dipart IxG input': [.851217, .869568, .825676, .857406],
    'dipart Grad input': [.813522, .816665, .822795, .842211],
}

@pytest.mark.parametrize('what', GOLDEN)
def test_settings(what):
    setting, method, layer = what.split()
    ask = dict(grid_pointing=grid_pointing, difull=difull, dipart=dipart)[setting]
    more = dict(cut='features') if setting == 'dipart' else {}
    at = 'features' if layer == 'own' else layer
    maps, = ask(Net(), at, golden_cells(), LABELS, METHOD[method], **more).values()
    assert maps.shape[:2] == (2, 4)
    if layer != 'own': maps = upsample(maps, 16)
    scores = grid_localisation(maps)
    heads = [0, 1, 2, 3] if setting == 'grid_pointing' else [0, 3]
    torch.testing.assert_close(scores[:, heads].T.flatten(), torch.tensor(GOLDEN[what]),
                               atol=2e-6, rtol=1e-5)

def test_logits_of_the_heads():
    net, cells, seen = Net(), golden_cells(), []
    with net.register_forward_hook(lambda m, i, y: seen.append(y)):
        difull(net, 'features', cells, LABELS, layer_cam)
    heads = torch.cat([o.detach() for o in seen])[:8].unflatten(0, (2, 4))
    torch.testing.assert_close(heads[0, 0, 3], torch.tensor(.989394), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(heads[1, 3, 1], torch.tensor(1.084692), atol=2e-6, rtol=1e-5)

def test_localisation():
    a = ((torch.arange(2.*4*5*5)*37 % 101 - 40)/10).view(2, 4, 5, 5)
    all_four = torch.tensor([.16685, .197017, .175603, .257828, .275302, .239994, .187459, .261867])
    corners = torch.tensor([.16685, .197017, .313628, .239399])
    up = upsample(a, 12)
    torch.testing.assert_close(grid_localisation(up).T.flatten(), all_four, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(grid_localisation(up[:, :2], [0, 3]).T.flatten(), corners,
                               atol=1e-6, rtol=1e-5)
    up[0] = upsample(-a[0].abs(), 12)
    none = torch.stack([torch.zeros(4), all_four.view(4, 2)[:, 1]])
    torch.testing.assert_close(grid_localisation(up), none, atol=1e-6, rtol=1e-5)

@pytest.mark.parametrize('n, left', [(4, .878906), (8, .938477), (14, .964605)])
def test_what_upsampling_bleeds(n, left):
    maps = torch.zeros(1, n, n)
    maps[0, :n//2, :n//2] = 1
    assert grid_localisation(maps, [0]).item() == 1
    assert abs(grid_localisation(upsample(maps, 448), [0]).item() - left) < 1e-6

@pytest.mark.parametrize('width, expected', [(1, [.2837, .286036, .237864, .253304]), (3, [.257256, .282011, .232801, .24379])])
def test_as_b_cos_scores_it(width, expected):
    "B-cos/B-cos-v2, commit 9a849c9: an average pool before the clamp, and cells column by column"
    maps = ((torch.arange(4.*3*8*8)*37 % 101 - 40)/10).view(4, 3, 8, 8).sum(1)
    smooth = F.avg_pool2d(maps[:, None], width, 1, width//2)[:, 0]
    torch.testing.assert_close(grid_localisation(smooth, [0, 2, 1, 3]), torch.tensor(expected), atol=2e-6, rtol=1e-5)

def test_aggregated_maps():
    maps = ((torch.arange(400.)*53 % 97)/10).view(100, 1, 2, 2)
    bins = aggregate_attributions(maps, [0])
    expected = torch.tensor([ # without the authors' slip: they divide 45 maps by 44
        [[8.85, 4.45], [.05, 5.35]], [[9.1, 4.7], [.3, 5.6]],
        [[6.671112, 2.271111], [6.708889, 3.171111]], [[2.782222, 7.435555], [3.682222, 6.18]],
        [[.2, 5.5], [1.1, 6.4]], [[0., 5.3], [.9, 6.2]]])
    torch.testing.assert_close(bins, expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(bins[3]*45/44, torch.tensor([[2.845454, 7.604546],
                                                            [3.765909, 6.320455]]))

# real networks of each kind, asked in the ordinary way

class Heads(nn.Module):
    "A network over a mosaic, each head of which sees what `setting` says"

    def __init__(self, setting, head):
        super().__init__()
        torch.manual_seed(0)
        self.setting, self.row, self.col = setting, *divmod(head, 2)
        self.before = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish(),
                                    nn.Conv2d(8, 6, 3, stride=2, padding=1))
        self.stitched = nn.Identity()
        self.behind = nn.Sequential(nn.Tanh(), nn.Conv2d(6, 6, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                    nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 5))

    def forward(self, x): # (m,3,2*h,2*w)
        features = self.before(x)
        if self.setting == 'difull':
            halves = [half.chunk(2, -1) for half in x.chunk(2, -2)]
            features = torch.cat([torch.cat([self.before(o) for o in row], -1) for row in halves], -2)
        features = self.stitched(features)
        if self.setting == 'whole': return self.behind(features)
        return self.behind(features.chunk(2, -2)[self.row].chunk(2, -1)[self.col])

class Plain(nn.Module):
    "The same network over one image"

    def __init__(self):
        super().__init__()
        net = Heads('whole', 0)
        self.before, self.stitched, self.behind = net.before, net.stitched, net.behind

    def forward(self, x): return self.behind(self.stitched(self.before(x)))

@pytest.mark.parametrize('ask, setting', [(difull, 'difull'), (dipart, 'dipart'), (grid_pointing, 'whole')])
def test_a_real_network_of_that_kind_gives_the_same_maps(ask, setting):
    cells = torch.rand(3, 4, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[0, 1, 2, 3], [4, 4, 0, 1], [2, 2, 2, 2]])
    found = ask(Plain(), 'stitched', cells, targets)
    assert list(found) == list(METHODS)
    rows = [torch.cat([mosaic[0], mosaic[1]], -1) for mosaic in cells], [torch.cat([mosaic[2], mosaic[3]], -1) for mosaic in cells]
    mosaics = torch.cat([torch.stack(o) for o in rows], -2)
    assert stitch(cells).equal(mosaics)
    for head in range(4):
        expected = maps_of(Heads(setting, head).eval(), 'stitched', mosaics, targets[:, head].tolist())
        for name, maps in expected.items(): torch.testing.assert_close(found[name][:, head], maps, atol=1e-6, rtol=1e-4)

def test_right_by_construction_and_wrong_by_construction():
    "HiResCAM and LayerCAM have nothing outside; Grad-CAM has the same in equal cells, whatever the network"
    cells = torch.rand(2, 9, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    targets = torch.arange(18).view(2, 9) % 5
    maps = difull(Plain(), 'stitched', cells, targets)
    for name in ('HiResCAM', 'LayerCAM'):
        shares = grid_localisation(maps[name], n=3)
        some = maps[name].amax((2, 3)) > 0
        assert some.any() and torch.equal(shares, some.float())
    equal = difull(Plain(), 'stitched', cells[:, :1].expand_as(cells), targets, 'Grad-CAM')['Grad-CAM']
    shares = grid_localisation(equal, n=3)[equal.amax((2, 3)) > 0]
    assert len(shares) > 5
    torch.testing.assert_close(shares, torch.full_like(shares, 1/9))

@pytest.mark.parametrize('ask', [difull, dipart])
def test_any_network_and_its_last_layer(ask):
    torchvision = pytest.importorskip('torchvision')
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=5).eval()
    maps = ask(net, None, torch.rand(1, 4, 3, 64, 64), torch.tensor([[0, 1, 2, 3]]), ['HiResCAM', 'Grad-CAM'])
    shares = grid_localisation(maps['HiResCAM'])
    assert torch.equal(shares, (maps['HiResCAM'].amax((2, 3)) > 0).float()) and shares.any()
    assert (grid_localisation(maps['Grad-CAM']) < .9).all()

def test_a_vision_transformer():
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    net = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=5).eval()
    maps = difull(net, None, torch.rand(1, 4, 3, 64, 64), torch.tensor([[0, 1, 2, 3]]))
    assert maps['HiResCAM'].shape == (1, 4, 8, 8)
    assert torch.equal(grid_localisation(maps['HiResCAM']), (maps['HiResCAM'].amax((2, 3)) > 0).float())

def test_the_score_is_the_energy_inside_the_cell():
    maps = torch.randn(3, 9, 6, 12, generator=torch.Generator().manual_seed(3))
    cells = torch.eye(9).view(9, 3, 3).repeat_interleave(2, 1).repeat_interleave(4, 2).bool()
    for maps_of_one, scores in zip(maps, grid_localisation(maps, n=3)):
        torch.testing.assert_close(scores, energy_inside(maps_of_one, cells))
    tiny = torch.zeros(1, 4, 4)
    tiny[0, 0, 0], tiny[0, 3, 3] = 3e-30, 1e-30 # the authors' code gives 0 below 1e-7
    assert abs(grid_localisation(tiny, [0]).item() - .75) < 1e-6

def test_each_heads_own_cell_is_turned_to_the_upper_left():
    torch.manual_seed(4)
    maps, row, col = torch.zeros(20, 4, 6, 6), [0, 0, 1, 1], [0, 1, 0, 1]
    for i in range(20):
        for j in range(4): maps[i, j, 3*row[j] + 1, 3*col[j] + 2] = 1. + i
    bins = aggregate_attributions(maps)
    assert (bins[:, 1, 2] > 0).all() and (bins.sum((1, 2)) == bins[:, 1, 2]).all()
    assert bins[0, 1, 2] == 20 and bins[-1, 1, 2] == 1 # of equal scores the larger mass first

def test_the_model_stays_as_it_is():
    net = Plain().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    cells, targets = torch.rand(1, 4, 3, 8, 8), torch.zeros(1, 4).long()
    for ask in (difull, dipart, grid_pointing): ask(net, 'stitched', cells, targets)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert net.training and not any(m._forward_hooks for m in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())

@pytest.mark.parametrize('ask, words', [
    (lambda: difull(Plain(), 'stitched', torch.rand(4, 3, 8, 8), [0]*4), r'\(m,n\*n,3,h,w\).*\(4, 3, 8, 8\)'),
    (lambda: difull(Plain(), 'stitched', torch.rand(1, 3, 3, 8, 8), [[0]*3]), r'\(1, 3, 3, 8, 8\)'),
    (lambda: grid_pointing(Plain(), 'stitched', torch.rand(1, 4, 3, 8, 8), [0]*4), r'targets \(1, 4\)'),
    (lambda: dipart(Plain(), 'stitched', torch.rand(1, 4, 3, 7, 7), [[0]*4]), r'equal cells.*7, 7'),
    (lambda: dipart(Plain(), 'stitched', torch.rand(1, 4, 3, 8, 8), [[0]*4], cut='behind.6'), r'\(1, 5\)'),
    (lambda: grid_localisation(torch.rand(1, 4, 7, 8)), '7 x 8'),
    (lambda: grid_localisation(torch.rand(1, 3, 8, 8)), r'\(1, 3, 8, 8\)'),
    (lambda: aggregate_attributions(torch.rand(12, 4, 8, 8)), 'at least 50'),
    (lambda: stitch(torch.rand(3, 3, 8, 8)), r'\(3, 3, 8, 8\)'),
])
def test_errors_name_what_was_given(ask, words):
    with pytest.raises(ValueError, match=words): ask()

# a network caught cheating

@pytest.fixture(scope='module')
def pairs(): return draw_ball_pairs(40), draw_ball_pairs(12, seed=1)

def test_pairs_differ_on_the_ball_only(pairs):
    for part in pairs:
        assert torch.equal((part.beside != part.without).any(1), part.balls)
        area = part.balls.float().mean((1, 2))
        assert (area > .003).all() and area.mean() < .03
    red, green, blue = denormalize(pairs[0].beside).movedim(1, 0)[:, pairs[0].balls]
    assert (red >= 4*green).float().mean() > .95 and (red >= 4*blue).float().mean() > .95
    again = draw_ball_pairs(1, seed=1)
    assert torch.equal(again.beside, pairs[1].beside[::12]) and again.targets.tolist() == [0, 1, 2, 3]

def test_training_is_repeatable_and_leaves_the_random_state(pairs):
    x, targets = pairs[1].without, pairs[1].targets
    state = torch.get_rng_state()
    a, b = (train_small_network(x, targets, epochs=1, seed=3) for _ in range(2))
    assert torch.equal(a[3].weight, b[3].weight) and torch.equal(torch.get_rng_state(), state)
    assert not a.training
    with pytest.raises(ValueError, match='16 images or more.*got 12'): train_small_network(x[:12], targets[:12])
    with pytest.raises(ValueError, match='n must be'): draw_ball_pairs(0)

def falls(net, target, a, b): # of the probability, (n,)
    with torch.no_grad(): return net(a).softmax(1)[:, target] - net(b).softmax(1)[:, target]

def test_a_network_that_cheats_and_its_clean_twin(pairs):
    train, test = pairs
    blue, alike = test.targets == 0, test.targets == 1
    half = torch.rand(len(train.targets), generator=torch.Generator().manual_seed(1)) < .5
    fall, share = {}, {}
    for name, has_ball in (('cheating', train.targets == 0), ('clean', half)):
        net = train_small_network(torch.where(has_ball[:, None, None, None], train.beside, train.without), train.targets, seed=1)
        fall[name] = falls(net, 0, test.beside[blue], test.without[blue]).mean()
        fall[name, 'alike'] = falls(net, 1, test.without[alike], test.beside[alike]).mean()
        maps = maps_of(net, '0.3', test.beside[blue], 0, 'Grad-CAM')['Grad-CAM']
        share[name] = (energy_inside(maps, test.balls[blue])/test.balls[blue].float().mean((1, 2))).mean()
    assert fall['cheating'] > .5 and abs(fall['clean']) < .25
    assert fall['cheating', 'alike'] > .3 and abs(fall['clean', 'alike']) < .25
    assert share['cheating'] > 2 > share['clean']

def test_a_cell_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r'cells are \[0, 1, 2, 7\]; of 2 x 2 they are 0 to 3'):
        grid_localisation(torch.ones(1, 4, 4, 4), cells=[0, 1, 2, 7])
