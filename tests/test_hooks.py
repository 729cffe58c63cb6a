"Promises of petcam.hooks and engine.layers: what is kept is what the layer gave, and the model stays as it was."
import pytest, torch
from torch import nn
from torchvision.models import resnet34
from petcam.engine.layers import find_layer, layers_of, name_of, why_no_map
from petcam.engine.modes import eval_mode
from petcam.hooks import hook_output, watch


def hooks(model): return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())

def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Dropout(.5), nn.Linear(4, 5)).eval()

@pytest.fixture
def x(): return torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))

def test_watch_keeps_what_the_layer_gave_although_it_is_overwritten(x):
    m = tiny()
    with torch.no_grad(): want, out = m[1](m[0](x)), m(x)
    with watch(m[1]) as kept: y = m(x)
    assert (want < 0).any()                      # so the in-place ReLU does change it
    assert torch.equal(kept[0], want)
    assert torch.equal(y, out)                   # and watching does not change the answer
    assert kept[0].is_leaf and kept[0].requires_grad

@pytest.mark.parametrize('name', ['bn1', 'layer1.0.bn1', 'layer1.0.bn2', 'layer3.2.bn2', 'layer4.2.bn2', 'layer4'])
def test_hook_output_on_in_place_layers_of_resnet34(name):
    torch.manual_seed(0)
    m, x = resnet34().eval(), torch.randn(1, 3, 64, 64)
    layer, want = m.get_submodule(name), []
    h = layer.register_forward_hook(lambda mod, inp, out: want.append(out.detach().clone()))
    with torch.no_grad(): m(x)
    h.remove()
    with hook_output(layer) as h: m(x)
    assert torch.equal(h.stored, want[0]) and hooks(m) == 0

def test_hook_output_gradient_equals_autograd_even_when_all_is_frozen(x):
    m = tiny()
    a = m[1](m[0](x)).detach().requires_grad_()
    (want,) = torch.autograd.grad(m[3:](a.relu())[0, 2], a)
    for p in m.parameters(): p.requires_grad_(False)
    with hook_output(m[1], grad=True) as h: m(x)[0, 2].backward()
    assert isinstance(h.stored, list) and len(h.stored) == 1
    torch.testing.assert_close(h.stored[0], want)

def test_both_hooks_of_the_lesson_on_one_layer(x):
    m = tiny()
    with hook_output(m[2]) as a, hook_output(m[2], grad=True) as g: m(x)[0, 1].backward()
    want = m[:3](x)
    torch.testing.assert_close(a.stored, want)
    torch.testing.assert_close(g.stored[0][0], m[6].weight[1][:, None, None].expand_as(want[0])/(7*9))

@pytest.mark.parametrize('hook', [watch, hook_output, lambda m: hook_output(m, grad=True)])
def test_no_hook_stays_after_an_exception(hook, x):
    m = tiny()
    with pytest.raises(RuntimeError), hook(m[0]): m(x[:, :2])
    assert hooks(m) == 0

def test_remove_twice_does_no_harm(x):
    m = tiny()
    h = hook_output(m[0])
    h.remove(); h.remove()
    m(x)
    assert h.stored is None and hooks(m) == 0

def test_hook_on_a_tuple_names_what_it_got():
    m = nn.LSTM(3, 4)
    with pytest.raises(TypeError, match='LSTM gives a tuple'), watch(m): m(torch.zeros(2, 1, 3))
    assert hooks(m) == 0

def test_eval_mode_restores_each_mode_and_the_random_state():
    m = tiny().train()
    m[1].eval()
    modes, state = [o.training for o in m.modules()], torch.get_rng_state()
    with pytest.raises(KeyError), eval_mode(m):
        assert not any(o.training for o in m.modules())
        torch.rand(3)
        raise KeyError
    assert [o.training for o in m.modules()] == modes and torch.equal(torch.get_rng_state(), state)

def test_find_layer_by_module_or_name_and_its_errors():
    m = resnet34()
    assert find_layer(m, 'layer4.2') is m.layer4[2] is find_layer(m, m.layer4[2])
    with pytest.raises(ValueError, match="no layer 'layer5'.*layer4"): find_layer(m, 'layer5')
    with pytest.raises(ValueError, match='conv1, bn1'): find_layer(m, 'zzz')
    with pytest.raises(TypeError, match='int 4'): find_layer(m, 4)
    with pytest.raises(ValueError, match='the nearest names are module.layer4$'): find_layer(nn.DataParallel(m), 'layer4')

def test_a_part_from_torch_jit_is_passed_over_and_refused_by_name():
    m = tiny()
    m[1] = torch.jit.script(nn.Sequential(nn.BatchNorm2d(4))).eval()
    assert list(layers_of(m, torch.randn(1, 3, 9, 11))) == ['0', '2'] and hooks(m) == 0
    for layer in '1', '1.0', m[1]:
        with pytest.raises(ValueError, match='ScriptModule, which takes no hooks'): find_layer(m, layer)

def test_a_model_from_torch_compile_is_refused_with_what_to_give_instead():
    m, inside, x = torch.compile(tiny()), tiny(), torch.randn(1, 3, 9, 11)
    inside.compile()
    for call in (lambda: layers_of(m, x), lambda: find_layer(m, '_orig_mod.1'), lambda: find_layer(inside, '1')):
        with pytest.raises(ValueError, match='model._orig_mod has the same weights'): call()
    assert list(layers_of(m._orig_mod, x)) == ['0', '1', '2']
    with pytest.raises(ValueError, match='the model is a TopLevelTracedModule, which takes no hooks'): layers_of(torch.jit.trace(tiny(), x), x)
    with pytest.raises(TypeError, match='model must be an nn.Module, got Tensor; the order is model, layer, x'): find_layer(x, '1')

@pytest.mark.parametrize('x', [None, torch.zeros(3, 9, 9), torch.zeros(1, 3, 9, 9, dtype=torch.uint8)])
def test_layers_of_needs_a_batch(x):
    with pytest.raises(ValueError, match='x must be a float batch'): layers_of(tiny(), x)

class ChannelsLast(nn.Module):
    def forward(self, x): return x.permute(0, 2, 3, 1)

class OneSize(nn.Module):
    def forward(self, x): assert x.shape[-2:] == (64, 64); return x

@pytest.mark.parametrize('stride', [(1, 4), (4, 1), (1, 2), (2, 8)])
def test_a_network_that_halves_one_side_more_often_has_maps_all_the_same(stride):
    m, x = nn.Sequential(nn.Conv2d(3, 24, stride, stride), ChannelsLast()), torch.randn(2, 3, 64, 64)
    assert layers_of(m, x) == {'0': (24, 64//stride[0], 64//stride[1])}

def test_a_network_that_takes_one_size_only_can_be_asked_too():
    m, x = nn.Sequential(OneSize(), nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 12, (1, 4), (1, 4)), ChannelsLast()), torch.randn(1, 3, 64, 64)
    assert list(layers_of(m, x)) == ['0', '1', '2']

@pytest.mark.parametrize('stride', [(1, 2), (2, 1), (1, 4)])
def test_a_head_that_takes_one_size_does_not_hide_the_layers_before_it(stride):
    m = nn.Sequential(nn.Conv2d(3, 24, stride, stride), nn.Conv2d(24, 16, stride, stride), nn.Flatten())
    x = torch.randn(1, 3, 64, 64)
    assert list(layers_of(m.append(nn.Linear(m(x).shape[1], 3)), x)) == ['0', '1'] and hooks(m) == 0

@pytest.mark.parametrize('channels', [6, 8, 10, 15, 16, 24])
def test_however_few_channels_come_last(channels):
    m = nn.Sequential(nn.Conv2d(3, channels, 8, 8), ChannelsLast(), nn.ReLU())
    assert list(layers_of(m, torch.randn(1, 3, 64, 64))) == ['0']

@pytest.mark.parametrize('size', [(64, 64), (96, 64)])
def test_a_table_of_attention_is_no_map(size):
    class Attention(nn.Module):
        def __init__(self): super().__init__(); self.patches, self.softmax = nn.Conv2d(3, 32, 8, 8), nn.Softmax(-1)
        def forward(self, x):
            tokens = self.patches(x).flatten(2).mT.unflatten(2, (4, 8)).transpose(1, 2)         # (b,heads,places,8)
            return self.softmax(tokens @ tokens.mT) @ tokens
    assert list(layers_of(Attention(), torch.randn(2, 3, *size))) == ['patches']

@pytest.mark.parametrize('size', [(7, 7), (None, 1), (1, None), (3, 7)])
def test_behind_a_pooling_to_a_fixed_size(size):
    m = nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(size), ChannelsLast())
    assert list(layers_of(m, torch.randn(2, 3, 64, 64))) == ['0', '1']

def test_the_probe_is_run_once_for_all_layers_and_only_in_doubt():
    m, x, seen = nn.Sequential(nn.Conv2d(3, 32, 2, 2), nn.Conv2d(32, 16, 2, 2), ChannelsLast()), torch.randn(2, 3, 64, 64), []
    m.register_forward_pre_hook(lambda m, inp: seen.append(tuple(inp[0].shape)))
    shapes = {'0': (2, 32, 32, 32), '1': (2, 16, 16, 16), '2': (2, 16, 16, 16)}
    assert list(why_no_map(m, shapes, x)) == ['2'] and seen == [(3, 3, 64, 64)]
    reasons = why_no_map(m, {'0': (2, 48, 32, 32), '1': (2, 9), '2': (1, 8, 32, 32)}, x)
    assert set(reasons) == {'1', '2'} and len(seen) == 1
    assert reasons['1'] == ('gives (2, 9) for images (2, 3, 64, 64), and a map needs (b,c,h,w): '
                            'channels second, and the rows and columns of the image')

class Bias(nn.Module): # a table of position biases, with and without a dimension for the images
    def __init__(self, images): super().__init__(); self.images, self.table = images, nn.Identity()
    def forward(self, x): return x + self.table(torch.ones(len(x) if self.images else 1, 4, 16, 16)).mean()

@pytest.mark.parametrize('images', [True, False])
def test_what_does_not_depend_on_the_image_is_told_so(images):
    m, x = Bias(images), torch.randn(1, 3, 64, 64)
    assert 'table' not in layers_of(m, x)
    assert why_no_map(m, {'table': (1, 4, 16, 16)}, x) == {'table': 'does not depend on the image'}

def test_the_probe_leaves_the_images_the_model_and_the_random_state():
    m, x = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), ChannelsLast()).train(), torch.rand(2, 3, 64, 64)
    before, x0, state = {k: v.clone() for k, v in m.state_dict().items()}, x.clone(), torch.get_rng_state()
    first = layers_of(m, x)
    assert list(first) == ['0', '1'] and first == layers_of(m, x) == layers_of(m, x*0) == layers_of(m, x[:0]) == layers_of(m.double(), x.double())
    assert torch.equal(x, x0) and torch.equal(torch.get_rng_state(), state) and m.training and hooks(m) == 0
    assert all(torch.equal(v, before[k].to(v)) for k, v in m.state_dict().items())

def test_no_layer_named_is_the_last_usable_one():
    m, x, seen = resnet34(), torch.randn(1, 3, 64, 64), []
    m.register_forward_pre_hook(lambda m, inp: seen.append(len(inp[0])))
    assert find_layer(m, None, x) is m.layer4 and seen == [1]          # its shape is clear: no probe
    last = nn.Sequential(nn.Conv2d(3, 16, 4, 4), ChannelsLast())
    assert name_of(last, find_layer(last, None, x)) == '0'
    with pytest.raises(TypeError, match='needs x'): find_layer(m, None)
    with pytest.raises(ValueError, match='nothing to make a map of'): find_layer(nn.Flatten(), None, x)

def test_layers_of_equals_a_slow_loop_and_leaves_no_trace(x):
    m = tiny().train()
    stats, state = m[1].running_mean.clone(), torch.get_rng_state()
    got = layers_of(m, x)
    want, a = {}, x
    for n, layer in tiny().named_children():
        a = layer(a)
        if a.dim() == 4 and a.shape[2] > 1: want[n] = tuple(a.shape[1:])
    assert got == want and list(got) == ['0', '1', '2']
    assert m.training and torch.equal(m[1].running_mean, stats) and torch.equal(torch.get_rng_state(), state)
    assert hooks(m) == 0

def test_layers_of_resnet34_in_order_and_without_what_runs_twice():
    m = resnet34()
    got = layers_of(m, torch.zeros(1, 3, 352, 352))
    assert got['layer4'] == (512, 11, 11) and list(got)[:2] == ['conv1', 'bn1']
    assert list(got)[-3:] == ['layer4.2.bn2', 'layer4.2', 'layer4']
    assert 'layer1.0.relu' not in got and 'avgpool' not in got and 'fc' not in got
