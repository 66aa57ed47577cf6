"""Stacked mixtures: an average of many mixtures whose weights maximise the likelihood of held-out samples.

Smyth and Wolpert (1999), "Linearly combining density estimators via stacking", for the weights; Breiman (1996), "Bagging
predictors", for the average over the parts of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nvpflow import _core
from nvpflow._training.broad import SHARE_OF_FLOOR
from nvpflow._training.copies import copies_of, shuffled_groups
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.mixture_candidates import (
    BROAD,
    FLOOR,
    KERNELS,
    LATER_STEPS,
    MOST_ROWS,
    NORMAL,
    Candidates,
    components_of,
    floor_of,
)
from nvpflow._training.statistics import average, mean_and_error, places_of_rows
from nvpflow._training.tails import Tails
from nvpflow._typing import Floats, Search
from nvpflow.mixture_base import MixtureBase, concatenated

__all__ = [
    "LARGEST_LOSS",
    "Stack",
    "all_samples",
    "count_parts",
    "fit_growing",
    "log_average",
    "mean_gain",
    "parts_in_turn",
    "share_of_distinct",
    "shares_of",
    "stack_mixtures",
    "stack_of",
]

# Parts of the samples: a small sample needs more of them, in a large one not all are held out in turn.
FEW_ROWS, MANY_PARTS, FEW_PARTS, MOST_ROWS_IN_TURN = 500, 10, 5, 20_000
WIDE = 100  # columns from which few parts are enough, as each takes long
WIDE_WITH_CONTEXT, FEWEST_PARTS = 8, 3  # likewise of mixtures of context and samples
# Of a mixture in the stack: less gained nothing, and cost time in every density. The broad normals need the share of half a
# sample.
LEAST_SHARE, LEAST_SAMPLES, MOST_LOSS_OF_SMALL = 0.05, 0.5, 0.001
# Gains of the weakest prior over the one before, in nats, from which a weaker one competes: in samples whose values repeat,
# and in others. Smooth densities gain less, and take no more time. With 0 for values that repeat, log-normal columns rounded
# to 0.01 lost up to 0.08 nats; with 0.01, those rounded to 0.1 gained up to 4 nats less.
LEAST_OF_REPEATED, LEAST_OF_PRIOR = 0.003, 0.02
TO_FIT_LONGER = 2  # mixtures, those with the largest shares
LARGEST_LOSS = 10.0  # that counts where candidates are compared: one sample far out does not outweigh all others
LOWEST = -1e300  # log-density of a sample without one, so that differences are not NaN
# Steps for the shares, and how far each goes along that of expectation-maximisation, in logarithms. Close to the maximum they
# converge for any number below 2: on seven densities, 150 of these came within 1e-4 nats of what 300 ordinary ones reach.
STEPS, OVERSHOOT = 150, 1.9
# After so many of them, and again, candidates are left out whose shares are negligible and fall: they would not come back.
STEPS_TO_DROP, NEGLIGIBLE, NEGLIGIBLE_SAMPLES = 10, 1e-4, 0.1
DRAWS = 2000  # for the gain of an average


@dataclass
class Stack:
    """An average of mixtures.

    Attributes
    ----------
    fit_base : callable
        Return the average in the units of the samples. It may take further steps, which need not be taken where layers win.
    held_out : ndarray, shape (m,)
        Log-density of the validation samples by mixtures that have not seen them, in nats.
    gain : float
        How much higher the log-density of the average is, in nats.
    search : dict
        As `FlowDensity.search_`, without the flow, less `log_slopes`.
    in_turn : ndarray, shape (h,)
        Log-density of all samples by which mixtures were judged, part by part, by the average of those that had not seen them.
    weight : ndarray, shape (h,), or None
        Of these samples.
    lean : MixtureBase
        The best single mixture, fitted to all samples but the validation samples.
    """

    fit_base: Callable[[], MixtureBase]
    held_out: Floats
    gain: float
    search: Search
    in_turn: Floats
    weight: Floats | None
    lean: MixtureBase

    @cached_property
    def base(self) -> MixtureBase:
        """The average, in the units of the samples."""
        return self.fit_base()


def stack_mixtures(
    training: Data,
    validation: Data,
    seed: int,
    log_slopes: Floats,
    n_context: int = 0,
    among: Collection[str] | None = None,
    deviations: Floats | None = None,
    tails: Tails | None = None,
) -> Stack:
    """Fit mixtures to all samples but one part, for one part after another. Weight them by the likelihood of these parts.

    If one normal distribution is as good, within a standard error, it is fitted to all samples.

    Parameters
    ----------
    training, validation : Data
        The validation samples are the first part that is held out. Their context is not read.
    seed : int
    log_slopes : ndarray, shape (n + m,)
        Of the training and the validation samples: what to subtract from log-densities in `search`, in nats, for those
        in other units.
    n_context : int
        The number of real columns of a context, by which to choose the parts: a stack that reads it has the same.
    among : collection of str, optional
        The mixtures of several components that compete, unless more components are clearly better. Default: all.
    deviations : ndarray, shape (D,), optional
        Of the columns in the units of the user, if these are straight maps of the samples.
    tails : Tails, optional
        How wide components may be.

    Returns
    -------
    Stack
    """
    data = all_samples(training, validation)
    units = ColumnUnits(data.x, data.weight)
    distinct = share_of_distinct(data.x)
    data = data._replace(x=units.standardize(data.x, in_place=True), context=None)

    def candidates(mask: npt.NDArray[np.bool_], seeds: list[int]) -> Candidates:
        part = Candidates(data, units, mask, distinct, seeds)
        part.among = among
        part.tails = tails and tails.in_units_of(units.deviation)
        part.scales = None if deviations is None else deviations / deviations.max() * units.deviation
        return part

    masks = parts_in_turn(training, len(validation.x), count_parts(data, n_context), seed)
    return stack_of(candidates, masks, data, validation._replace(context=None), seed, log_slopes, units.log_det)


def all_samples(training: Data, validation: Data) -> Data:
    """Those of training, and then those of validation: of many, mixtures are fitted to the former alone."""
    return training.and_those(validation, apart=len(training.x) + len(validation.x) > MOST_ROWS)


def count_parts(data: Data, n_context: int = 0) -> int:
    """The number of parts of the samples, which may have real columns of a context."""
    if n_context and n_context + data.x.shape[1] >= WIDE_WITH_CONTEXT:
        return FEWEST_PARTS
    return MANY_PARTS if len(data.x) <= FEW_ROWS and data.x.shape[1] < WIDE else FEW_PARTS


def share_of_distinct(x: Floats) -> float:
    """The share of rows that differ from all others."""
    some = x[:MOST_ROWS]
    return places_of_rows(some)[1] / len(some)


def stack_of(
    candidates: Callable[[npt.NDArray[np.bool_], list[int]], Candidates],
    masks: list[npt.NDArray[np.bool_]],
    data: Data,
    validation: Data,
    seed: int,
    log_slopes: Floats,
    log_det: float,
) -> Stack:
    """As `stack_mixtures`, of candidates that are fitted to all samples but those of a mask, with these seeds.

    Parameters
    ----------
    candidates : callable
    masks : list of ndarray of bool, shape (n + m,)
        Of the samples that are held out, the first one of the validation samples.
    data, validation : Data
        All samples, and the last of them, of which candidates read what they need of a context.
    seed, log_slopes
        As of `stack_mixtures`.
    log_det : float
        What to subtract from log-densities of standardised samples.
    """
    parts = [candidates(mask, [seed, i]) for i, mask in enumerate(masks)]
    judged = [part.judged for part in parts]
    weight = _weight_of_judged(data, validation, judged)
    log_probs = fit_growing(parts, weight)
    if all(part.wants_more_steps for part in parts):
        _fit_longer(parts, log_probs, weight)
    shares = _choose(log_probs, weight)
    floor, is_normal = floor_of(log_probs), all(name.startswith(NORMAL) for name in shares)
    if parts[0].guards_tails and floor not in shares and (not is_normal or floor == FLOOR):
        shares = {name: (1 - SHARE_OF_FLOOR) * share for name, share in shares.items()} | {floor: SHARE_OF_FLOOR}
    of_all = parts
    if is_normal:
        of_all = [candidates(np.zeros(len(data.x), bool), [seed])]
        of_all[0].fit_simple()
        of_all[0].fit_to_all(shares)
    for part in parts:
        part.fit_to_all(shares)
    held_out = parts[0].average(shares).log_prob(*validation[:2]).astype(np.float64)
    single = _best_single(log_probs, weight)
    lean = parts[0].average({single: 1.0})
    bases = [part.average(shares) for part in of_all]
    base = concatenated(bases)
    if any(name.startswith(KERNELS) for name in shares):
        base = _merged(base)
    slopes = np.concatenate([log_slopes[rows] for rows in judged])
    gain = _gain_of_average(base, bases, seed)
    in_all = ~np.any(masks, axis=0)  # if there are few parts: other samples are in one mixture less
    may_go_on = in_all.any() and of_all[0].may_see_every

    def fit_to_every() -> MixtureBase:
        for part in of_all:
            part.fit_to_every(shares)
        return concatenated([part.average(shares) for part in of_all])

    search = _search(log_probs, shares, weight, slopes, len(judged[0]), log_det)
    in_turn = log_average(log_probs, shares) - log_det
    return Stack(fit_to_every if may_go_on else lambda: base, held_out, gain, search, in_turn, weight, lean)


def _weight_of_judged(data: Data, validation: Data, judged: list[npt.NDArray[np.intp]]) -> Floats | None:
    """Weights of the samples that mixtures are judged on, part by part: those of the validation samples stand for all."""
    weight = data.weight
    if validation.for_all is not None:
        weight = np.ones(len(data.x)) if weight is None else weight.copy()
        weight[-len(validation.x) :] = validation.for_all
    return None if weight is None else np.concatenate([weight[rows] for rows in judged])


def parts_in_turn(training: Data, n_validation: int, n_parts: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Masks of the rows that are held out, one after the other, with copies together. The first are the validation rows, which
    come last."""
    rng, row, n_training = np.random.default_rng(seed), copies_of(training), len(training.x)
    part = rng.permutation(n_training) if row is None else shuffled_groups(row, rng)
    part %= min(n_parts - 1, part.max() + 1)
    part += 1
    part = np.append(part, np.zeros(n_validation, int))
    in_turn = max(1, min(part.max() + 1, MOST_ROWS_IN_TURN // len(part)))
    return [part == i for i in range(in_turn)]


def fit_growing(parts: list[Candidates], weight: Floats | None) -> dict[str, Floats]:
    """Fit mixtures of growing numbers of components to all parts, until they improve no more.

    Return log-densities of what was held out, by candidate.
    """
    log_probs: dict[str, Floats] = {}

    def highest(names: list[list[str]]) -> tuple[float, str]:
        """The highest score of the candidates that all parts have, and which has it."""
        new = [name for name in [floor, *names[0]] if all(name in part.log_probs for part in parts)]
        log_probs.update({name: _of_all(parts, name) for name in new})
        return max((_score(log_probs, name, weight), name) for name in new)

    are_slow = all(part.wants_more_steps for part in parts)
    simple = [part.fit_simple() for part in parts]
    floor = floor_of(simple[0])
    best, normal = highest(simple)
    for part in parts:
        part.take_structure(normal)
    since, among = 0, parts[0].among
    known = among
    most = max((components_of(name) for name in among or ()), default=0)
    numbers = _first_grid(parts, most)
    for k in numbers:  # which may become more
        if among is not None and k > most:
            if not _is_clearly_better(parts[0], k):
                break
            among = None  # the samples have changed
            for part in parts:
                part.among = None
        score, name = highest([list(part.fit(k)) for part in parts])
        if are_slow and parts[0].is_mixture(name):
            score = max(score, highest([[part.fit_longer(name, LATER_STEPS[0])] for part in parts])[0])
        best, since = (score, 0) if score > best else (best, since + 1)
        if since >= parts[0].patience and among is None:
            break
        if since == 0 and _wants_weaker(parts[0], name, log_probs, weight):
            for part in parts:
                part.add_prior()
        if since == 0 and k == numbers[-1]:
            numbers += [more for more in parts[0].more_components if more > k][:1]
            for part in parts:
                part.keep_way_of(name)
    _merge(parts, log_probs, weight)
    highest([part.fit_nested(known) for part in parts])
    highest([part.fit_by_categories(known) for part in parts])
    highest([part.fit_kernels() for part in parts])
    return log_probs


def _of_all(parts: list[Candidates], name: str) -> Floats:
    """Log-densities of what was held out, part by part, by a candidate. Of a single part nothing is copied."""
    of_each = [part.log_probs[name] for part in parts]
    return of_each[0] if len(of_each) == 1 else np.concatenate(of_each)


def _merge(parts: list[Candidates], log_probs: dict[str, Floats], weight: Floats | None) -> None:
    """Merge components of the best mixture, pair after pair, as long as held-out samples gain. Add what that leads to."""
    best = max(log_probs, key=lambda name: _score(log_probs, name, weight))
    while all(part.can_merge(best) for part in parts):
        (name,) = {part.fit_merged(best) for part in parts}
        log_probs[name] = _of_all(parts, name)
        if not _score(log_probs, name, weight) > _score(log_probs, best, weight):
            break
        best = name


def _fit_longer(parts: list[Candidates], log_probs: dict[str, Floats], weight: Floats | None) -> None:
    """Take more steps of the mixtures with the largest shares, as long as held-out samples gain. Add what they lead to."""
    shares = shares_of(log_probs, weight)
    mixtures = [name for name in sorted(shares, key=lambda name: -shares[name]) if parts[0].is_mixture(name)]
    for name in mixtures[:TO_FIT_LONGER]:
        for n_steps in LATER_STEPS[parts[0].has_more_steps(name) :]:
            (longer,) = {part.fit_longer(name, n_steps) for part in parts}
            log_probs[longer] = _of_all(parts, longer)
            mean, error = mean_gain(log_probs[longer] - log_probs[name], weight)
            name = longer
            if not mean > max(error, LEAST_OF_REPEATED):
                break


def _first_grid(parts: list[Candidates], most: int) -> list[int]:
    """The numbers of components to try first, with `most` among them. Also set the first priors, the same for all parts."""
    among = parts[0].among or ()
    are_repeated = any(part.samples.prior.any_repeated for part in parts)
    n_more = max(int(are_repeated), *(parts[0].count_weaker(name) for name in among), 0)
    for part in parts:
        for _ in range(n_more):
            part.add_prior()
    return [*parts[0].components[1:], *(k for k in parts[0].more_components if k <= most)]


def _wants_weaker(part: Candidates, name: str, log_probs: dict[str, Floats], weight: Floats | None) -> bool:
    """Whether the best mixture has the weakest prior, and is clearly better than with the one before."""
    if not part.weaker_priors or not part.has_weakest_prior(name) or part.stronger(name) not in log_probs:
        return False
    gain = log_probs[name] - log_probs[part.stronger(name)]
    mean, error = mean_gain(gain, weight)
    return mean > max(error, LEAST_OF_REPEATED if part.samples.prior.any_repeated else LEAST_OF_PRIOR)


def _is_clearly_better(part: Candidates, k: int) -> bool:
    """Whether mixtures of k components are better than those so far, by a standard error."""
    floor, weight = part.log_probs[floor_of(part.log_probs)] - LARGEST_LOSS, part.held_out.weight
    values = {name: np.maximum(value, floor) for name, value in part.log_probs.items()}
    best = values[max(values, key=lambda name: average(values[name], weight))]
    part.among = None
    gains = [mean_and_error(np.maximum(part.log_probs[name], floor) - best, weight) for name in part.fit(k)]
    return any(mean > error for mean, error in gains)


def _score(log_probs: dict[str, Floats], name: str, weight: Floats | None) -> float:
    """Mean log-density of a candidate, where samples far out count as in a stack with the broad normals."""
    return average(np.maximum(log_probs[name], log_probs[floor_of(log_probs)] - LARGEST_LOSS), weight)


def _choose(log_probs: dict[str, Floats], weight: Floats | None) -> dict[str, float]:
    """The mixtures of the stack and their shares; a normal distribution alone if it is as good within a standard error."""
    shares = shares_of({name: values for name, values in log_probs.items() if name not in (BROAD, FLOOR)}, weight)
    normal = max((name for name in log_probs if name.startswith(NORMAL)), key=lambda name: average(log_probs[name], weight))

    def is_normal_enough(shares: dict[str, float]) -> bool:
        mean, error = mean_gain(log_average(log_probs, shares) - log_probs[normal], weight)
        return not mean > error

    if is_normal_enough(shares):
        return {normal: 1.0}
    kept = _without_small(shares, log_probs, weight)
    return {normal: 1.0} if is_normal_enough(kept) else kept


def _without_small(shares: dict[str, float], log_probs: dict[str, Floats], weight: Floats | None) -> dict[str, float]:
    """Leave out mixtures with small shares, all at once or, if that costs more than a little, the smaller half at a time.

    Many mixtures that are nearly as good have small shares each. Without all of them at once, one that was worse was left;
    otherwise the others take these shares.
    """
    of_broad = LEAST_SAMPLES / len(log_probs[BROAD])
    least, whole = min(LEAST_SHARE, max(shares.values())), average(log_average(log_probs, shares), weight)

    def left_with(names: Collection[str]) -> dict[str, float]:
        found = shares_of({name: log_probs[name] for name in shares if name in names}, weight)
        return {name: share for name, share in found.items() if share > 0}

    def is_small(name: str) -> bool:
        return shares[name] < (of_broad if name.startswith(BROAD) else least)

    kept = left_with([name for name in shares if not is_small(name)])
    if average(log_average(log_probs, kept), weight) > whole - MOST_LOSS_OF_SMALL:
        return kept
    while small := sorted((name for name in shares if is_small(name)), key=lambda name: shares[name]):
        left_out = small[: -(-len(small) // 2)]
        shares = left_with([name for name in shares if name not in left_out])
        least = min(LEAST_SHARE, max(shares.values()))
    return shares


def shares_of(log_probs: dict[str, Floats], weight: Floats | None) -> dict[str, float]:
    """Shares that maximise the likelihood of an average of densities, by expectation-maximisation with longer steps.

    Source: Helmbold, Schapire, Singer and Warmuth (1997), "A comparison of new and old algorithms for a mixture estimation
    problem".
    """
    values = np.array(list(log_probs.values()))
    best = values.max(axis=0)
    has_density = np.isfinite(best)
    density = np.exp(values[:, has_density] - best[has_density], order="C")
    share = np.ones(density.shape[1]) if weight is None else weight[has_density]
    share, shares = share / share.sum(), np.empty(len(values))
    negligible = min(NEGLIGIBLE, NEGLIGIBLE_SAMPLES / len(share))
    _core.find_shares(density, share, STEPS, STEPS_TO_DROP, OVERSHOOT, negligible, shares)
    return dict(zip(log_probs, shares.tolist()))


def mean_gain(gain: Floats, weight: Floats | None) -> tuple[float, float]:
    """Mean of gains (n,) in log-density, of which one counts for at most LARGEST_LOSS, and its standard error."""
    return mean_and_error(np.clip(gain, -LARGEST_LOSS, LARGEST_LOSS), weight)


def log_average(log_probs: dict[str, Floats], shares: dict[str, float]) -> Floats:
    """Log-density of the average, (n,)."""
    kept = [name for name, share in shares.items() if share > 0]
    values = np.array([log_probs[name] for name in kept])
    best = np.maximum(values.max(axis=0), LOWEST)
    with np.errstate(divide="ignore"):
        log_average: Floats = best + np.log(np.array([shares[name] for name in kept]) @ np.exp(values - best))
    return log_average


def _merged(base: MixtureBase) -> MixtureBase:
    """The same density, in which components that are equal are one: the parts have kernels at the same samples."""
    rows = np.hstack([base.means, base.factors])
    _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    logits = np.full(len(first), -np.inf)
    np.logaddexp.at(logits, kind.ravel(), base.logits.astype(np.float64))
    kept = np.argsort(first)  # in their order
    merged = MixtureBase._from_config({**base.config(), "n_components": len(kept)}, base.dtype)
    merged.logits[:], merged.means[:], merged.factors[:] = logits[kept], base.means[first[kept]], base.factors[first[kept]]
    return merged


def _gain_of_average(base: MixtureBase, bases: list[MixtureBase], seed: int) -> float:
    """How much higher the log-density of the average is than the mean log-density of its parts, where the average is right.

    Zero if they read a context: there it came out at 0.38 where it was 0.13 (concrete), as the parts differ most where none is
    right, and averages replaced flows that were 0.2 nats better.
    """
    if len(bases) == 1 or base.context_dim:
        return 0.0
    x = base.sample(DRAWS, seed)
    log_probs: dict[str, Floats] = {str(i): one.log_prob(x).astype(np.float64) for i, one in enumerate(bases)}
    of_average = log_average(log_probs, dict.fromkeys(log_probs, 1 / len(bases)))
    return float(np.mean(of_average) - np.mean(list(log_probs.values())))


def _best_single(log_probs: dict[str, Floats], weight: Floats | None) -> str:
    """The best candidate, without the broad normals."""
    return max((name for name in log_probs if not name.startswith(BROAD)), key=lambda name: _score(log_probs, name, weight))


def _search(
    log_probs: dict[str, Floats],
    shares: dict[str, float],
    weight: Floats | None,
    slopes: Floats,
    n_validation: int,
    log_det: float,
) -> Search:
    log_probs = {name: values - slopes for name, values in log_probs.items()}
    scores = [average(values, weight) for values in log_probs.values()]
    first = None if weight is None else weight[:n_validation]
    of_validation = [average(values[:n_validation], first) for values in log_probs.values()]
    return {
        "candidate": np.array(list(log_probs)),
        "score": np.array(scores) - log_det,
        "validation_score": np.array(of_validation) - log_det,
        "weight": np.array([shares.get(name, 0.0) for name in log_probs]),
    }
