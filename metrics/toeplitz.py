"""Solves equations whose matrix is block Toeplitz, as those of filters between signals of several
channels.

The matrix is symmetric and positive definite, of n × n blocks of m × m; block (a, b) is the
correlation at lag b - a. The block Schur algorithm (Kailath, Sayed, "Displacement structure", SIAM
Review 37(3), 1995) finds its Cholesky factor in O(n² m³) operations instead of O(n³ m³), here with
hyperbolic rotations in the mixed form that is stable (Bojanczyk, Brent, Van Dooren, de Hoog, "A
note on downdating the Cholesky factorization", SIAM J. Sci. Stat. Comput. 8(3), 1987).
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.linalg

TOLERANCE = 1e-9  # the largest residual that is accepted, relative to the right-hand side


def solve(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solves several systems of equations of one shape, each for several right-hand sides.

    The factors need 4 (n m)² bytes of memory per system, 16 (n m)² where one is singular.

    Args:
        blocks: the first row of blocks of each matrix, `(systems, n, m, m)`.
        right: the right-hand sides, `(systems, n, m, sides)`.

    Returns:
        The solutions, `(systems, n, m, sides)`. A right-hand side with a NaN has a solution of NaN,
        which does not change those of the others. A matrix that is singular to rounding has many
        solutions (in the least-squares sense, if there is none): the one returned has zeros for the
        columns that depend on others.
    """
    with np.errstate(invalid="ignore"):
        try:
            return _solve(blocks, right)
        except np.linalg.LinAlgError:
            return np.stack([_any_solution(*system) for system in zip(blocks, right, strict=True)])


def product(blocks: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the matrices times vectors, by Fourier transforms.

    Args:
        blocks: the first row of blocks of each matrix, `(systems, n, m, m)`.
        vectors: `(systems, n, m, sides)`.

    Returns:
        The products, `(systems, n, m, sides)`.
    """
    n = blocks.shape[1]
    size = scipy.fft.next_fast_len(2 * n - 1, real=True)
    padding = np.zeros((len(blocks), size - 2 * n + 1, *blocks.shape[2:]))
    lags = np.concatenate([blocks.swapaxes(2, 3), padding, blocks[:, :0:-1]], axis=1)
    spectra = (scipy.fft.rfft(signal, n=size, axis=1) for signal in (lags, vectors))
    return scipy.fft.irfft(np.matmul(*spectra), n=size, axis=1)[:, :n]


def _solve(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Does what `solve` does, but raises `LinAlgError` where a matrix is singular to rounding."""
    rows = _factor(blocks)
    solution = _substitute(rows, right)
    solution += _substitute(rows, right - product(blocks, solution))  # digits the factor lacks
    residual = np.abs(right - product(blocks, solution)).max(axis=(1, 2))
    largest = np.abs(right).max(axis=(1, 2))
    if (np.isfinite(largest) & ~(residual <= TOLERANCE * largest)).any():
        raise np.linalg.LinAlgError
    return solution


def _factor(blocks: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of blocks of the upper Cholesky factors, each from its diagonal on.

    There are n rows, `(systems, m, m × (n - row))`. Raises `LinAlgError` for a matrix that is not
    positive definite.
    """
    systems, n, m, _ = blocks.shape
    row = np.linalg.inv(np.linalg.cholesky(blocks[:, 0])) @ blocks.swapaxes(1, 2).reshape(
        systems, m, n * m
    )
    rows = [row]
    # The matrix less itself moved down the diagonal by one block is aᵀa - bᵀb.
    a, b = row[..., :-m], row[..., m:]
    for _ in range(1, n):
        tilt = b[..., :m] @ np.linalg.inv(a[..., :m])
        tilt_transposed = tilt.swapaxes(1, 2)
        cosine_a, cosine_b = (
            np.linalg.cholesky(np.eye(m) - square)
            for square in (tilt_transposed @ tilt, tilt @ tilt_transposed)
        )
        a = np.linalg.inv(cosine_a) @ (a - tilt_transposed @ b)
        b = cosine_b.swapaxes(1, 2) @ b - np.linalg.inv(cosine_b) @ tilt @ cosine_a @ a
        rows.append(a)
        a, b = a[..., :-m], b[..., m:]
    return rows


def _substitute(rows: list[np.ndarray], right: np.ndarray) -> np.ndarray:
    """Solves the triangular systems of a Cholesky factor, forward and then backward.

    Args:
        rows: the rows of the factor, as from `_factor`.
        right: `(systems, n, m, sides)`.
    """
    systems, n, m, _ = right.shape
    solution = right.reshape(systems, n * m, -1).copy()
    inverses = np.linalg.inv(np.stack([row[..., :m] for row in rows]))
    # The rows of a block, and those of all later blocks.
    slices = [(slice(k * m, (k + 1) * m), slice((k + 1) * m, None)) for k in range(n)]
    steps = list(zip(rows, inverses, slices, strict=True))
    for row, inverse, (block, later) in steps:
        solution[:, block] = inverse.swapaxes(1, 2) @ solution[:, block]
        solution[:, later] -= row[..., m:].swapaxes(1, 2) @ solution[:, block]
    for row, inverse, (block, later) in reversed(steps):
        solution[:, block] = inverse @ (solution[:, block] - row[..., m:] @ solution[:, later])
    return solution.reshape(right.shape)


def _any_solution(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solves one system by a Cholesky factorisation with pivots, the largest first.

    Args:
        blocks: `(n, m, m)`.
        right: `(n, m, sides)`.
    """
    n, m, _ = blocks.shape
    lags = np.concatenate([blocks[:0:-1], blocks.swapaxes(1, 2)])  # from -(n - 1) to n - 1
    matrix = np.lib.stride_tricks.sliding_window_view(lags, n, axis=0)[..., ::-1]
    matrix = np.array(matrix.swapaxes(2, 3)).reshape(n * m, n * m)
    tolerance = n * m * np.finfo(float).eps * matrix.diagonal().max()
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(matrix.T, tol=tolerance, overwrite_a=True)
    independent = order[:rank] - 1  # LAPACK counts columns from 1
    right_rows = right.reshape(n * m, -1)
    solution = np.zeros_like(right_rows)
    solution[independent] = scipy.linalg.cho_solve(
        (factor[:rank, :rank], False), right_rows[independent], check_finite=False
    )
    return solution.reshape(right.shape)
