"""What is wrong with a Chinese paragraph, seen beside the English: words, numbers, marks, style."""
import csv
import re
import sys
from collections import Counter
from typing import NamedTuple
from markdown_it import MarkdownIt
from project import ROOT
from zh_text import NOT_WORDS

HAN = r'[\u3400-\u9fff]'
MARKUP = {'code': r'`[^`\n]+`', 'formulas': r'\$\$.*?\$\$|\$[^$\n]+\$', 'links': r'\]\([^)]*\)',
          'tags': r'</?\w[^>]*>'}
STYLE = {
    '您: 你 is meant': '您',
    'a half-width mark beside Chinese': rf'{HAN}\s*[,;:?!()]|[,;:?!(]\s*{HAN}|{HAN}\.(?!\w)',
    'no space between Chinese and letters or figures':
        rf'{HAN}(?=[A-Za-z0-9`$])|(?<=[A-Za-z0-9`$%]){HAN}',
    '× is meant': r'\d x \d',
    'a line break within a sentence, which the page shows as a space': rf'{HAN}\n{HAN}',
    'a space beside a full-width mark': r'[，。；：？！（）、] (?!\|)|(?<!\|) [，。；：？！（）、]'}
ROLE = re.compile(r'\{term\}`([^`<]*?)(?: <[^>]*>)?`')     # its text is translated
NUMBER = re.compile(r'(?<![\w.])\d+(?:[.,]\d+)*')

class Term(NamedTuple):
    "A term, its translations, and whether its first use in a lesson gives the English in brackets"
    english: list
    chinese: list
    first: bool

def terms():
    "The list in `locale/terms.csv`, longest terms first"
    with open(ROOT/'locale'/'terms.csv', encoding='utf-8', newline='') as f:
        rows = [Term(o['English'].split('|'), o['Chinese'].split('|'), bool(o['first']))
                for o in csv.DictReader(f)]
    return sorted(rows, key=lambda o: -len(o.english[0]))

def _forms(term): # an expression for the term and its plural
    return '|'.join(rf'\b{re.escape(o)}(?:e?s)?\b' for o in term.english)

def plain(text):
    "A paragraph without code, formulas, tags and addresses"
    return NOT_WORDS.sub(' ', text)

def used(english, known):
    "The terms that an English paragraph uses; a term within a longer one does not count"
    left, found = plain(english), []
    for term in known:
        if re.search(_forms(term), left, flags=re.I): found.append(term)
        left = re.sub(_forms(term), ' ', left, flags=re.I)
    return found

def excused(entry): # `not the term: head, class`
    "The words that a translator's comment says are no terms here"
    found = re.search(r'not the term: *(.*)', entry.tcomment or '')
    return {o.strip() for o in found[1].split(',')} if found else set()

def _marks(english, chinese):
    english, chinese = (ROLE.sub(r'\1', o) for o in (english, chinese))
    for name, pattern in MARKUP.items():
        a, b = (Counter(re.findall(pattern, o, flags=re.S)) for o in (english, chinese))
        if a != b: yield f'other {name}: {sorted((a - b) | (b - a))}'

def _lines(english, chinese):
    def shape(text): return re.findall(r'^\s*(?:#+|>|[-*]|\d+\.|\|)(?= )', text, flags=re.M)
    if shape(english) != shape(chinese): yield 'other headings, list items or rows'

def _in_wan(found): # 1.3 million are 130 万
    return f'{float(found[1])*100:g} 万'

def _numbers(english, chinese):
    english = re.sub(r'([\d.]+) million', _in_wan, re.sub(r'\{\d+\}', '', english))
    a, b = (set(NUMBER.findall(o)) for o in (english, chinese))
    if lost := a - b: yield f'numbers are missing: {sorted(lost)}'

def _values(english, chinese): # of a sentence of the program; a plural's may go
    a, b = (set(re.findall(r'\{\d+\}', o.replace('?}', '}'))) for o in (english, chinese))
    if unknown := b - a: yield f'no such values: {sorted(unknown)}'

def _style(chinese):
    text = ROLE.sub(r'\1', chinese)
    text = re.sub(r'\]\([^)]*\)|</?\w[^>]*>|&\w+;|^:\w+:|\*', '', text, flags=re.M)
    for fault, pattern in STYLE.items():
        found = re.search(f'.{{0,6}}(?:{pattern}).{{0,6}}', text)
        if found: yield f'{fault}: {found[0]!r}'

def _shown_stars(text): # `**词。**后` is not bold: a mark stands between the word and the stars
    blocks = MarkdownIt('commonmark').enable('table').parse(re.sub(r'\$[^$\n]+\$', '', text))
    inside = [o for block in blocks for o in block.children or []]
    return [o.content for o in inside if o.type == 'text' and '*' in o.content]

def _stars(english, chinese):
    shown = _shown_stars(chinese)
    if shown and not _shown_stars(english): yield f'stars that are shown: {shown[0][-30:]!r}'

def faults(entry, known):
    "What is wrong with an entry of a catalogue, in words"
    if entry.fuzzy: return ['its English has changed']
    if not entry.msgstr: return ['not translated']
    english, chinese = entry.msgid, entry.msgstr
    found = [*_marks(english, chinese), *_lines(english, chinese), *_numbers(english, chinese),
             *_values(english, chinese), *_style(chinese), *_stars(english, chinese)]
    not_terms = excused(entry)
    for term in used(english, known):
        written = any(o.lower() in chinese.lower() for o in term.chinese)
        if not written and not_terms.isdisjoint(term.english):
            found.append(f"{term.english[0]!r} is {' or '.join(term.chinese)}")
    return found

def is_prose(text): return not re.match(r'#|\||>|<|```', text)

def unexplained(entries, known):
    "Terms whose first use in a catalogue does not give the English word"
    left, so_far = [o for o in known if o.first], ''
    for entry in entries:
        so_far += entry.msgstr.lower()
        if not is_prose(entry.msgid) or not entry.msgstr: continue
        for term in [o for o in used(entry.msgid, known) if o in left]:
            if not excused(entry).isdisjoint(term.english): continue
            left.remove(term)
            if not any(o.lower() in so_far for o in term.english):
                yield entry, f'the first {term.chinese[0]} lacks （{term.english[0]}）'

def main(names):
    from zh import CATALOGUES, catalogue
    known, count = terms(), 0
    for name in names or sorted(o.stem for o in CATALOGUES.glob('*.po')):
        entries = catalogue(name)
        for i, entry in enumerate(entries):
            for fault in faults(entry, known):
                print(f'{name} {i}: {fault}   [{entry.msgid[:50]!r}]')
                count += 1
        for entry, fault in unexplained(entries, known) if name[:2].isdigit() else []:
            print(f'{name} {entries.index(entry)}: {fault}   [{entry.msgid[:50]!r}]')
            count += 1
    return bool(count)

if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
