"""What several commands share: types of arguments, tables, model files, and the training with its progress."""

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import nvpflow
from nvpflow.tables import read_table


def add_command(commands, name, description, examples, **texts):
    """A parser for a command, with examples at the end of its help."""
    return commands.add_parser(
        name,
        description=description,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **texts,
    )


def integer(low, high=None):
    """A type for argparse: an integer in a range."""

    def convert(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {text}")
        if high is not None and value > high:
            raise argparse.ArgumentTypeError(f"must be at most {high}, got {text}")
        return value

    return convert


def real(low, *, low_open=False, high=np.inf):
    """A type for argparse: a number in low <= x < high, or low < x < high."""

    def convert(text):
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
        if not (low < value if low_open else low <= value) or not value < high:
            bound = f"greater than {low:g}" if low_open else f"at least {low:g}"
            upper = "finite" if high == np.inf else f"below {high:g}"
            raise argparse.ArgumentTypeError(f"must be {upper} and {bound}, got {text}")
        return value

    return convert


def or_none(word, convert):
    """A type for argparse: what `convert` takes, or a word for None."""
    return lambda text: None if text == word else convert(text)


SEED = integer(0, 2**32 - 2)


def add_data(parser, name="data", **options):
    """Arguments that say which table to read."""
    parser.add_argument(name, metavar="TABLE", help='CSV, NPY or Parquet file; "-": standard input', **options)
    parser.add_argument(
        "--columns",
        type=_names,
        metavar="LIST",
        help="columns to use: names, numbers from 1, ranges, as in x,y or 1,3-5 (all of them, or those of the model)",
    )
    parser.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="C",
        help='of the cells in a CSV, "tab" for tabulators (the first line tells)',
    )
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the first line of a CSV holds names (yes, if none of its cells is a number)",
    )


def _names(text):
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise argparse.ArgumentTypeError(f"must be names or numbers with commas between them, got {text!r}")
    return names


def _delimiter(text):
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character or tab, got {text!r}")
    return text


def read_data(options, model=None):
    """The table that the options mean, with the columns of the model if there is one: (values, names or None)."""
    known = column_names(model)
    values, names = read_table(
        options.data, options.columns, delimiter=options.delimiter, header=options.header, known=known
    )
    if model is not None and values.shape[1] != flow_of(model).data_dim:
        raise ValueError(
            f"the model has {flow_of(model).data_dim} columns, got {values.shape[1]} from {options.data}: "
            "--columns chooses some of a table"
        )
    return values, names


def column_names(model):
    """Those of the table that the model was fitted to, or None."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def add_model(parser):
    parser.add_argument("model", metavar="MODEL", help='file that fit wrote; "-": standard input')


def load_model(path):
    if path != "-":
        return nvpflow.load(path)
    with tempfile.TemporaryDirectory() as directory:  # the format needs a file that can be read in any order
        copy = Path(directory) / "standard input"
        with open(copy, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return nvpflow.load(copy)


def save_model(model, path):
    if path != "-":
        return model.save(path)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "model.npz"
        model.save(copy)
        write_bytes(copy.read_bytes())


def write_bytes(content):
    """To standard output."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def check_place(path):
    """Fail early if no file can be written there."""
    if path == "-":
        return
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return  # a pipe or a device is written through
    directory = os.path.dirname(os.path.realpath(path))  # links are followed
    if not os.path.isdir(directory):
        raise FileNotFoundError(2, "no such directory to write to", directory)
    if os.path.isdir(path):
        raise IsADirectoryError(21, "is a directory", path)
    if not os.access(directory, os.W_OK):
        raise PermissionError(13, "no permission to write there", directory)


def flow_of(model):
    """The flow of a model file: an estimator's, or itself."""
    return model.flow_ if isinstance(model, nvpflow.RealNVP) else model


def fit_model(model, data, verbose=1):
    """Fit with progress on stderr; returns the seconds it took."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.set_params(verbose=verbose).fit(data)
    model.set_params(verbose=0)  # a matter of this command, not of the model
    seconds = time.perf_counter() - start
    for warning in caught:
        print(f"nvpflow: warning: {warning.message}", file=sys.stderr)
    return seconds


def epochs(model):
    """How long the model was trained, in words."""
    if not model.early_stopping:
        return f"{model.n_iter_} epochs"
    kept = f"the parameters of epoch {model.best_iter_}" if model.best_iter_ else "the start, which none bettered,"
    return f"{model.n_iter_} epochs, {kept} kept"
