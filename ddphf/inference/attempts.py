"""One fit by the engines that can do it, one after the other, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError
from ddphf.inference.flatness import find_dead, refuse_flat, refuse_singular
from ddphf.likelihood.certificate import EDM_TOLERANCE_PYHF, Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.dense import minimize_dense, minimize_minuit
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.paired.plain import RecognisedPair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.text import list_names

__all__ = ["Attempts", "Engine", "Fit"]

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
