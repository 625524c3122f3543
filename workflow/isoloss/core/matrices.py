"""Linear systems of many small matrices."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import lapack

SMALL = 8  # unknowns, up to which the elimination is done here
FEW = 6  # systems, up to which they are solved one by one


def cholesky_solve(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve b symmetric systems at once, and say which matrices are positive definite.

    What is found of one does not depend on the others, to the last bit. Large ones are solved one
    by one; of small ones each step of the elimination is one sweep over all, or where they are few
    the same arithmetic one by one.

    Args:
        matrix: (b, q, q).
        right: (b, q).

    Returns:
        Solutions (b, q), arbitrary where a matrix is not positive definite, and bool (b,).

    Example:
        >>> cholesky_solve(np.array([np.eye(2), -np.eye(2)]), np.ones((2, 2)))[1]
        array([ True, False])
    """
    count, q = right.shape
    if q <= SMALL:
        return _swept(matrix, right) if count > FEW else _one_by_one(matrix, right)
    solution, sound = np.empty_like(right), np.empty(count, dtype=bool)
    for i in range(count):
        _, solution[i], failed = lapack.dposv(matrix[i], right[i])
        sound[i] = failed == 0
    return solution, sound


def _one_by_one(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `_swept` gives, to the last bit, without array calls: they cost most of few systems."""
    solutions, sound = [], []
    for a, y in zip(matrix.tolist(), right.tolist(), strict=True):
        sound.append(_eliminate(a, y))
        solutions.append(y)
    return np.array(solutions).reshape(right.shape), np.array(sound, dtype=bool)


def _eliminate(a: list[list[float]], y: list[float]) -> bool:
    """Put the solution of one system where its right side is; whether it is positive definite."""
    q, sound = len(y), True
    for j in range(q):
        ok = a[j][j] > 0
        sound = sound and ok
        root = math.sqrt(a[j][j]) if ok else 1.0
        for i in range(j, q):
            a[i][j] /= root
        y[j] /= root
        for i in range(j + 1, q):
            factor = a[i][j]
            for k in range(i, q):
                a[k][i] -= a[k][j] * factor
            y[i] -= factor * y[j]
    for j in reversed(range(q)):
        y[j] /= a[j][j] if sound else 1.0
        for i in range(j):
            y[i] -= a[j][i] * y[j]
    return sound


def positive(matrix: np.ndarray) -> np.ndarray:
    """Which of symmetric matrices (b, q, q) are positive definite, bool (b,)."""
    return np.array([lapack.dpotrf(one)[1] == 0 for one in matrix], dtype=bool)


def _swept(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `cholesky_solve`."""
    q = matrix.shape[-1]
    a = np.array(np.moveaxis(matrix, 0, -1), order="C")  # the batch last: each step one sweep
    y = np.array(right.T, order="C")
    sound = np.ones(a.shape[-1], dtype=bool)
    for j in range(q):
        pivot = a[j, j]
        ok = pivot > 0
        sound &= ok
        root = np.sqrt(np.where(ok, pivot, 1.0))
        a[j:, j] /= root
        y[j] /= root
        below = a[j + 1 :, j]
        for i in range(j + 1, q):
            a[i:, i] -= a[i:, j] * a[i, j]
        y[j + 1 :] -= below * y[j]
    for j in reversed(range(q)):
        y[j] /= np.where(sound, a[j, j], 1.0)
        y[:j] -= a[j, :j] * y[j]
    return y.T.copy(), sound
