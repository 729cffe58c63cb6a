"The fuzz of the API, small; large: python -m tests.fuzz.api --n 4000"
import math
import torch
from fuzz import api

def test_no_call_is_odd_and_none_changes_anything():
    counts, words = api.main(n=220, seed=0)
    assert not counts['changed'] and not counts['odd'], words
    assert counts['raw'] <= 12 and counts['refused'] > 40

def test_the_fuzz_finds_what_it_looks_for(tmp_path):
    world, rng = api.World(tmp_path), api.random.Random(0)
    def spoils(model): model.train(); return 1
    def draws(n): torch.rand(1); return 1
    def accepts(alpha): return 1
    def is_nan(n): return math.nan
    def breaks(most): return [][7]
    def says(most): raise ValueError('named, but not by petcam')
    ends = {f.__name__: {api.one_call(f'x.{f.__name__}', f, world, rng)[0] for _ in range(12)} for f in (spoils, draws, accepts, is_nan, breaks, says)}
    assert 'changed' in ends['spoils'] and ends['draws'] == {'changed'} and ends['accepts'] == {'odd', 'fine'}
    assert 'odd' in ends['is_nan'] and ends['breaks'] == ends['says'] == {'raw'}
