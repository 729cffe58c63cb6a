"Promises of petcam.engine.modes and petcam.training.interrupts: a model comes back as it was, whoever interrupts, forks or trains meanwhile."
import copy, multiprocessing, os, signal, threading, time, warnings
import pytest, torch
from torch import nn
from petcam.engine import modes
from petcam.data import get_data
from petcam.engine.modes import add_hook, eval_mode, forward_hooks
from petcam.gradcam import grad_cam
from petcam.training.interrupts import GracefulInterrupt, SafeContext, held, safe_contextmanager, safely, same_state

def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.5), nn.Linear(4, 5)).train()

@pytest.fixture
def x(): return torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))

@pytest.fixture(autouse=True)
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler         # nobody leaves another

def press(): signal.raise_signal(signal.SIGINT)

def in_thread(f, *args):
    thread = threading.Thread(target=f, args=args, daemon=True)
    thread.start()
    return thread

def test_eval_mode_restores_each_mode_and_the_random_state():
    m = tiny()
    m[1].eval()
    modes, state = [o.training for o in m.modules()], torch.get_rng_state()
    with pytest.raises(KeyError), eval_mode(m):
        assert not any(o.training for o in m.modules())
        torch.rand(3)
        raise KeyError
    assert [o.training for o in m.modules()] == modes and torch.equal(torch.get_rng_state(), state)

# ---------- a context is entered or not ----------

@pytest.mark.parametrize('moment', ['entering', 'inside', 'leaving'])
def test_an_interrupt_waits_until_a_context_is_entered_or_left(moment):
    happened = []
    @safe_contextmanager
    def context():
        if moment == 'entering': press()
        happened.append('entered')
        try: yield
        finally:
            if moment == 'leaving': press()
            happened.append('left')
    with pytest.raises(KeyboardInterrupt), context():
        if moment == 'inside': press()
        happened.append('block')
    assert happened == dict(entering=['entered', 'left'], inside=['entered', 'left'], leaving=['entered', 'block', 'left'])[moment]

def test_without_the_care_the_same_interrupt_leaves_it_halfway(): # so the test above tests something
    from contextlib import contextmanager
    happened = []
    @contextmanager
    def context():
        try: yield
        finally:
            press()
            happened.append('left')
    with pytest.raises(KeyboardInterrupt), context(): pass
    assert not happened

def test_an_error_on_entering_is_that_error_and_all_is_undone():
    left = []
    class Fails(SafeContext):
        def enter(self): raise KeyError('no')
        def leave(self, *error): left.append(error[0])
    with pytest.raises(KeyError, match='no'), Fails(): pass
    assert left == [KeyError]

def test_whoever_handled_the_signal_before_does_it_now_too():
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    @safe_contextmanager
    def context():
        press()
        heard.append('entered')
        yield
    with context(): heard.append('block')
    assert heard == ['entered', signal.SIGINT, 'block']
    signal.signal(signal.SIGINT, signal.default_int_handler)

def test_a_handler_that_is_set_inside_stays():
    def mine(*_): raise ZeroDivisionError
    with eval_mode(tiny()):
        signal.signal(signal.SIGINT, mine)
        with pytest.raises(ZeroDivisionError), eval_mode(tiny()): press()
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is mine

@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no timers here')
def test_a_time_limit_by_alarm_waits_as_well(x):
    class Late(Exception): pass
    def late(*_): raise Late
    net, before = tiny(), signal.signal(signal.SIGALRM, late)
    try:
        for i in range(40):
            with pytest.raises(Late):
                signal.setitimer(signal.ITIMER_REAL, 1e-4*(i + 1))
                while True: grad_cam(net, '0', x, 0)
            assert all(m.training for m in net.modules()) and not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()) and torch.is_grad_enabled()
        assert signal.getsignal(signal.SIGALRM) is late
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

def test_held_gives_what_it_returns_and_then_the_interrupt():
    done = []
    @held
    def f(a, b=1):
        if b: press()
        done.append(a)
        return a
    assert f(3, b=0) == 3
    with pytest.raises(KeyboardInterrupt): f(4)
    assert done == [3, 4]

def test_safely_and_same_state_put_back_what_a_no_grad_leaves():
    state = torch.get_rng_state()
    with same_state():
        torch.rand(3)
        torch.set_grad_enabled(False) # as a no_grad that was interrupted in its exit
    assert torch.is_grad_enabled() and torch.equal(torch.get_rng_state(), state)
    with torch.no_grad(), same_state(): torch.set_grad_enabled(True)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        with eval_mode(tiny()): torch.set_grad_enabled(True)
        assert not torch.is_grad_enabled()
    with pytest.raises(KeyboardInterrupt), safely(torch.autocast('cpu')): press()
    assert not torch.is_autocast_enabled('cpu')

def test_a_process_that_makes_images_never_starts_cuda(few_pets, monkeypatch):
    "A forked worker cannot, and says so only where there is a GPU: training there ended with its first batch"
    def refuse(*_): raise RuntimeError('Cannot re-initialize CUDA in forked subprocess')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: False)   # as in a forked worker
    monkeypatch.setattr(torch.cuda, 'get_rng_state', refuse)
    data = get_data(32, 8, path=few_pets, workers=0)
    for ds in (data.train_dl, data.valid_dl): assert next(iter(ds))[0].shape == (8, 3, 32, 32)
    with same_state(): torch.rand(1)

def test_a_ctrl_c_that_nobody_looked_at_is_not_lost():
    with pytest.raises(KeyboardInterrupt), GracefulInterrupt() as stop:
        press()
        assert stop.requested
    with pytest.raises(ValueError), GracefulInterrupt(): # an error stays that error
        press()
        raise ValueError

# ---------- one at a time ----------

def test_each_step_of_a_thread_that_trains_is_in_training_mode(x):
    net, steps, errors = tiny(), [], []
    want = grad_cam(copy.deepcopy(net), '2', x, 0)
    frozen = copy.deepcopy(net)
    frozen[0].register_forward_hook(lambda m, inp, out: steps.append(m.training) if threading.current_thread() is not threading.main_thread() else None)
    def train():
        for _ in range(150): frozen(x).sum().backward()
    trains = in_thread(train)
    maps = 0
    while trains.is_alive():
        got = grad_cam(frozen, '2', x, 0)
        maps += 1
        if not got.isfinite().all(): errors.append(got)
    assert steps == [True]*150 and maps > 5 and not errors and got.shape == want.shape
    assert all(m.training for m in frozen.modules()) and not frozen._forward_pre_hooks

def test_who_trains_forever_is_named(monkeypatch, x):
    monkeypatch.setattr(modes, '_PATIENCE', .2)
    net, enter, leave = tiny(), threading.Event(), threading.Event()
    def pause(*_):
        if threading.current_thread() is not threading.main_thread(): enter.set(); leave.wait(10)
    net[0].register_forward_hook(pause)
    trains = in_thread(net, x)
    enter.wait(10)
    with pytest.raises(RuntimeError, match=r'give a copy of it, copy.deepcopy\(model\)'), eval_mode(net): pass
    assert net.training and not net._forward_pre_hooks
    leave.set(); trains.join(10)
    with eval_mode(net): assert not net.training

def test_an_eval_mode_model_is_used_by_two_threads_at_once(x):
    net, inside = tiny().eval(), threading.Event()
    with eval_mode(net):
        thread = in_thread(lambda: (net(x), inside.set()))
        assert inside.wait(10)                            # it need not wait: no mode is changed
        thread.join()

def test_ctrl_c_need_not_wait_for_another_threads_turn():
    net, enter, leave = tiny(), threading.Event(), threading.Event()
    def long():
        with eval_mode(net):
            enter.set()
            leave.wait(20)
    thread = in_thread(long)
    enter.wait(10)
    main = threading.get_ident()
    in_thread(lambda: (time.sleep(.3), signal.pthread_kill(main, signal.SIGINT)))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), eval_mode(tiny()): pass
    assert time.monotonic() - start < 5
    leave.set(); thread.join(10)
    with eval_mode(net): pass                             # and the turn is free

def child(net): # in another process
    if net.training and not net._forward_pre_hooks:       # not in the middle of the parent's turn
        with eval_mode(net): net(torch.zeros(1, 3, 9, 11))
        os._exit(0)
    os._exit(3)

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no forks here')
def test_a_fork_while_another_thread_maps(x):
    net, over, maps = tiny(), threading.Event(), []
    def map_on():
        while not over.is_set():
            with eval_mode(net):
                maps.append(1)
                time.sleep(.005)
    thread = in_thread(map_on)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        children = [multiprocessing.get_context('fork').Process(target=child, args=[net]) for _ in range(6)]
        for o in children: o.start()
    for o in children: o.join(30)
    over.set(); thread.join(10)
    assert [o.exitcode for o in children] == [0]*6 and maps

# ---------- hooks ----------

def test_forward_hooks_hear_this_thread_and_are_gone(x):
    net, heard = tiny().eval(), []
    net[0].register_forward_hook(lambda *_: heard.append('old'))
    with forward_hooks([(net[0], lambda *_: heard.append('new'))], prepend=True):
        net(x)
        in_thread(net, x).join()
    net(x)
    assert heard == ['new', 'old', 'old', 'old']

def test_a_hook_goes_with_its_object(x):
    class Counts:
        n = 0
        def hear(self, *_): self.n += 1
    net, o = tiny().eval(), Counts()
    take_off = add_hook(net[0], o.hear)
    net(x)
    assert o.n == 1 and len(net[0]._forward_hooks) == 1
    take_off(); take_off()
    net(x)
    assert o.n == 1 and not net[0]._forward_hooks
    add_hook(net[0], o.hear)
    del o, take_off
    assert not net[0]._forward_hooks

@pytest.mark.parametrize('model', [None, 'resnet18', torch.zeros(3)])
def test_eval_mode_of_what_is_no_model(model):
    with pytest.raises(TypeError, match='model must be an nn.Module, got'), eval_mode(model): pass
