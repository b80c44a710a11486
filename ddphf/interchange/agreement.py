"""Whether two workspaces are one likelihood: their 2NLL differences at the same points, by pyhf."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.exceptions import FitError
from ddphf.interchange.terms import Component, read_components
from ddphf.likelihood.reference import ReferenceModel
from ddphf.workspace_json import Workspace

__all__ = ["SAME_2NLL", "all_measurements", "compare", "points_near"]

SAME_2NLL = 1e-6
"""Difference of two 2NLL differences below which two models are one."""

ROUNDING = 1e-13
"""And that much of 2NLL itself: its terms are of that size."""

N_POINTS = 4
"""Beside the starting values."""

STEP = 0.05
"""Of a free factor, relative."""

N_TRIES = 12
"""Of one point, each half as far as the one before, until 2NLL is finite there."""


def all_measurements(workspace: Workspace | Spec) -> list[ReferenceModel]:
    """Return a model of every measurement of a workspace, which is checked once.

    Raises:
        ModelError: The workspace is refused, as by a fit.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> [reference.measurement for reference in all_measurements(one_bin().workspace)]
        ['measurement']
    """
    first = ReferenceModel(workspace)
    names = [measurement["name"] for measurement in first.workspace["measurements"]]
    return [first, *(first.sibling(name) for name in names if name != first.measurement)]


def points_near(
    components: Sequence[Component], n: int, seed: int = 0, reach: float = 1.0
) -> list[Array]:
    """Return starting values and ``n`` points around them, within the bounds.

    Constrained parameters are moved by two of their sigmas at most, free ones by a part of their
    value, those at a bound away from it; what is held stays.

    Args:
        components: The parameters.
        n: Points beside the start.
        seed: Of the directions.
        reach: Part of these distances.
    """
    rng = np.random.default_rng(seed)
    start = np.array([component.init for component in components])
    scale = reach * np.array([_scale(component) for component in components])
    low = np.array([component.low for component in components])
    high = np.array([component.high for component in components])
    out = [start]
    for _ in range(n):
        step = scale * rng.uniform(-2, 2, len(start))
        step = np.where((start + step < low) | (start + step > high), -step, step)
        out.append(np.where(scale > 0, np.clip(start + step, low, high), start))
    return out


def _scale(component: Component) -> float:
    term = component.constraint
    if component.fixed:
        return 0.0
    if term is None:
        return STEP * (abs(component.init) or 1.0)
    return term.width if term.kind == "gaussian" else float(1 / np.sqrt(term.width))


def compare(ours: Sequence[ReferenceModel], workspace: Spec) -> float:
    """Return by how much 2NLL differences of two workspaces differ at most, over all measurements.

    Args:
        ours: Every measurement of the one.
        workspace: The other one, with parameters of the same names.

    Raises:
        FitError: Another parameter, POI, or value that is held, or another likelihood.
        ModelError: The other workspace is refused.
    """
    theirs = all_measurements(workspace)
    if len(theirs) != len(ours):
        raise FitError(f"{len(theirs)} measurements of {len(ours)} after conversion")
    return max(_compare(one, other) for one, other in zip(ours, theirs, strict=True))


def _compare(one: ReferenceModel, other: ReferenceModel) -> float:
    what = f"measurement '{one.measurement}'"
    mine, its = read_components(one), read_components(other)
    named = {(c.modifier, c.bin): index for index, c in enumerate(its)}
    if {(c.modifier, c.bin) for c in mine} != set(named):
        raise FitError(f"{what}: other parameters after conversion")
    order = [named[c.modifier, c.bin] for c in mine]
    for index, component in enumerate(mine):
        partner = its[order[index]]
        if partner.fixed != component.fixed:
            raise FitError(
                f"{what}: parameter '{component.modifier}' is held on one side of the conversion "
                "alone"
            )
        if component.fixed and partner.init != component.init:
            raise FitError(
                f"{what}: parameter '{component.modifier}' is held at {component.init:g}, after "
                f"conversion at {partner.init:g}"
            )
    poi = None if one.parameters.poi is None else order[one.parameters.poi]
    if poi != other.parameters.poi:
        raise FitError(f"{what}: another POI after conversion")

    def both(point: Array) -> tuple[float, float] | None:
        """Return 2NLL on both sides, None where it is finite on neither."""
        turned = np.empty_like(point)
        turned[order] = point
        pair = (one.twice_nll(point, backend="numpy"), other.twice_nll(turned, backend="numpy"))
        finite = np.isfinite(pair)
        if finite[0] != finite[1]:
            raise FitError(f"{what}: 2NLL is finite on one side of the conversion alone")
        return pair if finite.all() else None

    values = [both(points_near(mine, 0)[0])]
    for seed in range(N_POINTS):
        # A rate is below 0 where many templates are moved far: nearer, until none is.
        tries = (both(points_near(mine, 1, seed, 0.5**n)[1]) for n in range(N_TRIES))
        values.append(next((pair for pair in tries if pair is not None), None))
        if values[-1] is None:
            raise FitError(f"{what}: 2NLL is finite nowhere near the start")
    pairs = np.array([pair for pair in values if pair is not None])
    differences = np.abs(np.diff(pairs - pairs[0], axis=1)).ravel()
    if np.any(differences > SAME_2NLL + ROUNDING * np.abs(pairs).max()):
        raise FitError(
            f"{what}: 2NLL differences change by {differences.max():.3g} in the conversion, "
            f"{SAME_2NLL:g} is allowed"
        )
    return float(differences.max())
