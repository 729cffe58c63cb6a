"""`python tools/docs_figure.py`: the figure of the page "On your own model", of toy pets."""
from pathlib import Path
import numpy as np
from PIL import Image
from petcam.engine.explanation import Explanation
from petcam.methods import explain
from petcam.resize import lesson_learner
from petcam.toy.scenes import draw_pair
from petcam.widgets.store import panels

FIGURE = Path(__file__).parents[1]/'docs'/'_static'/'your_model.jpeg'

def draw()->Explanation:
    "The figure's explanation: a dog and a cat, asked for the dog"
    return explain(lesson_learner(), draw_pair('leonberger', 'Abyssinian', seed=3)[0], 'leonberger')

def main():
    seen = draw()
    pixels = (np.asarray(seen.image).transpose(1, 2, 0)*255).round().astype(np.uint8)
    figure = Image.fromarray(panels(pixels, seen.map, box=seen.box, labels=True))
    figure.save(FIGURE, quality=85, optimize=True)
    print(f'{FIGURE.stat().st_size/1e3:.0f} kB, {figure.size}: {seen}')

if __name__ == '__main__': main()
