"""``ddphf publish``: a workspace, its results and the proof of both in one archive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddphf.arrays import Spec
from ddphf.cli.build import build_document, metadata_path
from ddphf.cli.common import force_option, print_summary, print_warnings, progress_line
from ddphf.cli.publish_scan import is_scan_source, publish_scan, submit_scan
from ddphf.cli.sidecar import check_sidecar
from ddphf.cli.verify import make_table
from ddphf.exceptions import InputError, UsageError
from ddphf.files import read_input, read_json
from ddphf.outputs import Outputs
from ddphf.workspace_json import Workspace

if TYPE_CHECKING:
    from ddphf.progress import Stage
    from ddphf.results.verified import VerifyResult

__all__ = ["command"]


LEVEL = 2
"""What a bundle must pass before it is written."""

SECONDS = 20.0
"""Time of one fit by a stock optimizer meanwhile."""


@dataclass(frozen=True)
class _Source:
    """What is published, from an analysis file or from a workspace."""

    workspace: Workspace
    metadata: Spec | None
    covariance: Spec | None
    warnings: tuple[str, ...]


@click.command("publish")
@click.argument("source")
@click.argument("results", nargs=-1)
@click.option("-o", "--output", required=True, metavar="FILE", help="NAME.tar.gz to write.")
@click.option("--name", help="Of the publication; that of the analysis by default.")
@click.option("--inspire", metavar="ID", help="Such as ins1234567: adds a pyhf patchset.")
@click.option(
    "--license", "license_", metavar="FILE", help="Terms of use; CC0 1.0 for the data by default."
)
@click.option("--citation", metavar="FILE", help="CITATION.cff; a plain one by default.")
@force_option
def command(
    source: str, results: tuple[str, ...], output: str, name: str | None, inspire: str | None,
    license_: str | None, citation: str | None, force: bool,
) -> None:  # fmt: skip
    """Publish SOURCE, an analysis file (.yml) or a pyhf workspace (.json), with its RESULTS.

    RESULTS are files of `ddphf fit`, `toys`, `rank`, `discover`, `limit`, `scan`, `inject`,
    `search pair` and `learn`, and JSON Patches of further signals. SOURCE may be a mass scan
    too, its file or a background-only workspace; then RESULTS are that of `ddphf masses`, and
    the patchset of the workspace. Everything is fitted again; nothing is written unless it
    verifies. Beside NAME.tar.gz goes the submission NAME.hepdata.tar.gz.

    Example: ddphf publish analysis.yml fit.json -o pair.tar.gz
    """
    bundle = Path(output)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,80}\.tar\.gz", bundle.name):
        raise UsageError(f"-o {output}: expected NAME.tar.gz, of letters, digits, . _ + -")
    submission = bundle.with_name(bundle.name.removesuffix(".tar.gz") + ".hepdata.tar.gz")
    outputs = Outputs(
        [output, submission], inputs=[source, *results, license_, citation], force=force
    )
    scan = is_scan_source(source, results)
    with progress_line() as say:
        say("reading")
        from ddphf.likelihood.patches import check_inspire

        if inspire is not None:
            check_inspire(inspire)
        texts = [None if path is None else _read_text(path) for path in (license_, citation)]
        made = (_publish_scan if scan else _publish)(
            source, results, output, name, inspire, texts, say
        )
    print_warnings(made.warnings)
    with outputs:
        outputs.write_bytes(output, made.packed)
        outputs.write_bytes(submission, made.submitted)
    print_summary(make_table(made.verified))
    print_summary(
        f"{output}: {made.files} files, {len(made.packed) / 1e6:.2f} MB; {submission}: "
        f"{len(made.submitted) / 1e6:.2f} MB"
    )


@dataclass(frozen=True)
class _Made:
    """What is written: bundle, submission, and how it verified."""

    files: int
    packed: bytes
    submitted: bytes
    verified: VerifyResult
    warnings: tuple[str, ...]


def _publish_scan(
    source: str, results: Sequence[str], output: str, name: str | None, inspire: str | None,
    texts: Sequence[str | None], say: Stage,
) -> _Made:  # fmt: skip
    from ddphf.publish.bundle import make_archive
    from ddphf.publish.scan_bundle import make_scan_files

    if name is not None:
        _check_name(name)
    publication = publish_scan(
        source, results, name=name, inspire=inspire, license=texts[0], citation=texts[1], say=say
    )
    say("minima")
    files = make_scan_files(publication)
    packed, verified = make_archive(files, level=LEVEL, seconds=SECONDS, progress=say)
    say("HEPData submission")
    submitted, notes = submit_scan(publication, output, packed)
    return _Made(len(files), packed, submitted, verified, tuple(notes))


def _publish(
    source: str, results: Sequence[str], output: str, name: str | None, inspire: str | None,
    texts: Sequence[str | None], say: Stage,
) -> _Made:  # fmt: skip
    from ddphf.publish.bundle import Publication, foreign_metadata, make_archive, make_files
    from ddphf.publish.hepdata import make_submission
    from ddphf.publish.included import read_given, summarize_given_toys
    from ddphf.publish.points import collect_results
    from ddphf.publish.summaries import publishing_of
    from ddphf.results.measured import Declared
    from ddphf.results.provenance import digests_of_data
    from ddphf.results.registry import known_part

    found = _read_source(source)
    workspace, warnings = found.workspace, list(found.warnings)
    label = _name(name, found, source)
    metadata = found.metadata
    if metadata is None:
        metadata = foreign_metadata(workspace, label)
    about = digests_of_data(workspace, found.metadata)
    given = read_given(list(results), metadata["workspace_digest"], about)
    others = [(record.path, record.data) for record in given.others.values()]
    for path, data in ((metadata_path(source), metadata), *given.fits.items(), *others):
        if said := known_part(data)[1]:
            warnings.append(f"{path}: {said}")
    for path, data in others:
        if publishing_of(data).attach:
            labels = data.get("labels") or {}
            n = labels.get("n_tested", 0) + labels.get("n_partner", 0)
            warnings.append(
                f"{path}: variables, probabilities and labels of its {n} events go into the "
                "bundle, so that 'ddphf verify' can redo it; leave it out if they are secret"
            )
    declared = Declared.of(found.metadata)
    collected = collect_results(workspace, name=label, declared=declared, progress=say)
    say("toys")
    toys = tuple(
        summarize_given_toys(file, sample, workspace, collected)
        for file, (sample, _) in given.toys.items()
    )
    say("figures")
    publication = Publication(
        workspace=workspace, metadata=metadata, results=collected, given=given, toys=toys,
        figures=_draw(workspace, metadata, collected), covariance=found.covariance,
        inspire=inspire, license=texts[0], citation=texts[1],
    )  # fmt: skip
    files = make_files(publication)
    packed, verified = make_archive(files, level=LEVEL, seconds=SECONDS, progress=say)
    say("HEPData submission")
    submitted, notes = make_submission(publication, Path(output).name, packed)
    every = (*warnings, *collected.warnings, *notes)
    return _Made(len(files), packed, submitted, verified, every)


def _read_text(path: str) -> str:
    from ddphf.publish.contents import is_text

    content = read_input(path, path)
    if not is_text(content):
        raise InputError(
            f"{path}: is no text (UTF-8 without control characters); readers print it on a terminal"
        )
    return content.decode()


def _read_source(source: str) -> _Source:
    if source.endswith((".yml", ".yaml")):
        from ddphf.config.documents import read_document
        from ddphf.config.ratio import RatioConfig
        from ddphf.results.documents import CovarianceDocument
        from ddphf.symmetry.load import load_pair
        from ddphf.workspace.build import build_workspace

        config = read_document(source)
        if isinstance(config, RatioConfig):
            ratio = build_document(config)
            return _Source(ratio.workspace, ratio.metadata, None, ratio.warnings)
        pair = load_pair(config)
        built = build_workspace(pair, signal_scale=config.signal_scale, name=config.name)
        covariance = None
        if pair.lepton_id is not None:
            found = pair.lepton_id.covariance
            covariance = {
                "schema": CovarianceDocument.SCHEMA,
                "labels": list(found.labels),
                "matrix": [[float(x) for x in row] for row in found.matrix],
            }
        return _Source(built.workspace, built.metadata, covariance, built.warnings)
    from ddphf.likelihood.schemas import check_schema
    from ddphf.results.provenance import json_digest

    workspace = read_json(source)
    check_schema(workspace)
    sidecar = metadata_path(source)
    if source == "-" or not sidecar.is_file():
        return _Source(workspace, None, None, ())
    metadata = read_json(str(sidecar))
    digest = json_digest(workspace)
    if not isinstance(metadata, dict) or metadata.get("workspace_digest") != digest:
        raise InputError(
            f"{sidecar}: belongs to another workspace; build it again, or move the sidecar away"
        )
    check_sidecar(metadata, str(sidecar), workspace)
    return _Source(workspace, metadata, None, ())


def _name(name: str | None, found: _Source, source: str) -> str:
    if name is not None:
        return _check_name(name)
    if found.metadata is not None:
        return str(found.metadata.get("name", Path(source).stem))
    return "workspace" if source == "-" else Path(source).stem


def _check_name(name: str) -> str:
    from ddphf.results.published import PRINTABLE

    if not (PRINTABLE.fullmatch(name) and name.isprintable()):
        raise UsageError(
            "--name: expected up to 100 characters on one line, no vertical bars or backticks"
        )
    return name


def _draw(workspace: Workspace, metadata: Spec, results: Any) -> dict[str, bytes]:
    """Return pre- and post-fit spectra as PNG."""
    from ddphf.figures.spectra import draw_spectra
    from ddphf.figures.style import figure_bytes
    from ddphf.inference.yields import predict_yields
    from ddphf.results.fit import FitResult
    from ddphf.results.registry import known_part

    point = results.points[0]
    fit = FitResult(point.measurement, "ddphf", None, point.minimum, None, None, None)
    known = known_part(metadata)[0]
    axes = known.get("binning", {}).get("axes", ())
    yields = predict_yields(workspace, fit, axes=axes, pairing=known.get("pairing"))
    kinds = ("prefit", "postfit")
    return {f"{kind}.png": figure_bytes(draw_spectra(yields, kind), "png") for kind in kinds}
