"""Models of other columns, fitted to each combination of categories, as users do with models that know no categories."""

import functools

import numpy as np

from quality.models import Unsuitable
from quality.models.columns import Fitted
from quality.supports import is_category

ENOUGH = 5  # rows per column; a combination with fewer has the model of all rows
UNSEEN = 0.5  # rows that each combination is counted as having more than it has


def refuse_categories(support):
    """For models that take numbers as ordered."""
    if any(map(is_category, support)):
        raise Unsuitable("this model has no unordered categories")


def per_category(fit):
    """`fit`, a model of samples, supports and a seed, where some columns may be categories."""

    @functools.wraps(fit)
    def fit_each(x, support, seed):
        categories = [d for d, kind in enumerate(support) if is_category(kind)]
        if not categories:
            return fit(x, support, seed)
        others = [d for d in range(len(support)) if d not in categories]
        sizes = [support[d][1] for d in categories]
        codes = np.ravel_multi_index(x[:, categories].astype(int).T, sizes)
        counts = np.bincount(codes, minlength=np.prod(sizes))
        kinds = [support[d] for d in others]
        of_all = fit(x[:, others], kinds, seed)
        models = [
            fit(x[codes == code][:, others], kinds, seed) if count >= ENOUGH * (len(others) + 1) else of_all
            for code, count in enumerate(counts)
        ]
        shares = (counts + UNSEEN) / (counts + UNSEEN).sum()

        def log_prob(points):
            reached = np.ravel_multi_index(points[:, categories].astype(int).T, sizes)
            result = np.log(shares)[reached]
            for code in np.unique(reached):
                result[reached == code] += models[code].log_prob(points[reached == code][:, others])
            return result

        def sample(n, rng):
            drawn = np.empty((n, len(support)))
            drawn_codes = rng.choice(len(shares), n, p=shares)
            drawn[:, categories] = np.stack(np.unravel_index(drawn_codes, sizes), axis=1)
            for code in np.unique(drawn_codes):
                rows = np.flatnonzero(drawn_codes == code)
                drawn[np.ix_(rows, others)] = models[code].sample(len(rows), rng)
            return drawn

        return Fitted(log_prob, sample)

    return fit_each
