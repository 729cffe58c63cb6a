"""The head, the groups and the summary have the lesson's numbers."""
from ast import literal_eval
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models
from petcam.head import create_body, create_cnn, layer_groups, set_frozen
from petcam.training.summary import summary

@pytest.fixture(scope='module')
def model():
    model = create_cnn('resnet34', 37, bn_final=True)
    set_frozen(model)
    return model

def rows_of(text):
    for line in text.split('\n')[3:]:
        if line and not line.startswith(('_', 'Total')):
            name, rest = line[:20].strip(), line[20:]
            shape, params, trained = rest[rest.index('['):rest.index(']')+1], *rest[rest.index(']')+1:].split()
            yield [name, literal_eval(shape), int(params.replace(',', '')), trained == 'True']

def test_summary_equals_the_lessons_row_by_row(model, golden):
    assert list(rows_of(summary(model, torch.zeros(1,3,224,224)))) == golden['learn_summary_seed_source_224']['rows']

def test_summary_at_352(model, golden):
    shapes = [shape for _, shape, _, _ in rows_of(summary(model, torch.zeros(1,3,352,352)))]
    assert shapes == golden['learn_summary_seed_source_352_row_shapes']

def test_summary_changes_nothing(model):
    model.train(); model[0][1].eval()
    before, stats = [m.training for m in model.modules()], model[0][1].running_mean.clone()
    summary(model, torch.rand(1,3,64,64))
    assert [m.training for m in model.modules()] == before and torch.equal(stats, model[0][1].running_mean)
    assert not any(m._forward_hooks for m in model.modules())

def test_every_parameter_is_in_one_group(model):
    grouped = [id(p) for g in layer_groups(model) for p in g.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())

def test_frozen_batch_norms_still_learn():
    model = create_cnn('mobilenet_v3_small', 3); set_frozen(model)
    conv, norm = model[0][0][0], model[0][0][1]
    before = conv.weight.clone(), norm.weight.clone(), norm.running_mean.clone()
    opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], .1)
    nn.functional.cross_entropy(model.train()(torch.rand(4,3,64,64)), torch.tensor([0,1,2,0])).backward(); opt.step()
    assert torch.equal(before[0], conv.weight)
    assert not torch.equal(before[1], norm.weight) and not torch.equal(before[2], norm.running_mean)

@pytest.mark.parametrize('arch', ['resnet18', 'mobilenet_v2', 'vgg11_bn', 'densenet121', 'efficientnet_b0', 'convnext_tiny', 'shufflenet_v2_x0_5', 'regnet_y_400mf'])
def test_body_is_the_network_without_its_end(arch):
    net = getattr(models, arch)().eval()
    body = create_body(lambda: net)
    seen = {}
    with torch.no_grad(): ours = body.eval()(torch.ones(1,3,64,64))
    pool = next((m for m in net.modules() if isinstance(m, nn.AdaptiveAvgPool2d) and m not in set(body.modules())), None)
    if arch == 'densenet121': ours = ours.relu()                  # its `forward` has one more; fastai's body had not, nor has ours
    if pool is None: pool, ours = [m for m in net.modules() if isinstance(m, nn.Linear)][-1], ours.mean((2, 3)) # these pool inside forward
    pool.register_forward_hook(lambda m, inp, out: seen.update(x=inp[0]))
    with torch.no_grad(): net(torch.ones(1,3,64,64))
    torch.testing.assert_close(ours, seen['x'])

@pytest.mark.parametrize('arch', ['mobilenet_v2', 'mobilenet_v3_small', 'efficientnet_b0', 'resnet18'])
def test_no_activation_is_copied_in_training(arch):
    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            copied.append(func is torch.ops.aten.clone.default)
            return func(*args, **kwargs or {})
    copied, body = [], create_body(arch).train()
    with Copies(): body(torch.randn(2, 3, 64, 64))
    assert copied and not any(copied)

def test_weights_from_a_file(tmp_path):
    net = models.resnet18()
    torch.save(net.state_dict(), tmp_path/'w.pth')
    body = create_body('resnet18', tmp_path/'w.pth')
    assert torch.equal(body[4][0].conv1.weight, net.layer1[0].conv1.weight)
    with pytest.raises(ValueError, match='do not fit'): create_body('mobilenet_v2', tmp_path/'w.pth')
    (tmp_path/'bad.pth').write_bytes((tmp_path/'w.pth').read_bytes()[:1000])
    with pytest.raises(ValueError, match='not a whole file of weights'): create_body('resnet18', tmp_path/'bad.pth')

def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self): return (open, (str(tmp_path/'evil'), 'w'))
    torch.save(Evil(), tmp_path/'e.pth')
    with pytest.raises(ValueError): create_body('resnet18', tmp_path/'e.pth')
    assert not (tmp_path/'evil').exists()

def test_imagenet_weights_that_cannot_be_had_name_both_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    def closed(*args, **kwargs): raise OSError('no network')
    monkeypatch.setattr('torch.hub.download_url_to_file', closed)
    with pytest.raises(ConnectionError, match=r'put https://.*resnet18.* into .*weights=.toy.'): create_body('resnet18', 'imagenet')

@pytest.mark.parametrize('where', ['weights-of-mine', 'datasets/someone/weights'])
def test_imagenet_weights_attached_on_kaggle_are_taken(monkeypatch, tmp_path, where):
    from petcam.training.weights import _imagenet
    def closed(*args, **kwargs): raise OSError('no network')
    monkeypatch.setattr('torch.hub.download_url_to_file', closed)
    folder = tmp_path/where; folder.mkdir(parents=True)
    torch.save({'a': torch.ones(2)}, folder/'resnet18-f37072fd.pth')
    assert _imagenet('resnet18', tmp_path)['a'].tolist() == [1, 1]

@pytest.mark.parametrize('arch', ['vit_b_16', 'inception_v3'])
def test_a_network_that_cannot_be_cut_says_so(arch):
    with pytest.raises(ValueError, match=f'{arch} cannot be cut'): create_cnn(arch, 2)

@pytest.mark.parametrize('arch', ['deeplabv3_resnet50', 'raft_small', 'r3d_18'])
def test_only_networks_that_classify_images_are_offered(arch):
    with pytest.raises(ValueError, match=f"'{arch}' does not exist; the nearest"): create_cnn(arch, 2)

@pytest.mark.parametrize('value, said', [(7, 'do not fit'), (float('nan'), 'not finite')])
def test_weights_that_hold_something_else_are_refused(tmp_path, value, said):
    state = models.resnet18().state_dict()
    name = 'layer1.0.conv1.weight'
    state[name] = value if isinstance(value, int) else state[name]*value
    torch.save(state, tmp_path/'w.pth')
    with pytest.raises(ValueError, match=f'{said}.*{name}|{name}.*{said}'): create_body('resnet18', tmp_path/'w.pth')

def test_weights_that_are_wrapped_are_unwrapped(tmp_path):
    net = models.resnet18()
    torch.save({'state_dict': net.state_dict(), 'epoch': 3}, tmp_path/'w.pth')
    assert torch.equal(create_body('resnet18', tmp_path/'w.pth')[0].weight, net.conv1.weight)
