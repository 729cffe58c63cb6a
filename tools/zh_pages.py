"""The words of petcam's pages and diagrams as a translator gets them: the catalogue `pages`.

Found in templates and scripts; a value within a sentence is `{0}`, as in 'channel {0}'. What the
program says in the same words is in its own catalogue.
"""
import re
import xml.etree.ElementTree as ET
from project import ROOT
from zh_program import about_exercises, about_program, has_words, trimmed
from zh_text import Words, once

WEB = ROOT/'petcam'/'web'
VALUE = '\ue000'

def _numbered(text): # values as {0}, {1}, ...
    first, *rest = re.sub(r'\s+', ' ', text).split(VALUE)
    return first + ''.join(f'{{{i}}}{o}' for i, o in enumerate(rest))

# ---------- templates

def in_template(source):
    "The texts and spoken attributes of a template"
    labels = re.findall(r"\{\{ slider\('\w+', '(\w+)'", source)
    source = re.sub(r'(?s)<!--.*?-->|<(script|style)\b.*?</\1>', '', source)
    source = re.sub(r'(?s)\{\{.*?\}\}', VALUE, source)
    source = re.sub(r'(?s)\{%.*?%\}', '<>', source)
    spoken = re.findall(r'(?:alt|aria-label|placeholder|title)="([^"]*)"', source)
    texts = re.sub(r'(?s)<[^>]*>', '\n\n\n', source).split('\n\n\n')
    found = [_numbered(o).strip() for o in [*spoken, *texts]]
    return [o for o in found + labels if has_words(o, 1)]

# ---------- scripts

STRING = r"'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`"
HOLE = re.compile(r'\$\{(?:[^{}]|\{[^{}]*\})*\}')
PYTHONS_OWN = "words: petcam's own" # in the title of a part of a script: the program says it, too
NOT_SAID = re.compile(
    r'\.px-|pc-exercise|\bdata-|^(use strict|linear-gradient.*|script, .*|\(pointer.*)$')

TOGETHER = [ # what scripts and program put together of a verdict, a layer and what the map shows
    '{0}: logit {1}, {2}, rank {3} of {4}. {5}',
    '{0}: logit {1}, {2}, rank {3} of {4}; the model predicts {5} ({6}). {7}',
    '{0}: logit {1}, {2}, rank {3} of {4}, {5} x {6}, {7} (layer {8}), {9}. {10}',
    '{0}: logit {1}, {2}, rank {3} of {4}; the model predicts {5} ({6}), {7} x {8}, '
    '{9} (layer {10}), {11}. {12}',
    '{0}: logit {1}, {2}, {3} x {4}, {5} (layer {6}), {7}. {8}',
    '{0}: {1}, {2} x {3}, {4} (layer {5}), {6}. {7}',
    'predicted {0}: {1}, rank {2} of {3}', 'it is {0}: {1}, rank {2} of {3}',
    '{0} for {1}. Strongest at the {2} (row {3} of {4}, column {5} of {6}). {7}',
    '{0} for {1}. The same everywhere. {2}',
    *(f'{{0}} of {{1}} checks passed{joint} {{2}}. This does not make a map right: '
      'a check rules out one way to be wrong.' for joint in ':;'),
    '{0} for {1}. No positive evidence anywhere in the image.']
ALONE = [ # words of one word that pages say, and names of places
    'image', 'map', 'head', 'momentum', 'batch', 'camera', 'early', 'middle', 'late', 'centre',
    'size', 'channel', 'strongest first', '1e-2 for all', '1e-4 to 1e-2', '1e-6 to 1e-3',
    '1e-6 to 1e-4', 'channel {0}', 'mean activation', 'two animals', 'Class maps',
    'Checks of heatmaps', 'passed', 'FAILED', 'unanswered', 'stage', 'images', 'epoch', 'time',
    'network', # and the names of checks
    'layer', 'mode', 'gradient', 'trained', 'believed', 'class', 'noise', 'shift', 'weights',
    'deletion', 'inside', 'object',
    *(f'{row} {column}' for row in ('top', 'middle', 'bottom')
      for column in ('left', 'centre', 'right') if (row, column) != ('middle', 'centre'))]

def in_script(source):
    "The sentences of a script"
    parts = re.split(r'(?m)^// -{10} (.*) -{10}$', source)
    source = ''.join(o for title, o in zip(['', *parts[1::2]], parts[::2])
                     if PYTHONS_OWN not in title)
    source = re.sub(r'(?m)(^|\s)//.*$|(?s:/\*.*?\*/)', '', source)
    for whole in re.finditer(rf'(?:{STRING})(?:\s*\+\s*(?:{STRING}))*', source):
        text = ''.join(o[1:-1] for o in re.findall(STRING, whole[0]))
        text = trimmed(_numbered(HOLE.sub(VALUE, text.replace(r"\'", "'"))))
        text = re.sub(r'^\{0\} (?=[A-Z][^{]*$)', '', text) # a sentence after another one
        if has_words(text) and not NOT_SAID.search(text): yield text

# ---------- diagrams

def in_diagrams():
    "The words in the lessons' drawings"
    from petcam.web import diagrams
    for name in diagrams.__all__:
        if name == 'Diagram': continue
        svg = ET.fromstring(str(getattr(diagrams, name)()))
        for element in svg.iter():
            text = (element.text or '').strip()
            if re.fullmatch('[A-Za-z][a-z]+( .*)?', text) and not re.search(r'\d', text): yield text

def about_pages():
    "All words of pages and diagrams, each once"
    templates = [p for p in sorted((WEB/'templates').glob('*.html')) if p.stem != 'page']
    found = [Words(o, p.name) for p in templates
             for o in in_template(p.read_text(encoding='utf-8'))]
    found += [Words(o, p.name) for p in sorted(WEB.glob('*.js'))
              for o in in_script(p.read_text(encoding='utf-8'))]
    found += [Words(o, 'scripts') for o in TOGETHER + ALONE]
    found += [Words(o, 'diagrams.py') for o in in_diagrams()]
    said, errors = about_program()
    elsewhere = {o.text for o in [*said, *errors, *about_exercises()]}
    return once([o for o in found if o.text not in elsewhere])
