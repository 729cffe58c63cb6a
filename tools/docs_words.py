"""The language of the site that is being built, and the site's own words in it.

`tr('Download')` is Chinese while PETCAM_LANG=zh, by `locale/zh_CN/site.po`.
"""
import ast
import os
import re
from functools import cache
from jinja2 import Environment
from markupsafe import Markup
from project import ROOT
from zh_text import Words, translated

# what the theme says in English whatever the language
THEME = ('Search...', 'Main', 'Page', 'Color mode', 'System Settings', 'Toggle primary sidebar',
         'Toggle secondary sidebar')
CARD = ROOT/'docs'/'photo_card.html'

def is_chinese():
    "Is it the Chinese site?"
    return os.environ.get('PETCAM_LANG') == 'zh'

@cache
def _table(name):
    from zh import table    # which asks this module what there is to translate
    return table(name)

def known(name): # of a catalogue -> {English: Chinese}
    "What is translated; nothing in the English site"
    return _table(name) if is_chinese() else {}

def tr(text, **values):
    "Words of the site; `{n}` in them is a value"
    text = known('site').get(text, text)
    return text.format(**values) if values else text

def prose(name, markdown):
    "A page's Markdown by its catalogue"
    return translated(markdown, known(name))

def template(path):
    "A template whose words are translated where it says `{% filter tr %}`"
    made = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters['tr'] = lambda text, **values: Markup(tr(str(text))).format(**values)
    return made.from_string(path.read_text(encoding='utf-8'))

IN_TEMPLATE = re.compile(r'\{% filter tr.*? %\}(.*?)\{% endfilter %\}')

def in_code(path):
    "What a program gives to `tr`"
    tree = ast.parse(path.read_text(encoding='utf-8'))
    calls = [o for o in ast.walk(tree) if isinstance(o, ast.Call)]
    return [o.args[0].value for o in sorted(calls, key=lambda o: o.lineno)
            if getattr(o.func, 'id', '') == 'tr' and isinstance(o.args[0], ast.Constant)]

def site_words():
    "All that `site.po` translates, and where it stands"
    found = dict.fromkeys(THEME, 'theme')
    for path in sorted((ROOT/'tools').glob('docs*.py')):
        for text in in_code(path): found.setdefault(text, path.stem)
    card = CARD.read_text(encoding='utf-8')
    for text in IN_TEMPLATE.findall(card): found.setdefault(text, CARD.stem)
    return [Words(text, place) for text, place in found.items()]
