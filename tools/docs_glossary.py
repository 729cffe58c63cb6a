"""Words of the glossary, linked where a lesson first uses them."""
import html, re

OFTEN = 'class', 'control', 'rank', 'seed', 'head', 'body', 'kernel'    # words that mean other things as well

def glossary(path): # -> {term: (what it means, the lesson that explains it)}
    "The glossary's terms"
    found = re.findall(r'^(\w.*)\n    (.*) → \[.*?\]\(lessons/(\w+)\.ipynb', path.read_text(encoding='utf-8'), flags=re.M)
    plain = lambda text: re.sub(r'\{term\}`(.*?)( <.*?>)?`', r'\1', text)
    return {term: (plain(means), lesson) for term, means, lesson in found if term not in OFTEN}

# code, mathematics, links, tags, what is set apart, headings, tables and quotations, questions
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
