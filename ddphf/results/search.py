"""The record of a search: what ``ddphf search`` writes, one class for all its subcommands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from ddphf.arrays import Part, Spec
from ddphf.results import shapes as s
from ddphf.results.growth import Found
from ddphf.results.provenance import describe_global

__all__ = ["KINDS_OF_SEARCH", "SHAPE", "SearchResult", "misfits", "summarize"]

KINDS_OF_SEARCH = ("null", "pair", "events", "test")

SAME = 1e-3
"""Of a significance, beside that of its p-value."""

SUMMARIZED = 5
"""Windows and selections that a bundle's results.json repeats."""


@dataclass(frozen=True, repr=False)
class SearchResult(Found):
    """What ``ddphf search`` writes. A local significance never stands without the global one.

    Attributes:
        kind: The subcommand: ``null``, ``pair``, ``events`` or ``test``.
        windows: ``rule`` as it was asked for, ``n`` that were searched, ``shape`` of the histogram,
            ``left_out``: how many were ``empty`` or ``degenerate``.
        direction: ``excess``, ``deficit`` or ``both``.
        best: Of the best windows that share no bin: ``start`` and ``size`` in bins, ``edges`` in
            units of the axes, events ``tested`` and ``partner``, ``local``: ``n_sigma`` without
            nuisances, ``z`` with them profiled, the exact ``p`` and its ``z_exact``; ``global``:
            ``p``, ``error``, ``z``, ``method``, ``samples``: how often the largest of all windows
            reaches this z without a signal.
        overall: ``global`` of the best window, of all selections, or of the first ``--z``.
        table: Of ``null``: one row of ``local`` and ``global`` for each ``--z``.
        null: ``method`` and why it was chosen, ``quantiles`` of the maximum, its ``histogram``.
        nuisances: ``name``, ``source``, ``acts_on`` and ``size`` of each that was profiled.
        left_out: Sentences about what was not searched, or could not be taken into account.
        axes: Of the histogram, as in a sidecar.
        pairing: Labels of the ``tested`` sample and of its ``partner``.
        maps: For one or two axes, flat: ``z`` and ``profiled`` of each bin; None where empty.
        size_curve: Largest ``z`` of each ``size``.
        selections: Of ``events``, the best first: ``name``, ``cut``, ``observable``, best window
            (``start``, ``size``, ``edges``, ``tested``, ``partner``), ``local``, ``p_adjusted`` for
            looking at all, ``p_alone`` for looking at its own windows.
        comparison: Of ``pair``, statistics of the whole histogram that were asked for beside the
            windows: ``statistic``, ``value``, and ``p``, ``error``, ``z`` among the ``samples`` of
            its own null.
        kernel: What scanned the null's fields.
    """

    kind: str
    windows: Spec
    direction: str
    best: tuple[Spec, ...] = ()
    overall: Part = None
    table: tuple[Spec, ...] = ()
    null: Part = None
    nuisances: tuple[Spec, ...] = ()
    left_out: tuple[str, ...] = ()
    axes: tuple[Spec, ...] = ()
    pairing: Part = None
    maps: Part = None
    size_curve: tuple[Spec, ...] = ()
    selections: tuple[Spec, ...] = ()
    comparison: tuple[Spec, ...] = ()
    kernel: str = ""

    SCHEMA = "ddphf/search/1"


LOCAL = s.fields(
    {"z": s.HOLE},
    {
        "n_sigma": s.HOLE,
        "p": s.PROBABILITY,
        "z_exact": s.HOLE,
        "method": s.TEXT,
        "statistic": s.TEXT,
        "value": s.HOLE,
    },
)
GLOBAL = s.fields(
    {
        "p": s.PROBABILITY,
        "error": s.HOLE,
        "z": s.HOLE,
        "method": s.TEXT,
        "samples": s.maybe(s.COUNT),
    },
    {"p_interval": s.maybe(s.listed(s.NUMBER, minItems=2, maxItems=2)), "why": s.TEXT},
)
WINDOW = s.fields(
    {
        "start": s.listed(s.COUNT, minItems=1),
        "size": s.listed({**s.COUNT, "minimum": 1}, minItems=1),
        "edges": s.listed(s.listed(s.NUMBER, minItems=2, maxItems=2)),
        "tested": s.NUMBER,
        "partner": s.NUMBER,
        "local": LOCAL,
        "global": GLOBAL,
    },
    {
        "rank": s.COUNT, "expected": s.HOLE, "n_bins": s.COUNT, "variance": s.HOLE,
        "merged": s.COUNT,
        "selection": s.TEXT, "observable": s.TEXT,
    },
)  # fmt: skip
NUISANCE = s.fields(
    {"name": s.TEXT, "source": s.TEXT},
    {"acts_on": s.TEXT, "size": s.HOLE, "pull": s.HOLE, "free": {"type": "boolean"}},
)
SELECTION = s.fields(
    {"name": s.TEXT, "observable": s.TEXT, "local": s.maybe(LOCAL), "p_adjusted": s.PROBABILITY},
    {
        "window": s.maybe(WINDOW), "cut": s.ANY, "tested": s.HOLE, "partner": s.HOLE,
        "p_error": s.HOLE,
        "p_alone": s.PROBABILITY, "events": s.COUNT, "n_windows": s.COUNT,
        "start": s.listed(s.COUNT),
        "size": s.listed(s.COUNT), "units": s.listed(s.TEXT),
        "edges": s.listed(s.listed(s.NUMBER, minItems=2, maxItems=2)),
    },
)  # fmt: skip
COMPARED = s.fields(
    {
        "statistic": s.TEXT, "value": s.NUMBER, "p": s.PROBABILITY, "error": s.HOLE, "z": s.HOLE,
        "samples": s.COUNT,
    },
    {"method": s.TEXT},
)  # fmt: skip
HISTOGRAM = s.fields(
    {"edges": s.listed(s.NUMBER, minItems=2), "counts": s.listed(s.NUMBER, minItems=1)}
)
SHAPE = SearchResult.SHAPE = s.fields(
    {
        "provenance": s.OPEN,
        "kind": {"enum": list(KINDS_OF_SEARCH)},
        "windows": s.fields(
            {"rule": s.TEXT, "n": s.COUNT},
            {
                "shape": s.listed(s.COUNT),
                "left_out": s.ANY,
                "sizes": s.COUNT,
                "all": s.COUNT,
                "histograms": s.COUNT,
                "selections": s.COUNT,
                "observables": s.COUNT,
            },
        ),
        "direction": {"enum": ["excess", "deficit", "both"]},
        "best": s.listed(WINDOW),
        "global": s.maybe(GLOBAL),
    },
    {
        **s.WARNINGS,
        "table": s.listed(s.fields({"local": LOCAL, "global": GLOBAL})),
        "null": s.maybe(
            s.fields(
                {"method": s.TEXT, "quantiles": {"type": "object", "additionalProperties": s.HOLE}},
                {"why": s.TEXT, "samples": s.maybe(s.COUNT), "histogram": s.maybe(HISTOGRAM)},
            )
        ),
        "nuisances": s.listed(NUISANCE),
        "left_out": s.listed(s.TEXT),
        "axes": s.listed(s.AXIS),
        "pairing": s.maybe(s.PAIRING),
        "maps": s.maybe(s.fields({"z": s.HOLES, "profiled": s.HOLES})),
        "size_curve": s.listed(s.fields({"size": s.listed(s.COUNT, minItems=1), "z": s.HOLE})),
        "selections": s.listed(SELECTION),
        "comparison": s.listed(COMPARED),
        "kernel": s.TEXT,
        "seed": s.maybe(s.COUNT),
        "data_digest": s.maybe(s.TEXT),
        "analysis": s.maybe(s.fields({"file": s.maybe(s.TEXT), "digest": s.maybe(s.TEXT)})),
    },
)


def describe_compared(entry: Mapping[str, Any]) -> str:
    """Return a statistic of the whole histogram in words.

    Example:
        >>> found = {"value": 30.21, "p": 0.2, "error": 0.004, "z": 0.8416, "samples": 10_000}
        >>> describe_compared({"statistic": "chi2", **found})
        'chi2 of the whole histogram: 30.21; p = 0.2 +- 0.004 (0.84 sigma) from 10000 label flips'
    """
    return (
        f"{entry['statistic']} of the whole histogram: {entry['value']:.4g}; "
        f"{describe_global(entry)} from {entry['samples']} label flips"
    )


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield windows outside the axes, maps of another length, p-values without a significance."""
    axes = record.get("axes") or []
    yield from s.misfits_of_axes(axes, "axes")
    bins = [len(axis["edges"]) - 1 for axis in axes]
    for number, window in enumerate(record["best"] if axes else ()):
        ends = zip(window["start"], window["size"], bins, strict=False)
        if not len(window["start"]) == len(window["size"]) == len(bins) or any(
            a + k > n for a, k, n in ends
        ):
            yield f"at best.{number}: a window outside the axes"
            continue
        for axis, a, k, edges in zip(
            axes, window["start"], window["size"], window["edges"], strict=False
        ):
            if [axis["edges"][a], axis["edges"][a + k]] != edges:
                yield f"at best.{number}.edges: not those of its bins along '{axis['name']}'"
    entries = [("global", record["global"])] if record["global"] else []
    entries += [(f"best.{i}.global", w["global"]) for i, w in enumerate(record["best"])]
    entries += [
        (f"table.{i}.global", row["global"]) for i, row in enumerate(record.get("table") or ())
    ]
    for where, found in entries:
        p, z = found["p"], found["z"]
        if p is not None and z is not None and abs(norm.isf(p) - z) > SAME * max(abs(z), 1.0):
            yield f"at {where}: p = {p:g} is not {z:g} sigma"
    for key, values in (record.get("maps") or {}).items():
        total = 1
        for n in bins:
            total *= n
        if len(values) != total:
            yield f"at maps.{key}: {len(values)} numbers for {total} bins"
    for curve in (record.get("size_curve") or ()) if axes else ():
        if len(curve["size"]) != len(bins):
            yield "at size_curve: sizes of as many numbers as there are axes"
            break


def summarize(record: dict[str, Any]) -> Spec:
    """Return what results.json of a bundle repeats: the best windows, local and global."""
    keys = ("start", "size", "edges", "tested", "partner", "local", "global")
    return {
        "kind": record["kind"],
        "direction": record["direction"],
        "windows": {key: record["windows"][key] for key in ("rule", "n")},
        "global": record["global"],
        "best": [{key: w[key] for key in keys} for w in record["best"][:SUMMARIZED]],
        "selections": (record.get("selections") or [])[:SUMMARIZED],
    }
