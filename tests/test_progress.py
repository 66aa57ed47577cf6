"""Progress of a training: a bar, lines, or nothing."""

import io
import sys

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import nvpflow
from nvpflow.progress import progress

NAN = float("nan")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(n_epochs, verbose=1, file=None, until=None):
    file = io.StringIO() if file is None else file
    with progress(n_epochs, verbose, file) as callback:
        for epoch in range(1, (until or n_epochs) + 1):
            assert not callback(epoch, epoch / 10, NAN)
    return file.getvalue()


@pytest.mark.parametrize(
    ("n_epochs", "verbose", "expected"), [(1000, 1, 10), (1000, 3, 30), (7, 1, 7), (1, 1, 1), (50, 0, 0)]
)
def test_about_ten_lines_where_nobody_watches(n_epochs, verbose, expected):
    lines = shown(n_epochs, verbose).splitlines()
    assert len(lines) == expected
    if lines:
        assert lines[-1] == f"epoch {n_epochs}/{n_epochs}: training NLL {n_epochs / 10:.4f}"


def test_the_validation_nll_is_shown_if_there_is_one():
    file = io.StringIO()
    with progress(1, file=file) as callback:
        callback(1, 1.25, 1.5)
    assert file.getvalue() == "epoch 1/1: training NLL 1.2500, validation NLL 1.5000\n"


def test_a_terminal_gets_a_bar():
    pytest.importorskip("tqdm")
    text = shown(30, file=Terminal())
    assert "30/30" in text and "training NLL 3.0000" in text and "100%" in text and "epoch 3/30" not in text
    assert shown(30, verbose=0, file=Terminal()) == ""


def test_a_bar_ends_where_training_stops(monkeypatch):
    pytest.importorskip("tqdm")
    text = shown(30, file=Terminal(), until=12)
    assert text.endswith("\n") and "12/30" in text.splitlines()[-1] and "training NLL 1.2000" in text.splitlines()[-1]


def test_a_terminal_without_tqdm_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert len(shown(30, file=Terminal()).splitlines()) == 10


def test_the_bar_is_closed_after_an_error():
    pytest.importorskip("tqdm")
    file = Terminal()
    with pytest.raises(KeyboardInterrupt):
        with progress(30, file=file) as callback:
            callback(1, 1.0, 2.0)
            raise KeyboardInterrupt
    assert file.getvalue().endswith("\n")


def test_it_is_a_callback_of_fit():
    x = np.random.default_rng(0).normal(size=(60, 2))
    file = io.StringIO()
    model = nvpflow.RealNVP(2, 4, max_iter=20, random_state=0)
    with progress(model.max_iter, file=file) as callback:
        model.fit(x, callback=callback)
    last = file.getvalue().splitlines()[-1]
    train, validation = (model.history_[name][-1] for name in ("train_nll", "validation_nll"))
    assert last == f"epoch 20/20: training NLL {train:.4f}, validation NLL {validation:.4f}"


def test_a_notebook_gets_a_bar():
    pytest.importorskip("tqdm")
    code = "from nvpflow.progress import progress\nwith progress(5) as f:\n    for i in range(1, 6): f(i, 1.0, 2.0)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    text = "".join(str(output) for output in notebook.cells[0].outputs)
    assert "5/5" in text and "epoch 3/5" not in text and "Warning" not in text
