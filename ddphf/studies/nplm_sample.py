"""The collinear mass of a sample with efficiencies and fakes, for the study of symmetrised NPLM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import chi2

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.compute.streams import generator
from ddphf.config.analysis import Analysis
from ddphf.config.learn import LearnConfig, VariableConfig
from ddphf.exceptions import InputError
from ddphf.learning.calibration import DOF, count_redraws
from ddphf.learning.groups import Grouped, group_events
from ddphf.learning.labels import Labels, make_labels
from ddphf.learning.network import NetworkTest
from ddphf.learning.nplm import AdamTest
from ddphf.learning.pool import make_pool
from ddphf.learning.read_labels import read_labelled_events
from ddphf.learning.redraws import redraw_pool
from ddphf.learning.run_test import DEFAULT, judge_pool
from ddphf.progress import Stage

__all__ = ["PAPER_POOL", "study_sample"]

PAPER_POOL = 219_087
"""Events of both e-mu samples in the paper."""

UNIT = 100.0
"""Of the mass in the authors' scripts, in GeV."""

TRAININGS = 39
"""Redraws of a statistic with a training for each."""


def study_sample(analysis: Analysis, *, redraws: int, epochs: int, seed: int, stage: Stage) -> Spec:
    """Test the first variable of a sample: all of it, and as much as the paper has.

    Args:
        analysis: With events; its section ``learn`` may name the variable.
        redraws: Of the labels.
        epochs: Of Adam.
        seed: Of everything drawn.
        stage: Called with a line at each stage.

    Raises:
        InputError: It has no events, or they cannot be used.
    """
    if analysis.events is None:
        raise InputError("study nplm: the analysis file has no section 'events'")
    axis = analysis.events.axes[0]
    variable = VariableConfig(axis.column, label=axis.label or axis.column, unit=axis.unit)
    if analysis.learn is not None:
        variable = analysis.learn.variables[0]
    events = read_labelled_events(replace(analysis, learn=LearnConfig((variable,))))
    rows, n = [], events.labels.n
    parts: list[tuple[str, AnyArray]] = [("all events", np.arange(n))]
    if n > PAPER_POOL:
        some = np.sort(generator(seed, 20).permutation(n)[:PAPER_POOL])
        parts.append(("as many as the paper has", some))
    for number, (name, part) in enumerate(parts):
        stage(f"{variable.label or variable.column}, {name}: {len(part)} events")
        points, labels = events.points[part], _refitted(events.labels.take(part))
        rows.append(
            {
                "part": name, "events": len(part), "tested": int(labels.tested.sum()),
                "pi_min": float(labels.share.min()), "pi_max": float(labels.share.max()),
                **_tests(points, labels, redraws, epochs, seed + number),
            }
        )  # fmt: skip
    return {
        "name": analysis.name, "variable": variable.label or variable.column, "unit": variable.unit,
        "nuisances": len(events.nuisances), "rows": rows, "data_digest": events.histograms_digest,
    }  # fmt: skip


def _refitted(labels: Labels) -> Labels:
    """Return labels of a part of the events, whose probabilities add up to its tested events."""
    odds = labels.share / (1 - labels.share)
    unit = odds / (1 + odds) ** 2
    changes = labels.changes * (unit / labels.spread)[:, None]
    return make_labels(labels.tested, odds, changes=changes, names=labels.names)


def _tests(points: Array, labels: Labels, redraws: int, epochs: int, seed: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, known in (("default", labels), ("permutation", make_labels(labels.tested))):
        pool = make_pool(points, known, DEFAULT)
        found = judge_pool(pool, "default", redraw_pool(pool, redraws, seed=seed))
        out[name] = {"p": found["p"], **{k: found["significance"][k] for k in ("z", "from")}}
    grouped = group_events(points / UNIT, labels)
    counts = _counts(grouped, labels, seed)
    t = NetworkTest(grouped).fit(counts).t
    out["network"] = _judged(np.where(np.isfinite(t), t, np.inf))
    out["nplm"] = {**_judged(AdamTest(grouped, epochs=epochs).fit(counts)), "epochs": epochs}
    return out


def _counts(grouped: Grouped, labels: Labels, seed: int) -> Array:
    """Return tested events of each group in the data, and in redraws with nuisances drawn.

    Returns:
        (g, 1 + TRAININGS).
    """
    rng = generator(seed, 21)
    out = [grouped.sums(labels.tested.astype(float))]
    for _ in range(TRAININGS):
        pulls = rng.standard_normal(labels.changes.shape[1]).astype(np.float32)
        drawn = rng.random(labels.n) < labels.share + labels.changes @ pulls
        out.append(grouped.sums(drawn.astype(float)))
    return np.stack(out, axis=1)


def _judged(t: Array) -> dict[str, Any]:
    """Return t of the data with its p by redraws and by chi2_12."""
    counted = count_redraws(float(t[0]), t[1:])
    return {
        "t": float(t[0]), "p": counted.p, "z": counted.z, "null_mean": float(np.mean(t[1:])),
        "chi2_12_p": max(float(chi2.sf(t[0], DOF)), 1e-300),
    }  # fmt: skip
