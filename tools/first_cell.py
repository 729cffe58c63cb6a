"""The first code cell of every lesson, which installs petcam where it is missing.

Written here, once, and put into the lessons.
"""
import sys
from pathlib import Path
import nbformat
from nbformat.v4 import new_code_cell
from project import lessons, settings

# A dataset lies at /kaggle/input/NAME or at /kaggle/input/datasets/USER/NAME; in Colab one
# uploads a wheel beside the lesson.
# Never from an index of packages: there the name is not ours.
CELL = f"""#| hide
# installs petcam where it is missing (on Kaggle and Colab); torch stays as it is
import glob, importlib.util, subprocess, sys
if not getattr(importlib.util.find_spec('petcam'), 'origin', None): # a folder has none
    places = '', '/kaggle/input/*/', '/kaggle/input/datasets/*/*/'
    attached = [o for place in places for o in glob.glob(place + 'petcam-*.whl')]
    # if this fails, put the downloaded petcam-*.whl beside this notebook
    source = max(attached, default='git+{settings()['git_url']}')
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', source]
    subprocess.run(command, check=True)"""

def put(notebook): # was anything changed?
    "Make `CELL` the first code cell of `notebook`"
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == 'code')
    if notebook.cells[first].id != 'install':
        # the name of the cell tells it from others; theirs stay, and with them the export
        notebook.cells.insert(first, new_code_cell('', id='install'))
    if changed := notebook.cells[first].source != CELL: notebook.cells[first].source = CELL
    return changed

if __name__ == '__main__':
    from nbdev.clean import nbdev_clean
    for path in map(Path, sys.argv[1:] or lessons()):
        notebook = nbformat.read(path, 4)
        if not put(notebook): continue
        nbformat.write(notebook, path)
        nbdev_clean(str(path))
        print(f"{path}: first cell put in")
