"""The schedule, the optimiser and the loop do what fastai v1 does; files are never half-written."""
import hashlib, os, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from torch import nn
from petcam.data import get_data
from petcam.files.storage import atomic_write
from petcam import __version__
from petcam.onecycle import Learner, cnn_learner, defaults_for, lr_range, one_cycle
from petcam.resize import lesson_learner, lesson_stages
from petcam.training.checkpoints import trained_folder
from petcam.training.optimizer import set_rates, train_step

def test_vectors(golden):
    for name, case in golden['one_cycle_v1'].items():
        lrs, moms = one_cycle(case['n_steps'], case['max_lr'], pct_start=case['pct_start'])
        rtol = 1e-8 if name.startswith('e_') else 1e-12           # case e was printed with fewer digits
        np.testing.assert_allclose(lrs, case['lr_per_step'], rtol=rtol, err_msg=name)
        np.testing.assert_allclose(moms, case['mom_per_step'], rtol=1e-12, err_msg=name)

def test_real_stages(golden):
    for name, case in golden['one_cycle_v1_real_stages'].items():
        lrs, moms = one_cycle(case['n_steps'], case['max_lr'], pct_start=case['pct_start'])
        for ours, theirs in ((lrs[0], case['first_lr']), (lrs[case['peak_step']], case['lr_at_peak']), (lrs[case['mid_rise_step']], case['lr_mid_rise'])):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(lrs[-1], case['last_lr'], rtol=1e-9, err_msg=name)   # 1 + cos(pi u) cancels near the end
        np.testing.assert_allclose(moms[-1], case['last_mom'], rtol=1e-12)

def test_lr_range(golden):
    np.testing.assert_allclose(lr_range(slice(1e-5,1e-1), 5), golden['lr_range']['slice(1e-5,1e-1) 5 groups'], rtol=1e-12)
    assert lr_range(1e-2, 3) == [1e-2]*3

class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        for name, value in dict(w=2., b=-1., gamma=1., beta=0.).items(): setattr(self, name, nn.Parameter(torch.tensor(value)))

def test_optimiser_equals_fastais(golden):
    case, model = golden['optimizer_true_wd_5steps'], nn.Sequential(nn.Sequential(Fixed()), nn.Identity())
    learn = Learner(type('D', (), dict(device=torch.device('cpu')))(), model)
    fixed, grads = model[0][0], dict(w=[1,-.5,.25,2,0], b=[.5]*5, gamma=[-.1]*5, beta=[.2]*5)
    for k, (lr, mom) in enumerate(zip([.1,.2,.3,.2,.1], [.95,.93,.9,.87,.85])):
        for name, g in grads.items(): getattr(fixed, name).grad = torch.tensor(float(g[k]))
        set_rates(learn.opt, [lr]*3, mom, 1e-2); learn.opt.step()
        ours = [getattr(fixed, name).item() for name in ('w','b','gamma','beta')]
        np.testing.assert_allclose(ours, case['param_values_after_each_step_w_b_gamma_beta'][k], rtol=1e-6, atol=1e-7)

def tiny_body():
    "A body of two small convolutions"
    return nn.Sequential(nn.Conv2d(3,8,3,2,1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8,16,3,2,1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))

@pytest.fixture
def learn(few_pets, tmp_path):
    torch.manual_seed(0)
    data = get_data(32, 8, path=few_pets, workers=0)
    return cnn_learner(data, tiny_body(), weights=None, model_dir=tmp_path/'models', precision='fp32')

def test_two_colours_are_learnt(few_pets, learn, capsys):
    learn.fit_one_cycle(6, 1e-2)
    assert learn.validate()[1] == 0
    table = capsys.readouterr().out.strip().split('\n')
    assert table[-7].split() == ['epoch', 'train_loss', 'valid_loss', 'error_rate', 'time'] and table[-1].split()[0] == '5'

def test_validation_counts_every_image_once(learn):
    logits, y, losses = learn.predictions()
    one_by_one = [nn.functional.cross_entropy(learn.model(learn.data.one_item(x)), torch.tensor([k])).item() for x, k in (learn.data.valid_ds[i] for i in range(len(y)))]
    np.testing.assert_allclose(losses, one_by_one, rtol=1e-3, atol=1e-4)
    assert len(y) == 8 and learn.validate()[0] == pytest.approx(np.mean(one_by_one), rel=1e-3)

def test_leftover_gradients_do_not_leak(learn):
    xb, yb = next(iter(learn.data.valid_dl))
    learn.model.eval()
    clean = {n: p.clone() for n, p in learn.model.named_parameters()}
    def step(): set_rates(learn.opt, [1e-3]*3, .9, 0); train_step(learn.model, learn.opt, learn.loss_func, xb, yb)
    step()
    once = [p.clone() for p in learn.model.parameters()]
    with torch.no_grad():
        for n, p in learn.model.named_parameters(): p.copy_(clean[n]); p.grad = torch.full_like(p, 9.)
    learn._renew(); step()
    for a, b in zip(once, learn.model.parameters()): torch.testing.assert_close(a, b)

def test_new_data_keeps_the_optimiser_and_unfreezing_renews_it(learn, few_pets):
    learn.fit_one_cycle(1, 1e-3)
    opt, moments = learn.opt, len(learn.opt.state)
    learn.data = get_data(64, 8, path=few_pets, workers=0)
    learn.fit_one_cycle(1, 1e-3)
    assert learn.opt is opt and len(learn.opt.state) == moments > 0
    learn.unfreeze()
    assert learn.opt is not opt and not learn.opt.state

def test_save_and_load(learn):
    learn.fit_one_cycle(1, 1e-3)
    path = learn.save('3_1e-2_0.8')
    assert path.name == '3_1e-2_0.8.pth'
    weights, steps = learn.model[1][4].weight.clone(), {len(s) for s in learn.opt.state.values()}
    nn.init.zeros_(learn.model[1][4].weight); learn._renew()
    learn.load('3_1e-2_0.8')
    assert torch.equal(weights, learn.model[1][4].weight) and {len(s) for s in learn.opt.state.values()} == steps

def test_a_file_of_other_classes_is_refused(learn):
    learn.save('x')
    learn.data = replace(learn.data, classes=['cat', 'dog'])
    with pytest.raises(ValueError, match='other classes'): learn.load('x')

@pytest.mark.parametrize('content', [b'', b'half a file'])
def test_a_broken_file_is_named(learn, content):
    learn.model_dir.mkdir(); learn.path('x').write_bytes(content)
    with pytest.raises(ValueError, match='x.pth is not a whole file'): learn.load('x')

def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    (tmp_path/'r.html').write_text('old')
    def dies(aside):
        open(aside, 'w').write('ne')
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): atomic_write(tmp_path/'r.html', dies)
    assert (tmp_path/'r.html').read_text() == 'old' and len(list(tmp_path.iterdir())) == 1

def test_too_few_images_for_a_batch(few_pets):
    learn = cnn_learner(get_data(32, 64, path=few_pets, workers=0), tiny_body(), weights=None)
    with pytest.raises(ValueError, match='32 training images do not fill one batch of 64'): learn.fit_one_cycle(1)

def test_bf16_says_what_fp32_says(few_pets, learn):
    learn.fit_one_cycle(2, 1e-2)
    answers = {}
    for learn.precision in ('fp32', 'bf16'): answers[learn.precision] = learn.predictions()[0]
    assert answers['bf16'].dtype == torch.float32 and not torch.equal(*answers.values())   # 8 bits of fraction: it does differ
    torch.testing.assert_close(*answers.values(), rtol=0, atol=.03*float(answers['fp32'].abs().max()))

def test_bf16_learns(few_pets, tmp_path):
    torch.manual_seed(0)
    learn = cnn_learner(get_data(32, 8, path=few_pets, workers=0), tiny_body(), weights=None, model_dir=tmp_path, precision='bf16')
    learn.fit_one_cycle(6, 1e-2)
    assert learn.validate()[1] == 0 and all(p.dtype == torch.float32 for p in learn.model.parameters())

def test_an_unknown_precision_is_named(learn):
    with pytest.raises(ValueError, match="precision is 'fp8'"): Learner(learn.data, learn.model, precision='fp8')

def test_a_loss_that_is_no_number_stops_the_training(learn):
    with torch.no_grad(): learn.model[0][0].weight.fill_(float('nan'))
    with pytest.raises(ValueError, match='the loss of batch 1 in epoch 0 is nan'): learn.fit_one_cycle(1, 1e-3)

def test_sparing_biases_and_norms_from_decay_is_what_torch_does(learn):
    "One step with gradients of zero: what decays shrinks by 1-lr*wd, the rest stays"
    spared = Learner(learn.data, learn.model, learn.model_dir, decay_all=False)
    before = {n: p.clone() for n, p in spared.model.named_parameters()}
    for p in spared.model.parameters(): p.grad = torch.zeros_like(p)
    set_rates(spared.opt, [.1]*3, .9, .5); spared.opt.step()
    for n, p in spared.model.named_parameters(): torch.testing.assert_close(p, before[n]*(.95 if p.ndim > 1 else 1))

def test_a_fully_frozen_body_keeps_its_averages(learn):
    learn.freeze(batch_norms=True)
    before = {k: v.clone() for k, v in learn.model[0].state_dict().items()}
    learn.fit_one_cycle(1, 1e-2)
    assert all(torch.equal(v, before[k]) for k, v in learn.model[0].state_dict().items())
    learn.freeze(); learn.fit_one_cycle(1, 1e-2)
    assert not torch.equal(learn.model[0][1].running_mean, before['1.running_mean'])

@pytest.fixture
def no_names(monkeypatch):
    for name in ('PETCAM_ARCH', 'PETCAM_WEIGHTS', 'PETCAM_EPOCHS'): monkeypatch.delenv(name, raising=False)

def test_the_environment_names_the_network(no_names, monkeypatch, few_pets, tmp_path):
    assert defaults_for('toy') == ('mobilenet_v3_small', 'toy') and defaults_for('real') == ('resnet34', 'imagenet')
    given = cnn_learner(get_data(32, 8, path=few_pets, workers=0), 'resnet18', weights=None)
    torch.save(given.model[0].state_dict() | {f'{a}.{k}': v for a, i in dict(conv1=0, bn1=1, layer1=4, layer2=5, layer3=6, layer4=7).items()
                                              for k, v in given.model[0][i].state_dict().items()}, tmp_path/'w.pth')
    monkeypatch.setenv('PETCAM_ARCH', 'resnet18')
    assert defaults_for('real') == ('resnet18', 'imagenet')
    monkeypatch.setenv('PETCAM_WEIGHTS', str(tmp_path/'w.pth'))
    learn = cnn_learner(given.data)
    assert learn.about['arch'] == 'resnet18' and torch.equal(learn.model[0][0].weight, given.model[0][0].weight)
    monkeypatch.setenv('PETCAM_WEIGHTS', 'none')
    assert defaults_for('real') == ('resnet18', None)

def test_a_trained_network_is_found_again_under_its_old_name(no_names, monkeypatch):
    class Drawn: images, files, kind = Path('/nowhere/images'), ['a', 'b'], 'toy'
    plan = lesson_stages('toy')
    words = repr((__version__, '/nowhere/images', 2, plan, 'mobilenet_v3_small', 16, 0, ''))
    assert words.count("Stage(name='stage-1', size=96, frozen=True, epochs=3, max_lr=slice(None, 0.01, None), pct_start=0.8)") == 1
    folder = trained_folder(Drawn, plan, 'mobilenet_v3_small', 16, 0)
    assert folder.name == f'toy-mobilenet_v3_small-{hashlib.sha256(words.encode()).hexdigest()[:8]}'
    monkeypatch.setenv('PETCAM_WEIGHTS', 'other.pth')
    assert trained_folder(Drawn, plan, 'mobilenet_v3_small', 16, 0) != folder

@pytest.mark.parametrize('text', ['0', '1.5', 'two'])
def test_epochs_that_are_no_whole_number_are_refused(no_names, monkeypatch, few_pets, text):
    monkeypatch.setenv('PETCAM_EPOCHS', text)
    with pytest.raises(ValueError, match=f"PETCAM_EPOCHS is '{text}'; expected a whole number above 0"): lesson_learner(path=few_pets)

def test_the_environment_says_how_long_the_lessons_train(no_names, monkeypatch, few_pets, tmp_path):
    for name, value in dict(PETCAM_ARCH='resnet18', PETCAM_WEIGHTS='none', PETCAM_EPOCHS='1', PETCAM_CACHE=str(tmp_path)).items(): monkeypatch.setenv(name, value)
    monkeypatch.setattr('petcam.resize.PLANS', dict(real=[replace(s, size=32) for s in lesson_stages('real')]))
    learn = lesson_learner(upto=1, path=few_pets, bs=8)
    assert len(learn.rows) == 1 and learn.about['arch'] == 'resnet18'
    again = lesson_learner(upto=1, path=few_pets, bs=8)
    assert again.model_dir == learn.model_dir and not again.rows and torch.equal(again.model[0][0].weight, learn.model[0][0].weight)

@pytest.mark.skipif(sys.platform == 'win32', reason='needs a pseudo terminal')
def test_in_a_terminal_a_bar_moves_and_is_gone_afterwards():
    import fcntl, pty, struct, subprocess, termios
    script = """
import time
from petcam.training.progress import LiveTable
table = LiveTable(1)
with table.bar(3) as bar:
    for _ in range(3): time.sleep(.3); bar.set_postfix_str('loss 1.500', refresh=False); bar.update()
table.row(0, 1.5, 1.2, .25, 61)
"""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))   # 24 rows of 100 characters
    p = subprocess.Popen([sys.executable, '-c', script], stdout=theirs, stderr=subprocess.STDOUT)
    os.close(theirs)
    text = b''
    while True:
        try: more = os.read(ours, 4096)
        except OSError: break
        if not more: break
        text += more
    assert p.wait() == 0
    text = text.decode()
    assert 'epoch 1/1' in text and 'loss 1.500' in text and '2/3' in text
    lines = [line.split('\r')[-1].strip() for line in text.replace('\r\n', '\n').split('\n')]
    assert [line.split()[0] for line in lines if line] == ['epoch', '0']
