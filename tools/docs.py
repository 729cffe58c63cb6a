"""Build build/site: the pages of docs/, the notebooks' outputs, the reference, the front page.

Then build/site/zh, the same in Chinese: by a process whose PETCAM_LANG says so. What it has no
pages of, workshop and reference, is linked; the page for photographs and the wheel serve both.
"""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
from docs_api import write_all
from docs_notebooks import (
    buttons, convert_all, in_site, link_notebooks, links, page_of, to_english)
from docs_photo import card, photo
from docs_plots import with_plots
from docs_words import THEME, is_chinese, known, prose, tr
from kaggle import wheel
from project import ROOT, is_placeholder, lessons, settings, wheel_name, workshop
from zh_text import about

BUILD = ROOT/'build'
DOCS, SITE = BUILD/'docs', BUILD/'site'     # the English ones

def pair(): # the cat on the left, as the cats are on the left of the slider
    from petcam.toy.scenes import draw_pair
    return draw_pair('Abyssinian', 'leonberger', seed=172)[0]

def front(pair):
    "The explorer of the front page: two toy pets, and the network that the lessons train"
    from petcam.explore import explorer_fragment
    from petcam.resize import lesson_learner
    title = tr('a cat and a dog, drawn by petcam')
    return explorer_fragment(lesson_learner(), [pair], titles=[title], uid='pets', side=320)

def doors():
    "What stands above the front page's explorer: where to begin, and how to get it"
    first = lessons()[0]
    to = {f'<b>{tr("Start here")}</b>': f'lessons/{first.stem}.html', tr('Install'): '#install'}
    had = links(first.name, up='')
    to[tr('Download the first lesson')] = had.pop(tr('Download'))
    return f'<p class="pc-bar">{buttons(to | had)}</p>'

def install_line():
    "What one types to have petcam"
    url = settings()['git_url']
    return f'pip install {wheel_name() if is_placeholder(url) else f"git+{url}"}'

def photo_card(to):
    "The card that leads to the page for photographs, which the English site makes"
    from petcam.language import tr as say
    stored = DOCS/'photo.json'
    if not is_chinese(): stored.write_text(json.dumps(photo(DOCS/'photo.html', pair())))
    facts = json.loads(stored.read_text())
    return card(**facts | {name: say(facts[name]) for name in ('words', 'credit') if name in facts})

def page(path):
    "A page of docs/ in the site's language"
    english = path.read_text(encoding='utf-8')
    return to_english(with_plots(english, prose(path.stem, english)))

def workshop_page(): # of the Chinese site
    "The titles and summaries of the workshop, whose pages are in English"
    chinese, rows = known('workshop'), []
    for path in workshop():
        title, summary = (chinese.get(o.text, o.text).lstrip('#> ') for o in about(path))
        link = f'<a id="{path.stem}" href="{page_of(path, "")}" hreflang="en">{title}</a>'
        about_it = link_notebooks(summary, path).replace('](../', '](')
        rows.append(f'| {link} | {about_it} |')
    head = f'| {tr("notebook")} | {tr("what it is about")} |\n| --- | --- |'
    title = '# ' + tr('The workshop')
    words = tr('The machinery that the lessons stand on, with its tests. Nobody needs it to '
               'follow the course. These pages are in English.')
    return '\n\n'.join([title, words, '\n'.join([head, *rows])]) + '\n'

def assemble(to):
    "All that Sphinx reads, in the folder `to`"
    from petcam.web.diagrams import course_map
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    def write(name, text): (to/name).write_text(text, encoding='utf-8')
    for path in sorted((ROOT/'docs').glob('*.md')): write(path.name, page(path))
    shutil.copytree(ROOT/'docs'/'_static', to/'_static')    # the pages' own images
    convert_all(to)
    write_all(to/'api')
    write('doors.html', doors())
    write('install.txt', install_line())
    write('explorer.html', front(pair()))
    write('photo_card.html', photo_card(to))
    write('course_map.html', str(course_map('lessons/')))
    if is_chinese():
        index = (to/'index.md').read_text(encoding='utf-8')
        write('index.md', index.replace('workshop/*', 'workshop'))
        write('workshop.md', workshop_page())

def mend_theme(to):
    "Translate what the theme leaves in English"
    words = re.compile(f'(?<=[">])({"|".join(map(re.escape, THEME))})(?=["<])')
    for path in to.rglob('*.html'):
        html = path.read_text(encoding='utf-8')
        path.write_text(words.sub(lambda o: tr(o[0]), html), encoding='utf-8')

def build():
    "The whole site in one language; a warning is an error"
    from sphinx.cmd.build import main
    name = '_zh'*is_chinese()
    docs, to = BUILD/f'docs{name}', SITE/'zh' if is_chinese() else SITE
    assemble(docs)
    shutil.rmtree(to, ignore_errors=True)
    how = ['-W', '--keep-going', '-q', '-b', 'html', '-c', ROOT/'docs']
    how += ['-d', BUILD/f'doctrees{name}', docs, to]
    if failed := main(list(map(str, how))): return failed
    if is_chinese(): mend_theme(to)
    (to/'notebooks').mkdir()
    for notebook in in_site(): shutil.copy(notebook, to/'notebooks')
    for unused in [*to.glob('_static/**/*.map'), *to.glob('_static/*.html')]: unused.unlink()
    for unused in ('_static/locales', '_sources'): shutil.rmtree(to/unused, ignore_errors=True)
    if not is_chinese():
        if (photos := docs/'photo.html').exists(): shutil.copy(photos, to)
        if is_placeholder(settings()['git_url']): wheel(to)
    size = sum(f.stat().st_size for f in to.rglob('*') if f.is_file())
    print(f"{to/'index.html'}: {len(list(to.rglob('*.html')))} pages, {size/1e6:.1f} MB")
    return 0

def main():
    "English, then Chinese, which takes its sections' names from the English pages; one, if named"
    if sys.argv[1:] == [os.environ.get('PETCAM_LANG')]: return build()
    for language in sys.argv[1:] or ('en', 'zh'):
        again = [sys.executable, __file__, language]
        done = subprocess.run(again, env=os.environ | {'PETCAM_LANG': language})
        if done.returncode: return done.returncode
    return 0

if __name__ == '__main__': sys.exit(main())
