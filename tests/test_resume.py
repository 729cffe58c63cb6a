"""A run that is stopped or killed goes on, and ends with the same bits."""
import os, shutil, signal, subprocess, sys, time
import pytest
import torch

from petcam.data import get_data
from petcam.onecycle import cnn_learner
from petcam.resize import Stage, run_stages
from petcam.training.checkpoints import newest_checkpoint, plan_of, read_checkpoint, resume_options
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
    assert 'resume.pth holds Python objects; save model.state_dict()' in capsys.readouterr().out and not (tmp_path/'harm').exists()

def contents(folder): return {p.name: p.read_bytes() for p in folder.iterdir()}

def test_a_checkpoint_of_another_model_is_refused_and_stays(begun):
    other, before = cnn_learner(begun.data, 'squeezenet1_1', weights=None, model_dir=begun.model_dir, precision='fp32'), contents(begun.model_dir)
    with pytest.raises(ValueError, match='resume.pth does not fit this model'): newest_checkpoint(other, {'seed': 0})
    assert contents(begun.model_dir) == before

def test_a_checkpoint_of_another_run_is_refused_and_stays(begun):
    before = contents(begun.model_dir)
    with pytest.raises(ValueError, match='was begun with seed 0, not 1'): newest_checkpoint(begun, {'seed': 1})
    begun.path('resume').write_bytes(b'cut short')                              # of two the first is damaged, and the second of another run
    with pytest.raises(ValueError, match='resume-before.pth was begun with seed 0, not 1'): newest_checkpoint(begun, {'seed': 1})
    assert contents(begun.model_dir) == before | {'resume.pth': b'cut short'}

def test_where_no_checkpoint_is_whole_all_stay(begun):
    for name in ('resume', 'resume-before'): begun.path(name).write_bytes(b'cut short')
    before = contents(begun.model_dir)
    with pytest.raises(ValueError, match='no checkpoint in .* is whole .*begin again without --resume'): newest_checkpoint(begun, {'seed': 0})
    assert contents(begun.model_dir) == before

def test_what_is_put_aside_overwrites_nothing(begun, capsys):
    whole = begun.path('resume').read_bytes()
    for content in (b'one', b'two', b'three'):
        begun.path('resume').write_bytes(content)
        newest_checkpoint(begun, {'seed': 0})
    assert [begun.path(f'refused{n}-resume').read_bytes() for n in ('', '-2', '-3')] == [b'one', b'two', b'three']
    for _ in range(2):
        begun.path('resume').write_bytes(whole)
        next(run_stages(begun, STAGES, plan={'seed': 1}))                       # a new run
    assert begun.path('old-resume').read_bytes() == whole == begun.path('old-2-resume').read_bytes()

def test_another_folder_of_images_is_another_run(begun, few_pets, tmp_path):
    "As many images of the same names in another folder: the same run if they are of the same size, else not"
    plan = plan_of(begun, STAGES, 0)
    for _ in run_stages(begun, STAGES, plan=plan): pass
    shutil.copytree(few_pets, tmp_path/'moved')
    def planned(pets): return plan_of(cnn_learner(get_data(32, 8, path=pets, workers=0), 'resnet18', weights=None, precision='fp32'), STAGES, 0)
    assert planned(tmp_path/'moved') == plan
    image = next((tmp_path/'moved').rglob('*.jpg'))
    image.write_bytes(image.read_bytes() + bytes(8))
    before = contents(begun.model_dir)
    with pytest.raises(ValueError, match="was begun with names and sizes of the images '"): newest_checkpoint(begun, planned(tmp_path/'moved'))
    assert contents(begun.model_dir) == before and newest_checkpoint(begun, planned(few_pets)) is not None

def test_a_run_tells_its_options(begun, tmp_path):
    assert resume_options(tmp_path/'nowhere') == {}
    options = dict(data='pets', arch=None, size=64, epochs=[2, 1, 2], seed=0)
    for _ in run_stages(begun, STAGES, plan={'seed': 0}, options=options): pass
    assert resume_options(begun.model_dir) == options
    begun.path('resume').write_bytes(b'cut short')                              # then those of the one before
    assert resume_options(begun.model_dir) == options and begun.path('resume').exists()
    state = read_checkpoint(begun.path('resume-before'))
    torch.save({k: v for k, v in state.items() if k != 'options'}, begun.path('resume'))   # as petcam 1 wrote it
    with pytest.raises(ValueError, match='resume.pth does not say with which options'): resume_options(begun.model_dir)

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
