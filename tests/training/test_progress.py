"""Progress of training: a bar, lines or nothing."""

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


@pytest.mark.parametrize(("n_epochs", "verbose", "expected"), [(1000, 1, 10), (1000, 3, 30), (7, 1, 7), (1, 1, 1), (50, 0, 0)])
def test_number_of_lines(n_epochs, verbose, expected):
    lines = shown(n_epochs, verbose).splitlines()
    assert len(lines) == expected
    if lines:
        assert lines[-1] == f"epoch {n_epochs}/{n_epochs}: training NLL {n_epochs / 10:.4f}"


def test_last_validation_nll_is_repeated():
    file = io.StringIO()
    with progress(3, 1, file) as show:
        for epoch, validation in enumerate((NAN, 1.5, NAN), start=1):
            show(epoch, 1.0, validation)
    assert [line.partition(", ")[2] for line in file.getvalue().splitlines()] == ["", *["validation NLL 1.5000"] * 2]


def test_validation_nll():
    file = io.StringIO()
    with progress(1, file=file) as callback:
        callback(1, 1.25, 1.5)
    assert file.getvalue() == "epoch 1/1: training NLL 1.2500, validation NLL 1.5000\n"


def test_terminal_bar():
    pytest.importorskip("tqdm")
    text = shown(30, file=Terminal())
    assert "30/30" in text and "training NLL 3.0000" in text and "100%" in text and "epoch 3/30" not in text
    assert shown(30, verbose=0, file=Terminal()) == ""


def test_bar_after_early_stop(monkeypatch):
    pytest.importorskip("tqdm")
    text = shown(30, file=Terminal(), until=12)
    assert text.endswith("\n") and "12/30" in text.splitlines()[-1] and "training NLL 1.2000" in text.splitlines()[-1]


def test_terminal_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert len(shown(30, file=Terminal()).splitlines()) == 10


def test_bar_is_closed_after_error():
    pytest.importorskip("tqdm")
    file = Terminal()
    with pytest.raises(KeyboardInterrupt), progress(30, file=file) as callback:
        callback(1, 1.0, 2.0)
        raise KeyboardInterrupt
    assert file.getvalue().endswith("\n")


def test_as_callback():
    x = np.random.default_rng(0).normal(size=(60, 2))
    file = io.StringIO()
    model = nvpflow.FlowDensity(2, 4, max_iter=20, random_state=0)
    with progress(model.max_iter, file=file) as callback:
        model.fit(x, callback=callback)
    last = file.getvalue().splitlines()[-1]
    train, validation = (model.history_[name][-1] for name in ("train_nll", "validation_nll"))
    assert last == f"epoch 20/20: training NLL {train:.4f}, validation NLL {validation:.4f}"


def test_notebook_bar():
    pytest.importorskip("tqdm")
    code = "from nvpflow.progress import progress\nwith progress(5) as f:\n    for i in range(1, 6): f(i, 1.0, 2.0)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    text = "".join(str(output) for output in notebook.cells[0].outputs)
    assert "5/5" in text and "epoch 3/5" not in text and "Warning" not in text


class TestVerbose:
    X = np.random.default_rng(0).normal(size=(60, 2))

    @pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (False, 0), (1, 10), (True, 10), (2, 20), (np.int64(1), 10)])
    @pytest.mark.parametrize("cls", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
    def test_levels(self, cls, verbose, lines, capsys):
        model = cls(2, 4, max_iter=40, random_state=0, verbose=verbose).fit(self.X)
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == lines
        if lines:
            train, validation = (model.history_[name][-1] for name in ("train_nll", "validation_nll"))
            assert err.splitlines()[-1] == f"epoch 40/40: training NLL {train:.4f}, validation NLL {validation:.4f}"

    def test_bar(self, monkeypatch):
        pytest.importorskip("tqdm")
        monkeypatch.setattr(sys, "stderr", Terminal())
        nvpflow.FlowDensity(2, 4, max_iter=40, random_state=0, verbose=1, validation_fraction=None).fit(self.X)
        text = sys.stderr.getvalue()
        assert "40/40" in text and "training NLL" in text and "validation" not in text

    def test_same_result(self, capsys):
        loud, silent = (nvpflow.FlowDensity(2, 4, max_iter=10, random_state=0, verbose=verbose) for verbose in (1, 0))
        np.testing.assert_array_equal(loud.fit(self.X).flow_.parameters, silent.fit(self.X).flow_.parameters)

    @pytest.mark.parametrize("verbose", [0, 1])
    def test_with_callback(self, verbose, capsys):
        """The callback sees each epoch's losses, as in the history, and can stop training."""
        epochs = []

        def stop_after_seven(epoch, train_nll, validation_nll):
            epochs.append((epoch, train_nll, validation_nll))
            if epoch == 7:
                raise StopIteration

        model = nvpflow.FlowDensity(2, 4, max_iter=10, random_state=0, verbose=verbose)
        model.fit(self.X, callback=stop_after_seven)
        assert len(capsys.readouterr().err.splitlines()) == 7 * verbose
        assert model.n_iter_ == 7
        np.testing.assert_array_equal(
            epochs, np.column_stack([range(1, 8), model.history_["train_nll"], model.history_["validation_nll"]])
        )
        model.set_params(validation_fraction=None).fit(self.X, callback=stop_after_seven)
        assert list(model.history_) == ["train_nll"] and np.isnan(epochs[-1][2])

    @pytest.mark.parametrize("verbose", [0, 1])
    def test_error_in_callback(self, verbose, capsys):
        def fail_at_five(epoch, train_nll, validation_nll):
            assert epoch < 5, "five"

        model = nvpflow.FlowDensity(2, 4, max_iter=10, random_state=0, verbose=verbose)
        with pytest.raises(AssertionError, match="five"):
            model.fit(self.X, callback=fail_at_five)
        with pytest.raises(TypeError, match="callback must be callable, got 3"):
            model.fit(self.X, callback=3)

    @pytest.mark.parametrize(
        ("bad", "error", "message"),
        [
            (-1, ValueError, "verbose must be at least 0, got -1"),
            ("yes", TypeError, "verbose must be an integer, got 'yes'"),
            (None, TypeError, "verbose must be an integer, got None"),
        ],
    )
    def test_bad_levels(self, bad, error, message):
        model = nvpflow.FlowDensity(2, 4, max_iter=3, verbose=bad)
        with pytest.raises(error, match=message):
            model.fit(self.X)
        assert not hasattr(model, "flow_")
