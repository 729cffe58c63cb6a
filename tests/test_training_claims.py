"""What lessons 03 and 04 say about figures of others is what those figures say."""
import json
import re
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]

def prose(name):
    "The text of a lesson's markdown cells"
    cells = json.loads((ROOT/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
    return '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')

def table_of_original(name):
    "The rows of the tables of 2019 that a lesson shows: (loss, loss, error, seconds)"
    row = re.compile(r'\| (\d\.\d{6}) \| (\d\.\d{6}) \| (\d\.\d{6}) \| (\d\d):(\d\d) \|')
    return [(*map(float, r[:3]), 60*int(r[3]) + int(r[4])) for r in row.findall(prose(name))]

def test_finishing_large_helped_one_of_three_real_seeds():
    results = (ROOT/'docs'/'results.md').read_text(encoding='utf-8')
    section = results.split('MobileNetV2\n')[1].split('\n#')[0]
    seeds = re.findall(r'^\| \d \| [\d.]+\s% \| ([\d.]+)\s% \| ([\d.]+)\s% \|$', section, re.M)
    assert [float(large) > float(small) for small, large in seeds] == [True, True, False]
    for small, large in seeds:
        assert f'from {small} to {large} %' in prose('04_resize')

def test_the_loss_of_2019_rises_where_its_error_falls():
    *_, (_, loss1, error1, _), (_, loss2, error2, _) = table_of_original('03_onecycle')[:3]
    assert loss2 > loss1 and error2 < error1
    (_, loss1, error1, _), (_, loss2, error2, _) = table_of_original('04_resize')
    assert loss2 > loss1 and error2 < error1

def test_seconds_of_an_epoch_are_those_of_the_tables():
    from petcam.exercises.train import check_fixed_seconds
    small, large = table_of_original('03_onecycle')[3][3], table_of_original('04_resize')[0][3]
    assert (small, large) == (129, 207)
    check_fixed_seconds(small - (large - small)/((352/224)**2 - 1))
    assert check_fixed_seconds.solved

def test_a_batch_of_four_gains_nothing_from_bn_final():
    row = re.compile(r'^\| (\d+) \| ([\d.]+) ± [\d.]+ \| ([\d.]+) ± [\d.]+ \| (-?[\d.]+) ± ([\d.]+) \|$', re.M)
    rows = {int(r[0]): tuple(map(float, r[1:])) for r in row.findall(prose('04_resize'))}
    assert set(rows) == {4, 8, 16, 64}
    for with_it, without, saved, error in rows.values():
        assert without - with_it == pytest.approx(saved, abs=.11) # rounded
    assert rows[4][2] < 2*rows[4][3] and all(rows[b][2] > 3*rows[b][3] for b in (8, 16, 64))
