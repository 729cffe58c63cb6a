"""Words of the glossary, linked where a notebook first uses them; the glossary in Chinese."""
import html
import re
from typing import NamedTuple
from docs_words import is_chinese, prose
from project import ROOT

PAGE = ROOT/'docs'/'glossary.md'

# these mean other things as well
OFTEN = 'class', 'control', 'rank', 'seed', 'head', 'body', 'kernel'

HEAD = re.compile(r'^(\w.*)(?=\n    )', flags=re.M)
ENTRY = re.compile(r'^\w.*\n    (.*?) ?→ ?\[.*?\]\((?:lessons|workshop)/(\w+)\.ipynb', flags=re.M)
TERM = re.compile(r'\{term\}`([^`<]*?)(?: <([^`>]*)>)?`')
HAN = re.compile(r'[\u3400-\u9fff]')

def read(): # -> Markdown, {English name: the name that is shown}
    "The glossary; in Chinese a `{term}` with an English name shows the Chinese one"
    english = PAGE.read_text(encoding='utf-8')
    if not is_chinese(): return english, {name: name for name in HEAD.findall(english)}
    chinese = prose('glossary', english)
    heads = [re.sub('（.*', '', o) for o in HEAD.findall(chinese)]     # 激活（activation）
    names = dict(zip(HEAD.findall(english), heads, strict=True))
    def term(found):
        to = found[2] or found[1]
        shown = found[1] if HAN.search(found[1]) else names[to]
        return f'{{term}}`{shown} <{to}>`'
    return TERM.sub(term, chinese), names

def page():
    "The glossary's Markdown, each entry under both names if it has two"
    markdown, names = read()
    heads = iter(names.items())
    def head(_): return '\n'.join(dict.fromkeys(reversed(next(heads))))
    return HEAD.sub(head, markdown)

class Term(NamedTuple):
    "An entry of the glossary"
    name: str # as it is shown
    english: str
    means: str
    notebook: str # that explains it

def glossary():
    "The glossary's terms, but for those that mean other things as well"
    markdown, names = read()
    entries = zip(names.items(), ENTRY.findall(markdown), strict=True)
    return [Term(name, english, TERM.sub(r'\1', means), notebook)
            for (english, name), (means, notebook) in entries if english not in OFTEN]

NOT_PROSE = re.compile('|'.join([
    r'(<summary>[\s\S]*?</summary>',            # questions, which a click opens
    r'`[^`]*`',                                 # code
    r'\$\$[^$]*\$\$', r'\$[^$]*\$',             # mathematics
    r'\[[^\]]*\]\([^)]*\)', r'<[^>]*>',         # links, tags
    r'\*[^*]+\*',                               # what is set apart
    r'^(?:#|\||>).*)',                          # headings, tables, quotations
]), flags=re.M)

def spelt(name):
    "An expression for a name: Latin letters are a word of their own, Chinese ones need no space"
    return re.escape(name) if HAN.search(name) else rf'\b{re.escape(name)}(?=s?\b)'

def link_terms(source, terms): # a term that has been linked is taken out of the list
    "Link the first use of each term to the glossary, its meaning in the link's title"
    def link(found):
        term = next((o for o in terms if o.name.lower() == found[1].lower()), None)
        if term is None: return found[0]
        terms.remove(term)
        to = '../glossary.html#term-' + re.sub(r'[^\w.]+', '-', term.english).strip('-')
        return f'<a class="pc-term" href="{to}" title="{html.escape(term.means)}">{found[0]}</a>'
    longest_first = sorted((o.name for o in terms), key=len, reverse=True)
    words = re.compile(f'({"|".join(map(spelt, longest_first))})s?', re.I | re.A)
    parts = NOT_PROSE.split(source)
    return ''.join(words.sub(link, o) if i % 2 == 0 and terms else o for i, o in enumerate(parts))
