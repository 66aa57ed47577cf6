"""The command line with outlier detectors, conditional models and weights."""

import copy
import re

import numpy as np
import pytest

import nvpflow
from nvpflow import plot
from nvpflow.cli import _files, _models
from support.command_line import error_line, main, numbers

OPTIONS = {"n_layers": 2, "hidden_dim": 8, "max_iter": 20, "random_state": 5, "base": "normal"}
FIT = ["fit", "-q", *(str(word) for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", value))]

rng = np.random.default_rng(0)
CONTEXT = rng.uniform(-1, 1, size=(200, 2))
X = CONTEXT + 0.3 * rng.normal(size=(200, 2))
WEIGHT = rng.integers(0, 3, size=200).astype(float)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Tables, and one model of each kind."""
    room = tmp_path_factory.mktemp("room")
    # The columns stand in an order of their own.
    table = np.column_stack([CONTEXT[:, 1], X, WEIGHT, CONTEXT[:, 0]])
    np.savetxt(room / "data.csv", table, fmt="%.17g", delimiter=",", header="sex,height,mass,count,age", comments="")
    np.save(room / "x.npy", X)
    np.save(room / "both.npy", np.hstack([X, CONTEXT]))
    nvpflow.FlowDensity(**OPTIONS).fit(X).save(room / "model.npz")
    nvpflow.FlowOutlierDetector(**OPTIONS, contamination=0.1).fit(X).save(room / "detector.npz")
    nvpflow.FlowDensity(**OPTIONS).fit(X, context=CONTEXT).save(room / "conditional.npz")
    nvpflow.load(room / "conditional.npz").flow_.save(room / "flow.npz")
    nvpflow.FlowDensity(**OPTIONS).fit(X[:, :1], context=CONTEXT[:, :1]).save(room / "line.npz")
    return room


@pytest.fixture
def named(room, monkeypatch):
    """Every file holds the conditional model, whose columns have names."""
    model = nvpflow.load(room / "conditional.npz")
    model.feature_names_in_ = np.array(["height", "mass"], dtype=object)
    model.context_feature_names_in_ = np.array(["age", "sex"], dtype=object)
    monkeypatch.setattr(nvpflow, "load", lambda path: copy.deepcopy(model))
    return model


def plain(model):
    """A copy without the names."""
    twin = copy.deepcopy(model)
    for attribute in ("feature_names_in_", "context_feature_names_in_"):
        vars(twin).pop(attribute, None)
    return twin


@pytest.fixture
def saved(monkeypatch):
    """The models that fit would save, as a list."""
    models = []
    monkeypatch.setattr(_models, "save_model", lambda model, path: models.append(model))
    return models


def info(path, capsys):
    assert main("info", path) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())


class TestDetector:
    def test_score(self, room, capsys):
        detector = nvpflow.load(room / "detector.npz")
        assert main("score", room / "detector.npz", room / "x.npy") == 0
        np.testing.assert_allclose(numbers(capsys.readouterr().out)[:, 0], detector.score_samples(X), rtol=1e-8)

    def test_labels(self, room, tmp_path, capsys):
        detector = nvpflow.load(room / "detector.npz")
        assert main("score", room / "detector.npz", room / "x.npy", "--labels") == 0
        printed = capsys.readouterr().out
        assert printed.startswith("log_density,label\n")
        np.testing.assert_array_equal(numbers(printed)[:, 1], detector.predict(X))
        assert 10 <= (numbers(printed)[:, 1] == -1).sum() <= 30
        assert main("score", room / "detector.npz", room / "x.npy", "--labels", "-o", tmp_path / "s.npy") == 0
        np.testing.assert_array_equal(np.load(tmp_path / "s.npy")[:, 1], detector.predict(X))

    def test_labels_of_other_models(self, room, capsys):
        assert main("score", room / "model.npz", room / "x.npy", "--labels") == 1
        assert error_line(capsys) == "--labels needs an outlier detector, which fit makes with --contamination"

    def test_info(self, room, capsys):
        detector = nvpflow.load(room / "detector.npz")
        lines = info(room / "detector.npz", capsys)
        assert lines["threshold"] == f"rows with a log-density below {detector.offset_:.4f} nats are outliers"
        assert lines["model"].startswith("FlowOutlierDetector(") and "contamination=0.1" in lines["model"]
        assert lines["training"].startswith("20 epochs")
        assert "threshold" not in info(room / "model.npz", capsys)

    def test_sample(self, room, capsys):
        assert main("sample", room / "detector.npz", "-n", 3) == 0
        expected = nvpflow.load(room / "detector.npz").estimator_.sample(3)
        np.testing.assert_array_equal(numbers(capsys.readouterr().out, header=False).astype(np.float32), expected)

    @pytest.mark.parametrize("kind", ["contours", "density", "samples", "evolution", "corner", "latent", "training"])
    def test_every_kind_of_figure(self, room, tmp_path, kind):
        path = tmp_path / "figure.png"
        assert main("plot", room / "detector.npz", room / "x.npy", "-n", 50, "-o", path, "--kind", kind) == 0
        assert path.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(("text", "value"), [("0.1", 0.1), ("auto", "auto")])
    def test_fit(self, room, tmp_path, text, value):
        path = tmp_path / "d.npz"
        assert main(*FIT, room / "data.csv", "--columns", "height,mass", "--contamination", text, "-o", path) == 0
        detector = nvpflow.load(path)
        expected = nvpflow.FlowOutlierDetector(**OPTIONS, contamination=value).fit(X)
        assert detector.offset_ == expected.offset_ and detector.get_params() == expected.get_params()
        np.testing.assert_array_equal(detector.flow_.parameters, expected.flow_.parameters)
        assert list(detector.feature_names_in_) == ["height", "mass"]

    def test_progress_is_not_saved(self, room, saved):
        arguments = [argument for argument in FIT if argument != "-q"]
        assert main(*arguments, room / "x.npy", "--contamination", "auto", "-v", "-o", room / "other.npz") == 0
        assert saved[0].verbose == saved[0].estimator_.verbose == 0

    def test_fit_with_context(self, room, tmp_path, capsys):
        words = ["--context", "age,sex", "--weight", "count", "--contamination", "0.2"]
        assert main(*FIT, room / "data.csv", "-o", tmp_path / "d.npz", *words) == 0
        detector = nvpflow.load(tmp_path / "d.npz")
        expected = nvpflow.FlowOutlierDetector(**OPTIONS, contamination=0.2).fit(X, context=CONTEXT, sample_weight=WEIGHT)
        assert detector.offset_ == expected.offset_
        assert list(detector.context_feature_names_in_) == ["age", "sex"]
        assert main("score", tmp_path / "d.npz", room / "data.csv", "--labels") == 0
        labels = numbers(capsys.readouterr().out)[:, 1]
        np.testing.assert_array_equal(labels, expected.predict(X, context=CONTEXT))

    def test_bad_contamination(self, room, capsys):
        assert main(*FIT, room / "x.npy", "-o", room / "new.npz", "--contamination", 0.7) == 1
        assert error_line(capsys) == "contamination must be at most 0.5, got 0.7"
        for words, message in (
            (["--contamination", "much"], "argument --contamination: must be a number, got 'much'"),
            (["--contamination", "0"], "argument --contamination: must be finite and greater than 0, got 0"),
        ):
            with pytest.raises(SystemExit) as exit_info:
                main(*FIT, room / "x.npy", "-o", room / "new.npz", *words)
            assert exit_info.value.code == 2 and message in error_line(capsys)


class TestFit:
    def test_context_and_weight(self, room, saved):
        words = ["--context", "age,sex", "--weight", "count"]
        assert main(*FIT, room / "data.csv", "-o", room / "new.npz", *words) == 0
        (model,) = saved
        expected = nvpflow.FlowDensity(**OPTIONS).fit(X, context=CONTEXT, sample_weight=WEIGHT)
        np.testing.assert_array_equal(model.flow_.parameters, expected.flow_.parameters)
        assert list(model.feature_names_in_) == ["height", "mass"]  # the rest
        assert list(model.context_feature_names_in_) == ["age", "sex"]

    def test_columns_by_number(self, room, saved, capsys):
        words = [word for word in FIT if word != "-q"]
        assert main(*words, room / "both.npy", "-o", room / "new.npz", "--columns", "2", "--context", "3-4") == 0
        expected = nvpflow.FlowDensity(**OPTIONS).fit(X[:, 1:], context=CONTEXT)
        np.testing.assert_array_equal(saved[0].flow_.parameters, expected.flow_.parameters)
        assert not hasattr(saved[0], "context_feature_names_in_")
        assert capsys.readouterr().err.startswith("200 rows, 1 column given 2 columns of context, ")

    def test_weights(self, room, saved):
        assert main(*FIT, room / "data.csv", "-o", room / "new.npz", "--columns", "2,3", "--weight", "4") == 0
        expected = nvpflow.FlowDensity(**OPTIONS).fit(X, sample_weight=WEIGHT)
        np.testing.assert_array_equal(saved[0].flow_.parameters, expected.flow_.parameters)

    def test_wrong_columns(self, room, tmp_path, capsys):
        (tmp_path / "negative.csv").write_text("a,w\n1,2\n2,3\n3,-1\n")
        for table, words, message in (
            (room / "data.csv", ["--weight", "count,sex"], "--weight must be one column, got 2"),
            (room / "data.csv", ["--columns", "age", "--context", "age"], "column 'age' is chosen 2 times"),
            (room / "both.npy", ["--context", "1-4"], "has no columns but those chosen for other purposes"),
            (room / "data.csv", ["--context", "weight"], "has no column 'weight'; it has sex, height, mass"),
            (tmp_path / "negative.csv", ["--weight", "w"], "--weight must be a column of numbers >= 0, got -1 in row 3"),
        ):
            assert main(*FIT, table, "-o", tmp_path / "m.npz", *words) == 1
            assert message in error_line(capsys)


class TestConditional:
    def test_score(self, room, capsys):
        expected = nvpflow.load(room / "conditional.npz").score_samples(X, context=CONTEXT)
        for words in (["both.npy", "--context", "3,4"], ["data.csv", "--columns", "2,3", "--context", "age,sex"]):
            assert main("score", room / "conditional.npz", room / words[0], *words[1:]) == 0
            np.testing.assert_array_equal(numbers(capsys.readouterr().out)[:, 0].astype(np.float32), expected)

    def test_flow_without_estimator(self, room, capsys):
        expected = nvpflow.load(room / "flow.npz").log_prob(X, CONTEXT)
        assert main("score", room / "flow.npz", room / "both.npy", "--context", "3,4") == 0
        np.testing.assert_array_equal(numbers(capsys.readouterr().out)[:, 0].astype(np.float32), expected)
        assert main("sample", room / "flow.npz", "--context-values", "0,0.5", "-n", 2, "--random-state", 1) == 0
        expected = nvpflow.load(room / "flow.npz").sample(2, 1, context=[0, 0.5])
        np.testing.assert_array_equal(numbers(capsys.readouterr().out, False).astype(np.float32), expected)

    def test_one_context(self, room, capsys):
        expected = nvpflow.load(room / "conditional.npz").score_samples(X, context=[-0.5, 1]).mean(dtype=float)
        assert main("score", room / "conditional.npz", room / "x.npy", "--context-values=-0.5,1", "--mean") == 0
        assert float(capsys.readouterr().out) == pytest.approx(expected, abs=1e-6)

    def test_columns_by_name(self, room, named, capsys):
        assert main("score", room / "conditional.npz", room / "data.csv") == 0
        expected = plain(named).score_samples(X, context=CONTEXT)
        np.testing.assert_array_equal(numbers(capsys.readouterr().out)[:, 0].astype(np.float32), expected)
        assert main("score", room / "conditional.npz", room / "both.npy") == 1
        assert error_line(capsys).endswith("both.npy has no names of columns: use numbers for age, sex")

    def test_sample_given_one_context(self, room, capsys):
        assert main("sample", room / "conditional.npz", "--context-values", "0.5,1", "-n", 4) == 0
        expected = nvpflow.load(room / "conditional.npz").sample(4, context=[0.5, 1])
        np.testing.assert_array_equal(numbers(capsys.readouterr().out, False).astype(np.float32), expected)

    def test_sample_given_table(self, room, tmp_path, named, capsys):
        """It uses the context columns of the table."""
        path = tmp_path / "s.npy"
        assert main("sample", room / "conditional.npz", "--context", room / "data.csv", "-o", path) == 0
        np.testing.assert_array_equal(np.load(path), plain(named).sample(200, context=CONTEXT))
        assert (
            main("sample", room / "conditional.npz", "--context", room / "both.npy", "--columns", "3,4", "-n", 2, "-o", path)
            == 0
        )
        np.testing.assert_array_equal(np.load(path), plain(named).sample(400, context=np.repeat(CONTEXT, 2, axis=0)))
        assert main("sample", room / "conditional.npz", "--context", room / "data.csv") == 0
        assert capsys.readouterr().out.startswith("height,mass\n")

    def test_info(self, room, capsys, named):
        assert info(room / "conditional.npz", capsys)["density"] == "conditional on 2 columns: age, sex"
        del named.context_feature_names_in_
        assert info(room / "conditional.npz", capsys)["density"] == "conditional on 2 columns"

    def test_info_without_names(self, room, capsys):
        assert info(room / "line.npz", capsys)["density"] == "conditional on 1 column"
        assert "density" not in info(room / "model.npz", capsys)

    def test_errors(self, room, capsys):
        conditional, model = room / "conditional.npz", room / "model.npz"
        for words, message in (
            (["score", conditional, room / "both.npy"], "conditional on 2 columns whose names it does not know: --context"),
            (
                ["score", conditional, room / "both.npy", "--columns", "1,2", "--context", "3"],
                "the context has 2 columns, got 1 from",
            ),
            (["score", conditional, room / "x.npy", "--context-values", "1"], "--context-values must be 2 numbers for"),
            (["score", conditional, room / "x.npy", "--context-values", "1,1e39"], "must be finite in float32"),
            (["score", model, room / "x.npy", "--context-values", "1"], "not conditional: --context-values cannot be"),
            (["score", model, room / "x.npy", "--context", "1"], "the model is not conditional: --context cannot be"),
            (["sample", model, "--context", room / "x.npy"], "the model is not conditional: --context cannot be given"),
            (["sample", conditional], "conditional on 2 columns: --context or --context-values must be given"),
            (["sample", conditional, "--context", room / "both.npy"], "the context has 2 columns, got 4 from"),
            (["sample", "-", "--context", "-"], 'model and table cannot both be "-"'),
            (["plot", conditional, "-o", "x.png"], "its samples need a table with contexts, or --context-values"),
            (["plot", conditional, "-o", "x.png", "--kind", "density"], "of the kind density needs --context-values"),
        ):
            assert main(*words) == 1
            assert message in error_line(capsys)

    @pytest.mark.parametrize("values", ["1,x", "nan,1", "1_0,2", ""])
    def test_wrong_values(self, values, room, capsys):
        with pytest.raises(SystemExit) as exit_info:
            main("sample", room / "conditional.npz", "--context-values", values)
        assert exit_info.value.code == 2 and "argument --context-values: must be" in error_line(capsys)


class TestPlot:
    @pytest.mark.parametrize("kind", ["contours", "density", "samples", "evolution", "corner", "latent", "training"])
    @pytest.mark.parametrize("model", ["conditional", "line"])
    def test_conditional_models(self, room, tmp_path, model, kind):
        path, d = tmp_path / "figure.png", 2 if model == "conditional" else 1
        words = ["--columns", f"1-{d}", "--context-values", ",".join(["0.5"] * d), "-n", 30, "--kind", kind]
        assert main("plot", room / f"{model}.npz", room / "both.npy", *words, "-o", path) == 0
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_samples_given_contexts(self, room, tmp_path, monkeypatch):
        drawn = []
        monkeypatch.setattr(plot, "samples", lambda data, samples, names: drawn.append(samples) or plot.corner(samples))
        words = ["--columns", "1,2", "--context", "3,4", "--kind", "samples", "-o", tmp_path / "x.png"]
        assert main("plot", room / "conditional.npz", room / "both.npy", *words) == 0
        np.testing.assert_array_equal(drawn[0], nvpflow.load(room / "conditional.npz").sample(200, 0, context=CONTEXT))
        assert main("plot", room / "conditional.npz", room / "both.npy", *words, "-n", 7) == 0
        assert drawn[1].shape == (7, 2)

    def test_default_kind(self, room, tmp_path, monkeypatch):
        for model, words, kind in (
            ("model", [], "contours"),
            ("line", ["--context-values", "0"], "density"),
            ("conditional", [room / "both.npy", "--columns", "1,2", "--context", "3,4"], "corner"),
            ("conditional", ["--context-values", "0,0"], "contours"),
        ):
            called, draw = [], getattr(plot, kind)
            monkeypatch.setattr(plot, kind, lambda *a, called=called, draw=draw, **b: called.append(1) or draw(*a, **b))
            assert main("plot", room / f"{model}.npz", *words, "-o", tmp_path / "x.png") == 0
            assert called

    def test_name_without_extension(self, room, tmp_path):
        assert main("plot", room / "model.npz", "-o", tmp_path / "figure") == 0
        assert [path.name for path in tmp_path.iterdir()] == ["figure"]
        assert (tmp_path / "figure").read_bytes().startswith(b"\x89PNG")

    def test_unknown_format(self, room, tmp_path, capsys):
        assert main("plot", room / "model.npz", "-o", tmp_path / "figure.xyz") == 1
        assert "Format 'xyz' is not supported" in error_line(capsys) and list(tmp_path.iterdir()) == []


def test_column_names_of_nested_estimators(room):
    detector = nvpflow.load(room / "detector.npz")
    detector.feature_names_in_ = detector.estimator_.feature_names_in_ = np.array(["a", "b"], dtype=object)
    model = _files.Model(detector)
    assert model.names == ["a", "b"] and model.context_names is None
    assert not hasattr(detector, "feature_names_in_") and not hasattr(detector.estimator_, "feature_names_in_")


def test_warnings(room, named, capsys, monkeypatch):
    import warnings

    def score_samples(self, X, *, context):
        warnings.warn("context leaves\nthe range", UserWarning, stacklevel=1)
        return np.zeros(len(X), np.float32)

    monkeypatch.setattr(nvpflow.FlowDensity, "score_samples", score_samples)
    assert main("score", room / "conditional.npz", room / "data.csv", "--mean") == 0
    assert capsys.readouterr() == ("0.000000\n", "nvpflow: warning: context leaves the range\n")


def test_sample_help_explains_seeds(capsys):
    with pytest.raises(SystemExit):
        main("sample", "--help")
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "A model that was fitted with --random-state draws the same rows every time" in text


def test_scores_of_extreme_rows(tmp_path, monkeypatch, capsys):
    """Rows far from zero or outside of the context's range, where the bare flow gives other values."""
    x, context = X + 1e7, CONTEXT + [0, 1e8]
    with pytest.warns(UserWarning, match="vary by less than"):
        model = nvpflow.FlowDensity(**OPTIONS).fit(x, context=context)
    monkeypatch.setattr(nvpflow, "load", lambda path: copy.deepcopy(model))
    (tmp_path / "model.npz").touch()
    context[:5] += 7
    np.save(tmp_path / "both.npy", np.hstack([x, context]))
    words = [tmp_path / "model.npz", tmp_path / "both.npy", "--columns", "1,2", "--context", "3,4"]
    assert main("score", *words) == 0
    printed, said = capsys.readouterr()
    with pytest.warns(UserWarning, match="leave the range of training"):
        expected = model.score_samples(x, context=context)
    np.testing.assert_array_equal(numbers(printed)[:, 0].astype(np.float32), expected)
    (line,) = said.splitlines()
    assert line.startswith("nvpflow: warning: ") and "in 5 of 200 rows" in line
    assert main("sample", words[0], "-n", 20, "--context-values", f"0,{1e8}") == 0
    np.testing.assert_allclose(numbers(capsys.readouterr().out, False), model.sample(20, context=[0, 1e8]), rtol=1e-12)
