"""Results as plots: dots with intervals for a table below `<!-- plot | column | column -->`.

The numbers are the table's own, which stays below them, folded. Sphinx never sees the comment.
What is a baseline and which column is the better the less the English table says; a translated
one gives the words.
"""
import math
import re
import unicodedata
import xml.etree.ElementTree as ET
from docs_words import tr

MARK = re.compile(r'<!-- plot \|(.+?)-->\n+((?:\|.*\n)+)')
CELL = re.compile(r'([+-]?[\d.]+)(?: ± ([\d.]+)| \[(-?[\d.]+), (-?[\d.]+)\])?')
BASELINES = re.compile('centred Gaussian|random map|random weights')
CHANCE, LESS_IS_BETTER, UNRANKED = 'chance', ('deletion',), ('Spearman', 'SSIM')
WIDTH, RIGHT, ROW, TOP, BOTTOM, LETTER = 380, 12, 22, 30, 24, 7.3     # of a plot, in pixels
INK, SOFT = 'currentColor', 'var(--pst-color-text-muted, #6b7580)'      # of letters
BLUE, GREY = 'var(--pst-color-link, #2563b0)', '#8a929b'                # of dots
FOLDED = '<details class="pc-table"><summary>{}</summary>\n\n{}\n</details>\n'

def read_table(lines):
    "A Markdown table as its head and its rows"
    cells = [[o.strip() for o in line.strip().strip('|').split('|')] for line in lines]
    return cells[0], cells[2:]

def read_cell(text):
    "Mean, low and high of `83.2 [80.2, 86.2]`, `98.8 ± 0.5` (a standard error) or a number"
    found = CELL.match(text)
    if not found: return None
    mean, error, low, high = (None if o is None else float(o) for o in found.groups())
    if error is not None: low, high = mean - 1.96*error, mean + 1.96*error
    return (mean, mean, mean) if low is None else (mean, low, high)

def ticks(low, high):
    "Round numbers in a range, at most six"
    step = 10.**math.floor(math.log10(high - low))
    while (high - low)/step > 5: step *= 2 if step*2 <= high - low else 1.25
    while (high - low)/step < 2.5: step /= 2
    first = math.ceil(low/step - 1e-9)
    return [step*i for i in range(first, math.floor(high/step + 1e-9) + 1)]

def wide(text):
    "How many letters' width a text takes; a Chinese character takes nearly two"
    return sum(1.8 if unicodedata.east_asian_width(o) in 'WF' else 1 for o in text)

def draw(title, rows, words=None): # {name: (mean, low, high)}, {name: what is shown}
    "A column of a table: a dot and its interval for each row"
    shown = lambda name: (words or {}).get(name, name)
    rows = dict(rows)
    chance = rows.pop(CHANCE, None)
    pick = None if title.startswith(UNRANKED) else min if title.startswith(LESS_IS_BETTER) else max
    best = pick and pick(mean for mean, *_ in rows.values())
    ends = [o for row in (*rows.values(), *([chance] if chance else [])) for o in row]
    pad = .04*(max(ends) - min(ends)) or 1
    low, high = min(ends) - pad, max(ends) + pad
    left = 20 + LETTER*max(wide(shown(name)) for name in rows)
    height = TOP + ROW*len(rows) + BOTTOM
    svg = ET.Element('svg', dict(viewBox=f'0 0 {WIDTH} {height}', width=str(WIDTH), role='img',
                                 style='max-width: 100%; height: auto; font: 13px sans-serif'))
    def add(tag, text=None, **how):
        made = ET.SubElement(svg, tag, {k.replace('_', '-'): str(v) for k, v in how.items()})
        made.text = text
    def x(value): return round(left + (value - low)/(high - low)*(WIDTH - left - RIGHT), 1)
    winners = [name for name, row in rows.items() if row[0] == best]
    won = tr('; best: {names}', names=', '.join(map(shown, winners)))
    add('title', shown(title) + (won if winners else ''))
    add('text', shown(title), x=left, y=16, fill=INK, font_weight='bold')
    floor = TOP + ROW*len(rows)
    add('line', x1=left, x2=WIDTH - RIGHT, y1=floor, y2=floor, stroke=SOFT)
    for tick in ticks(low, high):
        add('line', x1=x(tick), x2=x(tick), y1=floor, y2=floor + 4, stroke=SOFT)
        add('text', f'{tick:.3g}', x=x(tick), y=floor + 18, fill=SOFT, text_anchor='middle')
    if chance:
        add('line', x1=x(chance[0]), x2=x(chance[0]), y1=TOP - 6, y2=floor, stroke=SOFT,
            stroke_dasharray='4 3')
    for i, (name, (mean, *interval)) in enumerate(rows.items()):
        y = TOP + ROW*(i + .5)
        colour, ink = (GREY, SOFT) if BASELINES.search(name) else (BLUE, INK)
        weight = 'bold' if name in winners else 'normal'
        add('text', shown(name), x=left - 10, y=y + 4.5, text_anchor='end', font_weight=weight,
            fill=ink)
        start, end = map(x, interval)
        add('line', x1=start, x2=end, y1=y, y2=y, stroke=colour, stroke_width=2)
        add('circle', cx=x(mean), cy=y, r=6 if name in winners else 4.5, fill=colour)
    return svg

def plots(columns, head, rows, words=None):
    "The named columns of a table, each as a plot"
    unknown = [o for o in columns if o not in head[1:]]
    if unknown: raise ValueError(f'{unknown} are no columns; expected some of {head[1:]}')
    box = ET.Element('div', {'class': 'pc-plots',
                             'style': 'display: flex; flex-wrap: wrap; gap: 1rem'})
    for column in columns:
        values = {row[0]: read_cell(row[head.index(column)]) for row in rows}
        box.append(draw(column, {o: v for o, v in values.items() if v}, words))
    return ET.tostring(box, encoding='unicode')

def with_plots(page, translated=None): # the English page, the same page in another language
    "A page of Markdown with a plot for each marked table, and the table folded below it"
    tables = MARK.finditer(page)
    def replace(found):
        english = next(tables)
        columns = [o.strip() for o in english[1].split('|')]
        head, rows = read_table(english[2].splitlines())
        other_head, other_rows = read_table(found[2].splitlines())
        names, others = [*head, *(o[0] for o in rows)], [*other_head, *(o[0] for o in other_rows)]
        words = dict(zip(names, others))
        folded = FOLDED.format(tr('The numbers'), found[2])
        return f'{plots(columns, head, rows, words)}\n\n{folded}'
    return MARK.sub(replace, page if translated is None else translated)
