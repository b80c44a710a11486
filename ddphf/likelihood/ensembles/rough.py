"""The steps of an ensemble in single precision: cheap, and close enough for one exact step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Bool, Float, JaxArray
from ddphf.likelihood.ensembles.points import Reference, deviation_gradient, evaluate, in_rows
from ddphf.likelihood.paired.model import PairArrays, PairStructure
from ddphf.likelihood.paired.profile import PairData

__all__ = ["SHRINKS", "Approach", "Problem", "Rough", "SharedInputs", "low"]

ROUGH_TOLERANCE = 1e-5
"""EDM at which single precision rates have nothing more to give."""
ROUGH_TARGET = 3e-9
"""EDM that the next step is predicted to reach when the rough steps end."""
ROUGH_STEPS = 20
SHRINKS = 0.5
"""Factor by which the EDM of a toy must shrink per step for another one."""


class SharedInputs(NamedTuple):
    """What the toys of an ensemble share.

    Attributes:
        theta: Starting point, shape (k,), POI at its null value.
        b: Expected background factors there, shape (M,).
        inverse_null: Inverse expected information with the POI held, shape (k, k), 0 where held.
        inverse_free: The same with the POI free.
        reference: Expected rates there.
        tolerance: EDM below which a toy is done, in units of 2NLL.
        max_steps: Steps in double precision.
    """

    theta: JaxArray
    b: JaxArray
    inverse_null: JaxArray
    inverse_free: JaxArray
    reference: Reference
    tolerance: JaxArray
    max_steps: JaxArray


class Problem(NamedTuple):
    """One of the two fits of a block."""

    structure: PairStructure
    arrays: PairArrays
    data: PairData
    inverse: JaxArray
    hold: JaxArray


class Approach(NamedTuple):
    """Where the rough steps are: parameters, cells, the last two EDMs."""

    theta: JaxArray
    b: JaxArray
    edm: JaxArray
    before: JaxArray
    steps: JaxArray


def _approach(
    gradient_at: Callable[[JaxArray, JaxArray], tuple[JaxArray, JaxArray, JaxArray]],
    problem: Problem,
    theta: Float[JaxArray, "toys k"],
    b: Float[JaxArray, "toys cells"],
    edm: Float[JaxArray, "toys"],
    enough: float,
) -> Approach:
    """Step until the next step is predicted to reach ROUGH_TARGET, or the EDM is below ``enough``.

    ``edm`` is that of the step which led to ``theta``: from step to step it shrinks by a factor.
    """
    arrays, hold = in_rows(problem.arrays), problem.hold

    def body(s: Approach) -> Approach:
        gradient, edm_cells, b = gradient_at(s.theta, s.b)
        step = gradient @ problem.inverse
        edm = jnp.sum(step * gradient, axis=-1) + edm_cells
        edm = jnp.where(hold, 0.0, jnp.where(jnp.isfinite(edm), edm, jnp.inf))
        trial = jnp.clip(s.theta - step, arrays.lower, arrays.upper)
        move = jnp.isfinite(trial) & ~hold[:, None]
        return Approach(jnp.where(move, trial, s.theta), b, edm, s.edm, s.steps + 1)

    def proceed(s: Approach) -> JaxArray:
        known = jnp.isfinite(s.before) & (s.before > 0)
        factor = jnp.where(known, s.edm / jnp.where(known, s.before, 1.0), SHRINKS)
        # What no longer shrinks is at rounding, or for the careful path.
        left = (s.edm > enough) & (s.edm * factor > ROUGH_TARGET) & (factor <= SHRINKS)
        return jnp.any(left) & (s.steps < ROUGH_STEPS)

    start = Approach(theta, b, edm, jnp.full_like(edm, jnp.inf), jnp.zeros((), int))
    end: Approach = jax.lax.while_loop(proceed, body, body(start))
    return end


def low(tree: Any) -> Any:
    """Return the floating point arrays of a tree in single precision."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if x.dtype == float else x, tree)


def _without_signal(structure: PairStructure) -> PairStructure:
    return structure._replace(parts=(*structure.parts[:4], (), ()))


def _is_contrast(structure: PairStructure, poi: int) -> bool:
    """Whether :func:`deviation_gradient` applies: no fakes, and signal in B alone."""
    if any(structure.has(role) for role in ("v_B", "v_A", "c_A")):
        return False
    return all(poi in part.factors for part in structure.parts[4])


class Rough:
    """The steps in single precision of both fits of a block."""

    def __init__(
        self,
        structure: PairStructure,
        poi: int,
        arrays: PairArrays,
        shared: SharedInputs,
        data: PairData,
    ) -> None:
        self.structure, self.shared = structure, shared
        self.arrays, self.data, self.reference = low((arrays, data, shared.reference))
        self.contrast: JaxArray | None = None
        if _is_contrast(structure, poi):
            u_b, u_a = shared.reference.u
            self.contrast = low(data.n[1] * u_b[None] - data.n[0] * u_a[None])

    def null(self, hold: Bool[JaxArray, "toys"]) -> Approach:
        """Approach the null fit from the shared start."""
        n, shared = hold.shape[0], self.shared
        theta = jnp.broadcast_to(low(shared.theta), (n, self.structure.n_global))
        b = jnp.broadcast_to(low(shared.b), (n, self.structure.n_cells))
        problem = self._problem(shared.inverse_null, hold)
        if self.contrast is None:
            return self._exact(problem, theta, b, jnp.full(n, jnp.inf, jnp.float32))
        # At the start all toys have the same u, and one product gives the gradient.
        arrays = in_rows(self.arrays)
        pull = arrays.precision * (theta - self.data.centre)
        gradient = self.contrast @ self.reference.slope + pull
        step = gradient @ problem.inverse
        theta = jnp.clip(theta - step, arrays.lower, arrays.upper)
        edm = jnp.sum(gradient * step, axis=-1)
        return self._deviations(_without_signal(self.structure), problem, theta, edm)

    def free(
        self,
        theta: Float[JaxArray, "toys k"],
        b: Float[JaxArray, "toys cells"],
        edm: Float[JaxArray, "toys"],
        hold: Bool[JaxArray, "toys"],
    ) -> Approach:
        """Approach the free fit from a step that starts at the null."""
        problem = self._problem(self.shared.inverse_free, hold)
        if self.contrast is None:
            return self._exact(problem, low(theta), low(b), low(edm))
        return self._deviations(self.structure, problem, low(theta), low(edm))

    def _problem(self, inverse: JaxArray, hold: JaxArray) -> Problem:
        return Problem(self.structure, self.arrays, self.data, low(inverse), hold)

    def _exact(self, problem: Problem, theta: JaxArray, b: JaxArray, edm: JaxArray) -> Approach:
        def gradient_at(theta: JaxArray, b: JaxArray) -> tuple[JaxArray, JaxArray, JaxArray]:
            point = evaluate(self.structure, self.arrays, theta, self.data, b)
            return point.gradient, point.edm_cells, point.b

        return _approach(gradient_at, problem, theta, b, edm, ROUGH_TOLERANCE)

    def _deviations(
        self, structure: PairStructure, problem: Problem, theta: JaxArray, edm: JaxArray
    ) -> Approach:
        contrast = self.contrast
        assert contrast is not None

        def gradient_at(theta: JaxArray, b: JaxArray) -> tuple[JaxArray, JaxArray, JaxArray]:
            gradient = deviation_gradient(
                structure, self.arrays, self.reference, contrast, theta, self.data
            )
            return gradient, jnp.zeros_like(edm), b

        nothing = jnp.zeros((theta.shape[0], 1), jnp.float32)
        return _approach(gradient_at, problem, theta, nothing, edm, 0.0)
