"""The test of an analysis's events, for the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.compute.work import HERE, Work
from ddphf.config.analysis import Analysis
from ddphf.exceptions import FitError, InputError
from ddphf.learning.calibration import (
    LAW_REDRAWS,
    check_law,
    chi2_12,
    count_redraws,
    own_p_values,
    smallest_p,
    why_not,
)
from ddphf.learning.pool import LINEAR, Pool, make_pool
from ddphf.learning.read_labels import LabelledEvents, Redrawing, begin
from ddphf.learning.redraws import redraw_pool
from ddphf.learning.statistics import Windows
from ddphf.learning.trained import HEADLINE, TRAINED, train_all
from ddphf.learning.variables import resolutions
from ddphf.results.learn import LearnResult
from ddphf.results.provenance import make_provenance

__all__ = [
    "DEFAULT", "STATISTICS", "describe_events", "describe_null", "judge_events", "judge_pool",
    "learn_test", "provenance_of", "unresolved",
]  # fmt: skip

DEFAULT = ("kernel", "scan")
"""Members of the default: a smooth difference and a narrow one; their smallest p is calibrated."""

STATISTICS = ("default", *LINEAR, *TRAINED)

QUANTILES = (0.5, 0.95, 0.99)

BINS = 50

REACH = 10
"""Redraws that must reach t before the p-value is told by them and not by the law."""


def learn_test(
    analysis: Analysis, *, statistic: str | None = None, **how: Unpack[Redrawing]
) -> LearnResult:
    """Test whether the labels of an analysis's events know anything but their probabilities.

    Args:
        analysis: With sections ``events`` and ``learn``; it needs no signal.
        statistic: One of :data:`STATISTICS`; the analysis's by default.
        how: See :class:`~ddphf.learning.read_labels.Redrawing`. Counts blocks of redraws.

    Raises:
        InputError: The events cannot be used, or the statistic is unknown.
        FitError: t is beyond all redraws and its law is not confirmed by them, or no training
            converged.
    """
    return judge_events(*begin(analysis, **how), statistic=statistic)


def judge_events(
    events: LabelledEvents, n: int, seed: int, work: Work = HERE, *, statistic: str | None = None
) -> LearnResult:
    """Test labelled events, with n redraws; errors as of :func:`learn_test`."""
    which = events.config.statistic if statistic is None else statistic
    if which not in STATISTICS:
        raise InputError(f"statistic '{which}' is unknown; expected {', '.join(STATISTICS)}")
    work.say("redraws of the labels")
    if which in TRAINED:
        trained = train_all(events.points, events.labels, which, n, seed=seed, work=work)
        found = _judge_trained(which, *trained)
    else:
        names = DEFAULT if which == "default" else (which,)
        pool = make_pool(
            events.points, events.labels, names, resolution=resolutions(events.config.variables)
        )
        drawn = redraw_pool(pool, n, seed=seed, work=work)
        found = judge_pool(pool, which, drawn)
    described = describe_events(events)
    warnings = [*events.warnings, *found.pop("warnings")]
    return LearnResult(
        kind="test", statistic=which, redraws=n, **found, **described, seed=seed,
        warnings=tuple(dict.fromkeys(warnings)),
        provenance=provenance_of(events),
    )  # fmt: skip


def judge_pool(pool: Pool, which: str, drawn: AnyArray) -> dict[str, Any]:
    """Return the fields of the record that judge a statistic of a pool.

    Args:
        pool: The events.
        which: ``default`` or the one member.
        drawn: Of :func:`~ddphf.learning.redraws.redraw_pool`.
    """
    observed = pool.observed
    used = len(pool.treatments) - 1  # profiled where there are nuisances
    t, flipped, _ = _headline(which, observed[used], drawn[used])
    counted = count_redraws(t, flipped)
    members, laws = [], []
    for i, member in enumerate(pool.members[pool.treatments[used]]):
        p, _ = own_p_values(float(observed[used, i]), drawn[used, i])
        law = None
        if member.kernel is not None:
            law = check_law(member.kernel.law, drawn[used, i], member.kernel.peaked)
            laws.append((member.kernel.law, law, float(observed[used, i])))
        members.append(
            {
                "statistic": member.name, "t": float(observed[used, i]), "p": p,
                "p_law": _positive(laws[-1][0].p(laws[-1][2])) if law and law["agrees"] else None,
                "found": _found(pool, i, used),
            }
        )  # fmt: skip
    law = laws[0][1] if laws else None
    p_law = None
    if law is not None and law["agrees"]:
        bound = laws[0][0].p(laws[0][2]) * (len(members) if which == "default" else 1)
        p_law = _positive(min(bound, 1.0))
    if which == "kernel" and law is not None and not law["agrees"] and counted.above == 0:
        raise FitError(_beyond(t, drawn.shape[-1], law))
    beyond = p_law is not None and counted.above < REACH and p_law < counted.p
    told: Spec = {"p": counted.p, "z": counted.z, "from": "redraws"}
    if beyond:
        told = {"p": p_law, "z": float(norm.isf(p_law)), "from": "law"}
    warnings = []
    if law is not None and not law["agrees"] and drawn.shape[-1] >= LAW_REDRAWS:
        warnings.append(f"kernel: {why_not(law)}; p is told by redraws alone")
    if counted.above == 0 and not beyond:
        warnings.append(unresolved(drawn.shape[-1]))
    return {
        "t": t, "p": counted.p, "p_interval": counted.interval, "z": counted.z, "p_law": p_law,
        "significance": told, "effective_dof": None if law is None else law["mean"], "law": law,
        "chi2_12": chi2_12(which, t, flipped), "members": tuple(members),
        "treatment": _both_ways(which, observed, drawn) if used else None,
        "null": describe_null(flipped), "warnings": warnings,
    }  # fmt: skip


def _judge_trained(
    which: str, names: Sequence[str], observed: Array, drawn: AnyArray, said: Spec
) -> dict[str, Any]:
    """Return the fields of the record that judge a statistic with a training for each redraw."""
    members = [
        {"statistic": name, "t": float(t), "p": count_redraws(float(t), row).p}
        for name, t, row in zip(names, observed, drawn, strict=True)
    ]
    head = list(names).index(HEADLINE[which])
    t, flipped = float(observed[head]), drawn[head]
    counted = count_redraws(t, flipped)
    finite = flipped[np.isfinite(flipped)]
    warnings = []
    if counted.above == 0:
        warnings.append(unresolved(len(flipped)))
    if which == "nplm":
        warnings.append(
            "nplm: t depends on the epochs and on the unit of the variable, and so does its null; "
            "chi2_12 holds for some of them alone (see null_ks_p)"
        )
    return {
        "t": t, "p": counted.p, "p_interval": counted.interval, "z": counted.z,
        "significance": {"p": counted.p, "z": counted.z, "from": "redraws"},
        "chi2_12": chi2_12(which, t, finite), "members": tuple(members), "network": said,
        "null": describe_null(finite), "warnings": warnings,
    }  # fmt: skip


def unresolved(redraws: int) -> str:
    """Return the warning for data that no redraw reaches."""
    return (
        f"no redraw reaches the data: p is at most about 1 / {redraws + 1}; ask for more "
        "--redraws to resolve it"
    )


def _headline(which: str, observed: Array, drawn: AnyArray) -> tuple[float, AnyArray, int]:
    if which == "default":
        return smallest_p(observed, drawn)
    return float(observed[0]), drawn[0], 0


def _both_ways(which: str, observed: Array, drawn: AnyArray) -> Spec:
    """Return t and p with nuisances drawn alone, and profiled too."""
    out = {}
    for key, row, flips in zip(("prior", "profiled"), observed, drawn, strict=True):
        t, flipped, _ = _headline(which, row, flips)
        counted = count_redraws(t, flipped)
        out[key] = {"t": t, "p": counted.p, "p_interval": list(counted.interval), "z": counted.z}
    return out


def _positive(p: float) -> float | None:
    return p if p > 0 else None


def _beyond(t: float, redraws: int, law: Spec) -> str:
    if redraws < LAW_REDRAWS:
        why = f"{redraws} redraws are too few to check its closed law"
    else:
        why = why_not(law)
    return (
        f"learn: t = {t:.4g} of the kernel is beyond all redraws, and {why}; ask for more "
        f"--redraws, {max(LAW_REDRAWS, 10 * redraws)} or more"
    )


def _found(pool: Pool, number: int, used: int) -> Spec | None:
    """Return what a scan has found: its window, in the transformed variables."""
    member = pool.members[pool.treatments[used]][number]
    if member.name != "scan":
        return None
    dense, added = pool.sums_of(pool.labels.residual[:, None])
    k = pool.labels.changes.shape[1] if used else 0
    pulled = dense[pool.wide : pool.wide + 1 + k]
    best: tuple[float, Spec] | None = None
    for part, sums in zip(member.parts, added["scan"], strict=True):
        assert isinstance(part, Windows)
        z, window = part.scan(sums, pulled)
        if best is not None and abs(z) <= abs(best[0]):
            continue
        box = part.boxes.window(window)
        ends = [
            [float(edges[a]), float(edges[a + size])]
            for edges, a, size in zip(part.cells.edges, box.start, box.size, strict=True)
        ]
        best = z, {"z": z, "variables": list(part.cells.axes), "window": ends}
    return None if best is None else best[1]


def describe_null(flipped: AnyArray) -> Spec:
    """Return quantiles and histogram of redraws, for the record."""
    values = flipped.astype(float)
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, bins=BINS, range=(low, high + 1e-6 * max(abs(high), 1.0)))
    quantiles = zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    return {
        "quantiles": {f"{q:g}": float(v) for q, v in quantiles},
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def provenance_of(events: LabelledEvents) -> dict[str, Any]:
    """Return versions, and the digests of the events and of their histograms."""
    return make_provenance(events_digest=events.digest, data_digest=events.histograms_digest)


def describe_events(events: LabelledEvents) -> dict[str, Any]:
    """Return the fields of the record that describe the events."""
    labels = events.labels
    return {
        "labels": {
            "n_tested": int(labels.tested.sum()),
            "n_partner": int(np.sum(~labels.tested)),
            "pi_min": float(labels.share.min()),
            "pi_max": float(labels.share.max()),
            "rho": labels.rho,
            "fakes": {"tested": events.fakes[0], "partner": events.fakes[1]},
        },
        "variables": tuple(_describe_variables(events)),
        "pairing": events.pairing,
        "nuisances": events.nuisances,
        "left_out": events.left_out,
        "data_digest": events.histograms_digest,
    }


def _describe_variables(events: LabelledEvents) -> Sequence[Spec]:
    return [
        {**vars(variable), "low": float(values.min()), "high": float(values.max())}
        for variable, values in zip(events.config.variables, events.raw.T, strict=True)
    ]
