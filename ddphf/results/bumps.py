"""The record of a scan of mass spectra for bumps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddphf.arrays import Spec
from ddphf.results.growth import Flat
from ddphf.results.shapes import (
    ANY,
    COUNT,
    HOLE,
    HOLES,
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

__all__ = ["SHAPE", "BumpsResult", "describe_p", "misfits"]


@dataclass(frozen=True, repr=False)
class BumpsResult(Flat):
    """What ``ddphf bumps scan`` writes.

    Attributes:
        spectra: The best first. Of each its ``name``, ``status`` (``scanned``, ``no significance``,
            ``background does not describe``, or ``excluded``) with ``why``; ``edges``,
            ``observed``, ``start`` (first bin that is scanned), ``widths``; per bin ``z_known``,
            ``z_profiled``, ``rho`` and why it is ``excluded``; ``best``; ``background`` with its
            ``method``, ``deviance``, ``p`` and expected counts; ``families``: Z of the same bump
            with functions for the background.
        overall: How often the best of all spectra is as good: ``p``, ``p_interval``, ``spectra``.
        width: How wide a bump was taken to be.
        method: What ranks before there are toys: ``spline`` or ``network``.
        toys: Asked for, of each of the first spectra.
        seed: Of everything drawn.
        left_out: Sentences about what was not done.
        warnings: Sentences for the user.
        network: Its version, digest and training; None where it was not asked.
        provenance: Versions, and the digest of what was read.
    """

    spectra: tuple[Spec, ...]
    overall: Spec | None
    width: Spec
    method: str
    toys: int
    seed: int
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    network: Spec | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/bumps/1"


INTERVAL = maybe(listed(NUMBER, minItems=2, maxItems=2))
BEST = fields(
    {
        "mass": NUMBER,
        "width": NUMBER,
        "events": HOLE,
        "z": HOLE,
        "p_local": PROBABILITY,
        "p_global": PROBABILITY,
        "p_global_interval": INTERVAL,
    },
    {
        "bin": COUNT, "events_error": HOLE, "z_known": HOLE, "rho": HOLE, "toys": COUNT,
        "toys_failed": COUNT, "z_global": HOLE, "width_bins": HOLE,
    },
)  # fmt: skip
FAMILY = fields(
    {"family": TEXT, "z": HOLE, "events": HOLE, "deviance": HOLE, "p": HOLE},
    {"parameters": ANY, "why": TEXT, "edm": HOLE, "z_plug": HOLE},
)
NETWORK = fields(
    {
        "z": HOLES,
        "best": fields({"mass": NUMBER, "z": NUMBER}, {"bin": COUNT, "z_spline": HOLE}),
        "differs": {"type": "boolean"},
    }
)
SPECTRUM = fields(
    {
        "name": TEXT,
        "z_known": HOLES,
        "z_profiled": HOLES,
        "rho": HOLES,
        "best": maybe(BEST),
        "background": maybe(
            fields(
                {"method": TEXT, "deviance": HOLE, "p": HOLE},
                {
                    "expected_deviance": HOLE, "expected": HOLES, "without_bump": HOLES,
                    "coordinate": TEXT, "link": TEXT, "freedom": HOLE, "strength": HOLE,
                    "edm": HOLE, "given": HOLES, "failed_candidates": COUNT,
                },
            )
        ),
        "status": TEXT,
    },
    {
        "rank": COUNT, "why": TEXT, "edges": listed(NUMBER, minItems=2), "observed": HOLES,
        "start": COUNT, "widths": HOLES, "excluded": listed({"type": ["string", "null"]}),
        "unit": TEXT, "digest": TEXT, "families": listed(FAMILY), "spread": ANY, "at": ANY,
        "network": NETWORK, "partner": HOLES, "ratio": HOLES, "sources": listed(TEXT),
        "warnings": listed(TEXT),
    },
)  # fmt: skip
SHAPE = fields(
    {
        "spectra": listed(SPECTRUM),
        "global": maybe(
            fields(
                {"p": PROBABILITY, "spectra": COUNT},
                {"p_interval": INTERVAL, "z": HOLE, "name": TEXT},
            )
        ),
        "width": OPEN,
        "method": TEXT,
        "toys": COUNT,
        "seed": COUNT,
    },
    {"left_out": listed(TEXT), **WARNINGS, "network": maybe(OPEN), "provenance": OPEN},
)
BumpsResult.SHAPE = SHAPE


def describe_p(best: Mapping[str, Any]) -> str:
    """Return the global p-value of a bump in words.

    Example:
        >>> describe_p({"p_global": None, "p_global_interval": [0.0, 0.0115]})
        'p < 0.0115'
        >>> describe_p({"p_global": 0.25, "p_global_interval": [0.22, 0.28], "z_global": 0.674})
        'p = 0.25 [0.22, 0.28], Z = 0.67'
        >>> describe_p({"p_global": None, "p_global_interval": None})
        'p not asked for'
    """
    interval = best["p_global_interval"]
    if interval is None:
        return "p not asked for"
    if best["p_global"] is None:
        return f"p < {interval[1]:.3g}"
    z = best.get("z_global")
    more = "" if z is None else f", Z = {z:.2f}"
    return f"p = {best['p_global']:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]{more}"


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield spectra whose edges do not rise, or whose lists have not one entry per bin."""
    for number, spectrum in enumerate(record["spectra"]):
        where = f"at spectra.{number}"
        edges = spectrum.get("edges")
        if edges is None:
            continue
        if not increases(edges):
            yield f"{where}.edges: edges that do not increase"
        lists = {**spectrum, "network.z": (spectrum.get("network") or {}).get("z")}
        for key in (
            "observed", "z_known", "z_profiled", "rho", "excluded", "widths", "partner", "ratio",
            "network.z",
        ):  # fmt: skip
            values = lists.get(key)
            if values and len(values) != len(edges) - 1:
                yield f"{where}.{key}: {len(values)} entries for {len(edges) - 1} bins"
        best = spectrum.get("best")
        if best and best.get("bin", 0) >= len(edges) - 1:
            yield f"{where}.best.bin: no such bin"
