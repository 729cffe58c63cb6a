"""Build build/site: the pages of docs/, the notebooks' outputs, the reference, the front page."""
import shutil
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
from docs_api import write_all
from docs_notebooks import buttons, convert_all, links
from docs_photo import photo
from docs_plots import with_plots
from kaggle import wheel
from project import ROOT, is_placeholder, lessons, notebooks, settings, wheel_name

BUILD = ROOT/'build'

def pair(): # the cat on the left, as the cats are on the left of the slider
    from petcam.toy.scenes import draw_pair
    return draw_pair('Abyssinian', 'leonberger', seed=172)[0]

def front(pair):
    "The explorer of the front page: two toy pets, and the network that the lessons train"
    from petcam.explore import explorer_fragment
    from petcam.resize import lesson_learner
    title = 'a cat and a dog, drawn by petcam'
    return explorer_fragment(lesson_learner(), [pair], titles=[title], uid='pets', side=320)

def doors():
    "What stands above the front page's explorer: where to begin, and how to get it"
    first = lessons()[0]
    to = {'<b>Start here</b>': f'lessons/{first.stem}.html', 'Install': '#install'}
    had = links(first.name, up='')
    to['Download the first lesson'] = had.pop('Download')
    return f'<p class="pc-bar">{buttons(to | had)}</p>'

def install_line():
    "What one types to have petcam"
    url = settings()['git_url']
    return f'pip install {wheel_name() if is_placeholder(url) else f"git+{url}"}'

def assemble(to):
    "All that Sphinx reads, in the folder `to`"
    from petcam.web.diagrams import course_map
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for page in sorted((ROOT/'docs').glob('*.md')):
        text = with_plots(page.read_text(encoding='utf-8'))
        (to/page.name).write_text(text, encoding='utf-8')
    shutil.copytree(ROOT/'docs'/'_static', to/'_static')    # the pages' own images
    convert_all(to)
    write_all(to/'api')
    (to/'doors.html').write_text(doors(), encoding='utf-8')
    (to/'install.txt').write_text(install_line(), encoding='utf-8')
    (to/'explorer.html').write_text(front(pair()), encoding='utf-8')
    (to/'photo_card.html').write_text(photo(to/'photo.html', pair()), encoding='utf-8')
    (to/'course_map.html').write_text(str(course_map('lessons/')), encoding='utf-8')

def build(to=BUILD/'site'):
    "The whole site; a warning is an error"
    from sphinx.cmd.build import main
    assemble(BUILD/'docs')
    shutil.rmtree(to, ignore_errors=True)
    how = ['-W', '--keep-going', '-q', '-b', 'html', '-c', ROOT/'docs', '-d', BUILD/'doctrees']
    if failed := main(list(map(str, [*how, BUILD/'docs', to]))): return failed
    (to/'notebooks').mkdir()
    for notebook in notebooks(): shutil.copy(notebook, to/'notebooks')
    if (page := BUILD/'docs'/'photo.html').exists(): shutil.copy(page, to)
    if is_placeholder(settings()['git_url']): wheel(to)
    for unused in [*to.glob('_static/**/*.map'), *to.glob('_static/*.html')]: unused.unlink()
    for unused in ('_static/locales', '_sources'): shutil.rmtree(to/unused, ignore_errors=True)
    size = sum(f.stat().st_size for f in Path(to).rglob('*') if f.is_file())
    print(f"{to/'index.html'}: {len(list(to.rglob('*.html')))} pages, {size/1e6:.1f} MB")
    return 0

if __name__ == '__main__': sys.exit(build())
