"""What a step of the explorer costs, from the new value of a widget to the new image; and how large its page is.

    python benchmarks/explorer.py [--arch resnet34] [--size 352] [--steps 200]

Medians and 95th percentiles in milliseconds; random weights and a random image, 37 classes. "First" is a step to maps that were not there.
"""
import argparse, os, tempfile, time
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
import numpy as np
import torch, torchvision
from petcam.explore import CamExplorer, explorer_html

def step(widget, value): # milliseconds
    start = time.perf_counter(); widget.value = value
    return 1e3*(time.perf_counter() - start)

def told(name, times): print(f'| {name} | {np.median(times):.1f} | {np.percentile(times, 95):.1f} | {len(times)} |')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--arch', default='resnet34'); p.add_argument('--size', type=int, default=352); p.add_argument('--steps', type=int, default=200)
    a = p.parse_args()
    torch.manual_seed(0)
    model = torchvision.models.get_model(a.arch, num_classes=37).eval()
    images, rng = list(torch.rand(4, 3, a.size, a.size)), np.random.default_rng(0)
    e = CamExplorer(model, images)
    with torch.no_grad(): forward = [(time.perf_counter(), model(e.store.item(0)[0]), time.perf_counter()) for _ in range(15)]
    print(f'{a.arch}, {a.size} px; layers {e.store.shapes}\n\n| step | median ms | 95th percentile | steps |\n| --- | --- | --- | --- |')
    told('(a forward pass)', [1e3*(end - start) for start, _, end in forward])
    for layer in e.store.layers: # each in an explorer of its own, so that nothing is known
        told(f'layer {layer}, first', [step(CamExplorer(model, images[0], layer=next(o for o in e.store.layers if o != layer)).layer_slider, layer) for _ in range(5)])
    for layer in e.store.layers:
        e.layer = layer
        e.look_ahead()
    told('class', [step(e.class_slider, k) for k in rng.permutation(np.repeat(range(37), a.steps//37 + 1)).tolist()])
    told('layer', [step(e.layer_slider, o) for o in rng.choice(e.store.layers, a.steps).tolist()])
    told('method', [step(e.method_menu, o) for o in rng.choice(['Grad-CAM', 'HiResCAM', 'LayerCAM', 'Grad-CAM++'], a.steps).tolist()])
    told('opacity', [step(e.alpha_slider, o) for o in rng.random(a.steps).round(2).tolist()])
    with tempfile.TemporaryDirectory() as folder:
        one, four = (explorer_html(model, images[:n], f'{folder}/{n}.html').stat().st_size/1e3 for n in (1, 4))
    print(f'\na page with one image: {one:.0f} kB; each further image {(four - one)/3:.0f} kB')
