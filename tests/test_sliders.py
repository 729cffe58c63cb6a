"""The sliders of the lessons: what is on show is what the function gives, a still image is left, a mistake does no harm."""
import base64, io, sys
from pathlib import Path
import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from torch import nn
from petcam.augment import change, play_augment
from petcam.hooks import play_channels
from petcam.kernels import play_kernel
from petcam.onecycle import one_cycle, play_schedule
from petcam.resize import play_sizes
from petcam.widgets.sliders import captioned, play, show_row

def opened(file): return np.asarray(Image.open(io.BytesIO(file)).convert('RGB'))

def ramp(level=100, dark=False): # a flat grey
    return show_row(np.full((20, 30), 0 if dark else level, np.uint8))

def middle(pixels): return pixels[pixels.shape[0]//2, pixels.shape[1]//2].tolist()

def noise(*shape): return torch.rand(*shape, generator=torch.Generator().manual_seed(0))

def panel(player, i): # image number i of the figure, as it is drawn: (h,w,3) uint8
    a = np.asarray(player.figure.axes[i].images[0].get_array())
    if a.dtype.kind == 'f': a = (255*a).round().astype(np.uint8)
    return np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a

def still(player): # (the image as a stranger's page shows it, its words)
    bundle = player._repr_mimebundle_()
    kind, = [k for k in bundle if k.startswith('image/')]
    return opened(base64.b64decode(bundle[kind])), bundle['text/plain']

# ---- play itself

def test_what_is_on_show_is_what_the_function_gives():
    p = play(ramp, level=(0, 255), dark=False)
    for values in (dict(level=7), dict(dark=True), dict(level=200, dark=False)):
        p.set(**values)
        level = 0 if p.values['dark'] else p.values['level']
        assert (opened(p.display.value) == p.pixels).all() and p.display.format == 'png'
        assert middle(p.pixels) == [level]*3 and (panel(p, 0) == level).all()
    assert p.values == dict(level=200, dark=False) and p.words == 'level 200, dark False' and p.words in p.said.value

def test_a_hand_on_the_slider_draws_once_for_each_change():
    drawn = []
    def draw(level=100):
        drawn.append(level)
        return ramp(level)
    p = play(draw, level=(0, 255))
    for v in (5, 5, 6): p.sliders['level'].value = v
    assert drawn == [100, 5, 6]

def test_nothing_is_cleared_and_the_image_is_told_once_a_step():
    p = play(ramp, level=(0, 255))
    told, children = [], p.children
    p.display.observe(told.append, 'value')
    p.sliders['level'].value = 5
    p.set(level=6)
    assert len(told) == 2 and all(change['new'] for change in told)
    assert p.children is children and not [o for o in children if isinstance(o, W.Output)]

def test_sliders_start_where_the_function_does_or_where_one_says():
    assert play(ramp, level=(0, 255)).values == dict(level=100)
    assert play(ramp, start=dict(level=3), level=(0, 255)).values == dict(level=3)
    assert play(lambda v: ramp(), v=(0., 4.)).values == dict(v=2.) and play(lambda v: ramp(), v=[('one', 1), ('two', 2)]).values == dict(v=1)

@pytest.mark.parametrize('form', [(0, 50), ['a', 'b'], True])
def test_a_start_that_the_slider_cannot_hold_is_refused_by_name(form):
    with pytest.raises(ValueError, match='level is 100; expected'): play(ramp, level=form)

@pytest.mark.parametrize('form,kind', [((0, 9), W.IntSlider), ((0, 9, 3), W.IntSlider), ((0, 1.), W.FloatSlider), ((0, 1, .1), W.FloatSlider),
                                       (['a', 'b'], W.Dropdown), (True, W.Checkbox), (W.BoundedIntText(3), W.BoundedIntText),
                                       (W.SelectionSlider(options=['a', 'b']), W.SelectionSlider)])
def test_each_abbreviation_is_a_widget_with_a_label(form, kind):
    made = play(lambda some_name: ramp(), some_name=form).sliders['some_name']
    assert type(made) is kind and made.description == 'some name'

def test_a_widget_of_ones_own_keeps_its_label_and_its_width():
    form = W.BoundedIntText(3, description='mine', layout=W.Layout(width='70px'))
    assert play(lambda n: ramp(), n=form).sliders['n'] is form and form.description == 'mine' and form.layout.width == '70px'

@pytest.mark.parametrize('form', [(1,), (1, 2, 3, 4), (5, 1), (0, 1, 0), (0., 1., -.1), ('a', 'b'), [], None])
def test_a_form_that_is_none_is_refused_by_name(form):
    with pytest.raises(ValueError, match='level'): play(lambda level: ramp(), level=form)

@pytest.mark.parametrize('step,digits', [(.1, 1), (.25, 2), (.0005, 4), (2.5, 1), (1/3, 2), (1., 0)])
def test_a_slider_shows_as_many_digits_as_its_step_needs(step, digits):
    assert play(lambda x: ramp(), x=(0., 10., step)).sliders['x'].readout_format == f'.{digits}f'

def test_a_function_that_fails_says_so_and_the_slider_goes_back():
    def picky(level=100):
        if level == 13: raise RuntimeError('<13> is bad luck')
        return ramp(level)
    p = play(picky, level=(0, 255))
    p.sliders['level'].value = 13 # by hand: a message under the image
    assert p.values == dict(level=100) and '&lt;13&gt; is bad luck' in p.said.value and 'role="alert"' in p.said.value
    assert middle(opened(p.display.value)) == [100]*3
    p.sliders['level'].value = 14 # it goes on working
    assert middle(opened(p.display.value)) == [14]*3 and 'luck' not in p.said.value and 'role="status"' in p.said.value
    with pytest.raises(RuntimeError, match='bad luck'): p.set(level=13) # from code: an exception
    assert p.values == dict(level=14)
    p.set(level=15)
    assert (panel(p, 0) == 15).all()
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
    high = len(p.pixels)
    assert words == 'the level is 77' and (image[-high:] == p.pixels).all() and middle(image[-high:]) == [77]*3
    assert len(image) > high and (image[:-high] < 100).any()
    assert p._repr_mimebundle_()['application/vnd.jupyter.widget-view+json']['model_id'] == p.model_id
    assert p._ipython_display_ is None # ipywidgets 7 would show the sliders alone

def test_the_tidied_notebook_keeps_the_still_and_drops_the_slider():
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
        figure = plt.subplots(figsize=(2, 1))[0]
        if fails: raise RuntimeError('on purpose')
        return figure
    p = play(draw, n=(1, 9), fails=False)
    p.sliders['n'].value = 4
    p.sliders['fails'].value = fails
    assert plt.get_fignums() == [mine.number] and p.pixels.shape == (100, 200, 3)
    plt.close(mine)

def test_a_figure_has_one_size_whatever_the_settings_say():
    with plt.rc_context({'figure.dpi': 60}):
        assert play(lambda n=1: Figure((3, 2)), n=(0, 2)).pixels.shape == (200, 300, 3)
        assert play(ramp).pixels.shape == play(lambda: ramp()).pixels.shape

def test_images_of_every_kind_become_the_same_pixels():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)*20
    rgb = np.repeat(grey[..., None], 3, 2)
    like = play(lambda n=1: show_row(rgb), n=(0, 2)).pixels
    for o in (grey, rgb, grey[..., None], Image.fromarray(grey), Image.fromarray(rgb), torch.tensor(grey[None]/255.),
              torch.tensor(rgb.transpose(2, 0, 1)/255.), torch.tensor(rgb.transpose(2, 0, 1)/255., requires_grad=True)):
        assert abs(play(lambda n=1: show_row(o), n=(0, 2)).pixels.astype(int) - like).max() <= 1
    for o in (None, 'text', np.zeros((2, 3, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match='is no image'): show_row(o)
    with pytest.raises(TypeError, match='(3, 4, 2)'): show_row(np.zeros((3, 4, 2), np.uint8)) # matplotlib's own words

@pytest.mark.parametrize('drawn', [None, 'text', np.zeros((3, 4)), Image.new('L', (2, 2))])
def test_what_is_no_figure_is_refused_and_the_way_out_is_named(drawn):
    with pytest.raises(TypeError, match=f'draw gave a {type(drawn).__name__}; expected a matplotlib Figure.*show_row'):
        play(lambda n=1: drawn, n=(0, 2))

def test_a_photograph_is_sent_as_jpeg_and_a_drawing_as_png():
    assert play(lambda n=1: show_row(noise(3, 90, 90)), n=(0, 2)).display.format == 'jpeg' and play(ramp).display.format == 'png'

def test_a_row_has_one_height_and_enlarges_cells_to_squares():
    small = np.uint8([[0, 50], [100, 255]])
    p = play(lambda: show_row(small, np.zeros((20, 10, 3), np.uint8), height=.8, titles=['four cells', 'upright']))
    a, b = (ax.get_window_extent() for ax in p.figure.axes)
    assert (a.width, a.height, b.width, b.height) == pytest.approx((80, 80, 40, 80)) and b.x0 - a.x1 == pytest.approx(6)
    x, y = round(a.x0), len(p.pixels) - round(a.y1)
    cells = p.pixels[y:y+80, x:x+80, 0]
    assert all((cells[40*i+3:40*i+37, 40*j+3:40*j+37] == small[i, j]).all() for i in (0, 1) for j in (0, 1))
    assert [ax.get_title() for ax in p.figure.axes] == ['four cells', 'upright']
    with pytest.raises(ValueError): show_row(small, small, titles=['only one'])

def test_words_above_an_image_leave_it_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    above = captioned(pixels, 'a line', 'another')
    assert above.shape == (77, 60, 3) and (above[37:] == pixels).all()
    assert (above[:20] < 100).any() and (above[20:37] < 100).any() and (captioned(pixels)[3:] == pixels).all()

def test_the_words_of_a_function_cannot_write_html():
    p = play(lambda n=1: (ramp(), '<script>x</script>'), n=(0, 2))
    assert '<script>' not in p.said.value

def test_a_value_may_be_set_by_its_name():
    p = play(lambda rate=.1: ramp(int(100*rate)), rate=[('slow', .1), ('fast', .5)])
    p.set(rate='fast')
    assert p.values == dict(rate=.5) and (panel(p, 0) == 50).all()

# ---- the lessons' sliders

def test_kernel_the_image_is_the_nine_numbers_slid_over_it():
    image = noise(3, 226, 226)
    p = play_kernel(image)
    nine = [1., -2., 0., 3., 1., -1., 0., -3., 2.]
    p.set(**{f'k{i//3}{i%3}': v for i, v in enumerate(nine)})
    x, k = image.double().sum(0).numpy(), np.array(nine).reshape(3, 3)/6
    seen = sum(k[i, j]*x[i:i+224, j:j+224] for i in range(3) for j in range(3)) # no convolution
    expected = 255*(.5 - seen/np.quantile(abs(seen), .995)/2).clip(0, 1)
    assert abs(panel(p, 2)[..., 0] - expected).max() <= 1 and f'from {seen.min():.2f} to {seen.max():.2f}' in p.words
    assert abs(panel(p, 1)[..., 0] - 255*(.5 - k/abs(k).max()/2)).max() <= 1
    assert abs(panel(p, 0) - 255*image.permute(1, 2, 0).numpy()).max() <= 1

def test_kernel_starts_with_the_lessons_and_bears_nine_zeros():
    p = play_kernel(noise(3, 30, 30))
    np.testing.assert_allclose(list(p.values.values()), [0, -5/3, 1, -5/3, -5/3, 1, 1, 1, 1], rtol=1e-6)
    assert 'a plain wall is grey' in p.words
    p.set(**dict.fromkeys(p.values, 0.))
    assert abs(panel(p, 2).astype(int) - 128).max() <= 1
    p.set(k11=3.)
    assert 'brightness' in p.words

@pytest.mark.parametrize('values', [dict(), dict(pct_start=.8, div_factor=1, lr=slice(1e-6, 1e-3), log=True), dict(pct_start=0., lr=1e-2), dict(pct_start=1.)])
def test_schedule_the_curves_are_those_that_train(values):
    p = play_schedule(50)
    p.set(**values)
    v, (rates, momentum) = p.values, p.figure.axes
    top = {'slice(None, 0.01, None)': [1e-3, 1e-3, 1e-2], 'slice(1e-06, 0.001, None)': [1e-6, 10**-4.5, 1e-3], '0.01': [1e-2]*3}[str(v['lr'])]
    lrs = [one_cycle(50, lr, div_factor=v['div_factor'], pct_start=v['pct_start'])[0] for lr in top]
    assert len(rates.lines) == 3 and rates.get_yscale() == ('log' if v['log'] else 'linear')
    for line, expected in zip(rates.lines, lrs): np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_allclose(momentum.lines[0].get_ydata(), one_cycle(50, 1., pct_start=v['pct_start'])[1])
    assert f"batch {lrs[2].argmax()} with" in p.words

def test_augment_shows_what_change_makes():
    x = noise(3, 60, 90)
    p = play_augment(x, 64)
    p.set(degrees=20, zoom=1.5, row=0, m0=.2, m3=-.3, brightness=.7, contrast=1.5, flip=True, padding_mode='zeros')
    new = change(x, 64, 'zeros', warp=(.2, 0, 0, -.3), degrees=20, zoom=(1.5, 0, .5), brightness=.7, contrast=1.5, flip=True)
    assert (panel(p, 1) == (new.clamp(0, 1)*255).round().byte().permute(1, 2, 0).numpy()).all()

def test_augment_the_red_line_is_the_edge_of_what_is_read():
    p = play_augment(torch.zeros(3, 65, 65), 65)
    p.set(zoom=2.) # the middle half: from a quarter to three quarters
    line, = p.figure.axes[0].lines
    x, y = np.array(line.get_data())
    assert to_rgb(line.get_color()) == (1, 0, 0) and (x.min(), x.max(), y.min(), y.max()) == pytest.approx((16, 48, 16, 48), abs=1)
    assert np.minimum(np.minimum(abs(x - x.min()), abs(x - x.max())), np.minimum(abs(y - y.min()), abs(y - y.max()))).max() < 1e-3 # all on the edge
    assert p.figure.axes[0].get_xlim() == (-.5, 64.5) and p.figure.axes[0].get_ylim() == (64.5, -.5)
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
    for k in range(12):
        p.set(channel=k)
        image, cells = panel(p, 0)[..., 0], panel(p, 1)[..., 0]
        assert cells.shape == (3, 4) and cells.argmax() == k and (cells > 0).sum() == 1
        rows, cols = np.nonzero(image > 128) # the red box around the cell
        assert abs(rows.mean()/32 - k//4 - .5) < .1 and abs(cols.mean()/32 - k%4 - .5) < .1
        assert f'Channel {k} of 12: from 0.00 to {k+1:.2f}, highest in row {k//4+1} of 3, column {k%4+1} of 4.' in p.words
    p.set(strongest_first=True, channel=0)
    assert 'Channel 11 of 12' in p.words
    assert (panel(p, 2)[..., 0].ravel() == [0]*8 + [255]*4).all() # the four strongest are highest in the last row

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
        assert f'{size} x {size} pixels: {n} x {n} = {n*n} ' in p.words and f'{4*n*n/1e6:.2f} million numbers' in p.words
        assert panel(p, 1).shape == (n, n, 3)
    lines = p.figure.axes[0].lines # between the locations: two from left to right, two from top to bottom
    assert [l.get_ydata()[0] for l in lines[:2]] == [l.get_xdata()[0] for l in lines[2:]] == pytest.approx([112/3 - .5, 224/3 - .5])
