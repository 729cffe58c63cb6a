"""`petcam.check`: twelve planted faults are named, ten sound models raise no false alarm, and what each number is."""
import copy, math
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from petcam.checks import QUESTIONS, check
from petcam.engine.scoring import refit_batch_norms
from petcam.gradcam import grad_cam

COLOURS = torch.tensor([[1., .1, .1], [.1, 1, .1], [.2, .2, 1], [1, .9, .1]])

def discs(n, seed=0, size=64, corner=False):
    "Images (n,3,size,size) of a coloured disc on grey noise, with a grey disc somewhere; classes, the discs' masks. corner: the colour is in a corner instead"
    own = torch.Generator().manual_seed(seed)
    def rand(*shape): return torch.rand(shape, generator=own)
    def disc():
        radius = size*(.14 + .08*rand(n))
        centre = radius[:, None] + rand(n, 2)*(size - 2*radius[:, None])
        return ((at[:, None] - centre[:, :1, None])**2 + (at - centre[:, 1:, None])**2).sqrt() < radius[:, None, None]
    y, at = torch.arange(n) % 4, torch.arange(size) + .5
    clouds = F.interpolate(rand(n, 3, 8, 8), size=(size, size), mode='bilinear').mean(1, keepdim=True)
    x = .3 + .4*clouds + .1*(rand(n, 3, size, size) - .5)
    grey, mask = disc(), disc()
    x = torch.where(grey[:, None], .2 + .6*rand(n, 1, 1, 1), x)
    colour = COLOURS[y][:, :, None, None]*(.8 + .4*(rand(n, 1, size, size) - .5))
    x = torch.where(mask[:, None], .5*(.8 + .4*(rand(n, 1, size, size) - .5)) if corner else colour, x)
    if corner: x[..., :12, :12] = torch.where(mask[:, None], x, colour)[..., :12, :12]
    return (x.clamp(0, 1) - .45)/.225, y, mask

def train(model, data=discs, steps=60, bs=16, lr=2e-3, seed=0):
    "A minute of an old laptop at most: 960 images of discs, once"
    torch.manual_seed(seed)
    x, y, _ = data(bs*steps, seed=1)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps)
    for xb, yb in zip(x.split(bs), y.split(bs)):
        loss = F.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
        schedule.step()
    refit_batch_norms(model.eval(), x[:64])
    return model

def block(c, d): return nn.Sequential(nn.Conv2d(c, d, 3, 2, 1), nn.BatchNorm2d(d), nn.ReLU())

class Net(nn.Module):
    "A small network that is right; subclasses change one thing"
    def __init__(self, k=4):
        super().__init__()
        self.stem, self.body = block(3, 16), block(16, 32)
        self.last = nn.Conv2d(32, 32, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(.5)
        self.head = nn.Linear(32, k)
    def features(self, x): return self.act(self.last(self.body(self.stem(x))))
    def forward(self, x): return self.head(self.drop(self.features(x).mean((2, 3))))

@pytest.fixture(scope='module')
def net(): return train(Net())

@pytest.fixture(scope='module')
def asked(): return discs(16, seed=3)

def as_kind(net, kind): # the same weights, another forward pass
    other = copy.deepcopy(net)
    other.__class__ = kind
    return other

def named(report, name, *words):
    assert name in report.failed, str(report)
    for word in words: assert word in report.checks[name].answer, report.checks[name].answer
    assert name in report.verdict

def test_a_sound_network_passes_all(net, asked):
    x, y, masks = asked
    report = check(net, 'last', x, y, masks=masks)
    assert not report.failed and set(report.passed) == set(QUESTIONS) - {'map'}, str(report)

# --- the twelve planted faults

@pytest.mark.parametrize('method', ['Eigen-CAM', 'mean activation'])
def test_fault_1_a_class_agnostic_method(net, asked, method):
    x, y, _ = asked
    named(check(net, 'last', x, y, method=method), 'class', 'class-agnostic')
    report = check(net, 'last', x, y, map=grad_cam(net, 'last', x, y, method=method))
    named(report, 'map', f'that of {method}', 'class-agnostic')

def test_fault_2_a_layer_after_the_last_spatial_mixing(net, asked):
    timm = pytest.importorskip('timm')
    x, y, _ = asked
    vit = train(timm.create_model('test_vit', num_classes=4, img_size=64))
    last = f'blocks.{len(vit.blocks) - 1}'
    named(check(vit, last, x, y), 'gradient', 'class token')
    assert 'gradient' in check(vit, f'blocks.{len(vit.blocks) - 2}', x, y).passed
    pooled = nn.Sequential(*[nn.Sequential(net.stem, net.body, net.last, net.act), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head])
    named(check(pooled, '1', x, y), 'layer', "layer '1'")

class Saturated(Net):
    def forward(self, x): return (40*super().forward(x)).softmax(1)

class Squashed(Net):
    def forward(self, x): return 10*torch.tanh(super().forward(x)*100)

def test_fault_3_a_saturated_logit(net, asked):
    x, y, _ = asked
    named(check(as_kind(net, Saturated), 'last', x, y), 'gradient', 'saturate')
    named(check(as_kind(net, Squashed), 'last', x, y), 'gradient')

class Detached(Net):
    def forward(self, x):
        a = self.features(x)
        return self.head(torch.cat([a[:, :16], a[:, 16:].detach()], 1).mean((2, 3)))

class NoGrad(Net):
    def forward(self, x):
        with torch.no_grad(): a = self.features(x)
        return self.head(a.mean((2, 3)))

def test_fault_4_a_detached_or_frozen_branch(net, asked):
    x, y, _ = asked
    named(check(as_kind(net, Detached), 'last', x, y), 'gradient', 'detached')
    named(check(as_kind(net, NoGrad), 'last', x, y), 'layer', 'does not depend on the layer through a gradient')
    frozen = copy.deepcopy(net).requires_grad_(False) # that alone is no fault: petcam makes a graph of its own
    assert not check(frozen, 'last', x, y).failed

def naive_map(net, layer, x, y): # as many write it: the hook keeps what the layer gave, and the layer after it writes over that
    kept = []
    hook = layer.register_forward_hook(lambda m, i, out: kept.append(out))
    score = net(x)[range(len(y)), y].sum()
    hook.remove()
    g, = torch.autograd.grad(score, kept[0])
    return (kept[0]*g.mean((2, 3), keepdim=True)).sum(1).relu().detach()

def enlarged(m): return F.interpolate(m[:, None], (64, 64), mode='bilinear')[:, 0]

def test_fault_5_an_in_place_layer_with_a_naive_hook(net, asked):
    x, y, _ = asked
    named(check(net, 'last', x, y, map=naive_map(net, net.last, x, y)), 'map', 'naive hook', 'in place')
    named(check(net, 'last', x, y, map=enlarged(naive_map(net, net.last, x, y))), 'map', 'naive hook')
    assert 'map' in check(net, 'act', x, y, map=naive_map(net, net.act, x, y)).passed      # nothing writes over this one

def test_fault_6_swapped_height_and_width(net, asked):
    x, y, _ = asked
    own = grad_cam(net, 'last', x, y)
    named(check(net, 'last', x, y, map=own.mT), 'map', 'rows and columns')
    named(check(net, 'last', x, y, map=enlarged(own).relu().mT.numpy()), 'map', 'rows and columns')
    named(check(net, 'last', x, y, reshape=lambda a: a.mT), 'layer', 'rows and columns')
    named(check(net, 'last', x, y, reshape=lambda a: a.flip(-1)), 'layer', 'left and right')
    named(check(net, 'last', x, y, reshape=lambda a: a.flip(-2)), 'layer', 'top and bottom')

def test_fault_7_a_mislabelled_class_index(net, asked):
    x, y, _ = asked
    named(check(net, 'last', x, (y + 1) % 4), 'believed', 'index')
    named(check(net, 'last', x, y, map=grad_cam(net, 'last', x, (y + 1) % 4)), 'map', 'another class')

class AlwaysDrops(Net):
    def forward(self, x): return self.head(F.dropout(self.features(x).mean((2, 3))))

def test_fault_8_dropout_left_on(net, asked):
    x, y, _ = asked
    training = copy.deepcopy(net).train()
    state = copy.deepcopy(training.state_dict())
    named(check(training, 'last', x, y), 'mode', 'Dropout')
    assert training.training and all(torch.equal(v, state[k]) for k, v in training.state_dict().items())
    named(check(as_kind(net, AlwaysDrops), 'last', x, y), 'mode', 'F.dropout')

class Shared(Net):
    def forward(self, x): return self.head(self.act(self.last(self.act(self.body(self.stem(x))))).mean((2, 3)))

def test_fault_9_a_shared_layer(net, asked):
    x, y, _ = asked
    named(check(as_kind(net, Shared), 'act', x, y), 'layer', 'ran 2 times', 'call=0')
    assert not check(as_kind(net, Shared), 'act', x, y, call=1).failed

@pytest.mark.parametrize('refit', [False, True])
def test_fault_10_a_network_with_random_weights(asked, refit):
    x, y, _ = asked
    for seed in range(3):
        torch.manual_seed(seed)
        random = Net().eval()
        if refit: refit_batch_norms(random, x)
        named(check(random, 'last', x), 'trained', 'random weights')
        named(check(random, 'last', x, y), 'trained', 'random weights')

def test_fault_11_a_shortcut(asked):
    shortcut = train(Net(), lambda n, seed: discs(n, seed, corner=True))
    x, y, masks = discs(16, seed=3, corner=True)
    report = check(shortcut, 'last', x, y, masks=masks)
    named(report, 'object', 'shortcut')
    named(report, 'inside', 'shortcut')
    assert 'believed' in report.passed and 'deletion' in report.passed     # it is sure, and the map shows what it uses

def test_fault_12_a_constant_map(net, asked):
    x, y, _ = asked
    named(check(net, 'last', x, y, map=torch.ones(16, 7, 7)), 'image', 'constant')
    named(check(net, 'last', x, y, method=lambda a, g: torch.ones_like(a[:, 0])), 'image', 'constant')
    named(check(net, 'last', x, y, map=torch.rand(1, 7, 7).expand(16, -1, -1)), 'image', 'ignores the image')
