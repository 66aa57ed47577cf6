"""Checks of results by definition: differences, Jacobians, inverses, integrals."""

import numpy as np
import pytest


def central_difference(function, at, step=1e-6):
    """The gradient of a function with respect to the array `at`, which is changed in place and restored."""
    gradient = np.empty(at.shape)
    for i in np.ndindex(at.shape):
        value = at[i]
        at[i] = value + step
        above = function()
        at[i] = value - step
        gradient[i] = (above - function()) / (2 * step)
        at[i] = value
    return gradient


def assert_close(actual, expected, tolerance=1e-6):
    """Check the error in the 2-norm, relative to the norm of `expected`."""
    assert actual.shape == expected.shape
    norm = np.linalg.norm(expected)
    assert norm > 0
    assert np.linalg.norm(actual - expected) <= tolerance * norm


def integral(density, half_width, spacing):
    """The integral of a density on the plane over a square around the origin, computed in strips."""
    axis = np.arange(-half_width, half_width, spacing) + spacing / 2
    total = 0.0
    for strip in np.array_split(axis, 20):
        total += np.sum(density(np.stack(np.meshgrid(strip, axis), axis=-1).reshape(-1, 2)))
    return total * spacing**2


def check_vjp(model, direction):
    rng = np.random.RandomState(1)
    points = rng.normal(size=(8, model.data_dim))
    grad_output, grad_log_det = rng.normal(size=points.shape), rng.normal(size=len(points))
    function, vjp = getattr(model, direction), getattr(model, f"{direction}_vjp")

    def of_output():
        return np.sum(function(points)[0] * grad_output)

    def of_log_det():
        return np.sum(function(points)[1] * grad_log_det)

    by_points, by_parameters = vjp(points, grad_output, grad_log_det)
    assert_close(by_points, central_difference(lambda: of_output() + of_log_det(), points))
    assert_close(
        by_parameters,
        central_difference(lambda: of_output() + of_log_det(), model.parameters),
    )

    zeros = np.zeros_like(points), np.zeros_like(grad_log_det)
    for given, same in (
        ((None, grad_log_det), (zeros[0], grad_log_det)),
        ((grad_output, None), (grad_output, zeros[1])),
        ((None, None), zeros),
    ):
        for part, expected in zip(vjp(points, *given), vjp(points, *same), strict=True):
            np.testing.assert_array_equal(part, expected)


def check_log_det(model, direction, step=1e-6):
    function, dim = getattr(model, direction), model.data_dim
    points = np.random.RandomState(2).normal(size=(10, dim))
    _, log_det = function(points)
    steps = step * np.eye(dim)
    for point, given in zip(points, log_det):
        jacobian = (function(point + steps)[0] - function(point - steps)[0]) / (2 * step)
        assert given == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-7)


def check_round_trip(flow, there, back, tolerance):
    start = np.random.RandomState(0).normal(size=(1000, flow.data_dim)).astype(flow.dtype)
    away, log_det = getattr(flow, there)(start)
    end, log_det_back = getattr(flow, back)(away)
    error = np.abs(end - start) / np.maximum(1, np.abs(start))
    assert error.max() <= tolerance
    log_det_error = np.abs(log_det + log_det_back) / np.maximum(1, np.abs(log_det))
    assert log_det_error.max() <= tolerance
