"""Signal templates between simulated masses: moment morphing (arXiv:1410.7388).

A template is shifted and stretched to the mean and width that lie between those of its neighbours,
and the two are mixed. Each inner simulated mass, left out, tells how well that goes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import chi2, norm

from ddphf.arrays import Array, IntArray, Mask, Spec
from ddphf.exceptions import InputError
from ddphf.masses.scan import Sample

__all__ = ["Morphed", "Templates", "morph_signal"]


@dataclass(frozen=True)
class Morphed:
    """The signal of all hypotheses.

    Attributes:
        signal: Its rows are the hypotheses.
        between: Simulated values on both sides, shape (n, 2); nan where there is a simulation.
        record: How it was done, and what leaving out says.
        warnings: Sentences.
    """

    signal: Sample
    between: Array
    record: Spec
    warnings: tuple[str, ...]


TOO_FAR = 3.0
"""Standard deviations: a template that was left out and is missed by more gets a warning."""

FEWEST = 10.0
"""Simulated events that a bin of the comparison has at least: fewer have no chi2."""


class Templates:
    """Simulated templates on one coordinate, times other bins.

    Args:
        values: Of the parameter, shape (k,), increasing.
        yields: Shape (k, m * others), the others fastest.
        error: Of the simulation, of that shape, or None.
        x: Edges of the m bins along which the signal moves, shape (m + 1,).
        log: Whether ln of the yield is interpolated, and not the yield.

    Example:
        A peak that moves by three bins.

        >>> x = np.arange(13.0)
        >>> peak = lambda m: np.diff(norm.cdf(x, m, 1.0))
        >>> templates = Templates(np.array([4.0, 7.0]), np.array([peak(4), peak(7)]), None, x)
        >>> found, _ = templates.at(5.0, 0, 1)
        >>> bool(np.abs(found - peak(5)).max() < 0.01)
        True
    """

    def __init__(
        self, values: Array, yields: Array, error: Array | None, x: Array, log: bool = False
    ) -> None:
        self.values, self.x, self.log = values, x, log
        self.shape = (len(values), len(x) - 1, yields.shape[1] // (len(x) - 1))
        self.yields = yields.reshape(self.shape)
        self.square = np.zeros(self.shape) if error is None else error.reshape(self.shape) ** 2
        self.total: Array = self.yields.sum(axis=(1, 2))
        share = self.yields.sum(axis=2) / self.total[:, None]
        middle, wide = 0.5 * (x[1:] + x[:-1]), np.diff(x)
        self.mean: Array = share @ middle
        spread = share @ (middle**2 + wide**2 / 12.0) - self.mean**2  # events are flat in a bin
        self.width: Array = np.sqrt(spread)

    def at(self, value: float, low: int, high: int) -> tuple[Array, Array]:
        """Return yields and their squared errors at a value, from two templates.

        Args:
            value: Between those of the templates.
            low: Index of the template below.
            high: Of the one above.
        """
        part = (value - self.values[low]) / (self.values[high] - self.values[low])
        ends = {low: 1.0 - part, high: part}
        mean = sum(c * self.mean[i] for i, c in ends.items())
        width = sum(c * self.width[i] for i, c in ends.items())
        shape, square = np.zeros(self.shape[1:]), np.zeros(self.shape[1:])
        for i, c in ends.items():
            stretch = width / self.width[i]
            back = self.mean[i] + (self.x - mean) / stretch
            shape += c * self._moved(self.yields[i], back) / self.total[i]
            square += c**2 * self._moved(self.square[i], back) / self.total[i] ** 2
        if self.log:
            total = float(np.exp(sum(c * np.log(self.total[i]) for i, c in ends.items())))
        else:
            total = float(sum(c * self.total[i] for i, c in ends.items()))
        scale = total / shape.sum()
        return (shape * scale).ravel(), (square * scale**2).ravel()

    def _moved(self, content: Array, back: Array) -> Array:
        """Return what lies between edges, of content whose coordinate is that of `back`."""
        sums = np.concatenate([np.zeros((1, content.shape[1])), np.cumsum(content, axis=0)])
        inside = np.clip(back, self.x[0], self.x[-1])
        return np.asarray(np.maximum(np.diff(PchipInterpolator(self.x, sums)(inside), axis=0), 0.0))

    def leave_out(self, i: int, simulated: bool) -> Spec:
        """Compare an inner template with what its neighbours say of it.

        Args:
            i: Its index.
            simulated: Whether errors of the simulation are known.

        Returns:
            Its ``value``; the relative difference of the ``yield``; the largest difference of a
            bin, as part of the largest bin; ``chi2`` in ``bins``, and that as ``z``.
        """
        found, square = self.at(float(self.values[i]), i - 1, i + 1)
        own, of_own = self.yields[i].ravel(), self.square[i].ravel()
        out: Spec = {
            "value": float(self.values[i]),
            "yield": float(found.sum() / own.sum() - 1.0),
            "largest_bin": float(np.abs(found - own).max() / own.max()),
            "chi2": None, "bins": None, "z": None,
        }  # fmt: skip
        if not simulated:
            return out
        groups = _groups(own, of_own)
        sums = np.array([np.bincount(groups, v) for v in (found - own, square + of_own)])
        some = sums[1] > 0
        out["chi2"] = float(np.sum(sums[0][some] ** 2 / sums[1][some]))
        out["bins"] = int(some.sum())
        if some.any():
            p = chi2.sf(out["chi2"], out["bins"])
            out["z"] = float(norm.isf(np.clip(p, 1e-300, 1.0 - 1e-15)))
        return out


def _groups(yields: Array, square: Array) -> IntArray:
    """Return neighbours joined until they stand for enough simulated events."""
    out, at = np.zeros(len(yields), dtype=np.int64), 0
    total = spread = 0.0
    for i, (y, s) in enumerate(zip(yields, square, strict=True)):
        out[i] = at
        total, spread = total + y, spread + s
        if total**2 >= FEWEST * spread > 0:
            at, total, spread = at + 1, 0.0, 0.0
    if total**2 < FEWEST * spread or spread == 0:  # what is left goes to the last whole group
        out[out == at] = max(at - 1, 0)
    return out


def morph_signal(
    simulated: Sample, at: Array, values: Array, edges: Array | None, *, log: bool, name: str
) -> Morphed:
    """Return the signal of all hypotheses from that of the simulated ones.

    Args:
        simulated: Rows are the simulated values; its norms are not looked at.
        at: The simulated values, shape (k,).
        values: Those of the hypotheses, shape (n,).
        edges: Of the windows, shape (n, m + 1).
        log: Whether ln of the yield is interpolated.
        name: Of the parameter.

    Raises:
        InputError: A hypothesis outside of the simulated ones, or edges that are not known.
    """
    if edges is None:
        raise InputError(
            "at edges: the edges of the windows are missing, so it is not known along which bins "
            "the signal moves with the mass; give edges"
        )
    empty = np.flatnonzero(simulated.yields.sum(axis=1) <= 0)
    if len(empty):
        raise InputError(
            f"at signal.yields: the simulation of {name} = {at[empty[0]]:g} has no event at all"
        )
    outside = np.flatnonzero((values < at[0]) | (values > at[-1]))
    if len(outside):
        raise InputError(
            f"at parameter.values: {name} = {values[outside[0]]:g} lies outside of the simulated "
            f"values, {at[0]:g} to {at[-1]:g}; nothing is extrapolated: leave it out or simulate it"
        )
    common = bool(np.all(edges == edges[0]))
    x = edges[0] if common else np.arange(edges.shape[1], dtype=float)
    templates = Templates(at, simulated.yields, simulated.error, x, log)
    place = np.searchsorted(at, values)
    exact: Mask = at[place] == values
    yields, square = simulated.yields[place], np.zeros((len(values), simulated.yields.shape[1]))
    if simulated.error is not None:
        square = simulated.error[place] ** 2
    between = np.full((len(values), 2), np.nan)
    for i in np.flatnonzero(~exact):
        low, high = int(place[i]) - 1, int(place[i])
        yields[i], square[i] = templates.at(float(values[i]), low, high)
        between[i] = at[low], at[high]
    square[yields == 0] = 0.0
    known = simulated.error is not None
    left_out = [templates.leave_out(i, known) for i in range(1, len(at) - 1)]
    record: Spec = {
        "method": "moment morphing",
        "yields": "log" if log else "linear",
        "along": "common bins" if common else "bins of the window",
        "simulated": at.tolist(),
        "n_interpolated": int(np.sum(~exact)),
        "left_out": left_out,
    }
    error = np.sqrt(square) if known else None
    signal = Sample(simulated.name, yields, error, simulated.shapesys)
    return Morphed(signal, between, record, tuple(_warn(left_out, known, exact, name)))


def _warn(left_out: list[Spec], known: bool, exact: Mask, name: str) -> list[str]:
    if exact.all():
        return []
    if not left_out:
        return [
            "no simulated hypothesis has neighbours on both sides, so nothing checks the "
            "interpolation of the signal"
        ]
    if not known:
        worst = max(left_out, key=lambda entry: float(entry["largest_bin"]))
        return [
            "signal.error is missing, so it is not known whether the interpolation of the signal "
            f"agrees with the simulation: left out, {name} = {worst['value']:g} is missed by up to "
            f"{100 * worst['largest_bin']:.2g} % of its largest bin"
        ]
    far = [entry for entry in left_out if entry["z"] is not None and entry["z"] > TOO_FAR]
    if not far:
        return []
    worst = max(far, key=lambda entry: float(entry["z"]))
    return [
        f"interpolation of the signal: {len(far)} of {len(left_out)} simulated hypotheses, left "
        f"out, are missed by more than {TOO_FAR:g} sigma; the worst is {name} = "
        f"{worst['value']:g} with {worst['z']:.1f} sigma (chi2 {worst['chi2']:.1f} in "
        f"{worst['bins']} bins, yield off by {100 * worst['yield']:.2g} %); simulate more values"
    ]
