"""Certified fits of one measurement, and the discovery statement made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ddphf.compute.blocks import Runner
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, ModelError
from ddphf.inference.attempts import Engine, Fits
from ddphf.inference.fitter import Fitter
from ddphf.inference.goodness import measure_goodness, warn_of_goodness
from ddphf.inference.measured import state_measurement
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample, summarize_toys
from ddphf.likelihood.certificate import Minimum, compare_values
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Count, Stage, silent
from ddphf.results.fit import (
    CertificateResult,
    DiscoveryResult,
    FitResult,
    MinimumResult,
    ParameterResult,
)
from ddphf.results.measured import PLAIN, Declared, MeasurementStatement
from ddphf.results.provenance import json_digest, make_provenance, mark_of
from ddphf.statistics.signed import signed_statement
from ddphf.statistics.tails import FAILED, refuse_failures

__all__ = ["check_failures", "fit_model", "fit_workspace", "make_discovery"]

SAME = 1e-8
"""Largest difference in -2 ln L at one point, by ddphf and by pyhf, beside rounding."""

KNOWN = "known_background"
"""Name of the measurement whose background is held at its known value (L1)."""


def fit_workspace(
    workspace: Mapping[str, object],
    *,
    measurement: str | None = None,
    engine: Engine = "ddphf",
    poi_bounds: tuple[float, float] | None = None,
    toys: int = 0,
    seed: int = 0,
    goodness_toys: int = 0,
    declared: Declared = PLAIN,
    progress: Stage | None = None,
    toy_progress: Count | None = None,
    runner: Runner | None = None,
) -> FitResult:
    """Fit a pyhf workspace with and without signal, and certify both fits.

    Args:
        workspace: Any pyhf JSON workspace (schema 1.0.0) as a dictionary.
        measurement: Name of the measurement; the first one by default.
        engine: ``"ddphf"``, or ``"pyhf"`` for pyhf's jax backend with iminuit, polished.
        poi_bounds: Bounds of the POI instead of the measurement's; in the provenance.
        toys: Number of toys of the null; none by default.
        seed: Seed of the toys.
        goodness_toys: Number of toys of the fit itself, for its goodness; none by default.
        declared: What the sidecar says: that the POI is no signal strength, a value of it to be
            tested, quantities to be derived.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).
        runner: Where long work is done (:func:`ddphf.open_runner`); threads of this process by
            default. It changes no bit of the result.

    Returns:
        Free fit, null fit (mu = 0), signed q0 and its significance; the same with the background
        known where the workspace has the measurement ``known_background``. Without a POI, or with
        a fixed one, ``null`` and ``discovery`` are None; so they are where 0 is no value that the
        POI could have (a bin with signal alone, bounds that exclude it), with a warning, or where
        it is declared to be none. ``measurement_statement`` then tells what is measured.

    Raises:
        ModelError: The workspace or ``poi_bounds`` are refused, there is no null for the toys, or
            toys are asked for and the model is not compiled.
        FitError: No certificate, or two calculations disagree. Where the toys fail, or the
            statement with the background known, a warning says why they are missing.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> data = [60.0] + model.config.auxdata
        >>> workspace = pyhf.Workspace.build(model, data)
        >>> round(fit_workspace(dict(workspace)).discovery.z0, 4)
        0.9591
    """
    fitter = Fitter(ReferenceModel(workspace, measurement, poi_bounds), engine, declared)
    return fit_model(
        fitter, toys=toys, seed=seed, goodness_toys=goodness_toys,
        work=Work(progress or silent, toy_progress, runner),
    )  # fmt: skip


def fit_model(
    fitter: Fitter, *, toys: int = 0, seed: int = 0, goodness_toys: int = 0, work: Work = HERE
) -> FitResult:
    """Fit a model that is already built; see :func:`fit_workspace`.

    Args:
        fitter: Of one measurement. Where that is ``discovery`` and its workspace has the
            measurement ``known_background``, the second statement is about that one.
        toys: Number of toys of the null.
        seed: Seed of the toys.
        goodness_toys: Number of toys of the fit itself.
        work: How long work is done.

    Raises:
        ModelError: There is no null for the toys, or the model is not compiled.
        FitError: As :func:`fit_workspace`.
    """
    say, reference, table = work.say, fitter.reference, fitter.reference.parameters
    if toys:  # what cannot be is refused before any work
        fitter.require_null()
        fitter.require_compiled()
    if goodness_toys:
        fitter.require_compiled("toys")
    states = not fitter.has_null and fitter.has_free_poi
    declared = _declared_of(fitter)
    fits = fitter.fit_both(say)
    free, null = fits.free, fits.null
    missing: list[str] = []
    discovery = _discovery_of(fitter, fits)
    measured: MeasurementStatement | None = None
    said: tuple[str, ...] = ()
    if states:
        say("measurement")
        measured, said = state_measurement(fitter, free, declared)
    if toys:
        assert discovery is not None
        say(f"{toys} toys")
        try:
            source = ToySource.conditional(fitter.require_compiled())
            sample = toy_ensemble(source, toys, seed=seed, work=work)
            check_failures(sample)
            discovery = replace(discovery, toys=summarize_toys(sample, discovery.q0).to_dict())
        except (FitError, ModelError) as error:
            missing.append(f"the null by toys is missing: {error}")
    say("goodness of fit")
    try:
        goodness = measure_goodness(fitter, free, toys=goodness_toys, seed=seed, work=work)
    except (FitError, ModelError) as error:
        if not goodness_toys:
            raise
        missing.append(f"the goodness of fit by toys is missing: {error}")
        goodness = measure_goodness(fitter, free)
    names = [m["name"] for m in reference.workspace["measurements"]]
    known = None
    warnings = [*fits.warnings, *said, *missing, *warn_of_goodness(goodness)]
    if discovery is not None and reference.measurement == "discovery" and KNOWN in names:
        say("known background (L1)")
        try:
            other = Fitter(reference.sibling(KNOWN, reference.poi_bounds), fitter.engine)
            pair = other.fit_both(say)
            warnings += [f"{KNOWN}: {line}" for line in pair.warnings if line not in warnings]
            known = _discovery_of(other, pair)
        except (FitError, ModelError) as error:
            warnings.append(f"{KNOWN}: this statement is missing: {error}")
    bounds = reference.poi_bounds
    return FitResult(
        measurement=str(reference.measurement),
        engine=fitter.engine,
        poi=None if table.poi is None else table.names[table.poi],
        fit=_record(reference, free, errors_of_sides(fitter, free)),
        null=None if null is None else _record(reference, null),
        discovery=discovery,
        known_background=known,
        warnings=tuple(warnings),
        provenance=make_provenance(
            workspace_digest=json_digest(reference.workspace),
            **({} if bounds is None else {"poi_bounds": list(bounds)}),
        ),
        goodness_of_fit=goodness,
        states_no_null=states,
        data_directed=mark_of(reference.workspace),
        measurement_statement=measured,
    )


def _discovery_of(fitter: Fitter, fits: Fits) -> DiscoveryResult | None:
    poi = fitter.reference.parameters.poi
    if fits.null is None or poi is None:
        return None
    return make_discovery(fits.free, fits.null, poi)


def check_failures(toys: ToySample) -> None:
    """Refuse an ensemble of which too many toys failed.

    Raises:
        FitError: More than one in a thousand have no certificate.
    """
    refuse_failures(int(np.sum(toys.status == FAILED)), len(toys))


def errors_of_sides(fitter: Fitter, free: Minimum) -> dict[int, tuple[float | None, float | None]]:
    """Return the lower and upper error of the POI where it has no symmetric one, by its index.

    They are where 2NLL has risen by 1, on the side that the likelihood has.
    """
    poi, model = fitter.reference.parameters.poi, fitter.compiled
    if poi is None or model is None or not free.at_edge[poi]:
        return {}
    try:
        return {poi: profile_errors(model, free, poi)}
    except FitError:
        return {}


def _record(
    reference: ReferenceModel,
    minimum: Minimum,
    sides: Mapping[int, tuple[float | None, float | None]] = MappingProxyType({}),
) -> MinimumResult:
    twice_nll_pyhf = reference.twice_nll(minimum.parameters, backend="numpy")
    compare_values(reference, minimum.twice_nll, twice_nll_pyhf, "pyhf's numpy backend", SAME)
    errors = minimum.stated_errors()
    return MinimumResult(
        twice_nll=minimum.twice_nll,
        parameters=tuple(
            ParameterResult(
                name,
                float(minimum.parameters[i]),
                errors[i],
                bool(minimum.at_bound[i]),
                error_down=sides.get(i, (None, None))[0],
                error_up=sides.get(i, (None, None))[1],
            )
            for i, name in enumerate(reference.parameters.names)
        ),
        certificate=CertificateResult(
            projected_gradient=minimum.projected_gradient,
            edm=minimum.edm,
            twice_nll_pyhf=twice_nll_pyhf,
        ),
        status=minimum.status,
    )


def _declared_of(fitter: Fitter) -> Declared:
    """Return what is to be tested and derived of a measurement, checked before any work.

    The sidecar speaks of the POI of the workspace's first measurement.

    Raises:
        ModelError: There is a null, so that a value is tested by q0; or the value is outside the
            bounds of the POI.
    """
    declared, reference = fitter.declared, fitter.reference
    table, name = reference.parameters, reference.measurement
    main = reference.workspace["measurements"][0]["config"]["poi"]
    if table.poi is None or not fitter.has_free_poi or table.names[table.poi] != main:
        return Declared(declared.measurement)
    tested = declared.tested
    if tested is None:
        return declared
    if fitter.has_null:
        raise ModelError(
            f"measurement '{name}': a tested value is for a measurement without a null, and this "
            f"one has the null {main} = 0; say 'statement: measurement' in its sidecar if "
            f"'{main}' is no signal strength"
        )
    low, high = float(table.lower[table.poi]), float(table.upper[table.poi])
    if not low <= tested <= high:
        raise ModelError(
            f"measurement '{name}': the tested value {tested:g} of '{main}' is outside its bounds "
            f"[{low:g}, {high:g}]; test another, or widen them: --poi-bounds "
            f"{min(low, tested):g},{max(high, tested):g}"
        )
    return declared


def make_discovery(free: Minimum, null: Minimum, poi: int) -> DiscoveryResult:
    """Return the signed discovery statement of a free and a null fit.

    q0 = -2 ln lambda_0 for mu_hat >= 0 and +2 ln lambda_0 for mu_hat < 0 (Birman et al., Eur.
    Phys. J. C 82 (2022) 508, Eq. 5-8).

    Args:
        free: The fit with everything free.
        null: The fit at mu = 0.
        poi: Index of mu.
    """
    mu_hat = float(free.parameters[poi])
    signed = signed_statement(null.twice_nll - free.twice_nll, mu_hat)
    return DiscoveryResult(mu_hat=mu_hat, mu_error=free.error(poi), **signed._asdict())
