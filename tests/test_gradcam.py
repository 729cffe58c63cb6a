"Promises of petcam.gradcam, each against something independent: captum, a slow full backward, a closed form."
import copy, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest, torch
from torch import nn
from torchvision.models import get_model, resnet34
from petcam.engine.backward import activation
from petcam.engine.targets import probabilities, verdict
from petcam.gradcam import class_maps, grad_cam
from petcam.engine.layers import layers_of
from petcam.hooks import watch


def livened(m): # batch norms that shift and scale, so that ReLUs cut something
    with torch.no_grad():
        for o in m.modules():
            if isinstance(o, nn.BatchNorm2d): o.weight.uniform_(.5, 1.5); o.bias.normal_(0, .5); o.running_mean.normal_(0, .1)
    return m

@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    return livened(resnet34(num_classes=37)).eval()

@pytest.fixture(scope='module')
def x(): return torch.randn(2, 3, 96, 80, generator=torch.Generator().manual_seed(1))

@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Dropout(.5), nn.Linear(4, 5)).eval()

def slow(model, name, x, ks): # full backward through every parameter of a copy, one image at a time
    model, maps = copy.deepcopy(model).requires_grad_(True).eval(), []
    for xi, k in zip(x, ks):
        seen = []
        h = model.get_submodule(name).register_forward_hook(
            lambda m, i, o: (seen.append(o.clone()), seen[0].retain_grad(), seen[0].clone())[-1])
        model(xi[None])[0, k].backward()
        h.remove()
        a, g = seen[0].detach()[0], seen[0].grad[0]
        maps.append(sum(g[c].mean()*a[c] for c in range(len(a))))
    return torch.stack(maps)

def close(a, b): assert a.shape == b.shape and (a - b).abs().max() <= 1e-5*b.abs().max()

def state(m): # everything that a call could disturb
    return ([(p.detach().clone(), p.grad if p.grad is None else p.grad.clone(), p.requires_grad) for p in m.parameters()],
            [b.clone() for b in m.buffers()], [o.training for o in m.modules()], torch.get_rng_state(),
            sum(len(o._forward_hooks) + len(o._forward_pre_hooks) + len(o._backward_hooks) for o in m.modules()))

def same(a, b):
    if torch.is_tensor(a): return torch.equal(a, b)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, (list, tuple)) else a == b

LAYERS = ['bn1', 'layer1.0.bn1', 'layer2.0.downsample.1', 'layer4.2.bn2', 'layer3', 'layer4']

@pytest.mark.parametrize('name', LAYERS)
def test_equals_captum_and_a_full_backward(net, x, name):
    from captum.attr import LayerGradCam
    got = grad_cam(net, name, x, [3, 36])
    close(got, slow(net, name, x, [3, 36]))
    close(got, LayerGradCam(net, net.get_submodule(name)).attribute(x, torch.tensor([3, 36])).detach()[:, 0])

def test_every_layer_of_resnet34_equals_captum(net):
    from captum.attr import LayerGradCam
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    names = list(layers_of(net, x))
    assert len(names) > 80
    for n in names: close(grad_cam(net, n, x, 5), LayerGradCam(net, net.get_submodule(n)).attribute(x, 5).detach()[:, 0])

@pytest.mark.parametrize('arch', ['mobilenet_v2', 'vgg16_bn', 'densenet121', 'efficientnet_b0', 'convnext_tiny'])
def test_other_networks_equal_captum_and_a_full_backward(arch):
    "In double precision, so that only the method counts; 20 layers each, from the first to the last"
    from captum.attr import LayerGradCam
    torch.manual_seed(0)
    m = livened(get_model(arch, num_classes=37)).double().eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    names = [name for name, o in layers_of(m, x).items() if o.form == 'channels first'] # captum knows no other
    some = [names[int(i)] for i in torch.linspace(0, len(names)-1, 20)]
    for n in some: close(grad_cam(m, n, x, 5), LayerGradCam(m, m.get_submodule(n)).attribute(x, 5).detach()[:, 0])
    for n in some[:1] + some[-1:]: close(grad_cam(m, n, x, 5), slow(m, n, x, [5]))
    maps = class_maps(m, some[-3:], x, targets=[0, 5])
    for n in some[-3:]: close(maps[n][:, 1], grad_cam(m, n, x, 5))

@pytest.mark.parametrize('arch, name, size', [('convnext_tiny', 'features.1.0.block.3', (64, 64)), ('swin_t', 'features.1', (64, 64)),
                                              ('swin_t', 'features.1', (192, 128)), ('swin_t', 'features.5.5', (96, 96))])
def test_channels_that_come_last_are_laid_out(arch, name, size):
    torch.manual_seed(0)
    m, x = get_model(arch, num_classes=5).eval(), torch.randn(1, 3, *size)
    for o in m.modules(): # layer scales of 1e-6 would leave nothing to see
        if hasattr(o, 'layer_scale'): o.layer_scale.data.fill_(1)
    seen = []
    def keep(module, inp, out): seen.append(out.detach().requires_grad_()); return seen[-1].clone()
    with m.get_submodule(name).register_forward_hook(keep): y = m(x)
    g, = torch.autograd.grad(y[0, 3], seen[0])
    a, g = (o.permute(0, 3, 1, 2) for o in (seen[0].detach(), g))                   # (b,h,w,c) -> (b,c,h,w)
    want = sum(g[:, c].mean()*a[:, c] for c in range(a.shape[1]))
    close(grad_cam(m, name, x, 3), want)
    close(class_maps(m, [name], x, [3, 0])[name][:, 0], want)
    close(grad_cam(m, name, x, 3, reshape='channels last'), want)
    assert layers_of(m, x)[name] == tuple(a.shape[1:])

def test_frozen_no_grad_and_inference_mode_give_the_same_map(net, x):
    want, m = grad_cam(net, 'layer3', x, 4), copy.deepcopy(net)
    for o in [m.conv1, m.layer1, m.layer2, m.layer3, m.layer4]: o.requires_grad_(False)
    close(grad_cam(m, 'layer3', x, 4), want)
    close(grad_cam(m.requires_grad_(False), m.layer3, x, 4), want)
    with torch.no_grad(): close(grad_cam(net, 'layer3', x, 4), want)
    with torch.inference_mode(): close(grad_cam(net, 'layer3', x + 0, 4).clone(), want)

def test_training_mode_gives_the_map_of_eval_mode_and_stays(net, x):
    want, m = grad_cam(net, 'layer4', x, 4), copy.deepcopy(net).train()
    m.layer1.eval()
    before = state(m)
    close(grad_cam(m, 'layer4', x, 4), want)
    assert same(before, state(m))

def test_bf16_autocast_gives_a_float32_map(net, x):
    want = grad_cam(net, 'layer4', x, 4)
    with torch.autocast('cpu', dtype=torch.bfloat16): got = grad_cam(net, 'layer4', x, 4)
    assert got.dtype == torch.float32
    assert torch.corrcoef(torch.stack([got.flatten(), want.flatten()]))[0, 1] > .99

def test_all_classes_under_bf16_autocast_resemble_those_in_32_bits(net, x):
    want = class_maps(net, ['layer3', 'layer4'], x)
    with torch.autocast('cpu', dtype=torch.bfloat16): got = class_maps(net, ['layer3', 'layer4'], x)
    for n in want:
        assert got[n].dtype == torch.float32 and got[n].shape == want[n].shape
        assert torch.corrcoef(torch.stack([got[n].flatten(), want[n].flatten()]))[0, 1] > .99

def backward_passes(monkeypatch):
    "A list that grows by one for each backward pass"
    gone, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, 'grad', lambda *args, **kw: gone.append(1) or real(*args, **kw))
    return gone

def test_in_16_bits_too_all_classes_share_one_backward_pass(net, x, monkeypatch):
    gone = backward_passes(monkeypatch)
    with torch.autocast('cpu', dtype=torch.bfloat16): class_maps(net, ['layer3', 'layer4'], x[:1])
    assert len(gone) == 1

def test_batch_norms_keep_the_callers_hooks_and_other_threads_keep_theirs(tiny, x):
    from petcam.engine.backward import _plain_batch_norms
    want, outputs = tiny(x), []
    twice = tiny[1].register_forward_hook(lambda m, inp, out: 2*out)                # the caller's own, which changes the output
    doubled = tiny(x)
    maps = class_maps(tiny, ['0'], x)['0']
    for k in range(5): close(maps[:, k], grad_cam(tiny, '0', x, k))
    with _plain_batch_norms(tiny), ThreadPoolExecutor(1) as pool:
        see = tiny[1].register_forward_hook(lambda m, inp, out: outputs.append(out.grad_fn.name()))
        twice.remove()
        close(pool.submit(tiny, x).result().detach(), want.detach())
        close(tiny(x).detach(), want.detach())
        see.remove()
    assert 'BatchNorm' in outputs[0] and 'BatchNorm' not in outputs[1]             # ours multiplies and adds, theirs does not
    assert (doubled != want).any() and state(tiny)[-1] == 0

@pytest.mark.parametrize('method', ['HiResCAM', 'LayerCAM', 'Grad-CAM++', 'Eigen-CAM', lambda a, g: (a*g).sum(1)])
def test_a_method_by_name_or_function_in_every_call(net, x, method):
    from petcam.methods import METHODS
    from petcam.engine.backward import activation_and_gradient
    formula = METHODS.get(method, method) if isinstance(method, str) else method
    got = grad_cam(net, 'layer4', x, [3, 36], method=method)
    a, g, _ = activation_and_gradient(net, 'layer4', x, [3, 36])
    close(got, formula(a, g))
    every = class_maps(net, ['layer4'], x, [3, 36], method=method)['layer4']
    close(every[:, 0], grad_cam(net, 'layer4', x, 3, method=method)); close(every[1:, 1], got[1:])
    close(grad_cam(net, None, x, [3, 36], method=method, signed=False), got.relu())

def test_an_unknown_method_names_the_nearest(tiny, x):
    for call in (lambda: grad_cam(tiny, '1', x, 0, method='HiRes-CAM'), lambda: class_maps(tiny, ['1'], x, method='HiRes-CAM')):
        with pytest.raises(ValueError, match="no method 'HiRes-CAM'; the nearest names are HiResCAM"): call()

@pytest.mark.parametrize('how', [dict(affine=False), dict(track_running_stats=False), dict(eps=.5), dict()])
def test_all_classes_at_once_through_batch_norms_of_every_kind(how):
    torch.manual_seed(0)
    m = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **how), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.BatchNorm1d(4, **how), nn.Linear(4, 5))
    x = torch.randn(4, 3, 9, 9)
    for _ in range(3): m(3*x + 1) # statistics that are not 0 and 1
    m.eval()
    with torch.no_grad(): want = [grad_cam(m, '0', x, k) for k in range(5)]
    for got, w in zip(class_maps(m, ['0'], x)['0'].transpose(0, 1), want): close(got, w)

def test_a_batch_norm_of_the_wrong_size_is_an_error_as_in_torch():
    m = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    with pytest.raises(ValueError, match='running_mean'): class_maps(m, ['0'], torch.randn(1, 3, 9, 9))

def test_a_model_that_computes_parts_again_in_the_backward_pass():
    torch.manual_seed(0)
    m, x = get_model('densenet121', num_classes=5, memory_efficient=True).eval(), torch.randn(1, 3, 64, 64)
    for k, got in enumerate(class_maps(m, ['features.denseblock2'], x)['features.denseblock2'][0]):
        close(got[None], grad_cam(m, 'features.denseblock2', x, k))

@pytest.mark.parametrize('stride', [(1, 4), (4, 1)])
def test_a_map_need_not_have_the_images_proportions(stride):
    torch.manual_seed(0)
    m = nn.Sequential(nn.Conv2d(3, 8, 3, stride, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    x = torch.randn(2, 3, 64, 64)
    close(grad_cam(m, '1', x, 3), slow(m, '1', x, [3, 3]))
    close(class_maps(m, ['1', '3'], x)['1'][:, 3], slow(m, '1', x, [3, 3]))

def test_as_many_channels_as_rows_and_columns_is_no_reason_to_refuse():
    torch.manual_seed(0)
    m, x = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)), torch.randn(2, 3, 64, 64)
    maps = class_maps(m, ['0', m[0]], x)
    close(maps['0'][:, 3], grad_cam(m, '0', x, 3)); close(maps[m[0]], maps['0'])

@pytest.mark.parametrize('wrap', [lambda y: dict(logits=y), lambda y: (None, y)])
def test_a_model_that_gives_no_tensor_can_be_asked_with_a_function(tiny, x, wrap):
    class Wrapped(nn.Module):
        def __init__(self): super().__init__(); self.m = tiny
        def forward(self, x): return wrap(self.m(x))
    logits = lambda y: y['logits'] if isinstance(y, dict) else y[1]
    close(grad_cam(Wrapped(), 'm.1', x, lambda y: logits(y)[:, 2]), grad_cam(tiny, '1', x, 2))

def test_odd_arguments_of_class_maps(tiny, x):
    close(class_maps(tiny, ['1'], x, torch.tensor(2))['1'], class_maps(tiny, ['1'], x, [2])['1'])
    assert class_maps(tiny, ['1'], x[:0])['1'].shape == (0, 5, *grad_cam(tiny, '1', x, 0).shape[1:])
    close(class_maps(tiny, (o for o in '12'), x, (k for k in (4, 2)))['1'], class_maps(tiny, ['1'], x, [4, 2])['1'])
    last = class_maps(tiny, None, x)                                            # the last usable layer, by its name
    assert list(last) == ['2']; close(last['2'], class_maps(tiny, ['2'], x)['2'])
    assert list(class_maps(tiny, ['1', '1'], x)) == ['1'] and class_maps(tiny, ['1', '1'], x)['1'].shape[1] == 5
    with pytest.raises(TypeError, match='layer must be a module or its name, got int 3'): class_maps(tiny, ['1', 3], x)
    with pytest.raises(TypeError, match='a class is a whole number or a name, got 1.5'): class_maps(tiny, ['1'], x, 1.5)

@pytest.mark.parametrize('method, got', [(lambda a, g: (a*g).sum((1, 2)), r'\(2, 9\)'), (lambda a, g: (a*g).sum(1)[:1], r'\(1, 7, 9\)'), (lambda a, g: None, 'NoneType')])
def test_a_method_that_gives_no_maps_is_refused(tiny, method, got):
    with pytest.raises(ValueError, match=rf'method must give \(b,h,w\), here \(2, 7, 9\), and gives {got}'): class_maps(tiny, ['1'], torch.randn(2, 3, 9, 11), method=method)

def test_yes_or_no_is_no_class(tiny, x):
    for target in True, torch.tensor([True, False]):
        with pytest.raises(TypeError, match='a class is a whole number or a name, got True'): grad_cam(tiny, '1', x, target)

def test_activation_needs_no_gradient_and_leaves_no_trace(tiny, x):
    class Without(nn.Module):
        def __init__(self): super().__init__(); self.m = tiny
        @torch.no_grad()
        def forward(self, x): return self.m(x)
    tiny.train()
    before = state(tiny)
    a, y = activation(Without(), 'm.1', x)
    assert same(before, state(tiny)) and not a.requires_grad
    with torch.no_grad(): close(a, tiny.eval()[1](tiny[0](x))); close(y, tiny(x))
    with pytest.raises(ValueError, match='does not depend on the layer through a gradient: .*under no_grad'): grad_cam(Without(), 'm.1', x, 1)

def test_one_score_is_just_a_score_several_are_read_as_a_softmax():
    assert probabilities(torch.tensor([[2.], [-1.]])).tolist() == [[2.], [-1.]]
    torch.testing.assert_close(probabilities(torch.tensor([[2.], [-1.]]), 'sigmoid'), torch.tensor([[.880797], [.268941]]))
    torch.testing.assert_close(probabilities(torch.tensor([0., 1.])), torch.tensor([.268941, .731059]))

@pytest.mark.parametrize('logits', [torch.zeros(2, 5), torch.tensor([1., float('nan')]), torch.zeros(())])
def test_verdict_takes_one_image(logits):
    with pytest.raises(ValueError, match='logits must be'): verdict(logits, 0)
    assert verdict([0., 1.], 1).rank == 1

def test_as_many_names_as_classes(tiny, x):
    for target in 1, 'b':
        with pytest.raises(ValueError, match='3 names for the 5 classes of the model'): grad_cam(tiny, '1', x, target, class_names=list('abc'))
    with pytest.raises(ValueError, match='3 names for the 5 classes'): verdict(torch.zeros(5), 1, list('abc'))

class NoBatchedBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x.exp()
    @staticmethod
    def backward(ctx, g): return torch.from_numpy(g.numpy())*ctx.saved_tensors[0].exp()

def test_what_cannot_be_batched_goes_class_by_class(monkeypatch):
    class Exp(nn.Module):
        def forward(self, x): return NoBatchedBackward.apply(x)
    m = nn.Sequential(nn.Conv2d(3, 4, 3), Exp(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    x, gone = torch.randn(2, 3, 8, 8), backward_passes(monkeypatch)
    maps = class_maps(m, ['0'], x)['0']
    assert len(gone) == 6    # all together, which fails, then one for each
    for k in range(5): close(maps[:, k], grad_cam(m, '0', x, k))

@pytest.mark.parametrize('at_once', [1, 400_000, 2**24])    # bytes: one class, three, all
def test_the_gradients_of_a_class_do_not_depend_on_who_shares_the_pass(net, x, at_once, monkeypatch):
    from petcam.engine import backward
    monkeypatch.setattr(backward, '_AT_ONCE', at_once)
    for j, m in enumerate(class_maps(net, ['layer2'], x)['layer2'].transpose(0, 1)):
        if j % 12 == 0: close(m, grad_cam(net, 'layer2', x, j))

def test_the_model_the_input_and_the_random_state_stay_as_found(tiny, x):
    tiny.train()
    tiny(x).sum().backward() # gradients that are the caller's own
    tiny[0].weight.requires_grad_(False)
    before, x0 = state(tiny), x.clone()
    grad_cam(tiny, '1', x, 2); class_maps(tiny, ['0', '2'], x); layers_of(tiny, x)
    for bad in [lambda: grad_cam(tiny, '1', x, 9), lambda: grad_cam(tiny, '6', x, 0),
                lambda: grad_cam(tiny, '1', x, lambda y: y.argmax(1)), lambda: grad_cam(tiny, '1', x, lambda y: 1/0)]:
        with pytest.raises((ValueError, ZeroDivisionError)): bad()
    with pytest.raises(ValueError, match="takes 3 channels, x has 2"): grad_cam(tiny, '1', x[:, :2], 0)
    assert same(before, state(tiny)) and torch.equal(x, x0)

def test_an_in_place_first_layer_does_not_change_the_input(x):
    m, x0 = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), x.clone()
    grad_cam(m, '1', x, 0); layers_of(m, x); class_maps(m, ['0'], x)
    assert torch.equal(x, x0)

def test_two_hundred_calls_leave_memory_and_hooks_where_they_were(tiny):
    x = torch.randn(4, 3, 128, 128)                                             # 1 MB of activations a call
    def resident(): return int(Path('/proc/self/statm').read_text().split()[1])*4096 if Path('/proc/self/statm').exists() else 0
    first = grad_cam(tiny, '2', x, 0)
    for _ in range(20): grad_cam(tiny, '2', x, 0)
    before = resident()
    for _ in range(200): last = grad_cam(tiny, '2', x, 0)
    assert resident()-before < 40e6, 'more than 40 MB stayed'
    assert state(tiny)[-1] == 0 and last.grad_fn is None and torch.equal(first, last)

def test_an_exception_inside_the_model_leaves_nothing_behind(tiny, x):
    def fail(*_): raise OSError('disk on fire')
    tiny.train()
    handle = tiny[4].register_forward_hook(fail)
    before = state(tiny)
    for call in (lambda: grad_cam(tiny, '1', x, 0), lambda: class_maps(tiny, ['0', '2'], x), lambda: layers_of(tiny, x)):
        with pytest.raises(OSError, match='on fire'): call()
    assert same(before, state(tiny))
    handle.remove()

def test_threads_do_not_disturb_each_other(tiny):
    images = [torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    want = [grad_cam(tiny, '1', p, i) for i, p in enumerate(images)]
    slowly = tiny[2].register_forward_hook(lambda *_: time.sleep(.002))         # gives the others their chance
    tiny.train(); before = state(tiny)
    def work(i): return [torch.equal(grad_cam(tiny, '1', images[i], i), want[i]) for _ in range(10)]
    with ThreadPoolExecutor(4) as pool: assert all(all(o) for o in pool.map(work, range(4)))
    assert same(before, state(tiny))
    slowly.remove()

def test_a_thread_that_only_uses_the_model_is_not_watched(tiny, x):
    tiny.eval()
    with watch(tiny[1]) as kept, ThreadPoolExecutor(1) as pool:
        pool.submit(tiny, x).result()
        assert kept == []
        tiny(x[:1])
    assert len(kept) == 1 and len(kept[0]) == 1

def test_pooling_and_linear_is_the_class_activation_map(tiny, x):
    a, w = tiny[:3](x).detach(), tiny[6].weight.detach() # (b,c,h,w), (k,c)
    close(grad_cam(tiny, '2', x, 3), torch.einsum('c,bchw->bhw', w[3], a)/a[0, 0].numel())

def test_targets_of_every_kind(tiny, x):
    import numpy as np
    want = torch.cat([grad_cam(tiny, '2', x[:1], 1), grad_cam(tiny, '2', x[1:], 4)])
    for t in [[1, 4], (1, 4), torch.tensor([1, 4]), np.array([1, 4]), lambda y: y[[0, 1], [1, 4]]]:
        close(grad_cam(tiny, '2', x, t), want)
    close(grad_cam(tiny, '2', x, ['b', 'e'], class_names=list('abcde')), want)
    close(grad_cam(tiny, '2', x), grad_cam(tiny, '2', x, tiny(x).argmax(1)))
    for t in [3, torch.tensor(3), np.int64(3), 'd']: close(grad_cam(tiny, '2', x, t, class_names=list('abcde')), grad_cam(tiny, '2', x, [3, 3]))
    versus = grad_cam(tiny, '2', x, lambda y: y[:, 1] - y[:, 4])
    close(versus, grad_cam(tiny, '2', x, 1) - grad_cam(tiny, '2', x, 4))

def test_the_map_is_signed_and_relu_is_the_papers(tiny, x):
    m = grad_cam(tiny, '1', x, 2)
    assert (m < 0).any() and torch.equal(grad_cam(tiny, '1', x, 2, signed=False), m.clamp(min=0))

@pytest.mark.parametrize('names', [['layer4'], ['layer1.0.bn1', 'layer3', 'layer4.2.bn2', 'layer4']])
def test_class_maps_equal_one_call_for_each(net, x, names):
    ks = [0, 7, 36]
    got = class_maps(net, names, x, targets=ks)
    assert list(got) == names
    for n in names:
        for j, k in enumerate(ks): close(got[n][:, j], grad_cam(net, n, x, k))

def test_class_maps_of_every_class_with_modules_as_keys_on_a_frozen_model(net, x):
    m = copy.deepcopy(net).requires_grad_(False).train()
    got = class_maps(m, [m.layer4, 'layer4'], x[:1])
    assert got['layer4'].shape == (1, 37, 3, 3) and m.training
    close(got[m.layer4], got['layer4'])
    close(got['layer4'][:, 11], grad_cam(net, 'layer4', x[:1], 11))

@pytest.mark.parametrize('layer,target,says', [
    ('1', 5, 'class 5 is out of range: there are 5, 0 to 4'), ('1', -1, 'class -1 is out of range'),
    ('1', [1, 2, 3], '3 targets for 2 images'), ('1', [1], '1 targets for 2 images'),
    ('1', 'pug', 'pass class_names='), ('7', 0, "no layer '7'"), ('6', 0, r"layer '6' gives \(2, 5\).*usable layers are 0, 1, 2"),
    ('4', 0, r'gives \(2, 4\)'), (nn.ReLU(), 0, 'did not run'), ('1', lambda y: y.detach().sum(1), 'does not depend'),
    ('1', lambda y: y[:1, 0], 'one number for each of the 2 images')])
def test_what_cannot_be_answered_is_an_error_that_says_why(tiny, x, layer, target, says):
    with pytest.raises(ValueError, match=says): grad_cam(tiny, layer, x, target)

def test_more_errors(net, tiny, x):
    with pytest.raises(ValueError, match="'layer1.0.relu' ran 2 times"): grad_cam(net, 'layer1.0.relu', x, 0)
    with pytest.raises(ValueError, match="no class 'pugg'.*pug"): grad_cam(tiny, '1', x, 'pugg', class_names=['pug', 'beagle', 'c', 'd', 'e'])
    with pytest.raises(ValueError, match=r'x\[None\]'): grad_cam(tiny, '1', x[0], 0)
    with pytest.raises(ValueError, match='1 values that are not finite'): grad_cam(tiny, '1', torch.where(x == x.max(), torch.nan, x), 0)
    with pytest.raises(TypeError, match='whole number or a name, got 1.5'): grad_cam(tiny, '1', x, 1.5)
    with pytest.raises(ValueError, match='out of range'): class_maps(tiny, ['1'], x, targets=[5])
    with pytest.raises(ValueError, match='no layer or no class'): class_maps(tiny, ['1'], x, targets=[])
    with pytest.raises(ValueError, match='expected logits'): grad_cam(tiny[:3], '1', x, 0)
    with torch.inference_mode(): made = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match='inference_mode'): grad_cam(made, '0', x, 0)

def test_verdict_on_the_lessons_own_logits():
    y = torch.full((37,), -1.5)
    y[15], y[25], y[0] = 3., 1., 2.
    v = verdict(y, 25)
    p = torch.tensor([3., 1., 2.] + [-1.5]*34).softmax(0)
    assert (v.rank, v.of, v.top) == (3, 37, 'class 15') and abs(v.probability - p[1]) < 1e-6
    assert 'the model predicts class 15' in str(v) and 'predicts' not in str(verdict(y, 15))
