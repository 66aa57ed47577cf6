"""The documentation site: `python -m sphinx -W docs docs/_build`."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import nvpflow

project = "nvpflow"
copyright = "the authors of nvpflow"
version = release = nvpflow.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links of the changelog into the repository

autosummary_generate = True
autodoc_typehints = "none"  # the sections of the docstrings say more
numpydoc_show_class_members = False  # the templates list them


def drop_slash(app, what, name, obj, options, signature, returns):
    """The text signatures of the core, `($self, /, x)`, are shown without their self."""
    return (signature.replace("(/, ", "("), returns) if signature else None


def inline_math(writer, node):
    """MathML, which browsers show without a script from elsewhere."""
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(writer, node):
    writer.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app):
    app.connect("autodoc-process-signature", drop_slash)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))


html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"nvpflow {version}"
