"""Files whose supports of columns, frames or bounded layers do not fit together are damaged."""

import numpy as np
import pytest

import nvpflow
from nvpflow._io.encoding import describe
from support.saved_files import contents, write

X = np.random.default_rng(0).uniform(0.1, 0.9, (60, 4))
X[:, 2] = np.random.default_rng(1).poisson(3, 60)
SUPPORT = [(0, 1), "positive", nvpflow.Integer(0), nvpflow.Angle(0, 360)]
LAST = -1


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.npz"
    nvpflow.FlowDensity(support=SUPPORT, n_layers=2, hidden_dim=4, max_iter=2, random_state=0).fit(X).save(path)
    return contents(path)


def test_the_whole_file_loads(parts, tmp_path):
    loaded = nvpflow.load(write(tmp_path / "model.npz", *parts))
    assert loaded.support == [(0.0, 1.0), (0.0, None), nvpflow.Integer(0), nvpflow.Angle(0, 360)]


@pytest.mark.parametrize("columns, message", [
    (5, "columns must be a list of 4 supports"),
    ([None] * 3, "columns must be a list of 4 supports"),
    ([None] * 4, "have different bounds"),
    ([[0, 2], [0, None], {"integer": [0, None]}, {"angle": [0, 360, 1.0]}], "have different bounds"),
    ([[1, 0], [0, None], {"integer": [0, None]}, {"angle": [0, 360, 1.0]}], "low < high"),
    ([[0, 1], [0, None], {"integer": [0]}, {"angle": [0, 360, 1.0]}], "must have 2 numbers"),
    ([[0, 1], [0, None], {"integer": [0, 1e3]}, {"angle": [0, 360, 1.0]}], "high must be an integer"),
    ([[0, 1], [0, None], {"integer": [0, None]}, {"angle": [0, 360, "a"]}], "must be a real number"),
    ([[0, 1], [0, None], {"integer": [0, None]}, {"angle": [360, 0, 1.0]}], "low < high"),
    ([[0, 1], [0, None], {"integer": [0, None]}, {"code": 1}], "must be a pair"),
])  # fmt: skip
def test_columns(parts, tmp_path, columns, message):
    header, arrays = parts
    with pytest.raises(ValueError, match=f"is damaged: .*{message}"):
        nvpflow.load(write(tmp_path / "model.npz", header | {"columns": columns}, arrays))


@pytest.mark.parametrize("frame", [5, ["pandas"], ["numpy", ["float64"] * 4], ["pandas", ["float64"]], ["pandas", [1] * 4]])
def test_frame(parts, tmp_path, frame):
    header, arrays = parts
    with pytest.raises(ValueError, match="is damaged"):
        nvpflow.load(write(tmp_path / "model.npz", header | {"frame": frame}, arrays))


@pytest.mark.filterwarnings("ignore:column.* repeat few values")
def test_columns_need_the_layer(parts, tmp_path):
    plain = tmp_path / "plain.npz"
    nvpflow.FlowDensity(n_layers=2, hidden_dim=4, max_iter=2).fit(X).save(plain)
    header, arrays = contents(plain)
    with pytest.raises(ValueError, match="no layer that leads to it"):
        nvpflow.load(write(plain, header | {"columns": parts[0]["columns"]}, arrays))


@pytest.mark.parametrize("change", [
    {"bounds": [[0.0, 1.0]]}, {"bounds": 7}, {"bounds": [[0.0, 1.0]] * 3 + [[1.0, 0.0]]}, {"bounds": [[0.0, "1"]] * 4},
    {"scales": [0.0] * 3}, {"scales": [0.0, "1", 0.0, 0.0]}, {"edges": [0.0] * 4}, {"edges": None},
])  # fmt: skip
def test_layers(parts, tmp_path, change):
    header, arrays = parts
    layers = header["flow"]["layers"]
    flow = header["flow"] | {"layers": [*layers[:LAST], layers[LAST] | change]}
    arrays = {name: array for name, array in arrays.items() if name != "description"}
    with pytest.raises(ValueError, match="is damaged"):
        nvpflow.load(write(tmp_path / "model.npz", header | {"flow": flow}, arrays))


def test_members_have_one_support(tmp_path):
    path = tmp_path / "ensemble.npz"
    options = dict(n_models=2, n_layers=2, hidden_dim=4, max_iter=2, random_state=0)
    nvpflow.FlowDensity(support=SUPPORT, **options).fit(X).save(path)
    header, arrays = contents(path)
    assert nvpflow.load(write(path, header, arrays)).flow_[1].layers[LAST].edges[0] != 0.01
    header["flows"][1]["layers"][LAST]["edges"][0] = 0.01
    descriptions = [describe(flow) for flow in header["flows"]]
    arrays["descriptions"] = np.concatenate([np.append(float(len(one)), one) for one in descriptions])
    with pytest.raises(ValueError, match="is damaged: columns have one support, and the flows have layers that lead to diff"):
        nvpflow.load(write(path, header, arrays))


@pytest.mark.parametrize("flags", [[True], 7, [0, 0, 0, 0], None])
@pytest.mark.parametrize("name", ["on_bounds", "is_straight"])
def test_flags(parts, tmp_path, name, flags):
    header, arrays = parts
    with pytest.raises(ValueError, match=f"is damaged.*{name} must be 4 times true or false"):
        nvpflow.load(write(tmp_path / "model.npz", header | {name: flags}, arrays))
