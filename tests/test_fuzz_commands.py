"""A small part of the trial with random command lines; `python -m tests.fuzz.commands` is the large one."""
from fuzz import commands

def test_random_command_lines_cost_one_line_and_touch_nothing():
    counts, bad = commands.main(n=80, seed=1, processes=1)
    assert not bad and sum(counts.values()) == 80 and counts['done'] > 5 and counts['one line'] > 5
