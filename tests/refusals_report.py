"""Cases of docs/refusals.md for `ddphf yields` and `ddphf report`."""

import json

import numpy as np
import pyhf
from conftest import plain_workspace

from ddphf.inference.toys.store import ToySample, save_toys

CERTIFICATE = {"projected_gradient": 0.0, "edm": 0.0, "twice_nll_pyhf": 1.0}
PARAMETER = {"name": "alpha", "value": 0.0, "error": 1.0, "at_bound": False}
MINIMUM = {
    "status": "converged", "twice_nll": 1.0, "parameters": [PARAMETER], "certificate": CERTIFICATE,
}  # fmt: skip
DIGEST = f"sha256:{pyhf.utils.digest(plain_workspace())}"


def record(kind, digest="sha256:00", **extra):
    owner = {} if digest is None else {"workspace_digest": digest}
    return json.dumps(
        {"schema": f"ddphf/{kind}/1", "measurement": "discovery", "provenance": owner, **extra}
    )


FIT = record("fit", fit=MINIMUM, engine="ddphf")
LOST = {key: value for key, value in MINIMUM.items() if key != "status"}
SCAN = {
    "warnings": [], "twice_nll": 1.0, "failures": [], "intervals": [],
    "parameters": [{"name": "mu", "best": 0.0, "error": 1.0, "values": [0.0, 1.0]}],
}  # fmt: skip


def report(*names, **files):
    named = {f"{name}.json": text for name, text in files.items()}
    return {"files": named, "arguments": ["report", *names, "-o", "report.html"]}


def yields(*options, **files):
    named = {f"{name}.json": text for name, text in files.items()}
    arguments = ["yields", "workspace.json", "-o", "yields.json", *options]
    return {"files": named, "arguments": arguments}


def signal_toys(folder):
    one = np.zeros(3)
    whole = np.zeros(3, dtype=int)
    save_toys(ToySample(whole, whole, one, one, whole, whole > 0, 1.0, ""), folder / "signal.npz")


REPORT = {
    "yields of a fit and a measurement": yields("--fit", "fit.json", "--measurement", "discovery"),
    "yields written over a table": {
        "arguments": ["yields", "workspace.json", "-o", "tables/bins.csv", "--tables", "tables"]
    },
    "yields of no fit": yields("--fit", "other.json", other='{"schema": "ddphf/fit/1"}'),
    "yields of another fit": yields("--fit", "fit.json", fit=FIT),
    "yields of a fit with other parameters": yields(
        "--fit", "fit.json", fit=record("fit", DIGEST, fit=MINIMUM, engine="ddphf")
    ),
    "two fits in a report": report("fit.json", "again.json", fit=FIT, again=FIT),
    "a report of a file of another kind": report("other.json", other='{"schema": null}'),
    "a report of another schema": report("other.json", other='{"schema": "ddphf/fit/9"}'),
    "a report of a damaged record": report("limit.json", limit=record("limit", level="high")),
    "a report of numbers that do not fit together": report(
        "scan.json", scan=record("scan", **SCAN, delta_twice_nll=[0.0, 1.0, 4.0])
    ),
    "a report of a record without a workspace": report(
        "limit.json", limit=record("limit", None, level=0.95)
    ),
    "a report of two workspaces": report(
        "fit.json", "limit.json", fit=FIT, limit=record("limit", "sha256:11", level=0.95)
    ),
    "a report of a fit with keys missing": report(
        "fit.json", fit=record("fit", fit=LOST, engine="ddphf")
    ),
    "a report of damaged toys": {
        "files": {"toys.npz": b"PK\x03\x04"},
        "arguments": ["report", "toys.npz", "-o", "report.html"],
    },
    "a report of toys with a signal": {
        "prepare": signal_toys,
        "arguments": ["report", "signal.npz", "-o", "report.html"],
    },
    "a report of a folder": {
        "files": {"out/x": ""},
        "arguments": ["report", "out", "-o", "report.html"],
    },
}
