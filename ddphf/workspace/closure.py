"""Closure of a built workspace with the covariance that it states, and what it warns of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ddphf.arrays import Mask
from ddphf.symmetry.closure import find_side_region, global_p_value, profile_closure
from ddphf.workspace.read_pair import read_pair
from ddphf.workspace_json import Workspace

__all__ = ["UNLIKELY", "state_closure", "warn_of_closure"]

UNLIKELY = 0.01
"""A closure with a smaller p-value is warned of: one in a hundred good ones is, too."""


def state_closure(spec: Workspace, pairing: Mapping[str, str]) -> tuple[dict[str, Any], Mask]:
    """Return the profiled closure of all bins and of the side region, for JSON, and that region.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``, as in the sidecar.

    Returns:
        ``profiled``: chi2 and N_sigma of all bins, a signal included where there is one. ``side``:
        the same away from the signal, None where the signal reaches every bin. The mask of the
        side region, shape (M,).

    Example:
        >>> from ddphf.workspace.examples import build_pair
        >>> built = build_pair([90, 130], [100, 100], [0.0, 20.0], ratio=0.9)
        >>> entry, side = state_closure(built.workspace, built.metadata["pairing"])
        >>> side.tolist(), entry["side"]["chi2"]
        ([True, False], 0.0)
    """
    pair = read_pair(spec, pairing)
    contrast = pair.contrast()
    side = find_side_region(pair.signal, contrast.variance)
    entry: dict[str, Any] = {"profiled": asdict(profile_closure(contrast)), "side": None}
    found = profile_closure(contrast.select(side))
    if found.degrees_of_freedom:
        tests = [found.p_value] + ([found.n_sigma_p_value] if found.n_sigma is not None else [])
        smallest = None if None in tests else min(p for p in tests if p is not None)
        entry["side"] = {
            **asdict(found),
            "bins": int(np.count_nonzero(side)),
            "tried": len(tests),
            "smallest_p_value": smallest,
            "global_p_value": global_p_value(smallest, len(tests)),
        }
    return entry, side


def warn_of_closure(entry: Mapping[str, Any], n_bins: int) -> list[str]:
    """Return a sentence for every closure that fails.

    Args:
        entry: Of :func:`state_closure`, with ``variables`` where there are some.
        n_bins: Of the pair.
    """
    out, side = [], entry.get("side")
    if side is not None and _small(side["global_p_value"]):
        z = "" if side["n_sigma"] is None else f", N_sigma {side['n_sigma']:.2f}"
        out.append(
            f"closure: away from the signal ({side['bins']} of {n_bins} bins) the two samples "
            f"differ by more than the stated errors: chi2 {side['chi2']:.1f} for "
            f"{side['degrees_of_freedom']} bins{z}, p {_show(side['global_p_value'])} (the smaller "
            f"of {side['tried']}, counted as such); maps, fakes or selection miss a difference, "
            "and mu is biased by what is missed"
        )
    variables = entry.get("variables")
    if variables is None:
        return out
    tried = variables["tried"]
    for item in variables["results"]:
        if not item["degrees_of_freedom"] or not _small(item["p_value"]):
            continue
        smallest = (
            "the only variable tried"
            if tried == 1
            else f"{tried} variables tried, the smallest p counts "
            f"{_show(variables['global_p_value'])}"
        )
        where = "" if variables["region"] == "side" else ", signal included"
        out.append(
            f"closure in '{item['variable']}': the two samples differ by more than the stated "
            f"errors: chi2 {item['chi2']:.1f} for {item['degrees_of_freedom']} bins, p "
            f"{_show(item['p_value'])} ({smallest}){where}; something that the maps do not know "
            "depends on it, and mu may be biased: add it to the maps, or state it as a systematic"
        )
    return out


def _small(p: float | None) -> bool:
    return p is None or p < UNLIKELY


def _show(p: float | None) -> str:
    return "< 1e-300" if p is None else f"{p:.2g}"
