"""Other measurements of a pair: the ratio of its channels in the place of a signal."""

from __future__ import annotations

import copy
import math

from ddphf.workspace_json import ParameterDocument, Workspace

__all__ = ["RATIO", "add_uncorrelated", "measure_ratio"]

RATIO = "ratio"
UNCORRELATED = "uncorrelated"

RATIO_BOUNDS = [0.1, 10.0]
FACTOR_BOUNDS = [1e-10, 10.0]


def measure_ratio(workspace: Workspace, tested: str) -> Workspace:
    """Return the pair with a factor R on the tested channel's symmetric background as its POI.

    There is no signal: lambda_B = R r b (1 + ...) + f_B. Source: Feichtinger, Belle II pyhf talk.

    Args:
        workspace: Of ``build_workspace``.
        tested: Name of the tested channel.

    Example:
        >>> from ddphf.workspace.examples import build_pair
        >>> built = build_pair([18, 33], [12, 30], [10.0, 20.0])
        >>> spec = measure_ratio(built.workspace, "SR_mue")
        >>> spec["measurements"][0]["config"]["poi"]
        'ratio'
    """
    spec = copy.deepcopy(workspace)
    kept: set[str] = {RATIO}
    for channel in spec["channels"]:
        channel["samples"] = [s for s in channel["samples"] if s["name"] != "signal"]
        for sample in channel["samples"]:
            if channel["name"] == tested and sample["name"] == "symmetric":
                sample["modifiers"].append({"name": RATIO, "type": "normfactor", "data": None})
            kept |= {modifier["name"] for modifier in sample["modifiers"]}
    poi: ParameterDocument = {"name": RATIO, "inits": [1.0], "bounds": [RATIO_BOUNDS]}
    old = spec["measurements"][0]["config"]["parameters"]
    parameters = [poi, *(p for p in old if p["name"] in kept)]
    spec["measurements"] = [{"name": RATIO, "config": {"poi": RATIO, "parameters": parameters}}]
    return spec


def add_uncorrelated(workspace: Workspace, tested: str, error: float) -> Workspace:
    """Return the pair with a relative error per bin (a shapesys) on the tested channel's b.

    Args:
        workspace: Of ``build_workspace``.
        tested: Name of the tested channel.
        error: Relative, the same in every bin.

    Example:
        >>> from ddphf.workspace.examples import build_pair
        >>> built = build_pair([18, 33], [12, 30], [10.0, 20.0])
        >>> spec = add_uncorrelated(built.workspace, "SR_mue", 0.125)
        >>> spec["channels"][1]["samples"][1]["modifiers"][-1]["data"]
        [1.875, 3.9375]
    """
    spec = copy.deepcopy(workspace)
    channel = next(c for c in spec["channels"] if c["name"] == tested)
    sample = next(s for s in channel["samples"] if s["name"] == "symmetric")
    data = [error * value for value in sample["data"]]
    sample["modifiers"].append({"name": UNCORRELATED, "type": "shapesys", "data": data})
    bounds = [FACTOR_BOUNDS[0], max(FACTOR_BOUNDS[1], math.ceil(1 + 10 * error))]
    for measurement in spec["measurements"]:
        measurement["config"]["parameters"].append(
            {"name": UNCORRELATED, "inits": [1.0] * len(data), "bounds": [bounds] * len(data)}
        )
    return spec
