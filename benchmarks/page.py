"""A page with a network in it, beside torch: sizes, times, and how far logits and maps are apart.

    python benchmarks/page.py [--network toy] [--n 100] [--png]
    python benchmarks/page.py --network efficientnet_lite0 --data PETS

The page is written, and opened from disk in Chromium with the network off. Torch has the same weights in half precision, and prepares each
image itself. `--png` hands the page the pixels that Pillow reads, so that two decoders of JPEG make no difference. Images: toy pets, or
every k-th photograph of PETS; without PETS EfficientNet-Lite0 sees Chelsea and toy pets. Median [lowest, highest] of milliseconds.
"""
import argparse, base64, io, os, tempfile
from pathlib import Path
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
import numpy as np
import torch
from PIL import Image
from playwright.sync_api import sync_playwright
from petcam.data import find_pets
from petcam.engine.photo import real_cat
from petcam.engine.preparation import preparation_for
from petcam.files.images import list_images, pil_image
from petcam.gradcam import class_maps
from petcam.resize import lesson_learner
from petcam.web.live import export_page
from petcam.web.network import halved

READY = '''async () => {
  await document.querySelector('.px-live').petcam.ready;
  return performance.now();
}'''
LOOK = '''async ([text, title]) => {
  const image = new Blob([Uint8Array.from(atob(text), c => c.charCodeAt())]), start = performance.now();
  const {n, logits} = await document.querySelector('.px-live').petcam.ask('look', {image, title});
  return {n, ms: performance.now() - start, logits: [...logits]};
}'''
MAP = '''async asked => {
  const start = performance.now();
  const {h, w, values} = await document.querySelector('.px-live').petcam.ask('map', asked);
  return {ms: performance.now() - start, h, w, values: [...values]};
}'''
METHOD = 'Grad-CAM'

def network(name): # -> a learner or a model with weights in half precision, and how it is given to `export_page`
    if name == 'toy':
        learn = lesson_learner()
        learn.model = halved(learn.model)
        return learn, {}
    cat = real_cat()
    return halved(cat.model), dict(class_names=cat.classes, size=224)

def some_images(name, data, n): # files and Pillow images, evenly over all there are
    from skimage.data import chelsea
    files = list_images(Path(data)/'images')[0] if data else list(find_pets(quiet=True).files)
    rest = [] if data or name == 'toy' else [Image.fromarray(chelsea())]
    return rest + files[::max(1, len(files)//n)][:n - len(rest)]

def as_bytes(image, png):
    if isinstance(image, Path) and not png: return image.read_bytes()
    with io.BytesIO() as file:
        (pil_image(image) if isinstance(image, Path) else image).save(file, 'PNG')
        return file.getvalue()

def open_page(browser, path): # -> a tab that asks for nothing but the page, and how long it took until the network was ready
    context = browser.new_context(offline=True)
    tab, asked = context.new_page(), []
    tab.set_default_timeout(120_000)
    tab.on('request', lambda r: asked.append(r.url) if not r.url.startswith(('data:', 'blob:')) else None)
    tab.goto(path.resolve().as_uri())
    ms = tab.evaluate(READY)
    assert asked == [path.resolve().as_uri()], asked
    return tab, ms

def of_torch(model, x, layers): # -> logits, and the map of the most probable class at each layer
    with torch.no_grad(): y = model(x)[0]
    k = int(y.argmax())
    return y, k, {name: maps[0, 0] for name, maps in class_maps(model, layers, x, [k], method=METHOD).items()}

def apart(there, here): # largest difference, and the largest value
    return float((there - here).abs().max()), float(here.abs().max())

def order_of(there, here): # -> are the first, the first five, all classes in the same order? and how far apart are the scores of two that are not?
    by, by_torch = (torch.argsort(o, descending=True, stable=True) for o in (there, here))
    ranked = here[by]
    return *(bool((by[:n] == by_torch[:n]).all()) for n in (1, 5, None)), float((ranked - ranked.cummin(0).values).max())

def told(values, digits=0): return f'{np.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]'

def table(rows, *head): print('\n'.join(['', f'| {" | ".join(head)} |', '| --- ' + '| ---: '*(len(head) - 1) + '|', *(f'| {" | ".join(o)} |' for o in rows)]))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--network', default='toy', choices=['toy', 'efficientnet_lite0'])
    p.add_argument('--data')
    p.add_argument('--n', type=int, default=100)
    p.add_argument('--png', action='store_true')
    p.add_argument('--page', help='one that is there already, of the same network')
    p.add_argument('--browser', default='/usr/bin/chromium')
    a = p.parse_args()
    learn, how = network(a.network)
    images = some_images(a.network, a.data, a.n)
    model, prepare = getattr(learn, 'model', learn), preparation_for(learn, size=how.get('size'))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(a.page) if a.page else export_page(learn, Path(folder)/'page.html', images[:1], **how)
        browser = playwright.chromium.launch(executable_path=a.browser, args=['--no-sandbox'])
        starts = []
        for _ in range(3):
            tab, ms = open_page(browser, page)
            starts.append(ms/1000)
            if len(starts) < 3: tab.context.close()
        layers = tab.evaluate("JSON.parse(document.querySelector('.px-live [type=\"application/json\"]').textContent).layers")
        times, maps, far, order = [], {o: [] for o in layers}, {o: [] for o in ('logits', *(f'map at `{o}`' for o in layers))}, []
        for i, image in enumerate(images):
            y, k, want = of_torch(model, prepare(image)[0], layers)
            found = tab.evaluate(LOOK, [base64.b64encode(as_bytes(image, a.png)).decode(), f'image {i}'])
            times.append(found['ms'])
            logits = torch.tensor(found['logits'])
            far['logits'].append(apart(logits, y))
            order.append(order_of(logits, y))
            for layer in layers:
                got = tab.evaluate(MAP, dict(n=found['n'], layer=layer, target=k, method=METHOD))
                maps[layer].append(got['ms'])
                there = torch.tensor(got['values']).view(got['h'], got['w'])
                far[f'map at `{layer}`'].append(apart(there, want[layer]))
        browser.close()
        print(f"{a.network}, {len(images)} images{' as PNG' if a.png else ''}, {torch.get_num_threads()} threads for torch")
        table([['page', f'{page.stat().st_size/1e6:.1f} MB'], ['ready', f'{told(starts, 1)} s'], ['an image', f'{told(times[1:])} ms'],
               *([f'a map at `{o}`', f'{told(maps[o][1:])} ms (the first {maps[o][0]:.0f})'] for o in layers)], '', 'median [lowest, highest]')
        rows = []
        for name, both in far.items():
            off, size = np.array(both).T
            rows.append([name, f'{off.max():.1e}', f'{np.median(off):.1e}', str((off < 1e-3).sum()), f'{np.median(size):.2g}', f'{(off/size).max():.1e}'])
        table(rows, 'difference from torch', 'largest', 'median', f'below 0.001 in, of {len(images)}', 'largest value, median', 'largest difference/largest value')
        *same, gaps = zip(*order)
        table([[name, str(sum(column))] for name, column in zip(('the first class', 'the first five, in order', f'all {len(y)}, in order'), same)],
              f'the same as torch in, of {len(images)}', 'images')
        print(f'\nClasses in another order have scores that are at most {max(gaps):.1e} apart in torch')
