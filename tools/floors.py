"""Who imports whom: the order of the modules in CONTRIBUTING's table, and what the code says.

Usage: tools/floors.py
It prints what each module imports, lowest first, and what contradicts the table.
"""
import ast
import re
import sys
from project import ROOT, dotted, modules

HEAD = '| floor | modules |\n| --- | --- |\n'

def table():
    "The modules in the order of CONTRIBUTING's table, row by row"
    text = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
    assert HEAD in text, f'CONTRIBUTING.md has no table that begins with {HEAD.splitlines()[0]!r}'
    rows = text.split(HEAD)[1].split('\n\n')[0].splitlines()
    return re.findall(r'`([\w.]+)`', ''.join(row.split('|')[2] for row in rows))

def imported(name, source, known):
    "The modules of petcam that the module `name` imports, anywhere in its source"
    found, package = set(), ('petcam.' + name).split('.')[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} - {'petcam'}  # for its version or folder
        if isinstance(node, ast.ImportFrom):
            start = package[:len(package) - node.level + 1] if node.level else []
            base = '.'.join([*start, *filter(None, [node.module])])
            names = [alias.name for alias in node.names if alias.name != '__version__']
            if not names: continue
            below = {f'{base}.{n}' for n in names}
            found |= {m for m in below if m.removeprefix('petcam.') in known} or {base}
    return {m.removeprefix('petcam.') for m in found if m.split('.')[0] == 'petcam'}

def imports():
    "What each module imports: {module: modules}"
    paths = {dotted(path): path for path in modules()}
    source = lambda path: path.read_text(encoding='utf-8')
    return {name: imported(name, source(path), paths) for name, path in paths.items()}

def wrong(order, uses):
    "What contradicts the order: a module that is missing, or imports what stands after it"
    twice = sorted({name for name in order if order.count(name) > 1})
    found = [f'{name} is not in the table' for name in uses if name not in order]
    found += [f'{name} is in the table, and no such module' for name in order if name not in uses]
    found += [f'{name} stands in the table twice' for name in twice]
    for i, name in enumerate(order):
        after = sorted(uses.get(name, set()) - set(order[:i]))
        if after: found.append(f'{name} imports {", ".join(after)}, which it stands before')
    return found

def lowest_first(uses):
    "The modules, each after those that it imports; an error where they form a circle"
    left, done = dict(uses), []
    while left:
        free = sorted(name for name, used in left.items() if not used & left.keys())
        if not free: raise ValueError(f'modules that import each other in a circle: {sorted(left)}')
        done += free
        for name in free: del left[name]
    return done

def main():
    uses = imports()
    for name in lowest_first(uses): print(f'{name}: {", ".join(sorted(uses[name]))}')
    problems = wrong(table(), uses)
    print(*problems, sep='\n')
    return 1 if problems else 0

if __name__ == '__main__': sys.exit(main())
