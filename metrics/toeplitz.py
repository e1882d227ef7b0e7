"""Equations whose matrix is block Toeplitz, as of filters between signals of several channels.

The matrix is symmetric and positive definite, of n × n blocks of m × m; block (a, b) is the
correlation at lag b - a. Its Cholesky factor is found in O(n² m³) operations instead of O(n³ m³) by
the block Schur algorithm (Kailath, Sayed, "Displacement structure", SIAM Review 37(3), 1995), with
hyperbolic rotations in the mixed form that is stable (Bojanczyk, Brent, Van Dooren, de Hoog, "A
note on downdating the Cholesky factorization", SIAM J. Sci. Stat. Comput. 8(3), 1987).
"""

import numpy as np
import scipy.fft
import scipy.linalg

TOLERANCE = 1e-9  # of what is left over after solving, relative to the right-hand side


def solve(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solves several systems of equations alike in shape, each for several right-hand sides.

    blocks: `(systems, n, m, m)`, of each matrix the first row of blocks.
    right: `(systems, n, m, sides)`. One with a NaN has a solution of NaN, the
    others have theirs.

    Returns: `(systems, n, m, sides)`. Where a matrix is singular to rounding, a solution all the
    same (that of least squares if there is none), of which there are many: it has zeros for the
    columns that depend on the others.

    Memory of the factors: 4 (n m)² bytes per system, 16 (n m)² where one is singular.
    """
    with np.errstate(invalid="ignore"):
        try:
            return _solve(blocks, right)
        except np.linalg.LinAlgError:
            return np.stack([_any_solution(*system) for system in zip(blocks, right, strict=True)])


def product(blocks: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The matrices times vectors, both as in `solve`: `(systems, n, m, sides)`."""
    n = blocks.shape[1]
    size = scipy.fft.next_fast_len(2 * n - 1, real=True)
    padding = np.zeros((len(blocks), size - 2 * n + 1, *blocks.shape[2:]))
    lags = np.concatenate([blocks.swapaxes(2, 3), padding, blocks[:, :0:-1]], axis=1)
    spectra = (scipy.fft.rfft(audio, n=size, axis=1) for audio in (lags, vectors))
    return scipy.fft.irfft(np.matmul(*spectra), n=size, axis=1)[:, :n]


def _solve(blocks, right):
    rows = _factor(blocks)
    solved = _substitute(rows, right)
    solved += _substitute(rows, right - product(blocks, solved))  # the digits the factor lacks
    left, given = (
        np.abs(sides).max(axis=(1, 2)) for sides in (right - product(blocks, solved), right)
    )
    if (np.isfinite(given) & ~(left <= TOLERANCE * given)).any():
        raise np.linalg.LinAlgError
    return solved


def _factor(blocks):
    """The rows of blocks of the upper Cholesky factors, each from its diagonal on: a list of n of
    `(systems, m, m × (n - row))`. Raises `LinAlgError` for a matrix that is not positive definite.
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
        back = tilt.swapaxes(1, 2)
        across, down = (np.linalg.cholesky(np.eye(m) - x) for x in (back @ tilt, tilt @ back))
        a = np.linalg.inv(across) @ (a - back @ b)
        b = down.swapaxes(1, 2) @ b - np.linalg.inv(down) @ tilt @ across @ a
        rows.append(a)
        a, b = a[..., :-m], b[..., m:]
    return rows


def _substitute(rows, right):
    systems, n, m, _ = right.shape
    solved = right.reshape(systems, n * m, -1).copy()
    inverses = np.linalg.inv(np.stack([row[..., :m] for row in rows]))
    places = [(slice(k * m, (k + 1) * m), slice((k + 1) * m, None)) for k in range(n)]
    steps = list(zip(rows, inverses, places, strict=True))
    for row, inverse, (here, below) in steps:
        solved[:, here] = inverse.swapaxes(1, 2) @ solved[:, here]
        solved[:, below] -= row[..., m:].swapaxes(1, 2) @ solved[:, here]
    for row, inverse, (here, below) in reversed(steps):
        solved[:, here] = inverse @ (solved[:, here] - row[..., m:] @ solved[:, below])
    return solved.reshape(right.shape)


def _any_solution(blocks, right):
    """Of one system, by the Cholesky factorisation that takes the largest pivot next."""
    n, m, _ = blocks.shape
    lags = np.concatenate([blocks[:0:-1], blocks.swapaxes(1, 2)])  # from -(n - 1) to n - 1
    matrix = np.lib.stride_tricks.sliding_window_view(lags, n, axis=0)[..., ::-1]
    matrix = np.array(matrix.swapaxes(2, 3)).reshape(n * m, n * m)
    tolerance = n * m * np.finfo(float).eps * matrix.diagonal().max()
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(matrix.T, tol=tolerance, overwrite_a=True)
    chosen = order[:rank] - 1
    right_rows = right.reshape(n * m, -1)
    solved = np.zeros_like(right_rows)
    solved[chosen] = scipy.linalg.cho_solve(
        (factor[:rank, :rank], False), right_rows[chosen], check_finite=False
    )
    return solved.reshape(right.shape)
