"""Maps of a trained network on one's own photographs: grids with a known answer, ROAD, random weights, and `petcam.check`.

    petcam run --data PETS --arch mobilenet_v2
    python benchmarks/truth.py --data PETS --model build/models/stage-2.pth [--n 600] [--only grids,road,weights,check]

In percent with 95 % intervals, images resampled; a method is compared with the best baseline on the same images. The photographs are
those that have a trimap, `n` of them at random; mosaics take four of four breeds (of all photographs) that the network is sure of.
"""
import argparse, time, warnings
from collections import Counter
import torch
from petcam.checks import check
from petcam.cli import _images_to_score
from petcam.engine.similarity import normalize_maps, ssim
from petcam.engine.randomization import layer_order
from petcam.engine.statistics import paired_bootstrap, spearman
from petcam.engine.zoo import load_trained
from petcam.grids import dipart, grid_localisation, grid_pointing
from petcam.localise import centre_prior, randomize_weights
from petcam.methods import METHODS, maps_of
from petcam.perturbation import road
from petcam.sanity import randomized_maps
from petcam.study import _confident_quads, last_layers, markdown, single_images
from petcam.truth import difull

def baselines(shape, seed): # of maps (...,h,w)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return {'centred Gaussian': centre_prior(tuple(shape[-2:])).expand(shape), 'random map': noise}

def said(values): # (n,) or (n,q) -> percent, with the interval
    i = paired_bootstrap(values)
    return f'{100*i.mean:.1f} [{100*i.low:.1f}, {100*i.high:.1f}]'

def shown(title, scores): # column -> method -> (n,...): a table, and below it what beats the best baseline
    n = len(next(iter(next(iter(scores.values())).values())))
    names = list(dict.fromkeys(name for column in scores.values() for name in column))
    rows = [[name, *(said(column[name]) if name in column else '' for column in scores.values())] for name in names]
    print(f'\n{title} ({n} images or mosaics)\n\n{markdown(["method", *scores], rows)}\n', flush=True)
    others = {title: max((o for o in column if o not in METHODS), key=lambda o: column[o].mean()) for title, column in scores.items()}
    head = ['better than', *(f'{title}: {o}' for title, o in others.items())]
    rows = [[name, *(said(column[name] - column[others[title]]) if name in column else '' for title, column in scores.items())] for name in METHODS]
    print(f'{markdown(head, rows)}\n', flush=True)

def grids(model, data, layers, files, ks, pool, a): # GridPG, DiFull and DiPart, at the map's own resolution
    quads = _confident_quads(model, data, pool, a.n//4, a.seed, 16)
    x = single_images(data, *zip(*quads), with_masks=False).xb
    cells, targets = x.unflatten(0, (-1, 4)), torch.tensor([k for _, k in quads]).view(-1, 4)
    random = randomize_weights(model, x[:16], a.seed)
    for layer in layers:
        scores = {}
        for title, game in {'GridPG': grid_pointing, 'DiFull': difull, 'DiPart': dipart}.items():
            found = {}
            for suffix, net in {'': model, ', random weights': random}.items():
                for some, ks_of in zip(cells.split(4), targets.split(4)):
                    for name, maps in game(net, layer, some, ks_of).items():
                        found.setdefault(name + suffix, []).append(maps)
            found = {name: torch.cat(parts) for name, parts in found.items()}
            found |= baselines(found['Grad-CAM'].shape, a.seed)
            scores[title] = {name: grid_localisation(maps) for name, maps in found.items()} # (m,4)
        shown(f'layer {layer}, 2 x 2 mosaics, evidence in the own cell; chance 25', scores)

def batches(data, files, ks, n, bs=16):
    for i in range(0, min(n, len(files)), bs):
        xb, targets, masks = single_images(data, files[i:min(i+bs, n)], ks[i:min(i+bs, n)])
        yield xb, targets[:, 0].tolist(), masks[:, 0]

def removal(model, data, layers, files, ks, pool, a): # ROAD: LeRF minus MoRF, the mean over five fractions
    random, scores = None, {}
    for xb, targets, _ in batches(data, files, ks, a.n):
        random = random or randomize_weights(model, xb, a.seed)
        maps = maps_of(model, layers[0], xb, targets)
        maps['Grad-CAM, random weights'] = maps_of(random, layers[0], xb, targets, ['Grad-CAM'])['Grad-CAM']
        size = maps['Grad-CAM'].shape
        maps['random map'] = baselines(size, a.seed)['random map']
        maps['centred Gaussian'] = centre_prior(tuple(size[1:])).expand(size)
        stacked = torch.stack([*maps.values()])
        most, least = (road(model, xb, stacked, targets, order).mean(2) for order in ('MoRF', 'LeRF')) # (m,b)
        for name, high, low in zip(maps, least, most):
            scores.setdefault(name, []).append(high - low)
    shown(f'layer {layers[0]}, ROAD: LeRF minus MoRF', {'LeRF - MoRF': {name: torch.cat(parts) for name, parts in scores.items()}})

def weights(model, data, layers, files, ks, pool, a): # cascading, block after block from the head, five draws
    like = {}
    for xb, targets, _ in batches(data, files, ks, a.n):
        blocks = layer_order(model, xb, depth=2)
        after = randomized_maps(model, layers[0], xb, targets, layers=blocks, draws=5, seed=a.seed)
        before = maps_of(model, layers[0], xb, targets)
        noise = baselines(before['Grad-CAM'].shape, a.seed)['random map']
        for name in METHODS:
            m, r = (normalize_maps(o) for o in (before[name], after[name])) # (b,h,w), (draws,steps,b,h,w)
            halfway, last = r[:, len(blocks)//2 - 1], r[:, -1]
            for when, o in {'half of the blocks': halfway, 'all blocks': last, 'a random map instead': normalize_maps(noise)[None]}.items():
                like.setdefault((when, 'Spearman'), {}).setdefault(name, []).append(spearman(m.flatten(1), o.flatten(2)).nanmean(0))
                like.setdefault((when, 'SSIM'), {}).setdefault(name, []).append(ssim(m.expand_as(o), o).nanmean(0))
    columns = {f'{what}, {when}': {name: torch.cat(parts).double() for name, parts in by.items()} for (when, what), by in like.items()}
    columns = {title: {name: v[v.isfinite()] for name, v in by.items()} for title, by in columns.items()}
    rows = [[name, *(f'{paired_bootstrap(by[name]):.2f}' for by in columns.values())] for name in METHODS]
    print(f'\nlayer {layers[0]}, similarity after drawing weights anew, five draws, {min(a.n, len(files))} images\n\n{markdown(["method", *columns], rows)}\n', flush=True)

def checks(model, data, layers, files, ks, pool, a): # how many batches of 16 pass each question
    passed, n = Counter(), 0
    for xb, targets, masks in batches(data, files, ks, a.n):
        report, n = check(model, layers[0], xb, targets, masks=masks, seed=a.seed), n + 1
        for name, c in report.checks.items(): passed[name, c.passed] += 1
    names = dict.fromkeys(name for name, _ in passed)
    rows = [[name, *(str(passed[name, o]) for o in (True, False, None))] for name in names]
    print(f'\nlayer {layers[0]}, petcam.check, {n} batches of at most 16\n\n{markdown(["question", "passed", "failed", "unanswered"], rows)}\n', flush=True)

PARTS = dict(grids=grids, road=removal, weights=weights, check=checks)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', required=True); p.add_argument('--model', default='build/models/stage-2.pth')
    p.add_argument('--size', type=int, default=224); p.add_argument('--seed', type=int, default=0)
    p.add_argument('--n', type=int, default=600); p.add_argument('--only', default=','.join(PARTS))
    a = p.parse_args()
    warnings.simplefilter('ignore')
    model, about = load_trained(a.model)
    files, ks, pool, data = _images_to_score(dict(about, size=a.size), a.data, a.n, 'all', a.seed)
    model = model.requires_grad_(False)
    layers = last_layers(model, single_images(data, files[:2], ks[:2]).xb)
    for name in a.only.split(','):
        start = time.process_time()
        PARTS[name](model, data, layers, files, ks, pool, a)
        print(f'{name}: {time.process_time() - start:.0f} s of processor time', flush=True)

if __name__ == '__main__': main()
