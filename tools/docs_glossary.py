"""Words of the glossary, linked where a notebook first uses them."""
import html
import re

# these mean other things as well
OFTEN = 'class', 'control', 'rank', 'seed', 'head', 'body', 'kernel'

ENTRY = re.compile(r'^(\w.*)\n    (.*) → \[.*?\]\((?:lessons|workshop)/(\w+)\.ipynb', flags=re.M)

def glossary(path): # -> {term: (what it means, the notebook that explains it)}
    "The glossary's terms"
    plain = lambda text: re.sub(r'\{term\}`(.*?)( <.*?>)?`', r'\1', text)
    found = ENTRY.findall(path.read_text(encoding='utf-8'))
    return {term: (plain(means), notebook) for term, means, notebook in found if term not in OFTEN}

NOT_PROSE = re.compile('|'.join([
    r'(<summary>[\s\S]*?</summary>',            # questions, which a click opens
    r'`[^`]*`',                                 # code
    r'\$\$[^$]*\$\$', r'\$[^$]*\$',             # mathematics
    r'\[[^\]]*\]\([^)]*\)', r'<[^>]*>',         # links, tags
    r'\*[^*]+\*',                               # what is set apart
    r'^(?:#|\||>).*)',                          # headings, tables, quotations
]), flags=re.M)

def link_terms(source, terms): # a term that has been linked is taken out of `terms`
    "Link the first use of each term to the glossary, its meaning in the link's title"
    def link(found):
        term = next((t for t in terms if t.lower() == found[1].lower()), None)
        if term is None: return found[0]
        means = html.escape(terms.pop(term)[0])
        to = '../glossary.html#term-' + re.sub(r'[^\w.]+', '-', term).strip('-')
        return f'<a class="pc-term" href="{to}" title="{means}">{found[0]}</a>'
    longest_first = sorted(terms, key=len, reverse=True)
    words = re.compile(rf'\b({"|".join(map(re.escape, longest_first))})s?\b', re.I)
    parts = NOT_PROSE.split(source)
    return ''.join(words.sub(link, o) if i % 2 == 0 and terms else o for i, o in enumerate(parts))
