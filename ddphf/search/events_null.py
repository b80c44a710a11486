"""What label flips say of every histogram: of its best window, or of a statistic of all of it."""

from __future__ import annotations

from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.compute.work import Work
from ddphf.search.aimed_flips import aim_flips
from ddphf.search.flip_blocks import flip_maxima
from ddphf.search.many import NEAR, ManyHistograms, count_p
from ddphf.search.maximum import describe_maxima
from ddphf.search.whole_statistics import WHOLE, rank_values, whole_flips
from ddphf.search.window_law import gaussian_law, window_law

__all__ = ["WholeFlips", "WindowFlips"]

RARE = 1e-2
"""Global p below which flips are aimed at windows."""


class WindowFlips:
    """The largest window of every histogram under flips."""

    near = NEAR

    def __init__(
        self, many: ManyHistograms, statistic: str, flips: int, seed: int, work: Work
    ) -> None:
        self.many, self.statistic, self.flips = many, statistic, flips
        self.seed, self.work = seed, work
        self.statistics, self.flipped = self.draw()
        self.highest: AnyArray = self.flipped.max(axis=0)

    def draw(self) -> tuple[Array, AnyArray]:
        """Return the statistic of every histogram, (members,), and in every flip."""
        flipped = flip_maxima(self.many, self.flips, seed=self.seed, work=self.work)
        return self.many.statistics, flipped

    def p_alone(self, member: int) -> float:
        """Return the p-value of a histogram for looking at it alone."""
        return count_p(float(self.statistics[member]), self.flipped[member])[0]

    def local(self, member: int, exact: bool) -> Spec:
        """Return the local entry of a histogram; by the exact law only where it is asked for."""
        found = self.many.members[member]
        deficit = self.many.direction == "deficit" or (
            self.many.direction == "both" and found.z < 0
        )
        if exact:
            return window_law(self.many, found, deficit=deficit)
        return gaussian_law(found.z, deficit=deficit)

    def counted(self, member: int) -> Spec:
        """Return how often the best of all histograms is as good in a flip."""
        p, error, z = count_p(float(self.statistics[member]), self.highest, self.near)
        method = "label flips, counted"
        return {"p": p, "error": error, "z": z, "method": method, "samples": self.flips}

    def globals(self, member: int) -> Spec:
        """Return the same of the best histogram, by aimed flips where it is small."""
        found = self.counted(member)
        if found["p"] >= RARE:
            return found
        self.work.say("flips aimed at windows")
        aimed = aim_flips(
            self.many, float(self.statistics[member]), self.flips, seed=self.seed, work=self.work
        )
        if aimed.p is None:
            return found
        method = "label flips, aimed at windows"
        return {
            "p": aimed.p, "error": aimed.error, "z": aimed.z, "method": method,
            "samples": aimed.flips,
        }  # fmt: skip

    def describe(self) -> Spec:
        """Return the null of the largest of all, for the record."""
        return {
            "method": "label flips",
            "why": "given the events every label is an independent coin; all overlaps are kept",
            **describe_maxima(self.highest),
        }


class WholeFlips(WindowFlips):
    """A statistic of whole histograms: they are compared by their p-values among the flips."""

    def draw(self) -> tuple[Array, AnyArray]:
        """Return minus the p-value of every histogram, (members,), and in every flip."""
        which = next(w for w in WHOLE if w == self.statistic)
        self.near = 0.25 / (self.flips + 1)  # p-values are whole multiples of 1 / (flips + 1)
        self.values, values = whole_flips(
            self.many, which, self.flips, seed=self.seed, work=self.work
        )
        statistics, flipped, self._p_alone = rank_values(self.values, values)
        return statistics, flipped

    def p_alone(self, member: int) -> float:
        """Return the p-value of a histogram for looking at it alone."""
        return float(self._p_alone[member])

    def local(self, member: int, exact: bool) -> Spec:
        """Return the local entry of a histogram: its p among its own flips."""
        del exact
        p = self.p_alone(member)
        return {
            "z": float(norm.isf(p)) if p < 1 else None, "p": p, "method": "label flips",
            "statistic": self.statistic, "value": float(self.values[member]),
        }  # fmt: skip

    def globals(self, member: int) -> Spec:
        """Return how often the smallest p of all histograms is as small in a flip."""
        return self.counted(member)

    def describe(self) -> Spec:
        """Return the null of the smallest p-value; quantiles are those of minus it."""
        return {
            **super().describe(),
            "why": f"{self.statistic} of each histogram among its own flips; the largest of -p",
        }
