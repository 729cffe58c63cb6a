"""The reference: a page for each module, read from its source; signatures, comments beside the arguments, and an example that a test runs."""
import ast, io, re, shutil, tokenize
from docs_notebooks import ROOT

PUBLIC = [o for o in sorted((ROOT/'petcam').glob('*.py')) if not o.stem.startswith('_')]

class Module:
    "What the source of a module says about it"
    def __init__(self, path):
        self.name, source = path.stem, path.read_text(encoding='utf-8')
        self.lines, tree = source.splitlines(), ast.parse(source)
        self.comments = {t.start[0]: t.string.lstrip('# ') for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT}
        self.about, self.defs = ast.get_docstring(tree), {}
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)): self.defs[node.name] = node
            if isinstance(node, ast.Assign): self.defs |= {n.id: node for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        self.names = sorted(ast.literal_eval(self.defs.pop('__all__').value), key=lambda n: self.defs[n].lineno)
        self.lesson = re.search(r'File to edit: \.\./nbs/(\S+)\.ipynb', source)[1]

    def summary(self, name):
        node = self.defs[name]
        return ast.get_docstring(node) or '' if not isinstance(node, ast.Assign) else f'`{self.value(name)}`'

    def value(self, name): # of a constant, in one line
        node = self.defs[name]
        pairs = zip(node.targets[0].elts, node.value.elts) if isinstance(node.targets[0], ast.Tuple) else [(node.targets[0], node.value)]
        text = next(ast.unparse(v) for t, v in pairs if t.id == name)
        return text if len(text) <= 100 else text[:97] + '...'

def arguments(f): # -> [(argument, as it is written in a signature)], without self
    a, out = f.args, []
    defaults = [None]*(len(a.args) - len(a.defaults)) + a.defaults
    for arg, default in [*zip(a.args, defaults), (a.vararg, None), *zip(a.kwonlyargs, a.kw_defaults), (a.kwarg, None)]:
        if arg is None or arg.arg in ('self', 'cls') and arg is a.args[0]: continue
        stars = '*'*(arg is a.vararg) + '**'*(arg is a.kwarg)
        kind = f':{ast.unparse(arg.annotation)}' if arg.annotation else ''
        out.append((arg, stars + arg.arg + kind + (f'={ast.unparse(default)}' if default else '')))
    return out

def signature(name, f, wide=88):
    "The signature in one line, or an argument a line where it is long"
    parts, back = [text for _, text in arguments(f)], f'->{ast.unparse(f.returns)}' if f.returns else ''
    line = f'{name}({", ".join(parts)}){back}'
    return line if len(line) <= wide else f'{name}(\n' + ''.join(f'    {p},\n' for p in parts) + f'){back}'

def cell(text): return text.replace('|', r'\|')

def told(module, f): # what the comments say: [(arguments, meaning)], and about what comes back
    groups, end = {}, (f.returns or (f.args.args or [f])[-1]).lineno
    for arg, _ in arguments(f): groups.setdefault(arg.lineno, []).append(arg.arg)
    about = {line: module.comments[line] for line in groups if line in module.comments}
    last = next((module.comments[l] for l in range(end, f.body[0].lineno) if l in module.comments and (l not in groups or f.returns and l == end)), '')
    rows = [(', '.join(f'`{a}`' for a in names), about[line]) for line, names in groups.items() if line in about and about[line] != last]
    return rows, last

def parameters(module, f):
    rows, last = told(module, f)
    if last: rows.append(('*gives*', f'`{ast.unparse(f.returns)}`: {last}' if f.returns else last))
    return '\n'.join(['| argument | what it is |', '| --- | --- |', *(f'| {cell(who)} | {cell(code_like(what))} |' for who, what in rows)]) if rows else ''

def code_like(text): # shapes such as (b,c,h,w) in the type of code
    return re.sub(r'(?<![`\w])(\((?:[\w\'*+/.-]+,)+[\w\'*+/.-]*\))(?!`)', r'`\1`', text)

def members(module, c): # its own and those of its private bases in the module, by name
    bases = [m for b in c.bases if isinstance(b, ast.Name) and b.id.startswith('_') for m in members(module, module.defs[b.id]).items()]
    return dict(bases) | {n.name: n for n in c.body if isinstance(n, ast.FunctionDef) and not n.name.startswith('_')}

def fields(module, c):
    rows = []
    for n in c.body:
        if not isinstance(n, ast.AnnAssign): continue
        kind, value = ast.unparse(n.annotation), '' if n.value is None or 'field(' in ast.unparse(n.value) else f'={ast.unparse(n.value)}'
        alone = sum(isinstance(o, ast.AnnAssign) and o.lineno == n.lineno for o in c.body) == 1
        rows.append(f'| `{cell(f"{n.target.id}:{kind}{value}")}` | {cell(code_like(module.comments.get(n.lineno, "") if alone else ""))} |')
    return '\n'.join(['| field | what it is |', '| --- | --- |', *rows]) if rows else ''

def methods(module, c):
    rows = []
    for name, f in members(module, c).items():
        how = [ast.unparse(d) for d in f.decorator_list]
        if any('setter' in d for d in how): continue
        text = name if any('property' in d for d in how) else signature(name, f, 10**6)
        about = ' '.join(filter(None, [ast.get_docstring(f) or '', f'({told(module, f)[1]})' if told(module, f)[1] else '']))
        rows.append(f'| `{cell(text)}` | {cell(code_like(about))} |')
    return '\n'.join(['| method | what it does |', '| --- | --- |', *rows]) if rows else ''

def entry(module, name, example):
    "All about one name, as markdown"
    node, out = module.defs[name], [f'## `{name}`']
    if isinstance(node, ast.Assign): return '\n\n'.join([*out, f'```python\n{name} = {module.value(name)}\n```', example])
    made = node if isinstance(node, ast.FunctionDef) else next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == '__init__'), None)
    if made: out.append(f'```python\n{signature(name, made)}\n```')
    out.append(ast.get_docstring(node) + '.')
    if 'contextmanager' in map(ast.unparse, node.decorator_list): out.append('For a `with` block.')
    if made: out.append(parameters(module, made))
    if isinstance(node, ast.ClassDef): out += [fields(module, node), methods(module, node)]
    return '\n\n'.join(filter(None, [*out, example]))

def examples(name): # -> what stands before the first name, {name: example}
    "The examples of a module, from docs/examples; tests/test_site.py runs them"
    path = ROOT/'docs'/'examples'/f'{name}.md'
    first, *rest = re.split(r'^## (\w+)\n', path.read_text(encoding='utf-8') if path.exists() else '', flags=re.M)
    code = lambda text: f"```pycon\n{re.sub(r' *# doctest:.*', '', text.strip())}\n```" if text.strip() else ''
    return code(first), {n: code(text) for n, text in zip(rest[::2], rest[1::2])}

def page(module):
    first, shown = examples(module.name)
    slug = lambda i, n: n.lower() + '-1'*(n.lower() in map(str.lower, module.names[:i]))   # `Verdict` comes before `verdict`
    index = '\n'.join(f'| [`{n}`](#{slug(i, n)}) | {cell(module.summary(n))} |' for i, n in enumerate(module.names))
    top = [f'# `petcam.{module.name}`', f'{module.about}', f'Written, explained and tested in the lesson [{module.lesson}](../lessons/{module.lesson}.ipynb).',
           f'| name | what it is |\n| --- | --- |\n{index}']
    if first: top.append(f'The examples below begin with\n\n{first}')
    return '\n\n'.join(top + [entry(module, n, shown.get(n, '')) for n in module.names]) + '\n'

def write_all(to):
    "A page for each module and a list of them, in the order of the lessons, into the folder `to`"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    modules = sorted(map(Module, PUBLIC), key=lambda m: m.lesson)
    for m in modules: (to/f'{m.name}.md').write_text(page(m), encoding='utf-8')
    table = '\n'.join(f'| {{doc}}`petcam.{m.name} <api/{m.name}>` | {m.about} | {", ".join(f"`{n}`" for n in m.names)} |' for m in modules)
    tree = '\n'.join(f'api/{m.name}' for m in modules)
    both = f'| module | what it is for | names |\n| --- | --- | --- |\n{table}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n'
    (to/'modules.txt').write_text(both, encoding='utf-8')
