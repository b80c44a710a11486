"""Statistics that need a training for each redraw: network, nplm, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError
from ddphf.learning.classifier import SCORES, ClassifierTest
from ddphf.learning.groups import group_events
from ddphf.learning.labels import Labels
from ddphf.learning.network import TRIED, NetworkTest
from ddphf.learning.nplm import AdamTest
from ddphf.learning.redraws import check_redraws, redraw_residuals
from ddphf.search.latest import Latest
from ddphf.search.lines import LANES
from ddphf.statistics.tails import refuse_failures

__all__ = ["HEADLINE", "TRAINED", "BootstrapMaxima", "TrainedStatistics", "train_all"]

TRAINED = ("network", "nplm", "classifier")

NAMES = {
    "network": ("network",),
    "nplm": ("t_sym", "t_ce"),
    "classifier": tuple(f"classifier_{name}" for name in SCORES),
}
"""Members of each."""

HEADLINE = {"network": "network", "nplm": "t_sym", "classifier": "classifier_in_sample"}
"""The member whose p-value is that of the statistic."""


MOST_BOOTSTRAPS = 100
"""Of a band that is told beside a p-value and is none itself."""

BAND = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Quantiles of the largest score of bootstrap samples."""


@dataclass(frozen=True)
class BootstrapMaxima:
    """Largest scores of the classifier on bootstrap samples; fields as of the statistics below."""

    points: Array
    labels: Labels
    kind: str
    seed: int
    options: Spec

    def __call__(self, number: int) -> float:
        """Return that of one sample."""
        return ClassifierTest(self.points, self.labels, **self.options).bootstrap(self.seed, number)


@dataclass(frozen=True)
class TrainedStatistics:
    """The statistics of one kind of training, of the data and of redraws.

    Attributes:
        points: Variables, (n, d).
        labels: Of the events.
        kind: One of :data:`TRAINED`.
        seed: Of the redraws.
        options: Of the test: ``hidden``, ``epochs``, ``clip``.
    """

    points: Array
    labels: Labels
    kind: str
    seed: int
    options: Spec
    _kept: Latest[Any] = field(default_factory=Latest, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the members."""
        return NAMES[self.kind]

    def evaluate(self, tested: AnyArray) -> tuple[AnyArray, Spec]:
        """Return the members' values of labellings (n, m), (members, m), and what the fit says."""
        if self.kind == "classifier":
            found = self._kept(0, lambda: ClassifierTest(self.points, self.labels, **self.options))
            return found.fit(tested), {"layers": list(found.layers), "epochs": found.epochs}
        if self.kind == "network":
            test = self._kept(
                0, lambda: NetworkTest(group_events(self.points, self.labels), **self.options)
            )
            events = test.events
            fit = test.fit(events.sums(tested.astype(float)))
            said = {
                "starts": test.starts, "tried": TRIED, "agree": int(fit.agree[0]),
                "edm": _number(fit.edm[0]), "groups": len(events.counts),
                "parameters": fit.parameters[0].tolist(),
            }  # fmt: skip
            return fit.t[None], said
        events = self._kept(0, lambda: group_events(self.points, self.labels))
        counts = events.sums(tested.astype(float))
        values = [AdamTest(events, loss, **self.options).fit(counts) for loss in ("sym", "ce")]
        return np.array(values), {"groups": len(events.counts), **self.options}

    def __call__(self, part: int) -> AnyArray:
        """Return the members' values of a part of a block of redraws, (members, PART)."""
        block, inner = divmod(part, LANES // PART)
        residual = redraw_residuals(self.labels, self.seed, block)
        some = residual[:, inner * PART : (inner + 1) * PART]
        tested = np.rint(some + self.labels.share[:, None].astype(np.float32))
        return self.evaluate(tested)[0]


PART = 16
"""Redraws of a block: a training takes long."""


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def train_all(
    points: Array,
    labels: Labels,
    kind: str,
    redraws: int,
    *,
    seed: int,
    options: Spec | None = None,
    work: Work = HERE,
) -> tuple[Sequence[str], Array, AnyArray, Spec]:
    """Return the members' names, values of the data and of redraws, and what the data's fit says.

    A redraw without a certified fit counts as one that reaches the data.

    Args:
        points: Variables, (n, d).
        labels: Of the events.
        kind: One of :data:`TRAINED`.
        redraws: How many; they are the same labels as those of the other statistics.
        seed: Of the redraws.
        options: Of the test.
        work: Where trainings are done, threads of this process by default; counts parts of redraws.

    Raises:
        FitError: No start converged for the data, or for too many redraws.
    """
    check_redraws(redraws)
    settings: Spec = {
        "points": points, "labels": labels, "kind": kind, "seed": seed, "options": options or {},
    }  # fmt: skip
    here = TrainedStatistics(**settings)
    with one_blas_thread():
        observed, said = here.evaluate(labels.tested[:, None])
        if not np.all(np.isfinite(observed)):
            raise FitError(
                f"learn: no start of the {kind} converged on the data; take the statistic "
                "'kernel', which has one minimum"
            )
        task = Task(f"{__name__}:TrainedStatistics", settings, ONE_BLAS_THREAD)
        parts = range(-(-redraws // PART))
        drawn = list(run_blocks(task, parts, runner=work.runner, progress=work.count))
        band = None
        if kind == "classifier":
            task = Task(f"{__name__}:BootstrapMaxima", settings, ONE_BLAS_THREAD)
            numbers = range(min(redraws, MOST_BOOTSTRAPS))
            band = list(run_blocks(task, numbers, runner=work.runner))
    values = np.concatenate(drawn, axis=1)[:, :redraws]
    failed = int(np.sum(~np.isfinite(values).all(axis=0)))
    refuse_failures(failed, redraws, f"learn: trainings of the {kind}", "p would mean nothing")
    said = {**said, "failed_redraws": failed}
    if band is not None:
        said["bootstrap"] = {
            "statistic": "classifier_maximum", "observed": float(observed[0, 0]),
            "samples": len(band),
            "quantiles": {f"{q:g}": float(np.quantile(np.array(band), q)) for q in BAND},
        }  # fmt: skip
    return here.names, observed[:, 0], np.where(np.isfinite(values), values, np.inf), said
