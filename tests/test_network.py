"Promises of petcam.web.network: the graphs give what torch gives, each weight is stored once, and the model comes back as it was."
import subprocess, sys, warnings
import numpy as np
import pytest
import torch
from torch import nn
from petcam.head import create_cnn
from petcam.training.weights import make_network
from petcam.web.network import halved, live_network

onnxruntime = pytest.importorskip('onnxruntime', reason="onnxruntime is not installed: pip install -e '.[dev]'")
onnx = pytest.importorskip('onnx', reason="onnx is not installed: pip install -e '.[page]'")
pytest.importorskip('onnxscript', reason="onnxscript is not installed: pip install -e '.[page]'")

def tiny():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU6(inplace=True), nn.MaxPool2d(3, 2, 1),
                        nn.Conv2d(16, 24, 3, padding=1, groups=2), nn.Hardswish(inplace=True),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.5), nn.Linear(24, 7))
    for norm in (m for m in net if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(.5, 2)
    return net

def loaded(live, folder): # name -> a function of arrays by name
    (folder/'weights').write_bytes(live.weights)
    for name, graph in live.graphs.items(): (folder/f'{name}.onnx').write_bytes(graph)
    return {name: (lambda session: lambda **arrays: session.run(None, arrays))(onnxruntime.InferenceSession(folder/f'{name}.onnx')) for name in live.graphs}

def by_autograd(net, name, x, target): # slow and simple: its own hook, its own backward pass
    kept = []
    def keep(module, inp, out):
        kept.append(out.clone().requires_grad_())
        return kept[0].clone()
    with net.get_submodule(name).register_forward_hook(keep): y = net(x)
    return kept[0].detach(), torch.autograd.grad(y[0, target], kept[0])[0], y.detach()

def off(got, want): return float(np.abs(got - want.numpy()).max()/want.abs().max())

def compare(model, layers, size, folder, tolerance=2e-5):
    model.eval()
    live = live_network(model, layers, size)
    run, own = loaded(live, folder), halved(model)
    own.requires_grad_(False)
    for seed in range(3):
        x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
        y, *acts = run['forward'](x=x.numpy())
        assert (live.k, live.size, list(live.layers)) == (y.shape[1], size, layers)
        for name, a in zip(layers, acts):
            target = int(y[0].argsort()[-1 - seed])
            want_a, want_g, want_y = by_autograd(own, name, x, target)
            g, = run[name](a=a, k=np.eye(live.k, dtype='float32')[[target]])
            assert live.layers[name] == a.shape[1:] and want_g.abs().max() > 0
            assert max(off(a, want_a), off(g, want_g), off(y, want_y)) < tolerance, name
    return live

def test_a_small_network_at_every_layer(tmp_path):
    compare(tiny(), ['0', '1', '2', '3', '4', '5', '6', '7'], (37, 22), tmp_path)
    net = tiny()
    compare(nn.Sequential(net[:8], net[8:]), ['0.6', '0.7', '0'], (37, 22), tmp_path) # one value under two names

NETWORKS = dict(resnet18=['layer2', 'layer4'], mobilenet_v2=['features.6', 'features'], squeezenet1_1=['features.5', 'features'], efficientnet_lite0=['features.5', 'features'])

@pytest.mark.parametrize('arch', NETWORKS)
def test_networks_with_their_own_head(arch, tmp_path):
    torch.manual_seed(0)
    live = compare(make_network(arch), NETWORKS[arch], (64, 96), tmp_path)
    stored_once(live, make_network(arch))

def test_the_head_of_the_lessons(tmp_path):
    torch.manual_seed(0)
    model = create_cnn('mobilenet_v3_small', 37, bn_final=True)
    model[1][-1].running_var.uniform_(.5, 2)
    stored_once(compare(model, ['0.3', '0.8', '0'], (64, 64), tmp_path), model)

def stored_once(live, model): # and in half precision
    least = sum(o.numel()*(2 if o.dim() > 1 else 4) for o in [*model.parameters(), *model.buffers()])
    assert .9*least < len(live.weights) < 1.03*least
    places = set()
    for graph in live.graphs.values():
        for t in onnx.load_model_from_string(graph).graph.initializer:
            if not t.external_data: continue
            entry = {o.key: o.value for o in t.external_data}
            assert entry['location'] == 'weights'
            places.add((int(entry['offset']), int(entry['length'])))
            if sum(n > 1 for n in t.dims) > 1: assert t.data_type == onnx.TensorProto.FLOAT16, t.name
    ends = [0, *(at + n for at, n in sorted(places))]
    assert all(0 <= at - end < 16 for (at, _), end in zip(sorted(places), ends)) # no gap, none overlaps
    raw = [live.weights[at:at+n] for at, n in places]
    assert len(set(raw)) == len(raw)

def test_every_stored_weight_is_one_of_the_models_and_all_are_there():
    net = halved(tiny())
    live = live_network(net, ['7'], (22, 22))
    graph = onnx.load_model_from_string(live.graphs['forward']).graph
    stored = {live.weights[at:at+n] for t in graph.initializer if t.external_data
              for at, n in [[int(o.value) for o in t.external_data if o.key != 'location']]}
    assert {p.numpy().astype('float16').tobytes() for p in net.parameters() if p.dim() > 1} <= stored

def test_the_last_layer_in_closed_form(tmp_path):
    net = tiny().eval()
    live = live_network(net, ['7'], (22, 22))
    run, w = loaded(live, tmp_path), halved(net)[-1].weight
    c, h, width = live.layers['7']
    a = np.random.default_rng(0).normal(size=(1, c, h, width)).astype('float32')
    for k in np.eye(7, dtype='float32'):
        g, = run['7'](a=a, k=k[None])
        np.testing.assert_allclose(g, np.broadcast_to((w.numpy().T @ k/(h*width))[None, :, None, None], a.shape), rtol=1e-5, atol=1e-8)
    difference, = run['7'](a=a, k=np.array([[1, 0, -1, 0, 0, 0, 0]], 'float32')) # k need not be one-hot
    np.testing.assert_allclose(difference[0, :, 0, 0], (w[0] - w[2]).numpy()/(h*width), rtol=1e-4, atol=1e-7)

def test_ties_of_the_maximum_go_where_torch_sends_them(tmp_path):
    torch.manual_seed(0)
    model = create_cnn('mobilenet_v3_small', 5)
    run, own = loaded(live_network(model, ['0'], (64, 64)), tmp_path), halved(model)
    a = torch.randint(0, 2, (1, 576, 2, 2)).float().requires_grad_() # most channels have several maxima, or only zeros
    want, = torch.autograd.grad(own[1](a)[0, 2], a)
    g, = run['0'](a=a.detach().numpy(), k=np.eye(5, dtype='float32')[[2]])
    assert off(g, want) < 1e-5

def state(model):
    return [(name, o.dtype, o.device, o.requires_grad, o.stride(), o._version, o.grad is None, o.data_ptr()) for name, o in [*model.named_parameters(), *model.named_buffers()]]

@pytest.mark.parametrize('context', ['none', 'no_grad', 'inference_mode', 'autocast'])
def test_the_model_and_the_caller_stay_as_they_were(context, tmp_path):
    net, heard = tiny().to(memory_format=torch.channels_last), []
    net[0].requires_grad_(False)
    net[1].eval()
    net[2].register_forward_hook(lambda *args: heard.append(1))
    before, modes, hooks = state(net), [m.training for m in net.modules()], [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    numbers, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    contexts = dict(none=torch.enable_grad(), no_grad=torch.no_grad(), inference_mode=torch.inference_mode(), autocast=torch.autocast('cpu', torch.bfloat16))
    with contexts[context]:
        grads = torch.is_grad_enabled()
        live = live_network(net, ['3', '7'], (22, 22))
        assert torch.is_grad_enabled() is grads
    assert state(net) == before and [m.training for m in net.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()] == hooks
    assert all(torch.equal(v, numbers[k]) for k, v in net.state_dict().items()) and torch.equal(torch.get_rng_state(), random)
    x = torch.randn(1, 3, 22, 22)
    y, *_ = loaded(live, tmp_path)['forward'](x=x.numpy())
    assert off(y, halved(net)(x).detach()) < 1e-5 # whatever the context, in 32 bits

def test_halved_rounds_as_numpy_does_and_leaves_the_rest():
    net = tiny()
    with torch.no_grad(): net[3].weight[0, 0, 0, 0] = 7e4 # more than 16 bits hold
    own = halved(net.double())
    assert net[0].weight.dtype == torch.float64 and own[0].weight.dtype == torch.float32
    for name in '0', '6', '11':
        want, got = net.get_submodule(name).weight.detach().numpy(), own.get_submodule(name).weight.numpy()
        assert np.array_equal(got, want.astype('float32').astype('float16').astype('float32')) and not np.array_equal(got, want)
    assert torch.equal(own[3].weight.double(), net[3].weight) and torch.equal(own[0].bias.double(), net[0].bias)
    assert not own.training and net.training

class Shortcut(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.aside = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3)
    def forward(self, x):
        self.aside(x)
        return (x + self.block(x)).relu().mean((2, 3))

class Model(nn.Module): # of a function
    def __init__(self, f, **layers):
        super().__init__()
        self.f = f
        for name, layer in layers.items(): self.add_module(name, layer)
    def forward(self, x): return self.f(self, x)

class Last(nn.Module): # channels last
    def forward(self, x): return x.permute(0, 2, 3, 1)

def conv(): return nn.Conv2d(3, 3, 3)
def block(): return nn.Sequential(conv(), nn.ReLU())
def pooled(o): return o.mean((2, 3))
def chosen(self, x): return pooled(self.c(x)) if x.sum() > 0 else pooled(self.c(x))*2
def repeated(): return nn.Sequential(*[block()]*2, nn.AdaptiveAvgPool2d(1), nn.Flatten())

WRONG = [
    (lambda: (tiny(), ['8x'], (9, 9)), ValueError, "no layer '8x' in Sequential"),
    (lambda: (tiny(), ['2'], (0, 9)), ValueError, 'a side of the input is 0; expected a whole number of at least 1'),
    (lambda: (tiny(), ['2'], (9, 9.5)), ValueError, '9.5'),
    (lambda: (tiny(), ['2'], 9), ValueError, r'size is 9; expected \(height, width\)'),
    (lambda: (tiny(), [], (9, 9)), ValueError, 'no layers'),
    (lambda: ('resnet18', ['2'], (9, 9)), TypeError, 'model must be an nn.Module'),
    (lambda: (nn.Sequential(nn.Conv2d(3, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()), ['0'], (2, 2)), ValueError, r'does not take x, \(1, 3, 2, 2\)'),
    (lambda: (block(), ['0'], (9, 9)), ValueError, r'gives \(1, 3, 7, 7\); expected logits \(1,k\)'),
    (lambda: (Model(lambda self, x: dict(a=self.c(x)), c=conv()), ['c'], (9, 9)), ValueError, r'gives a dict; expected logits'),
    (lambda: (tiny(), ['8'], (64, 64)), ValueError, r"layer '8' gives \(1, 24, 1, 1\); expected a feature map"),
    (lambda: (tiny(), ['9'], (64, 64)), ValueError, r"layer '9' gives \(1, 24\); expected a feature map"),
    (lambda: (Model(lambda self, x: pooled(self.c(x).permute(0, 3, 1, 2)), c=nn.Sequential(conv(), Last())), ['c'], (9, 9)), ValueError, 'channels first'),
    (lambda: (repeated(), ['0'], (9, 9)), ValueError, "layer '0' runs 2 times"),
    (lambda: (Model(lambda self, x: pooled(self.c(x)), c=conv(), idle=conv()), ['idle'], (9, 9)), ValueError, "layer 'idle' runs 0 times"),
    (lambda: (Shortcut(), ['block'], (9, 9)), ValueError, "layer 'block' is bypassed"),
    (lambda: (Shortcut(), ['aside'], (9, 9)), ValueError, "the logits do not depend on layer 'aside'"),
    (lambda: (Model(chosen, c=conv()), ['c'], (9, 9)), ValueError, 'Model cannot be exported: '),
    (lambda: (Model(lambda self, x: pooled(self.logits(x)), logits=conv()), ['logits'], (9, 9)), ValueError, "'logits'"),
    (lambda: (torch.compile(tiny()), ['0'], (64, 64)), ValueError, 'torch.compile'),
]

@pytest.mark.parametrize('make,kind,words', WRONG, ids=[words for *_, words in WRONG])
def test_what_a_page_cannot_have_is_one_line_with_a_reason(make, kind, words):
    model, layers, size = make()
    with pytest.raises(kind, match=words) as e: live_network(model, layers, size)
    assert '\n' not in str(e.value) and len(str(e.value)) < 300

def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ImportError, match=r"pip install 'petcam\[page\]'"): live_network(tiny(), ['2'], (22, 22))

def test_an_older_torch_is_told(monkeypatch):
    monkeypatch.setattr(torch, '__version__', type(torch.__version__)('2.5.1'))
    with pytest.raises(ImportError, match='needs torch 2.6 or later, got 2.5.1'): live_network(tiny(), ['2'], (22, 22))
    monkeypatch.setattr(torch, '__version__', type(torch.__version__)('2.10.0'))
    live_network(tiny(), ['2'], (22, 22))

def test_petcam_is_imported_without_onnx():
    code = "import sys, petcam.web.network\nassert not {'onnx', 'onnxscript', 'onnx_ir'} & set(sys.modules)"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0

def test_it_says_nothing(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        live_network(tiny().train(), ['2'], (22, 22))
    assert capfd.readouterr() == ('', '')
