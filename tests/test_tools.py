"""The project's own tools: what is counted."""
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import counts

def test_a_notebook_is_counted(tmp_path):
    import nbformat
    new = nbformat.v4
    shown = new.new_output('stream', text='3')
    nb = new.new_notebook(cells=[
        new.new_markdown_cell("# One two\n\n`code` and $x^2$ by chance"),                   # 5 words, 1 private
        new.new_code_cell('#| hide\nimport os'),
        new.new_code_cell('#| export\n\na = 1\nb = 2'), new.new_code_cell('#| export\nc = 3', outputs=[shown]),
        new.new_code_cell('a + b'), new.new_code_cell('#| export\nd = 4')])
    nbformat.write(nb, tmp_path/'00_x.ipynb')
    c = counts.count_notebook(tmp_path/'00_x.ipynb')
    assert (c.words, c.code, c.exported, c.stretch, c.private) == (5, 5, 4, 2, 1)
    assert c.share == .8 and c.minutes == 5/200 + 5/10

def test_copies_are_found_once_each():
    six = '\n'.join(f'x{i} = {i}' for i in range(8))
    found = counts.copies({'a.py': six, 'b.py': 'import os\n\n# a comment\n' + six + '\ny = 1', 'c.py': 'z = 1\nx0 = 0'})
    assert found == ['a.py:1 = b.py:4']

def test_the_module_is_counted(tmp_path, monkeypatch):
    source = '__all__ = ["f", "g"]\nclass _A:\n    pass\nclass B(_A):\n    pass\ndef f():\n    return """<p>\n\n\n\n</p>"""\n' + '#'*101 + '\n'
    (tmp_path/'m.py').write_text(source)
    monkeypatch.setattr(counts, 'ROOT', tmp_path)
    c = counts.count_module([tmp_path/'m.py'])
    assert (c.files, c.exports, c.functions, c.wide, c.mixins_used_once, c.markup_in_strings) == (1, 2, [6], ['m.py:12'], ['_A'], ['m.py:7'])
