"""The pictures of the gallery."""

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def save_figure(block, block_vars, gallery_conf):
    """Save the `figure` that an example has made. sphinx-gallery finds those of pyplot alone."""
    figure = block_vars["example_globals"].pop("figure", None)
    if not isinstance(figure, Figure):
        return ""
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=120)
    return figure_rst([path], gallery_conf["src_dir"])
