"""Groups of columns, rows over several lines, ambiguous headers, and files that are no tables."""

import decimal

import numpy as np
import pytest

from nvpflow.cli.tables import Columns, TableError, read_columns, read_table


class TestGroups:
    def test_rest(self, put):
        path = put("a,b,c,d\n1,2,3,4\n5,6,7,8\n")
        tables = read_columns(path, [Columns(["d"]), Columns(), Columns(["2"])])
        assert [names for _, names in tables] == [["d"], ["a", "c"], ["b"]]
        for (values, _), expected in zip(tables, ([[4], [8]], [[1, 3], [5, 7]], [[2], [6]])):
            np.testing.assert_array_equal(values, expected)
            assert values.flags.c_contiguous

    def test_npy_and_parquet(self, tmp_path):
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        np.save(tmp_path / "x.npy", np.arange(8.0).reshape(2, 4))
        parquet.write_table(arrow.table(dict(zip("abcd", np.arange(8.0).reshape(2, 4).T))), tmp_path / "x.pq")
        for name in ("x.npy", "x.pq"):
            (x, _), (y, _) = read_columns(tmp_path / name, [Columns(), Columns(["3", "1"])])
            np.testing.assert_array_equal(x, [[1, 3], [5, 7]])
            np.testing.assert_array_equal(y, [[2, 0], [6, 4]])

    def test_groups_are_disjoint(self, put):
        path = put("a,b\n1,2\n")
        for groups in ([Columns(["a"]), Columns(["1"])], [Columns(["a", "b", "a"])], [Columns(["1-2", "2"])]):
            with pytest.raises(TableError, match="column '[ab]' is chosen 2 times"):
                read_columns(path, groups)
        with pytest.raises(TableError, match="has no columns but those chosen for other purposes"):
            read_columns(path, [Columns(), Columns(["a", "b"])])

    def test_known_names_need_header(self, put):
        with pytest.raises(TableError, match="has no names of columns: use numbers for a, b"):
            read_columns(put("1,2\n"), [Columns(known=["a", "b"], or_rest=False)])

    def test_duplicate_names_in_same_order(self, put):
        path = put("a,a\n1,2\n")
        np.testing.assert_array_equal(read_table(path, known=["a", "a"])[0], [[1, 2]])
        with pytest.raises(TableError, match="has 2 columns 'a': use their numbers"):
            read_table(path, known=["a"])

    def test_many_columns_by_name(self, put):
        """The time is linear in their number; quadratic time was two minutes."""
        n = 100_000
        names = [f"n{i}" for i in range(n)]
        path = put(",".join(names) + "\n" + ",".join(map(str, range(n))) + "\n")
        values, read = read_table(path, known=names[::-1])
        np.testing.assert_array_equal(values, [np.arange(n)[::-1]])
        assert read == names[::-1]
        with pytest.raises(TableError) as error:
            read_table(path, ["x"])
        assert str(error.value).endswith(f"has no column 'x'; it has {', '.join(names[:20])}, ... (100000)")


class TestDtype:
    def test_overflow(self, put, tmp_path):
        path = put("a,b\n1,2\n\n3,1e39\n")
        assert read_table(path)[0][1, 1] == 1e39
        with pytest.raises(TableError, match=r"line 4, column 'b': 1e\+39 is not a finite number in float32"):
            read_table(path, dtype="float32")
        np.testing.assert_array_equal(read_table(path, ["a"], dtype="float32")[0], [[1], [3]])
        np.save(tmp_path / "x.npy", [[1.0], [-1e300]])
        with pytest.raises(TableError, match=r"row 2, column 1: -1e\+300 is not a finite number in float32"):
            read_table(tmp_path / "x.npy", dtype="float32")


class TestQuotes:
    def test_multiline_cell(self, put):
        np.testing.assert_array_equal(read_table(put('t,a\n"x\n",1\n"p\n\nq",2\n'), ["a"])[0], [[1], [2]])
        path = put('name,a,b\n"x\ny, ""z""",1,2\n\nplain,3,4\n"\n\n",5,x\n')
        with pytest.raises(TableError, match="line 6, column 'b': 'x' is not a number"):
            read_table(path, ["a", "b"])
        with pytest.raises(TableError, match=r"line 2, column 'name': 'x\\ny, \"z\"' is not a number"):
            read_table(path)

    def test_line_numbers_after_multiline_cell(self, put):
        path = put('t,a\n"x\ny",1\n"z\n\n",2\n\n3,nan\n')
        with pytest.raises(TableError, match="line 8, column 'a': nan is not a finite number"):
            read_table(path, ["a"])

    @pytest.mark.parametrize("header", ['"a\nb",c', '"a;b","c"', '"x\ny","z"'])
    def test_in_the_header(self, put, header):
        values, names = read_table(put(f"{header}\n1,2\n"))
        np.testing.assert_array_equal(values, [[1, 2]])
        assert len(names) == 2 and names[0] == header.split(",")[0].strip('"')

    def test_quote_within_cell(self, put):
        values, names = read_table(put('pipe 5",a\n1,2\n3,4\n'))
        np.testing.assert_array_equal(values, [[1, 2], [3, 4]])
        assert names == ['pipe 5"', "a"]

    def test_blanks_around_quotes(self, put):
        assert read_table(put('"body mass"  height \n1 2\n'))[1] == ["body mass", "height"]

    def test_unclosed_quote(self, put):
        with pytest.raises(TableError, match="line 2: a quoted cell has no end"):
            read_table(put('a,b\n1,"2\n3,4\n'))


class TestHeader:
    @pytest.mark.parametrize("cell", ["1_000", '"1,000"', "1'000", "5%", "12 %", "١٢", "2.5.7"])
    def test_unusual_numbers(self, put, cell):
        path = put(f"{cell},{cell}\n1,2\n")
        with pytest.raises(TableError, match="line 1: .* may be a name or an unusual number: say --header"):
            read_table(path)
        np.testing.assert_array_equal(read_table(path, header=True)[0], [[1, 2]])
        with pytest.raises(TableError, match="line 1, column 1: .* is not a number"):
            read_table(path, header=False)

    def test_names_with_digits(self, put):
        for names in (["2020-01-01", "2020-02-01"], ["x_1", "x_2"], ["3d", "4th"], ["-", "_"], ["nan_1", "p.5"]):
            assert read_table(put(",".join(names) + "\n1,2\n"))[1] == names


class TestNpy:
    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.array(3.0), "got dtype float64, shape ()"),
            (np.zeros((2, 2, 2)), "got dtype float64, shape (2, 2, 2)"),
            (np.zeros(3, [("a", "f8")]), "got dtype [('a', '<f8')], shape (3,)"),
            (np.array([["a", "b"]]), "got dtype <U1, shape (1, 2)"),
            (np.zeros((2, 2), "M8[s]"), "got dtype datetime64[s], shape (2, 2)"),
            (np.zeros((3, 0)), "has no columns"),
        ],
    )
    def test_other_arrays(self, tmp_path, array, message):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(TableError) as error:
            read_table(tmp_path / "x.npy")
        assert str(error.value).endswith(message)

    @pytest.mark.parametrize(
        "array", [np.asfortranarray(np.arange(6.0).reshape(3, 2)), np.ones((2, 2), bool), np.eye(2, dtype=">f2")]
    )
    def test_orders_and_dtypes(self, tmp_path, array):
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(read_table(tmp_path / "x.npy")[0], array)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"(3, 2)", b"(-3,2)", "shape (-3, 2)"),
            (b"(3, 2)", b"(99,2)", "its array should take 1584 bytes"),
            (b"'<f8'", b"'<f9'", "descr is not a valid dtype descriptor: '<f9'"),
            (b"\x93NUMPY\x01", b"\x93NUMPY\x07", "it has format version (7, 0)"),
            (b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x35", "it has format version (1, 53)"),
        ],
    )
    def test_damaged_files(self, tmp_path, put, old, new, message):
        np.save(tmp_path / "x.npy", np.arange(6.0).reshape(3, 2))
        path = put((tmp_path / "x.npy").read_bytes().replace(old, new), "y.npy")
        with pytest.raises(TableError) as error:
            read_table(path)
        assert str(error.value).endswith(f"is not a whole NPY file of numbers: {message}")

    def test_huge_size(self, put):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000, 2)}"
        path = put(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(16), "x.npy")
        with pytest.raises(TableError, match="its array should take 16000000000000000 bytes"):
            read_table(path)


class TestParquet:
    @pytest.fixture
    def write(self, tmp_path):
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

        def write(columns, names=None):
            path = tmp_path / "x.parquet"
            parquet.write_table(arrow.table(columns, names=names), path)
            return path

        return write

    @pytest.mark.parametrize(
        ("cell", "kind"),
        [
            ("text", "string"),
            ([1.0, 2.0], r"list<\w+: double>"),
            ({"x": 1}, "struct<x: int64>"),
            (decimal.Decimal("1.5"), r"decimal128\(2, 1\)"),
            (np.datetime64("2020-01-01", "s"), r"timestamp\[\w+\]"),
            (None, "null"),
        ],
    )
    def test_other_columns(self, write, cell, kind):
        with pytest.raises(TableError, match=f"column 'a' must hold real numbers, got {kind}$"):
            read_table(write({"a": [cell], "b": [1.0]}))
        np.testing.assert_array_equal(read_table(write({"a": [cell], "b": [1.0]}), ["b"])[0], [[1]])

    def test_duplicate_names_and_paths(self, write):
        path = write([[1.0], [2.0], [3.0]], names=["a", "b", "a"])
        assert read_table(path)[1] == ["a", "b", "a"]
        np.testing.assert_array_equal(read_table(path, ["3", "2"])[0], [[3, 2]])
        with pytest.raises(TableError, match="has 2 columns 'a': use their numbers"):
            read_table(path, ["a"])
        path = write([[{"b": 1}], [2.0], [3.0]], names=["a", "a.b", "c"])
        np.testing.assert_array_equal(read_table(path, ["c", "a.b"])[0], [[3, 2]])

    def test_no_rows_and_no_columns(self, write):
        with pytest.raises(TableError, match="has no rows"):
            read_table(write({"a": np.zeros(0)}))
        with pytest.raises(TableError, match="has no columns"):
            read_table(write({}))


def test_closed_standard_streams(monkeypatch):
    from nvpflow.cli import tables

    monkeypatch.setattr(tables.sys, "stdin", None)
    with pytest.raises(OSError, match="standard input"):
        read_table("-")
    monkeypatch.setattr(tables.sys, "stdout", None)
    with pytest.raises(OSError, match="standard output"):
        tables.write_table("-", np.zeros((1, 1)))
