"""How often the best of all windows is as good without a signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from ddphf.arrays import AnyArray, Array
from ddphf.compute.chunks import map_chunks
from ddphf.compute.streams import SEARCH, block_generator, check_seed
from ddphf.exceptions import InputError
from ddphf.progress import Count
from ddphf.search.kernels import Scanner
from ddphf.search.lines import LANES
from ddphf.search.nulls import LATTICE, Null, NullName, Targets

__all__ = ["GlobalP", "Method", "draw_maxima", "estimate_global_p"]

Method = Literal["aimed", "counted"]

COUNTED, AIMED = 0, 1
"""Ensembles of blocks: plain fields, and fields aimed at a threshold."""

CHUNK = 4
"""Blocks scanned together: numpy is fastest with 512 fields side by side."""

PILOT = 8
"""Blocks that decide how many are needed, and whether to count."""


@dataclass(frozen=True)
class GlobalP:
    """Probability that the best of all windows reaches a threshold without a signal.

    Attributes:
        p: None where it underflows; never 0.
        error: Its statistical error, None with p.
        z: Significance of p; None where p is 1 within what was drawn.
        threshold: What is reached: Z, -Z or |Z| by the direction.
        n_windows: Windows compared.
        n_samples: Fields drawn.
        null: Law of the fields.
        method: ``aimed`` at the threshold (importance sampling), or ``counted``.
        kernel: ``numba`` or ``numpy``.
    """

    p: float | None
    error: float | None
    z: float | None
    threshold: float
    n_windows: int
    n_samples: int
    null: NullName
    method: Method
    kernel: str

    @property
    def relative_error(self) -> float | None:
        """Of p."""
        return None if self.p is None or self.error is None else self.error / self.p


def draw_maxima(
    null: Null, scanner: Scanner, n: int, *, seed: int, progress: Count | None = None
) -> AnyArray:
    """Return the largest statistic of n fields without a signal, float32, shape (n,).

    Field i of a seed is the same whatever n is, and however the work is divided.

    Args:
        null: Law of the fields.
        scanner: Of the same windows.
        n: Fields.
        seed: Of the draws.
        progress: Called with (done, total) fields.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> from ddphf.search.nulls import GaussianNull
        >>> from ddphf.search.table import make_table
        >>> table = make_table(make_boxes((28, 28), "6x6"))
        >>> found = draw_maxima(GaussianNull(table), Scanner(table), 1024, seed=1)
        >>> bool(abs(np.median(found) - 2.656) < 0.1)  # the median of the maximum
        True
    """
    if n < 1:
        raise InputError(f"null of the maximum: {n} fields, expected one or more")

    def work(rngs: list[np.random.Generator]) -> AnyArray:
        return scanner.largest(_side_by_side([null.plain(rng) for rng in rngs]))

    found = _run(COUNTED, 0, -(-n // LANES), seed, work, progress)
    return np.asarray(found[:n])


def estimate_global_p(
    null: Null,
    scanner: Scanner,
    threshold: float,
    *,
    seed: int,
    target: float = 0.01,
    max_samples: int = 2_000_000,
    method: Literal["auto", "aimed", "counted"] = "auto",
    targets: Targets | None = None,
    progress: Count | None = None,
) -> GlobalP:
    """Return the probability that some window reaches a threshold without a signal.

    Args:
        null: Law of the fields.
        scanner: Of the same windows; its direction says what reaches.
        threshold: Statistic that is reached.
        seed: Of the draws.
        target: Relative error at which drawing ends.
        max_samples: Fields after which it ends all the same.
        method: By default what needs fewer fields, from the first 1 024: counting where p is large.
        targets: Windows that may be aimed at; by default all that are searched.
        progress: Called with (done, total) fields.

    Raises:
        InputError: A number makes no sense.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> from ddphf.search.nulls import GaussianNull
        >>> from ddphf.search.table import make_table
        >>> table = make_table(make_boxes((28, 28), "6x6"))
        >>> found = estimate_global_p(GaussianNull(table), Scanner(table), 5.0, seed=1)
        >>> abs(found.p - 1.165e-4) < 4 * found.error, found.method
        (True, 'aimed')
    """
    check_seed(seed)
    if not math.isfinite(threshold):
        raise InputError(f"global p-value: local Z = {threshold:g}, expected a finite number")
    if not 0 < target < 1:
        raise InputError(f"global p-value: relative error {target:g}, expected 0 to 1")
    if max_samples < 1:
        raise InputError(f"global p-value: {max_samples} samples, expected one or more")
    sampler = _Sampler(null, scanner, threshold, seed, progress)
    most = -(-max_samples // LANES)
    pilot = min(PILOT, most)
    if method != "counted":
        sampler.aim(targets or Targets(null.table, threshold))
        sampler.extend(AIMED, pilot, most)
        if method == "auto" and sampler.counting_is_better():
            method = "counted"
    kind = COUNTED if method == "counted" else AIMED
    while True:
        wanted = min(max(sampler.blocks_for(kind, target), pilot), most)
        if wanted <= sampler.blocks(kind):
            return sampler.result(kind)
        sampler.extend(kind, wanted, most)


class _Sampler:
    """Samples of both kinds, as far as they were drawn."""

    def __init__(
        self, null: Null, scanner: Scanner, threshold: float, seed: int, progress: Count | None
    ) -> None:
        self.null, self.scanner, self.threshold = null, scanner, threshold
        self.seed, self.progress = seed, progress
        # A lattice has windows exactly at the threshold of the data.
        self.cut = threshold - (LATTICE if null.name == "binomial" else 0.0)
        self.values = [np.zeros(0), np.zeros(0)]
        self.log_scale = 0.0
        self.targets: Targets | None = None

    def aim(self, targets: Targets) -> None:
        """Prepare aimed samples; their factors are relative to the largest usual one."""
        self.targets = targets
        self.log_scale = float(log_ndtr(-self.threshold))

    def blocks(self, kind: int) -> int:
        return len(self.values[kind]) // LANES

    def extend(self, kind: int, blocks: int, most: int) -> None:
        """Draw until there are so many blocks."""
        first = self.blocks(kind)
        work = self._count if kind == COUNTED else self._aim
        done = sum(len(v) for v in self.values)
        total = done + (blocks - first) * LANES

        def say(some: int, of: int) -> None:
            del of
            if self.progress is not None:
                self.progress(done + some, total)

        new = _run(kind, first, blocks, self.seed, work, say)
        self.values[kind] = np.concatenate([self.values[kind], new])

    def _count(self, rngs: list[np.random.Generator]) -> Array:
        fields = _side_by_side([self.null.plain(rng) for rng in rngs])
        return np.asarray(self.scanner.largest(fields) >= self.cut, dtype=float)

    def _aim(self, rngs: list[np.random.Generator]) -> Array:
        """Return samples of p relative to Phi(-z)."""
        assert self.targets is not None
        if not self.targets.count:
            return np.zeros(len(rngs) * LANES)
        direction = self.scanner.direction
        drawn = []
        for rng in rngs:
            signs = np.ones(LANES)
            if direction == "both":
                signs = np.where(rng.random(LANES) < 0.5, 1.0, -1.0)
            elif direction == "deficit":
                signs = -signs
            drawn.append(self.null.tilted(rng, self.threshold, self.targets, signs))
        above = self.scanner.above(
            _side_by_side([d.fields for d in drawn]), self.cut, self.targets.weights
        )
        numbers = np.concatenate([d.numbers for d in drawn])
        size = np.searchsorted(self.null.table.boxes.first, numbers, side="right") - 1
        # The window that was aimed at is one of them, whatever single precision makes of it.
        above = np.maximum(above, self.targets.weights[size])
        if direction == "both":
            above = above / 2  # each window is aimed at in both directions
        factor = np.exp(np.concatenate([d.log_factor for d in drawn]) - self.log_scale)
        reached = np.concatenate([d.z for d in drawn]) >= self.cut
        return np.asarray(np.where(reached, factor / above, 0.0))

    def counting_is_better(self) -> bool:
        """Say whether plain fields have the smaller variance, from the aimed ones."""
        values = self.values[AIMED]
        mean = float(values.mean())
        if mean <= 0:
            return True
        log_p = self.log_scale + math.log(mean)
        if log_p > math.log(0.5) and self.null.table.n_windows > 1:
            return True  # a few thousand fields will do, and no weight can be rare
        relative = float(values.var()) / mean**2
        return relative > -math.expm1(log_p) * math.exp(min(-log_p, 700.0))

    def blocks_for(self, kind: int, target: float) -> int:
        """Return how many blocks a relative error needs, a little more than it seems."""
        values = self.values[kind]
        if not len(values):
            return PILOT
        mean = float(values.mean())
        if mean <= 0:
            return 4 * self.blocks(kind)
        relative = float(values.var()) / mean**2
        if relative <= target**2 * len(values):
            return self.blocks(kind)
        return math.ceil(1.05 * relative / target**2 / LANES) + 1

    def result(self, kind: int) -> GlobalP:
        values = self.values[kind]
        n, mean = len(values), float(values.mean())
        error = float(values.std()) / math.sqrt(n)
        if kind == COUNTED:  # none or all of them is no certainty
            share = (mean * n + 1) / (n + 2)
            error = max(error, math.sqrt(share * (1 - share) / n))
        log_scale = self.log_scale if kind == AIMED else 0.0
        p: float | None = None
        z: float | None = None
        if mean > 0:
            log_p = min(log_scale + math.log(mean), 0.0)  # the estimate fluctuates beyond 1
            p = math.exp(log_p) or None
            z = float(-ndtri_exp(log_p)) if log_p < 0 else None
        scale = math.exp(log_scale)
        return GlobalP(
            p, None if p is None else error * scale, z, self.threshold,
            self.null.table.n_windows, n, self.null.name,
            "counted" if kind == COUNTED else "aimed", self.scanner.kernel,
        )  # fmt: skip


def _side_by_side(blocks: Sequence[AnyArray]) -> AnyArray:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def _run(
    kind: int,
    first: int,
    last: int,
    seed: int,
    work: Callable[[list[np.random.Generator]], AnyArray],
    progress: Count | None,
) -> AnyArray:
    """Return what blocks give, in their order, shape ((last - first) * LANES,)."""
    start = SEARCH.start(kind, last)

    def do(numbers: AnyArray, data: Array) -> AnyArray:
        del data
        return work([block_generator(seed, start + int(i)) for i in numbers])

    found = []
    pieces = map_chunks(np.arange(first, last), lambda some: some * 1.0, do, size=CHUNK)
    for piece in pieces:
        found.append(piece)
        if progress is not None:
            progress(sum(map(len, found)), (last - first) * LANES)
    return np.concatenate(found)
