"""The Chinese edition: every paragraph is translated, by the list of terms, and the notebooks are what the catalogues make."""
import json, re, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
polib = pytest.importorskip('polib')
import zh, zh_check, zh_text
from project import lessons

WORDS = zh.all_words()
LESSONS = [p.stem for p in lessons()]
TERMS = zh_check.terms()

# --- the catalogues

@pytest.mark.parametrize('name', WORDS)
def test_a_catalogue_holds_what_the_english_says_now(name):
    assert [o.msgid for o in zh.catalogue(name)] == list(dict.fromkeys(o.text for o in WORDS[name])), 'run `make zh`'

@pytest.mark.parametrize('name', sorted(o.stem for o in zh.CATALOGUES.glob('*.po')))
def test_every_entry_is_translated_by_the_list_of_terms(name):
    wrong = [(fault, o.msgid[:60]) for o in zh.catalogue(name) for fault in zh_check.faults(o, TERMS)]
    assert not wrong, f'{len(wrong)}, the first is {wrong[0]}'

@pytest.mark.parametrize('name', LESSONS)
def test_the_first_use_of_a_term_gives_the_english(name):
    assert not [(fault, o.msgid[:60]) for o, fault in zh_check.unexplained(zh.catalogue(name), TERMS)]

def test_no_catalogue_is_left_over():
    assert {o.stem for o in zh.CATALOGUES.glob('*.po')} == WORDS.keys()

def test_the_list_of_terms_has_each_term_once():
    english = [o for term in TERMS for o in term.english]
    assert len(english) == len(set(english)) > 120 and all(term.chinese[0] for term in TERMS)

# --- what the checks find: each fault in a sentence that has it, and none in one that has not

def entry(english, chinese, **how): return polib.POEntry(msgid=english, msgstr=chinese, **how)

@pytest.mark.parametrize('english,chinese,fault', [
    ('A heatmap of `x`.', '`x` 的热力图。', None),
    ('A heatmap of `x`.', '', 'not translated'),
    ('A heatmap of `x`.', '`x` 的热图。', "'heatmap' is 热力图"),
    ('A heatmap of `x`.', '`y` 的热力图。', "other code: ['`x`', '`y`']"),
    ('Two heatmaps.', '两张热图。', "'heatmap' is 热力图"),
    ('In 15 of 37.', '37 个中的几个。', "numbers are missing: ['15']"),
    ('In 7.5 %.', '占 7.5 %。', None),
    ('See [this](a.ipynb).', '见[这里](b.ipynb)。', 'other links'),
    ('Is $x_1$ large?', '$x_2$ 大吗？', 'other formulas'),
    ('## Look', '# 看', 'other headings'),
    ('- one\n- two', '- 一、二', 'other headings, list items or rows'),
    ('You see it.', '您看得到。', '你 is meant'),
    ('You see it.', '你看得到.', 'half-width'),
    ('You, too.', '你,也是。', 'half-width'),
    ('With a GPU it is fast.', '有GPU时很快。', 'no space'),
    ('With a GPU it is fast.', '有 GPU 时很快。', None),
    ('One.\nTwo.', '一句话\n两句话。', 'line break'),
    ('**One:** two', '**一：**二', 'stars'),
    ('**One**: two', '**一**：二', None),
    ('Its <b>map</b>', '它的图', 'other tags')])
def test_a_fault_is_found(english, chinese, fault):
    found = zh_check.faults(entry(english, chinese), TERMS)
    assert found == [] if fault is None else any(fault in o for o in found), found

def test_a_changed_sentence_is_a_fault_until_somebody_has_looked():
    old = [entry('The network sees all images three times.', '网络把所有图像看三遍。'), entry('It is done.', '完成了。')]
    new = zh.merged(old, [zh_text.Words('The network sees all images four times.', 'c1'), zh_text.Words('It is done.', 'c2'), zh_text.Words('And new.', 'c2')])
    assert [(o.msgstr, o.fuzzy, o.previous_msgid) for o in new] == [
        ('网络把所有图像看三遍。', True, 'The network sees all images three times.'), ('完成了。', False, None), ('', False, None)]
    assert [zh_check.faults(o, TERMS) for o in new] == [['its English has changed'], [], ['not translated']]

def test_a_term_within_a_longer_one_does_not_count_and_an_excuse_does():
    assert [o.english[0] for o in zh_check.used('an effective receptive field', TERMS)] == ['effective receptive field']
    assert zh_check.faults(entry('The head of a dog.', '狗的脑袋。'), TERMS)
    assert not zh_check.faults(entry('The head of a dog.', '狗的脑袋。', tcomment='not the term: head'), TERMS)

def test_the_first_use_is_asked_for_once_and_not_in_headings():
    first, later = '每个通道（channel）一张特征图（feature map）。', '特征图很小。'
    entries = [entry('## Feature maps', '## 特征图'), entry('Each channel has a feature map.', first), entry('A feature map is small.', later)]
    assert not list(zh_check.unexplained(entries, TERMS))
    assert [fault for _, fault in zh_check.unexplained(entries[2:], TERMS)] == ['the first 特征图 lacks （feature map）']

# --- paragraphs

@pytest.mark.parametrize('path', zh_text.sources().values(), ids=lambda p: p.name)
def test_paragraphs_give_their_text_back(path):
    text = path.read_text(encoding='utf-8')
    texts = [text] if path.suffix == '.md' else [''.join(c['source']) for c in json.loads(text)['cells']]
    assert all(''.join(zh_text.paragraphs(o)) == o for o in texts)

def test_code_is_no_prose_and_lists_of_the_site_are():
    text = '# A\n\n```python\nx = 1\n\ny = 2\n```\n\nB `c`\n\n$$d$$\n\n```{toctree}\n:caption: E\n\nf\n```\n\n</details>'
    assert [o.text for o in zh_text.in_page(text)] == ['# A', 'B `c`', '```{toctree}\n:caption: E\n\nf\n```']
    assert zh_text.translated(text, {'# A': '# 甲', 'B `c`': '乙 `c`'}).startswith('# 甲\n\n```python\nx = 1\n\ny = 2\n```\n\n乙 `c`\n\n')

# --- the notebooks and the README

def cells(path, kind): return [o for o in zh.read(path)['cells'] if o['cell_type'] == kind]

@pytest.mark.parametrize('name', LESSONS)
def test_a_notebook_is_what_the_catalogue_makes(name):
    english, chinese = ROOT/'nbs'/f'{name}.ipynb', zh.NOTEBOOKS/f'{name}.ipynb'
    assert chinese.exists(), 'run `make zh`'
    assert zh.read(chinese) == zh.make(english), 'run `make zh`'
    code = [o for o in cells(chinese, 'code') if o['id'] != 'language']
    assert [o['source'] for o in code] == [o['source'] for o in cells(english, 'code')]
    assert len(cells(chinese, 'code')) == len(code) + 1

@pytest.mark.parametrize('name', LESSONS)
def test_a_notebook_shows_as_much_as_the_english(name):
    def kind(o): return re.sub('image/(png|jpeg)', 'image', str(sorted(o['data'])))
    def kinds(path): return {c['id']: [kind(o) for o in c['outputs'] if 'data' in o] for c in cells(path, 'code') if c['outputs']}     # prints come in one piece or several
    assert kinds(zh.NOTEBOOKS/f'{name}.ipynb') == kinds(ROOT/'nbs'/f'{name}.ipynb')

def test_the_outputs_were_made_beside_those_of_the_english():
    assert not zh.stale(), 'run `make zh ZH=--run`'

def test_links_lead_somewhere_one_folder_deeper():
    assert zh.one_folder_deeper('[a](00a_data.ipynb#x) [b](43_layers.ipynb) [c](../docs/your_model.md) [d](https://a.b) [e](#z)') == \
        '[a](00a_data.ipynb#x) [b](../43_layers.ipynb) [c](../../docs/your_model.md) [d](https://a.b) [e](#z)'
    for path in sorted(zh.NOTEBOOKS.glob('*.ipynb')):
        for cell in cells(path, 'markdown'):
            links = re.findall(r'\]\((?!\w+:|#)([^)#\s]+)', ''.join(cell['source']))
            assert not [o for o in links if not (zh.NOTEBOOKS/o).exists()], path.name

def test_the_readme_is_what_the_catalogue_makes_and_leads_back():
    text = (ROOT/'README.zh.md').read_text(encoding='utf-8')
    assert text == zh.chinese_readme(), 'run `make zh`'
    assert '[English](README.md)' in text and '[中文](README.zh.md)' in (ROOT/'README.md').read_text(encoding='utf-8')
    links = [o for o in re.findall(r'\]\(([^)#]+)', text) if '//' not in o]
    assert len(links) > 15 and not [o for o in links if not (ROOT/o).exists()]
    assert not [name for name in LESSONS if f'](nbs/zh/{name}.ipynb)' not in text]

def test_every_notebook_speaks_chinese_before_it_imports_petcam():
    for name in LESSONS:
        code = [''.join(o['source']) for o in cells(zh.NOTEBOOKS/f'{name}.ipynb', 'code')]
        assert code[0] == zh.SPEAK and not any('import petcam' in o or 'from petcam' in o for o in code[:1])
