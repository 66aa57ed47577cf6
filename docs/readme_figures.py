"""Draw the figures of the README: `python docs/readme_figures.py`."""

import io
from pathlib import Path

from PIL import Image
from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot

HERE = Path(__file__).parent


def save(figure, name):
    """As a PNG with a palette, which is a quarter of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(128).save(HERE / name, optimize=True)


X, _ = make_moons(1000, noise=0.1, random_state=0)
model = nvpflow.FlowDensity(n_layers=8, base="normal", n_init=2, random_state=0).fit(X)
save(plot.samples(X, model.sample(1000)), "samples.png")
save(plot.evolution(model), "layers.png")
