"""What the toy run promises, on the network that the lessons train: errors, and maps that find the right animal."""
import numpy as np
import pytest
import torch
from petcam.gradcam import grad_cam
from petcam.heatmap import upsample
from petcam.onecycle import cnn_learner
from petcam.resize import lesson_learner, lesson_stages
from petcam.data import get_data
from petcam.toy.breeds import BREEDS
from petcam.toy.scenes import draw_pair

@pytest.fixture(scope='module')
def toys(tmp_path_factory):
    "The toy pets' folder, whatever PETCAM_DATA says"
    from petcam.files.storage import cache_dir
    from petcam.toy.scenes import make_toypets
    return make_toypets(cache_dir()/'toypets')

@pytest.fixture(scope='module')
def learn(toys, tmp_path_factory):
    "Trained now, by today's code: whatever lies in the cache is not asked"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PETCAM_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield lesson_learner(path=toys)

def test_at_most_five_in_a_hundred_are_wrong_and_stage_one_is_clearly_worse(learn, toys):
    stage1, *_, stage3 = lesson_stages('toy')
    error = learn.validate()[1]
    early = cnn_learner(get_data(stage1.size, 16, path=toys), model_dir=learn.model_dir).load(stage1.name)
    assert error <= .05
    assert early.validate()[1] >= max(.1, 2*error)

def prepared(learn, mask): # a mask goes the way of its image: resized, then cut to the middle
    pixels = torch.from_numpy(np.ascontiguousarray(mask)).float().expand(3,-1,-1)
    return learn.data.valid_ds.prepare(pixels)[0] > .5

def test_the_maximum_lies_on_the_target_animal(learn):
    "100 images of a cat and a dog, each asked for both"
    cats, dogs = ([b for b in BREEDS if b[0].isupper() is cat] for cat in (True, False))
    hits, random_hits = [], []
    for seed in range(100):
        cat, dog = cats[seed % len(cats)], dogs[seed*7 % len(dogs)]
        left, right = (cat, dog) if seed % 2 else (dog, cat)
        image, *masks = draw_pair(left, right, seed=seed)
        xb = learn.data.one_item(image)
        for name, mask in zip((left, right), masks):
            target = learn.data.class_index(name)
            heatmap = grad_cam(learn.model, learn.model[0], xb, target)[0].cpu()
            m = upsample(heatmap, learn.data.size)
            inside = prepared(learn, mask)
            hits.append(bool(inside.flatten()[m.argmax()]))
            random_hits.append(inside.float().mean().item())
    print(f'maximum on the target animal: {np.mean(hits):.1%} of {len(hits)}; '
          f'at random {np.mean(random_hits):.1%}')
    assert np.mean(hits) >= .9 and np.mean(random_hits) < .5
