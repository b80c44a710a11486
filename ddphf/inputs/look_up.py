"""Leptons looked up in a map: the axes a map may have, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError

__all__ = ["AXES", "OUTSIDE", "Evaluator", "LookUp", "axis_values", "refuse_varied"]


AXES = ("pt", "eta", "abseta", "charge", "phi", "p", "theta", "costheta")
"""What a map may depend on, beside the ``variables`` of a lepton; pT and p are in GeV, theta in
radians. abseta, p, theta and costheta follow from pt and eta where they are not given."""

OUTSIDE = -1


@dataclass(frozen=True)
class LookUp:
    """What a map says about n leptons.

    Attributes:
        cells: Calibration bin, -1 outside the map, shape (n,).
        values: 1 outside the map, shape (n,).
        columns: Bins of the covariance that the lepton takes part in, -1 for none, shape (n, c).
        weights: Its share in each: the relative change of its value for a relative change of one
            in that bin, shape (n, c).
    """

    cells: IntArray
    values: Array
    columns: IntArray
    weights: Array


class Evaluator(Protocol):
    """A correction that is evaluated at the leptons."""

    @property
    def n_columns(self) -> int:
        """Number of bins of the covariance that one lepton takes part in."""
        ...

    @property
    def varies(self) -> bool:
        """Whether the value may vary inside a bin."""
        ...

    def look_up(
        self, given: Mapping[str, Array], n: int, *, nearest: bool, excluded: frozenset[int]
    ) -> LookUp:
        """Return what the correction says about n leptons, from their values by axis."""
        ...


def axis_values(axis: str, given: Mapping[str, Array | None], name: str) -> Array:
    """Return the leptons' values along an axis, derived from pt and eta where need be.

    Args:
        axis: Of the map.
        given: What the events have, by axis, each of shape (n,) or None.
        name: Of the map, for messages.

    Raises:
        InputError: The events do not tell the axis.

    Example:
        >>> import numpy as np
        >>> axis_values("theta", {"eta": np.array([0.0])}, "muon").round(4).tolist()
        [1.5708]
    """
    own, pt, eta = given.get(axis), given.get("pt"), given.get("eta")
    if own is not None:
        return np.asarray(own, dtype=float)
    if eta is not None:
        eta = np.asarray(eta, dtype=float)
        if axis == "abseta":
            return np.abs(eta)
        if axis == "theta":
            return np.asarray(2 * np.arctan(np.exp(-eta)))
        if axis == "costheta":
            return np.asarray(np.tanh(eta))
        if axis == "p" and pt is not None:
            return np.asarray(pt * np.cosh(eta))
    hint = "" if axis in ("pt", "eta", "abseta", "charge") else f" (variables: {{{axis}: COLUMN}})"
    raise InputError(
        f"map '{name}' depends on {axis}, which the events do not have; name the column in "
        f"'leptons'{hint}"
    )


def refuse_varied(relative: Array, label: str, where: str) -> None:
    """Refuse an error that is as large as the value nearly everywhere: it is a varied value.

    Args:
        relative: The error by the value, one for each bin or lepton.
        label: Of the error.
        where: For messages.

    Raises:
        InputError: Half of the errors are within a quarter of the value, and all above half of it.
    """
    size = np.abs(relative)
    if len(size) > 1 and np.min(size) > 0.5 and 0.75 < float(np.median(size)) < 1.25:
        raise InputError(
            f"{where}: '{label}' is {np.min(size):.0%} to {np.max(size):.0%} of the value in every "
            "bin, so it is a varied value and no error, or the other way round; turn 'varied' "
            "round"
        )
