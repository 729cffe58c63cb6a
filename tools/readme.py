"""Make README.md from nbs/index.ipynb: words as they are, code in fences, figures as files.

A cell with `#| hide` is left out; of one with `#| echo: false` only what came out of it is shown.
"""
import base64
import json
import posixpath
import re
from project import ROOT

def from_root(words, folder='nbs'):
    "Links as they are in a folder, seen from the project's root"
    def link(found): return '](' + posixpath.normpath(f'{folder}/{found[1]}')
    return re.sub(r'\]\((?!\w+:|#)([^)\s]+)', link, words)

def fenced(kind, text):
    "A block of code or of what it said"
    return f'```{kind}\n{text.rstrip()}\n```'

def outcome(output, alt, figures):
    "What came out of a cell, as Markdown; a figure goes into `figures`"
    data = output.get('data', {'text/plain': output.get('text')})
    image = next((kind for kind in data if kind.startswith('image/')), None)
    if not image: return fenced('text', ''.join(data['text/plain']))
    name = f"docs/index-{len(figures)+1}.{image.split('/')[1]}"
    figures[name] = base64.b64decode(''.join(data[image]))
    return f'![{alt}]({name})'

def convert(notebook, folder='nbs', alts=None): # -> text, {file: bytes}
    "A notebook as Markdown, and its figures; `alts` translates what these show"
    parts, figures = [], {}
    for cell in notebook['cells']:
        source = ''.join(cell['source'])
        if source.startswith('#| hide'): continue
        if cell['cell_type'] == 'markdown':
            parts.append(from_root(source, folder))
            continue
        options = dict(re.findall(r'^#\| (\S+): (.*)\n', source, flags=re.M))
        code = re.sub(r'^#\|.*\n', '', source, flags=re.M)
        if options.get('echo') != 'false': parts.append(fenced('python', code))
        alt = options.get('fig-alt')
        alt = (alts or {}).get(alt, alt)
        parts += [outcome(output, alt, figures) for output in cell['outputs']]
    return '\n\n'.join(parts)+'\n', figures

if __name__ == '__main__':
    text, figures = convert(json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8')))
    (ROOT/'README.md').write_text(text, encoding='utf-8')
    for name, image in figures.items(): (ROOT/name).write_bytes(image)
