"""A small part of the trial with damaged images; `python -m tests.fuzz.images` is the large one."""
from fuzz import images

def test_damaged_images_are_read_or_named():
    counts, faults, slowest, grown = images.main(n=150, seed=1)
    assert not faults and set(counts) == {'read', 'refused'}
    assert slowest < 10 and grown < 1500 # MB
