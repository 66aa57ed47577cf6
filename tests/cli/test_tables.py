"""Reading and writing tables, and errors for files that are no tables."""

import io
import subprocess
import sys

import numpy as np
import pytest

from nvpflow.cli import tables
from nvpflow.cli.tables import TableError, read_table, write_table

VALUES = np.array([[1.0, -2.5, 3e-300], [0.1, 1e22, 5e-324], [1 / 3, -0.0, 1.7976931348623157e308]])


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", "  "])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("header", [True, False])
    def test_delimiter_and_header_detection(self, put, delimiter, end, header):
        lines = [["a", "b", "c"]] * header + [list(map(repr, row)) for row in VALUES.tolist()]
        values, names = read_table(put(end.join(delimiter.join(line) for line in lines)))
        np.testing.assert_array_equal(values, VALUES)
        assert values.dtype == np.float64 and names == (["a", "b", "c"] if header else None)

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("# x, y\n1,2\n", ["x", "y"]),  # numpy.savetxt
            ('"x";"y, z"\n1;2\n', ["x", "y, z"]),
            ("\ufeffx,y\n1,2\n", ["x", "y"]),  # spreadsheets
            ("\n\nx,y\n\n1,2\n\n", ["x", "y"]),
            (',y\n"1","2"\n', ["", "y"]),
            ("größe,名\n1,2", ["größe", "名"]),
            ("nan_count,y\n1,2", ["nan_count", "y"]),
        ],
    )
    def test_headers(self, put, text, names):
        values, read = read_table(put(text))
        assert read == names
        np.testing.assert_array_equal(values, [[1, 2]])

    def test_ambiguous_header(self, put):
        path = put("year,2019\n1,2\n")
        with pytest.raises(TableError, match="line 1 has both numbers and text: say --header if"):
            read_table(path)
        assert read_table(path, header=True)[1] == ["year", "2019"]
        with pytest.raises(TableError, match="line 1, column 1: 'year' is not a number"):
            read_table(path, header=False)
        assert read_table(put("1,2\n3,4\n"), header=True)[1] == ["1", "2"]

    def test_columns_by_name_number_and_range(self, put):
        path = put("name,a,b,c,7\nbob,1,2,3,4\neve,5,6,7,8\n")
        for columns, expected in (
            (["b", "a"], ["b", "a"]),
            (["2", "3-4"], ["a", "b", "c"]),
            (["5"], ["7"]),
            (["7"], ["7"]),  # a name
        ):
            values, names = read_table(path, columns, header=True)
            assert names == expected
            np.testing.assert_array_equal(values[0], ["abc7".index(name) + 1 for name in names])

    def test_wrong_columns(self, put):
        path = put("a,b,b\n1,2,3\n")
        for column in ("z", "0", "4", "2-4", "3-2", "-1", ""):
            with pytest.raises(TableError, match=f"has no column '{column}'; it has a, b, b"):
                read_table(path, [column])
        with pytest.raises(TableError, match="has 2 columns 'b': use their numbers"):
            read_table(path, ["b"])
        with pytest.raises(TableError, match="has no column 'a'; it has 1 to 2"):
            read_table(put("1,2\n"), ["a"])

    def test_known_columns_by_name(self, put):
        values, names = read_table(put("b,x,a\n2,text,1\n"), known=["a", "b"])
        np.testing.assert_array_equal(values, [[1, 2]])
        assert names == ["a", "b"]
        with pytest.raises(TableError, match="has no column 'c'; it has a, b"):
            read_table(put("a,b\n1,2\n"), known=["c"])
        np.testing.assert_array_equal(read_table(put("1,2\n"), known=["a", "b"])[0], [[1, 2]])
        # A number is a place only where somebody asked for it.
        with pytest.raises(TableError, match="has no column '1'"):
            read_table(put("a,b\n1,2\n"), known=["1"])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "data.csv is empty"),
            ("\n  \n", "data.csv is empty"),
            ("a,b\n", "data.csv has a header and no rows below it"),
            ("a,b\n1,2\n\n3,four\n5,6\n", "data.csv, line 4, column 'b': 'four' is not a number"),
            ("1,2\n3,\n", "data.csv, line 2, column 2: the cell is empty"),
            ("1,2\n3,1_000\n", "data.csv, line 2, column 2: '1_000' is not a number"),
            ("1;2\n3;4,5\n", "data.csv, line 2, column 2: '4,5' is not a number"),
            ("a,b\n1,2\n3,4,5\n", "data.csv, line 3: 3 cells, but the first line has 2"),
            ("a,b\n1,2\n3\n", "data.csv, line 3: 1 cell, but the first line has 2"),
            ('a,b\n1,"2,5",3\n', "data.csv, line 2: 3 cells, but the first line has 2"),
            ("1 2\n3  4 5\n", "data.csv, line 2: 3 cells, but the first line has 2"),
            ("a,b\n1,2\n\n\n3,4\n\n5,nan\n", "data.csv, line 7, column 'b': nan is not a finite number"),
            ("1,2\n-inf,1\n", "data.csv, line 2, column 1: -inf is not a finite number"),
            ("1e999,2\n", "data.csv, line 1, column 1: inf is not a finite number"),
        ],
    )
    def test_errors_name_the_place(self, put, text, message):
        with pytest.raises(TableError) as error:
            read_table(put(text))
        assert str(error.value).endswith(message)

    def test_text_in_other_columns(self, put):
        path = put("a,b,c\n1,x,3\n4,,6\n")
        np.testing.assert_array_equal(read_table(path, ["a", "c"])[0], [[1, 3], [4, 6]])
        with pytest.raises(TableError, match="line 3: 2 cells"):
            read_table(put("a,b,c\n1,x,3\n4,5\n"), ["a"])
        with pytest.raises(TableError, match="line 3, column 'c': 'y' is not a number"):
            read_table(put('a,b,c\n1,x,3\n4,"5,",y\n'), ["a", "c"])

    def test_other_encodings(self, put):
        with pytest.raises(TableError, match="is not a text in UTF-8"):
            read_table(put("a,b\n1,2\n".encode("utf-16")))

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / "none.csv")

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "npy", "parquet", "pq", "NPY"])
    def test_round_trip(self, tmp_path, dtype, suffix):
        if suffix in ("parquet", "pq"):
            pytest.importorskip("pyarrow")
        bits = np.random.default_rng(0).integers(0, 256, 40_000 * np.dtype(dtype).itemsize, dtype=np.uint8)
        values = bits.view(dtype).reshape(-1, 4)
        values = values[np.isfinite(values).all(axis=1)]
        path = tmp_path / f"data.{suffix}"
        write_table(path, values, ["a", "b, c", 'd"', "e"])
        again, names = read_table(path)
        np.testing.assert_array_equal(again.astype(dtype).view(np.uint8), np.ascontiguousarray(values).view(np.uint8))
        assert names == (None if suffix.lower() == "npy" else ["a", "b, c", 'd"', "e"])


class TestOtherFormats:
    def test_npy(self, tmp_path):
        np.save(tmp_path / "x.npy", np.arange(6, dtype=">i2").reshape(2, 3))
        values, names = read_table(tmp_path / "x.npy", ["3", "1"])
        np.testing.assert_array_equal(values, [[2, 0], [5, 3]])
        assert names is None and values.dtype == np.float64

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros(3), r"of shape \(n, D\), got dtype float64, shape \(3,\)"),
            (np.zeros((2, 2), complex), "real numbers of shape .* got dtype complex128"),
            (np.array([[1.0, np.nan]]), "row 1, column 2: nan is not a finite number"),
            (np.zeros((0, 2)), "has no rows"),
        ],
    )
    def test_npy_of_other_arrays(self, tmp_path, array, message):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(TableError, match=message):
            read_table(tmp_path / "x.npy")

    def test_npy_of_objects_and_truncated_npy(self, tmp_path, put):
        np.save(tmp_path / "o.npy", np.array([[None]]), allow_pickle=True)
        np.save(tmp_path / "x.npy", np.zeros((100, 2)))
        part = put((tmp_path / "x.npy").read_bytes()[:500], "part.npy")
        for path in (tmp_path / "o.npy", part):
            with pytest.raises(TableError, match="is not a whole NPY file of numbers"):
                read_table(path)

    def test_parquet(self, tmp_path, put):
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "x.parquet"
        columns = {"a": [1, 2], "text": ["x", "y"], "b": [0.5, 1.5], "gap": [1, None]}
        arrow.parquet.write_table(arrow.table(columns), path)
        values, names = read_table(path, ["b", "a"])
        np.testing.assert_array_equal(values, [[0.5, 1], [1.5, 2]])
        assert names == ["b", "a"]
        with pytest.raises(TableError, match="column 'text' must hold real numbers, got string"):
            read_table(path)
        with pytest.raises(TableError, match="row 2, column 'gap': nan is not a finite number"):
            read_table(path, ["gap"])
        with pytest.raises(TableError, match="has no column 'c'; it has a, text, b, gap"):
            read_table(path, ["c"])
        with pytest.raises(TableError, match="is not a whole Parquet file"):
            read_table(put(path.read_bytes()[:50], "part.parquet"))

    def test_parquet_without_pyarrow(self, put, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match="Parquet files need pyarrow: pip install pyarrow"):
            read_table(put(b"PAR1...", "x.parquet"))
        with pytest.raises(ImportError, match="Parquet files need pyarrow: pip install pyarrow"):
            write_table(tmp_path / "y.parquet", VALUES)
        assert not (tmp_path / "y.parquet").exists()


class Pipe(io.RawIOBase):
    """A stream that can be read only once."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        part = self.content.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("suffix", ["csv", "npy", "parquet"])
def test_standard_input(tmp_path, monkeypatch, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    write_table(tmp_path / f"x.{suffix}", VALUES)
    content = (tmp_path / f"x.{suffix}").read_bytes()
    stdin = io.TextIOWrapper(io.BufferedReader(Pipe(content)))
    monkeypatch.setattr(tables.sys, "stdin", stdin)
    np.testing.assert_array_equal(read_table("-")[0], VALUES)
    assert not stdin.buffer.closed


def test_standard_output(capsys):
    write_table("-", np.array([[1, 0.1]], np.float32), ["a", "b"])
    assert capsys.readouterr().out == "a,b\n1,0.100000001\n"


def test_reading_loads_only_numpy():
    code = "import sys; from nvpflow import cli; from nvpflow.cli import tables; print({'pandas', 'pyarrow', 'tqdm'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
