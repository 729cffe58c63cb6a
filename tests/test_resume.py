"""A run that is stopped or killed goes on, and ends with the same bits."""
import os, signal, subprocess, sys, time
import pytest
import torch

from petcam.data import get_data
from petcam.onecycle import cnn_learner
from petcam.resize import Stage, run_stages
from petcam.training.checkpoints import newest_checkpoint, read_checkpoint
from petcam.training.interrupts import GracefulInterrupt

def command(pets, out, *more):
    return [sys.executable, '-c', 'from petcam.cli import main; raise SystemExit(main())', 'run', '--data', str(pets), '--arch', 'resnet18', '--weights', 'none', '--size', '64', '--bs', '8',
            '--epochs', '2,1,2', '--precision', 'fp32', '--out', str(out), *more]

def kill_after(words, marks):
    "Start `words`, and kill it with SIGKILL when it has printed `marks` lines of the table and then worked for a moment"
    p = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {'PYTHONUNBUFFERED': '1', 'OMP_WAIT_POLICY': 'PASSIVE'})
    seen = 0
    for line in p.stdout:
        if line[:1].isdigit() and len(line.split()) == 5: seen += 1
        if line.startswith('epoch') and marks == 0 or seen > marks > 0: break
    time.sleep(.3)
    p.send_signal(signal.SIGKILL); p.wait()
    assert p.returncode == -signal.SIGKILL

def test_a_run_killed_in_several_places_ends_with_the_same_bits(few_pets, tmp_path):
    whole, broken = tmp_path/'whole', tmp_path/'broken'
    subprocess.run(command(few_pets, whole), check=True, capture_output=True)
    kill_after(command(few_pets, broken), 0)                                 # before the first checkpoint
    assert not (broken/'models'/'resume.pth').exists()
    for marks in (0, 2, 3): kill_after(command(few_pets, broken, '--resume'), marks)
    end = subprocess.run(command(few_pets, broken, '--resume'), check=True, capture_output=True, text=True).stdout
    assert (broken/'report.html').exists()
    for name in ('stage-1', 'stage-2', 'stage-3'):
        a, b = (read_checkpoint(o/'models'/f'{name}.pth')['model'] for o in (whole, broken))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a), name
    assert sum(line[:1].isdigit() and len(line.split()) == 5 for line in end.split('\n')) >= 2   # the table is whole again

STAGES = [Stage('stage-1', 32, True, 1, slice(1e-2), .8), Stage('stage-2', 32, False, 1, slice(1e-4, 1e-3), .8)]

@pytest.fixture
def begun(few_pets, tmp_path):
    "A learner after two epochs, each with its checkpoint"
    learn = cnn_learner(get_data(32, 8, path=few_pets, workers=0), 'resnet18', weights=None, model_dir=tmp_path/'models', precision='fp32')
    for _ in run_stages(learn, STAGES, plan={'seed': 0}): pass
    return learn

def test_a_truncated_checkpoint_is_refused_by_name_and_the_one_before_taken(begun, capsys):
    path = begun.path('resume')
    path.write_bytes(path.read_bytes()[:1000])
    state = newest_checkpoint(begun, {'seed': 0})
    assert 'resume.pth is not a whole file' in capsys.readouterr().out and len(state['done']) == 0
    assert begun.path('resume-before').exists() and not path.exists()         # set aside, and the good one kept

def test_a_checkpoint_that_would_run_code_is_refused(begun, tmp_path, capsys):
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'harm'),)
    torch.save({'model': Evil()}, begun.path('resume'))
    assert newest_checkpoint(begun, {'seed': 0}) is not None
    assert 'resume.pth is not a whole file' in capsys.readouterr().out and not (tmp_path/'harm').exists()

def test_a_checkpoint_of_another_model_is_refused(begun, few_pets, tmp_path, capsys):
    other = cnn_learner(begun.data, 'squeezenet1_1', weights=None, model_dir=begun.model_dir, precision='fp32')
    with pytest.raises(ValueError, match='is whole; begin again'): newest_checkpoint(other, {'seed': 0})
    assert 'resume.pth does not fit this model' in capsys.readouterr().out

def test_a_checkpoint_of_another_run_is_refused(begun):
    with pytest.raises(ValueError, match='was begun with seed 0, not 1'): newest_checkpoint(begun, {'seed': 1})
    assert begun.path('resume').exists()

def test_nothing_to_resume_begins_at_the_start(tmp_path, few_pets):
    learn = cnn_learner(get_data(32, 8, path=few_pets, workers=0), 'resnet18', weights=None, model_dir=tmp_path, precision='fp32')
    assert newest_checkpoint(learn, {}) is None

def test_a_new_run_sets_an_old_checkpoint_aside(begun):
    next(run_stages(begun, STAGES, plan={'seed': 1}))
    assert begun.path('old-resume').exists()

def test_ctrl_c_stops_after_the_batch_and_leaves_a_usable_learner(begun):
    steps, loss = [], begun.loss_func
    def interrupted(*args):
        steps.append(1)
        if len(steps) == 2: signal.raise_signal(signal.SIGINT)               # in the middle of a step
        return loss(*args)
    begun.loss_func = interrupted
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match='stopped after batch 2 of epoch 0'): begun.fit_one_cycle(3, 1e-3)
    assert len(steps) == 2 and len(begun.losses) == 2 and signal.getsignal(signal.SIGINT) is before
    begun.loss_func = loss
    assert all(p.isfinite().all() for p in begun.model.parameters())
    begun.fit_one_cycle(1, 1e-3)
    assert len(begun.rows) == 1

def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), GracefulInterrupt():
        for _ in range(2): signal.raise_signal(signal.SIGINT)

def test_ctrl_c_in_a_terminal_is_one_line(few_pets, tmp_path):
    p = subprocess.Popen(command(few_pets, tmp_path/'out'), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                         env=os.environ | {'PYTHONUNBUFFERED': '1', 'OMP_WAIT_POLICY': 'PASSIVE'})
    for line in p.stdout:
        if line[:1].isdigit() and len(line.split()) == 5: break              # the first epoch is over
    os.killpg(p.pid, signal.SIGINT)                                          # the terminal's Ctrl-C: workers get it too
    said = p.communicate()[1]
    assert p.returncode == 130 and 'Traceback' not in said and '`petcam run --resume` goes on' in said
