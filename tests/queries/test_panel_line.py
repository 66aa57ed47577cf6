"""Quadrature on panels: what is computed, what is found between the nodes, and closed forms."""

import numpy as np
import pytest
from scipy.stats import laplace, norm

from nvpflow.queries import _panel_line
from nvpflow.queries._panel_line import N_NODES, integrate

EDGES = np.array([[-40.0, -3.0, 0.5, 2.0, 40.0]] * 2)
SCALES = np.array([1.0, 0.3])


def log_laplace(rows, u):
    return laplace.logpdf(u, scale=SCALES[rows])


def zigzag(rows, u):
    """A density on [0, 1] whose kinks are at the nodes of a panel of this width, and in their middle."""
    return np.log(0.5 + 2 * np.abs(4 * u % 1 - 0.5))


def test_nodes_of_a_panel_are_those_of_its_halves():
    points = []
    line = integrate(lambda rows, u: points.append(np.stack([rows, u])) or log_laplace(rows, u), EDGES)
    found = np.concatenate(points, axis=1)
    assert np.unique(found, axis=1).shape == found.shape
    assert found.shape[1] == (N_NODES - 1) * len(line.row) + len(EDGES)


def test_a_density_with_a_kink():
    line, u = integrate(log_laplace, EDGES), np.linspace(-9, 9, 101)[np.newaxis].repeat(2, axis=0)
    expected = laplace(scale=SCALES[:, np.newaxis])
    np.testing.assert_allclose(line.log_total, 0, atol=2e-5)
    np.testing.assert_allclose(line.cdf(u), expected.cdf(u), atol=2e-5)
    np.testing.assert_allclose(line.moments(), [[0, 0], SCALES * np.sqrt(2)], atol=1e-3)
    q = np.array([[1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6]] * 2)
    np.testing.assert_allclose(expected.cdf(line.ppf(q)), q, atol=2e-5)
    assert (line.error < 1e-4).all()


def test_kinks_between_nodes_are_found(monkeypatch):
    edges = np.array([[0.0, 1.0]])
    assert abs(integrate(zigzag, edges).log_total[0]) < 1e-5
    monkeypatch.setattr(_panel_line, "UNSEEN", 0.0)
    monkeypatch.setattr(_panel_line, "UNSEEN_WIDE", 0.0)
    assert integrate(zigzag, edges).log_total[0] == pytest.approx(np.log(1.5))


def test_peaks_between_nodes_far_out_are_found(monkeypatch):
    """A peak with a thousandth of the mass that no node of a wide first panel sees."""
    edges = np.array([[-1.0, -0.5, 0.0, 0.5, 1.0, 3.0]])

    def log_density(rows, u):
        peak, wide = np.exp(-0.5 * ((u - 1.25) / 0.03) ** 2), np.exp(-0.5 * (u - 1.5) ** 2)
        return np.log(np.exp(-0.5 * (u / 0.15) ** 2) + 0.01 * peak + 1e-4 * wide)

    u = np.linspace(-1, 3, 400_001)
    mass = np.trapezoid(np.exp(log_density(None, u)), u)
    assert abs(np.exp(integrate(log_density, edges).log_total[0]) / mass - 1) < 1e-4
    monkeypatch.setattr(_panel_line, "UNSEEN_WIDE", 0.0)
    assert abs(np.exp(integrate(log_density, edges).log_total[0]) / mass - 1) > 3e-4


def test_means_of_functions_that_grow_in_empty_tails():
    line = integrate(lambda rows, u: -0.5 * u**2, np.array([[-60.0, -20.0, -5.0, 0.0, 5.0, 20.0, 60.0]]))
    np.testing.assert_allclose(line.expect(lambda u: np.exp(u)[..., np.newaxis]), np.exp([[0.5]]), rtol=1e-3)


def test_rows_do_not_depend_on_others():
    both = integrate(log_laplace, EDGES)
    alone = [integrate(lambda rows, u, i=i: log_laplace(rows + i, u), EDGES[i : i + 1]) for i in range(2)]
    np.testing.assert_array_equal(both.log_total, np.concatenate([one.log_total for one in alone]))
    np.testing.assert_array_equal(both.values, np.concatenate([one.values for one in alone]))


def test_a_peak_whose_foot_alone_is_seen():
    # Of the nodes of even panels only one is near the second peak, and there the density is exp(-60) of the largest.
    edges, width = np.linspace(-10.0, 10.0, 11)[np.newaxis], 0.01
    place = 6.0 + width * np.sqrt(2 * 60)

    def log_density(rows, u):
        return np.logaddexp(norm.logpdf(u, -4, 0.5), np.log(0.1) + np.maximum(norm.logpdf(u, place, width), -800))

    found = integrate(log_density, edges)
    assert found.log_total[0] == pytest.approx(np.log(1.1), abs=1e-4)
    assert integrate(log_density, edges, searches=False).log_total[0] == pytest.approx(0.0, abs=1e-3)  # what is at stake
