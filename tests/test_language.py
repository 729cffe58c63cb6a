"""The program in Chinese: all that it says is found in the code, each sentence gets its own translation, and figures have letters or stay English."""
import json, re, subprocess, sys, warnings
from pathlib import Path
import numpy as np
import pytest
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
polib = pytest.importorskip('polib')
import zh, zh_program
from petcam import language
from petcam.language import Catalogue, columns_of, fill, tr, tr_html
from petcam.widgets.sliders import captioned

VALUE = re.compile(r'\{(\d+)\}')
SPOKEN = [name for name in zh.SPOKEN if name in zh.all_words()]
KEYS = [o for o in dict.fromkeys(o.text for name in SPOKEN for o in zh.all_words()[name]) if re.search('[A-Za-z]{2}', o)]

# --- what is found in the code

@pytest.mark.parametrize('source,said', [
    ("print('two words')", ['two words']), ("print('one')", []), ("x = f'{n} of {m!r} images'", ['{0} of {1} images']),
    ("x = 'part one, ' + f'and {n} more'", ['part one, and {0} more']), ("x = 'in parts' + (' and more' if a else '')", ['in parts', 'and more']),
    ("ax.set_title('image')", ['image']), ("ax.set(title='image', xlabel='row')", ['image', 'row']), ("f(titles=['one', f'{n} px'])", ['one', '{0} px']),
    ("x = 'of {} and {:.2f} in all'.format(a, b)", ['of {0} and {1} in all']), ("def f():\n    'A docstring of words'", []),
    ("assert a, 'not for a reader'", []), ("a == 'two words'", []), ("re.sub('two words', '', a)", []), ("x = '; and it ends so: '", ['and it ends so']),
    ("x = f'{f(\"some words here\")} of {n}'", ['{0} of {1}', 'some words here']), ("x = {'a': 'first thing', 'b': ('cat dog', 'e')}", ['first thing', 'cat dog']),
    ("f(help='the file to write')", ['the file to write']), ("x = '<b>of some</b>'", []), ("x = 'CSV'", [])])
def test_what_is_said_is_found(source, said):
    assert zh_program.said_in(source)[0] == said

def test_errors_are_found_apart():
    said, errors = zh_program.said_in("raise ValueError(f'n is {n}; expected more')\nprint('two words')")
    assert (said, errors) == (['two words'], ['n is {0}; expected more'])

def test_of_a_lesson_only_the_figures_count():
    assert zh_program.drawn_in("print('not this one')\nplt.title('a title')\nax.set_title('this')") == ['a title', 'this']
    assert not zh_program.drawn_in("said = 'words and words'")

# --- translations

@pytest.mark.parametrize('sample', ['v{}', "'a-{}'", '{}0%'])
def test_each_sentence_is_its_own_and_no_other_takes_it(sample):
    marked = {key: f'译{i}：' + ''.join(f'{{{n}}}' for n in VALUE.findall(key)) for i, key in enumerate(KEYS)}
    known = Catalogue(marked)
    filled = {key: [VALUE.sub(lambda o: sample.format(o[1]), text) for text in (key, marked[key])] for key in KEYS}
    assert not [(key, known.tr(said)) for key, (said, want) in filled.items() if known.tr(said) != want]

@pytest.mark.parametrize('name', SPOKEN)
def test_a_translation_has_no_other_values(name):
    assert not [o.msgid for o in zh.catalogue(name) if o.msgstr and not set(VALUE.findall(o.msgstr)) <= set(VALUE.findall(o.msgid))]

@pytest.fixture
def few(monkeypatch):
    "Chinese, with a few sentences of our own"
    known = Catalogue({'usage:': '用法：', 'options': '选项', 'the image to write, or a folder (default: IMAGE-CLASS.png here)': '要写入的图像，或一个文件夹（默认：此处的 IMAGE-CLASS.png）',
                       'draw where a trained network sees a class in images': '画出训练好的网络在图像何处看到某个类别', '{0}: no images there': '{0}：那里没有图像',
                       'petcam: {0}': 'petcam：{0}', 'the following arguments are required: {0}': '缺少参数：{0}', 'image': '图像', 'map': '热力图', 'loss {0}': '损失 {0}'})
    monkeypatch.setattr(language, 'chinese', lambda: known)
    monkeypatch.setenv('PETCAM_LANG', 'zh')

def test_help_is_chinese_and_its_options_are_not(few, capsys):
    from petcam.cli import main
    with pytest.raises(SystemExit): main(['cam', '--help'])
    said = capsys.readouterr().out
    assert said.startswith('用法： petcam cam') and '画出训练好的网络' in said and '--out FILE' in said and '要写入的图像' in said and '选项:' in said

@pytest.mark.parametrize('name', ['head', 'left', 'images', 'nowhere', 'map'])
def test_a_name_of_the_reader_stays_as_it_is(name, monkeypatch):
    monkeypatch.setenv('PETCAM_LANG', 'zh')
    for said in (f'{name}: no such file', f'{name}: logit 0.10, 17.2%, rank 5 of 5', f'no class \'hed\'; the nearest names are {name}', f'wrote out/{name}'):
        chinese = tr(said)
        assert name in chinese and re.search('[\u4e00-\u9fff]', chinese), chinese

def test_errors_of_a_command_are_chinese(few, capsys, tmp_path):
    from petcam.cli import main
    assert main(['cam', str(tmp_path)]) == 1
    assert capsys.readouterr().err == f'petcam: {tmp_path}：那里没有图像\n'
    with pytest.raises(SystemExit): main(['cam'])
    assert 'error: 缺少参数：IMAGE' in capsys.readouterr().err

def test_an_error_in_code_stays_english(few):
    from petcam.engine.lookup import index_of
    with pytest.raises(ValueError, match='the nearest names are'): index_of('pig', ['pug', 'beagle'])

def test_html_is_translated_between_its_tags(few):
    assert tr_html('<p title="image">image <b>map</b></p><style>p::after { content: "image" }</style>') == \
        '<p title="图像">图像 <b>热力图</b></p><style>p::after { content: "image" }</style>'

def test_english_where_nothing_is_asked_for():
    assert tr('image') == 'image' and tr_html('<p>image</p>') == '<p>image</p>'

def test_lines_are_as_wide_as_they_may_be():
    lines = fill('它不看图像，只看标签；所以 ResNet-34 的热力图什么也说明不了。'*5, 40).splitlines()
    assert all(30 <= columns_of(o) <= 42 for o in lines[:-1]) and not any(o[0] in '，。；' for o in lines)

# --- figures

def title(text='image'):
    ax = Figure().subplots()
    ax.set_title(text)
    return ax.get_title()

def no_font(monkeypatch):
    monkeypatch.setattr(language, '_FONTS', [])
    language.chinese_font.cache_clear()

@pytest.fixture
def forget():
    yield
    language.chinese_font.cache_clear()

def test_without_a_font_figures_stay_english_and_that_is_said_once(few, monkeypatch, forget):
    no_font(monkeypatch)
    with pytest.warns(UserWarning, match='pip install mplfonts') as said: assert title() == title() == 'image'
    assert len(said) == 1

def test_figures_do_not_follow_the_locale(few, monkeypatch, forget):
    monkeypatch.delenv('PETCAM_LANG')
    monkeypatch.setenv('LC_ALL', 'zh_CN.UTF-8')
    no_font(monkeypatch)
    with warnings.catch_warnings(action='error') if sys.version_info >= (3, 11) else warnings.catch_warnings():
        assert tr('image') == '图像' and title() == 'image'

@pytest.fixture
def font():
    if not language.chinese_font(): pytest.skip('no font with Chinese letters: apt-get install fonts-noto-cjk')

def pixels(fig):
    fig.canvas.draw()
    return np.asarray(fig.canvas.buffer_rgba())

def test_figures_have_chinese_letters_and_no_boxes(few, font, recwarn):
    fig = Figure((3, 2))
    ax = fig.subplots()
    ax.plot([1, 2], label='map')
    ax.set(title='image', xlabel='loss 0.25', ylabel='布偶猫')
    ax.legend(fontsize=9)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    FigureCanvasAgg(fig)
    pixels(fig)
    assert (ax.get_title(), ax.get_xlabel(), ax.get_legend().get_texts()[0].get_text()) == ('图像', '损失 0.25', '热力图')
    assert not [str(o.message) for o in recwarn if 'lyph' in str(o.message)]

def test_letters_in_images_are_chinese_and_no_boxes(few, font):
    white = np.full((40, 120, 3), 255, np.uint8)
    drawn = [captioned(white, o) for o in ('image', '图像', '热力图')]
    assert (drawn[0] == drawn[1]).all() and (drawn[1] != drawn[2]).any()

def test_the_door_loads_nothing_and_stays_out_of_others_figures():
    code = "import sys, petcam; print('matplotlib' in sys.modules); from matplotlib.text import Text; print(hasattr(Text.set_text, '__wrapped__'))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['False', 'False']

def test_what_the_program_reads_is_what_the_catalogues_hold():
    assert json.loads(zh.SPOKEN_FILE.read_text(encoding='utf-8')) == json.loads(zh.spoken())
