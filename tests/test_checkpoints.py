"""A file of weights is whole, makes sense and fits, or it is refused by name and nothing has changed."""
import copy, itertools, math, os, pickle, subprocess, sys, zipfile
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from torch import nn
from petcam.onecycle import Learner, lr_range, one_cycle
from petcam.resize import lesson_learner, lesson_stages
from petcam.training.checkpoints import read_checkpoint
from petcam.training.memory import largest_batch
from petcam.training.optimizer import matching_state, new_optimizer, set_rates
from petcam.training.precision import autocast
from petcam.training.processes import accelerator_for
from petcam.training.progress import Smoother
from petcam.training.weights import check_tensor, read_tensors, write_tensors

class Colours:
    "Red and green images"
    device, classes, c, bs, size, kind = torch.device('cpu'), ['red', 'green'], 2, 16, 8, 'toy'
    def __init__(self):
        y = torch.arange(32) % 2
        x = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))*.2 + .6*torch.eye(3)[y][:, :, None, None]
        self.train_dl = self.valid_dl = list(zip(x.split(16), y.split(16)))
        self.train_ds = self.valid_ds = list(zip(x, y))
    def one_item(self, image): return image[None]

def tiny(channels=4, head=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU()), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, head)))

@pytest.fixture
def learn(tmp_path):
    learn = Learner(Colours(), tiny(), tmp_path)
    learn.fit_one_cycle(1, 1e-2)
    return learn

def facts(learn): return copy.deepcopy([*learn.model.state_dict().values(), *(v for s in learn.opt.state.values() for v in s.values())])

def unchanged(learn, before):
    after = facts(learn)
    return len(before) == len(after) and all(torch.equal(a, b) for a, b in zip(before, after))

# ---------- whole ----------

def test_each_flipped_bit_is_found(learn):
    "All bits of some bytes everywhere in a small file: in the archive's own bytes too"
    path = learn.save('x')
    whole = path.read_bytes()
    for i, bit in zip(range(0, len(whole), max(1, len(whole)//300)), itertools.cycle(range(8))):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i+1:])
        with pytest.raises(ValueError, match='x.pth '): learn.load('x')
    path.write_bytes(whole)
    assert learn.load('x') is learn

def test_a_flipped_bit_in_the_numbers_of_another_programs_file_is_found(tmp_path):
    "The oracle is Python's zipfile: it knows where the numbers lie"
    path = tmp_path/'theirs.pth'
    torch.save(nn.Linear(100, 100).state_dict(), path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive: data = max(archive.infolist(), key=lambda o: o.file_size)
    at = whole.index(zipfile.ZipFile(path).read(data.filename)) + data.file_size//2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at+1:])
    assert torch.load(path, weights_only=True)['weight'].shape == (100, 100)   # torch alone does not see it
    with pytest.raises(ValueError, match='theirs.pth is not a whole file of weights .its checksum'): read_tensors(path)

@pytest.mark.parametrize('new', [True, False], ids=['zip', 'before 1.6'])
def test_files_without_our_checksum_load_as_ever(learn, new):
    state = dict(model=learn.model.state_dict(), opt=learn.opt.state_dict(), about=dict(classes=['red', 'green']))
    torch.save(state, learn.path('old'), _use_new_zipfile_serialization=new)
    other = Learner(Colours(), tiny(), learn.model_dir)
    nn.init.zeros_(other.model[0][0].weight)
    other.load('old')
    assert unchanged(other, facts(learn))

def test_what_is_written_is_what_torch_reads(learn):
    ours, theirs = learn.save('x'), torch.load(learn.path('x'), weights_only=True)
    assert theirs.keys() == {'model', 'opt', 'about'} and all(torch.equal(v, learn.model.state_dict()[k]) for k, v in theirs['model'].items())
    assert zipfile.ZipFile(ours).testzip() is None

class Program:
    def __reduce__(self): return os.getcwd, ()

@pytest.mark.parametrize('content', [nn.Linear(2, 2), {'model': nn.Linear(2, 2), 'opt': None}, {'a': np.ones(3)}, Program()], ids=['model', 'export', 'numpy', 'program'])
def test_a_file_of_python_objects_is_called_that(learn, content):
    torch.save(content, learn.path('x'))
    with pytest.raises(ValueError, match=r'x.pth holds Python objects; save model.state_dict\(\)'): learn.load('x')

def test_odd_files_are_named(tmp_path):
    os.mkfifo(tmp_path/'fifo.pth')
    (tmp_path/'folder.pth').mkdir()
    for name, said in (('fifo', 'is not a regular file'), ('folder', 'is not a regular file'), ('gone', 'does not exist')):
        with pytest.raises(FileNotFoundError, match=f'{name}.pth {said}'): read_checkpoint(tmp_path/f'{name}.pth')
    pickle.dump({'a': 1}, open(tmp_path/'pickle.pth', 'wb'))
    (tmp_path/'text.pth').write_text('cut short')
    for name in ('pickle', 'text'):
        with pytest.raises(ValueError, match=f'{name}.pth '): read_checkpoint(tmp_path/f'{name}.pth')

@pytest.mark.skipif(sys.platform == 'win32', reason='needs a limit of the file size')
def test_a_full_disk_is_an_error_of_the_file_and_leaves_the_old_one(tmp_path):
    "In a process of its own, whose files may have 20 kB"
    script = f'''
import resource, signal, torch
from petcam.files.storage import atomic_write
from petcam.training.weights import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
path = {str(tmp_path/'x.pth')!r}
atomic_write(path, lambda aside: write_tensors(dict(a=torch.ones(9)), aside))
try: atomic_write(path, lambda aside: write_tensors(dict(a=torch.ones(99_999)), aside))
except OSError as e: print(e.errno)
'''
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert done.stdout == '27\n' and done.stderr == ''
    assert read_tensors(tmp_path/'x.pth')['a'].tolist() == [1]*9 and len(list(tmp_path.iterdir())) == 1

# ---------- makes sense ----------

@pytest.mark.parametrize('field, value', [
    ('about', ['resnet18']), ('about.arch', 3), ('about.classes', 'red'), ('about.classes', []), ('about.classes', [1, 2]), ('about.size', 10**7), ('about.size', 0), ('about.size', 8.),
    ('about.size', True), ('about.bn_final', 'yes'), ('about.kind', None), ('plan', [1]), ('plan.seed', {}), ('options', 'x'), ('done', {}), ('done', [[]]), ('now', None), ('now.rows', [(0, 1.)]),
    ('now.losses', ['x']), ('now.smooth', (1., -1)), ('now.random', torch.zeros(5056)), ('now.random', torch.zeros(9, dtype=torch.uint8)), ('now.random_cuda', 3)])
def test_types_and_bounds_are_checked_on_reading(learn, field, value):
    now = dict(learn.history, smooth=(1., 2), random=torch.get_rng_state(), random_cuda=None)
    state = dict(torch.load(learn.save('x'), weights_only=True), plan={'seed': 0}, options={}, done=[learn.history], now=now)
    write_tensors(state, learn.path('x'))
    assert read_checkpoint(learn.path('x'))['done'] == [learn.history]
    part, _, key = field.rpartition('.')
    (state[part] if part else state)[key] = value
    write_tensors(state, learn.path('x'))
    with pytest.raises(ValueError, match=f'x.pth: {field if part == "about" or key in ("smooth", "random", "random_cuda") else part or field} is .*; expected'): read_checkpoint(learn.path('x'))

ODD = dict(
    nan=lambda w: w*math.nan, infinity=lambda w: w/0, sparse=lambda w: w.to_sparse(), meta=lambda w: w.to('meta'), complex=lambda w: w.cfloat(), list=lambda w: w.tolist(),
    float8=lambda w: w.to(torch.float8_e4m3fn), overlapping=lambda w: torch.rand(5000).as_strided((2000, 2000), (1, 1)), quantized=lambda w: torch.quantize_per_tensor(w, .1, 0, torch.qint8),
    nested=lambda w: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))

@pytest.mark.parametrize('kind', ODD)
@pytest.mark.filterwarnings('ignore')
def test_a_tensor_that_is_no_numbers_is_refused_by_its_name(learn, kind):
    state, before = torch.load(learn.save('x'), weights_only=True), facts(learn)
    state['model']['0.0.weight'] = ODD[kind](torch.rand(4, 3, 3, 3))
    torch.save(state, learn.path('x'))
    with pytest.raises(ValueError, match='x.pth: 0.0.weight '): learn.load('x')
    assert unchanged(learn, before)

def test_a_repeated_number_costs_no_memory_and_is_no_fault():
    check_tensor(torch.ones(1).expand(10**15), 'mask', 'x.pth')
    with pytest.raises(ValueError, match='not finite'): check_tensor(torch.full((1,), math.nan).expand(10**15), 'mask', 'x.pth')

def test_a_wrapped_state_dict_is_read(tmp_path):
    torch.save({'state_dict': {'a': torch.ones(2)}, 'epoch': 3}, tmp_path/'x.pth')
    assert read_checkpoint(tmp_path/'x.pth')['model'].keys() == {'a'}

def test_what_could_not_be_read_again_is_not_written(learn):
    learn.about['arch'] = 3
    with pytest.raises(ValueError, match='x.pth: about.arch is 3'): learn.save('x')
    learn.about['arch'] = 'tiny'
    with pytest.raises(ValueError, match='what is to be saved holds Python objects; .*Path'): learn.save('x', note=Path('a'))
    assert not list(learn.model_dir.iterdir())

# ---------- fits ----------

@pytest.mark.parametrize('change', [
    None,    lambda o: o.pop('state'), lambda o: o.update(param_groups='x'), lambda o: o.update(param_groups=torch.ones(3)), lambda o: o['param_groups'][0].update(betas=torch.ones(2)), lambda o: o['param_groups'].pop(), lambda o: o['param_groups'][0].update(lr=math.nan),
    lambda o: o['param_groups'][0].pop('betas'), lambda o: o['state'].update({99: o['state'][0]}), lambda o: o['state'][0].pop('step'), lambda o: o['state'][0].update(exp_avg=torch.ones(9)),
    lambda o: o['state'][0].update(exp_avg_sq=torch.ones(4, 3, 3, 3).to_sparse()), lambda o: o['state'][0].update(exp_avg=torch.full((4, 3, 3, 3), math.inf)), lambda o: o.update(state=[1])])
@pytest.mark.filterwarnings('ignore')
def test_an_optimiser_that_does_not_fit_leaves_the_model_too(learn, change):
    state = torch.load(learn.save('x'), weights_only=True)
    if change: change(state['opt'])
    else: state['opt'] = torch.ones(3)
    state['model'] = {k: v + 1 for k, v in state['model'].items()}
    torch.save(state, learn.path('x'))
    before = facts(learn)
    with pytest.raises(ValueError, match='x.pth: .*opt'): learn.load('x')
    assert unchanged(learn, before)
    learn.fit_one_cycle(1, 1e-3)

def test_an_optimiser_of_other_groups_is_refused_before_the_model_changes(learn):
    learn.save('x')
    other = Learner(Colours(), tiny(), learn.model_dir, decay_all=False)
    before = facts(other)
    with pytest.raises(ValueError, match=r"x.pth: the optimiser's groups have \[4, 0, 2\] parameters, and not \[1, 3, 0, 0, 1, 1\]"): other.load('x')
    assert unchanged(other, before)

def test_the_state_of_an_optimiser_is_torchs_own(learn):
    "What `matching_state` lets through loads as torch would load the whole"
    ours, theirs = new_optimizer(learn.model), new_optimizer(learn.model)
    saved = learn.opt.state_dict()
    ours.load_state_dict(matching_state(ours, saved, 'x.pth')); theirs.load_state_dict(saved)
    a, b = ours.state_dict(), theirs.state_dict()
    assert a['param_groups'] == b['param_groups'] and all(torch.equal(a['state'][i][k], v) for i, s in b['state'].items() for k, v in s.items())

@pytest.mark.parametrize('other', [tiny(5), tiny(4, 3)], ids=['wider', 'more classes'])
def test_weights_of_another_network_change_nothing(learn, other):
    write_tensors(dict(model=other.state_dict()), learn.path('x'))
    before = facts(learn)
    with pytest.raises(ValueError, match='x.pth does not fit this model'): learn.load('x')
    assert unchanged(learn, before)

def test_whole_numbers_do_not_stand_for_weights(learn):
    write_tensors(dict(model={k: v.long() for k, v in learn.model.state_dict().items()}), learn.path('x'))
    with pytest.raises(ValueError, match='x.pth does not fit this model'): learn.load('x')

def test_a_damaged_network_in_the_cache_is_trained_again(few_pets, tmp_path, monkeypatch, capsys):
    for name, value in dict(PETCAM_ARCH='squeezenet1_1', PETCAM_WEIGHTS='none', PETCAM_EPOCHS='1', PETCAM_CACHE=str(tmp_path)).items(): monkeypatch.setenv(name, value)
    monkeypatch.setattr('petcam.resize.PLANS', dict(real=[replace(s, size=32) for s in lesson_stages('real')]))
    learn = lesson_learner(upto=1, path=few_pets, bs=8)
    path = learn.path('stage-1')
    path.write_bytes(path.read_bytes()[:-100])
    again = lesson_learner(upto=1, path=few_pets, bs=8)
    assert 'stage-1.pth is not a whole file' in capsys.readouterr().out and len(again.rows) == 1
    assert lesson_learner(upto=1, path=few_pets, bs=8).rows == []              # and now it is found

# ---------- numbers ----------

@pytest.mark.parametrize('f', [
    lambda: lr_range('x', 3), lambda: lr_range(math.nan, 3), lambda: lr_range(-1, 3), lambda: lr_range(slice(None), 3), lambda: lr_range(slice('a', 'b'), 3), lambda: lr_range(slice(0, 1e-2), 3),
    lambda: lr_range(slice(1e-3, math.inf), 3), lambda: lr_range(1e-2, 0), lambda: lr_range(1e-2, 2.5), lambda: one_cycle(5, math.nan), lambda: one_cycle(5, 'x'), lambda: one_cycle(5, [.1, None]),
    lambda: one_cycle(5, []), lambda: one_cycle(2.5, .1), lambda: one_cycle(0, .1), lambda: one_cycle(10**30, .1), lambda: one_cycle(5, .1, moms=.9), lambda: one_cycle(5, .1, moms=(.9,)),
    lambda: one_cycle(5, .1, moms=(math.nan, .8)), lambda: one_cycle(5, .1, moms=(1., .8)), lambda: one_cycle(5, .1, div_factor=0), lambda: one_cycle(5, .1, div_factor=math.nan), lambda: one_cycle(5, .1, div_factor=-5),
    lambda: one_cycle(5, .1, pct_start='x'), lambda: one_cycle(5, .1, pct_start=math.nan), lambda: one_cycle(5, .1, final_div=0), lambda: one_cycle(5, slice(1e-2)), lambda: Smoother(1), lambda: Smoother(math.nan),
    lambda: lesson_stages('nope'), lambda: lesson_stages(size=math.nan), lambda: lesson_stages(size=0), lambda: lesson_stages(epochs=5), lambda: lesson_stages(epochs=[1, 2]), lambda: lesson_stages(epochs=[1, 0, 1]),
    lambda: lesson_learner(0), lambda: lesson_learner(4), lambda: largest_batch(None, 1), lambda: autocast(torch.device('cpu'), 'nope').__enter__()])
def test_numbers_that_make_no_sense_are_refused_with_what_was_expected(f):
    with pytest.raises(ValueError, match='expected'): f()

@pytest.mark.parametrize('wrong', [dict(lrs=[]), dict(lrs=[math.nan]*3), dict(mom=2), dict(mom=math.nan), dict(wd=-1), dict(wd=math.inf)])
def test_rates_that_make_no_sense_are_refused(learn, wrong):
    before = copy.deepcopy(learn.opt.state_dict()['param_groups'])
    with pytest.raises(ValueError, match='expected'): set_rates(learn.opt, **dict(lrs=[1e-3]*3, mom=.9, wd=0.) | wrong)
    assert 'lrs' in wrong or learn.opt.state_dict()['param_groups'] == before

@pytest.mark.parametrize('wrong', [dict(epochs=0), dict(epochs=1.5), dict(epochs=10**12), dict(epochs='2'), dict(max_lr=-1), dict(wd=math.nan), dict(pct_start=2)])
def test_a_training_that_makes_no_sense_changes_nothing(learn, wrong):
    before = facts(learn)
    with pytest.raises(ValueError, match='expected'): learn.fit_one_cycle(**dict(epochs=1, max_lr=1e-3) | wrong)
    assert unchanged(learn, before)

def test_rates_of_another_length_are_refused_before_the_first_batch(learn):
    before = facts(learn)
    with pytest.raises(ValueError, match=r'lrs and moms have the shapes \(3, 3\) and \(3,\); expected \(4, 3\) and \(4,\), for 4 batches'): learn.fit(2, np.ones((3, 3)), np.ones(3)*.9)
    assert unchanged(learn, before)

@pytest.mark.parametrize('model', [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))])
def test_a_learner_wants_a_body_and_a_head(model):
    with pytest.raises(ValueError, match=r'expected nn.Sequential\(body, head\)'): Learner(Colours(), model)

# ---------- processes ----------

@pytest.mark.parametrize('names', [dict(RANK='1'), dict(RANK='2', WORLD_SIZE='2'), dict(RANK='-1', WORLD_SIZE='2'), dict(WORLD_SIZE='two'), dict(WORLD_SIZE='0')])
def test_a_process_that_would_train_and_write_nothing_is_refused(monkeypatch, names):
    accelerator_for.cache_clear()
    for name in ('RANK', 'WORLD_SIZE'): monkeypatch.delenv(name, raising=False)
    for name, value in names.items(): monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match='RANK is .* and WORLD_SIZE .*expected both'): Learner(Colours(), tiny())
