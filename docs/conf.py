"""The site's configuration; `index.md` is its front page."""
project, author, copyright = 'petcam', 'petcam authors', '2026, petcam authors'
extensions = ['myst_nb']
exclude_patterns = ['_build', '**.ipynb_checkpoints']
nb_execution_mode = 'off'          # the outputs that the notebooks store are shown, nothing is run
myst_enable_extensions = ['dollarmath', 'amsmath']
html_theme = 'sphinx_book_theme'
html_title = 'petcam'
