"""Seeded random command lines, plausible and wrong: each does its work or costs one line, and touches nothing of yours.

    python -m tests.fuzz.commands --n 3000 --seed 0

They are typed to `petcam.cli.main`, with the training, the study, downloads and JupyterLab left out; some are typed to a
process of its own, in a terminal that knows ASCII only. A line ends in one of these ways:

done        exit status 0
one line    exit status 1, and one line on stderr that begins with `petcam: `, after perhaps some notes
usage       exit status 2, and argparse's usage with one line
traceback   an error
hang        it takes more than a minute
odd         another exit status, more lines, a control character on the terminal
touched     a file that was there before has changed, without `--force`; or one that was read, with it
outside     a file was written in another folder than the command may write to
"""
import argparse, contextlib, hashlib, io, os, random, re, signal, subprocess, sys, tempfile, traceback, unittest.mock
from collections import Counter
from pathlib import Path
os.environ['HF_HUB_OFFLINE'] = '1' # timm's weights: no network, at once
import torch
from PIL import Image
from petcam import cli
from petcam.head import create_cnn
from petcam.training.weights import write_tensors

BAD = 'traceback', 'hang', 'odd', 'touched', 'outside'
MODULE = '''
import torch
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
def make(): return net
def tokens(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
def dies(): raise SystemExit('no GPU')
def two(a, b): return net
def pair(): return net, net
class Odd(nn.Module):
    def forward(self, x): raise KeyError('x')
number = 3
'''

# ---------- the folder in which the commands are typed ----------

def make_world(root):
    "Files of all kinds in `root/work`; returns that folder"
    work = root/'work'
    (work/'pets'/'images').mkdir(parents=True)
    (work/'pets'/'annotations'/'trimaps').mkdir(parents=True)
    (work/'empty').mkdir()
    torch.manual_seed(0)
    for name in ('photo.png', 'photo.jpg', 'mine.png', 'caf\u00e9.png', os.fsdecode(b'caf\xe9.png'), '$\\foo$.png', '-h.png'):
        Image.fromarray((torch.rand(40, 56, 3)*255).byte().numpy()).save(work/name)
    (work/'broken.jpg').write_bytes((work/'photo.jpg').read_bytes()[:400])
    (work/'text.png').write_text('no image')
    (work/'link.png').symlink_to('photo.png')
    (work/'nowhere.png').symlink_to('gone')
    os.mkfifo(work/'pipe.png')
    for name in ('pug', 'beagle'):
        for i in range(6):
            Image.new('RGB', (40, 32), (90*(name == 'pug'), 40*i, 60)).save(work/'pets'/'images'/f'{name}_{i}.jpg')
            mask = Image.new('L', (40, 32), 2)
            mask.paste(1, (0, 0, 20, 32))
            mask.save(work/'pets'/'annotations'/'trimaps'/f'{name}_{i}.png')
    net = create_cnn('squeezenet1_1', 2)
    about = dict(arch='squeezenet1_1', bn_final=False, weights='None', classes=['beagle', 'pug'], size=64, kind='real')
    write_tensors(dict(model=net.state_dict(), about=about), work/'net.pth')
    hostile = about | dict(classes=['/../../x', '\x1b[31mred\nline'])
    write_tensors(dict(model=net.state_dict(), about=hostile), work/'hostile.pth')
    torch.save({'w': torch.ones(2)}, work/'w.pth')
    (work/'my_net.py').write_text(MODULE)
    (work/'names.txt').write_text('cat\ndog\nfish\n')
    (work/'report.html').write_text('mine')
    return work

def contents(root):
    "Every file below `root` -> a digest of it"
    found = {}
    for path in root.rglob('*'):
        if path.is_symlink(): found[path] = os.readlink(path)
        elif path.is_file(): found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found

# ---------- random words ----------

IMAGES = ['photo.png', 'photo.jpg', 'mine.png', 'caf\u00e9.png', os.fsdecode(b'caf\xe9.png'), '$\\foo$.png', 'broken.jpg', 'text.png', 'link.png',
          'nowhere.png', 'pipe.png', 'gone.jpg', 'pets/images', 'empty', 'net.pth', '.', 'a\0b.png', 'x'*300 + '.png']
MODELS = ['net.pth', 'net.pth', 'hostile.pth', 'w.pth', 'gone.pth', 'photo.png', 'pets', 'pipe.png', 'torchvision:squeezenet1_1', 'torchvision:resnet18',
          'torchvision:resnet5O', 'torchvision:', 'timm:', 'timm:gone', 'timm:resnet10t', 'my_net:make', 'my_net:make', 'my_net:net', 'my_net:tokens', 'my_net:dies',
          'my_net:two', 'my_net:pair', 'my_net:Odd', 'my_net:number', 'my_net:', ':', ':make', 'my_net.py:make', 'gone:make', 'os:getcwd', '..my_net:make', '--']
OUTS = ['out', 'page.html', 'report.html', 'out/map.png', 'map.png', 'map.jpg', 'map.xyz', 'map', 'photo.png', 'mine.png', 'link.png', 'nowhere.png', 'empty', '.', 'photo.png/x', '/dev/null', '/dev/null/x.png',
        '/proc/x', 'deep/er/map.webp', 'pipe.png', '\x1b[31m.png', os.fsdecode(b'caf\xe9/m.png'), 'x'*300, 'my_net.py', 'net.pth', '']
NUMBERS = ['1', '2', '5', '3', '0', '-1', '32', '64', '1.5', '1e3', 'nan', 'inf', '99999999999999999999', '999999999999', '9'*5000, '\u00b2', '\u0663', '', ' 3', '0x10', 'three']
TEXTS = ['0', '1', 'pug', 'Grad-CAM', '', 'Pug', 'dog', '/../../x', '7', '-7', '1.4', 'features.3', 'GradCAM', 'LayerCAM', 'Eigen-CAM', '\x1b[31m', 'a\nb', '\udce9', '\u732b', '=', "'", '%s', '{0}', 'none', 'x'*500]
DATA = ['pets', 'pets/images', 'empty', 'gone', 'photo.png', 'pipe.png', 'net.pth', '', '.']
CLASSES = ['names.txt', 'names.txt', 'photo.png', 'gone.txt', 'empty', 'pipe.png', 'my_net.py']
WEIGHTS = ['none', 'none', 'imagenet', 'toy', 'w.pth', 'net.pth', 'gone.pth', 'photo.png', 'empty', 'auto', 'pipe.png']
THREE = ['.5', '.5,.4,.3', '.2', '1', '0', '1,2', '0,0,0', 'nan', ',', '', '1e400', '-1,.2,.2', 'a']
SIZES = ['32', '48', '64', '40', '0', '-3', '5000', '1', 'x', '99999999999999999999']
VALUES = { # option -> values
    '--model': MODELS, '--weights': WEIGHTS, '--classes': CLASSES, '--class': TEXTS + NUMBERS, '--layer': TEXTS, '--layers': TEXTS, '--method': TEXTS, '--out': OUTS,
    '--mean': THREE, '--std': THREE, '--size': SIZES, '--data': DATA, '--masks': ['pets/annotations/trimaps', *DATA], '--seed': NUMBERS, '--n': NUMBERS, '--curves': NUMBERS,
    '--bs': NUMBERS, '--epochs': [*NUMBERS, '1,1,1', '3,2', '1,,1', '2,-1,1'], '--workers': ['0', '0', '-1', '99', 'x'], '--arch': ['squeezenet1_1', 'resnet43', '', 'vit_b_16', 'fcn_resnet50'],
    '--precision': ['fp32', 'bf16', 'auto', 'fp8'], '--split': ['all', 'valid', 'some'], '--activation': ['softmax', 'sigmoid', 'none', 'relu'], '--title': TEXTS, '--nonsense': TEXTS}
FLAGS = ['--force', '--stored', '--resume', '--download', '--help', '-h', '--', '-', '--forc', '--no']
OF = {'cam': '--model --weights --classes --class --layer --method --out --mean --std --size --activation',
      'run': '--data --arch --weights --size --bs --epochs --out --seed --precision --workers',
      'localise': '--model --weights --classes --data --masks --class --n --split --layers --mean --std --size --curves --out --seed',
      'report': '--out --data', 'data': '', 'lab': '',
      'check': '--model --weights --classes --class --layer --method --out --mean --std --size --activation --masks --n --seed',
      'parts': '--model --n --layers --out --seed --workers',
      'page': '--model --weights --classes --layers --out --mean --std --size --activation --title'}

def words(rng):
    "A random command line"
    command = rng.choices([*OF, 'fly', '', '-h', '--version'], [12, 6, 5, 2, 2, 1, 5, 2, 5, .3, .3, .3, .3])[0]
    line, own = [command], OF.get(command, '').split()
    if command in ('cam', 'check', 'page'): line += rng.choices(IMAGES, k=rng.choice([0, 1, 1, 1, 1, 2, 3]))
    if command in ('data', 'lab') and rng.random() < .8: line.append(rng.choice([*DATA, *OUTS]))
    if command in ('cam', 'check', 'page') and rng.random() < .7: line += ['--model', rng.choice(['net.pth', 'my_net:make', 'hostile.pth'])]
    if command == 'run' and rng.random() < .7: line += ['--arch', 'squeezenet1_1', '--weights', 'none', '--size', '64']
    if command in ('run', 'localise') and rng.random() < .7: line += ['--data', 'pets', '--out', 'out']
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 5])):
        option = rng.choice(own) if own and rng.random() < .95 else rng.choice([*VALUES])
        value = rng.choice(VALUES[option][:4] if rng.random() < .5 else VALUES[option])
        match rng.choices(range(4), [6, 3, .4, .3])[0]:
            case 0: line += [option, value]
            case 1: line.append(f'{option}={value}')
            case 2: line.append(f'{option[:rng.randrange(2, len(option) + 1)]}={value}')
            case 3: line.append(option)
    if rng.random() < .2: line.insert(rng.randrange(len(line) + 1), rng.choice(FLAGS))
    if rng.random() < .1: rng.shuffle(line)
    return line

# ---------- what becomes of a line ----------

def of_training(e): # in place of what takes minutes, or a network
    def refuse(*_, **__): raise e
    return refuse

@contextlib.contextmanager
def without_work():
    "The commands without training, study, downloads and JupyterLab"
    import petcam.files.downloads, petcam.parts, petcam.report, petcam.resize, petcam.study, petcam.training.weights, petcam.web.live
    from petcam.study import Row, Study
    scored = Study([Row('single', '0', 'Grad-CAM', 'energy', .5, .1, 4)], torch.rand(4))
    offline = of_training(ConnectionError('no network'))
    with contextlib.ExitStack() as stack:
        def replace(where, name, what): stack.enter_context(unittest.mock.patch.object(where, name, what))
        replace(petcam.resize, 'run_stages', lambda *_, **__: iter(()))
        replace(petcam.report, 'write_report', lambda path, *_: path)
        replace(petcam.report, 'check_report', lambda *_, **__: None)
        replace(petcam.study, 'study', lambda *_, **__: scored)
        replace(petcam.study, 'score_folder', lambda *_, **__: scored)
        replace(petcam.parts, 'report_parts', lambda *_, **__: None)
        replace(petcam.study, 'study_html', lambda *_, **__: 'made by petcam')
        replace(petcam.files.downloads, 'download_pets', offline)
        replace(petcam.training.weights, '_imagenet', offline)
        replace(petcam.web.live, 'engine_files', offline) # so the page holds stored maps
        replace(cli.subprocess, 'run', lambda *_, **__: None)
        yield

class Hang(BaseException):
    pass

def stop(*_): raise Hang

def typed(line, seconds=60):
    "Exit status (or an error), stdout, stderr"
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    out, err = (io.TextIOWrapper(io.BytesIO(), 'utf-8') for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: status = cli.main(line)
        except SystemExit as e: status = e.code
        except BaseException: status = traceback.format_exc()
        finally: signal.alarm(0)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode('utf-8', 'replace'))
    return status, *texts

def in_a_process(line):
    code = 'import sys; from petcam.cli import main; sys.exit(main())'
    environment = {**os.environ, 'PYTHONUTF8': '0', 'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0'}
    done = subprocess.run([sys.executable, '-c', code, *map(os.fsencode, line)], capture_output=True, env=environment, timeout=600)
    return done.returncode, done.stdout.decode('ascii', 'replace'), done.stderr.decode('ascii', 'replace')

def kind_of(status, said, wrong):
    lines = [o for o in wrong.splitlines() if not o.startswith('note: ')]
    if 'Hang' in str(status): return 'hang'
    if not isinstance(status, int) and status is not None or 'Traceback' in wrong: return 'traceback'
    if re.search(r'[\x00-\x08\x0b-\x1f\x7f]', said + '\n'.join(lines)): return 'odd'
    if status in (0, None): return 'done' if not lines else 'odd'
    if status == 1: return 'one line' if len(lines) == 1 and lines[0].startswith('petcam: ') else 'odd'
    if status == 2: return 'usage' if lines and 'error: ' in lines[-1] else 'odd'
    return 'odd'

def allowed(path, work, line): # may this line have written this file?
    inside = work in path.parents
    if '__pycache__' in path.parts: return inside   # Python's own, of a module that was named
    return inside and ('lab' in line or path.suffix.lower() in ('.png', '.jpg', '.webp', '.csv', '.html', '.json', '.pth', '') or path.name.startswith('.petcam'))

def damage(before, after, work, line):
    "'touched', 'outside', or nothing"
    changed = [path for path in before if after.get(path) != before[path]]
    forced = any('--force'.startswith(o) and len(o) > 3 for o in line)
    named = {(work/o.partition('=')[2] if '=' in o else work/o).resolve() for o in line if o and '\0' not in o and len(o) < 200}
    outputs = {(work/o).resolve() for k, word in enumerate(line) for o in [word.partition('=')[2] if word.startswith('--o') and '=' in word else line[k + 1] if word in ('--out', '--ou', '--o') and k + 1 < len(line) else ''] if o and '\0' not in o and len(o) < 200}
    if changed and not forced or any(path.resolve() in named - outputs for path in changed): return 'touched'
    if not all(allowed(path, work, line) for path in after if path not in before): return 'outside'

def trial(n, seed, processes):
    "Counts of each kind, and the lines that ended badly"
    counts, bad, rng, here = Counter(), [], random.Random(seed), Path.cwd()
    with tempfile.TemporaryDirectory() as root, unittest.mock.patch.dict(os.environ, PETCAM_DATA=f'{Path(root).resolve()}/work/pets'):
        root = Path(root).resolve()
        work = make_world(root)
        os.chdir(work)
        before = contents(root)
        try:
            for k in range(n):
                line = words(rng)
                real = k < processes and not any('\0' in o for o in line) and line[0] in ('cam', 'report', 'fly', '')
                if real: result = in_a_process(line)
                else:
                    with without_work(): result = typed(line)
                after = contents(root)
                kind = damage(before, after, work, line) or kind_of(*result)
                counts[kind] += 1
                if k % 200 == 199: print(f'{k + 1}: {dict(counts)}', flush=True)
                if kind in BAD: bad.append((kind, line, result))
                if after != before:
                    restore(root, before, after)
                    make_missing(work, before)
                    before = contents(root)
        finally:
            os.chdir(here)
    return counts, bad

def restore(root, before, after): # the folder as it was
    for path in after:
        if before.get(path) != after[path] : path.unlink()
    for folder in sorted((o for o in root.rglob('*') if o.is_dir() and not o.is_symlink()), reverse=True):
        if not any(folder.iterdir()) and folder.name != 'empty': folder.rmdir()

def make_missing(work, before): # what has been replaced by force
    with tempfile.TemporaryDirectory() as other:
        if any(not os.path.lexists(path) for path in before):
            fresh = make_world(Path(other))
            for path in before:
                source = fresh/path.relative_to(work) if work in path.parents else None
                if os.path.lexists(path) or source is None or not os.path.lexists(source): continue
                path.parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, path)

def main(n=3000, seed=0, processes=20):
    counts, bad = trial(n, seed, processes)
    print(f'{n} command lines, seed {seed}:', ', '.join(f'{kind} {counts[kind]}' for kind in ('done', 'one line', 'usage', *BAD)))
    for kind, line, (status, said, wrong) in bad[:20]:
        print(f'\n{kind}: petcam {" ".join(map(ascii, line))[:600]}')
        print(ascii(status)[:200] if isinstance(status, (int, type(None))) else status[-1500:], ascii(said)[-300:], ascii(wrong)[-1500:], sep='\n')
    return counts, bad

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (('n', 3000), ('seed', 0), ('processes', 20)): parser.add_argument(f'--{name}', type=int, default=default)
    main(**vars(parser.parse_args()))
