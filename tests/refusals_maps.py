"""Refusals of files of maps, for test_refusals.py: the analysis of test_lepton_id_build, edited."""

import json

import numpy as np

__all__ = ["MAP_FILES"]

FORMULA = {
    "nodetype": "formula", "expression": "0.5+0.01*x", "parser": "TFormula", "variables": ["pt"],
}  # fmt: skip
RANDOM = {"nodetype": "hashprng", "inputs": ["pt"], "distribution": "normal"}
YEARS = {
    "nodetype": "category", "input": "year", "content": [{"key": "2018", "value": 0.9}],
}  # fmt: skip


def correction(node, keys=None, **more):
    """Return a case: the muons' map is a correction, read with some keys."""
    inputs = [{"name": "pt", "type": "real"}, {"name": "year", "type": "string"}]
    one = {
        "name": "id", "version": 1, "inputs": inputs, "output": {"name": "w", "type": "real"},
        "data": node,
    }  # fmt: skip
    compound = {
        "name": "all", "inputs": inputs, "output": {"name": "w", "type": "real"}, "stack": ["id"],
        "inputs_update": [], "input_op": "*", "output_op": "*",
    }  # fmt: skip
    text = {"schema_version": 2, "corrections": [one], "compound_corrections": [compound]}

    def edit(analysis):
        analysis["lepton_id"]["maps"]["muon"] = {
            "file": "muon.json", "kind": "efficiency", "correction": "id", **(keys or {}),
        }  # fmt: skip
        analysis["lepton_id"]["maps"]["muon"].update(more)

    return {"edits": [edit], "files": {"muon.json": json.dumps(text)}}


def table(content, **keys):
    """Return a case: the electrons' map is another table, read with some keys."""

    def edit(analysis):
        item = analysis["lepton_id"]["maps"]["electron"]
        item.pop("columns")
        item.pop("correlation")
        item.update(keys)

    return {"edits": [edit], "files": {"electron.csv": content}}


def absolute_eta():
    def edit(analysis):
        for number, lepton in enumerate(analysis["events"]["leptons"], 1):
            lepton["eta"] = f"eta{number}"

    def prepare(folder):
        with np.load(folder / "events.npz") as archive:
            columns = dict(archive)
        eta = np.where(np.arange(4000) % 4 == 0, -1.0, 1.0)
        np.savez(folder / "events.npz", eta1=eta, eta2=eta, **columns)

    case = table("eta_low,eta_high,value\n0,1.2,.9\n1.2,2.4,.8\n")
    return {**case, "edits": [*case["edits"], edit], "prepare": prepare}


ROW = "pt_low,pt_high,value{}\n10,60,.9{}\n"

MAP_FILES = {
    "a column of unknown meaning": table(ROW.format(",error", ",.01")),
    "two statistical errors": table(ROW.format(",stat,statistical", ",.01,.01")),
    "varied values among the errors": table(ROW.format(",sf_up,sf_down", ",.95,.85")),
    "a declared column that is not there": table(
        ROW.format(",id", ",.01"), columns={"statistical": "stat"}
    ),
    "an excluded bin that is not there": table(ROW.format("", ""), exclude_bins=[3]),
    "columns of a correction": correction(0.9, {"columns": {"ignore": ["n"]}}),
    "absolute eta under another name": absolute_eta(),
    "an axis of another unit": table("pt_low,pt_high,value\n10000,60000,.9\n"),
    "an error as large as the value": table(
        "pt_low,pt_high,value,id\n10,20,.9,.92\n20,60,.8,.83\n", columns={"sources": ["id"]}
    ),
    "a number for a string of a correction": correction(YEARS, {"inputs": {"year": 2018}}),
    "a key that a correction does not have": correction(YEARS, {"inputs": {"year": "2017"}}),
    "an input that a correction does not have": correction(0.9, {"inputs": {"era": "2017"}}),
    "a correction that draws random numbers": correction(RANDOM),
    "a compound correction": correction(0.9, correction="all"),
    "a formula that leaves its range": correction(FORMULA),
    "a correction of another axis": correction(
        {"nodetype": "binning", "input": "pt", "edges": [0, 99], "content": [0.9], "flow": "clamp"},
        {"axes": {"pt": "nvtx"}},
    ),
    "a matrix whose rows are named otherwise": {
        **table("pt_low,pt_high,value\n10,20,.9\n20,40,.9\n40,60,.9\n", covariance="c.csv"),
        "files": {
            "electron.csv": "pt_low,pt_high,value\n10,20,.9\n20,40,.9\n40,60,.9\n",
            "c.csv": ",a,b,c\na,1e-4,0,0\nc,0,1e-4,0\nb,0,0,1e-4\n",
        },
    },
}
