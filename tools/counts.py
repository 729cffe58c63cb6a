"""Counts of the notebooks and the module: a thermometer, not a rule; no test holds them.

Usage: tools/counts.py [--json]

Visible code leaves out cells with `#| hide`. Minutes are words/200 + visible code lines/10.
A stretch is exported code with no output between. Private words are those that the field has
a standard term for.
"""
import ast
import io
import json
import re
import statistics
import sys
import tokenize
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from project import ROOT, lessons, workshop

WORDS_A_MINUTE, LINES_A_MINUTE = 200, 10
LONGEST_LINE, COPIED = 100, 6   # columns; equal lines in a row that count as a copy

PRIVATE = re.compile('|'.join([
    r'\bpictures?\b', r'\bways? back\b', r'\b(?:go|goes|gone) back\b',
    r'\bspeaks? (?:for|against)\b', r'\bthe model eats\b', r'\bby chance\b', r'\bkept back\b',
    r'\bgraphics cards?\b', r'\bhill\b', r'\bwish(?:es)?\b', r'\brather than\b', r'\bbusy\b',
    r'\btelephone\b', r'\basked for\b',
]), re.I)
NOT_PROSE = re.compile(r'```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$', re.S)
HIDDEN, EXPORTED = re.compile(r'#\|\s*hide\b'), re.compile(r'^#\|\s*exporti?\b', re.M)
MARKUP = re.compile(r'function\s*\w*\(|=>|</\w+>|\{[^}]*:[^}]*;')

@dataclass
class NotebookCounts:
    "What is counted in one notebook"
    words:int = 0       # of prose
    code:int = 0        # lines of visible code
    exported:int = 0    # of these, in the module
    stretch:int = 0     # the longest run of exported lines without an output
    private:int = 0     # private words

    @property
    def share(self):
        "The fraction of the visible code that is exported"
        return self.exported/self.code if self.code else 0

    @property
    def minutes(self):
        "How long it takes to read"
        return self.words/WORDS_A_MINUTE + self.code/LINES_A_MINUTE

def code_lines(source):
    "The number of lines that hold code: neither empty nor a directive"
    return sum(bool(line.strip()) and not line.startswith('#|') for line in source.splitlines())

def count_notebook(path):
    "The counts of the notebook at `path`"
    counts, run = NotebookCounts(), 0
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            prose = NOT_PROSE.sub(' ', source)
            counts.words += len(re.findall(r"[A-Za-z']+", prose))
            counts.private += len(PRIVATE.findall(prose))
        if cell['cell_type'] != 'code' or HIDDEN.match(source): continue
        n = code_lines(source)
        counts.code += n
        if EXPORTED.search(source):
            counts.exported += n
            run += n
        if cell.get('outputs'): run = 0
        counts.stretch = max(counts.stretch, run)
    return counts

@dataclass
class ModuleCounts:
    "What is counted in all files of the module together"
    files:int = 0
    exports:int = 0
    functions:list = field(default_factory=list)        # lines of each
    tokens:list = field(default_factory=list)           # in each line that has any
    wide:list = field(default_factory=list)             # lines over 100 columns
    mixins_used_once:list = field(default_factory=list)
    markup_in_strings:list = field(default_factory=list)
    copies:list = field(default_factory=list)           # places whose lines stand elsewhere, too

def tokens_per_line(source):
    "How many names, operators, numbers and strings each line has"
    per_line, counted = Counter(), (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in counted: per_line[token.start[0]] += 1
    return list(per_line.values())

def exports(tree):
    "The length of `__all__`"
    listed = [n.value for n in tree.body if isinstance(n, ast.Assign)
              and any(getattr(t, 'id', '') == '__all__' for t in n.targets)]
    return sum(len(value.elts) for value in listed)

def used_once(trees):
    "Private classes that exactly one class is derived from"
    classes = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    users = Counter(base.id for c in classes for base in c.bases if isinstance(base, ast.Name))
    return sorted(c.name for c in classes if c.name.startswith('_') and users[c.name] == 1)

def copies(sources): # {place: source} -> ['a.py:12 = b.py:40', ...]
    "Runs of six or more equal lines; empty lines, imports and comments do not count"
    seen, found = {}, defaultdict(list)
    for place, source in sources.items():
        lines = [(i, line.strip()) for i, line in enumerate(source.splitlines(), 1)]
        lines = [(i, line) for i, line in lines if line and not re.match(r'#|from |import ', line)]
        last = None
        for start in range(len(lines) - COPIED + 1):
            text = tuple(line for _, line in lines[start:start + COPIED])
            here = place, lines[start][0]
            first = seen.setdefault(text, here)
            if first != here and last != start - 1: found[first].append(here)
            if first != here: last = start      # the next lines belong to the same copy
    return [' = '.join(f'{p}:{i}' for p, i in [a, *others]) for a, others in found.items()]

def count_module(paths):
    "The counts of the files at `paths`"
    counts, trees, sources = ModuleCounts(files=len(paths)), [], {}
    for path in paths:
        source, place = path.read_text(encoding='utf-8'), path.relative_to(ROOT).as_posix()
        tree = ast.parse(source)
        trees.append(tree)
        sources[place] = source
        counts.exports += exports(tree)
        counts.tokens += tokens_per_line(source)
        for i, line in enumerate(source.splitlines(), 1):
            if len(line) > LONGEST_LINE: counts.wide.append(f'{place}:{i}')
        for n in ast.walk(tree):
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
                counts.functions.append(n.end_lineno - n.lineno + 1)
            text = str(n.value) if isinstance(n, ast.Constant) else ''
            if text.count('\n') > 3 and MARKUP.search(text):
                counts.markup_in_strings.append(f'{place}:{n.lineno}')
    counts.mixins_used_once, counts.copies = used_once(trees), copies(sources)
    return counts

def percentile(values, part):
    "The value that `part` of the others do not exceed"
    return sorted(values)[int(part*(len(values) - 1))] if values else 0

def print_notebooks(title, counted):
    "A table of notebooks, and their sum"
    if not counted: return
    print(f"{title:24}  words  code  exported  minutes  stretch  private")
    total = NotebookCounts()
    for name, c in counted.items():
        print(f'{name:24}{c.words:7}{c.code:6}{c.share:10.0%}{c.minutes:9.0f}{c.stretch:9}{c.private:9}')
        total.words += c.words
        total.code += c.code
        total.exported += c.exported
        total.private += c.private
        total.stretch = max(total.stretch, c.stretch)
    t, hours = total, f'{total.minutes/60:.1f} h'
    print(f"{'together':24}{t.words:7}{t.code:6}{t.share:10.0%}{hours:>9}{t.stretch:9}{t.private:9}\n")

def print_module(counts):
    "The module's counts, a line each; of lists their length and how they begin"
    lines = counts.functions or [0]
    middle, nine_tenths = statistics.median(lines), percentile(lines, .9)
    print(f'{"module":24}{counts.files} files, {counts.exports} exports')
    print(f'{"functions":24}{len(lines)}')
    print(f'{"their lines":24}median {middle:g}, 90 % {nine_tenths}, max {max(lines)}')
    print(f'{"tokens a line":24}{statistics.mean(counts.tokens or [0]):.1f}')
    lists = {'lines over 100 columns': counts.wide, 'mixins used once': counts.mixins_used_once,
             'markup in strings': counts.markup_in_strings, 'copied six lines': counts.copies}
    for name, found in lists.items():
        print(f'{name:24}{len(found)}', *found[:5], *['...']*(len(found) > 5), sep='  ')

def main():
    taught = {p.stem: count_notebook(p) for p in lessons()}
    built = {p.stem: count_notebook(p) for p in workshop()}
    files = [p for p in sorted((ROOT/'petcam').rglob('*.py')) if p.name != '_modidx.py']
    counts = count_module(files)
    if '--json' in sys.argv[1:]:
        notebooks = {name: asdict(c) for name, c in (taught | built).items()}
        print(json.dumps(dict(notebooks=notebooks, module=asdict(counts))))
        return
    print_notebooks('lessons', taught)
    print_notebooks('workshop', built)
    print_module(counts)

if __name__ == '__main__': main()
