"""What the program says, as a translator gets it: every sentence in the code, each once, in order.

Found in the source by `ast`, by one rule: a string with two words or more is said to somebody;
one with a single word is, if it is the title or label of something. Not counted are docstrings,
asserts, what is compared or looked up, and expressions for `re`. An f-string is a pattern:
`{0} at layer {1}`. Of the lessons' own cells those count that draw, without what they print.
"""
import ast
import json
import re
from functools import cache
from project import ROOT, lessons, modules
from zh_text import Words, once

# what a figure or a widget is given to show
SHOWN = {'title', 'titles', 'label', 'labels', 'xlabel', 'ylabel', 'desc', 'description', 'tooltip',
         'placeholder'}
SHOW = {'set_title', 'suptitle', 'set_xlabel', 'set_ylabel', 'set_label', 'text', 'annotate',
        'supxlabel', 'supylabel', 'set_xticklabels', 'set_yticklabels', 'set_text'}
SILENT = {'re', 'sub', 'fullmatch', 'search', 'compile', 'findall', 'split', 'getattr', 'hasattr',
          'filterwarnings', 'simplefilter', 'namedtuple', 'default_rng', 'replace', 'startswith',
          'endswith', 'removeprefix', 'einsum', 'import_module', 'find_spec', 'encode', 'partition'}

def elsewhere():
    "What no string in the code holds whole: `locale/elsewhere.txt`"
    lines = (ROOT/'locale'/'elsewhere.txt').read_text(encoding='utf-8').splitlines()
    return [o.replace('\\n', '\n') for o in lines if o and not o.startswith('#')]

# code, expressions, styles, lists of keys: two words that nobody is told
NOT_SAID = re.compile(r'[\\|]|lambda |import |^<|^\{\d\}-|^petcam [a-z]|^--\w+ \S+$|^slice\(|\dem|'
                      r'^(middle (soft|bold)|row wrap|solid solid .*|prick .*|thin plume .*|'
                      r'to have 3 channels.*|expected 4D input|single memory location|'
                      r'made by petcam)$')
DRAWS = re.compile(r'plt\.|Figure|plot_|show_|play\(|\.set\(|set_title|title=|titles=')

def _name(call): # of what is called
    f = call.func
    return f.attr if isinstance(f, ast.Attribute) else getattr(f, 'id', '')

def _holds_words(node):
    return any(isinstance(o, ast.Constant) and isinstance(o.value, str) and has_words(o.value, 1)
               for o in ast.walk(node))

def _parts(node): # of a string that is put together -> literals and values; None: no string
    if isinstance(node, ast.Constant): return [node.value] if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return [o.value for o in node.values]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [_parts(o) for o in (node.left, node.right)]
        if sides == [None, None]: return None
        whole = sum((p if p else [o] for p, o in zip(sides, (node.left, node.right))), [])
        values = [o for o in whole if not isinstance(o, str)]
        return None if any(map(_holds_words, values)) else whole
    if (isinstance(node, ast.Call) and _name(node) == 'format'
            and isinstance(node.func.value, ast.Constant)):
        pieces = re.split(r'\{[^{}]*\}', node.func.value.value)
        return [o for piece in pieces for o in (piece, node)][:-1]

def pattern(parts):
    "Literals and values as one string: `{0} of {1}`"
    said, n = '', 0
    for o in parts:
        said += o if isinstance(o, str) else f'{{{n}}}'
        n += not isinstance(o, str)
    return trimmed(said)

def trimmed(text):
    "Without the space and the marks with which a sentence is joined to others"
    return text.strip(" \n\t;:,")

def has_words(text, least=2):
    "Is it said to somebody? So many words, one of them in small letters"
    words = re.findall(r"[A-Za-z]+", re.sub(r'\{\d+\}|`[^`]*`|%\(\w+\)s', ' 0 ', text))
    joined = (' ' in text.strip() or least == 1) and not NOT_SAID.search(text)
    return joined and any(len(o) > 1 and o[1:].islower() for o in words)

class _Reader(ast.NodeVisitor):
    def __init__(self, silent=()):
        self.silent, self.found, self.errors = SILENT | {*silent}, [], []

    def say(self, node, least):
        parts = _parts(node)
        if parts is None: return False
        text = pattern(parts)
        if has_words(text, least): self.found.append(text)
        for o in parts:
            if not isinstance(o, str) and o is not node: self.visit(o)
        if parts and node in parts: # the values of a `format`
            for o in node.args: self.visit(o)
        return True

    def generic_visit(self, node):
        if not self.say(node, 2): super().generic_visit(node)

    def shown(self, node): # a title, or a list of them
        if isinstance(node, (ast.List, ast.Tuple)):
            for o in node.elts: self.shown(o)
        elif isinstance(node, ast.IfExp):
            self.visit(node.test)
            for o in (node.body, node.orelse): self.shown(o)
        elif not self.say(node, 1): self.visit(node)

    def visit_Call(self, node):
        name = _name(node)
        if name in self.silent: return
        if name == 'format' and self.say(node, 2): return
        self.visit(node.func)
        for o in node.args:
            if name in SHOW: self.shown(o)
            else: self.visit(o)
        for o in node.keywords:
            if o.arg in SHOWN: self.shown(o.value)
            elif o.arg != 'loc': self.visit(o.value)

    def visit_Expr(self, node): # not a docstring
        if not isinstance(node.value, ast.Constant): self.visit(node.value)

    def visit_Raise(self, node):
        before, self.found = self.found, self.errors
        super().generic_visit(node)
        self.found = before

    def visit_Assert(self, node): pass
    def visit_Compare(self, node): pass
    def visit_Subscript(self, node): self.visit(node.value)
    def visit_Import(self, node): pass

    def visit_FunctionDef(self, node):
        for o in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults),
                  *node.body): self.visit(o)

    def visit_AnnAssign(self, node):
        if node.value: self.visit(node.value)

def said_in(source):
    "The sentences in a program's source, and those of its errors"
    reader = _Reader()
    reader.visit(ast.parse(source))
    return reader.found, reader.errors

def drawn_in(cell):
    "The words in the figures of a lesson's cell"
    reader = _Reader(silent={'print'})
    if DRAWS.search(cell): reader.visit(ast.parse(cell))
    return reader.found

def _cells(notebook): # the code of a notebook, without magics
    cells = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    code = [''.join(o['source']) for o in cells if o['cell_type'] == 'code']
    return [re.sub(r'^\s*[%!].*$|\?+$', '', o, flags=re.M) for o in code]

def _said(files): # -> what they say, and their errors
    said, errors = [], []
    for p in files:
        place = p.relative_to(ROOT/'petcam').as_posix()
        for found, words in zip((said, errors), said_in(p.read_text(encoding='utf-8'))):
            found += [Words(o, place) for o in words]
    return said, errors

@cache
def about_exercises():
    "What the exercises say"
    return once(sum(_said([p for p in modules() if p.parent.name == 'exercises']), []))

@cache
def about_program(): # -> two lists: what it says, its errors
    "What the program says, and the words in figures of the lessons"
    said, errors = _said([p for p in modules() if p.parent.name != 'exercises'])
    said += [Words(o, p.stem) for p in lessons() for cell in _cells(p)
             for o in drawn_in(cell)]
    said = once([Words(o, 'elsewhere') for o in elsewhere()] + said)
    return said, [o for o in once(errors) if o.text not in {w.text for w in said}]
