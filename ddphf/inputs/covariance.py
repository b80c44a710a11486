"""Covariances of calibration maps: a matrix, named sources, or sigma and rho along the axes.

Every matrix is relative: C_kl = cov(eps_k, eps_l) / (eps_k eps_l) over calibration bins.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import check_arrays
from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.files import is_file
from ddphf.inputs.matrix_text import read_text_matrix
from ddphf.inputs.text_table import TEXT_SUFFIXES

__all__ = [
    "Covariance",
    "axis_correlation",
    "combine_covariances",
    "make_covariance",
    "read_matrix",
    "rho_covariance",
    "source_covariance",
]

SYMMETRY_TOLERANCE = 1e-8
"""Largest |C_kl - C_lk| relative to the largest |C|, taken as rounding of the file."""


@dataclass(frozen=True)
class Covariance:
    """A relative covariance of calibration bins, symmetric; eigenvalues are checked on use.

    Attributes:
        matrix: Shape (K, K).
        labels: What each calibration bin is, for messages.
        model: How it was made, in words, for the sidecar.
        asymmetry: Largest |C_kl - C_lk| / max |C| that was averaged away.
    """

    matrix: Array
    labels: tuple[str, ...]
    model: str = "matrix"
    asymmetry: float = 0.0

    @property
    def n_bins(self) -> int:
        """Number of calibration bins."""
        return len(self.matrix)


def make_covariance(
    matrix: Any, *, labels: Sequence[str] | None = None, model: str = "matrix", source: str = ""
) -> Covariance:
    """Check a relative covariance matrix.

    Args:
        matrix: Shape (K, K).
        labels: One per calibration bin; numbered by default.
        model: How it was made, in words.
        source: Where it came from, for messages.

    Raises:
        InputError: Not square, not finite, not symmetric, or of another size than ``labels``.

    Example:
        >>> make_covariance([[1e-4, 5e-5], [5e-5, 1e-4]]).n_bins
        2
    """
    where = source or "covariance"
    try:
        values = np.array(matrix, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{where}: the matrix holds something that is no number") from None
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        raise InputError(f"{where}: shape {values.shape}, expected a square matrix (K, K)")
    names = tuple(labels) if labels is not None else tuple(f"bin {i}" for i in range(len(values)))
    if len(names) != len(values):
        raise InputError(
            f"{where}: {len(values)} x {len(values)} matrix for {len(names)} calibration bins; "
            "give one row and one column per bin, in the order of the map"
        )
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        row, column = (int(i) for i in bad[0])
        raise InputError(
            f"{where}: element ({row}, {column}) is {values[row, column]:g}, expected a finite "
            "number"
        )
    difference = np.abs(values - values.T)
    scale = float(np.max(np.abs(values)))
    asymmetry = float(difference.max() / scale) if scale > 0 else 0.0
    if asymmetry > SYMMETRY_TOLERANCE:
        row, column = (int(i) for i in np.unravel_index(np.argmax(difference), values.shape))
        raise InputError(
            f"{where}: not symmetric, element ({row}, {column}) is {values[row, column]:.6g} but "
            f"({column}, {row}) is {values[column, row]:.6g}; give the full symmetric matrix"
        )
    return Covariance((values + values.T) / 2, names, model, asymmetry)


def source_covariance(statistical: Array, sources: Mapping[str, Array]) -> Array:
    """Return diag(stat^2) + sum over sources of u u^T, shape (K, K).

    Args:
        statistical: Independent relative error per bin, shape (K,).
        sources: Fully correlated relative shifts with their signs, each of shape (K,).

    Example:
        >>> import numpy as np
        >>> bool(np.allclose(source_covariance(np.array([3.0, 0.0]), {"s": np.array([4.0, 1.0])}),
        ...                  [[25.0, 4.0], [4.0, 1.0]]))
        True
    """
    matrix = np.diag(np.asarray(statistical, dtype=float) ** 2)
    for shift in sources.values():
        matrix += np.outer(shift, shift)
    return matrix


def axis_correlation(bins: Array, rho: float) -> Array:
    """Return the correlation along one axis: 1 within a bin of it, rho between bins.

    Args:
        bins: What tells the bins of the axis apart, shape (K,) or (K, d): equal rows are one bin.
        rho: 0 (independent) to 1 (full).

    Raises:
        InputError: rho is outside [0, 1].
    """
    if not 0.0 <= rho <= 1.0:
        raise InputError(f"covariance: rho is {rho:g}, expected a number from 0 to 1")
    rows = np.reshape(bins, (len(bins), -1))
    same = np.all(rows[:, None, :] == rows[None, :, :], axis=2)
    return np.where(same, 1.0, rho)


def rho_covariance(sigma: Array, correlations: Sequence[Array] = ()) -> Array:
    """Return C_kl = u_k u_l times the product of the axes' correlations, shape (K, K).

    The elementwise product of positive semi-definite matrices is positive semi-definite (Schur).
    Source: Feichtinger, Belle II pyhf talk: rho between momentum bins, full along the others.

    Args:
        sigma: Relative error per calibration bin, shape (K,).
        correlations: One (K, K) matrix of :func:`axis_correlation` per axis.

    Example:
        >>> import numpy as np
        >>> momentum = axis_correlation(np.arange(2.0), 0.5)
        >>> rho_covariance(np.array([0.01, 0.02]), [momentum]).tolist()
        [[0.0001, 0.0001], [0.0001, 0.0004]]
    """
    matrix = np.outer(sigma, sigma)
    for correlation in correlations:
        matrix = matrix * correlation
    return matrix


def combine_covariances(
    blocks: Sequence[Covariance], shared: Sequence[Sequence[Array]] = ()
) -> Covariance:
    """Stack maps into one covariance, block-diagonal but for the sources that they share.

    Args:
        blocks: One per map, in the order of the calibration bins.
        shared: Per shared source its relative shifts in every map, one array per map (already in
            the blocks); they correlate the maps fully.
    """
    sizes = [block.n_bins for block in blocks]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    matrix = np.zeros((starts[-1], starts[-1]))
    for block, start, stop in zip(blocks, starts[:-1], starts[1:], strict=True):
        matrix[start:stop, start:stop] = block.matrix
    for shifts in shared:
        whole = np.outer(np.concatenate(shifts), np.concatenate(shifts))
        for start, stop in itertools.pairwise(starts):
            whole[start:stop, start:stop] = 0.0
        matrix += whole
    return Covariance(
        matrix,
        tuple(label for block in blocks for label in block.labels),
        "; ".join(dict.fromkeys(block.model for block in blocks)),
        max((block.asymmetry for block in blocks), default=0.0),
    )


def read_matrix(address: str, *, folder: str | Path = ".") -> Array:
    """Read a matrix: ``file.npz:name``, ``file.npy``, or text as ``file.csv`` or ``file.txt``.

    Raises:
        InputError: The file is missing, damaged, or not a table of numbers.
    """
    path, _, name = address.partition(":")
    file = Path(folder) / path
    if not is_file(file):
        raise InputError(f"{address}: no file '{file}'")
    suffix = file.suffix.lower()
    if suffix in TEXT_SUFFIXES:
        if name:
            raise InputError(f"{address}: a text file holds one matrix; leave ':{name}' out")
        return read_text_matrix(file, address)
    if suffix not in (".npz", ".npy"):
        raise InputError(
            f"{address}: expected a .npz, .npy, .csv, .tsv, .txt or .dat file, got '{path}'"
        )
    if suffix == ".npz" and not zipfile.is_zipfile(file):  # numpy would offer to unpickle it
        raise InputError(f"{address}: cannot be read as npz (no zip archive)")
    try:
        check_arrays(file, address, None if suffix == ".npy" or not name else [name])
        loaded = np.load(file, allow_pickle=False)
        if suffix == ".npy":
            return _real(loaded, address)
        with loaded as archive:
            names = list(archive.files)
            if not name and len(names) == 1:
                name = names[0]
            if name not in names:
                raise InputError(
                    f"{address}: no array '{name}'; the file has: {', '.join(sorted(names))}"
                )
            return _real(archive[name], address)
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise InputError(f"{address}: cannot be read as {suffix[1:]} ({error})") from None


def _real(values: Any, address: str) -> Array:
    if values.dtype.kind not in "iuf":
        raise InputError(f"{address}: holds {values.dtype}, expected real numbers")
    return np.asarray(values, dtype=float)
