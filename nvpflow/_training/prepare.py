"""What training starts from: the checked arguments of `fit`, with categories as indicators in the context."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nvpflow._sklearn.feature_names import feature_names
from nvpflow._training.dataset import Data, check_data, count_given
from nvpflow._typing import ArrayLike, Floats, Ints, Names
from nvpflow._validation.arguments import draw_seeds
from nvpflow.missing._codes import complete_codes
from nvpflow.missing._fill import with_means
from nvpflow.missing._rows import rows_with_values
from nvpflow.missing._table import with_codes
from nvpflow.supports import AnyKind, Category, Declared
from nvpflow.supports._categories import Categories
from nvpflow.supports._coding import Coding
from nvpflow.supports._encoding import ContextEncoding
from nvpflow.supports._frame import Frame
from nvpflow.supports._kinds import REALS
from nvpflow.supports._tables import count_columns, take_apart

if TYPE_CHECKING:
    from nvpflow._fitted import FittedModel
    from nvpflow._training.settings import Settings

__all__ = ["Prepared", "encoding_for", "prepare", "read_table", "without_codes"]

NO_CONTEXT = (
    "column(s) {} of X are categories, whose probabilities given a context are not modelled: fit without a context, or give "
    "these columns as part of the context"
)


class Prepared(NamedTuple):
    """The inputs of training.

    Attributes
    ----------
    data : Data
        The columns of numbers alone. Their context is that of the user, in numbers, and the indicators of categories.
    codes : ndarray of int, shape (n, K), or None
        Of the categories, for the rows of `data`; -1 is missing.
    n_given : int
        The number of samples that `fit` received.
    n_features : int
        The number of columns of X.
    names, context_names : ndarray of str objects or None
        Of the columns of X and of the context.
    declared : Declared or None
        Of the columns of numbers.
    categories : Categories or None
    encoding : ContextEncoding or None
    frame : Frame or None
        What X was, if it was a frame: samples are like it.
    """

    data: Data
    codes: Ints | None
    n_given: int
    n_features: int
    names: Names | None
    context_names: Names | None
    declared: Declared | None
    categories: Categories | None
    encoding: ContextEncoding | None
    frame: Frame | None = None

    @property
    def blocks(self) -> tuple[int, ...]:
        """The sizes of the blocks of indicators that are the last columns of the context."""
        parts = (self.encoding, self.categories)
        return tuple(block for part in parts if part is not None for block in part.blocks)

    @property
    def number_names(self) -> Names | None:
        """Names of the columns of numbers, or numbers where they have none."""
        return self.names if self.categories is None or self.declared is None else self.declared.names

    @property
    def has_missing(self) -> bool:
        """Whether cells are missing."""
        return bool(np.isnan(self.data.x).any() or (self.codes is not None and (self.codes < 0).any()))

    def continues(self, before: FittedModel) -> bool:
        """Whether a flow reads these categories as it did those of the fit before."""
        pairs = (self.categories, before._known_categories()), (self.encoding, before._known_encoding())
        return all(known is None or (new is not None and new.indicators is known.indicators) for new, known in pairs)

    def rows(self) -> Floats:
        """The numbers and the codes of categories, NaN where a cell is missing."""
        return self.data.x if self.codes is None else with_codes(self.data.x, self.codes)

    def log_prob(self) -> Floats | float:
        """Log-probability of the categories of each row, in nats. 0 without any."""
        return 0.0 if self.categories is None or self.codes is None else self.categories.log_prob(self.codes)

    def fitted_attributes(self) -> dict[str, Any]:
        """What the model keeps of this."""
        found: dict[str, Any] = {"n_samples_seen_": self.n_given}
        if self.frame is not None:
            found["_frame"] = self.frame
        found |= {} if self.categories is None else {"_categories": self.categories}
        return found | ({} if self.encoding is None else {"_encoding": self.encoding})


def prepare(
    settings: Settings,
    X: ArrayLike,
    context: ArrayLike | None,
    sample_weight: ArrayLike | None,
    fit: Callable[[Settings, Prepared], FittedModel],
    before: FittedModel | None = None,
    groups: ArrayLike | None = None,
) -> Prepared:
    """Check the arguments of `fit`. The categories of `before`, the fitted model to continue, are kept.

    `fit` fits a new model: one draws missing categories.
    """
    names, context_names = feature_names(X), feature_names(context)
    declared = Declared.of(settings.support, names, X)
    encoding = encoding_for(settings, context, context_names, before)
    missing = settings.missing == "marginalize"
    numbers, codes, coding = read_table(X, declared, before, missing)
    if coding is not None and declared is not None:
        if context is not None:
            raise ValueError(NO_CONTEXT.format(", ".join(coding.labels[:10])))
        declared = declared.of_numbers(coding.n_columns)
    rows = context if encoding is None else encoding.read(context, settings.dtype)
    if missing:
        numbers, codes, (rows, sample_weight, groups) = rows_with_values(
            numbers, settings.dtype, codes, context=rows, sample_weight=sample_weight, groups=groups
        )
    data = check_data(numbers, rows, sample_weight, settings.dtype, 2, declared, codes, missing, groups)
    n_given = count_given(data, sample_weight)
    n_features = data.x.shape[1] if coding is None else coding.n_columns
    prepared = Prepared(data, None, n_given, n_features, names, context_names, declared, None, encoding, Frame.of(X))
    if coding is None:
        return prepared
    data, codes = without_codes(data, len(coding.columns))
    prepared = prepared._replace(data=data, codes=codes)
    known = None if before is None else before._known_categories()
    return _with_categories(settings, prepared, coding, codes, known, fit)


def _with_categories(
    settings: Settings,
    prepared: Prepared,
    coding: Coding,
    codes: Ints,
    known: Categories | None,
    fit: Callable[[Settings, Prepared], FittedModel],
) -> Prepared:
    """Fit the probabilities of categories, and let the context be what a flow reads of them."""
    if (codes < 0).any():
        (seed,) = draw_seeds(settings.random_state, 4 + 2 * settings.n_models)[-1:]
        codes = complete_codes(settings, prepared, coding, codes, seed, fit)
    data = prepared.data
    categories, read = Categories.fit(coding, codes, with_means(data.x), data.weight, settings.dtype, known)
    return prepared._replace(data=data._replace(context=read), categories=categories)


def read_table(
    X: ArrayLike, declared: Declared | None, before: FittedModel | None, missing: bool = False
) -> tuple[Any, Ints | None, Coding | None]:
    """The columns of numbers of X, not checked, and the codes of categories with their coding, if there are any.

    `missing`: cells may be missing, and their codes are -1.
    """
    known = None if before is None else before._known_categories()
    if known is None and (declared is None or not declared.may_have_categories):
        return X, None, None
    n_columns = count_columns("X", X)
    kinds = (REALS,) * n_columns if declared is None else declared.of_all(n_columns)
    columns = tuple(i for i, kind in enumerate(kinds) if isinstance(kind, Category))
    if before is not None:
        _check_same_columns(() if known is None else known.coding.columns, kinds, declared)
    if known is not None:
        return *known.read(X, missing), known.coding
    if not columns or declared is None:
        return X, None, None
    parts = take_apart("X", X, columns)
    coding = Coding.of("X", parts, kinds, [declared.label(i) for i in range(n_columns)])
    return parts.numbers, coding.codes("X", parts, missing), coding


def _check_same_columns(before: tuple[int, ...], kinds: tuple[AnyKind, ...], declared: Declared | None) -> None:
    """Raise a ValueError that names the first column that is a category now and was none, or the other way round.

    A column of which nothing is declared may be either: an array does not tell, and a frame does.
    """
    for column, kind in enumerate(kinds):
        is_category = isinstance(kind, Category)
        if is_category != (column in before) and kind != REALS:
            label = str(column) if declared is None else declared.label(column)
            what = "is a category now, and was none" if is_category else f"is in {kind} now, and was a category"
            raise ValueError(
                f"a fitted model that is trained further needs the support of its fit: column {label} of X {what}"
            )


def encoding_for(
    settings: Settings, context: Any, names: Names | None, before: FittedModel | None = None
) -> ContextEncoding | None:
    """The encoding of a context with categories or angles; None where it is read as it is."""
    if context is None:
        if settings.context_support is not None:
            raise ValueError("context_support must be None without a context")
        return None
    declared = Declared.of(settings.context_support, names, context, ("context", "context_support"))
    known = None if before is None else before._known_encoding()
    if known is not None:
        return known.grown(context)
    if declared is None:
        return None
    n_columns = count_columns("context", context)
    kinds = declared.of_all(n_columns)
    if not any(isinstance(kind, Category) or kind.turn for kind in kinds):
        return None
    return ContextEncoding.fit(declared, context, n_columns)


def without_codes(data: Data, n_codes: int) -> tuple[Data, Ints]:
    """Take the codes of categories out of the context, where `check_data` has put them."""
    assert data.context is not None
    context, codes = data.context[:, :-n_codes], data.context[:, -n_codes:].astype(np.intp)
    return data._replace(context=context if context.shape[1] else None), codes
