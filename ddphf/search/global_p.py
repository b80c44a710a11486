"""How often the best of all windows is as good without a signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Required, TypedDict

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from ddphf.arrays import AnyArray
from ddphf.compute.streams import check_seed
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.search.kernels import Scanner
from ddphf.search.lines import LANES
from ddphf.search.nulls import LATTICE, Null, NullName, Targets
from ddphf.search.samples import AIMED, COUNTED, Aimed, Counted, Kind, Maxima, draw_samples

__all__ = ["Drawing", "GlobalP", "Method", "draw_maxima", "estimate_global_p"]

Method = Literal["aimed", "counted"]

NOTHING = -700.0
"""Logarithm of a p that double precision hardly holds: Z is known then, whatever its error."""

ROUNDING = 1e-12
"""Relative; samples that differ by less are equal."""

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


class Drawing(TypedDict, total=False):
    """The keywords of :func:`estimate_global_p` that say how p is found, ``seed`` among them."""

    seed: Required[int]
    target: float
    max_samples: int
    method: Literal["auto", "aimed", "counted"]
    work: Work


def draw_maxima(null: Null, scanner: Scanner, n: int, *, seed: int, work: Work = HERE) -> AnyArray:
    """Return the largest statistic of n fields without a signal, float32, shape (n,).

    Field i of a seed is the same whatever n is, and however the work is divided.

    Args:
        null: Law of the fields.
        scanner: Of the same windows.
        n: Fields.
        seed: Of the draws.
        work: Where fields are drawn and scanned, on threads by default; counts fields.

    Example:
        >>> from ddphf.search.examples import many_events
        >>> found = draw_maxima(*many_events(), 1024, seed=1)
        >>> bool(abs(np.median(found) - 2.656) < 0.1)  # the median of the maximum
        True
    """
    if n < 1:
        raise InputError(f"null of the maximum: {n} fields, expected one or more")

    settings = {"null": null, "scanner": scanner, "seed": seed}
    found = draw_samples(Maxima, settings, 0, -(-n // LANES), work=work)
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
    work: Work = HERE,
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
        work: Where fields are drawn and scanned, on threads by default; counts fields.

    Raises:
        InputError: A number makes no sense.

    Example:
        >>> from ddphf.search.examples import many_events
        >>> found = estimate_global_p(*many_events(), 5.0, seed=1)
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
    targets = targets or Targets(null.table, threshold)
    sampler = _Sampler(null, scanner, threshold, seed, targets, work)
    most = -(-max_samples // LANES)
    pilot = min(PILOT, most)
    if method != "counted":
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
        self,
        null: Null,
        scanner: Scanner,
        threshold: float,
        seed: int,
        targets: Targets,
        work: Work,
    ) -> None:
        self.null, self.scanner, self.threshold = null, scanner, threshold
        self.work = work
        self.log_scale = float(log_ndtr(-threshold))
        # A lattice has windows exactly at the threshold of the data.
        cut = threshold - (LATTICE if null.name == "binomial" else 0.0)
        drawn = {"null": null, "scanner": scanner, "seed": seed, "cut": cut}
        aim = {"threshold": threshold, "targets": targets, "log_scale": self.log_scale}
        self.samples: list[tuple[Kind, dict[str, object]]] = [
            (Counted, drawn), (Aimed, drawn | aim)
        ]  # fmt: skip
        self.values = [np.zeros(0), np.zeros(0)]

    def blocks(self, kind: int) -> int:
        return len(self.values[kind]) // LANES

    def extend(self, kind: int, blocks: int, most: int) -> None:
        """Draw until there are so many blocks."""
        first, done = self.blocks(kind), sum(len(v) for v in self.values)
        work = self.work.part(done, done + (blocks - first) * LANES)
        function, settings = self.samples[kind]
        new = draw_samples(function, settings, first, blocks, work=work)
        self.values[kind] = np.concatenate([self.values[kind], new])

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
        scale = self.log_scale if kind == AIMED else 0.0
        if scale + (math.log(mean) if mean > 0 else 0.0) < NOTHING:
            return self.blocks(kind)
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
        if error < ROUNDING * mean:
            error = 0.0  # one window: nothing is left to chance
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
