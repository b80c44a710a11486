"""Models for the tests of ``ddphf convert``, and points where two likelihoods are compared."""

import copy

import numpy as np

from ddphf.interchange.terms import read_components
from ddphf.likelihood.reference import ReferenceModel

__all__ = [
    "MARK",
    "differences",
    "every_modifier",
    "marked",
    "plain",
    "points",
    "pyhf_differences",
    "stating",
    "without_poi",
]


def plain(workspace):
    """Return a workspace without what no other format has: shifted auxiliary data."""
    out = copy.deepcopy(workspace)
    for measurement in out["measurements"]:
        for parameter in measurement["config"]["parameters"]:
            if parameter["name"] != "lumi":
                parameter.pop("auxdata", None)
                if parameter.get("fixed"):
                    parameter["inits"] = [0.0]
    return out


def every_modifier():
    """A pair with one modifier of each type, and a second measurement without a signal."""
    stat = "staterror_SR"
    shape = {"hi_data": [52.0, 41.0, 30.0], "lo_data": [49.0, 37.0, 31.0]}
    other = {"hi_data": [50.0, 44.0, 33.0], "lo_data": [49.0, 37.0, 31.0]}

    def modifier(name, kind, data=None):
        return {"name": name, "type": kind, "data": data}

    samples = [
        {"name": "signal", "data": [2.0, 5.0, 3.0], "modifiers": [
            modifier("mu", "normfactor"), modifier("lumi", "lumi"),
            modifier(stat, "staterror", [0.2, 0.3, 0.1]),
            modifier("id", "normsys", {"hi": 1.1, "lo": 0.8})]},
        {"name": "bkg", "data": [50.0, 40.0, 30.0], "modifiers": [
            modifier("sf", "shapefactor"), modifier(stat, "staterror", [3.0, 2.0, 4.0]),
            modifier("shape", "histosys", shape)]},
        {"name": "fake", "data": [10.0, 8.0, 6.0], "modifiers": [
            modifier("fk", "shapesys", [2.0, 1.0, 3.0]),
            modifier("id", "normsys", {"hi": 1.05, "lo": 0.97}),
            modifier("id", "histosys", {"hi_data": [11.0, 8.0, 5.0],
                                        "lo_data": [9.0, 8.5, 7.0]})]},
    ]  # fmt: skip
    partner = {"name": "bkg", "data": [50.0, 40.0, 30.0], "modifiers": [
        modifier("sf", "shapefactor"), modifier("shape", "histosys", other)]}  # fmt: skip
    lumi = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]],
            "inits": [1.0]}  # fmt: skip
    mu = {"name": "mu", "bounds": [[-5.0, 10.0]], "inits": [1.0]}
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": samples}, {"name": "CR", "samples": [partner]}],
        "observations": [
            {"name": "SR", "data": [65.0, 60.0, 35.0]}, {"name": "CR", "data": [45.0, 44.0, 33.0]},
        ],
        "measurements": [
            {"name": "free", "config": {"poi": "mu", "parameters": [lumi, mu]}},
            {"name": "null", "config": {"poi": "mu", "parameters": [
                lumi, {**mu, "fixed": True, "inits": [0.0]}]}},
        ],
    }  # fmt: skip


MARK = "data_directed:global_p=0.0069:error=2e-05:local_z=5:windows=10:data=" + "0" * 16


def marked():
    """The same, its signal a window that was chosen on the data."""
    workspace = every_modifier()
    for measurement in workspace["measurements"]:
        measurement["config"]["parameters"].append({"name": MARK})
    return workspace


def without_poi(workspace):
    """Take the POI of the first measurement away."""
    workspace["measurements"][0]["config"]["poi"] = ""


def stating(name, **what):
    """Return an edit: the first measurement says this of a parameter."""
    return lambda w: w["measurements"][0]["config"]["parameters"].append({"name": name, **what})


def points(reference, n, seed=0, whole=False):
    """Return parameter values around the start, nuisances within two sigma or at whole sigmas."""
    rng = np.random.default_rng(seed)
    components = read_components(reference)
    out = [np.array([c.init for c in components])]
    for _ in range(n):
        values = []
        for c in components:
            if c.fixed:
                values.append(c.init)
            elif c.kind in ("normsys", "histosys"):
                values.append(rng.choice([-2.0, -1.0, 1.0, 2.0]) if whole else rng.uniform(-2, 2))
            else:
                values.append((c.init or 1.0) * rng.uniform(0.9, 1.1))
        out.append(np.array(values))
    return out


def pyhf_differences(reference, where):
    """2NLL by pyhf at the points, minus that at the first."""
    return differences([reference.twice_nll(x, backend="numpy") for x in where])


def differences(values):
    values = np.array(values)
    assert np.all(np.isfinite(values))
    return values[1:] - values[0]


def reference_of(workspace, measurement=None):
    return ReferenceModel(workspace, measurement)
