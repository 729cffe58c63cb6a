"""The reference: a page for each module, read from its source, and first one for the front door.

A page has signatures, the comments beside the arguments, and an example that a test runs. It begins
with what people come for: names of the front door, then those that most lessons import.
"""
import ast
import importlib
import io
import re
import shutil
import tokenize
from collections import Counter
from functools import cache
import nbformat
from docs_words import is_chinese, tr
from project import FIRST_OF_WORKSHOP, ROOT, dotted, lessons, modules, notebook_of

FRONT = 'petcam'    # the page about what `import petcam` gives

class Module:
    "What the source of a module says about it"
    def __init__(self, path):
        self.name, source = dotted(path), path.read_text(encoding='utf-8')
        self.lines, tree = source.splitlines(), ast.parse(source)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = [t for t in tokens if t.type == tokenize.COMMENT]
        self.comments = {t.start[0]: t.string.lstrip('# ') for t in comments}
        self.about, self.notebook = ast.get_docstring(tree), notebook_of(path)
        self.defs, self.taken = {}, {}      # what is defined here; what is imported: {name: module}
        for node in tree.body: self.note(node)
        listed = self.defs.pop('__all__', None)
        self.names = sorted(ast.literal_eval(listed.value) if listed else [], key=self.place)

    def note(self, node):
        "Note what a statement at the top defines or imports"
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): self.defs[node.name] = node
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self.defs |= {n.id: node for n in ast.walk(target) if isinstance(n, ast.Name)}
        if isinstance(node, ast.ImportFrom):
            package = ['petcam', *self.name.split('.')][:-node.level] if node.level else []
            home = '.'.join([*package, *filter(None, [node.module])]).removeprefix('petcam.')
            self.taken |= {a.asname or a.name: home for a in node.names}

    def line(self, name):
        "Where a name is defined; one that is imported from another module comes last"
        return self.defs[name].lineno if name in self.defs else 10**6

    def place(self, name):
        "A sort key: functions and classes first, among them those that most readers need"
        beside = self.is_value(name) or self.is_error(name)
        known = name in homes() or name == self.name.rpartition('.')[2]
        return name not in self.defs, beside, not known, -used()[name], self.line(name)

    def is_value(self, name): return isinstance(self.defs.get(name), ast.Assign)

    def is_error(self, name): # a class of errors
        bases = getattr(self.defs.get(name), 'bases', [])
        return any(ast.unparse(base).endswith('Error') for base in bases)

    def summary(self, name):
        "What a name is, in one line"
        if self.is_value(name): return f'`{self.value(name)}`'
        if name in self.defs: return ast.get_docstring(self.defs[name]) or ''
        return f'from `petcam.{self.taken[name]}`'

    def value(self, name):
        "The value of a constant, in one line"
        target, value = self.defs[name].targets[0], self.defs[name].value
        pairs = zip(target.elts, value.elts) if isinstance(target, ast.Tuple) else [(target, value)]
        text = next(ast.unparse(v) for t, v in pairs if t.id == name)
        return text if len(text) <= 100 else text[:97] + '...'

    def anchor(self, name):
        "Where a name stands on the page: `Verdict` comes before `verdict`"
        before = [n.lower() for n in self.names[:self.names.index(name)]]
        return name.lower() + '-1'*(name.lower() in before)

    @property
    def group(self):
        "0: a lesson's module, 1: a product, 2: in a package"
        if '.' in self.name: return 2
        return int(int(re.match(r'\d*', self.notebook or '')[0] or 0) >= FIRST_OF_WORKSHOP)

    @property
    def source_page(self):
        "Where the notebook is on the site, seen from the reference"
        number = int(re.match(r'\d+', self.notebook)[0])
        teaches = number < FIRST_OF_WORKSHOP
        folder = 'lessons' if teaches else 'workshop'
        kind, file = 'lesson' if teaches else 'notebook', f'{self.notebook}.ipynb'
        return f'{kind} [{self.notebook}](../{folder}/{file})'

def all_modules():
    "Every module that exports something, in the order of the reference"
    found = [m for m in map(Module, modules()) if m.names]
    package = lambda m: m.name.rpartition('.')[0]
    first = {}      # the first notebook of each package
    for m in found: first[package(m)] = min(m.notebook or '', first.get(package(m), '~'))
    def order(m):
        return m.group, first[package(m)] if '.' in m.name else '', package(m), m.notebook or ''
    return {m.name: m for m in sorted(found, key=order)}

def arguments(f): # -> [(argument, as it is written in a signature)], without self
    a, out = f.args, []
    defaults = [None]*(len(a.args) - len(a.defaults)) + a.defaults
    plain, named = zip(a.args, defaults), zip(a.kwonlyargs, a.kw_defaults)
    for arg, default in [*plain, (a.vararg, None), *named, (a.kwarg, None)]:
        if arg is None or arg.arg in ('self', 'cls') and arg is a.args[0]: continue
        stars = '*'*(arg is a.vararg) + '**'*(arg is a.kwarg)
        kind = f':{ast.unparse(arg.annotation)}' if arg.annotation else ''
        out.append((arg, stars + arg.arg + kind + (f'={ast.unparse(default)}' if default else '')))
    return out

def signature(name, f, wide=88):
    "The signature in one line, or an argument a line where it is long"
    parts = [text for _, text in arguments(f)]
    back = f'->{ast.unparse(f.returns)}' if f.returns else ''
    line = f'{name}({", ".join(parts)}){back}'
    if len(line) <= wide: return line
    return f'{name}(\n' + ''.join(f'    {p},\n' for p in parts) + f'){back}'

def cell(text):
    "`text` in a cell of a table"
    return text.replace('|', r'\|')

def table(head, rows):
    "A table in markdown; nothing if it has no rows"
    if not rows: return ''
    lines = [head, ['---']*len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)

def told(module, f): # what the comments say: [(arguments, meaning)], and about what comes back
    groups, end = {}, (f.returns or (f.args.args or [f])[-1]).lineno
    for arg, _ in arguments(f): groups.setdefault(arg.lineno, []).append(arg.arg)
    about = {line: module.comments[line] for line in groups if line in module.comments}
    last = ''
    for line in range(end, f.body[0].lineno):
        free = line not in groups or f.returns and line == end
        if line in module.comments and free and not last: last = module.comments[line]
    rows = [(', '.join(f'`{a}`' for a in names), about[line])
            for line, names in groups.items() if line in about and about[line] != last]
    return rows, last

def parameters(module, f):
    "The arguments and what comes back, in a table"
    rows, last = told(module, f)
    if last: rows.append(('*gives*', f'`{ast.unparse(f.returns)}`: {last}' if f.returns else last))
    rows = [[cell(who), cell(code_like(what))] for who, what in rows]
    return table(['argument', 'what it is'], rows)

def code_like(text): # shapes such as (b,c,h,w) in the type of code
    return re.sub(r'(?<![`\w])(\((?:[\w\'*+/.-]+,)+[\w\'*+/.-]*\))(?!`)', r'`\1`', text)

def members(module, c): # its own and those of its private bases in the module, by name
    found = {}
    for base in c.bases:
        if isinstance(base, ast.Name) and base.id.startswith('_') and base.id in module.defs:
            found |= members(module, module.defs[base.id])
    own = [n for n in c.body if isinstance(n, ast.FunctionDef)]
    return found | {n.name: n for n in own if not n.name.startswith('_')}

def fields(module, c):
    "The fields of a dataclass, in a table"
    rows, all_fields = [], [n for n in c.body if isinstance(n, ast.AnnAssign)]
    for n in all_fields:
        if n.target.id.startswith('_'): continue
        value = ast.unparse(n.value) if n.value else ''
        text = f'{n.target.id}:{ast.unparse(n.annotation)}'
        if value and 'field(' not in value: text += f'={value}'
        alone = sum(o.lineno == n.lineno for o in all_fields) == 1
        about = module.comments.get(n.lineno, '') if alone else ''
        rows.append([f'`{cell(text)}`', cell(code_like(about))])
    return table(['field', 'what it is'], rows)

def methods(module, c):
    "The methods and properties of a class, in a table"
    rows = []
    for name, f in members(module, c).items():
        how = [ast.unparse(d) for d in f.decorator_list]
        if any('setter' in d for d in how): continue
        text = name if any('property' in d for d in how) else signature(name, f, 10**6)
        last = told(module, f)[1]
        about = ' '.join(filter(None, [ast.get_docstring(f), f'({last})' if last else '']))
        rows.append([f'`{cell(text)}`', cell(code_like(about))])
    return table(['method', 'what it does'], rows)

def maker(node):
    "The function whose arguments one gives: itself, or a class's `__init__`"
    if isinstance(node, ast.FunctionDef): return node
    own = [f for f in node.body if isinstance(f, ast.FunctionDef)]
    return next((f for f in own if f.name == '__init__'), None)

def entry(module, name, example):
    "All about one name, as markdown"
    out = [f'## `{name}`']
    if module.is_value(name):
        return '\n\n'.join([*out, f'```python\n{name} = {module.value(name)}\n```', example])
    if name not in module.defs:
        home = module.taken[name]
        return '\n\n'.join([*out, f'The same as `{name}` of [`petcam.{home}`]({home}.md).'])
    node = module.defs[name]
    made = maker(node)
    if made: out.append(f'```python\n{signature(name, made)}\n```')
    out.append((ast.get_docstring(node) or '') + '.')
    if 'contextmanager' in map(ast.unparse, node.decorator_list): out.append('For a `with` block.')
    if made: out.append(parameters(module, made))
    if isinstance(node, ast.ClassDef): out += [fields(module, node), methods(module, node)]
    return '\n\n'.join(filter(None, [*out, example]))

def examples(name): # -> what stands before the first name, {name: example}
    "The examples of a module, from docs/examples; tests/test_site.py runs them"
    path = ROOT/'docs'/'examples'/f'{name}.md'
    text = path.read_text(encoding='utf-8') if path.exists() else ''
    first, *rest = re.split(r'^## (\w+)\n', text, flags=re.M)
    def code(example):
        example = re.sub(r' *# doctest:.*', '', example.strip())
        return f'```pycon\n{example}\n```' if example else ''
    return code(first), {n: code(example) for n, example in zip(rest[::2], rest[1::2])}

def page(module):
    "The page of a module"
    first, shown = examples(module.name)
    rows = [[f'[`{n}`](#{module.anchor(n)})', cell(module.summary(n))] for n in module.names]
    top = [f'# `petcam.{module.name}`', module.about or '']
    if module.notebook: top.append(f'Written, explained and tested in the {module.source_page}.')
    top.append(table(['name', 'what it is'], rows))
    if first: top.append(f'The examples below begin with\n\n{first}')
    return '\n\n'.join([*top, *(entry(module, n, shown.get(n, '')) for n in module.names)]) + '\n'

@cache
def homes():
    "The names of the front door and the modules that they live in: {'grad_cam': 'gradcam', ...}"
    found = getattr(importlib.import_module('petcam'), '_HOMES', {})
    return {name: home.removeprefix('petcam.') for name, home in found.items()}

@cache
def used(): # -> {name: in how many lessons}
    "How many lessons import a name"
    found = Counter()
    for path in lessons():
        cells = nbformat.read(path, 4).cells
        source = '\n'.join(c.source for c in cells if c.cell_type == 'code')
        tree = ast.parse(re.sub('^[ ]*[%!].*|[?]+$', '', source, flags=re.M))
        taken = [o for o in ast.walk(tree) if isinstance(o, ast.ImportFrom)]
        found.update({a.name for o in taken if o.module.startswith('petcam') for a in o.names})
    return found

def home_of(name, module, found):
    "The module that defines a name, where `module` only passes it on"
    while module in found and name not in found[module].defs and name in found[module].taken:
        module = found[module].taken[name]
    return module

def front_page(found):
    "What `import petcam` gives: a table of the names, each with a link"
    rows = []
    for name, module in homes().items():
        home = found.get(home_of(name, module, found))
        listed = home is not None and name in home.names
        link, about = f'`petcam.{name}`', ''
        if listed:
            link = f'[{link}]({home.name}.md#{home.anchor(name)})'
            about = cell(home.summary(name))
        rows.append([link, about, f'`petcam.{module}`'])
    words = ('`import petcam` is light: none of these modules, and no PyTorch, is loaded before '
             'one of its names is used. `dir(petcam)` and the Tab key know them all.')
    title = f'# `{FRONT}`'
    return '\n\n'.join([title, words, table(['name', 'what it is', 'lives in'], rows)]) + '\n'

def link_to(name):
    "A link to a module's page from the page `Reference`; the pages are in English only"
    module = FRONT if name == FRONT else f'{FRONT}.{name}'
    if is_chinese(): return f'<a href="../api/{name}.html" hreflang="en">`{module}`</a>'
    return f'{{doc}}`{module} <api/{name}>`'

def overview(found):
    "The list of modules on the page `Reference`"
    head, parts = [tr('module'), tr('what it is for'), tr('names')], []
    groups = tr('One module for each lesson'), tr('The products'), tr('What they stand on')
    if homes():
        parts.append(tr('The names one needs most often are there after `import petcam`: {front}.',
                        front=link_to(FRONT)))
    for group, title in enumerate(groups):
        rows = []
        for m in found.values():
            names = ', '.join(f'`{n}`' for n in m.names)
            link = link_to(m.name)
            if m.group == group: rows.append([link, m.about or '', names])
        if rows: parts += [f'## {title}', table(head, rows)]
    if is_chinese(): return '\n\n'.join(parts) + '\n'
    pages = [f'api/{FRONT}']*bool(homes()) + [f'api/{name}' for name in found]
    return '\n\n'.join([*parts, '```{toctree}\n:hidden:\n\n' + '\n'.join(pages) + '\n```']) + '\n'

def write_all(to):
    "A page for each module and a list of them into the folder `to`"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    found = all_modules()
    (to/'modules.txt').write_text(overview(found), encoding='utf-8')
    if is_chinese(): return
    for name, module in found.items():
        (to/f'{name}.md').write_text(page(module), encoding='utf-8')
    if homes(): (to/f'{FRONT}.md').write_text(front_page(found), encoding='utf-8')
