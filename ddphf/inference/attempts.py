"""One fit by the engines that can do it, one after the other, and whether the data determine it.

A certificate is local and knows nothing of dead parameters, singular Hessians and valleys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError
from ddphf.likelihood.certificate import EDM_TOLERANCE_PYHF, Minimum, measure_rounding
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.dense import minimize_dense, minimize_minuit
from ddphf.likelihood.direct.model import factorise, factorise_raised
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.paired.closed_form import RecognisedPair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.text import list_names

__all__ = [
    "Attempts", "Engine", "Fit", "Fits", "find_dead", "moved_to", "refuse_flat",
    "refuse_singular",
]  # fmt: skip

Engine = Literal["ddphf", "pyhf"]


@dataclass(frozen=True)
class Fit:
    """One fit, with what its user should know.

    Attributes:
        minimum: Where it ended.
        warnings: Sentences.
        failure: Why that is no result, a sentence; empty where it is one.
    """

    minimum: Minimum
    warnings: tuple[str, ...] = ()
    failure: str = ""

    def warned(self, *lines: str) -> Fit:
        """Return the fit with more warnings."""
        return replace(self, warnings=(*self.warnings, *lines))

    def require(self) -> Fit:
        """Return the fit itself.

        Raises:
            FitError: It is a failure.
        """
        if self.failure:
            raise FitError(self.failure)
        return self


@dataclass(frozen=True)
class Fits:
    """The fits of one measurement, certified.

    Attributes:
        free: The fit with everything free.
        null: The fit at mu = 0; None where there is none.
        warnings: What is unusual about the workspace and about how the fits went.
    """

    free: Minimum
    null: Minimum | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Attempts:
    """The engines of one measurement, tried from the fastest to the most careful one.

    Attributes:
        reference: The measurement.
        engine: Which engine was asked for.
        model: The measurement compiled, where it compiles and is to be used.
        pair: The plain pair that it is, whose closed form checks every fit.
    """

    reference: ReferenceModel
    engine: Engine
    model: CompiledModel | None
    pair: RecognisedPair | None

    def fit(self, start: Array, fixed: Mask, what: str) -> Fit:
        """Fit from one start; a failure says what was tried.

        Args:
            start: Shape (n,).
            fixed: Shape (n,): True for parameters to hold.
            what: Name of the fit, for messages.
        """
        reference = self.reference
        dead = (
            np.zeros_like(fixed) if self.model is None else self.model.without_effect(start, fixed)
        )
        minimum = self.first(start, fixed | dead)
        if self.model is None and (minimum is None or self._is_odd(minimum)):
            dead = find_dead(reference, start, fixed)
            if dead.any():
                minimum = self.first(start, fixed | dead)
        fixed = fixed | dead
        tried = [] if minimum is None else [f"{self._first_engine}: {minimum.status}"]
        if minimum is None or not minimum.converged:
            minimum = minimize_dense(reference, start=start, fixed=fixed)
            tried.append(f"Newton on pyhf's likelihood: {minimum.status}")
        fit = Fit(minimum)
        if dead.any():
            names = [reference.parameters.names[i] for i in np.flatnonzero(dead)]
            fit = fit.warned(f"{what}: parameters without any effect are held: {list_names(names)}")
        try:
            self._check(minimum, fixed, what, tried)
        except FitError as error:
            return replace(fit, failure=str(error))
        return fit

    def _is_odd(self, minimum: Minimum) -> bool:
        reach = self.reference.parameters.upper - self.reference.parameters.lower
        return not minimum.converged or bool(np.any(minimum.errors > reach))

    def first(self, start: Array, fixed: Mask) -> Minimum | None:
        """Fit by the fastest engine; None where that is the last one too."""
        if self.model is not None:
            return minimize(self.model, start=start, fixed=fixed)
        if self.engine == "pyhf":
            stopped = minimize_minuit(self.reference, start=start, fixed=fixed)
            return minimize_dense(
                self.reference, start=stopped, fixed=fixed, tolerance=EDM_TOLERANCE_PYHF
            )
        return None

    @property
    def _first_engine(self) -> str:
        return "pyhf with iminuit, then Newton" if self.model is None else "arrowhead Newton"

    def _check(self, minimum: Minimum, fixed: Mask, what: str, tried: list[str]) -> None:
        """Refuse what is no minimum, a valley, or not that of the closed form.

        Raises:
            FitError: Says which.
        """
        reference = self.reference
        if not minimum.converged:
            refuse_singular(reference, minimum.parameters, fixed, what)
            raise FitError(f"{reference.measurement}, {what} failed: " + "; ".join(tried))
        refuse_flat(reference, self.model, minimum, fixed, what, self.first)
        if self.pair is not None:
            self.pair.compare(reference, minimum, fixed)


INFLATION = 1e5
"""An error so many times larger than with all others held is suspected."""

SINGULAR_TANGENT = 1e6
"""The same of an error from the derivatives of the rates alone. What is left of the slope at a
minimum bends the Hessian along a curved valley, the more the fewer the counts; of these it bends
none, and along a flat direction rounding leaves 3e6 or more, whatever the counts."""

NUMERIC = 1e7
"""An error so many times that with all others held is rounding: its matrix is singular in double
precision."""

SINGULAR = 1e-13
"""Eigenvalue of the Hessian, scaled to a unit diagonal, below which a direction is flat."""

Refit = Callable[[Array, Mask], Minimum | None]
"""A fit from a point with some parameters held; None where no engine is fast enough."""


def refuse_flat(
    reference: ReferenceModel,
    model: CompiledModel | None,
    minimum: Minimum,
    fixed: Mask,
    what: str,
    refit: Refit,
) -> None:
    """Refuse a minimum that is a valley: other parameters can take over what one does.

    Args:
        reference: The measurement.
        model: The same compiled, or None: then the Hessian alone shows what to suspect.
        minimum: Certified.
        fixed: Shape (n,): the parameters that the fit held.
        what: Name of the fit, for the message.
        refit: Follows what may be a valley.

    Raises:
        FitError: Names them.
    """
    # Whether an error is true (a narrow valley at large counts) or rounding (a flat one) only a
    # step along it tells.
    inflation = minimum.errors * np.sqrt(np.maximum(minimum.stiffness, 0.0))
    suspected = np.flatnonzero(inflation > INFLATION)
    table = reference.parameters
    reach = table.upper - table.lower
    sure = (minimum.errors > reach) | (inflation > NUMERIC)
    flat = [int(i) for i in suspected if sure[i]]
    if not flat and model is not None:
        tangent = _inflation_of_tangent(model, minimum, fixed)
        suspected = np.flatnonzero((inflation > INFLATION) | (tangent > SINGULAR_TANGENT))
    if not flat and len(suspected):
        # The one with the least room: what takes over its effect meets no bound before it does.
        room = reach[suspected] * np.sqrt(minimum.stiffness[suspected])
        if _is_valley(reference, minimum, fixed, int(suspected[np.argmin(room)]), refit):
            flat = suspected.tolist()
    if flat:
        _refuse_undetermined(reference, flat, what)


def refuse_singular(reference: ReferenceModel, point: Array, fixed: Mask, what: str) -> None:
    """Refuse where a fit failed because the Hessian vanishes along some parameters.

    Args:
        reference: The measurement.
        point: Where the fit stopped, shape (n,).
        fixed: Held parameters, shape (n,).
        what: Name of the fit, for the message.

    Raises:
        FitError: Names them.
    """
    table = reference.parameters
    free = np.flatnonzero(~fixed & (point > table.lower) & (point < table.upper))
    hessian = reference.hessian(point)[np.ix_(free, free)]
    if not free.size or not np.all(np.isfinite(hessian)) or np.any(np.diag(hessian) <= 0):
        return
    scale = 1.0 / np.sqrt(np.diag(hessian))
    values, vectors = np.linalg.eigh(hessian * scale[:, None] * scale[None, :])
    if abs(values[0]) <= SINGULAR * len(free):
        _refuse_undetermined(reference, free[np.abs(vectors[:, 0]) > 0.1], what)


def _refuse_undetermined(reference: ReferenceModel, which: Iterable[int], what: str) -> None:
    names = [reference.parameters.names[i] for i in which]
    raise FitError(
        f"{reference.measurement}, {what}: the data do not determine {list_names(names)}: "
        "another parameter can take over their effect; fix one of them"
    )


def _inflation_of_tangent(model: CompiledModel, minimum: Minimum, fixed: Mask) -> Array:
    """Return errors in units of those with all others held, from the expected Hessian, shape (n,).

    It is made of the derivatives of the rates and of the constraints' curvature. 0 where a
    parameter has no error.
    """
    direct = model.direct
    at = direct.evaluate(minimum.parameters[None], model.data).row(0)
    expected = direct.information(at, direct.rate_slopes(at))
    stiffness = direct.split.diagonal(expected)
    free = ~fixed & (minimum.errors > 0) & (stiffness > 0)
    factored = factorise(expected, direct.split, free)
    factored = factored or factorise_raised(expected, direct.split, free)
    if factored is None:
        return np.zeros(len(free))
    return np.sqrt(np.maximum(factored.variances() * stiffness, 0.0))


def _is_valley(
    reference: ReferenceModel, minimum: Minimum, fixed: Mask, index: int, refit: Refit
) -> bool:
    """Whether 2NLL stays where it is one error (or half the way to a bound) away.

    In growing steps, each from where the last one points to: a valley is followed along its
    floor, which a single step of the full length would leave.
    """
    table, best = reference.parameters, minimum.parameters
    room = (best[index] - table.lower[index], table.upper[index] - best[index])
    last = min(float(minimum.errors[index]), 0.5 * float(max(room)))
    first = min(10.0 / float(np.sqrt(minimum.stiffness[index])), last)
    sign = 1.0 if room[1] >= room[0] else -1.0
    held = fixed.copy()
    held[index] = True
    direction = np.zeros(len(best))
    for step in np.geomspace(first, last, 2 + int(np.log10(last / first))):
        start = np.clip(best + direction * step, table.lower, table.upper)
        start = np.where(held, best, start)
        there = refit(moved_to(start, index, float(best[index] + sign * step)), held)
        if there is None or not there.converged:
            return False
        if there.twice_nll - minimum.twice_nll > 0.01 * (step / minimum.errors[index]) ** 2 + (
            measure_rounding(reference)
        ):
            return False
        direction = (there.parameters - best) / step
    return True


def moved_to(parameters: Array, index: int, value: float) -> Array:
    """Return the parameters with another value of one of them.

    Example:
        >>> moved_to(np.zeros(2), 1, 3.0)
        array([0., 3.])
    """
    moved = parameters.copy()
    moved[index] = value
    return moved


def find_dead(reference: ReferenceModel, start: Array, fixed: Mask) -> Mask:
    """Return True for free unconstrained parameters that change no expected count, shape (n,).

    :meth:`CompiledModel.without_effect` with pyhf's rates: one call for each parameter takes long.

    Args:
        reference: The measurement.
        start: Values of the held parameters, shape (n,): at mu = 0 what scales the signal is dead.
        fixed: Held parameters, shape (n,).
    """
    table, config = reference.parameters, reference.model.config
    inside = 0.5 * (table.lower + table.upper) + 0.1234
    constrained = np.zeros_like(fixed)
    for name in config.par_order:
        constrained[config.par_slice(name)] = config.param_set(name).constrained
    # A free factor that starts at 0 hides what it multiplies.
    around = np.where((table.init == 0) & ~constrained, inside + 1.0, table.init)
    around = np.where(fixed, start, around)
    before, dead = reference.rates(around), np.zeros_like(fixed)
    for index in np.flatnonzero(~fixed & ~constrained):
        moved = moved_to(around, int(index), float(inside[index]))
        dead[index] = np.array_equal(before, reference.rates(moved))
    return dead
