"""Commands for people with a table: fit a model, score rows, draw samples, look into a model file."""

import argparse
import sys
from collections import Counter

import numpy as np

import nvpflow
from nvpflow._display import base_name
from nvpflow.cli._arguments import (
    SEED,
    add_command,
    add_data,
    add_model,
    check_place,
    column_names,
    epochs,
    fit_model,
    flow_of,
    integer,
    load_model,
    or_none,
    read_data,
    real,
    save_model,
)
from nvpflow.tables import write_table

TABLE_OUT = 'CSV, or what ends in .npy, .parquet or .tsv; "-": standard output (-)'


def add_fit(commands):
    parser = add_command(
        commands,
        "fit",
        "Fit a Real NVP flow to the rows of a table and write it to a file.\nDefaults are in parentheses.",
        [
            "nvpflow fit data.csv -o model.npz",
            "nvpflow fit data.csv -o model.npz --columns height,weight --random-state 0",
            "nvpflow fit data.parquet -o model.npz --n-layers 16 --hidden-dim 128,128 --n-jobs -1",
            "zcat data.csv.gz | nvpflow fit - -o model.npz -v",
        ],
        help="fit a model to a table",
    )
    add_data(parser)
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", help='file to write; "-": standard output')
    positive = integer(1)
    for name, convert, text in (
        ("n_layers", positive, "coupling layers"),
        ("hidden_dim", _widths, "width of the networks' hidden layer, or of several, as in 64,64"),
        ("activation", ("relu", "tanh", "silu"), "of the networks"),
        ("scale", ("spline", "tanh", "exp"), "splines; tanh: affine, bounded; exp: the published layer"),
        ("scale_bound", real(0, low_open=True), "of the tanh scale"),
        ("n_bins", or_none("auto", integer(2)), "bins of the splines, or auto"),
        ("tail_bound", or_none("auto", real(0, low_open=True)), "reach of the splines, in standard deviations, or auto"),
        ("base", ("auto", "normal", "mixture"), "density of latent points"),
        ("standardize", bool, "start from the data's mean and standard deviation"),
        ("n_init", positive, "starts, the best of which goes on"),
        ("max_iter", or_none("auto", positive), "epochs, or auto"),
        ("batch_size", or_none("full", positive), "samples per update, or full"),
        ("learning_rate", or_none("auto", real(0, low_open=True)), "of Adam, or auto"),
        ("schedule", ("cosine", "constant"), "of the learning rate"),
        ("warmup", real(0, high=1), "share of the updates in which the learning rate grows"),
        ("average", real(0, high=1), "decay of the moving average of the parameters; 0 for none"),
        ("noise", real(0), "bandwidth of the noise that smooths the density; 0 for none"),
        ("early_stopping", bool, "keep the parameters that do best on held-out rows"),
        ("validation_fraction", real(0, low_open=True, high=1), "of the rows, held out"),
        ("n_iter_no_change", or_none("never", positive), "stop after so many epochs without gain, or never"),
        ("tol", real(0), "smallest gain, in nats"),
        ("dtype", ("float32", "float64"), "precision"),
        ("n_jobs", integer(-(2**31)), "threads; -1: all processors"),
        ("random_state", SEED, "seed, for the same result every time"),
    ):
        _add_parameter(parser, name, convert, text)
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="store_true", help="show progress although stderr is no terminal")
    loud.add_argument("-q", "--quiet", action="store_true", help="show no progress and no summary")
    parser.set_defaults(run=_fit)


def _add_parameter(parser, name, convert, text):
    """An option for a parameter of RealNVP. One that is not given leaves nothing behind: RealNVP knows the default."""
    default = getattr(nvpflow.RealNVP(), name)
    options = {"dest": name, "default": argparse.SUPPRESS, "help": f"{text} ({_word(name, default)})"}
    if convert is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif isinstance(convert, tuple):
        options["choices"] = convert
    else:
        options |= {"type": convert, "metavar": "X" if isinstance(default, float) else "N"}
    parser.add_argument(f"--{name.replace('_', '-')}", **options)


def _word(name, default):
    """A default as it is written in the help."""
    words = {True: "yes", False: "no"} if isinstance(default, bool) else {}
    if default is None:
        words = {"n_iter_no_change": "never", "n_jobs": "1", "random_state": "another one every time"}
        return (words | dict.fromkeys(("n_bins", "tail_bound", "learning_rate", "max_iter"), "auto"))[name]
    return words.get(default, str(default))


def _widths(text):
    widths = tuple(map(integer(1), text.split(",")))
    return widths[0] if len(widths) == 1 else widths


def _fit(options):
    check_place(options.output)
    values, names = read_data(options)
    given = vars(options)
    known = nvpflow.RealNVP().get_params().keys() - {"verbose"}
    parameters = {name: given[name] for name in known if name in given}
    model = nvpflow.RealNVP(**parameters)
    shown = not options.quiet and (options.verbose or sys.stderr.isatty())
    seconds = fit_model(model, values, verbose=int(shown))
    if names is not None:
        model.feature_names_in_ = np.array(names, dtype=object)
    save_model(model, options.output)
    if not options.quiet:
        rows, columns = values.shape
        print(f"{rows} rows, {columns} columns, {seconds:.2f} s: {_summary(model)}", file=sys.stderr)


def add_score(commands):
    parser = add_command(
        commands,
        "score",
        "Log-density of every row of a table, in nats. It takes the columns that the model was fitted to, by their\n"
        "names if table and model have names.",
        [
            "nvpflow score model.npz data.csv",
            "nvpflow score model.npz data.csv -o scores.csv",
            "nvpflow score model.npz data.csv --mean",
        ],
        help="log-density of the rows of a table",
    )
    add_model(parser)
    add_data(parser)
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    parser.add_argument("--mean", action="store_true", help="print the mean log-density alone")
    parser.add_argument("--n-jobs", type=integer(-(2**31)), metavar="N", help="threads; -1: all processors (1)")
    parser.set_defaults(run=_score)


def _score(options):
    model = _load_beside(options)
    flow = flow_of(model)
    flow.n_jobs = options.n_jobs
    log_density = flow.log_prob(read_data(options, model)[0])
    if options.mean:
        print(f"{log_density.mean(dtype=np.float64):.6f}")
    else:
        write_table(options.output, log_density[:, None], ["log_density"])


def _load_beside(options):
    """The model of a command that reads a table, too."""
    if options.model == "-" == options.data:
        raise ValueError('model and table cannot both be "-", standard input')
    return load_model(options.model)


def add_sample(commands):
    parser = add_command(
        commands,
        "sample",
        "Draw rows from the fitted density.",
        [
            "nvpflow sample model.npz -n 1000 > samples.csv",
            "nvpflow sample model.npz -n 1000000 -o samples.npy --random-state 1",
        ],
        help="new rows from a model",
    )
    add_model(parser)
    parser.add_argument("-n", "--n-samples", type=integer(1), default=1, metavar="N", help="rows (1)")
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    parser.add_argument(
        "--random-state", type=SEED, metavar="N", help="seed (that of fit, for the same rows every time)"
    )
    parser.set_defaults(run=_sample)


def _sample(options):
    model = load_model(options.model)
    write_table(options.output, model.sample(options.n_samples, options.random_state), column_names(model))


def add_info(commands):
    parser = add_command(
        commands,
        "info",
        "What a model file holds: columns, layers, parameters, training and its negative log-likelihood (NLL).",
        ["nvpflow info model.npz"],
        help="what a model file holds",
    )
    add_model(parser)
    parser.set_defaults(run=_info)


def _info(options):
    model = load_model(options.model)
    flow, names = flow_of(model), column_names(model)
    layers = Counter(type(layer).__name__ for layer in flow.layers)
    rows = {
        "columns": f"{flow.data_dim}" + (f": {', '.join(names)}" if names else ""),
        "layers": ", ".join(f"{count} {name}" for name, count in layers.items()),
        "base": base_name(flow),
        "parameters": f"{flow.n_parameters}, {flow.dtype}",
    }
    if isinstance(model, nvpflow.RealNVP):
        rows |= {"model": repr(model), "training": _summary(model)}
    for name, value in rows.items():
        print(f"{name:<12}{value}")


def _summary(model):
    scores = [
        f"{word} NLL {model.history_[key][model.best_iter_ - 1]:.4f} nats"
        for word, key in (("training", "train_nll"), ("validation", "validation_nll"))
        if key in model.history_ and model.best_iter_ > 0
    ]
    return ", ".join([epochs(model), *scores])
