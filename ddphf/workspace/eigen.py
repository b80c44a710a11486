"""Covariance to eigen-variations: C = W C_calib W^T = G G^T, decomposed in the calibration space.

    C_calib = L L^T,   L^T W^T W L = Q U Q^T,   G = W L Q

W (N x K) tells how often the leptons of template bin i fall into calibration bin k; N stacks the
bins of both channels. The columns of G are orthogonal, their squared lengths U are the non-zero
eigenvalues of C, and nothing of size N x N is ever formed. (W V sqrt(U) with C_calib = V U V^T is
not this: its columns are neither orthogonal nor ordered.) Source: Feichtinger, Belle II pyhf talk,
for C = V U V^T and its shapes; the calibration-space form is derived.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.inputs.covariance import Covariance

__all__ = [
    "EigenVariations",
    "column_signs",
    "decompose",
    "degenerate_groups",
    "psd_factor",
    "round_columns",
    "turn_degenerate",
]


@dataclass(frozen=True)
class EigenVariations:
    """Eigen-variations of a covariance in decreasing order.

    Attributes:
        columns: G, shape (N, n): relative change of each template bin per sigma.
        directions: L Q, shape (K, n): the same as changes of the calibration bins.
        eigenvalues: All non-zero eigenvalues, decreasing.
        clipped: Negative eigenvalues of C_calib that were set to 0.
    """

    columns: Array
    directions: Array
    eigenvalues: Array
    clipped: tuple[float, ...]

    @property
    def n_kept(self) -> int:
        """Number of eigen-variations."""
        return int(self.columns.shape[1])

    @property
    def trace(self) -> float:
        """Trace of C."""
        return float(self.eigenvalues.sum())


PSD_TOLERANCE = 1e-10
"""Negative eigenvalues down to -this times the largest are rounding of the input."""

RANK_TOLERANCE = 1e-14
"""Eigenvalues below this part of the largest are rounding: their columns are noise."""

DEGENERACY = 1e-10
"""Neighbouring eigenvalues closer than this part of the largest span one subspace."""

TIE = 1e-9
"""Components this close to the largest count as equal, so that rounding does not pick one."""


def psd_factor(
    covariance: Covariance, *, tolerance: float = PSD_TOLERANCE
) -> tuple[Array, tuple[float, ...]]:
    """Return L with C = L L^T, shape (K, rank), and the negative eigenvalues that were clipped.

    Args:
        covariance: Of the calibration bins.
        tolerance: Negative eigenvalues down to -tolerance times the largest are set to 0.

    Raises:
        ModelError: A more negative eigenvalue; names it and the bin that it mostly is.

    Example:
        >>> import numpy as np
        >>> from ddphf.inputs.covariance import make_covariance
        >>> factor, clipped = psd_factor(make_covariance(np.diag([4.0, 1.0])))
        >>> bool(np.allclose(factor @ factor.T, np.diag([4.0, 1.0]))), clipped
        (True, ())
    """
    values, vectors = np.linalg.eigh(covariance.matrix)
    largest = float(np.max(np.abs(values)))
    if values[0] < -tolerance * largest:
        worst = int(np.argmax(np.abs(vectors[:, 0])))
        raise ModelError(
            f"covariance: eigenvalue {values[0]:.6g} is negative, {values[0] / largest:.3g} of the "
            f"largest ({largest:.6g}), mostly {covariance.labels[worst]}; no errors have such a "
            f"covariance: correct it, or set 'psd_tolerance: {_round_up(-values[0] / largest):g}' "
            "to clip it to 0"
        )
    rounding = len(values) * np.finfo(float).eps * largest
    clipped = tuple(float(v) for v in values if v < -rounding)
    kept = values > rounding
    return vectors[:, kept] * np.sqrt(values[kept]), clipped


def _round_up(value: float) -> float:
    digit = 10.0 ** np.floor(np.log10(value))
    return float(np.ceil(value / digit) * digit)


def decompose(
    covariance: Covariance,
    composition: Array,
    *,
    others: Array | None = None,
    psd_tolerance: float = PSD_TOLERANCE,
) -> EigenVariations:
    """Return every eigen-variation of W C_calib W^T, in order of falling eigenvalue.

    Sign: the largest component is positive. Where eigenvalues are degenerate, any rotation would
    do: the basis is built from the bins with the largest share of the subspace, one after the
    other, so that it does not depend on the linear algebra library.

    Args:
        covariance: C_calib, K calibration bins, relative.
        composition: W, shape (N, K): mean number of leptons of template bin i in calibration bin k.
        others: Of templates whose own directions must not be lost, such as a signal with leptons
            that the background lacks, shape (N', K). These follow with columns of 0.
        psd_tolerance: See :func:`psd_factor`.

    Raises:
        ModelError: C_calib is not positive semi-definite, or W does not fit it.

    Example:
        >>> import numpy as np
        >>> from ddphf.inputs.covariance import make_covariance
        >>> eigen = decompose(make_covariance([[2.0, 1.0], [1.0, 2.0]]), np.eye(2))
        >>> np.round(eigen.eigenvalues, 12).tolist(), np.round(eigen.columns[:, 0], 4).tolist()
        ([3.0, 1.0], [1.2247, 1.2247])
    """
    if composition.ndim != 2 or composition.shape[1] != covariance.n_bins:
        raise ModelError(
            f"composition: shape {composition.shape}, expected one column for each of the "
            f"{covariance.n_bins} calibration bins"
        )
    bad = np.argwhere(~np.isfinite(composition) | (composition < 0))
    if bad.size:
        row, column = (int(i) for i in bad[0])
        raise ModelError(
            f"composition: element ({row}, {column}) is {composition[row, column]:g}, expected a "
            "mean number of leptons >= 0"
        )
    factor, clipped = psd_factor(covariance, tolerance=psd_tolerance)
    shifts = composition @ factor
    values, rotation, rest = _eigen(shifts, np.eye(factor.shape[1]), 0.0)
    columns, directions = shifts @ rotation, factor @ rotation
    for a, b in degenerate_groups(values, float(values[0]) if values.size else 0.0):
        if b - a > 1:
            turn = _canonical_rotation(columns[:, a:b])
            columns[:, a:b], directions[:, a:b] = columns[:, a:b] @ turn, directions[:, a:b] @ turn
    signs = column_signs(columns)
    columns *= signs
    directions *= signs
    if others is not None:
        _, more, _ = _eigen(others @ factor, rest, float(values[0]) if values.size else 0.0)
        directions = np.column_stack([directions, factor @ more])
        columns = np.column_stack([columns, np.zeros((len(columns), more.shape[1]))])
    return EigenVariations(columns, directions, values, clipped)


def _eigen(shifts: Array, basis: Array, floor: float) -> tuple[Array, Array, Array]:
    """Return falling eigenvalues of shifts^2 within a basis, their vectors, and those of 0."""
    shown = shifts @ basis
    values, turn = np.linalg.eigh(shown.T @ shown)
    values, turned = values[::-1], basis @ turn[:, ::-1]
    kept = values > RANK_TOLERANCE * max(float(values.max(initial=0.0)), floor)
    return values[kept], turned[:, kept], turned[:, ~kept]


def degenerate_groups(values: Array, size: float) -> list[tuple[int, int]]:
    """Split falling eigenvalues where neighbours differ: [start, stop) of each subspace.

    Args:
        values: Falling, shape (n,).
        size: What the difference is compared with, the largest eigenvalue.
    """
    if not values.size:
        return []
    cuts = np.flatnonzero(-np.diff(values) > DEGENERACY * size) + 1
    edges = [0, *(int(c) for c in cuts), len(values)]
    return list(itertools.pairwise(edges))


def turn_degenerate(columns: Array, basis: Array) -> Array:
    """Return the basis of a subspace that the subspace alone determines.

    Args:
        columns: Effects of all directions, shape (N, n).
        basis: Orthonormal, of directions that nothing tells apart, shape (n, k).
    """
    return basis @ _canonical_rotation(columns @ basis) if basis.shape[1] > 1 else basis


def column_signs(columns: Array) -> Array:
    """Return 1 or -1 for each column, shape (n,), such that its largest component is positive."""
    signs = np.ones(columns.shape[1])
    for number, column in enumerate(columns.T):
        size = np.abs(column)
        if column[int(np.argmax(size >= (1 - TIE) * size.max(initial=0.0)))] < 0:
            signs[number] = -1.0
    return signs


def _canonical_rotation(columns: Array) -> Array:
    """Return the rotation of degenerate columns that the subspace alone determines."""
    rest = columns / np.linalg.norm(columns, axis=0)
    turn = np.zeros((columns.shape[1], columns.shape[1]))
    for index in range(columns.shape[1]):
        share = np.einsum("ij,ij->i", rest, rest)
        row = int(np.argmax(share >= (1 - TIE) * share.max()))
        direction = rest[row] / np.linalg.norm(rest[row])
        # Orthogonal to the earlier ones by construction; once more against rounding.
        direction = direction - turn @ (turn.T @ direction)
        direction /= np.linalg.norm(direction)
        turn[:, index] = direction
        rest = rest - np.outer(rest @ direction, direction)
    return turn


def round_columns(columns: Array, tolerance: float) -> tuple[Array, float]:
    """Round G to the coarsest decimal that changes no element of G G^T by more than stated.

    With steps q the change of element (i, j) is at most q (|G_i|_1 + |G_j|_1) / 2 + n q^2 / 4.

    Args:
        columns: G, shape (N, n).
        tolerance: Largest |change| in units of the largest diagonal element of G G^T.

    Returns:
        The rounded G, and the bound on the change that holds, at most what is asked for.

    Example:
        >>> rounded, bound = round_columns(np.array([[0.123456], [0.1]]), 0.01)
        >>> rounded.tolist(), bound <= 0.01 * 0.123456**2
        ([[0.123], [0.1]], True)
    """
    size = float(np.max(np.einsum("ij,ij->i", columns, columns), initial=0.0))
    if not 0 < tolerance < 1:
        raise ModelError(f"rounding: tolerance {tolerance:g}, expected a number in (0, 1)")
    if size == 0:
        return columns, 0.0
    reach, count = float(np.abs(columns).sum(axis=1).max()), int(columns.shape[1])

    def bound(step: float) -> float:
        return step * reach + count * step**2 / 4

    decimals = int(np.ceil(-np.log10(tolerance * size / reach)))
    while bound(10.0**-decimals) > tolerance * size:
        decimals += 1
    return np.round(columns, decimals), bound(10.0**-decimals)
