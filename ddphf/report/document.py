"""The report: what was tested, how it came out, and what it rests on, from result records alone."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.figures.asymmetry import draw_asymmetry, draw_z_map
from ddphf.figures.lepton_id import (
    draw_lepton_id_correlation,
    draw_lepton_id_spectrum,
    draw_lepton_id_variations,
    relative_variations,
)
from ddphf.figures.parameters import draw_correlations, draw_pulls
from ddphf.figures.spectra import draw_spectra
from ddphf.report import chapters, statement_chapters
from ddphf.report.bumps_chapter import bumps_parts
from ddphf.report.learn_chapter import learn_parts
from ddphf.report.masses_chapter import masses_parts
from ddphf.report.page import Section, draw, facts, note, render_page, text
from ddphf.report.search_chapter import search_parts
from ddphf.report.tables import channel_table
from ddphf.results.fit import FitResult
from ddphf.results.scan import ScanResult
from ddphf.results.yields import YieldsResult

__all__ = ["Materials", "build_report"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Materials:
    """What a report is made of; anything may be missing.

    Attributes:
        digest: Of the workspace that all of it belongs to, where one is known.
        files: Name, kind and SHA-256 of each input.
        workspace: The pyhf workspace.
        summary: What ``ddphf inspect`` says of it.
        sidecar: Its metadata.
        fit: The fit.
        goodness: The fit's ``goodness_of_fit``.
        yields: Expected events.
        ranking: Record of a ranking.
        discover: Record of discovery statements.
        limit: Record of limits.
        scans: Profile scans.
        searches: Records of searches of the same data.
        bumps: Records of scans of mass spectra.
        masses: Record of a mass scan.
        learned: Records of what was learned from the same data.
        toys: Signed Z of toys of the null, NaN where failed.
        warnings: Of the inputs and of reading them.
    """

    digest: str | None = None
    files: tuple[tuple[str, str, str], ...] = ()
    workspace: Record | None = None
    summary: Record | None = None
    sidecar: Record | None = None
    fit: FitResult | None = None
    goodness: Record | None = None
    yields: YieldsResult | None = None
    ranking: Record | None = None
    discover: Record | None = None
    limit: Record | None = None
    scans: tuple[ScanResult, ...] = ()
    searches: tuple[Record, ...] = ()
    bumps: tuple[Record, ...] = ()
    masses: Record | None = None
    learned: tuple[Record, ...] = ()
    toys: np.ndarray[Any, Any] | None = None
    warnings: tuple[str, ...] = field(default=())


def build_report(materials: Materials, *, date: str = "") -> str:
    """Return the page; a chapter without material is left out.

    Args:
        materials: What it is made of.
        date: Of the page, as it is printed; none by default, so that the same materials give the
            same page.

    Example:
        >>> page = build_report(Materials(warnings=("nothing was fitted",)))
        >>> "nothing was fitted" in page, page.count("<section")
        (True, 1)
    """
    name = materials.sidecar.get("name") if materials.sidecar is not None else None
    fit, summary = materials.fit, materials.summary
    measurement = fit.measurement if fit is not None else (summary or {}).get("measurement")
    lead = ", ".join(
        part
        for part in (
            f"measurement {measurement}" if measurement else "",
            f"workspace {materials.digest}" if materials.digest else "",
            date,
        )
        if part
    )
    parts_of = [
        ("tested", "What was tested", _tested(materials)),
        ("result", "Result", _result(materials)),
        ("search", "Search everywhere", search_parts(materials.searches)),
        ("bumps", "Bumps", [p for r in materials.bumps for p in bumps_parts(r)]),
        ("masses", "Mass scan", masses_parts(materials.masses)),
        ("learn", "Learned asymmetry", [p for r in materials.learned for p in learn_parts(r)]),
        ("data", "Data and model", _data(materials)),
        ("fit", "Goodness of fit", chapters.goodness_parts(materials.goodness)),
        ("ranking", "What moves the result", chapters.ranking_parts(materials.ranking)),
        ("pulls", "Pulls and correlations", _pulls(materials)),
        ("lepton-id", "Lepton identification", _lepton_id(materials)),
        ("provenance", "Where the numbers come from", _provenance(materials)),
    ]
    return render_page(
        f"Report: {name}" if name else "Report",
        lead or "no workspace was given",
        [*materials.warnings, *statement_chapters.doubts(materials.fit, materials.goodness)],
        [Section(key, title, parts) for key, title, parts in parts_of if parts],
    )


def _tested(m: Materials) -> list[str]:
    parts: list[str] = []
    pairing = m.sidecar.get("pairing") if m.sidecar is not None else None
    if pairing is not None:
        parts.append(
            text(
                f"{pairing['tested']} was compared with {pairing['partner']}: two samples that the "
                "Standard Model expects to be alike once efficiencies and fakes are accounted for.",
                "The background of each bin is one free parameter shared by the two, so no "
                "simulation of it enters; a signal shows as a difference.",
            )
        )
    if m.summary is None:
        return parts
    rows = []
    for channel in m.summary["channels"]:
        samples = ", ".join(channel["samples"])
        rows.append(
            (f"channel {channel['name']}",
             f"{channel['bins']} bins, {channel['observed']:.10g} events; samples: {samples}")
        )  # fmt: skip
    if m.sidecar is not None:
        for axis in m.sidecar.get("binning", {}).get("axes", ()):
            edges = axis["edges"]
            rows.append(
                (f"axis {axis['label']}",
                 f"{len(edges) - 1} bins, {edges[0]:g} to {edges[-1]:g} {axis['unit']}")
            )  # fmt: skip
    for channel_name, events in m.summary["signal_events"].items():
        rows.append((f"signal in {channel_name}", f"{events:.6g} events at {m.summary['poi']} = 1"))
    parameters = m.summary["parameters"]
    rows.append(("parameters", f"{parameters['total']}, {parameters['free']} free"))
    for kind, names in m.summary["modifiers"].items():
        listed = ", ".join(names[:8]) + (f", ... ({len(names)})" if len(names) > 8 else "")
        rows.append((kind, listed))
    return [*parts, facts("the model", rows)]


def _result(m: Materials) -> list[str]:
    parts = statement_chapters.result_parts(m.fit, m.discover)
    if m.summary is not None and m.summary["signal_events"]:
        events = m.summary["signal_events"].items()
        counted = " and ".join(f"{number:.6g} events in {channel}" for channel, number in events)
        parts.append(text(f"{m.summary['poi']} = 1 means {counted}."))
    parts += statement_chapters.null_parts(m.fit, m.discover, m.toys)
    parts += chapters.limit_parts(m.limit)
    parts += chapters.scan_parts(m.scans)
    return parts


def _data(m: Materials) -> list[str]:
    if m.yields is None:
        return []
    y = m.yields
    parts = [
        channel_table(y).to_html(),
        text(
            "Errors before the fit are the widths of the constraints, and what has none counts as "
            "known; after it they come from the covariance of all parameters.",
        ),
    ]
    channels = ", ".join(channel.name for channel in y.channels)
    for name, caption in (("prefit", "Before the fit"), ("postfit", "After the fit")):
        parts.append(
            draw(
                draw_spectra(y, name, asymmetry=False),
                f"{caption}: data and stacked model of {channels} with the ratio of the two",
                f"{caption}. Points: data with Poisson errors; hatched: error of the model.",
            )
        )
    if y.asymmetry:
        parts.append(
            draw(
                draw_asymmetry(y),
                "Asymmetry of the two channels, data against the fits with and without signal",
                "Asymmetry (B - A) / (B + A) of the two channels, with the fits at mu = 0 and with "
                "the signal. It is not 0 without a signal where efficiencies or fakes differ; "
                "shaded: error of the fit.",
            )
        )
        if len(y.axes) == 2:
            parts.append(
                draw(
                    draw_z_map(y),
                    "Two-dimensional map of the significance of each bin",
                    "Signed square root of the Poisson deviance of both counts of a bin. Without a "
                    "signal it scatters as a standard normal; these are local significances.",
                )
            )
    return parts


def _pulls(m: Materials) -> list[str]:
    if m.yields is None:
        return []
    parts = []
    if m.yields.pulls:
        strongest = max(m.yields.pulls, key=lambda pull: abs(pull.pull))
        parts.append(
            draw(
                draw_pulls(m.yields.pulls),
                f"Pulls of the constrained parameters; the largest is {strongest.name} with "
                f"{strongest.pull:.2f}",
                "Fitted values in units of the constraint; per-bin parameters are left out. A bar "
                "shorter than 1: the data constrain the parameter further.",
            )
        )
    correlations = m.yields.correlations
    if correlations is not None and len(correlations["names"]) > 1:
        parts.append(
            draw(
                draw_correlations(correlations),
                "Correlation matrix of the fitted parameters",
                "Correlations after the fit, per-bin parameters eliminated.",
            )
        )
    return parts


def _lepton_id(m: Materials) -> list[str]:
    if m.sidecar is None or "lepton_id" not in m.sidecar or m.workspace is None:
        return []
    entry = m.sidecar["lepton_id"]
    if not entry["kept"]:
        return [text("The maps have no errors, or none that matter: no eigen-variations.")]
    variations = relative_variations(m.workspace, entry["kept"])
    felt = "ratio_variances" in entry  # older sidecars are ordered by the eigenvalues of C
    total = len(entry["ratio_variances" if felt else "eigenvalues"])
    kept = len(entry["kept"])
    share = (
        f"{entry['ratio_retained']:.2%} of the ratio's variance in units of its statistical one"
        if felt
        else f"{entry['retained']:.2%} of its trace"
    )
    figures = (
        (draw_lepton_id_spectrum, "Size of the lepton-ID eigen-variations, kept and dropped",
         "Each kept eigen-variation is one nuisance parameter shared by all that it touches."),
        (draw_lepton_id_correlation, "Correlation of the lepton-ID error between all template bins",
         "Correlation between the template bins of both channels."),
        (draw_lepton_id_variations, "The largest eigen-variations of each channel",
         "Change of the symmetric background per standard deviation."),
    )  # fmt: skip
    return [
        text(
            f"The covariance of {entry['covariance']['calibration_bins']} calibration bins "
            f"({entry['covariance']['model']}) has {total} eigen-variations; the {kept} kept hold "
            f"{share}, the others are {entry['residual']}. Largest "
            f"relative error of a bin: {entry['largest_sigma']:.2%}."
        ),
        *(draw(make(variations, m.sidecar), alt, caption) for make, alt, caption in figures),
    ]


def _provenance(m: Materials) -> list[str]:
    rows: list[tuple[str, str]] = []
    if m.digest is not None:
        rows.append(("workspace", m.digest))
    if m.fit is not None:
        certificate = m.fit.fit.certificate
        rows += [
            ("engine", m.fit.engine),
            ("2NLL", f"{m.fit.fit.twice_nll:.9f}; by pyhf {certificate.twice_nll_pyhf:.9f}"),
            (
                "certificate",
                f"estimated distance to the minimum (EDM) {certificate.edm:.1e} in 2NLL",
            ),
        ]
        versions = m.fit.provenance.get("versions", {})
        if isinstance(versions, Mapping):
            rows.append(("versions", ", ".join(f"{k} {v}" for k, v in sorted(versions.items()))))
    parts = [facts("identity", rows)] if rows else []
    if m.files:
        parts.append(facts("files", ((n, f"{kind}, sha256 {sha}") for n, kind, sha in m.files)))
    measurement = m.fit.measurement if m.fit is not None else "discovery"
    names = [x["name"] for x in m.workspace["measurements"]] if m.workspace is not None else []
    if f"{measurement}_null" in names:
        parts += [note("The same numbers by plain pyhf"), _pyhf(measurement)]
    return parts or [text("No file with provenance was given.")]


def _pyhf(measurement: str) -> str:
    lines = (
        f"pyhf fit workspace.json --value --measurement {measurement}       # 2NLL with signal\n"
        f"pyhf fit workspace.json --value --measurement {measurement}_null  # 2NLL without; the "
        "difference is |q0|"
    )
    return f"<pre>{html.escape(lines)}</pre>"
