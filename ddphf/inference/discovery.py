"""Discovery statements: observed and expected significance, by asymptotics and by toys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.stats import norm

from ddphf.compute.blocks import Runner
from ddphf.compute.streams import EXPECTED
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, InputError, ModelError
from ddphf.inference.fit import KNOWN, check_failures, make_discovery
from ddphf.inference.fitter import Fitter, find_signal_only
from ddphf.inference.nulls import compare_nulls
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.importance import sample_importance
from ddphf.inference.toys.source import ToySource, check_strength
from ddphf.inference.toys.store import ToySample, summarize_toys
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.sides import lowest_of_sides
from ddphf.progress import Count, Stage, silent
from ddphf.results.discover import (
    N_SIGMA,
    DiscoverResult,
    ExpectedResult,
    StatementResult,
    p_value_of,
)
from ddphf.results.fit import DiscoveryResult
from ddphf.results.nulls import ImportanceResult
from ddphf.results.provenance import made_of, mark_of, poi_bounds_stated
from ddphf.statistics.tails import FAILED

__all__ = [
    "DiscoverResult",
    "NullMethod",
    "discover_model",
    "discover_workspace",
    "expect_discovery",
]

NullMethod = Literal["asymptotic", "toys", "importance"]
NULL_METHODS: tuple[NullMethod, ...] = ("asymptotic", "toys", "importance")

RESOLVED = 10
"""Toys beyond the observed q0 from which on p0 has an error below a third."""

AS_STATED = 1.0
"""Signal strength of the expectation where nobody asked for another: the signal as it is stated."""


@dataclass(frozen=True)
class _Options:
    nulls: Collection[NullMethod]
    toys: int
    seed: int
    mu_expected: float | None
    sample: ToySample | None
    work: Work
    errors: list[Exception] = field(default_factory=list)
    """Why kinds of null could not be done."""


def discover_workspace(
    workspace: Mapping[str, object],
    *,
    measurement: str | None = None,
    nulls: Collection[NullMethod] = NULL_METHODS[:1],
    toys: int = 20_000,
    seed: int = 0,
    mu_expected: float | None = AS_STATED,
    poi_bounds: tuple[float, float] | None = None,
    sample: ToySample | None = None,
    progress: Stage | None = None,
    toy_progress: Count | None = None,
    runner: Runner | None = None,
) -> DiscoverResult:
    """State the observed and the expected significance of a signal.

    Args:
        workspace: Any pyhf JSON workspace.
        measurement: Name of the measurement; the first one by default.
        nulls: How p0 is found: ``"asymptotic"``, ``"toys"``, ``"importance"``.
        toys: Toys of the null, of the expectation and of the importance sampling, each.
        seed: Their seed.
        mu_expected: Signal strength of the expectation; the fitted one where None.
        poi_bounds: Bounds of the POI instead of the measurement's; in the provenance.
        sample: Toys of the null that were drawn before, for the first statement; ``toys`` is then
            their number.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).
        runner: Where long work is done (:func:`ddphf.open_runner`); threads of this process by
            default. It changes no bit of the result.

    Raises:
        InputError: No toys where toys are needed, or ``sample`` is of another model.
        ModelError: The workspace is refused, has no null, or a ``mu_expected`` other than 1 is out
            of bounds.
        FitError: A fit has no certificate, or no kind of null that was asked for can be done. Where
            one of several cannot, or the expectation, or the second statement, a warning says why
            it is missing.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> statement = discover_workspace(workspace).statements[0]
        >>> round(statement.observed.z0, 4), round(statement.expected.z0, 4)
        (0.9591, 0.4799)
    """
    found = discover_model(
        Fitter(ReferenceModel(workspace, measurement, poi_bounds)), nulls=nulls, toys=toys,
        seed=seed, mu_expected=mu_expected, sample=sample,
        work=Work(progress or silent, toy_progress, runner),
    )  # fmt: skip
    return made_of(found, workspace)


def discover_model(
    fitter: Fitter,
    *,
    nulls: Collection[NullMethod] = NULL_METHODS[:1],
    toys: int = 20_000,
    seed: int = 0,
    mu_expected: float | None = AS_STATED,
    sample: ToySample | None = None,
    work: Work = HERE,
) -> DiscoverResult:
    """State significances with a model that is already built; see :func:`discover_workspace`.

    Args:
        fitter: Of one measurement. Where that is ``discovery`` and its workspace has the
            measurement ``known_background``, the second statement is about that one.
        nulls: How p0 is found.
        toys: Toys of each ensemble.
        seed: Their seed.
        mu_expected: Signal strength of the expectation; the fitted one where None.
        sample: Toys of the null that were drawn before.
        work: How long work is done.

    Returns:
        The statements; of the provenance the bounds of the POI alone.

    Raises:
        InputError: No toys where toys are needed, or ``sample`` is of another model.
        ModelError: There is no null, or ``mu_expected`` is out of bounds.
        FitError: As :func:`discover_workspace`.
    """
    if toys < 1 and sample is None and ("toys" in nulls or "importance" in nulls):
        raise InputError(f"toys: {toys}, expected at least 1 for the null by toys or importance")
    main = fitter.reference
    drawn = toys if sample is None else len(sample)
    options = _Options(nulls, drawn, seed, mu_expected, sample, work)
    statement, warnings = _state(fitter, options)
    statements = [statement]
    names = [m["name"] for m in main.workspace["measurements"]]
    if main.measurement == "discovery" and KNOWN in names:
        found: list[str] = []
        try:
            known = Fitter(main.sibling(KNOWN, main.poi_bounds))
            if known.has_null:
                statement, found = _state(known, replace(options, sample=None))
                statements.append(statement)
        except (FitError, ModelError) as error:
            found.append(f"this statement is missing: {error}")
        warnings += [
            line if line.startswith(KNOWN) else f"{KNOWN}: {line}"
            for line in found
            if line not in warnings
        ]
    if all(len(statement.failed) == len(nulls) for statement in statements):
        raise options.errors[0]
    poi = main.parameters.poi
    assert poi is not None
    return DiscoverResult(
        poi=main.parameters.names[poi],
        statements=tuple(statements),
        warnings=tuple(warnings),
        provenance=poi_bounds_stated(main.poi_bounds),
        data_directed=mark_of(main.workspace),
    )


def expect_discovery(source: ToySource) -> ExpectedResult:
    """Return the asymptotic expectation at the point of a source: its Asimov data, fitted.

    Signed Z of data with the signal is normal around the Asimov Z with width 1 (Cowan et al.,
    arXiv:1007.1727, Eq. 17 and 30); the bands are its -2, -1, 0, 1, 2 sigma.

    Args:
        source: Where data with the signal come from.

    Raises:
        FitError: A fit to the Asimov data has no certificate.
    """
    model, data = source.model, source.expected()
    poi = model.parameters.poi
    assert poi is not None
    start = source.parameters.copy()
    free = minimize(model, data=data, start=start)
    start[poi] = 0.0
    null = minimize(model, data=data, start=start, fixed=model.held_at(0.0))
    for what, minimum in (("free", free), ("null", null)):
        if not minimum.converged:
            raise FitError(f"Asimov data at mu = {source.mu:g}, {what} fit: {minimum.status}")
    null = lowest_of_sides(model, null, model.held_at(0.0), data)
    found = make_discovery(free, null, poi)
    return ExpectedResult(
        mu=source.mu,
        q0=found.q0,
        z0=found.z0,
        p0=p_value_of(found.z0),
        z0_asymptotic=tuple(found.z0 + n for n in N_SIGMA),
    )


def _state(fitter: Fitter, options: _Options) -> tuple[StatementResult, list[str]]:
    """Return the statement about one measurement, and warnings."""
    say, reference = options.work.say, fitter.reference
    name = reference.measurement
    fitter.require_null()
    if options.mu_expected not in (None, AS_STATED):  # before any work
        check_strength(reference.parameters, options.mu_expected)
    fits = fitter.fit_both(say)
    free, null = fits.free, fits.null
    warnings = list(fits.warnings)
    table, model = reference.parameters, fitter.require_compiled()
    poi = table.poi
    assert poi is not None
    assert null is not None
    observed = make_discovery(free, null, poi)
    mu = options.mu_expected if options.mu_expected is not None else observed.mu_hat
    say(f"{name}: expected at mu = {mu:g}")
    expected, signal = None, None
    try:
        signal = ToySource.conditional(model, mu)
        if place := find_signal_only(reference, table.names[poi], signal.rates):
            raise FitError(
                f"in {place} signal alone is expected, so data with mu = {mu:g} rule the null out, "
                "and no significance is the expected one; add a background"
            )
        expected = expect_discovery(signal)
    except (FitError, ModelError) as error:
        warnings.append(f"{name}: the expected significance is missing: {error}")
    if "asymptotic" in options.nulls and table.lower[poi] >= 0 and observed.mu_hat == 0:
        warnings.append(f"{name}: the POI is at its lower bound 0, so Z = 0 whatever the deficit")
    toys, comparison, importance = None, None, None
    failed: dict[str, Exception] = {}
    sample = None
    if "toys" in options.nulls:
        try:
            sample = _null_toys(fitter, options)
        except (FitError, ModelError) as error:
            failed["toys"] = error
    if sample is not None:
        summary = summarize_toys(sample, observed.q0)
        toys = {**summary.to_dict(), "resolved": summary.n_ge >= RESOLVED}
        reference_null = "normal_capped" if table.lower[poi] >= 0 else "normal"
        comparison = compare_nulls(sample, reference=reference_null)  # type: ignore[arg-type]
        if not toys["resolved"]:
            advice = "" if "importance" in options.nulls else "; --null importance finds it"
            warnings.append(
                f"{name}: {summary.n_ge} of {summary.n} toys reach the observed q0, too few for p0 "
                f"(68 % upper end {summary.p0_interval[1]:.2g}){advice}"
            )
        if expected is not None and signal is not None:
            say(f"{name}: {options.toys} toys at mu = {mu:g}")
            try:
                expected = _expect_by_toys(expected, signal, sample, options)
            except FitError as error:
                warnings.append(f"{name}: the expectation by toys is missing: {error}")
    if "importance" in options.nulls:
        try:
            importance = _importance(fitter, free, observed, options)
            if importance is None:
                warnings.append(f"{name}: no excess, so p0 is not small: no importance sampling")
        except (FitError, InputError, ModelError) as error:
            failed["importance"] = error
    options.errors.extend(failed.values())
    warnings += [
        f"{name}: the null by {null} is missing: {error}" for null, error in failed.items()
    ]
    statement = StatementResult(
        measurement=str(name),
        observed=observed,
        asymptotic="asymptotic" in options.nulls,
        toys=toys,
        importance=importance,
        failed={null: str(error) for null, error in failed.items()},
        comparison=comparison,
        expected=expected,
    )
    return statement, warnings


def _null_toys(fitter: Fitter, options: _Options) -> ToySample:
    source = ToySource.conditional(fitter.require_compiled())
    sample = options.sample
    if sample is None:
        options.work.say(f"{fitter.reference.measurement}: {options.toys} toys of the null")
        sample = toy_ensemble(
            source,
            options.toys,
            seed=options.seed,
            work=options.work,
        )
    elif (sample.fingerprint, sample.mu) != (source.fingerprint, 0.0):
        raise InputError(
            f"the toys are of another model or data set than measurement "
            f"'{fitter.reference.measurement}', or not drawn at mu = 0; draw them with 'ddphf toys'"
        )
    if not np.any(sample.status != FAILED):
        raise FitError("not one toy has a certificate")
    check_failures(sample)
    return sample


def _expect_by_toys(
    expected: ExpectedResult, signal: ToySource, null: ToySample, options: _Options
) -> ExpectedResult:
    toys = toy_ensemble(
        signal, options.toys, seed=options.seed, first=EXPECTED.start(0, options.toys),
        work=options.work,
    )  # fmt: skip
    check_failures(toys)
    bands = np.quantile(toys.z0[toys.status != FAILED], norm.cdf(N_SIGMA))
    reached = [summarize_toys(null, float(z * abs(z))).p0 for z in bands]
    summary = {
        "n": len(toys),
        "n_failed": int(np.sum(toys.status == FAILED)),
        "seed": options.seed,
        "z0": bands.tolist(),
        "p0_null_toys": reached,
    }
    return ExpectedResult(**{**vars(expected), "toys": summary})


def _importance(
    fitter: Fitter, free: Minimum, observed: DiscoveryResult, options: _Options
) -> ImportanceResult | None:
    """Return p0 by importance sampling; None without an excess, where p0 is not small."""
    name = fitter.reference.measurement
    if observed.q0 <= 0:
        return None
    null = ToySource.conditional(fitter.require_compiled())
    options.work.say(f"{name}: {options.toys} toys by importance sampling")
    try:
        return sample_importance(
            null, observed.mu_hat, observed.q0, options.toys, seed=options.seed,
            work=options.work,
        )  # fmt: skip
    except (FitError, ModelError) as error:
        poi = fitter.reference.parameters.poi
        held = ""
        if poi is not None and free.at_bound[poi]:
            held = "; the POI is at its upper bound, and the data lie beyond: widen the bound"
        raise type(error)(f"measurement '{name}': {error}{held}") from None
