"""Check this bundle with nothing but pyhf and Python's standard library.

    python -I verify_stock.py           evaluate -2 ln L at the recorded parameters (seconds)
    python -I verify_stock.py --fit     and let pyhf's optimizer start there: it must find no lower

It checks the folder that it lies in, or the one that is named last. Exit code 0: everything agrees,
1: it does not. -I keeps Python from importing modules out of that folder (hashlib.py, say), which
come from whoever made the bundle.
"""

import sys

if (
    __name__ == "__main__" and not sys.flags.isolated
):  # before any import that a file of the folder could stand in for
    sys.exit("run this as: python -I verify_stock.py (-I: no module is taken from this folder)")

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pyhf

SAME, LOWER = 1e-6, 1e-3


def plain(name: str) -> str:
    """Return a name that commands no terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in name)


def wrong_files(folder: Path) -> list[str]:
    """Return the files that differ from SHA256SUMS."""
    wrong = []
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ", 1)
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(name)
    return wrong


def evaluate(workspace: Any, point: dict[str, Any], settings: dict[str, Any]) -> tuple[float, Any]:
    """Return -2 ln L at a recorded point, and what a fit from there needs."""
    name = point["measurement"]
    model = workspace.model(measurement_name=name, modifier_settings=settings)
    data = workspace.data(model)
    values = {p["name"]: p["value"] for p in point["parameters"]}
    start = [values[parameter] for parameter in model.config.par_names]
    fixed = list(model.config.suggested_fixed())
    if point["poi_value"] is not None:
        fixed[model.config.poi_index] = True
    return -2.0 * float(model.logpdf(start, data)[0]), (model, data, start, fixed)


def refit(model: Any, data: Any, start: list[float], fixed: list[bool]) -> float:
    """Return pyhf's minimum of -2 ln L from a start."""
    _, value = pyhf.infer.mle.fit(
        data, model, init_pars=start, fixed_params=fixed, return_fitted_val=True
    )
    return float(value)


def main(arguments: list[str]) -> int:
    """Check everything; return the exit code."""
    fit = "--fit" in arguments
    named = [argument for argument in arguments if argument != "--fit"]
    folder = Path(named[-1] if named else __file__).resolve()
    folder = folder if folder.is_dir() else folder.parent
    trouble = [f"{name} differs from SHA256SUMS" for name in wrong_files(folder)]
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    workspace = pyhf.Workspace(json.loads((folder / "workspace.json").read_text(encoding="utf-8")))
    codes = results["interpolation"]
    settings = {kind: {"interpcode": codes[kind]} for kind in sorted(codes)}
    values: dict[str, float] = {}
    for point in results["points"]:
        name = point["measurement"]
        if point["poi_value"] is not None:
            name += f", {point['poi']} = {point['poi_value']:g}"
        value, problem = evaluate(workspace, point, settings)
        values[name] = value
        print(f"2NLL  {plain(name):40s} {value:20.5f}")
        if not abs(value - point["twice_nll"]) <= SAME + 1e-12 * abs(value):
            trouble.append(f"{name}: 2NLL is {value!r}, recorded {point['twice_nll']!r}")
        if fit and point["n_free"]:
            try:
                lower = value - refit(*problem)
            except pyhf.exceptions.FailedMinimization:
                lower = 0.0
            if lower > LOWER:
                trouble.append(f"{name}: pyhf finds a point {lower:.3g} lower")
    for statement in results["statements"]:
        sign = math.copysign(1.0, statement["mu_hat"]) if statement["mu_hat"] else 0.0
        q0 = sign * (values[statement["null"]] - values[statement["point"]])
        z0 = math.copysign(math.sqrt(abs(q0)), q0)
        name = statement["measurement"]
        print(f"q0    {plain(name):40s} {q0 + 0.0:20.5f}")
        print(f"Z     {plain(name):40s} {z0 + 0.0:20.5f}")
        if not abs(q0 - statement["q0"]) <= 2 * SAME + 1e-11 * abs(values[statement["null"]]):
            trouble.append(f"{name}: q0 is {q0!r}, recorded {statement['q0']!r}")
    for line in trouble:
        print(f"FAIL  {plain(line)}")
    print("FAIL" if trouble else "PASS")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
