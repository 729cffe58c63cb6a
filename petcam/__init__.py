"""The front door: `import petcam` loads nothing heavy, and `petcam.grad_cam` finds its module when it is first used.

The one module that is written by hand: a notebook cannot define a module's `__getattr__` (PEP 562) without getting it itself."""
from importlib import import_module
from pkgutil import iter_modules

__version__ = "0.0.1"

_HOMES = {
    # look inside
    'grad_cam': 'gradcam', 'class_maps': 'gradcam', 'explain': 'methods', 'maps_of': 'methods',
    'METHODS': 'methods', 'score_cam': 'methods', 'class_activation_map': 'methods',
    'CamExplorer': 'explore', 'explorer_html': 'explore', 'export_page': 'web.live',
    'layers_of': 'engine.layers',
    'watch': 'hooks', 'hook_output': 'hooks', 'mean_activation': 'heatmap',
    'show_heatmap': 'heatmap', 'overlay': 'heatmap', 'describe': 'heatmap',
    # train
    'find_pets': 'data', 'get_data': 'data', 'split_by_rand_pct': 'data',
    'load_image': 'files.images', 'get_transforms': 'augment', 'create_body': 'head',
    'create_head': 'head', 'cnn_learner': 'onecycle', 'one_cycle': 'onecycle',
    'lr_range': 'onecycle', 'draw_pet': 'toy.scenes', 'draw_pair': 'toy.scenes',
    # check
    'check': 'checks', 'pointing_game': 'localise', 'energy_inside': 'localise'}

__all__ = [*_HOMES]

def _modules():
    return [o.name for o in iter_modules(__path__) if not o.name.startswith('_')]

def __getattr__(name):
    if name in _HOMES: return getattr(import_module(f'petcam.{_HOMES[name]}'), name)
    if name in _modules(): return import_module(f'petcam.{name}')
    raise AttributeError(f"module 'petcam' has no attribute {name!r}")

def __dir__():
    return sorted([*_HOMES, *_modules(), '__version__'])
