"""The record of the densities that competed in a fit: `FlowDensity.search_`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._training.mixture_candidates import components_of, origin_of
from nvpflow._typing import Search

__all__ = ["alone", "joined", "mixtures_of", "with_average", "with_candidate"]


def with_candidate(search: Search, name: str, score: float, is_kept: bool) -> Search:
    """A search with one more candidate, which was judged on the validation samples alone and is the model or no part of it."""
    return {
        "candidate": np.append(search["candidate"], name),
        "score": np.append(search["score"], score),
        "validation_score": np.append(search["validation_score"], score),
        "weight": np.append(search["weight"] * (not is_kept), float(is_kept)),
    }


def alone(name: str, score: float) -> Search:
    """The search of a density without rivals."""
    return {
        "candidate": np.array([name]),
        "score": np.array([score]),
        "validation_score": np.array([score]),
        "weight": np.ones(1),
    }


def with_average(search: Search, other: Search, words: str, is_kept: bool) -> Search:
    """A search with the candidates of another average, whose names end with these words, and which is the model or no part of
    it."""
    names = np.array([f"{name}{words}" for name in other["candidate"]])
    return {
        "candidate": np.append(search["candidate"], names),
        "score": np.append(search["score"], other["score"]),
        "validation_score": np.append(search["validation_score"], other["validation_score"]),
        "weight": np.append(search["weight"] * (not is_kept), other["weight"] * is_kept),
    }


def mixtures_of(search: Search | None, n_components: int) -> set[str] | None:
    """The mixtures that have a share in a fitted density.

    None if there are none, or if all have fewer components than n_components, which new samples need at least: it is unknown
    which are good.
    """
    if search is None:
        return None
    shares = zip(search["candidate"], search["weight"])
    names = {origin_of(str(name).split(": ")[-1]) for name, share in shares if share > 0}
    names = {name for name in names if name.startswith("mixture of") and "context" not in name}
    return names if max(map(components_of, names), default=0) >= n_components else None


def joined(searches: Sequence[Search]) -> Search:
    """The candidates of an ensemble's members, with their shares in the ensemble."""
    names = [np.array([f"member {k}: {name}" for name in search["candidate"]]) for k, search in enumerate(searches)]
    return {
        "candidate": np.concatenate(names),
        "score": np.concatenate([search["score"] for search in searches]),
        "validation_score": np.concatenate([search["validation_score"] for search in searches]),
        "weight": np.concatenate([search["weight"] for search in searches]) / len(searches),
    }
