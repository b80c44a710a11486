"""Result files that go into a bundle: recognised, refused where another workspace made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import Spec
from ddphf.compute.work import Work
from ddphf.exceptions import InputError
from ddphf.files import parse_json, read_input
from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample
from ddphf.likelihood.patches import PATCH_NAME, Patch
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Count
from ddphf.publish.archive import is_flat
from ddphf.publish.contents import is_named, poi_bounds_of
from ddphf.publish.summaries import stale_record
from ddphf.publish.toy_files import read_toys, segments, summarize_file
from ddphf.results.published import PublishedResults
from ddphf.results.registry import KINDS, Published, check_record, kind_of
from ddphf.workspace_json import Workspace

__all__ = ["GivenFiles", "GivenRecord", "check_given", "read_given", "summarize_given_toys"]


COMPARED_TOYS = 64
"""One toy may be the same for another data set; that many are not."""


@dataclass(frozen=True)
class GivenRecord:
    """A result as it was given.

    Attributes:
        path: Where from.
        data: What is in it.
        content: Its bytes.
    """

    path: str
    data: Spec
    content: bytes


@dataclass(frozen=True)
class GivenFiles:
    """What the command was given beside the workspace.

    Attributes:
        fits: ``ddphf fit`` results by file name.
        others: Other result records by their name in the bundle.
        toys: Toys by file name, with their bytes.
        patches: JSON Patches of further signals by name.
    """

    fits: dict[str, Spec]
    others: dict[str, GivenRecord]
    toys: dict[str, tuple[ToySample, bytes]]
    patches: dict[str, Patch]


def read_given(paths: list[str], digest: str, data_digests: Sequence[str] = ()) -> GivenFiles:
    """Read the files given beside the workspace.

    Args:
        paths: Of ``fit.json``, ``rank.json``, ``toys.npz``, JSON Patches, ...
        digest: ``sha256:...`` of the workspace, which JSON results must state.
        data_digests: Of its data with their binning, one of which a search, and what was learned,
            must state; none where they are not known.

    Raises:
        InputError: A file that cannot be read or is not known, another workspace's, or a name
            twice.
    """
    given = GivenFiles({}, {}, {}, {})
    seen: set[str] = set()
    for path in paths:
        file = Path(path)
        if file.name in seen:
            raise InputError(f"{path}: a file of this name is given already; rename one")
        seen.add(file.name)
        content = read_input(path, path)
        if content[:2] == b"PK":
            name = _free_name(f"{file.stem}.npz", path, given)
            given.toys[name] = (read_toys(content, path), content)
            continue
        data = parse_json(content, path)
        if isinstance(data, list):
            given.patches[_patch_name(path)] = data
            continue
        kind = kind_of(data)
        if kind is None or kind.published is None:
            schema = data.get("schema") if isinstance(data, dict) else None
            raise InputError(
                f"{path}: schema {schema!r}; expected a result of 'ddphf {_commands()}, toys, or "
                "a JSON Patch"
            )
        if not {digest, *data_digests} & set(stated := _digests(data, kind.published)):
            if "data_digest" in kind.published.digests:
                raise InputError(
                    f"{path}: is about other data than those of this workspace, or its sidecar is "
                    "not there to tell; search or test these, or publish the analysis file"
                )
            raise InputError(
                f"{path}: is about the workspace {stated[0]}, this one is {digest}; make it again"
            )
        if not kind.published.included:
            given.fits[path] = data
        else:
            name = f"{kind.name}.json" if f"{kind.name}.json" not in given.others else file.name
            if name in given.others:
                raise InputError(
                    f"{path}: a result of 'ddphf {kind.command}' is given already; rename this file"
                )
            given.others[_free_name(name, path, given)] = GivenRecord(path, data, content)
    return given


def _commands() -> str:
    """Return the commands whose results are taken, as words of a sentence: ``fit' or 'rank'``."""
    names = [kind.command for kind in KINDS if kind.published is not None]
    return "', '".join(names[:-1]) + f"' or '{names[-1]}'"


def _digests(data: Spec, published: Published) -> list[Any]:
    """Return the workspaces that a result is about: an injection's, before and after it."""
    provenance = data.get("provenance")
    keys = published.digests
    return [provenance.get(key) if isinstance(provenance, dict) else None for key in keys]


def _free_name(name: str, path: str, given: GivenFiles) -> str:
    """Return the name of a file in the bundle.

    Raises:
        InputError: It is one that no bundle may hold, or another file's on a system without case.
    """
    taken = {other.lower() for other in (*given.others, *given.toys)}
    if not is_flat(name) or is_named(name.lower()) or is_named(name) or name.lower() in taken:
        raise InputError(
            f"{path}: cannot be '{name}' in a bundle; rename it, with letters, digits, . _ + -"
        )
    return name


def _patch_name(path: str) -> str:
    name = Path(path).stem.removeprefix("patch_")
    if not PATCH_NAME.fullmatch(name) or name == "signal":
        raise InputError(
            f"{path}: the file name names the signal; use letters, digits and underscores, other "
            "than 'signal', which is the one published already"
        )
    return name


def check_given(given: GivenFiles, results: PublishedResults) -> None:
    """Refuse results whose numbers are not those of the certified fits of today.

    Raises:
        InputError: Says which number of which file.
    """
    records = [*given.fits.items(), *((r.path, r.data) for r in given.others.values())]
    for name, data in records:
        kind = kind_of(data)
        assert kind is not None  # read_given took it
        if data.get("engine", "ddphf") != "ddphf":
            raise InputError(
                f"{name}: was made with --engine {data['engine']}, for comparison; make it again "
                "without"
            )
        if trouble := check_record(data):
            raise InputError(
                f"{name}: is no complete result of 'ddphf {kind.command}' ({trouble}); make it "
                "again"
            )
        bounds = poi_bounds_of(data)
        try:
            trouble = stale_record(data, results)
        except (KeyError, TypeError):
            if not bounds:
                raise InputError(
                    f"{name}: is no complete result of 'ddphf {kind.command}'; make it again"
                ) from None
            trouble = "they leave no null"
        if trouble and bounds:
            raise InputError(
                f"{name}: was made with bounds {bounds[0]:g} to {bounds[1]:g} of the POI, and "
                f"those of the workspace matter ({trouble}); write these bounds into its "
                "measurement, or make it again without --poi-bounds"
            )
        if trouble:
            raise InputError(f"{name}: {trouble}; it is stale or was changed, so make it again")


def summarize_given_toys(
    name: str, toys: ToySample, workspace: Workspace, results: PublishedResults,
    progress: Count | None = None,
) -> Spec:  # fmt: skip
    """Return what results.json says about a file of toys, once it belongs to the workspace.

    Raises:
        InputError: Toys of another model, data set or measurement.
    """
    for statement in results.statements:
        fitter = Fitter(ReferenceModel(workspace, statement["measurement"]))
        source = ToySource.conditional(fitter.require_compiled(), toys.mu)
        if not _reproduced(source, toys, progress):
            continue
        return summarize_file(name, toys, statement["measurement"], statement["q0"])
    raise InputError(
        f"{name}: holds toys of another model, data set or measurement; make them again"
    )


def _reproduced(source: ToySource, toys: ToySample, progress: Count | None) -> bool:
    """Whether the first toys drawn here are the recorded ones: fingerprints hold per machine."""
    seed, first, n = segments(toys)[0]
    n = min(n, COMPARED_TOYS)
    again = toy_ensemble(source, n, seed=seed, first=first, work=Work(count=progress))
    return bool(np.allclose(again.q0, toys.q0[:n], rtol=1e-6, atol=1e-6, equal_nan=True))
