"""README.md of the bundle of a mass scan: files, commands, and the numbers they must print."""

from __future__ import annotations

from collections.abc import Mapping

from ddphf.arrays import Spec
from ddphf.publish.markdown import code, number, prose
from ddphf.text import clean_text

__all__ = ["make_scan_readme", "scan_numbers"]

FILES = {
    "BkgOnly.json": "the pyhf workspace without a signal, common to all hypotheses",
    "patchset.json": "a pyhf patchset: one patch per hypothesis",
    "scan.npz": "yields, errors and data of all hypotheses, a row each",
    "scan.json": "what the arrays are",
    "make_workspace.py": "writes the pyhf workspace of one hypothesis from the arrays; needs numpy",
    "masses.json": "all results: a row per hypothesis",
    "points.json": "minima of some hypotheses with all parameters, 2NLL, versions",
    "verify_scan.py": "checks this bundle; needs pyhf alone",
    "requirements.txt": "the versions the numbers were made with",
    "SHA256SUMS": "checksums, for `sha256sum -c SHA256SUMS`",
    "LICENSE": "terms of use",
    "CITATION.cff": "how to cite",
    "masses_limits.png": "limits against the scanned parameter",
    "masses_p0.png": "local p0 against the scanned parameter",
    "masses_mu.png": "fitted signal strength against the scanned parameter",
    "masses_toys.png": "asymptotic limits over those of toys",
    "README.md": "this file",
}  # fmt: skip


COMMANDS = """\
    python -I verify_scan.py          # 2NLL at the recorded minima, seconds
    python -I verify_scan.py --fit    # pyhf's own fits from there find nothing lower,
                                      # and its CLs at the observed limits"""


def scan_numbers(record: Spec, points: Spec) -> str:
    """Return what verify_scan.py prints."""
    lines = []
    for point in points["points"]:
        where = f"hypothesis {point['index']}"
        for key in ("free", "null"):
            if point[key] is not None:
                label = f"{where}, {key}"
                lines.append(f"2NLL  {label:30s} {point[key]['twice_nll']:20.5f}")
        q0 = record["hypotheses"][point["index"]]["q0"]
        if q0 is not None:
            lines.append(f"q0    {where:30s} {q0 + 0.0:20.5f}")
    return "\n".join([*lines, "PASS"])


def make_scan_readme(files: Mapping[str, bytes], record: Spec, points: Spec) -> str:
    """Return README.md.

    Args:
        files: The other files of the bundle.
        record: Of the scan.
        points: The minima of some hypotheses.
    """
    parameter = record["parameter"]
    unit = f" {prose(parameter['unit'])}" if parameter["unit"] else ""
    values = record["values"]
    table = ["| file | what |", "| --- | --- |"]
    table += [
        f"| `{name}` | {FILES[name]} |" for name in sorted({*files, "README.md", "SHA256SUMS"})
    ]
    printed = "\n".join(f"    {line}" for line in scan_numbers(record, points).splitlines())
    parts = [
        f"# {prose(points['name'])}",
        f"A search at {len(values)} values of {code(parameter['name'])}, {values[0]:.6g} to "
        f"{values[-1]:.6g}{unit}: statistical models for [pyhf](https://github.com/scikit-hep/pyhf)"
        " with the numbers that they give.",
        "\n".join(table),
        f"## Check it\n\n{COMMANDS}\n\nprints\n\n{printed}",
        _python(files, points),
        _meaning(record),
    ]
    return "\n\n".join(parts) + "\n"


def _python(files: Mapping[str, bytes], points: Spec) -> str:
    point = points["points"][0]
    index = point["index"]
    if "patchset.json" in files:
        make = f"""background = pyhf.Workspace(json.load(open("BkgOnly.json")))
patchset = pyhf.PatchSet(json.load(open("patchset.json")))
patchset.verify(background)
patch = sorted(patchset, key=lambda patch: patch.values[LABEL])[{index}]
workspace = pyhf.Workspace(patch.apply(background))"""
        make = make.replace("LABEL", "patchset.labels.index(NAME)").replace(
            "NAME", "json.load(open('masses.json'))['parameter']['name']"
        )
        before = ""
    else:
        before = f"    python make_workspace.py {index} workspace.json\n\n"
        make = 'workspace = pyhf.Workspace(json.load(open("workspace.json")))'
    text = f"""import json, pyhf
{make}
point = json.load(open("points.json"))["points"][0]
model = workspace.model()
parameters = [point["free"]["parameters"][name] for name in model.config.par_names]
print(-2 * model.logpdf(parameters, workspace.data(model))[0])"""
    return (
        f"In Python, for hypothesis {index} (counted from 0):\n\n{before}```python\n{text}\n```\n\n"
        f"prints {point['free']['twice_nll']:.5f}; `pyhf.infer` takes the model and data on."
    )


def _meaning(record: Spec) -> str:
    lines = ["## What the numbers mean", ""]
    poi = record["poi"]
    unit = f" {prose(poi['unit'])}" if poi["unit"] else ""
    lines.append(
        f"- {code(poi['name'])} in{unit or ' units of the stated signal'} is bounded by "
        f"{poi['bounds'][0]:g} and {poi['bounds'][1]:g}; q0 is signed: negative for a deficit."
    )
    levels = ", ".join(f"{100 * level:g} %" for level in record["levels"])
    lines.append(f"- Limits are CLs limits at {levels}, expected ones at -2 to 2 sigma.")
    overall = record["global"]
    if overall is not None:
        low, high = overall["p_interval"]
        p = f"below {high:.2g}" if overall["p"] is None else number(overall["p"])
        lines.append(
            f"- Largest local Z {number(overall['z0'])} at {overall['value']:.6g}: global p {p} "
            f"[{low:.3g}, {high:.3g}] from {overall['toys']} toys of all hypotheses."
        )
    else:
        lines.append("- Every p0 is local: what looking at all hypotheses costs is not in it.")
    empty = record.get("empty_bins")
    if empty:
        lines.append(
            f"- {empty['n']} bins of {empty['hypotheses']} hypotheses had no simulated background: "
            f"{empty['policy']}. With an event in such a bin a signal of 0 is impossible, and "
            "there is no q0."
        )
    lines += [f"- Warning of the scan: {prose(clean_text(line))}" for line in record["warnings"]]
    return "\n".join(lines)
