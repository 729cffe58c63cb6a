"""The lessons as Sphinx reads them: nothing is run, the stored outputs stay; directives go, or become tags and alt text."""
import ast, json, re, shutil
from urllib.parse import urlsplit
import nbformat
from execnb.nbio import read_nb
from nbdev.process import NBProcessor
from nbdev.processors import filter_stream_, hide_, hide_line, rm_header_dash, strip_ansi
from docs_glossary import glossary, link_terms
from first_cell import ROOT, settings

PROCS = [hide_, filter_stream_, hide_line, strip_ansi, rm_header_dash]
TAGS = {('echo', 'false'): 'remove-input', ('output', 'false'): 'remove-output', ('code-fold', 'true'): 'hide-input'}
OPTION = re.compile(r'#\|\s*([\w-]+)\s*:\s*(.*)')   # `#| key: value`

def links(name): # name of a notebook -> where it can be opened
    "The addresses of a lesson in Kaggle and Colab, made of `git_url` and `branch`, and of its copy in the site"
    s = settings()
    file = f"{s['git_url'].rstrip('/')}/blob/{s['branch']}/{s['nbs_path']}/{name}"
    return {'Open in Kaggle': f'https://kaggle.com/kernels/welcome?src={file}',
            'Open in Colab': f"https://colab.research.google.com/{urlsplit(file).netloc.split('.')[0]}{urlsplit(file).path}",
            'Download': f'../notebooks/{name}'}

def options(source): # -> {key: value}, the source without them
    "Take the directives that nbdev leaves off the top of a cell"
    found, lines = {}, source.splitlines()
    while lines and lines[0].startswith('#|'):
        if line := OPTION.fullmatch(lines.pop(0).strip()): found[line[1]] = line[2].strip()
    return found, '\n'.join(lines).strip('\n')

def no_dead_links(output): # a link to a file of the machine that ran the lesson leads nowhere
    if 'text/html' in output.get('data', {}):
        output['data']['text/html'] = re.sub(r'''<a href=['"](?!https?:|#)[^>]*>(.*?)</a>''', r'\1', ''.join(output['data']['text/html']))
    return nbformat.from_dict(output)

def only_imports(source): return all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M)).body)

def code_cell(cell):
    "A code cell of the page; None if nothing is left of it"
    found, source = options(cell.source)
    if not source: return None
    said = ''.join(''.join(o.get('text', '') or o.get('data', {}).get('text/plain', '')) for o in cell.get('outputs', []))
    folded, prose = only_imports(source), not re.search(r'\S {3,}\S', said)      # columns must not be broken between two lines
    tags = [TAGS[o] for o in found.items() if o in TAGS] + ['export']*('export' in cell.directives_) + ['hide-input']*folded + ['prose']*prose
    render = {'image': {'alt': found['fig-alt']}} if 'fig-alt' in found else {}
    if folded: render |= dict(code_prompt_show='The imports', code_prompt_hide='The imports')
    outputs = [no_dead_links(json.loads(json.dumps(o))) for o in cell.get('outputs', [])]
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata={'tags': tags} | ({'mystnb': render} if render else {}))

def text_cell(cell, terms):
    "A text of the page: terms lead to the glossary, and a formula that stands alone is a paragraph of its own"
    source = cell.source if '```' in cell.source else link_terms(cell.source, terms)
    return nbformat.v4.new_markdown_cell(re.sub(r'\s*(\$\$.+?\$\$)\s*', r'\n\n\1\n\n', source, flags=re.S).strip())

def bar(name, toy): # what stands below a lesson's title
    shown = '<span>Shown with <b>toy pets</b></span>' if toy else '<span></span>'
    buttons = ''.join(f'<a href="{url}"{" download" if "notebooks" in url else ""}>{text}</a>' for text, url in links(name).items())
    return f'<p class="pc-bar">{shown}{buttons}</p>'

def convert(path):
    "The notebook at `path` as one that Sphinx can read"
    work = NBProcessor(nb=read_nb(path), procs=PROCS, process=True)
    terms = {t: o for t, o in glossary(ROOT/'docs'/'glossary.md').items() if o[1] != path.stem}
    cells = [code_cell(c) if c.cell_type == 'code' else text_cell(c, terms) for c in work.nb.cells]
    cells = [c for c in cells if c]
    toy = any('toy' in str(c.get('outputs')) for c in cells)
    number = re.match('0?([^_]+)', path.name)[1]       # 00_data -> 0, 08b_methods -> 8b
    cells[0].source = f'# {number} · {cells[0].source[2:]}\n\n{bar(path.name, toy)}'
    for i, c in enumerate(cells): c['id'] = f'c{i:03}'
    return nbformat.v4.new_notebook(cells=cells, metadata={'language_info': {'name': 'python'}})

def convert_all(to):
    "Every lesson, into the folder `to`"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for path in sorted((ROOT/'nbs').glob('[0-9]*.ipynb')): nbformat.write(convert(path), to/path.name)
