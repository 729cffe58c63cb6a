"""Build the site: `make docs`. The pages of docs/, the lessons' stored outputs, the reference and a live front page -> build/site."""
import re, shutil, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
from docs_api import write_all
from docs_notebooks import ROOT, convert_all

BUILD = ROOT/'build'

def front(): # the cat on the left, as the cats are on the left of the slider
    "The explorer of the front page: two toy pets, and the network that the lessons train (found in the cache, or trained now)"
    from petcam.explore import explorer_fragment
    from petcam.resize import lesson_learner
    from petcam.toy.scenes import draw_pair
    pair = draw_pair('Abyssinian', 'leonberger', seed=172)[0]
    return explorer_fragment(lesson_learner(), [pair], titles=['a cat and a dog, drawn by petcam'], uid='pets', side=320)

def assemble(to):
    "All that Sphinx reads, in the folder `to`"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for page in sorted((ROOT/'docs').glob('*.md')): shutil.copy(page, to)
    convert_all(to/'lessons')
    write_all(to/'api')
    (to/'explorer.html').write_text(front(), encoding='utf-8')

def build(to=BUILD/'site'):
    "The whole site; a warning is an error"
    from sphinx.cmd.build import main
    assemble(BUILD/'docs')
    shutil.rmtree(to, ignore_errors=True)
    how = ['-W', '--keep-going', '-q', '-b', 'html', '-c', ROOT/'docs', '-d', BUILD/'doctrees']
    if failed := main(list(map(str, [*how, BUILD/'docs', to]))): return failed
    shutil.copytree(ROOT/'nbs', to/'notebooks', ignore=lambda _, names: [n for n in names if not re.fullmatch(r'\d.*\.ipynb', n)])
    for o in [*to.glob('_static/**/*.map'), *to.glob('_static/*.html')]: o.unlink()      # no page needs these
    for o in ('_static/locales', '_sources'): shutil.rmtree(to/o, ignore_errors=True)
    size = sum(f.stat().st_size for f in Path(to).rglob('*') if f.is_file())
    print(f"{to/'index.html'}: {len(list(to.rglob('*.html')))} pages, {size/1e6:.1f} MB")

if __name__ == '__main__': sys.exit(build())
