"""Pages under hostile names, in a real browser; and a report that is tried before the training and written again after it."""
import base64, hashlib, os, re, shutil, subprocess, sys
from pathlib import Path
import numpy as np
import pytest, torch
from axe import violations
from markupsafe import Markup
from PIL import Image
from torch import nn
from petcam.data import get_data
from petcam.engine.names import clean_name, figure_name, file_name
from petcam.explore import explorer_html
from petcam.onecycle import Learner, cnn_learner
from petcam.report import ReportError, Run, check_report, rewrite_report, two_animals, write_report
from petcam.study import Row, Study, study_html
from petcam.web.page import page, render

EVIL = ['<img src=x onerror=alert(1)>', '"\' onload=alert(2) x="', '<script>alert(3)<', 'a$\\foo$b', '{{ 7*7 }}', '\x1b[31mred', '\u202egnp', os.fsdecode(b'caf\xe9')]
WORSE = [*EVIL, '</script><script>alert(4)</script>', '</style><img src=x onerror=alert(5)>', '--><svg onload=alert(6)>', ']]>', '\0', 'pug\n'*3]   # a file's name has no /

def small(c):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    return nn.Sequential(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, c)))

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Six images of each of the classes with hostile names, and their trimaps"
    at = tmp_path_factory.mktemp('hostile')
    (at/'images').mkdir(), (at/'annotations'/'trimaps').mkdir(parents=True)
    for k, name in enumerate(EVIL):
        for i in range(6):
            pixels = (torch.rand(40, 48, 3)*80 + 20*k).byte()
            Image.fromarray(pixels.numpy()).save(at/'images'/f'{name}_{i}.jpg')
            Image.new('L', (48, 40), 1).save(at/'annotations'/'trimaps'/f'{name}_{i}.png')
    return at

@pytest.fixture(scope='module')
def learn(folder, tmp_path_factory):
    data = get_data(64, 8, path=folder, workers=0)
    assert data.classes == sorted(EVIL)
    learn = Learner(data, small(data.c), tmp_path_factory.mktemp('out')/'models', dict(arch='small', bn_final=False))
    learn.save('stage-1')
    return learn

RUNS = [Run('stage-1', 64, [(0, 1.5, 1.2, .25, 61.)], [2., 1.5], [.001, .01], [.95, .85])]
FACTS = [('images', WORSE[0]), (WORSE[-6], '; '.join(WORSE))]

@pytest.fixture(scope='module')
def report(learn): return write_report(learn.model_dir.parent/'report.html', learn, RUNS, FACTS)

@pytest.fixture
def open_page(browser):
    "Opens a file and notes each dialog, complaint and request"
    tabs = []
    def opened(path):
        tab = browser.new_page()
        tabs.append(tab)
        tab.dialogs, tab.complaints, tab.requests = [], [], []
        tab.on('dialog', lambda d: (tab.dialogs.append(d.message), d.dismiss()))
        tab.on('console', lambda m: tab.complaints.append(m.text) if m.type in ('error', 'warning') else None)
        tab.on('pageerror', lambda e: tab.complaints.append(str(e)))
        tab.on('request', lambda r: None if r.url.startswith(('file:', 'data:')) else tab.requests.append(r.url))
        tab.goto(path.as_uri())
        return tab
    yield opened
    for tab in tabs: tab.close()

HANDLERS = '''() => [...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name).filter(name => name.startsWith('on')))'''

def is_harmless(tab):
    tab.wait_for_timeout(300)       # an onerror would have had its time
    assert not tab.dialogs and not tab.complaints and not tab.requests
    assert tab.evaluate('document.querySelectorAll("svg, img:not([src^=\'data:\'])").length') == 0 and not tab.evaluate(HANDLERS)

def moves_its_sliders(tab, names):
    tab.locator('.px-app').wait_for()
    said = tab.locator('.px-words')
    tab.locator('.px-target').focus()
    tab.keyboard.press('Home')
    first = said.text_content()
    tab.keyboard.press('ArrowRight')
    assert first != said.text_content() and tab.locator('.px-list li').count() == len(names)
    before = tab.evaluate("document.querySelector('.px-over').toDataURL()")
    tab.locator('.px-alpha').focus()
    tab.keyboard.press('Home')
    assert before != tab.evaluate("document.querySelector('.px-over').toDataURL()")
    bar = tab.locator('.px-list li').first.evaluate("o => getComputedStyle(o).backgroundSize")
    assert bar.startswith('100%')   # set by the script, which the policy allows

# --- in the browser

def test_a_report_of_hostile_names_is_harmless(report, learn, open_page):
    tab = open_page(report)
    is_harmless(tab)
    text = tab.locator('body').inner_text()
    for name in EVIL: assert clean_name(name) in text, name
    moves_its_sliders(tab, learn.data.classes)
    assert not tab.complaints and not tab.dialogs

def test_an_explorer_of_hostile_names_is_harmless(tmp_path, open_page):
    path = explorer_html(small(len(WORSE)), torch.rand(2, 3, 64, 64).unbind(), tmp_path/'explorer.html', class_names=WORSE, titles=WORSE[-6:-4], title=WORSE[8])
    tab = open_page(path)
    is_harmless(tab)
    assert tab.title().startswith('</script>') and '</style><img' in tab.locator('.px-list').inner_text()
    moves_its_sliders(tab, WORSE)
    assert not tab.complaints and not tab.dialogs

def test_a_study_of_hostile_names_is_harmless(learn, tmp_path, open_page):
    files, targets = learn.data.valid_ds.files[:4], learn.data.valid_ds.y[:4]
    rows = [Row('single', '0', WORSE[i], 'energy', .5, .1, 4) for i in range(len(WORSE))]
    path = tmp_path/'localise.html'
    path.write_text(study_html(learn.model, learn.data, files, targets, Study(rows, torch.rand(4)), FACTS), encoding='utf-8')
    tab = open_page(path)
    is_harmless(tab)
    assert tab.locator('figure.image').count() == 4

def test_what_was_forgotten_to_be_escaped_does_not_run(tmp_path, open_page):
    "The policy alone: three ways to run a script, all in the page as they are"
    wrong = '<script>alert(1)</script><img src=x onerror=alert(2)><a id=a href="javascript:alert(3)">x</a><p style="color: red">red</p>'
    (tmp_path/'page.html').write_text(page('page', Markup(wrong)), encoding='utf-8')
    tab = open_page(tmp_path/'page.html')
    tab.evaluate("document.getElementById('a').click()")
    tab.wait_for_timeout(300)
    assert not tab.dialogs and len(tab.complaints) >= 4 and all('Content Security Policy' in o for o in tab.complaints if 'ERR_' not in o)
    assert tab.locator('p').evaluate('o => getComputedStyle(o).color') != 'rgb(255, 0, 0)'
    (tmp_path/'without.html').write_text(re.sub('<meta http-equiv.*?>', '', page('page', Markup(wrong))), encoding='utf-8')
    assert open_page(tmp_path/'without.html').dialogs      # and without the policy they run

def test_two_explorers_in_one_page(tmp_path, open_page):
    from petcam.explore import explorer_fragment
    pieces = [explorer_fragment(small(3), torch.rand(3, 64, 64), uid=uid) for uid in ('one', 'two')]
    (tmp_path/'page.html').write_text(page('two', '\n'.join(pieces)), encoding='utf-8')
    tab = open_page(tmp_path/'page.html')
    for uid in ('one', 'two'): tab.locator(f'#{uid} .px-app').wait_for()
    assert not tab.complaints

def test_the_policy_names_the_styles_and_the_script_of_the_page(report):
    html = report.read_text(encoding='utf-8')
    [policy] = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', html)
    allowed = re.findall("'sha256-(.*?)'", policy)
    inline = re.findall('<(?:style|script)>(.*?)</(?:style|script)>', html, re.S)
    assert len(inline) == 4 and all(base64.b64encode(hashlib.sha256(o.encode()).digest()).decode() in allowed for o in inline)
    assert policy.startswith("default-src 'none'; img-src data:; ") and 'unsafe' not in policy

# --- with a screen reader or a keyboard

def all_pages(learn, folder, report):
    "One of each kind of page"
    from petcam.checks import check
    files, targets = learn.data.valid_ds.files[:4], learn.data.valid_ds.y[:4]
    rows = [Row('single', '0', name, 'energy', .5, .1, 4) for name in ('Grad-CAM', 'LayerCAM')]
    (folder/'study.html').write_text(study_html(learn.model, learn.data, files, targets, Study(rows, torch.rand(4)), FACTS), encoding='utf-8')
    checked = check(learn.model, None, torch.rand(2, 3, 64, 64), class_names=learn.data.classes)
    return [report, folder/'study.html', checked.save(folder/'check.html', rubric=True),
            explorer_html(small(3), torch.rand(2, 3, 64, 64).unbind(), folder/'explorer.html', titles=['a', 'b'])]

def test_axe_finds_nothing_serious_and_no_page_is_too_wide(learn, tmp_path, report, browser):
    found = []
    for path in all_pages(learn, tmp_path, report):
        for scheme in ('light', 'dark'):
            tab = browser.new_page(color_scheme=scheme)
            for width in (1400, 390):
                tab.set_viewport_size(dict(width=width, height=900))
                tab.goto(path.as_uri())
                assert tab.locator('main h1, main .px').count() and tab.locator('main').count() == 1
                wide = tab.evaluate('document.documentElement.scrollWidth')
                if wide > width: found.append(f'{path.name} at {width}: {wide} px wide')
                found += [f'{path.name}, {scheme}, {width}: {o}' for o in violations(tab)]
            tab.close()
    assert not found

# --- templates

def test_no_template_has_a_style_attribute_or_leaves_escaping():
    for path in (Path(sys.modules[page.__module__].__file__).parent/'templates').iterdir():
        text = path.read_text(encoding='utf-8')
        assert not re.search(r'\bstyle=|\bon\w+=|\|\s*safe|autoescape', text), path.name

@pytest.mark.parametrize('name', WORSE)
def test_whatever_is_filled_in_is_escaped_and_can_be_written(name):
    pieces = [render('image.html', src=name, alt=name, caption=name, width=1), render('figure.html', src=name, alt=name),
              render('table.html', head=[name], rows=[[name, Path('a'+name), np.str_(name)]]), page(name, ''), render('kind.html')]
    for html in pieces[:-1]:
        assert html.encode() and not re.search('[<"\'](img src=x|script>alert|svg)', html)
        assert not re.search('[\0\x1b\u202e]', html)

# --- names

def test_a_name_in_a_file_s_name_stays_in_its_folder(tmp_path):
    for name in (*WORSE, '/../../x', '../x', '..', '.', '', ' ', '.bashrc', 'C:\\x', 'x'*5000, '猫'*500, '/', '~', '-rf', 'a\nb'):
        path = (tmp_path/f'photo-{file_name(name)}.png')
        alone = tmp_path/file_name(name)
        for p in (path, alone):
            p.touch()
            assert p.resolve().parent == tmp_path and not p.name.startswith('.'), name

@pytest.mark.parametrize('name', [*WORSE, '$x$', '$', '$$', '\\$', 'x_1^2', '$\\frac$'])
def test_a_figure_draws_any_name(name):
    from petcam.mistakes import confusion_figure
    from petcam.web.page import figure_html
    assert 'base64' in figure_html(confusion_figure(torch.ones(2, 2), [figure_name(name), 'pug']), 'x')

# --- before the training

def test_a_trial_finds_what_a_report_would_die_of(learn, monkeypatch):
    import petcam.report
    check_report(learn.data, FACTS)
    monkeypatch.setattr(petcam.report, 'figure_html', lambda *a: 1/0)
    with pytest.raises(ZeroDivisionError): check_report(learn.data, FACTS)

def test_a_trial_leaves_nothing_behind(learn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state()
    check_report(learn.data)
    assert torch.equal(before, torch.get_rng_state()) and not list(tmp_path.iterdir())

@pytest.mark.parametrize('size', [8, 31, 352])
def test_a_trial_takes_images_of_any_size(folder, size): check_report(get_data(size, 8, path=folder, workers=0))

def test_a_trial_finds_that_the_network_has_no_map(few_pets):
    data = get_data(64, 8, path=few_pets, workers=0)
    model = cnn_learner(data, 'mobilenet_v3_small', weights=None).model
    modes = [m.training for m in model.modules()]
    check_report(data, model=model)
    with pytest.raises(ValueError, match=r"layer '0' gives \(1, 576, 1, 1\)"): check_report(data, model=model, size=32)
    assert modes == [m.training for m in model.modules()]

@pytest.mark.parametrize('junk', [b'', b'junk', b'\x89PNG\r\n\x1a\n' + b'x'*50])
def test_a_broken_image_of_two_animals_is_said_and_passed_over(few_pets, junk):
    (few_pets/'catdogTogether.png').write_bytes(junk)
    data = get_data(64, 8, path=few_pets, workers=0)
    image, dog, cat, source = two_animals(data)
    assert image.size == (64, 64) and (dog, cat) == ('beagle', 'Abyssinian')
    assert source == 'two validation images side by side; catdogTogether.png cannot be read'
    check_report(data)

def test_the_image_of_two_animals_is_shown(few_pets):
    Image.new('RGB', (90, 60), (10, 200, 30)).save(few_pets/'catdogTogether.png')
    image, *_, source = two_animals(get_data(64, 8, path=few_pets, workers=0))
    assert image.size == (90, 60) and image.getpixel((5, 5)) == (10, 200, 30) and source == 'catdogTogether.png'

def test_an_image_that_breaks_while_we_train_is_left_out(few_pets, tmp_path):
    data = get_data(64, 8, path=few_pets, workers=0)
    learn = Learner(data, small(2), tmp_path, dict(arch='small'))
    *_, losses = learn.predictions()
    broken = data.valid_ds.files[int(losses.argmax())]
    broken.write_bytes(broken.read_bytes()[:300])
    html = write_report(tmp_path/'report.html', learn, RUNS, []).read_text(encoding='utf-8')
    assert broken.name not in html and broken.stem not in html and '_1' in html

LATIN = '''
import os, sys
from petcam.data import get_data
from petcam.report import check_report
check_report(get_data(64, 8, path=sys.argv[1], workers=0), [('folder', os.fsdecode(b'caf\\xe9'))])
'''
def test_a_c_locale_is_no_reason_to_fail(folder):
    plain = {**os.environ, 'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    done = subprocess.run([sys.executable, '-c', LATIN, folder], env=plain, capture_output=True)
    assert not done.returncode, done.stderr.decode(errors='replace')

# --- after the training

@pytest.fixture
def trained(few_pets, tmp_path):
    learn = cnn_learner(get_data(64, 8, path=few_pets, workers=0), 'resnet18', weights=None, model_dir=tmp_path/'out'/'models')
    learn.save('stage-1')
    return learn

def without_uid(path): return re.sub('px[0-9a-f]{8}', '', path.read_text(encoding='utf-8'))

def test_a_report_is_written_again_as_it_was(trained, tmp_path):
    out = tmp_path/'out'
    path = write_report(out/'report.html', trained, RUNS, [('seed', '0')], worst=2)
    first = without_uid(path)
    path.unlink()
    assert rewrite_report(out) == path and without_uid(path) == first

def test_a_report_that_fails_keeps_the_training_and_says_what_to_do(trained, tmp_path, monkeypatch):
    import petcam.report
    out, real = tmp_path/'out', petcam.report.confusion_figure
    (out/'report.html').write_text('yesterday')
    monkeypatch.setattr(petcam.report, 'confusion_figure', lambda *a: [][0])
    with pytest.raises(ReportError, match=r'IndexError.*`petcam report --out .*out` writes the report again'): write_report(out/'report.html', trained, RUNS, [])
    assert (out/'report.html').read_text() == 'yesterday' and sorted(p.name for p in out.iterdir()) == ['models', 'report.html', 'report.json']
    monkeypatch.setattr(petcam.report, 'confusion_figure', real)
    assert '>stage-1<' in rewrite_report(out).read_text(encoding='utf-8')

def test_the_folder_of_a_training_may_move(trained, few_pets, tmp_path):
    write_report(tmp_path/'out'/'report.html', trained, RUNS, [])
    shutil.move(tmp_path/'out', tmp_path/'there')
    shutil.move(few_pets, tmp_path/'photos')
    with pytest.raises(FileNotFoundError, match='is not a folder'): rewrite_report(tmp_path/'there')
    assert rewrite_report(tmp_path/'there', tmp_path/'photos').exists()

def test_other_images_than_those_of_the_training_are_refused(trained, few_pets, tmp_path):
    write_report(tmp_path/'out'/'report.html', trained, RUNS, [])
    next(iter((few_pets/'images').iterdir())).unlink()
    with pytest.raises(ValueError, match='holds 32 images to train and 7 to validate; the network has had 32 and 8'): rewrite_report(tmp_path/'out')

@pytest.mark.parametrize('text', ['', '{', '[]', '3', 'null', '{"runs": []}', '{"runs": 3, "network": "x"}', '{"runs": [{"name": 1}], "network": "x"}', '{"runs": [3]}'])
def test_a_damaged_json_is_one_line(tmp_path, text):
    (tmp_path/'report.json').write_text(text)
    with pytest.raises(ValueError, match='report.json is not what a training has stored'): rewrite_report(tmp_path)

def test_a_folder_without_a_training(tmp_path):
    with pytest.raises(FileNotFoundError, match='report.json does not exist; `petcam run'): rewrite_report(tmp_path)
