"""The toys of a workspace that a file keeps: drawn, resumed, and merged with those of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from ddphf.exceptions import InputError
from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample, add_toys, load_toys, merge_toys
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Count, Stage, silent
from ddphf.results.provenance import json_digest

__all__ = ["toys_model", "toys_workspace"]


def toys_workspace(
    workspace: Mapping[str, object],
    path: Path,
    *,
    measurement: str | None = None,
    toys: int = 20_000,
    mu: float = 0.0,
    seed: int = 0,
    merge: Sequence[Path] = (),
    replace: bool = False,
    progress: Stage | None = None,
    toy_progress: Count | None = None,
) -> tuple[ToySample, tuple[str, ...]]:
    """Draw and fit toys of a workspace into a file, and merge others into it.

    Args:
        workspace: Any pyhf JSON workspace.
        path: The npz file.
        measurement: Name of the measurement; the first one by default.
        toys: How many to draw; none where 0.
        mu: POI to draw them with.
        seed: Their seed.
        merge: Files whose toys are added.
        replace: Whether the toys of an existing file give way to the new ones, once there are
            some; otherwise they are kept, and only missing ones drawn.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).

    Returns:
        All toys of the file, and what is unusual about the workspace.

    Raises:
        InputError: A file of other toys.
        ModelError: The workspace is refused, has no null, is not compiled, or ``mu`` is out of
            bounds.
        FitError: A fit has no certificate.
        UsageError: The file cannot be written.
    """
    fitter = Fitter(ReferenceModel(workspace, measurement))
    sample = toys_model(
        fitter, path, toys=toys, mu=mu, seed=seed, merge=merge, replace=replace,
        workspace_digest=json_digest(workspace), progress=progress, toy_progress=toy_progress,
    )  # fmt: skip
    return sample, tuple(fitter.reference.warnings)


def toys_model(
    fitter: Fitter,
    path: Path,
    *,
    toys: int = 20_000,
    mu: float = 0.0,
    seed: int = 0,
    merge: Sequence[Path] = (),
    replace: bool = False,
    workspace_digest: str = "",
    progress: Stage | None = None,
    toy_progress: Count | None = None,
) -> ToySample:
    """Draw and keep toys of a model that is already built; see :func:`toys_workspace`.

    Args:
        fitter: Of one measurement.
        path: The npz file.
        toys: How many to draw; none where 0.
        mu: POI to draw them with.
        seed: Their seed.
        merge: Files whose toys are added.
        replace: Whether the toys of an existing file give way to the new ones.
        workspace_digest: Kept in the file.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).

    Returns:
        All toys of the file.

    Raises:
        InputError: A file of other toys.
        ModelError: There is no null, the model is not compiled, or ``mu`` is out of bounds.
        FitError: A fit has no certificate.
        UsageError: The file cannot be written.
    """
    say = progress if progress is not None else silent
    fitter.require_null()
    names = [*merge, *([path] if path.exists() and not replace else [])]
    others = {name: load_toys(name) for name in names}
    say(f"fit at mu = {mu:g}")
    source = ToySource.conditional(fitter.require_compiled(), mu)
    # What 'ddphf fit' refuses, such as a POI that another factor copies, has no toys either.
    say("free fit")
    table = fitter.reference.parameters
    fitter.minimize(table.init, table.fixed, "free fit")
    for name, sample in others.items():
        if (sample.fingerprint, sample.mu) != (source.fingerprint, source.mu):
            raise InputError(f"{name}: holds toys of another model, data set or --mu")
    store = path.with_name(f".{path.name}.part") if replace else path
    if store != path:
        store.unlink(missing_ok=True)
    try:
        if others:
            merged = merge_toys(list(others.values()))
            add_toys(dataclasses.replace(merged, workspace_digest=workspace_digest), store)
        if toys:
            toy_ensemble(
                source, toys, seed=seed, store=store, workspace_digest=workspace_digest,
                progress=toy_progress,
            )  # fmt: skip
    finally:
        if store != path and store.exists():
            store.replace(path)
    return load_toys(path)
