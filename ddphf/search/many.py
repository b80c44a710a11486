"""Many histograms of many selections, searched together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array
from ddphf.exceptions import InputError
from ddphf.progress import Count
from ddphf.search.flips import FlippedEvents, Observable, order_rows
from ddphf.search.histograms import Corners, SelectedHistogram
from ddphf.search.kernels import Scanner, choose_kernel
from ddphf.search.latest import Latest
from ddphf.search.lines import LANES
from ddphf.search.rows import Cells, LabelRows
from ddphf.search.scan import Direction, check_direction, statistic
from ddphf.search.table import make_table

__all__ = [
    "MIN_EVENTS",
    "NEAR",
    "ManyHistograms",
    "Member",
    "MemberScans",
    "count_p",
    "step_down",
]

MIN_EVENTS = 20
"""Of a selection in a histogram: with fewer, the labels have few outcomes, and the search loses
more by looking than it can find."""

NEAR = 1e-4
"""In single precision what is as close to the observed statistic counts as equal."""

KEPT = 192 << 20
"""Bytes of scales that are kept from one block of flips to the next."""

FIELDS = 128 << 20
"""Bytes of the differences of a block of flips."""


@dataclass(frozen=True)
class Member:
    """One histogram that is searched.

    Attributes:
        observable: Number of the observable.
        selection: Number of the selection.
        window: Number of its best window.
        z: Signed local Z of it.
        n_windows: Windows that are searched.
    """

    observable: int
    selection: int
    window: int
    z: float
    n_windows: int


class ManyHistograms:
    """Every observable of every selection, in the data and under flips.

    Attributes:
        rows: Of all labels, in an order that does not depend on that of the input.
        cells: Of the rows.
        observables: With the bins of the rows.
        direction: What is looked for.
        kernel: ``numba`` or ``numpy``.
        members: The histograms that are searched.
        left_out: (observable, selection, events) of those with too few events.
    """

    def __init__(
        self,
        rows: LabelRows,
        cells: Cells,
        observables: Sequence[Observable],
        *,
        direction: str = "excess",
        kernel: str = "auto",
        progress: Count | None = None,
    ) -> None:
        """Fill the histograms of the data, and find the best window of each.

        Raises:
            InputError: No histogram has enough events.
        """
        self.direction: Direction = check_direction(direction)
        self.kernel = choose_kernel(kernel)
        order = order_rows(rows, cells, observables)
        self.rows = rows.take(order)
        self.cells = Cells(cells.cell[order], cells.passes)
        self.observables = [
            Observable(o.name, o.edges, o.bins[order], o.boxes) for o in observables
        ]
        self.members: list[Member] = []
        self.left_out: list[tuple[int, int, int]] = []
        self._flipped: Latest[FlippedEvents] = Latest()
        for number, observable in enumerate(self.observables):
            corners, events = Corners(observable.boxes), self.flipped(number)
            for histogram in events.histograms:
                self._add(number, histogram, corners)
            if progress is not None:
                progress(number + 1, len(self.observables))
        if not self.members:
            most = max((n for _, _, n in self.left_out), default=0)
            raise InputError(
                f"search: no selection has {MIN_EVENTS} events inside the axes of an observable "
                f"(the most is {most}); take looser selections or wider axes"
            )

    def _add(self, observable: int, histogram: SelectedHistogram, corners: Corners) -> None:
        selection = histogram.selection
        if histogram.events < MIN_EVENTS:
            self.left_out.append((observable, selection, histogram.events))
            return
        scales = histogram.scales(corners)
        window, z = histogram.scan(corners, scales, self.direction)
        if window < 0:
            self.left_out.append((observable, selection, histogram.events))
            return
        count = int(np.sum(~np.isnan(scales)))
        self.members.append(Member(observable, selection, window, z, count))

    def flipped(self, observable: int) -> FlippedEvents:
        """Return the histograms of one observable; only those of the last one are kept."""
        bins = self.observables[observable]
        return self._flipped(observable, lambda: FlippedEvents(self.rows, self.cells, bins))

    @property
    def statistics(self) -> Array:
        """Statistic of the best window of each member."""
        return np.asarray(statistic(np.array([m.z for m in self.members]), self.direction))

    @property
    def best(self) -> int:
        """Number of the best member."""
        return int(np.argmax(self.statistics))

    def batches(self) -> list[list[int]]:
        """Return the numbers of all members, in parts of one observable that fit in memory."""
        out = []
        for number, observable in enumerate(self.observables):
            mine = [i for i, m in enumerate(self.members) if m.observable == number]
            step = max(1, FIELDS // (observable.n_bins * LANES * 4))
            out += [mine[i : i + step] for i in range(0, len(mine), step)]
        return out


class MemberScans:
    """Scans of the members of one observable, each with scales of its own.

    Attributes:
        events: The histograms of the observable.
    """

    def __init__(
        self, many: ManyHistograms, observable: int, events: FlippedEvents | None = None
    ) -> None:
        boxes = many.observables[observable].boxes
        self.events = many.flipped(observable) if events is None else events
        self._members = many.members
        self._corners = Corners(boxes)
        self._scanner = Scanner(make_table(boxes), many.direction, many.kernel)
        self._kept: dict[int, AnyArray] = {}
        self._most = KEPT // (4 * boxes.count)

    def largest(self, member: int, terms: AnyArray) -> AnyArray:
        """Return the largest statistic of a member in fields of its terms (bins, n), (n,)."""
        return self._scanner.largest(terms, self.scales(member))

    def above(self, member: int, terms: AnyArray, z: float, weights: Array) -> Array:
        """Return the sum of weights of each field's windows with Z >= z, (n,).

        Args:
            member: Whose scales are taken.
            terms: Its fields, (bins, n).
            z: The threshold.
            weights: Of a window of each size.
        """
        return self._scanner.above(terms, z, weights, self.scales(member))

    def scales(self, member: int) -> AnyArray:
        """Return the scales of a member's windows as the scanner takes them."""
        scales = self._kept.get(member)
        if scales is None:
            histogram = self.events.histograms[self._members[member].selection]
            scales = self._scanner.prepare(histogram.scales(self._corners))
            if len(self._kept) < self._most:
                self._kept[member] = scales
        return scales


def step_down(statistics: Array, maxima: AnyArray, near: float = NEAR) -> Array:
    """Return p-values adjusted for looking at all members (Westfall and Young, 1993, step-down).

    The largest is compared with the largest of all members in each flip, the second with the
    largest of all but the first, and so on; no p-value is smaller than one before it. They keep
    every correlation. The data are one of the flips, so that none is 0.

    Args:
        statistics: Observed, (members,).
        maxima: Of each member in each flip, (members, flips).
        near: What is so close to the observed one is equal to it.

    Example:
        >>> flips = np.array([[1.0, 2.0, 3.0], [2.5, 0.0, 1.0]])
        >>> step_down(np.array([2.2, 0.5]), flips).tolist()
        [0.75, 0.75]
    """
    order = np.argsort(-statistics, kind="stable")
    highest = np.maximum.accumulate(maxima[order][::-1], axis=0)[::-1]
    above = np.sum(highest >= (statistics[order] - near)[:, None], axis=1)
    p = np.maximum.accumulate((above + 1) / (maxima.shape[1] + 1))
    out = np.empty(len(statistics))
    out[order] = p
    return out


def count_p(
    statistic: float, highest: AnyArray, near: float = NEAR
) -> tuple[float, float, float | None]:
    """Return p of a statistic among flips, its error, and its significance (None for p = 1).

    Args:
        statistic: Observed.
        highest: Of each flip, (flips,).
        near: What is so close to the observed one is equal to it.
    """
    n = len(highest)
    p = float((np.sum(highest >= statistic - near) + 1) / (n + 1))
    return p, float(np.sqrt(p * (1 - p) / n)), float(norm.isf(p)) if p < 1 else None
