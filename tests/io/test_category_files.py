"""Files of models with categories, in X and in the context; and damaged ones."""

import json

import numpy as np
import pytest

import nvpflow
from support.saved_files import assert_same, contents, save_to, write

FAST = {"n_layers": 2, "hidden_dim": 4, "max_iter": 2, "random_state": 0}
CODES = np.random.default_rng(0).integers(3, size=(120, 2))
ROWS = np.empty((120, 4), dtype=object)
ROWS[:, 0] = (CODES[:, 0] + np.random.default_rng(1).normal(size=120)).tolist()
ROWS[:, 1] = [["blue", "green", "red"][code] for code in CODES[:, 0]]
ROWS[:, 2] = [[True, 2, 0.5][code] for code in (CODES[:, 0] + CODES[:, 1] // 2) % 3]
ROWS[:, 3] = CODES[:, 1].tolist()
RARE = [[float(k % 30 + k / 1000), f"v{k % 30}"] for k in range(180)]
SUPPORT = [None, nvpflow.Category(["red", "green", "blue", "grey"]), "category", nvpflow.Integer(0)]


def with_latent_classes(model):
    from nvpflow.supports._joint_table import JointTable
    from nvpflow.supports._latent_classes import LatentClasses

    table = model._categories.table
    classes = LatentClasses.fit(table._seen, table._tree.margins, 2, 1.0)
    parts = table.known, table.pseudo_counts, np.array([0.3, 0.3, 0.4]), table.parents, table.strengths, classes, 120.0
    model._categories.table = JointTable(*parts)
    return model


MODELS = {
    "mixed": lambda: nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(ROWS),
    "ensemble": lambda: nvpflow.FlowDensity(support=SUPPORT, n_models=2, **FAST).fit(ROWS),
    "categories alone": lambda: nvpflow.FlowDensity(support=SUPPORT[1:3], **FAST).fit(ROWS[:, 1:3]),
    "latent classes": lambda: with_latent_classes(nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(ROWS)),
    "one category": lambda: nvpflow.FlowDensity(support=[None, "category"], **FAST).fit(ROWS[:, :2]),
    "rare values": lambda: nvpflow.FlowDensity(support=[None, "category"], **FAST).fit(RARE),
    "detector": lambda: nvpflow.FlowOutlierDetector(support=SUPPORT, contamination=0.1, **FAST).fit(ROWS),
}


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, ending, tmp_path):
    model = MODELS[name]()
    twin = nvpflow.load(save_to(tmp_path, model, ending))
    rows = {"categories alone": ROWS[:, 1:3], "one category": ROWS[:, :2], "rare values": RARE}.get(name, ROWS)
    np.testing.assert_array_equal(twin.score_samples(rows), model.score_samples(rows))
    if name != "detector":
        assert_same_samples(twin, model)
        twin.partial_fit(rows) if name != "ensemble" else None
    else:
        assert twin.offset_ == model.offset_


def assert_same_samples(twin, model):
    first, second = twin.sample(100, random_state=1), model.sample(100, random_state=1)
    np.testing.assert_array_equal(first, second)
    assert [list(map(type, row)) for row in first.tolist()] == [list(map(type, row)) for row in second.tolist()]


def test_frames(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": ROWS[:, 0].astype(float), "colour": ROWS[:, 1], "flag": CODES[:, 1] > 0})
    frame["colour"] = pd.Categorical(frame["colour"], categories=["none", "red", "green", "blue"], ordered=True)
    model = nvpflow.FlowDensity(**FAST).fit(frame)
    twin = nvpflow.load(save_to(tmp_path, model, "npz"))
    pd.testing.assert_frame_equal(twin.sample(50), model.sample(50))


def test_contexts(tmp_path):
    support = {0: "category", 1: nvpflow.Angle()}
    context = ROWS[:, [1, 0]]
    model = nvpflow.FlowDensity(context_support=support, **FAST).fit(CODES + ROWS[:, :1].astype(float), context=context)
    twin = nvpflow.load(save_to(tmp_path, model, "npz"))
    assert twin.context_support == {0: nvpflow.Category(), 1: nvpflow.Angle()}
    np.testing.assert_array_equal(twin.sample(120, context=context), model.sample(120, context=context))
    assert_same(twin.flow_, model.flow_)


def test_values_that_no_file_can_hold(tmp_path):
    rows = ROWS[:, :2].copy()
    rows[:, 1] = [(text,) for text in rows[:, 1]]
    model = nvpflow.FlowDensity(support=[None, "category"], **FAST).fit(rows)
    with pytest.raises(TypeError, match=r"categories of column 1 must be texts, .* got \('blue',\) of type tuple"):
        model.save(tmp_path / "model.npz")


@pytest.fixture(scope="module", params=["mixed", "latent classes"])
def parts(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.npz"
    MODELS[request.param]().save(path)
    return contents(path)


@pytest.mark.parametrize("name, values", {
    "columns": [None, [1], [2, 1], [1, 1], [1, 9], [-1, 2], ["1", "2"], [1.5, 2]],
    "labels": [None, ["1"], [1, 2]],
    "values": [None, [["a"]], [["a"] * 4, [1, 2, 3]], [[], [1, 2, 3]], [[None] * 4, [1, 2, 3]], [[[1], 2, 3, 4], [1, 2, 3]], "ab"],
    "n_columns": [None, 0, 3, 5, 2**60, 4.5],
    "is_object": [None, 1, "yes"],
    "groups": [None, [[0, 1]], [[0, 0, 0, 9], [0, 1, 2]], [[-1, 0, 0, 0], [0, 1, 2]], [[0, 0, 0, 0], [0, 0, 0]]],
    "n_combinations": [None, 0, 1, 2**62, 7.5],
    "pseudo_counts": [None, [1], [0, 1], [-1, 1], ["a", 1], [1e400, 1]],
    "weights": [None, [1.0], [0.5, 0.5, 0.5], [-0.5, 1.0, 0.5], [1.0, 0.0, 1e-3], [0.2, 0.2, "a"]],
    "parents": [None, [0], [1, 0], [-2, 0], [-1, 2], [0, -1], [0.5, -1]],
    "strengths": [None, [1.0], [0, 0], [-1, -1], [None, None]],
    "n_classes": [None, -1, 5, 2**62, 1.5],
    "n_fitted": [None, -1, "a"],
    "effects": [None, [[]], [[], [1]], [[[0.0]], []], [[["a"] * 4], []], [[[10**400] * 4], []], [[[0.5] * 4], []]],
}.items())  # fmt: skip
def test_damaged_headers(parts, tmp_path, name, values):
    header, arrays = parts
    for value in values:
        categories = header["categories"] | {name: json.loads(json.dumps(value)) if value != [1e400, 1] else [10**400, 1]}
        with pytest.raises(ValueError, match="is damaged"):
            nvpflow.load(write(tmp_path / "model.npz", header | {"categories": categories}, arrays))


@pytest.mark.parametrize("name", ["codes", "counts", "own", "classes"])
@pytest.mark.parametrize("spoil", ["missing", "short", "negative", "not finite", "large"])
def test_damaged_arrays(parts, tmp_path, name, spoil):
    header, arrays = parts
    name = f"categories.{name}"
    if name not in arrays:
        return
    array = arrays[name].copy()
    changed = dict(arrays)
    array[0] = {"negative": -1.0, "not finite": np.nan, "large": np.inf}.get(spoil, array[0])
    changed[name] = array[:-1] if spoil == "short" else array
    if spoil == "missing":
        del changed[name]
    with pytest.raises(ValueError, match="is damaged"):
        nvpflow.load(write(tmp_path / "model.npz", header, changed))


def test_parts_that_do_not_fit(parts, tmp_path):
    header, arrays = parts
    alone = {name: value for name, value in header.items() if name != "categories"}
    for other, message in (
        (alone | {"flow": None}, "neither a flow nor categories"),
        (header | {"flow": None}, "categories and flow must have 4 columns together, got 2 and 0"),
        (header | {"categories": 5}, "categories must be an object"),
        (header | {"context_encoding": 5}, "context_encoding must be an object"),
    ):
        with pytest.raises(ValueError, match=f"is damaged: .*{message}"):
            nvpflow.load(write(tmp_path / "model.npz", other, arrays))


def test_damaged_encodings(tmp_path):
    context = ROWS[:, [1, 0]]
    X = CODES + ROWS[:, :1].astype(float)
    path = tmp_path / "model.npz"
    nvpflow.FlowDensity(context_support={0: "category", 1: nvpflow.Angle()}, **FAST).fit(X, context=context).save(path)
    header, arrays = contents(path)
    for name, value in {"angles": [None], "groups": [[0, 0, 0]], "n_columns": 3, "columns": [1, 0]}.items():
        encoding = header["context_encoding"] | {name: value}
        with pytest.raises(ValueError, match="is damaged"):
            nvpflow.load(write(path, header | {"context_encoding": encoding}, arrays))


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    """Header and arrays of a model of a frame with a column of texts and one of bools."""
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame({"x": np.linspace(0, 1, 30), "of": pandas.Categorical(["u", "v"] * 15), "is": [True, False, True] * 10})
    path = tmp_path_factory.mktemp("frames") / "model.npz"
    nvpflow.FlowDensity(n_layers=1, hidden_dim=2, max_iter=1, random_state=0).fit(X).save(path)
    return contents(path)


@pytest.mark.parametrize("library, dtypes, declared", [
    ("pandas", ["float64", "boolean", "Int8"], [None, None, None]),
    ("pandas", ["9223372036854775808", "int8", "category"], [None, None, None]),
    ("pandas", ["float64", "category", "bool"], [None, [["u"], False], [[], True]]),
    ("polars", ["Float64", "int8", "Int8"], [None, None, None]),
    ("polars", ["x", "Enum", "Boolean"], [None, [["w"], False], [[True], False]]),
])  # fmt: skip
def test_types_that_do_not_hold_the_values_give_way(framed, library, dtypes, declared, tmp_path):
    pytest.importorskip(library)
    header, arrays = framed
    model = nvpflow.load(write(tmp_path / "model.npz", header | {"frame": [library, dtypes, declared]}, arrays))
    model.save(tmp_path / "again.npz")
    sample = nvpflow.load(tmp_path / "again.npz").sample(40, random_state=0)
    assert type(sample).__module__.startswith(library)
    assert {str(value) for value in sample["of"]} == {"u", "v"}
    assert {bool(value) for value in sample["is"]} == {True, False}


@pytest.mark.parametrize("declared", [0, "", [], [["u", "v"]], [["u", "v"], None], {"u": 1}])
def test_damaged_declared_categories(framed, declared, tmp_path):
    header, arrays = framed
    frame = ["pandas", ["float64", "category", "bool"], [None, declared, None]]
    with pytest.raises(ValueError, match="is damaged"):
        nvpflow.load(write(tmp_path / "model.npz", header | {"frame": frame}, arrays))
