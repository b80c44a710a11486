"""An HS3 document evaluated in plain Python by the text of the standard (version 0.2.9).

It knows nothing of how ddphf writes one. The text leaves the interpolation of a normsys to its
readers; they take HistFactory's: a polynomial of sixth order between -1 and +1 that continues
high^alpha and low^-alpha with two derivatives.
"""

import math

import numpy as np

__all__ = ["twice_nll", "values_of"]


def poly6(x, nominal, high, low):
    """The standard's function of this name, for histosys."""
    if x > 1:
        return nominal + x * (high - nominal)
    if x < -1:
        return nominal + x * (nominal - low)
    s, a = (high - low) / 2, (high + low - 2 * nominal) / 16
    return nominal + x * (s + x * a * (15 + x**2 * (3 * x**2 - 10)))


def normalisation(x, high, low):
    if x >= 1:
        return high**x
    if x <= -1:
        return low**-x
    powers = np.arange(1, 7)
    rows, values = [], []
    for at, end, slope in ((1.0, high, math.log(high)), (-1.0, low, -math.log(low))):
        rows += [at**powers, powers * at ** (powers - 1.0),
                 powers * (powers - 1) * at ** (powers - 2.0)]  # fmt: skip
        values += [end - 1, slope * end, slope**2 * end]
    return 1 + float(np.linalg.solve(rows, values) @ x**powers)


def values_of(document, analysis):
    """Return the starting values of an analysis, constants included."""
    (found,) = [a for a in document["analyses"] if a["name"] == analysis]
    (point,) = [p for p in document["parameter_points"] if p["name"] == found["init"]]
    return {p["name"]: p["value"] for p in point["parameters"]}


def twice_nll(document, analysis, values):
    """Return -2 ln L of an analysis; constants of Gaussians left out."""
    named = {d["name"]: d for d in document["distributions"]}
    functions = {f["name"]: f for f in document["functions"]}
    data = {d["name"]: d for d in document["data"]}
    (found,) = [a for a in document["analyses"] if a["name"] == analysis]
    (likelihood,) = [x for x in document["likelihoods"] if x["name"] == found["likelihood"]]
    total, implied = 0.0, {}
    for name, datum in zip(likelihood["distributions"], likelihood["data"], strict=True):
        channel = named[name]
        assert channel["type"] == "histfactory_dist"
        for i, count in enumerate(data[datum]["contents"]):
            rate = sum(_rate(sample, i, values, implied) for sample in channel["samples"])
            total += 2 * (rate - (count * math.log(rate) if count else 0) + math.lgamma(count + 1))
    total += sum(values[parameter] ** 2 for parameter in implied)
    for name in likelihood.get("aux_distributions", ()):
        term = named[name]
        x = values[term["x"]]
        if term["type"] == "gaussian_dist":
            total += ((x - values[term["mean"]]) / values[term["sigma"]]) ** 2
            continue
        assert term["type"] == "poisson_dist"
        assert functions[term["mean"]]["type"] == "product"
        mean = math.prod(values[factor] for factor in functions[term["mean"]]["factors"])
        total += 2 * (mean - x * math.log(mean) + math.lgamma(x + 1))
    return total


def _rate(sample, i, values, implied):
    nominal = sample["data"]["contents"][i]
    shifted, factor = nominal, 1.0
    for modifier in sample["modifiers"]:
        kind = modifier["type"]
        if kind == "shapefactor":
            factor *= values[modifier["parameters"][i]]
            continue
        value = values[modifier["parameter"]]
        if kind == "normfactor":
            factor *= value
            continue
        assert modifier["constraint"] == "Gauss"  # of unit width around 0
        implied[modifier["parameter"]] = True
        data = modifier["data"]
        if kind == "normsys":
            factor *= normalisation(value, data["hi"], data["lo"])
        else:
            assert kind == "histosys"
            high, low = (data[key]["contents"][i] for key in ("hi", "lo"))
            shifted += poly6(value, nominal, high, low) - nominal
    return factor * shifted
