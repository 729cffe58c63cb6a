"""What stands where: the lessons, the workshop's notebooks, the modules, the settings."""
import re
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
FIRST_OF_WORKSHOP = 20  # notebooks below are lessons

def settings():
    "What settings.ini says"
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']

def is_placeholder(url):
    "Does `git_url` lead nowhere yet? (RFC 2606 keeps example.org for nobody)"
    return urlsplit(url).hostname == 'example.org'

def wheel_name():
    "The file that `pip wheel` makes of this version"
    return f"petcam-{settings()['version']}-py3-none-any.whl"

def number(notebook):
    "What stands before a notebook's name: 8 of `08b_methods.ipynb`"
    return int(re.match(r'\d+', notebook.name)[0])

def notebooks():
    "Lessons and workshop, in order"
    return sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))

def lessons():
    "The notebooks that teach"
    return [p for p in notebooks() if number(p) < FIRST_OF_WORKSHOP]

def workshop():
    "The notebooks that hold the machinery"
    return [p for p in notebooks() if number(p) >= FIRST_OF_WORKSHOP]

def chinese():
    "The lessons in Chinese, which `make zh` makes"
    return sorted((ROOT/'nbs'/'zh').glob('[0-9]*.ipynb'))

def modules():
    "The files of the module, without the packages' front doors and what nbdev keeps for itself"
    return [p for p in sorted((ROOT/'petcam').rglob('*.py')) if not p.name.startswith('_')]

def dotted(module):
    "The name of a module below petcam: `engine.layers` of petcam/engine/layers.py"
    return '.'.join(module.relative_to(ROOT/'petcam').with_suffix('').parts)

def makes(notebook):
    "The modules that cells of a notebook are exported to, by their dotted names"
    mark = f'nbs/{notebook.name} #'
    return [dotted(m) for m in modules() if mark in m.read_text(encoding='utf-8')]

def notebook_of(module):
    "The notebook that a module is exported from, by name; None for one that is written by hand"
    found = re.search(r'File to edit: \S*/nbs/(\S+)\.ipynb', module.read_text(encoding='utf-8'))
    return found and found[1]
