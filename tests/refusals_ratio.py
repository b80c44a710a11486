"""Refused ratio files and declared measurements, for test_refusals.py."""

import numpy as np
from measured_models import COUPLING, ratio_workspace, write_measurement
from ratio_files import ARRAYS, DOUBLE, FULL, ONE_BIN, write_ratio

__all__ = ["RATIO"]


def drop(*path):
    def change(document, arrays):
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


def put(value, *path):
    def change(document, arrays):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def fill(name, values):
    def change(document, arrays):
        arrays[name] = np.array(values)

    return change


def prune_nothing(document, arrays):
    del document["numerator"]["samples"][1]["systematics"][1]["prune"]
    arrays["muon_fake_error"] = np.array([70.0, 0.0, 30.0])


def nothing_expected(document, arrays):
    for name in ("electron_signal", "electron_fake", "electron_signal_mc", "electron_fake_mc"):
        arrays[name] = arrays[name] * [1.0, 1.0, 0.0]
    document["lepton_id"].pop()


def again(document, arrays):
    document["systematics"].append(dict(document["systematics"][0]))


def build(change, document=FULL, arrays=ARRAYS):
    return {
        "prepare": lambda folder: write_ratio(folder, document, arrays, change) and None,
        "arguments": ["build", "ratio.yml", "-o", "out/ratio.json"],
    }


def control(change):
    return build(change, DOUBLE, ONE_BIN)


def measured(*arguments, **declared):
    """Run a command on a workspace with a sidecar."""
    stated = {"statement": "measurement", "derived": [COUPLING], **declared}
    return {
        "prepare": lambda folder: write_measurement(
            folder, ratio_workspace(bounds=(0.0, 10.0)), **stated
        ),
        "arguments": list(arguments),
    }


RATIO = {
    "a reference without a prior": build(drop("reference", "error")),
    "a ratio without a reference": build(drop("reference")),
    "a ratio without a denominator": build(drop("denominator")),
    "a sample without a role": build(drop("numerator", "samples", 0, "role")),
    "a channel without a signal": build(put("background", "denominator", "samples", 0, "role")),
    "an expected ratio outside the bounds": build(put(1.7, "ratio", "expected")),
    "bounds of a ratio in the wrong order": build(put([1.5, 0.5], "ratio", "bounds")),
    "bounds of a ratio that are three": build(put([0.5, 1.0, 1.5], "ratio", "bounds")),
    "another schema of a ratio": build(put("ddphf/ratio/2", "schema")),
    "a reference that is not known": build(put(0.5, "reference", "error")),
    "a negative error of lepton identification": build(fill("statistical", [0.1, -0.1, 0.1])),
    "a shapesys of 0": build(fill("muon_fake_error", [0.0, 0.0, 0.0])),
    "a shapesys of 0 in one bin": build(prune_nothing),
    "a shapesys that is pruned away": build(
        put(0.5, "numerator", "samples", 1, "systematics", 1, "prune")
    ),
    "a shapesys without its errors": build(
        drop("numerator", "samples", 1, "systematics", 1, "error")
    ),
    "a pruned normsys": build(put(0.1, "systematics", 0, "prune")),
    "samples that are not there": build(put(["tau/*"], "systematics", 0, "samples")),
    "a calibration of samples that are not there": build(put(["tau/*"], "lepton_id", 0, "samples")),
    "two channels of one name": build(put("muon", "denominator", "channel")),
    "two samples of one name": build(put("signal", "numerator", "samples", 1, "name")),
    "a systematic with the name of the ratio": build(put("R", "systematics", 0, "name")),
    "a ratio with the name of its reference": build(put("B_e", "ratio", "name")),
    "a systematic of a ratio twice": build(again),
    "a normsys without a side": build(drop("systematics", 0, "down")),
    "a normsys of histograms": build(put("in.npz:shape_up", "systematics", 0, "up")),
    "a histosys of numbers": build(put(1.1, "systematics", 1, "up")),
    "a lumi without a width": build(drop("luminosity")),
    "a lumi of another name": build(put("luminosity", "systematics", 3, "name")),
    "errors of bins shared by channels": build(put("mc", "systematics", 2, "name")),
    "neither covariance nor errors": build(drop("lepton_id", 0, "covariance")),
    "a covariance with a correlation": build(put(0.5, "lepton_id", 0, "correlation")),
    "a calibration twice": build(put("muon_ID", "lepton_id", 1, "name")),
    "errors of another number of calibration bins": build(fill("statistical", [0.1, 0.1])),
    "errors of a calibration that are a matrix": build(fill("systematic", [[1.0, 2], [3, 4]])),
    "a composition that does not fit": build(fill("composition", np.eye(3).tolist())),
    "a covariance of a ratio that is none": build(
        fill("id_covariance", [[1e-6, 4e-6], [4e-6, 1e-6]])
    ),
    "calibration bins that are not those of the template": build(
        drop("lepton_id", 0, "composition")
    ),
    "lepton errors that turn a template negative": build(
        fill("id_covariance", [[0.1, 0.0], [0.0, 0.1]])
    ),
    "counts of a ratio that are no whole numbers": build(fill("muon", [39_200.5, 48_600, 29_100])),
    "negative yields of a ratio": build(fill("electron_fake", [500.0, -4.0, 200.0])),
    "yields of a ratio that are no numbers": build(fill("electron_fake", [500.0, np.nan, 200.0])),
    "a sample of a ratio without yields": build(fill("electron_fake", [0.0, 0.0, 0.0])),
    "events where a ratio expects none": build(nothing_expected),
    "yields of a ratio in other bins": build(fill("electron_fake", [500.0, 200.0])),
    "a group of nothing": build(put(["pdf_*"], "groups", "pdf")),
    "masses that are none": build(put(20.0, "derived", 0, "masses", "tau")),
    "a coupling ratio without masses": build(drop("derived", 0, "masses")),
    "a power with masses": build(put("power", "derived", 0, "kind")),
    "an unknown key of a ratio": build(put(1, "ratio", "bound")),
    "a control pair without a transfer error": control(drop("control", "transfer")),
    "a control ratio without an error": control(drop("control", "ratio", "error")),
    "an efficiency with the name of the reference": control(put("efficiency", "reference", "name")),
    "a discovery of a declared measurement": measured("discover", "w.json", "-o", "d.json"),
    "toys of a declared measurement": measured("toys", "w.json", "--toys", "9", "-o", "t.npz"),
    "an injection into a declared measurement": measured(
        "inject", "w.json", "--z", "3", "-o", "i.json"
    ),
    "an upper limit of a declared measurement": measured("limit", "w.json", "-o", "l.json"),
    "a tested value outside the bounds": measured("fit", "w.json", "-o", "f.json", tested=12.0),
    "a tested value beside a null": {
        "arguments": ["fit", "workspace.json", "--tested", "1", "-o", "f.json"]
    },
    "a study of correlations without a calibration": {
        "prepare": lambda folder: write_measurement(folder, ratio_workspace()),
        "arguments": ["correlations", "w.json", "-o", "c.json"],
    },
    "an axis of a ratio workspace": {
        "arguments": ["correlations", "workspace.json", "--axis", "pt", "-o", "c.json"]
    },
    "a value of the POI of a pair": {
        "arguments": ["correlations", "analysis.yml", "--at", "1", "-o", "c.json"]
    },
}
