"""The commands fit, score, impute, sample and info."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import nvpflow
from nvpflow._display import base_name
from nvpflow._typing import Floats
from nvpflow.cli._arguments import (
    N_SAMPLES,
    SEED,
    TABLE_OUT,
    Commands,
    add_command,
    add_context,
    add_context_values,
    add_model,
    add_table,
    add_table_options,
    add_tables,
    columns,
    count_of,
    epochs,
    fit_model,
    integer,
    or_none,
    real,
)
from nvpflow.cli._files import Model, check_place, load_beside, load_model, save_model
from nvpflow.cli._large import fit_source, is_large, score_source
from nvpflow.cli._rows import context_rows, context_value, read_context, read_rows, read_training_rows
from nvpflow.cli._streams import say
from nvpflow.cli._support import add_support, context_support_of, support_of
from nvpflow.cli.tables import write_table
from nvpflow.layers import ACTIVATIONS
from nvpflow.scale._source import NamedRows
from nvpflow.supports._frame import Frame

# The names of columns in a fitted model, by what `Rows` has.
NAMES = {"feature_names_in_": "names", "context_feature_names_in_": "context_names"}

MOST_FLOWS = 10_000  # layers, starts or flows: a slip of the keyboard must not take all memory


def add_fit(commands: Commands) -> None:
    parser = add_command(
        commands,
        "fit",
        "Fit a normalizing flow to the rows of a table and write it to a file: a density, a density that is conditional on\n"
        "some columns (--context), or an outlier detector (--contamination), which may have a context as well.\n"
        "Defaults are in parentheses.",
        [
            "nvpflow fit data.csv -o model.npz",
            "nvpflow fit data.csv -o model.npz --columns height,weight --random-state 0",
            "nvpflow fit data.csv -o model.npz --context age,sex --weight count",
            "nvpflow fit data.csv -o model.npz --positive price --bounds x:0:10 --angle heading:0:360 --integer count:0:",
            "nvpflow fit data.csv -o model.npz --category colour,shape",
            "nvpflow fit data.csv -o detector.npz --contamination auto",
            "nvpflow fit data.csv -o model.npz --missing marginalize",
            "nvpflow fit data.parquet -o model.npz --n-layers 16 --hidden-dim 128,128 --n-jobs -1",
            "nvpflow fit folder/*.parquet -o model.npz  # larger than memory",
            "zcat data.csv.gz | nvpflow fit - -o model.npz -v",
        ],
        help="fit a model to a table",
    )
    add_tables(parser, "all but context and weight")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", help='file to write; "-": standard output')
    parser.add_argument(
        "--weight", type=columns, metavar="COLUMN", help="column of the table with the weights of its rows (none)"
    )
    parser.add_argument("--context", type=columns, metavar="LIST", help="columns that the density is conditional on (none)")
    parser.add_argument(
        "--contamination",
        type=_contamination,
        default=argparse.SUPPRESS,
        metavar="X",
        help="fit an outlier detector: the share of the rows that are outliers, at most 0.5, or auto: outliers lie "
        "outside of the region of highest density that holds 95 %% of the fitted distribution",
    )
    add_support(parser)
    positive, some = integer(1), integer(1, MOST_FLOWS)
    for name, convert, text in (
        ("n_layers", or_none("auto", some), "coupling layers, or auto"),
        ("hidden_dim", _widths, "width of the networks' hidden layer, or widths of several, as in 64,64"),
        ("activation", ACTIVATIONS, "activation function of the networks"),
        ("coupling", ("spline", "affine", "additive"), "layers: splines, affine as in Real NVP, additive as in NICE"),
        ("scale_bound", or_none("none", real(0, low_open=True)), "bound of the scale of affine layers, or none"),
        ("n_bins", or_none("auto", integer(2)), "bins of the splines, or auto"),
        ("tail_bound", or_none("auto", real(0, low_open=True)), "reach of the splines, in standard deviations, or auto"),
        ("base", ("auto", "normal", "mixture", "student_t"), "density of latent points: normal, a mixture, or heavy-tailed"),
        ("missing", ("error", "marginalize"), "what to do where cells are missing, such as empty ones: marginalize over them"),
        ("standardize", bool, "train in units of the data's standard deviations"),
        ("n_init", some, "random starts; after a tenth of the epochs, or a first cycle, the best one goes on"),
        ("n_models", some, "flows whose densities are averaged, each with held-out rows of its own"),
        ("max_iter", or_none("auto", positive), "epochs, or auto"),
        ("time_limit", or_none("none", real(0, low_open=True)), "seconds after which training ends, or none"),
        ("batch_size", _batch_size, "samples per update, auto: few for small tables, or full"),
        ("learning_rate", or_none("auto", real(0, low_open=True)), "learning rate of Adam, or auto"),
        ("schedule", ("cosine", "constant"), "course of the learning rate"),
        ("warmup", real(0, high=1), "share of the updates, at the beginning, in which the learning rate grows"),
        ("average", real(0, high=1), "decay of the moving average of the parameters; 0 for none"),
        ("noise", real(0), "noise added to n rows in training, in n^-0.45 standard deviations; 0 for none"),
        ("validation_fraction", or_none("none", real(0, low_open=True, high=1)), "share of the rows held out, or none"),
        ("n_iter_no_change", or_none("never", positive), "epochs without gain after which training stops, or never"),
        ("tol", real(0), "smallest gain in validation NLL that counts, in nats"),
        ("dtype", ("float32", "float64"), "precision"),
        ("n_jobs", integer(-(2**31)), "threads; -1: all processors"),
        ("random_state", SEED, "seed, for the same result every time"),
    ):
        _add_parameter(parser, name, convert, text)
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="store_true", help="show progress even if standard error is not a terminal")
    loud.add_argument("-q", "--quiet", action="store_true", help="show no progress and no summary")
    parser.set_defaults(run=_fit)


def _add_parameter(
    parser: argparse.ArgumentParser, name: str, convert: type[bool] | tuple[str, ...] | Callable[[str], object], text: str
) -> None:
    """Add an option for a parameter of FlowDensity. If it is not given, the class sets the default."""
    default = getattr(nvpflow.FlowDensity(), name)
    options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": f"{text} ({_word(name, default)})"}
    if convert is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif isinstance(convert, tuple):
        options["choices"] = convert
    else:
        options |= {"type": convert, "metavar": "X" if isinstance(default, float) else "N"}
    parser.add_argument(f"--{name.replace('_', '-')}", **options)


def _word(name: str, default: object) -> str:
    """A default in the words of the help."""
    if default is None:
        words = {"n_iter_no_change": "never", "time_limit": "none", "n_jobs": "1", "random_state": "another one every time"}
        return words.get(name, "auto")
    return {"True": "yes", "False": "no"}.get(str(default), str(default))


def _widths(text: str) -> int | tuple[int, ...]:
    widths = tuple(map(integer(1), text.split(",")))
    return widths[0] if len(widths) == 1 else widths


def _batch_size(text: str) -> int | str | None:
    return text if text == "auto" else or_none("full", integer(1))(text)


def _contamination(text: str) -> float | str:
    return text if text == "auto" else real(0, low_open=True)(text)


def _fit(options: argparse.Namespace) -> None:
    check_place(options.output, *filter(os.path.exists, options.data))
    is_streamed = is_large(options.data)
    options.data = options.data if is_streamed else options.data[0]
    given = vars(options)
    kind = nvpflow.FlowOutlierDetector if "contamination" in given else nvpflow.FlowDensity
    known = kind().get_params().keys() - {"verbose", "support", "context_support"}
    model = kind(**{name: given[name] for name in known if name in given})
    source, rows = fit_source(options, model.dtype) if is_streamed else (None, read_training_rows(options, model.dtype))
    model.set_params(support=support_of(options, rows), context_support=context_support_of(options, rows))
    shown = not options.quiet and (options.verbose or sys.stderr.isatty())
    more = {"context": _named(rows.context, rows.context_names), "sample_weight": rows.weight}
    more = {name: value for name, value in more.items() if value is not None}
    seconds = fit_model(model, _named(rows.x, rows.names) if source is None else source, verbose=int(shown), **more)
    density = model.estimator_ if isinstance(model, nvpflow.FlowOutlierDetector) else model
    for holder, name in itertools.product((model, density), NAMES):
        if getattr(rows, NAMES[name]) is None:
            vars(holder).pop(name, None)
    types = Frame.of_types(rows.dtypes)
    if types is not None:
        density._frame = types
    save_model(model, options.output)
    if not options.quiet:
        size = f"{density.n_samples_seen_ if is_streamed else len(rows.x)} rows, {count_of(rows.x.shape[1], 'column')}"
        if rows.context is not None:
            size += f" given {count_of(rows.context.shape[1], 'column')} of context"
        say(f"{size}, {seconds:.2f} s: {_summary(density)}")


def _named(rows: Any, names: list[str] | None) -> NamedRows | None:
    """Rows (n, D) with names for messages: numbers from 1 where the table has none."""
    if rows is None:
        return None
    return NamedRows(rows, np.array(names or [str(i + 1) for i in range(rows.shape[1])], dtype=object))


def add_score(commands: Commands) -> None:
    parser = add_command(
        commands,
        "score",
        "Log-density of every row of a table, in nats. It takes the columns that the model was fitted to, by their\n"
        "names if table and model have names, and likewise the context of a conditional model. Where the density is zero,\n"
        "its logarithm is -inf.",
        [
            "nvpflow score model.npz data.csv",
            "nvpflow score model.npz data.csv -o scores.csv",
            "nvpflow score model.npz data.csv --mean",
            "nvpflow score model.npz folder/*.parquet -o scores.parquet  # larger than memory",
            "nvpflow score model.npz data.csv --columns 1,2 --context 3",
            "nvpflow score detector.npz data.csv --labels",
        ],
        help="log-density of the rows of a table",
    )
    add_model(parser)
    add_tables(parser)
    add_context(parser)
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--mean", action="store_true", help="print the mean log-density alone")
    shape.add_argument(
        "--labels",
        action="store_true",
        help="add a column of labels, -1 for outliers and 1 for other rows (needs an outlier detector)",
    )
    parser.add_argument("--n-jobs", type=integer(-(2**31)), metavar="N", help="threads; -1: all processors (1)")
    parser.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> None:
    check_place(options.output, options.model, *filter(os.path.exists, options.data))
    model = load_beside(options, options.data[0])
    threshold = model.threshold
    if options.labels and threshold is None:
        raise ValueError("--labels needs an outlier detector, which fit makes with --contamination")
    if model.flow is not None:
        model.flow.n_jobs = options.n_jobs
    if is_large(options.data):
        return score_source(options, model, int(sys.stderr.isatty()))
    options.data = options.data[0]
    rows = read_rows(options, model, missing=model.takes_missing)
    log_density = model.log_prob(rows.x, rows.context)
    _check_scores(log_density, options.data)
    if options.mean:
        print(f"{log_density.mean(dtype=np.float64):.6f}")
    elif options.labels and isinstance(model.fitted, nvpflow.FlowOutlierDetector):
        labels = model.fitted.predict(rows.x, context=rows.context)
        table = np.stack([log_density, labels.astype(log_density.dtype)], axis=1)
        write_table(options.output, table, ["log_density", "label"])
    else:
        write_table(options.output, log_density[:, None], ["log_density"])


def _check_scores(log_density: Floats, source: str) -> None:
    """Refuse NaN. -inf is fine: it is the logarithm of zero."""
    bad = np.flatnonzero(np.isnan(log_density))
    if len(bad):
        raise ValueError(f"{source}, row {bad[0] + 1}: the model has no log-density there, its numbers overflow")


def add_impute(commands: Commands) -> None:
    parser = add_command(
        commands,
        "impute",
        "Fill the missing cells of a table, such as empty ones, with draws from the conditional density of each row given\n"
        "its other cells. It takes the columns that the model was fitted to, and writes them. The other cells are unchanged.",
        [
            "nvpflow impute model.npz data.csv > full.csv",
            "nvpflow impute model.npz data.csv -o full.csv --random-state 1",
        ],
        help="fill the missing cells of a table",
    )
    add_model(parser)
    add_table(parser)
    add_context(parser)
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    parser.add_argument(
        "--random-state", type=SEED, metavar="N", help="seed (the one given to fit; without one, other draws every time)"
    )
    parser.set_defaults(run=_impute)


def _impute(options: argparse.Namespace) -> None:
    check_place(options.output, options.model, options.data)
    model = load_beside(options, options.data)
    if model.estimator is None:
        raise ValueError("impute needs a model that fit made, got a flow without its estimator")
    rows = read_rows(options, model, missing=True)
    full = model.estimator.impute(rows.x, 1, options.random_state, context=rows.context)
    write_table(options.output, full, rows.names or model.names, model.dtypes)


def add_sample(commands: Commands) -> None:
    parser = add_command(
        commands,
        "sample",
        "Draw rows from the fitted density. A model that was fitted with --random-state draws the same rows every time,\n"
        "unless another seed is given here.",
        [
            "nvpflow sample model.npz -n 1000 > samples.csv",
            "nvpflow sample model.npz -n 1000000 -o samples.npy --random-state 1",
            "nvpflow sample model.npz -n 1000 --context-values 0.5,1",
            "nvpflow sample model.npz --context contexts.csv  # one row for each row of the table",
        ],
        help="new rows from a model",
    )
    add_model(parser)
    parser.add_argument(
        "-n", "--n-samples", type=N_SAMPLES, default=1, metavar="N", help="rows, or rows for each row of --context (1)"
    )
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    parser.add_argument(
        "--random-state", type=SEED, metavar="N", help="seed (the one given to fit; without one, different rows every time)"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--context", metavar="TABLE", help='contexts of a conditional model, CSV, NPY or Parquet; "-": standard input'
    )
    add_context_values(group)
    add_table_options(parser, "columns of --context to use", "those of the model's context, by their names, or all")
    parser.set_defaults(run=_sample)


def _sample(options: argparse.Namespace) -> None:
    check_place(options.output, options.model, options.context)
    model = load_beside(options, options.context)
    n, context = options.n_samples, context_rows(context_value(options, model), options.n_samples)
    if options.context is not None:
        context = np.repeat(read_context(options, model), n, axis=0)
        n = len(context)
    elif context is None and model.context_dim:
        raise ValueError(f"the model is {_conditional(model)}: --context or --context-values must be given")
    samples = model.sample(n, options.random_state, context)
    write_table(options.output, samples, model.names, model.dtypes)


def add_info(commands: Commands) -> None:
    parser = add_command(
        commands,
        "info",
        "What a model file holds: columns, context, layers, parameters, training and its negative log-likelihood (NLL),\n"
        "and the threshold of an outlier detector.",
        ["nvpflow info model.npz"],
        help="what a model file holds",
    )
    add_model(parser)
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    flow = model.flow
    flows = flow.flows if isinstance(flow, nvpflow.FlowEnsemble) else () if flow is None else (flow,)
    layers = Counter(type(layer).__name__ for one in flows for layer in one.layers)
    bases = Counter(map(base_name, flows))
    rows = {"columns": f"{model.data_dim}{_listed(model.names)}"}
    if model.categories:
        shown = [str(column + 1) if model.names is None else model.names[column] for column in model.categories]
        rows["categories"] = f"{len(shown)}{_listed(shown)}"
    if model.context_dim:
        rows["density"] = _conditional(model)
    if len(flows) > 1:
        rows["ensemble"] = f"the average of {len(flows)} flows"
    if flow is not None:
        rows |= {
            "layers": ", ".join(f"{count} {name}" for name, count in layers.items()),
            "base": ", ".join(name if count == len(flows) else f"{count} {name}" for name, count in bases.items()),
            "parameters": f"{flow.n_parameters}, {flow.dtype}",
        }
    if model.estimator is not None:
        rows |= {"model": repr(model.fitted), "training": _summary(model.estimator)}
    if model.threshold is not None:
        rows["threshold"] = f"rows with a log-density below {model.threshold:.4f} nats are outliers"
    for name, value in rows.items():
        print(f"{name:<12}{value}")


def _conditional(model: Model) -> str:
    return f"conditional on {count_of(model.context_dim, 'column')}{_listed(model.context_names)}"


def _listed(names: list[str] | None) -> str:
    return f": {', '.join(names)}" if names else ""


def _summary(estimator: nvpflow.FlowDensity) -> str:
    history, best = estimator.history_, estimator.best_iter_
    if estimator.flow_ is None:
        return "probabilities of categories alone"
    if not isinstance(best, int):
        return epochs(estimator)
    scores = []
    if best > 0:
        scores.append(f"training NLL {history['train_nll'][best - 1]:.4f} nats")
    if best > 0 and "validation_nll" in history:
        validation = history["validation_nll"][history["validation_epoch"] == best]
        scores += [f"validation NLL {nll:.4f} nats" for nll in validation]
    return ", ".join([epochs(estimator), *scores])
