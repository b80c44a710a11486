"""Event tables of an analysis: selected, split, looked up in the maps, filled into histograms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
from ddphf.symmetry.load_maps import read_fake_maps, read_maps
from ddphf.symmetry.map_checks import (
    AxisReport,
    find_placeholders,
    left_out_sources,
    report_axes,
)
from ddphf.symmetry.split import split_events

__all__ = ["EventSamples", "FilledEvents", "fill_histogram", "read_samples"]


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
    histograms: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    events: dict[tuple[str, str], FilledEvents] = field(default_factory=dict)
    loose: dict[str, LooseLeptons] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    reading: list[str] = field(default_factory=list)


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
        return EventSamples(maps=maps, warnings=notes + find_placeholders(maps, left_out, None))
    events = analysis.events
    samples = EventSamples(axes=make_axes(events), maps=maps, warnings=notes)
    tested, partner = analysis.tested.select or "", analysis.partner.select or ""
    leptons = [] if config is None else list(events.leptons)
    variables = [variable.column for variable in analysis.closure]
    table = read_table(
        analysis, events, events.file, select=events.select, leptons=leptons,
        expressions=[
            tested, partner, *variables, *([] if events.weight is None else [events.weight])
        ],
        columns=events.identifier,
    )  # fmt: skip
    split = split_events(table, tested, partner, identifier=events.identifier)
    weights = None if events.weight is None else weigh(table, events.weight)
    key = ("both", "observed")
    _fill(samples, table, split.tested, weights, events, config, key, variables)
    seen = samples.events["both", "observed"].efficiencies
    if seen is not None:
        samples.warnings.extend(find_placeholders(maps, left_out, seen))
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
                samples.reading.append(
                    f"{again[0]}: is read as observed events and as the signal of '{role}'; leave "
                    "it out of 'events.file' unless these are pseudo-data with that signal"
                )
            loose = None
            if template.maps and template.lepton is not None:
                columns = LeptonColumns(**vars(template.lepton))
                factors = read_fake_maps(template, analysis)
                samples.warnings.extend(w for m in factors.values() for w in m.warnings)
                loose = find_loose(mine, factors, columns, weights)
                weights = loose.expected
            in_tested = np.full(mine.n_events, role == "tested")
            kept = _fill(
                samples, mine, in_tested, weights, events, config, (role, sample), filled_in
            )
            if loose is not None:
                samples.loose[role] = loose.select(kept)
                samples.loose[role].refuse_outside(samples.events[role, sample].bins, mine.source)
    return samples


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


def _fill(
    samples: EventSamples,
    table: EventTable,
    in_tested: Mask,
    weights: Array | None,
    events: EventsConfig,
    config: LeptonIdConfig | None,
    key: tuple[str, str],
    variables: Sequence[str] = (),
) -> Mask:
    """Look events up in the maps, exclude what lies outside, and fill; return what was kept."""
    kept = np.ones(table.n_events, dtype=bool)
    efficiencies = None
    if config is not None:
        look_up = partial(
            event_efficiencies,
            table,
            [LeptonColumns(**vars(lepton)) for lepton in events.leptons],
            samples.maps,
            in_tested,
            exchange=events.exchange,
        )
        plain = look_up()
        leptons = [LeptonColumns(**vars(lepton)) for lepton in events.leptons]
        report = report_axes(table, leptons, samples.maps)
        if report.wrong and config.outside != "exclude" and np.any(plain.outside):
            raise InputError(f"{table.source}: {report.wrong[0]}")
        efficiencies = look_up(nearest=True) if config.outside == "nearest" else plain
        kept = _inside(samples, table, efficiencies, config, key, report)
        if config.outside == "nearest":
            _count_moved(samples, table, plain.outside, key)
        if not kept.all():
            efficiencies = EventEfficiencies(
                **{name: values[kept] for name, values in vars(efficiencies).items()}
            )
    bins = find_bins(table, events, samples.axes)[kept]
    filled = FilledEvents(
        bins=bins,
        weights=np.ones(len(bins)) if weights is None else weights[kept],
        tested=in_tested[kept],
        efficiencies=efficiencies,
        variables={
            name: np.asarray(evaluate(name, table), dtype=float)[kept] for name in variables
        },
    )
    samples.events[key] = filled
    source = table.source
    if key[0] != "both":
        samples.histograms[key] = fill_histogram(bins, filled.weights, samples.axes, source)
        return kept
    for role, mask in (("tested", filled.tested), ("partner", ~filled.tested)):
        mine = None if weights is None else filled.weights[mask]
        samples.histograms[role, key[1]] = fill_histogram(bins[mask], mine, samples.axes, source)
    return kept


def _inside(
    samples: EventSamples,
    table: EventTable,
    efficiencies: EventEfficiencies,
    config: LeptonIdConfig,
    key: tuple[str, str],
    report: AxisReport,
) -> Mask:
    samples.warnings.extend(
        w for text in report.wrong if (w := f"{table.source}: {text}") not in samples.warnings
    )
    count = int(np.count_nonzero(efficiencies.outside))
    if not count:
        return ~efficiencies.outside
    row = int(np.flatnonzero(efficiencies.outside)[0])
    found = f"{table.source}: {count} of {table.n_events} events have a lepton"
    if config.outside == "nearest":
        raise InputError(
            f"{found} in a hole of a map, or without a number for one of its axes, under one of "
            f"the two assignments of the labels (first: row {row}); fill the hole, or set "
            "'outside: exclude' to drop them from both samples"
        )
    beyond = "".join(f"; {text}" for text in report.beyond)
    if config.outside == "refuse":
        raise InputError(
            f"{found} outside a map under one of the two assignments of the labels (first: row "
            f"{row}{beyond}); extend the map, or set 'outside: exclude' to drop them from both "
            "samples, or 'outside: nearest' to use the outermost bin"
        )
    samples.notes["/".join(key)] = count
    samples.warnings.append(
        f"{table.source}: {count} of {table.n_events} events have a lepton outside a map under one "
        "of the two assignments of the labels; they are excluded, alike from both samples"
    )
    return ~efficiencies.outside


def _count_moved(
    samples: EventSamples, table: EventTable, outside: Mask, key: tuple[str, str]
) -> None:
    """Say how many events took the outermost bin of a map."""
    count = int(np.count_nonzero(outside))
    if not count:
        return
    samples.notes["/".join(key)] = count
    samples.warnings.append(
        f"{table.source}: {count} of {table.n_events} events have a lepton outside a map under one "
        "of the two assignments of the labels; it takes the outermost bin"
    )
