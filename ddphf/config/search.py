"""The section ``search`` of the analysis file: what ``ddphf search events`` looks at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddphf.config.sections import AxisConfig, parse_axis
from ddphf.exceptions import ConfigError

__all__ = ["MAX_SELECTIONS", "SearchConfig", "SelectionConfig", "parse_search"]

MAX_SELECTIONS = 10_000
"""More are a slip in a grid: the largest of so many says little of any."""


@dataclass(frozen=True)
class SelectionConfig:
    """A selection beside that of all events: its name, and an expression or None for all."""

    name: str
    select: str | None = None


@dataclass(frozen=True)
class SearchConfig:
    """The section ``search``.

    Attributes:
        observables: Axes of each histogram; the axes of ``events`` where none are given.
        selections: Those of the list, then those of the grid; all events where none are given.
    """

    observables: tuple[tuple[AxisConfig, ...], ...] = ()
    selections: tuple[SelectionConfig, ...] = ()


def parse_search(data: Mapping[str, Any] | None) -> SearchConfig | None:
    """Return the section ``search``, already valid by the schema.

    Raises:
        ConfigError: Names, cuts or observables twice, or too many selections.

    Example:
        >>> found = parse_search({"grid": {"l1_pt": [20, 40], "met": [0, 30]}})
        >>> found.selections[3].name, found.selections[3].select
        ('l1_pt >= 40, met >= 30', '(l1_pt) >= 40.0 and (met) >= 30.0')
    """
    if data is None:
        return None
    observables = tuple(
        _observable(item, number) for number, item in enumerate(data.get("observables", ()))
    )
    for number, axes in enumerate(observables):
        if axes in observables[:number]:
            raise ConfigError(f"at search.observables.{number}: is there already")
    listed = tuple(
        SelectionConfig(item["name"], item.get("select")) for item in data.get("selections", ())
    )
    selections = listed + _grid(data.get("grid", {}))
    seen: set[str] = set()
    for number, selection in enumerate(selections):
        if selection.name in seen:
            raise ConfigError(
                f"at search.selections.{number}: the name '{selection.name}' is there already"
            )
        seen.add(selection.name)
    return SearchConfig(observables, selections)


def _observable(data: Any, number: int) -> tuple[AxisConfig, ...]:
    items: Sequence[Mapping[str, Any]] = data if isinstance(data, list) else [data]
    where = f"at search.observables.{number}"
    axes = tuple(
        parse_axis(item, f"{where}.{i}" if isinstance(data, list) else where)
        for i, item in enumerate(items)
    )
    columns = [axis.column for axis in axes]
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{where}: '{columns[0]}' is an axis already")
    return axes


def _grid(data: Mapping[str, Sequence[float]]) -> tuple[SelectionConfig, ...]:
    """Return every combination of one cut of each quantity."""
    for column, cuts in data.items():
        if any(b <= a for a, b in itertools.pairwise(cuts)):
            raise ConfigError(f"at search.grid.{column}: the cuts do not increase")
    count = math.prod(len(cuts) for cuts in data.values())
    if count > MAX_SELECTIONS:
        raise ConfigError(
            f"at search.grid: {count} selections, more than {MAX_SELECTIONS}; take fewer cuts"
        )
    if not data:
        return ()
    return tuple(
        SelectionConfig(
            ", ".join(f"{c} >= {x:g}" for c, x in zip(data, cuts, strict=True)),
            " and ".join(f"({c}) >= {float(x)!r}" for c, x in zip(data, cuts, strict=True)),
        )
        for cuts in itertools.product(*data.values())
    )
