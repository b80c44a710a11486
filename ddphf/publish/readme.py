"""README.md of a bundle: what the files are, the commands, and the numbers they must print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from ddphf.arrays import Spec
from ddphf.publish.markdown import cell, code, prose, tail
from ddphf.publish.measured import lines_of_measured
from ddphf.publish.summaries import publishing_of
from ddphf.results.learn import EVENTS_FILE
from ddphf.results.provenance import read_mark
from ddphf.results.published import PublishedResults
from ddphf.results.registry import KINDS, load_function
from ddphf.text import clean_text
from ddphf.workspace_json import Workspace

__all__ = ["make_readme", "print_numbers"]


FILES = {
    "workspace.json": "the pyhf workspace (schema 1.0.0), complete",
    "BkgOnly.json": "the same without the signal",
    "patchset.json": "the signals as a pyhf patchset",
    "results.json": "every minimum with all parameters (they read back to the last bit), 2NLL, q0, "
    "p0, certificates, versions",
    "metadata.json": "bin edges, pairing, source of every modifier, covariance, signal scale",
    "covariance.json": "relative covariance of the lepton-ID calibration bins",
    "verify_stock.py": "checks this bundle; needs pyhf alone",
    "requirements.txt": "the versions the numbers were made with",
    "SHA256SUMS": "checksums, for `sha256sum -c SHA256SUMS`",
    "LICENSE": "terms of use",
    "CITATION.cff": "how to cite",
    **{f"{kind.name}.json": kind.published.about for kind in KINDS if kind.published is not None},
    "prefit.png": "spectra before the fit",
    "postfit.png": "spectra after the fit",
}  # fmt: skip


def make_readme(
    files: Mapping[str, bytes], workspace: Workspace, metadata: Spec, results: PublishedResults
) -> str:
    """Return README.md.

    Args:
        files: The other files of the bundle.
        workspace: The workspace.
        metadata: Its sidecar.
        results: What is published.
    """
    parts = [
        f"# {prose(results.name)}",
        "A statistical model as a [pyhf](https://github.com/scikit-hep/pyhf) workspace with the "
        f"numbers that it gives: {_sizes(results)}. Workspace digest\n"
        f"`{results.workspace_digest}`.",
        _table(files),
        _reproduce(files, results, workspace),
        _python(results),
        _meaning(workspace, metadata, results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sizes(results: PublishedResults) -> str:
    channels = ", ".join(f"{prose(c['name'])} ({c['bins']} bins)" for c in results.channels)
    return f"{channels}; {len(results.points[0].minimum.parameters)} parameters"


def _table(files: Mapping[str, bytes]) -> str:
    rows = ["| file | what |", "| --- | --- |"]
    for name in sorted({*files, "SHA256SUMS"}):
        if name in FILES:
            what = FILES[name]
        elif name.startswith("patch_"):
            signal = name.removeprefix("patch_").removesuffix(".json")
            what = f"JSON Patch: the signal `{signal}` on BkgOnly.json"
        elif EVENTS_FILE.fullmatch(name):
            what = "events of what was learned: variables, probabilities, labels"
        elif name.endswith(".npz"):
            what = "toys: signed q0, mu_hat and status of each"
        else:
            what = "result record"
        rows.append(f"| `{name}` | {what} |")
    return "\n".join(rows)


def print_numbers(results: PublishedResults) -> str:
    """Return what verify_stock.py prints."""
    lines = [f"2NLL  {clean_text(p.name):40s} {p.minimum.twice_nll:20.5f}" for p in results.points]
    for s in results.statements:
        name = clean_text(s["measurement"])
        lines.append(f"q0    {name:40s} {s['q0'] + 0.0:20.5f}")
        lines.append(f"Z     {name:40s} {s['z0'] + 0.0:20.5f}")
    return "\n".join([*lines, "PASS"])


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _reproduce(files: Mapping[str, bytes], results: PublishedResults, workspace: Workspace) -> str:
    rows = ["| command | `twice_nll` |", "| --- | --- |"]
    names = []
    for point in results.points:
        if point.poi_value is None:
            measurement = shlex.quote(point.measurement)
            command = f"pyhf fit --value --measurement {measurement} workspace.json"
            rows.append(f"| {cell(command)} | {point.minimum.twice_nll:.5f} |")
            names.append(measurement)
    if "patch_signal.json" in files:
        command = f"pyhf fit --value --measurement {names[0]} BkgOnly.json -p patch_signal.json"
        rows.append(f"| {cell(command)} | {results.points[0].minimum.twice_nll:.5f} |")
    mark = read_mark(workspace)
    local = "" if mark is None else f", local: {mark.describe()}"
    differences = [
        f"The difference of {code(s['null'])} and {code(s['point'])} is |q0| = "
        f"{abs(s['q0']):.5f}, Z = sgn(mu_hat) sqrt|q0| = {s['z0'] + 0.0:.5f}{local}."
        for s in results.statements
    ]
    return "\n".join([
        "## Reproduce it with plain pyhf",
        "",
        _indent("python3 -I -m venv venv\n"
                "venv/bin/python -I -m pip install --only-binary :all: -r requirements.txt\n"
                "venv/bin/python -I verify_stock.py"),
        "",
        "(`-I` keeps Python from importing modules out of this folder: a `hashlib.py` that",
        "somebody put here would run on your machine)",
        "",
        "evaluates -2 ln L at the recorded parameters and must print, to the digits shown,",
        "",
        _indent(print_numbers(results)),
        "",
        "`verify_stock.py --fit` also lets pyhf's optimizer start there: it must find no lower",
        "value. `pyhf digest workspace.json` must print the digest above. Fits from scratch by the",
        "command line (set `OPENBLAS_NUM_THREADS=1`, SLSQP is many times slower otherwise):",
        "",
        *rows,
        "",
        *differences,
        "",
        "A fit from scratch may stop above these values, by .01 or more where there are hundreds",
        "of parameters, or take minutes: that is the optimizer, and starting at the recorded point",
        "gives the value. It must not stop below by more than .001, unless at a point with a",
        "negative expected rate, which is no probability (pyhf does not forbid them).",
    ])  # fmt: skip


def _python(results: PublishedResults) -> str:
    label = clean_text(results.points[0].name).replace("`", "'")
    code = f"""# python -I, for the same reason
import json, pyhf
workspace = pyhf.Workspace(json.load(open("workspace.json")))
point = json.load(open("results.json"))["points"][0]      # {label}
model = workspace.model(measurement_name=point["measurement"])
values = {{p["name"]: p["value"] for p in point["parameters"]}}
parameters = [values[name] for name in model.config.par_names]
print(-2 * model.logpdf(parameters, workspace.data(model))[0])"""
    return (
        "In Python, with the parameters by name (pyhf orders them by type):\n\n"
        f"```python\n{code}\n```\n\nprints {results.points[0].minimum.twice_nll:.5f}."
    )


def _meaning(workspace: Workspace, metadata: Spec, results: PublishedResults) -> str:
    lines = ["## What the numbers mean", ""]
    for point in results.points:
        poi = next((p for p in point.minimum.parameters if p.name == point.poi), None)
        if poi is not None and poi.error:
            lines.append(
                f"- {code(point.name)}: {prose(poi.name)} = {poi.value:.6g} +- {poi.error:.3g}"
            )
    for entry in results.measured:
        lines += lines_of_measured(entry)
    signal = metadata.get("signal", {})
    if "scale" in signal:
        events = sum(signal["events_at_mu_1"].values())
        lines.append(
            f"- mu = 1 is {events:.6g} signal events: the stated signal times {signal['scale']:g}."
        )
    pairing = metadata.get("pairing")
    if pairing is not None:
        lines.append(
            f"- {code(pairing['tested'])} is tested for a signal; {code(pairing['partner'])} "
            "tells its background, one free number per bin that both share (`symmetric_shape`)."
        )
    learned = metadata.get("learned")
    if learned is not None:
        lines.append(
            f"- The signal is a template that was learned from {learned['learned_from']} events of "
            f"the same samples, none of which is among the {learned['tested_on']} that it is "
            "tested on."
        )
    names = [m["name"] for m in workspace["measurements"]]
    if "known_background" in names:
        lines.append(
            "- `known_background` holds the background at its known truth, which only simulation "
            "has."
        )
    lines += [_toys(entry) for entry in results.toys]
    lines += [line for entry in results.included for line in _lines(entry)]
    versions = results.environment["versions"]
    made = ", ".join(f"{k} {versions[k]}" for k in ("ddphf", "pyhf", "numpy", "scipy", "python"))
    codes = ", ".join(f"{kind} {code}" for kind, code in sorted(results.interpolation.items()))
    lines += [
        f"- Interpolation: {codes}, which is what `pyhf fit` uses. Made with {made}.",
        ("- q0 is signed: negative for a deficit. " if results.statements else "- ")
        + "2NLL includes constants and constraint terms.",
    ]
    lines += [f"- Warning of the fit: {prose(line)}" for line in results.warnings]
    return "\n".join(lines)


def _lines(entry: Spec) -> list[str]:
    """Return what a record beside results.json says, as lines of a list."""
    name = publishing_of(entry).lines
    lines: list[str] = load_function(name)(f"- `{entry['name']}`", entry) if name else []
    return lines


def _toys(toys: Spec) -> str:
    seeds = toys["seeds"] if "seeds" in toys else [{"seed": toys["seed"]}]
    which = ", ".join(str(entry["seed"]) for entry in seeds[:5]) + (", ..." if seeds[5:] else "")
    line = (
        f"- {toys['n']} toys of {code(toys['measurement'])} at mu = {toys['mu']:g} "
        f"({toys['file'] or 'of the fit'}, seed {which}): "
        f"{toys['n_ge']} with q0 at or above the observed one, {toys['n_failed']} failed"
    )
    return line + (f"; {tail(toys)}." if "p0" in toys else ".")
