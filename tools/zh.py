"""Keep the Chinese edition in step: `python tools/zh.py` after the English text has changed.

It brings the catalogues in `locale/zh_CN` up to date: a new paragraph is empty there, and one whose
English has changed keeps its translation, marked as fuzzy, until a person has looked at it. Of the
catalogues it makes `nbs/zh`, README.zh.md and `petcam/zh.json`. With --run it then runs the Chinese
notebooks whose English outputs have changed, or those that are named.
"""
import argparse
import hashlib
import json
import re
from difflib import SequenceMatcher
import polib
import readme
from docs_words import site_words
from project import FIRST_OF_WORKSHOP, ROOT, lessons
from zh_pages import about_pages
from zh_program import about_exercises, about_program
from zh_text import about_workshop, sources, translated, words_of

LOCALE, NOTEBOOKS = ROOT/'locale', ROOT/'nbs'/'zh'
CATALOGUES, SEEN = LOCALE/'zh_CN', LOCALE/'outputs.json'
HEADER = {'Project-Id-Version': 'petcam', 'Language': 'zh_CN', 'MIME-Version': '1.0',
          'Content-Type': 'text/plain; charset=UTF-8', 'Content-Transfer-Encoding': '8bit'}
SPEAK = "#| hide\n# messages and figures in Chinese\nimport os\nos.environ['PETCAM_LANG'] = 'zh'"

# --- catalogues

def catalogue(name):
    "The catalogue of a source, empty if there is none yet"
    path = CATALOGUES/f'{name}.po'
    made = polib.pofile(path, wrapwidth=0) if path.exists() else polib.POFile(wrapwidth=0)
    made.metadata = HEADER
    return made

def nearest(text, entries):
    "The entry that `text` has become of, or None"
    def likeness(entry):
        return SequenceMatcher(None, text.split(), entry.msgid.split(), autojunk=False).ratio()
    close = max(entries, key=likeness, default=None)
    return close if close and likeness(close) > .5 else None

def merged(old, words): # the catalogue as it was; what is to be translated now
    "The catalogue for the words of now"
    known = {o.msgid: o for o in old}
    left = [o for o in old if o.msgid not in {w.text for w in words} and o.msgstr]
    new = polib.POFile(wrapwidth=0)
    new.metadata = HEADER
    for text, place in words:
        entry = known.get(text) or polib.POEntry(msgid=text)
        if not entry.msgstr and (was := nearest(text, left)):
            entry = polib.POEntry(msgid=text, msgstr=was.msgstr, flags=['fuzzy'],
                                  previous_msgid=was.msgid, tcomment=was.tcomment)
        entry.occurrences = [(place, '')] if place else []
        new.append(entry)
    return new

def table(name): # -> {English: Chinese}
    "What a catalogue translates"
    return {o.msgid: o.msgstr for o in catalogue(name) if o.msgstr and not o.fuzzy}

def all_words(): # -> {name of a catalogue: what it has to hold}
    "Lessons, pages and README, the workshop's titles and summaries, and what the program says"
    prose = {name: words_of(path) for name, path in sources().items()}
    said, errors = about_program()
    return prose | {'workshop': about_workshop(), 'program': said, 'errors': errors,
                    'exercises': about_exercises(), 'pages': about_pages(), 'site': site_words()}

SPOKEN = 'program', 'errors', 'exercises', 'pages'
SPOKEN_FILE = ROOT/'petcam'/'zh.json' # read while the program runs

def spoken(): # -> the text of that file
    "What the program says, English and Chinese"
    words = {english: chinese for name in SPOKEN for english, chinese in table(name).items()}
    return json.dumps(words, ensure_ascii=False, indent=0) + '\n'

# --- notebooks

def one_folder_deeper(markdown):
    "Links of a notebook in `nbs` as they are in `nbs/zh`, which holds all lessons and nothing else"
    def link(found):
        number = re.match(r'\d+', found[1])
        lesson = found[1].endswith('.ipynb') and number and int(number[0]) < FIRST_OF_WORKSHOP
        return found[0] if lesson else f'](../{found[1]}'
    return re.sub(r'\]\((?!\w+:|#)([^)#\s]+)', link, markdown)

def language_cell():
    return dict(cell_type='code', execution_count=None, id='language', metadata={}, outputs=[],
                source=SPEAK.splitlines(keepends=True))

def in_chinese(notebook, words, speak=True):
    "A notebook in Chinese: its text from a table, its code as it is; it tells petcam to `speak` so"
    cells = []
    for cell in notebook['cells']:
        if cell['id'] == 'install' and speak: cells.append(language_cell())
        if cell['cell_type'] == 'markdown':
            text = one_folder_deeper(translated(''.join(cell['source']), words))
            cell = cell | dict(source=text.splitlines(keepends=True))
        cells.append(cell)
    return notebook | dict(cells=cells)

def with_outputs(made, ran):
    "The notebook `made` with the outputs of one that has run, where the code is still the same"
    old = {o['id']: o for o in ran['cells'] if o['cell_type'] == 'code'}
    def one(cell):
        same = cell['id'] in old and old[cell['id']]['source'] == cell['source']
        return cell | dict(outputs=old[cell['id']]['outputs']) if same else cell
    return made | dict(cells=[one(o) for o in made['cells']])

def read(path): return json.loads(path.read_text(encoding='utf-8'))

def write(path, data):
    text = json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + '\n', encoding='utf-8')

def make(path):
    "The Chinese notebook of an English one, with the outputs that it has"
    made, there = in_chinese(read(path), table(path.stem)), NOTEBOOKS/path.name
    return with_outputs(made, read(there)) if there.exists() else made

def outputs_mark(path):
    "A short mark of a notebook's outputs, another one when they are others"
    outputs = [o.get('outputs') for o in read(path)['cells']]
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()[:16]

def seen(): # -> {lesson: mark}
    "The English outputs that the Chinese ones were made beside"
    return read(SEEN) if SEEN.exists() else {}

def stale(): # -> names
    "The lessons whose English outputs have changed since the Chinese ones were made"
    marks = seen()
    return [p.stem for p in lessons() if marks.get(p.stem) != outputs_mark(p)]

def run(names):
    "Run Chinese notebooks and note which English outputs they stand beside"
    from run_lessons import run as run_one
    for name in names:
        run_one(NOTEBOOKS/f'{name}.ipynb')
        write(SEEN, seen() | {name: outputs_mark(ROOT/'nbs'/f'{name}.ipynb')})

# --- the README

def chinese_readme():
    "README.zh.md, as README.md is made; it shows the same figures"
    words = table('readme')
    notebook = in_chinese(read(ROOT/'nbs'/'index.ipynb'), words, speak=False)
    text, _ = readme.convert(notebook, 'nbs/zh', words)
    return text.replace('[中文](README.zh.md)', '[English](README.md)')

# --- all of it

def make_all():
    "Catalogues, notebooks and README, as the English is now"
    CATALOGUES.mkdir(parents=True, exist_ok=True)
    NOTEBOOKS.mkdir(exist_ok=True)
    for name, words in all_words().items():
        new = merged(catalogue(name), words)
        new.save(CATALOGUES/f'{name}.po')
        if left := [o for o in new if not o.msgstr or o.fuzzy]:
            print(f'{name}: {len(left)} of {len(new)} paragraphs are to be translated')
    SPOKEN_FILE.write_text(spoken(), encoding='utf-8')
    for path in lessons(): write(NOTEBOOKS/path.name, make(path))
    (ROOT/'README.zh.md').write_text(chinese_readme(), encoding='utf-8')

def main():
    ask = argparse.ArgumentParser(description='Keep the Chinese edition in step')
    ask.add_argument('--run', nargs='*', metavar='LESSON', help='run what is stale, or these')
    asked = ask.parse_args()
    make_all()
    if asked.run is not None: run(asked.run or stale())
    elif waiting := stale(): print('to be run (--run):', *waiting)

if __name__ == '__main__': main()
