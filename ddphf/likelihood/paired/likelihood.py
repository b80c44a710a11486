"""A pair between pyhf's parameter and data vectors and the matrices of the fast path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddphf.arrays import Array, JaxArray, Mask, for_programs, on_host
from ddphf.likelihood.certificate import free_directions
from ddphf.likelihood.expansion import CannotCompileError, Expansion
from ddphf.likelihood.paired.careful import PairFit, fit_pair
from ddphf.likelihood.paired.model import (
    PairArrays,
    PairPlaces,
    PairStructure,
    build_pair,
    features,
)
from ddphf.likelihood.paired.newton import NewtonResult
from ddphf.likelihood.paired.profile import PairData
from ddphf.likelihood.reference import ParameterTable

__all__ = ["PairLikelihood", "find_pair"]


@dataclass(frozen=True)
class PairLikelihood:
    """A recognised pair.

    Attributes:
        structure: Static structure.
        arrays: The matrices.
        places: Where everything lies in pyhf's vectors.
        poi: Index of the POI among the global parameters, or None.
        n_main: Number of main-data bins.
        init: Starting values of all parameters.
    """

    structure: PairStructure
    arrays: PairArrays
    places: PairPlaces
    poi: int | None
    n_main: int
    init: Array

    def split(self, data: Any) -> PairData:
        """Split data, shape (..., n_main + n_aux), into the pair's pieces (numpy)."""
        data = np.asarray(data, dtype=float)
        aux = data[..., self.n_main :]

        def take(index: Any) -> Any:
            # A view where the bins are consecutive, as they are in a channel.
            first, last = int(index[0]), int(index[-1])
            if last - first == len(index) - 1 and np.all(np.diff(index) == 1):
                return data[..., first : last + 1]
            return data[..., index]

        def pick(index: Any, other: float) -> Any:
            if aux.shape[-1] == 0:
                return np.full((*data.shape[:-1], len(index)), other)
            return np.where(index >= 0, aux[..., index], other)

        return PairData(
            n=(take(self.places.bins[0]), take(self.places.bins[1])),
            aux=tuple(  # type: ignore[arg-type]
                None if width is None else pick(index, 1.0)
                for index, width in zip(self.places.gamma_data, self.arrays.width, strict=True)
            ),
            centre=pick(self.places.global_data, 0.0),
        )

    def held(self, x: Array, fixed: Mask) -> PairArrays:
        """Return the arrays with held cell parameters as equal bounds; the same shapes."""
        arrays, places = self.arrays, self.places
        if not fixed[places.b].any() and not any(fixed[g[g >= 0]].any() for g in places.gamma):
            return arrays
        is_b = fixed[places.b]
        lower: list[Any] = []
        upper: list[Any] = []
        for index, low, high in zip(
            places.gamma, arrays.gamma_lower, arrays.gamma_upper, strict=True
        ):
            if low is None or high is None:
                lower.append(None)
                upper.append(None)
                continue
            hold = (index >= 0) & fixed[index]
            lower.append(np.where(hold, x[index], low))
            upper.append(np.where(hold, x[index], high))
        return arrays._replace(
            b_lower=for_programs(np.where(is_b, x[places.b], arrays.b_lower)),
            b_upper=for_programs(np.where(is_b, x[places.b], arrays.b_upper)),
            gamma_lower=(lower[0], lower[1]),
            gamma_upper=(upper[0], upper[1]),
        )

    def fit(self, data: Array, x: Array, fixed: Mask) -> PairFit:
        """Fit one data set from ``x``, shape (n,), with ``fixed`` parameters held there."""
        where = self.places.global_
        return fit_pair(
            self.structure, self.held(x, fixed), self.poi, x[where], fixed[where], self.split(data)
        )

    def parameters(self, result: NewtonResult, x: Array, fixed: Mask) -> tuple[Array, Mask]:
        """Return all parameters, shape (..., n), and the cells in which a rate is held at 0.

        Args:
            result: One fit, or many with a leading axis.
            x: Shape (..., n): values of held parameters.
            fixed: Held parameters, shape (..., n).
        """
        x, places = x.copy(), self.places

        def put(index: Any, values: Any) -> None:
            x[..., index] = np.where(fixed[..., index], x[..., index], values)

        put(places.global_, np.asarray(result.theta))
        b = np.asarray(result.b)
        dark = (np.asarray(result.rates[0]) <= 0) | (np.asarray(result.rates[1]) <= 0)
        low, high = self.arrays.b_lower, self.arrays.b_upper
        dark = dark & ~fixed[..., places.b] & (b > low)
        # One rounding step up, so that the rate is 0 or above in any order of summation.
        b = np.where(dark, b * (1 + 4 * np.finfo(float).eps), b)
        put(places.b, np.clip(b, low, high))
        for gamma, index in zip(result.gamma, places.gamma, strict=True):
            put(index[index >= 0], np.asarray(gamma)[..., index >= 0])
        return x, dark

    def errors(self, result: NewtonResult, fixed: Mask) -> Array:
        """Return errors of the global parameters from the profile's Hessian, shape (..., k).

        0 for held parameters, those at a bound, and where the Hessian is singular.
        """
        theta, gradient = np.asarray(result.theta), np.asarray(result.gradient)
        lower, upper = self.arrays.lower, self.arrays.upper
        held = fixed[..., self.places.global_]
        free = free_directions(theta, gradient, held, on_host(lower), on_host(upper))
        hessian = np.asarray(result.hessian)
        diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
        scale = np.where(free, 1 / np.sqrt(np.maximum(diagonal, 1e-300)), 0.0)
        block = hessian * scale[..., :, None] * scale[..., None, :]
        block = block + np.eye(theta.shape[-1]) * ~free[..., None]
        try:
            inverse = np.linalg.inv(block)
        except np.linalg.LinAlgError:
            if theta.ndim == 1:
                return np.zeros(len(theta))
            rows = (jax.tree.map(lambda leaf, j=j: leaf[j], result) for j in range(len(theta)))
            return np.stack([self.errors(r, f) for r, f in zip(rows, fixed, strict=True)])
        variance = np.diagonal(inverse, axis1=-2, axis2=-1)
        return np.asarray(scale * np.sqrt(np.maximum(variance, 0.0)))


@partial(jax.jit, static_argnums=0)
def _has_background(structure: PairStructure, arrays: PairArrays, theta: JaxArray) -> JaxArray:
    one, other = features(structure, arrays.coefficients, theta)[:2]
    to_one, to_other = arrays.matrices[:2]
    assert one is not None
    assert other is not None
    assert to_one is not None
    assert to_other is not None
    return jnp.all((one @ to_one > 0) & (other @ to_other > 0))


def find_pair(expansion: Expansion, table: ParameterTable) -> PairLikelihood:
    """Recognise a pair.

    Raises:
        CannotCompileError: Says why the model is not one.
    """
    structure, arrays, places = build_pair(expansion, table.lower, table.upper)
    if not _has_background(structure, arrays, table.init[places.global_]):
        raise CannotCompileError("an expectation of the shared background is not positive")
    where: Any = np.flatnonzero(places.global_ == table.poi) if table.poi is not None else []
    return PairLikelihood(
        structure=structure,
        arrays=arrays,
        places=places,
        poi=int(where[0]) if len(where) else None,
        n_main=len(expansion.channel),
        init=table.init,
    )
