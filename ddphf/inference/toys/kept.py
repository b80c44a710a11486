"""The toys of a workspace that a file keeps: drawn, resumed, and merged with those of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError, UsageError
from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.shards import check_shard, join_shards
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample, add_toys, load_toys, merge_toys
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.provenance import json_digest

__all__ = ["toys_model", "toys_workspace"]


class Wanted(TypedDict, total=False):
    """Which toys a file shall hold.

    Attributes:
        toys: How many to draw, 20 000 by default; none where 0.
        mu: POI to draw them with; 0.
        seed: Their seed; 0.
        merge: Files whose toys are added; shards of one run among themselves. What they lack is
            refused, unless ``toys`` and ``seed`` are theirs: then it is drawn.
        shard: (i, n): draw part i of n of the toys.
        replace: Whether the toys of an existing file give way to the new ones, once there are
            some; otherwise they are kept, and only missing ones drawn.
    """

    toys: int
    mu: float
    seed: int
    merge: Sequence[Path]
    shard: tuple[int, int] | None
    replace: bool


def toys_workspace(
    workspace: Mapping[str, object], path: Path, *, measurement: str | None = None,
    work: Work = HERE, **wanted: Unpack[Wanted],
) -> tuple[ToySample, tuple[str, ...]]:  # fmt: skip
    """Draw and fit toys of a workspace into a file, and merge others into it.

    Args:
        workspace: Any pyhf JSON workspace.
        path: The npz file.
        measurement: Name of the measurement; the first one by default.
        work: Where long work is done; counts toys.
        wanted: See :class:`Wanted`.

    Returns:
        All toys of the file, and what is unusual about the workspace.

    Raises:
        InputError: A file of other toys.
        ModelError: The workspace is refused, has no null, is not compiled, or ``mu`` is out of
            bounds.
        FitError: A fit has no certificate.
        UsageError: The file cannot be written, there is no such shard, or other toys than those
            that merged shards lack would be drawn.
    """
    fitter = Fitter(ReferenceModel(workspace, measurement))
    digest = json_digest(workspace)
    sample, said = toys_model(fitter, path, workspace_digest=digest, work=work, **wanted)
    return sample, (*fitter.reference.warnings, *said)


def toys_model(
    fitter: Fitter, path: Path, *, toys: int = 20_000, mu: float = 0.0, seed: int = 0,
    merge: Sequence[Path] = (), shard: tuple[int, int] | None = None, replace: bool = False,
    workspace_digest: str = "", work: Work = HERE,
) -> tuple[ToySample, tuple[str, ...]]:  # fmt: skip
    """Draw and keep toys of a model that is already built; see :func:`toys_workspace`.

    The keywords are those of :class:`Wanted`, the digest that is kept in the file, and the work.
    """
    say = work.say
    own = None if shard is None else check_shard(*shard, toys)
    fitter.require_null()
    others = {str(name): load_toys(name) for name in merge}
    old = load_toys(path) if path.exists() and not replace else None
    say(f"fit at mu = {mu:g}")
    source = ToySource.conditional(fitter.require_compiled(), mu)
    # What 'ddphf fit' refuses, such as a POI that another factor copies, has no toys either.
    say("free fit")
    table = fitter.reference.parameters
    said = fitter.minimize(table.init, table.fixed, "free fit").warnings
    for name, sample in (others if old is None else {**others, str(path): old}).items():
        if (sample.fingerprint, sample.mu) != (source.fingerprint, source.mu):
            raise InputError(
                f"{name}: holds toys of another model, data set or --mu; draw them again from "
                "this workspace"
            )
    if old is not None and old.shard != own:
        raise InputError(
            f"{path}: holds {old.shard or 'toys of a whole ensemble'}; give the same --shard "
            "and --toys as before, or another --output"
        )
    together = [] if old is None else [old]
    if others:
        together = [join_shards(others, whole=not _completes(toys, seed, others)), *together]
    store = path.with_name(f".{path.name}.part") if replace else path
    if store != path:
        store.unlink(missing_ok=True)
    try:
        if together:
            merged = merge_toys(together)
            add_toys(dataclasses.replace(merged, workspace_digest=workspace_digest), store)
        if toys:
            part = range(toys) if own is None else own.toys
            toy_ensemble(
                source, len(part), seed=seed, first=part.start, store=store, shard=own,
                workspace_digest=workspace_digest, work=work,
            )  # fmt: skip
    finally:
        if store != path and store.exists():
            store.replace(path)
    return load_toys(path), said


def _completes(toys: int, seed: int, others: Mapping[str, ToySample]) -> bool:
    """Whether toys that are drawn are those that shards may lack.

    Raises:
        UsageError: They would be others.
    """
    for name, sample in others.items():
        if sample.shard is not None and toys:
            if (toys, seed) != (sample.shard.total, int(sample.seed[0])):
                raise UsageError(
                    f"--toys {toys} --seed {seed}: {name} is {sample.shard} of seed "
                    f"{sample.seed[0]}; give --toys 0 to merge, or that --toys and --seed to draw "
                    "what is missing"
                )
            return True
    return False
