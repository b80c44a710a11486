"""The record of a scan of mass spectra for bumps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddphf.arrays import Part, Spec
from ddphf.results import shapes as s
from ddphf.results.growth import Warned

__all__ = ["SHAPE", "BumpsResult", "describe_p", "misfits"]


@dataclass(frozen=True, repr=False)
class BumpsResult(Warned):
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
        network: Its version, digest and training; None where it was not asked.
    """

    spectra: tuple[Spec, ...]
    overall: Part
    width: Spec
    method: str
    toys: int
    seed: int
    left_out: tuple[str, ...] = ()
    network: Part = None

    SCHEMA = "ddphf/bumps/1"


INTERVAL = s.maybe(s.listed(s.NUMBER, minItems=2, maxItems=2))
BEST = s.fields(
    {
        "mass": s.NUMBER,
        "width": s.NUMBER,
        "events": s.HOLE,
        "z": s.HOLE,
        "p_local": s.PROBABILITY,
        "p_global": s.PROBABILITY,
        "p_global_interval": INTERVAL,
    },
    {
        "bin": s.COUNT, "events_error": s.HOLE, "z_known": s.HOLE, "rho": s.HOLE, "toys": s.COUNT,
        "toys_failed": s.COUNT, "z_global": s.HOLE, "width_bins": s.HOLE,
    },
)  # fmt: skip
FAMILY = s.fields(
    {"family": s.TEXT, "z": s.HOLE, "events": s.HOLE, "deviance": s.HOLE, "p": s.HOLE},
    {"parameters": s.ANY, "why": s.TEXT, "edm": s.HOLE, "z_plug": s.HOLE},
)
NETWORK = s.fields(
    {
        "z": s.HOLES,
        "best": s.fields({"mass": s.NUMBER, "z": s.NUMBER}, {"bin": s.COUNT, "z_spline": s.HOLE}),
        "differs": {"type": "boolean"},
    }
)
SPECTRUM = s.fields(
    {
        "name": s.TEXT,
        "z_known": s.HOLES,
        "z_profiled": s.HOLES,
        "rho": s.HOLES,
        "best": s.maybe(BEST),
        "background": s.maybe(
            s.fields(
                {"method": s.TEXT, "deviance": s.HOLE, "p": s.HOLE},
                {
                    "expected_deviance": s.HOLE, "expected": s.HOLES, "without_bump": s.HOLES,
                    "coordinate": s.TEXT, "link": s.TEXT, "freedom": s.HOLE, "strength": s.HOLE,
                    "edm": s.HOLE, "given": s.HOLES,
                    "failed_candidates": s.COUNT,
                },
            )
        ),
        "status": s.TEXT,
    },
    {
        "rank": s.COUNT, "why": s.TEXT, "edges": s.listed(s.NUMBER, minItems=2),
        "observed": s.HOLES,
        "start": s.COUNT, "widths": s.HOLES, "excluded": s.listed({"type": ["string", "null"]}),
        "unit": s.TEXT, "digest": s.TEXT, "families": s.listed(FAMILY), "spread": s.ANY,
        "at": s.ANY,
        "network": NETWORK, "partner": s.HOLES, "ratio": s.HOLES, "sources": s.listed(s.TEXT),
        "warnings": s.listed(s.TEXT),
    },
)  # fmt: skip
SHAPE = s.fields(
    {
        "spectra": s.listed(SPECTRUM),
        "global": s.maybe(
            s.fields(
                {"p": s.PROBABILITY, "spectra": s.COUNT},
                {"p_interval": INTERVAL, "z": s.HOLE, "name": s.TEXT},
            )
        ),
        "width": s.OPEN,
        "method": s.TEXT,
        "toys": s.COUNT,
        "seed": s.COUNT,
    },
    {
        "left_out": s.listed(s.TEXT),
        **s.WARNINGS,
        "network": s.maybe(s.OPEN),
        "provenance": s.OPEN,
    },
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
        if not s.increases(edges):
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
