"""The auxiliary measurement of each constrained parameter: where, how wide, and its fluctuation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.likelihood.compiled import CompiledModel

__all__ = ["Priors", "read_priors"]


@dataclass(frozen=True)
class Priors:
    """Constraint terms by parameter, shape (n,) each; NaN for unconstrained parameters.

    Attributes:
        nominal: Where the term has its maximum.
        width: pyhf's width: sigma, or 1 / sqrt(tau) for a Poisson count expected at tau.
        place: Place of the auxiliary measurement in the data; -1 without one.
        deviation: Its standard deviation: sigma, or the root of the count.
        poisson: True for counts.
    """

    nominal: Array
    width: Array
    place: np.ndarray[Any, np.dtype[np.int64]]
    deviation: Array
    poisson: Mask

    @property
    def constrained(self) -> Mask:
        """Which parameters have a constraint term."""
        return self.place >= 0

    def shifted(self, data: Array, index: int, sign: float) -> Array:
        """Return data with one auxiliary measurement a deviation up or down, counts not below 0."""
        place = self.place[index]
        out = data.copy()
        out[place] += sign * self.deviation[index]
        if self.poisson[index]:
            out[place] = max(out[place], 0.0)
        return out

    def response(self, parameters: Array) -> Array:
        """Return d^2(-ln L) / (d parameter d datum) x deviation, without its sign; 0 without.

        A covariance with the parameter times this is the first-order shift by one deviation: the
        derivative is 1 / sigma^2 for a Gaussian term and 1 / theta for a Poisson one.
        """
        safe = np.where(parameters > 0, parameters, np.inf)
        poisson = self.deviation / safe
        gaussian = 1.0 / np.where(self.constrained, self.deviation, 1.0)
        return np.where(self.constrained, np.where(self.poisson, poisson, gaussian), 0.0)


def read_priors(model: CompiledModel) -> Priors:
    """Return the constraint terms of a model.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> priors = read_priors(CompiledModel.from_reference(one_bin(error=5.0)))
        >>> [round(float(x), 3) for x in (priors.width[1], priors.deviation[1])]  # 100 counts
        [0.1, 10.0]
    """
    con, n = model.expansion.constraints, len(model.parameters.names)
    auxiliary = model.data[model.n_main :]
    nominal, width, deviation = (np.full(n, np.nan) for _ in range(3))
    place, poisson = np.full(n, -1), np.zeros(n, dtype=bool)
    nominal[con.normal_parameter] = auxiliary[con.normal_data]
    width[con.normal_parameter] = deviation[con.normal_parameter] = con.normal_sigma
    place[con.normal_parameter] = model.n_main + con.normal_data
    counts = auxiliary[con.poisson_data]
    nominal[con.poisson_parameter] = counts / con.poisson_tau
    width[con.poisson_parameter] = 1.0 / np.sqrt(con.poisson_tau)
    deviation[con.poisson_parameter] = np.sqrt(counts)
    place[con.poisson_parameter] = model.n_main + con.poisson_data
    poisson[con.poisson_parameter] = True
    return Priors(nominal, width, place, deviation, poisson)
