"""Files of one data set: whether they have the same columns, and the types that hold the numbers of all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow.scale._arrow_types import float_type, import_arrow

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["joint_schema", "without_index"]


def joint_schema(dataset: Any, columns: Sequence[str] | None) -> Any:
    """The schema of a data set, in which columns that are integers in one file and have fractions in another are floats.

    pyarrow takes the types of the first file, and leaves out columns that it lacks.

    Raises
    ------
    TypeError
        If a column holds no numbers in a file.
    ValueError
        If files have other columns than the first one, or cannot be read.
    """
    arrow, schema = import_arrow(), dataset.schema
    names = without_index(schema) if columns is None else [name for name in columns if name in schema.names]
    kinds: dict[str, set[Any]] = {name: {schema.field(name).type} for name in names}
    try:
        for fragment in dataset.get_fragments():
            for name, kind in _types_in(fragment, schema, names, columns is None):
                kinds[name].add(kind)
    except arrow.ArrowException as error:
        raise ValueError(f"X must have whole files of numbers: {error}") from error
    for name, found in kinds.items():
        known = [kind for kind in found if not arrow.types.is_null(kind)]
        if len(found) > 1 and known:
            wanted = arrow.from_numpy_dtype(np.result_type(*(float_type(name, kind) for kind in known)))
            schema = schema.set(schema.get_field_index(name), arrow.field(name, wanted))
    return schema


def _types_in(fragment: Any, schema: Any, names: Sequence[str], are_all: bool) -> Iterator[tuple[str, Any]]:
    """The columns of a file, which are checked, with their types."""
    own, where = fragment.physical_schema, getattr(fragment, "path", "a part")
    more = [name for name in without_index(own) if name not in schema.names] if are_all else []
    if more:
        raise ValueError(
            f"X must have the same columns in all files, got {more[0]!r:.50} in {where}, which the first file lacks"
        )
    of_folder = import_arrow().dataset.get_partition_keys(fragment.partition_expression)
    for name in names:
        if name in own.names:
            yield name, own.field(name).type
        elif name not in of_folder:
            raise ValueError(f"X must have the same columns in all files, {where} lacks {name!r:.50}")


def without_index(schema: Any, wanted: Collection[str] = ()) -> list[str]:
    """The names of the columns, without those that hold the index of a frame of pandas, unless they are wanted."""
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    return [name for name in schema.names if name in wanted or name not in index]
