"""From an analysis file to rows of labels: events, fakes, efficiencies and their errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ddphf.arrays import AnyArray, Mask
from ddphf.config.analysis import Analysis, ChannelConfig
from ddphf.config.search import SearchConfig, SelectionConfig
from ddphf.config.sections import AxisConfig, ClosureConfig, EventsConfig
from ddphf.exceptions import InputError
from ddphf.inputs.contents import number_contents
from ddphf.inputs.events import EventTable, read_events
from ddphf.inputs.histogram import Axis
from ddphf.search.boxes import Boxes, make_boxes
from ddphf.search.event_nuisances import Base, Direction, label_directions, other_directions
from ddphf.search.exchange import (
    check_exchange,
    counterparts,
    exchange_events,
)
from ddphf.search.flips import Observable
from ddphf.search.label_rows import make_base, make_rows
from ddphf.search.repeated import check_repeated
from ddphf.search.rows import Cells, LabelRows, find_cells
from ddphf.symmetry.efficiency import EventEfficiencies
from ddphf.symmetry.event_tables import read_table
from ddphf.symmetry.expressions import column_names, evaluate_mask
from ddphf.symmetry.load_events import EventSamples, find_bins, make_axes, read_samples

__all__ = [
    "BaseEvents", "SearchEvents", "check_flippable", "read_base_events", "read_search_events",
]  # fmt: skip

ALL = SelectionConfig("all events")


@dataclass(frozen=True)
class SearchEvents:
    """What the event tables of an analysis became for the search.

    Attributes:
        rows: Of all labels.
        cells: Of the rows.
        observables: With the bins of the rows.
        axes: Of each observable.
        selections: In the order of the cells' table.
        directions: The nuisances, those of the labels first.
        warnings: Sentences for the user.
        notes: Events excluded or moved, by what they are.
    """

    rows: LabelRows
    cells: Cells
    observables: tuple[Observable, ...]
    axes: tuple[tuple[Axis, ...], ...]
    selections: tuple[SelectionConfig, ...]
    directions: tuple[Direction, ...]
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)


def read_search_events(
    analysis: Analysis, *, windows: str = "all", nuisances: bool = True, max_windows: int
) -> SearchEvents:
    """Read events, fakes and maps of an analysis, and try every selection on the exchanged event.

    Args:
        analysis: With a section ``events``.
        windows: As for :func:`~ddphf.search.boxes.make_boxes`.
        nuisances: Whether errors of efficiencies and fakes are taken.
        max_windows: Of one observable.

    Raises:
        InputError: No events, weighted ones, fakes that are a histogram, a selection or observable
            that knows the label, events twice, or anything that the tables are refused for.
    """
    config = analysis.search or SearchConfig()
    selections = config.selections or (ALL,)
    events = check_flippable(analysis)
    observed = config.observables or (events.axes,)
    boxes = [
        make_boxes([len(a.edges) - 1 for a in axes], windows, max_windows=max_windows)
        for axes in observed
    ]
    quantities = [
        (f"selection '{s.name}'", s.select) for s in selections if s.select is not None
    ] + [("observable", axis.column) for axes in observed for axis in axes]
    read = read_base_events(analysis, quantities)
    samples, base, table, warnings = read.samples, read.base, read.table, read.warnings
    keep = base.known
    cells = find_cells(_masks(selections, table, keep), len(keep))
    filled = []
    for axes, family in zip(observed, boxes, strict=True):
        filled.append(_fill(events, axes, table, family))
    labels = label_directions(analysis, samples, base) if nuisances else []
    others = other_directions(analysis, samples, base) if nuisances else []
    rows, source = make_rows(base, labels, others)
    nothing = np.zeros(0, dtype=np.float32)  # the rows have the values now
    directions = tuple(replace(d, values=nothing) for d in (*labels, *others))
    return SearchEvents(
        rows=rows,
        cells=Cells(cells.cell[source], cells.passes),
        observables=tuple(replace(o, bins=o.bins[source]) for o in filled),
        axes=tuple(make_axes(replace(events, axes=axes)) for axes in observed),
        selections=tuple(selections),
        directions=directions,
        warnings=warnings,
        notes=dict(samples.notes),
    )


@dataclass(frozen=True)
class BaseEvents:
    """Events of both samples and of control regions, and columns that know no label.

    Attributes:
        samples: As read, in an order that does not depend on that of the files' rows.
        base: Events of both samples, then of the control regions.
        table: The columns of the quantities, of every row of the base.
        warnings: Sentences for the user.
    """

    samples: EventSamples
    base: Base
    table: EventTable
    warnings: list[str]


def read_base_events(
    analysis: Analysis, quantities: Sequence[tuple[str, str]], what: str = "search"
) -> BaseEvents:
    """Read events, fakes and maps, and try every quantity on the event with labels exchanged.

    Args:
        analysis: With a section ``events``.
        quantities: What each is, for messages, and its expression.
        what: The command, for messages.

    Raises:
        InputError: As :func:`read_search_events`.
    """
    events = check_flippable(analysis, what)
    warnings, conditions = _try_exchanged(analysis, events, list(quantities))
    names = sorted({name for _, text in quantities for name in column_names(text)})
    samples = _in_order(read_samples(_only_columns(analysis, names)))
    warnings += [*samples.reading, *samples.warnings]
    base = make_base(analysis, samples)
    if base.outside:
        warnings.append(
            f"{base.outside} events outside the axes of 'events' have no efficiency ratio, which "
            "is a histogram; they are left out"
        )
    return BaseEvents(samples, base, _table(samples, names, conditions), warnings)


REMEDIES = {
    "search": (
        "label flips need an event table ('ddphf search pair' searches histograms)",
        "leave 'events.weight' out, or search the sums of weights with 'ddphf search pair'",
    ),
    "learn": (
        "labels are redrawn event by event, which needs an event table",
        "leave 'events.weight' out and give efficiencies, as maps of 'lepton_id' or "
        "'efficiency_ratio': they never enter sums as weights",
    ),
}
"""By command, without events and with weights."""


def check_flippable(analysis: Analysis, what: str = "search") -> EventsConfig:
    """Return the section of the events of an analysis whose labels can be flipped."""
    events = analysis.events
    needs, remedy = REMEDIES[what]
    if events is None:
        raise InputError(f"{what}: there is no section 'events'; {needs}")
    if events.weight is not None:
        raise InputError(
            f"{what}: events have the weight '{events.weight}', but a label flip is exact for "
            f"unweighted events alone; {remedy}"
        )
    for role, channel in _channels(analysis):
        fakes = channel.fakes
        if fakes is None:
            continue
        if fakes.events is None:
            raise InputError(
                f"{what}: the fakes of '{role}' are a histogram, which cannot be filled in other "
                "selections; give them as events of a control region"
            )
        if fakes.error not in (None, "none"):
            raise InputError(
                f"{what}: the error of the fakes of '{role}' is a histogram, which cannot be "
                "filled in other selections; leave 'error' out (the control region's own is "
                "taken), or say 'none'"
            )
    return events


def _channels(analysis: Analysis) -> Iterator[tuple[str, ChannelConfig]]:
    yield "tested", analysis.tested
    yield "partner", analysis.partner


def _only_columns(analysis: Analysis, names: Sequence[str]) -> Analysis:
    """Return the analysis without its signal, whose events come with the columns of the search."""
    return replace(
        analysis,
        tested=replace(analysis.tested, signal=None),
        partner=replace(analysis.partner, signal=None),
        closure=tuple(ClosureConfig(f"`{name}`") for name in names),
    )


def _in_order(samples: EventSamples) -> EventSamples:
    """Return the events of each table in the order of their contents.

    Sums over them, and what follows from the last digit of a sum, then do not depend on the order
    of the files' rows.
    """
    events, loose = dict(samples.events), dict(samples.loose)
    for key, part in samples.events.items():
        found = {} if part.efficiencies is None else vars(part.efficiencies)
        wide = {  # -1 would be any number where there are no events
            name: values.reshape(len(values), int(np.prod(values.shape[1:])))
            for name, values in found.items()
        }
        columns = [part.bins, part.weights, part.tested, *part.variables.values()]
        columns += [column for values in wide.values() for column in values.T]
        mine = key[1] == "fakes" and key[0] in loose
        if mine:
            columns += [loose[key[0]].cells, loose[key[0]].weights]
        order = np.argsort(number_contents(columns, len(part.bins)), kind="stable")
        events[key] = replace(
            part,
            bins=part.bins[order], weights=part.weights[order], tested=part.tested[order],
            efficiencies=None
            if part.efficiencies is None
            else EventEfficiencies(**{name: values[order] for name, values in found.items()}),
            variables={name: values[order] for name, values in part.variables.items()},
        )  # fmt: skip
        if mine:
            loose[key[0]] = loose[key[0]].select(order)
    return replace(samples, events=events, loose=loose)


def _table(samples: EventSamples, names: Sequence[str], conditions: set[str]) -> EventTable:
    """Return the columns of the search: of the events, then of the fakes of each channel."""
    parts = [samples.events[key] for key in Base.keys(samples)]
    n = sum(len(part.tested) for part in parts)
    columns: dict[str, AnyArray] = {"": np.zeros(n)}  # a table knows its length by a column
    for name in names:
        values = np.concatenate([part.variables[f"`{name}`"] for part in parts])
        columns[name] = values != 0 if name in conditions else values
    return EventTable(columns, "events")


def _masks(selections: Sequence[SelectionConfig], table: EventTable, keep: Mask) -> Iterator[Mask]:
    for selection in selections:
        yield keep if selection.select is None else keep & evaluate_mask(selection.select, table)


def _fill(
    events: EventsConfig, axes: tuple[AxisConfig, ...], table: EventTable, boxes: Boxes
) -> Observable:
    config = replace(events, axes=axes)
    made = make_axes(config)
    bins = find_bins(table, config, made)
    name = ", ".join(axis.label or axis.name for axis in made)
    return Observable(name, tuple(axis.edges for axis in made), bins, boxes)


def _try_exchanged(
    analysis: Analysis, events: EventsConfig, quantities: list[tuple[str, str]]
) -> tuple[list[str], set[str]]:
    """Refuse selections and observables that know the label, and events that are there twice.

    Returns:
        Warnings, and the columns that are conditions.
    """
    texts = [text for _, text in quantities]
    rules = (analysis.tested.select or "", analysis.partner.select or "")
    needed = {name for text in (*texts, *rules) for name in column_names(text)}
    if events.select is not None:
        needed |= set(column_names(events.select))
    others = {other for name in needed for other in counterparts(name)[0]} - needed
    columns = [*events.identifier, *_existing(analysis, events, sorted(others))]
    table = read_table(
        analysis, events, events.file, select=events.select, leptons=events.leptons,
        expressions=[*texts, *rules], columns=columns,
    )  # fmt: skip
    for name in sorted({name for text in texts for name in column_names(text)}):
        if table[name].dtype.kind in "iu":
            raise InputError(
                f"{table.source}: '{name}' has whole numbers beyond 2^53, as event numbers are; "
                "select by it with 'events.select'"
            )
    exchanged = exchange_events(table, events)
    common = [("events.select", events.select)] if events.select is not None else []
    check_exchange(table, exchanged, [*common, *quantities], rules)
    warnings = [] if events.identifier else check_repeated(table, exchanged)
    return warnings, {name for name, values in table.columns.items() if values.dtype == np.bool_}


def _existing(analysis: Analysis, events: EventsConfig, names: Sequence[str]) -> list[str]:
    """Return which columns the files have."""
    found = []
    for name in names:
        try:
            read_events(events.file, folder=analysis.folder, columns=[name])
        except InputError:
            continue
        found.append(name)
    return found
