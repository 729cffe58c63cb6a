"""README.md is what tools/readme.py makes of nbs/index.ipynb, its links lead somewhere and its example runs."""
import json, re, sys
from pathlib import Path
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import readme
from project import lessons

README = (ROOT/'README.md').read_text(encoding='utf-8')

def test_it_is_in_step_with_the_notebook():
    text, figures = readme.convert(json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8')))
    assert text == README, 'run `make readme`'
    for name, image in figures.items(): assert (ROOT/name).read_bytes() == image and len(image) <= 50_000
    assert 60 <= len(README.splitlines()) <= 110

def test_its_links_lead_somewhere():
    links = [o for o in re.findall(r'\]\(([^)]+)\)', README) if '//' not in o]
    assert len(links) > 15 and not [o for o in links if not (ROOT/o).exists()]

def test_it_names_every_lesson():
    assert not [f.name for f in lessons() if f'](nbs/{f.name})' not in README]

def test_its_example_runs():
    example, = re.findall(r'```python\n(.*?)```\n\n```text\n(.*?)\n```', README, flags=re.S)
    *lines, last = example[0].strip().splitlines()
    names = {}
    exec('\n'.join(lines), names)
    assert repr(eval(last, names)) == example[1]
    alone = names['petcam'].grad_cam(names['model'], 'layer4', names['x'][1:], 0)         # the comments beside the calls are true
    torch.testing.assert_close(names['maps'][1:], alone, rtol=1e-4, atol=1e-5)

@pytest.mark.parametrize('link,seen', [('[a](00a_data.ipynb)', '[a](nbs/00a_data.ipynb)'), ('[a](../LICENSE)', '[a](LICENSE)'),
                                       ('[a](https://x.org/b)', '[a](https://x.org/b)'), ('[a](#two)', '[a](#two)')])
def test_links_are_seen_from_the_root(link, seen): assert readme.from_root(link) == seen
