"""What the compiled Newton methods share: a fit as a record, their loop, and what is rounding.

A method says how a point is evaluated, which trial it accepts, where it goes next and when it has
ended. The loop keeps the best point, counts, and stops at a limit. In numpy
:mod:`ddphf.likelihood.direct.newton` does the same for fits that are evaluated together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp

from ddphf.arrays import Array, Bool, Float, JaxArray, Mask, for_programs
from ddphf.likelihood.certificate import EDM_ROUNDING, free_directions

__all__ = [
    "BATCH",
    "ENOUGH",
    "NEGLIGIBLE",
    "NO_STEP",
    "QUARTER",
    "SLACK",
    "Descent",
    "Problem",
    "Proposal",
    "does_not_rise",
    "is_rounding",
    "iterate",
    "known_edm",
]

ENOUGH = 1e-14
"""EDM at which another Newton step is below rounding."""

QUARTER = 0.25
"""Share of the EDM that a step leaves at most where rounding does not decide."""

SLACK = 1e-13
"""Rise of -ln L, relative to 1 + |-ln L|, that is the rounding of a sum of thousands of terms."""

NO_STEP = 1e12
"""Damping at which a step no longer changes the digits of the parameters: none lowers -ln L."""

NEGLIGIBLE = 1e-300
"""In the place of a denominator of 0: what it divides is then 0, or its quotient is not used."""

ModelT = TypeVar("ModelT")
DataT = TypeVar("DataT")
X = TypeVar("X")
OwnT = TypeVar("OwnT")


class HasValue(Protocol):
    """What was found at a point."""

    @property
    def value(self) -> JaxArray:
        """-ln L, or what is minimised in its place."""


FoundT = TypeVar("FoundT", bound=HasValue)


class Problem(NamedTuple, Generic[ModelT, DataT]):
    """One fit, as an input of a compiled program; a batch has leading axes where it needs them.

    Beside it stand what is static and the starting point. The fits in numpy have a record of their
    own (:class:`ddphf.likelihood.direct.newton.Problem`), whose model is no tree of arrays; that of
    an ensemble (:class:`ddphf.likelihood.ensembles.rough.Problem`) has a shared matrix instead of
    bounds and held parameters.

    Attributes:
        model: The model's arrays.
        data: One data set.
        fixed: True for parameters to hold, shape (n,).
        lower: Bounds, shape (n,); they may be narrower than the model's.
        upper: Bounds, shape (n,).
    """

    model: ModelT
    data: DataT
    fixed: JaxArray
    lower: JaxArray
    upper: JaxArray

    @staticmethod
    def of(
        model: ModelT, data: DataT, fixed: Mask, lower: Array, upper: Array
    ) -> Problem[ModelT, DataT]:
        """Return the record of numpy's arrays, typed as what a program sees of them."""
        return Problem(model, data, *map(for_programs, (fixed, lower, upper)))

    def clip(self, x: JaxArray) -> JaxArray:
        """Return a point within the bounds; held parameters stay."""
        return jnp.where(self.fixed, x, jnp.clip(x, self.lower, self.upper))

    def free(self, x: JaxArray, gradient: JaxArray) -> JaxArray:
        """Return the free directions at x, shape (n,)."""
        return free_directions(x, gradient, self.fixed, self.lower, self.upper)


_ROW: Any = 0

BATCH = Problem(None, _ROW, _ROW, _ROW, _ROW)
"""The axes of a batch that shares its model, for ``jax.vmap``."""


class Proposal(NamedTuple, Generic[X, OwnT]):
    """Where a method goes next.

    Attributes:
        trial: The next point.
        solved: Whether it was found: else the next pass rejects it.
        edm: Of the best point.
        own: What the method itself remembers.
    """

    trial: X
    solved: JaxArray
    edm: JaxArray
    own: OwnT


class Descent(NamedTuple, Generic[X, FoundT, OwnT]):
    """The state of a loop.

    Attributes:
        x: The best point.
        found: What was found there; zeros before the first evaluation.
        next: Where it goes next.
        steps: Evaluations.
    """

    x: X
    found: FoundT
    next: Proposal[X, OwnT]
    steps: JaxArray


def known_edm(edm: Float[JaxArray, ""]) -> Float[JaxArray, ""]:
    """Return the EDM, inf where no positive definite matrix gave it."""
    return jnp.where(jnp.isfinite(edm) & (edm >= 0), edm, jnp.inf)


def is_rounding(edm: Float[JaxArray, ""], before: Float[JaxArray, ""]) -> Bool[JaxArray, ""]:
    """Return whether a step ended where rounding decides, given the EDM before it."""
    return (edm < EDM_ROUNDING) & (edm > QUARTER * before)


def does_not_rise(before: HasValue, new: HasValue) -> JaxArray:
    """Return whether the value is not above the one before, but for rounding."""
    return new.value <= before.value + SLACK * (1.0 + jnp.abs(before.value))


def iterate(
    evaluate: Callable[[X], FoundT],
    start: Proposal[X, OwnT],
    accept: Callable[[Descent[X, FoundT, OwnT], FoundT], JaxArray],
    propose: Callable[[Descent[X, FoundT, OwnT], Descent[X, FoundT, OwnT], JaxArray], Any],
    going: Callable[[Descent[X, FoundT, OwnT]], JaxArray],
    most: int,
) -> Descent[X, FoundT, OwnT]:
    """Evaluate, accept or reject, propose; until a method says that it has ended.

    Args:
        evaluate: What is found at a point. It is compiled in one place, because it is what takes
            the compiler's time: the start is the first trial.
        start: The start, and what the method remembers before it.
        accept: Whether a trial becomes the best point, from the state and what was found at it.
        propose: The next :class:`Proposal`, from the state before, the state with the best point,
            and whether that is new.
        going: Whether to go on.
        most: Evaluations at most.
    """

    def body(s: Descent[X, FoundT, OwnT]) -> Descent[X, FoundT, OwnT]:
        new = evaluate(s.next.trial)
        better = accept(s, new)
        x, found = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), (s.next.trial, new), (s.x, s.found)
        )
        now = Descent(x, found, s.next, s.steps + 1)
        return now._replace(next=propose(s, now, better))

    empty = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(evaluate, start.trial)
    )
    first = Descent(start.trial, empty, start, jnp.zeros((), int))
    end: Descent[X, FoundT, OwnT] = jax.lax.while_loop(
        lambda s: going(s) & (s.steps < most), body, first
    )
    return end
