"""Run every lesson on photographs, once, in copies: build/photos holds the outputs, none is stored.

Usage: tools/photos.py [--data FOLDER] [--weights FILE] [--arch NAME] [--images N] [LESSON...]
Ten images a breed and one epoch a stage are enough to see that a lesson's cells hold for
photographs, too. The network is trained once.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from project import ROOT, lessons

HOME = ROOT/'build'/'photos'
SHARED = ROOT.parent/'shared'
WEIGHTS = SHARED/'weights'/'mobilenet_v2-imagenet.pth'
BESIDE = 'annotations', 'catdogTogether.png'    # what lies beside the images, and is linked whole

def natural(path):
    "Order by number: `beagle_9.jpg` before `beagle_10.jpg`"
    return int(re.search(r'(\d+)\.jpg$', path.name)[1])

def subset(data, to, images):
    "A folder of links to the first `images` photographs of each breed, and to what lies beside"
    breeds = defaultdict(list)
    for path in (data/'images').glob('*_*.jpg'):
        breeds[path.name.rpartition('_')[0]].append(path)
    if not breeds: raise SystemExit(f'no photographs in {data/"images"}: make photos DATA=FOLDER')
    shutil.rmtree(to, ignore_errors=True)
    (to/'images').mkdir(parents=True)
    for paths in breeds.values():
        for path in sorted(paths, key=natural)[:images]:
            (to/'images'/path.name).symlink_to(path)
    for name in BESIDE:
        if (data/name).exists(): (to/name).symlink_to(data/name)
    return to

def prepare(data, weights, arch='mobilenet_v2', images=10, home=HOME):
    "The images, and the environment that names them, the network, and a cache of its own"
    if not weights.exists(): raise SystemExit(f'no weights at {weights}: make photos WEIGHTS=FILE')
    pets = subset(data.resolve(), home/f'pets-{images}', images)
    return dict(PETCAM_DATA=str(pets), PETCAM_ARCH=arch, PETCAM_WEIGHTS=str(weights.resolve()),
                PETCAM_EPOCHS='1', PETCAM_CACHE=str(home/'cache'))

def train(environment):
    "Train the lessons' network, if the cache has none"
    code = 'from petcam.resize import lesson_learner; lesson_learner()'
    subprocess.run([sys.executable, '-c', code], env=os.environ | environment, cwd=ROOT, check=True)

def failed_cell(notebook):
    "The id of the first cell with an error"
    bad = lambda cell: any(o.output_type == 'error' for o in cell.get('outputs', []))
    return next((c.id for c in notebook.cells if bad(c)), 'that took too long')

def run(path, environment, home=HOME):
    "Run a copy of the lesson at `path`: None, or what went wrong"
    work = home/'run'/path.stem
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    notebook = nbformat.read(path, 4)
    where, quiet = {'metadata': {'path': str(work)}}, ['--log-level=ERROR']
    client = NotebookClient(notebook, timeout=1800, resources=where, extra_arguments=quiet)
    try:
        client.execute(env=os.environ | environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return f'cell {failed_cell(notebook)}: {plain(str(error))}'
    finally:
        nbformat.write(notebook, work/path.name)
    return None

def plain(text):
    "Without a terminal's colours"
    return re.sub(r'\x1b\[[\d;]*m', '', text)

def main():
    parser = argparse.ArgumentParser(description='Run the lessons on photographs')
    add = parser.add_argument
    add('lessons', nargs='*', type=Path, help='notebooks (default: all lessons)')
    add('--data', type=Path, default=SHARED/'pets', help='a folder with images/')
    add('--weights', type=Path, default=WEIGHTS, help='a state dict')
    add('--arch', default='mobilenet_v2', help='the network that the weights are for')
    add('--images', type=int, default=10, help='how many of each breed')
    o = parser.parse_args()
    environment, failed = prepare(o.data, o.weights, o.arch, o.images), []
    train(environment)
    for path in o.lessons or lessons():
        start = time.monotonic()
        problem = run(path, environment)
        took = f'{time.monotonic() - start:.0f} s'
        print(f"{path.stem}: {'failed' if problem else 'ok'}, {took}", flush=True)
        if problem: failed.append(f'{path.stem}, {problem}')
    print(*failed, sep='\n\n', end='\n'*bool(failed))
    return 1 if failed else 0

if __name__ == '__main__': sys.exit(main())
