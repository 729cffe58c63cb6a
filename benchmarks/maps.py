"""Time and peak memory of class maps: petcam beside grad-cam, torchcam and captum, in one run, each in a process of its own.

    pip install grad-cam==1.5.7 torchcam==0.5.0 captum==0.9.0
    python benchmarks/maps.py [--arch resnet34] [--sizes 224,352] [--rounds 9] [--precision fp32] [--device cuda]
                              [--libraries petcam,torchcam]

One image, 37 classes. Times are medians, in forward passes of the same network under `no_grad` in the same process and precision
(milliseconds in brackets, with the spread from the first to the third quartile); memory is what the process needs beyond a forward pass
(on a GPU: what PyTorch has allotted there).
"""
import argparse, json, os, resource, statistics, subprocess, sys, time
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

def stages_of(arch): return dict(resnet34=['layer1', 'layer2', 'layer3', 'layer4'],
                                 mobilenet_v2=['features.3', 'features.6', 'features.13', 'features.18'])[arch]

def petcam(net, x, stages):
    from petcam.gradcam import class_maps, grad_cam
    return {'one class, last layer': lambda: grad_cam(net, stages[-1], x, 5),
            'all classes, last layer': lambda: class_maps(net, stages[-1:], x),
            'all classes, four stages': lambda: class_maps(net, stages, x)}

def grad_cam(net, x, stages): # a forward pass for each class; the layers' maps only as their mean, so one layer at a time
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    def maps(layers, classes):
        for layer in layers:
            with GradCAM(net, [net.get_submodule(layer)]) as cam:
                for k in classes: cam(x, [ClassifierOutputTarget(k)])
    return {'one class, last layer': lambda: maps(stages[-1:], [5]), 'all classes, last layer': lambda: maps(stages[-1:], range(37)),
            'all classes, four stages': lambda: maps(stages, range(37))}

def torchcam(net, x, stages): # one forward pass, then a loop over the classes
    from torchcam.methods import GradCAM
    def maps(layers, classes):
        with GradCAM(net, layers) as cam:
            y = net(x)
            for k in classes: cam(k, y, retain_graph=True)
    return {'one class, last layer': lambda: maps(stages[-1:], [5]), 'all classes, last layer': lambda: maps(stages[-1:], range(37)),
            'all classes, four stages': lambda: maps(stages, range(37))}

def captum(net, x, stages): # a forward pass for each class and layer
    from captum.attr import LayerGradCam
    def maps(layers, classes):
        for layer in layers:
            cam = LayerGradCam(net, net.get_submodule(layer))
            for k in classes: cam.attribute(x, k)
    return {'one class, last layer': lambda: maps(stages[-1:], [5]), 'all classes, last layer': lambda: maps(stages[-1:], range(37)),
            'all classes, four stages': lambda: maps(stages, range(37))}

def quartiles(f, rounds, settle=lambda: None):
    times = []
    for _ in range(5 if rounds > 1 else 0): f()     # the memory's layout settles
    for _ in range(rounds):
        settle(); start = time.perf_counter(); f(); settle(); times.append(1e3*(time.perf_counter()-start))
    return statistics.quantiles(times, n=4) if rounds > 1 else times*3

def one(a):
    "One library at one size and one task, in this process: a line of JSON"
    import torch, torchvision
    torch.manual_seed(0)
    net = torchvision.models.get_model(a.arch, num_classes=37).eval().to(a.device)
    x = torch.randn(1, 3, a.size, a.size, device=a.device)
    on_gpu = a.device == 'cuda'
    settle = torch.cuda.synchronize if on_gpu else lambda: None
    if a.precision == 'bf16': net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    peak = lambda: (torch.cuda.max_memory_allocated() if on_gpu else 1024*resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)/2**20
    with torch.autocast(a.device, torch.bfloat16, enabled=a.precision == 'bf16'):
        with torch.no_grad(): forward = quartiles(lambda: net(x), 3*a.rounds, settle)
        task = globals()[a.one](net, x, stages_of(a.arch))[a.task]
        before, times = peak(), quartiles(task, a.rounds, settle)
    print(json.dumps(dict(forward=forward, times=times, memory=peak()-before)))

def run(a, library, size, task, rounds):
    words = dict(one=library, size=size, task=task, arch=a.arch, rounds=rounds, precision=a.precision, device=a.device)
    done = subprocess.run([sys.executable, __file__, *(f'--{k}={v}' for k, v in words.items())], capture_output=True, text=True)
    if done.returncode: return done.stderr.strip().split('\n')[-1]     # what it cannot do, in its own words
    return json.loads(done.stdout.strip().split('\n')[-1])

def cell(o): return o if isinstance(o, str) else f"{o['times'][1]/o['forward'][1]:.2f} ({o['times'][1]:.0f}, {o['times'][0]:.0f}-{o['times'][2]:.0f} ms; {o['memory']:.0f} MB)"

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--arch', default='resnet34'); p.add_argument('--sizes', default='224,352'); p.add_argument('--rounds', type=int, default=9)
    p.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    p.add_argument('--precision', choices=['fp32', 'bf16'], default='fp32')
    p.add_argument('--libraries', default='petcam,grad_cam,torchcam,captum'); p.add_argument('--one'); p.add_argument('--size', type=int); p.add_argument('--task')
    a = p.parse_args()
    if a.one: one(a); sys.exit()
    libraries = a.libraries.split(',')
    print(f'{a.arch}, {a.precision}, {a.device}\n\n| | ' + ' | '.join(libraries) + ' | petcam / the fastest other |\n' + '| --- '*(len(libraries)+2) + '|')
    for size in map(int, a.sizes.split(',')):
        for task in 'one class, last layer', 'all classes, last layer', 'all classes, four stages':
            found = {l: run(a, l, size, task, (3*a.rounds if 'one' in task else a.rounds) if 'one' in task or l in ('petcam', 'torchcam') else 1) for l in libraries}
            ratio = found['petcam']['times'][1]/min(o['times'][1] for l, o in found.items() if l != 'petcam' and not isinstance(o, str))
            print(f'| {size} px, {task} | ' + ' | '.join(cell(o) for o in found.values()) + f' | {ratio:.2f} |', flush=True)
