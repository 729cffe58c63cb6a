"Promises of petcam.hooks: what is kept is what the layer gave, and the model stays as it was."
import pytest, torch
from torch import nn
from torchvision.models import resnet34
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

def by_captum(net, layer, x):
    from captum.attr import LayerGradCam
    return LayerGradCam(net, layer).attribute(x, 2, relu_attributions=True)[0, 0].detach()

def by_grad_cam(net, layer, x):
    GradCAM = pytest.importorskip('pytorch_grad_cam', reason='grad-cam is not installed').GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    with GradCAM(net, [layer]) as cam:
        cam(x, [ClassifierOutputTarget(2)])
        kept = cam.activations_and_grads
        map = cam.get_cam_image(x, layer, None, kept.activations[0].numpy(), kept.gradients[0].numpy(), False)
    return torch.tensor(map)[0].relu()

def by_torchcam(net, layer, x):
    methods = pytest.importorskip('torchcam.methods', reason='torchcam is not installed')
    with methods.GradCAM(net, layer) as cam: return cam(2, net(x), normalized=False)[0][0]

@pytest.mark.parametrize('inplace', [False, True])
@pytest.mark.parametrize('library, wrong', [(by_captum, False), (by_grad_cam, True), (by_torchcam, True)]) # as lesson 06 says, which names the versions
def test_libraries_whose_map_is_wrong_where_a_relu_overwrites_the_layer(x, library, wrong, inplace):
    m, x = tiny(), x[:1]
    m[1].bias.data.copy_(torch.tensor([.5, -1., 1., -.5]))
    m[2].inplace = inplace
    a = m[1](m[0](x)).detach().requires_grad_()
    g, = torch.autograd.grad(m[3:](a.relu())[0, 2], a)
    want = (g.mean((2, 3), keepdim=True)*a).sum(1).relu()[0].detach()
    assert want.max() > 1e-3
    assert torch.allclose(library(m, m[1], x), want, atol=1e-6) == (not (wrong and inplace))

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


@pytest.mark.parametrize('layer', [None, 'layer4', 3])
def test_a_hook_needs_a_module(layer):
    with pytest.raises(TypeError, match='a hook goes on a module, got'), watch(layer): pass
    with pytest.raises(TypeError, match='a hook goes on a module, got'): hook_output(layer)

def test_a_hook_that_nobody_holds_is_gone(x):
    m = tiny()
    h = hook_output(m[0])                         # without a `with`, as with fastai
    m(x)
    assert h.stored.shape == (2, 4, 7, 9) and hooks(m) == 1
    del h
    assert hooks(m) == 0
