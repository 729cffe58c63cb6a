"The first fifteen minutes, the way in, and what the first pages claim."
import json, re, sys
from pathlib import Path
import pytest
from petcam.data import find_pets, get_data, toy_pets

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import docs_notebooks
from counts import count_notebook
from project import lessons, settings, wheel_name

START = ROOT/'nbs'/'00_start.ipynb'

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def source(cell): return ''.join(cell['source'])

def test_the_first_lesson_is_short_and_shows_no_machinery():
    counts = count_notebook(START)
    assert lessons()[0] == START and counts.code <= 25 and counts.exported == 0 and counts.minutes <= 15
    seen = '\n'.join(source(c) for c in cells(START) if c['cell_type'] == 'code' and not source(c).startswith('#| hide'))
    assert not re.search(r'^\s*(def|class|with|for|if|try)\b', seen, flags=re.M)

def test_it_sends_three_readers_on():
    text = source(cells(START)[-1])
    assert all(o in text for o in ('understand it', 'two hours', 'model of your own'))
    path = re.findall(r'\]\((\d\w*\.ipynb)\) \| (\d+) \|', text)         # lessons and minutes
    assert 4 <= len(path) and all((ROOT/'nbs'/name).exists() for name, _ in path)
    assert sum(int(n) for _, n in path) + 15 <= 120
    for name, n in path: assert abs(count_notebook(ROOT/'nbs'/name).minutes - int(n)) <= 3, name

@pytest.mark.parametrize('url,words', [('https://example.org/petcam', ['Download', 'Download petcam']),
                                       ('https://github.com/someone/petcam', ['Open in Kaggle', 'Open in Colab', 'Download'])])
def test_the_buttons_follow_one_setting(url, words, monkeypatch):
    monkeypatch.setattr(docs_notebooks, 'settings', lambda: dict(git_url=url, branch='main', nbs_path='nbs'))
    to = docs_notebooks.links('00_start.ipynb', up='')
    assert list(to) == words and to['Download'] == 'notebooks/00_start.ipynb'
    assert ('example.org' in str(to)) is False
    assert docs_notebooks.buttons(to).count(' download>') == sum('Download' in o for o in words)
    if len(words) == 2: assert to['Download petcam'] == wheel_name() == f"petcam-{settings()['version']}-py3-none-any.whl"

def test_a_link_to_a_page_of_the_docs_stays_on_the_site():
    here = lambda text: docs_notebooks.link_notebooks(text, START)
    assert here('[a](../docs/your_model.md)') == '[a](../your_model.md)'
    assert here('[a](../LICENSE)') == f"[a]({docs_notebooks.in_repository('LICENSE')})"

def test_pets_are_named_where_one_looks_for_them_and_not_each_time(few_pets, capsys):
    find_pets(few_pets)
    assert 'pets in' in capsys.readouterr().out
    get_data(32, 2, path=few_pets, workers=0)
    assert 'pets in' not in capsys.readouterr().out

def test_toy_pets_are_toys_also_where_photographs_are(few_pets, monkeypatch):
    monkeypatch.setenv('PETCAM_DATA', str(few_pets))
    assert toy_pets().kind == 'toy' and len(toy_pets().files) == 1110

# what the lesson of 2019 calls, as its cells have it; Python's own, and the inside of `fit_one_cycle`, are left out
CALLS = """%reload_ext autoreload|%autoreload 2|%matplotlib inline|ast_node_interactivity|untar_data|.ls()|get_transforms|from_folder|split_by_rand_pct
label_from_re|.transform(|.databunch|.normalize(|get_data|plot_multi|.show(|gc.collect|cnn_learner|error_rate|bn_final|model_dir|.summary()|fit_one_cycle|lr_range
.save(|.load(|.unfreeze()|FileLinks|learn.data|valid_ds[150]|data.classes|.expand(|F.conv2d|show_image|data.c`|learn.model|.eval()|one_item|.denorm|Image(|.cuda()
hook_output|hooked_backward|.stored|.mean(|show_heatmap|open_image|plt.subplots"""

def test_the_page_on_fastai_has_what_the_lesson_calls():
    page = (ROOT/'docs'/'fastai.md').read_text(encoding='utf-8')
    assert not [o for o in re.split(r'[|\n]', CALLS) if o not in page]
