"""Block Toeplitz equations against dense algebra."""

import warnings

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from metrics import toeplitz


def correlations(rng, systems, n, m, samples=400):
    """The first rows of blocks of positive definite matrices, `(systems, n, m, m)`: correlations
    of filtered noise."""
    signals = rng.standard_normal((systems, m, samples))
    signals[:, :, 1:] += 0.9 * signals[:, :, :-1]
    signals[:, 1:] += 0.5 * signals[:, :1]
    lagged = [np.pad(signals, [(0, 0), (0, 0), (lag, n - 1 - lag)]) for lag in range(n)]
    return np.stack([lagged[0] @ other.swapaxes(1, 2) for other in lagged], axis=1)


def dense(blocks):
    """`(n, m, m)` → `(n × m, n × m)`, block by block."""
    n = len(blocks)
    return np.block(
        [[blocks[b - a] if b >= a else blocks[a - b].T for b in range(n)] for a in range(n)]
    )


shapes = st.tuples(st.integers(1, 3), st.integers(1, 24), st.integers(1, 5), st.integers(1, 3))
seeds = st.integers(0, 2**32 - 1)


@given(shapes, seeds)
def test_solutions_and_products_are_those_of_the_dense_matrix(shape, seed):
    systems, n, m, sides = shape
    rng = np.random.default_rng(seed)
    blocks = correlations(rng, systems, n, m)
    right = rng.standard_normal((systems, n, m, sides))
    solved = toeplitz.solve(blocks, right)
    products = toeplitz.product(blocks, solved)
    for row, side, solution, back in zip(blocks, right, solved, products, strict=True):
        side = side.reshape(n * m, sides)
        expected = scipy.linalg.solve(dense(row), side, assume_a="pos")
        np.testing.assert_allclose(solution.reshape(n * m, sides), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(back.reshape(n * m, sides), side, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, -0.3, 1 + 1e-15])
def test_a_singular_system_has_a_solution_and_does_not_change_that_of_another(scale):
    rng = np.random.default_rng(1)
    blocks = correlations(rng, 2, 16, 3)
    healthy = blocks[1].copy()
    blocks[0, :, 2] = scale * blocks[0, :, 0]  # the third signal is the first, scaled
    blocks[0, :, :, 2] = scale * blocks[0, :, :, 0]
    right = toeplitz.product(blocks, rng.standard_normal((2, 16, 3, 2)))
    solved = toeplitz.solve(blocks, right)
    np.testing.assert_allclose(toeplitz.product(blocks, solved), right, rtol=1e-8, atol=1e-6)
    assert np.abs(solved).max() < 100
    expected = np.linalg.solve(dense(healthy), right[1].reshape(48, 2))
    np.testing.assert_allclose(solved[1].reshape(48, 2), expected, rtol=1e-8, atol=1e-10)


def test_a_matrix_of_zeros_has_the_solution_zero():
    solved = toeplitz.solve(np.zeros((1, 4, 2, 2)), np.zeros((1, 4, 2, 1)))
    np.testing.assert_array_equal(solved, np.zeros((1, 4, 2, 1)))


def test_a_right_hand_side_with_a_nan_has_no_solution_and_does_not_change_the_others():
    rng = np.random.default_rng(2)
    blocks, right = correlations(rng, 1, 8, 2), rng.standard_normal((1, 8, 2, 3))
    expected = toeplitz.solve(blocks, right)
    right[0, 3, 1, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solved = toeplitz.solve(blocks, right)
    assert np.isnan(solved[..., 1]).all()
    np.testing.assert_allclose(solved[..., [0, 2]], expected[..., [0, 2]], rtol=1e-12)
