"""Train the lesson's three stages with petcam and with fastai, in turn, and print a table with ratios.

    pip install fastai==2.8.12
    python benchmarks/training.py --data PETS --arch mobilenet_v2 --weights FILE [--bs 16] [--seeds 0,1,2] [--epochs 3,2,2]

Same photographs, split, weights, batch size, sizes, augmentation and rates. Each run has a process of its own. A library's images
per second are its training images over the time of a whole epoch, validation included: the median of the unfrozen epochs at a size.
"""
import argparse, json, os, statistics, subprocess, sys, time
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

def stages(epochs):
    from petcam.resize import lesson_stages
    return lesson_stages('real', epochs=epochs)

def train_petcam(a):
    import torch
    from petcam.data import find_pets, get_data
    from petcam.onecycle import cnn_learner
    from petcam.resize import run_stages
    from petcam.training.memory import reuse_memory
    torch.manual_seed(a.seed)
    reuse_memory()                               # as `petcam run` does
    pets, plan = find_pets(a.data, quiet=True), stages(a.epochs)
    learn = cnn_learner(get_data(plan[0].size, a.bs, path=pets), a.arch, weights=a.weights, model_dir=a.models, precision=a.precision)
    for stage in run_stages(learn, plan, say=lambda *o: None):
        yield stage, [(row[3], row[4]) for row in learn.rows], len(learn.data.train_ds)

def train_fastai(a):
    import torch, torchvision
    from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, IndexSplitter, Normalize, Resize, aug_transforms, error_rate,
                                   default_split, imagenet_stats, model_meta, set_seed, vision_learner)
    from petcam.data import find_pets, label_of, split_by_rand_pct
    from petcam.head import cut_body
    pets = find_pets(a.data, quiet=True)
    valid = split_by_rand_pct(len(pets.files))[1]
    set_seed(a.seed)
    def data(size):
        changes = aug_transforms(max_rotate=20, max_zoom=1.3, max_lighting=.4, max_warp=.4, p_affine=1., p_lighting=1.)
        block = DataBlock((ImageBlock, CategoryBlock), get_items=lambda _: pets.files, splitter=IndexSplitter(valid), get_y=label_of,
                          item_tfms=Resize(size), batch_tfms=[*changes, Normalize.from_stats(*imagenet_stats)])
        return block.dataloaders(pets.images, bs=a.bs, num_workers=2)
    def arch(pretrained=True):
        net = torchvision.models.get_model(a.arch)
        net.load_state_dict(torch.load(a.weights, weights_only=True))
        return net
    model_meta[arch] = dict(cut=cut_body, split=default_split)
    plan = stages(a.epochs)
    learn = vision_learner(data(plan[0].size), arch, bn_final=True, normalize=False, metrics=error_rate)
    for i, stage in enumerate(plan):
        if learn.dls.valid.one_batch()[0].shape[-1] != stage.size: learn.dls = data(stage.size)
        if i and not stage.frozen: learn.unfreeze()
        rows = []
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(stage.epochs, stage.max_lr, pct_start=stage.pct_start, cbs=[noted(rows)])
        yield stage, rows, len(learn.dls.train_ds)

def noted(rows):
    "A callback that notes error and seconds of each epoch"
    from fastai.callback.core import Callback
    class Noted(Callback):
        def before_epoch(self): self.start = time.monotonic()
        def after_epoch(self): rows.append((float(self.learn.recorder.metrics[0].value), time.monotonic()-self.start))
    return Noted()

def one(a):
    "One library, one seed, in this process: a line of JSON for each stage"
    for stage, rows, n in dict(petcam=train_petcam, fastai=train_fastai)[a.one](a):
        print(json.dumps(dict(stage=stage.name, size=stage.size, frozen=stage.frozen, error=rows[-1][0], seconds=[s for _, s in rows], n=n)), flush=True)

def run(a, library, seed):
    words = [sys.executable, __file__, '--one', library, '--seed', str(seed)] + [
        f'--{k}={v}' for k, v in dict(data=a.data, arch=a.arch, weights=a.weights, bs=a.bs, epochs=','.join(map(str, a.epochs)), models=a.models, precision=a.precision).items()]
    out = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    found = [json.loads(line) for line in out.split('\n') if line.startswith('{')]
    print(f'{library} seed {seed}: ' + ', '.join(f"{o['size']}px {o['error']:.1%} {[round(s) for s in o['seconds']]} s" for o in found), flush=True)
    return found

def spread(values): return f"{statistics.mean(values):.1%}" + (f" +- {statistics.stdev(values):.1%}" if len(values) > 1 else '')

def table(results):
    print('\n| | ' + ' | '.join(results) + ' | petcam / fastai |\n' + '| --- '*(len(results)+2) + '|')
    for size in sorted({o['size'] for runs in results.values() for run in runs for o in run if not o['frozen']}):
        rate = {k: statistics.median(o['n']/s for run in runs for o in run if o['size'] == size and not o['frozen'] for s in o['seconds']) for k, runs in results.items()}
        print(f'| {size} px, images/s | ' + ' | '.join(f'{v:.1f}' for v in rate.values()) + f" | {rate['petcam']/rate['fastai']:.2f} |")
    for i in range(3):
        print(f'| error after stage {i+1} | ' + ' | '.join(spread([run[i]['error'] for run in runs]) for runs in results.values()) + ' | |')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(o) for o in text.split(',')]
    p.add_argument('--data', required=True); p.add_argument('--weights', required=True)
    p.add_argument('--arch', default='mobilenet_v2'); p.add_argument('--bs', type=int, default=16); p.add_argument('--precision', default='auto')
    p.add_argument('--seeds', type=numbers, default=[0]); p.add_argument('--epochs', type=numbers, default=[3,2,2])
    p.add_argument('--models', default='build/benchmark'); p.add_argument('--one', choices=['petcam', 'fastai']); p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    if a.one: one(a)
    else:
        results = dict(fastai=[], petcam=[])
        for seed in a.seeds:
            for library in results: results[library].append(run(a, library, seed))
        table(results)
