"""The record of a learned asymmetry: what ``ddphf learn`` writes, one class for its subcommands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddphf.arrays import Hole, Part, Spec
from ddphf.results import shapes as s
from ddphf.results.growth import Found

__all__ = [
    "EVENTS_FILE",
    "SHAPE",
    "LearnResult",
    "describe_band",
    "describe_p",
    "events_file",
    "misfits",
    "summarize",
]

EVENTS_FILE = re.compile(r"events_[0-9a-f]{12}_\d{1,4}\.npz")
"""Names of the files of events in a bundle."""

KINDS_OF_LEARNING = ("test", "curve", "power", "study")


@dataclass(frozen=True, repr=False)
class LearnResult(Found):
    """What ``ddphf learn`` writes. No p-value is 0.

    Attributes:
        kind: The subcommand: ``test``, ``curve`` or ``power``; or ``study``.
        statistic: ``default`` (the smallest p of its members), or the one that was asked for.
        t: Its value; of ``default`` -2 ln of the smallest p.
        p: (1 + redraws that reach t) / (1 + redraws).
        p_interval: 68 % interval of the probability to reach t.
        z: Significance of p.
        redraws: Redraws of the labels.
        p_law: Tail of the closed null law where redraws confirm it; of ``default`` the bound by the
            number of members. None where there is no law, or it does not agree.
        significance: ``p``, ``z`` and ``from``: ``redraws``, or ``law`` beyond their reach.
        effective_dof: Mean of the closed law.
        law: Mean and variance of the closed law and of the redraws, and whether they agree.
        chi2_12: ``p`` of t by chi2 with 12 degrees of freedom, and ``null_ks_p``: of the redraws
            against it. It holds where that is not small. Of ``default``, ``scan`` and ``energy``
            ``p`` is None, and ``why`` says the reason.
        members: ``statistic``, ``t``, ``p`` of each, ``p_law``, and what it found.
        labels: ``n_tested``, ``n_partner``, smallest and largest pi, ``rho``, expected ``fakes``.
        variables: ``column``, ``transform``, ``resolution``, ``label``, ``unit``, and the range
            from ``low`` to ``high``.
        pairing: Labels of the ``tested`` sample and of its ``partner``.
        nuisances: ``name`` and ``source`` of each.
        treatment: With nuisances, ``p`` of the same statistic by prior predictive redraws alone
            (``prior``) and with them profiled too (``profiled``); None without.
        null: ``quantiles`` and ``histogram`` of t in the redraws.
        network: Starts, how many agree, certificate; where one was trained. Of the classifier
            ``bootstrap``: the largest score in the data, and its quantiles in bootstrap samples of
            both samples together, the published band.
        curve: Of ``curve``.
        power: Of ``power``.
        study: Of ``study nplm``.
        left_out: Sentences about events that are not used.
    """

    kind: str
    statistic: str
    t: Hole = None
    p: Hole = None
    p_interval: tuple[float, ...] | None = None
    z: Hole = None
    redraws: int = 0
    p_law: Hole = None
    significance: Part = None
    effective_dof: Hole = None
    law: Part = None
    chi2_12: Part = None
    members: tuple[Spec, ...] = ()
    labels: Part = None
    variables: tuple[Spec, ...] = ()
    pairing: Part = None
    nuisances: tuple[Spec, ...] = ()
    treatment: Part = None
    null: Part = None
    network: Part = None
    curve: Part = None
    power: Part = None
    study: Part = None
    left_out: tuple[str, ...] = ()

    SCHEMA = "ddphf/learn/1"


LABELS = s.fields(
    {
        "n_tested": s.COUNT, "n_partner": s.COUNT, "pi_min": s.NUMBER, "pi_max": s.NUMBER,
        "rho": s.NUMBER,
    },
    {"fakes": s.ANY},
)  # fmt: skip
MEMBER = s.fields(
    {"statistic": s.TEXT, "t": s.HOLE, "p": s.PROBABILITY},
    {"p_law": s.PROBABILITY, "p_interval": s.ANY, "found": s.ANY},
)
CHI2 = s.fields({"p": s.PROBABILITY, "null_ks_p": s.HOLE}, {"why": s.TEXT})
VARIABLE = s.fields(
    {"column": s.TEXT, "low": s.NUMBER, "high": s.NUMBER},
    {"transform": s.maybe(s.TEXT), "resolution": s.HOLE, "label": s.TEXT, "unit": s.TEXT},
)
NULL = s.fields(
    {"quantiles": s.OPEN},
    {"histogram": s.maybe(s.fields({"edges": s.listed(s.NUMBER), "counts": s.listed(s.COUNT)}))},
)
POINT = s.fields(
    {"strength": s.NUMBER, "median_z": s.HOLE, "error": s.HOLE, "power": s.HOLE},
    {"power_error": s.HOLE, "ideal": s.OPEN, "q0_l1": s.OPEN},
)
SHAPE = LearnResult.SHAPE = s.fields(
    {"provenance": s.OPEN, "kind": {"enum": list(KINDS_OF_LEARNING)}, "statistic": s.TEXT},
    {
        "t": s.HOLE, "p": s.PROBABILITY,
        "p_interval": s.maybe(s.listed(s.NUMBER, minItems=2, maxItems=2)),
        "z": s.HOLE, "redraws": s.COUNT, "p_law": s.PROBABILITY,
        "significance": s.maybe(s.fields({"p": s.PROBABILITY, "z": s.HOLE, "from": s.TEXT})),
        "effective_dof": s.HOLE, "law": s.maybe(s.OPEN), "chi2_12": s.maybe(CHI2),
        "members": s.listed(MEMBER), "labels": s.maybe(LABELS), "variables": s.listed(VARIABLE),
        "pairing": s.maybe(s.PAIRING), "nuisances": s.listed(s.fields({"name": s.TEXT,
        "source": s.TEXT})),
        "treatment": s.maybe(s.fields({"prior": s.OPEN, "profiled": s.OPEN})),
        "null": s.maybe(NULL),
        "network": s.maybe(s.OPEN), "curve": s.maybe(s.OPEN), "study": s.maybe(s.OPEN),
        "power": s.maybe(
            s.fields({"points": s.listed(POINT)}, {"signal": s.OPEN, "toys": s.COUNT,
            "level": s.NUMBER})
        ),
        "left_out": s.listed(s.TEXT), "seed": {"type": ["integer", "null"]},
        "data_digest": s.maybe(s.TEXT),
        "analysis": s.maybe(s.fields({"file": s.maybe(s.TEXT), "digest": s.maybe(s.TEXT)})),
        **s.WARNINGS,
    },
)  # fmt: skip


def describe_p(record: dict[str, Any]) -> str:
    """Return the p-value of a record in words.

    Example:
        >>> describe_p({"p": 0.21, "p_interval": [0.2, 0.22], "z": 0.806, "redraws": 499})
        'p = 0.21 (0.2 to 0.22), 0.81 sigma, from 499 redraws'
    """
    if record["p"] is None:
        return "p not told"
    low, high = record["p_interval"]
    z = "" if record["z"] is None else f", {record['z']:.2f} sigma"
    return f"p = {record['p']:.3g} ({low:.3g} to {high:.3g}){z}, from {record['redraws']} redraws"


def describe_band(record: Mapping[str, Any]) -> str | None:
    """Return the published band of a classifier's largest score in words; None without one.

    Example:
        >>> ends = {"0.025": 0.5, "0.16": 0.75, "0.84": 1.5, "0.975": 2.0}
        >>> found = {"observed": 1.25, "samples": 40, "quantiles": ends}
        >>> describe_band({"network": {"bootstrap": found}})
        'largest score 1.25; in 40 bootstrap samples 0.75 to 1.5 (68 %), 0.5 to 2 (95 %): the \
published band; events are there twice, so it is no p-value'
    """
    band = (record.get("network") or {}).get("bootstrap")
    if band is None:
        return None
    q = band["quantiles"]
    return (
        f"largest score {band['observed']:.3g}; in {band['samples']} bootstrap samples "
        f"{q['0.16']:.3g} to {q['0.84']:.3g} (68 %), {q['0.025']:.3g} to {q['0.975']:.3g} (95 %): "
        "the published band; events are there twice, so it is no p-value"
    )


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield a p outside its interval, and curves whose bands have another length."""
    interval = record.get("p_interval")
    if interval and record["p"] is not None and not interval[0] <= record["p"] <= interval[1]:
        yield "at p: outside p_interval"
    histogram = (record.get("null") or {}).get("histogram")
    if histogram and len(histogram["edges"]) != len(histogram["counts"]) + 1:
        yield "at null.histogram: edges do not fit the counts"
    curve = record.get("curve") or {}
    values = curve.get("values")
    for key in ("pointwise", "standard_deviation"):
        if values is not None and len(curve.get(key) or values) != len(values):
            yield f"at curve.{key}: {len(curve[key])} numbers for {len(values)} points"


def summarize(record: dict[str, Any]) -> Spec:
    """Return what results.json of a bundle repeats."""
    keys = ("kind", "statistic", "t", "p", "p_interval", "z", "redraws", "p_law", "members",
            "labels")  # fmt: skip
    return {**{key: record.get(key) for key in keys}, "events": events_file(record)}


def events_file(record: Mapping[str, Any]) -> str:
    """Return the name of the events of a record in a bundle: records of the same events share it.

    Example:
        >>> events_file({"provenance": {"events_digest": "sha256:0123456789abcdef"}})
        'events_0123456789ab_0.npz'
    """
    digest = str(record["provenance"].get("events_digest")).removeprefix("sha256:")
    return f"events_{digest[:12]}_{len(record.get('nuisances') or ())}.npz"
