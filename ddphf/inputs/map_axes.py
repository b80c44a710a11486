"""What files call the axes of a map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inputs.look_up import AXES

__all__ = ["join_edges", "name_axes"]

ALIASES = {
    "pt": "pt", "eta": "eta", "abseta": "abseta", "aeta": "abseta", "abs_eta": "abseta",
    "charge": "charge", "q": "charge", "sceta": "eta", "etasc": "eta", "sc_eta": "eta",
    "eta_sc": "eta", "sc_abseta": "abseta", "abseta_sc": "abseta", "phi": "phi", "p": "p",
    "theta": "theta", "costheta": "costheta", "cos_theta": "costheta",
}  # fmt: skip
"""Common spellings, lower case; anything else is named by the caller."""

SAME_EDGE = 1e-6
"""Edges closer than this, relative to the larger of edge and narrowest bin, are one edge."""

PREFIX = re.compile(r"^(probe|lepton|lep|electron|ele|el|muon|mu|tau)_(?=.)")
"""Whose axis it is, which the map says already."""


def name_axes(
    names: Sequence[str],
    renamed: Mapping[str, str],
    where: str,
    variables: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return our names of the axes of a file.

    Args:
        names: As in the file.
        renamed: The file's name of an axis to ours, where it is not a common one.
        where: For messages.
        variables: Further names that the leptons have, as written.

    Raises:
        InputError: ``renamed`` has an axis that the file lacks, an axis has no known name, or two
            axes are the same.

    Example:
        >>> name_axes(["probe_abseta", "PT"], {}, "map.csv")
        ('abseta', 'pt')
    """
    for name in renamed:
        if name not in names:
            raise InputError(
                f"{where}: 'axes' renames '{name}'; it has: {', '.join(names) or 'no axis'}"
            )
    ours = tuple(renamed.get(name, name if name in variables else _alias(name)) for name in names)
    for name, axis in zip(names, ours, strict=True):
        if axis not in (*AXES, *variables):
            raise InputError(
                f"{where}: axis '{axis}', expected some of {', '.join([*AXES, *variables])}; say "
                f"which in 'axes', such as {{{name}: pt}}, or name its column in the 'variables' "
                "of the leptons"
            )
    if len(set(ours)) < len(ours):
        raise InputError(
            f"{where}: axes {', '.join(names)} mean {', '.join(ours)}, one of them twice; tell "
            "them apart in 'axes', or drop one"
        )
    return ours


def _alias(name: str) -> str:
    lower = name.lower()
    return ALIASES.get(lower, ALIASES.get(PREFIX.sub("", lower), name))


def join_edges(lows: Array, highs: Array) -> tuple[Array, Array]:
    """Make edges that differ by rounding one edge, so that bins neither overlap nor leave gaps.

    Args:
        lows: Lower edges, shape (K, d).
        highs: Upper edges, shape (K, d).

    Example:
        >>> import numpy as np
        >>> low, high = np.array([[0.0], [0.3]]), np.array([[0.1 + 0.2], [0.6]])
        >>> bool(np.all(join_edges(low, high)[1][0] == join_edges(low, high)[0][1]))
        True
    """
    out = [np.array(lows, dtype=float), np.array(highs, dtype=float)]
    for axis in range(out[0].shape[1]):
        joined = _join(out[0][:, axis], out[1][:, axis])
        out[0][:, axis], out[1][:, axis] = joined
    return out[0], out[1]


def _join(lows: Array, highs: Array) -> tuple[Array, Array]:
    points = np.unique(np.append(lows, highs))
    wide = highs - lows
    narrowest = float(np.min(wide[np.isfinite(wide)], initial=np.inf))
    floor = narrowest if np.isfinite(narrowest) else 0.0
    known = points.copy()
    for i in range(1, len(points)):
        gap = points[i] - points[i - 1]
        allowed = SAME_EDGE * max(abs(points[i]), floor)
        if np.isfinite(gap) and gap <= allowed and gap < narrowest / 2:
            known[i] = known[i - 1]
    return known[np.searchsorted(points, lows)], known[np.searchsorted(points, highs)]
