"""Seeded damage to the checkpoints of a run, opened at three doors: `petcam cam`, `Learner.load` and `--resume`.

Large: `python -m tests.fuzz.checkpoints --n 400 --seed 0`. Opening a file ends in one of these ways:

same       it loads, and everything is as in the whole file
other      something else loads, as the file was written so, with a valid checksum; one more epoch trains
refused    one line that names the file; the learner and all files are as they were
traceback  an error of another kind, or at `cam` more than one line
half       refused, but the learner has changed
silent     the file's bytes are damaged, and it loads without a word
touched    refused, and a file is gone or has changed
"""
import argparse, contextlib, copy, io, itertools, math, os, pickle, random, sys, tempfile, traceback, warnings, zipfile
from collections import Counter
from pathlib import Path
import torch
from PIL import Image
from torch import nn
from petcam.cli import main as petcam
from petcam.onecycle import cnn_learner
from petcam.resize import Stage, run_stages
from petcam.training.weights import write_tensors

PLAN, SIZE = {'seed': 0, 'stages': 'two'}, 32
STAGES = [Stage('stage-1', SIZE, False, 1, slice(1e-3), .8), Stage('stage-2', SIZE, False, 2, slice(1e-4, 1e-3), .8)]
BAD = 'traceback', 'half', 'silent', 'touched'

class Colours:
    "Red and green images, as data of a learner"
    device, classes, c, bs, size, kind = torch.device('cpu'), ['red', 'green'], 2, 4, SIZE, 'toy'
    def __init__(self):
        y = torch.arange(8) % 2
        x = torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))*.2 + .6*torch.eye(3)[y][:, :, None, None]
        self.train_dl = self.valid_dl = list(zip(x.split(4), y.split(4)))
        self.train_ds = self.valid_ds = list(zip(x, y))

def quietly(f, *args, **kw):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return f(*args, **kw)

# ---------- damage ----------

def in_bytes(whole, rng):
    "A file with damaged bytes, or of another kind"
    n, at = len(whole), rng.randrange(len(whole))
    def flip(bits):
        damaged = bytearray(whole)
        for _ in range(bits):
            bit = rng.randrange(8*n)
            damaged[bit//8] ^= 1 << bit % 8
        return bytes(damaged)
    def near(start): # a bit among the archive's own, at the beginning or the end
        damaged = bytearray(whole)
        damaged[(0 if start else n - 4000) + rng.randrange(4000)] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    block = rng.randrange(1, 5000)
    return rng.choice([
        ('one bit', lambda: flip(1)), ('one bit', lambda: flip(1)), ('some bits', lambda: flip(rng.randrange(2, 50))),
        ('a bit of the header', lambda: near(True)), ('a bit of the directory', lambda: near(False)),
        ('cut short', lambda: whole[:at]), ('begins late', lambda: whole[at:]), ('a block of zeros', lambda: whole[:at] + bytes(block) + whole[at+block:]),
        ('a block is missing', lambda: whole[:at] + whole[at+block:]), ('more at the end', lambda: whole + rng.randbytes(block)),
        ('twice', lambda: whole + whole), ('empty', lambda: b''), ('random', lambda: rng.randbytes(block)), ('text', lambda: b'not a network\n'*20)])

class Program: # does nothing, but could
    def __reduce__(self): return os.getcwd, ()

def of_another_kind(rng, net):
    "A file that other programs write"
    file = io.BytesIO()
    def zipped():
        with zipfile.ZipFile(file, 'w') as archive: archive.writestr('data.pkl', b'x')
    def scripted():
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    name, write = rng.choice([
        ('a whole model', lambda: torch.save(net, file)), ('a whole model, long ago', lambda: torch.save(net, file, _use_new_zipfile_serialization=False)),
        ("a dict with a model, as fastai's export", lambda: torch.save({'model': net, 'opt': None}, file)), ('pickle', lambda: pickle.dump({'a': [1, 2]}, file)),
        ('a program', lambda: torch.save({'model': Program()}, file)), ('a list', lambda: torch.save([1, 2], file)), ('a tensor', lambda: torch.save(torch.ones(2), file)),
        ('of another network', lambda: torch.save(nn.Linear(2, 2).state_dict(), file)), ('another zip', zipped), ('TorchScript', scripted)])
    write()
    return name, file.getvalue()

def odd_tensors(t):
    "Tensors that are not what they should be, made of `t`"
    t = t.detach().clone() if isinstance(t, torch.Tensor) and t.is_floating_point() else torch.rand(2, 3)
    flat = t.reshape(-1)
    nan, inf = (t.clone().reshape(-1) for _ in range(2))
    nan[-1:], inf[:1] = math.nan, math.inf
    return [nan.reshape(t.shape), inf.reshape(t.shape), -t.abs() - 1, t.to_sparse(), t.to('meta'), t.cfloat(), t[None], flat[:-1], t.half(), t.long(), t.bool(), t*1e30,
            torch.empty(0), torch.ones(1).expand(10**12), torch.ones(5000).as_strided((2000, 2000), (1, 1)), t.to(torch.float8_e4m3fn),
            torch.quantize_per_tensor(flat.float(), .1, 0, torch.qint8), torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])]

PLAIN = [None, True, 0, 3, -1, 10**7, 10**30, 1.5, -.5, math.nan, math.inf, '', 'x', '/../../x', '\x1b[31mred', b'', b'abc', [], [1], ['a', 'b'], [[]], (), (1, 2), {}, {'a': 1}, {0: 1}]

def in_contents(state, rng):
    "What is said by the file is odd, and the file is whole"
    state = copy.deepcopy(state)
    def parts(o, name=''): # each (container, key, name) in the file
        items = o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, list) else ()
        for k, v in list(items):
            yield o, k, f'{name}.{k}'
            yield from parts(v, f'{name}.{k}')
    every = list(parts(state))
    kinds = {}
    for part in every: kinds.setdefault(part[2].count('.') if '.model.' not in part[2] else 'weights', []).append(part)
    container, key, name = rng.choice(kinds[rng.choice(list(kinds))])
    how = rng.choice(['plain', 'plain', 'tensor', 'tensor', 'gone', 'more'])
    if how == 'plain': container[key] = rng.choice(PLAIN)
    elif how == 'tensor': container[key] = rng.choice(odd_tensors(container[key]))
    elif how == 'gone': del container[key]
    elif isinstance(container, dict): container[rng.choice(['odd', 7])] = rng.choice(PLAIN)
    else: container.append(rng.choice(PLAIN))
    value = container.get(key) if isinstance(container, dict) else None
    return f'{how} at {name}: {type(value).__name__}', state

# ---------- the three doors ----------

class World:
    "A run of two stages that has got to the middle of the second, and an image"
    def __init__(self, folder):
        self.folder = Path(folder)
        self.image = self.folder/'red.png'
        Image.new('RGB', (48, 40), 'red').save(self.image)
        self.first = self.learner()
        self.kept = copy.deepcopy(self.first.model.state_dict())
        saved, save = [], self.first.save
        def keep(name, **more): # each checkpoint, as it is written
            path = save(name, **more)
            if name == 'resume': saved.append(path.read_bytes())
        self.first.save = keep
        quietly(lambda: list(run_stages(self.first, STAGES, print, PLAN)))
        del self.first.save
        self.whole = saved[1]
        self.state = torch.load(io.BytesIO(self.whole), weights_only=True)
        self.net = nn.Sequential(nn.Linear(2, 2))

    def learner(self):
        torch.manual_seed(0)
        return cnn_learner(Colours(), 'squeezenet1_1', weights=None, model_dir=self.folder/'models', precision='fp32')

    def renewed(self): # the learner as it was at first
        learn = self.first
        learn.model.load_state_dict(self.kept)
        learn.rows, learn.losses = [], []
        learn._renew()
        return learn

def facts(learn): # all that a file could change
    return copy.deepcopy((learn.model.state_dict(), learn.opt.state_dict()['state'], learn.rows, learn.losses, learn.smooth.t)), torch.get_rng_state()

def same(a, b):
    if isinstance(a, torch.Tensor): return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict): return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a == b

def in_words(e): return ''.join(traceback.format_exception(e)[-3:])

def at_cam(world, path, damaged):
    "-> outcome, word"
    out, err = world.folder/'map.png', io.StringIO()
    try:
        with contextlib.redirect_stderr(err): code = quietly(petcam, ['cam', str(world.image), '--model', str(path), '--out', str(out), '--layer', '0.0.7'])
    except BaseException as e: return 'traceback', in_words(e)
    out.unlink(missing_ok=True)
    said = err.getvalue()
    if code == 0 and not said: return ('silent' if damaged else 'other'), ''
    return ('refused' if code == 1 and said.startswith('petcam: ') and said.count('\n') == 1 and path.name in said else 'traceback'), said

def opened(world, path, damaged, load):
    "-> outcome, word of a function that lets a learner load the file"
    learn = world.renewed()
    before = facts(learn)
    try: quietly(load, learn)
    except (ValueError, OSError) as e:
        if path.name not in str(e): return 'traceback', f'the file is not named: {in_words(e)}'
        return ('refused' if same(before, facts(learn)) else 'half'), str(e)
    except BaseException as e: return 'traceback', in_words(e)
    if damaged: return 'silent', ''
    alike = same(learn.model.state_dict(), world.state['model']) and same(learn.opt.state_dict()['state'], world.state['opt']['state'])
    try: quietly(learn.fit_one_cycle, 1, 1e-4)
    except ValueError as e: # weights of 1e30 may well have a loss that is not finite
        if 'the loss of batch' not in str(e): return 'traceback', in_words(e)
    except BaseException as e: return 'traceback', in_words(e)
    return ('same' if alike else 'other'), ''

def at_load(world, path, damaged):
    return opened(world, path, damaged, lambda learn: learn.load(path.stem))

def at_resume(world, path, damaged):
    "As the only checkpoint, and with a whole one before it"
    models, before = path.parent, world.first.path('resume-before')
    resume = path.rename(world.first.path('resume'))
    if second := int(resume.stat().st_size) % 2: before.write_bytes(world.whole)
    contents = lambda: sorted(p.read_bytes() for p in models.iterdir())
    kept = contents()
    def load(learn):
        stages = run_stages(learn, STAGES, print, PLAN, resume=True)
        learn.fit_one_cycle = lambda *args, **kw: None # what is done after loading is seen in `opened`
        try: list(stages)
        finally: del learn.fit_one_cycle
    outcome, word = opened(world, resume, damaged and not second, load)
    now = contents()
    if outcome == 'refused' and now != kept or any(c not in now for c in kept): outcome, word = 'touched', word
    for p in models.iterdir(): p.unlink()
    return outcome, word

DOORS = dict(cam=at_cam, load=at_load, resume=at_resume)

def trial(n, seed=0):
    "`n` files, each at all three doors -> Counter of (door, outcome), {(door, outcome): [words]}"
    rng, counts, words = random.Random(seed), Counter(), {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        world = World(folder)
        for p in (world.folder/'models').iterdir(): p.unlink()
        for i in range(n):
            kind = rng.choice(['bytes', 'bytes', 'contents', 'contents', 'contents', 'another kind'])
            if kind == 'bytes':
                how, make = in_bytes(world.whole, rng)
                content = make()
            elif kind == 'another kind': how, content = of_another_kind(rng, world.net)
            else:
                how, state = in_contents(world.state, rng)
                made, write = world.folder/'made.pth', rng.choice([write_tensors, torch.save])
                try: write(state, made)
                except ValueError: torch.save(state, made) # we would not write it; another program may
                content = made.read_bytes()
            for door, open_ in DOORS.items():
                path = world.folder/'models'/'damaged.pth'
                path.write_bytes(content)
                outcome, word = open_(world, path, kind == 'bytes' and content != world.whole)
                counts[door, outcome] += 1
                words.setdefault((door, outcome), []).append(f'{i} {how}: {word}')
    return counts, words

def main(n=400, seed=0, show=BAD):
    counts, words = trial(n, seed)
    for (door, outcome), said in words.items():
        if outcome in show:
            for word in said: print(f'{door} {outcome}: {word}')
    outcomes = ('same', 'other', 'refused', *BAD)
    for door in DOORS: print(f'{n} files at {door}, seed {seed}: ' + ', '.join(f'{counts[door, o]} {o}' for o in outcomes))
    return counts, words

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--n', type=int, default=400)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--show', default=','.join(BAD), help='outcomes to show, with commas between')
    o = parser.parse_args()
    counts, _ = main(o.n, o.seed, o.show.split(','))
    sys.exit(any(counts[door, o] for door, o in itertools.product(DOORS, BAD)))
