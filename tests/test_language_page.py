"""Pages in Chinese and back, in a real browser: every word of ours is said, names stay, and the rule is that of `tr`."""
import json, re, shutil, subprocess, sys, warnings
from pathlib import Path
import pytest, torch
from axe import violations
from torch import nn
from petcam.explore import explorer_fragment, explorer_html
from petcam.language import Catalogue, chinese, english
from petcam.resize import lesson_learner
from petcam.web.page import page, site_script, spoken, table_html

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
CASES = json.loads((ROOT/'tests'/'js'/'language.json').read_text(encoding='utf-8'))
NAMES = ['cat', 'image', 'map', *(f'pet_{i}' for i in range(9))]     # two that are words of ours as well

def small(k=len(NAMES)):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    return nn.Sequential(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, k))).eval()

# --- the rule

@pytest.mark.parametrize('text, said', CASES['cases'])
def test_the_program_says_what_the_page_says(text, said): assert Catalogue(CASES['table']).tr(text) == said

RUN = '''const {translator} = require(process.argv[1]), {readFileSync} = require('fs');
const {table, texts} = JSON.parse(readFileSync(process.argv[2])), tr = translator(table);
process.stdout.write(JSON.stringify(texts.map(o => tr(o))));'''

def test_the_whole_catalogue_is_said_alike(tmp_path):
    node = shutil.which('node')
    if not node: pytest.skip('Node is not installed')
    table = chinese().words
    filled = [re.sub(r'\{(\d+)\}', lambda o: ('pug', '12.5%', 'image', 'layer 3')[int(o[1]) % 4], o) for o in table]
    texts = [*filled, *(f'{a} {b}' for a, b in zip(filled, filled[7:])), *(f'pug: {o}, nothing; {o}' for o in filled[::5]), *(o[1:] for o in filled[::3])]
    (tmp_path/'texts.json').write_text(json.dumps(dict(table=table, texts=texts)), encoding='utf-8')
    done = subprocess.run([node, '-e', RUN, ROOT/'petcam'/'web'/'language.js', tmp_path/'texts.json'], capture_output=True, text=True, check=True)
    ours = Catalogue(table)
    differ = [(o, ours.tr(o), theirs) for o, theirs in zip(texts, json.loads(done.stdout), strict=True) if ours.tr(o) != theirs]
    assert not differ, differ[:3]

def test_words_are_found_in_templates_and_scripts():
    from zh_pages import in_script, in_template
    template = '<p title="a hint">So many: {{ n }} of\n {{ m }}.{% if m %} <b>{{ name }}</b> it is{% endif %}</p><!-- no word --><style>b {}</style>'
    assert in_template(template) == ['a hint', 'So many: {0} of {1}.', 'it is']
    script = "el('no-word'); // not 'this one'\nsay(`Row ${f({a})} of ${n}, ` +\n  'in all: '); say('use strict', 'It\\'s here.');"
    assert list(in_script(script)) == ['Row {0} of {1}, in all', "It's here."]

# --- pages

READ = '''() => {
  const found = [], silent = e => e.closest('script, style, noscript, code, [translate=no]');
  const text = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (text.nextNode()) if (!silent(text.currentNode.parentElement) && text.currentNode.data.trim()) found.push(text.currentNode.data);
  for (const e of document.querySelectorAll('*')) for (const name of ['alt', 'aria-label', 'aria-valuetext', 'placeholder', 'title'])
    if (!silent(e) && e.getAttribute(name)) found.push(e.getAttribute(name));
  return found;
}'''
# what stays: names of methods, of petcam's commands and pages, of programs and formats, units, and words that the list of terms keeps
STAY = '''Grad-CAM\\+\\+ Grad-CAM HiResCAM LayerCAM Eigen-CAM petcam report check localise logits? onnxruntime-web Copyright Microsoft Corporation MIT Chrome Edge
    Firefox Safari IoU ROAD ReLU BatchNorm1d BatchNorm2d dropout Dropout softmax px kB GB train_loss valid_loss error_rate csv eval no_grad Gaussian model'''.split()

def left(texts, *names): # what is still English in these, beside names
    stay = re.compile('|'.join(rf'(?<![A-Za-z])(?:{o})(?![A-Za-z])' for o in [*sorted(map(re.escape, names), key=len, reverse=True), *STAY]))
    return sorted({o.strip() for o in texts if re.search('[A-Za-z]{2}', stay.sub(' ', o))})

@pytest.fixture
def opened(browser):
    "Opens a file and notes each complaint"
    tabs = []
    def open_(path, anchor='', **how):
        tab = browser.new_page(**how)
        tabs.append(tab)
        tab.complaints = []
        tab.on('console', lambda m: tab.complaints.append(m.text) if m.type in ('error', 'warning') else None)
        tab.on('pageerror', lambda e: tab.complaints.append(str(e)))
        tab.goto(path.as_uri() + anchor)
        if tab.locator('.px').count(): tab.locator('.px-app').wait_for()
        return tab
    yield open_
    for tab in tabs: tab.close()

@pytest.fixture(scope='module')
def images(): return [*torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))]

@pytest.fixture(scope='module')
def explorer(images, tmp_path_factory):
    return explorer_html(small(), images, tmp_path_factory.mktemp('page')/'explorer.html', class_names=NAMES, titles=['one', 'two'])

def moved(tab, steps=1):
    tab.locator('.px-target').focus()
    for _ in range(steps): tab.keyboard.press('ArrowRight')
    return tab.text_content('.px-words')

def test_to_chinese_and_back(explorer, opened):
    tab = opened(explorer)
    button, before = tab.locator('.px-language'), tab.evaluate(READ)
    assert (button.text_content(), button.get_attribute('lang'), tab.get_attribute('html', 'lang')) == ('中文', 'zh-CN', 'en')
    button.click()
    assert (button.text_content(), tab.get_attribute('html', 'lang')) == ('English', 'zh-CN')
    assert tab.text_content('label[for$=target]') == '类别' and '正证据' in tab.inner_text('.px-checkboxes')
    button.click()
    assert tab.evaluate(READ) == before and not tab.complaints

def test_what_a_script_writes_later_is_said_too(explorer, opened):
    tab = opened(explorer)
    tab.locator('.px-target').focus()
    tab.keyboard.press('Home')
    english_words = [moved(tab), moved(tab)]
    tab.keyboard.press('Home')
    tab.locator('.px-language').click()
    said = [moved(tab), moved(tab)]
    assert all('最强处' in o or '没有正证据' in o or '处处' in o for o in said) and said[0] != said[1]
    assert tab.get_attribute('.px-over', 'aria-label') == said[1]
    tab.locator('.px-language').click()
    assert tab.text_content('.px-words') == english_words[1]    # the English of now, not of then
    tab.locator('.px-search').fill('zzz')
    assert tab.text_content('.px-list') == 'No class has words that begin so.'
    tab.locator('.px-language').click()
    assert tab.text_content('.px-list') == chinese().tr('No class has words that begin so.')

def test_names_from_outside_stay(explorer, opened):
    tab = opened(explorer, '#zh')
    assert set(tab.locator('.px-list li span:first-child').all_text_contents()) == set(NAMES)
    tab.locator('.px-target').focus()
    tab.keyboard.press('Home')
    for name in NAMES:
        assert tab.text_content('.px-target-value b') == name
        moved(tab)

def test_a_page_begins_in_the_language_of_whoever_makes_it(images, tmp_path, opened, monkeypatch):
    monkeypatch.setenv('PETCAM_LANG', 'zh')
    tab = opened(explorer_html(small(), images, tmp_path/'zh.html', class_names=NAMES))
    assert tab.get_attribute('html', 'lang') == 'zh-CN' and tab.text_content('label[for$=target]') == '类别' and tab.text_content('h1') == chinese().tr('Class maps')
    tab.locator('.px-language').click()
    assert tab.text_content('h1') == 'Class maps' and not any(re.search('[\u4e00-\u9fff]', o) for o in tab.evaluate(READ))     # all of it, down to what Python has said

def test_a_piece_brings_its_words_only_where_it_is_to_speak_chinese(images, tmp_path, opened, monkeypatch):
    fragment = explorer_fragment(small(), images[:1], class_names=NAMES)
    assert 'px-table' not in fragment
    monkeypatch.setenv('PETCAM_LANG', 'zh')
    (tmp_path/'bare.html').write_text(f'<meta charset="utf-8"><title>image</title><p>image</p>{explorer_fragment(small(), images[:1], class_names=NAMES)}', encoding='utf-8')
    tab = opened(tmp_path/'bare.html')
    assert tab.text_content('p') == 'image' and tab.text_content('label[for$=target]') == '类别' and not tab.locator('.px-language').count()
    assert spoken('<b>x</b>').startswith('<div><b>x</b><script') and not tab.complaints
    with english(): assert spoken('<b>x</b>') == '<b>x</b>'

def test_players_and_exercises_of_the_site_speak(tmp_path, opened):
    import docs_players
    from docs_exercises import WEB
    from petcam.web.page import render
    exercise = dict(kind='number', right=[2, 2], hints=[], otherwise='a number is asked for.', why='')
    pieces = [docs_players.fragment('schedule', 'data:,', 'x'), render('exercise.html', exercise=exercise, data=json.dumps(exercise)), render('progress.html', here=1, elsewhere=2)]
    scripts = ''.join(f'<script>{o}</script>' for o in ((WEB/'exercises.js').read_text(encoding='utf-8'), site_script()))
    (tmp_path/'site.html').write_text('<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>x</title><p>image</p>' + ''.join(pieces) + scripts, encoding='utf-8')
    tab = opened(tmp_path/'site.html')
    tab.locator('[name=answer]').fill('3')
    tab.locator('form button').click()
    tab.locator('.px-words').wait_for()
    assert tab.text_content('p') == 'image' and '还不对' in tab.text_content('form [role=status]') and '本页练习' in tab.text_content('.pc-exercise-progress')
    kept = ('pct_start', 'div_factor', 'lr', 'log', 'slice(1e-2)', 'slice', 'image', 'x')
    assert not left(tab.evaluate(READ), *kept) and not tab.complaints

# --- one of each kind: nothing of ours is left in English, in light and dark, wide and narrow

@pytest.fixture(scope='module')
def learn(): return lesson_learner()

def stored(learn, images, folder):
    from petcam import export_page
    return export_page(small(), folder/'stored.html', images, live=False, class_names=NAMES, size=32, titles=['one', 'two']), ['one', 'two']

def live(learn, images, folder):
    from petcam import export_page
    from petcam.web.live import engine_files
    for name in ('onnx', 'onnxscript'): pytest.importorskip(name)
    try: engine_files()
    except ConnectionError as e: pytest.skip(str(e))
    return export_page(learn, folder/'live.html'), [str(learn.about.get('arch')), *(o.stem for o in learn.data.valid_ds.files), 'onnxruntime-web 1.30.0']

def report(learn, images, folder):
    from petcam.report import Run, report_html
    from petcam.cli import _run_facts
    pets = learn.data.pets
    facts = _run_facts(learn, pets, 0)
    (folder/'report.html').write_text(report_html(learn, [Run('stage-1', 64, [(0, 1.5, 1.2, .25, 61.)], [2., 1.5], [.001, .01], [.95, .85])], facts), encoding='utf-8')
    return folder/'report.html', ['stage-1', *(o.stem for o in learn.data.valid_ds.files), 'jpg', *'cpu fp32 torch torchvision cu130 cache toypets images toy'.split(), str(learn.about.get('arch'))]

def study(learn, images, folder):
    from petcam.study import Row, Study, study_html
    files, targets = learn.data.valid_ds.files[:4], learn.data.valid_ds.y[:4]
    rows = [Row('single', '0', name, 'energy', .5, .1, 4) for name in ('Grad-CAM', 'LayerCAM')]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        html = study_html(learn.model, learn.data, files, targets, Study(rows, torch.rand(4)), [('images', '4')])
    (folder/'study.html').write_text(html, encoding='utf-8')
    return folder/'study.html', [*(o.name for o in files), 'localise.csv']

def check(learn, images, folder):
    from petcam.checks import check
    x = torch.cat([learn.data.one_item(o) for o in learn.data.valid_ds.files[:3]])
    report = check(learn.model, learn.model[0], x, class_names=learn.data.classes)
    return report.save(folder/'check.html', rubric=True), list(report.checks)  # the names of checks are keys, and stay

@pytest.mark.parametrize('make', [stored, live, report, study, check])
def test_nothing_of_ours_is_left_in_english(make, learn, images, tmp_path, browser):
    path, names = make(learn, images, tmp_path)
    found = []
    for scheme in ('light', 'dark'):
        tab = browser.new_page(color_scheme=scheme)
        complaints = []
        tab.on('console', lambda m: complaints.append(m.text) if m.type in ('error', 'warning') else None)
        for width in (1400, 390):
            tab.set_viewport_size(dict(width=width, height=900))
            tab.goto('about:blank')
            tab.goto(path.as_uri() + '#zh')
            if tab.locator('.px').count(): tab.locator('.px-over[aria-label]').wait_for()
            if tab.evaluate('document.documentElement.scrollWidth') > width: found.append(f'{scheme}, {width}: too wide')
            found += [f'{scheme}, {width}: {o}' for o in violations(tab)]
        found += complaints
        if scheme == 'light': words = tab.evaluate(READ)
        tab.close()
    assert not found
    assert not left(words, *names, *NAMES, *learn.data.classes)

def test_the_words_make_a_page_little_larger(learn):
    table, = re.findall(r'class="px-table">(.*?)</script>', page('x', explorer_fragment(small(), torch.rand(1, 3, 64, 64), class_names=NAMES)), re.S)
    assert len(table.encode()) < 40_000 and len(json.loads(table)['table']) > 40
    few, = re.findall(r'class="px-table">(.*?)</script>', page('x', table_html(['a'], [['b']])), re.S)
    assert len(few.encode()) < 4_000
