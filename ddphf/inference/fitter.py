"""Certified fits of one measurement: which engine, from where, and what to be suspicious of."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError, ModelError
from ddphf.inference.suspicions import (
    compare_values,
    find_bins_at_zero,
    find_dead,
    find_flat,
    find_null_problem,
    find_one_sided,
    find_singular,
    find_stuck,
    list_names,
    measure_rounding,
    name_bounds,
)
from ddphf.inference.weakness import warn_of_weakness
from ddphf.likelihood.certificate import EDM_TOLERANCE_PYHF, Minimum
from ddphf.likelihood.compiled import CannotCompileError, CompiledModel
from ddphf.likelihood.dense import minimize_dense, minimize_minuit
from ddphf.likelihood.fits import minimize, minimize_starts
from ddphf.likelihood.paired.plain import recognise_pair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Stage
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["Engine", "Fitter"]

Engine = Literal["ddphf", "pyhf"]

NUMERIC = 1e7
"""An error so many times that with all others held is rounding: its matrix is singular in double
precision."""

STEPS_TO_NULL = 8


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
            ModelError: Says why there is none, and what can be done.
        """
        if self.no_null is not None:
            raise ModelError(self.no_null)

    @cached_property
    def no_null(self) -> str | None:
        """Why mu = 0 is no hypothesis of this measurement; None where it is one."""
        return find_null_problem(self.reference)

    @property
    def has_null(self) -> bool:
        """Whether mu = 0 is a hypothesis of this measurement."""
        return self.no_null is None

    @property
    def has_free_poi(self) -> bool:
        """Whether there is a POI that the fit determines."""
        table = self.reference.parameters
        return table.poi is not None and not table.fixed[table.poi]

    def fit_both(self, say: Stage) -> tuple[Minimum, Minimum | None]:
        """Return the free fit and, where there is one, the null fit; both certified.

        Args:
            say: Called with a line for each stage.

        Raises:
            FitError: No certificate, or the null stays below the free fit.
        """
        reference, table = self.reference, self.reference.parameters
        free = self._fit_all_free(say)
        if self.no_null is not None:
            if self.has_free_poi:  # others state none
                self._warn_once(f"no null and no discovery statement: {self.no_null}")
            self._warn(free, None)
            return free, None
        assert table.poi is not None
        say(f"{reference.measurement}: null fit")
        null = self._fit_null(free, table.poi)
        null = self._try_other_starts(null, self._null_mask(table.poi), "null fit", say)
        if null.twice_nll - free.twice_nll < -BELOW_FREE:
            # The null found a better point, so the free fit stopped in the wrong place.
            free = self.minimize(null.parameters, table.fixed, "free fit, second start")
            if null.twice_nll - free.twice_nll < -BELOW_FREE:
                raise FitError(
                    f"q0 is negative: 2NLL is {free.twice_nll:.9g} free and {null.twice_nll:.9g} "
                    "at mu = 0, also when the free fit starts at the null one"
                )
        self._warn(free, null)
        return free, null

    def fit_free(self, say: Stage) -> Minimum:
        """Return the free fit alone, certified.

        Where there is a null it is fitted too, because it may find a lower minimum; that it
        fails is a warning here.

        Args:
            say: Called with a line for each stage.

        Raises:
            FitError: The free fit has no certificate.
        """
        if self.has_null:
            try:
                return self.fit_both(say)[0]
            except FitError as error:
                self._warn_once(f"no null fit, which might have found a lower minimum: {error}")
        elif self.has_free_poi:
            self._warn_once(f"no null fit: {self.no_null}")
        free = self._fit_all_free(say)
        self._warn(free, None)
        return free

    def _fit_all_free(self, say: Stage) -> Minimum:
        table = self.reference.parameters
        say(f"{self.reference.measurement}: free fit")
        free = self.minimize(table.init, table.fixed, "free fit")
        return self._try_other_starts(free, table.fixed, "free fit", say)

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
        reach = self.reference.parameters.upper - self.reference.parameters.lower
        if minimum is None or not minimum.converged or np.any(minimum.errors > reach):
            dead = find_dead(self.reference, self._model, start, fixed)
            if dead.any():
                names = [n for n, d in zip(self.reference.parameters.names, dead, strict=True) if d]
                self._warn_once(
                    f"{what}: parameters without any effect are held: {list_names(names)}"
                )
                fixed, tried = fixed | dead, []
                minimum = self._attempt(start, fixed, tried)
        if minimum is None or not minimum.converged:
            minimum = minimize_dense(self.reference, start=start, fixed=fixed)
            tried.append(f"Newton on pyhf's likelihood: {minimum.status}")
        if minimum.converged:
            self._refuse_flat(minimum, fixed, what)
        else:
            self._refuse_undetermined(
                find_singular(self.reference, minimum.parameters, fixed), what
            )
        if not minimum.converged:
            raise FitError(f"{self.reference.measurement}, {what} failed: " + "; ".join(tried))
        self._compare_with_closed_form(minimum, fixed)
        return minimum

    def _attempt(self, start: Array, fixed: Mask, tried: list[str]) -> Minimum | None:
        if self._model is not None:
            minimum = minimize(self._model, start=start, fixed=fixed)
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

    def _refuse_flat(self, minimum: Minimum, fixed: Mask, what: str) -> None:
        """Refuse a minimum that is a valley: other parameters can take over what one does.

        Raises:
            FitError: Names them.
        """
        suspected = find_flat(minimum)
        table = self.reference.parameters
        reach = table.upper - table.lower
        inflation = minimum.errors * np.sqrt(np.maximum(minimum.stiffness, 0.0))
        flat = [i for i in suspected if minimum.errors[i] > reach[i] or inflation[i] > NUMERIC]
        if suspected and not flat and self._is_valley(minimum, fixed, suspected[0]):
            flat = suspected
        self._refuse_undetermined([table.names[i] for i in flat], what)

    def _refuse_undetermined(self, names: list[str], what: str) -> None:
        if names:
            raise FitError(
                f"{self.reference.measurement}, {what}: the data do not determine "
                f"{list_names(names)}: another parameter can take over their effect; fix one of "
                "them"
            )

    def _is_valley(self, minimum: Minimum, fixed: Mask, index: int) -> bool:
        """Whether 2NLL stays where it is one error (or half the way to a bound) away.

        In growing steps, each from where the last one points to: a valley is followed along its
        floor, which a single step of the full length would leave.
        """
        table, best = self.reference.parameters, minimum.parameters
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
            moved = self._attempt(_at(start, index, float(best[index] + sign * step)), held, [])
            if moved is None or not moved.converged:
                return False
            if moved.twice_nll - minimum.twice_nll > 0.01 * (step / minimum.errors[index]) ** 2 + (
                measure_rounding(self.reference)
            ):
                return False
            direction = (moved.parameters - best) / step
        return True

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

    def _try_other_starts(self, minimum: Minimum, fixed: Mask, what: str, say: Stage) -> Minimum:
        """Look for lower minima, where a model makes several and a certificate is local.

        Where a nuisance parameter moves some bin the same way at +1 and -1 sigma there may be one
        on either side. A factor that ends at its bound may have left its work to another that
        multiplies the same yields. Stock optimizers report whichever they fall into.
        """
        sides, stuck = find_one_sided(self.reference), find_stuck(self.reference, minimum)
        table = self.reference.parameters
        names = list_names([table.names[i] for i in (*sides, *stuck)])
        if self._model is None:
            if sides:
                self._warn_once(
                    "one-sided variations may make several minima, and one start was tried: "
                    + list_names([table.names[i] for i in sides])
                )
            return minimum
        middle = (table.lower + table.upper) / 2
        moves = [(i, side, own) for own in (False, True) for i in sides for side in (-1.0, 1.0)]
        moves += [(i, middle[i], False) for i in stuck]
        if not moves:
            return minimum
        say(f"{self.reference.measurement}: {what}, {len(moves)} more starts")
        best = minimum
        while moves:
            starts = [_at(best.parameters if own else table.init, i, x) for i, x, own in moves]
            held = np.where(fixed, minimum.parameters, np.stack(starts))
            found = minimize_starts(self._model, held, fixed=fixed, near=best.parameters)
            good = [m for m in found if m.converged and m.twice_nll < best.twice_nll + BELOW_FREE]
            for trial in good:
                if np.any(np.abs(trial.parameters - best.parameters) > 0.01 * best.errors):
                    # As good, but elsewhere.
                    trial = minimize(self._model, start=trial.parameters, fixed=fixed)
                    self._refuse_flat(trial, fixed, what)
            lowest = min(good, key=lambda m: m.twice_nll, default=best)
            if not lowest.twice_nll < best.twice_nll - BELOW_FREE:
                break
            best = minimize(self._model, start=lowest.parameters, fixed=fixed)
            moves = [move for move in moves if move[2]]  # from there on
        if best is not minimum:
            self._warn_once(
                f"{what}: the likelihood has several minima ({names}); other starts lowered 2NLL "
                f"by {minimum.twice_nll - best.twice_nll:.4g}, and the lowest found is reported: "
                "check these parameters"
            )
        return best

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
        if null is not None and (noise := measure_rounding(self.reference)) > 1e-3:
            self._warn_once(
                f"the counts are so large that rounding alone moves q0 by about {noise:.1g}"
            )
        for line in warn_of_weakness(self.reference, self._model, free):
            self._warn_once(line)
        table = self.reference.parameters
        for fit, minimum, fixed in (
            ("free", free, table.fixed),
            ("null", null, table.fixed if table.poi is None else self._null_mask(table.poi)),
        ):
            if minimum is None:
                continue
            if bins := find_bins_at_zero(self.reference, self._model, minimum, fixed):
                self._warn_once(
                    f"{fit} fit: without the condition that no rate is negative it would go on: "
                    f"the expected rate of {list_names(bins)} is held at 0, and errors hold on the "
                    "other side only"
                )
            if names := list(name_bounds(self.reference, minimum)):
                self._warn_once(
                    f"{fit} fit: {len(names)} parameter{'s' * (len(names) > 1)} at a bound of the "
                    f"measurement: {list_names(names)}"
                )

    def _warn_once(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def _at(parameters: Array, index: int, value: float) -> Array:
    moved = parameters.copy()
    moved[index] = value
    return moved
