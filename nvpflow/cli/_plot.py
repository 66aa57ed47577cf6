"""The command that draws a model file."""

import io
from pathlib import Path

import nvpflow
from nvpflow import plot
from nvpflow.cli._arguments import (
    SEED,
    add_command,
    add_data,
    add_model,
    check_place,
    column_names,
    flow_of,
    integer,
    load_model,
    read_data,
    write_bytes,
)

KINDS = {
    "contours": "regions that hold 50, 80, 95 and 99 % of the probability, and the data if given",
    "density": "log-density as an image",
    "samples": "data beside samples (needs a table)",
    "evolution": "points on their way through the layers; as a film if the output ends in .gif",
    "corner": "histograms and pairs of columns, of the samples and of the data if given; any dimension",
    "latent": "are the latent points of the data normal? (needs a table); any dimension",
    "training": "training curves; any dimension",
}
NEED_DATA = ("samples", "latent")


def add_plot(commands):
    kinds = "\n".join(f"  {kind:<11}{text}" for kind, text in KINDS.items())
    parser = add_command(
        commands,
        "plot",
        "Draw a model, with the data of a table if one is given. Kinds of figures, for two columns\n"
        f"if not said otherwise:\n{kinds}",
        [
            "nvpflow plot model.npz data.csv -o model.png",
            "nvpflow plot model.npz -o layers.gif --kind evolution",
            "nvpflow plot model.npz test.csv -o latent.pdf --kind latent",
        ],
        help="draw a model",
    )
    add_model(parser)
    add_data(parser, nargs="?")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help='.png, .pdf, .svg, ...; "-": PNG to standard output'
    )
    parser.add_argument("--kind", choices=KINDS, metavar="KIND", help="of figure (contours in 2-D, else corner)")
    parser.add_argument("-n", "--n-samples", type=integer(1), metavar="N", help="samples (as many as rows, or 2000)")
    parser.add_argument("--random-state", type=SEED, default=0, metavar="N", help="seed of the samples (0)")
    parser.set_defaults(run=_plot)


def _plot(options):
    check_place(options.output)
    if options.model == "-" == options.data:
        raise ValueError('model and table cannot both be "-", standard input')
    model = load_model(options.model)
    kind = options.kind or ("contours" if flow_of(model).data_dim == 2 else "corner")
    if kind in NEED_DATA and options.data is None:
        raise ValueError(f"a figure of the kind {kind} needs a table")
    if kind == "training" and not isinstance(model, nvpflow.RealNVP):
        raise ValueError("only an estimator's file holds training curves, this one holds a Flow")
    data = None if options.data is None else read_data(options, model)[0]
    if kind == "evolution" and Path(options.output).suffix.lower() == ".gif":
        plot.animation(model, random_state=options.random_state).save(options.output, writer="pillow")
    else:
        _write(_figure(kind, model, data, options), options.output)


def _figure(kind, model, data, options):
    names = column_names(model)

    def samples():
        n = options.n_samples or (2000 if data is None else len(data))
        return model.sample(n, options.random_state)

    draw = {
        "contours": lambda: plot.contours(model, data, names=names),
        "density": lambda: plot.density(model, names=names),
        "samples": lambda: plot.samples(data, samples(), names=names),
        "evolution": lambda: plot.evolution(model, random_state=options.random_state),
        "corner": lambda: plot.corner(data, samples(), names=names),
        "latent": lambda: plot.latent(model, data),
        "training": lambda: plot.training(model),
    }
    return draw[kind]()


def _write(figure, path):
    if path != "-":
        return figure.savefig(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(buffer.getvalue())
