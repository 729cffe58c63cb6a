"""Seeded random calls of every public function, with plausible and with wrong values.

Large: `python -m tests.fuzz.api --n 4000 --seed 0`. A call ends in one of these ways:

fine      a result, finite and of the right length
refused   an error that petcam raises itself: it names the value and what was expected
type      Python's own TypeError or AttributeError, for a plainly wrong type such as None
raw       an error out of torch, numpy or Python, which does not say what was wrong
odd       a wrong value is accepted in silence, or the result is not finite, or of a wrong length
changed   the model, an argument, a random state, gradients on or off are not as they were
"""
import argparse, contextlib, copy, faulthandler, importlib, inspect, io, linecache, math, os, pkgutil, random, sys, tempfile, traceback, warnings
from collections import Counter
from pathlib import Path
import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
import petcam

matplotlib.use('Agg')
PETCAM = str(Path(petcam.__file__).parent)

# what is not called: it trains, downloads or draws whole folders, and has a trial of its own (commands, checkpoints, images)
LEFT_OUT = {
    'cli.main', 'data.find_pets', 'data.toy_pets', 'data.get_data', 'files.downloads.download_pets', 'files.storage.cache_dir', 'files.images.BadImage', 'onecycle.cnn_learner',
    'report.two_animals', 'report.write_report', 'resize.run_stages', 'resize.lesson_learner', 'study.draw_pairs', 'study.study', 'study.study_html',
    'toy.pretraining.toy_weights', 'toy.scenes.make_toypets', 'training.memory.largest_batch', 'head.create_cnn', 'training.summary.summary',
    'report.check_report', 'report.rewrite_report', 'engine.in_domain.in_domain_learner', 'parts.report_parts', 'parts.parts_study',
    'toy.shortcut.train_small_network', 'web.live.engine_files'}

class Wrong:
    "A value that whoever takes it has to refuse"
    def __init__(self, value): self.value = value

def public():
    "name -> a function or class, of each module's `__all__`; each object once"
    found = {}
    for module in pkgutil.walk_packages(petcam.__path__, 'petcam.'):
        home = importlib.import_module(module.name)
        for name in getattr(home, '__all__', []):
            o, full = getattr(home, name), f'{module.name}.{name}'.removeprefix('petcam.')
            if callable(o) and o.__module__ == module.name and full not in LEFT_OUT: found[full] = o
    return found

# ---------- what the arguments are drawn from ----------

def live_net(k=5):
    "A small network with all that matters here: batch norm, in-place ReLU, dropout, stride"
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.5), nn.Linear(8, k))
    return net.eval()

CLASSES = ['beagle', 'boxer', 'pug', 'Birman', 'Bengal']

class World:
    "Models, a learner, images, maps and files, all small"
    def __init__(self, folder:Path):
        from petcam.data import get_data
        from petcam.onecycle import Learner
        self.folder = folder
        images = folder/'images'
        images.mkdir()
        draw = np.random.default_rng(0)
        for name in CLASSES:
            for i in range(6): Image.fromarray(draw.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(images/f'{name}_{i+1}.jpg')
        (images/'broken_1.jpg').write_bytes(b'no image')
        with contextlib.redirect_stdout(io.StringIO()): self.data = get_data(16, 4, path=images, workers=0)
        self.files = self.data.valid_ds.files
        self.net, self.training = live_net(len(self.data.classes)), live_net(len(self.data.classes)).train()
        self.half, self.flat = copy.deepcopy(self.net).bfloat16(), nn.Sequential(nn.Flatten(), nn.Linear(432, 5)).eval()
        body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, len(self.data.classes)))
        self.learn = Learner(self.data, nn.Sequential(body, head), folder/'models')

    @property
    def models(self): return self.net, self.training, self.half, self.flat, self.learn.model

    def draw(self, rng):
        "(good, wrong): values by the name of the parameter, new ones for each call"
        g = torch.Generator().manual_seed(rng.randrange(1 << 30))
        def normal(*shape): return torch.randn(*shape, generator=g)
        def unit(*shape): return torch.rand(*shape, generator=g)
        x, k = normal(2, 3, 12, 12), len(self.data.classes)
        image, maps, masks = unit(3, 12, 12), normal(2, 6, 6), torch.zeros(2, 12, 12, dtype=torch.bool)
        masks[:, 3:9, 2:8] = True
        nan = float('nan')
        holes = x.clone(); holes[0, 0, 0, 0] = nan
        bad_map = maps.clone(); bad_map[0, 0, 0] = nan
        a, gradient = normal(2, 8, 6, 6), normal(2, 8, 6, 6)
        logits = normal(2, k)
        pixels = (unit(12, 12, 3)*255).byte().numpy()
        from petcam.engine.adapter import Adapter
        from petcam.engine.targets import verdict
        from petcam.study import Questions
        good = dict(
            model=[self.net, self.net, self.net, self.training, self.half], layer=['3', '4', '0', '2', self.net[3], None], layers=['3', ['3', '0'], [self.net[3]], None, 'all'],
            x=[x, x, x[:1], x[:0], x.double(), x*0], target=[None, 0, k - 1, -0, lambda y: y[:, 0]], targets=[None, [0, 1], 2, [k - 1]], versus=[None, 1],
            class_names=[None, list(self.data.classes)], signed=[True, False], method=['Grad-CAM', 'LayerCAM', 'Eigen-CAM', lambda a, g: (a*g).sum(1)],
            methods=[None, ['Grad-CAM', 'HiResCAM'], 'Grad-CAM++'], images=[[image, image], [self.files[0]], image, None], image=[image, pixels, self.files[0], Image.fromarray(pixels)],
            map=[maps[0], maps[0].relu(), maps[0]*0], maps=[maps, maps*0], masks=[masks, ~masks], mask=[masks[0], None], a=[a], g=[gradient], acts=[a, a[0]],
            alpha=[.5, 0, 1], cmap=['magma', None], limit=[None, 1., 0], title=[None, 'a $title$ of_mine'], size=[16, 20], steps=[4, 1], at=[.5, 0, 1], bs=[4, 1],
            curves=[unit(2, 5)], y=[logits], logits=[logits, logits[0]], adapter=[Adapter()], adapt=[{}], module=[self.net[3], self.net], cut=[True, False], detach=[True, False],
            grad=[False, True], most=[3, 20], learn=[self.learn, self.net], data=[self.data], path=[self.folder/'out.png', self.folder/'out.html'], h=[12, 30], w=[20, 12], degrees=[0., 20.],
            zoom=[1., 1.3], row=[.5, 0], col=[.5, 1], M=[torch.eye(3)], m0=[.1], m1=[0.], m2=[-.1], m3=[.2], grid=[unit(8, 8, 2)*2 - 1], padding_mode=['reflection', 'zeros', 'border'],
            shrink=[1., 2.], brightness=[.5, .3], contrast=[1., 2.], warp=[(0, 0, 0, 0), (.1, 0, 0, .2)], flip=[False, True], crop=[(.5, .5), (0, 1)], arch=['resnet18', 'mobilenet_v3_small'],
            weights=[None], nf=[8], c=[5], hidden=[16], p=[.5, 0], frozen=[True, False], batch_norms=[True, False], t=[image, image[:1]], nine=[torch.eye(3), None], cols=[2, 8],
            figsize=[(3, 3)], values=[unit(4), unit(4, 2), [.5, .25]], width=[.25], seed=[0, 3], predicted=[torch.tensor([0, 1, 2])], true=[torch.tensor([0, 2, 2])],
            counts=[torch.eye(k, dtype=torch.long)*3 + 1], classes=[list(self.data.classes)], losses=[unit(6)], lr=[1e-2, slice(1e-3), slice(1e-4, 1e-2)], n=[3, 10], max_lr=[1e-2, [1e-3, 1e-2]],
            moms=[(.95, .85)], div_factor=[25., 10], pct_start=[.3, 0, 1], final_div=[None, 1e4], valid_pct=[.2, .5], pattern=[r'([^/]+)_\d+.jpg$'], file=[self.files[0]], at_least=[None, 8],
            kind=['toy', 'real'], epochs=[None, [1, 1, 1]], rows=[[]], questions=[Questions(x, torch.tensor([[0], [1]]), masks[:, None])], randomized=[None, live_net(k)],
            breed=['pug', 'Bengal'], left=['pug'], right=['Birman'], pose=[None], scene=[None], lrs=[[1e-2]], mom=[.9], wd=[1e-2], xb=[x], yb=[torch.tensor([0, 1])],
            loss_func=[nn.functional.cross_entropy], precision=['fp32'], beta=[.98], titles=[None, ['a', 'b']], height=[1.], columns=[1, 3], alpha_=[.5], side=[32], keep=[1e6],
            pixels=[pixels], colorbar=[False, True], overlay_only=[True, False], ax=[None], axs=[None], start=[None], uid=[None, 'one'], prepare=[None], tfms=[self.data.valid_ds.tfms],
            files=[list(self.files)], train_ds=[self.data.train_ds], valid_ds=[self.data.valid_ds], pets=[self.data.pets], device=[torch.device('cpu')], workers=[0], ds=[self.data.valid_ds],
            train=[False], opt=[self.learn.opt], rng=[np.random.default_rng(0)], do_flip=[True, False], max_rotate=[10.], max_zoom=[1.1], max_lighting=[.2], max_warp=[.2], p_affine=[.75],
            p_lighting=[.75], folder=[self.folder/'images'], bn_final=[False, True], inputs=[None], reshape=[None], call=[None, 0], draw=[lambda **kw: matplotlib.figure.Figure((1, 1))],
            sliders=[{}], target_=[0], names=[list(self.data.classes)], name=['end'], note=[''], box=[None], activation=[None, 'softmax', 'sigmoid', 'none'], transform=[None], mean=[None, (.5,)*3],
            std=[None, (.5,)*3], verdict=[verdict(logits[0], 0)], mean_=[.5], quiet=[True], image_=[image], argv=[['--version']], why=[''], broken=[[]], how=[{}])
        good |= {'localise.Score.mean': [.5], 'kernels.show_kernels.w': [normal(4, 3, 3, 3), normal(4, 6, 3, 3)], 'training.optimizer.set_rates.lrs': [[1e-2]*len(self.learn.opt.param_groups)],
                 'augment.perspective.x': [torch.linspace(-1, 1, 5)], 'augment.perspective.y': [torch.linspace(-1, 1, 4)[:, None]], 'onecycle.lr_range.n': [1, 3], 'resize.play_sizes.image': [unit(3, 32, 32)],
                 'resize.play_sizes.sizes': [(16, 48, 16)], 'resize.play_sizes.learn': [self.learn], 'engine.adapter.with_image.image': [x*2], 'toy.scenes.draw_pet.size': [32], 'toy.scenes.draw_pair.size': [None],
                 'training.precision.autocast.precision': ['fp32', 'bf16'], 'report.Run.losses': [[1., .5]], 'files.images.load_image.path': [self.files[0]], 'files.images.list_images.folder': [self.folder/'images'],
                 'data.label_of.path': [self.files[0]], 'training.checkpoints.read_checkpoint.path': [self.folder/'end.pth'], 'web.explorer.quantise.maps': [maps], 'onecycle.play_schedule.n': [100],
                 'localise.centre_prior.size': [16, (4, 8)], 'heatmap.upsample.size': [16, (4, 8)], 'onecycle.Learner.model': [self.learn.model], 'onecycle.Learner.about': [None, {}], 'study.class_quads.targets': [[0, 1, 2, 3]*3],
                 'kernels.show_image.cmap': ['binary'], 'study.single_images.targets': [[0]*len(self.files)], 'onecycle.Learner.model_dir': ['models'], 'hooks.watch.layer': [self.net[3]], 'toy.breeds.Breed.kind': ['dog'],
                 'report.Run.size': [16], 'head.set_frozen.model': [self.learn.model], 'files.storage.check_output.path': [self.folder/'new.png'],
                 'web.live.export_page.path': [self.folder/'out.html'], 'web.live.export_page.live': [True, False]}
        for name in ('sample', 'lighting', 'change', 'play_augment'): good[f'augment.{name}.x'] = [image, unit(3, 20, 30)]
        for name in ('normalize', 'denormalize'): good[f'files.images.{name}.x'] = [image, unit(2, 3, 4, 4)]
        wrong = dict(
            model=[None, x, self.flat, 'resnet18'], layer=['nope', 4, live_net()[3], -1], layers=[['nope'], [], [7]],
            x=[x[0], holes, x.long(), (x*50).byte(), x[:, :2], x[None], x.numpy(), None, [x], x[..., :0]], target=['nope', 99, -1, 1.5, True, [0], [0, 1, 2], nan, lambda y: y[0, 0], lambda y: 3.],
            targets=['nope', [99], [-1], [1.5], []], versus=['nope', 99, -1], class_names=[['a'], 3], method=['nope', 3, lambda a, g: a.sum(), ''], methods=[['nope'], 7],
            images=[[], [image*50], 'no such file.jpg', [image[0]], [x], 5], image=[image*50, x, 'no such file.jpg', image[:2], np.zeros(3), None, self.folder/'images'/'broken_1.jpg'],
            map=[bad_map[0], maps, maps[0, 0], 'map', None], maps=[bad_map, maps[0], maps[:1], None, normal(3, 6, 6)], masks=[masks[0], masks*torch.arange(1, 3)[:, None, None], masks[:1], None],
            mask=[masks, masks[0]*torch.arange(12), 'mask'], a=[normal(2, 8), None], g=[normal(2, 8, 3, 3), None], acts=[normal(8), None], alpha=[-1, 2, nan, '1'], cmap=['nope'], limit=[-1, nan, float('inf')],
            size=[0, -4, nan, 'x', 2.5], steps=[0, -1, 2.5, 'x'], at=[-1, 2, nan], bs=[0, -1, 'x'], curves=[normal(5), unit(2, 1), None], y=[normal(k), None, normal(2, k, 3)],
            logits=[normal(2, k, 2), None, torch.tensor([nan]*k), torch.tensor([float('inf')] + [0.]*(k - 1))], module=[None, 'layer', 3], most=[0, -1], learn=[None, 'model'], path=[None, self.folder/'out.xyz', self.folder/'images'],
            h=[0, -1, nan], degrees=[nan, 'x'], zoom=[0, nan, -1], row=[nan], col=[nan], M=[torch.eye(2)], m0=[nan], m1=[-2., nan], grid=[unit(8, 8), None, unit(8, 8, 3)],
            padding_mode=['nope', None], shrink=[0, -1, nan], brightness=[0, 1, -1, 2, nan], contrast=[nan, -1, 'x'], warp=[(0, 0, 0), (nan,)*4, 3], crop=[(2, 2), (-1, 0), (nan, nan), .5], arch=['nope', None, 3],
            weights=['nope'], nf=[0, -1, 2.5], c=[0, -2, 'x'], hidden=[0, -1], p=[-1, 2, nan], t=[unit(12, 12), unit(2, 12, 12), None], nine=[torch.eye(2), 'x'], cols=[0, -1], values=[[], normal(2, 2, 2), 'x', [nan]],
            width=[0, -1, nan], seed=[-1, 'x', 1.5, 2**70], predicted=[torch.tensor([0, 1]), torch.tensor([9, 9, 9]), torch.tensor([-1, 0, 0]), None], true=[torch.tensor([0]), torch.tensor([0., 1, 2])],
            counts=[torch.ones(2, 3), torch.ones(5), None], classes=[['a'], None], losses=[normal(2, 2), None, torch.tensor([nan, 1])], lr=['x', nan, -1, 0, slice(None), slice(-1, 1), slice(1e-3, 'x')],
            n=[0, -1, 2.5, nan, 'x'], max_lr=[nan, -1, 'x', []], moms=[(.9,), (nan, .8), 3], div_factor=[0, nan, -5], pct_start=[-.1, 1.1, nan, 'x'], final_div=[0, nan, -1], valid_pct=[-.2, 1.5, nan, 'x'],
            pattern=['(', 3], file=[self.folder/'none_1.jpg', None], at_least=[0, -3, 'x'], kind=['nope', None], epochs=[[1], [0, 0, 0], 3, 'x'], questions=[None, (x,)], breed=['nope', 3, None], left=['nope'], right=['nope'],
            lrs=[[nan], [], 'x'], mom=[nan, 2, -1], wd=[nan, -1], yb=[torch.tensor([0]), torch.tensor([0, 99])], precision=['nope', None], beta=[1, 2, nan, -1], titles=[['a']*5, 3], height=[0, -1, nan], columns=[0, -1],
            side=[0, -4], keep=[nan, -1], pixels=[pixels[..., 0], pixels.astype(float)*3, None], prepare=[3], files=[[], ['none_1.jpg'], None], device=['nope'], workers=[-1, 'x'], max_rotate=[nan], max_zoom=[0, nan, -1],
            max_lighting=[1, -1, nan], max_warp=[nan, -3], p_affine=[2, -1, nan], p_lighting=[2, -1, nan], folder=[self.folder/'nowhere', None], activation=['nope', 3], draw=[None, lambda: 3], data=[None],
            xb=[x[0], None], call=[99, 'x', 1.5], reshape=['nope', 3], box=[(1,), 'x'], mean=['x', (nan,)*3], std=[(0, 0, 0), (-1,)*3], module_=[None])
        wrong |= {'augment.perspective.x': [None, 'x'], 'kernels.show_kernels.w': [None, normal(3, 3), normal(0, 3, 3, 3)], 'engine.adapter.image_of.x': [None, 3],
                  'engine.adapter.with_image.x': [None, 3], 'resize.play_sizes.sizes': [(0, 3), 'x', (64, 32, 16)], 'files.images.load_image.path': [None, self.folder/'none.jpg', self.folder/'images'/'broken_1.jpg', self.folder],
                  'data.label_of.path': ['pug.jpg', None], 'training.checkpoints.read_checkpoint.path': [self.folder/'none.pth', self.files[0], None], 'training.optimizer.set_rates.lrs': [[nan], [], 'x'],
                  'onecycle.Learner.model': [None, 'resnet18'], 'study.class_quads.targets': [None, 3], 'hooks.watch.layer': [None, 'nope', 3], 'web.explorer.quantise.maps': [maps[0], None]}
        # what looks wrong and is not: the value is passed through, or not needed
        wrong |= dict.fromkeys(['engine.layers.find_layer.x', 'heatmap.upsample.map', 'files.pets.labelled.files', 'study.write_rows.path', 'web.explorer.explorer_html.path',
                                'engine.adapter.with_image.image', 'engine.layers.name_of.layer', 'engine.layers.name_of.model', 'study.class_quads.seed', 'toy.scenes.draw_pair.seed', 'toy.scenes.draw_pet.seed',
                                'study.insertion_deletion.seed', 'study.evaluate_maps.seed', 'files.images.as_tensor.at_least', 'engine.preparation.Preparation.limit', 'engine.preparation.own_view.x', 'augment.perspective.y', 'head.set_frozen.model'], [])
        # the formulas of the lesson on methods, one line each: whatever calls them checks what goes in and comes out
        formulas = 'mean_activation_map', 'eigen_cam', 'grad_cam_map', 'grad_cam_plus_plus', 'hires_cam', 'layer_cam'
        wrong |= {f'methods.{o}.{p}': [] for o in formulas for p in 'ag'}
        wrong |= {'engine.targets.probabilities.logits': [None, 'x'], 'engine.modes.eval_mode.model': [None, x, 'resnet18'], 'head.train_mode.model': [None, x], 'engine.scoring.insertion.model': [None, x, 'resnet18'], 'engine.scoring.deletion.model': [None, x, 'resnet18'], 'study.is_confident.model': [None, x, 'resnet18'],
                  'engine.layers.layers_of.model': [None, x, 'resnet18'], 'localise.randomize_weights.model': [None, x, 'resnet18'], 'training.optimizer.train_step.model': [None, x], 'kernels.first_kernels.model': [None, self.flat],
                  'engine.layers.find_layer.model': [None, x, 'resnet18'], 'engine.layers.find_layer.layer': ['nope', 4, -1], 'methods.find_method.method': ['nope', 3, ''], 'engine.layers.layers_of.x': [x[0], x.long(), x[:, :2], None, [x]],
                  'hooks.play_channels.x': [x[0], x[:, :2], x.long(), None], 'kernels.play_kernel.image': [image[:2], x, 'no such file.jpg', None], 'hooks.play_channels.image': [x, 'no such file.jpg', None], 'heatmap.describe.mask': [masks, masks[0]*torch.arange(12)], 'methods.class_activation_map.target': ['nope', 99, -1, 1.5, True, [0], [0, 1, 2]]}
        for name in ('sample', 'lighting', 'change', 'play_augment'): wrong[f'augment.{name}.x'] = [None, 'x'] if name == 'lighting' else [unit(12, 12), x, None, (image*255).byte()]
        for name in ('normalize', 'denormalize'): wrong[f'files.images.{name}.x'] = [unit(12, 12), unit(2, 4, 4), None, (image*255).byte()]
        # shapes that are right here and wrong elsewhere
        wrong |= dict.fromkeys(['engine.similarity.normalize_maps.maps', 'parts.part_evidence.maps', 'parts.part_evidence.masks'], [None, 'x'])
        wrong |= {'engine.in_domain.deleting_cells.model': [None, x, 'resnet18'], 'parts.ablate_parts.seed': [-1, 'x'], 'engine.statistics.paired_bootstrap.seed': [-1, 'x'],
                  'engine.statistics.bootstrap.seed': [-1, 'x'], 'toy.shortcut.draw_ball_pairs.seed': [-1, 'x']}
        return good, wrong

# ---------- one call ----------

def arguments(name, f, pools, rng):
    "Arguments for `f`: each that is needed, some of the others; some of them wrong"
    good, wrong = pools
    try: parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError): return None
    chosen, bad = {}, []
    def of(pool, p): return pool.get(f'{name}.{p.name}', pool.get(p.name, [])) # a function may have values of its own
    spoil = rng.random() < .6
    victims = [p.name for p in parameters if of(wrong, p)]
    victim = rng.choice(victims) if spoil and victims else None
    positional = []
    for p in parameters:
        if p.kind is p.VAR_KEYWORD: continue
        needed = p.default is p.empty
        if not needed and p.name != victim and rng.random() < .6: continue
        if p.kind is p.VAR_POSITIONAL: positional = [rng.choice(good['image']) for _ in range(rng.randrange(3))]; continue
        if p.name == victim:
            chosen[p.name] = rng.choice(of(wrong, p))
            bad.append(p.name)
        else: chosen[p.name] = rng.choice(of(good, p) or [None, 1, 'x', .5])
    return positional, chosen, bad

def state(world):
    "All that a call must leave as it was"
    models = [[(name, id(m), m.training, [len(getattr(m, o)) for o in ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks')], 'forward' in vars(m)) for name, m in o.named_modules()] for o in world.models]
    tensors = [[(k, v.detach().clone(), v.requires_grad, v.grad is None) for k, v in o.state_dict(keep_vars=True).items()] for o in world.models]
    return dict(modes=models, tensors=tensors, torch=torch.get_rng_state(), numpy=np.random.get_state()[1].tolist(), python=random.getstate(), grad=torch.is_grad_enabled(),
                inference=torch.is_inference_mode_enabled(), threads=torch.get_num_threads(), cwd=os.getcwd())

def same(a, b):
    if isinstance(a, Tensor): return isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.nan_to_num(7.), b.nan_to_num(7.))
    if isinstance(a, np.ndarray): return a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a is b or a == b

def kept_copy(o): # of the tensors and arrays in an argument
    if isinstance(o, Tensor): return o.detach().clone()
    if isinstance(o, np.ndarray): return o.copy()
    if isinstance(o, (list, tuple)): return type(o)(map(kept_copy, o)) if type(o) in (list, tuple) else o
    return o

def is_finite(o):
    if isinstance(o, Tensor): return not (o.is_floating_point() and not o.isfinite().all())
    if isinstance(o, np.ndarray): return not (o.dtype.kind == 'f' and not np.isfinite(o).all())
    if isinstance(o, float): return math.isfinite(o)
    if isinstance(o, dict): return all(map(is_finite, o.values()))
    if isinstance(o, (list, tuple)): return all(map(is_finite, o))
    return True

# what changes the model or draws at random because that is what it is for
CHANGES = {'head.set_frozen', 'head.train_mode', 'training.optimizer.train_step', 'training.optimizer.set_rates', 'engine.modes.eval_mode', 'onecycle.Learner', 'head.create_body', 'head.create_head',
           'toy.pretraining.random_breed', 'hooks.hook_output', 'hooks.Hook', 'training.loading.Loader', 'head.AdaptiveConcatPool2d', 'toy.shortcut.small_network'}
# what may not be a number: the rank correlation of a flat map, a standard error of one value, the score of a class that a Verdict was given
NOT_FINITE = {'perturbation.single_deletion', 'engine.statistics.spearman', 'engine.statistics.kendall_tau', 'parts.rank_agreement', 'checks.check', 'localise.score', 'localise.Score', 'engine.targets.Verdict', 'engine.adapter.Adapter'}
PER_IMAGE = {'gradcam.grad_cam', 'methods.score_cam', 'methods.class_activation_map', 'methods.maps_of', 'gradcam.class_maps', 'engine.scoring.insertion', 'engine.scoring.deletion',
             'localise.pointing_game', 'localise.energy_inside', 'engine.scoring.iou', 'engine.scoring.best_iou', 'engine.targets.target_classes'}
# plain records: they keep what they are given, and whoever uses them checks it
RECORDS = {'checks.Check', 'checks.CheckReport', 'engine.statistics.Interval', 'parts.AblatedPet', 'toy.shortcut.BallPairs', 'engine.adapter.Adapter', 'engine.zoo.OpenModel', 'engine.preparation.Recipe', 'engine.explanation.Explanation', 'engine.targets.Verdict', 'localise.Score', 'data.Data', 'data.PetSet', 'files.pets.Pets', 'report.Run', 'study.Questions', 'toy.breeds.Breed'}

def raised_by_petcam(error):
    "Was it raised with `raise`, in a file of petcam?"
    *_, last = traceback.extract_tb(error.__traceback__)
    return last.filename.startswith(PETCAM) and linecache.getline(last.filename, last.lineno).strip().startswith(('raise', 'if')) and 'raise' in linecache.getline(last.filename, last.lineno)

def is_type_error(error, chosen, bad):
    "Python's own word for a plainly wrong type: a TypeError, or None or a string that has no such attribute"
    wrong_type = bad and (chosen[bad[0]] is None or isinstance(chosen[bad[0]], (str, Path, int, float, list, tuple)) and not isinstance(chosen[bad[0]], bool))
    return type(error) is TypeError or isinstance(error, AttributeError) and bool(wrong_type)

def check_result(name, result, chosen, bad):
    "'fine', or what is odd about it"
    if bad == ['class_names'] and (callable(chosen.get('target')) or name == 'gradcam.class_maps'): return 'fine', '' # not used
    empty = isinstance(chosen.get('x'), Tensor) and not len(chosen['x']) # no image: nothing to be wrong about
    if bad and name not in RECORDS and not empty: return 'odd', f'accepts {bad[0]} = {short(chosen[bad[0]])}'
    if name not in NOT_FINITE and name not in RECORDS and not is_finite(result): return 'odd', 'a result that is not finite'
    if name in PER_IMAGE:
        given = next(chosen[o] for o in ('x', 'maps', 'y') if o in chosen)
        for o in (result.values() if isinstance(result, dict) else [result]):
            if len(o) != len(given): return 'odd', f'{len(o)} results for {len(given)}'
    return 'fine', ''

def short(o):
    if isinstance(o, (Tensor, np.ndarray)): return f'{type(o).__name__} {tuple(o.shape)} {o.dtype}'
    if isinstance(o, nn.Module): return type(o).__name__
    if callable(o): return 'a function'
    return repr(o)[:60].replace('\n', ' ')

def one_call(name, f, world, rng):
    "(how it ended, a word on it)"
    pools = world.draw(rng)
    drawn = arguments(name, f, pools, rng)
    if drawn is None: return 'fine', ''
    positional, chosen, bad = drawn
    before, given = state(world), {k: kept_copy(v) for k, v in chosen.items()}
    said = ', '.join(f'{k}={short(v)}' for k, v in chosen.items())
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            result = f(*positional, **chosen)
            if inspect.isgenerator(result): result = list(result)
            if hasattr(result, '__enter__') and not isinstance(result, nn.Module): # a context: entered and left
                with result: pass
            if hasattr(result, 'remove') and 'take_off' in vars(result): result.remove()
        outcome, word = check_result(name, result, chosen, bad)
        if outcome == 'odd': word = f'{word} ({said})'
    except Exception as e:
        message = f'{type(e).__name__}: {str(e)[:110]}'.replace('\n', ' ')
        if raised_by_petcam(e): outcome, word = 'refused', message
        else: outcome, word = ('type' if is_type_error(e, chosen, bad) else 'raw'), f'{message} ({said})'
    matplotlib.pyplot.close('all')
    if name not in CHANGES:
        after = state(world)
        changed = [k for k in before if not same(before[k], after[k])]
        changed += [f'argument {k}' for k, v in given.items() if not same(v, kept_copy(chosen[k]))]
        if changed: return 'changed', f'{", ".join(changed)} ({said})'
    return outcome, word

def trial(n, seed=0, only='', limit=0): # seconds for one call: a longer one ends the trial, with its stack
    "`n` calls -> Counter of outcomes, {(outcome, function): {word: how often}}"
    rng, counts, words = random.Random(seed), Counter(), {}
    matplotlib.rcParams['figure.max_open_warning'] = 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        functions = {name: f for name, f in public().items() if only in name}
        names = sorted(functions)
        for i in range(n):
            name = names[i % len(names)]
            if limit: faulthandler.dump_traceback_later(limit, exit=True)
            outcome, word = one_call(name, functions[name], world, rng)
            if limit: faulthandler.cancel_dump_traceback_later()
            counts[outcome] += 1
            if outcome in ('raw', 'odd', 'changed', 'type'): words.setdefault((outcome, name), Counter())[word] += 1
            if outcome == 'changed': world.__init__(Path(tempfile.mkdtemp(dir=folder))) # go on with new ones
    return counts, words

def main(n=4000, seed=0, only='', show=('odd', 'changed', 'raw'), limit=0):
    counts, words = trial(n, seed, only, limit)
    for (outcome, name), said in sorted(words.items()):
        if outcome not in show: continue
        print(f'{outcome:8} {name}')
        for word, times in said.most_common(12): print(f'    {times:3} {word}')
    print(f'{n} calls, seed {seed}: ' + ', '.join(f'{counts[o]} {o}' for o in ('fine', 'refused', 'type', 'raw', 'odd', 'changed')))
    return counts, words

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--n', type=int, default=4000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='functions whose name holds this')
    o = parser.parse_args()
    counts, _ = main(o.n, o.seed, o.only, limit=60)
    sys.exit(bool(counts['odd'] or counts['changed']))
