"""Solves equations whose matrix is block Toeplitz, as those of filters between signals of several
channels.

The matrix is symmetric and positive definite, of n × n blocks of m × m; block (a, b) is the
correlation at lag b - a. The block Schur algorithm (Kailath, Sayed, "Displacement structure", SIAM
Review 37(3), 1995) finds its Cholesky factor in O(n² m³) operations instead of O(n³ m³).

`solve` does so in double precision, with hyperbolic rotations in the mixed form that is stable
(Bojanczyk, Brent, Van Dooren, de Hoog, "A note on downdating the Cholesky factorization", SIAM J.
Sci. Stat. Comput. 8(3), 1987), and says how far rounding errors have moved the solution. Where that
is too far, as for band-limited signals, there is `solve_exactly`.

`solve_exactly` takes equations without any rounding error, whose numbers are sums of whole numbers
(`Exact`). It finds the factor with 32 digits, as sums of two floats, and keeps 16 of them. With it,
each correction takes a solution nearer by 1e16 over the root of the matrix's condition. Residuals
have no rounding error, so the solution is corrected until it no longer moves. Then it is the exact
one, rounded to floats, and so the same on all machines, whatever rounds on the way. (Refinement:
Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002, chapter 12.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

BITS = 16  # of a digit of an `Exact` number: few enough for a transform to sum products exactly
RESIDUAL_DIGITS = 16  # that are kept of residuals, from the largest right-hand side on
SOLUTION_DIGITS = 5  # that a correction is rounded to; 65 bits or more
MOST_CORRECTIONS = 50
CONVERGED = 2.0**-60  # the size of the last correction, relative to the solution

PART_BITS = 22  # of the parts of a number: few enough for floats to sum products exactly
PARTS = 5  # of a number of 32 digits


class Exact(NamedTuple):
    """Numbers without rounding errors: the sum over i of digits[i] 2^(exponent - 16 i).

    Attributes:
        digits: whole numbers of any size and sign, `(digits, ...)`, int64.
        exponent: of the first digit.
    """

    digits: np.ndarray
    exponent: int


def solve(blocks: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solves several systems of equations of one shape, each for several right-hand sides.

    The factors need 4 (n m)² bytes of memory per system.

    Args:
        blocks: the first row of blocks of each matrix, `(systems, n, m, m)`.
        right: the right-hand sides, `(systems, n, m, sides)`.

    Returns:
        The solutions, `(systems, n, m, sides)`, and how far they were corrected at the end, which
        is about how far rounding errors have moved them. A right-hand side with a NaN has a
        solution of NaN, which does not change those of the others.

    Raises:
        LinAlgError: a matrix is singular to rounding.
    """
    with np.errstate(invalid="ignore"):
        rows = _factor(blocks)
        solution = _substitute(rows, right)
        # This adds the digits that the factor lacks, but not those that the equations lack.
        correction = _substitute(rows, right - product(blocks, solution))
        return solution + correction, correction


def solve_exactly(blocks: Exact, right: Exact) -> np.ndarray:
    """Solves what `solve` does, without its rounding errors.

    The factors need 4 (n m)² bytes of memory per system.

    Args:
        blocks: the first row of blocks of each matrix, digits `(digits, systems, n, m, m)`.
        right: the right-hand sides, digits `(digits, systems, n, m, sides)`.

    Returns:
        The solutions, `(systems, n, m, sides)`, rounded.

    Raises:
        LinAlgError: a matrix has a condition of more than 1e28 or so.
    """
    rows = _exact_factor(*in_floats(blocks))
    blocks = _carried(blocks)
    spectra = _spectra(blocks.digits)
    residual = _carried(right)
    room = max(0, RESIDUAL_DIGITS - len(residual.digits))  # for the digits of products
    padding = [(0, room)] + [(0, 0)] * (residual.digits.ndim - 1)
    residual = residual._replace(digits=np.pad(residual.digits, padding))
    solution, rest = np.zeros((2, *right.digits.shape[1:]))
    for _ in range(MOST_CORRECTIONS):
        correction = _substitute(rows, in_floats(residual)[0])
        # The exponent makes the digits of the product stand in line with those of the residual.
        exponent = math.frexp(np.abs(correction).max())[1] - BITS + 1
        exponent += (residual.exponent - blocks.exponent - exponent) % BITS
        digits = in_digits(np.ldexp(correction, -exponent), SOLUTION_DIGITS)
        residual = _less_product(residual, spectra, blocks.exponent, Exact(digits, exponent))
        residual = _carried(residual)
        correction = in_floats(Exact(digits.astype(np.int64), exponent))[0]
        solution, error = _two_sum(solution, correction)
        rest += error
        moved, size = (np.abs(array).max(axis=(1, 2)) for array in (correction, solution))
        if (moved <= CONVERGED * size).all():
            return solution + rest
    raise np.linalg.LinAlgError("the solution does not converge")


def product(blocks: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the matrices times vectors, by Fourier transforms.

    Args:
        blocks: the first row of blocks of each matrix, `(systems, n, m, m)`.
        vectors: `(systems, n, m, sides)`.

    Returns:
        The products, `(systems, n, m, sides)`.
    """
    n = blocks.shape[1]
    size = _transform_size(n)
    spectra = np.matmul(_spectra(blocks), scipy.fft.rfft(vectors, n=size, axis=1))
    return scipy.fft.irfft(spectra, n=size, axis=1)[:, :n]


def _spectra(blocks: np.ndarray) -> np.ndarray:
    """Returns the spectra by which those of vectors are multiplied.

    `(..., n, m, m)` → `(..., frequencies, m, m)`.
    """
    n = blocks.shape[-3]
    size = _transform_size(n)
    padding = np.zeros((*blocks.shape[:-3], size - 2 * n + 1, *blocks.shape[-2:]))
    negative = blocks[..., :0:-1, :, :]
    lags = np.concatenate([blocks.swapaxes(-2, -1), padding, negative], axis=-3)
    return scipy.fft.rfft(lags, n=size, axis=-3)


def _transform_size(n: int) -> int:
    """Returns how many samples a transform takes that multiplies by matrices of n × n blocks."""
    return scipy.fft.next_fast_len(2 * n - 1, real=True)


def with_diagonal(blocks: Exact, exponent: int) -> Exact:
    """Adds 2^exponent to the diagonals of matrices.

    Args:
        blocks: the first row of blocks of each matrix, digits `(digits, systems, n, m, m)`.
        exponent: any, also one below that of the last digit.
    """
    place = -((exponent - blocks.exponent) // BITS)  # of the digit that it is added to
    above, below = max(0, -place), max(0, place + 1 - len(blocks.digits))
    digits = np.pad(blocks.digits, [(above, below)] + [(0, 0)] * (blocks.digits.ndim - 1))
    first = blocks.exponent + BITS * above
    added = 1 << (exponent - first + BITS * (place + above))
    digits[place + above, :, 0] += added * np.eye(digits.shape[-1], dtype=digits.dtype)
    return Exact(digits, first)


def in_digits(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the digits of numbers, `(count, ...)`: whole numbers, as floats.

    Args:
        values: `(...)`, scaled so that the first digit stands before the point, and the others
            behind it. They are rounded to the last digit.
        count: how many digits.
    """
    digits = np.empty((count, *values.shape))
    rest = values
    for digit in digits:
        np.rint(rest, out=digit)
        rest = (rest - digit) * 2.0**BITS
    return digits


def in_floats(number: Exact) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers as sums of two floats, the first of them the rounded numbers.

    Args:
        number: digits `(digits, ...)`.

    Returns:
        Both floats, `(...)`.
    """
    number = _carried(number)
    high, low = np.zeros((2, *number.digits.shape[1:]))
    for place, digit in enumerate(number.digits):
        high, error = _two_sum(high, np.ldexp(digit, number.exponent - BITS * place))
        low += error
    return _two_sum(high, low)


def _carried(number: Exact) -> Exact:
    """Returns the same numbers with digits of 16 bits, from -2^15 to 2^15 - 1, without zeros at the
    beginning that all of them have."""
    more = -(-64 // BITS)  # digits that the first may become
    digits = np.pad(number.digits, [(more, 0)] + [(0, 0)] * (number.digits.ndim - 1))
    for place in range(len(digits) - 1, 0, -1):
        carry = (digits[place] + (1 << BITS - 1)) >> BITS
        digits[place] -= carry << BITS
        digits[place - 1] += carry
    (used,) = digits.reshape(len(digits), -1).any(axis=1).nonzero()
    first = int(used[0]) if used.size else 0
    return Exact(digits[first:], number.exponent + BITS * (more - first))


def _less_product(residual: Exact, spectra: np.ndarray, exponent: int, vectors: Exact) -> Exact:
    """Subtracts the matrices times vectors from the residual, without a rounding error.

    Args:
        residual: digits `(digits, systems, n, m, sides)`.
        spectra: of the digits of the matrices, as from `_spectra`.
        exponent: of the first digit of the matrices.
        vectors: digits `(digits, systems, n, m, sides)`; `exponent` and that of the vectors add up
            to the exponent of the residual, up to a multiple of 16.
    """
    n = vectors.digits.shape[2]
    size = _transform_size(n)
    vector_spectra = scipy.fft.rfft(vectors.digits, n=size, axis=2)
    places = len(spectra) + len(vector_spectra) - 1
    products = np.zeros((places, *vector_spectra.shape[1:]), complex)
    for first, matrix in enumerate(spectra):
        for second, vector in enumerate(vector_spectra, start=first):
            products[second] += np.matmul(matrix, vector)
    # The error of a transform is a hundredth or less, so rounding to whole numbers removes it.
    whole = np.rint(scipy.fft.irfft(products, n=size, axis=2)[:, :, :n]).astype(np.int64)
    place = (residual.exponent - exponent - vectors.exponent) // BITS  # of the first product
    digits = np.pad(residual.digits, [(max(0, -place), 0)] + [(0, 0)] * (whole.ndim - 1))
    place = max(0, place)
    kept = min(places, max(0, len(digits) - place))
    digits[place : place + kept] -= whole[:kept]
    return Exact(digits, max(residual.exponent, exponent + vectors.exponent))


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


def _exact_factor(high: np.ndarray, low: np.ndarray) -> list[np.ndarray]:
    """Returns what `_factor` does, found with 32 digits.

    With a and b as in `_factor`, but neither scaled nor rotated by itself, the matrix less itself
    moved down the diagonal by one block is aᵀ p⁻¹ a - bᵀ q⁻¹ b. That leaves two products to a step;
    a third makes a row of the factor of a.

    Args:
        high: the first row of blocks of each matrix, `(systems, n, m, m)`.
        low: what these floats lack, `(systems, n, m, m)`.
    """
    systems, n, m, _ = high.shape
    a = _Double(*(part.swapaxes(1, 2).reshape(systems, m, n * m) for part in (high, low)))
    b = a[..., m:]
    p = q = a[..., :m]
    rows = []
    while True:
        whitener = _whitener(_stacked(p, q))
        of_p = whitener[:systems]
        if len(rows) == n - 1:
            return [*rows, _times(of_p, a).high]
        first = b[..., :m]
        quotients = _times(whitener, _stacked(first.transposed(), first))
        quotients = _times(whitener.transposed(), quotients)
        by_p, by_q = quotients[:systems], quotients[systems:]  # p⁻¹ bᵀ and q⁻¹ b
        both = _times(_stacked(of_p, by_p.transposed(), axis=1), a)
        rows.append(both[:, :m].high)
        a = _less(a[..., :-m], _times(by_q.transposed(), b))
        b = _less(b, both[:, m:, :-m])[..., m:]
        p, q = a[..., :m], _less(q, _times(first, by_p))


@dataclass(frozen=True, slots=True)
class _Double:
    """Numbers of 32 digits: sums of two floats, of which the first is the rounded number.

    Source of their arithmetic: Dekker, "A floating-point technique for extending the available
    precision", Numerische Mathematik 18, 1971.
    """

    high: np.ndarray
    low: np.ndarray

    def __getitem__(self, index: Any) -> _Double:
        return _Double(self.high[index], self.low[index])

    def transposed(self) -> _Double:
        """Returns the transposed matrices."""
        return _Double(self.high.swapaxes(-2, -1), self.low.swapaxes(-2, -1))


def _stacked(*numbers: _Double, axis: int = 0) -> _Double:
    """Returns what `np.concatenate` does."""
    high = np.concatenate([number.high for number in numbers], axis)
    return _Double(high, np.concatenate([number.low for number in numbers], axis))


def _whitener(matrices: _Double) -> _Double:
    """Returns the inverse w of the lower Cholesky factor of each matrix p, so that w p wᵀ = 1.

    `(matrices, m, m)` → `(matrices, m, m)`. Raises `LinAlgError` if one is not positive definite.
    """
    count, m, _ = matrices.high.shape
    identity = np.broadcast_to(np.eye(m), (count, m, m))
    rows = _stacked(matrices, _Double(identity, np.zeros_like(identity)), axis=2)
    for row in range(m):  # what is below the diagonal becomes 0, and then has no influence
        pivot = rows[:, row, row]
        if not (pivot.high > 0).all():
            raise np.linalg.LinAlgError("not positive definite")
        ratio = _ratio(rows[:, row + 1 :, row], pivot[:, None])
        below = _less(rows[:, row + 1 :], _product(ratio[..., None], rows[:, row, None]))
        rows.high[:, row + 1 :], rows.low[:, row + 1 :] = below.high, below.low
    diagonal = np.arange(m)
    return _ratio(rows[:, :, m:], _root(rows[:, diagonal, diagonal])[..., None])


def _times(left: _Double, right: _Double) -> _Double:
    """Returns products of matrices, by products of parts of few bits, which have no rounding error.

    `(systems, k, m)` and `(systems, m, columns)` → `(systems, k, columns)`. Their errors are 1e-32
    of the largest number of a row of `left` times those of the rows of `right`.

    Source: Ozaki, Ogita, Oishi, Rump, "Error-free transformations of matrix multiplication by using
    fast routines of matrix multiplication and its applications", Numerical Algorithms 59, 2012.
    """
    scale = _power_of_two(right.high)
    right = _Double(right.high / scale, right.low / scale)
    scale = scale.swapaxes(1, 2)
    left = _Double(left.high * scale, left.low * scale)
    scale = _power_of_two(left.high)
    left_parts = np.stack(_parts(_Double(left.high / scale, left.low / scale)), axis=1)
    systems, _, rows, inner = left_parts.shape
    sums = [0.0] * PARTS
    for second, right_part in enumerate(_parts(right)):
        partners = left_parts[:, : PARTS - second].reshape(systems, -1, inner)
        products = (partners @ right_part).reshape(systems, -1, rows, right_part.shape[2])
        for first in range(PARTS - second):
            sums[first + second] = sums[first + second] + products[:, first]
    high, error = _two_sum(sums[0], sums[1])
    high, second_error = _two_sum(high, sums[2])
    high, low = _two_sum(high, error + second_error + sum(sums[:2:-1]))
    return _Double(high * scale, low * scale)


def _power_of_two(array: np.ndarray) -> np.ndarray:
    """Returns a power of two for each row, not below the magnitude of any number in it.

    `(systems, rows, columns)` → `(systems, rows, 1)`.
    """
    largest = np.maximum(array.max(axis=2, keepdims=True), -array.min(axis=2, keepdims=True))
    return np.ldexp(1.0, np.frexp(largest)[1])


def _parts(numbers: _Double) -> list[np.ndarray]:
    """Returns parts, each a multiple of 2⁻²² of the one before, of numbers of up to 1."""
    parts = []
    rest = numbers.high
    for place in range(1, PARTS + 1):
        rounding = 1.5 * 2.0 ** (52 - PART_BITS * place)  # has no bits behind those of the part
        part = rest + rounding
        part -= rounding
        rest = rest - part
        if place == PARTS - 2:
            rest += numbers.low
        parts.append(part)
    return parts


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sum, rounded, and its rounding error."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _less(a: _Double, b: _Double) -> _Double:
    """Returns differences, number by number."""
    high, low = _two_sum(a.high, -b.high)
    return _Double(*_two_sum(high, low + (a.low - b.low)))


def _product(a: _Double, b: _Double) -> _Double:
    """Returns products, number by number."""
    high, low = _two_product(a.high, b.high)
    return _Double(*_two_sum(high, low + (a.high * b.low + a.low * b.high)))


def _ratio(a: _Double, b: _Double) -> _Double:
    """Returns quotients, number by number."""
    high = a.high / b.high
    rest = _less(a, _product(_Double(high, np.zeros_like(high)), b))
    return _Double(*_two_sum(high, rest.high / b.high))


def _root(number: _Double) -> _Double:
    """Returns square roots, number by number."""
    high = np.sqrt(number.high)
    rest = _less(number, _Double(*_two_product(high, high)))
    return _Double(*_two_sum(high, rest.high / (2 * high)))


def _two_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the product, rounded, and its rounding error."""
    total = a * b
    a_high, b_high = ((2.0**27 + 1) * number for number in (a, b))
    a_high, b_high = a_high - (a_high - a), b_high - (b_high - b)
    a_low, b_low = a - a_high, b - b_high
    error = ((a_high * b_high - total) + a_high * b_low + a_low * b_high) + a_low * b_low
    return total, error
