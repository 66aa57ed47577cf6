"""Sources: every kind of table gives the same rows in batches, in order and shuffled, or a clear error."""

import gc
import os
import tempfile

import numpy as np
import pytest

from nvpflow.scale import RowSource, as_source
from nvpflow.scale import _source as reading

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
csv, dataset, feather, parquet = (pytest.importorskip(f"pyarrow.{name}") for name in ("csv", "dataset", "feather", "parquet"))

N, NAMES = 5000, ["a", "b", "c"]
X = np.random.default_rng(0).normal(size=(N, 3))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(reading, "NUMBERS_PER_BATCH", 3 * 300)
    monkeypatch.setattr(reading, "NUMBERS_IN_RESERVOIR", 3 * 1500)


def table():
    return pyarrow.table(list(np.ascontiguousarray(X.T)), names=NAMES)


def files(folder, n=3):
    for i, part in enumerate(np.array_split(np.arange(N), n)):
        parquet.write_table(table().take(part), folder / f"{i}.parquet", row_group_size=600)
    return folder


def written(path, write):
    write(table(), path)
    return path


def csv_file(path, delimiter=",", header=True):
    csv.write_csv(table(), path, csv.WriteOptions(include_header=header, delimiter=delimiter))
    return path


def saved(path):
    np.save(path, X)
    return path


def mapped(path):
    np.asarray(X).tofile(path)
    return np.memmap(path, X.dtype, "r", shape=X.shape)


def relation(folder):
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    return duckdb.connect().sql(f"select * from '{files(folder, 1)}/0.parquet'")


TABLES = {
    "array": lambda folder: X,
    "memmap": lambda folder: mapped(folder / "x.bin"),
    "npy": lambda folder: saved(folder / "x.npy"),
    "pandas": lambda folder: pandas.DataFrame(X, columns=NAMES),
    "polars": lambda folder: polars.DataFrame(X, schema=NAMES),
    "pyarrow table": lambda folder: table(),
    "pyarrow data set": lambda folder: dataset.dataset(files(folder)),
    "data set in memory": lambda folder: dataset.dataset(table()),
    "parquet": lambda folder: written(folder / "x.parquet", parquet.write_table),
    "path as text": lambda folder: str(written(folder / "x.pq", parquet.write_table)),
    "folder": files,
    "pattern": lambda folder: str(files(folder) / "*.parquet"),
    "list of files": lambda folder: sorted(files(folder).iterdir()),
    "csv": lambda folder: csv_file(folder / "x.csv"),
    "csv without names": lambda folder: csv_file(folder / "x.csv", header=False),
    "tsv": lambda folder: csv_file(folder / "x.tsv", "\t"),
    "feather": lambda folder: written(folder / "x.feather", feather.write_feather),
    "lazy frame": lambda folder: polars.scan_parquet(files(folder) / "*.parquet"),
    "lazy query": lambda folder: polars.DataFrame(X, schema=NAMES).lazy().filter(polars.col("a") > -100),
    "duckdb": relation,
    "callable": lambda folder: lambda: (X[i : i + 700] for i in range(0, N, 700)),
    "callable of frames": lambda folder: lambda: iter([pandas.DataFrame(X[:99], columns=NAMES), X[99:]]),
    "source": lambda folder: as_source(X),
}
WITHOUT_NAMES = {"array", "memmap", "npy", "callable", "source"}


@pytest.mark.parametrize("kind", TABLES)
def test_rows_of_every_kind(kind, tmp_path):
    source = as_source(TABLES[kind](tmp_path))
    batches = list(source.batches())
    assert isinstance(source, RowSource)
    assert source.n_rows == N
    assert source.n_features == 3
    assert max(map(len, batches)) <= 300 and all(batch.flags.c_contiguous and batch.dtype == float for batch in batches)
    np.testing.assert_allclose(np.concatenate(batches), X, rtol=1e-15)
    expected = None if kind in WITHOUT_NAMES else ["f0", "f1", "f2"] if kind == "csv without names" else NAMES
    assert expected == (None if source.names is None else list(source.names))


@pytest.mark.parametrize("kind", ["array", "folder", "duckdb", "callable"])
def test_shuffled_pass(kind, tmp_path):
    source = as_source(TABLES[kind](tmp_path))
    numbers, rows = map(np.concatenate, zip(*source.numbered(np.random.default_rng(0))))
    assert np.array_equal(np.sort(numbers), np.arange(N))
    assert np.array_equal(rows, X[numbers])
    assert np.mean(np.diff(numbers) == 1) < 0.02
    again, other = (np.concatenate(list(source.batches(np.random.default_rng(seed)))) for seed in (0, 1))
    assert np.array_equal(again, rows)
    assert not np.array_equal(other, rows)


def test_shuffled_pass_mixes_the_file():
    numbers = np.concatenate([n for n, _ in as_source(X).numbered(np.random.default_rng(0))])
    assert 0.25 < np.mean(numbers[: N // 2] < N // 2) < 0.75
    assert np.unique(numbers[:300] // 300).size >= 4  # from blocks of the whole table


@pytest.mark.parametrize(
    ("dtypes", "expected"), [(["f4", "f4"], "f4"), (["f4", "i2"], "f4"), (["f4", "f8"], "f8"), (["i8", "f4"], "f8")]
)
def test_precision(dtypes, expected):
    columns = [np.arange(5).astype(dtype) for dtype in dtypes]
    (rows,) = as_source(pyarrow.table(columns, names=["a", "b"])).batches()
    assert rows.dtype == np.dtype(expected)
    assert np.array_equal(rows, np.stack([np.arange(5)] * 2, axis=1))


def test_decimals_and_missing_cells():
    decimals = pyarrow.array([1, 2, None]).cast(pyarrow.decimal128(30, 2))
    (rows,) = as_source(pyarrow.table([decimals, pyarrow.array([1, None, 3])], names=["a", "b"])).batches()
    assert np.array_equal(rows, [[1, 1], [2, np.nan], [np.nan, 3]], equal_nan=True)


def test_some_columns(tmp_path):
    for kind in ("folder", "lazy frame", "pyarrow table", "duckdb", "csv"):
        folder = tmp_path / kind
        folder.mkdir()
        source = as_source(TABLES[kind](folder), ["c", "a"])
        np.testing.assert_allclose(np.concatenate(list(source.batches())), X[:, [2, 0]], rtol=1e-15)
        assert list(source.names) == ["c", "a"]


def test_folders_below_a_folder(tmp_path):
    for i, part in enumerate(np.split(X, 2)):
        folder = tmp_path / f"part={i}"
        folder.mkdir()
        parquet.write_table(pyarrow.table({"a": part[:, 0]}), folder / "x.parquet")
    (tmp_path / "notes.txt").touch()
    source = as_source(tmp_path)
    assert list(source.names) == ["a", "part"]
    assert np.array_equal(np.concatenate(list(source.batches())), np.c_[X[:, 0], np.repeat([0, 1], N // 2)])


def test_whole_numbers_before_fractions_in_csv(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 300_000 + "1.5,2\n")
    last = list(as_source(path).batches())[-1][-1]
    assert last.tolist() == [1.5, 2]


def test_index_of_a_frame_is_no_column(tmp_path):
    frame = pandas.DataFrame(X, columns=NAMES)
    for index in (None, "c"):
        part = frame[frame.a > 0] if index is None else frame.set_index(index)
        part.to_parquet(tmp_path / "x.parquet")
        source = as_source(tmp_path / "x.parquet")
        assert list(source.names) == list(part.columns)
        assert np.array_equal(np.concatenate(list(source.batches())), part.to_numpy())
    assert list(as_source(tmp_path / "x.parquet", ["c"]).names) == ["c"]


def test_columns_that_the_first_file_lacks(tmp_path):
    parquet.write_table(table().select(["a", "b"]), tmp_path / "0.parquet")
    parquet.write_table(table(), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="the same columns in all files, got 'c' in .*1.parquet, which the first file lacks"):
        as_source(tmp_path)
    assert as_source(tmp_path, ["a", "b"]).n_rows == 2 * N


def test_temporary_file_goes_with_its_source(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = as_source(polars.DataFrame(X, schema=NAMES).lazy())
    assert len(os.listdir(tmp_path)) == 1
    assert sum(map(len, source.batches())) == N
    del source
    gc.collect()
    assert os.listdir(tmp_path) == []


def text_table():
    return pyarrow.table({"a": [1.0, 2.0], "b": ["x", "y"]})


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: text_table(), TypeError, "column 'b' of X must hold real numbers, got string"),
        (lambda: polars.DataFrame({"b": ["x"]}).lazy(), TypeError, "column 'b' of X must hold real numbers"),
        (lambda: pyarrow.table({"a": [True]}), TypeError, "column 'a' of X must hold real numbers, got bool"),
        (lambda: pandas.DataFrame({"a": ["x"]}), TypeError, "X must have columns of real numbers, got objects"),
        (lambda: np.ones(3), ValueError, r"X must have shape \(n, D\).*, got \(3,\)"),
        (lambda: "none.parquet", FileNotFoundError, "there is no file 'none.parquet'"),
        (lambda: 5, TypeError, "X must be an array, a frame, the path"),
        (lambda: text_table().to_reader(), TypeError, "X must be readable more than once, got a RecordBatchReader"),
        (lambda: list, ValueError, "X must give batches of rows, got a callable that returns none"),
        (lambda: lambda: X, TypeError, "X must be a callable that returns an iterator of arrays"),
        (lambda: pyarrow.table({"a": pyarrow.nulls(2)}), TypeError, "column 'a' of X must hold .*, got no value in any row"),
        (lambda: lambda: iter([np.ones(3)]), ValueError, r"X must give batches of shape \(m, D\), got \(3,\)"),
        (lambda: pyarrow.table([[1.0], [2.0]], names=["a", "a"]), ValueError, "X must have one column 'a', got 2"),
    ],
)
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        as_source(make())


def test_errors_of_files(tmp_path):
    (tmp_path / "a.csv").write_text("1,b\n2,3\n")
    (tmp_path / "b.csv").write_text("a,b\n" + "2,3\n" * 300_000 + "2,x\n")
    (tmp_path / "a.parquet").write_text("no parquet")
    (tmp_path / "a.txt").write_text("1")
    cases = {
        "a.csv": "X must have a first line of names or of numbers, got both in '1', 'b'",
        "b.csv": "X must have columns of numbers: .*invalid value 'x'",
        "a.parquet": "X must be a whole parquet file, got .*a.parquet",
        "a.txt": "X must be files of one kind, .* got .txt",
    }
    for name, words in cases.items():
        with pytest.raises(ValueError, match=words):
            as_source(tmp_path / name)
    (tmp_path / "_hidden").mkdir()
    (tmp_path / "a.parquet").rename(tmp_path / "_hidden" / "a.parquet")
    with pytest.raises(IsADirectoryError, match="Is a directory without Parquet files"):
        as_source(tmp_path)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(ValueError, match="X must be files of one kind"):
        as_source([tmp_path / "a.csv", tmp_path / "a.parquet"])
    with pytest.raises(ValueError, match="X must have one column 'z', got none"):
        as_source(table(), ["z"])
    with pytest.raises(ValueError, match="columns must be None"):
        as_source(X, ["a"])


def test_rows_that_change_between_passes():
    n = iter([10, 10, 9, 8])
    source = as_source(lambda: iter([np.zeros((next(n), 2))]))
    list(source.batches())
    with pytest.raises(ValueError, match="the same rows in every pass, got 9 instead of 10"):
        list(source.batches())
    source = as_source(lambda: iter([np.zeros((2, 2)), np.zeros((2, 3))]))
    with pytest.raises(ValueError, match="X must have 2 columns in every batch, got 3"):
        list(source.batches())
    once = iter([X])
    with pytest.raises(ValueError, match="returns a new iterator in each call, got the same one again"):
        list(as_source(lambda: once).batches())
    assert len(list(as_source(lambda batches=[X]: batches).batches())) > 1


def test_frames_in_another_order_of_columns():
    frame = pandas.DataFrame(X, columns=NAMES)
    source = as_source(lambda: iter([frame, frame[["c", "b", "a"]]]))
    with pytest.raises(ValueError, match="columns 'a', 'b', 'c' in every batch, in this order, got 'c', 'b', 'a'"):
        list(source.batches())
