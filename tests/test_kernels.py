"""The convolution of the lesson on kernels in JavaScript, beside torch's; and the lesson where there is no Node."""
import json, shutil, subprocess
from pathlib import Path
import pytest
import torch
import torch.nn.functional as F

ROOT = Path(__file__).parents[1]

def lesson_cells(name):
    cells = json.loads((ROOT/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
    return [''.join(c['source']) for c in cells if c['cell_type'] == 'code']

@pytest.mark.skipif(not shutil.which('node'), reason='Node is not installed')
@pytest.mark.parametrize('image, kernels, stride', [
    ((1, 3, 3), (1, 1, 3, 3), 1), ((3, 9, 12), (5, 3, 3, 3), 1), ((4, 9, 12), (5, 4, 3, 2), 2), ((2, 11, 7), (3, 2, 2, 5), 3),
    ((6, 5, 8), (4, 6, 1, 1), 1), ((3, 20, 17), (2, 3, 7, 7), 4)])
def test_javascript_computes_what_torch_does(image, kernels, stride):
    own = torch.Generator().manual_seed(0)
    x, k = (torch.randn(shape, generator=own, dtype=torch.double) for shape in (image, kernels))
    call = f'console.log(JSON.stringify(convolution({x.tolist()}, {k.tolist()}, {stride})))'
    script = (ROOT/'petcam'/'web'/'convolution.js').read_text(encoding='utf-8')
    out = subprocess.run(['node'], input=f'{script}\n{call}', capture_output=True, text=True, check=True).stdout
    torch.testing.assert_close(torch.tensor(json.loads(out), dtype=torch.double), F.conv2d(x[None], k, stride=stride)[0], atol=1e-12, rtol=1e-12)

def test_the_script_is_as_short_as_the_lesson_says():
    assert len((ROOT/'petcam'/'web'/'convolution.js').read_text(encoding='utf-8').splitlines()) <= 20

@pytest.mark.parametrize('node', [None, 'node'])
def test_the_lesson_compares_where_there_is_node_and_says_where_there_is_none(node, capsys, monkeypatch):
    if node and not shutil.which('node'): pytest.skip('Node is not installed')
    cell, = [source for source in lesson_cells('05_kernels') if source.startswith('def in_node')]
    script = (ROOT/'petcam'/'web'/'convolution.js').read_text(encoding='utf-8')
    if not node: monkeypatch.setattr(shutil, 'which', lambda name: None)
    t, k = torch.rand(3, 12, 14), torch.randn(1, 3, 3, 3)
    names = dict(json=json, shutil=shutil, subprocess=subprocess, torch=torch, F=F, script=script, t=t, k=k)
    exec(cell, names)
    said = capsys.readouterr().out
    assert said.startswith('largest difference from torch' if node else 'Node is not installed')
    if node: # a mistake in the script would be noticed
        names['script'] = script.replace('row + i', 'row - i + 2')
        with pytest.raises(AssertionError): exec(cell, names)
