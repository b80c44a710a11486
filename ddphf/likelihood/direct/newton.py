"""Damped Newton for one data set, in numpy: the steps of :mod:`ddphf.likelihood.general.newton`.

A step that fails is bent along the bounds, then damped. One is accepted only where no rate is
negative and -ln L does not rise.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array, Float, Mask
from ddphf.compute.blas import one_blas_thread
from ddphf.likelihood.certificate import EDM_ROUNDING, free_directions
from ddphf.likelihood.descent import (
    ENOUGH,
    NEGLIGIBLE,
    NO_STEP,
    QUARTER,
    SLACK,
)
from ddphf.likelihood.direct.first_order import Points
from ddphf.likelihood.direct.model import (
    Arrowhead,
    Curvature,
    DirectModel,
    Factored,
    factorise,
    factorise_raised,
)
from ddphf.likelihood.general.bending import MAX_TURNS
from ddphf.likelihood.general.newton import FAIR, FIRST_DAMPING, GOOD, TENFOLD

__all__ = ["DirectResult", "Look", "Problem", "certify", "look", "minimize", "minimize_many"]


MAX_STEPS = 200
"""Six times those of a compiled batch: here no fit waits for another."""
TOGETHER = 64
"""Fits whose points are evaluated at once: memory grows with it."""
STATIONARY = 1e-6
"""Where the gradient is this small a Hessian may be singular within rounding."""


class Problem(NamedTuple):
    """One fit.

    Attributes:
        model: The model.
        data: Main and auxiliary data.
        fixed: Held parameters, shape (n,).
        lower: Bounds, shape (n,).
        upper: Bounds.
    """

    model: DirectModel
    data: Array
    fixed: Mask
    lower: Array
    upper: Array


class DirectResult(NamedTuple):
    """A point and its certificate; see :class:`ddphf.likelihood.general.newton.GeneralResult`."""

    parameters: Array
    edm: float
    projected: float
    errors: Array
    stiffness: Array
    free: Mask
    rates: Array
    steps: int
    physical: bool


def is_physical(rates: Float[Array, "*fits bins"], counts: Float[Array, "*fits bins"]) -> Mask:
    """Return whether no rate is negative, and none is 0 where events were seen; shape (...)."""
    return np.asarray(np.all((rates > 0) | ((rates == 0) & (counts <= 0)), axis=-1))


def minimize(problem: Problem, start: Float[Array, "n"]) -> DirectResult:
    """Minimise -ln L.

    Args:
        problem: What to fit.
        start: Shape (n,); held parameters keep these values.
    """
    return next(minimize_many([problem], start[None]))


def minimize_many(
    problems: Sequence[Problem], starts: Float[Array, "fits n"], *, errors: bool = True
) -> Iterator[DirectResult]:
    """Minimise -ln L for many fits of one model, in step: what can be is evaluated together.

    Args:
        problems: Shape (m,): data, held parameters and bounds of each.
        starts: Shape (m, n).
        errors: Whether the errors are wanted; NaN else.

    Yields:
        The results in the order of the input.
    """
    for first in range(0, len(problems), TOGETHER):
        some = slice(first, first + TOGETHER)
        yield from _in_step(problems[some], starts[some], errors)


def _in_step(problems: Sequence[Problem], starts: Array, errors: bool) -> list[DirectResult]:
    data = np.stack([problem.data for problem in problems])
    fits = [_fit(problem, x, errors) for problem, x in zip(problems, starts, strict=True)]
    out: dict[int, DirectResult] = {}
    # A trial may be far out, a start may be where no events are expected but some were seen.
    with one_blas_thread(), np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        trials = {i: next(fit) for i, fit in enumerate(fits)}
        while trials:
            rows = list(trials)
            points = np.stack([trials[i] for i in rows])
            new = problems[0].model.evaluate(points, data[rows])
            trials = {}
            for j, i in enumerate(rows):
                try:
                    trials[i] = fits[i].send(new.row(j))
                except StopIteration as end:
                    out[i] = end.value
    return [out[i] for i in range(len(fits))]


def _fit(problem: Problem, start: Array, errors: bool) -> Generator[Array, Points, DirectResult]:
    """Yield the points to evaluate, take what was found there, return the end."""
    model, data, fixed, lower, upper = problem
    counts = data[: model.n_bins]
    x = np.where(fixed, start, np.clip(start, lower, upper))
    local = look_at(problem, x, (yield x))
    trial: Array | None = None
    substitutes: list[Arrowhead] = []
    damping, bent, edm, predicted = 0.0, False, np.inf, 0.0
    for steps in range(1, MAX_STEPS + 1):
        if steps > 1:
            better = False
            if trial is not None:
                new, before = (yield trial), float(local.at.value)
                slack = SLACK * (1.0 + abs(before))
                better = bool(is_physical(new.rate, counts) and new.value <= before + slack)
                if better:
                    x, local, substitutes = trial, look_at(problem, trial, new), []
                    damping = _relax(
                        damping, (before - float(new.value)) / max(predicted, NEGLIGIBLE)
                    )
            if not better:
                # Rejected: bend the step along the bounds first, damp it if that does not help.
                damping = max(TENFOLD * damping, FIRST_DAMPING) if bent else damping
                bent = True
        gradient, factored, matrix = local.at.gradient, local.factored, local.curvature.hessian
        last, edm = edm, np.inf
        if factored is not None:
            step = factored.solve(gradient)
            edm = max(float(gradient @ step), 0.0)
        # A step this near that does not quarter the EDM shows rounding: an end, as a rejected one.
        if edm <= ENOUGH or (edm < EDM_ROUNDING and edm > QUARTER * last) or damping >= NO_STEP:
            break
        if local.factored is None:
            substitutes = substitutes or _make_definite(model, local)
            for matrix in substitutes:
                factored = factorise(matrix, model.split, local.free, damping)
                if factored is not None:
                    break
        elif damping > 0:
            factored = factorise(matrix, model.split, local.free, damping)
        if local.factored is None or damping > 0:
            step = np.full_like(x, np.nan) if factored is None else factored.solve(gradient)
        if factored is not None and bent:
            step = _bend(factored, gradient, step, x - upper, x - lower)
        trial = None
        if np.all(np.isfinite(step)):
            trial = np.where(local.free, np.clip(x - step, lower, upper), x)
            moved = x - trial
            predicted = float(moved @ (gradient - 0.5 * model.split.multiply(matrix, moved)))
    return make_result(problem, x, local, edm, steps, errors=errors)


def _make_definite(model: DirectModel, local: Look) -> list[Arrowhead]:
    """Return what gives the direction where the Hessian is indefinite.

    The expected Hessian never is. Added to the true one it makes most definite, and with that the
    steps are half as many as with the expected one alone.
    """
    expected = model.information(local.at, local.curvature)
    pairs = zip(local.curvature.hessian, expected, strict=True)
    return [Arrowhead(*(true + other for true, other in pairs)), expected]


def _relax(damping: float, agreement: float) -> float:
    """Return the damping after a step that was taken; agreement is actual over predicted gain."""
    if agreement > GOOD or damping < FIRST_DAMPING / TENFOLD:
        return 0.0
    return damping / TENFOLD if agreement > FAIR else damping


def _bend(matrix: Factored, gradient: Array, step: Array, low: Array, high: Array) -> Array:
    """Bend a step along the bounds that it crosses.

    The step goes to the first bound; the parameter that meets it stays there, the others are solved
    again, and so on. Cutting each parameter at its own bound would leave the others a move that
    compensated what was cut off, which may lead uphill however short it is.
    """
    taken, ahead, moving = np.zeros_like(step), step, matrix.free
    for _ in range(MAX_TURNS):
        left = np.where(ahead > 0, high, low) - taken
        reach = np.full(len(step), np.inf)
        np.divide(left, ahead, out=reach, where=moving & (ahead != 0))
        share = min(1.0, float(reach.min(initial=np.inf)))
        met: Mask = reach <= share
        taken = np.where(met, taken + left, taken + share * ahead)
        moving = moving & ~met
        if share >= 1:
            break
        rest = gradient - matrix.split.multiply(matrix.matrix, taken)
        turned = factorise(matrix.matrix, matrix.split, moving)
        if turned is None:
            return np.full_like(step, np.nan)
        ahead = turned.solve(rest)
    return taken


class Look(NamedTuple):
    """What is known at one point: derivatives, free directions, the factorised Hessian."""

    at: Points
    curvature: Curvature
    free: Mask
    factored: Factored | None


def look(
    problem: Problem, x: Float[Array, "n"], multiplier: Float[Array, "bins"] | None = None
) -> Look:
    """Evaluate one point; ``factored`` is None where the Hessian is not positive definite.

    Args:
        problem: Data, held parameters and bounds.
        x: Shape (n,).
        multiplier: As :meth:`DirectModel.curvature` takes it.
    """
    return look_at(problem, x, problem.model.evaluate(x[None], problem.data).row(0), multiplier)


def look_at(
    problem: Problem,
    x: Float[Array, "n"],
    at: Points,
    multiplier: Float[Array, "bins"] | None = None,
) -> Look:
    """Add the Hessian to a point that was evaluated."""
    free = free_directions(x, at.gradient, problem.fixed, problem.lower, problem.upper)
    found = problem.model.curvature(at, multiplier)
    factored = factorise(found.hessian, problem.model.split, free)
    if factored is None:
        # Along a flat direction rounding decides the sign; what is left is told by its error.
        stiffness = problem.model.split.diagonal(found.hessian)
        if np.all((at.gradient**2 <= STATIONARY * stiffness) | ~free):
            factored = factorise_raised(found.hessian, problem.model.split, free)
    return Look(at, found, free, factored)


def certify(problem: Problem, x: Float[Array, "n"]) -> DirectResult:
    """Return the certificate of a point found by other means, with the exact joint Hessian."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        local = look(problem, x)
        edm = np.inf
        if local.factored is not None:
            gradient = local.at.gradient
            edm = float(gradient @ local.factored.solve(gradient))
    return make_result(problem, x, local, edm if edm >= 0 else np.inf, 0)


def make_result(
    problem: Problem,
    x: Float[Array, "n"],
    local: Look,
    edm: float,
    steps: int,
    *,
    errors: bool = True,
) -> DirectResult:
    """Return a point with its certificate."""
    at, free = local.at, local.free
    counts = problem.data[: problem.model.n_bins]
    physical = bool(is_physical(at.rate, counts) and np.isfinite(at.value))
    widths = np.full(len(x), np.nan)
    if errors and local.factored is not None:
        widths = np.sqrt(np.maximum(local.factored.variances(), 0.0))
    return DirectResult(
        parameters=x,
        edm=edm,
        projected=2.0 * float(np.max(np.abs(np.where(free, at.gradient, 0.0)), initial=0.0)),
        errors=widths,
        stiffness=problem.model.split.diagonal(local.curvature.hessian),
        free=free,
        rates=at.rate,
        steps=steps,
        physical=physical,
    )
