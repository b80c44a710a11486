"""What the columns of a map's table mean: by a stated name, or as the analysis file says.

A column is never taken for a systematic because nothing else fits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddphf.exceptions import InputError

__all__ = ["ColumnRoles", "assign_columns"]

Column = str | tuple[str, str]
"""One column, or those of the upward and the downward error."""

ERROR = r"(_?(err|error|unc|uncertainty))?$"
STATISTICAL = re.compile(r"^(.*_)?stat(istical)?" + ERROR, re.IGNORECASE)
SYSTEMATIC = re.compile(
    r"^(.*_)?((syst?|systematic)" + ERROR + r"|unc$|uncertainty$)", re.IGNORECASE
)
OTHER_THAN = {
    "statistical": re.compile(r"corr|indep|sys", re.IGNORECASE),
    "systematic": re.compile(r"corr|indep|stat", re.IGNORECASE),
}
"""What a name must not say beside, or its meaning is open: sys_uncorr, stat_syst."""

COUNT = re.compile(r"^n_?(pass(ed)?|fail(ed)?|tot(al)?|all|events|probes?)$", re.IGNORECASE)
PAIR = re.compile(r"^(?P<stem>.+?)_?(?P<end>up|down|dn|dw)$", re.IGNORECASE)


@dataclass
class ColumnRoles:
    """Which column holds what.

    Attributes:
        value: The central value.
        statistical: Error that is independent between the bins, or None.
        sources: Errors that are fully correlated over the map, by name.
        warnings: Sentences for the user.
    """

    value: str
    statistical: Column | None = None
    sources: dict[str, Column] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def assign_columns(
    names: Sequence[str],
    declared: Mapping[str, Any],
    where: str,
    named: Collection[str] = (),
) -> ColumnRoles:
    """Assign the columns that are no axes.

    Declared ones first; then by name: ``value``; ``stat`` or ``statistical``, alone or at the end,
    also with ``err`` or ``unc``; ``sys``, ``syst``, ``systematic`` and ``unc``, ``uncertainty``
    likewise, each a source; pairs ``<source>_up`` and ``<source>_down`` (``_dn``, ``_dw``). A name
    that says two things, such as ``sys_uncorr``, says nothing. Counts such as ``n_pass`` are left
    out with a warning.

    Args:
        names: Of the columns.
        declared: ``value``, ``statistical``, ``sources``, ``ignore``: columns, or pairs of them.
        where: For messages.
        named: Sources that the analysis names elsewhere.

    Raises:
        InputError: A column that is declared and absent, twice the same thing, or of unknown
            meaning.

    Example:
        >>> assign_columns(["value", "stat", "tag_up", "tag_down"], {}, "map.csv").sources
        {'tag': ('tag_up', 'tag_down')}
    """
    sources = _declared_sources(declared.get("sources", {}))
    statistical = _column(declared.get("statistical"))
    ignored = list(declared.get("ignore", ()))
    roles = ColumnRoles(declared.get("value", "value"), statistical, sources)
    used = [roles.value, *_flat(statistical), *ignored]
    used += [name for column in sources.values() for name in _flat(column)]
    for name in used:
        if name not in names:
            hint = "" if "value" in declared or name != "value" else _value_hint(names)
            raise InputError(
                f"{where}: no column '{name}'; it has: {', '.join(names) or 'none'}{hint}"
            )
        if used.count(name) > 1:
            raise InputError(f"{where}: column '{name}' is declared twice in 'columns'")
    rest = [name for name in names if name not in used]
    for name in [name for name in rest if name in named]:
        roles.sources[name] = name
        rest.remove(name)
    for stem, pair in _pairs(rest):
        if _is_statistical(stem):
            _set_statistical(roles, pair, where)
        elif OTHER_THAN["systematic"].search(stem):
            continue
        else:
            _add_source(roles, stem, pair, where)
        rest = [name for name in rest if name not in pair]
    for name in list(rest):
        if _is_statistical(name):
            _set_statistical(roles, name, where)
        elif SYSTEMATIC.match(name) and not OTHER_THAN["systematic"].search(name):
            _add_source(roles, name, name, where)
            if "sys" not in name.lower():
                roles.warnings.append(
                    f"{where}: column '{name}' is taken as fully correlated between the bins; if "
                    f"it is independent in each, say 'columns: {{statistical: {name}}}', else "
                    f"'columns: {{sources: [{name}]}}'"
                )
        elif not COUNT.match(name):
            continue
        rest.remove(name)
    if rest:
        _refuse(rest, roles, where)
    counts = [n for n in names if COUNT.match(n) and n not in used and n not in named]
    if counts:
        roles.warnings.append(
            f"{where}: {_words(counts)} taken for counts and not used; 'columns: {{ignore: "
            f"[{', '.join(counts)}]}}' agrees"
        )
    return roles


def _is_statistical(name: str) -> bool:
    return bool(STATISTICAL.match(name) and not OTHER_THAN["statistical"].search(name))


def _refuse(rest: Sequence[str], roles: ColumnRoles, where: str) -> None:
    first, listed = rest[0], ", ".join(rest)
    statistical = (
        f"{{statistical: {first}}} (independent in each bin), " if roles.statistical is None else ""
    )
    raise InputError(
        f"{where}: {_words(rest)} neither declared nor known by name; say in the map's 'columns' "
        f"what {'it is' if len(rest) == 1 else 'they are'}: {statistical}{{sources: [{listed}]}} "
        f"(fully correlated between the bins) or {{ignore: [{listed}]}}"
    )


def _words(names: Sequence[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"column {quoted} is" if len(names) == 1 else f"columns {quoted} are"


def _value_hint(names: Sequence[str]) -> str:
    return f"; name it in the map's 'columns': {{value: {names[0]}}}" if names else ""


def _declared_sources(declared: Any) -> dict[str, Column]:
    if isinstance(declared, Mapping):
        return {str(name): _column(column) or "" for name, column in declared.items()}
    return {str(name): str(name) for name in declared}


def _column(declared: Any) -> Column | None:
    if declared is None or isinstance(declared, str):
        return declared
    up, down = declared
    return (str(up), str(down))


def _flat(column: Column | None) -> list[str]:
    if column is None:
        return []
    return [column] if isinstance(column, str) else list(column)


def _pairs(names: Sequence[str]) -> list[tuple[str, tuple[str, str]]]:
    """Return stem, upward and downward column of every pair."""
    ends: dict[str, dict[str, str]] = {}
    for name in names:
        found = PAIR.match(name)
        if found:
            end = "up" if found["end"].lower() == "up" else "down"
            ends.setdefault(found["stem"], {})[end] = name
    return [(stem, (e["up"], e["down"])) for stem, e in ends.items() if len(e) == 2]


def _set_statistical(roles: ColumnRoles, column: Column, where: str) -> None:
    if roles.statistical is not None:
        both = " and ".join(f"'{name}'" for c in (roles.statistical, column) for name in _flat(c))
        raise InputError(
            f"{where}: columns {both} are both statistical errors by name; keep one in the map's "
            "'columns', and ignore the other or declare it a source"
        )
    roles.statistical = column


def _add_source(roles: ColumnRoles, name: str, column: Column, where: str) -> None:
    if name in roles.sources:
        raise InputError(
            f"{where}: source '{name}' is there twice, as {_flat(roles.sources[name])} and as "
            f"{_flat(column)}; keep one in the map's 'columns', and ignore the other"
        )
    roles.sources[name] = column
