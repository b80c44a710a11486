"""Certified fits of one measurement: which engine, from where, and what to be suspicious of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from scipy.special import xlogy

from ddphf.exceptions import FitError, ModelError
from ddphf.likelihood.compiled import CannotCompileError, CompiledModel
from ddphf.likelihood.dense import minimize_dense, minimize_minuit
from ddphf.likelihood.minimum import EDM_TOLERANCE_PYHF, Array, Mask, Minimum
from ddphf.likelihood.paired.plain import recognise_pair
from ddphf.likelihood.reference import ReferenceModel

__all__ = ["Engine", "Fitter", "Progress", "compare_values"]

Engine = Literal["ddphf", "pyhf"]
Progress = Callable[[str], None]

NEGATIVE_Q0 = -1e-6
"""A null fit below the free one by more than this is a failed fit, never a q0 of 0."""

STEPS_TO_NULL = 8

NO_BACKGROUND = 1e-6
"""A lower bound of a per-bin factor below this only keeps logarithms finite."""

FLAT = 100.0
"""An error this many times the distance of the bounds means that the data say nothing."""


class Fitter:
    """Fits one measurement by one engine.

    Args:
        reference: The measurement.
        engine: Which engine minimises.

    Attributes:
        reference: The measurement.
        warnings: What is unusual about the workspace and about how the fits went.
    """

    def __init__(self, reference: ReferenceModel, engine: Engine = "ddphf") -> None:
        self.reference, self.engine = reference, engine
        self.warnings: list[str] = list(reference.warnings)
        self._pair = recognise_pair(reference)
        self._model: CompiledModel | None = None
        self._not_compiled = "the pyhf engine was asked for"
        if engine == "ddphf":
            try:
                self._model = CompiledModel.from_reference(reference)
            except CannotCompileError as error:
                self._not_compiled = str(error)
                self.warnings.append(f"not compiled ({error}): fitted with pyhf's own likelihood")

    @property
    def compiled(self) -> CompiledModel | None:
        """The compiled model, where there is one."""
        return self._model

    def require_compiled(self, what: str = "toys and Asimov data") -> CompiledModel:
        """Return the compiled model.

        Args:
            what: What needs it, for the message.

        Raises:
            ModelError: There is none, with the reason.
        """
        if self._model is None:
            raise ModelError(f"{what} need the compiled likelihood: {self._not_compiled}")
        return self._model

    def require_null(self) -> None:
        """Refuse a measurement without a null hypothesis.

        Raises:
            ModelError: The POI is absent, fixed, or no normfactor.
        """
        if self.has_null:
            return
        table = self.reference.parameters
        if table.poi is None:
            reason = "has no POI, so there is no signal strength to hold at 0"
        elif table.fixed[table.poi]:
            reason = f"holds its POI '{table.names[table.poi]}' fixed, so it tests no signal"
        else:
            reason = f"has a POI that is no normfactor, '{table.names[table.poi]}': 0 is no null"
        raise ModelError(
            f"measurement '{self.reference.measurement}' {reason}; pick one whose POI is a free "
            "normfactor"
        )

    @property
    def has_null(self) -> bool:
        """Whether mu = 0 is a hypothesis of this measurement: a free normfactor as POI."""
        table = self.reference.parameters
        if table.poi is None or table.fixed[table.poi]:
            return False
        name = table.names[table.poi]
        kinds = {
            modifier["type"]
            for channel in self.reference.workspace["channels"]
            for sample in channel["samples"]
            for modifier in sample["modifiers"]
            if modifier["name"] == name
        }
        return kinds == {"normfactor"}

    def fit_both(self, say: Progress) -> tuple[Minimum, Minimum | None]:
        """Return the free fit and, where there is one, the null fit; both certified.

        Args:
            say: Called with a line for each stage.

        Raises:
            FitError: No certificate, or the null stays below the free fit.
            ModelError: The POI's bounds exclude 0.
        """
        reference, table = self.reference, self.reference.parameters
        say(f"{reference.measurement}: free fit")
        free = self.minimize(table.init, table.fixed, "free fit")
        if not self.has_null:
            if table.poi is not None and not table.fixed[table.poi]:
                self.warnings.append(
                    f"the POI '{table.names[table.poi]}' is no normfactor, so 0 is not the absence "
                    "of a signal: no null and no discovery statement"
                )
            self._warn(free, None)
            return free, None
        assert table.poi is not None
        if not table.lower[table.poi] <= 0.0 <= table.upper[table.poi]:
            raise ModelError(
                f"measurement '{reference.measurement}': the bounds of the POI "
                f"'{table.names[table.poi]}' exclude 0, so it has no null; widen them or fix the "
                "POI"
            )
        say(f"{reference.measurement}: null fit")
        null = self._fit_null(free, table.poi)
        free, null = self._try_other_starts(free, null, table.poi, say)
        if null.twice_nll - free.twice_nll < NEGATIVE_Q0:
            # The null found a better point, so the free fit stopped in the wrong place.
            free = self.minimize(null.parameters, table.fixed, "free fit, second start")
            if null.twice_nll - free.twice_nll < NEGATIVE_Q0:
                raise FitError(
                    f"q0 is negative: 2NLL is {free.twice_nll:.9g} free and {null.twice_nll:.9g} "
                    "at mu = 0, also when the free fit starts at the null one"
                )
        self._warn(free, null)
        return free, null

    def fit_free(self, say: Progress) -> Minimum:
        """Return the free fit alone, certified.

        Where there is a null it is fitted too, because it may find a lower minimum; that it
        fails is a warning here.

        Args:
            say: Called with a line for each stage.

        Raises:
            FitError: The free fit has no certificate.
        """
        table = self.reference.parameters
        poi = table.poi
        if poi is not None and self.has_null and table.lower[poi] <= 0.0 <= table.upper[poi]:
            try:
                return self.fit_both(say)[0]
            except FitError as error:
                self._warn_once(f"no null fit, which might have found a lower minimum: {error}")
        say(f"{self.reference.measurement}: free fit")
        free = self.minimize(table.init, table.fixed, "free fit")
        self._warn(free, None)
        return free

    def minimize(self, start: Array, fixed: Mask, what: str) -> Minimum:
        """Return a certified minimum.

        Args:
            start: Shape (n,).
            fixed: Shape (n,): True for parameters to hold.
            what: Name of the fit, for the message.

        Raises:
            FitError: Says what was tried.
        """
        tried: list[str] = []
        minimum = self._attempt(start, fixed, tried)
        if minimum is None or not minimum.converged:
            dead = self._dead_parameters(fixed)
            if dead.any():
                names = [n for n, d in zip(self.reference.parameters.names, dead, strict=True) if d]
                self._warn_once(f"parameters without any effect are held: {_some(names)}")
                fixed = fixed | dead
            minimum = minimize_dense(self.reference, start=start, fixed=fixed)
            tried.append(f"Newton on pyhf's likelihood: {minimum.status}")
        if not minimum.converged:
            raise FitError(f"{self.reference.measurement}, {what} failed: " + "; ".join(tried))
        self._refuse_flat(minimum, what)
        self._compare_with_closed_form(minimum, fixed)
        return minimum

    def _attempt(self, start: Array, fixed: Mask, tried: list[str]) -> Minimum | None:
        if self._model is not None:
            minimum = self._model.minimize(start=start, fixed=fixed)
            tried.append(f"arrowhead Newton: {minimum.status}")
            return minimum
        if self.engine == "pyhf":
            stopped = minimize_minuit(self.reference, start=start, fixed=fixed)
            minimum = minimize_dense(
                self.reference, start=stopped, fixed=fixed, tolerance=EDM_TOLERANCE_PYHF
            )
            tried.append(f"pyhf with iminuit, then Newton: {minimum.status}")
            return minimum
        return None

    def _fit_null(self, free: Minimum, poi: int) -> Minimum:
        """Fit at mu = 0, from the free fit and in steps if that fails."""
        fixed = self._null_mask(poi)
        try:
            return self.minimize(_at(free.parameters, poi, 0.0), fixed, "null fit")
        except FitError:
            start = free.parameters
            mu_hat = float(start[poi])
            for step in range(1, STEPS_TO_NULL + 1):
                mu = mu_hat * (1 - step / STEPS_TO_NULL)
                what = f"null fit in steps, mu = {mu:.4g}"
                minimum = self.minimize(_at(start, poi, mu), fixed, what)
                start = minimum.parameters
            return minimum

    def _null_mask(self, poi: int) -> Mask:
        fixed = self.reference.parameters.fixed.copy()
        fixed[poi] = True
        return fixed

    def _try_other_starts(
        self, free: Minimum, null: Minimum, poi: int, say: Progress
    ) -> tuple[Minimum, Minimum]:
        """Look for lower minima: variations that go the same way up and down make several.

        A certificate is local. Where a nuisance parameter moves some bin the same way at +1 and
        -1 sigma the likelihood may have a minimum on either side, and stock optimizers report
        whichever they fall into.
        """
        suspects = list(self._one_sided())
        if not suspects:
            return free, null
        if self._model is None:
            self.warnings.append(
                f"one-sided variations may make several minima, and one start was tried: "
                f"{_some([self.reference.parameters.names[i] for i in suspects])}"
            )
            return free, null
        say(f"{self.reference.measurement}: {2 * len(suspects)} more starts")
        table, found = self.reference.parameters, (free.twice_nll, null.twice_nll)
        for index in suspects:
            for side in (-1.0, 1.0):
                start = _at(table.init, index, side)
                for held, origin in ((False, free.parameters), (True, null.parameters)):
                    for begin in (start, _at(origin, index, side)):
                        mask = self._null_mask(poi) if held else table.fixed
                        point = _at(begin, poi, 0.0) if held else begin
                        trial = self._model.minimize(start=point, fixed=mask)
                        best = null if held else free
                        if trial.converged and trial.twice_nll < best.twice_nll + NEGATIVE_Q0:
                            free, null = (free, trial) if held else (trial, null)
        gains = (found[0] - free.twice_nll, found[1] - null.twice_nll)
        if max(gains) > 0:
            self.warnings.append(
                f"the likelihood has several minima (one-sided variations: "
                f"{_some([table.names[i] for i in suspects])}); other starts lowered 2NLL by "
                f"{gains[0]:.4g} (free) and {gains[1]:.4g} (null), and the lowest found are "
                "reported: check these variations"
            )
        return free, null

    def _one_sided(self) -> Iterator[int]:
        """Yield indices of free nuisance parameters that move a bin one way at both ends."""
        table, seen = self.reference.parameters, set()
        for channel in self.reference.workspace["channels"]:
            for sample in channel["samples"]:
                nominal = np.array(sample["data"], dtype=float)
                for modifier in sample["modifiers"]:
                    data = modifier["data"]
                    if modifier["type"] == "histosys":
                        up = np.array(data["hi_data"]) - nominal
                        down = np.array(data["lo_data"]) - nominal
                    elif modifier["type"] == "normsys":
                        up, down = (np.array([data[k] - 1.0]) * nominal for k in ("hi", "lo"))
                    else:
                        continue
                    # A fifth of the bin's Poisson error: below it no minimum can hide.
                    size = np.minimum(np.abs(up), np.abs(down))
                    if np.any((up * down > 0) & (size > 0.2 * np.sqrt(np.maximum(nominal, 1.0)))):
                        seen.add(modifier["name"])
        for index, name in enumerate(table.names):
            if name in seen and not table.fixed[index]:
                yield index

    def _dead_parameters(self, fixed: Mask) -> Mask:
        """Return True for free unconstrained parameters that change no expected count."""
        table = self.reference.parameters
        config = self.reference.model.config
        before = self.reference.rates(table.init)
        dead = np.zeros_like(fixed)
        for name in config.par_order:
            if config.param_set(name).constrained:
                continue
            for index in range(config.par_slice(name).start, config.par_slice(name).stop):
                if not fixed[index]:
                    middle = 0.5 * (table.lower[index] + table.upper[index]) + 0.1234
                    after = self.reference.rates(_at(table.init, index, middle))
                    dead[index] = np.array_equal(before, after)
        return dead

    def _refuse_flat(self, minimum: Minimum, what: str) -> None:
        table = self.reference.parameters
        reach = FLAT * (table.upper - table.lower)
        flat = [n for n, e, r in zip(table.names, minimum.errors, reach, strict=True) if e > r]
        if flat:
            raise FitError(
                f"{self.reference.measurement}, {what}: the data do not determine {_some(flat)}: "
                "another parameter can take over their effect; fix one of them"
            )

    def _compare_with_closed_form(self, minimum: Minimum, fixed: Mask) -> None:
        poi = self.reference.parameters.poi
        if self._pair is None or poi is None or not self._pair.pair.has_signal:
            return
        mu = float(minimum.parameters[poi]) if fixed[poi] else self._pair.pair.fit().mu
        if self._pair.parameters(self.reference, mu) is None:
            return
        value = self._pair.pair.twice_nll(mu)
        compare_values(self.reference, minimum.twice_nll, value, "the closed form", 1e-6)

    def _warn(self, free: Minimum, null: Minimum | None) -> None:
        """Name the parameters at a bound of the measurement, and say where rounding shows."""
        table = self.reference.parameters
        if null is not None and (noise := 2e-16 * _size_of_terms(self.reference)) > 1e-3:
            self._warn_once(
                f"the counts are so large that rounding alone moves q0 by about {noise:.1g}"
            )
        for fit, minimum in (("free", free), ("null", null)):
            if minimum is None:
                continue
            if bins := list(self._bins_at_zero(minimum)):
                self._warn_once(
                    f"{fit} fit: without the condition that no rate is negative it would go on: "
                    f"the expected rate of {_some(bins)} is held at 0, and errors hold on the "
                    "other side only"
                )
            # Per-bin factors at a lower bound of 1e-10 are bins without background: no bound.
            natural = (table.lower >= 0) & (table.lower < NO_BACKGROUND)
            natural &= minimum.parameters <= table.lower
            if table.poi is not None:
                natural[table.poi] = False
            names = [table.names[i] for i in np.flatnonzero(minimum.at_bound & ~natural)]
            if names:
                self._warn_once(
                    f"{fit} fit: {len(names)} parameter{'s' * (len(names) > 1)} at a bound of the "
                    f"measurement: {_some(names)}"
                )

    def _bins_at_zero(self, minimum: Minimum) -> Iterator[str]:
        """Yield the empty bins whose rate the fit has brought to 0; in a pair that is ordinary."""
        if self._model is None or self._model.pair is not None:
            return
        start, end = (
            self._model.rates(x) for x in (self._model.parameters.init, minimum.parameters)
        )
        for channel, where in self.reference.channel_slices().items():
            empty = (self.reference.data[where] <= 0) & (start[where] > 0) & (end[where] < 1e-6)
            for index in np.flatnonzero(empty):
                yield f"channel '{channel}', bin {index}"

    def _warn_once(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def _size_of_terms(reference: ReferenceModel) -> float:
    """Return about the sum of the absolute values of the terms of -2 ln L."""
    counts = reference.data[: reference.n_main]
    return 2 * float(np.sum(counts + np.abs(xlogy(counts, counts))))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _at(parameters: Array, index: int, value: float) -> Array:
    moved = parameters.copy()
    moved[index] = value
    return moved


def compare_values(
    reference: ReferenceModel, ours: float, other: float, name: str, tolerance: float
) -> None:
    """Refuse two values of -2 ln L that differ by more than rounding.

    Args:
        reference: The model; its data set the size of the terms and so of the rounding.
        ours: By the fit.
        other: By another calculation.
        name: Of that calculation.
        tolerance: Absolute.

    Raises:
        FitError: They differ.
    """
    rounding = 1e-13 * _size_of_terms(reference)
    if not abs(ours - other) <= tolerance + rounding + 1e-12 * abs(ours):
        raise FitError(
            f"-2 ln L is {ours:.12g} by the fit and {other:.12g} by {name}; one of them is wrong, "
            "so there is no result"
        )
