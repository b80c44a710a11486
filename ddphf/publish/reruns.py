"""Levels 5 and 6: limits and toys that a bundle records, made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2, norm

from ddphf.files import parse_json
from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import FAILED, ToySample, load_toys, merge_toys
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.minimum import Array
from ddphf.publish.checks import FAIL, NOTHING, PASS, Check
from ddphf.publish.contents import Bundle
from ddphf.publish.records import make_environment

__all__ = ["check_limits", "check_toys", "segments"]

CLS_TOLERANCE = 1e-3
RISE_TOLERANCE = 1e-3
TOY_TOLERANCE = 1e-7
"""Bits differ between processors; q0 of the same toy does not, by more than this."""

TAIL = 1e-4
"""Probability below which two tails differ."""


def check_limits(bundle: Bundle, say: Callable[[str], None]) -> Iterator[Check]:
    """Level 5: CLs at every recorded asymptotic limit, by q-tilde of new certified fits.

    Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, Eq. 16, 62-66.
    """
    names = [e["name"] for e in bundle.results.included if e["schema"] == "ddphf/limit/1"]
    if not names:
        yield Check(5, "limits", NOTHING)
    for name in names:
        data = parse_json(bundle.files[name], name)
        profile = _Profile(bundle, data["measurement"])
        alpha = 1.0 - data["level"]
        asymptotic = data.get("asymptotic")
        if asymptotic is not None:
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
        for entry in data.get("intervals", []):
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
        for key in ("toys",):
            if key in data:
                yield Check(5, f"{name}, toys", NOTHING, "limits by toys are not made again")


class _Profile:
    """-2 ln L of data and Asimov data with mu held."""

    def __init__(self, bundle: Bundle, measurement: str) -> None:
        self.model: CompiledModel = Fitter(bundle.references[measurement]).require_compiled()
        table = self.model.parameters
        assert table.poi is not None
        self.poi = table.poi
        self.free = self.model.minimize()
        null = self._at(0.0, None)
        source = ToySource.at(self.model, null.parameters)
        self.asimov = np.concatenate([source.rates, source.auxiliary()])
        self.null_value = null.twice_nll
        self.asimov_value = self.model.twice_nll(null.parameters, data=self.asimov)

    def _at(self, mu: float, data: Array | None) -> Any:
        table = self.model.parameters
        held, values = table.fixed.copy(), table.init.copy()
        held[self.poi], values[self.poi] = True, mu
        return self.model.minimize(data=data, fixed=held, values=values, start=values)

    def rise(self, mu: float) -> float:
        return float(self._at(mu, None).twice_nll - self.free.twice_nll)

    def cls(self, mu: float, band: int | None) -> float:
        asimov = np.sqrt(max(self._at(mu, self.asimov).twice_nll - self.asimov_value, 0.0))
        if band is not None:
            return float(norm.sf(asimov - band) / norm.cdf(band))
        mu_hat = float(self.free.parameters[self.poi])
        if mu_hat > mu:
            return 1.0
        least = self.null_value if mu_hat < 0 else self.free.twice_nll
        q = max(self._at(mu, None).twice_nll - least, 0.0)
        if q <= asimov**2:
            return float(norm.sf(np.sqrt(q)) / norm.sf(np.sqrt(q) - asimov))
        above = (q + asimov**2) / (2 * asimov), (q - asimov**2) / (2 * asimov)
        return float(norm.sf(above[0]) / norm.sf(above[1]))


def check_toys(
    bundle: Bundle, say: Callable[[str], None], progress: Callable[[int, int], None] | None
) -> Iterator[Check]:
    """Level 6: every recorded ensemble from its seed.

    In the environment it was made in, toy by toy; elsewhere a toy near the edge of a cut may
    differ, and the tail above the observed q0 must agree as two binomial samples do.
    """
    same = bundle.results.environment == make_environment()
    if not bundle.results.toys:
        yield Check(6, "toys", NOTHING)
    for entry in bundle.results.toys:
        what = entry["file"] if entry["file"] is not None else f"{entry['measurement']}, toys"
        say(f"level 6: {what}")
        model = Fitter(bundle.references[entry["measurement"]]).require_compiled()
        source = ToySource.conditional(model, entry["mu"])
        old: ToySample | None = None
        if entry["file"] is not None:
            old = load_toys(BytesIO(bundle.files[entry["file"]]), name=entry["file"])
            parts = segments(old)
        else:
            parts = [(entry["seed"], 0, entry["n"])]
        new = merge_toys([
            toy_ensemble(source, n, seed=seed, first=first, progress=progress)
            for seed, first, n in parts
        ])  # fmt: skip
        ok = new.status != FAILED
        n_ge, n = int(np.sum(ok & (new.q0 >= entry["q0"]))), len(new)
        exact = (n, int(np.sum(~ok)), n_ge) == (entry["n"], entry["n_failed"], entry["n_ge"])
        detail = f"{n} toys, {n_ge} at or above q0"
        if old is not None and exact:
            exact = np.array_equal(new.status == FAILED, old.status == FAILED) and bool(
                np.allclose(new.q0[ok], old.q0[ok], rtol=TOY_TOLERANCE, atol=TOY_TOLERANCE)
            )
        good = exact
        if not same:
            # The recorded fraction as if it were known: the same toys cannot differ by chance.
            p = (entry["n_ge"] + 0.5) / (entry["n"] + 1)
            good = exact or float(binomtest(n_ge, n, p).pvalue) > TAIL
            detail += ", in another environment" + ("" if exact else ": the tails agree")
        if not good:
            detail = f"{n} toys, {n - int(ok.sum())} failed, {n_ge} at or above q0; recorded " + (
                f"{entry['n']}, {entry['n_failed']}, {entry['n_ge']}"
            )
        yield Check(6, what, PASS if good else FAIL, detail, float(entry["n_ge"]), float(n_ge))


def segments(toys: ToySample) -> list[tuple[int, int, int]]:
    """Return (seed, first, n) of the runs that an ensemble consists of, at most one per seed gap.

    Example:
        >>> toys = ToySample(np.array([1, 1, 2]), np.array([0, 1, 5]), *[np.zeros(3)] * 4, 0.0, "")
        >>> segments(toys)
        [(1, 0, 2), (2, 5, 1)]
    """
    out: list[tuple[int, int, int]] = []
    for seed, index in zip(toys.seed.tolist(), toys.index.tolist(), strict=True):
        if out and out[-1][0] == seed and sum(out[-1][1:]) == index:
            out[-1] = (seed, out[-1][1], out[-1][2] + 1)
        else:
            out.append((seed, index, 1))
    return out
