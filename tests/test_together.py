"""Two processes under `accelerate launch` train as one does; only the first one prints and writes."""
import os, subprocess, sys
from pathlib import Path
import pytest
import torch
from torch import nn
import torch.nn.functional as F
from petcam.data import get_data
from petcam.onecycle import Learner, lr_range, one_cycle
from petcam.training.optimizer import set_rates
pytest.importorskip('accelerate', reason="needs Accelerate: pip install 'petcam[accelerate]'")

def launch(*words, **env):
    return subprocess.run([sys.executable, '-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2', '--num_machines', '1',
                           '--mixed_precision', 'no', '--dynamo_backend', 'no', '--main_process_port', '0', *map(str, words)],
                          capture_output=True, text=True, timeout=500, env=os.environ | env)

def learner(folder, norm, model_dir='models', bs=8):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return Learner(get_data(32, bs, path=folder, workers=0), nn.Sequential(body, nn.Sequential(nn.Flatten(), nn.Linear(8, 37))), model_dir)

SCRIPT = '''
import os, sys
sys.path.insert(0, {tests!r})
from test_together import learner
folder, norm, out = sys.argv[1:]
learn = learner(folder, norm == 'norm', f'{{out}}/{{os.environ["RANK"]}}')
learn.fit_one_cycle(2, 1e-2)
learn.save('end', losses=learn.losses)
'''

def by_two(folder, norm, tmp_path):
    script = tmp_path/'train.py'
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    done = launch(script, folder, norm, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path/'1').exists()                                          # the second one wrote nothing
    return torch.load(tmp_path/'0'/'end.pth', weights_only=True)

def test_without_batch_norm_two_processes_are_one(few_pets, tmp_path):
    learn = learner(few_pets, False)
    learn.fit_one_cycle(2, 1e-2)
    two = by_two(few_pets, 'plain', tmp_path)
    for name, w in learn.model.state_dict().items(): torch.testing.assert_close(two['model'][name], w, rtol=1e-4, atol=1e-6, msg=lambda m: f'{name}: {m}')
    torch.testing.assert_close(two['losses'], learn.losses, rtol=1e-5, atol=0)

def test_batch_norm_sees_the_halves(few_pets, tmp_path):
    "The oracle goes through the halves of each batch in turn and averages their losses; the running statistics are the first half's"
    learn = learner(few_pets, True)
    net, opt, norm = learn.model.train(), learn.opt, learn.model[0][1]
    rates, moms = one_cycle(2*len(learn.data.train_dl), lr_range(1e-2, len(opt.param_groups)))
    k = 0
    for _ in range(2):
        for x, y in learn.data.train_dl:
            set_rates(opt, rates[k], moms[k], 1e-2); opt.zero_grad(); k += 1
            before = {n: b.clone() for n, b in norm.named_buffers()}
            F.cross_entropy(net(x[4:]), y[4:]).div(2).backward()
            for n, b in norm.named_buffers(): b.copy_(before[n])
            F.cross_entropy(net(x[:4]), y[:4]).div(2).backward()
            opt.step()
    two = by_two(few_pets, 'norm', tmp_path)
    for name, w in net.state_dict().items(): torch.testing.assert_close(two['model'][name], w, rtol=1e-4, atol=1e-6, msg=lambda m: f'{name}: {m}')

def test_petcam_run_speaks_and_writes_once(few_pets, tmp_path):
    done = launch('--no_python', Path(sys.executable).with_name('petcam'), 'run', '--data', few_pets, '--epochs', '1', '--size', 64, '--bs', 8,
                  '--weights', 'toy', '--arch', 'mobilenet_v3_small', '--out', tmp_path/'out')
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('in 2 processes') == done.stdout.count('error of the three stages') == 1 and done.stdout.count('train_loss') == 3
    assert sorted(p.name for p in (tmp_path/'out').rglob('*') if p.is_file()) == ['report.html', 'report.json', 'resume-before.pth', 'resume.pth', 'stage-1.pth', 'stage-2.pth', 'stage-3.pth']

def test_a_share_of_one_image_is_refused(few_pets, tmp_path):
    done = launch('--no_python', Path(sys.executable).with_name('petcam'), 'run', '--data', few_pets, '--bs', 2, '--size', 64, '--weights', 'toy', '--arch', 'mobilenet_v3_small', '--out', tmp_path/'out')
    assert done.returncode != 0 and 'batches of 1 in each process: batch norm needs at least 2 images' in done.stderr
