"""The sliders of the lessons: what is on show is what the function gives, a still image is left, a mistake does no harm."""
import base64, io
import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from petcam.augment import change, play_augment
from petcam.hooks import play_channels
from petcam.kernels import play_kernel
from petcam.onecycle import one_cycle, play_schedule
from petcam.resize import play_sizes
from petcam.sliders import as_widget, beside, play

def opened(file): return np.asarray(Image.open(io.BytesIO(file)).convert('RGB'))

def ramp(level=100, dark=False): return np.full((20, 30), 0 if dark else level, np.uint8)

def noise(*shape): return torch.rand(*shape, generator=torch.Generator().manual_seed(0))

def panels(player, *widths): # the images that stand side by side, without their titles and frames
    at = np.cumsum([1] + [w + 8 for w in widths])
    return [player.pixels[21:-1, a:a+w] for a, w in zip(at, widths)]

def still(player): # (the image as a stranger's page shows it, its words)
    bundle = player._repr_mimebundle_()
    kind, = [k for k in bundle if k.startswith('image/')]
    return opened(base64.b64decode(bundle[kind])), bundle['text/plain']

# ---- play itself

def test_what_is_on_show_is_what_the_function_gives():
    p = play(ramp, level=(0, 255), dark=False)
    for values in (dict(level=7), dict(dark=True), dict(level=200, dark=False)):
        p.set(**values)
        assert (opened(p.display.value) == ramp(**p.values)[..., None]).all() and p.display.format == 'png'
    assert p.values == dict(level=200, dark=False) and p.words == 'level 200, dark False' and p.words in p.said.value

def test_a_hand_on_the_slider_draws_once_for_each_change():
    drawn = []
    p = play(lambda level=100: (drawn.append(level), ramp(level))[1], level=(0, 255))
    for v in (5, 5, 6): p.sliders['level'].value = v
    assert drawn == [100, 5, 6]

def test_sliders_start_where_the_function_does_or_where_one_says():
    assert play(ramp, level=(0, 255)).values == dict(level=100)
    assert play(ramp, start=dict(level=3), level=(0, 255)).values == dict(level=3)
    assert play(lambda v: ramp(), v=(0., 4.)).values == dict(v=2.) and play(lambda v: ramp(), v=[('one', 1), ('two', 2)]).values == dict(v=1)

@pytest.mark.parametrize('form', [(0, 50), ['a', 'b'], True])
def test_a_start_that_the_slider_cannot_hold_is_refused_by_name(form):
    with pytest.raises(ValueError, match='level is 100; expected'): play(ramp, level=form)

@pytest.mark.parametrize('form,kind', [((0, 9), W.IntSlider), ((0, 9, 3), W.IntSlider), ((0, 1.), W.FloatSlider), ((0, 1, .1), W.FloatSlider),
                                       (['a', 'b'], W.SelectionSlider), (['a', 'a name that is long'], W.Dropdown), (True, W.Checkbox), (W.BoundedIntText(3), W.BoundedIntText)])
def test_each_short_form_is_a_widget_with_a_label(form, kind):
    made = as_widget('some_name', form)
    assert type(made) is kind and (made is form or made.description == 'some name')

@pytest.mark.parametrize('form', ['words', (1,), (1, 2, 3, 4), (5, 1), (0, 1, 0), (0., 1., -.1), ('a', 'b'), [], None, 3])
def test_a_form_that_is_none_is_refused_by_name(form):
    with pytest.raises(ValueError, match='level'): as_widget('level', form)

@pytest.mark.parametrize('step,digits', [(.1, 1), (.25, 2), (.0005, 4), (2.5, 1), (1/3, 2), (1., 0)])
def test_a_slider_shows_as_many_digits_as_its_step_needs(step, digits):
    assert as_widget('x', (0., 10., step)).readout_format == f'.{digits}f'

def test_a_function_that_fails_says_so_and_the_slider_goes_back():
    def picky(level=100):
        if level == 13: raise RuntimeError('<13> is bad luck')
        return ramp(level)
    p = play(picky, level=(0, 255))
    p.sliders['level'].value = 13 # by hand: a message under the image
    assert p.values == dict(level=100) and '&lt;13&gt; is bad luck' in p.said.value and 'role="alert"' in p.said.value
    assert (opened(p.display.value) == 100).all()
    p.sliders['level'].value = 14 # it goes on working
    assert (opened(p.display.value) == 14).all() and 'luck' not in p.said.value and 'role="status"' in p.said.value
    with pytest.raises(RuntimeError, match='bad luck'): p.set(level=13) # from code: an exception
    assert p.values == dict(level=14)
    p.set(level=15)
    assert p.image[0, 0] == 15
    with pytest.raises(RuntimeError): play(picky, start=dict(level=13), level=(0, 255))

def test_what_a_slider_cannot_hold_is_refused_and_nothing_moves():
    p = play(lambda level=100, mode='soft', dark=False: ramp(level), level=(0, 255), mode=['soft', 'hard'], dark=False)
    for wrong, text in ((dict(level=300), 'from 0 to 255'), (dict(level=2.5), 'whole number'), (dict(mode='loud'), 'soft, hard'),
                        (dict(levle=3), 'level'), (dict(dark='x'), 'True or False'), (dict(mode='hard', level=-1), 'from 0 to 255')):
        with pytest.raises(ValueError, match=text): p.set(**wrong)
        assert p.values == dict(level=100, mode='soft', dark=False)

def test_it_leaves_a_still_image_with_its_words():
    p = play(lambda level=100: (ramp(level), f'the level is {level}'), level=(0, 255))
    p.set(level=77)
    image, words = still(p)
    assert words == 'the level is 77' and (image[-20:] == 77).all() and image.shape[0] > 20 and (image[:-20] < 100).any()
    assert p._repr_mimebundle_()['application/vnd.jupyter.widget-view+json']['model_id'] == p.model_id
    assert p._ipython_display_ is None # ipywidgets 7 would show the sliders alone

def test_the_tidied_notebook_keeps_the_still_and_drops_the_slider():
    import sys
    from pathlib import Path
    sys.path.insert(0, str(Path(__file__).parents[1]/'tools'))
    import nbformat, run_lessons
    output = nbformat.v4.new_output('display_data', data=play(ramp, level=(0, 255))._repr_mimebundle_())
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('p', outputs=[output])])
    run_lessons.tidy(book)
    assert set(book.cells[0].outputs[0].data) == {'image/png', 'text/plain'}

@pytest.mark.parametrize('fails', [False, True])
def test_figures_are_closed_whether_drawing_works_or_not(fails):
    plt.close('all')
    mine = plt.figure()
    def draw(n=3, fails=False):
        ax = plt.subplots(figsize=(2, 1))[1]
        if fails: raise RuntimeError('on purpose')
        return ax.figure if n % 2 else ax
    p = play(draw, n=(1, 9), fails=False)
    p.sliders['n'].value = 4; p.sliders['fails'].value = fails
    assert plt.get_fignums() == [mine.number] and p.pixels.shape[2] == 3
    plt.close(mine)

def test_images_of_every_kind_become_the_same_pixels():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)*20
    rgb = np.repeat(grey[..., None], 3, 2)
    for o in (grey, rgb, Image.fromarray(grey), Image.fromarray(rgb), torch.tensor(grey[None]/255.), torch.tensor(rgb.transpose(2, 0, 1)/255.)):
        assert (play(lambda n=1: o, n=(0, 2)).pixels == rgb).all()
    for o in (None, 'text', np.zeros((3, 4)), np.zeros((3, 4, 2), np.uint8)):
        with pytest.raises(ValueError, match='is no image'): play(lambda n=1: o, n=(0, 2))

def test_a_photograph_is_sent_as_jpeg_and_a_drawing_as_png():
    assert play(lambda n=1: noise(3, 90, 90), n=(0, 2)).image.format == 'jpeg' and play(ramp).image.format == 'png'

def test_beside_enlarges_in_whole_squares():
    small = np.uint8([[0, 50], [100, 255]])
    row = beside(small, small, high=8)
    assert row.shape == (10, 10 + 6 + 10, 3) and (row[1:-1, 1:9, 0] == np.kron(small, np.ones((4, 4)))).all() and (row[:, 10:16] == 255).all()
    with pytest.raises(ValueError): beside(small, small, titles=['only one'])

def test_the_words_of_a_function_cannot_write_html():
    p = play(lambda n=1: (ramp(), '<script>x</script>'), n=(0, 2))
    assert '<script>' not in p.said.value

# ---- the lessons' sliders

def test_kernel_the_image_is_the_nine_numbers_slid_over_it():
    image = noise(3, 226, 226)
    p = play_kernel(image)
    nine = [1., -2., 0., 3., 1., -1., 0., -3., 2.]
    p.set(**{f'k{i//3}{i%3}': v for i, v in enumerate(nine)})
    x, k = image.double().sum(0).numpy(), np.array(nine).reshape(3, 3)/6
    seen = sum(k[i, j]*x[i:i+224, j:j+224] for i in range(3) for j in range(3)) # no convolution
    expected = 255*(.5 - seen/np.quantile(abs(seen), .995)/2).clip(0, 1)
    _, middle, right = (o[..., 0] for o in panels(p, 224, 224, 224))
    assert abs(right - expected).max() <= 1 and f'from {seen.min():.2f} to {seen.max():.2f}' in p.words
    assert abs(middle[37::75, 37::75] - 255*(.5 - k/abs(k).max()/2)).max() <= 1

def test_kernel_starts_with_the_lessons_and_bears_nine_zeros():
    p = play_kernel(noise(3, 30, 30))
    np.testing.assert_allclose(list(p.values.values()), [0, -5/3, 1, -5/3, -5/3, 1, 1, 1, 1], rtol=1e-6)
    assert 'a plain wall is grey' in p.words
    p.set(**dict.fromkeys(p.values, 0.))
    assert abs(panels(p, 224, 224, 224)[2].astype(int) - 128).max() <= 1
    p.set(k11=3.)
    assert 'brightness' in p.words

@pytest.mark.parametrize('values', [dict(), dict(pct_start=.8, div_factor=1, lr=slice(1e-6, 1e-3), log=True), dict(pct_start=0., lr=1e-2), dict(pct_start=1.)])
def test_schedule_the_curves_are_those_that_train(values):
    p = play_schedule(50)
    p.set(**values)
    v, (rates, mom) = p.values, panels(p, 420, 280)
    top = {'slice(None, 0.01, None)': [1e-3, 1e-3, 1e-2], 'slice(1e-06, 0.001, None)': [1e-6, 10**-4.5, 1e-3], '0.01': [1e-2]*3}[str(v['lr'])]
    lrs = np.array([one_cycle(50, lr, div_factor=v['div_factor'], pct_start=v['pct_start'])[0] for lr in top])
    up, low = (np.log10, np.log10(lrs.min())) if v['log'] else (np.asarray, 0. if lrs.min() < lrs.max()/2 else lrs.min())
    expected = 160 - (up(lrs[2]) - low)/(up(lrs.max()) - low)*150 # the row of each batch
    follow(rates, (0, 115, 70), expected) # the head, drawn last
    moms = one_cycle(50, 1., pct_start=v['pct_start'])[1]
    follow(mom, (0, 84, 166), 160 - (moms - moms.min())/(moms.max() - moms.min())*150)
    assert f"batch {lrs[2].argmax()} with" in p.words

def follow(image, colour, rows): # is a line of this colour within two pixels of each of the points?
    height, width = image.shape[:2]
    at = np.argwhere(np.abs(image[:height-25].astype(int) - colour).sum(2) < 90)
    for x, y in zip(np.linspace(56, width - 10, len(rows)), rows):
        assert np.abs(at - [y, x]).max(1).min() <= 2, (x, y)

def test_augment_shows_what_change_makes():
    x = noise(3, 60, 90)
    p = play_augment(x, 64)
    p.set(degrees=20, zoom=1.5, row=0, m0=.2, m3=-.3, brightness=.7, contrast=1.5, flip=True, padding_mode='zeros')
    new = change(x, 64, 'zeros', warp=(.2, 0, 0, -.3), degrees=20, zoom=(1.5, 0, .5), brightness=.7, contrast=1.5, flip=True)
    assert (panels(p, 96, 64)[1] == (new*255).round().byte().permute(1, 2, 0).numpy()).all()

def test_augment_the_red_line_is_the_edge_of_what_is_read():
    p = play_augment(torch.zeros(3, 65, 65), 65)
    p.set(zoom=2.) # the middle half: from a quarter to three quarters
    red = panels(p, 65, 65)[0][..., 0] == 255
    rows, cols = np.nonzero(red)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (15, 49, 15, 49) and not red[20:45, 20:45].any() # 16 and 48, a pixel more on each side
    assert '0% of the new image is padding' in p.words
    p.set(zoom=1., degrees=45) # an octagon with the side 2*(2**.5-1) is common to both squares
    said = float(p.words.split(';')[1].split('%')[0])
    assert abs(said - 100*(1 - 2*(2**.5 - 1))) < 2

class Stripes(nn.Module): # channel k is high in one cell only: number k
    def forward(self, x): return torch.eye(12).view(1, 12, 3, 4)*torch.arange(1., 13).view(1, 12, 1, 1)

def test_channels_each_is_shown_with_its_own_peak():
    model = nn.Sequential(Stripes(), nn.Flatten())
    p = play_channels(model, '0', noise(1, 3, 96, 128), torch.zeros(3, 96, 128), most=4)
    p.set(strongest_first=False)
    wide = round(224*4/3)
    for k in range(12):
        p.set(channel=k)
        image, cells, _ = (o[..., 0] for o in panels(p, wide, wide, wide))
        cells = cells[37::75, 37::75]
        assert cells.shape == (3, 4) and cells.argmax() == k and (cells > 0).sum() == 1
        red = image > 128
        assert abs(np.nonzero(red)[0].mean()/75 - k//4 - .5) < .1 and abs(np.nonzero(red)[1].mean()/75 - k%4 - .5) < .1
        assert f'Channel {k} of 12: from 0.00 to {k+1:.2f}, highest in row {k//4+1} of 3, column {k%4+1} of 4.' in p.words
    p.set(strongest_first=True, channel=0)
    assert 'Channel 11 of 12' in p.words
    most = panels(p, wide, wide, wide)[2][37::75, 37::75, 0] # the four strongest peak in the last row
    assert (most.ravel() == [0]*8 + [255]*4).all()

def test_channels_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten()).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    play_channels(model, model[1], noise(1, 3, 9, 9), noise(3, 9, 9))
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules()) and all(q.grad is None for q in model.parameters())
    with pytest.raises(ValueError, match='nearest names'): play_channels(model, 'conv', noise(1, 3, 9, 9), noise(3, 9, 9))

class OneLearner:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 32, stride=32)), nn.Flatten())
    class data: device = torch.device('cpu')

def test_sizes_the_grid_is_the_bodys():
    torch.manual_seed(0)
    p = play_sizes(OneLearner, noise(3, 96, 96), (32, 128, 16))
    for size in (32, 64, 96, 112):
        p.set(size=size)
        n = size//32
        assert f'{size} x {size} pixels: {n} x {n} = {n*n} cells. The body puts out {4*n*n/1e6:.2f} million numbers' in p.words
    lines = (panels(p, 264, 264)[0] == 255).all((1, 2)) # white rows: between the cells
    assert np.nonzero(lines)[0].tolist() == [88, 176]

def test_a_value_may_be_set_by_its_name():
    p = play(lambda rate=.1: np.full((2, 2), int(100*rate), np.uint8), rate=[('slow', .1), ('fast', .5)])
    p.set(rate='fast')
    assert p.values == dict(rate=.5) and (p.pixels == 50).all()
