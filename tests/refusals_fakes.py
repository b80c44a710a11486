"""Refusals of fakes from maps, for test_refusals.py: the analysis of test_fakes.py, edited."""

import json

from ddphf.cli.sidecar import digest_of

__all__ = ["FAKES"]


def damage_sidecar(folder):
    """Write a sidecar that is this workspace's and says nothing of its channels."""
    digest = digest_of(json.loads((folder / "workspace.json").read_text()))
    sidecar = {"workspace_digest": digest, "pairing": 3}
    (folder / "workspace.metadata.json").write_text(json.dumps(sidecar))


def change(function):
    """Return a case: the analysis after ``function(analysis)``."""
    return {"edits": [function]}


def fakes(function):
    """Return a case: the fakes of both channels edited alike."""

    def edit(analysis):
        for role in ("tested", "partner"):
            function(analysis[role]["fakes"])

    return change(edit)


FAKES = {
    "fake factors without a lepton": fakes(lambda f: f.pop("lepton")),
    "a loose lepton without fake factors": fakes(lambda f: f.pop("maps")),
    "loose leptons of a histogram": fakes(
        lambda f: [f.pop("events"), f.pop("weight"), f.update(yields="table.csv:fakes")]
    ),
    "one name for two maps of fake factors": change(
        lambda a: a["partner"]["fakes"]["maps"]["muon"].update(file="other.csv")
    ),
    "two maps of fake factors of one flavour": fakes(
        lambda f: f["maps"]["muon"].update(flavour=11)
    ),
    "a map of fake factors without a flavour": fakes(
        lambda f: f["maps"].update(jet={"file": "loose_muon.csv"})
    ),
    "an error of the normalisation out of range": fakes(lambda f: f.update(normalisation=1.5)),
    "loose leptons without a fake factor": fakes(lambda f: f["maps"].pop("muon")),
    "an unknown source of fake factors": fakes(
        lambda f: f["maps"]["electron"].update(exclude=["trigger"])
    ),
    "a fake factor below zero": {
        "files": {"loose_muon.csv": "pt_low,pt_high,value\n10,20,-.1\n20,60,.2\n"}
    },
    "fakes that are negative altogether": fakes(
        lambda f: f.update(weight="-abs(w)", negative="merge")
    ),
    "a closure variable beside fakes of a histogram": change(
        lambda a: [
            a["tested"].update(fakes={"yields": "table.csv:fakes"}),
            a.update(closure=["pt2"]),
        ]
    ),
    "a closure variable twice": change(lambda a: a.update(closure=["pt2", "pt2"])),
    "a closure variable without a column": change(lambda a: a.update(closure=["2 > 1"])),
    "edges of a closure variable that do not increase": change(
        lambda a: a.update(closure=[{"column": "pt2", "edges": [20, 10]}])
    ),
    "a closure variable that is the label": change(lambda a: a.update(closure=["f1"])),
    "a sidecar without its pairing": {
        "prepare": damage_sidecar,
        "arguments": ["inspect", "workspace.json"],
    },
    "a study of one toy": {"arguments": ["correlations", "analysis.yml", "--toys", "1"]},
    "a study with an error that is no number": {
        "arguments": ["correlations", "analysis.yml", "--toys", "0", "--uncorrelated", "nan"]
    },
}
