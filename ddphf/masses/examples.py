"""A small scan and a small patchset, for examples and tests."""

from __future__ import annotations

import numpy as np
import pyhf

from ddphf.arrays import Spec
from ddphf.masses.scan import MassScan, Norm, Parameter, Poi, Sample

__all__ = ["small_patchset", "small_scan"]


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


def small_patchset(n: int = 3) -> tuple[Spec, Spec]:
    """Return a background-only workspace of two channels and a patchset of n masses.

    Args:
        n: Masses.
    """
    stat = {"name": "staterror_SR", "type": "staterror", "data": [0.5, 0.6, 0.7]}
    norm = {"name": "background_norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    control = {**norm, "data": {"hi": 1.2, "lo": 0.8}}
    poi = {"name": "mu", "bounds": [[0.0, 30.0]], "inits": [1.0]}
    background: Spec = {
        "version": "1.0.0",
        "channels": [
            {"name": "SR", "samples": [
                {"name": "bkg", "data": [5.0, 6.0, 7.0], "modifiers": [norm, stat]}]},
            {"name": "CR", "samples": [
                {"name": "bkg", "data": [50.0], "modifiers": [control]}]},
        ],
        "observations": [
            {"name": "SR", "data": [6.0, 8.0, 7.0]}, {"name": "CR", "data": [52.0]},
        ],
        "measurements": [{"name": "search", "config": {"poi": "mu", "parameters": [poi]}}],
    }  # fmt: skip
    patches = []
    for mass in range(1, n + 1):
        modifiers = [
            {"name": "mu", "type": "normfactor", "data": None},
            {"name": "signal_eff", "type": "normsys", "data": {"hi": 1.05, "lo": 0.95}},
        ]
        yields = [1.0 + (mass - 1) * 0.4, 2.0, 3.0 - 0.5 * mass]
        sample = {"name": f"signal_{mass}", "data": yields, "modifiers": modifiers}
        step = {"op": "add", "path": "/channels/0/samples/1", "value": sample}
        patches.append({"metadata": {"name": f"m_{mass}", "values": [mass]}, "patch": [step]})
    metadata = {
        "references": {"hepdata": "ins1234567"},
        "description": "masses",
        "digests": {"sha256": pyhf.utils.digest(background)},
        "labels": ["m"],
    }
    return background, {"metadata": metadata, "patches": patches[::-1], "version": "1.0.0"}
