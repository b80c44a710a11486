"""The trials of a search of one histogram: its null drawn once, and the p-values that it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Spec
from ddphf.compute.work import HERE, Work
from ddphf.search.global_p import GlobalP, draw_maxima
from ddphf.search.kernels import Scanner
from ddphf.search.maximum import describe_maxima
from ddphf.search.trials import ChosenNull, find_global_p

__all__ = ["Trials"]

MAXIMA = 10_240
"""Fields whose largest window makes the quantiles and the figure of the null."""

ENOUGH = 400
"""So many of these maxima beyond a threshold give its p-value to 5 %."""

OTHERS = 0.05
"""Relative error of the global p-values of windows behind the best."""


@dataclass(frozen=True)
class Trials:
    """The largest window without a signal: its law, drawn once, and the p-values that it gives.

    Attributes:
        chosen: The law of the fields.
        scanner: Of the same windows.
        seed: Of the draws.
        counting: Count plain fields, whatever p is.
        work: Where fields are drawn and scanned, on threads by default; counts fields.
    """

    chosen: ChosenNull
    scanner: Scanner
    seed: int
    counting: bool = False
    work: Work = HERE

    @cached_property
    def maxima(self) -> AnyArray:
        """Statistic of the largest window of plain fields, shape (MAXIMA,)."""
        return draw_maxima(
            self.chosen.null,
            self.scanner,
            MAXIMA,
            seed=self.seed,
            work=self.work,
        )

    def find(self, threshold: float, target: float) -> Spec:
        """Return the global p-value of a threshold, for the record.

        Args:
            threshold: Of the statistic.
            target: Relative error at which drawing ends.
        """
        method: Literal["counted", "auto"] = "counted" if self.counting else "auto"
        found = find_global_p(
            self.chosen, self.scanner, threshold, seed=self.seed, target=target, method=method,
            work=self.work,
        )  # fmt: skip
        return _describe_global(found)

    def find_behind(self, threshold: float) -> Spec:
        """Return the same for a window behind the best, from the maxima where these tell it."""
        above = int(np.count_nonzero(self.maxima >= threshold))
        if above < ENOUGH:
            return self.find(threshold, OTHERS)
        p = above / MAXIMA
        error = math.sqrt(p * (1 - p) / MAXIMA)
        null, windows = self.chosen.null, self.chosen.null.table.n_windows
        return _describe_global(
            GlobalP(
                p=p,
                error=error,
                z=_z_of(p),
                threshold=threshold,
                n_windows=windows,
                n_samples=MAXIMA,
                null=null.name,
                method="counted",
                kernel=self.scanner.kernel,
            )
        )

    def describe(self) -> Spec:
        """Return quantiles and histogram of the maximum, for the record."""
        why = {"method": self.chosen.name, "why": self._why()}
        return {**why, **describe_maxima(self.maxima)}

    def _why(self) -> str:
        found = self.chosen.distortion
        if found is None:
            return "many events in every bin are assumed"
        if self.chosen.few:
            return "few events: their exact law"
        size = f"skewness {found.skewness:.2g} and kurtosis {found.kurtosis:.2g}"
        where = f"of p at z = {found.z:.3g}, largest of all windows"
        return f"relative error of a Gaussian field by {size} ({where})"


def _z_of(p: float) -> float | None:
    return float(norm.isf(p)) if 0 < p < 1 else None


def _describe_global(found: GlobalP) -> Spec:
    z = found.z if found.z is None or math.isfinite(found.z) else None
    out: Spec = {
        "p": found.p,
        "error": found.error,
        "z": z,
        "method": f"{found.null}, {found.method}",
        "samples": found.n_samples,
    }
    if found.p is None and found.method == "counted":
        out["p_interval"] = [0.0, 3 / found.n_samples]
    return out
