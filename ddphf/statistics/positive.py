"""Shapes that add up must leave expected events positive: where they do not, no model has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from ddphf.arrays import Array

__all__ = ["N_SIGMA_POSITIVE", "describe_negative"]

N_SIGMA_POSITIVE = 5.0
"""Expected events stay positive where all shapes together reach this many sigma."""


class Factors(Protocol):
    """A variation: its type, and factors at +1 and -1 sigma per bin."""

    @property
    def kind(self) -> str:
        """``histosys`` where it may make a bin negative."""

    @property
    def up(self) -> Array:
        """At +1 sigma."""

    @property
    def down(self) -> Array:
        """At -1 sigma."""


def describe_negative(
    variations: Iterable[Factors], nominal: Array, remedy: str
) -> tuple[int, str] | None:
    """Return the bin that shapes together make negative first, and a sentence; None if none is.

    Args:
        variations: Of one template.
        nominal: Its expected events, shape (M,).
        remedy: How the sentence ends.

    Example:
        >>> from types import SimpleNamespace as Shape
        >>> wide = Shape(kind="histosys", up=np.array([1.1, 1.3]), down=np.array([0.9, 0.7]))
        >>> describe_negative([wide], np.array([9.0, 4.0]), "merge it")[0]
        1
    """
    total = np.zeros_like(nominal)
    for v in variations:
        if v.kind == "histosys":
            total = total + np.maximum(np.abs(v.up - 1), np.abs(v.down - 1)) ** 2
    reach = N_SIGMA_POSITIVE * np.sqrt(total)
    bad = np.flatnonzero((reach >= 1) & (nominal > 0))
    if not bad.size:
        return None
    index = int(bad[np.argmax(reach[bad])])
    return index, (
        f"relative variations add up to {np.sqrt(total[index]):.3g} in quadrature, so the template "
        f"turns negative within {N_SIGMA_POSITIVE:g} sigma; {remedy}"
    )
