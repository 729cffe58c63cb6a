"""Mathematics as images, drawn when the site is built: a page needs no script for it."""
import html
import re
from sphinx.errors import SphinxError
import ziamath
from ziamath.tex import tex2mml

ziamath.config.svg2, ziamath.config.precision = False, 2
SIZE = 20   # in which it is drawn; a page scales it to the letters around it

def drawn(tex, inline):
    "A formula as an image for the eye and as MathML for a screen reader"
    tex = re.sub(r'\\[Bb]ig(?=\\l)', r'\\left', re.sub(r'\\[Bb]ig(?=\\r)', r'\\right', tex))
    said = tex2mml(tex, inline=inline)
    unknown = re.findall(r'\\\w*', said)
    if unknown: raise SphinxError(f'mathematics with {unknown[0]}, which cannot be drawn: {tex}')
    svg = ziamath.Latex(tex, size=SIZE, inline=inline)
    em = lambda px: f'{px/SIZE:.3f}em'
    box = svg.svgxml().attrib
    width, height = em(float(box['width'])), em(float(box['height']))
    style = f'width:{width};height:{height};vertical-align:{em(svg.getyofst() - 1)}'
    size = r'width="[^"]*" height="[^"]*"'
    image = re.sub(size, f'style="{style}" aria-hidden="true"', svg.svg(), count=1)
    return image.replace('"black"', '"currentColor"') + f'<span class="pc-said">{said}</span>'

def inline(self, node):
    tex = node.astext()
    self.body.append(f'<span class="math" title="{html.escape(tex)}">{drawn(tex, True)}</span>')
    raise_skip()

def block(self, node):
    self.body.append(f'<div class="math" tabindex="0">{drawn(node.astext(), False)}</div>')
    raise_skip()

def raise_skip():
    from docutils.nodes import SkipNode
    raise SkipNode

def setup(app):
    app.add_html_math_renderer('drawn', (inline, None), (block, None))
    return {'parallel_read_safe': True}
