"""The error of the POI taken apart: by what the data fluctuate, and by what is frozen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Mask
from ddphf.inference.ranking.priors import Priors
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import Propagation, propagate
from ddphf.results.rank import GroupResult

__all__ = ["Decomposition", "decompose", "statistical_variance"]

TOLERATED = 0.02
"""A sum of auxiliary shifts further than this from the total is said to be no decomposition."""

OTHER = "other"
"""Constrained parameters that are in no group, not per bin and not numbered."""


@dataclass(frozen=True)
class Decomposition:
    """What ``ddphf rank`` says about the whole error; see docs/rank.md.

    Attributes:
        groups: In falling order of impact.
        frozen: By holding parameters; None where the POI has no error.
        auxiliary: By shifting data; None where the POI has no error.
        warnings: Sentences for the user.
    """

    groups: tuple[GroupResult, ...]
    frozen: dict[str, float] | None
    auxiliary: dict[str, float] | None
    warnings: tuple[str, ...]


def decompose(
    model: CompiledModel,
    free: Minimum,
    held: Mask,
    spread: Propagation,
    priors: Priors,
    shifts: Mapping[int, float],
    named: Mapping[str, Mask],
) -> Decomposition:
    """Take the error of the POI apart.

    Args:
        model: The model; its POI is free.
        free: Its fit.
        held: Parameters that the fit held, shape (n,).
        spread: Propagation of the POI at the fit.
        priors: Constraint terms.
        shifts: By parameter: the size of the POI's shift by its auxiliary measurement, the root
            mean square of up and down, from refits. The other parameters are taken to first order.
        named: Groups of the user.
    """
    poi = model.parameters.poi
    assert poi is not None
    total = float(free.errors[poi])
    constrained = priors.constrained & ~held
    auxiliary = np.where(constrained, spread.covariance * priors.response(free.parameters), 0.0)
    for index, shift in shifts.items():
        auxiliary[index] = shift
    masks = {**named, **_rest(model, constrained, named)}

    known: dict[bytes, float] = {}  # one group is often all there is to hold

    def error_without(mask: Mask) -> float:
        """Return the error with some parameters held where they are: the minimum stays."""
        if not total > 0:  # at a bound or an edge, whatever is held
            return 0.0
        key = (held | mask).tobytes()
        if key not in known:
            rest = propagate(model, free.parameters, poi, fixed=held | mask)
            known[key] = float(np.sqrt(max(rest.covariance[poi], 0.0)))
        return known[key]

    groups = []
    for name, mask in masks.items():
        error = error_without(mask)
        groups.append(
            GroupResult(
                name=name,
                parameters=int(np.sum(mask & ~held)),
                frozen_error=error,
                impact=_difference(total, error),
                auxiliary=float(np.sqrt(np.sum(auxiliary[mask] ** 2))),
            )
        )
    groups.sort(key=lambda g: (-g.impact, g.name))
    if not total > 0:
        return Decomposition(tuple(groups), None, None, ("the POI has no error to take apart",))
    statistical = error_without(constrained)
    together = np.zeros_like(held)
    for mask in masks.values():
        together |= mask
    all_groups = error_without(together) if masks else total
    apart = sum(g.impact**2 for g in groups)
    frozen = {
        "total": total,
        "statistical": statistical,
        "systematic": _difference(total, statistical),
        "all_groups": all_groups,
        "remainder_variance": total**2 - all_groups**2 - apart,
    }
    data = statistical_variance(model, spread)
    systematic = float(np.sum(auxiliary**2))
    found = {
        "total": total,
        "statistical": float(np.sqrt(data)),
        "systematic": float(np.sqrt(systematic)),
        "sum": float(np.sqrt(data + systematic)),
    }
    found["ratio"] = found["sum"] / total
    warnings = []
    if abs(found["ratio"] - 1) > TOLERATED:
        warnings.append(
            f"auxiliary shifts and counts add up to {found['ratio']:.3f} of the error of the POI: "
            "it is not Gaussian enough (low counts, bounds or one-sided variations) for this sum"
        )
    return Decomposition(tuple(groups), frozen, found, tuple(warnings))


def statistical_variance(model: CompiledModel, spread: Propagation) -> float:
    """Return sum_i (d poi / d n_i)^2 n_i: the part of the variance that the counts carry.

    Args:
        model: The model, with its data.
        spread: Propagation of the POI at the minimum.
    """
    counts = model.data[: model.n_main]
    safe = np.where(spread.rates > 0, spread.rates, np.inf)
    return float(np.sum((spread.rate_covariance / safe) ** 2 * counts))


def _rest(model: CompiledModel, constrained: Mask, named: Mapping[str, Mask]) -> dict[str, Mask]:
    """Return groups of the constrained parameters that no group of the user holds.

    Per-bin modifiers and numbered parameters, such as ``scale_01`` and ``scale_02``, have groups
    of their own.
    """
    left = constrained.copy()
    for mask in named.values():
        left &= ~mask
    names, per_bin = model.parameters.names, model.expansion.per_bin
    stems = [
        name.split("[")[0] if own else re.sub(r"_?[0-9]+$", "", name)
        for name, own in zip(names, per_bin, strict=True)
    ]
    sizes = Counter(stem for stem, is_left in zip(stems, left, strict=True) if is_left)
    labels = np.array(
        [
            stem if own or (stem and stem != name and sizes[stem] > 1) else OTHER
            for stem, name, own in zip(stems, names, per_bin, strict=True)
        ]
    )
    out = {str(label): left & (labels == label) for label in dict.fromkeys(labels[left])}
    return {f"{name} (rest)" if name in named else name: mask for name, mask in out.items()}


def _difference(total: float, without: float) -> float:
    """Return sqrt(total^2 - without^2), 0 where rounding makes it negative."""
    return float(np.sqrt(max(total**2 - without**2, 0.0)))
