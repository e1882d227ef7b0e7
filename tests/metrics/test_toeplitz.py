"""Block Toeplitz equations against dense algebra."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from metrics.core import toeplitz


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
    solved, correction = toeplitz.solve(blocks, right)
    assert np.abs(correction).max() <= 1e-9 * np.abs(solved).max()
    products = toeplitz.product(blocks, solved)
    for row, side, solution, back in zip(blocks, right, solved, products, strict=True):
        side = side.reshape(n * m, sides)
        expected = scipy.linalg.solve(dense(row), side, assume_a="pos")
        np.testing.assert_allclose(solution.reshape(n * m, sides), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(back.reshape(n * m, sides), side, rtol=1e-9, atol=1e-9)


def whole_numbers(rng, systems, n, m, sides):
    """Equations of whole numbers: `(systems, n, m, m)` and `(systems, n, m, sides)`, int64."""
    signals = rng.integers(-(10**4), 10**4, (systems, m, 60))
    lagged = [np.pad(signals, [(0, 0), (0, 0), (lag, n - 1 - lag)]) for lag in range(n)]
    blocks = np.stack([lagged[0] @ other.swapaxes(1, 2) for other in lagged], axis=1)
    return blocks, rng.integers(-(10**10), 10**10, (systems, n, m, sides))


def solved_as_fractions(blocks, right, added):
    """Solves `(n, m, m)` for `(n, m, sides)`, with a number added to the diagonal."""
    n, m, sides = right.shape
    rows = np.concatenate([dense(blocks), right.reshape(n * m, sides)], axis=1)
    rows = np.vectorize(lambda number: Fraction(int(number)), otypes=[object])(rows)
    rows[np.arange(n * m), np.arange(n * m)] += added
    for place in range(n * m):
        rows[place] /= rows[place, place]
        for other in range(n * m):
            if other != place:
                rows[other] -= rows[other, place] * rows[place]
    return rows[:, n * m :].astype(float).reshape(right.shape)


@pytest.mark.parametrize("dependent", ["not", "almost", "wholly"])
@pytest.mark.parametrize("exponent", [-52, -3, 20])
def test_exact_solutions_are_those_of_fractions(dependent, exponent):
    rng = np.random.default_rng(3)
    blocks, right = whole_numbers(rng, 2, 6, 3, 2)
    if dependent != "not":  # the third signal is three times the first
        blocks[0, :, 2] = 3 * blocks[0, :, 0]
        blocks[0, :, :, 2] = 3 * blocks[0, :, :, 0]
    if dependent == "almost":  # and has noise of its own
        blocks[0, 0, 2, 2] += 1
    # Each number in two digits, the first of them of any size.
    equations = [
        toeplitz.Exact(np.stack([numbers >> 16, numbers & 0xFFFF]), 16)
        for numbers in (blocks, right)
    ]
    solved = toeplitz.solve_exactly(toeplitz.with_diagonal(equations[0], exponent), equations[1])
    for system in range(2):
        expected = solved_as_fractions(blocks[system], right[system], Fraction(2) ** exponent)
        np.testing.assert_allclose(
            solved[system], expected, rtol=0, atol=2**-51 * np.abs(expected).max()
        )


@pytest.mark.parametrize("scale", [1.0, -0.3, 1 + 1e-15])
def test_a_singular_system_is_refused_or_has_a_large_correction(scale):
    rng = np.random.default_rng(1)
    blocks = correlations(rng, 2, 16, 3)
    blocks[0, :, 2] = scale * blocks[0, :, 0]  # the third signal is the first, scaled
    blocks[0, :, :, 2] = scale * blocks[0, :, :, 0]
    right = toeplitz.product(blocks, rng.standard_normal((2, 16, 3, 2)))
    try:
        solved, correction = toeplitz.solve(blocks, right)
    except np.linalg.LinAlgError:
        return
    assert not np.abs(correction[0]).max() <= 1e-6 * np.abs(solved[0]).max()


def test_a_matrix_that_is_not_positive_definite_has_no_exact_solution():
    blocks = toeplitz.Exact(-np.ones((1, 1, 3, 1, 1), dtype=np.int64), 0)
    with pytest.raises(np.linalg.LinAlgError):
        toeplitz.solve_exactly(blocks, blocks)


def test_a_right_hand_side_of_zeros_has_the_solution_zero():
    blocks = correlations(np.random.default_rng(4), 1, 4, 2)
    np.testing.assert_array_equal(toeplitz.solve(blocks, np.zeros((1, 4, 2, 1)))[0], 0)
    whole, _ = whole_numbers(np.random.default_rng(4), 1, 4, 2, 1)
    zeros = toeplitz.Exact(np.zeros((1, 1, 4, 2, 1), dtype=np.int64), 0)
    np.testing.assert_array_equal(toeplitz.solve_exactly(toeplitz.Exact(whole[None], 0), zeros), 0)


def test_a_right_hand_side_with_a_nan_has_no_solution_and_does_not_change_the_others():
    rng = np.random.default_rng(2)
    blocks, right = correlations(rng, 1, 8, 2), rng.standard_normal((1, 8, 2, 3))
    expected, _ = toeplitz.solve(blocks, right)
    right[0, 3, 1, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solved, _ = toeplitz.solve(blocks, right)
    assert np.isnan(solved[..., 1]).all()
    np.testing.assert_allclose(solved[..., [0, 2]], expected[..., [0, 2]], rtol=1e-12)
