"""Sliders that move on the site: what `play_kernel` and its like need, as one piece of HTML each.

A lesson's cell says `#| player: kernel`, and its still image is replaced by these sliders.
"""
from functools import cache
import numpy as np
import torch
from petcam.hooks import hook_output
from petcam.kernels import edge_kernel
from petcam.onecycle import lr_range
from petcam.resize import lesson_learner, play_sizes
from petcam.web.explorer import for_script, packed_map
from petcam.web.page import data_uri, image_bytes, render

@cache
def _learner(): return lesson_learner()

def _leonberger(): # (3,h,w), as the lessons show it
    data = _learner().data
    return data.valid_ds[data.first_of('leonberger')][0]

def _png(image): # (3,h,w) from 0 to 1
    pixels = (image.permute(1, 2, 0)*255).round().byte().numpy()
    return data_uri(image_bytes(pixels, 'PNG'), 'image/png')

def _slider(name, low, high, step, value, labels=None):
    return dict(name=name, min=low, max=high, step=step, value=value, labels=labels)

def _choice(name, labels, value): # among several, by the index
    return _slider(name, 0, len(labels) - 1, 1, value, labels)

def _checkbox(name, value): return dict(name=name, checkbox=True, value=value)

def kernel(image=None, nine=None):
    "What `play_kernel` shows"
    image = _leonberger() if image is None else image
    nine = 6*edge_kernel()[0, 0] if nine is None else nine
    return dict(image=_png(image), sliders=[
        _slider(f'k{i//3}{i%3}', -3, 3, 1/3, v) for i, v in enumerate(nine.flatten().tolist())])

def schedule(n=100):
    "What `play_schedule` shows"
    highest = {'1e-2 for all': 1e-2, 'slice(1e-2)': slice(1e-2), '1e-4 to 1e-2': slice(1e-4, 1e-2),
               '1e-6 to 1e-3': slice(1e-6, 1e-3), '1e-6 to 1e-4': slice(1e-6, 1e-4)}
    divide = [1, 2, 5, 10, 25, 50, 100]
    rates = [lr_range(lr, 3) for lr in highest.values()]
    return dict(n=n, highest=rates, divide=divide, sliders=[
        _slider('pct_start', 0, 1, .05, .3), _choice('div_factor', [str(o) for o in divide], 4),
        _choice('lr', list(highest), 1), _checkbox('log', False)])

def sizes(learn=None, image=None):
    "What `play_sizes` shows: every size is looked at once"
    learn, image = learn or _learner(), _leonberger() if image is None else image
    player, maps, words = play_sizes(learn, image), [], []
    slider = player.sliders['size']
    steps = list(range(slider.min, slider.max + 1, slider.step))
    for size in steps:
        player.set(size=size)
        grey = torch.tensor(np.asarray(player.figure.axes[1].images[0].get_array()))
        maps.append(packed_map(grey[None].float()))
        words.append(player.words)
    at = steps.index(image.shape[-1]//16*16)
    return dict(image=_png(image), sizes=steps, maps=maps, words=words,
                sliders=[_choice('size', [str(o) for o in steps], at)])

def channels(model=None, layer=None, x=None, image=None, most=20):
    "What `play_channels` shows"
    if model is None:
        learn = _learner()
        model, image = learn.model, _leonberger()
        x, layer = learn.data.one_item(image), learn.model[0]
    with torch.no_grad(), hook_output(layer) as h: model.eval()(x)
    maps = h.stored[0].float().cpu()
    top, where = maps.flatten(1).max(1)
    order = top.argsort(descending=True)
    places = maps[0].numel()
    return dict(
        image=_png(image), maps=packed_map(maps), order=order.tolist(), where=where.tolist(),
        low=[f'{v:.2f}' for v in maps.amin((1, 2))], high=[f'{v:.2f}' for v in top],
        count=where[order[:most]].bincount(minlength=places).tolist(), most=most,
        sliders=[_slider('channel', 0, len(maps) - 1, 1, 0), _checkbox('strongest first', True)])

KINDS = dict(kernel=kernel, schedule=schedule, sizes=sizes, channels=channels)

def fragment(kind, still, label, **given): # the address of an image; what it shows
    "The sliders of one kind as a piece of HTML"
    return render('player.html', kind=kind, uid=f'player-{kind}', still=still, label=label,
                  data=for_script(KINDS[kind](**given) | dict(kind=kind)))
