"""Run notebooks top to bottom in a fresh kernel each and store their outputs, small.

One that fails is left as it was.
"""
import base64
import io
import os
import sys
import time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from PIL import Image

def smaller(png, dense):
    "A figure with photographs as JPEG, any other as PNG with few colours -> its kind, its base64"
    image, out = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB'), io.BytesIO()
    drawing = image.getcolors(2048) is not None
    if drawing: image.quantize(64).save(out, 'PNG', optimize=True)
    else: image.save(out, 'JPEG', quality=60 if dense else 80) # dense: it is shown at half its size
    return ('image/png' if drawing else 'image/jpeg'), base64.b64encode(out.getvalue()).decode()

def only_slider(output):
    "Take the slider out of an output; is nothing left but its name?"
    slider = output.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)
    return slider is not None and set(output.data) <= {'text/plain'}

def from_a_package(output):
    "Is it a warning that somebody else's package gives, with the path where it lies?"
    return output.get('name') == 'stderr' and 'site-packages' in output.text

def tidy(notebook):
    "Shrink the figures, and drop what is of no use without a kernel: sliders and their state"
    notebook.metadata.pop('widgets', None)
    for cell in notebook.cells:
        for output in cell.get('outputs', []):
            if 'image/png' in output.get('data', {}):
                size = output.metadata.pop('image/png', None)   # of a figure with twice the pixels
                kind, data = smaller(output.data.pop('image/png'), dense=size is not None)
                output.data[kind] = data
                if size: output.metadata[kind] = size
        if cell.cell_type == 'code':
            cell.outputs = [o for o in cell.outputs if not only_slider(o) and not from_a_package(o)]

def run(path):
    "Run the notebook at `path` and store it, beside first and then in its place"
    os.environ['PETCAM_LANG'] = 'en'    # a Chinese lesson says otherwise itself
    start, notebook = time.monotonic(), nbformat.read(path, 4)
    where = {'metadata': {'path': str(path.parent)}}
    NotebookClient(notebook, timeout=1800, resources=where).execute()
    tidy(notebook)
    aside = path.with_suffix('.new')
    nbformat.write(notebook, aside)
    os.replace(aside, path)
    nbdev_clean(str(path))
    print(f"{path}: {time.monotonic()-start:.0f} s, {path.stat().st_size/1000:.0f} kB", flush=True)

if __name__ == '__main__':
    for path in map(Path, sys.argv[1:]): run(path)
