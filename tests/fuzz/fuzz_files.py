"""Fuzzes `nvpflow.load`: a changed file is a ValueError, or a model on which the public methods work.

Files are changed by their structure: values in the header, arrays, and bytes of the archive. Checksums are right again, and
the numbers that repeat the header are those of the changed one.
"""

import contextlib
import copy
import functools
import io
import json
import pickle
import warnings
import zipfile
import zlib

import numpy as np

import draws as st
import nvpflow
from fuzz_models import MODELS, calls_of
from nvpflow._io.encoding import describe
from nvpflow._io.npz import write_npz
from nvpflow._io.safetensors import write_safetensors
from workplace import folder

ODD = [
    None, True, False, 0, 1, 2, -1, 3, 7, 255, 2**31, 2**53, 2**63, 10**30, 0.5, 1.5, -0.0, 1e-300, 1e300, "", "a", "0", "None",
    "9223372036854775808", "float32", "int8", "Int64", "category", "Categorical", "polars", "pandas", "\ud800", "é", [], {},
    [0], [[]], [None], ["a", 1], {"a": 1}, {"integer": [0, 1]}, {"angle": [0, 1]}, "category",
]  # fmt: skip
IN_FULL = 4  # one accepted model in so many is tried in full; the others are scored, saved and loaded again
SIGNS = {"format", "kind", "version"}
NUMBERS = [0.0, 1.0, -1.0, 0.5, 2.0, 1e-300, 1e30, 1e308, -1e308, 2.0**53, np.nan, np.inf]


def places(tree, at=()):
    """The paths to all values of a header."""
    yield at
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*at, key))


def value_at(tree, place):
    for key in place:
        tree = tree[key]
    return tree


@functools.cache
def kin():
    """{name: the values that it has in the headers of all models}."""
    found = {}
    for name in MODELS:
        header = json.loads(contents(name)[0])
        for *way, last in list(places(header))[1:]:
            found.setdefault(last, []).append(value_at(header, (*way, last)))
    return found


def change_header(draw, header):
    """Replace, remove, repeat or add a value. What says that it is such a header seldom changes: all else is not read then."""
    names = sorted(header) if draw(st.integers(0, 15)) == 0 else sorted(header.keys() - SIGNS) or sorted(header)
    first = draw(st.sampled_from(names))
    *way, last = draw(st.sampled_from(list(places(header[first], (first,)))))
    inner = value_at(header, way)
    what = draw(st.sampled_from(["odd", "odd", "odd", "kin", "kin", "other", "near", "drop", "repeat"]))
    if what == "odd":
        inner[last] = copy.deepcopy(draw(st.sampled_from(ODD)))  # later changes may fall into it
    elif what == "kin":
        inner[last] = copy.deepcopy(draw(st.sampled_from(kin().get(last, ODD))))
    elif what == "other":
        inner[last] = copy.deepcopy(value_at(header, draw(st.sampled_from(list(places(header))[1:]))))
    elif what == "near" and type(inner[last]) in (int, float):
        inner[last] += draw(st.sampled_from([-1, 1, 0.5]))
    elif what == "repeat" and isinstance(inner, list):
        inner.insert(last, copy.deepcopy(inner[last]))
    elif isinstance(inner, (dict, list)):
        del inner[last]


def change_array(draw, arrays):
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    what = draw(st.sampled_from(["number", "number", "drop", "shorter", "longer", "dtype", "other"]))
    if what == "number" and array.size and array.dtype.kind == "f":
        arrays[name] = array.copy()
        with np.errstate(over="ignore"):
            arrays[name][draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(NUMBERS))
    elif what == "shorter":
        arrays[name] = array[:-1]
    elif what == "longer":
        arrays[name] = np.append(array, array[-1:])
    elif what == "dtype":
        with np.errstate(invalid="ignore", over="ignore"):
            arrays[name] = array.astype(draw(st.sampled_from(["f4", "f8", ">f8", "i8", "u1"])))
    elif what == "other":
        arrays[name] = arrays[draw(st.sampled_from(sorted(arrays)))]
    else:
        del arrays[name]


def repeat_header(header, arrays):
    """Make the description that of the header, where the header has one."""
    try:
        if "description" in arrays:
            arrays["description"] = describe(header["flow"])
        if "descriptions" in arrays:
            parts = [describe(config) for config in header["flows"]]
            arrays["descriptions"] = np.concatenate([np.append(float(len(part)), part) for part in parts])
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        pass


def change_bytes(draw, content):
    content = bytearray(content)
    at = draw(st.integers(0, len(content) - 1))
    what = draw(st.sampled_from(["flip", "flip", "cut", "insert", "move"]))
    if what == "flip":
        content[at] ^= 1 << draw(st.integers(0, 7))
    elif what == "cut":
        del content[at : at + draw(st.integers(1, 50))]
    elif what == "insert":
        content[at:at] = draw(st.binary(min_size=1, max_size=8))
    else:
        start = draw(st.integers(0, len(content) - 1))
        content[at:at] = content[start : start + draw(st.integers(1, 100))]
    return bytes(content)


def change_members(draw, content):
    """Repeat, compress or rename a member of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    which, what = draw(st.integers(0, len(members) - 1)), draw(st.sampled_from(["repeat", "compress", "rename"]))
    if what == "repeat":
        members.append(members[which])
    changed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(changed, "w") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for i, (name, data) in enumerate(members):
            name = name[1:] if what == "rename" and i == which else name
            packed = zipfile.ZIP_DEFLATED if what == "compress" and i == which else zipfile.ZIP_STORED
            archive.writestr(name, data, packed)
    return changed.getvalue()


@functools.cache
def contents(name):
    """The header, as a text, and the arrays of a model's file."""
    file = io.BytesIO()
    nvpflow.save(MODELS[name]()[0], file)
    file.seek(0)
    with np.load(file) as arrays:
        arrays = dict(arrays)
    return str(arrays.pop("header")), arrays


def change_density(draw, arrays, name):
    """Change the file of a class in that of a classifier."""
    if arrays[name].dtype != np.uint8:  # it is another array by now
        return
    try:
        with np.load(io.BytesIO(arrays[name].tobytes())) as inner:
            inner = dict(inner)
    except (EOFError, OSError, ValueError, zipfile.BadZipFile):  # it has been changed
        return
    header = json.loads(str(inner.pop("header")))
    change_header(draw, header)
    with contextlib.suppress(UnicodeEncodeError):  # no file can hold a half of a surrogate pair
        arrays[name] = np.frombuffer(packed("npz", header, inner), np.uint8)


def packed(ending, header, arrays):
    file = io.BytesIO()
    text = json.dumps(header)
    {"npz": write_npz, "safetensors": write_safetensors}[ending](file, text, arrays)
    return file.getvalue() if ending == "npz" else in_order(file.getvalue())


def in_order(content):
    """A file of safetensors, which writes its header in a random order, with one that is sorted."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


@st.composite
def changed_files(draw):
    """(name of the model, the content of its changed file)."""
    name = draw(st.sampled_from(sorted(MODELS)))
    header, arrays = json.loads(contents(name)[0]), dict(contents(name)[1])
    ending = draw(st.sampled_from(["npz", "npz", "npz", "safetensors"]))
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        inside = sorted(name for name in arrays if name.startswith("density."))
        if inside and draw(st.booleans()):
            change_density(draw, arrays, draw(st.sampled_from(inside)))
            header["sizes"] = [len(arrays[name]) for name in inside]
        elif arrays and draw(st.integers(0, 3)) == 0:
            change_array(draw, arrays)
        elif isinstance(header, dict) and len(header) > 1:
            change_header(draw, header)
    if draw(st.integers(0, 7)):
        repeat_header(header, arrays)
    try:
        content = packed(ending, header, arrays)
    except UnicodeEncodeError:  # no file can hold a half of a surrogate pair
        return name, b""
    if draw(st.integers(0, 15)) == 0:
        return name, change_bytes(draw, content)
    if ending == "npz" and draw(st.integers(0, 15)) == 0:
        return name, change_members(draw, content)
    return name, content


# -- what must hold --


def works(name, model, in_full):
    """The public methods. What depends on data may refuse those that the original was fitted to; the rest must work."""
    repr(model), str(model)
    twin = io.BytesIO()
    nvpflow.save(model, twin)
    assert type(nvpflow.load(io.BytesIO(twin.getvalue()))) is type(model)
    calls = calls_of(name, model)
    if in_full:
        model.get_params() if hasattr(model, "get_params") else None
        assert type(pickle.loads(pickle.dumps(model))) is type(model)
        copy.deepcopy(model)
    for call in calls if in_full else calls[:1]:
        with contextlib.suppress(ValueError, MemoryError):
            call(model)


def loaded(content):
    """Load a model, safetensors from a path: their reader would make a directory for each one in memory."""
    if content.startswith(b"PK"):
        return nvpflow.load(io.BytesIO(content))
    path = folder() / "model.file"
    path.write_bytes(content)
    return nvpflow.load(path)


def check(example):
    """Return whether the file was accepted."""
    name, content = example
    try:
        model = loaded(content)
    except ValueError:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        works(name, model, in_full=zlib.crc32(content) % IN_FULL == 0)
    return True


EXAMPLES = changed_files()
