"""Which nuisance parameters may have a minimum of the likelihood on either side."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array
from ddphf.likelihood.reference import ReferenceModel
from ddphf.workspace_json import SampleDocument

__all__ = ["find_one_sided"]


def find_one_sided(reference: ReferenceModel) -> tuple[int, ...]:
    """Return the free nuisance parameters that move a sample's bin the same way at +1 and -1 sigma.

    The likelihood may then have a minimum on either side.
    """
    table, seen = reference.parameters, set()
    for channel in reference.workspace["channels"]:
        for sample in channel["samples"]:
            nominal = np.array(sample["data"], dtype=float)
            for name, (up, down) in _variations(sample, nominal).items():
                # A fifth of the bin's Poisson error: below it no minimum can hide.
                size = np.minimum(np.abs(up), np.abs(down))
                if np.any((up * down > 0) & (size > 0.2 * np.sqrt(np.maximum(nominal, 1.0)))):
                    seen.add(name)
    return tuple(i for i, name in enumerate(table.names) if name in seen and not table.fixed[i])


def _variations(sample: SampleDocument, nominal: Array) -> dict[str, tuple[Array, Array]]:
    """Return the change at +1 and -1 sigma by parameter; one name may be histosys and normsys."""
    shapes: dict[str, list[Array]] = {}
    norms: dict[str, list[float]] = {}
    for modifier in sample["modifiers"]:
        name = modifier["name"]
        if modifier["type"] == "histosys":
            both = modifier["data"]["hi_data"], modifier["data"]["lo_data"]
            shapes[name] = [np.array(side, dtype=float) for side in both]
        elif modifier["type"] == "normsys":
            norms[name] = [modifier["data"]["hi"], modifier["data"]["lo"]]
    out = {}
    for name in {**shapes, **norms}:
        yields, factors = shapes.get(name, [nominal, nominal]), norms.get(name, [1.0, 1.0])
        out[name] = (yields[0] * factors[0] - nominal, yields[1] * factors[1] - nominal)
    return out
