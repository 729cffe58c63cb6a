"""On a GPU: the same maps, scores and trainings as on the CPU, and nothing left behind. Skipped where there is none."""
import copy
from dataclasses import replace
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18, vit_b_16

import petcam
from petcam.engine.imputation import impute
from petcam.engine.layers import layers_of
from petcam.engine.randomization import randomized_by_layer
from petcam.engine.scoring import auc, deletion, insertion
from petcam.files.storage import cache_dir
from petcam.gradcam import class_maps, grad_cam
from petcam.grids import dipart, grid_localisation, grid_pointing
from petcam.localise import randomize_weights
from petcam.methods import METHODS, class_activation_map, maps_of, score_cam
from petcam.onecycle import cnn_learner
from petcam.data import get_data
from petcam.toy.scenes import draw_pet, make_toypets
from petcam.truth import difull

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')

@pytest.fixture(autouse=True)
def full_precision(): # TF32 keeps ten bits of a product
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before

@pytest.fixture(scope='module')
def nets(): # the same network twice, on CPU and GPU
    torch.manual_seed(0)
    net = resnet18(num_classes=37).eval()
    return net, copy.deepcopy(net).cuda()

@pytest.fixture(scope='module')
def x(): return torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(1))

def close(gpu, cpu, at=1e-3): # in units of the largest value
    assert gpu.device.type == 'cuda'
    torch.testing.assert_close(gpu.cpu()/cpu.abs().max(), cpu/cpu.abs().max(), rtol=0, atol=at)

@pytest.mark.parametrize('method', METHODS)
def test_a_map_is_that_of_the_cpu(nets, x, method):
    cpu, gpu = nets
    for layer in ('layer3', 'layer4'):
        close(grad_cam(gpu, layer, x.cuda(), 5, method=method), grad_cam(cpu, layer, x, 5, method=method))

def test_all_classes_and_the_methods_without_a_gradient(nets, x):
    cpu, gpu = nets
    for layer, m in class_maps(gpu, ['layer3', 'layer4'], x.cuda()).items(): close(m, class_maps(cpu, layer, x)[layer])
    for name, m in maps_of(gpu, 'layer4', x.cuda(), 5).items(): close(m, maps_of(cpu, 'layer4', x, 5)[name])
    close(class_activation_map(gpu, 'layer4', x.cuda(), 5), class_activation_map(cpu, 'layer4', x, 5))
    close(score_cam(gpu, 'layer4', x[:1].cuda(), 5), score_cam(cpu, 'layer4', x[:1], 5))

def test_the_same_layers_are_offered(nets, x):
    cpu, gpu = nets
    assert layers_of(gpu, x.cuda()) == layers_of(cpu, x)
    vit = vit_b_16(num_classes=5).eval()
    own = torch.randn(1, 3, 224, 224)
    assert layers_of(copy.deepcopy(vit).cuda(), own.cuda()) == layers_of(vit, own)

def test_curves_and_random_weights(nets, x):
    cpu, gpu = nets
    maps = grad_cam(cpu, 'layer4', x, 5)
    for curve in (insertion, deletion):
        torch.testing.assert_close(auc(curve(gpu, x.cuda(), maps.cuda(), 5)), auc(curve(cpu, x, maps, 5)), rtol=0, atol=2e-3)
    a, b = randomize_weights(gpu, x.cuda(), 1), randomize_weights(gpu, x.cuda(), 1)
    assert all(torch.equal(p, q) and p.is_cuda for p, q in zip(a.state_dict().values(), b.state_dict().values()))
    assert not torch.equal(a.conv1.weight, gpu.conv1.weight)

def test_the_model_and_the_random_state_stay(nets, x):
    gpu, some = nets[1], torch.rand(3, 4, 4)
    before, states = copy.deepcopy(gpu.state_dict()), (torch.get_rng_state(), torch.cuda.get_rng_state())
    gpu.train()
    for call in (lambda: grad_cam(gpu, 'layer4', x.cuda(), 5), lambda: layers_of(gpu, x.cuda()), lambda: randomize_weights(gpu, x.cuda()),
                 lambda: insertion(gpu, x.cuda(), some, 5), lambda: score_cam(gpu, 'layer4', x[:1].cuda(), 5)):
        call()
        assert all(m.training for m in gpu.modules())
        assert all(p.grad is None and p.requires_grad for p in gpu.parameters())
        assert [k for k, v in gpu.state_dict().items() if not torch.equal(v, before[k])] == []
        assert torch.equal(states[0], torch.get_rng_state())
        assert torch.equal(states[1], torch.cuda.get_rng_state())
    gpu.eval()

def test_images_on_the_other_device_are_an_error_that_says_so(nets, x):
    with pytest.raises(ValueError, match='cuda'): grad_cam(nets[1], 'layer4', x, 5)

def test_from_an_image_to_a_map_that_draws_itself(nets):
    image = draw_pet('beagle', 1)[0]
    seen = [petcam.explain(net, image, 5, 'layer4', mean=(.5,)*3, std=(.5,)*3, size=128) for net in nets]
    assert np.abs(seen[0].overlay().astype(int) - seen[1].overlay()).max() <= 2
    assert seen[0].words.split(':')[0] == seen[1].words.split(':')[0]

def test_bf16_autocast(nets, x):
    gpu = nets[1]
    with torch.autocast('cuda', torch.bfloat16): coarse = grad_cam(gpu, 'layer4', x.cuda(), 5)
    fine = grad_cam(gpu, 'layer4', x.cuda(), 5)
    assert coarse.dtype == torch.float32
    assert nn.functional.cosine_similarity(coarse.flatten(1), fine.flatten(1)).min() > .99

def test_an_epoch_on_the_gpu_goes_on_on_the_cpu(tmp_path):
    data = get_data(64, 32, path=make_toypets(cache_dir()/'toypets'))
    assert data.device.type == 'cuda'
    learn = cnn_learner(data, model_dir=tmp_path)
    learn.fit_one_cycle(1, slice(1e-2))
    loss, error = learn.validate()
    assert error < .9 # of 37 classes, by chance .97
    learn.save('gpu')
    again = cnn_learner(replace(data, device=torch.device('cpu')), model_dir=tmp_path, precision='fp32')
    again.load('gpu')
    assert abs(again.validate()[0] - loss) < .05

def test_curves_of_several_maps(nets, x):
    cpu, gpu = nets
    maps = torch.stack([*maps_of(cpu, 'layer4', x, 5).values()])
    for curve in (insertion, deletion):
        torch.testing.assert_close(curve(gpu, x.cuda(), maps.cuda(), 5), curve(cpu, x, maps, 5), rtol=0, atol=2e-3)

def test_mosaics_whose_right_cell_is_known(nets):
    cpu, gpu = nets
    cells = torch.randn(2, 4, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    for game in (difull, grid_pointing, dipart):
        ours = game(gpu, 'layer3', cells.cuda(), [[0, 1, 2, 3]]*2)
        for name, maps in game(cpu, 'layer3', cells, [[0, 1, 2, 3]]*2).items():
            torch.testing.assert_close(grid_localisation(ours[name]).cpu(), grid_localisation(maps), rtol=0, atol=5e-3)

def test_missing_pixels_are_filled_in_as_on_the_cpu(x):
    missing = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(3)) < .5
    close(impute(x.cuda(), missing.cuda(), noise=0.), impute(x, missing, noise=0.), at=1e-4)

def test_random_weights_layer_by_layer(nets, x):
    gpu = nets[1]
    before = copy.deepcopy(gpu.state_dict())
    last = [model for _, model in randomized_by_layer(gpu, x.cuda())][-1]
    assert last.conv1.weight.is_cuda and not torch.equal(last.conv1.weight, before['conv1.weight'])
    assert all(torch.equal(v, before[k]) for k, v in gpu.state_dict().items())

def test_a_check_answers_as_on_the_cpu(nets, x):
    drawn = {'trained', 'weights'} # random weights: each device has its own
    ours, theirs = (petcam.check(net, 'layer4', x.to(net.conv1.weight.device), 5).checks for net in nets[::-1])
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - drawn:
        assert ours[name].passed == theirs[name].passed, name
        assert ours[name].number == pytest.approx(theirs[name].number, abs=.02, nan_ok=True), name
