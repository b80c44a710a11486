"""The exact null of few events: in every bin B is binomial given n = A + B.

Without fakes its probability is r / (1 + r) whatever the background is. A term is (B - n q) /
sqrt(n q (1 - q)); nuisances move q, drawn with each field where they are constrained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.exceptions import InputError
from ddphf.search.field import Field
from ddphf.search.lines import LANES
from ddphf.search.nulls import LATTICE, NullName, Targets, Tilted
from ddphf.search.scan import Direction
from ddphf.search.table import WindowTable

__all__ = ["GAUSSIAN_BELOW", "BinomialNull", "Distortion", "find_distortion", "reachable"]

GAUSSIAN_BELOW = 0.05
"""Relative error of a local p-value that a Gaussian field may make, in its leading orders."""


@dataclass(frozen=True)
class Distortion:
    """How far windows are from Gaussian at a threshold z, at most.

    Attributes:
        skewness: Largest |gamma| z^3 / 6 with gamma the skewness of a window's Z.
        kurtosis: Largest |kappa| z^4 / 24 with kappa its excess kurtosis.
        z: The threshold.
        n_windows: Windows that can reach it.
    """

    skewness: float
    kurtosis: float
    z: float
    n_windows: int

    @property
    def is_small(self) -> bool:
        """Whether a Gaussian field will do: not where it alone reaches the threshold."""
        return self.n_windows > 0 and max(self.skewness, self.kurtosis) < GAUSSIAN_BELOW


BEYOND = 0.2
"""A tilted window is on average so far above the threshold."""

CANDIDATES = 8
"""Contents of a window from which one is chosen."""

MAX_TILT = 60.0
"""exp of it times a probability is a number in double precision."""


def find_distortion(field: Field, table: WindowTable, z: float, direction: Direction) -> Distortion:
    """Return how far windows that can reach a threshold are from Gaussian.

    Args:
        field: The data: their n and expected shares.
        table: The windows.
        z: The threshold.
        direction: What reaches it.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> from ddphf.search.field import make_field
        >>> from ddphf.search.table import make_table
        >>> field = make_field(np.full((8, 8), 25), np.full((8, 8), 25))
        >>> table = make_table(make_boxes((8, 8), "6x6"), field)
        >>> find_distortion(field, table, 5.0, "excess").is_small
        True
    """
    q, deviation = field.share, _deviation(field)
    filled = deviation > 0
    third, fourth = np.zeros(field.shape), np.zeros(field.shape)
    spread = deviation[filled] ** 2
    third[filled] = (1 - 2 * q[filled]) / deviation[filled]
    fourth[filled] = (1 - 6 * q[filled] * (1 - q[filled])) / spread
    height = abs(z)
    can = reachable(field, table, z, direction)
    largest = [0.0, 0.0]
    first = table.boxes.first
    bins = [sums for _, sums in table.sums(field.filled.astype(float))]
    for i, (values, power) in enumerate(((third, 1.5), (fourth, 2.0))):
        for kind, sums in table.sums(values):
            some = can[first[kind] : first[kind + 1]]
            if some.any():
                found = np.abs(sums[some]) / bins[kind][some] ** power
                largest[i] = max(largest[i], float(found.max()))
    return Distortion(largest[0] * height**3 / 6, largest[1] * height**4 / 24, z, int(can.sum()))


def reachable(field: Field, table: WindowTable, z: float, direction: Direction) -> Mask:
    """Return which windows reach z when all their events are in one sample, by number.

    With nuisances all that are searched: they move what can be reached.
    """
    searched = np.ones(table.boxes.count, dtype=bool)
    if table.scales is not None:
        searched = ~np.isnan(table.scales)
    if table.profile.pulls.shape[1]:
        return searched
    deviation = _deviation(field)
    high, low = (
        np.divide(top, deviation, out=np.zeros(field.shape), where=deviation > 0)
        for top in (field.total * (1 - field.share), field.total * field.share)
    )
    wanted = {"excess": (high,), "deficit": (low,), "both": (high, low)}[direction]
    reached = np.zeros_like(searched)
    numbers = np.arange(table.boxes.count)
    scales = table.scale(numbers)
    for values in wanted:
        for kind, sums in table.sums(values):
            place = slice(int(table.boxes.first[kind]), int(table.boxes.first[kind + 1]))
            # A little below: what is drawn is cut by single precision.
            reached[place] |= sums * np.nan_to_num(scales[place]) >= z - 1e-3
    return np.asarray(searched & reached)


def _deviation(field: Field) -> Array:
    """Return the standard deviation of B in each bin, of the histogram's shape."""
    return np.asarray(np.sqrt(field.total * field.share * (1 - field.share)))


class BinomialNull:
    """Fields of counts, given n of every bin.

    Attributes:
        table: The windows.
    """

    name: NullName = "binomial"

    def __init__(self, field: Field, table: WindowTable) -> None:
        """Prepare the draws.

        Raises:
            InputError: A content is no whole number: sums of weights are not binomial.
        """
        if (fraction := field.first_fraction()) is not None:
            raise InputError(
                f"null of the maximum: bin {fraction[0]} holds {fraction[1]:g}, no whole number; "
                "the binomial null is for counts of events, not for sums of weights: give counts, "
                "or choose the Gaussian null"
            )
        self.table = table
        self._n = field.total.ravel().astype(np.int64)
        self._rates = field.tested_rate.ravel(), field.partner_rate.ravel()
        self._shifts = field.shifts.reshape(2, -1, self._n.size)
        self._share = field.share.ravel()
        self._deviation = _deviation(field).ravel()
        self._mean = self._n * self._share
        self._moving = not field.profile.free.all()

    def _shares(self, alphas: Array) -> Array:
        """Return q for nuisances, shape (bins, LANES); they are (k, LANES)."""
        up, down = (
            np.maximum(rate[:, None] + shift.T @ alphas, 0.0)
            for rate, shift in zip(self._rates, self._shifts, strict=True)
        )
        both = up + down
        return np.asarray(np.divide(up, both, out=self._share[:, None] + 0 * up, where=both > 0))

    def _alphas(self, rng: np.random.Generator) -> Array:
        """Return true values of the nuisances, (k, LANES): free ones are profiled away exactly."""
        free = self.table.profile.free
        return np.where(free[:, None], 0.0, rng.standard_normal((len(free), LANES)))

    def _terms(self, counts: AnyArray) -> AnyArray:
        """Return the projected terms of counts, float32, shape (bins, LANES)."""
        terms = np.zeros(counts.shape, dtype=np.float32)
        deviation = self._deviation[:, None]
        np.divide(counts - self._mean[:, None], deviation, out=terms, where=deviation > 0,
                  casting="same_kind")  # fmt: skip
        return self.table.profile.project(terms)

    def plain(self, rng: np.random.Generator) -> AnyArray:
        """Return a block of fields, nuisances profiled; float32, shape (bins, LANES)."""
        share = self._shares(self._alphas(rng)) if self._moving else self._share[:, None]
        return self._terms(self._draw(rng, share))

    def _draw(self, rng: np.random.Generator, share: Array) -> AnyArray:
        return rng.binomial(self._n[:, None], share, size=(self._n.size, LANES))

    def tilted(self, rng: np.random.Generator, z: float, targets: Targets, signs: Array) -> Tilted:
        """Return a block of fields aimed at windows; a sign of -1 aims at a deficit."""
        numbers = targets.choose(rng)
        inside = self.table.inside(numbers)
        profile = self.table.profile
        # Z of the windows is sum_i along_i t_i.
        along = profile.project(inside * (self.table.scale(numbers) * signs))
        along[self._deviation == 0] = 0.0
        lanes, bins = np.nonzero(along.T)
        step = along[bins, lanes] / self._deviation[bins]
        drift = np.where(profile.free[:, None], 0.0, profile.pulls.T @ along)
        theta = self._solve(lanes, bins, step, np.sum(drift**2, axis=0), z + BEYOND)
        drawn = _Candidates(self, (lanes, bins, step), theta, drift, z - LATTICE)
        for _ in range(CANDIDATES):
            drawn.draw(rng)
        # Without nuisances only bins of the window are tilted; all others are as under the null.
        share = self._shares(drawn.alphas) if self._moving else self._share[:, None]
        counts = self._draw(rng, share)
        counts[bins, lanes] = drawn.counts
        log_factor = drawn.log_sum - np.log(CANDIDATES)
        return Tilted(self._terms(counts), log_factor, drawn.z, numbers)

    def _solve(
        self, lanes: IntArray, bins: IntArray, step: Array, drift: Array, wanted: float
    ) -> Array:
        """Return theta with the mean of the tilted Z about as wanted, shape (LANES,).

        Any theta is right, so that a few Newton steps will do.
        """
        theta = np.full(LANES, wanted)
        theta /= 1 + drift
        n, q, mean = self._n[bins], self._share[bins], self._mean[bins]
        for _ in range(6):
            grown = q * np.exp(np.clip(theta[lanes] * step, -MAX_TILT, MAX_TILT))
            share = grown / (1 - q + grown)
            slope = np.bincount(lanes, step**2 * n * share * (1 - share), LANES) + drift
            value = np.bincount(lanes, step * (n * share - mean), LANES) + theta * drift
            move = (wanted - value) / np.maximum(slope, 1e-3)
            theta = np.clip(theta + np.clip(move, -0.5 - theta / 2, 0.5 + theta / 2), 0.0, 1e3)
        return theta


class _Candidates:
    """Contents of the windows that were aimed at: of several, one by its weight.

    The mean of the weights times what the chosen one gives is unbiased (it is the mean over all of
    them, once the choice is averaged), and the weights of a tail vary much more than the rest.

    Attributes:
        counts: Of the chosen contents, for each pair (lane, bin).
        alphas: Of the nuisances, (k, LANES).
        z: Of the windows, -inf where no candidate has reached the threshold.
        log_sum: Logarithm of the sum of weights.
    """

    def __init__(
        self,
        null: BinomialNull,
        entries: tuple[IntArray, IntArray, Array],
        theta: Array,
        drift: Array,
        cut: float,
    ) -> None:
        self.null, self.theta, self.drift, self.cut = null, theta, drift, cut
        self.lanes, self.bins, self.step = entries
        self.tilt = np.clip(theta[self.lanes] * self.step, -MAX_TILT, MAX_TILT)
        self.n = null._n[self.bins]
        self.counts = null._n[self.bins] * 0
        self.alphas = np.zeros_like(drift)
        self.z = np.full(LANES, -np.inf)
        self.log_sum = np.full(LANES, -np.inf)
        self._prepare(null._share[self.bins])

    def _prepare(self, share: Array) -> None:
        """Tilt shares; log_norm is psi less its parts that are linear."""
        grown = share * np.exp(self.tilt)
        norm = 1 - share + grown
        self.tilted = np.clip(grown / norm, 0.0, 1.0)
        self.log_norm = np.bincount(self.lanes, self.n * np.log(norm), LANES)

    def draw(self, rng: np.random.Generator) -> None:
        """Draw one more candidate, and keep it with the chance that its weight gives it."""
        alphas, log_weight = self.alphas * 0.0, np.zeros(LANES)
        if self.null._moving:  # tilted too: alpha ~ N(theta drift, 1)
            shift = self.theta * self.drift
            alphas = self.null._alphas(rng) + shift
            log_weight = np.sum(0.5 * shift**2 - shift * alphas, axis=0)
            self._prepare(self.null._shares(alphas)[self.bins, self.lanes])
        counts = rng.binomial(self.n, self.tilted)
        log_weight += self.log_norm - np.bincount(self.lanes, self.tilt * counts, LANES)
        z = np.bincount(self.lanes, self.step * (counts - self.null._mean[self.bins]), LANES)
        log_weight[z < self.cut] = -np.inf
        self.log_sum = np.logaddexp(self.log_sum, log_weight)
        with np.errstate(invalid="ignore"):  # -inf less -inf: none has reached yet
            taken = np.log1p(-rng.random(LANES)) < log_weight - self.log_sum
        self.counts = np.where(taken[self.lanes], counts, self.counts)
        self.alphas = np.where(taken, alphas, self.alphas)
        self.z = np.where(taken, z, self.z)
