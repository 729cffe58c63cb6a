"The fuzz of interrupts, small; large: python -m tests.fuzz.interrupts --n 1000"
import signal
import pytest
from fuzz import interrupts

def test_no_interrupt_leaves_anything_changed():
    counts, changed = interrupts.main(n=150, seed=0)
    assert not changed and counts['whole'] > 75

@pytest.mark.parametrize('name', ['watch', 'hook_output', 'eval_mode'])
def test_at_every_moment_of_what_everything_stands_on(name, monkeypatch):
    x = interrupts.torch.randn(2, 3, 12, 12, generator=interrupts.torch.Generator().manual_seed(0))
    f, net = interrupts.operations(x)[name], interrupts.make_net()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    f(net)
    moments = interrupts.at_moment(0, lambda: f(net))
    try: outcomes = [interrupts.one(name, f, interrupts.at_moment, k) for k in range(1, moments, 3)]
    finally: signal.signal(signal.SIGINT, before)
    assert moments > 300 and {o for o, _ in outcomes} <= {'whole', 'too late'} and not any(wrong for _, wrong in outcomes)

def test_the_fuzz_finds_what_is_left():
    def careless(net):
        handle = net[0].register_forward_hook(lambda *_: None)
        net(interrupts.torch.zeros(2, 3, 12, 12))
        handle.remove()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try: outcomes = [interrupts.one('careless', careless, interrupts.at_moment, k)[1] for k in range(1, 300, 20)]
    finally: signal.signal(signal.SIGINT, before)
    assert any('hooks' in wrong for wrong in outcomes)
