"""Real tables of scikit-learn, in their own units, split at random into training samples and held-out ones."""

from sklearn.datasets import load_breast_cancer, load_digits, load_wine

# Samples, columns: digits 1797 x 64, wine 178 x 13, breast cancer 569 x 30.
TABLES = {"digits": load_digits, "wine": load_wine, "breast-cancer": load_breast_cancer}
HELD_OUT = 0.2


def split(name, rng):
    """Training and held-out samples of the table, by a numpy Generator.

    The digits' pixels are integers from 0 to 16; uniform noise gives them a density, (pixel + U(0, 1)) / 17, on [0, 1).
    """
    x = TABLES[name]().data
    if name == "digits":
        x = (x + rng.random(x.shape)) / 17
    x = rng.permutation(x)
    n_held_out = round(HELD_OUT * len(x))
    return x[n_held_out:], x[:n_held_out]
