"""The sliders that move on the site, in a browser, beside petcam's own: the same words, the same numbers."""
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from torch import nn
from petcam.hooks import play_channels
from petcam.kernels import play_kernel
from petcam.onecycle import one_cycle, play_schedule, lr_range
from petcam.resize import play_sizes

sys.path.insert(0, str(Path(__file__).parents[1]/'tools'))
import docs_players

STILL = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='

@pytest.fixture
def image():
    "Numbers that are whole steps of 1/255, as the page gets them"
    pixels = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(3))
    return pixels/255

@pytest.fixture
def body():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 12, 5, 4, 2), nn.ReLU(), nn.Conv2d(12, 30, 3, 2, 1), nn.ReLU()).eval()

@pytest.fixture
def opened(browser, tmp_path):
    "Opens the sliders of one kind: a page, and a function that moves a slider and returns the words"
    tabs = []
    def open_(kind, **given):
        html = docs_players.fragment(kind, STILL, 'sliders', **given)
        (tmp_path/'page.html').write_text(f'<!doctype html><meta charset="utf-8"><title>t</title>{html}', encoding='utf-8')
        tab = browser.new_page(viewport=dict(width=900, height=900))
        tabs.append(tab)
        problems = []
        tab.on('pageerror', lambda e: problems.append(str(e)))
        tab.goto((tmp_path/'page.html').as_uri())
        tab.wait_for_selector('.px-app:not([hidden])')
        def move(i, value):
            tab.evaluate('''([id, value]) => {
                const input = document.getElementById(id);
                if (input.type === 'checkbox') input.checked = value; else input.value = value;
                input.dispatchEvent(new Event('input'));
            }''', [f'player-{kind}-{i}', value])
            assert not problems, problems
            return tab.text_content('.px-words')
        return tab, move
    yield open_
    for tab in tabs: tab.close()

def pixels(tab, i): # of the red channel of a panel, at the middle of each of its squares
    return lambda h, w: np.array(tab.evaluate('''([i, h, w]) => {
        const canvas = document.querySelectorAll('.px-images canvas')[i], context = canvas.getContext('2d');
        return Array.from({length: h*w}, (_, k) => context.getImageData(
            (k % w + .5)*canvas.width/w, (Math.floor(k/w) + .5)*canvas.height/h, 1, 1).data[0]);
    }''', [i, h, w])).reshape(h, w)

def test_a_kernel(opened, image):
    tab, move = opened('kernel', image=image)
    ours = play_kernel(image)
    assert tab.text_content('.px-words') == ours.words
    for name, value in dict(k11=3., k00=-1., k22=-8/3).items():
        ours.set(**{name: value})
        said = move(3*int(name[1]) + int(name[2]), value)
        assert said == ours.words
    expected = np.asarray(ours.figure.axes[2].images[0].get_array()).squeeze()
    assert expected.shape == (62, 62) and np.ptp(expected) > .5
    np.testing.assert_allclose(pixels(tab, 2)(62, 62)/255, expected, atol=1.01/255)

@pytest.mark.parametrize('start, divide, lr, log', [(.3, 4, 1, False), (.8, 0, 3, True), (0, 6, 2, False), (1, 2, 4, True)])
def test_a_schedule(opened, start, divide, lr, log):
    tab, move = opened('schedule')
    ours = play_schedule()
    assert tab.text_content('.px-words') == ours.words
    for i, value in enumerate([start, divide, lr, log]): said = move(i, value)
    factor, rates = ours.sliders['div_factor'].options[divide], ours.sliders['lr'].options[lr][1]
    ours.set(pct_start=start, div_factor=factor, lr=rates, log=log)
    assert said == ours.words
    points = np.array(tab.evaluate('''() => [...document.querySelectorAll('polyline')].map(line =>
        line.getAttribute('points').split(' ').map(point => +point.split(',')[1]))'''))
    expected, moms = one_cycle(100, lr_range(rates, 3), div_factor=factor, pct_start=start)
    scale = np.log10 if log else np.asarray
    for drawn, wanted in zip(points, [*scale(expected).T, moms], strict=True): # one straight line leads from the one to the other
        assert len(drawn) == 100
        if np.ptp(wanted): np.testing.assert_allclose(np.corrcoef(-drawn, wanted)[0, 1], 1, atol=1e-9)

def test_sizes(opened, image, body):
    learn = SimpleNamespace(model=nn.Sequential(body), data=SimpleNamespace(device='cpu'))
    tab, move = opened('sizes', learn=learn, image=image)
    ours = play_sizes(learn, image)
    assert tab.text_content('.px-words') == ours.words
    for size in (32, 48, 384):
        ours.set(size=size)
        assert move(0, (size - 32)//16) == ours.words
        h, w = size//8, size//8
        expected = np.asarray(ours.figure.axes[1].images[0].get_array()).squeeze()
        np.testing.assert_allclose(pixels(tab, 1)(h, w)/255, expected, atol=2.01/255)

def test_channels(opened, image, body):
    given = dict(model=body, layer=body[2], x=image[None], image=image)
    tab, move = opened('channels', **given)
    ours = play_channels(body, body[2], image[None], image)
    assert tab.text_content('.px-words') == ours.words
    for channel, strongest in [(0, True), (7, True), (7, False), (29, False)]:
        ours.set(channel=channel, strongest_first=strongest)
        move(1, strongest)
        assert move(0, channel) == ours.words
        expected = np.asarray(ours.figure.axes[1].images[0].get_array()).squeeze()
        np.testing.assert_allclose(pixels(tab, 1)(8, 8)/255, expected, atol=2.01/255)
        assert tab.text_content('.px-images figcaption >> nth=1') == ours.figure.axes[1].get_title()

def test_the_still_image_stays_where_no_script_runs(browser, image, tmp_path):
    (tmp_path/'page.html').write_text(docs_players.fragment('kernel', STILL, 'nine numbers', image=image), encoding='utf-8')
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((tmp_path/'page.html').as_uri())
    assert tab.locator('.px-still').get_attribute('alt') == 'nine numbers' and not tab.locator('.px-app').is_visible()
    context.close()
