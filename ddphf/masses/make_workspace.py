"""Write the pyhf workspace of one hypothesis of scan.npz: python make_workspace.py NUMBER FILE."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def make_workspace(folder: Path, index: int) -> dict[str, Any]:
    """Return the workspace of a hypothesis, counted from 0.

    Args:
        folder: Of scan.json and scan.npz.
        index: Of the hypothesis.
    """
    form = json.loads((folder / "scan.json").read_text())
    with np.load(folder / "scan.npz") as arrays:
        table = {key: arrays[key][index] for key in arrays.files}
    live, poi = table["live"], form["poi"]
    samples = []
    for sample in form["samples"]:
        modifiers: list[dict[str, Any]] = []
        if sample["signal"]:
            modifiers.append({"name": poi["name"], "type": "normfactor", "data": None})
        for norm in sample["norms"]:
            factors = {"hi": float(table[norm["up"]]), "lo": float(table[norm["down"]])}
            modifiers.append({"name": norm["name"], "type": "normsys", "data": factors})
        for shift in sample["shifts"]:
            ends = {"hi_data": table[shift["up"]], "lo_data": table[shift["down"]]}
            tables = {key: values[live].tolist() for key, values in ends.items()}
            modifiers.append({"name": shift["name"], "type": "histosys", "data": tables})
        for scale in sample["scales"]:
            modifiers.append({"name": scale["name"], "type": scale["type"], "data": None})
        error = sample["error"]
        if error is not None:
            errors = table[error["table"]][live].tolist()
            modifiers.append({"name": error["name"], "type": error["type"], "data": errors})
        yields = table[sample["yields"]][live].tolist()
        samples.append({"name": sample["name"], "data": yields, "modifiers": modifiers})
    channel = form["channel"]
    config = {"poi": poi["name"], "parameters": [poi, *form["stated"]]}
    return {
        "version": "1.0.0",
        "channels": [{"name": channel, "samples": samples}],
        "observations": [{"name": channel, "data": table["counts"][live].tolist()}],
        "measurements": [{"name": form["name"], "config": config}],
    }


if __name__ == "__main__":
    workspace = make_workspace(Path(__file__).parent, int(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(workspace, indent=2))
