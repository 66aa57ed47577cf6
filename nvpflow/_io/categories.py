"""The categories of a model in its file: their values, and the tables of their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats, Ints
from nvpflow._validation.arguments import check_bool, check_int, check_real, shown
from nvpflow.supports._categories import Categories
from nvpflow.supports._category import plain_values, restore_values
from nvpflow.supports._coding import Coding
from nvpflow.supports._combinations import Combinations
from nvpflow.supports._effects import Effects
from nvpflow.supports._encoding import ContextEncoding
from nvpflow.supports._indicators import Indicators
from nvpflow.supports._joint_table import JointTable
from nvpflow.supports._kinds import REALS, Angle, check_kind
from nvpflow.supports._latent_classes import LatentClasses

if TYPE_CHECKING:
    from nvpflow._io.containers import Reader

__all__ = ["ARRAYS", "arrays_of", "plain_categories", "plain_encoding", "restore_categories", "restore_encoding"]

ARRAYS = ("categories.codes", "categories.counts", "categories.own", "categories.classes")
N_MODELS = 3  # of a `JointTable`
MOST_OTHERS = 2**20  # columns that are no categories


def plain_categories(categories: Categories) -> dict[str, Any]:
    """The part of the header that describes categories."""
    table = categories.table
    return _plain_coding(categories.coding, categories.indicators) | {
        "n_combinations": len(table.known.counts),
        "pseudo_counts": list(table.pseudo_counts),
        "weights": table.weights.tolist(),
        "parents": list(table.parents),
        "strengths": list(table.strengths),
        "n_classes": 0 if table.classes is None else len(table.classes.shares),
        "n_fitted": table.n_fitted,
        "effects": [[column.tolist() for column in table.T] for table in categories.effects.tables],
    }


def arrays_of(categories: Categories) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file that describe categories."""
    known, classes = categories.table.known, categories.table.classes
    found: dict[str, npt.NDArray[Any]] = {
        "categories.codes": known.codes.astype(np.float64).ravel(),
        "categories.counts": known.counts,
        "categories.own": known.own,
    }
    if classes is not None:
        found["categories.classes"] = np.concatenate([classes.shares, *(table.ravel() for table in classes.tables)])
    return found


def plain_encoding(encoding: ContextEncoding) -> dict[str, Any]:
    """The part of the header that describes the encoding of a context."""
    angles = [None if angle is None else angle._plain() for angle in encoding.angles]
    return _plain_coding(encoding.coding, encoding.indicators) | {"angles": angles}


def _plain_coding(coding: Coding, indicators: Indicators) -> dict[str, Any]:
    return {
        "columns": list(coding.columns),
        "labels": list(coding.labels),
        "values": [plain_values(f"the categories of column {of[0]}", of[1]) for of in zip(coding.labels, coding.values)],
        "n_columns": coding.n_columns,
        "is_object": coding.is_object,
        "groups": [group.tolist() for group in indicators.groups],
    }


def restore_categories(header: Any, file: Reader) -> Categories:
    """Undo `plain_categories` and `arrays_of`, for what a file holds."""
    coding, indicators = _restore_coding("categories", header)
    n_columns = len(coding.columns)
    if n_columns == 0:
        raise ValueError("categories must have at least one column, got none")
    known = _restore_combinations(header, coding.sizes, file)
    weights = np.array([check_real("weights", weight, 0) for weight in _of_length("weights", header["weights"], N_MODELS)])
    if not np.isclose(weights.sum(), 1):
        raise ValueError(f"weights of models must be shares of 1, got {weights}")
    parents = [
        check_int("parents", parent, -1, n_columns - 1) for parent in _of_length("parents", header["parents"], n_columns)
    ]
    positive: dict[str, list[float]] = {
        name: [check_real(name, number, 0) for number in _of_length(name, header[name], n_columns)]
        for name in ("pseudo_counts", "strengths")
    }
    if min(positive["pseudo_counts"]) == 0 or any(b == 0 for b, of in zip(positive["strengths"], parents) if of >= 0):
        raise ValueError("pseudo-counts of categories must be more than 0")
    classes = _restore_classes(check_int("n_classes", header["n_classes"], 0), known, file)
    if (classes is None) != (weights[-1] == 0):
        raise ValueError(f"the weights of models must be those of the models in the file, got {weights}")
    n_fitted = check_real("n_fitted", header["n_fitted"], 0)
    table = JointTable(known, positive["pseudo_counts"], weights, parents, positive["strengths"], classes, n_fitted)
    return Categories(coding, indicators, _restore_effects(header["effects"], coding), table)


def _restore_effects(header: Any, coding: Coding) -> Effects:
    tables: list[Floats] = []
    for columns, size in zip(_of_length("effects", header, len(coding.sizes)), coding.sizes):
        if not isinstance(columns, list):
            raise TypeError(f"effects must be lists, got {shown(columns)}")
        numbers = [[check_real("effects", number) for number in _of_length("effects", column, size)] for column in columns]
        tables.append(np.array(numbers, dtype=np.float64).reshape(len(numbers), size).T)
    return Effects(tables)


def _restore_combinations(header: Any, sizes: tuple[int, ...], file: Reader) -> Combinations:
    n = check_int("n_combinations", header["n_combinations"], 1)
    codes = file.read("categories.codes", "float64", n * len(sizes)).reshape(n, len(sizes))
    if not ((codes >= 0) & (codes < sizes) & (codes == np.floor(codes))).all():
        raise ValueError("codes of categories must be the places of their values")
    counts, own = (np.array(file.read(f"categories.{name}", "float64", n)) for name in ("counts", "own"))
    if not (np.isfinite(counts).all() and (own > 0).all() and (own <= counts).all()):
        raise ValueError("counts of categories must be positive and finite")
    found: Ints = codes.astype(np.intp)
    if len(np.unique(found, axis=0)) < n:
        raise ValueError("codes of categories must be different combinations")
    return Combinations(found, counts, own, sizes)


def _restore_classes(n_classes: int, known: Combinations, file: Reader) -> LatentClasses | None:
    if n_classes == 0:
        return None
    sizes = [int((known.margin(j) > 0).sum()) for j in range(len(known.sizes))]
    numbers = np.array(file.read("categories.classes", "float64", n_classes * (1 + sum(sizes))))
    shares, *tables = np.split(numbers, n_classes * np.cumsum([1, *sizes[:-1]]))
    shaped: list[Floats] = [table.reshape(n_classes, -1) for table in tables]
    for table in (shares[np.newaxis], *shaped):
        if not ((table > 0).all() and np.allclose(table.sum(axis=1), 1)):
            raise ValueError("probabilities of latent classes must be positive, with a sum of 1")
    return LatentClasses(shares, shaped)


def restore_encoding(header: Any) -> ContextEncoding:
    """Undo `plain_encoding`, for what a file holds."""
    coding, indicators = _restore_coding("context_encoding", header)
    kinds = [check_kind("angles", kind) for kind in _of_length("angles", header["angles"], len(coding.others))]
    for kind in kinds:
        if kind != REALS and not isinstance(kind, Angle):
            raise ValueError(f"angles must hold angles and null, got {kind}")
    return ContextEncoding(tuple(kind if isinstance(kind, Angle) else None for kind in kinds), coding, indicators)


def _restore_coding(name: str, header: Any) -> tuple[Coding, Indicators]:
    if not isinstance(header, dict):
        raise TypeError(f"{name} must be an object, got {shown(header)}")
    columns = header["columns"]
    if not isinstance(columns, list):
        raise TypeError(f"columns must be a list, got {shown(columns)}")
    n = len(columns)
    n_columns = check_int("n_columns", header["n_columns"], 1, n + MOST_OTHERS)
    places = tuple(check_int("columns", column, 0, n_columns - 1) for column in columns)
    if list(places) != sorted(set(places)):
        raise ValueError(f"columns must be in order, got {shown(columns)}")
    labels = _of_length("labels", header["labels"], n)
    if not all(isinstance(label, str) for label in labels):
        raise TypeError(f"labels must be texts, got {shown(labels)}")
    values = tuple(restore_values("values", of) for of in _of_length("values", header["values"], n))
    if not all(values):
        raise ValueError("values must have at least one value for each column")
    groups: list[Ints] = [
        np.array([check_int("groups", group, 0, len(of) - 1) for group in _of_length("groups", given, len(of))], dtype=np.intp)
        for given, of in zip(_of_length("groups", header["groups"], n), values)
    ]
    coding = Coding(places, tuple(labels), values, n_columns, check_bool("is_object", header["is_object"]))
    return coding, Indicators(groups)


def _of_length(name: str, value: object, n: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != n:
        raise ValueError(f"{name} must be a list of {n} entries, got {shown(value)}")
    return value
