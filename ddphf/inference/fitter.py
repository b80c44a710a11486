"""Certified fits of one measurement: everything free, and at mu = 0 where that is a hypothesis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import ModelError
from ddphf.inference.attempts import Attempts, Engine, Fit, Fits, moved_to
from ddphf.inference.doubts import leads_lower, try_other_starts, warn_of_fits
from ddphf.likelihood.certificate import EPSILON, Minimum
from ddphf.likelihood.compiled import CannotCompileError, CompiledModel
from ddphf.likelihood.paired.closed_form import recognise_pair
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.likelihood.sides import lowest_of_sides
from ddphf.progress import Stage
from ddphf.results.measured import PLAIN, Declared
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["Fitter", "find_null_problem", "find_signal_only"]

NAMED = 5
"""Bins that a message names."""

TRIED = 200
"""Points at which something may be expected."""

LARGE = 1e4
"""Terms of a sum that cancels may be so many times larger than the events that are seen."""


def find_null_problem(reference: ReferenceModel) -> str | None:
    """Return why mu = 0 is no hypothesis of a measurement, with what can be done; None if it is.

    A measurement whose POI is free may still be fitted.
    """
    table = reference.parameters
    where = f"measurement '{reference.measurement}'"
    if reference.missing_poi is not None:
        return (
            f"{where}: its POI '{reference.missing_poi}' is in no sample: a background-only "
            "workspace, whose signal comes with a patch. Apply that patch, or make one of your "
            "signal with 'ddphf patch'"
        )
    other = "; pick one whose POI is a free normfactor"
    if table.poi is None:
        return f"{where} has no POI, so there is no signal strength to hold at 0{other}"
    name = table.names[table.poi]
    if table.fixed[table.poi]:
        return f"{where} holds its POI '{name}' fixed, so it tests no signal{other}"
    if _kinds_of(reference, name) != {"normfactor"}:
        return f"{where} has a POI that is no normfactor, '{name}': 0 is no null{other}"
    free = f"'ddphf fit' gives '{name}' with its error, and 'ddphf scan' its intervals"
    upper = f"'ddphf fit' gives '{name}' with its error, and 'ddphf limit' its upper limits"
    if not table.lower[table.poi] <= 0.0 <= table.upper[table.poi]:
        return (
            f"{where}: the bounds of the POI '{name}' exclude 0, so there is no null; widen them. "
            f"Without a null {free}"
        )
    if place := find_signal_only(reference, name, reference.data):
        have = "have" if ", bins " in place else "has"
        return (
            f"{where}: {place} {have} events, but only samples with the POI '{name}' are expected "
            f"there, so mu = 0 is impossible and there is no null; add a background. Without a "
            f"null {upper}"
        )
    if place := _find_no_expectation(reference):
        return (
            f"{where}: {place} has events, but without the samples of the POI '{name}' nothing is "
            f"expected there (at {TRIED} points of the other parameters), so mu = 0 is impossible "
            f"and there is no null; correct the yields. Without a null {free}"
        )
    return None


def _kinds_of(reference: ReferenceModel, name: str) -> set[str]:
    return {
        modifier["type"]
        for channel in reference.workspace["channels"]
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
        if modifier["name"] == name
    }


def find_signal_only(reference: ReferenceModel, poi: str, counts: Array) -> str | None:
    """Return bins with events where only samples with the POI are expected, or None.

    Args:
        reference: The measurement.
        poi: Name of the POI.
        counts: Main data, more behind them or not.
    """
    slices = reference.channel_slices
    for channel in reference.workspace["channels"]:
        others = np.zeros(len(channel["samples"][0]["data"]))
        for sample in channel["samples"]:
            if any(m["name"] == poi and m["type"] == "normfactor" for m in sample["modifiers"]):
                continue
            others += np.abs(sample["data"])
            for modifier in sample["modifiers"]:
                if modifier["type"] == "histosys":
                    others += np.abs(modifier["data"]["hi_data"])
                    others += np.abs(modifier["data"]["lo_data"])
        observed = counts[slices[channel["name"]]]
        found = np.flatnonzero((others == 0) & (observed > 0)).tolist()
        if found:
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            word = "bin" if len(found) == 1 else "bins"
            return f"channel '{channel['name']}', {word} {', '.join(map(str, found[:NAMED]))}{more}"
    return None


def _find_no_expectation(reference: ReferenceModel) -> str | None:
    """Return a bin with events whose rate at mu = 0 is above 0 nowhere, or None.

    Negative yields may take away all that the other samples expect. Nowhere: at none of many
    points between the bounds.
    """
    table, observed = reference.parameters, reference.data[: reference.n_main]
    assert table.poi is not None
    poi, slices = table.names[table.poi], reference.channel_slices
    points = np.random.default_rng(1).uniform(table.lower, table.upper, (TRIED, len(table.init)))
    points = np.vstack([table.init, np.where(table.fixed, table.init, points)])
    points[:, table.poi] = 0.0
    dark = observed > 0
    # Counts may be many times what is expected, which is no rounding.
    terms = np.zeros(reference.n_main)
    for channel in reference.workspace["channels"]:
        for sample in channel["samples"]:
            if all(modifier["name"] != poi for modifier in sample["modifiers"]):
                terms[slices[channel["name"]]] += np.abs(sample["data"])
    small = EPSILON * LARGE * np.minimum(observed, terms)
    with pyhf_backend("numpy"):
        for point in points:
            if not dark.any():
                return None
            rates = reference.model.expected_data(point.tolist(), include_auxdata=False)
            dark &= np.asarray(rates) <= small
    for name, where in slices.items():
        for index in np.flatnonzero(dark[where]):
            return f"channel '{name}', bin {index}"
    return None


STEPS_TO_NULL = 8


class Fitter:
    """Fits one measurement by one engine.

    Args:
        reference: The measurement.
        engine: Which engine minimises.
        declared: What the sidecar says: a measurement that is declared to be none of a signal
            strength has no null.

    Attributes:
        reference: The measurement.
        engine: Which engine was asked for.
        compiled: The compiled model, where there is one.
        declared: What the sidecar says.
        warnings: What is unusual about it, before any fit.

    Example:
        >>> import pyhf
        >>> spec = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = pyhf.Workspace.build(spec, [60.0] + spec.config.auxdata)
        >>> fits = Fitter(ReferenceModel(dict(workspace))).fit_both(print)
        measurement: free fit
        measurement: null fit
        >>> q0 = fits.null.twice_nll - fits.free.twice_nll
        >>> round(float(fits.free.parameters[0]), 6), round(q0, 4)
        (2.0, 0.9198)
    """

    def __init__(
        self, reference: ReferenceModel, engine: Engine = "ddphf", declared: Declared = PLAIN
    ) -> None:
        self.reference, self.engine, self.declared = reference, engine, declared
        model, self._not_compiled = None, "the pyhf engine was asked for"
        said: tuple[str, ...] = ()
        if engine == "ddphf":
            try:
                model = CompiledModel.from_reference(reference)
            except CannotCompileError as error:
                self._not_compiled = str(error)
                said = (f"not compiled ({error}): fitted with pyhf's own likelihood",)
        self.compiled: CompiledModel | None = model
        self.warnings = (*reference.warnings, *said)
        self._attempts = Attempts(reference, engine, model, recognise_pair(reference))

    def require_compiled(self, what: str = "toys and Asimov data") -> CompiledModel:
        """Return the compiled model.

        Args:
            what: What needs it, for the message.

        Raises:
            ModelError: There is none, with the reason.
        """
        if self.compiled is None:
            raise ModelError(f"{what} need the compiled likelihood: {self._not_compiled}")
        return self.compiled

    def require_null(self) -> None:
        """Refuse a measurement without a null hypothesis.

        Raises:
            ModelError: Says why there is none, and what can be done.
        """
        if self.no_null is not None:
            raise ModelError(self.no_null)

    def require_limits(self) -> None:
        """Refuse a measurement without upper limits.

        One whose data are impossible without a signal has some: they compare values above 0.

        Raises:
            ModelError: Says why there are none, and what can be done.
        """
        if not self.has_limits:
            self.require_null()

    @cached_property
    def has_limits(self) -> bool:
        """Whether there are upper limits: a null, or data that are impossible without a signal.

        Without a null there is no q0; upper limits compare values of mu above 0.
        """
        table = self.reference.parameters
        if self.has_null or self.declared.measurement or not self.has_free_poi:
            return self.has_null
        assert table.poi is not None
        name = table.names[table.poi]
        return bool(
            table.lower[table.poi] <= 0 < table.upper[table.poi]
            and _kinds_of(self.reference, name) == {"normfactor"}
            and find_signal_only(self.reference, name, self.reference.data)
        )

    def _impossible_null(self) -> str:
        """Return a short sentence that names the bins with events of the signal alone, if any."""
        if self.has_null or not self.has_limits:
            return ""
        table = self.reference.parameters
        assert table.poi is not None
        name = table.names[table.poi]
        place = find_signal_only(self.reference, name, self.reference.data)
        return f"only '{name}' explains the events of {place}, so {name} = 0 is impossible"

    @cached_property
    def no_null(self) -> str | None:
        """Why mu = 0 is no hypothesis of this measurement; None where it is one."""
        if self.declared.measurement and self.has_free_poi:
            return (
                f"measurement '{self.reference.measurement}' is declared by the sidecar "
                "(statement: measurement): its POI is no signal strength, so there is no null; "
                "'ddphf fit' gives the POI with its errors, 'ddphf limit --interval' its intervals"
            )
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

    def fit_both(self, say: Stage) -> Fits:
        """Return the free fit and, where there is one, the null fit; both certified.

        Args:
            say: Called with a line for each stage.

        Raises:
            FitError: No certificate, or the null stays below the free fit.
        """
        free = self._fit_free(say).require()
        if self.no_null is not None:
            if self.has_free_poi and not self.declared.measurement:  # others state none
                why = self._impossible_null() or self.no_null
                free = free.warned(f"no null and no discovery statement: {why}")
            return self._state(free.minimum, None, free.warnings)
        lowest, null = self._fit_null(free.minimum, say)
        null.require()
        return self._state(lowest, null.minimum, (*free.warnings, *null.warnings))

    def fit_free(self, say: Stage) -> Fits:
        """Return the free fit, certified.

        Where there is a null it is fitted too, because it may find a lower minimum; that it
        fails is a warning here.

        Args:
            say: Called with a line for each stage.

        Raises:
            FitError: The free fit has no certificate.
        """
        free = self._fit_free(say).require()
        said = free.warnings
        if not self.has_null:
            if self.has_free_poi and not self.declared.measurement:
                said = (f"no null fit: {self.no_null}", *said)
            return self._state(free.minimum, None, said)
        lowest, null = self._fit_null(free.minimum, say)
        said += null.warnings
        if null.failure:
            why = f"no null fit, which might have found a lower minimum: {null.failure}"
            return self._state(free.minimum, None, (*said, why))
        return self._state(lowest, null.minimum, said)

    def minimize(self, start: Array, fixed: Mask, what: str) -> Fit:
        """Return one fit, certified, the lowest of those that other sides lead to.

        Args:
            start: Shape (n,).
            fixed: Shape (n,): True for parameters to hold.
            what: Name of the fit, for the message.

        Raises:
            FitError: Says what was tried.
        """
        fit = self._attempts.fit(start, fixed, what).require()
        if self.compiled is None:
            return fit
        return replace(fit, minimum=lowest_of_sides(self.compiled, fit.minimum, fixed))

    def _fit_free(self, say: Stage) -> Fit:
        table = self.reference.parameters
        say(f"{self.reference.measurement}: free fit")
        fit = self._attempts.fit(table.init, table.fixed, "free fit")
        if fit.failure:
            return fit
        return try_other_starts(self._attempts, fit, table.fixed, "free fit", say)

    def _fit_null(self, free: Minimum, say: Stage) -> tuple[Minimum, Fit]:
        """Return the free fit, lower where the null one leads to a lower point, and the null fit.

        It starts from the free one, and goes in steps if that fails.
        """
        table = self.reference.parameters
        assert table.poi is not None
        held, start = table.fixed.copy(), free.parameters.copy()
        held[table.poi], start[table.poi] = True, 0.0
        say(f"{self.reference.measurement}: null fit")
        null = self._attempts.fit(start, held, "null fit")
        if null.failure:
            null = self._step_to_null(free, held, table.poi, null.warnings)
        if not null.failure:
            null = try_other_starts(self._attempts, null, held, "null fit", say)
        if null.failure or not leads_lower(self.compiled, null.minimum, free):
            return free, null
        # The null found a better point, so the free fit stopped in the wrong place.
        start = null.minimum.parameters
        again = self._attempts.fit(start, table.fixed, "free fit, second start")
        null = replace(null.warned(*again.warnings), failure=again.failure)
        lower = again.minimum.twice_nll
        if not null.failure and null.minimum.twice_nll - lower < -BELOW_FREE:
            null = replace(
                null,
                failure=f"q0 is negative: 2NLL is {lower:.9g} free and "
                f"{null.minimum.twice_nll:.9g} at mu = 0, also when the free fit starts at the "
                "null one",
            )
        return again.minimum, null

    def _step_to_null(self, free: Minimum, held: Mask, poi: int, said: tuple[str, ...]) -> Fit:
        start, mu_hat = free.parameters, float(free.parameters[poi])
        fit = Fit(free, said)
        for step in range(1, STEPS_TO_NULL + 1):
            mu = mu_hat * (1 - step / STEPS_TO_NULL)
            what = f"null fit in steps, mu = {mu:.4g}"
            fit = self._attempts.fit(moved_to(start, poi, mu), held, what)
            said += fit.warnings
            if fit.failure:
                break
            start = fit.minimum.parameters
        return replace(fit, warnings=said)

    def _state(self, free: Minimum, null: Minimum | None, said: Iterable[str]) -> Fits:
        """Return fits with everything that is to be said of them, each sentence once."""
        lines = list(self.warnings)
        for line in (*said, *warn_of_fits(self.reference, self.compiled, free, null)):
            if line not in lines:
                lines.append(line)
        return Fits(free, null, tuple(lines))
