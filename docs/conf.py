"""The documentation site: `python -m sphinx -W docs docs/_build/html`."""

import re
import shutil
import sys
from functools import partial
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import nvpflow

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for scraper.py

project = "nvpflow"
copyright = "the authors of nvpflow"
version = release = nvpflow.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "gallery", "generated/gallery/*.ipynb", "generated/gallery/*.py"]
templates_path = ["_templates"]
default_role = "py:obj"

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"nvpflow {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the sections of the docstrings say more
numpydoc_show_class_members = False  # the templates list them

# Pages with code cells run when the site is built. The notebooks are stored with their outputs, and do not.
nb_execution_mode = "auto"
nb_execution_excludepatterns = ["generated/notebooks/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 120


sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("scraper.save_figure",),
    "backreferences_dir": "generated/backreferences",  # API pages show the examples that use a name
    "doc_module": ("nvpflow",),
    "reference_url": {"nvpflow": None},
    "reset_modules": (),
    "capture_repr": (),
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 10**6,
}


def copy_notebooks():
    """Sphinx reads pages below this directory only."""
    shutil.copytree(HERE.parent / "notebooks", HERE / "generated" / "notebooks", dirs_exist_ok=True)


def drop_slash(app, what, name, obj, options, signature, returns):
    """The text signatures of the core, `($self, /, x)`, are shown without their self."""
    return (signature.replace("(/, ", "("), returns) if signature else None


def write_mathml(writer, node, block=False):
    """MathML, which browsers show without a script from elsewhere."""
    math = tex2mathml(node.astext(), as_block=block)
    # docutils writes functions without a space before their argument.
    writer.body.append(re.sub(r"<mi>(\w{3,})</mi>", r'<mo lspace="0" rspace="0.15em">\1</mo>', math))
    raise nodes.SkipNode


def setup(app):
    copy_notebooks()
    app.connect("autodoc-process-signature", drop_slash)
    app.add_html_math_renderer("mathml", (write_mathml, None), (partial(write_mathml, block=True), None))
