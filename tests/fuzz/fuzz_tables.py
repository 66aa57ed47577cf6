"""Fuzzes the reader of tables: a file is a `TableError`, or a table of finite numbers that is read again as it is written."""

import io
import os

import numpy as np

import draws as st
from nvpflow.cli.tables import Columns, TableError, read_mixed, read_table, write_table
from workplace import folder

CELLS = st.sampled_from(
    ["1", "-2.5", "1e3", "0", "", " ", "nan", "inf", "-inf", "1e400", "1e-400", "x", "red", "1_000", "1,5", "٣", "0x10", "NA", '"',
     '""', '"a,b"', '"a\nb"', '"', "#", "# x", "True", "1.", ".5", "+1", "--1", "\0", "é", "\ufeff", "9" * 400, "a" * 70, "\t", "1 2"]
)  # fmt: skip
DELIMITERS = st.sampled_from([",", ";", "\t", "|", " ", "  "])
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", "\x0b", "\u2028"])
NAMES = st.sampled_from(["1", "2", "1-2", "2-1", "0", "99999999999999999999", "x", "a", "", "-"])
LISTS = st.one_of(st.none(), st.lists(NAMES, min_size=1, max_size=3))


@st.composite
def texts(draw):
    """Rows of mostly equal length, of mostly numbers, with mostly one delimiter and one end of line."""
    width, delimiter, end = draw(st.integers(1, 4)), draw(DELIMITERS), draw(ENDS)
    cells = draw(st.sampled_from([CELLS, *3 * [st.sampled_from(["1", "2.5", "-3e2"])]]))
    rows = [draw(st.lists(cells, min_size=width, max_size=width)) for _ in range(draw(st.sampled_from([0, 1, 2, 3, 4, 5])))]
    if rows and draw(st.booleans()):
        draw(st.sampled_from(rows))[draw(st.integers(0, width - 1))] = draw(CELLS)
    if draw(st.booleans()):
        rows.insert(
            0, [f"{name}" for name in draw(st.lists(st.sampled_from("abxy" * 5 + "1"), min_size=width, max_size=width))]
        )
    text = end.join(delimiter.join(row) for row in rows) + draw(st.sampled_from(["", end, "\x1a"]))
    return text.encode(errors="surrogatepass")


@st.composite
def arrays(draw):
    """NPY files with a changed header or another dtype."""
    dtype = draw(st.sampled_from([*5 * ["f8"], "f4", ">f8", "i8", "u1", "?", "f2", "c16", "U3", "M8[s]", "V3", "i4,f4"]))
    shape = draw(st.sampled_from([*5 * [(3, 2)], (0, 2), (3, 0), (6,), (), (1, 2, 3)]))
    file = io.BytesIO()
    np.save(file, draw(st.sampled_from([np.zeros, np.ones]))(shape, dtype))
    return file.getvalue()


@st.composite
def changed_bytes(draw):
    content = bytearray(draw(st.one_of(texts(), arrays())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content)


EXAMPLES = st.fixed_dictionaries(
    {
        "content": st.one_of(texts(), texts(), arrays(), changed_bytes()),
        "columns": st.one_of(st.none(), st.none(), st.none(), LISTS),
        "context": st.one_of(st.none(), st.none(), st.none(), LISTS),
        "categories": st.sampled_from([(), (), (), ("1",), (0,), ("x",)]),
        "missing": st.booleans(),
        "delimiter": st.sampled_from([None, None, None, None, ",", " ", "\t", "x"]),
        "header": st.sampled_from([None, None, None, True, False]),
        "dtype": st.sampled_from(["float64", "float32"]),
    }
)


def check(example):
    """Return whether the table was accepted."""
    groups = [Columns(example["columns"], categories=example["categories"], missing=example["missing"])]
    if example["context"] is not None:
        groups.append(Columns(example["context"]))
    options = {name: example[name] for name in ("delimiter", "header", "dtype")}
    path = folder() / "table.csv"
    path.write_bytes(example["content"])
    try:
        tables, categories = read_mixed(path, groups, **options)
    except TableError as error:
        message = str(error)
        assert message.startswith(str(path)) or "the model has no column" in message, message
        assert len(message) < 1000, message
        return False
    for (values, names), group, found in zip(tables, groups, categories):
        assert values.ndim == 2 and values.size and (names is None or len(names) == values.shape[1])
        assert np.isfinite(values.astype(example["dtype"])).all() or group.missing
        for place, texts in found.items():
            assert np.nanmax(values[:, place], initial=-1) < len(texts)
    values, names = tables[0]
    if np.isfinite(values).all():
        is_again(path.with_name("again.csv"), values)
    return True


def is_again(path, values):
    write_table(path, values, [f"x{i}" for i in range(values.shape[1])])
    np.testing.assert_array_equal(read_table(path, delimiter=",")[0], values)
    os.remove(path)
