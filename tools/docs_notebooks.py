"""The notebooks as Sphinx reads them: nothing is run, the stored outputs stay.

Directives go, or become tags and alternative texts.
"""
import ast
import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit
import nbformat
from execnb.nbio import read_nb
from nbdev.process import NBProcessor
from nbdev.processors import filter_stream_, hide_, hide_line, rm_header_dash, strip_ansi
from docs_api import all_modules
from docs_exercises import checkers, exercise_cell, statements
from docs_glossary import glossary, link_terms
from docs_words import is_chinese, known, tr
from project import (
    FIRST_OF_WORKSHOP, chinese, is_placeholder, makes, notebooks, number, settings,
    wheel_name)

PROCS = [hide_, filter_stream_, hide_line, strip_ansi, rm_header_dash]
TAGS = {('echo', 'false'): 'remove-input', ('output', 'false'): 'remove-output',
        ('code-fold', 'true'): 'hide-input'}
EXPORTS = {'export', 'exporti', 'exports'}
OPTION = re.compile(r'#\|\s*([\w-]+)\s*:\s*(.*)')   # `#| key: value`

def in_repository(file):
    "The address of a file of the project where its code is hosted, made of `git_url` and `branch`"
    s = settings()
    return f"{s['git_url'].rstrip('/')}/blob/{s['branch']}/{file}"

def folder(path):
    "The part of the site that a notebook goes to"
    return 'lessons' if number(path) < FIRST_OF_WORKSHOP else 'workshop'

def in_site():
    "The notebooks that the site has pages of: in Chinese the lessons"
    return chinese() if is_chinese() else notebooks()

def links(name, up='../'): # a notebook's name, the way to the site's root -> {button: address}
    "Where it can be opened, as `git_url` and `branch` say; if nowhere, what the site itself holds"
    copy, wheel = f'{up}notebooks/{name}', f'{up}{"../"*is_chinese()}{wheel_name()}'
    if is_placeholder(settings()['git_url']):
        return {tr('Download'): copy, tr('Download petcam'): wheel}
    file = in_repository(f"{settings()['nbs_path']}/{'zh/'*is_chinese()}{name}")
    at = urlsplit(file)
    return {tr('Open in Kaggle'): f'https://kaggle.com/kernels/welcome?src={file}',
            tr('Open in Colab'):
                f"https://colab.research.google.com/{at.netloc.split('.')[0]}{at.path}",
            tr('Download'): copy}

def options(source): # -> {key: value}, the source without them
    "Take the directives that nbdev leaves off the top of a cell"
    found, lines = {}, source.splitlines()
    while lines and lines[0].startswith('#|'):
        if line := OPTION.fullmatch(lines.pop(0).strip()): found[line[1]] = line[2].strip()
    return found, '\n'.join(lines).strip('\n')

def html_output(html):
    return nbformat.v4.new_output('display_data', {'text/html': html})

def page_of(notebook, up='../'): # seen from the folder of another
    "The address of a notebook's page, which for the workshop is English"
    part = folder(notebook)
    english = '../' if is_chinese() and part == 'workshop' else ''
    return f'{up}{english}{part}/{notebook.stem}.html'

def inline(svg):
    "A drawing as a part of the page, whose colours it takes"
    def link(found): return f'href="{page_of(Path(found[1]))}"'
    svg = re.sub(r'href="(\d\w*)\.html"', link, re.sub('^.*?(?=<svg)', '', svg, flags=re.S))
    return f'<div class="pc-diagram">{svg}</div>'

def is_still(data): # of sliders or an explorer: an image whose words are no `<Figure ...>`
    image = any(kind.startswith('image/') for kind in data)
    return image and not ''.join(data.get('text/plain', '<')).startswith('<')

def still():
    return f'<p class="pc-still">{tr("A slider: run the lesson to move it.")}</p>'

def page_output(output): # -> a list of outputs
    "An output as the page shows it"
    output = json.loads(json.dumps(output))
    data = output.get('data', {})
    if 'image/svg+xml' in data: return [html_output(inline(''.join(data['image/svg+xml'])))]
    if 'text/html' in data: # a link to a file of the machine that ran the lesson leads nowhere
        dead = r'''<a href=['"](?!https?:|#)[^>]*>(.*?)</a>'''
        data['text/html'] = re.sub(dead, r'\1', ''.join(data['text/html']))
    after = [html_output(still())] if is_still(data) else []
    return [nbformat.from_dict(output), *after]

def joined(outputs):
    "What a cell printed, in one piece, however often the kernel sent it"
    kept = []
    for o in outputs:
        follows = kept and o['output_type'] == kept[-1]['output_type'] == 'stream'
        if follows and o['name'] == kept[-1]['name']:
            kept[-1]['text'] = ''.join(kept[-1]['text']) + ''.join(o['text'])
        else: kept.append(dict(o))
    return kept

def is_exported(cell): return not EXPORTS.isdisjoint(cell.directives_)

def is_test(cell, body): # it ends with an assertion, and leaves neither an output nor a name
    asserts = 'assert' in ast.unparse(body[-1:]) and not isinstance(body[-1], ast.Assign)
    defines = any(isinstance(o, (ast.FunctionDef, ast.ClassDef)) for o in body)
    return asserts and not defines and not cell.get('outputs')

def defined(body):
    "The names that statements define, for a line: the public ones if there are any"
    made = [o.name for o in body if isinstance(o, (ast.FunctionDef, ast.ClassDef))]
    targets = [t for o in body if isinstance(o, ast.Assign) for t in o.targets]
    made += [o.id for t in targets for o in ast.walk(t) if isinstance(o, ast.Name)]
    names = [name for name in made if not name.startswith('_')] or made
    return ', '.join(names[:3]) + ', ...'*(len(names) > 3)

def fold(cell, source): # None: it stays open
    "The line that a reader sees in place of a cell that can wait"
    body = statements(source)
    if not body: return None
    imports = all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in body)
    if imports: return tr('The imports')
    n = len(source.splitlines())
    lines = tr('{n} lines', n=n) if n > 1 else tr('1 line')
    if is_exported(cell):
        in_module = tr('in the module, {lines}', lines=lines)
        return ' · '.join(filter(None, [defined(body), in_module]))
    if is_test(cell, body): return tr('A test, {lines}', lines=lines)
    return None

def said(cell):
    "The text that came out of a cell"
    def text(o):
        data = o.get('data', {})
        return o.get('text') or data.get('text/markdown') or data.get('text/plain', '')
    return ''.join(''.join(text(o)) for o in cell.get('outputs', []))

def player(found, outputs): # the directives of a cell, and its stored outputs
    "Sliders that move in the page, in place of the still image that the notebook stores"
    from docs_players import fragment # which needs torch
    kind, image = next((kind, o) for output in outputs for kind, o in output['data'].items()
                       if kind.startswith('image/'))
    return str(fragment(found['player'], f'data:{kind};base64,{"".join(image)}', found['fig-alt']))

def code_cell(cell, words): # {English alternative text: the page's}
    "A code cell of the page; None if nothing is left of it"
    found, source = options(cell.source)
    if not source: return None
    if alt := found.get('fig-alt'): found['fig-alt'] = words.get(alt, alt)
    folded = fold(cell, source)
    tags = [TAGS[o] for o in found.items() if o in TAGS]
    if is_exported(cell): tags.append('export')
    if folded: tags.append('hide-input')
    columns = re.search(r'\S {3,}\S|^ +\S', said(cell), flags=re.M)
    if not columns: tags.append('prose')    # only then may the page break its lines
    render = {'image': {'alt': found['fig-alt']}} if 'fig-alt' in found else {}
    if folded: render |= dict(code_prompt_show=folded, code_prompt_hide=folded)
    if 'player' in found: outputs = [html_output(player(found, cell.outputs))]
    else: outputs = [shown for o in joined(cell.get('outputs', [])) for shown in page_output(o)]
    metadata = {'tags': tags} | ({'mystnb': render} if render else {})
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata=metadata)

def link_notebooks(source, path):
    "Lead links to notebooks and pages to where the site has them, to files to the repository"
    if is_chinese(): source = re.sub(r'\]\(\.\./', '](', source)    # nbs/zh is one folder deeper
    def link(found):
        other = path.with_name(found[1])
        return f'](../{folder(other)}/{found[1]}' if folder(other) != folder(path) else found[0]
    source = re.sub(r'\]\((\d\w*\.ipynb)', link, source)
    file = r'\]\(\.\./(?!lessons/|workshop/)([^)\s]+)'
    def other_file(found): # a page of docs/ is a page of the site
        page = re.fullmatch(r'docs/(\w+\.md)', found[1])
        return f'](../{page[1]}' if page else f']({in_repository(found[1])}'
    return to_english(re.sub(file, other_file, source), '../')

def to_english(source, up=''): # the way from its page to the site's root
    "Lead links of a Chinese page to what only the English site has: workshop and reference"
    if not is_chinese(): return source
    def link(found):
        words, page = found.groups()
        return f'<a href="{up}../{page}.html" hreflang="en">{words}</a>'
    source = re.sub(r'\[([^]]*)\]\((?:\.\./)?(workshop/\w+)\.ipynb\)', link, source)
    return re.sub(r'\{doc\}`([^<`]*?) *<(api/[^>]*)>`', link, source)

def text_cell(cell, terms, path):
    "A text of the page: terms lead to the glossary, a formula that stands alone is a paragraph"
    source = link_notebooks(cell.source, path)
    if '```' not in source: source = link_terms(source, terms)
    source = re.sub(r'\s*(\$\$.+?\$\$)\s*', r'\n\n\1\n\n', source, flags=re.S)
    return nbformat.v4.new_markdown_cell(source.strip())

def buttons(to): # {text: address} -> HTML
    "Links that look like buttons; what is a download is saved and not opened"
    def saved(url): return ' download'*('//' not in url and url.endswith(('.ipynb', '.whl')))
    return ''.join(f'<a href="{url}"{saved(url)}>{text}</a>' for text, url in to.items())

def bar(path, toy): # what stands below the title
    "What the outputs show, and where the notebook can be had"
    shown = f'<span>{tr("Shown with <b>toy pets</b>")}</span>' if toy else '<span></span>'
    to = links(path.name)
    if folder(path) == 'workshop':
        listed = [name for name in makes(path) if name in all_modules()]   # with a page of its own
        reference = {f'petcam.{name}': f'../api/{name}.html' for name in listed}
        to = reference | {'Download': to['Download']}
    return f'<p class="pc-bar">{shown}{buttons(to)}</p>'

def convert(path):
    "The notebook at `path` as one that Sphinx can read"
    work = NBProcessor(nb=read_nb(path), procs=PROCS, process=True)
    terms, words = [o for o in glossary() if o.notebook != path.stem], known(path.stem)
    cells, asked = [], checkers(read_nb(path).cells) if folder(path) == 'lessons' else {}
    for c in work.nb.cells:
        made = code_cell(c, words) if c.cell_type == 'code' else text_cell(c, terms, path)
        if made and c.cell_type == 'code': made = exercise_cell(c, made, asked)
        if made: cells.append(made)
    toy = any(re.search('toy|玩具', str(c.get('outputs'))) for c in cells)
    shown = re.match('0?([^_]+)', path.name)[1]       # 00a_data -> 0, 08b_methods -> 8b
    cells[0].source = f'# {shown} · {cells[0].source[2:]}\n\n{bar(path, toy)}'
    for i, c in enumerate(cells): c['id'] = f'c{i:03}'
    return nbformat.v4.new_notebook(cells=cells, metadata={'language_info': {'name': 'python'}})

def convert_all(to):
    "Every notebook, into the folders `lessons` and `workshop` in the folder `to`"
    for part in ('lessons', 'workshop'): shutil.rmtree(to/part, ignore_errors=True)
    for path in in_site():
        (to/folder(path)).mkdir(parents=True, exist_ok=True)
        nbformat.write(convert(path), to/folder(path)/path.name)
