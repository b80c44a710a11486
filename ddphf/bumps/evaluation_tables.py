"""Tables of an evaluation: Delta Z, against what it depends, AUC, false positives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm

from ddphf.arrays import Array, Mask, Spec
from ddphf.statistics.roc import make_roc
from ddphf.statistics.tails import tail_interval

__all__ = ["QUIET", "Row", "summarize"]

LOUD = (3.0, float(norm.isf(1e-3)), 4.0, 5.0)
"""Z at which false positives are counted; the second has a local p of 1e-3."""

RATE = 1e-3
"""Of false positives, whose threshold is looked for."""

LEVEL = 0.95

QUIET = -9.0
"""What stands for a spectrum of which no significance is stated: below all others."""

BINNED: dict[str, tuple[float, ...]] = {
    "z": (1.0, 3.0, 5.0, 8.0, 12.0, 20.0),
    "counts": (10.0, 100.0, 1e3, 1e4, 1e5),
    "place": (0.0, 0.33, 0.66, 1.0),
    "bins": (30.0, 50.0, 75.0, 101.0),
    "width": (0.5, 1.0, 1.4, 2.0, 3.0),
}
"""Against what Delta Z is told: significance, background in the bin of the signal, its place in the
range of masses from 0 to 1, number of bins, and width in bins."""

DIFFERENCES = np.linspace(-4.0, 4.0, 33)
"""Edges of the histogram of Delta Z; what is beyond is counted in the outer bins."""

CURVE = (1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""False-positive rates of the curve of true ones."""


@dataclass(frozen=True)
class Row:
    """What is kept of one spectrum.

    Attributes:
        family: Of its background.
        signal: Whether it has a bump.
        z: Of the known background in the bin of the bump, and what was estimated.
        stated: Whether a significance is stated in that bin.
        largest: What ranks it, the same of the known background, and the largest stated Z.
        about: Values of :data:`BINNED`.
        described: Whether the background describes the counts.
        failed: Fits without a certificate.
    """

    family: str
    signal: bool
    z: tuple[float, float]
    stated: bool
    largest: tuple[float, float, float]
    about: tuple[float, ...]
    described: bool
    failed: int


def summarize(which: str, rows: list[Row]) -> Spec:
    """Return what a record says of a set of functions."""
    with_bump = [row for row in rows if row.signal]
    without = [row for row in rows if not row.signal]
    z = np.array([row.z for row in with_bump]).reshape(-1, 2)
    stated = np.array([row.stated for row in with_bump], dtype=bool)
    difference = z[:, 1] - z[:, 0]
    largest = np.array([row.largest for row in with_bump]).reshape(-1, 3)
    quiet = np.array([row.largest for row in without]).reshape(-1, 3)
    every = np.full(len(stated), True)
    out: Spec = {
        "name": which,
        "signals": len(with_bump),
        "signals_stated": int(stated.sum()),
        "backgrounds": len(without),
        "undescribed": sum(not row.described for row in rows),
        "failed": sum(row.failed for row in rows),
        "delta_z": _spread(difference[stated]),
        "delta_z_all": _spread(difference),
        "delta_z_histogram": {
            "edges": DIFFERENCES.tolist(),
            "counts": np.histogram(
                np.clip(difference, DIFFERENCES[0], DIFFERENCES[-1]), DIFFERENCES
            )[0].tolist(),
        },
        "auc": _auc(quiet, largest, 0, every),
        "auc_stated": _auc(quiet, largest, 0, stated),
        "auc_missed": _auc(quiet, largest, 2, every),
        "auc_known": _auc(quiet, largest, 1, every),
        "roc": _curve(quiet[:, 0], largest[:, 0]),
        "false_positives": _false_positives(quiet[:, 2]),
        "threshold": _threshold(quiet[:, 2], largest[:, 2]),
        "against": {},
    }
    about = np.array([row.about for row in with_bump]).reshape(len(with_bump), len(BINNED))
    for column, (name, edges) in enumerate(BINNED.items()):
        which_bin = np.digitize(about[:, column], edges[1:-1])
        out["against"][name] = [
            {"low": edges[i], "high": edges[i + 1], **_spread(difference[which_bin == i])}
            for i in range(len(edges) - 1)
        ]
    names = np.array([row.family for row in with_bump])
    out["against"]["family"] = [
        {"family": str(name), **_spread(difference[names == name])} for name in np.unique(names)
    ]
    return out


def _auc(quiet: Array, largest: Array, column: int, some: Mask) -> Spec | None:
    if len(quiet) < 2 or some.sum() < 2:
        return None
    roc = make_roc(quiet[:, column], largest[some, column])
    return {"value": roc.auc, "error": roc.auc_error}


def _curve(quiet: Array, largest: Array) -> list[Spec]:
    """Return the part of the signals above the number that a part of the backgrounds reaches."""
    falling = np.sort(quiet)[::-1]
    kept = [rate for rate in CURVE if rate * len(falling) >= 1]
    cuts = [falling[int(rate * len(falling)) - 1] for rate in kept]
    return [
        {"false": rate, "true": float(np.mean(largest >= cut)) if len(largest) else None}
        for rate, cut in zip(kept, cuts, strict=True)
    ]


def _false_positives(quiet: Array) -> list[Spec]:
    rows = []
    for level in LOUD if len(quiet) else ():
        loud = int(np.sum(quiet >= level))
        interval = list(tail_interval(len(quiet), 0, loud, LEVEL))
        rows.append({"z": level, "n": loud, "rate": loud / len(quiet), "interval": interval})
    return rows


def _threshold(quiet: Array, largest: Array) -> Spec | None:
    """Return the Z that one in a thousand backgrounds reaches; None for fewer than a thousand."""
    n = len(quiet)
    if n * RATE < 1:
        return None
    falling = np.sort(quiet)[::-1]
    k = int(n * RATE)
    few, many = (int(binom.ppf(q, n, RATE)) for q in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    z = float(falling[k - 1])
    return {
        "rate": k / n,
        "rate_interval": list(tail_interval(n, 0, k, LEVEL)),
        "z": z,
        "z_interval": [float(falling[min(many, n - 1)]), float(falling[max(few - 1, 0)])],
        "signals": float(np.mean(largest >= z)) if len(largest) else None,
    }


def _spread(difference: Array) -> Spec:
    """Return median and half of the 16-84 % range, with the error of the median."""
    if len(difference) < 2:
        return {"n": len(difference), "bias": None, "bias_error": None, "half_range": None}
    low, high = np.percentile(difference, [16, 84])
    half = float(high - low) / 2
    return {
        "n": len(difference),
        "bias": float(np.median(difference)),
        "bias_error": float(half * np.sqrt(np.pi / 2 / len(difference))),
        "half_range": half,
    }
