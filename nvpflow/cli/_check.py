"""The command check, which says whether a model fits held-out rows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nvpflow.cli._arguments import SEED, Commands, add_command, add_context, add_model, add_table
from nvpflow.cli._files import load_beside
from nvpflow.cli._rows import Rows, read_rows

if TYPE_CHECKING:
    from nvpflow.cli._files import Model

__all__ = ["add_check"]


def add_check(commands: Commands) -> None:
    parser = add_command(
        commands,
        "check",
        "Check a model on rows that it was not fitted to: log-likelihood, beside that of simple models if --train gives the\n"
        "training rows; each column beside that of samples of the model; and whether classifiers tell rows from samples.\n"
        "What is significant stands under the findings. The exit code is 0 whatever they are.",
        [
            "nvpflow check model.npz test.csv",
            "nvpflow check model.npz test.csv --train data.csv",
            "nvpflow check model.npz test.csv --context-values 30,1",
        ],
        help="does a model fit held-out rows?",
    )
    add_model(parser)
    add_table(parser)
    add_context(parser)
    parser.add_argument("--train", metavar="TABLE", help="the rows that the model was fitted to, for simple models beside it")
    parser.add_argument("--random-state", type=SEED, default=0, metavar="N", help="seed of the samples (0)")
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> None:
    from nvpflow.diagnostics._check import check_density

    if options.train == "-" and "-" in (options.model, options.data):
        raise ValueError('only one of model, table and --train can be "-", standard input')
    model = load_beside(options, options.data)
    if model.estimator is None:
        raise ValueError(f"{options.model} holds a {type(model.fitted).__name__}: check needs an estimator, which fit writes")
    rows = _rows(options, model)
    train = None if options.train is None else _rows(argparse.Namespace(**vars(options) | {"data": options.train}), model)
    names = model.names or [str(column + 1) for column in range(model.data_dim)]
    x_train, context_train = (None, None) if train is None else (train.x, train.context)
    report = check_density(model.estimator, rows.x, rows.context, x_train, context_train, options.random_state, names=names)
    print(report)


def _rows(options: argparse.Namespace, model: Model) -> Rows:
    return read_rows(options, model, missing=model.takes_missing)
