"""Keep the Chinese edition in step: `python tools/zh.py` after the English text has changed.

It brings the catalogues in `locale/zh_CN` up to date. New paragraphs are empty there; one whose
English has changed keeps its translation, marked as fuzzy, until a person has looked at it.
"""
import difflib
import json
import sys
import polib
from project import ROOT
from zh_pages import about_pages
from zh_program import about_exercises, about_program
from zh_text import about_workshop, sources, words_of

CATALOGUES = ROOT/'locale'/'zh_CN'
HEADER = {'Project-Id-Version': 'petcam', 'Language': 'zh_CN', 'MIME-Version': '1.0',
          'Content-Type': 'text/plain; charset=UTF-8', 'Content-Transfer-Encoding': '8bit'}

def catalogue(name):
    "The catalogue of a source, empty if there is none yet"
    path = CATALOGUES/f'{name}.po'
    made = polib.pofile(path, wrapwidth=0) if path.exists() else polib.POFile(wrapwidth=0)
    made.metadata = HEADER
    return made

def nearest(text, entries):
    "The entry that `text` has become of, or None"
    close = difflib.get_close_matches(text, [o.msgid for o in entries], n=1, cutoff=.6)
    return next((o for o in entries if close and o.msgid == close[0]), None)

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

def all_words(): # -> {the name of a catalogue: its words}
    "All that there is to translate"
    words = {name: words_of(path) for name, path in sources().items()}
    said, errors = about_program()
    return words | {'workshop': about_workshop(), 'program': said, 'errors': errors,
                    'exercises': about_exercises(), 'pages': about_pages()}

SPOKEN = 'program', 'errors', 'exercises', 'pages'
SPOKEN_FILE = ROOT/'petcam'/'zh.json' # read while the program runs

def spoken(): # -> the text of that file
    "What the program says, English and Chinese"
    words = {english: chinese for name in SPOKEN for english, chinese in table(name).items()}
    return json.dumps(words, ensure_ascii=False, indent=0) + '\n'

def main():
    CATALOGUES.mkdir(parents=True, exist_ok=True)
    for name, found in all_words().items():
        new = merged(catalogue(name), found)
        new.save(CATALOGUES/f'{name}.po')
        open_ = [o for o in new if not o.msgstr or o.fuzzy]
        print(f'{name}: {len(new)} paragraphs' + (f', {len(open_)} to translate' if open_ else ''))
    SPOKEN_FILE.write_text(spoken(), encoding='utf-8')

if __name__ == '__main__': sys.exit(main())
