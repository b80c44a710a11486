"""Certified fits of one measurement, and the discovery statement made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyhf
from scipy.stats import norm

from ddphf.exceptions import FitError, ModelError
from ddphf.inference.toy_store import FAILED, ToySample, summarize_toys
from ddphf.inference.toys import ToySource, toy_ensemble
from ddphf.likelihood.compiled import CannotCompileError, CompiledModel
from ddphf.likelihood.dense import minimize_dense, minimize_minuit
from ddphf.likelihood.minimum import EDM_TOLERANCE_PYHF, Array, Mask, Minimum
from ddphf.likelihood.pair import recognise_pair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results import (
    CertificateResult,
    DiscoveryResult,
    FitResult,
    MinimumResult,
    ParameterResult,
    make_provenance,
)

__all__ = ["Engine", "Fitter", "check_failures", "fit_workspace", "make_discovery"]

Engine = Literal["ddphf", "pyhf"]

NEGATIVE_Q0 = -1e-6
"""A null fit below the free one by more than this is a failed fit, never a q0 of 0."""

STEPS_TO_NULL = 8

MAX_FAILED_TOYS = 1e-3
"""Largest accepted fraction of toys without a certificate."""

Progress = Callable[[str], None]


def fit_workspace(
    workspace: dict[str, Any],
    *,
    measurement: str | None = None,
    engine: Engine = "ddphf",
    toys: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    toy_progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Fit a pyhf workspace with and without signal, and certify both fits.

    Args:
        workspace: Any pyhf JSON workspace (schema 1.0.0) as a dictionary.
        measurement: Name of the measurement; the first one by default.
        engine: ``"ddphf"``, or ``"pyhf"`` for pyhf's jax backend with iminuit, polished.
        toys: Number of toys of the null; none by default.
        seed: Seed of the toys.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).

    Returns:
        Free fit, null fit (mu = 0), signed q0 and its significance; the same with the background
        known where the workspace has the measurement ``known_background``. Without a POI, or with
        a fixed one, ``null`` and ``discovery`` are None.

    Raises:
        ModelError: The workspace is refused, or toys are asked for without a null.
        FitError: No certificate, two calculations disagree, or too many toys failed.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> data = [60.0] + model.config.auxdata
        >>> workspace = pyhf.Workspace.build(model, data)
        >>> round(fit_workspace(dict(workspace)).discovery.z0, 4)
        0.9591
    """
    say = progress if progress is not None else _silent
    fitter = Fitter(ReferenceModel(workspace, measurement), engine)
    table = fitter.reference.parameters
    free, null = _fit_both(fitter, say)
    poi = None if table.poi is None else table.names[table.poi]
    warnings = [*fitter.reference.warnings, *fitter.warnings]
    if table.poi is not None and free.at_bound[table.poi]:
        warnings.append(f"the POI '{poi}' is at a bound of its measurement")
    discovery = None
    if null is not None and table.poi is not None:
        discovery = make_discovery(free, null, table.poi)
    if toys:
        if discovery is None:
            raise ModelError(
                f"measurement '{fitter.reference.measurement}' has no free POI, so there is no "
                "null to draw toys from; pick a measurement that has one"
            )
        say(f"{toys} toys")
        model = fitter.require_compiled()
        sample = toy_ensemble(ToySource.conditional(model), toys, seed=seed, progress=toy_progress)
        check_failures(sample)
        discovery = replace(discovery, toys=summarize_toys(sample, discovery.q0).to_dict())
    names = [m["name"] for m in workspace["measurements"]]
    known = None
    if "known_background" in names and fitter.reference.measurement != "known_background":
        say("known background (L1)")
        other = Fitter(ReferenceModel(workspace, "known_background"), engine)
        known_free, known_null = _fit_both(other, say)
        known_poi = other.reference.parameters.poi
        if known_null is not None and known_poi is not None:
            known = make_discovery(known_free, known_null, known_poi)
    return FitResult(
        measurement=str(fitter.reference.measurement),
        engine=engine,
        poi=poi,
        fit=_record(fitter.reference, free),
        null=None if null is None else _record(fitter.reference, null),
        discovery=discovery,
        known_background=known,
        warnings=tuple(warnings),
        provenance=make_provenance(workspace_digest=f"sha256:{pyhf.utils.digest(workspace)}"),
    )


def check_failures(toys: ToySample) -> None:
    """Refuse an ensemble of which too many toys failed.

    Raises:
        FitError: More than one in a thousand have no certificate.
    """
    failed = int(np.sum(toys.status == FAILED))
    if failed > MAX_FAILED_TOYS * len(toys):
        raise FitError(
            f"{failed} of {len(toys)} toys have no certificate, more than {MAX_FAILED_TOYS:g}; "
            "their p-value would mean nothing"
        )


def _silent(line: str) -> None:
    del line


class Fitter:
    """Certified fits of one measurement by one engine.

    Args:
        reference: The measurement.
        engine: Which engine minimises.

    Attributes:
        reference: The measurement.
        warnings: What the user should know of the way the fits went.
    """

    def __init__(self, reference: ReferenceModel, engine: Engine = "ddphf") -> None:
        self.reference, self.engine = reference, engine
        self.warnings: list[str] = []
        self._pair = recognise_pair(reference)
        self._model: CompiledModel | None = None
        self._not_compiled = "the pyhf engine was asked for"
        if engine == "ddphf":
            try:
                self._model = CompiledModel.from_reference(reference)
            except CannotCompileError as error:
                self._not_compiled = str(error)
                self.warnings.append(f"not compiled ({error}): fitted with pyhf's own likelihood")

    def require_compiled(self) -> CompiledModel:
        """Return the compiled model.

        Raises:
            ModelError: There is none, with the reason.
        """
        if self._model is None:
            raise ModelError(f"toys need the compiled likelihood: {self._not_compiled}")
        return self._model

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
        if self._model is not None:
            minimum = self._model.minimize(start=start, fixed=fixed)
            tried.append(f"arrowhead Newton: {minimum.status}")
        elif self.engine == "pyhf":
            stopped = minimize_minuit(self.reference, start=start, fixed=fixed)
            minimum = minimize_dense(
                self.reference, start=stopped, fixed=fixed, tolerance=EDM_TOLERANCE_PYHF
            )
            tried.append(f"pyhf with iminuit, then Newton: {minimum.status}")
        if not (tried and minimum.converged):
            minimum = minimize_dense(self.reference, start=start, fixed=fixed)
            tried.append(f"Newton on pyhf's likelihood: {minimum.status}")
        if not minimum.converged:
            raise FitError(f"{self.reference.measurement}, {what} failed: " + "; ".join(tried))
        self._compare_with_closed_form(minimum, fixed)
        return minimum

    def _compare_with_closed_form(self, minimum: Minimum, fixed: Mask) -> None:
        poi = self.reference.parameters.poi
        if self._pair is None or poi is None:
            return
        if not self._pair.pair.has_signal:
            return
        mu = float(minimum.parameters[poi]) if fixed[poi] else self._pair.pair.fit().mu
        if self._pair.parameters(self.reference, mu) is None:
            return
        _compare(
            minimum.twice_nll, self._pair.pair.twice_nll(mu), "the fit", "the closed form", 1e-6
        )


def _fit_both(fitter: Fitter, say: Progress) -> tuple[Minimum, Minimum | None]:
    """Return the free fit and, where mu can be 0, the null fit; both certified."""
    reference, table = fitter.reference, fitter.reference.parameters
    say(f"{reference.measurement}: free fit")
    free = fitter.minimize(table.init, table.fixed, "free fit")
    if table.poi is None or table.fixed[table.poi]:
        return free, None
    if not table.lower[table.poi] <= 0.0 <= table.upper[table.poi]:
        raise ModelError(
            f"measurement '{reference.measurement}': the bounds of the POI "
            f"'{table.names[table.poi]}' exclude 0, so it has no null; widen them or fix the POI"
        )
    say(f"{reference.measurement}: null fit")
    null = _fit_null(fitter, free)
    if null.twice_nll - free.twice_nll < NEGATIVE_Q0:
        # The null found a better point, so the free fit stopped in the wrong place: start there.
        free = fitter.minimize(null.parameters, table.fixed, "free fit, second start")
        if null.twice_nll - free.twice_nll < NEGATIVE_Q0:
            raise FitError(
                f"q0 is negative: 2NLL is {free.twice_nll:.9g} free and {null.twice_nll:.9g} at "
                "mu = 0, also when the free fit starts at the null one"
            )
    return free, null


def _fit_null(fitter: Fitter, free: Minimum) -> Minimum:
    """Fit at mu = 0, from the free fit and in steps if that fails."""
    table = fitter.reference.parameters
    fixed = table.fixed.copy()
    fixed[table.poi] = True
    try:
        return fitter.minimize(_at(free.parameters, table.poi, 0.0), fixed, "null fit")
    except FitError:
        start = free.parameters
        mu_hat = float(start[table.poi])
        for step in range(1, STEPS_TO_NULL + 1):
            mu = mu_hat * (1 - step / STEPS_TO_NULL)
            what = f"null fit in steps, mu = {mu:.4g}"
            minimum = fitter.minimize(_at(start, table.poi, mu), fixed, what)
            start = minimum.parameters
        return minimum


def _at(parameters: Array, index: int | None, value: float) -> Array:
    moved = parameters.copy()
    moved[index] = value
    return moved


def _compare(one: float, other: float, name: str, other_name: str, tolerance: float) -> None:
    if not abs(one - other) <= tolerance + 1e-11 * abs(one):
        raise FitError(
            f"-2 ln L is {one:.12g} by {name} and {other:.12g} by {other_name}; one of them is "
            "wrong, so there is no result"
        )


def _record(reference: ReferenceModel, minimum: Minimum) -> MinimumResult:
    twice_nll_pyhf = reference.twice_nll(minimum.parameters, backend="numpy")
    _compare(minimum.twice_nll, twice_nll_pyhf, "the fit", "pyhf's numpy backend", 1e-8)
    return MinimumResult(
        twice_nll=minimum.twice_nll,
        parameters=tuple(
            ParameterResult(name, float(value), float(error), bool(at_bound))
            for name, value, error, at_bound in zip(
                reference.parameters.names,
                minimum.parameters,
                minimum.errors,
                minimum.at_bound,
                strict=True,
            )
        ),
        certificate=CertificateResult(
            projected_gradient=minimum.projected_gradient,
            edm=minimum.edm,
            twice_nll_pyhf=twice_nll_pyhf,
        ),
        status=minimum.status,
    )


def make_discovery(free: Minimum, null: Minimum, poi: int) -> DiscoveryResult:
    """Return the signed discovery statement of a free and a null fit.

    q0 = -2 ln lambda_0 for mu_hat >= 0 and +2 ln lambda_0 for mu_hat < 0 (Birman et al., Eur.
    Phys. J. C 82 (2022) 508, Eq. 5-8).

    Args:
        free: The fit with everything free.
        null: The fit at mu = 0.
        poi: Index of mu.
    """
    difference = null.twice_nll - free.twice_nll
    mu_hat = float(free.parameters[poi])
    # The raw difference is kept: one below 0 by rounding shows as such.
    q0 = 0.0 if mu_hat == 0 else (difference if mu_hat > 0 else -difference)
    z0 = float(np.sign(mu_hat) * np.sqrt(abs(q0)))
    return DiscoveryResult(
        mu_hat=mu_hat,
        mu_error=float(free.errors[poi]),
        q0=q0,
        z0=z0,
        p0=float(norm.sf(z0)),
        q0_capped=max(q0, 0.0),
    )
