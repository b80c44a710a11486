"""Rare maxima: flips aimed at one window of one histogram, each with its factor.

    P(max >= z) = E[ exp(-theta Z_W + psi) 1{Z_W >= z} / sum_W' pi_W' 1{Z_W' >= z} ]

where W is drawn with probability pi_W among the windows of all histograms, the labels with the odds
raised by exp(theta c_i) where Z_W = sum_i c_i (y_i - q_i) + (what other nuisances add), and these
from N(theta g, 1) with g their effect on Z_W. Any theta gives the right mean (derived).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.streams import SEARCH, block_generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.search.flip_blocks import run_flips
from ddphf.search.flips import AIMED, Draw, FlippedEvents, draw_labels, draw_pulls
from ddphf.search.histograms import Corners
from ddphf.search.lines import LANES
from ddphf.search.many import NEAR, ManyHistograms, MemberScans

__all__ = ["AimedBlocks", "AimedP", "aim_flips"]


@dataclass(frozen=True)
class AimedP:
    """A small probability of the maximum.

    Attributes:
        p: None where no flip reached the threshold.
        error: Statistical, None with p.
        z: Significance, None with p.
        flips: Drawn.
    """

    p: float | None
    error: float | None
    z: float | None
    flips: int


BEYOND = 0.2
"""The tilted mean of Z_W lies this far above the threshold."""

TARGET = 0.1
"""Relative error at which drawing ends."""


def aim_flips(
    many: ManyHistograms,
    threshold: float,
    flips: int,
    *,
    seed: int,
    work: Work = HERE,
) -> AimedP:
    """Return the probability that the largest statistic of all members reaches a threshold.

    Args:
        many: The histograms.
        threshold: Largest statistic of the data.
        flips: At most so many, in blocks of 128.
        seed: Of the search.
        work: Where blocks are done, in this thread by default; counts flips.
    """
    blocks = -(-flips // LANES)
    SEARCH.start(AIMED, blocks)  # has room for them
    settings = {"many": many, "threshold": threshold, "seed": seed}
    task = Task(f"{__name__}:{AimedBlocks.__name__}", settings, ONE_BLAS_THREAD)
    values = np.zeros(0)
    mean = error = 0.0

    numbered = run_flips(task, range(blocks), work.of(LANES))
    with one_blas_thread(), closing(numbered) as pieces:
        for block, piece in enumerate(pieces):
            values = np.concatenate([values, piece])
            mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
            if block >= 1 and 0 < error < TARGET * mean:
                break
    if not mean > 0:
        return AimedP(None, None, None, len(values))
    p = min(mean, 1.0)
    return AimedP(p, error, float(norm.isf(p)) if p < 1 else None, len(values))


@dataclass(frozen=True)
class _Target:
    """One window that a flip is aimed at.

    Attributes:
        observable: Number of its observable.
        selection: Number of its selection.
        weights: c of every bin times the direction, and a 0 behind them for rows outside the axes.
        gradient: Effect of every nuisance on Z_W, times the direction.
    """

    observable: int
    selection: int
    weights: Array
    gradient: Array


class AimedBlocks:
    """Blocks of flips aimed at windows that reach a threshold.

    Args:
        many: The histograms.
        threshold: Of the statistic.
        seed: Of the search.
    """

    def __init__(self, many: ManyHistograms, threshold: float, seed: int) -> None:
        self.many, self.threshold, self.seed = many, threshold, seed
        self.theta = threshold + BEYOND
        self.corners = [Corners(o.boxes) for o in many.observables]
        # pi ~ 1 / sqrt(area): small windows are the more independent ones.
        self.by_size = [1 / np.sqrt(o.boxes.areas) for o in many.observables]
        self.flipped = [
            FlippedEvents(many.rows, many.cells, observable) for observable in many.observables
        ]
        self.scans = [MemberScans(many, o, events) for o, events in enumerate(self.flipped)]
        self.batches = many.batches()
        weights = [self._weights(m)[0].sum() for m in range(len(many.members))]
        self.total, self.chances = float(np.sum(weights)), np.array(weights) / np.sum(weights)

    def _weights(self, member: int) -> tuple[Array, Array]:
        """Return pi of every window of a member, not normalised, and their scales."""
        found = self.many.members[member]
        boxes = self.many.observables[found.observable].boxes
        histogram = self.flipped[found.observable].histograms[found.selection]
        scales = histogram.scales(self.corners[found.observable])
        weights = np.repeat(self.by_size[found.observable], np.diff(boxes.first))
        return np.where(np.isnan(scales), 0.0, weights), scales

    def _target(self, rng: np.random.Generator, member: int) -> _Target:
        found = self.many.members[member]
        boxes = self.many.observables[found.observable].boxes
        weights, scales = self._weights(member)
        sums = np.cumsum(weights)
        number = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        inside: Mask = np.zeros(boxes.shape, dtype=bool)
        inside[boxes.window(number).slices] = True
        histogram = self.flipped[found.observable].histograms[found.selection]
        sign = -1.0 if self.many.direction == "deficit" else 1.0
        if self.many.direction == "both" and rng.random() < 0.5:
            sign = -1.0
        c = sign * histogram.weights(inside.ravel(), float(scales[number]))
        return _Target(found.observable, found.selection, np.append(c, 0.0), c @ histogram.changes)

    def __call__(self, block: int) -> Array:
        """Return the samples of p of one block, (LANES,)."""
        many, labels = self.many, self.many.rows.slopes.shape[1]
        start = SEARCH.start(AIMED, block + 1)
        rng = block_generator(self.seed, start + block)
        # Sorted: windows of one histogram share what is looked up for them.
        chosen = np.sort(rng.choice(len(self.chances), LANES, p=self.chances))
        targets = [self._target(rng, int(m)) for m in chosen]
        gradients = np.stack([t.gradient for t in targets], axis=1)
        state = rng.bit_generator.state
        log_factor, above, z = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
        heard = False
        for observable, events in enumerate(self.flipped):
            rng.bit_generator.state = state  # the same labels for every observable
            pulls = draw_pulls(rng, many.rows) + (self.theta * gradients).astype(np.float32)
            for members in self.batches:
                if many.members[members[0]].observable != observable:
                    continue
                after = rng.bit_generator.state
                draws = draw_labels(
                    many.rows, rng, pulls[:labels], lambda some: self._tilt(targets, some)
                )
                if not heard:
                    draws, heard = self._listen(draws, log_factor, z), True
                selections = [many.members[m].selection for m in members]
                differences = events.differences(draws, selections)
                for row, member in enumerate(members):
                    terms = events.terms(selections[row], differences[row], pulls)
                    above += self.scans[observable].above(
                        member, terms, self.threshold - NEAR, self.by_size[observable]
                    )
                rng.bit_generator.state = after
        z += np.sum(gradients[labels:] * pulls[labels:], axis=0)
        log_factor += np.sum(self.theta * gradients * (self.theta * gradients / 2 - pulls), axis=0)
        if many.direction == "both":
            above /= 2
        # The window that was aimed at is one of them, whatever single precision makes of it.
        above = np.maximum(above, min(float(w.min()) for w in self.by_size) / 2)
        reached = z >= self.threshold - NEAR
        return np.asarray(np.where(reached, np.exp(log_factor) * self.total / above, 0.0))

    def _tilt(self, targets: list[_Target], some: slice) -> AnyArray:
        rows, cells = self.many.rows, self.many.cells
        cell: IntArray = cells.cell[some]
        out = np.empty((len(cell), LANES), dtype=np.float32)
        for lane, target in enumerate(targets):
            bins = self.many.observables[target.observable].bins[some]
            passes = cells.passes[target.selection][cell]
            out[:, lane] = target.weights[bins] * passes
        out *= (self.theta * rows.steps[some, None]).astype(np.float32)
        return out

    def _listen(self, draws: Iterator[Draw], log_factor: Array, z: Array) -> Iterator[Draw]:
        """Hand draws on, and add up what they change of the factor and of Z_W."""
        share = self.many.rows.share
        for draw in draws:
            assert draw.tilt is not None
            tilt = draw.tilt
            # y - q with the q that was drawn from, without the tilt.
            moved = draw.changed + (share[draw.rows, None].astype(np.float32) - draw.share)
            raised = np.log1p(draw.share * np.expm1(tilt)) - draw.share * tilt
            log_factor += np.sum(raised - tilt * moved, axis=0, dtype=np.float64)
            z += np.sum(tilt * draw.changed, axis=0, dtype=np.float64) / self.theta
            yield draw
