"""Refusals of event tables and maps, for test_refusals.py: test_lepton_id_build's, edited."""

import numpy as np

__all__ = ["EVENTS"]


def change(function):
    """Return a case: the analysis after ``function(analysis)``."""
    return {"edits": [function]}


def events(**columns):
    """Return a case: the event table with other columns."""

    def prepare(folder):
        with np.load(folder / "events.npz") as archive:
            table = {**archive, **columns}
        np.savez(folder / "events.npz", **table)

    return {"prepare": prepare}


def select(expression):
    return change(lambda a: a["events"].update(select=expression))


def electron(content):
    drop = change(lambda a: a["lepton_id"]["maps"]["electron"].pop("columns"))
    return {**drop, "files": {"electron.csv": content}}


def yaml_map(content):
    def edit(analysis):
        analysis["lepton_id"]["maps"]["muon"] = {"file": "muon.yml", "kind": "efficiency"}

    return {**change(edit), "files": {"muon.yml": content}}


def scale_factors(analysis):
    for item in analysis["lepton_id"]["maps"].values():
        item["kind"] = "scale_factor"


NUMBERS = np.arange(4000)

EVENTS = {
    "aliases that expand without end": {
        "files": {"analysis.yml": "a: &a [x, *a]\n"},
    },
    "a number with a point for a whole one": change(lambda a: a["lepton_id"].update(at_most=4.0)),
    "one column for two axes": change(lambda a: a["events"].update(axes=2 * a["events"]["axes"])),
    "scale factors without a simulated ratio": change(scale_factors),
    "a number for a condition": select("f1 == 13 or 11"),
    "comparisons beside & without parentheses": select("pt1 > 25 & pt2 < 40"),
    "a function with other arguments": select("abs(pt1, pt2) > 25"),
    "an event twice in one sample by its number": {
        **change(lambda a: a["events"].update(identifier=["number"])),
        **events(number=np.where(NUMBERS == 2, 0, NUMBERS), f1=np.where(NUMBERS < 2000, 11, 13)),
    },
    "a weight that is no number": change(
        lambda a: a["tested"]["signal"].update(weight="log(0 - pt1)")
    ),
    "a flavour that is no number": events(f2=np.where(NUMBERS < 2, np.nan, 11.0)),
    "no lepton with a map": change(
        lambda a: a["events"].update(leptons=[{"flavour": 1, "pt": "pt1"}])
    ),
    "a lepton without a place in any bin": {
        **change(lambda a: a["lepton_id"].update(outside="nearest")),
        **events(pt1=np.where(NUMBERS < 2, np.nan, 30.0)),
    },
    "map columns without an axis": electron("value\n.9\n"),
    "a decimal comma": electron("pt_low,pt_high,value\n10,60,0,9\n"),
    "a map axis twice": electron("eta_low,eta_high,sceta_low,sceta_high,value\n0,1,0,1,.9\n"),
    "a negative absolute eta": electron("abseta_low,abseta_high,value\n-1,0,.9\n0,1,.9\n"),
    "a selection from a table": change(
        lambda a: a["lepton_id"]["maps"]["muon"].update(statistical={"ValType": "stat"})
    ),
    "an axis renamed that is not there": change(
        lambda a: a["lepton_id"]["maps"]["muon"].update(axes={"Eta": "abseta"})
    ),
    "a matrix of all maps beside one of a map": change(
        lambda a: a["lepton_id"].update(covariance="c.csv")
    ),
    "a matrix of all maps beside shared sources": change(
        lambda a: [
            a["lepton_id"].update(covariance="c.csv", shared=["tag"]),
            a["lepton_id"]["maps"]["electron"].pop("correlation"),
        ]
    ),
    "relative without a matrix": change(
        lambda a: a["lepton_id"]["maps"]["muon"].update(relative=True)
    ),
    "figures of a workspace without a sidecar": {
        "arguments": ["inspect", "workspace.json", "--plots", "figures"]
    },
    "a key twice in a YAML map": yaml_map("axes: {pt: [1, 9]}\nvalues: [.9]\nvalues: [.8]\n"),
    "a YAML map without axes": yaml_map("values: [.9]\n"),
    "edges that are no list": yaml_map("axes: {pt: '12'}\nvalues: [.9]\n"),
    "sources that are no mapping": yaml_map("axes: {pt: [1, 9]}\nvalues: [.9]\nsources: [1]\n"),
}
