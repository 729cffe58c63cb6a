"""Damaged checkpoints at three doors; large: `python -m tests.fuzz.checkpoints --n 400`."""
from fuzz import checkpoints

def test_no_damaged_checkpoint_is_a_traceback_or_loads_in_part_or_in_silence():
    counts, words = checkpoints.trial(24, seed=5)
    bad = {k: said for k, said in words.items() if k[1] in checkpoints.BAD}
    assert not bad, bad
    assert all(counts[door, 'refused'] >= 8 for door in checkpoints.DOORS)
