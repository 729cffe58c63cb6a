"""Augmentation equals fastai v1's, case by case."""
import math
import pytest
import torch
from petcam.augment import (affine_matrix, change, get_transforms, homography, lighting,
                            perspective, play_augment, resized)

def formula(h, w):
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(h), torch.arange(w), indexing='ij')
    return ((3*i + 5*j + 7*c) % 17)/17*.9 + .05

NAMES = dict(warp='warp', deg='degrees', zoom='zoom', bright='brightness', contr='contrast',
             flip='flip', crop='crop')

def test_all_pipeline_cases(golden):
    for name, case in golden['transforms']['pipeline_cases'].items():
        p = case['params']
        how = {ours: p[theirs] for theirs, ours in NAMES.items() if theirs in p}
        out = change(formula(p['h'], p['w']), p['size'], p['pad'], **how)
        means = torch.tensor(case['mean_per_channel'])
        torch.testing.assert_close(out[0], torch.tensor(case['channel0']), atol=2e-5, rtol=0,
                                   msg=lambda m: f'{name}: {m}')
        torch.testing.assert_close(out.mean((1, 2)), means, atol=2e-5, rtol=0)

def test_sizes_and_crops(golden):
    for row in golden['transforms']['resize_and_center_crop']:
        h, w = resized(row['h'], row['w'], row['size'])
        assert (h, w) == (row['resized_h'], row['resized_w'])
        crop = int((h - row['size'] + 1)*.5), int((w - row['size'] + 1)*.5)
        assert crop == (row['center_crop_row'], row['center_crop_col'])

def test_lighting_table(golden):
    x = torch.tensor(golden['transforms']['lighting']['x'])
    for case in golden['transforms']['lighting']['cases']:
        out = lighting(x, case['brightness_change'] or .5, case['contrast_scale'] or 1.)
        torch.testing.assert_close(out, torch.tensor(case['y']), atol=1e-6, rtol=0)

def test_warp_table(golden):
    for case in golden['transforms']['symmetric_warp']:
        H = homography(*case['m'])
        eight = torch.tensor(case['coeffs8'])
        torch.testing.assert_close(H.flatten()[:8], eight, atol=1e-5, rtol=0)
        moved = perspective(H, *torch.tensor(case['query_xy']).T)
        torch.testing.assert_close(moved, torch.tensor(case['mapped_xy']), atol=1e-5, rtol=0)

def test_affine_table(golden):
    for case in golden['transforms']['affine']:
        M = affine_matrix(*(case[k] for k in ('h', 'w', 'degrees', 'zoom', 'row_pct', 'col_pct')))
        expected = torch.tensor(case['matrix_used_on_xy_after_aspect'])[:2]
        torch.testing.assert_close(M, expected, atol=1e-6, rtol=0)

def test_a_positive_angle_turns_counter_clockwise():
    x = torch.zeros(3, 101, 101)
    x[:, 48:53, 78:83] = 1
    out = change(x, 101, 'zeros', degrees=20)[0]
    rows, cols = torch.meshgrid(torch.arange(101.), torch.arange(101.), indexing='ij')
    centre = (out*rows).sum()/out.sum(), (out*cols).sum()/out.sum()
    assert centre == pytest.approx((39.7, 78.2), abs=.1)          # measured with fastai v1

def test_draws_are_spread_like_fastais(golden):
    torch.manual_seed(0)
    tfms = get_transforms(max_rotate=20, max_zoom=1.3, max_lighting=.4, max_warp=.4,
                          p_affine=1., p_lighting=1.)[0]
    draws = [tfms.draw() for _ in range(20000)]
    ours = {'rotate.degrees': [d['degrees'] for d in draws],
            'zoom.scale': [d['zoom'][0] for d in draws],
            'zoom.row_pct': [d['zoom'][1] for d in draws],
            'symmetric_warp.magnitude': [m for d in draws for m in d['warp']],
            'brightness.change': [d['brightness'] for d in draws],
            'contrast.scale': [d['contrast'] for d in draws],
            'flip_lr.do_run': [float(d['flip']) for d in draws],
            'crop_pad.col_pct': [d['crop'][1] for d in draws]}
    for name, values in ours.items():
        theirs = golden['transforms']['sampled_parameter_statistics_20000_draws'][name]
        values = torch.tensor(values)
        assert abs(values.mean() - theirs['mean']) < 5*theirs['std']/math.sqrt(20000), name
        assert abs(values.std()/theirs['std'] - 1) < .02, name
        assert theirs['min'] - .01*theirs['std'] <= values.min(), name

def test_defaults_run_three_times_in_four():
    torch.manual_seed(0)
    draws = [get_transforms()[0].draw() for _ in range(4000)]
    assert abs(sum(d['degrees'] != 0 for d in draws)/4000 - .75) < .03
    assert abs(sum(d['contrast'] != 1 for d in draws)/4000 - .75) < .03
    assert max(abs(d['degrees']) for d in draws) <= 10

# --- the sliders ---

def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))

def test_the_sliders_show_what_change_makes():
    x = noise(3, 60, 90)
    p = play_augment(x, 64)
    p.set(degrees=20, zoom=1.5, row=0, m0=.2, m3=-.3, brightness=.7, contrast=1.5, flip=True,
          padding_mode='zeros')
    new = change(x, 64, 'zeros', warp=(.2, 0, 0, -.3), degrees=20, zoom=(1.5, 0, .5),
                 brightness=.7, contrast=1.5, flip=True)
    shown = torch.tensor(p.figure.axes[1].images[0].get_array())
    torch.testing.assert_close(shown, new.permute(1, 2, 0), atol=1e-6, rtol=0)

def test_the_red_line_is_the_edge_of_what_is_read():
    p = play_augment(torch.zeros(3, 65, 65), 65)
    p.set(zoom=2.) # the middle half: from a quarter to three quarters
    line, = p.figure.axes[0].lines
    assert line.get_color() == (1, 0, 0, 1)
    xs, ys = (torch.as_tensor(o) for o in line.get_data())
    on_the_square = (((xs - 32).abs() - 16).abs() < 1e-3) | (((ys - 32).abs() - 16).abs() < 1e-3)
    assert on_the_square.all()
    for o in xs, ys: assert abs(o.min() - 16) < 1e-3 and abs(o.max() - 48) < 1e-3
    rows, cols = ((p.pixels[..., 0] > 200) & (p.pixels[..., 1] < 60)).nonzero()
    box = p.figure.axes[0].get_window_extent() # and on the screen: a quarter in from each side
    assert abs(cols.min() - (box.x0 + box.width*16.5/65)) < 4
    assert abs(cols.max() - (box.x0 + box.width*48.5/65)) < 4
    assert '0% of the new image is padding' in p.words
    p.set(zoom=1., degrees=45) # an octagon with the side 2*(2**.5-1) is common to both squares
    said = float(p.words.split(';')[1].split('%')[0])
    assert abs(said - 100*(1 - 2*(2**.5 - 1))) < 2
