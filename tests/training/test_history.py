"""Training curves, early stopping, held-out samples and the base."""

import numpy as np
import pytest

import nvpflow

X = np.random.default_rng(0).normal(size=(150, 2)) @ [[1, 2], [0, 1]]
OPTIONS = {"n_layers": 2, "hidden_dim": 4, "random_state": 0}


def small_flow():
    layers = [nvpflow.AffineCoupling(2, 8, mask, dtype="float64", random_state=0) for mask in ([1, 0], [0, 1])]
    return nvpflow.Flow(layers)


def test_validation_epochs():
    told = {}
    model = nvpflow.FlowDensity(**OPTIONS, max_iter=200)
    model.fit(X, callback=lambda epoch, train, validation: told.update({epoch: validation}))
    history = model.history_
    assert list(history) == ["train_nll", "validation_epoch", "validation_nll"]
    assert len(history["train_nll"]) == 200 and np.isfinite(history["validation_nll"]).all()
    np.testing.assert_array_equal(history["validation_epoch"], np.arange(4, 201, 4))
    assert history["validation_epoch"].dtype.kind == "i"
    np.testing.assert_array_equal(history["validation_nll"], [told[epoch] for epoch in history["validation_epoch"]])


def test_curves_can_be_plotted():
    pyplot = pytest.importorskip("matplotlib.figure")
    history = nvpflow.FlowDensity(**OPTIONS, max_iter=200).fit(X).history_
    axes = pyplot.Figure().subplots()
    axes.plot(history["train_nll"])
    axes.plot(history["validation_epoch"], history["validation_nll"])
    assert [len(line.get_xdata()) for line in axes.lines] == [200, 50]
    assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)


def test_figure_marks_best_epoch():
    plot = pytest.importorskip("nvpflow.plot")
    model = nvpflow.FlowDensity(**OPTIONS, base="normal", max_iter=200).fit(X)
    (axes,) = plot.training(model).axes
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), model.history_["validation_epoch"])
    assert axes.lines[2].get_xdata()[0] == model.best_iter_
    assert axes.lines[2].get_ydata()[0] == model.history_["validation_nll"].min()
    with pytest.raises(ValueError, match="one validation_epoch for each validation_nll, got"):
        plot.training({"train_nll": [1.0, 2.0], "validation_epoch": [2], "validation_nll": [1.0, 2.0]})


def test_stopped_before_first_validation(tmp_path):
    plot = pytest.importorskip("nvpflow.plot")

    def stop(*epoch):
        raise StopIteration

    model = nvpflow.FlowDensity(**OPTIONS, base="normal", max_iter=200).fit(X, callback=stop)
    assert len(model.history_["train_nll"]) == 1 and len(model.history_["validation_nll"]) == 0
    assert len(plot.training(model).axes[0].lines) == 1
    model.save(tmp_path / "model.npz")
    assert len(nvpflow.load(tmp_path / "model.npz").history_["validation_epoch"]) == 0


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("max_iter", [3, 130])
def test_saved_curves(ending, max_iter, tmp_path):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    model = nvpflow.FlowDensity(**OPTIONS, max_iter=max_iter).fit(X)
    model.save(tmp_path / f"model.{ending}")
    again = nvpflow.load(tmp_path / f"model.{ending}").history_
    assert list(again) == list(model.history_)
    for name, curve in model.history_.items():
        np.testing.assert_array_equal(again[name], curve)


def test_epochs_of_continued_training():
    flow, state = small_flow(), nvpflow.TrainingState()
    options = dict(max_iter=12, validation_data=X[:50], validate_every=3, random_state=0, state=state)
    parts = [flow.fit(X, pause_after=5, **options) for _ in range(3)]
    epochs = [part["validation_epoch"].tolist() for part in parts]
    assert epochs == [[3], [6, 9], [12]] and [len(part["train_nll"]) for part in parts] == [5, 5, 2]
    whole = small_flow().fit(X, **options | {"state": None})
    np.testing.assert_array_equal(np.concatenate([part["validation_nll"] for part in parts]), whole["validation_nll"])


CHOICES = [(fraction, patience, base) for fraction in (0.2, None) for patience in (None, 3) for base in ("normal", "mixture")]


@pytest.mark.parametrize("fraction, patience, base", CHOICES)
def test_three_independent_choices(fraction, patience, base):
    """Held-out samples, early stopping and the base follow their own parameters."""
    model = nvpflow.FlowDensity(
        **OPTIONS, max_iter=60, validation_fraction=fraction, n_iter_no_change=patience, tol=10.0, base=base
    ).fit(X)
    assert ("validation_nll" in model.history_) == (fraction is not None)
    assert model.n_iter_ == (60 if patience is None else patience + (fraction is None))
    assert (model.flow_.base is not None) == (base == "mixture")


@pytest.mark.parametrize("fraction, kind", [(0.2, nvpflow.MixtureBase), (None, type(None))])
def test_automatic_base(fraction, kind):
    model = nvpflow.FlowDensity(**OPTIONS, max_iter=2, validation_fraction=fraction).fit(X)
    assert type(model.flow_.base) is kind


def test_patience_on_training_curve():
    """Training stops after that many epochs without the training NLL falling by more than `tol`."""
    flow = small_flow()
    history = flow.fit(X, max_iter=5000, learning_rate=1e-2, n_iter_no_change=5, tol=1e-4)
    curve = history["train_nll"]
    assert 20 < len(curve) < 5000 and list(history) == ["train_nll"]
    best, since = np.inf, []
    for nll in curve:
        best, fell = min(best, nll) if nll < best - 1e-4 else best, nll < best - 1e-4
        since.append(0 if fell else since[-1] + 1 if since else 1)
    assert since[-1] == 5 and max(since[:-1]) < 5
    told = []
    again = small_flow()
    again.fit(X, max_iter=5000, learning_rate=1e-2, n_iter_no_change=5, tol=1e-4, callback=lambda *e: told.append(e))
    assert len(told) == len(curve)
    np.testing.assert_array_equal(again.parameters, flow.parameters)


@pytest.mark.parametrize("wrong", ["scale", "early_stopping"])
def test_removed_parameters(wrong):
    with pytest.raises(TypeError, match=wrong):
        nvpflow.FlowDensity(**{wrong: True})
