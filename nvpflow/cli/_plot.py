"""The command plot, which draws a model file."""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

import nvpflow
from nvpflow import plot
from nvpflow._io.writing import write_file
from nvpflow._typing import Floats
from nvpflow.cli._arguments import N_SAMPLES, SEED, Commands, add_command, add_context, add_model, add_table
from nvpflow.cli._files import Model, check_place, load_beside
from nvpflow.cli._rows import Rows, context_rows, context_value, read_rows
from nvpflow.cli._streams import write_bytes

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

KINDS = {
    "contours": "regions that hold 50, 80, 95 and 99 % of the probability, and the data; 1 or 2 columns",
    "density": "curve of one column, image of the log-density of two, and the data",
    "samples": "data beside samples (needs a table); 1 or 2 columns",
    "evolution": "points on their way through the layers; as a film if the output ends in .gif; 1 or 2 columns",
    "corner": "histograms and pairs of columns, of samples and of the data; up to 16 columns",
    "latent": "are the latent points of the data normal? (needs a table); up to 24 columns",
    "training": "training curves",
}
NEED_DATA = ("samples", "latent")
# For a conditional model, these show the density given one context.
NEED_ONE_CONTEXT = ("contours", "density", "evolution")
# The default kind by the number of columns.
DEFAULT_KINDS = {1: "density", 2: "contours"}


def add_plot(commands: Commands) -> None:
    kinds = "\n".join(f"  {kind:<11}{text}" for kind, text in KINDS.items())
    parser = add_command(
        commands,
        "plot",
        f"Draw a model, and the data of a table if one is given. Kinds of figures:\n{kinds}\n"
        "Of a conditional model, contours, density and evolution show the density given --context-values; samples and\n"
        "corner draw one sample for the context of each row of the table.",
        [
            "nvpflow plot model.npz data.csv -o model.png",
            "nvpflow plot model.npz -o layers.gif --kind evolution",
            "nvpflow plot model.npz test.csv -o latent.pdf --kind latent",
            "nvpflow plot model.npz -o model.png --context-values 0.5,1",
        ],
        help="draw a model",
    )
    add_model(parser)
    add_table(parser, nargs="?")
    add_context(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help='figure to write; its ending (.png, .pdf, .svg, ...) is the format; "-": PNG to standard output',
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        metavar="KIND",
        help="kind of figure (of one column density, of two contours, of more corner; corner of a conditional model without "
        "--context-values)",
    )
    parser.add_argument("-n", "--n-samples", type=N_SAMPLES, metavar="N", help="samples to draw (as many as rows, or 2000)")
    parser.add_argument("--random-state", type=SEED, default=0, metavar="N", help="seed of the samples (0)")
    parser.set_defaults(run=_plot)


def _plot(options: argparse.Namespace) -> None:
    check_place(options.output, options.model, options.data)
    model = load_beside(options, options.data)
    value = context_value(options, model)
    bound = model.context_dim > 0 and value is None
    kind = options.kind or _default_kind(model, bound)
    _check_kind(kind, model, bound, options)
    rows = None if options.data is None else read_rows(options, model)
    if kind == "evolution" and Path(options.output).suffix.lower() == ".gif":
        film = plot.animation(model.fitted, random_state=options.random_state, context=value)
        _write_film(film, options.output)
    else:
        write_figure(_figure(kind, model, rows, value, options), options.output)


def _default_kind(model: Model, bound: bool) -> str:
    """The kind of figure. `bound`: the density depends on a context that is not given."""
    return "corner" if bound or model.categories else DEFAULT_KINDS.get(model.data_dim, "corner")


def _check_kind(kind: str, model: Model, bound: bool, options: argparse.Namespace) -> None:
    if kind in NEED_DATA and options.data is None:
        raise ValueError(f"a figure of the kind {kind} needs a table")
    if kind == "training" and model.estimator is None:
        raise ValueError(f"only an estimator's file holds training curves, this one holds a {type(model.fitted).__name__}")
    if model.categories and kind not in ("corner", "training"):
        raise ValueError(f"the model has columns of categories: a figure of the kind {kind} needs numbers, corner draws both")
    if bound and kind in NEED_ONE_CONTEXT:
        raise ValueError(f"the model is conditional: a figure of the kind {kind} needs --context-values")
    if bound and kind == "corner" and options.data is None:
        raise ValueError("the model is conditional: its samples need a table with contexts, or --context-values")


def _figure(kind: str, model: Model, rows: Rows | None, value: Floats | None, options: argparse.Namespace) -> Figure:
    names, x, context = model.names, rows and rows.x, rows and rows.context
    # What a kind needs is there: `_check_kind` has seen to it.
    draw = {
        "contours": lambda: plot.contours(model.fitted, x, names=names, context=value),
        "density": lambda: plot.density(model.fitted, data=x, names=names, context=value),
        "samples": lambda: plot.samples(cast(Floats, x), _samples(model, rows, value, options), names=names),
        "evolution": lambda: plot.evolution(model.fitted, random_state=options.random_state, context=value),
        "corner": lambda: plot.corner(x, _samples(model, rows, value, options), names=names, support=model.support or None),
        "latent": lambda: plot.latent(model.fitted, cast(Floats, x), context=context),
        "training": lambda: plot.training(cast(nvpflow.FlowDensity, model.estimator)),
    }
    return draw[kind]()


def _samples(model: Model, rows: Rows | None, value: Floats | None, options: argparse.Namespace) -> Floats:
    """Samples given one context, or given the context of each row, or of random rows if --n-samples is another number."""
    n = options.n_samples or (2000 if rows is None else len(rows.x))
    context = context_rows(value, n) if rows is None or rows.context is None else rows.context
    if context is not None and len(context) != n:
        context = context[np.random.default_rng(options.random_state).integers(len(context), size=n)]
    return model.sample(n, options.random_state, context)


def write_figure(figure: Figure, path: str) -> None:
    """Write the figure in the format of the file name, all of it or nothing."""
    suffix = "" if path == "-" else Path(path).suffix
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=suffix[1:].lower() or "png")
    except RuntimeError as error:  # the format needs a program that is missing
        raise ValueError(f"{path} cannot be drawn: {error}") from error
    if path == "-":
        return write_bytes(buffer.getvalue())
    write_file(path, buffer.getvalue())


def _write_film(film: FuncAnimation, path: str) -> None:
    """Write the film, all of it or nothing. Matplotlib writes it to a path alone."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "film.gif")
        film.save(whole, writer="pillow")
        write_file(path, whole.read_bytes())
