"""Label flips: every label drawn again, and every histogram of every selection filled again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.compute.streams import SEARCH, block_generator
from ddphf.inputs.contents import number_contents
from ddphf.search.boxes import Boxes
from ddphf.search.histograms import SelectedHistogram
from ddphf.search.lines import LANES
from ddphf.search.rows import Cells, LabelRows

__all__ = ["AIMED", "FLIPS", "Draw", "FlippedEvents", "Observable", "draw_labels", "order_rows"]

FLIPS, AIMED = 16, 17
"""Ensembles of blocks of flips: plain ones, and those aimed at a window."""

PIECE = 1 << 14
"""Rows whose labels are drawn at once: 8 MB with their 128 flips."""

SPACE = 32 << 20
"""Bytes of the differences of cells, before they are added to those of selections."""

Tilt = Callable[[slice], AnyArray]
"""Returns the change of the log odds of some rows in each flip, (rows, LANES)."""


@dataclass(frozen=True)
class Observable:
    """A histogram that is filled for every selection.

    Attributes:
        name: For people.
        edges: Of each axis.
        bins: Flat bin of each row, -1 outside, (n,).
        boxes: Its windows.
    """

    name: str
    edges: tuple[tuple[float, ...], ...]
    bins: IntArray
    boxes: Boxes

    @property
    def n_bins(self) -> int:
        """Flat bins."""
        return int(np.prod(self.boxes.shape))


def order_rows(rows: LabelRows, cells: Cells, observables: Sequence[Observable]) -> AnyArray:
    """Return an order of the rows that does not depend on the one they came in.

    Rows of equal contents have no order, and are the same. Rows that pass no selection are left
    out; those of a cell lie together.
    """
    known = cells.cell >= 0
    columns = [rows.steps, rows.share, rows.observed, rows.tested, rows.event]
    columns += [*rows.slopes.T, *(o.bins for o in observables)]
    contents = number_contents(columns, rows.n)
    first = observables[0].bins if observables else cells.cell
    order = np.lexsort((contents, first, cells.cell))
    return np.asarray(order[known[order]])


@dataclass(frozen=True)
class Draw:
    """Labels of some rows in a block of flips.

    Attributes:
        rows: Which.
        changed: y - q, with the nominal q, (rows, LANES), float32.
        share: q as it was drawn with, without the tilt, (rows, 1) or (rows, LANES).
        tilt: Change of the log odds, or None.
    """

    rows: slice
    changed: AnyArray
    share: AnyArray
    tilt: AnyArray | None


def draw_labels(
    rows: LabelRows, rng: np.random.Generator, pulls: AnyArray, tilt: Tilt | None = None
) -> Iterator[Draw]:
    """Yield the labels of a block of flips, some rows at a time, in the order of the rows.

    Args:
        rows: Of all labels.
        rng: Of the block. Each row takes the same numbers from it whatever the pieces are.
        pulls: Of the nuisances of the labels in each flip, (k, LANES), float32.
        tilt: Further change of the log odds.
    """
    share = rows.share.astype(np.float32)
    odds = (rows.share / (1 - rows.share)).astype(np.float32)
    space = np.empty((PIECE, LANES), dtype=np.float32)
    for start in range(0, rows.n, PIECE):
        some = slice(start, min(start + PIECE, rows.n))
        u = space[: some.stop - some.start]
        rng.random(out=u, dtype=np.float32)
        q = share[some, None]
        nominal = q
        if pulls.shape[0]:
            q = rows.slopes[some] @ pulls
            q += 1.0
            np.maximum(q, np.float32(1e-6), out=q)
            q *= odds[some, None]
            q /= 1 + q
        shift = None if tilt is None else tilt(some)
        if shift is None:
            threshold = q
        else:
            raised = q * np.exp(shift)
            threshold = raised / (1 - q + raised)
        changed = np.empty_like(u)
        np.less(u, threshold, out=changed)
        changed -= nominal
        yield Draw(some, changed, q, shift)


class FlippedEvents:
    """The histograms of one observable, of the data and of flips.

    Attributes:
        rows: In their order.
        cells: Of the rows.
        observable: With the bins of the rows.
        histograms: Of the data, of every selection.
    """

    def __init__(self, rows: LabelRows, cells: Cells, observable: Observable) -> None:
        self.rows, self.cells, self.observable = rows, cells, observable
        self.histograms = _fill_data(rows, cells, observable)
        self._groups = list(self._plan())

    def _plan(self) -> Iterator[tuple[int, int, dict[int, tuple[IntArray, Any]]]]:
        """Yield (first cell, end, what adds the rows of each piece to bins of these cells)."""
        cell, bins, size = self.cells.cell, self.observable.bins, self.observable.n_bins
        count = self.cells.passes.shape[1]
        step = max(1, SPACE // (size * LANES * 4))
        for first in range(0, count, step):
            end = min(first + step, count)
            begin, stop = np.searchsorted(cell, [first, end])
            adds = {}
            for piece in range(begin // PIECE, -(-stop // PIECE)):
                low, high = max(begin, piece * PIECE), min(stop, (piece + 1) * PIECE)
                local = np.flatnonzero(bins[low:high] >= 0)
                pairs = (cell[low + local] - first) * size + bins[low + local]
                order = np.argsort(pairs, kind="stable")
                places, starts = np.unique(pairs[order], return_index=True)
                within = (low - piece * PIECE + local[order]).astype(np.int32)
                matrix = sparse.csr_matrix(
                    (
                        self.rows.steps[low + local[order]].astype(np.float32),
                        within,
                        np.append(starts, len(order)),
                    ),
                    shape=(len(places), min(PIECE, self.rows.n - piece * PIECE)),
                )
                adds[piece] = (places, matrix)
            yield first, end, adds

    def differences(self, draws: Iterator[Draw], chosen: Sequence[int]) -> AnyArray:
        """Return D of some selections in every flip, (selections, bins, LANES), float32.

        Args:
            draws: Of all rows.
            chosen: Numbers of the selections.
        """
        size = self.observable.n_bins
        out = np.zeros((len(chosen), size * LANES), dtype=np.float32)
        passes = self.cells.passes[np.asarray(chosen)]
        draw = next(draws, None)
        for first, end, adds in self._groups:
            cells = np.zeros((end - first) * size * LANES, dtype=np.float32)
            table = cells.reshape(-1, LANES)
            for piece, (places, matrix) in adds.items():
                while draw is not None and draw.rows.start < piece * PIECE:
                    draw = next(draws, None)
                assert draw is not None
                table[places] += matrix @ draw.changed
            wide, step = cells.reshape(end - first, -1), 64 * LANES
            for start in range(0, size * LANES, step):  # small products stay in the cache
                out[:, start : start + step] += passes[:, first:end] @ wide[:, start : start + step]
        for _ in draws:  # to the end: whoever listens to the draws hears all of them
            pass
        return out.reshape(len(chosen), size, LANES)

    def flip(
        self, seed: int, block: int, chosen: Sequence[int], *, ensemble: int = FLIPS
    ) -> tuple[AnyArray, AnyArray]:
        """Return D of some selections in the flips of a block, and the nuisances' values.

        Args:
            seed: Of the search.
            block: Number of the block of 128 flips.
            chosen: Numbers of the selections.
            ensemble: Whose block it is.
        """
        rng = block_generator(seed, SEARCH.start(ensemble, block + 1) + block)
        pulls = draw_pulls(rng, self.rows)
        labels = pulls[: self.rows.slopes.shape[1]]
        return self.differences(draw_labels(self.rows, rng, labels), chosen), pulls

    def terms(self, number: int, differences: AnyArray, pulls: AnyArray) -> AnyArray:
        """Return the profiled terms t' of one selection's flips, (bins, LANES), float32."""
        histogram = self.histograms[number]
        terms = differences * histogram.roots[:, None].astype(np.float32)
        others = histogram.pulls[:, histogram.labels :]
        if others.shape[1]:
            terms += others.astype(np.float32) @ pulls[histogram.labels :]
        return np.asarray(histogram.project(terms), dtype=np.float32)


def draw_pulls(rng: np.random.Generator, rows: LabelRows) -> AnyArray:
    """Return values of all nuisances in each flip of a block, (k + m, LANES), float32."""
    count = rows.slopes.shape[1] + rows.shifts.shape[1]
    return np.asarray(rng.standard_normal((count, LANES), dtype=np.float32))


def _fill_data(rows: LabelRows, cells: Cells, observable: Observable) -> list[SelectedHistogram]:
    """Return the histograms of the data, selection by selection."""
    size, count = observable.n_bins, cells.passes.shape[1]
    used = np.flatnonzero(observable.bins >= 0)
    place = cells.cell[used] * size + observable.bins[used]
    passes = cells.passes.astype(float)

    def fill(values: Array) -> Array:
        filled = np.bincount(place, values[used], count * size).reshape(count, size)
        return np.asarray(passes @ filled)

    spread = rows.steps * rows.share * (1 - rows.share)
    parts = [fill(spread * column) for column in rows.slopes.T]
    k = len(parts)
    columns = rows.shifts.tocsc()
    parts += [fill(columns[:, [i]].toarray().ravel()) for i in range(columns.shape[1])]
    changes = np.stack(parts, axis=-1) if parts else np.zeros((len(passes), size, 0))
    event = rows.event.astype(float)
    filled = (event, event * rows.tested, rows.observed, rows.variance, rows.expected)
    n, tested, difference, variance, expected = map(fill, filled)
    variance = np.maximum(variance, expected)
    # Sums of many numbers: what is 0 may be 1e-20.
    variance[variance < 1e-9] = 0.0
    return [
        SelectedHistogram(
            selection=s, events=round(float(n[s].sum())), tested=tested[s],
            partner=n[s] - tested[s], difference=difference[s], variance=variance[s],
            changes=changes[s], labels=k,
        )
        for s in range(len(passes))
    ]  # fmt: skip
