"""A small scan, for examples and tests."""

from __future__ import annotations

import numpy as np

from ddphf.masses.scan import MassScan, Norm, Parameter, Poi, Sample

__all__ = ["small_scan"]


def small_scan(n: int = 4, bins: int = 6, seed: int = 1) -> MassScan:
    """Return a scan of n hypotheses, of which the last has a bin without simulated background."""
    rng = np.random.default_rng(seed)
    simulated = rng.poisson(60.0, (n, bins)).astype(float)
    simulated[-1, -1] = 0.0
    shape = np.exp(-0.5 * ((np.arange(bins) - 0.5 * (bins - 1)) / 1.2) ** 2)
    ones = np.ones(n)
    values = np.arange(1.0, n + 1.0)
    counts = rng.poisson(simulated / 10.0).astype(float)
    return MassScan(
        name="small",
        parameter=Parameter("m", "GeV", values),
        poi=Poi("mu", "fb", 0.0, 50.0),
        counts=counts,
        backgrounds=(
            Sample(
                "background", simulated / 10.0, np.sqrt(simulated) / 10.0,
                norms=(Norm("background_norm", 1.1 * ones, ones / 1.1),),
            ),
        ),
        signal=Sample(
            "signal", np.tile(3.0 * shape / shape.sum(), (n, 1)),
            norms=(Norm("signal_eff", 1.05 * ones, ones / 1.05),),
        ),
        live=np.ones((n, bins), dtype=bool),
        empty=np.zeros((n, bins), dtype=bool),
    )  # fmt: skip
