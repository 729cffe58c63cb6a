"Models that are not simply called with images, and maps that are no (b,c,h,w): each against a backward pass written out by hand."
import warnings
import pytest, torch
from torch import nn
from torch.nn import functional as F
from petcam.engine.adapter import Adapter, each_tensor, repeat_item, with_image
from petcam.engine.backward import ZeroGradient, activation
from petcam.engine.scoring import deletion, insertion
from petcam.engine.targets import check_logits, probabilities, verdict
from petcam.gradcam import class_maps, grad_cam
from petcam.localise import randomize_weights
from petcam.methods import METHODS, class_activation_map, explain_batch, maps_of, score_cam


def close(a, b): assert a.shape == b.shape and (a - b).abs().max() <= 1e-5*max(1e-30, b.abs().max()), (a.shape, b.shape)

def loop_maps(a, g): # (c,...) both, of any number of sides: each method location by location, numbers only
    c, sides = len(a), a.shape[1:]
    af, gf = a.reshape(c, -1).double(), g.reshape(c, -1).double()
    n = af.shape[1]
    weight = [sum(gf[k].tolist())/n for k in range(c)]
    def of(f): return torch.tensor([f(af[:, i].tolist(), gf[:, i].tolist()) for i in range(n)]).view(sides).float()
    return {'mean activation': of(lambda p, q: sum(p)/c), 'Grad-CAM': of(lambda p, q: sum(w*v for w, v in zip(weight, p))),
            'HiResCAM': of(lambda p, q: sum(v*u for v, u in zip(p, q))), 'LayerCAM': of(lambda p, q: sum(v*max(u, 0) for v, u in zip(p, q)))}

def conv_net(n): # a small network of n sides
    conv, pool = {1: (nn.Conv1d, nn.AdaptiveAvgPool1d), 2: (nn.Conv2d, nn.AdaptiveAvgPool2d), 3: (nn.Conv3d, nn.AdaptiveAvgPool3d)}[n]
    torch.manual_seed(n)
    return nn.Sequential(conv(2, 6, 3), nn.ReLU(), conv(6, 5, 3, padding=1), nn.ReLU(), pool(2), nn.Flatten(), nn.Linear(5*2**n, 4)).eval()

def seen_at(model, i, x, k): # of an nn.Sequential: activation of layer i and gradient of score k, with nothing but autograd
    a = model[:i+1](x).detach().requires_grad_()
    g, = torch.autograd.grad(model[i+1:](a)[:, k].sum(), a)
    return a.detach(), g

SIZES = {1: (24,), 2: (9, 11), 3: (7, 9, 8)}

@pytest.mark.parametrize('n', SIZES)
def test_signals_images_and_volumes_through_every_method(n):
    m, x = conv_net(n), torch.randn(2, 2, *SIZES[n], generator=torch.Generator().manual_seed(9))
    a, g = seen_at(m, 1, x, 3)
    maps = maps_of(m, '1', x, 3)
    assert list(maps) == list(METHODS) and all(o.shape == (2, *a.shape[2:]) for o in maps.values())
    for b in range(2):
        for name, want in loop_maps(a[b], g[b]).items(): close(maps[name][b], want)
    strongest = torch.linalg.svd(a[0].flatten(1))[2][0]                             # Eigen-CAM: a singular vector over the locations
    assert abs(F.cosine_similarity(maps['Eigen-CAM'][0].flatten(), strongest, dim=0)) > .9999
    for name in METHODS:
        close(grad_cam(m, '1', x, 3, method=name), maps[name])
        close(class_maps(m, ['1'], x, [3, 0], method=name)['1'][:, 0], maps[name])
    assert explain_batch(m, '1', x, 3)[1].map.shape == a.shape[2:]

@pytest.mark.parametrize('n', SIZES)
def test_score_cam_and_the_curves_of_signals_and_volumes(n):
    m, x = conv_net(n), torch.randn(2, 2, *SIZES[n], generator=torch.Generator().manual_seed(9))
    mode = {1: 'linear', 2: 'bilinear', 3: 'trilinear'}[n]
    with torch.no_grad():
        a, want = m[:2](x), []
        for xi, ai in zip(x, a):
            masks = [F.interpolate(((c - c.min())/(c.max() - c.min()))[None, None], xi.shape[1:], mode=mode)[0, 0] for c in ai]
            w = torch.stack([m((xi*o)[None])[0, 2] for o in masks]).softmax(0)
            want.append(sum(wi*c for wi, c in zip(w, ai)))
    close(score_cam(m, '1', x, 2), torch.stack(want))
    maps = torch.randn(2, *x.shape[2:])
    going = deletion(m, x, maps, 2, steps=4)
    order = maps[1].flatten().argsort(descending=True)
    left = x[1].flatten(1).clone(); total = len(order)
    left[:, order[:len([r for r in range(total) if r < total*2/4])]] = 0             # the first half of the places is grey
    close(going[1, 2], m(left.view_as(x[1])[None]).softmax(1)[0, 2].detach())
    coming = insertion(m, x, maps, 2, steps=4)
    close(coming[:, -1], going[:, 0])

def test_a_blurred_volume_keeps_its_sum_where_it_is_flat():
    from petcam.engine.scoring import _blurred
    close(_blurred(torch.ones(1, 2, 5, 6, 7)), torch.ones(1, 2, 5, 6, 7))
    x = torch.randn(1, 1, 6, 8)
    def rows(n): w = torch.tensor([[torch.exp(torch.tensor(-.5*((i - j)/(.05*n))**2)) for j in range(n)] for i in range(n)]); return w/w.sum(1, keepdim=True)
    close(_blurred(x), rows(6) @ x @ rows(8).T)

class Siamese(nn.Module): # one body for two images
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), nn.Linear(12, 4)
    def forward(self, left, right): return self.head(torch.cat([self.body(o).mean((2, 3)) for o in (left, right)], 1))

class Recurrent(nn.Module): # the same layer three times, each on what the one before gave
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.start, self.step, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
    def forward(self, x):
        x = self.start(x)
        for _ in range(3): x = torch.tanh(self.step(x))
        return self.head(x.mean((2, 3)))

def test_call_says_which_run_of_a_siamese_layer():
    m, pair = Siamese().eval(), torch.randn(2, 2, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    left, right = pair
    for call, image in (0, left), (1, right):
        w = m.head.weight.detach()[2, 6*call:6*call + 6]
        want = (w[None, :, None, None]*m.body(image).detach()).sum(1)/(7*9)          # a closed form: pooled, then linear
        close(grad_cam(m, 'body', (left, right), 2, call=call), want)
        close(class_maps(m, ['body'], (left, right), [0, 2], call=call)['body'][:, 1], want)
        close(maps_of(m, 'body', (left, right), 2, 'HiResCAM', call=call)['HiResCAM'], want)
        close(activation(m, 'body', (left, right), call=call)[0], m.body(image).detach())
    with pytest.raises(ValueError, match="layer 'body' ran 2 times .* from call=0 to call=1"): grad_cam(m, 'body', (left, right), 2)
    with pytest.raises(ValueError, match="layer 'body' ran 2 times in one forward pass: there is no call=2"): grad_cam(m, 'body', (left, right), 2, call=2)
    with pytest.raises(ValueError, match='there is no call=-1'): grad_cam(m, 'body', (left, right), 2, call=-1)

def test_call_of_a_recurrent_layer_keeps_the_way_through_its_later_runs():
    m, x = Recurrent().eval(), torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    for call in range(3):
        outputs, h = [], m.start(x)
        for _ in range(3):
            outputs.append(m.step(h))
            h = torch.tanh(outputs[-1])
        g, = torch.autograd.grad(m.head(h.mean((2, 3)))[:, 1].sum(), outputs[call])
        a = outputs[call].detach()
        close(grad_cam(m, 'step', x, 1, call=call), (g.mean((2, 3), keepdim=True)*a).sum(1))
        close(class_maps(m, ['step'], x, [1], method='HiResCAM', call=call)['step'][:, 0], (g*a).sum(1))

class Several(nn.Module): # takes an image and a vector, gives a dict or a tuple with the logits somewhere in it
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.body, self.head = kind, nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()), nn.Linear(11, 4)
    def forward(self, pixels, more):
        h = self.body(pixels)
        y = self.head(torch.cat([h.mean((2, 3)), more], 1))
        return {'dict': dict(loss=None, logits=y), 'tuple': (h, y), 'scores': dict(h=h.mean((2, 3)), scores=y), 'list': [y, h]}[self.kind]

@pytest.mark.parametrize('kind', ['dict', 'tuple', 'scores', 'list'])
@pytest.mark.parametrize('given', ['tuple', 'dict', 'inputs'])
def test_inputs_and_outputs_of_every_kind_in_every_entry_point(kind, given):
    m, (x, more) = Several(kind).eval(), (torch.randn(3, 3, 9, 11), torch.randn(3, 5))
    inputs = {'tuple': (x, more), 'dict': dict(more=more, pixels=x), 'inputs': x}[given]
    adapt = dict(inputs=lambda x: (x, more[:1].expand(len(x), -1) if len(x) > 3 else more[:len(x)])) if given == 'inputs' else {}
    if kind == 'scores': adapt['logits'] = 'scores'
    ks = [3, 0, 1]
    h = m.body(x).detach().requires_grad_()
    y = m.head(torch.cat([h.mean((2, 3)), more], 1))
    g, = torch.autograd.grad(y[range(3), ks].sum(), h)
    want, h, y = (g.mean((2, 3), keepdim=True)*h).sum(1).detach(), h.detach(), y.detach()
    close(grad_cam(m, 'body', inputs, ks, **adapt), want)
    close(grad_cam(m, None, inputs, ks, **adapt), want)
    every = class_maps(m, None, inputs, **adapt)['body']
    close(torch.stack([every[i, k] for i, k in enumerate(ks)]), want)
    close(maps_of(m, 'body', inputs, ks, **adapt)['Grad-CAM'], want)
    seen = explain_batch(m, 'body', inputs, ks, adapter=Adapter(**adapt))
    close(torch.stack([o.map for o in seen]), want)
    assert [round(o.verdict.logit, 4) for o in seen] == [round(float(y[i, k]), 4) for i, k in enumerate(ks)]
    close(grad_cam(m, 'body', inputs, lambda out: check_logits(out)[range(3), ks], **adapt), want) # sees what logits= names
    maps = torch.randn(3, 4, 5)
    going, coming = deletion(m, inputs, maps, ks, 3, **adapt), insertion(m, inputs, maps, ks, 3, **adapt)
    close(going[:, 0], y.softmax(1)[range(3), ks]); close(coming[:, -1], going[:, 0])
    zeros = m.head(torch.cat([m.body(torch.zeros_like(x)).mean((2, 3)), more], 1)).softmax(1)[range(3), ks].detach()
    close(going[:, -1], zeros)
    if given != 'inputs': # a mask of its own for each channel, the rest of the inputs repeated
        got = score_cam(m, 'body', inputs, ks, bs=4, **adapt)
        for i, k in enumerate(ks):
            c = h[i]
            masks = ((c - c.amin((1, 2), keepdim=True))/(c.amax((1, 2), keepdim=True) - c.amin((1, 2), keepdim=True)).clamp(min=1e-12))
            large = F.interpolate(masks[:, None], x.shape[2:], mode='bilinear')
            w = torch.stack([m.head(torch.cat([m.body((x[i]*o)[None]).mean((2, 3)), more[i:i+1]], 1))[0, k] for o in large]).softmax(0)
            close(got[i], (w[:, None, None]*c).sum(0).detach())
    randomized = randomize_weights(m, inputs, seed=1, **adapt)
    assert not torch.equal(randomized.head.weight, m.head.weight) and not randomized.training
    torch.testing.assert_close(randomized.body[1].running_mean, randomized.body[0](x).mean((0, 2, 3)))

@pytest.mark.parametrize('head', ['conv, pool', 'pool, conv', 'conv, bias free'])
def test_cam_behind_a_1x1_convolution(head):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 4, 1, bias='free' not in head)
    tail = [nn.AdaptiveAvgPool2d(1), conv] if head.startswith('pool') else [conv, nn.AdaptiveAvgPool2d(1)]
    m, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), *tail, nn.Flatten()).eval(), torch.randn(2, 3, 9, 11)
    a, w = m[:2](x).detach(), conv.weight.detach()
    want = torch.stack([sum(w[k, c, 0, 0]*a[i, c] for c in range(6)) for i, k in enumerate((3, 1))])
    close(class_activation_map(m, '1', x, [3, 1]), want)
    close(grad_cam(m, '1', x, [3, 1])*7*9, want)

def test_cam_is_refused_behind_a_convolution_with_a_relu_or_of_three_by_three():
    torch.manual_seed(0)
    for tail in [nn.Conv2d(6, 4, 1), nn.ReLU()], [nn.Conv2d(6, 4, 3)]:
        m = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), *tail, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        with pytest.raises(ValueError, match='CAM needs average pooling and one linear layer'): class_activation_map(m, '1', torch.randn(2, 3, 9, 11), 0)

def test_reshape_that_rearranges_gives_the_map_of_the_layer_that_was_rearranged():
    class Last(nn.Module): # channels last between two convolutions
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.turn, self.linear = nn.Conv2d(3, 6, 3), nn.Identity(), nn.Linear(6, 4)
        def forward(self, x): return self.linear(self.turn(self.first(x).permute(0, 2, 3, 1)).tanh().mean((1, 2)))
    m, x = Last().eval(), torch.randn(2, 3, 9, 11)
    a = m.first(x).detach().requires_grad_()
    g, = torch.autograd.grad(m.linear(a.permute(0, 2, 3, 1).tanh().mean((1, 2)))[:, 1].sum(), a)
    want = (g.mean((2, 3), keepdim=True)*a).sum(1).detach()
    close(grad_cam(m, 'turn', x, 1, reshape=lambda o: o.permute(0, 3, 1, 2)), want)
    close(class_maps(m, ['turn'], x, [1], reshape=lambda o: o.movedim(-1, 1))['turn'][:, 0], want)
    for wrong in lambda o: o.movedim(-1, 1)*2, lambda o: o.movedim(-1, 1).relu(), lambda o: o.movedim(-1, 1).repeat(1, 2, 1, 1):
        with pytest.raises(ValueError, match='reshape= may only rearrange'): grad_cam(m, 'turn', x, 1, reshape=wrong)

def quiet(f, *args, **kw):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return f(*args, **kw)

def test_a_dead_relu_is_said_and_is_no_finding():
    torch.manual_seed(0)
    m, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval(), torch.randn(2, 3, 9, 11)
    quiet(grad_cam, m, '0', x, 1); quiet(class_maps, m, ['0', '1'], x)
    m[0].bias.data -= 100
    for call in (lambda: grad_cam(m, '0', x, 1), lambda: class_maps(m, ['0'], x), lambda: explain_batch(m, '0', x, 1)):
        with pytest.warns(ZeroGradient, match="zero everywhere at layer '0'.*such as a dead ReLU"): out = call()
    assert all('says nothing about the image' in o.note and 'No positive evidence' not in o.words for o in out)
    m[0].bias.data += 100
    x[1] = 0; m[0].bias.data.fill_(-.01)                                             # dead for one image of the two
    with pytest.warns(ZeroGradient, match=r'such as a dead ReLU.*In 1 of 2 images'): out = explain_batch(m, '0', x, 1)
    assert not out[0].note and out[1].note

class Tokens(nn.Module): # patches and a class token, which alone is read
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.token, self.head = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, 4)
        self.blocks = nn.Sequential(*[nn.TransformerEncoderLayer(8, 2, 16, 0., batch_first=True) for _ in range(3)])
    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, 0])

def test_the_last_block_of_a_transformer_is_said_and_the_one_before_offered():
    m, x = Tokens().eval(), torch.randn(2, 3, 24, 24)
    for call in (lambda: grad_cam(m, 'blocks.2', x, 1), lambda: class_maps(m, ['blocks.2'], x)):
        with pytest.warns(ZeroGradient, match="layer 'blocks.2'.*a class token: take layer 'blocks.1'"): call()
    a = m.blocks[:2](torch.cat([m.token.expand(2, -1, -1), m.patches(x).flatten(2).transpose(1, 2)], 1)).detach().requires_grad_()
    g, = torch.autograd.grad(m.head(m.blocks[2](a)[:, 0])[:, 1].sum(), a)
    a, g = (o.detach()[:, 1:].transpose(1, 2).unflatten(2, (6, 6)) for o in (a, g))
    want = (g.mean((2, 3), keepdim=True)*a).sum(1)
    for layer in None, 'blocks.1': close(quiet(grad_cam, m, layer, x, 1), want)
    close(class_maps(m, None, x, method='HiResCAM')['blocks.1'][:, 1], (g*a).sum(1))

def test_a_saturated_softmax_is_said():
    torch.manual_seed(0)
    m, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4), nn.Softmax(1)).eval(), torch.randn(2, 3, 9, 11)
    quiet(grad_cam, m, '1', x, 1)
    m[4].bias.data[1] += 1e4
    with pytest.warns(ZeroGradient, match='probabilities of exactly 0 and 1.*ask for the logits'): maps = grad_cam(m, '1', x, 1)
    assert not maps.any()
    quiet(grad_cam, m, '1', x, 1, method='mean activation')                          # needs no gradient, so nothing is wrong

def test_methods_without_a_gradient_still_look_at_their_target():
    m, x = conv_net(2), torch.randn(2, 2, 9, 11)
    for call in (grad_cam, maps_of):
        with pytest.raises(ValueError, match='class 9 is out of range'): call(m, '1', x, 9, **{'method' if call is grad_cam else 'methods': 'Eigen-CAM'})

@pytest.mark.parametrize('x, says', [
    (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r'got \(1, 3, 8, 8\) uint8; x.float\(\)/255'), (torch.zeros(8, 8), r'got \(8, 8\) float32; one grey image needs x\[None, None\]'),
    (torch.zeros(3, 8, 8), r'one image needs x\[None\]'), (torch.zeros(1, 3, 8, 8).numpy(), 'torch.from_numpy'), ([torch.zeros(3, 8, 8)], 'got a list of'),
    ((1, 2), 'or a tuple or dict with one, got a tuple of int, int'), ({}, 'got a dict of nothing'), (None, 'got NoneType'), ('pug.jpg', 'got str'),
    (torch.zeros(1, 1, 1, 3, 8, 8), r'got \(1, 1, 1, 3, 8, 8\)'), (torch.zeros(1, 1, 3, 8, 8), 'its first convolution takes 4 dimensions, x has 5'),
    (torch.zeros(1, 1, 8, 8), 'its first convolution takes 3 channels, x has 1'), (torch.zeros(1, 3, 8, 8).double(), r'weights are torch.float32: give x.to\(torch.float32\)'),
    (torch.zeros(1, 3, 8, 8).half(), r'weights are torch.float32'), (torch.zeros(1, 3, 8, 8, device='meta'), 'x is on meta, the model on cpu'), (torch.zeros(1, 3, 1, 1), 'does not take x, .1, 3, 1, 1. float32')])
def test_what_is_no_batch_for_this_model_is_named(x, says):
    m = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    if isinstance(x, torch.Tensor) and x.device.type == 'meta':
        with pytest.raises(ValueError, match=says): Adapter().run(m, x)
        return
    for call in (lambda: grad_cam(m, '1', x, 0), lambda: class_maps(m, ['1'], x), lambda: maps_of(m, '1', x, 0),
                 lambda: deletion(m, x, torch.zeros(1, *[2]*(getattr(x, 'ndim', 4) - 2)), 0),
                 lambda: score_cam(m, '1', x, 0), lambda: class_activation_map(m, '1', x, 0)):
        with pytest.raises(ValueError, match=says): call()

def test_a_float_input_on_a_half_model_names_the_precision():
    m = conv_net(2).half()
    with pytest.raises(ValueError, match=r'the weights are torch.float16: give x.to\(torch.float16\)'): grad_cam(m, '1', torch.randn(1, 2, 9, 11), 0)

def test_a_tuple_that_does_not_fit_the_models_arguments_is_a_type_error_that_says_so():
    with pytest.raises(TypeError, match='Sequential does not take x, a tuple of .* as its arguments: too many positional'):
        grad_cam(conv_net(2), '1', (torch.randn(1, 2, 9, 11), torch.tensor([3])), 0)

def test_logits_that_are_not_there_are_named():
    for y, says in [(torch.zeros(3), r'got \(3,\).*logits=lambda y: y\[:, None\]'), (torch.zeros(1, 4, 2, 2), r'logits=lambda y: y.mean\(\(2, 3\)\)'), ({}, 'got tuple'), (None, 'got NoneType'), ('a', 'got str')]:
        with pytest.raises(ValueError, match=says): check_logits(y)
    with pytest.raises(ValueError, match="the model gives a dict of loss, logits: there is no 'score' in it, as logits= says"):
        grad_cam(Several('dict').eval(), 'body', (torch.randn(1, 3, 9, 9), torch.randn(1, 5)), 0, logits='score')

def test_scores_are_read_as_softmax_sigmoid_or_as_they_are():
    y = torch.tensor([1., 3., 0.])
    assert str(verdict([58.], 0, ['age'])) == 'age: 58.00' and str(verdict([58.], 0)) == 'score 0: 58.00'
    assert str(verdict(y, 0, activation='sigmoid')) == 'class 0: logit 1.00, 73.1%, rank 2 of 3' and verdict(y, 0, activation='sigmoid').believed
    assert not verdict(-y, 0, activation='sigmoid').believed and not verdict(y, 0).believed and verdict(y, 1).believed and verdict(y, 0, activation='none').believed
    said = str(verdict(y, 0, ['age', 'height', 'weight'], 'none'))
    assert said == 'age: 1.00' and verdict(y, 0, activation='none').probability is None
    yes = str(verdict([0.], 0, ['pug'], 'sigmoid'))
    assert yes == 'pug: logit 0.00, 50.0%'
    torch.testing.assert_close(probabilities(y[None], 'sigmoid')[0], 1/(1 + (-y).exp())); assert probabilities(y, 'none').equal(y)
    with pytest.raises(ValueError, match="no activation 'softmaks'; the nearest names are softmax"): probabilities(y, 'softmaks')
    for bad in float('inf'), float('-inf'), float('nan'):
        with pytest.raises(ValueError, match=r'got \(2,\) with 1 nan or infinite'): verdict([1., bad], 0)

@pytest.mark.parametrize('activation, f', [(None, lambda y: y.softmax(1)), ('sigmoid', torch.sigmoid), ('none', lambda y: y)])
def test_the_curves_and_explanations_read_the_scores_as_they_are_told(activation, f):
    m, x = conv_net(2), torch.randn(2, 2, 9, 11)
    want = f(m(x)).detach()[:, 2]
    close(deletion(m, x, torch.randn(2, 3, 3), 2, activation=activation)[:, 0], want)
    close(insertion(m, x, torch.randn(2, 3, 3), 2, activation=activation)[:, -1], want)
    said = explain_batch(m, '1', x, 2, activation=activation)[0]
    assert ('%' in str(said.verdict)) == (activation != 'none')

def test_the_structure_of_what_a_layer_gives_stays():
    x = torch.randn(2, 3, 4, 4)
    made = each_tensor(lambda t: t + 1, (x, [x, None], {1: x, 'a': 'b'}, torch.return_types.max((x, x.long()))))
    assert made[0].equal(x + 1) and made[1][0].equal(x + 1) and made[1][1] is None and made[2][1].equal(x + 1) and made[2]['a'] == 'b'
    assert repeat_item(dict(a=x, n=3), 1, 5)['a'].equal(x[[1]*5]) and with_image((x, x), 2*x)[1].equal(2*x)

def test_the_inputs_the_caller_holds_stay():
    class InPlace(nn.Module):
        def __init__(self): super().__init__(); self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        def forward(self, pixels): return self.head(self.body(pixels.mul_(2)).mean((2, 3)))
    x = torch.randn(2, 3, 8, 8); before = x.clone()
    m = InPlace().eval()
    for given in x, (x,), dict(pixels=x):
        grad_cam(m, 'body', given, 0); class_maps(m, ['body'], given); score_cam(m, 'body', given, 0); deletion(m, given, torch.randn(2, 2, 2), 0)
        assert x.equal(before)
