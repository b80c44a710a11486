"""Which parameters a user means: names, globs, groups of globs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from ddphf.arrays import Mask
from ddphf.exceptions import ModelError
from ddphf.likelihood.reference import ParameterTable
from ddphf.text import did_you_mean

__all__ = ["find_parameter", "match_globs", "require_poi", "split_groups"]


def find_parameter(table: ParameterTable, name: str) -> int:
    """Return the index of a free parameter.

    Raises:
        ModelError: There is none of this name, or the measurement holds it.
    """
    if name not in table.names:
        hint = did_you_mean(name, table.names, most=3).strip() or "'ddphf inspect' lists them"
        raise ModelError(f"parameter '{name}' is not in the model; {hint}")
    index = table.names.index(name)
    if table.fixed[index]:
        raise ModelError(
            f"parameter '{name}' is held at {table.init[index]:g} by the measurement; choose a "
            "free one, or another --measurement"
        )
    return index


def require_poi(table: ParameterTable, measurement: str | None) -> int:
    """Return the index of the POI.

    Raises:
        ModelError: There is none, or the measurement holds it.
    """
    if table.poi is None or table.fixed[table.poi]:
        raise ModelError(
            f"measurement '{measurement}' has no free POI, so nothing can have an impact on it; "
            "pick a measurement that has one"
        )
    return table.poi


def match_globs(table: ParameterTable, globs: Sequence[str], what: str) -> Mask:
    """Return which free parameters other than the POI match one of the globs, shape (n,).

    ``*`` and ``?`` alone are special: brackets belong to names, such as ``symmetric_shape[317]``.

    Args:
        table: The parameters.
        globs: At least one.
        what: Where they come from, for the message.

    Raises:
        ModelError: A glob matches nothing that is free.
    """
    free = ~table.fixed
    if table.poi is not None:
        free = free.copy()
        free[table.poi] = False
    out = np.zeros(len(table.names), dtype=bool)
    for glob in globs:
        pattern = glob.replace("[", "[[]")
        matched = np.array([fnmatchcase(name, pattern) for name in table.names])
        if not (matched & free).any():
            found, hint = "", did_you_mean(glob, table.names)
            if matched.any():
                only = [n for n, m in zip(table.names, matched, strict=True) if m]
                hint, found = "", f" but {', '.join(only[:3])}, which is held or the POI"
            raise ModelError(
                f"{what} '{glob}' matches no parameter{found}; {hint}'ddphf inspect' lists them"
            )
        out |= matched & free
    return out


def split_groups(table: ParameterTable, groups: Sequence[tuple[str, str]]) -> dict[str, Mask]:
    """Return which parameters each group holds.

    Args:
        table: The parameters.
        groups: (name, globs joined by commas).

    Raises:
        ModelError: A name twice, a glob that matches nothing, a parameter in two groups.
    """
    out: dict[str, Mask] = {}
    for name, globs in groups:
        if name in out:
            raise ModelError(
                f"group '{name}' is given twice; join its globs with a comma: "
                f"--group {name}=GLOB,GLOB"
            )
        mask = match_globs(table, globs.split(","), f"group '{name}': glob")
        for other, taken in out.items():
            if (both := np.flatnonzero(mask & taken)).size:
                raise ModelError(
                    f"parameter '{table.names[both[0]]}' is in the groups '{other}' and '{name}'; "
                    "a sum over groups needs each parameter in one of them"
                )
        out[name] = mask
    return out
