"""Files of one table that differ: columns and types of all of them count, not those of the first one."""

import numpy as np
import pytest

from nvpflow.scale import as_source

pyarrow = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

FIRST = {"a": [1, 3], "b": [2, 4]}
WRITERS = {"parquet": parquet.write_table, "feather": feather.write_feather}


def read(X):
    return np.concatenate(list(as_source(X).batches()))


@pytest.fixture(params=list(WRITERS))
def with_second(tmp_path, request):
    """A function that writes a second table beside FIRST, and returns a pattern for both files."""

    def write(second):
        for number, table in enumerate((FIRST, second)):
            table = table if isinstance(table, pyarrow.Table) else pyarrow.table(table)
            WRITERS[request.param](table, str(tmp_path / f"{number}.{request.param}"))
        return str(tmp_path / "*")

    return write


@pytest.fixture
def csv(tmp_path):
    """A function that writes CSV files, and returns a pattern for them."""

    def write(*texts):
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.csv").write_text(text)
        return str(tmp_path / "*.csv")

    return write


@pytest.mark.parametrize(
    ("second", "last"),
    [
        ({"b": [6], "a": [5]}, [5, 6]),
        ({"a": [5.5], "b": [6.5]}, [5.5, 6.5]),
        ({"a": np.array([5.5], np.float32), "b": np.array([6], np.int8)}, [5.5, 6]),
        ({"a": pyarrow.nulls(1), "b": [6]}, [np.nan, 6]),
        ({"a": [2**60 + 1], "b": [6]}, [2.0**60, 6]),
        (pyarrow.table(FIRST).slice(0, 0), [3, 4]),
    ],
)
def test_numbers_of_later_files(with_second, second, last):
    rows = read(with_second(second))
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows[-1], last)


@pytest.mark.parametrize(
    ("second", "error", "words"),
    [
        (
            {"a": [5], "b": [6], "c": [7]},
            ValueError,
            r"the same columns in all files, got 'c' in .*1\..*, which the first file",
        ),
        ({"a": [5]}, ValueError, r"the same columns in all files, .*1\..* lacks 'b'"),
        ({"a": ["x"], "b": [6]}, TypeError, "column 'a' of X must hold real numbers, got string"),
        ({"a": [True], "b": [6]}, TypeError, "column 'a' of X must hold real numbers, got bool"),
    ],
)
def test_other_columns_of_later_files(with_second, second, error, words):
    with pytest.raises(error, match=words):
        as_source(with_second(second))


def test_a_later_file_is_none(with_second, tmp_path):
    pattern = with_second(FIRST)
    broken = next(tmp_path.glob("1.*"))
    broken.write_bytes(b"something else")
    with pytest.raises(ValueError, match="X must"):
        read(pattern)


HEADER = "a,b\n1,2\n3,4\n"


@pytest.mark.parametrize(
    ("texts", "last"),
    [
        ((HEADER, "b,a\n6,5\n"), [5, 6]),
        ((HEADER, "a,b\n5.5,6e1\n"), [5.5, 60]),
        ((HEADER, '"a","b"\r\n"5","6"\r\n'), [5, 6]),
        ((HEADER, "a,b\n"), [3, 4]),
        (("1,2\n", "5,6\n"), [5, 6]),
        (("a,b\n" + ",2\n" * 400_000 + "5,6\n",), [5, 6]),  # no value of a in the block that tells the types
    ],
)
def test_csv_files(csv, texts, last):
    np.testing.assert_array_equal(read(csv(*texts))[-1], last)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("a,b,c\n5,6,7\n", "got 'c' in .*1.csv, which the first file lacks"),
        ("a\n5\n", "1.csv lacks 'b'"),
        ("x,y\n5,6\n", "got 'x' in .*1.csv"),
        ("5,6\n7,8\n", "got '5' in .*1.csv"),
        ("a;b\n5;6\n", "got 'a;b' in .*1.csv"),
        ("a,b\nx,6\n", "1.csv.*invalid value 'x'"),
        ("a,b\n5,6\n7,8,9\n", "1.csv.*Expected 2 columns, got 3"),
        ("", "1.csv.*Empty CSV file"),
    ],
)
def test_other_csv_files(csv, second, words):
    with pytest.raises(ValueError, match=words):
        read(csv(HEADER, second))


def test_more_columns_without_names(csv):
    with pytest.raises(ValueError, match="got 'f2' in .*1.csv, which the first file lacks"):
        as_source(csv("1,2\n", "5,6,7\n"))


def test_chosen_columns_of_files_with_others(with_second):
    pattern = with_second({"c": [7], "a": [5.5]})
    np.testing.assert_array_equal(np.concatenate(list(as_source(pattern, ["a"]).batches()))[:, 0], [1, 3, 5.5])
    with pytest.raises(ValueError, match="lacks 'b'"):
        as_source(pattern, ["b"])
