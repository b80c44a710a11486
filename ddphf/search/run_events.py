"""The search of many selections and observables of one event table, for the record."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Unpack

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.results.provenance import make_provenance
from ddphf.results.search import SearchResult
from ddphf.search.events_null import WholeFlips, WindowFlips
from ddphf.search.looking import Look, Looking
from ddphf.search.many import ManyHistograms, Member, step_down
from ddphf.search.read_events import SearchEvents, read_search_events
from ddphf.search.whole_statistics import STATISTICS

__all__ = ["search_events"]


def search_events(
    analysis: Analysis,
    *,
    statistic: str = "n_sigma",
    flips: int = 1000,
    nuisances: bool = True,
    top: int = 10,
    **looking: Unpack[Looking],
) -> SearchResult:
    """Search every observable of every selection of an analysis's events.

    Args:
        analysis: With a section ``events``; its section ``search`` names selections and
            observables.
        statistic: ``n_sigma``, the best window; or ``t``, ``ks``, ``chi2``, ``g`` of the whole
            histogram.
        flips: Label flips of the null.
        nuisances: Whether errors of efficiencies and fakes are taken into account.
        top: Histograms of the list of the best.
        looking: See :class:`~ddphf.search.looking.Look`; windows are those of every observable.
            Counts histograms of flips.

    Raises:
        InputError: The events cannot be used, or no selection has enough of them.
    """
    if statistic not in STATISTICS:
        raise InputError(f"statistic '{statistic}' is unknown; expected {', '.join(STATISTICS)}")
    if top < 1 or flips < 1:
        raise InputError(f"{top} best of {flips} flips: expected one or more of each")
    look = Look(**looking)
    direction, windows, work = look.direction, look.windows, look.work
    work.say("events")
    events = read_search_events(
        analysis, windows=windows, nuisances=nuisances, max_windows=look.max_windows
    )
    many = ManyHistograms(
        events.rows, events.cells, events.observables, direction=direction, kernel=look.kernel
    )
    # What was read in its own order is held no longer.
    events = replace(events, rows=events.rows.take(np.zeros(0, dtype=np.int64)))
    warnings = list(events.warnings)
    if analysis.lepton_id is None and not analysis.ratio_stated:
        warnings.append(
            "no efficiency ratio is stated and no maps are given: both samples are taken to be "
            "selected with equal efficiency; a ratio that is 1 % off is found as a signal"
        )
    work.say("label flips")
    made = WindowFlips if statistic == "n_sigma" else WholeFlips
    null = made(many, statistic, flips, look.seed, work)
    work.say("ranking")
    order = sorted(range(len(many.members)), key=lambda i: (-null.statistics[i], i))
    locals_ = [null.local(i, rank < top) for rank, i in enumerate(order)]
    overall = null.globals(order[0])
    adjusted = step_down(null.statistics, null.flipped, null.near)
    if overall["p"] is not None:  # an aimed one is finer than counting
        adjusted[order[0]] = overall["p"]
    selections, best = [], []
    for rank, i in enumerate(order):
        entry = _describe(many, events, many.members[i])
        entry |= {"local": locals_[rank], "p_adjusted": float(adjusted[i])}
        entry["p_alone"] = null.p_alone(i)
        selections.append(entry)
        if rank < top and statistic == "n_sigma":
            keys = ("start", "size", "edges", "tested", "partner", "local", "observable")
            window = {key: entry[key] for key in keys}
            found = overall if rank == 0 else null.counted(i)
            best.append({"rank": rank + 1, **window, "selection": entry["name"], "global": found})
    count = sum(m.n_windows for m in many.members) if statistic == "n_sigma" else 0
    digest = _digest(many)
    return SearchResult(
        kind="events",
        windows={
            "rule": windows if statistic == "n_sigma" else f"none: {statistic} of whole histograms",
            "n": count, "histograms": len(many.members), "selections": len(events.selections),
            "observables": len(events.observables),
        },
        direction=direction,
        best=tuple(best),
        overall=overall,
        null=null.describe(),
        nuisances=tuple(
            {"name": d.name, "source": d.source, "acts_on": acts}
            for d, acts in zip(events.directions, _acts(many), strict=True)
        ),
        left_out=tuple(_left_out(many, events)),
        pairing={"tested": analysis.tested.label, "partner": analysis.partner.label},
        selections=tuple(selections),
        kernel=many.kernel,
        seed=look.seed,
        data_digest=digest,
        warnings=tuple(dict.fromkeys(warnings)),
        provenance={**make_provenance(), "data_digest": digest},
    )  # fmt: skip


def _describe(many: ManyHistograms, events: SearchEvents, member: Member) -> Spec:
    """Return one histogram and its best window."""
    observable = many.observables[member.observable]
    histogram = many.flipped(member.observable).histograms[member.selection]
    window = observable.boxes.window(member.window)
    shape = observable.boxes.shape
    tested, partner = (
        float(counts.reshape(shape)[window.slices].sum())
        for counts in (histogram.tested, histogram.partner)
    )
    selection = events.selections[member.selection]
    axes = events.axes[member.observable]
    return {
        "name": selection.name,
        "cut": selection.select,
        "observable": observable.name,
        "units": [axis.unit for axis in axes],
        "events": histogram.events,
        "n_windows": member.n_windows,
        "start": list(window.start),
        "size": list(window.size),
        "edges": [
            [float(edges[a]), float(edges[a + k])]
            for edges, a, k in zip(observable.edges, window.start, window.size, strict=True)
        ],
        "tested": tested,
        "partner": partner,
    }


def _acts(many: ManyHistograms) -> list[str]:
    k = many.rows.slopes.shape[1]
    return ["efficiency ratio"] * k + ["fakes"] * (len(many.rows.names) - k)


def _left_out(many: ManyHistograms, events: SearchEvents) -> list[str]:
    found = []
    for observable, selection, n in many.left_out:
        name, what = events.selections[selection].name, many.observables[observable].name
        found.append(f"selection '{name}' in {what}: {n} events are too few")
    found += [f"{n} events of {key} lie outside the maps" for key, n in events.notes.items()]
    return found


def _digest(many: ManyHistograms) -> str:
    """Return the digest of every searched histogram of both samples, with its binning."""
    found = hashlib.sha256()

    def add(values: Array | tuple[float, ...]) -> None:
        found.update(np.ascontiguousarray(values, dtype="<f8").tobytes())

    for member in many.members:
        for edges in many.observables[member.observable].edges:
            add(edges)
        histogram = many.flipped(member.observable).histograms[member.selection]
        add(histogram.tested)
        add(histogram.partner)
    return f"sha256:{found.hexdigest()}"
