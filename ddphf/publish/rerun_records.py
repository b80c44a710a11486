"""Level 5: what limit.json, discover.json and rank.json state is found again by new fits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from ddphf.arrays import Array, Spec
from ddphf.exceptions import InputError
from ddphf.files import parse_json
from ddphf.inference.discovery import expect_discovery
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.sides import lowest_of_sides
from ddphf.progress import Count, Stage
from ddphf.publish.contents import Bundle
from ddphf.publish.measured import check_profiles
from ddphf.publish.summaries import publishing_of
from ddphf.results.rank import LEADING
from ddphf.results.registry import load_function
from ddphf.results.verified import FAIL, NOTHING, PASS, Check

__all__ = ["check_expected", "check_impacts", "check_limit", "check_records"]


CLS_TOLERANCE = 1e-3
RISE_TOLERANCE = 1e-3
Z_TOLERANCE = 1e-4
IMPACT_TOLERANCE = 1e-3
"""In units of the error of the POI."""


def check_records(
    bundle: Bundle, say: Stage, progress: Count | None = None, *,
    toys: bool = True,
) -> Iterator[Check]:  # fmt: skip
    """Level 5: limits, expected significances and impacts.

    Args:
        bundle: What passed level 0.
        say: Called with a line for each stage.
        progress: Called with (done, toys).
        toys: Whether limits by toys are drawn again too.
    """
    found = False
    for entry in bundle.results.included:
        published = publishing_of(entry)
        if not published.refit:
            continue
        name, found = entry["name"], True
        data = parse_json(bundle.files[name], name)
        yield from load_function(published.refit)(bundle, name, data, say)
        if published.refit_by_toys and toys:
            yield from load_function(published.refit_by_toys)(bundle, name, data, say, progress)
    yield from check_profiles(bundle, say)
    if not found and not bundle.results.measured:
        yield Check(5, "limits, expected significances, impacts", NOTHING)


def check_limit(bundle: Bundle, name: str, data: Spec, say: Stage) -> Iterator[Check]:
    """CLs at every asymptotic limit by q-tilde, the rise of 2NLL at the ends of intervals.

    Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, Eq. 16, 62-66.
    """
    profile = _Profile(bundle, data)
    alpha = 1.0 - data["level"]
    asymptotic = data.get("asymptotic")
    if asymptotic:
        bands: list[tuple[str, int | None, float | None]] = [
            ("observed", None, asymptotic["observed"])
        ]
        bands += [
            (f"expected {n:+d} sigma", n, mu)
            for n, mu in zip(range(-2, 3), asymptotic["expected"], strict=True)
        ]
        for what, band, mu in bands:
            if mu is None:
                continue
            say(f"level 5: {what} limit")
            found = profile.cls(mu, band)
            good = abs(found - alpha) <= CLS_TOLERANCE
            yield Check(5, f"{name}, CLs at the {what} limit {mu:.6g}",
                        PASS if good else FAIL, "", alpha, found)  # fmt: skip
    for entry in data.get("intervals") or ():
        rise = float(chi2.ppf(entry["level"], 1))
        for side in ("lower", "upper"):
            if entry["method"] != "asymptotic" or entry[side] is None:
                continue
            if entry.get(f"at_{side}_bound"):
                continue
            say(f"level 5: {side} end at {entry['level']:g}")
            found = profile.rise(entry[side])
            good = abs(found - rise) <= RISE_TOLERANCE
            yield Check(5, f"{name}, rise of 2NLL at the {side} end {entry[side]:.6g}",
                        PASS if good else FAIL, "", rise, found)  # fmt: skip


def check_expected(bundle: Bundle, name: str, data: Spec, say: Stage) -> Iterator[Check]:
    """The Asimov significance of every statement."""
    for statement in data["statements"]:
        expected = statement.get("expected")
        if not expected:
            continue
        label, mu = statement["measurement"], expected["mu"]
        say(f"level 5: {label}, expected significance")
        model = bundle.fitter_of(label, data).require_compiled()
        found = expect_discovery(ToySource.conditional(model, mu)).z0
        recorded = expected["asimov"]["z0"]
        good = abs(found - recorded) <= Z_TOLERANCE
        yield Check(5, f"{name}, {label}, expected Z at mu = {mu:g}",
                    PASS if good else FAIL, "", recorded, found)  # fmt: skip


def check_impacts(bundle: Bundle, name: str, data: Spec, say: Stage) -> Iterator[Check]:
    """The leading post-fit impacts: the POI refitted with the parameter one error up and down."""
    profile = _Profile(bundle, data)
    table = profile.model.parameters
    # A POI at an edge has no error, and moves by rounding.
    allowed = IMPACT_TOLERANCE * float(profile.free.errors[profile.poi]) + 1e-9
    for entry in data["parameters"][:LEADING]:
        say(f"level 5: impact of {entry['name']}")
        for side, sign in (("up", 1.0), ("down", -1.0)):
            recorded = entry.get(f"postfit_{side}")
            if not recorded:
                continue  # its refit has no certificate, or the parameter no error
            value = entry["value"] + sign * entry["error"]
            found = profile.impact(table.names.index(entry["name"]), value)
            good = abs(found - recorded) <= allowed
            yield Check(5, f"{name}, {entry['name']} {side}: shift of {table.names[profile.poi]}",
                        PASS if good else FAIL, "", recorded, found)  # fmt: skip


class _Profile:
    """-2 ln L of data and Asimov data with parameters held."""

    def __init__(self, bundle: Bundle, data: Spec) -> None:
        measurement = data["measurement"]
        self.model: CompiledModel = bundle.fitter_of(measurement, data).require_compiled()
        poi = self.model.parameters.poi
        if poi is None:
            raise InputError(f"measurement '{measurement}' has no POI, so it has no limit")
        self.poi = poi
        fixed = self.model.parameters.fixed
        self.free = lowest_of_sides(self.model, minimize(self.model), fixed)

    @cached_property
    def null(self) -> Any:
        """The fit at mu = 0, which measurements without a null do not have."""
        return self._at(self.poi, 0.0, None)

    @cached_property
    def asimov(self) -> Array:
        """Asimov data of the null."""
        source = ToySource.at(self.model, self.null.parameters)
        return np.concatenate([source.rates, source.auxiliary()])

    @cached_property
    def asimov_value(self) -> float:
        """2NLL of the null on its Asimov data."""
        return float(self.model.twice_nll(self.null.parameters, data=self.asimov))

    def _at(self, index: int, value: float, data: Array | None) -> Any:
        table = self.model.parameters
        held, values = table.fixed.copy(), table.init.copy()
        held[index], values[index] = True, value
        found = minimize(self.model, data=data, fixed=held, values=values, start=values)
        return lowest_of_sides(self.model, found, held, data) if index == self.poi else found

    def impact(self, index: int, value: float) -> float:
        table = self.model.parameters
        inside = float(np.clip(value, table.lower[index], table.upper[index]))
        shifted = self._at(index, inside, None)
        return float(shifted.parameters[self.poi] - self.free.parameters[self.poi])

    def rise(self, mu: float) -> float:
        return float(self._at(self.poi, mu, None).twice_nll - self.free.twice_nll)

    def cls(self, mu: float, band: int | None) -> float:
        at_asimov = self._at(self.poi, mu, self.asimov).twice_nll
        asimov = np.sqrt(max(at_asimov - self.asimov_value, 0.0))
        if band is not None:
            return float(norm.sf(asimov - band) / norm.cdf(band))
        mu_hat = float(self.free.parameters[self.poi])
        if mu_hat > mu:
            return 1.0
        least = self.null.twice_nll if mu_hat < 0 else self.free.twice_nll
        q = max(self._at(self.poi, mu, None).twice_nll - least, 0.0)
        if q <= asimov**2:
            return float(norm.sf(np.sqrt(q)) / norm.sf(np.sqrt(q) - asimov))
        above = (q + asimov**2) / (2 * asimov), (q - asimov**2) / (2 * asimov)
        return float(norm.sf(above[0]) / norm.sf(above[1]))
