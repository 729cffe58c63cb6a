"""The same cells on photographs: the Grad-CAM lesson, with a network trained on ten images a breed. `make photos` runs all lessons."""
import sys
from pathlib import Path
from conftest import REAL_WEIGHTS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import photos

def test_the_grad_cam_lesson_holds_for_photographs(real_pets, tmp_path):
    environment = photos.prepare(real_pets, REAL_WEIGHTS, home=tmp_path)
    photos.train(environment)
    assert photos.run(ROOT/'nbs'/'08_gradcam.ipynb', environment, tmp_path) is None
