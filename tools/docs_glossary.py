"""Words of the glossary, linked where a notebook first uses them."""
import html
import re
from typing import NamedTuple
from docs_words import prose
from petcam.language import is_chinese
from project import ROOT

PAGE = ROOT/'docs'/'glossary.md'

# these mean other things as well
OFTEN = 'class', 'control', 'rank', 'seed', 'head', 'body', 'kernel'

# in Chinese an entry stands under two names, of which the second is the English one
ENTRY = re.compile(r'^(\w.*(?:\n\w.*)?)\n'
                   r'    (.*?) ?→ \[.*?\]\((?:lessons|workshop)/(\w+)\.ipynb', flags=re.M)

class Term(NamedTuple):
    "An entry of the glossary"
    name: str # as the lessons say it
    english: str
    means: str
    notebook: str # that explains it

def glossary():
    "The glossary's terms, but for those that mean other things as well"
    plain = lambda text: re.sub(r'\{term\}`(.*?)( <.*?>)?`', r'\1', text)
    page = prose('glossary', PAGE.read_text(encoding='utf-8'))
    found = [(o[0].split('\n'), *o[1:]) for o in ENTRY.findall(page)]
    return [Term(names[0], names[-1], plain(means), notebook)
            for names, means, notebook in found if names[-1] not in OFTEN]

NOT_PROSE = re.compile('|'.join([
    r'(<summary>[\s\S]*?</summary>',            # questions, which a click opens
    r'`[^`]*`',                                 # code
    r'\$\$[^$]*\$\$', r'\$[^$]*\$',             # mathematics
    r'\[[^\]]*\]\([^)]*\)', r'<a .*?</a>', r'<[^>]*>',     # links, tags
    r'\*[^*]+\*',                               # what is set apart
    r'^(?:#|\||>).*)',                          # headings, tables, quotations
]), flags=re.M)

def spelt(name):
    "An expression for a name: Latin letters are a word of their own, Chinese ones need no space"
    return re.escape(name) if is_chinese(name) else rf'\b{re.escape(name)}(?=s?\b)'

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
