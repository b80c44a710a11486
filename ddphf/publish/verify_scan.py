"""Check this bundle of a mass scan with nothing but pyhf and what it needs.

    python -I verify_scan.py           evaluate -2 ln L at the recorded minima (seconds)
    python -I verify_scan.py --fit     and let pyhf's optimizer start there: it must find no lower;
                                       and compare pyhf's CLs at the observed limits

It checks the folder that it lies in, or the one that is named last. Exit code 0: everything agrees,
1: it does not. -I keeps Python from importing modules out of that folder (hashlib.py, say), which
come from whoever made the bundle.
"""

import sys

if (
    __name__ == "__main__" and not sys.flags.isolated
):  # before any import that a file of the folder could stand in for
    sys.exit("run this as: python -I verify_scan.py (-I: no module is taken from this folder)")

import hashlib
import json
from pathlib import Path
from typing import Any

import pyhf

SAME, LOWER, Q0, CLS = 1e-6, 1e-3, 1e-5, 2e-3

MAKER = "@MAKER@"
"""SHA-256 of make_workspace.py: the one file of the bundle that is run."""


def plain(name: str) -> str:
    """Return a name that commands no terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in name)


def load(folder: Path, name: str) -> Any:
    """Return the JSON of a file."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def wrong_files(folder: Path) -> list[str]:
    """Return the files that differ from SHA256SUMS."""
    wrong = []
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ", 1)
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(name)
    return wrong


def patched(folder: Path, record: Any, index: int) -> Any:
    """Return the workspace of a hypothesis by the patchset, in the order of the values."""
    background = pyhf.Workspace(load(folder, "BkgOnly.json"))
    patchset = pyhf.PatchSet(load(folder, "patchset.json"))
    patchset.verify(background)
    column = patchset.labels.index(record["parameter"]["name"])
    patch = sorted(patchset, key=lambda one: one.values[column])[index]
    if patch.values[column] != record["values"][index]:
        raise ValueError(f"hypothesis {index} has another value in patchset.json")
    return patch.apply(background)


def from_arrays(folder: Path, index: int) -> Any:
    """Return the workspace of a hypothesis by make_workspace.py."""
    source = (folder / "make_workspace.py").read_bytes()
    if hashlib.sha256(source).hexdigest() != MAKER:
        raise ValueError("make_workspace.py is not the one that ddphf publishes; it is not run")
    names: dict[str, Any] = {"__name__": "make_workspace"}
    exec(compile(source, "make_workspace.py", "exec"), names)
    return names["make_workspace"](folder, index)


def check_point(folder: Path, record: Any, point: Any, codes: Any, *, fit: bool) -> list[str]:
    """Print the numbers of one hypothesis; return what is wrong."""
    index, trouble = point["index"], []
    row, name = record["hypotheses"][index], f"hypothesis {index}"
    workspaces = []
    if (folder / "patchset.json").is_file():
        workspaces.append(patched(folder, record, index))
    if (folder / "scan.npz").is_file():
        workspaces.append(from_arrays(folder, index))
    if any(workspace != workspaces[0] for workspace in workspaces):
        return [f"{name}: patchset.json and scan.npz make different workspaces"]
    workspace = pyhf.Workspace(workspaces[0])
    model = workspace.model(modifier_settings={k: {"interpcode": v} for k, v in codes.items()})
    data, poi, names = workspace.data(model), model.config.poi_index, model.config.par_names
    values = {}
    for key in ("free", "null"):
        if point[key] is None:
            continue
        start = [point[key]["parameters"][parameter] for parameter in names]
        values[key] = -2.0 * float(model.logpdf(start, data)[0])
        label = f"{name}, {key}"
        print(f"2NLL  {label:30s} {values[key]:20.5f}")
        if not abs(values[key] - point[key]["twice_nll"]) <= SAME + 1e-12 * abs(values[key]):
            trouble.append(f"{label}: 2NLL is {values[key]!r}, not {point[key]['twice_nll']!r}")
        if fit:
            fixed = list(model.config.suggested_fixed())
            fixed[poi] = fixed[poi] or key == "null"
            try:
                _, found = pyhf.infer.mle.fit(
                    data, model, init_pars=start, fixed_params=fixed, return_fitted_val=True
                )
            except pyhf.exceptions.FailedMinimization:
                continue
            if float(found) < values[key] - LOWER:
                trouble.append(
                    f"{label}: pyhf finds a point {values[key] - float(found):.3g} lower"
                )
    best = [point["free"]["parameters"][parameter] for parameter in names]
    if abs(best[poi] - row["mu_hat"]) > 1e-5 * max(row["mu_error"] or 0.0, 1.0):
        trouble.append(f"{name}: mu_hat is {best[poi]!r}, masses.json has {row['mu_hat']!r}")
    if row["q0"] is not None and "null" in values:
        sign = (best[poi] > 0) - (best[poi] < 0)
        q0 = sign * (values["null"] - values["free"])
        print(f"q0    {name:30s} {q0 + 0.0:20.5f}")
        if not abs(q0 - row["q0"]) <= Q0:
            trouble.append(f"{name}: q0 is {q0!r}, masses.json has {row['q0']!r}")
    if fit and point["null"] is not None:
        limit = (row["limit"].get("asymptotic") or {}).get("observed")
        if limit is not None:
            cls = float(pyhf.infer.hypotest(limit, data, model, init_pars=best, test_stat="qtilde"))
            print(f"CLs   {name + ', at its limit':30s} {cls:20.5f}")
            if abs(cls - 1 + row["limit"]["level"]) > CLS:
                trouble.append(f"{name}: CLs at the observed limit {limit!r} is {cls!r}")
    return trouble


def main(arguments: list[str]) -> int:
    """Check everything; return the exit code."""
    fit = "--fit" in arguments
    named = [argument for argument in arguments if argument != "--fit"]
    folder = Path(named[-1] if named else __file__).resolve()
    folder = folder if folder.is_dir() else folder.parent
    trouble = [f"{name} differs from SHA256SUMS" for name in wrong_files(folder)]
    record, points = load(folder, "masses.json"), load(folder, "points.json")
    for point in points["points"]:
        trouble += check_point(folder, record, point, points["interpolation"], fit=fit)
    for line in trouble:
        print(f"FAIL  {plain(line)}")
    print("FAIL" if trouble else "PASS")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
