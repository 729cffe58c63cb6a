"""The page that takes a reader's own photograph, and the front page's card that leads to it."""
from importlib.util import find_spec
import numpy as np
from docs_words import CARD, is_chinese, template
from PIL import Image

NOTE = ('The network is EfficientNet-Lite0. It has learnt 1000 classes from the photographs of '
        'ImageNet: among them are 118 breeds of dogs and five kinds of cats, but no person.')

def why_stored():
    "What this machine lacks for a page with a network in it; '' if nothing"
    from petcam.web.live import engine_files
    if missing := [o for o in ('onnx', 'onnxscript') if not find_spec(o)]:
        return f"no {' and no '.join(missing)} (pip install 'petcam[page]')"
    try:
        engine_files()
    except ConnectionError as e:
        return str(e)
    return ''

def preview(model, image, **how):
    "An image and, on it, the map of its most probable class; and what is said of them"
    from petcam.engine.explanation import where_in_words
    from petcam.engine.targets import verdict
    from petcam.web.page import data_uri, image_bytes
    from petcam.widgets.store import MapStore, panels
    store, side = MapStore(model, image, **how), 384
    target = int(store.logits(0).argmax())
    map, box = store.map(0, store.layers[-1], target), store.box(0, side)
    drawn = panels(store.pixels(0, side), map, box=box) # three, 6 pixels apart
    found = verdict(store.logits(0), target, store.class_names, store.activation)
    two = np.concatenate([drawn[:, :side+6], drawn[:, -side:]], axis=1) # image and overlay
    return dict(picture=data_uri(image_bytes(two)),
                name=found.name, percent=round(100*found.probability),
                words=where_in_words(map, box))

def card(**parts):
    "The card, in words that fit what is there; one page with a network serves both languages"
    page = '../photo.html#zh' if is_chinese() else 'photo.html'
    return template(CARD).render(dict(picture='', why='', page=page) | parts)

def asked(cat):
    "The whole photograph, and how the network is asked about it"
    from skimage.data import chelsea
    return Image.fromarray(chelsea()), dict(class_names=cat.classes, size=224)

def photo(to, pair):
    "Writes the page, and returns what the card says; where something is missing both say so"
    from petcam.engine.photo import real_cat
    from petcam.web.live import export_page
    if not (cat := real_cat()): return dict(why="it needs pip install 'petcam[photo]'")
    why, (chelsea, how) = why_stored(), asked(cat)
    few = dict(live=False, layers=[cat.layer], methods=['Grad-CAM']) if why else {}
    titles = ['Chelsea', 'two toy pets']
    export_page(cat.model, to, [chelsea, pair], 'Your own photograph', titles=titles,
                note=f'{NOTE} The cat: {cat.credit}.', **few, **how)
    return dict(why=why, credit=cat.credit, megabytes=round(to.stat().st_size/1e6),
                **preview(cat.model, chelsea, **how))
