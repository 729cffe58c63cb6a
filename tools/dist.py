"""Build dist/: the sdist and, from it, the wheel; install that into a clean environment and try it.

Usage: tools/dist.py [--whole]. What it requires is taken from the environment that runs this;
with --whole pip installs all of it anew (minutes, gigabytes).
"""
import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path
from project import ROOT, chinese, notebooks, settings

LEFT_OUT = shutil.ignore_patterns('.*', 'build', 'dist', 'models', '__pycache__', '*.egg-info')

TRY = """
import importlib.metadata, sys
import petcam
assert petcam.__file__.startswith(sys.prefix), petcam.__file__
assert petcam.__version__ == importlib.metadata.version('petcam')
assert 'torch' not in sys.modules, 'import petcam is light'
import torch
from torch import nn
from petcam.gradcam import grad_cam
body = [nn.Conv2d(3, 4, 3), nn.ReLU()]
head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
model = nn.Sequential(*body, *head).eval()
heatmap = grad_cam(model, '1', torch.randn(2, 3, 16, 16), 3)
print(f'petcam {petcam.__version__}: a heatmap of shape {tuple(heatmap.shape)}')
"""

def run(*command, **options):
    "Run a command; stop where it fails"
    return subprocess.run(list(map(str, command)), check=True, **options)

def build(to):
    "The sdist, and the wheel that is made of it, in the folder `to`"
    # from a copy: setuptools would take up what older builds have left in the tree
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, dirs_exist_ok=True)
        shutil.rmtree(to, ignore_errors=True)
        command = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', str(to), copy]
        made = subprocess.run(command, capture_output=True, text=True)
        assert not made.returncode, made.stdout + made.stderr
    wheel, = to.glob('*.whl')
    sdist, = to.glob('*.tar.gz')
    return sdist, wheel

def missing(wheel):
    "What stands in petcam/ and in nbs/ and not in the wheel"
    files = [f for f in (ROOT/'petcam').rglob('*') if f.is_file() and '__pycache__' not in f.parts]
    wanted = {f.relative_to(ROOT).as_posix() for f in files}
    wanted |= {f'petcam/lessons/{f.relative_to(ROOT/"nbs")}' for f in [*notebooks(), *chinese()]}
    return sorted(wanted - set(zipfile.ZipFile(wheel).namelist()))

def borrow_packages(python, to):
    "Let the environment of `python` see what is installed here, petcam left out"
    to.mkdir()
    for package in Path(sysconfig.get_path('purelib')).iterdir():
        if 'petcam' not in package.name: (to/package.name).symlink_to(package)
    where = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    site = run(python, '-c', where, capture_output=True, text=True).stdout.strip()
    (Path(site)/'borrowed.pth').write_text(f'{to}\n', encoding='utf-8')

def trial(wheel, whole=False):
    "Install `wheel` into a clean environment, and use it there"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        venv.create(folder/'env', with_pip=True)
        scripts = folder/'env'/('Scripts' if os.name == 'nt' else 'bin')
        if not whole: borrow_packages(scripts/'python', folder/'packages')
        options = ['--quiet', '--disable-pip-version-check', *([] if whole else ['--no-deps'])]
        run(scripts/'python', '-m', 'pip', 'install', *options, wheel)
        clean = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        run(scripts/'petcam', '--help', cwd=folder, env=clean, stdout=subprocess.DEVNULL)
        run(scripts/'python', '-c', TRY, cwd=folder, env=clean)

def main():
    parser = argparse.ArgumentParser(description='Build the wheel and the sdist, and try them')
    parser.add_argument('--whole', action='store_true', help='install all requirements anew')
    whole = parser.parse_args().whole
    sdist, wheel = build(ROOT/'dist')
    assert f'-{settings()["version"]}-' in wheel.name, wheel.name
    assert not missing(wheel), f'not in the wheel: {missing(wheel)}'
    trial(wheel, whole)
    for file in (sdist, wheel): print(f'{file.relative_to(ROOT)}: {file.stat().st_size/1e6:.1f} MB')

if __name__ == '__main__': main()
