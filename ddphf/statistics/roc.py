"""How well a statistic tells signal from background: the ROC curve and the area below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ddphf.arrays import Array
from ddphf.exceptions import InputError

__all__ = ["RocCurve", "make_roc"]

ALL_ORDERED = 3.0
"""Events of which none was seen are at most this many at 95 %."""


@dataclass(frozen=True)
class RocCurve:
    """Efficiency for the signal against that for the background.

    Attributes:
        background: Part of the background ensemble at or above a threshold, falling.
        signal: The same of the signal ensemble.
        auc: Probability that a signal value exceeds a background one, ties counted half.
        auc_error: Its standard error; where every value is in order, 3 / n: the 95 % upper limit
            on what was not seen.
    """

    background: tuple[float, ...]
    signal: tuple[float, ...]
    auc: float
    auc_error: float


def make_roc(
    background: Array, signal: Array, *, paired: bool = False, points: int = 200
) -> RocCurve:
    """Return the ROC curve of two ensembles of one statistic.

    The area is the Mann-Whitney statistic; its error is that of the placements (DeLong, DeLong and
    Clarke-Pearson, Biometrics 44 (1988) 837).

    Args:
        background: Values without signal, shape (n,).
        signal: Values with signal, shape (m,).
        paired: Value i of both comes from the same draw, as with a deterministic shift: the error
            then includes their correlation.
        points: Of the curve, spread evenly in background and signal efficiency and in the
            logarithm of the background efficiency.

    Raises:
        InputError: An ensemble has fewer than two values, or values that are not finite.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> roc = make_roc(rng.normal(size=4000), rng.normal(3.53, 1.0, size=4000))
        >>> abs(roc.auc - 0.993721) < 4 * roc.auc_error, len(roc.signal) > 100
        (True, True)
    """
    null, other = np.asarray(background, dtype=float), np.asarray(signal, dtype=float)
    n, m = len(null), len(other)
    if min(n, m) < 2 or (paired and n != m):
        raise InputError(
            f"ROC: ensembles of {n} and {m} values, expected 2 or more of each"
            + (", equally many for pairs" if paired else "")
        )
    if not (np.all(np.isfinite(null)) and np.all(np.isfinite(other))):
        raise InputError("ROC: an ensemble holds values that are not finite; drop failed toys")
    ranks = rankdata(np.concatenate([null, other]))
    # Placements: the part of the other ensemble below a signal value, and above a background one.
    above_null = (ranks[n:] - rankdata(other)) / n
    below_signal = 1.0 - (ranks[:n] - rankdata(null)) / m
    auc = float(above_null.mean())
    if paired:
        variance = float(np.var(above_null + below_signal, ddof=1)) / n
    else:
        variance = float(np.var(above_null, ddof=1)) / m + float(np.var(below_signal, ddof=1)) / n
    error = float(np.sqrt(variance)) if variance > 0 else ALL_ORDERED / min(n, m)
    parts = np.linspace(0.0, 1.0, max(points // 3, 2))
    # The tail of the background is what a search looks at: as many points per decade of it.
    tail = 1.0 - np.logspace(-np.log10(n), 0.0, max(points // 3, 2))
    thresholds = np.unique(
        np.concatenate([np.quantile(null, [*parts, *tail]), np.quantile(other, parts)])
    )
    return RocCurve(
        background=(1.0, *_efficiency(null, thresholds), 0.0),
        signal=(1.0, *_efficiency(other, thresholds), 0.0),
        auc=auc,
        auc_error=error,
    )


def _efficiency(values: Array, thresholds: Array) -> list[float]:
    below = np.searchsorted(np.sort(values), thresholds, side="left")
    return [float(x) for x in 1.0 - below / len(values)]
