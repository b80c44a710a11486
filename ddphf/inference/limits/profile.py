"""The profile likelihood in the POI on one data set, evaluated where it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from ddphf.arrays import Array
from ddphf.exceptions import FitError, ModelError
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.sides import lowest_beside
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["ProfileScan", "find_crossing"]


class ProfileScan:
    """t(mu) = 2NLL(mu) - 2NLL(mu_hat) of one data set, every fit certified.

    Args:
        model: The model; it has a POI.
        data: Main and auxiliary data; the observed by default.
        free: The free fit, where it was done already.
        what: Name of the data, for messages.

    Raises:
        ModelError: There is no POI.
        FitError: The free fit has no certificate.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> scan = ProfileScan(CompiledModel.from_reference(one_bin()))
        >>> round(scan.mu_hat, 4), round(scan.t(0.0), 4), round(scan.q_tilde(5.0), 4)
        (2.0, 0.9198, 2.0259)
    """

    def __init__(
        self,
        model: CompiledModel,
        data: Array | None = None,
        *,
        free: Minimum | None = None,
        what: str = "observed data",
    ) -> None:
        poi = model.parameters.poi
        if poi is None:
            raise ModelError("the measurement has no POI to scan")
        self.model, self.poi, self.what = model, poi, what
        self.data = model.data if data is None else data
        self.free = minimize(model, data=self.data) if free is None else free
        if not self.free.converged:
            raise FitError(f"{what}, free fit: {self.free.status}")
        self._known: dict[float, Minimum] = {}

    @property
    def mu_hat(self) -> float:
        """The fitted POI."""
        return float(self.free.parameters[self.poi])

    @property
    def lower(self) -> float:
        """The POI's lower bound."""
        return float(self.model.parameters.lower[self.poi])

    @property
    def upper(self) -> float:
        """The POI's upper bound."""
        return float(self.model.parameters.upper[self.poi])

    def t(self, mu: float) -> float:
        """Return 2NLL(mu) - 2NLL(mu_hat), >= 0 (Cowan et al., arXiv:1007.1727, Eq. 8).

        It is inf at mu = 0 where a bin with events expects nothing but the signal.

        Raises:
            FitError: No certificate.
        """
        if mu == 0 and self.model.is_without_null(self.data):
            return float("inf")
        held = self._fit(mu)
        if held.twice_nll - self.free.twice_nll < -BELOW_FREE:
            free = minimize(self.model, data=self.data, start=held.parameters)
            if not free.converged or held.twice_nll - free.twice_nll < -BELOW_FREE:
                raise FitError(
                    f"{self.what}: 2NLL at mu = {mu:.6g} is below that of the free fit, also when "
                    "the free fit starts there"
                )
            self.free = free
        return max(held.twice_nll - self.free.twice_nll, 0.0)

    def q_tilde(self, mu: float) -> float:
        """Return the statistic of upper limits, with mu_hat < 0 moved to 0 (Eq. 16)."""
        if self.mu_hat > mu:
            return 0.0
        if self.mu_hat >= 0:
            return self.t(mu)
        return max(self.t(mu) - self.t(0.0), 0.0)

    def _fit(self, mu: float) -> Minimum:
        if mu in self._known:
            return self._known[mu]
        near = min(self._known, key=lambda other: abs(other - mu), default=None)
        table, held = self.model.parameters, self.model.held_at(mu)
        starts = [self.free.parameters, table.init]
        if near is not None:
            starts.insert(0, self._known[near].parameters)
        status = ""
        for start in starts:
            begin = start.copy()
            begin[self.poi] = mu
            minimum = minimize(self.model, data=self.data, start=begin, fixed=held)
            if minimum.converged:
                known = {other: fit.parameters for other, fit in self._known.items()}
                known[self.mu_hat] = self.free.parameters
                self._known[mu] = lowest_beside(
                    self.model, minimum, self.poi, known,
                    fixed=held, data=self.data,
                )  # fmt: skip
                return self._known[mu]
            status = minimum.status
        raise FitError(f"{self.what}, fit at mu = {mu:.6g}: {status}")


def find_crossing(
    function: Callable[[float], float], *, inner: float, step: float, bound: float
) -> float | None:
    """Return where a function that is positive at ``inner`` crosses 0, going towards ``bound``.

    Args:
        function: Continuous, with one crossing.
        inner: Where it is positive.
        step: About the distance of the crossing; its sign is ignored.
        bound: Where to stop, above or below ``inner``.

    Returns:
        The crossing to 1e-10 of its distance from ``inner``, or None where there is none.

    Example:
        >>> round(find_crossing(lambda x: 3.0 - x**2, inner=0.0, step=0.1, bound=9.0), 8)
        1.73205081
    """
    sign = 1.0 if bound > inner else -1.0
    near, distance = inner, abs(step)
    while True:
        far = inner + sign * distance
        if sign * (far - bound) >= 0:
            far = bound
        if function(far) <= 0:
            break
        if far == bound:
            return None
        near, distance = far, 2 * distance
    while not np.isfinite(function(far)):  # at a bound where nothing is possible
        middle = 0.5 * (near + far)
        if middle in (near, far):
            break
        if function(middle) <= 0:
            far = middle
        else:
            near = middle
    scale = abs(far - inner)
    if scale == 0 or not np.isfinite(scale):
        return None
    return float(brentq(function, near, far, xtol=1e-11 * scale, rtol=1e-14))
