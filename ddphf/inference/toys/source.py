"""Where toys come from: conditional parameters, and data drawn from them block by block.

Main and auxiliary data both fluctuate. Toy i of a seed is a function of (seed, i) alone: toys are
drawn in blocks of fixed size, each from its own generator, so chunking, resuming and merging cannot
change them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import jax
import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import block_generator
from ddphf.exceptions import FitError, ModelError
from ddphf.likelihood.checks import LARGEST_COUNT
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ParameterTable
from ddphf.likelihood.sides import lowest_of_sides

__all__ = ["DRAW_BLOCK", "ToySource", "check_strength", "rates_to_draw"]

DRAW_BLOCK = 32
"""Toys per generator. Part of the definition of toy i: changing it changes all toys."""


def check_strength(table: ParameterTable, mu: float) -> None:
    """Refuse a signal strength that toys cannot be drawn at.

    Raises:
        ModelError: There is no POI, or ``mu`` is outside its bounds.
    """
    if table.poi is None:
        raise ModelError("the measurement has no POI, so there is no strength to draw toys at")
    low, high = float(table.lower[table.poi]), float(table.upper[table.poi])
    if not low <= mu <= high:
        raise ModelError(
            f"mu = {mu:g} is outside the bounds [{low:g}, {high:g}] of the POI "
            f"'{table.names[table.poi]}'; take one inside, or widen the bounds"
        )


def rates_to_draw(model: CompiledModel, parameters: Array) -> Array:
    """Return the expected main data, none below 0.

    Raises:
        ModelError: More events are expected than can be drawn.
    """
    # Rounding may leave -1e-17 in an empty bin.
    rates = np.maximum(model.rates(parameters), 0.0)
    if rates.max(initial=0.0) > LARGEST_COUNT:
        raise ModelError(
            f"bin {int(np.argmax(rates))} of the main data: {rates.max():g} events are "
            f"expected; toys can be drawn up to {LARGEST_COUNT:g}, so check the yields"
        )
    return rates


@dataclass(frozen=True)
class ToySource:
    """Where toys are drawn from.

    Attributes:
        model: The model.
        parameters: Shape (n,): conditional parameters, the POI at ``mu``.
        mu: The POI that toys are drawn with.
        rates: Expected main data.
        fingerprint: Digest of all of it.
    """

    model: CompiledModel
    parameters: Array
    mu: float
    rates: Array
    fingerprint: str

    @classmethod
    def conditional(cls, model: CompiledModel, mu: float = 0.0) -> ToySource:
        """Profile everything else at ``mu`` on the observed data.

        Raises:
            ModelError: There is no POI, it has no effect, or ``mu`` is outside its bounds.
            FitError: That fit has no certificate.
        """
        table = model.parameters
        check_strength(table, mu)
        assert table.poi is not None
        if table.fixed[table.poi] and not model.stated.fixed[table.poi]:
            raise ModelError(
                f"the POI '{table.names[table.poi]}' changes no expected count, so nothing can be "
                "said of it; check its samples"
            )
        values = table.init.copy()
        values[table.poi] = mu
        data = model.data_without_signal(model.data) if mu == 0 else model.data
        fit = minimize(model, data=data, fixed=model.held_at(mu), values=values)
        if not fit.converged:
            raise FitError(f"the fit at mu = {mu:g} that toys are drawn from: {fit.status}")
        fit = lowest_of_sides(model, fit, model.held_at(mu), data)
        return cls.at(model, fit.parameters)

    @classmethod
    def at(cls, model: CompiledModel, parameters: Array) -> ToySource:
        """Draw from stated parameters, shape (n,)."""
        poi = model.parameters.poi
        if poi is None:
            raise ModelError("the measurement has no POI, so there is no strength to draw toys at")
        digest = hashlib.sha256()
        for array in (*jax.tree.leaves(model.arrays), model.parameters.lower, parameters):
            digest.update(np.ascontiguousarray(np.asarray(array, dtype=float)).tobytes())
        digest.update(model.parameters.upper.tobytes() + model.parameters.fixed.tobytes())
        rates = rates_to_draw(model, parameters)
        return cls(model, parameters, float(parameters[poi]), rates, digest.hexdigest())

    def auxiliary(self) -> Array:
        """Return the expected auxiliary data."""
        con, x = self.model.expansion.constraints, self.parameters
        out = np.zeros(len(self.model.data) - self.model.n_main)
        out[con.normal_data] = x[con.normal_parameter]
        out[con.poisson_data] = x[con.poisson_parameter] * con.poisson_tau
        return out

    def expected(self) -> Array:
        """Return the Asimov data: main and auxiliary data at their expectation."""
        return np.concatenate([self.rates, self.auxiliary()])

    def draw_block(self, seed: int, block: int) -> Array:
        """Draw toys DRAW_BLOCK * block and following, shape (DRAW_BLOCK, n_main + n_aux)."""
        generator = block_generator(seed, block)
        n_main, con = self.model.n_main, self.model.expansion.constraints
        out = np.empty((DRAW_BLOCK, len(self.model.data)))
        out[:, :n_main] = generator.poisson(self.rates, (DRAW_BLOCK, n_main))
        mean = self.auxiliary()
        if con.normal_data.size:
            out[:, n_main + con.normal_data] = generator.normal(
                mean[con.normal_data], con.normal_sigma, (DRAW_BLOCK, con.normal_data.size)
            )
        if con.poisson_data.size:
            out[:, n_main + con.poisson_data] = generator.poisson(
                mean[con.poisson_data], (DRAW_BLOCK, con.poisson_data.size)
            )
        return out

    def draw_toys(self, seed: int, numbers: AnyArray) -> Array:
        """Draw toys by number, shape (n, n_main + n_aux)."""
        blocks, within = np.divmod(numbers, DRAW_BLOCK)
        out = np.empty((len(numbers), len(self.model.data)))
        for block in np.unique(blocks):
            here = blocks == block
            out[here] = self.draw_block(seed, int(block))[within[here]]
        return out

    def draw(self, seed: int, toy: int) -> Array:
        """Draw one toy, shape (n_main + n_aux,)."""
        return np.asarray(self.draw_block(seed, toy // DRAW_BLOCK)[toy % DRAW_BLOCK])
