"""Helpers for tests of figures: data, flows, and the contents of a figure."""

import numpy as np

import nvpflow

DATA = np.random.default_rng(0).normal(size=(300, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [10, -2]


def coupling_flow(n_layers, dim=2, **options):
    masks = [[(i + j + 1) % 2 for j in range(dim)] for i in range(n_layers)]
    return nvpflow.Flow([nvpflow.CouplingLayer(dim, 8, mask, random_state=1, **options) for mask in masks])


def offsets(ax):
    return np.asarray(ax.collections[0].get_offsets())


def colours(ax):
    return ax.collections[0].get_facecolors()


def images(figure):
    return [ax.images[0] for ax in figure.axes if ax.images]


def rgba(figure):
    """The pixels that Agg draws, (height, width, 4), in 0..255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(50)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def pixels(figure):
    """The pixels in RGB, (height, width, 3), in 0..1."""
    return rgba(figure)[..., :3] / 255


def pixel_at(figure, ax, point, image):
    """The colour of the image at a point in data coordinates."""
    x, y = ax.transData.transform(point)
    return image[int(image.shape[0] - y), int(x)]


def sort_rows(points):
    return points[np.lexsort(points.T)]


def centres(limits, shape):
    """The centres of the pixels of an image, (height, width, 2)."""
    (left, right), (bottom, top) = limits
    x = left + (np.arange(shape[1]) + 0.5) / shape[1] * (right - left)
    y = bottom + (np.arange(shape[0]) + 0.5) / shape[0] * (top - bottom)
    return np.stack(np.meshgrid(x, y), axis=-1)
