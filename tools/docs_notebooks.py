"""The notebooks as Sphinx reads them: nothing is run, the stored outputs stay.

Directives go, or become tags and alternative texts.
"""
import ast
import json
import re
import shutil
from urllib.parse import urlsplit
import nbformat
from execnb.nbio import read_nb
from nbdev.process import NBProcessor
from nbdev.processors import filter_stream_, hide_, hide_line, rm_header_dash, strip_ansi
from docs_api import all_modules
from docs_exercises import checkers, exercise_cell
from docs_glossary import glossary, link_terms
from project import FIRST_OF_WORKSHOP, ROOT, makes, notebooks, number, settings

PROCS = [hide_, filter_stream_, hide_line, strip_ansi, rm_header_dash]
TAGS = {('echo', 'false'): 'remove-input', ('output', 'false'): 'remove-output',
        ('code-fold', 'true'): 'hide-input'}
OPTION = re.compile(r'#\|\s*([\w-]+)\s*:\s*(.*)')   # `#| key: value`

def in_repository(file):
    "The address of a file of the project where its code is hosted, made of `git_url` and `branch`"
    s = settings()
    return f"{s['git_url'].rstrip('/')}/blob/{s['branch']}/{file}"

def folder(path):
    "The part of the site that a notebook goes to"
    return 'lessons' if number(path) < FIRST_OF_WORKSHOP else 'workshop'

def links(name): # name of a notebook -> where it can be opened
    "The addresses in Kaggle and Colab, made of `git_url` and `branch`, and of the copy in the site"
    file = in_repository(f"{settings()['nbs_path']}/{name}")
    at = urlsplit(file)
    return {'Open in Kaggle': f'https://kaggle.com/kernels/welcome?src={file}',
            'Open in Colab': f"https://colab.research.google.com/{at.netloc.split('.')[0]}{at.path}",
            'Download': f'../notebooks/{name}'}

def options(source): # -> {key: value}, the source without them
    "Take the directives that nbdev leaves off the top of a cell"
    found, lines = {}, source.splitlines()
    while lines and lines[0].startswith('#|'):
        if line := OPTION.fullmatch(lines.pop(0).strip()): found[line[1]] = line[2].strip()
    return found, '\n'.join(lines).strip('\n')

def no_dead_links(output): # a link to a file of the machine that ran the lesson leads nowhere
    if 'text/html' in output.get('data', {}):
        text = ''.join(output['data']['text/html'])
        dead = r'''<a href=['"](?!https?:|#)[^>]*>(.*?)</a>'''
        output['data']['text/html'] = re.sub(dead, r'\1', text)
    if svg := output.get('data', {}).pop('image/svg+xml', None):
        output['data']['text/html'] = svg       # what stands in the page follows its theme
    return nbformat.from_dict(output)

def only_imports(source):
    "Does a cell do nothing but import?"
    body = ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M)).body
    return all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in body)

def said(cell):
    "The text that came out of a cell"
    text = lambda o: o.get('text', '') or o.get('data', {}).get('text/plain', '')
    return ''.join(''.join(text(o)) for o in cell.get('outputs', []))

def code_cell(cell):
    "A code cell of the page; None if nothing is left of it"
    found, source = options(cell.source)
    if not source: return None
    folded = only_imports(source)
    tags = [TAGS[o] for o in found.items() if o in TAGS]
    if 'export' in cell.directives_: tags.append('export')
    if folded: tags.append('hide-input')
    columns = re.search(r'\S {3,}\S', said(cell))
    if not columns: tags.append('prose')    # only then may the page break its lines
    render = {'image': {'alt': found['fig-alt']}} if 'fig-alt' in found else {}
    if folded: render |= dict(code_prompt_show='The imports', code_prompt_hide='The imports')
    outputs = [no_dead_links(json.loads(json.dumps(o))) for o in cell.get('outputs', [])]
    metadata = {'tags': tags} | ({'mystnb': render} if render else {})
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata=metadata)

def link_notebooks(source, path):
    "Lead links to other notebooks to their part of the site, and those to files to the repository"
    def link(found):
        other = path.with_name(found[1])
        return f'](../{folder(other)}/{found[1]}' if folder(other) != folder(path) else found[0]
    source = re.sub(r'\]\((\d\w*\.ipynb)', link, source)
    file = r'\]\(\.\./(?!lessons/|workshop/)([^)\s]+)'
    return re.sub(file, lambda found: f']({in_repository(found[1])}', source)

def text_cell(cell, terms, path):
    "A text of the page: terms lead to the glossary, a formula that stands alone is a paragraph"
    source = link_notebooks(cell.source, path)
    if '```' not in source: source = link_terms(source, terms)
    source = re.sub(r'\s*(\$\$.+?\$\$)\s*', r'\n\n\1\n\n', source, flags=re.S)
    return nbformat.v4.new_markdown_cell(source.strip())

def bar(path, toy): # what stands below the title
    "What the outputs show, and where the notebook can be had"
    shown = '<span>Shown with <b>toy pets</b></span>' if toy else '<span></span>'
    to = links(path.name)
    if folder(path) == 'workshop':
        listed = [name for name in makes(path) if name in all_modules()]   # with a page of its own
        reference = {f'petcam.{name}': f'../api/{name}.html' for name in listed}
        to = reference | {'Download': to['Download']}
    buttons = ''
    for text, url in to.items():
        download = ' download' if text == 'Download' else ''
        buttons += f'<a href="{url}"{download}>{text}</a>'
    return f'<p class="pc-bar">{shown}{buttons}</p>'

def convert(path):
    "The notebook at `path` as one that Sphinx can read"
    work = NBProcessor(nb=read_nb(path), procs=PROCS, process=True)
    terms = {t: o for t, o in glossary(ROOT/'docs'/'glossary.md').items() if o[1] != path.stem}
    cells, asked = [], checkers(read_nb(path).cells) if folder(path) == 'lessons' else {}
    for c in work.nb.cells:
        made = code_cell(c) if c.cell_type == 'code' else text_cell(c, terms, path)
        if made and c.cell_type == 'code': made = exercise_cell(c, made, asked)
        if made: cells.append(made)
    toy = any('toy' in str(c.get('outputs')) for c in cells)
    shown = re.match('0?([^_]+)', path.name)[1]       # 00a_data -> 0, 08b_methods -> 8b
    cells[0].source = f'# {shown} · {cells[0].source[2:]}\n\n{bar(path, toy)}'
    for i, c in enumerate(cells): c['id'] = f'c{i:03}'
    return nbformat.v4.new_notebook(cells=cells, metadata={'language_info': {'name': 'python'}})

def convert_all(to):
    "Every notebook, into the folders `lessons` and `workshop` in the folder `to`"
    for part in ('lessons', 'workshop'):
        shutil.rmtree(to/part, ignore_errors=True)
        (to/part).mkdir(parents=True)
    for path in notebooks(): nbformat.write(convert(path), to/folder(path)/path.name)
