"""What goes into a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from ddphf.arrays import Spec
from ddphf.exceptions import FitError, InputError
from ddphf.files import to_json
from ddphf.likelihood.patches import apply_patch, make_patchset, split_signal
from ddphf.progress import Stage
from ddphf.publish.archive import pack
from ddphf.publish.clean_venv import make_requirements
from ddphf.publish.contents import SUMS, make_sums
from ddphf.publish.included import GivenFiles, check_given
from ddphf.publish.readme import make_readme
from ddphf.publish.summaries import publishing_of, summarize_record
from ddphf.publish.verify import verify_archive
from ddphf.results.documents import ForeignDocument
from ddphf.results.provenance import json_digest
from ddphf.results.published import PublishedResults
from ddphf.results.registry import load_function
from ddphf.results.verified import VerifyResult
from ddphf.workspace_json import Workspace

__all__ = [
    "SCAN_LICENSE", "Publication", "foreign_metadata", "make_archive", "make_citation",
    "make_files",
]  # fmt: skip


WAIVED = """To the extent possible under law, the authors have waived all copyright and related or
neighbouring rights to the data of this archive: Creative Commons CC0 1.0 Universal,
https://creativecommons.org/publicdomain/zero/1.0/legalcode

"""
LICENSE = f"""{WAIVED}verify_stock.py is part of ddphf: BSD-3-Clause, \
https://opensource.org/license/bsd-3-clause
"""
SCAN_LICENSE = f"""{WAIVED}verify_scan.py and make_workspace.py are part of ddphf: BSD-3-Clause,
https://opensource.org/license/bsd-3-clause
"""


@dataclass(frozen=True)
class Publication:
    """What is published.

    Attributes:
        workspace: The pyhf workspace.
        metadata: Its sidecar, or that of :func:`foreign_metadata`.
        results: Certified points and statements.
        given: Other results.
        toys: What results.json says about given toys.
        figures: PNG by file name.
        covariance: ``labels`` and ``matrix`` of the calibration bins, or None.
        inspire: INSPIRE id, or None.
        license: Text, or None for CC0.
        citation: Text of CITATION.cff, or None for a plain one.
    """

    workspace: Workspace
    metadata: Spec
    results: PublishedResults
    given: GivenFiles = field(default_factory=lambda: GivenFiles({}, {}, {}, {}))
    toys: tuple[Spec, ...] = ()
    figures: dict[str, bytes] = field(default_factory=dict)
    covariance: Spec | None = None
    inspire: str | None = None
    license: str | None = None
    citation: str | None = None


def foreign_metadata(workspace: Workspace, name: str) -> Spec:
    """Return what can be said about a workspace that ``ddphf build`` did not make.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> foreign_metadata(workspace, "x")["modifiers"]
        {'mu': ['normfactor'], 'uncorr_bkguncrt': ['shapesys']}
    """
    kinds: dict[str, set[str]] = {}
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                kinds.setdefault(modifier["name"], set()).add(modifier["type"])
    return {
        "schema": ForeignDocument.SCHEMA,
        "name": name,
        "workspace_digest": json_digest(workspace),
        "modifiers": {modifier: sorted(kinds[modifier]) for modifier in sorted(kinds)},
        "poi": workspace["measurements"][0]["config"]["poi"],
    }


def make_files(publication: Publication) -> dict[str, bytes]:
    """Return the files of the bundle by name.

    Raises:
        InputError: A given result is stale, or a given patch does not fit.
    """
    results, given, workspace = publication.results, publication.given, publication.workspace
    toys = list(publication.toys)
    check_given(given, results)
    for fit in given.fits.values():
        drawn = (fit.get("discovery") or {}).get("toys")
        if drawn is not None:
            toys.append(
                {"file": None, "measurement": fit["measurement"], "mu": 0.0,
                 "q0": fit["discovery"]["q0"],
                 "versions": fit["provenance"].get("versions"), **drawn}
            )  # fmt: skip
    results = replace(
        results,
        toys=tuple(toys),
        included=tuple(
            summarize_record(name, record.data) for name, record in sorted(given.others.items())
        ),
    )
    files = {"workspace.json": _json(workspace), "results.json": _json(results.to_dict())}
    files |= {name: record.content for name, record in given.others.items()}
    files |= {name: content for name, (_, content) in given.toys.items()}
    for name, record in given.others.items():
        if attach := publishing_of(record.data).attach:
            beside = summarize_record(name, record.data)["events"]
            files[beside] = load_function(attach)(record.data, record.path)
    files |= publication.figures
    files |= _signals(publication)
    metadata = dict(publication.metadata)
    if publication.covariance is not None:
        files["covariance.json"] = _json(publication.covariance)
        metadata["covariance_matrix"] = {
            "file": "covariance.json",
            "bins": len(publication.covariance["matrix"]),
            "digest": json_digest(publication.covariance),
        }
    files["metadata.json"] = _json(metadata)
    files["requirements.txt"] = make_requirements(results.environment["versions"]).encode()
    files["verify_stock.py"] = Path(__file__).with_name("verify_stock.py").read_bytes()
    files["LICENSE"] = (publication.license or LICENSE).encode()
    files["CITATION.cff"] = (
        publication.citation or make_citation(results.name, results.environment["versions"])
    ).encode()
    files["README.md"] = make_readme(files, workspace, metadata, results).encode()
    files[SUMS] = make_sums(files)
    return files


def _json(data: Mapping[str, object]) -> bytes:
    return to_json(data).encode()


def _signals(publication: Publication) -> dict[str, bytes]:
    measured = publication.results.measured and not publication.results.statements
    split = None if measured else split_signal(publication.workspace)
    if split is None:
        if publication.given.patches or publication.inspire is not None:
            raise InputError(
                "this workspace has no signal that can be taken out of it (a POI that scales "
                "samples beside others), so there are no patches; leave them and --inspire out"
            )
        return {}
    background, patch = split
    for name, steps in publication.given.patches.items():
        apply_patch(background, steps, name=f"patch '{name}'")
    patches = {"signal": patch, **publication.given.patches}
    files = {"BkgOnly.json": _json(background)}
    for name, steps in patches.items():
        files[f"patch_{name}.json"] = (to_json(steps)).encode()
    if publication.inspire is not None:
        patchset = make_patchset(
            background, sorted(patches.items()), inspire=publication.inspire,
            description=f"Signals of {publication.results.name}",
        )  # fmt: skip
        files["patchset.json"] = _json(patchset)
    return files


def make_citation(name: str, versions: Mapping[str, str]) -> str:
    """Return a plain CITATION.cff of a publication."""
    data = {
        "cff-version": "1.2.0",
        "message": "If you use these numbers, please cite their publication, and pyhf.",
        "type": "dataset",
        "title": f"Statistical model: {name}",
        "authors": [{"name": "The authors of this analysis"}],
        "license": "CC0-1.0",
        "references": [
            {
                "type": "software",
                "title": f"pyhf v{versions['pyhf']}",
                "authors": [
                    {"family-names": "Heinrich", "given-names": "Lukas"},
                    {"family-names": "Feickert", "given-names": "Matthew"},
                    {"family-names": "Stark", "given-names": "Giordon"},
                ],
                "doi": "10.5281/zenodo.1169739",
            }
        ],
    }
    return str(yaml.safe_dump(data, sort_keys=False))


def make_archive(
    files: dict[str, bytes], *, level: int, seconds: float, progress: Stage | None = None
) -> tuple[bytes, VerifyResult]:
    """Pack a bundle and verify the bytes.

    Raises:
        FitError: It does not verify.
    """
    packed = pack(files)
    result = verify_archive(
        packed, level=level, seconds=seconds, name="bundle", progress=progress, records=True
    )
    if not result.passed:
        found = "; ".join(f"level {c.level}, {c.what}: {c.status} {c.detail}".strip()
                          for c in result.failures)  # fmt: skip
        raise FitError(f"not published, the bundle does not verify: {found}")
    return packed, result
