"""Augmentation equals fastai v1's, case by case."""
import math
import pytest
import torch
from petcam.augment import affine_matrix, change, get_transforms, homography, lighting, perspective, resized

def formula(h, w):
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(h), torch.arange(w), indexing='ij')
    return ((3*i + 5*j + 7*c) % 17)/17*.9 + .05

NAMES = dict(warp='warp', deg='degrees', zoom='zoom', bright='brightness', contr='contrast', flip='flip', crop='crop')

def test_all_pipeline_cases(golden):
    for name, case in golden['transforms']['pipeline_cases'].items():
        p = case['params']
        out = change(formula(p['h'], p['w']), p['size'], p['pad'], **{ours: p[theirs] for theirs, ours in NAMES.items() if theirs in p})
        torch.testing.assert_close(out[0], torch.tensor(case['channel0']), atol=2e-5, rtol=0, msg=lambda m: f'{name}: {m}')
        torch.testing.assert_close(out.mean((1,2)), torch.tensor(case['mean_per_channel']), atol=2e-5, rtol=0)

def test_sizes_and_crops(golden):
    for row in golden['transforms']['resize_and_center_crop']:
        h, w = resized(row['h'], row['w'], row['size'])
        assert (h, w) == (row['resized_h'], row['resized_w'])
        assert (int((h-row['size']+1)*.5), int((w-row['size']+1)*.5)) == (row['center_crop_row'], row['center_crop_col'])

def test_lighting_table(golden):
    x = torch.tensor(golden['transforms']['lighting']['x'])
    for case in golden['transforms']['lighting']['cases']:
        out = lighting(x, case['brightness_change'] or .5, case['contrast_scale'] or 1.)
        torch.testing.assert_close(out, torch.tensor(case['y']), atol=1e-6, rtol=0)

def test_warp_table(golden):
    for case in golden['transforms']['symmetric_warp']:
        H = homography(*case['m'])
        torch.testing.assert_close(H.flatten()[:8], torch.tensor(case['coeffs8']), atol=1e-5, rtol=0)
        torch.testing.assert_close(perspective(torch.tensor(case['query_xy'])[None], H)[0], torch.tensor(case['mapped_xy']), atol=1e-5, rtol=0)

def test_affine_table(golden):
    for case in golden['transforms']['affine']:
        M = affine_matrix(case['h'], case['w'], case['degrees'], case['zoom'], case['row_pct'], case['col_pct'])
        torch.testing.assert_close(M, torch.tensor(case['matrix_used_on_xy_after_aspect'])[:2], atol=1e-6, rtol=0)

def test_a_positive_angle_turns_counter_clockwise():
    x = torch.zeros(3, 101, 101); x[:, 48:53, 78:83] = 1
    out = change(x, 101, 'zeros', degrees=20)[0]
    rows, cols = torch.meshgrid(torch.arange(101.), torch.arange(101.), indexing='ij')
    centre = (out*rows).sum()/out.sum(), (out*cols).sum()/out.sum()
    assert centre == pytest.approx((39.7, 78.2), abs=.1)          # measured with fastai v1

def test_draws_are_spread_like_fastais(golden):
    torch.manual_seed(0)
    tfms = get_transforms(max_rotate=20, max_zoom=1.3, max_lighting=.4, max_warp=.4, p_affine=1., p_lighting=1.)[0]
    draws = [tfms.draw() for _ in range(20000)]
    ours = {'rotate.degrees': [d['degrees'] for d in draws], 'zoom.scale': [d['zoom'][0] for d in draws],
            'zoom.row_pct': [d['zoom'][1] for d in draws], 'symmetric_warp.magnitude': [m for d in draws for m in d['warp']],
            'brightness.change': [d['brightness'] for d in draws], 'contrast.scale': [d['contrast'] for d in draws],
            'flip_lr.do_run': [float(d['flip']) for d in draws], 'crop_pad.col_pct': [d['crop'][1] for d in draws]}
    for name, values in ours.items():
        theirs, values = golden['transforms']['sampled_parameter_statistics_20000_draws'][name], torch.tensor(values)
        assert abs(values.mean()-theirs['mean']) < 5*theirs['std']/math.sqrt(20000), name
        assert abs(values.std()/theirs['std']-1) < .02 and theirs['min'] - .01*theirs['std'] <= values.min(), name

def test_defaults_run_three_times_in_four():
    torch.manual_seed(0)
    draws = [get_transforms()[0].draw() for _ in range(4000)]
    assert abs(sum(d['degrees'] != 0 for d in draws)/4000 - .75) < .03
    assert abs(sum(d['contrast'] != 1 for d in draws)/4000 - .75) < .03
    assert max(abs(d['degrees']) for d in draws) <= 10
