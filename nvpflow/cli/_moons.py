"""The command moons, which fits two moons and compares with their exact density."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

import nvpflow
from nvpflow import datasets, plot
from nvpflow._typing import Floats
from nvpflow.cli._arguments import SEED, Commands, epochs, fit_model, integer, real
from nvpflow.cli._plot import write_figure

MOONS_EPILOG = """\
writes to the output directory:
  samples.png    data beside samples of the model
  layers.png     the same points from the base density through every layer to the data
  density.png    the learned log-density beside the exact one
  training.png   training curves and the entropy
  model.npz      the model, for nvpflow.load

examples:
  nvpflow moons
  nvpflow moons --n-samples 5000 --noise 0.05 --output fine_moons
  nvpflow moons --article       # the published flow, trained as published
  nvpflow moons --base mixture  # the default base of nvpflow.FlowDensity
"""


def add_moons(commands: Commands) -> None:
    parser = commands.add_parser(
        "moons",
        help="fit the two moons and draw what was learned",
        description="Fit a normalizing flow to scikit-learn's two moons, compare its negative "
        "log-likelihood (NLL)\non fresh points with the exact entropy, and draw what it learned.\n"
        "Defaults are in parentheses.",
        epilog=MOONS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    count, positive = integer(2), integer(1)
    add("--n-samples", type=count, default=1000, metavar="N", help="training samples (1000)")
    add("--noise", type=real(1e-3), default=0.1, help="standard deviation of the moons' noise (0.1)")
    add("--layers", type=positive, default=8, metavar="N", help="coupling layers (8)")
    add("--hidden", type=positive, metavar="N", help="width of the networks (32; 64 with --article)")
    add(
        "--epochs",
        type=positive,
        metavar="N",
        help="epochs (as many as FlowDensity chooses; 1000 with --article)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--coupling",
        choices=("spline", "affine", "additive"),
        default="spline",
        help="layers: splines as in nvpflow.FlowDensity, affine as in Real NVP, additive as in NICE (spline)",
    )
    kind.add_argument(
        "--article",
        action="store_true",
        help="the published flow, whose scale has no bound, trained on the full batch of unscaled data at a constant rate of "
        "0.001, with no samples held back",
    )
    add(
        "--base",
        choices=("normal", "mixture"),
        default="normal",
        help="density of latent points: one normal distribution, or a mixture (normal)",
    )
    add("--random-state", type=SEED, default=0, metavar="N", help="seed (0)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="precision (float32)")
    add("--output", type=Path, default=Path("moons"), metavar="DIR", help="directory for the files (moons)")
    add("--n-fresh", type=count, default=100_000, metavar="N", help="fresh points (100000)")
    add("--no-plots", action="store_true", help="do not draw; then matplotlib is not needed")
    parser.set_defaults(run=_moons)


def _moons(options: argparse.Namespace) -> None:
    make_moons = _import_make_moons()
    if not options.no_plots:
        _require_matplotlib()
    options.output.mkdir(parents=True, exist_ok=True)
    seed, noise = options.random_state, options.noise
    data = make_moons(options.n_samples, noise=noise, random_state=seed)[0]
    fresh = make_moons(options.n_fresh, noise=noise, random_state=seed + 1)[0]
    entropy = datasets.moons_entropy(noise)

    model = _moons_model(options)
    print(f"{options.n_samples} samples of the two moons, noise {noise:g}; {model}", flush=True)
    seconds = fit_model(model, data)
    print(f"trained in {seconds:.2f} s: {epochs(model)}")
    log_density = model.score_samples(fresh)
    _print_scores(model.score_samples(data), log_density, entropy)

    path = options.output / "model.npz"
    model.save(path)
    again = cast(nvpflow.FlowDensity, nvpflow.load(path)).score_samples(fresh)
    if not np.array_equal(again, log_density, equal_nan=True):
        raise ValueError(f"{path} was loaded again and gives other log-densities than the model")
    print(f"wrote {path}: loaded again, it gives the same log-densities")
    if not options.no_plots:
        _draw(model, data, entropy, options)


def _moons_model(options: argparse.Namespace) -> nvpflow.FlowDensity:
    """The estimator, with its defaults or with the training of the article."""
    shared: dict[str, Any] = {
        "n_layers": options.layers,
        "base": options.base,
        "dtype": options.dtype,
        "random_state": options.random_state,
    }
    if options.article:
        model: nvpflow.FlowDensity = nvpflow.RealNVP.article(**shared)
    else:
        model = nvpflow.FlowDensity(coupling=options.coupling, n_init=2, **shared)
    given = {"max_iter": options.epochs, "hidden_dim": options.hidden}
    return model.set_params(**{name: value for name, value in given.items() if value is not None})


def _print_scores(training: Floats, fresh: Floats, entropy: float) -> None:
    nll = -fresh.astype(np.float64)
    nll = np.sort(np.where(np.isfinite(nll), nll, np.inf))
    held_out, bad, worst = _mean(nll), int(np.isinf(nll).sum()), max(1, len(nll) // 1000)
    if bad:
        remark = f"{bad} of {len(nll)} fresh points have no finite log-density"
    else:
        with np.errstate(over="ignore"):
            error = nll.std() / len(nll) ** 0.5
        remark = f"+- {_number(error)}, {len(nll)} fresh points"
    rows = [
        ("training NLL", _mean(-training.astype(np.float64)), f"{len(training)} samples"),
        ("held-out NLL", held_out, remark),
        ("entropy", entropy, "exact; on average no model can do better on fresh points"),
        ("gap", held_out - entropy, "held-out NLL - entropy"),
    ]
    most = _mean(nll[:-worst])
    if held_out - entropy > 1 and np.isfinite(most):
        rows.insert(2, ("  most points", most, f"without the worst {worst} of them"))
    for name, value, remark in rows:
        print(f"  {name:<13} {_number(value):>10} nats   ({remark})")


def _mean(nll: Floats) -> float:
    """The mean, infinite if a point has no finite log-density."""
    return float(nll.mean()) if np.isfinite(nll).all() else np.inf


def _number(value: float) -> str:
    return f"{value:.4f}" if not np.isfinite(value) or abs(value) < 1e5 else f"{value:.3g}"


def _draw(model: nvpflow.FlowDensity, data: Floats, entropy: float, options: argparse.Namespace) -> None:
    room = 5 * options.noise
    limits = ((-1 - room, 2 + room), (-0.5 - room, 1 + room))
    exact = partial(datasets.moons_log_density, noise=options.noise)
    figures = {
        "samples.png": plot.samples(data, model.sample(len(data))),
        "layers.png": plot.evolution(model),
        "density.png": plot.density(model, exact, limits=limits),
        "training.png": plot.training(model.history_, entropy),
    }
    for name, figure in figures.items():
        write_figure(figure, str(options.output / name))
    print(f"wrote {', '.join(str(options.output / name) for name in figures)}")


def _import_make_moons() -> Callable[..., tuple[Floats, Any]]:
    try:
        from sklearn.datasets import make_moons
    except ImportError as error:
        message = f"the moons need scikit-learn: pip install nvpflow[moons] ({error})"
        raise ImportError(message) from error
    make: Callable[..., tuple[Floats, Any]] = make_moons
    return make


def _require_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        message = f"figures need matplotlib: pip install nvpflow[moons], or --no-plots ({error})"
        raise ImportError(message) from error
