"""The lessons as Sphinx reads them: nothing is run, the stored outputs stay; directives go, or become tags and alt text."""
import ast, html, json, re, shutil
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlsplit
import nbformat
from execnb.nbio import read_nb
from nbdev.process import NBProcessor
from nbdev.processors import filter_stream_, hide_, hide_line, rm_header_dash, strip_ansi

ROOT = Path(__file__).parents[1]
PROCS = [hide_, filter_stream_, hide_line, strip_ansi, rm_header_dash]
TAGS = {('echo', 'false'): 'remove-input', ('output', 'false'): 'remove-output', ('code-fold', 'true'): 'hide-input'}
OPTION = re.compile(r'#\|\s*([\w-]+)\s*:\s*(.*)')   # `#| key: value`

def settings():
    "settings.ini, where the project's address and its pins stand"
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']

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

def glossary(): # -> {term: (what it means, the lesson that explains it)}; not the words that mean other things as well
    "The glossary's terms"
    found = re.findall(r'^(\w.*)\n    (.*) → \[.*?\]\(lessons/(\w+)\.ipynb', (ROOT/'docs'/'glossary.md').read_text(encoding='utf-8'), flags=re.M)
    plain = lambda text: re.sub(r'\{term\}`(.*?)( <.*?>)?`', r'\1', text)
    return {term: (plain(means), lesson) for term, means, lesson in found if term not in ('class', 'control', 'rank', 'seed', 'head', 'body')}

NOT_PROSE = r'(`[^`]*`|\$\$[^$]*\$\$|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|<[^>]*>|\*[^*]+\*|^(?:#|\||>).*|^.*<summary.*)'

def link_terms(source, terms): # a term that has been linked is taken out of `terms`
    "Link the first use of each term to the glossary, its meaning in the link's title"
    def link(found):
        term = next((t for t in terms if t.lower() == found[1].lower()), None)
        if term is None: return found[0]
        means, anchor = html.escape(terms.pop(term)[0]), 'term-' + re.sub(r'[^\w.]+', '-', term).strip('-')
        return f'<a class="pc-term" href="../glossary.html#{anchor}" title="{means}">{found[0]}</a>'
    words = re.compile(rf'\b({"|".join(map(re.escape, sorted(terms, key=len, reverse=True)))})s?\b', re.I)
    parts = re.split(NOT_PROSE, source, flags=re.M)
    return ''.join(words.sub(link, o) if i % 2 == 0 and terms else o for i, o in enumerate(parts))

def text_cell(cell, terms):
    "A text of the page: terms lead to the glossary, and a formula that stands alone is a paragraph of its own"
    source = cell.source if '```' in cell.source else link_terms(cell.source, terms)
    return nbformat.v4.new_markdown_cell(re.sub(r'\s*(\$\$.+?\$\$)\s*', r'\n\n\1\n\n', source, flags=re.S).strip())

def bar(name): # what stands below a lesson's title
    buttons = ''.join(f'<a href="{url}"{" download" if "notebooks" in url else ""}>{text}</a>' for text, url in links(name).items())
    return f'<p class="pc-bar"><span>Shown with <b>toy pets</b></span>{buttons}</p>'

def convert(path):
    "The notebook at `path` as one that Sphinx can read"
    work = NBProcessor(nb=read_nb(path), procs=PROCS, process=True)
    terms = {t: o for t, o in glossary().items() if o[1] != path.stem}
    cells = [code_cell(c) if c.cell_type == 'code' else text_cell(c, terms) for c in work.nb.cells]
    cells = [c for c in cells if c]
    number = re.match('0?([^_]+)', path.name)[1]       # 00_data -> 0, 08b_relatives -> 8b
    cells[0].source = f'# {number} · {cells[0].source[2:]}\n\n{bar(path.name)}'
    for i, c in enumerate(cells): c['id'] = f'c{i:03}'
    return nbformat.v4.new_notebook(cells=cells, metadata={'language_info': {'name': 'python'}})

def convert_all(to): # -> the lessons' names, in reading order
    "Every lesson, into the folder `to`"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    paths = sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))
    for path in paths: nbformat.write(convert(path), to/path.name)
    return [p.stem for p in paths]
