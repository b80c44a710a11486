"""Refusals of histograms and event tables, for test_refusals.py."""

import json

import awkward as ak
import hist
import numpy as np
import uhi.io.json
import uproot
from refusals_events import NUMBERS, change, events, select

__all__ = ["HISTOGRAMS", "RATES", "TABLES"]

MASS = hist.axis.Variable([30, 40, 50, 60, 70], name="mass", label="mass [GeV]")

HEPDATA = """#: name: Table 1
mass [GEV],mass [GEV] LOW,mass [GEV] HIGH,signal,stat +,stat -
35,30,40,2,.1,-.1
45,40,50,6,.2,-.3
55,50,60,5,.2,-.2
65,60,70,1,.1,-.1
"""


def take(path, address):
    """Return an edit: the histogram of one sample from elsewhere."""

    def edit(analysis):
        *parents, last = path.split(".")
        node = analysis
        for key in parents:
            node = node[key]
        node[last] = address

    return {"edits": [edit]}


def weighted(folder):
    np.savez(
        folder / "h.npz", h=[110, 85, 62, 41], h_variances=[220, 85, 62, 41], edges_0=MASS.edges,
        axis_names=np.array(["mass"]), axis_units=np.array(["GeV"]),
    )  # fmt: skip


def negative_variance(folder):
    np.savez(
        folder / "h.npz", h=[4.0, 3, 2, 1], h_variances=[-4.0, 3, 2, 1], edges_0=MASS.edges,
        axis_names=np.array(["mass"]), axis_units=np.array(["GeV"]),
    )  # fmt: skip


def objects(folder):
    with uproot.recreate(folder / "h.root") as file:
        file["dir/h"] = hist.Hist(MASS, data=np.array([2.0, 6.0, 5.0, 1.0]))
        file["tree"] = {"x": np.arange(3.0)}


def regions(folder):
    for name, labels in (("b", ["SR1", "SR2"]), ("a", ["SR1", "CR"])):
        h = hist.Hist(hist.axis.StrCategory(labels, name="region"), data=np.array([50.0, 60.0]))
        (folder / f"{name}.json").write_text(json.dumps(h, default=uhi.io.json.default))


def swapped(folder):
    for name, names in (("b", ["mass", "pt"]), ("a", ["pt", "eta"])):
        np.savez(
            folder / f"{name}.npz", h=np.full((2, 2), 50), edges_0=[0, 1, 2], edges_1=[0, 1, 2],
            axis_names=np.array(names),
        )  # fmt: skip


def both(suffix):
    def edit(analysis):
        analysis["tested"]["observed"] = f"b.{suffix}"
        analysis["partner"]["observed"] = f"a.{suffix}"
        for key in ("fakes", "systematics"):
            del analysis["tested"][key]
        analysis["efficiency_ratio"] = 1.0
        analysis["tested"]["signal"] = {"yields": f"b.{suffix}"}

    return {"edits": [edit]}


PROFILE = json.dumps(hist.Hist(MASS, storage=hist.storage.Mean()), default=uhi.io.json.default)

HISTOGRAMS = {
    "a negative stored variance": {**take("tested.signal", {"yields": "h.npz:h"}),
                                   "prepare": negative_variance},
    "weighted data that are whole numbers": {**take("tested.observed", "h.npz:h"),
                                             "prepare": weighted},
    "axes in another unit": {
        **take("partner.observed", "other.csv:partner"), "edges": [3e4, 4e4, 5e4, 6e4, 7e4],
    },
    "units that contradict": {
        **take("partner.observed", "mev.csv:h"),
        "files": {"mev.csv": HEPDATA.replace("[GEV]", "[MEV]").replace("signal", "h")},
    },
    "axes whose names tell no order": {**both("npz"), "prepare": swapped},
    "a category of one histogram alone": {**both("json"), "prepare": regions},
    "a profile": {**take("tested.signal.yields", "p.json"), "files": {"p.json": PROFILE}},
    "an object that is no histogram": {**take("tested.signal.yields", "h.root:tree"),
                                       "prepare": objects},
    "no such cycle": {**take("tested.signal.yields", "h.root:dir/h;7"), "prepare": objects},
    "errors of a column that differ": {
        **take("tested.signal.error", "hd.csv:signal stat"), "files": {"hd.csv": HEPDATA},
    },
    "a number for a name": take("tested.observed", 2018),
}  # fmt: skip


def structs(folder):
    with np.load(folder / "events.npz") as archive:
        table = {**archive}
    one = ak.zip({"time": table["mass"]})
    with uproot.recreate(folder / "events.root") as file:
        file["t"] = {**table, "a": one, "b": one}


def ambiguous(analysis):
    analysis["events"].update(file="events.root:t", select="time > 0")


TABLES = {
    "a branch name of several branches": {**change(ambiguous), "prepare": structs},
    "a file that is read twice": change(
        lambda a: a["events"].update(file=["events.npz", "events.npz"])
    ),
    "a pattern without files": change(lambda a: a["events"].update(file="run*.root:Events")),
    "identifiers that have lost digits": {
        **change(lambda a: a["events"].update(identifier=["number"])),
        **events(number=1e17 + NUMBERS),
    },
    "a chain of comparisons that is no range": select("mass > 10 < 90"),
    "a choice as in C++": select("pt1 > 30 ? 1 : 0"),
    "an element without backquotes": select("Muon_pt[0] > 30"),
    "collections of flat columns": change(
        lambda a: a["events"].update(collections={"electron": "Electron_"})
    ),
    "a selection of a histogram's events": change(
        lambda a: [
            a["tested"]["fakes"].pop("events"), a["tested"]["fakes"].pop("weight"),
            a["tested"]["fakes"].update(yields="table.csv:fakes", select="pt1 > 30"),
        ]
    ),
}  # fmt: skip


def rates(analysis):
    for key in ("tested", "partner"):
        for item in analysis[key]["fakes"]["maps"].values():
            item["kind"] = "fake_rate"


RATES = {
    "a fake rate of one": {
        **change(rates),
        "files": {"loose_muon.csv": "pt_low,pt_high,value\n10,60,1\n"},
    },
}
