"""Event tables as an analysis needs them: only the columns it names, selected, with its leptons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.config.analysis import Analysis
from ddphf.config.sections import CollectionConfig, EventsConfig, LeptonConfig
from ddphf.exceptions import InputError
from ddphf.inputs.events import Collection, EventTable, read_events
from ddphf.symmetry.expressions import column_names, evaluate, evaluate_mask

__all__ = ["join_tables", "read_table", "weigh"]

PLAIN = re.compile(r"(len\(.+\)|[A-Za-z_][\w.]*(/[A-Za-z_][\w.]*)*(\[\d+\])?)")
"""A column of a lepton that needs no backquotes; anything else is an expression."""


def read_table(
    analysis: Analysis,
    events: EventsConfig,
    address: str | Sequence[str],
    *,
    select: str | None,
    expressions: Sequence[str] = (),
    columns: Sequence[str] = (),
    leptons: Sequence[LeptonConfig] = (),
) -> EventTable:
    """Read the columns that the analysis needs, whatever else a table has, and select.

    Args:
        analysis: For its folder.
        events: Axes and collections.
        address: Of the table, or of several.
        select: Expression, or None for all events.
        expressions: Whose columns are needed too.
        columns: Needed too.
        leptons: Whose quantities are needed too: the table then has them under the text that
            the file gives, also where that is an expression.
    """
    quantities = [text for lepton in leptons for text in vars(lepton).values()]
    quantities += [text for lepton in leptons for text in lepton.variables.values()]
    formulas = {t for t in quantities if isinstance(t, str) and not PLAIN.fullmatch(t)}
    texts = [*(axis.column for axis in events.axes), *expressions, *formulas]
    texts += [] if select is None else [select]
    names = {name for text in texts for name in column_names(text)} | set(columns)
    names |= {text for text in quantities if isinstance(text, str) and PLAIN.fullmatch(text)}
    table = read_events(
        address,
        folder=analysis.folder,
        columns=sorted(names),
        collections={
            flavour: make_collection(given, flavour)
            for flavour, given in events.collections.items()
        },
    )
    added = {text: np.asarray(evaluate(text, table), dtype=float) for text in formulas}
    table = replace(table, columns={**table.columns, **added})
    return table if select is None else table.select(evaluate_mask(select, table))


def make_collection(config: CollectionConfig, flavour: str) -> Collection:
    """Return a collection whose selections are evaluated per lepton."""
    texts = [t for t in (config.select, config.tight, *config.columns.values()) if t is not None]
    reserved = {"pt", "eta", "phi", "charge", "mass", "tight", "flavour"} & set(config.columns)
    if reserved:
        name = sorted(reserved)[0]
        raise InputError(
            f"events.collections.{flavour}: 'columns' cannot redefine '{name}'; choose another name"
        )

    def mask(text: str | None) -> Any:
        return None if text is None else partial(evaluate_mask, text)

    return Collection(
        prefix=config.prefix,
        select=mask(config.select),
        tight=mask(config.tight),
        columns={name: partial(evaluate, text) for name, text in config.columns.items()},
        needs=tuple(sorted({name for text in texts for name in column_names(text)})),
    )


def weigh(table: EventTable, weight: str | None) -> Array:
    """Return the weights of a table, 1 where nothing is said.

    Raises:
        InputError: A weight that is no number.
    """
    if weight is None:
        return np.ones(table.n_events)
    weights = np.array(evaluate(weight, table), dtype=float)
    bad = np.flatnonzero(~np.isfinite(weights))
    if bad.size:
        raise InputError(
            f"{table.source}: weight '{weight}' is {weights[bad[0]]:g} for {bad.size} of "
            f"{table.n_events} events; drop them with 'events.select', or correct the weight"
        )
    return weights


def join_tables(first: EventTable, second: EventTable) -> EventTable:
    """Put the events of two tables one after the other, with the columns that both have."""
    return EventTable(
        {
            name: np.concatenate([values, second.columns[name]])
            for name, values in first.columns.items()
            if name in second.columns
        },
        f"{first.source} and {second.source}",
        first.files + second.files,
    )
