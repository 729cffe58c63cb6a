"""Run notebooks top to bottom in a fresh kernel each and store their outputs; a notebook that fails is left as it was."""
import os, sys, time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean

for path in map(Path, sys.argv[1:]):
    start, notebook = time.monotonic(), nbformat.read(path, 4)
    NotebookClient(notebook, timeout=1800, resources={'metadata': {'path': str(path.parent)}}).execute()
    notebook.metadata.pop('widgets', None)   # the state of sliders is bulky, and useless without a kernel
    aside = path.with_suffix('.new')
    nbformat.write(notebook, aside)
    os.replace(aside, path)
    nbdev_clean(str(path))
    print(f"{path}: {time.monotonic()-start:.0f} s, {path.stat().st_size/1000:.0f} kB", flush=True)
