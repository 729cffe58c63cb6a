"""The site in Chinese: the same pages and sections, a way to and fro, search, and all that is asked of the English pages."""
import json, re, sys
from urllib.parse import quote
import pytest
from sitepages import ROOT, SITE, address, dead_links, serious, unreadable

sys.path.insert(0, str(ROOT/'tools'))
import docs_glossary, docs_notebooks, docs_plots
from docs_words import known, site_words, tr
from project import lessons, workshop

LESSONS = [p.stem for p in lessons()]
ALONE = ['index', 'your_model', 'fastai', 'results', 'glossary', 'api', 'search', 'genindex']
HAN = re.compile('[\u3400-\u9fff]')

@pytest.fixture
def in_chinese(monkeypatch): monkeypatch.setenv('PETCAM_LANG', 'zh')

@pytest.fixture(scope='session')
def chinese(site):
    "The Chinese pages by the names that they have in English, too"
    return {name[3:]: page for name, page in site.items() if name.startswith('zh/')}

# --- the pages

def test_there_is_a_page_for_each_lesson_and_page(chinese): assert set(chinese) == {f'{o}.html' for o in [*ALONE, 'workshop', *(f'lessons/{o}' for o in LESSONS)]}

def test_every_page_says_its_language(site):
    for name, page in site.items(): assert f'<html lang="{"zh-CN" if name.startswith("zh/") else "en"}"' in page.path.read_text(encoding='utf-8')[:4000], name

def test_every_link_and_anchor_leads_somewhere(chinese, site): assert not dead_links({f'zh/{o}': page for o, page in chinese.items()}, site)

def test_nothing_is_loaded_from_elsewhere(chinese): assert not [f'{name}: {o}' for name, p in chinese.items() for o in p.loads if re.match('(https?:)?//', o)]

SECTIONS = re.compile('<section id="(.*?)"')

def test_sections_and_terms_have_the_names_of_the_english_ones(chinese, site):
    for name in (o for o in chinese if o != 'workshop.html'):
        ours, theirs = (SECTIONS.findall(p.path.read_text(encoding='utf-8')) for p in (chinese[name], site[name]))
        assert ours == theirs, name
    terms = {o for o in site['glossary.html'].ids if o.startswith('term-')}
    assert len(terms) > 80 and terms <= chinese['glossary.html'].ids

def test_headings_and_titles_are_chinese(chinese):
    for name, page in chinese.items():
        html = page.path.read_text(encoding='utf-8')
        heads = re.findall(r'<h[1-4]>(.*?)<a class="headerlink"', html)
        english = [o for o in heads if not HAN.search(o) and re.search('[A-Za-z]', re.sub('<code.*?</code>', '', o))]
        assert set(english) <= {'8 · Grad-CAM', 'Grad-CAM'}, f'{name}: {english}'

def test_figures_are_as_many_and_say_in_chinese_what_they_show(chinese, site):
    for name in LESSONS:
        ours, theirs = (p[f'lessons/{name}.html'].images for p in (chinese, site))
        assert len(ours) == len(theirs), name
        assert not [o['alt'] for o in ours if len(HAN.findall(o['alt'])) < 4], name

def test_around_the_article_all_is_chinese(chinese):
    "What the theme says, too; names of notebooks and networks stay as they are"
    known = {'petcam', 'English', 'Ctrl', '8 · Grad-CAM', 'J_{max}'}
    for name, page in chinese.items():
        html = re.sub(r'<script.*?</script>|<style.*?</style>|<!--.*?-->|<article.*?</article>|<title>.*?</title>|<footer.*?</footer>', '', page.path.read_text(encoding='utf-8'), flags=re.S)
        said = re.findall(r'(?:title|aria-label|placeholder|alt)="([^"]*)"', html) + re.findall('>([^<]+)<', html)
        english = {o.strip() for o in said if re.search('[A-Za-z]{3}', o) and not HAN.search(o)} - known
        assert english <= {'This page in English'} | {o for o in english if re.fullmatch(r'[\w.()]+', o)}, (name, english)

def test_words_of_the_glossary_lead_to_their_english_names(chinese):
    page = chinese['lessons/05_kernels.html'].path.read_text(encoding='utf-8')
    assert re.search(r'<a class="pc-term" href="../glossary.html#term-batch" title="[^"]*[\u4e00-\u9fff][^"]*">批次</a>', page)

def test_buttons_folds_and_plots_are_chinese(chinese):
    text = {o: re.sub(r'\s+', ' ', chinese[o].path.read_text(encoding='utf-8')) for o in ('lessons/08_gradcam.html', 'results.html', 'index.html')}
    assert all(o in text['lessons/08_gradcam.html'] for o in ('>下载</a>', '导入语句', '测试，', '在模块中，'))
    assert '用<b>玩具宠物</b>演示' in chinese['lessons/07_heatmap.html'].path.read_text(encoding='utf-8')
    assert '<summary>具体数字</summary>' in text['results.html'] and re.search('<title>[^<]*；最好的：', text['results.html'])
    assert 'Download' not in text['index.html'] and '从这里开始' in text['index.html']

def test_the_workshop_is_listed_and_the_large_files_are_there_once(chinese):
    page = chinese['workshop.html']
    assert all(p.stem in page.ids and f'../workshop/{p.stem}.html' in page.links for p in workshop())
    files = [p for p in (SITE/'zh').rglob('*') if p.is_file()]
    assert not [p.name for p in files if p.suffix == '.whl' or p.name == 'photo.html'] and sum(p.stat().st_size for p in files) < 40e6
    for name in LESSONS: assert (SITE/'zh'/'notebooks'/f'{name}.ipynb').read_bytes() == (ROOT/'nbs'/'zh'/f'{name}.ipynb').read_bytes()

# --- how they are made

def test_chinese_terms_need_no_space_and_keep_the_english_address(in_chinese):
    terms = [docs_glossary.Term('特征图', 'feature map', '<一层>的输出', '06_hooks'), docs_glossary.Term('类激活图', 'class activation map (CAM)', '图', '08'),
             docs_glossary.Term('激活', 'activation', '输出', '06'), docs_glossary.Term('ReLU', 'ReLU', '一层', '06')]
    found = docs_glossary.link_terms('<a href="x">特征图</a>、类激活图和`激活`，每张特征图；经过ReLU的特征图。', terms)
    assert [o.english for o in terms] == ['activation'] and found.count('<a class') == 3
    assert '<a class="pc-term" href="../glossary.html#term-feature-map" title="&lt;一层&gt;的输出">特征图</a>；' in found and '#term-class-activation-map-CAM' in found

def test_links_of_a_chinese_lesson(in_chinese):
    path = ROOT/'nbs'/'zh'/'08_gradcam.ipynb'
    words = '[课](06_hooks.ipynb)、[`layers`](../43_layers.ipynb)、[表](../../petcam/toy/breeds.csv) 和 [结果](../../docs/results.md)'
    found = docs_notebooks.link_notebooks(words, path)
    assert found == ('[课](06_hooks.ipynb)、<a href="../../workshop/43_layers.html" hreflang="en">`layers`</a>、'
                     f'[表]({docs_notebooks.in_repository("petcam/toy/breeds.csv")}) 和 [结果](../results.md)')
    assert docs_notebooks.to_english('{doc}`methods <api/methods>`') == '<a href="../api/methods.html" hreflang="en">methods</a>'

def test_a_plot_has_the_words_of_the_translated_table(in_chinese):
    english = '<!-- plot | energy (9) -->\n\n| method | energy (9) |\n| --- | --- |\n| random map | 5 |\n| HiResCAM | 8 [7, 9] |\n| chance | 4 |\n'
    chinese = english.replace('method', '方法').replace('| energy (9) |\n| ---', '| 能量（9） |\n| ---').replace('random map', '随机热力图').replace('chance', '随机水平')
    page = docs_plots.with_plots(english, chinese)
    assert '能量（9）；最好的：HiResCAM' in page and '随机热力图</text>' in page and 'stroke-dasharray' in page and 'random map' not in page
    assert docs_plots.GREY in page, 'a baseline is grey in either language'

def test_words_of_the_site_are_all_translated(in_chinese):
    words = {o.text for o in site_words()}
    assert len(words) > 35 and words == set(known('site'))
    for text in words: assert set(re.findall(r'\{(\w+)\}', text)) == set(re.findall(r'\{(\w+)\}', known('site')[text])), text
    assert tr('{n} lines', n=3) == '3 行'

# --- in a browser

def test_every_page_is_whole_and_readable(tab, chinese): assert not unreadable(tab, [f'zh/{o}' for o in chinese]) + tab.complaints + tab.elsewhere

@pytest.mark.parametrize('part', ['lessons', ''])
def test_axe_finds_nothing_serious(tab, chinese, part): assert not serious(tab, [f'zh/{o}' for o in chinese if o.rpartition('/')[0] == part])

def switch(tab):
    at = tab.locator('a.pc-language').bounding_box()    # Playwright's own click would scroll the page
    with tab.expect_navigation(): tab.mouse.click(at['x'] + 5, at['y'] + at['height']/2)
    return tab.url.split('/build/site/')[1]

@pytest.mark.parametrize('width', [1400, 390])
def test_the_switch_leads_to_the_same_section_and_back(tab, width):
    tab.set_viewport_size(dict(width=width, height=900))
    tab.goto(address('lessons/08_gradcam.html'))
    assert switch(tab) == 'zh/lessons/08_gradcam.html' and switch(tab) == 'lessons/08_gradcam.html'
    section = 'does-the-model-believe-it'
    tab.evaluate("id => document.getElementById(id).scrollIntoView({behavior: 'instant'})", section)
    assert switch(tab) == f'zh/lessons/08_gradcam.html#{section}'
    tab.wait_for_function("id => Math.abs(document.getElementById(id).getBoundingClientRect().top) < 200", arg=section)
    assert switch(tab) == f'lessons/08_gradcam.html#{section}'
    tab.goto(address('glossary.html#term-hook'))
    assert switch(tab).startswith('zh/glossary.html#term-') and tab.locator('dt#term-hook').is_visible()

@pytest.mark.parametrize('here, there, back', [
    ('workshop/22_downloads.html', 'zh/workshop.html#22_downloads', f'workshop/{workshop()[0].stem}.html'), ('api/gradcam.html', 'zh/api.html#reference', 'api.html'),
    ('index.html', 'zh/index.html', 'index.html'), ('search.html', 'zh/search.html', 'search.html')])
def test_a_page_without_a_twin_leads_to_the_list(tab, here, there, back):
    tab.goto(address(here))
    assert switch(tab) == there and switch(tab) == back

def results(tab, words):
    tab.goto(address('zh/search.html') + f'?q={quote(words)}')
    tab.wait_for_function("document.querySelector('#search-results .search-summary')?.textContent")
    return [o.split('/zh/')[1].split('#')[0].split('?')[0] for o in tab.locator('#search-results li a').evaluate_all('all => all.map(o => o.href)')]

# what a reader might look for, and a lesson that must be among the results; words of two and more, without spaces
WORDS = {'感受野': '06b_field', '动量': '03_onecycle', '卷积核': '05_kernels', '钩子': '06_hooks', '指向游戏': '10_localise', '双线性插值': '07_heatmap',
         '批归一化': '02_head', '学习率动量': '03_onecycle', '梯度热力图': '08_gradcam', '卷积核步幅填充': '05_kernels', 'Grad-CAM的梯度': '08_gradcam', '随机化权重 合理性检验': '10b_sanity', 'DiFull': '10c_truth'}

def test_search_finds_each_title_and_some_words(tab, chinese):
    for name in LESSONS:
        first = next(''.join(c['source']) for c in json.loads((ROOT/'nbs'/'zh'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown')
        assert f'lessons/{name}.html' in results(tab, first.splitlines()[0].lstrip('# ').rstrip('？'))
    missing = {words: found for words, name in WORDS.items() if (found := results(tab, words)) and not name or name and f'lessons/{name}.html' not in found}
    assert not missing and not tab.complaints

def test_the_explorer_and_the_exercises_speak_chinese(tab):
    tab.goto(address('zh/index.html'))
    tab.locator('#pets .px-app').wait_for()
    assert '类别' in tab.locator('#pets').inner_text() and 'Opacity' not in tab.locator('#pets').inner_text()
    tab.goto(address('zh/lessons/05_kernels.html'))
    form = tab.locator('form.pc-exercise:has(input[name=answer]:not([type=radio]))').first
    form.locator('input').fill('12345')
    form.locator('button').click()
    assert HAN.search(form.locator('[role=status]').inner_text()) and HAN.search(form.locator('button').inner_text())
    assert not re.search('[A-Za-z]{4}', tab.locator('.pc-exercise-progress').inner_text())
