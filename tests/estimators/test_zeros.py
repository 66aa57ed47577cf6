"""What `fit` advises for a column of which one value is frequent: a category beside it, and empty cells."""

import numpy as np
import pytest

import nvpflow
from support.command_line import main

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=20, random_state=0)
MARGINALIZE = dict(support={"rain": "positive"}, missing="marginalize", **QUICK)


def table(library, n=1000):
    rng = np.random.default_rng(0)
    t = rng.normal(size=n)
    wet = rng.random(n) < 1 / (1 + np.exp(-t))
    return library.DataFrame({"t": t, "rain": np.where(wet, rng.lognormal(t, 0.5), 0.0)})


def apart(rows):
    if hasattr(rows, "assign"):
        return rows.assign(wet=rows["rain"] > 0, rain=rows["rain"].where(rows["rain"] > 0))
    import polars

    wet = polars.col("rain") > 0
    return rows.with_columns(polars.when(wet).then(polars.col("rain")).alias("rain"), wet.alias("wet"))


def log_density(rows):
    """The exact one: of t, times the probability of no rain or that of rain and its density."""
    t, rain = (np.asarray(rows[name], float) for name in ("t", "rain"))
    wet, log_rain = rain > 0, np.log(np.where(rain > 0, rain, 1))
    of_rain = (log_rain - t) ** 2 / 0.5 + np.log(2 * np.pi * 0.25) / 2 + log_rain
    return -(t**2 + np.log(2 * np.pi)) / 2 - np.log1p(np.exp(np.where(wet, -t, t))) - np.where(wet, of_rain, 0)


@pytest.fixture(params=["pandas", "polars"])
def rows(request):
    return table(pytest.importorskip(request.param))


def test_fit_says_what_to_do(rows):
    advice = "leave its cells empty .NaN., add a column of a category that says which these are, and fit with missing="
    with pytest.warns(UserWarning, match=f"'rain' of X equal a bound in 5.%.*To give the value a probability, {advice}"):
        nvpflow.FlowDensity(support={"rain": "positive"}, **QUICK).fit(rows)
    half = np.where(np.arange(1000) % 2, np.random.default_rng(0).normal(size=1000), 0)
    with pytest.warns(UserWarning, match=f"0 of X repeat few values.*single value that stands out.*{advice}"):
        nvpflow.FlowDensity(**QUICK).fit(half[:, None])


def test_the_density_is_near_the_exact_one(rows):
    fitted = nvpflow.FlowDensity(**MARGINALIZE).fit(apart(rows))
    score, error = fitted.score_samples(apart(rows), return_error=True)
    assert abs(np.mean(score - log_density(rows))) < 0.05 and (error == 0).all()
    samples = fitted.sample(4000)
    assert np.mean(np.asarray(samples["wet"])) == pytest.approx(np.mean(np.asarray(rows["rain"]) > 0), abs=0.04)
    assert np.asarray(samples["rain"]).min() > 0 and list(samples.columns) == ["t", "rain", "wet"]


def test_the_mass_is_one():
    """The sum of both: of a density of t, and of one of t and rain."""
    pandas = pytest.importorskip("pandas")
    fitted = nvpflow.FlowDensity(**MARGINALIZE).fit(apart(table(pandas)))
    t, log_rain = np.linspace(-6, 6, 121), np.linspace(-9, 7, 161)
    dry = pandas.DataFrame({"t": t, "rain": np.nan, "wet": False})
    mass = np.exp(fitted.score_samples(dry)).sum() * (t[1] - t[0])
    both = np.stack(np.meshgrid(t, log_rain), axis=-1).reshape(-1, 2)
    wet = pandas.DataFrame({"t": both[:, 0], "rain": np.exp(both[:, 1]), "wet": True})
    cell = (t[1] - t[0]) * (log_rain[1] - log_rain[0])
    mass += np.exp(fitted.score_samples(wet) + both[:, 1]).sum() * cell
    assert mass == pytest.approx(1, abs=2e-3)


def test_on_the_command_line(tmp_path, capsys):
    rows = apart(table(pytest.importorskip("pandas"), 300))
    rows.to_csv(tmp_path / "rain.csv", index=False)
    options = ["--positive", "rain", "--category", "wet", "--missing", "marginalize", "--max-iter", "3", "-q"]
    assert main("fit", tmp_path / "rain.csv", "-o", tmp_path / "model.npz", "--random-state", "0", *options) == 0
    assert main("score", tmp_path / "model.npz", tmp_path / "rain.csv", "--mean") == 0
    assert np.isfinite(float(capsys.readouterr().out))
    assert main("sample", tmp_path / "model.npz", "-n", "200") == 0
    wet = [line.split(",")[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert set(wet) == {"True", "False"}
