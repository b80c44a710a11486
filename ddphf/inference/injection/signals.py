"""Injected signals: the strength that a wanted significance takes, and data that contain it.

    mu_inj solves sqrt(q0(B + mu S)) = Z_inj

on Asimov data: main and auxiliary data at their expectation for the background point and mu. This
is Eq. 9 of Birman et al., Eur. Phys. J. C 82 (2022) 508; with the background known it is their
Eq. 10, with a background shared by two samples their Eq. 11.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.optimize import brentq

from ddphf.arrays import Array
from ddphf.compute.streams import generator
from ddphf.exceptions import FitError, ModelError
from ddphf.inference.fit import KNOWN
from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.sides import lowest_of_sides

__all__ = ["Background", "DataKind", "Injection"]

DataKind = Literal["asimov", "shift", "poisson"]
Background = Literal["fit", "known"]

GROWTH = 1.6
"""Factor between trial strengths while the wanted Z is not bracketed."""

MIN_Z = 0.01
"""Below it q0 = Z^2 drowns in the rounding of two large values of 2NLL."""


class Injection:
    """One measurement, and the background that signals are added to.

    Args:
        fitter: Of one measurement.
        background: ``"fit"``: the unconstrained parameters as fitted to the observed data at
            POI = 0; ``"known"``: the starting values of the measurement ``known_background``.
            Constrained ones are where their auxiliary data are: these stay as they are, and main
            data at another point would contradict them.

    Raises:
        ModelError: No POI or a fixed one, or the measurement is not there.
        FitError: The fit at POI = 0 has no certificate.

    Attributes:
        fitter: Of the measurement.
        model: Compiled.
        point: All parameters of the background, shape (n,), the POI at 0.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> injection = Injection(Fitter(one_bin(observed=50.0)))
        >>> mu = injection.solve(1.5)
        >>> round(mu, 4), round(injection.asimov_z(mu), 9)
        (3.2097, 1.5)
    """

    def __init__(self, fitter: Fitter, *, background: Background = "fit") -> None:
        self.fitter = fitter
        fitter.require_null()
        self.model: CompiledModel = fitter.require_compiled()
        table = self.model.parameters
        assert table.poi is not None
        self.poi: int = table.poi
        self.poi_name = table.names[table.poi]
        if background == "fit":
            self.point: Array = self._fitted_point()
        else:
            self.point = _known_point(fitter.reference)
            where, values = self._at_auxiliary_data()
            self.point[where] = values
        rates = self.model.rates(self.point)
        # The POI is a normfactor: every rate is linear in it.
        self.signal: Array = self.model.rates(self.at(1.0)) - rates
        if not np.any(self.signal):
            raise ModelError(
                f"measurement '{self.fitter.reference.measurement}': the POI '{self.poi_name}' "
                "changes no expected count, so there is no signal to inject; check its samples"
            )
        self.limits = self._limits(rates)

    def __getstate__(self) -> dict[str, object]:
        """Return what a worker process needs: pyhf's objects of the fitter stay here."""
        return {name: value for name, value in vars(self).items() if name != "fitter"}

    def _fitted_point(self) -> Array:
        table = self.model.parameters
        held, values = self.model.held_at(0.0), table.init.copy()
        where, constrained = self._at_auxiliary_data()
        held[where], values[where] = True, constrained
        values[self.poi] = 0.0
        fit = minimize(self.model, fixed=held, values=values)
        if not fit.converged:
            raise FitError(f"the background fit at {self.poi_name} = 0 failed: {fit.status}")
        return fit.parameters

    def _at_auxiliary_data(self) -> tuple[Array, Array]:
        """Return the constrained parameters that are free, and where their data have them."""
        table, con = self.model.parameters, self.model.expansion.constraints
        auxiliary = self.model.data[self.model.n_main :]
        where = np.concatenate([con.normal_parameter, con.poisson_parameter]).astype(int)
        values = np.concatenate(
            [auxiliary[con.normal_data], auxiliary[con.poisson_data] / con.poisson_tau]
        )
        free = ~table.fixed[where]
        return where[free], values[free]

    def at(self, mu: float) -> Array:
        """Return the background point with the POI at ``mu``."""
        moved = self.point.copy()
        moved[self.poi] = mu
        return moved

    def source(self, mu: float) -> ToySource:
        """Return where toys with ``mu`` are drawn from."""
        return ToySource.at(self.model, self.at(mu))

    def asimov_z(self, mu: float) -> float:
        """Return the signed Asimov significance of a strength.

        Raises:
            FitError: The fit at POI = 0 has no certificate.
        """
        if mu == 0:
            return 0.0
        data, held = self.source(mu).expected(), self.model.held_at(0.0)
        null = minimize(self.model, data=data, start=self.point, fixed=held)
        if not null.converged:
            raise FitError(f"null fit of the Asimov data with {self.poi_name} = {mu:g} failed: "
                           f"{null.status}")  # fmt: skip
        null = lowest_of_sides(self.model, null, held, data)
        # Every term of the likelihood of Asimov data is largest at the point itself.
        q0 = null.twice_nll - self.model.twice_nll(self.at(mu), data=data)
        return float(np.sign(mu) * np.sqrt(max(q0, 0.0)))

    def solve(self, z: float) -> float:
        """Return the strength with Asimov significance ``z``; negative for a deficit.

        Raises:
            ModelError: No strength within the POI's bounds and with positive rates reaches it, or
                it is too small to be told from 0.
            FitError: A fit on the way has no certificate.
        """
        if z == 0:
            return 0.0
        if abs(z) < MIN_Z:
            raise ModelError(
                f"Z = {z:g} cannot be told from 0; ask for {MIN_Z:g} or more, or for 0"
            )
        direction = float(np.sign(z))
        limit = self.limits[1] if z > 0 else self.limits[0]
        alone = minimize(self.model, data=self.source(0.0).expected(), start=self.point)
        sigma = float(alone.errors[self.poi])
        if limit == 0:
            raise ModelError(self._out_of_reach(z, 0.0, 0.0))
        low, high = 0.0, direction * min(abs(z) * (sigma or 1.0), abs(limit))
        while True:
            reached = self.asimov_z(high)
            if abs(reached) >= abs(z):
                break
            if high == limit:
                raise ModelError(self._out_of_reach(z, limit, reached))
            low, high = high, direction * min(abs(high) * GROWTH, abs(limit))
        if reached == z:
            return high
        return float(brentq(lambda mu: self.asimov_z(mu) - z, low, high, xtol=1e-14, rtol=1e-12))

    def check(self, mu: float) -> None:
        """Refuse a strength outside the POI's bounds, or one that makes a rate negative.

        Raises:
            ModelError: It says which.
        """
        low, high = self.limits
        if not low <= mu <= high:
            raise ModelError(
                f"{self.poi_name} = {mu:g} is outside [{low:g}, {high:g}], {self._why(mu)}; take "
                "one inside"
            )

    def data(self, mu: float, kind: DataKind, seed: int = 0) -> Array:
        """Return main data with a signal, shape (n_main,).

        Args:
            mu: Strength.
            kind: ``"asimov"``: the expectation; ``"shift"``: the observed data plus mu S, not
                integers (B^s = B + mu S of Birman et al.); ``"poisson"``: drawn.
            seed: Of the draw.

        Raises:
            ModelError: The shift makes a bin negative.
        """
        if kind == "asimov":
            return self.source(mu).rates
        if kind == "poisson":
            return generator(seed).poisson(self.source(mu).rates).astype(float)
        shifted = self.model.data[: self.model.n_main] + mu * self.signal
        if np.any(shifted < 0):
            worst = int(np.argmin(shifted))
            places = self.fitter.reference.channel_slices
            channel, where = next((c, w) for c, w in places.items() if w.start <= worst < w.stop)
            raise ModelError(
                f"channel '{channel}', bin {worst - where.start}: the shift by {self.poi_name} = "
                f"{mu:g} leaves {shifted.min():.4g} events; take a smaller deficit, or "
                "--data asimov"
            )
        return shifted

    def _limits(self, rates: Array) -> tuple[float, float]:
        table = self.model.parameters
        with np.errstate(divide="ignore", invalid="ignore"):
            zero = np.where(self.signal != 0, -rates / self.signal, np.inf)
        # The strength at which the first bin is empty; there a rate of 0 is still a rate.
        low = np.max(zero[self.signal > 0], initial=-np.inf)
        high = np.min(zero[self.signal < 0], initial=np.inf)
        bounds = float(table.lower[self.poi]), float(table.upper[self.poi])
        return max(bounds[0], float(low)), min(bounds[1], float(high))

    def _why(self, mu: float) -> str:
        table = self.model.parameters
        side = 1 if mu > 0 else 0
        bound = (table.lower, table.upper)[side][self.poi]
        if self.limits[side] == bound:
            return "the bounds of the measurement"
        return "beyond which a rate is negative"

    def _out_of_reach(self, z: float, limit: float, reached: float) -> str:
        return (
            f"no {self.poi_name} reaches Z = {z:g}: at {limit:g}, {self._why(z)}, it is "
            f"{reached:.4g}; ask for less, or widen the bounds"
        )


def _known_point(reference: ReferenceModel) -> Array:
    """Return the starting values of ``known_background`` with the POI at 0."""
    names = [m["name"] for m in reference.workspace["measurements"]]
    if KNOWN not in names:
        raise ModelError(
            f"measurement '{KNOWN}' is not in the workspace, so its background is not known; it "
            f"has: {', '.join(names)}"
        )
    table = reference.sibling(KNOWN).parameters
    point = table.init.copy()
    assert reference.parameters.poi is not None
    point[reference.parameters.poi] = 0.0
    return point
