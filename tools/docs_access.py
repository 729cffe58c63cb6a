"""What a screen reader, or a reader without a mouse, would miss in the theme's pages."""
from docs_words import tr

MENDS = {
    '<summary aria-label="Toggle hidden content">': '<summary>',    # it has words of its own
    '<th class="head"><p></p></th>': '<td></td>',                   # the corner heads nothing
}

# the theme lets the keyboard into what is wide, and looks again only when the window changes
AGAIN = "addEventListener('toggle', () => dispatchEvent(new Event('resize')), true);"

def mend(app, name, template, context, doctree):
    "Names and roles that the theme leaves out"
    for theirs, ours in MENDS.items():
        context['body'] = context.get('body', '').replace(theirs, ours)
    if contents := context.get('generate_toctree_html'):
        def named(*args, **kw):
            toggle = f'<summary aria-label="{tr("Show or hide the pages of this part")}">'
            return str(contents(*args, **kw)).replace('<summary>', toggle)
        context['generate_toctree_html'] = named

def setup(app):
    app.add_js_file(None, body=AGAIN)
    app.connect('html-page-context', mend, priority=900)    # after the theme's own
    return {'parallel_read_safe': True}
