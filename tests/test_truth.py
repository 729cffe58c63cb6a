"""DiFull, DiPart, the grid pointing game: equal to the authors' numbers, to real networks of that kind."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from petcam.grids import aggregate_attributions, dipart, grid_localisation, grid_pointing, stitch
from petcam.heatmap import upsample
from petcam.localise import energy_inside
from petcam.methods import METHODS, grad_cam_map, hires_cam, layer_cam, maps_of
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
