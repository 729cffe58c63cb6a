"Promises of petcam.explain: any image of any model, prepared as the model was trained, and the map where the model has looked."
import copy, time, warnings
import numpy as np
import pytest, torch
from PIL import Image
from torch import nn
from torchvision import transforms as T
from torchvision.transforms import v2
import petcam
from petcam.engine.preparation import class_names_of, preparation_for
from petcam.explore import CamExplorer, MapStore, explorer_fragment
from petcam.files.images import BadImage
from petcam.gradcam import grad_cam
from petcam.heatmap import overlay

def small(k=3, channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 5, stride=3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, k)).eval()

@pytest.fixture
def model(): return small()

def scene(w, h): # soft blobs: no two places alike, and smooth, so that any interpolation of it is nearly the same
    y, x = np.mgrid[0:h, 0:w]
    waves = [np.sin(x/w*a + y/h*b + c) for a, b, c in ((7, 2, 0), (3, -5, 1), (-4, 6, 2))]
    return Image.fromarray((127 + 100*np.stack(waves, 2)).astype(np.uint8))

@pytest.fixture
def photo(): return scene(150, 90)

NORM = [T.ToTensor(), T.Normalize((.5, .4, .3), (.2, .3, .4))]

# ---------- prepared as the model was trained ----------

CONFIGS = [dict(input_size=(3, 448, 448), mean=(.5,)*3, std=(.5,)*3, interpolation='bilinear', crop_pct=1.), # as BiT's
           dict(input_size=(3, 224, 224), interpolation='bicubic', crop_pct=.9), dict(input_size=(3, 96, 64), crop_pct=.8), dict(mean=(.1, .2, .3)),
           dict(input_size=(3, 100, 100), crop_mode='squash', crop_pct=.95), dict(input_size=(3, 64, 64), crop_mode='border', crop_pct=1.)]

@pytest.mark.parametrize('config', CONFIGS, ids=str)
@pytest.mark.parametrize('size', [(150, 90), (90, 151), (500, 375)])
def test_a_timm_model_is_given_what_timm_s_own_transform_makes(model, config, size):
    data = pytest.importorskip('timm.data')
    model.pretrained_cfg, image = config, scene(*size)
    want = data.create_transform(**data.resolve_data_config(model=model))(image)[None]
    x, whole, box = preparation_for(model)(image)
    assert x.shape == want.shape and (x - want).abs().max() < (.01 if config.get('crop_mode') == 'border' else 1e-6) # timm rounds the border's colour

def test_a_real_timm_model_gives_the_logit_of_its_own_preparation():
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    model, image = timm.create_model('resnetv2_50x1_bit', num_classes=10).eval(), scene(300, 200)
    assert model.pretrained_cfg['mean'] == (.5, .5, .5)
    model.pretrained_cfg = model.pretrained_cfg | dict(input_size=(3, 96, 96)) # quicker
    x = timm.data.create_transform(**timm.data.resolve_data_config(model=model))(image)[None]
    said = petcam.explain(model, image)
    assert said.verdict.logit == pytest.approx(float(model(x).max()), abs=1e-4) and said.box
    assert petcam.explain(nn.DataParallel(model), image).verdict.logit == pytest.approx(said.verdict.logit, abs=1e-4)

def test_a_model_with_a_size_of_its_own_gets_it():
    from torchvision.models import VisionTransformer
    vit = VisionTransformer(64, 16, 2, 2, 16, 16, num_classes=3).eval()
    assert preparation_for(vit)(scene(150, 90))[0].shape == (1, 3, 64, 64)

def tiny_hf():
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=8,
                                    id2label={0: 'cat', 1: 'dog', 2: 'sofa'}, label2id=dict(cat=0, dog=1, sofa=2))
    model = transformers.ViTForImageClassification(config).eval()
    for p in model.parameters(): nn.init.normal_(p, std=.2) if p.dim() > 1 else None
    return model, transformers.ViTImageProcessor(size=dict(height=64, width=64), image_mean=[.5]*3, image_std=[.5]*3)

def test_transformers_names_and_processor(photo):
    model, processor = tiny_hf()
    with pytest.raises(ValueError, match='transform=AutoImageProcessor'): petcam.explain(model, photo)
    y = model(**processor(images=photo, return_tensors='pt')).logits[0]
    said = petcam.explain(model, photo, transform=processor)
    assert said.verdict.name == ['cat', 'dog', 'sofa'][y.argmax()] and said.verdict.logit == pytest.approx(float(y.max()), abs=1e-4)
    assert said.box is None and said.overlay().shape == (90, 150, 3) and said.map.shape == (8, 8)
    assert petcam.explain(model, photo, 'sofa', mean=.5, std=.5).target == 2 and class_names_of(model) == ['cat', 'dog', 'sofa']
    store = MapStore(model, photo, transform=processor)
    torch.testing.assert_close(store.map(0, said.layer, said.target), said.map, atol=1e-5, rtol=1e-3)

def test_labels_that_say_nothing_are_no_names():
    transformers = pytest.importorskip('transformers')
    assert class_names_of(transformers.ViTForImageClassification(transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))) is None

# ---------- where was the crop? ----------

TRANSFORMS = { # and the box in a 150 x 90 image, by arithmetic
    'as it is': (T.Compose(NORM), None),
    'middle': (T.Compose([T.CenterCrop(60), *NORM]), (45, 15, 105, 75)),
    'resized, then the middle': (T.Compose([T.Resize(120), T.CenterCrop(80), *NORM]), (45, 15, 105, 75)),
    'a corner': (T.Compose([T.Lambda(lambda o: o.crop((0, 0, 50, 40))), T.Resize((100, 100)), *NORM]), (0, 0, 50, 40)),
    'other proportions': (T.Compose([T.Resize((64, 64)), *NORM]), None),
    'coarse': (T.Compose([T.Resize((64, 64), T.InterpolationMode.NEAREST), *NORM]), None),
    'with a border': (T.Compose([T.Pad((0, 30)), T.Resize((75, 75)), *NORM]), (0, -30, 150, 120)),
    'with a white border': (T.Compose([T.Pad((10, 20), fill=255), *NORM]), (-10, -20, 160, 110)),
    'grey': (T.Compose([T.Grayscale(), T.CenterCrop(60), T.ToTensor()]), (45, 15, 105, 75)),
    'inverted': (T.Compose([T.CenterCrop(60), T.ToTensor(), T.Lambda(lambda t: 1 - t)]), (45, 15, 105, 75)),
    'of a tensor': (lambda t: (t[:, 10:70, 20:120] - .5)/.2, (20, 10, 120, 70)),
    'of torchvision v2': (v2.Compose([v2.ToImage(), v2.Resize(120), v2.CenterCrop(80), v2.ToDtype(torch.float32, scale=True), v2.Normalize([.5]*3, [.2]*3)]), (45, 15, 105, 75)),
    'into numpy': (lambda o: np.asarray(o.crop((20, 10, 120, 70)), 'f4').transpose(2, 0, 1)/255, (20, 10, 120, 70)),
}

@pytest.mark.parametrize('name', TRANSFORMS)
@pytest.mark.parametrize('kind', ['Pillow', 'tensor'])
def test_the_box_of_any_transform_is_measured(photo, name, kind):
    transform, want = TRANSFORMS[name]
    image = photo if kind == 'Pillow' else T.functional.to_tensor(photo)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x, whole, box = preparation_for(nn.Identity(), transform)(image)
    torch.testing.assert_close(whole, T.functional.to_tensor(photo))
    assert box is want is None or np.abs(np.subtract(box, want)).max() < 1

SURPRISES = {
    'random crop': T.Compose([T.RandomResizedCrop(64, (.2, .5)), *NORM]), 'flipped': T.Compose([T.RandomHorizontalFlip(1), *NORM]),
    'rotated': T.Compose([T.Lambda(lambda o: o.rotate(10)), *NORM]), 'transposed': lambda t: t.transpose(1, 2),
    'bent': T.Compose([T.RandomPerspective(.6, 1), *NORM]), 'colours only': lambda t: torch.rand(3, 50, 50, generator=torch.Generator().manual_seed(0)) + 0*t.mean(),
    'each image by itself': lambda t: (t - t.mean())/t.std(),
}

@pytest.mark.parametrize('name', SURPRISES)
def test_a_box_that_cannot_be_known_is_not_guessed(model, photo, name):
    torch.manual_seed(1)
    with pytest.warns(UserWarning, match='cannot be told which part'): said = petcam.explain(model, photo, transform=SURPRISES[name])
    assert said.box is None and tuple(said.overlay().shape[:2]) == tuple(said.image.shape[1:])
    assert 0 <= said.image.min() and said.image.max() <= 1

def test_a_flip_that_happens_to_this_image_only_is_found(photo):
    dark = T.Compose([T.Lambda(lambda o: o.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if np.asarray(o).std() not in (0,) and len(o.getcolors(10**6) or []) > 300 else o), *NORM])
    with pytest.warns(UserWarning, match='cannot be told which part'): assert preparation_for(nn.Identity(), dark)(photo)[2] is None

def test_noise_is_no_reason_to_disbelieve_a_box():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for size in (20, 50, 224): assert preparation_for(small(), size=size)(torch.rand(3, 60, 100))[2]
        for h, w in ((20, 30), (7, 9), (64, 80), (300, 200)):
            image = torch.rand(3, h, w)
            torch.testing.assert_close(preparation_for(small())(image)[1], image)

def test_the_map_lies_where_the_model_has_looked(model):
    "Inside the box what `overlay` makes of the crop, to the byte; outside nothing has a colour"
    image = scene(150, 90)
    said = petcam.explain(model, image, 1, transform=T.Compose([T.CenterCrop(60), *NORM]))
    drawn, crop = said.overlay(), image.crop((45, 15, 105, 75))
    x = T.Compose(NORM)(crop)[None]
    torch.testing.assert_close(said.map, grad_cam(model, '3', x, 1)[0])
    assert np.abs(drawn[15:75, 45:105].astype(int) - overlay(crop, grad_cam(model, '3', x, 1)[0], .8, signed=True)).max() <= 1
    outside = np.ones((90, 150), bool)
    outside[15:75, 45:105] = False
    assert np.ptp(drawn[outside], axis=1).max() == 0 and drawn[outside].mean() < np.asarray(image)[outside].mean()

def test_a_learner_s_images_are_its_own(few_pets):
    from petcam.data import get_data
    from petcam.onecycle import cnn_learner
    learn = cnn_learner(get_data(48, 4, path=few_pets), 'squeezenet1_1', weights=None)
    file = learn.data.valid_ds.files[0] # 64 x 48
    said = petcam.explain(learn, file, 'beagle')
    x = learn.data.one_item(file)
    torch.testing.assert_close(said.map, grad_cam(learn.model, said.layer, x, 1)[0])
    assert said.verdict.name == 'beagle' and np.allclose(said.box, (8, 0, 56, 48), atol=1) and said.overlay().shape == (48, 64, 3)

# ---------- what comes in ----------

def test_every_kind_of_image_gives_the_same(model, photo, tmp_path):
    photo.save(tmp_path/'x.png')
    pixels = np.array(photo)
    kinds = [photo, tmp_path/'x.png', str(tmp_path/'x.png'), pixels, torch.tensor(pixels).permute(2, 0, 1)/255, photo.convert('RGBA')]
    said = [petcam.explain(model, kind, 1) for kind in kinds]
    for one in said: torch.testing.assert_close(one.map, said[0].map, atol=1e-5, rtol=1e-3)
    assert len({str(one) for one in said}) == 1

def test_a_photograph_that_lies_on_its_side_is_turned_once(model, photo, tmp_path):
    exif = Image.Exif(); exif[0x112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path/'x.png', exif=exif)
    for image in (tmp_path/'x.png', Image.open(tmp_path/'x.png')):
        said = petcam.explain(model, image, 1)
        assert said.overlay().shape == (90, 150, 3)
        torch.testing.assert_close(said.map, petcam.explain(model, photo, 1).map)

def test_a_folder_a_list_and_their_neighbours(model, photo, tmp_path):
    for name in 'ab': photo.save(tmp_path/f'{name}.png')
    (tmp_path/'broken.jpg').write_bytes(b'no image')
    with pytest.warns(UserWarning, match='1 of 3 images .* broken.jpg'): said = petcam.explain(model, tmp_path, 'class 1', class_names=[f'class {i}' for i in range(3)])
    assert [e.target for e in said] == [1, 1]
    assert [e.target for e in petcam.explain(model, (p for p in sorted(tmp_path.glob('*.png'))), [2, 0])] == [2, 0]
    assert len(petcam.explain(model, np.stack([np.array(photo)]*3))) == 3 and isinstance(petcam.explain(model, [photo]), list)
    with pytest.raises(BadImage, match='broken.jpg'): petcam.explain(model, [photo, tmp_path/'broken.jpg'])
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='no images'): petcam.explain(model, tmp_path/'empty')

def test_a_batch_is_the_input_as_it_is(model):
    x = torch.randn(2, 3, 40, 50)
    for one, m in zip(petcam.explain(model, x, [2, 0], '1'), grad_cam(model, '1', x, [2, 0])):
        torch.testing.assert_close(one.map, m)
        assert one.overlay().shape == (40, 50, 3) and one.box is None
    as_it_is = torch.rand(1, 3, 40, 50)
    torch.testing.assert_close(petcam.explain(model, as_it_is)[0].image, as_it_is[0])
    normalised = (as_it_is - torch.tensor([.485, .456, .406]).view(3, 1, 1))/torch.tensor([.229, .224, .225]).view(3, 1, 1)
    torch.testing.assert_close(petcam.explain(model, normalised)[0].image, as_it_is[0])

def test_tuples_and_dictionaries_of_tensors_are_batches(model):
    class Pair(nn.Module):
        def __init__(self): super().__init__(); self.m = model
        def forward(self, one, other): return dict(scores=self.m(one) - self.m(other).mean())
    x, other = torch.randn(2, 3, 40, 40), torch.randn(2, 3, 40, 40)
    want = grad_cam(model, '3', x, 1)
    for batch in ((x, other), dict(one=x, other=other)):
        said = petcam.explain(Pair(), batch, 1, 'm.3', inputs=lambda x: x, logits='scores', call=0)
        torch.testing.assert_close(torch.stack([e.map for e in said]), want, atol=1e-6, rtol=1e-3)

@pytest.mark.parametrize('model,x,shape,drawn', [
    (nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)), torch.randn(1, 1, 12, 20, 24), (10, 18, 22), (20, 8*24 + 7*4, 3)),
    (nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)), torch.randn(1, 3, 80), (78,), (10, 80, 3))], ids=['volume', 'signal'])
def test_volumes_and_signals(model, x, shape, drawn):
    said, = petcam.explain(model, x, 0, '1')
    assert said.map.shape == shape and said.overlay().shape == drawn and said.words
    torch.testing.assert_close(said.map, grad_cam(model, '1', x, 0)[0])

def test_one_channel_half_precision_and_functions_of_the_output(photo):
    said = petcam.explain(small(channels=1), photo, lambda y: y[:, 0] - y[:, 1], transform=T.Compose([T.Grayscale(), T.ToTensor()]))
    assert said.verdict is None and 'a function of the output' in said.words and said.overlay().shape == (90, 150, 3)
    assert petcam.explain(small().double(), photo).map.dtype == torch.float64

def test_a_photograph_of_twelve_megapixels_is_shrunk_and_that_is_said(model):
    start = time.process_time()
    with pytest.warns(UserWarning, match='4000 x 3000 pixels is shrunk to 448'): said = petcam.explain(model, Image.new('RGB', (4000, 3000), 'tan'))
    assert said.image.shape == (3, 448, 597) and time.process_time() - start < 5
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        said = petcam.explain(model, Image.new('RGB', (4000, 3000), 'tan'), size=64)
    assert said.image.shape == (3, 1200, 1600) and np.allclose(said.box, (10/85*1600, 0, 74/85*1600, 1200), atol=2)

def test_scores_that_are_no_probabilities(photo):
    age = small(1)
    said = petcam.explain(age, photo, class_names=['age'])
    assert f"for age: {float(age(preparation_for(age)(photo)[0])):.2f}. " in said.words and '%' not in said.words.split('. ')[0] and 'rank' not in said.words
    assert 'the model predicts' not in petcam.explain(small(), photo, 1, activation='sigmoid').words

def test_a_gradient_of_zero_is_said(photo):
    class Saturated(nn.Module):
        def __init__(self): super().__init__(); self.m = small()
        def forward(self, x): return (1e6*self.m(x)).softmax(1)
    for said in (petcam.explain(Saturated(), photo, 0, 'm.1').words, CamExplorer(Saturated(), photo, target=0, layers=['m.1']).words(),
                 explorer_fragment(Saturated(), photo, layers=['m.1'], methods='Grad-CAM')):
        assert 'gradient is zero' in said.lower() and 'No positive evidence' not in said.split('<script>')[0]

def test_the_model_stays_as_it_was(model, photo):
    model.train(); model[1].eval()
    state, modes, random = copy.deepcopy(model.state_dict()), [o.training for o in model.modules()], torch.random.get_rng_state()
    petcam.explain(model, [photo]*2, size=60)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()) and modes == [o.training for o in model.modules()]
    assert torch.equal(random, torch.random.get_rng_state()) and all(p.grad is None for p in model.parameters()) and not any(o._forward_hooks for o in model.modules())

@pytest.mark.parametrize('args,kw,said', [
    (('3', torch.rand(1, 3, 40, 40)), {}, 'the order is explain'), (([],), {}, 'no images'), ((torch.randn(3, 40, 40),), {}, 'expected 0 to 1'), ((None,), {}, 'NoneType'),
    ((torch.rand(40, 40),), {}, 'grey'), ((np.zeros((40, 40, 3), np.uint16),), {}, 'uint16'), ((5,), {}, 'int'), (('no/such.png',), {}, 'no/such.png'),
    ((scene(40, 40), 7), {}, '0 to 2'), ((scene(40, 40), 'dog'), {}, 'pass class_names'), ((scene(40, 40),), dict(class_names=['a']), '1 names for the 3'),
    ((scene(40, 40),), dict(layer='30'), 'nearest'), ((scene(40, 40),), dict(method='Grad'), 'Grad-CAM'), ((scene(40, 40),), dict(size=-1), 'size is -1'),
    ((scene(40, 40),), dict(mean=float('nan')), 'mean'), ((scene(40, 40),), dict(std=(0, 1, 1)), 'above 0'), ((scene(40, 40),), dict(std=(1, 2)), r'std is \(1.0, 2.0\).*one or three'), ((scene(40, 40),), dict(mean=(1, 2)), 'one or three'), ((scene(40, 40),), dict(transform=3), 'function'),
    ((scene(40, 40),), dict(transform=lambda o: 5), 'gives int'), ((scene(40, 40),), dict(transform=T.PILToTensor()), 'uint8'), ((scene(40, 40),), dict(activation='tanh'), 'softmax'),
    ((torch.rand(1, 3, 40, 40),), dict(size=20), 'as it is'), (([scene(40, 40)]*2, [1]), {}, '1 targets for 2'), ((scene(40, 40),), dict(transform=T.ToTensor(), std=1), 'leave out std')])
def test_what_goes_wrong_is_one_clear_line(model, args, kw, said):
    with pytest.raises((ValueError, TypeError), match=said): petcam.explain(model, *args, **kw)

def test_a_model_is_a_model(photo):
    with pytest.raises(TypeError, match='nn.Module or a learner'): petcam.explain('resnet50', photo)
    class Holds(nn.Module): # a module of its own called `model` does not make a learner
        def __init__(self): super().__init__(); self.model = small()
        def forward(self, x): return self.model(x)
    assert petcam.explain(Holds(), photo).layer == 'model.3'

# ---------- the explorers ----------

def test_an_explorer_draws_on_the_whole_image(model, photo, tmp_path):
    for name in 'ab': photo.save(tmp_path/f'{name}.png')
    e = CamExplorer(model, tmp_path, transform=T.Compose([T.CenterCrop(60), *NORM]), target=1)
    assert e.store.titles == ['a', 'b'] and e.pixels().shape == (90, 3*150 + 12, 3) and e.explanation.box == pytest.approx((45, 15, 105, 75), abs=1)
    whole, squares, over = (e.pixels()[:, i:i + 150] for i in (0, 156, 312))
    said = petcam.explain(model, photo, 1, transform=T.Compose([T.CenterCrop(60), *NORM]))
    torch.testing.assert_close(e.map, said.map)
    assert (np.abs(over.astype(int) - said.overlay()) <= 1).all() and 'In the part that the model sees' in e.words()
    assert (whole[15:75, 45:105] == np.asarray(photo)[15:75, 45:105]).all() and (whole[:15] == whole[:15, :, :1]).all()
    assert len(np.unique(squares[0, 0])) == 1 and len(np.unique(squares[15:75, 45:105].reshape(-1, 3), axis=0)) <= e.map.numel()

def test_an_explorer_refuses_what_is_normalised_already(model):
    with pytest.raises(ValueError, match='image 1 has values from'): CamExplorer(model, 3*torch.randn(3, 40, 40))

def test_explorers_of_models_that_are_not_simply_called(photo):
    class Odd(nn.Module):
        def __init__(self): super().__init__(); self.m = small()
        def forward(self, pixels, scale): return dict(loss=None, scores=scale*self.m(pixels))
    how = dict(inputs=lambda x: dict(pixels=x, scale=2.), logits='scores')
    e = CamExplorer(Odd(), photo, target=1, class_names=['a', 'b', 'c'], **how)
    torch.testing.assert_close(e.map, 2*grad_cam(small(), '3', e.store.item(0)[0], 1)[0], atol=1e-6, rtol=1e-4)
    assert 'data:image' in explorer_fragment(Odd(), photo, **how)
