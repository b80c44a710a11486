"""The record of a mass scan: what ``ddphf masses`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ddphf.arrays import Spec
from ddphf.results.growth import Flat
from ddphf.results.shapes import (
    ANY,
    BANDS,
    COUNT,
    HOLE,
    NUMBER,
    OPEN,
    PROBABILITY,
    TEXT,
    WARNINGS,
    fields,
    increases,
    listed,
    maybe,
)

__all__ = ["SHAPE", "MassesResult", "misfits", "summarize"]


@dataclass(frozen=True, repr=False)
class MassesResult(Flat):
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
        warnings: Sentences for the user.
        provenance: Versions and the digest of the arrays.
    """

    name: str
    parameter: Spec
    poi: Spec
    values: tuple[float, ...]
    levels: tuple[float, ...]
    hypotheses: tuple[Spec, ...]
    overall: Spec | None = None
    empty_bins: Spec | None = None
    fits: Spec | None = None
    interpolation: Spec | None = None
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/masses/1"


INTERVAL = listed(NUMBER, minItems=2, maxItems=2)
ASYMPTOTIC = fields({"observed": HOLE, "expected": BANDS})
TOYS = fields(
    {"observed": HOLE, "expected": BANDS, "error": HOLE},
    {"expected_error": BANDS, "n": COUNT, "n_failed": COUNT, "points": listed(NUMBER)},
)
LIMIT = fields({}, {"level": NUMBER, "asymptotic": maybe(ASYMPTOTIC), "toys": maybe(TOYS)})
HYPOTHESIS = fields(
    {
        "mu_hat": HOLE,
        "mu_error": HOLE,
        "q0": HOLE,
        "z0": HOLE,
        "p0": PROBABILITY,
        "limit": LIMIT,
        "empty_bins": fields({"n": COUNT, "with_events": COUNT}, {"bins": listed(COUNT)}),
        "status": TEXT,
    },
    {
        "limits": listed(LIMIT), "interpolated": {"type": "boolean"}, "between": INTERVAL,
        "name": TEXT,
    },
)  # fmt: skip
GROSS_VITELLS = fields(
    {"u0": NUMBER, "crossings": NUMBER, "error": HOLE, "p": PROBABILITY}, {"toys": COUNT}
)
GLOBAL = fields(
    {"value": NUMBER, "z0": HOLE, "p": PROBABILITY, "p_interval": INTERVAL, "toys": COUNT},
    {
        "p0": PROBABILITY, "z": HOLE, "error": HOLE, "n_failed": COUNT, "n_ge": COUNT,
        "p_interval_level": NUMBER, "gross_vitells": maybe(GROSS_VITELLS),
        "thresholds": listed(
            fields(
                {"z": NUMBER, "p": PROBABILITY, "gross_vitells": HOLE}, {"error": HOLE}
            )
        ),
        "method": TEXT,
    },
)  # fmt: skip
SHAPE = MassesResult.SHAPE = fields(
    {
        "provenance": OPEN,
        "name": TEXT,
        "parameter": fields({"name": TEXT, "unit": TEXT}),
        "poi": fields({"name": TEXT, "unit": TEXT, "bounds": INTERVAL}),
        "values": listed(NUMBER, minItems=1),
        "levels": listed(NUMBER),
        "hypotheses": listed(HYPOTHESIS, minItems=1),
        "global": maybe(GLOBAL),
    },
    {
        **WARNINGS,
        "empty_bins": maybe(
            fields({"policy": TEXT, "n": COUNT, "hypotheses": COUNT}, {"with_events": COUNT})
        ),
        "fits": maybe(fields({"careful": COUNT, "failed": COUNT}, {"checked": ANY})),
        "interpolation": ANY,
        "seed": maybe(COUNT),
    },
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield lists of different lengths and values that do not increase."""
    n = len(record["values"])
    if len(record["hypotheses"]) != n:
        yield f"at hypotheses: {len(record['hypotheses'])} for {n} values"
    if not increases(record["values"]):
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
