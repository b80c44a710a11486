"""The whole of an injection: strength, data, what a fit of them finds, the scan."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from ddphf.compute.blocks import Runner
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import UsageError
from ddphf.inference.fit import make_discovery
from ddphf.inference.fitter import Fitter
from ddphf.inference.injection.scan import scan_strengths
from ddphf.inference.injection.signals import Background, DataKind, Injection
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Count, Stage, silent
from ddphf.results.injection import InjectionResult, StrengthResult
from ddphf.results.provenance import json_digest, made_of
from ddphf.workspace_json import Workspace

__all__ = ["inject_model", "inject_signal"]


def inject_signal(
    workspace: Mapping[str, object],
    *,
    z: float | None = None,
    mu: float | None = None,
    measurement: str | None = None,
    background: Background = "fit",
    kind: DataKind = "asimov",
    scan: Sequence[float] = (),
    toys: int = 0,
    seed: int = 0,
    progress: Stage | None = None,
    toy_progress: Count | None = None,
    runner: Runner | None = None,
) -> tuple[Workspace, InjectionResult]:
    """Put a signal into a workspace's observations.

    Args:
        workspace: Any pyhf JSON workspace with a POI.
        z: Wanted Asimov significance; negative for a deficit.
        mu: Strength, instead of ``z``.
        measurement: Name; the first by default. ``known_background`` makes it L1.
        background: ``"fit"``, or ``"known"`` for the values of ``known_background``.
        kind: ``"asimov"``, ``"shift"`` (observed data plus mu S) or ``"poisson"``.
        scan: Strengths to study by toys; with toys and without strengths 0, mu / 2 and mu.
        toys: Per strength; 0 for no scan.
        seed: Of everything drawn.
        progress: Called with a line for each stage.
        toy_progress: Called with (toys done, toys in all).
        runner: Where long work is done (:func:`ddphf.open_runner`); threads of this process by
            default. It changes no bit of the result.

    Returns:
        The workspace with new observations, and the record.

    Raises:
        UsageError: Neither ``z`` nor ``mu``, or both.
        ModelError: The measurement, the strength or the wanted Z is refused.
        FitError: A fit has no certificate, or too many toys failed.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> spec = dict(pyhf.Workspace.build(model, [50.0] + model.config.auxdata))
        >>> written, record = inject_signal(spec, z=1.5)
        >>> round(written["observations"][0]["data"][0], 4), round(record.found.z0, 6)
        (66.0484, 1.5)
    """
    written, found = inject_model(
        Fitter(ReferenceModel(workspace, measurement)), z=z, mu=mu, background=background,
        kind=kind, scan=scan, toys=toys, seed=seed,
        work=Work(progress or silent, toy_progress, runner),
    )  # fmt: skip
    return written, made_of(found, workspace)


def inject_model(
    fitter: Fitter,
    *,
    z: float | None = None,
    mu: float | None = None,
    background: Background = "fit",
    kind: DataKind = "asimov",
    scan: Sequence[float] = (),
    toys: int = 0,
    seed: int = 0,
    work: Work = HERE,
) -> tuple[Workspace, InjectionResult]:
    """Inject with a model that is already built; see :func:`inject_signal`.

    Args:
        fitter: Of one measurement.
        z: Wanted Asimov significance.
        mu: Strength, instead of ``z``.
        background: ``"fit"`` or ``"known"``.
        kind: ``"asimov"``, ``"shift"`` or ``"poisson"``.
        scan: Strengths to study by toys.
        toys: Per strength; 0 for no scan.
        seed: Of everything drawn.
        work: How long work is done.

    Returns:
        The workspace of the model with new observations, and the record; of its provenance the
        digest of what was written alone.

    Raises:
        UsageError: Neither ``z`` nor ``mu``, or both.
        ModelError: There is no null, or the strength or the wanted Z is refused.
        FitError: A fit has no certificate, or too many toys failed.
    """
    if (z is None) == (mu is None):
        raise UsageError("give a significance to reach or a strength, one of the two")
    say = work.say
    say("background")
    injection = Injection(fitter, background=background)
    reference = fitter.reference
    for value in scan:
        injection.check(value)
    if mu is None:
        assert z is not None
        say(f"strength for Z = {z:g}")
        mu = injection.solve(z)
    injection.check(mu)
    written = _write(injection, mu, kind, seed)
    with_signal = Fitter(ReferenceModel(written, reference.measurement)).fit_both(say)
    assert with_signal.null is not None
    found = make_discovery(with_signal.free, with_signal.null, injection.poi)
    rows: tuple[StrengthResult, ...] = ()
    if toys:
        strengths = list(scan) or sorted({0.0, mu / 2, mu})
        rows = scan_strengths(
            injection,
            strengths,
            toys=toys,
            kind=kind,
            seed=seed,
            work=work,
        )
    warnings = list(fitter.warnings)
    warnings += [line for line in with_signal.warnings if line not in warnings]
    return written, InjectionResult(
        measurement=str(reference.measurement),
        poi=injection.poi_name,
        background=background,
        z_wanted=z,
        mu=mu,
        z_asimov=injection.asimov_z(mu),
        signal_events={
            name: float(mu * injection.signal[where].sum())
            for name, where in sorted(reference.channel_slices.items())
        },
        data=kind,
        seed=seed if kind == "poisson" or rows else None,
        found=found,
        scan=rows,
        warnings=tuple(warnings),
        provenance={"written_digest": json_digest(written)},
    )


def _write(injection: Injection, mu: float, kind: DataKind, seed: int) -> Workspace:
    reference = injection.fitter.reference
    values, slices = injection.data(mu, kind, seed), reference.channel_slices
    out = copy.deepcopy(reference.workspace)
    for observation in out["observations"]:
        if observation["name"] in slices:
            observation["data"] = [float(x) for x in values[slices[observation["name"]]]]
    return out
