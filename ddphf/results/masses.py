"""The record of a mass scan: what ``ddphf masses`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddphf.arrays import Numbers, Part, Spec
from ddphf.results import shapes as s
from ddphf.results.growth import Warned

__all__ = ["SHAPE", "MassesResult", "misfits", "summarize"]


@dataclass(frozen=True, repr=False)
class MassesResult(Warned):
    """What ``ddphf masses`` writes: a row per hypothesis, and what looking at all of them costs.

    Attributes:
        name: Of the scan.
        parameter: ``name`` and ``unit`` of what is scanned.
        poi: ``name``, ``unit`` and ``bounds`` of the signal strength.
        values: Of the parameter, one per hypothesis.
        levels: Confidence levels of limits, the first one in ``limit`` of each hypothesis.
        hypotheses: ``mu_hat``, ``mu_error``, ``q0``, ``z0``, ``p0`` (null where mu = 0 is
            impossible), ``limit`` with ``asymptotic`` and ``toys`` (``observed``, ``expected`` at
            -2 to 2 sigma; of toys ``error``, ``expected_error``, ``n``, ``n_failed``), ``limits``
            at further levels, ``empty_bins`` (``n``, ``with_events``), ``interpolated``
            and ``between`` which simulated values, ``status``.
        overall: The best hypothesis: its ``value``, ``z0``, ``p0``; ``p`` of the largest z of all
            hypotheses reaching that without a signal, with ``p_interval`` and ``z``, from ``toys``;
            ``gross_vitells`` beside it; a table ``thresholds``. None where it was not asked for.
        empty_bins: ``policy``, ``n`` and ``hypotheses`` that have some, ``with_events``.
        fits: How many fits were ``careful`` and how many ``failed``; ``checked``: 2NLL differences
            of some hypotheses by pyhf.
        interpolation: Errors of leaving simulated hypotheses out; None without interpolation.
        seed: Of everything drawn; None where nothing was.
    """

    name: str
    parameter: Spec
    poi: Spec
    values: Numbers
    levels: Numbers
    hypotheses: tuple[Spec, ...]
    overall: Part = None
    empty_bins: Part = None
    fits: Part = None
    interpolation: Part = None
    seed: int | None = None

    SCHEMA = "ddphf/masses/1"


INTERVAL = s.listed(s.NUMBER, minItems=2, maxItems=2)
ASYMPTOTIC = s.fields({"observed": s.HOLE, "expected": s.BANDS})
TOYS = s.fields(
    {"observed": s.HOLE, "expected": s.BANDS, "error": s.HOLE},
    {"expected_error": s.BANDS, "n": s.COUNT, "n_failed": s.COUNT, "points": s.listed(s.NUMBER)},
)
LIMIT = s.fields({}, {"level": s.NUMBER, "asymptotic": s.maybe(ASYMPTOTIC), "toys": s.maybe(TOYS)})
HYPOTHESIS = s.fields(
    {
        "mu_hat": s.HOLE,
        "mu_error": s.HOLE,
        "q0": s.HOLE,
        "z0": s.HOLE,
        "p0": s.PROBABILITY,
        "limit": LIMIT,
        "empty_bins": s.fields({"n": s.COUNT, "with_events": s.COUNT}, {"bins": s.listed(s.COUNT)}),
        "status": s.TEXT,
    },
    {
        "limits": s.listed(LIMIT), "interpolated": {"type": "boolean"}, "between": INTERVAL,
        "name": s.TEXT,
    },
)  # fmt: skip
GROSS_VITELLS = s.fields(
    {"u0": s.NUMBER, "crossings": s.NUMBER, "error": s.HOLE, "p": s.PROBABILITY}, {"toys": s.COUNT}
)
GLOBAL = s.fields(
    {"value": s.NUMBER, "z0": s.HOLE, "p": s.PROBABILITY, "p_interval": INTERVAL, "toys": s.COUNT},
    {
        "p0": s.PROBABILITY, "z": s.HOLE, "error": s.HOLE, "n_failed": s.COUNT, "n_ge": s.COUNT,
        "p_interval_level": s.NUMBER, "gross_vitells": s.maybe(GROSS_VITELLS),
        "thresholds": s.listed(
            s.fields(
                {"z": s.NUMBER, "p": s.PROBABILITY, "gross_vitells": s.HOLE}, {"error": s.HOLE}
            )
        ),
        "method": s.TEXT,
    },
)  # fmt: skip
SHAPE = MassesResult.SHAPE = s.fields(
    {
        "provenance": s.OPEN,
        "name": s.TEXT,
        "parameter": s.fields({"name": s.TEXT, "unit": s.TEXT}),
        "poi": s.fields({"name": s.TEXT, "unit": s.TEXT, "bounds": INTERVAL}),
        "values": s.listed(s.NUMBER, minItems=1),
        "levels": s.listed(s.NUMBER),
        "hypotheses": s.listed(HYPOTHESIS, minItems=1),
        "global": s.maybe(GLOBAL),
    },
    {
        **s.WARNINGS,
        "empty_bins": s.maybe(
            s.fields(
                {"policy": s.TEXT, "n": s.COUNT, "hypotheses": s.COUNT}, {"with_events": s.COUNT}
            )
        ),
        "fits": s.maybe(s.fields({"careful": s.COUNT, "failed": s.COUNT}, {"checked": s.ANY})),
        "interpolation": s.ANY,
        "seed": s.maybe(s.COUNT),
    },
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield lists of different lengths and values that do not increase."""
    n = len(record["values"])
    if len(record["hypotheses"]) != n:
        yield f"at hypotheses: {len(record['hypotheses'])} for {n} values"
    if not s.increases(record["values"]):
        yield "at values: values that do not increase"


def summarize(record: dict[str, Any]) -> Spec:
    """Return what results.json of a bundle repeats."""
    keys = ("value", "z0", "p", "p_interval", "toys")
    overall = record["global"]
    return {
        "hypotheses": len(record["values"]),
        "range": [record["values"][0], record["values"][-1]],
        "global": None if overall is None else {key: overall[key] for key in keys},
    }
