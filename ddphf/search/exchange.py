"""Cuts must not know the label: every quantity is tried on the event with the labels exchanged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.config.sections import EventsConfig
from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.symmetry.expressions import column_names, evaluate

__all__ = ["check_exchange", "counterparts", "exchange_events"]

LIGHT = (11, 13)

WORDS = {
    11: ("electrons", "electron", "ele", "el", "e"),
    13: ("muons", "muon", "mu", "mu", "mu"),
}
"""What columns of one flavour are called, and those of the other."""

SURE = ("electron", "electrons", "muon", "muons")
"""Words that mean a flavour wherever they stand; the others only at the beginning of a name."""

SAME = 1e-9
"""Relative: sums of exchanged terms differ by rounding."""


def counterparts(name: str) -> tuple[list[str], bool]:
    """Return what the column of the other flavour may be called, and whether the name is sure.

    Example:
        >>> counterparts("Electron_pt[0]")
        (['Muon_pt[0]'], True)
        >>> counterparts("mu_pt")[0]
        ['e_pt', 'el_pt', 'ele_pt', 'electron_pt']
        >>> counterparts("l1_pt")
        ([], False)
    """
    words = list(re.finditer(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))
    found: list[str] = []
    sure = False
    for place, word in enumerate(words):
        lower = word[0].lower()
        for code, other in (LIGHT, LIGHT[::-1]):
            if lower not in WORDS[code] or (lower not in SURE and place):
                continue
            if lower not in SURE and word.end() == len(name):
                continue  # `mu` alone may be the pile-up, `e` an energy
            sure = sure or lower in SURE or len(lower) > 1
            for new in dict.fromkeys(WORDS[other]):
                if new.endswith("s") != lower.endswith("s"):
                    continue
                if lower in SURE and new not in SURE:
                    continue
                styled = new.upper() if word[0].isupper() and len(word[0]) > 1 else new
                styled = new.capitalize() if word[0].istitle() else styled
                found.append(name[: word.start()] + styled + name[word.end() :])
    return sorted(set(found), key=len), sure


def exchange_events(table: EventTable, events: EventsConfig) -> EventTable:
    """Return the events with the two labels exchanged.

    Args:
        table: As they are, with the counterparts of columns of one flavour.
        events: Where the leptons are, and what is exchanged.

    Raises:
        InputError: A column of one flavour without its counterpart.
    """
    columns = dict(table.columns)
    if events.exchange != "flavour":
        return replace(table, columns={**columns, **_reversed_signs(table, events)})
    flavours = {
        *(lepton.flavour for lepton in events.leptons if isinstance(lepton.flavour, str)),
        *(name for name in columns if re.fullmatch(r"(l1|l2|loose)_flavour", name)),
    } & set(columns)
    first, second = _codes(table, events, flavours)
    swapped = dict(columns)
    for name in flavours:
        codes = columns[name]
        size = np.abs(codes)
        other = np.where(size == first, second, np.where(size == second, first, size))
        swapped[name] = np.where(np.asarray(codes) < 0, -other, other)
    done = set(flavours)
    fixed = {lepton.flavour: lepton for lepton in events.leptons}
    pairs = {f"n_{first}": f"n_{second}", f"n_{second}": f"n_{first}"}
    if first in fixed and second in fixed:
        one, two = (_quantities(fixed[code]) for code in (first, second))
        for key in one.keys() & two.keys():
            pairs |= {one[key]: two[key], two[key]: one[key]}
    for name, twin in pairs.items():
        if name in columns:
            swapped[name] = _column(table, twin, name)
            done.add(name)
    for name in set(columns) - done:
        names, sure = counterparts(name)
        there = [other for other in names if other in columns]
        if there:
            swapped[name] = columns[there[0]]
        elif sure:
            raise InputError(
                f"{table.source}: '{name}' is a column of one flavour, and there is no "
                f"'{names[0]}' to try the exchanged event with; cut on what both labels share, "
                "such as the leading and the subleading lepton"
            )
    return replace(table, columns=swapped)


def _codes(table: EventTable, events: EventsConfig, flavours: set[str]) -> tuple[int, int]:
    """Return the two flavours that are exchanged."""
    seen = {abs(f.flavour) for f in events.leptons if isinstance(f.flavour, int)}
    for name in flavours:
        seen |= {int(code) for code in np.unique(np.abs(table[name])) if code > 0}
    if len(seen) == 2:
        first, second = sorted(seen)
        return first, second
    return LIGHT


def _quantities(lepton: object) -> dict[str, str]:
    given = dict(vars(lepton))
    given |= given.pop("variables")
    return {k: v for k, v in given.items() if k != "flavour" and isinstance(v, str)}


def _column(table: EventTable, other: str, name: str) -> AnyArray:
    if other not in table.columns:
        raise InputError(f"{table.source}: no column '{other}' to exchange '{name}' with")
    return table.columns[other]


def _reversed_signs(table: EventTable, events: EventsConfig) -> dict[str, Array]:
    """Return columns of the leptons whose sign the exchange changes."""
    kinds = ("charge",) if events.exchange == "charge" else ("eta", "costheta")
    names = {v for lepton in events.leptons for k, v in _quantities(lepton).items() if k in kinds}
    names |= {name for name in table.columns if re.fullmatch(rf"(l1|l2|loose)_{kinds[0]}", name)}
    out = {name: -np.asarray(table[name], dtype=float) for name in names & set(table.columns)}
    if events.exchange == "eta":
        theta = {
            v for lepton in events.leptons for k, v in _quantities(lepton).items() if k == "theta"
        }
        out |= {name: np.pi - table[name] for name in theta & set(table.columns)}
    return out


def check_exchange(
    table: EventTable,
    exchanged: EventTable,
    quantities: Sequence[tuple[str, str]],
    rules: tuple[str, str] | None = None,
) -> None:
    """Refuse quantities that differ between an event and itself with the labels exchanged.

    Args:
        table: The events.
        exchanged: The same with the labels exchanged.
        quantities: What each is, for the message, and its expression.
        rules: Selections of the two samples. Where exchanging the leptons does not exchange the
            samples, no quantity may use the columns that tell them.

    Raises:
        InputError: Names the first of them, and the first event.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> table = make_events({"f": [11, 13], "pt": [20.0, 30.0]}, source="a.csv")
        >>> other = make_events({"f": [13, 11], "pt": [20.0, 30.0]})
        >>> check_exchange(table, other, [("selection 'x'", "f == 11 or pt > 25")])
        Traceback (most recent call last):
        ddphf.exceptions.InputError: a.csv: selection 'x' (f == 11 or pt > 25) knows the label: \
row 0 gives 1 and with the labels exchanged 0 (1 of 2 events differ); cut on what both labels \
share, such as the leading and the subleading lepton
    """
    moved = {
        name
        for name, values in table.columns.items()
        if exchanged.columns[name] is not values
        and not np.array_equal(values, exchanged.columns[name], equal_nan=True)
    }
    telling: set[str] = set()
    if rules is not None and not _exchanges(table, exchanged, *rules):
        telling = {name for rule in rules for name in column_names(rule)} - moved
    for what, text in quantities:
        if used := sorted(telling & set(column_names(text))):
            raise InputError(
                f"{table.source or 'events'}: {what} ({text}) uses '{used[0]}', which tells the "
                "samples apart, and how it changes when the labels are exchanged is not known; cut "
                "on other columns"
            )
        if not moved & set(column_names(text)):
            continue
        one, two = (np.asarray(evaluate(text, t), dtype=float) for t in (table, exchanged))
        bad = np.flatnonzero(~np.isclose(one, two, rtol=SAME, atol=0, equal_nan=True))
        if bad.size:
            row = int(bad[0])
            raise InputError(
                f"{table.source or 'events'}: {what} ({text}) knows the label: row {row} gives "
                f"{one[row]:g} and with the labels exchanged {two[row]:g} ({bad.size} of "
                f"{table.n_events} events differ); cut on what both labels share, such as the "
                "leading and the subleading lepton"
            )


def _exchanges(table: EventTable, exchanged: EventTable, tested: str, partner: str) -> bool:
    """Say whether the event with the labels exchanged lies in the other sample."""
    one, two = evaluate(tested, table), evaluate(partner, exchanged)
    return bool(np.array_equal(one, two))
