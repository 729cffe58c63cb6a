"""The site's configuration; `tools/docs.py` gathers what it reads and calls Sphinx."""
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parents[1]/'tools'))
from docs_language import write_dictionary
from docs_words import is_chinese
from project import ROOT, is_placeholder, settings

s = settings()
project, author, copyright, release = s['title'], s['author'], s['copyright'], s['version']
extensions = ['myst_nb', 'sphinx_copybutton', 'docs_math', 'docs_exercises', 'docs_language', 'docs_access']
language, templates_path = 'zh_CN' if is_chinese() else 'en', ['_templates']
html_search_options = dict(dict=write_dictionary(ROOT/'build'/'jieba.txt')) if is_chinese() else {}
nb_execution_mode = 'off'          # the outputs that the notebooks store are shown, nothing is run
nb_ipywidgets_js = {}              # no widgets are stored, so nothing needs their scripts
myst_enable_extensions = ['dollarmath', 'amsmath', 'colon_fence', 'deflist']
myst_heading_anchors = 3
suppress_warnings = ['myst.header']
html_math_renderer = 'drawn'       # tools/docs_math.py
copybutton_prompt_text, copybutton_prompt_is_regexp = r'>>> |\.\.\. ', True
html_theme, html_title, html_context = 'sphinx_book_theme', 'petcam', {'default_mode': 'auto'}
html_static_path, html_css_files = ['_static'], ['petcam.css']
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False   # it would have to fetch, which a page opened from a file may not
html_theme_options = dict(
    repository_url=s['git_url'], repository_provider='github', use_repository_button=not is_placeholder(s['git_url']),
    use_download_button=False, use_fullscreen_button=False,
    article_header_end=['language.html', 'article-header-buttons.html'],
    show_navbar_depth=1, show_toc_level=1, home_page_in_toc=False,
    secondary_sidebar_items={'**': ['page-toc'], 'index': []}, primary_sidebar_end=[],
    # else a second, stray search bar
    navbar_start=[], navbar_center=[], navbar_end=[], navbar_persistent=[])
