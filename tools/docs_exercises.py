"""A lesson's exercises: where they stand, what solves them, and their forms on the site."""
import ast
import importlib
import json
import re
from typing import NamedTuple
import nbformat
from docs_words import is_chinese, tr
from petcam.web.page import render, site_script
from project import ROOT

SOLUTION = re.compile(r'<details>\s*<summary>Solution</summary>(.*?)</details>', re.S)
BLOCK = re.compile(r'^```python\n(.*?)^```', re.S | re.M)
WEB = ROOT/'petcam'/'web'

class Place(NamedTuple):
    "Where a lesson asks an exercise"
    cell: int # the index of the starter's cell
    names: list # of the checkers that it calls
    solutions: list # the code blocks that are folded below it

def statements(source):
    "What stands in a cell, without IPython's own lines"
    return ast.parse(re.sub(r'^\s*[%!].*$|\?+$', '', source, flags=re.M)).body

def checkers(cells):
    "The checkers that a notebook imports: {name: Exercise}"
    found = {}
    for cell in cells:
        for node in statements(cell.source) if cell.cell_type == 'code' else []:
            if not isinstance(node, ast.ImportFrom): continue
            if not (node.module or '').startswith('petcam.exercises.'): continue
            module = importlib.import_module(node.module)
            found |= {o.name: getattr(module, o.name) for o in node.names
                      if o.name.startswith('check_')}
    return found

def calls(source):
    "The names that statements of a cell call, and the line of each"
    return {node.value.func.id: node.lineno for node in statements(source)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)}

def places(cells):
    "Where a notebook's exercises stand, in order"
    known, found = checkers(cells), []
    for i, cell in enumerate(cells):
        if cell.cell_type != 'code': continue
        names = [name for name in calls(cell.source) if name in known]
        below = cells[i + 1].source if i + 1 < len(cells) else ''
        folded = SOLUTION.findall(below)
        if names: found.append(Place(i, names, BLOCK.findall(''.join(folded))))
    return found

def solved(source, place):
    "A starter with its solution in place of all that stands before its checkers, but imports"
    lines, kept = source.splitlines(), []
    for node in statements(source):
        if not isinstance(node, (ast.Import, ast.ImportFrom)): continue
        kept += lines[node.lineno - 1:node.end_lineno]
    first = min(line for name, line in calls(source).items() if name in place.names)
    return '\n'.join([*kept, place.solutions[0].rstrip(), *lines[first - 1:]])

# --- on the site

def _form(exercise):
    return render('exercise.html', exercise=exercise.page, data=json.dumps(exercise.page))

def exercise_cell(cell, made, known): # as it is read, as it would be shown, {name: Exercise}
    "What the site shows in place of a cell with exercises; any other is shown as it is made"
    called = calls(cell.source)
    asked = [known[name] for name in called if name in known]
    if asked and all(o.page for o in asked):
        return nbformat.v4.new_markdown_cell('\n\n'.join(map(_form, asked)))
    if asked:
        words = tr('Run the lesson to try it: the answer is code.')
        note = f'<p class="pc-exercise">{words}</p>'
        made.outputs = [nbformat.v4.new_output('display_data', {'text/html': note})]
    if 'progress' in called and known:
        pages = sum(o.page is not None for o in known.values())
        return nbformat.v4.new_markdown_cell(
            render('progress.html', here=pages, elsewhere=len(known) - pages))
    return made

def setup(app):
    "As an extension of Sphinx: the script and the style of the forms; in Chinese their words"
    files = [str(WEB/name) for name in ('exercises.js', 'exercises.css')]
    if is_chinese():
        words = ROOT/'build'/'words.js'
        words.write_text(site_script(), encoding='utf-8')
        files.append(str(words))
        app.add_js_file(words.name, loading_method='defer')
    app.connect('config-inited', lambda app, config: config.html_static_path.extend(files))
    app.add_js_file('exercises.js', loading_method='defer')
    app.add_css_file('exercises.css')
    return dict(parallel_read_safe=True)
