"""Two languages, side by side: a link on every page to the other, and the same names of sections.

The Chinese pages are built after the English ones, and take the names of their sections from them.
"""
import csv
import logging
import pickle
from docutils import nodes
from sphinx.search.zh import SearchChinese
from sphinx.transforms import SphinxTransform
from docs_words import is_chinese
from project import ROOT, workshop

ENGLISH = ROOT/'build'/'doctrees'

class SameNames(SphinxTransform):
    "A Chinese section or entry of the glossary is found under its English name"
    default_priority = 263  # ids have just been put in order, and nothing has asked for them

    def apply(self):
        path = ENGLISH/f'{self.env.docname}.doctree'
        if not is_chinese() or not path.exists(): return
        english = pickle.loads(path.read_bytes())
        both = [list(o.findall(nodes.section)) for o in (self.document, english)]
        for here, there in zip(*both, strict=True): self.rename(here, there['ids'])
        for item in self.document.findall(nodes.definition_list_item):
            first, *more = item.findall(nodes.term)
            for term in more:   # 激活 activation: one line, and the English name is the first
                first += [nodes.Text(' '), nodes.inline('', term.astext(), lang='en')]
                first['ids'] = term['ids'] + first['ids']
                item.remove(term)

    def rename(self, section, ids):
        for old in section['ids']: self.document.ids.pop(old, None)
        for name, old in self.document.nameids.items():
            if old in section['ids']: self.document.nameids[name] = ids[0]
        section['ids'] = list(ids)
        self.document.ids |= dict.fromkeys(ids, section)

logging.getLogger('jieba').setLevel('WARNING')

class Search(SearchChinese):
    "Sphinx's search, and in the browser a query that is cut into words, too"
    language_name = 'English'   # of its stemmer, which Sphinx looks for under the name Chinese
    js_splitter_code = (ROOT/'docs'/'search_zh.js').read_text(encoding='utf-8')

def write_dictionary(to):
    "Our terms for jieba, which would cut some of them"
    with open(ROOT/'locale'/'terms.csv', encoding='utf-8', newline='') as f:
        words = [word for row in csv.DictReader(f) for word in row['Chinese'].split('|')]
    to.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'{o}\n' for o in words if ' ' not in o and len(o) > 1]
    to.write_text(''.join(lines), encoding='utf-8')
    return str(to)

def twin(name):
    "The page of the other language, seen from the site's root of this one"
    if name == 'workshop': name = f'workshop/{workshop()[0].stem}'
    if is_chinese(): return f'../{name}.html'
    part, _, notebook = name.rpartition('/')
    if part == 'workshop': return f'zh/workshop.html#{notebook}'
    return 'zh/api.html#reference' if part == 'api' else f'zh/{name}.html'

def switch(app, name, template, context, doctree):
    lang, word = ('en', 'English') if is_chinese() else ('zh-CN', '中文')
    title = 'This page in English' if is_chinese() else '本页的中文版'
    page = '../'*name.count('/') + twin(name)
    context['twin'] = dict(page=page, lang=lang, name=word, title=title)

def setup(app):
    app.add_transform(SameNames)
    app.add_search_language(Search)
    app.add_js_file('language.js', loading_method='defer')
    app.connect('html-page-context', switch)
    return {'parallel_read_safe': True}
