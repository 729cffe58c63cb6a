"""The site: each example and link is tried, and every page is opened in a real browser, from files and with no network."""
import doctest, importlib, json, re, shutil, sys
from contextlib import redirect_stdout
from io import StringIO
from urllib.parse import quote
import pytest
from axe import violations
from sitepages import ROOT, address, dead_links, serious, unreadable

DOCS = ROOT/'docs'
sys.path.insert(0, str(ROOT/'tools'))
from project import dotted, lessons, modules, workshop

LESSONS, WORKSHOP = [p.stem for p in lessons()], [p.stem for p in workshop()]
PAGES = [f'lessons/{o}' for o in LESSONS] + [f'workshop/{o}' for o in WORKSHOP]
MODULES = {dotted(p): p for p in modules()}

# --- what the pages say, without building them

def home(name):
    "The module that defines the function `name`"
    return importlib.import_module('petcam.' + next(m for m, p in MODULES.items() if f'\ndef {name}(' in p.read_text(encoding='utf-8')))

@pytest.fixture(scope='session')
def drawn(tmp_path_factory): return home('make_toypets').make_toypets(tmp_path_factory.mktemp('drawn')/'pets', per_class=2)

@pytest.mark.parametrize('name', [n for n in MODULES if (DOCS/'examples'/f'{n}.md').exists()])
def test_the_examples_of_the_reference_run(name, drawn, monkeypatch):
    toys = home('make_toypets')
    draw = toys.make_toypets                        # 74 pets are drawn once, for all the examples
    def copied(folder, per_class=30, seed=0):
        with redirect_stdout(StringIO()): return shutil.copytree(drawn, folder) if per_class == 2 else draw(folder, per_class, seed)
    monkeypatch.setattr(toys, 'make_toypets', copied)
    failed, tried = doctest.testfile(str(DOCS/'examples'/f'{name}.md'), module_relative=False, encoding='utf-8')
    assert tried and not failed

def test_every_function_and_class_has_an_example():
    from docs_api import all_modules, examples
    found = all_modules()
    without = {m.name: [n for n in m.names if n in m.defs and not m.is_value(n) and not examples(m.name)[1].get(n)] for m in found.values()}
    unknown = {m.name: set(examples(m.name)[1]) - set(m.names) for m in found.values()}
    assert not any(without.values()) and not any(unknown.values()), (without, unknown)
    assert {p.stem for p in (DOCS/'examples').glob('*.md')} <= set(found), 'examples of a module that is not there'

def test_what_the_page_on_fastai_names_exists():
    page = (DOCS/'fastai.md').read_text(encoding='utf-8')
    for file, name in (tests := re.findall(r'tests/(\w+\.py)::(\w+)', page)): assert f'def {name}(' in (ROOT/'tests'/file).read_text(encoding='utf-8'), name
    source = lambda path: [''.join(c['source']) for c in json.loads((ROOT/'nbs'/path).read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    for path, line in (cells := re.findall(r'\(lessons/(\S+\.ipynb)\): `([^`]+)`', page)): assert any(line in s for s in source(path)), f'{path}: {line}'
    assert len(tests) > 25 and len(cells) > 10

def test_one_setting_says_where_the_lessons_are(monkeypatch):
    import docs_notebooks
    monkeypatch.setattr(docs_notebooks, 'settings', lambda: dict(git_url='https://github.com/someone/theirs', branch='trunk', nbs_path='nbs'))
    kaggle, colab, copy = docs_notebooks.links('08_gradcam.ipynb').values()
    assert kaggle == 'https://kaggle.com/kernels/welcome?src=https://github.com/someone/theirs/blob/trunk/nbs/08_gradcam.ipynb'
    assert colab == 'https://colab.research.google.com/github/someone/theirs/blob/trunk/nbs/08_gradcam.ipynb'
    assert copy == '../notebooks/08_gradcam.ipynb'
    written = [*(ROOT/'tools').glob('docs*.py'), *DOCS.glob('*.md'), *DOCS.glob('*.py')]
    assert not [f.name for f in written if re.search(r'example\.org|github\.com/', f.read_text(encoding='utf-8'))]

# --- the pages themselves

@pytest.fixture(scope='session')
def pages(site): return {name: page for name, page in site.items() if not name.startswith('zh/')}

def test_the_pages_are_there(pages):
    assert {'index.html', 'your_model.html', 'fastai.html', 'results.html', 'glossary.html', 'api.html', 'search.html'} <= pages.keys()
    from docs_api import all_modules
    assert {f'{o}.html' for o in PAGES} | {f'api/{o}.html' for o in all_modules()} <= pages.keys()

def test_every_link_and_anchor_leads_somewhere(pages, site): assert not dead_links(pages, site)

def test_nothing_is_loaded_from_elsewhere(pages):
    assert not [f'{name}: {o}' for name, p in pages.items() for o in p.loads if re.match('(https?:)?//', o)]

def test_previous_and_next_go_through_the_lessons_in_order(pages):
    for part, order in dict(lessons=LESSONS, workshop=WORKSHOP).items():
        for here, there in zip(order, order[1:]):
            assert f'{there}.html' in pages[f'{part}/{here}.html'].links and f'{here}.html' in pages[f'{part}/{there}.html'].links

def test_every_page_lists_lessons_and_workshop_apart(pages):
    captions = re.findall(r'<span class="caption-text">(.*?)</span>', pages['index.html'].path.read_text(encoding='utf-8'))
    assert captions == ['Lessons', 'Look it up', 'How petcam is built']

def test_links_between_lessons_and_workshop_change_the_folder():
    from docs_notebooks import link_notebooks
    words, nbs = 'see [a](43_layers.ipynb#x), [b](06_hooks.ipynb), [c](08b_methods.ipynb) and [d](https://x.org/43_layers.ipynb)', ROOT/'nbs'
    assert link_notebooks(words, nbs/'08_gradcam.ipynb') == words.replace('(43_', '(../workshop/43_')
    assert link_notebooks('a [table](../petcam/toy/breeds.csv)', nbs/'26_breeds.ipynb').endswith('/blob/main/petcam/toy/breeds.csv)')
    assert link_notebooks(words, nbs/'44_targets.ipynb') == words.replace('(06_', '(../lessons/06_').replace('(08b_', '(../lessons/08b_')

def test_every_image_has_words(pages):
    for name, page in pages.items(): assert all('alt' in o for o in page.images), name

def test_every_figure_of_a_notebook_says_what_it_shows(pages):
    mute = [f'{name}: {o["src"][:60]}' for name, p in pages.items() if name.startswith(('lessons/', 'workshop/')) for o in p.images if len(o['alt'].split()) < 4]
    assert not mute, f'{len(mute)} figures have no `#| fig-alt:`, the first is {mute[0]}'

def test_words_of_the_glossary_lead_there(pages):
    page = pages['lessons/05_kernels.html'].path.read_text(encoding='utf-8')
    assert re.search(r'<a class="pc-term" href="../glossary.html#term-batch" title="The images that go through the network together[^"]*">', page)

def test_no_directive_and_no_dollar_is_left(pages):
    for o in PAGES:
        text = pages[f'{o}.html'].path.read_text(encoding='utf-8')
        assert '#|' not in re.sub('<[^>]*>', '', text) and not re.search(r'\$<span class="math"|</span>\$', text), o

# --- in a browser

def test_every_page_is_whole_and_readable(tab, pages): assert not unreadable(tab, pages) + tab.complaints + tab.elsewhere

@pytest.mark.parametrize('part', ['lessons', 'workshop', 'api', ''])
def test_axe_finds_nothing_serious(tab, pages, part): assert not serious(tab, [o for o in pages if o.rpartition('/')[0] == part])

def test_axe_finds_what_is_wrong(tab):
    tab.set_content('<html lang=en><title>x</title><main><details><summary></summary>x</details><p style="color:#bbb">pale</p></main>')
    assert {o.split(':')[0] for o in violations(tab)} == {'summary-name', 'color-contrast'}
    assert {o.split(':')[0] for o in violations(tab, 'color-contrast')} == {'color-contrast'}

def test_a_keyboard_reaches_every_fold_and_table(tab):
    tab.set_viewport_size(dict(width=390, height=900))
    for name in ('lessons/08_gradcam.html', 'results.html'):
        tab.goto(address(name))
        wanted = tab.evaluate("""() => [...document.querySelectorAll('main summary, main .pst-scrollable-table-container')]
            .filter(o => o.checkVisibility() && (o.matches('summary') || o.scrollWidth > o.clientWidth)).map((o, i) => o.dataset.at = i).length""")
        reached = set()
        for _ in range(400):
            tab.keyboard.press('Tab')
            reached.add(tab.evaluate('document.activeElement.dataset.at'))
            if len(reached - {None}) == wanted: break
        assert wanted > 2 and len(reached - {None}) == wanted, name
    tab.goto(address('lessons/08_gradcam.html'))
    fold = tab.locator('main details.hide > summary').first
    fold.focus()
    tab.keyboard.press('Enter')
    assert fold.evaluate('o => o.parentElement.open')

def test_exported_cells_and_tests_are_folded(pages):
    for name in PAGES:
        open_ones = re.findall(r'<div class="[^"]*\btag_export\b[^"]*">\s*<div class="cell_input', pages[f'{name}.html'].path.read_text(encoding='utf-8'))
        assert not open_ones, name
    text = pages['lessons/08_gradcam.html'].path.read_text(encoding='utf-8')
    lines = next(c for c in json.loads((ROOT/'nbs'/'08_gradcam.ipynb').read_text(encoding='utf-8'))['cells'] if '\ndef grad_cam(' in ''.join(c['source']))['source']
    assert f'grad_cam · in the module, {len("".join(lines).splitlines()) - 1} lines' in re.sub(r'\s+', ' ', text)

@pytest.mark.parametrize('source, outputs, line', [
    ('import a\nfrom b import c', [], 'The imports'), ('%config x\nimport a', [], 'The imports'), ('', [], None), ('# a word', [], None),
    ('assert x == 1', [], 'A test, 1 line'), ('a = 3\nwith raises(ValueError): f()\nfor b in c:\n    assert b == a', [], 'A test, 4 lines'),
    ('torch.testing.assert_close(a, b)', [], 'A test, 1 line'), ('assert x\ny', [], None), ('assert x', ['a figure'], None), ('def f(): pass\nassert f', [], None),
    ('learn??', [], None), ('x = 3', [], None), ('#| export\ndef f(a):\n    return a\n\ndef _g(): pass', [], 'f · in the module, 4 lines'), ('#| exporti\n_A, B = 3, 4\n_C = 5', [], 'B · in the module, 2 lines'), ('#| exporti\ndef _f(): pass', [], '_f · in the module, 1 line')])
def test_what_is_folded_and_what_it_says(source, outputs, line):
    from docs_notebooks import fold, options
    cell = type('Cell', (dict,), {})(outputs=outputs)
    cell.directives_ = {o[3:] for o in source.splitlines() if o.startswith('#| ')}
    assert fold(cell, options(source)[1]) == line

def test_what_a_cell_printed_is_one_piece():
    from docs_notebooks import joined
    stream = lambda name, text: dict(output_type='stream', name=name, text=text)
    figure = dict(output_type='display_data', data={})
    given = [stream('stdout', ['a\n', 'b\n']), stream('stdout', 'c\n'), stream('stderr', 'd'), figure, figure, stream('stdout', 'e')]
    assert joined(given) == [stream('stdout', 'a\nb\nc\n'), stream('stderr', 'd'), figure, figure, stream('stdout', 'e')]
    assert given[0]['text'] == ['a\n', 'b\n']

def test_the_reference_begins_with_what_people_come_for():
    from docs_api import all_modules, homes
    found = all_modules()
    first = {name: m.names[0] for name, m in found.items()}
    assert first['gradcam'] == 'grad_cam' and first['checks'] == 'check' and first['study'] == 'study' and first['data'] in ('find_pets', 'get_data')
    assert first['engine.backward'] == 'activation' and found['engine.backward'].names[-1] == 'ZeroGradient'
    for m in found.values():
        known = [name in homes() for name in m.names if name in m.defs and not m.is_value(name) and not m.is_error(name)]
        assert known == sorted(known, reverse=True) or m.name.rpartition('.')[2] in m.names, m.name

def test_a_slider_that_stands_still_says_so(pages):
    "As many as there are outputs with sliders, which have words of their own and no `<Figure ...>`"
    for name in LESSONS:
        cells = json.loads((ROOT/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
        data = [o.get('data', {}) for c in cells if '#| player' not in ''.join(c['source']) for o in c.get('outputs', [])]
        still = [d for d in data if any(k in d for k in ('image/png', 'image/jpeg')) and not re.match('[<{]', ''.join(d.get('text/plain', '<')))]
        assert pages[f'lessons/{name}.html'].path.read_text(encoding='utf-8').count('class="pc-still"') == len(still), name
    assert 'pc-still' in pages['lessons/09_explore.html'].path.read_text(encoding='utf-8')

def test_figures_stand_in_their_own_size_without_a_frame(tab):
    "Twice as many pixels as the page shows, and in the dark no border"
    tab.set_viewport_size(dict(width=1400, height=900))
    tab.goto(address('lessons/08_gradcam.html'))
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    figures = tab.evaluate("""() => [...document.querySelectorAll('.cell_output img')].map(o => { o.loading = 'eager'; const s = getComputedStyle(o);
        return [o.naturalWidth/o.getBoundingClientRect().width, s.padding, s.borderWidth, s.backgroundColor]; })""")
    assert len(figures) > 3 and all(o[1:] == ['0px', '0px', 'rgb(255, 255, 255)'] for o in figures)
    assert sum(1.8 < o[0] < 2.6 for o in figures) >= len(figures) - 1     # a player's still image has one pixel for each

def test_the_first_column_of_a_wide_table_stays_in_sight(tab):
    tab.set_viewport_size(dict(width=390, height=900))
    tab.goto(address('results.html'))
    moved = tab.evaluate("""() => { document.querySelectorAll('details').forEach(o => o.open = true);
        return [...document.querySelectorAll('.pst-scrollable-table-container')].filter(o => o.scrollWidth > o.clientWidth + 40).map(o => {
            const at = () => ['td:first-child, th:first-child', 'td:last-child'].map(q => o.querySelector(`tbody :is(${q})`).getBoundingClientRect().left);
            const before = at(); o.scrollLeft = 40; const after = at(); return [after[0] - before[0], after[1] - before[1]]; }) }""")
    assert moved and all(abs(first) < 1 and last == -40 for first, last in moved)

# what a reader might look for, and a notebook that must be among the results: every title, and these words
WORDS = {'GPU': '0', 'receptive field': '06b_field', 'homography': '01_augment', 'bn_final': '02_head', 'momentum': '03_onecycle', 'conv2d': '05_kernels', 'hook_output': '06_hooks',
         'upsample': '07_heatmap', 'LayerCAM': '08b_methods', 'CamExplorer': '09_explore', 'pointing': '10_localise', 'bottom-up': '10b_sanity', 'DiFull': '10c_truth', 'ROAD': '10d_perturbation', 'confusion': '12_'}

def title(notebook):
    "A notebook's title, without its mathematics and marks"
    first = next(''.join(c['source']) for c in json.loads((ROOT/'nbs'/f'{notebook}.ipynb').read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown')
    return re.sub(r'[^\w\s-]', ' ', first.splitlines()[0]).strip()

def test_search_finds_each_title_and_some_words(tab):
    for page in PAGES:
        tab.goto(address('search.html') + f'?q={quote(title(page.split("/")[1]))}')
        tab.locator(f'#search-results a[href*="{page}.html"]').first.wait_for(timeout=10_000)
    for word, notebook in WORDS.items():
        tab.goto(address('search.html') + f'?q={word}')
        tab.locator(f'#search-results a[href*="lessons/{notebook}"]').first.wait_for(timeout=10_000)
    assert not tab.complaints

def test_on_the_front_page_the_map_goes_from_the_cat_to_the_dog(tab):
    tab.goto(address('index.html'))
    ask = '''k => { // the fraction of the positive evidence for class k that lies in the left half, and what is said
      const o = document.getElementById('pets'), slider = o.querySelector('.px-target');
      slider.value = k; slider.dispatchEvent(new Event('input'));
      const m = o.petcam.map(), side = [0, 0];
      m.values.forEach((v, i) => side[+(i%m.w >= m.w/2)] += Math.max(0, v));
      return [side[0]/(side[0] + side[1]), o.querySelector('.px-words').textContent];
    }'''
    tab.locator('#pets .px-app').wait_for()
    assert tab.locator('#pets .px-words').inner_text().startswith('Abyssinian:')
    (cat, says), (dog, then) = tab.evaluate(ask, 0), tab.evaluate(ask, 25)
    assert says.startswith('Abyssinian') and then.startswith('leonberger') and cat > .65 and dog < .35
    tab.locator('#pets .px-target').focus()
    tab.keyboard.press('Home')
    assert tab.locator('#pets .px-words').inner_text().startswith('Abyssinian:')

# --- the reader's own photograph

@pytest.mark.parametrize('parts, says, not_', [
    (dict(megabytes=17), ['17 MB', 'href="photo.html"', 'does not leave'], ['built without', 'stored maps']),
    (dict(why='npm is <not> there', picture='data:,', megabytes=0), ['built without it: npm is &lt;not&gt; there', 'href="photo.html"', 'stored maps'], ['does not leave', '0 MB']),
    (dict(why='no extra'), ['built without it: no extra'], ['href="photo.html"', 'does not leave', '<img'])])
def test_the_card_says_what_is_there(parts, says, not_):
    from docs_photo import card
    text = card(**parts)
    assert all(o in text for o in says) and not any(o in text for o in not_)

def test_what_a_page_with_a_network_lacks_is_said(monkeypatch):
    import docs_photo
    from petcam.web import live
    def no_npm(): raise ConnectionError('npm is not installed')
    monkeypatch.setattr(live, 'engine_files', no_npm)
    monkeypatch.setattr(docs_photo, 'find_spec', lambda name: True)
    assert docs_photo.why_stored() == 'npm is not installed'
    monkeypatch.setattr(docs_photo, 'find_spec', lambda name: None if name == 'onnxscript' else True)
    assert docs_photo.why_stored() == "no onnxscript (pip install 'petcam[page]')"

@pytest.fixture
def photo(tab):
    "The page that the card of the front page leads to, once its network is ready"
    tab.goto(address('index.html'))
    card = tab.locator('.pc-card').inner_text()
    if 'built without it' in card: pytest.skip(f'the site has no network in its page: {card.split("built without it: ")[1].splitlines()[0]}')
    tab.locator('.pc-card .pc-bar a').click()
    tab.locator('.px-live .px-app').wait_for(timeout=60_000)
    return tab

def test_the_page_for_photographs_says_what_torch_says_of_chelsea(photo):
    from docs_photo import NOTE, asked, preview
    cat = importlib.import_module('petcam.engine.photo').real_cat()
    chelsea, how = asked(cat)
    there = preview(cat.model, chelsea, **how)
    assert photo.locator('.px-words').inner_text().startswith(f'{there["name"]}: ')
    assert f'{there["percent"]}' in photo.locator('.px-words').inner_text()
    assert NOTE in photo.locator('.px-own').inner_text()
    assert not photo.elsewhere + photo.complaints
