"""Ctrl-C at random moments of whatever changes a model for a while: afterwards all is as it was.

Large: `python -m tests.fuzz.interrupts --n 1000 --seed 0`. Half of the interrupts come at a counted moment: where Python looks
for signals, at the beginning of a function and behind one that is written in C, so that a seed means the same moments again. The
other half come from another thread after a random time, as from a keyboard. Each ends in one of these ways:

whole     modes, hooks, gradients, grad and inference mode, autocast, random states, handlers, locks are as before
changed   something is not
too late  the call was over
"""
import argparse, random, signal, sys, threading, time, warnings
from collections import Counter
import torch
from torch import nn
from petcam.engine.layers import find_layer, layers_of
from petcam.engine.modes import _TURN, eval_mode, forward_hooks
from petcam.engine.scoring import deletion, insertion
from petcam.gradcam import class_maps, grad_cam
from petcam.hooks import hook_output, watch
from petcam.localise import randomize_weights
from petcam.methods import class_activation_map, maps_of, score_cam
from petcam.training import interrupts

HOOKS = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks', '_forward_hooks_with_kwargs', '_forward_hooks_always_called'

def make_net():
    "In training mode, but for one module, and one parameter frozen"
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.2), nn.Linear(6, 3)).train()
    net[4].eval()
    net[0].weight.requires_grad_(False)
    return net

def watched(net, x):
    with watch(net[3]) as kept: score = net(x)[:, 0].sum()
    return torch.autograd.grad(score, kept)

def both_hooks(net, x):
    with hook_output(net[3]) as a, hook_output(net[3], grad=True) as g: net(x)[0, 0].backward()
    return a.stored, g.stored

def looked_at(net, x):
    with eval_mode(net), torch.no_grad(), forward_hooks([(m, lambda *_: None) for m in net]): return net(x)

def explained(net, x):
    "`explain` of a tensor; of one image, where it takes files too"
    from petcam.methods import explain
    return explain(net, '3', x, 0) if 'images' in explain.__code__.co_varnames[:explain.__code__.co_argcount][2:] else explain(net, x, 0, '3')

def operations(x):
    "name -> what is interrupted, called with the network"
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    return dict(
        grad_cam=lambda net: grad_cam(net, '3', x, 0), grad_cam_opens=lambda net: grad_cam(net, None, x), class_maps=lambda net: class_maps(net, ['0', '3'], x),
        score_cam=lambda net: score_cam(net, '3', x, 0), explain=lambda net: explained(net, x), maps_of=lambda net: maps_of(net, '3', x, 0),
        class_activation_map=lambda net: class_activation_map(net, '5', x, 0), watch=lambda net: watched(net, x), hook_output=lambda net: both_hooks(net, x),
        layers_of=lambda net: layers_of(net, x), find_layer=lambda net: find_layer(net, None, x), insertion=lambda net: insertion(net, x, maps, 0, 3),
        deletion=lambda net: deletion(net, x, maps, 0, 3), randomize_weights=lambda net: randomize_weights(net, x, 1), eval_mode=lambda net: looked_at(net, x))

def is_free(lock): # for another thread
    got = []
    def take():
        got.append(lock.acquire(timeout=5))
        if got[0]: lock.release()
    thread = threading.Thread(target=take)
    thread.start(); thread.join()
    return got[0]

def state(net):
    "What an interrupt must leave as it was"
    return dict(modes=[m.training for m in net.modules()], hooks=[[len(getattr(m, name)) for name in HOOKS] for m in net.modules()], requires_grad=[p.requires_grad for p in net.parameters()],
                forward=['forward' in vars(m) for m in net.modules()], weights=[t.sum().item() for t in net.state_dict().values()], grad=torch.is_grad_enabled(), inference=torch.is_inference_mode_enabled(),
                autocast=torch.is_autocast_enabled('cpu'), cache=torch.is_autocast_cache_enabled(), nesting=_nesting(), random=torch.get_rng_state().sum().item(), handler=signal.getsignal(signal.SIGINT),
                waiting=len(interrupts._waiting), turn=is_free(_TURN), vmap=torch._C._functorch.peek_interpreter_stack() is None, momentum=[getattr(m, 'momentum', 0) for m in net.modules()])

def _nesting(): # of autocast: above 0 its cache of weights would never be cleared
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    return depth

# ---------- the interrupts ----------

def at_moment(k, f):
    "Call `f`, with a Ctrl-C at the k-th moment where Python looks for signals; how many moments there were"
    count = 0
    def look(frame, event, arg):
        nonlocal count
        if event in ('call', 'c_return') and frame.f_globals.get('__name__') != __name__:
            count += 1
            if count == k:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)
    sys.setprofile(look)
    try: f()
    finally: sys.setprofile(None)
    return count

def after(seconds, f):
    "Call `f`, with a Ctrl-C from another thread after a while"
    over, main = threading.Event(), threading.get_ident()
    def press():
        over.wait(seconds)
        if not over.is_set(): signal.pthread_kill(main, signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        f()
        over.set()
        thread.join() # what was sent arrives here
    except KeyboardInterrupt:
        over.set()
        thread.join()
        raise

def one(name, f, how, moment):
    "'whole', 'changed' or 'too late', and what has changed"
    net = make_net()
    torch.manual_seed(1)
    before, interrupted = state(net), False
    try: how(moment, lambda: f(net))
    except KeyboardInterrupt: interrupted = True
    now = state(net)
    wrong = [key for key in before if before[key] != now[key]]
    if name in ('watch', 'hook_output'): wrong = [key for key in wrong if key not in ('random', 'weights')] # in training mode, as the caller wished: dropout draws, norms move
    if wrong: return 'changed', wrong
    return 'whole' if interrupted else 'too late', ()

def trial(n, seed=0, only=''):
    "`n` interrupts -> Counter of outcomes, Counter of (operation, what changed)"
    rng, counts, changed = random.Random(seed), Counter(), Counter()
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    each, before = {name: f for name, f in operations(x).items() if only in name}, signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        moments, seconds = {}, {}
        for name, f in each.items():
            net = make_net()
            f(net) # the first time is longer
            moments[name] = at_moment(0, lambda: f(net))
            start = time.perf_counter()
            f(net)
            seconds[name] = time.perf_counter() - start
        for i in range(n):
            name = list(each)[i % len(each)]
            if i//len(each) % 2 == 0: outcome, wrong = one(name, each[name], at_moment, rng.randint(1, moments[name]))
            else: outcome, wrong = one(name, each[name], after, rng.uniform(0, seconds[name]))
            counts[outcome] += 1
            if wrong: changed[name, tuple(wrong)] += 1
            if 'handler' in wrong: signal.signal(signal.SIGINT, signal.default_int_handler)
            if 'grad' in wrong: torch.set_grad_enabled(True)
            while _nesting() > 0: torch.autocast_decrement_nesting()
            interrupts._waiting.clear()
    finally: signal.signal(signal.SIGINT, before)
    return counts, changed

def main(n=1000, seed=0, only=''):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        counts, changed = trial(n, seed, only)
    for (name, wrong), times in changed.most_common(): print(f'{times:4} {name}: {", ".join(wrong)}')
    print(f'{n} interrupts, seed {seed}: ' + ', '.join(f'{counts[o]} {o}' for o in ('whole', 'changed', 'too late')))
    return counts, changed

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--n', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='operations whose name holds this')
    o = parser.parse_args()
    sys.exit(bool(main(o.n, o.seed, o.only)[0]['changed']))
