"""Event tables of an analysis: selected, split, looked up in the maps, filled into histograms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.config.analysis import Analysis, TemplateConfig
from ddphf.config.sections import EventsConfig, LeptonConfig, LeptonIdConfig
from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.inputs.histogram import Axis, Histogram
from ddphf.inputs.maps import LeptonMap
from ddphf.symmetry.efficiency import EventEfficiencies, LeptonColumns, event_efficiencies
from ddphf.symmetry.event_tables import join_tables, read_table, weigh
from ddphf.symmetry.expressions import evaluate, evaluate_mask
from ddphf.symmetry.fakes import LooseLeptons, find_loose
from ddphf.symmetry.learned import refuse_training_events
from ddphf.symmetry.load_maps import read_fake_maps, read_maps
from ddphf.symmetry.map_checks import (
    AxisReport,
    find_placeholders,
    left_out_sources,
    report_axes,
)
from ddphf.symmetry.split import split_events

__all__ = ["EventSamples", "FilledEvents", "fill_histogram", "read_samples"]

Key = tuple[str, str]
"""Channel (``tested``, ``partner``, ``both``) and sample."""


@dataclass(frozen=True)
class FilledEvents:
    """Events of one table that are inside the maps, ready to be averaged.

    Attributes:
        bins: Template bin, flattened; -1 outside the axes. Shape (n,).
        weights: Shape (n,).
        tested: Whether the event is in the tested sample, shape (n,).
        efficiencies: What the maps say, or None without maps.
        variables: By expression of ``closure``, shape (n,).
    """

    bins: IntArray
    weights: Array
    tested: Mask
    efficiencies: EventEfficiencies | None
    variables: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class EventSamples:
    """What the event tables of an analysis became.

    Attributes:
        axes: Of all histograms.
        maps: By PDG code.
        histograms: By channel (``tested``, ``partner``) and sample (``observed``, ``signal``,
            ``fakes``).
        events: By the same keys; ``(both, observed)`` holds the events of both channels.
        loose: By channel, of fakes from maps: the loose leptons of ``events``, in their order.
        notes: For the sidecar.
        warnings: Sentences for the user about lepton ID.
        reading: Sentences for the user about the tables.
    """

    axes: tuple[Axis, ...] = ()
    maps: Mapping[int, LeptonMap] = field(default_factory=dict)
    histograms: Mapping[Key, Histogram] = field(default_factory=dict)
    events: Mapping[Key, FilledEvents] = field(default_factory=dict)
    loose: Mapping[str, LooseLeptons] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Filled:
    """One table, filled.

    Attributes:
        events: Those that are kept.
        kept: Which of the table's they are.
        weighted: Whether the table has weights.
        source: Of the table.
        moved: Number of events outside the maps, excluded or moved.
        wrong: Sentences about axes and columns, the same for each table of a file.
        warnings: Sentences about events outside the maps.
    """

    events: FilledEvents
    kept: Mask
    weighted: bool
    source: str
    moved: int = 0
    wrong: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_samples(analysis: Analysis) -> EventSamples:
    """Read every event table and map of an analysis; nothing of both is an empty record.

    Raises:
        InputError: Unreadable tables, samples that overlap or are incomplete, columns that are
            not there, or leptons outside the maps where that is refused.
    """
    config = analysis.lepton_id
    maps = {} if config is None else read_maps(config, analysis)
    notes = [warning for calibration in maps.values() for warning in calibration.warnings]
    left_out = {} if config is None else left_out_sources(config)
    if analysis.events is None:
        placeholders = find_placeholders(maps, left_out, None)
        return EventSamples(maps=maps, warnings=(*notes, *placeholders))
    events, axes = analysis.events, make_axes(analysis.events)
    tested, partner = analysis.tested.select or "", analysis.partner.select or ""
    leptons = [] if config is None else list(events.leptons)
    variables = [variable.column for variable in analysis.closure]
    table = read_table(
        analysis, events, events.file, select=events.select, leptons=leptons,
        expressions=[
            tested, partner, *variables, *([] if events.weight is None else [events.weight])
        ],
        columns=[
            *events.identifier, *(() if analysis.learned is None else analysis.learned.columns)
        ],
    )  # fmt: skip
    refuse_training_events(analysis, table)
    split = split_events(table, tested, partner, identifier=events.identifier)
    weights = None if events.weight is None else weigh(table, events.weight)
    fill = partial(_fill, events=events, config=config, maps=maps, axes=axes)
    first = fill(table, split.tested, weights, variables=variables)
    filled: dict[Key, _Filled] = {("both", "observed"): first}
    warnings = [*notes, *(line for line in first.wrong if line not in notes), *first.warnings]
    if first.events.efficiencies is not None:
        warnings += find_placeholders(maps, left_out, first.events.efficiencies)
    reading, loose = [], {}
    for role, rule, channel in (
        ("tested", tested, analysis.tested),
        ("partner", partner, analysis.partner),
    ):
        for sample, template in (("signal", channel.signal), ("fakes", channel.fakes)):
            if template is None or template.events is None:
                continue
            filled_in = variables if sample == "fakes" else []
            mine, weights = _read_template(analysis, events, template, rule, leptons, filled_in)
            again = [file for file in mine.files if file in table.files]
            if sample == "signal" and again:
                reading.append(
                    f"{again[0]}: is read as observed events and as the signal of '{role}'; leave "
                    "it out of 'events.file' unless these are pseudo-data with that signal"
                )
            found = None
            if template.maps and template.lepton is not None:
                columns = LeptonColumns(**vars(template.lepton))
                factors = read_fake_maps(template, analysis)
                warnings += [line for m in factors.values() for line in m.warnings]
                found = find_loose(mine, factors, columns, weights)
                weights = found.expected
            in_tested = np.full(mine.n_events, role == "tested")
            part = fill(mine, in_tested, weights, variables=filled_in)
            warnings += [line for line in part.wrong if line not in warnings]
            warnings += part.warnings
            filled[role, sample] = part
            if found is not None:
                loose[role] = found.select(part.kept)
                loose[role].refuse_outside(part.events.bins, mine.source)
    return EventSamples(
        axes=axes,
        maps=maps,
        histograms=dict(
            pair for key, part in filled.items() for pair in _histograms(key, part, axes)
        ),
        events={key: part.events for key, part in filled.items()},
        loose=loose,
        notes={"/".join(key): part.moved for key, part in filled.items() if part.moved},
        warnings=tuple(warnings),
        reading=tuple(reading),
    )


def _read_template(
    analysis: Analysis,
    events: EventsConfig,
    template: TemplateConfig,
    rule: str,
    leptons: Sequence[LeptonConfig],
    variables: Sequence[str],
) -> tuple[EventTable, Array]:
    """Return the events of a template in one channel and their weights, prompt ones negative."""
    needed = [*leptons, *([] if template.lepton is None else [template.lepton])]

    def read(
        address: str | Sequence[str], select: str | None, weight: str | None
    ) -> tuple[EventTable, Array]:
        table = read_table(
            analysis, events, address, select=select, leptons=needed,
            expressions=[rule, *variables, *([] if weight is None else [weight])],
        )  # fmt: skip
        table = table.select(evaluate_mask(rule, table))
        return table, weigh(table, weight)

    select = events.select if template.select is None else template.select
    table, weights = read(template.events or "", select, template.weight)
    prompt = template.prompt
    if prompt is None:
        return table, weights
    other, subtracted = read(
        prompt.events, select if prompt.select is None else prompt.select, prompt.weight
    )
    return join_tables(table, other), np.concatenate([weights, -subtracted])


def make_axes(events: EventsConfig) -> tuple[Axis, ...]:
    """Return the axes of the histograms, named after their columns where nothing else is said."""
    return tuple(
        Axis(
            axis.name or re.sub(r"\W+", "_", axis.column).strip("_"),
            axis.edges,
            axis.label or axis.column.replace("`", ""),
            axis.unit,
        )
        for axis in events.axes
    )


def find_bins(table: EventTable, events: EventsConfig, axes: tuple[Axis, ...]) -> IntArray:
    """Return the flattened template bin of every event, -1 outside the axes."""
    cells, inside = [], np.ones(table.n_events, dtype=bool)
    for axis, config in zip(axes, events.axes, strict=True):
        values = np.asarray(evaluate(config.column, table), dtype=float)
        place = np.searchsorted(axis.edges, values, side="right") - 1
        inside &= (place >= 0) & (place < axis.n_bins) & ~np.isnan(values)
        cells.append(np.clip(place, 0, axis.n_bins - 1))
    flat = np.ravel_multi_index(cells, [axis.n_bins for axis in axes])
    return np.where(inside, flat, -1)


def fill_histogram(
    bins: IntArray, weights: Array | None, axes: tuple[Axis, ...], source: str
) -> Histogram:
    """Fill flattened bins; events outside the axes are counted as ``flow``.

    Args:
        bins: Shape (n,), -1 outside.
        weights: Shape (n,), or None for counts; with weights ``variances`` is the sum of w^2.
        axes: Of the histogram.
        source: For messages.
    """
    shape = tuple(axis.n_bins for axis in axes)
    size = int(np.prod(shape))
    w = np.ones(len(bins)) if weights is None else weights
    used = bins >= 0

    def fill(values: Array) -> Array:
        return np.asarray(np.bincount(bins[used], values[used], size).reshape(shape), dtype=float)

    return Histogram(
        values=fill(w),
        axes=axes,
        variances=None if weights is None else fill(w**2),
        source=source,
        flow=float(w[~used].sum()),
    )


def _histograms(
    key: Key, filled: _Filled, axes: tuple[Axis, ...]
) -> Iterator[tuple[Key, Histogram]]:
    """Yield the histograms of a table by channel and sample."""
    events = filled.events
    roles = {"tested": events.tested, "partner": ~events.tested}
    every = np.ones_like(events.tested)
    for role, mask in (roles if key[0] == "both" else {key[0]: every}).items():
        # Observed events without weights are counts; templates have a sum of weights.
        counts = key[0] == "both" and not filled.weighted
        weights = None if counts else events.weights[mask]
        yield (role, key[1]), fill_histogram(events.bins[mask], weights, axes, filled.source)


def _fill(
    table: EventTable,
    in_tested: Mask,
    weights: Array | None,
    *,
    events: EventsConfig,
    config: LeptonIdConfig | None,
    maps: Mapping[int, LeptonMap],
    axes: tuple[Axis, ...],
    variables: Sequence[str],
) -> _Filled:
    """Look events up in the maps, exclude what lies outside, and fill."""
    kept = np.ones(table.n_events, dtype=bool)
    efficiencies, moved = None, 0
    wrong: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if config is not None:
        leptons = [LeptonColumns(**vars(lepton)) for lepton in events.leptons]
        look_up = partial(
            event_efficiencies, table, leptons, maps, in_tested, exchange=events.exchange
        )
        plain = look_up()
        report = report_axes(table, leptons, maps)
        if report.wrong and config.outside != "exclude" and np.any(plain.outside):
            raise InputError(f"{table.source}: {report.wrong[0]}")
        wrong = tuple(dict.fromkeys(f"{table.source}: {text}" for text in report.wrong))
        efficiencies = look_up(nearest=True) if config.outside == "nearest" else plain
        _refuse_outside(table, efficiencies, config, report)
        if config.outside == "exclude":
            kept = ~efficiencies.outside
            efficiencies = EventEfficiencies(
                **{name: values[kept] for name, values in vars(efficiencies).items()}
            )
        moved = int(np.count_nonzero(plain.outside))
        if moved:
            what = (
                "it takes the outermost bin" if config.outside == "nearest"
                else "they are excluded, alike from both samples"
            )  # fmt: skip
            warnings = (
                f"{table.source}: {moved} of {table.n_events} events have a lepton outside a map "
                f"under one of the two assignments of the labels; {what}",
            )
    bins = find_bins(table, events, axes)[kept]
    filled = FilledEvents(
        bins=bins,
        weights=np.ones(len(bins)) if weights is None else weights[kept],
        tested=in_tested[kept],
        efficiencies=efficiencies,
        variables={
            name: np.asarray(evaluate(name, table), dtype=float)[kept] for name in variables
        },
    )
    return _Filled(filled, kept, weights is not None, table.source, moved, wrong, warnings)


def _refuse_outside(
    table: EventTable, efficiencies: EventEfficiencies, config: LeptonIdConfig, report: AxisReport
) -> None:
    """Refuse events that no bin of a map can take, unless they are to be excluded."""
    count = int(np.count_nonzero(efficiencies.outside))
    if not count or config.outside == "exclude":
        return
    row = int(np.flatnonzero(efficiencies.outside)[0])
    found = f"{table.source}: {count} of {table.n_events} events have a lepton"
    if config.outside == "nearest":
        raise InputError(
            f"{found} in a hole of a map, or without a number for one of its axes, under one of "
            f"the two assignments of the labels (first: row {row}); fill the hole, or set "
            "'outside: exclude' to drop them from both samples"
        )
    beyond = "".join(f"; {text}" for text in report.beyond)
    raise InputError(
        f"{found} outside a map under one of the two assignments of the labels (first: row "
        f"{row}{beyond}); extend the map, or set 'outside: exclude' to drop them from both "
        "samples, or 'outside: nearest' to use the outermost bin"
    )
