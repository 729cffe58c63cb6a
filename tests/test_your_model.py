"""The page "On your own model": its first lines run, and so does each row of its tables."""
import re
from pathlib import Path
import numpy as np
import pytest, torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import v2
import petcam

PAGE = (Path(__file__).parents[1]/'docs'/'your_model.md').read_text(encoding='utf-8')

def rows(heading):
    "The rows of the table under a heading: first cell -> second cell"
    table = PAGE.split(f'\n## {heading}\n')[1].split('\n\n## ')[0]
    cells = [line.strip('| \n').split(' | ') for line in table.splitlines() if line.startswith('| ')]
    return {first: second for first, second in cells[2:]}

def calls(cell): return [code for code in re.findall('`([^`]+)`', cell) if '(' in code and not code.startswith(('(', 'petcam '))]

NAMES = [f'breed {i}' for i in range(36)] + ['pug']

@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "A folder with photo.jpg, other.png, photos/ and masks/"
    rng = np.random.default_rng(0)
    (tmp_path/'photos').mkdir(), (tmp_path/'masks').mkdir()
    for name in 'ab': Image.fromarray(np.tri(240, 320, dtype=np.uint8)).save(tmp_path/'masks'/f'{name}.png')
    for name in ('photo.jpg', 'other.png', 'photos/a.jpg', 'photos/b.jpg'):
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)).resize((320, 240)).save(tmp_path/name)
    monkeypatch.chdir(tmp_path)

def resnet():
    torch.manual_seed(0)
    return models.resnet18(num_classes=37).eval()

def front_door(): return {name: getattr(petcam, name) for name in (*petcam.__all__, 'study')}

def test_the_first_lines(capsys, tmp_path):
    code, = re.findall(r'```python\n(.*?)```', PAGE, re.S)
    exec(code, {})
    assert re.search(r'^Grad-CAM at layer .* for class \d+: logit', capsys.readouterr().out, re.M)
    with Image.open(tmp_path/'map.png') as drawn: assert drawn.size == (320, 240)      # the whole photograph
    assert (tmp_path/'explorer.html').stat().st_size > 10_000

# --- what to write: every call of a row is evaluated, and looked at

def is_map(o): return isinstance(o.map, torch.Tensor) and o.map.isfinite().all() and o.map.abs().max() > 0

def is_seen(target=None, **more):
    def right(seen):
        assert is_map(seen) and (target is None or seen.target == target)
        for name, value in more.items(): assert getattr(seen, name) == value
        assert seen.overlay().shape == (240, 320, 3)
    return right

def are_seen(seen): assert len(seen) == 2 and all(map(is_map, seen))

def has_shape(*shape): return lambda m: np.testing.assert_equal(tuple(m.shape), shape)

def layers(seen, names):
    is_seen(layer='layer3')(seen)
    assert {'layer1', 'layer4'} <= set(names)

def compared(seen):
    is_map(seen)
    assert seen.target is None

def of_all(maps):
    assert {k: tuple(m.shape) for k, m in maps.items()} == {'layer3': (2, 37, 14, 14), 'layer4': (2, 37, 7, 7)}

def are_scores(tables):
    head, body = next(iter(tables.values()))   # single images; then what beats the best baseline
    assert 'energy (2)' in head and {'Grad-CAM', 'centred Gaussian', 'chance'} <= {row[0] for row in body}

WANTED = {
    'another class': is_seen(25),
    'a class by its name': is_seen(36),
    'this class versus that': compared,
    'several files, or a folder: a list of results': lambda *several: [are_seen(o) for o in several],
    'an image that is open already: Pillow\'s, `(h,w,3)` in bytes, a tensor `(3,h,w)` from 0 to 1': is_seen(),
    'the preparation that the model was trained with': is_seen(),
    'another mean, standard deviation and size': is_seen(),
    'another layer; which there are': layers,
    'another method': is_seen(method='LayerCAM'),
    'only positive evidence, as in the paper': has_shape(240, 320, 3),
    'a batch `(b,c,h,w)` that you have prepared': are_seen,
    'the numbers alone, `(b,h,w)`': has_shape(2, 7, 7),
    'a class for each image of a batch': has_shape(2, 7, 7),
    'every class and several layers from one forward pass': of_all,
    'sliders in a notebook': lambda explorer: explorer.words(),
    'checks of the maps, and what each of them does not show': lambda report: np.testing.assert_equal(('trained' in report.failed, 'gradient' in report.passed), (True, True)),
    'a score against masks of your own, files of the same names': are_scores,
}

def test_each_row_has_a_check(): assert list(rows('What to write')) == list(WANTED) and list(rows('Which models')) == list(MODELS)

@pytest.mark.parametrize('wanted', WANTED)
def test_what_to_write(wanted):
    transform = v2.Compose([v2.ToImage(), v2.Resize(224), v2.CenterCrop(224), v2.ToDtype(torch.float, scale=True), v2.Normalize([.5]*3, [.25]*3)])
    given = front_door() | dict(model=resnet(), x=torch.randn(2, 3, 224, 224), names=NAMES, image=Image.open('photo.jpg'), transform=transform)
    WANTED[wanted](*(eval(code, given) for code in calls(rows('What to write')[wanted])))

@pytest.mark.parametrize('image', [lambda i: i, np.array, lambda i: torch.from_numpy(np.array(i)).permute(2, 0, 1)/255], ids=['Pillow', 'array', 'tensor'])
def test_an_image_that_is_open_already(image):
    Image.open('other.png').crop((0, 0, 224, 224)).save('square.png')     # of the model's size: nothing is resized
    opened, model = Image.open('square.png'), resnet()
    want = petcam.explain(model, 'square.png', 3, size=224)
    close(petcam.explain(model, image(opened), 3, size=224).map, want.map)

# --- which models: each case gives what the calls of its row need, and looks at what they give

class Two(nn.Module):
    "An image and a number -> what `form` makes of the logits"
    def __init__(self, k=5, d=2, c=3, form=lambda y: y):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.form = [nn.Conv1d, nn.Conv2d, nn.Conv3d][d-1](c, 8, 3, 2, 1), form
        self.layer, self.head = nn.Sequential(self.conv, nn.ReLU()), nn.Linear(8, k)

    def forward(self, x, age=0):
        return self.form(self.head(self.layer(x).flatten(2).mean(2)) + age)

def slow_map(model, layer, x, score):
    "Grad-CAM with a hook and a full backward pass"
    kept = []
    handle = layer.register_forward_hook(lambda m, i, o: (kept.append(o), o.retain_grad())[1])
    score(model(x) if isinstance(x, torch.Tensor) else model(*x)).sum().backward()
    handle.remove()
    a, g = kept[0].detach(), kept[0].grad
    return (a*g.flatten(2).mean(2).view(*g.shape[:2], *[1]*(a.dim() - 2))).sum(1)

def close(got, want): torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-6)

def torchvision_model():
    assert [] == (yield dict())
    model, x = resnet(), torch.randn(2, 3, 96, 96)
    close(petcam.grad_cam(model, 'layer4', x), slow_map(model, model.layer4, x, lambda y: y.amax(1)))

def timm_model():
    timm = pytest.importorskip('timm')
    model = timm.create_model('resnetv2_50x1_bit.goog_in21k_ft_in1k', num_classes=4).eval()
    [seen] = yield dict(model=model)
    own = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    with torch.no_grad(): y = model(own(Image.open('photo.jpg'))[None])[0]
    assert seen.verdict.logit == pytest.approx(float(y.max()), abs=1e-3)

def hugging_face():
    hf = pytest.importorskip('transformers')
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    processor = hf.ViTImageProcessor(size=dict(height=64, width=64))
    [seen] = yield dict(model=hf.ResNetForImageClassification(config).eval(), processor=processor)
    assert is_map(seen) and seen.verdict.of == 3

def vit():
    model = models.VisionTransformer(64, 16, 4, 2, 32, 64, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    [seen] = yield dict(model=model)
    assert is_map(seen) and seen.map.shape == (4, 4) and 'layer_3' not in seen.layer

def swin():
    model = models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=5).eval()
    [seen] = yield dict(model=model)
    assert is_map(seen)

def own_tokens():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.patch, self.blocks, self.head = nn.Conv2d(3, 8, 8, 8), nn.Sequential(nn.Linear(8, 8), nn.GELU()), nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            return self.head(self.blocks(torch.cat([tokens.mean(1, keepdim=True), tokens], 1)).mean(1))
    x, model = torch.randn(1, 3, 64, 64), Blocks()
    [[seen]] = yield dict(model=model, x=x)
    kept = []
    handle = model.blocks.register_forward_hook(lambda m, i, o: (kept.append(o), o.retain_grad())[1])
    model(x).max().backward()
    handle.remove()
    a, g = (o[:, 1:].transpose(1, 2).reshape(1, 8, 8, 8) for o in (kept[0].detach(), kept[0].grad))
    close(seen.map, (a*g.mean((2, 3), keepdim=True)).sum(1)[0])

def more_than_an_image():
    model, x, age = Two(), torch.randn(2, 3, 16, 16), torch.ones(2, 1)
    both = yield dict(model=model, x=x, age=age)
    want = slow_map(model, model.layer, (x, age), lambda y: y.amax(1))
    assert len(both) == 2
    for m in both: close(m, want)

def a_dict():
    model, x = Two(form=lambda y: dict(other=y.new_zeros(3), aux=-y, logits=y)), torch.randn(2, 3, 16, 16)
    [seen] = yield dict(model=model, x=x)
    want = slow_map(model, model.layer, x, lambda y: y['aux'].amax(1))
    close(torch.stack([o.map for o in seen]), want)
    close(petcam.grad_cam(model, 'layer', x), slow_map(model, model.layer, x, lambda y: y['logits'].amax(1)))

def probabilities_out():
    model, x = Two(form=lambda y: (1e6*y).softmax(1)), torch.randn(1, 3, 16, 16)
    assert [] == (yield dict())
    with pytest.warns(UserWarning, match='gradient is zero everywhere'): petcam.grad_cam(model, 'layer', x)

def multi_label():
    x, model = torch.randn(1, 3, 16, 16), Two()
    [[seen]] = yield dict(model=model, x=x)
    assert seen.verdict.probability == pytest.approx(float(model(x).detach().max().sigmoid()))

def an_age():
    model = Two(k=1)
    nn.init.constant_(model.head.bias, 58)
    [[seen]] = yield dict(model=model, x=torch.randn(1, 3, 16, 16))
    assert '%' not in seen.words.split('. ')[0] and 'rank' not in seen.words and is_map(seen)

def several_runs():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = Two().layer, nn.Linear(16, 5)
        def forward(self, a, b): return self.head(torch.cat([self.backbone(a).mean((2, 3)), self.backbone(b).mean((2, 3))], 1))
    model, x = Siamese(), torch.randn(1, 3, 16, 16)
    [m] = yield dict(model=model, x=x)
    close(m, slow_map(model, model.backbone, (x, x), lambda y: y.amax(1)))

def volumes_and_signals():
    for d, shape in ((1, (2, 3, 40)), (3, (2, 3, 8, 16, 16))):
        model, x = Two(d=d), torch.randn(shape)
        [m] = yield dict(model=model, x=x)
        close(m, slow_map(model, model.conv, x, lambda y: y.amax(1)))

def channels():
    for c in (1, 12):
        model, x = Two(c=c), torch.randn(2, c, 16, 16)
        [m] = yield dict(model=model, x=x)
        close(m, slow_map(model, model.conv, x, lambda y: y.amax(1)))

def frozen():
    assert [] == (yield dict())
    model, x = Two(), torch.randn(2, 3, 16, 16)
    want = petcam.grad_cam(model.eval(), 'layer', x, 0)
    close(petcam.grad_cam(model.train().requires_grad_(False), 'layer', x, 0), want)
    close(petcam.grad_cam(model.double(), 'layer', x.double(), 0).float(), want)
    with torch.autocast('cpu', torch.bfloat16): assert petcam.grad_cam(model.float(), 'layer', x, 0).isfinite().all()

def no_gradient():
    class Without(Two):
        @torch.no_grad()
        def forward(self, x): return super().forward(x)
    m, [seen] = yield dict(model=Without(), x=torch.randn(1, 3, 16, 16))
    assert m.shape == (1, 8, 8) and m.abs().max() > 0 and is_map(seen)

def parallel():
    model, x = resnet(), torch.randn(1, 3, 64, 64)
    [m] = yield dict(model=nn.DataParallel(model), x=x)
    close(m, petcam.grad_cam(model, 'layer4', x))

def checkpointed():
    from torch.utils.checkpoint import checkpoint
    class Again(Two):
        def forward(self, x): return self.head(checkpoint(self.layer, x, use_reentrant=False).mean((2, 3)))
    assert [] == (yield dict())
    model, plain, x = Again(), Two(), torch.randn(1, 3, 16, 16)
    close(petcam.grad_cam(model, 'layer', x), petcam.grad_cam(plain, 'layer', x))

def compiled():
    model, x = Two(), torch.randn(1, 3, 16, 16)
    [[seen]] = yield dict(model=torch.compile(model, backend='eager'), x=x)
    close(seen.map, petcam.explain(model, x)[0].map)

MODELS = {
    'is from torchvision': torchvision_model,
    'is from timm': timm_model,
    'is from Hugging Face': hugging_face,
    'is a transformer over tokens (ViT, DeiT, DINOv2, EVA, BEiT, CLIP)': vit,
    'has the channels last (Swin, ConvNeXt)': swin,
    'has tokens that petcam does not find': own_tokens,
    'takes more than an image': more_than_an_image,
    'outputs a tuple, a dict or an object': a_dict,
    'outputs probabilities': probabilities_out,
    'decides each class for itself (multi-label)': multi_label,
    'outputs a number (an age)': an_age,
    'runs one layer several times (siamese, recurrent)': several_runs,
    'takes volumes or video `(b,c,d,h,w)`, or signals `(b,c,n)`': volumes_and_signals,
    'takes one channel, or twelve': channels,
    'is frozen, in training mode, in half or double precision, under autocast': frozen,
    'is quantised, or has no gradient for another reason': no_gradient,
    'is wrapped by `DataParallel`': parallel,
    'computes parts again (`torch.utils.checkpoint`)': checkpointed,
    'comes out of `torch.compile`': compiled,
}

@pytest.mark.parametrize('kind', MODELS)
def test_which_models(kind):
    case, codes = MODELS[kind](), calls(rows('Which models')[kind])
    try:
        given = next(case)
        while True: given = case.send([eval(code, front_door() | given) for code in codes])
    except StopIteration: pass

def test_its_figure_is_a_small_one_of_red_on_the_dog_and_blue_on_the_cat():
    place = Path(__file__).parents[1]/'docs'
    file, = re.findall(r'```\{image\} (_static/\S+)\n:alt: \S', PAGE)
    assert (place/file).stat().st_size <= 60_000
    with Image.open(place/file) as figure: pixels = np.asarray(figure.convert('RGB')).astype(int)
    w = (pixels.shape[1] - 12)//3
    map = pixels[20:, w + 6:2*w + 6] # the middle panel
    redder = map[..., 0] - map[..., 2]
    (_, red), (_, blue) = (np.unravel_index(f(redder), redder.shape) for f in (np.argmax, np.argmin))
    assert red < w/2 < blue and redder.max() > 50 and redder.min() < -50
