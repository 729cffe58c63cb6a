"""axe-core, which finds what keeps people with a screen reader or a keyboard out; npm gets it when the tests run."""
import os, shutil, subprocess, tarfile
from functools import cache
from pathlib import Path
import pytest

VERSION = '4.14.1'
AT = Path(__file__).parents[1]/'build'/f'axe-core-{VERSION}'

@cache
def source():
    "The script, from npm's registry the first time"
    script = AT/'axe.min.js'
    if not script.exists():
        if not shutil.which('npm'): pytest.skip('npm is not installed: axe-core is not here (apt-get install npm)')
        AT.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(['npm', 'pack', '--silent', f'axe-core@{VERSION}'], cwd=AT, capture_output=True, text=True, timeout=120)
        if done.returncode: pytest.skip(f'npm could not get axe-core {VERSION}: {done.stderr[-200:]}')
        with tarfile.open(AT/f'axe-core-{VERSION}.tgz') as archive: data = archive.extractfile('package/axe.min.js').read()
        aside = script.with_suffix(f'.{os.getpid()}')      # several processes may be here at once
        aside.write_bytes(data)
        aside.replace(script)
    return script.read_text(encoding='utf-8')

RUN = '''([within, only]) => axe.run(within, {resultTypes: ['violations'], elementRef: false, ...only}).then(found => found.violations
    .filter(o => ['serious', 'critical'].includes(o.impact))
    .flatMap(o => o.nodes.map(n => `${o.id}: ${n.html.replace(/\\s+/g, ' ').slice(0, 120)}`)))'''

def violations(tab, *rules, within='html'):
    "What is serious or critical in a part of a Playwright tab's page, under all rules or only those named"
    if not tab.evaluate('!!window.axe'): tab.evaluate(source())
    return tab.evaluate(RUN, [within, dict(runOnly=list(rules)) if rules else {}])
