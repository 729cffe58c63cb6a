"""What stayed English in one run: `python tools/zh_gaps.py nbs/08_gradcam.ipynb`, or a command.

It runs a notebook, or `petcam` with these words, with PETCAM_LANG=zh, and lists what was to be said
or drawn in Chinese and stands in no catalogue. Names, layers and files are among it: they stay.
"""
import contextlib
import io
import os
import sys
from pathlib import Path
from project import ROOT
os.environ['PETCAM_LANG'] = 'zh'

def run_notebook(path):
    "Run the cells of a notebook, in its folder, quietly"
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    cells, shell = nbformat.read(path, 4).cells, InteractiveShell.instance()
    os.chdir(Path(path).parent)
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            if cell.cell_type != 'code': continue
            done = shell.run_cell(cell.source) # an error of a cell is printed
            display = done.result if hasattr(done.result, '_repr_mimebundle_') else None
            if display is not None: display._repr_mimebundle_()

def main(words):
    sys.path.insert(0, str(ROOT))
    from petcam.language import chinese
    with contextlib.suppress(SystemExit):
        if words[0].endswith('.ipynb'): run_notebook(words[0])
        else:
            from petcam.cli import main as petcam
            petcam(words)
    print('\n=== in no catalogue')
    found = sorted(chinese().unknown, key=len)
    whole = [o for i, o in enumerate(found) if not any(o in longer for longer in found[i + 1:])]
    print(*map(repr, whole), sep='\n')

if __name__ == '__main__': main(sys.argv[1:])
