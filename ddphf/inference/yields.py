"""Expected events per channel and sample at a parameter point, by pyhf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.likelihood.reference import ReferenceModel, pyhf_backend

__all__ = ["expected_yields"]


def expected_yields(
    workspace: dict[str, Any], measurement: str | None, parameters: Mapping[str, float] | None
) -> dict[str, dict[str, Any]]:
    """Return expected events, channel -> sample -> array of shape (n_bins,).

    Args:
        workspace: A pyhf JSON workspace.
        measurement: Name of the measurement.
        parameters: Values by name; the starting values where None.

    Raises:
        ModelError: The workspace is refused.
    """
    reference = ReferenceModel(workspace, measurement)
    table = reference.parameters
    point = table.init if parameters is None else np.array([parameters[n] for n in table.names])
    model = reference.model
    with pyhf_backend("numpy"):
        by_sample = np.asarray(
            model.main_model.expected_data(point.tolist(), return_by_sample=True)
        )
    samples = {c["name"]: [s["name"] for s in c["samples"]] for c in workspace["channels"]}
    return {
        channel: {
            name: by_sample[index, where]
            for index, name in enumerate(model.config.samples)
            if name in samples[channel]
        }
        for channel, where in reference.channel_slices().items()
    }
