"""Certified fits of one measurement, and the discovery statement made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pyhf
from scipy.stats import norm

from ddphf.exceptions import FitError, ModelError
from ddphf.likelihood.dense import certify, minimize_dense, minimize_minuit
from ddphf.likelihood.minimum import EDM_TOLERANCE, EDM_TOLERANCE_PYHF, Array, Mask, Minimum
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

__all__ = ["Engine", "fit_workspace", "make_discovery"]

Engine = Literal["ddphf", "pyhf"]

NEGATIVE_Q0 = -1e-6
"""A null fit below the free one by more than this is a failed fit, never a q0 of 0."""

STEPS_TO_NULL = 8

Progress = Callable[[str], None]


def fit_workspace(
    workspace: dict[str, Any],
    *,
    measurement: str | None = None,
    engine: Engine = "ddphf",
    progress: Progress | None = None,
) -> FitResult:
    """Fit a pyhf workspace with and without signal, and certify both fits.

    Args:
        workspace: Any pyhf JSON workspace (schema 1.0.0) as a dictionary.
        measurement: Name of the measurement; the first one by default.
        engine: ``"ddphf"``, or ``"pyhf"`` for pyhf's jax backend with iminuit, polished.
        progress: Called with a line for each stage.

    Returns:
        Free fit, null fit (mu = 0), signed q0 and its significance; the same with the background
        known where the workspace has the measurement ``known_background``. Without a POI, or with
        a fixed one, ``null`` and ``discovery`` are None.

    Raises:
        ModelError: The workspace is refused.
        FitError: No certificate, or two calculations disagree.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> data = [60.0] + model.config.auxdata
        >>> workspace = pyhf.Workspace.build(model, data)
        >>> round(fit_workspace(dict(workspace)).discovery.z0, 4)
        0.9591
    """
    say = progress if progress is not None else _silent
    reference = ReferenceModel(workspace, measurement)
    free, null = _fit_pair(reference, engine, say)
    table = reference.parameters
    poi = None if table.poi is None else table.names[table.poi]
    warnings = list(reference.warnings)
    if poi is not None and free.at_bound[table.poi]:
        warnings.append(f"the POI '{poi}' is at a bound of its measurement")
    known = None
    names = [m["name"] for m in workspace["measurements"]]
    if "known_background" in names and reference.measurement != "known_background":
        say("known background (L1)")
        other = ReferenceModel(workspace, "known_background")
        known_free, known_null = _fit_pair(other, engine, say)
        if known_null is not None and other.parameters.poi is not None:
            known = make_discovery(known_free, known_null, other.parameters.poi)
    return FitResult(
        measurement=str(reference.measurement),
        engine=engine,
        poi=poi,
        fit=_record(reference, free),
        null=None if null is None else _record(reference, null),
        discovery=(
            None if null is None or table.poi is None else make_discovery(free, null, table.poi)
        ),
        known_background=known,
        warnings=tuple(warnings),
        provenance=make_provenance(workspace_digest=f"sha256:{pyhf.utils.digest(workspace)}"),
    )


def _silent(line: str) -> None:
    del line


def _fit_pair(
    reference: ReferenceModel, engine: Engine, say: Progress
) -> tuple[Minimum, Minimum | None]:
    """Return the free fit and, where mu can be 0, the null fit; both certified."""
    table = reference.parameters
    say(f"{reference.measurement}: free fit")
    free = _minimize(reference, engine, table.init, table.fixed, "free fit")
    if table.poi is None or table.fixed[table.poi]:
        return free, None
    if not table.lower[table.poi] <= 0.0 <= table.upper[table.poi]:
        raise ModelError(
            f"measurement '{reference.measurement}': the bounds of the POI "
            f"'{table.names[table.poi]}' exclude 0, so it has no null; widen them or fix the POI"
        )
    say(f"{reference.measurement}: null fit")
    null = _fit_null(reference, engine, free)
    if null.twice_nll - free.twice_nll < NEGATIVE_Q0:
        # The null found a better point, so the free fit stopped in the wrong place: start there.
        free = _minimize(reference, engine, null.parameters, table.fixed, "free fit, second start")
        if null.twice_nll - free.twice_nll < NEGATIVE_Q0:
            raise FitError(
                f"q0 is negative: 2NLL is {free.twice_nll:.9g} free and {null.twice_nll:.9g} at "
                "mu = 0, also when the free fit starts at the null one"
            )
    return free, null


def _fit_null(reference: ReferenceModel, engine: Engine, free: Minimum) -> Minimum:
    """Fit at mu = 0, from the free fit and in steps if that fails."""
    table = reference.parameters
    fixed = table.fixed.copy()
    fixed[table.poi] = True
    try:
        return _minimize(reference, engine, _at(free.parameters, table.poi, 0.0), fixed, "null fit")
    except FitError:
        start = free.parameters
        mu_hat = float(start[table.poi])
        for step in range(1, STEPS_TO_NULL + 1):
            mu = mu_hat * (1 - step / STEPS_TO_NULL)
            what = f"null fit in steps, mu = {mu:.4g}"
            minimum = _minimize(reference, engine, _at(start, table.poi, mu), fixed, what)
            start = minimum.parameters
        return minimum


def _at(parameters: Array, index: int | None, value: float) -> Array:
    moved = parameters.copy()
    moved[index] = value
    return moved


def _minimize(
    reference: ReferenceModel, engine: Engine, start: Array, fixed: Mask, what: str
) -> Minimum:
    """Return a certified minimum.

    Raises:
        FitError: Says what was tried.
    """
    tried: list[str] = []
    if engine == "pyhf":
        stopped = minimize_minuit(reference, start=start, fixed=fixed)
        minimum = minimize_dense(
            reference, start=stopped, fixed=fixed, tolerance=EDM_TOLERANCE_PYHF
        )
        tried.append(f"pyhf with iminuit, then Newton: {minimum.status}")
    else:
        minimum, line = _minimize_ddphf(reference, start, fixed)
        tried.append(line)
    if not minimum.converged:
        raise FitError(f"{reference.measurement}, {what} failed: " + "; ".join(tried))
    return minimum


def _minimize_ddphf(reference: ReferenceModel, start: Array, fixed: Mask) -> tuple[Minimum, str]:
    pair = recognise_pair(reference)
    poi = reference.parameters.poi
    if pair is not None and poi is not None:
        mu = float(start[poi]) if fixed[poi] else pair.pair.fit().mu
        point = pair.parameters(reference, mu)
        if point is not None:
            minimum = certify(reference, point, fixed)
            if minimum.converged:
                _compare(minimum.twice_nll, pair.pair.twice_nll(mu), "pyhf", "the closed form")
                return minimum, "closed form"
            start = point
    minimum = minimize_dense(reference, start=start, fixed=fixed, tolerance=EDM_TOLERANCE)
    return minimum, f"Newton on pyhf's likelihood: {minimum.status}"


def _compare(one: float, other: float, name: str, other_name: str) -> None:
    if abs(one - other) > 1e-8 * max(1.0, abs(one)):
        raise FitError(
            f"-2 ln L is {one:.12g} by {name} and {other:.12g} by {other_name} at the same point"
        )


def _record(reference: ReferenceModel, minimum: Minimum) -> MinimumResult:
    twice_nll_pyhf = reference.twice_nll(minimum.parameters, backend="numpy")
    _compare(minimum.twice_nll, twice_nll_pyhf, "the fit", "pyhf's numpy backend")
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
