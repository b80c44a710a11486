"""Statistics of a whole histogram, for comparison with windows: t(A, B), KS, chi2 and the G-test.

All are functions of the same flips, so that each has its own exact null. With D the difference, V
its variance, B the tested events and n all events of a bin, of which B is expected to be E:

    t = (1 / M) sum D / sqrt(B) over the M bins with B > 0      (the slide's t(A, B), with r)
    KS = max_k |F_B(k) - F_rA(k)|, cumulative shares of B and of r A = B - D; one axis
    chi2 = sum D^2 / V, nuisances profiled
    G = 2 sum [B ln(B / E) + (n - B) ln((n - B) / (n - E))]
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from scipy.special import xlogy

from ddphf.arrays import AnyArray, Array
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.search.flip_blocks import FlipBlocks, draw_flips
from ddphf.search.flips import FlippedEvents
from ddphf.search.histograms import SelectedHistogram
from ddphf.search.latest import Latest
from ddphf.search.lines import LANES
from ddphf.search.many import ManyHistograms
from ddphf.search.scan import Direction, statistic

__all__ = [
    "STATISTICS",
    "WHOLE",
    "Whole",
    "WholeStatistics",
    "g_test",
    "kolmogorov",
    "rank_values",
    "slide_t",
    "whole_flips",
]

Whole = Literal["t", "ks", "chi2", "g"]

WHOLE: tuple[Whole, ...] = get_args(Whole)

STATISTICS = ("n_sigma", *WHOLE)
"""``n_sigma`` is that of the best window."""


def slide_t(difference: AnyArray, tested: AnyArray) -> AnyArray:
    """Return t, for arrays of shape (bins, ...).

    Example:
        >>> slide_t(np.array([30.0, -5.0]), np.array([100.0, 25.0])).tolist()
        1.0
    """
    good = tested > 0.5
    terms = np.divide(difference, np.sqrt(np.where(good, tested, 1.0)))
    count = np.maximum(good.sum(axis=0), 1)
    return np.asarray(np.where(good, terms, 0.0).sum(axis=0) / count)


def kolmogorov(difference: AnyArray, tested: AnyArray) -> AnyArray:
    """Return the largest distance of the cumulative shares, for (bins, ...) along one axis.

    Example:
        >>> kolmogorov(np.array([10.0, -10.0]), np.array([30.0, 10.0])).tolist()
        0.25
    """
    other = tested - difference
    one, two = (np.cumsum(x, axis=0) for x in (tested, other))
    shares = [x / np.where(x[-1] != 0, x[-1], 1.0) for x in (one, two)]
    return np.asarray(np.max(np.abs(shares[0] - shares[1]), axis=0))


def g_test(tested: AnyArray, total: Array, expected: Array) -> AnyArray:
    """Return G, for ``tested`` of shape (bins, ...) and n and E of shape (bins,).

    Example:
        >>> round(float(g_test(np.array([60.0]), np.array([100.0]), np.array([50.0]))), 4)
        4.0271
    """
    wide = (slice(None),) + (None,) * (tested.ndim - 1)
    n, e = total[wide], expected[wide]
    b = np.clip(tested, 0.0, n)
    empty = n <= 0
    safe_e, safe_a = np.where(empty, 1.0, e), np.where(empty, 1.0, n - e)
    return np.asarray(2 * np.sum(xlogy(b, b / safe_e) + xlogy(n - b, (n - b) / safe_a), axis=0))


def _value(
    which: Whole,
    histogram: SelectedHistogram,
    expected: Array,
    difference: AnyArray,
    tested: AnyArray,
    terms: AnyArray,
    direction: Direction,
) -> AnyArray:
    if which == "chi2":
        return np.asarray(np.sum(terms**2, axis=0))
    if which == "ks":
        return kolmogorov(difference, tested)
    if which == "g":
        return g_test(tested, histogram.tested + histogram.partner, expected)
    return statistic(slide_t(difference, tested), direction)


@dataclass(frozen=True)
class _Counting:
    """What the flips of one observable need.

    Attributes:
        events: The histograms.
        counts: The same, of events alone: differences with steps of 1 are counts.
        expected: E, expected tested events given n, (selections, bins).
    """

    events: FlippedEvents
    counts: FlippedEvents
    expected: Array


@dataclass(frozen=True)
class WholeStatistics(FlipBlocks):
    """A statistic of some members in a block of flips.

    Attributes:
        which: ``t``, ``ks``, ``chi2`` or ``g``.
    """

    which: Whole
    _counting: Latest[_Counting] = field(default_factory=Latest, repr=False, compare=False)

    def values(self, members: list[int], block: int) -> AnyArray:
        """Return the statistic."""
        many, number = self.many, self.many.members[members[0]].observable
        found = self._counting(number, lambda: _count(many, number))
        selections = [many.members[m].selection for m in members]
        differences, pulls = found.events.flip(self.seed, block, selections)
        counts, _ = found.counts.flip(self.seed, block, selections)
        out = np.empty((len(members), LANES), dtype=np.float32)
        for row, s in enumerate(selections):
            h = found.events.histograms[s]
            terms = found.events.terms(s, differences[row], pulls)
            d = differences[row] + h.changes[:, h.labels :] @ pulls[h.labels :]
            tested = counts[row] + found.expected[s][:, None]
            out[row] = _value(self.which, h, found.expected[s], d, tested, terms, many.direction)
        return out


def whole_flips(
    many: ManyHistograms,
    which: Whole,
    flips: int,
    *,
    seed: int,
    work: Work = HERE,
) -> tuple[Array, AnyArray]:
    """Return a statistic of every member in the data and in every flip.

    Args:
        many: The histograms.
        which: ``t``, ``ks``, ``chi2`` or ``g``.
        flips: How many; the labels are those of the windows' flips.
        seed: Of the search.
        work: Where blocks are done, in this thread by default; counts histograms.

    Returns:
        Shapes (members,) and (members, flips).

    Raises:
        InputError: ``ks`` of an observable with several axes.
    """
    for observable in many.observables if which == "ks" else ():
        if len(observable.edges) > 1:
            raise InputError(
                f"statistic ks: observable '{observable.name}' has {len(observable.edges)} axes, "
                "and cumulative shares need one; give one axis, or take another statistic"
            )
    settings = {"many": many, "which": which, "seed": seed}
    drawn = draw_flips(WholeStatistics, settings, flips, work)
    observed, expected = np.zeros(len(many.members)), {}
    for i, member in enumerate(many.members):
        if member.observable not in expected:
            expected = {member.observable: _expected(many, member.observable)}
        h = many.flipped(member.observable).histograms[member.selection]
        e = expected[member.observable][member.selection]
        terms = h.project(h.difference * h.roots)
        observed[i] = _value(which, h, e, h.difference, h.tested, terms, many.direction)
    return observed, drawn


def _count(many: ManyHistograms, number: int) -> _Counting:
    # Counts are differences with steps of 1 for events and 0 for what is no event.
    plain = replace(many.rows, steps=many.rows.event.astype(float))
    counts = FlippedEvents(plain, many.cells, many.observables[number])
    return _Counting(many.flipped(number), counts, _expected(many, number))


def _expected(many: ManyHistograms, number: int) -> Array:
    """Return E, expected tested events given n, (selections, bins)."""
    observable, cells = many.observables[number], many.cells
    size, count = observable.n_bins, cells.passes.shape[1]
    used = np.flatnonzero((observable.bins >= 0) & many.rows.event)
    place = cells.cell[used] * size + observable.bins[used]
    filled = np.bincount(place, many.rows.share[used], count * size).reshape(count, size)
    return np.asarray(cells.passes.astype(float) @ filled)


def rank_values(observed: Array, flips: AnyArray) -> tuple[Array, AnyArray, Array]:
    """Return statistics that compare members: minus the p-value of each among its own flips.

    A chi2 of 700 bins and one of 10 are not on one scale; their p-values are.

    Args:
        observed: Of the data, (members,).
        flips: Of each flip, (members, flips).

    Returns:
        Minus p of the data (members,), of each flip (members, flips), and p of the data.

    Example:
        >>> value, flipped, p = rank_values(np.array([2.5]), np.array([[1.0, 3.0, 2.0]]))
        >>> p.tolist(), flipped.tolist()
        ([0.5], [[-1.0, -0.5, -0.75]])
    """
    n = flips.shape[1]
    # In single precision sums of so many terms differ by this; a KS distance may be 1e-3.
    near = 1e-5 * np.maximum(np.abs(observed), np.abs(flips).max(axis=1))
    ordered = np.sort(flips, axis=1)
    p, flipped = np.empty(len(observed)), np.empty(flips.shape)
    for i, row in enumerate(ordered):
        p[i] = (n - np.searchsorted(row, observed[i] - near[i]) + 1) / (n + 1)
        flipped[i] = -(n - np.searchsorted(row, flips[i] - near[i]) + 1.0) / (n + 1)
    return -p, flipped, p
