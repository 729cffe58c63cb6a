"""The English prose as a translator gets it: paragraphs and alternative texts, in order.

A paragraph is what stands between blank lines of Markdown; code in fences is not prose.
"""
import json
import re
from typing import NamedTuple
from project import ROOT, lessons, workshop

OPAQUE = re.compile(r'```(?!\{(?:glossary|toctree|image)\})')   # fences of code, not of words
NOT_WORDS = re.compile(r'`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|<[^>]*>|\]\([^)]*\)', flags=re.S)
ALT = re.compile(r'^#\| fig-alt: (.*)$', flags=re.M)

def paragraphs(markdown):
    "Markdown in pieces that give it back when joined: paragraphs, and what lies between them"
    pieces, fence = [''], None
    for line in markdown.splitlines(keepends=True):
        mark = line.lstrip()[:3]
        blank = not line.strip() and fence in (None, 'glossary')
        if pieces[-1] and blank != (not pieces[-1].strip()): pieces.append('')
        pieces[-1] += line
        if mark == '```':
            opened = 'glossary' if line.startswith('```{glossary}') else 'other'
            fence = opened if fence is None else None
    return pieces

def is_commented(fence):
    "Does a block of commands say what they do?"
    return re.match(r'```bash\n.* # ', fence, flags=re.S) is not None

def has_words(paragraph):
    "Is there something to translate?"
    fence = re.match('```', paragraph.lstrip())
    if fence: return OPAQUE.match(paragraph.lstrip()) is None or is_commented(paragraph)
    return re.search('[A-Za-z]', NOT_WORDS.sub('', paragraph)) is not None

class Words(NamedTuple):
    "Something to translate, and where it stands"
    text: str
    place: str # the cell's id; of a page: the line

def once(words):
    "Each text once, where it stands first"
    return list({o.text: o for o in reversed(words)}.values())[::-1]

def _in_markdown(markdown, place):
    return [Words(o.rstrip('\n'), place) for o in paragraphs(markdown) if has_words(o)]

def in_notebook(notebook):
    "All that is translated of a notebook, each once"
    found = []
    for cell in notebook['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': found += _in_markdown(source, cell['id'])
        else: found += [Words(alt, cell['id']) for alt in ALT.findall(source)]
    return once(found)

def in_page(markdown):
    "All that is translated of a page of Markdown, each once"
    return once(_in_markdown(markdown, ''))

def sources():
    "The files that are translated whole, by the names of their catalogues"
    pages = [p for p in sorted((ROOT/'docs').glob('*.md')) if p.stem != 'index']
    whole = {p.stem: p for p in [*lessons(), *pages]}
    return whole | {'readme': ROOT/'nbs'/'index.ipynb', 'index': ROOT/'docs'/'index.md'}

def words_of(path):
    "All that is translated of a file"
    text = path.read_text(encoding='utf-8')
    return in_notebook(json.loads(text)) if path.suffix == '.ipynb' else in_page(text)

def about(path):
    "The title and the summary of a notebook"
    head = json.loads(path.read_text(encoding='utf-8'))['cells'][0]
    return _in_markdown(''.join(head['source']), path.stem)

def about_workshop():
    "The titles and summaries of the workshop's notebooks"
    return [o for path in workshop() for o in about(path)]

def translated(markdown, table): # {English: Chinese}
    "Markdown with each of its paragraphs from a table; one that is missing stays English"
    def one(piece):
        text = piece.rstrip('\n')
        return table.get(text, text) + piece[len(text):]
    return ''.join(one(o) if has_words(o) else o for o in paragraphs(markdown))
