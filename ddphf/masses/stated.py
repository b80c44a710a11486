"""What a measurement says of the parameters of rows: bounds, start, auxiliary data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array, Mask, Spec

__all__ = ["KEYS", "LUMI", "Globals", "set_globals"]

LUMI = "lumi"
"""Name of the parameter of the luminosity."""

KEYS = ("auxdata", "bounds", "fixed", "inits", "name", "sigmas")
"""Of an entry of a measurement."""

DEFAULTS: dict[str, Spec] = {
    "normsys": {"inits": [0.0], "bounds": [[-5.0, 5.0]], "auxdata": [0.0], "sigmas": [1.0]},
    "lumi": {"inits": [1.0], "bounds": [[0.0, 10.0]], "auxdata": [1.0], "sigmas": [0.0]},
    "normfactor": {"inits": [1.0], "bounds": [[0.0, 10.0]], "auxdata": [0.0], "sigmas": [0.0]},
}
"""pyhf's, by the type of modifier; histosys as normsys. A lumi must be stated."""


@dataclass(frozen=True)
class Globals:
    """All parameters but those of single bins, the POI first; shape (k,) each.

    Attributes:
        names: Of them.
        lower: Bounds.
        upper: The same.
        start: Where fits begin.
        centre: Auxiliary data.
        width: Their errors; 0 where there are none.
        held: Which stay where they begin.
    """

    names: tuple[str, ...]
    lower: Array
    upper: Array
    start: Array
    centre: Array
    width: Array
    held: Mask


def set_globals(
    poi: tuple[str, float, float], kinds: Mapping[str, str], stated: Sequence[Spec]
) -> Globals:
    """Return the parameters.

    Args:
        poi: Name and bounds.
        kinds: Types of the others' modifiers by name.
        stated: Entries of the measurement.

    Example:
        >>> entry = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]]}
        >>> found = set_globals(("mu", 0.0, 10.0), {"a": "normsys", "lumi": "lumi"}, [entry])
        >>> found.names, found.centre.tolist(), found.width.tolist()
        (('mu', 'a', 'lumi'), [0.0, 0.0, 1.0], [0.0, 1.0, 0.02])
    """
    entries = {str(entry["name"]): entry for entry in stated}
    rows: list[dict[str, Any]] = [{**DEFAULTS[kind], **entries.get(name, {})}
                                  for name, kind in kinds.items()]  # fmt: skip

    def column(key: str, first: float) -> Array:
        return np.array([first, *(float(row[key][0]) for row in rows)])

    ends = [row["bounds"][0] for row in rows]
    return Globals(
        names=(poi[0], *kinds),
        lower=np.array([poi[1], *(float(low) for low, _ in ends)]),
        upper=np.array([poi[2], *(float(high) for _, high in ends)]),
        start=column("inits", 0.0),
        centre=column("auxdata", 0.0),
        width=column("sigmas", 0.0),
        held=np.array([False, *(bool(row.get("fixed", False)) for row in rows)]),
    )
