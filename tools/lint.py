"""Lint the project: ruff with the rules in pyproject.toml, and one statement a line."""
import ast
import subprocess
import sys
from project import ROOT, lessons, workshop

LESSON_COLUMNS = 88  # the site shows no more without cutting

def ruff(paths, *options):
    "Run ruff on `paths`; is all well?"
    command = [sys.executable, '-m', 'ruff', 'check', '--quiet', '--output-format=concise']
    done = subprocess.run([*command, *options, *map(str, paths)], cwd=ROOT)
    return done.returncode == 0

def may_follow(parent):
    "What may stand in the line of `parent`: of a one-line `if` the first statement of each branch"
    return parent.body[:1] + parent.orelse[:1] if isinstance(parent, ast.If) else []

def not_alone(source):
    "Lines where a statement begins behind the colon of another (ruff finds semicolons)"
    lines, found = source.splitlines(), set()
    for parent in ast.walk(ast.parse(source)):
        allowed = may_follow(parent)
        for child in ast.iter_child_nodes(parent):
            if not isinstance(child, ast.stmt) or child in allowed: continue
            before = lines[child.lineno - 1].encode()[:child.col_offset].decode().strip()
            if before.endswith(':'): found.add(child.lineno)
    return sorted(found)

def origin(lines, number):
    "The cell that a line of the module was exported from"
    above = (line[5:] for line in lines[number - 1::-1] if line.startswith('# %% '))
    return next(above, 'written by hand')

def statements(paths):
    "Print where two statements share a line; is all well?"
    found = []
    for path in paths:
        source = path.read_text(encoding='utf-8')
        for number in not_alone(source):
            where = origin(source.splitlines(), number)
            at = f'{path.relative_to(ROOT)}:{number}'
            found.append(f'{at}: more than one statement in a line ({where})')
    print(*found, sep='\n', end='\n'*bool(found))
    return not found

def main():
    module = [p for p in sorted((ROOT/'petcam').rglob('*.py')) if p.name != '_modidx.py']
    wide = ruff(['petcam', 'tools', 'tests', 'setup.py', *workshop()])
    narrow = ruff(lessons(), f'--line-length={LESSON_COLUMNS}')
    alone = statements(module)
    return 0 if wide and narrow and alone else 1

if __name__ == '__main__': sys.exit(main())
