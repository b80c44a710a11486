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


def points_near(components: Sequence[Component], n: int, seed: int = 0) -> list[Array]:
    """Return starting values and ``n`` points around them, within the bounds.

    Constrained parameters are moved by two of their sigmas at most, free ones by a part of their
    value; what is held stays.
    """
    rng = np.random.default_rng(seed)
    start = np.array([component.init for component in components])
    scale = np.array([_scale(component) for component in components])
    low = np.array([component.low for component in components])
    high = np.array([component.high for component in components])
    out = [start]
    for _ in range(n):
        moved = start + scale * rng.uniform(-2, 2, len(start))
        out.append(np.where(scale > 0, np.clip(moved, low, high), start))
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
        FitError: Another parameter, starting value or constant, or another likelihood.
        ModelError: The other workspace is refused.
    """
    worst = 0.0
    for one, other in zip(ours, all_measurements(workspace), strict=True):
        mine, its = read_components(one), read_components(other)
        named = {(c.modifier, c.bin): index for index, c in enumerate(its)}
        if {(c.modifier, c.bin) for c in mine} != set(named):
            raise FitError(f"measurement '{one.measurement}': other parameters after conversion")
        order = [named[c.modifier, c.bin] for c in mine]
        for index, component in enumerate(mine):
            if its[order[index]].fixed != component.fixed:
                raise FitError(
                    f"measurement '{one.measurement}': parameter '{component.modifier}' is held on "
                    "one side of the conversion alone"
                )
        values = []
        for point in points_near(mine, N_POINTS):
            turned = np.empty_like(point)
            turned[order] = point
            values.append(
                (
                    one.twice_nll(point, backend="numpy"),
                    other.twice_nll(turned, backend="numpy"),
                )
            )
        pairs = np.array(values)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        if not len(pairs):
            raise FitError(
                f"measurement '{one.measurement}': 2NLL is finite nowhere near the start"
            )
        differences = np.abs(np.diff(pairs - pairs[0], axis=1)).ravel()
        if np.any(differences > SAME_2NLL + ROUNDING * np.abs(pairs).max()):
            raise FitError(
                f"measurement '{one.measurement}': 2NLL differences change by "
                f"{differences.max():.3g} in the conversion, {SAME_2NLL:g} is allowed"
            )
        worst = max(worst, float(differences.max()))
    return worst
