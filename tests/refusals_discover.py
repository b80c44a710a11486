"""Cases of tests/test_refusals.py for ``ddphf discover`` and ``ddphf limit``."""

import tempfile
from pathlib import Path

import numpy as np

from ddphf.inference.toys.store import ToySample, save_toys

DISCOVER_JSON = ["discover", "workspace.json", "-o", "discover.json"]
LIMIT_JSON = ["limit", "workspace.json", "-o", "limit.json"]


def discover(*options):
    return {"arguments": [*DISCOVER_JSON, *options]}


def limit(*options):
    return {"arguments": [*LIMIT_JSON, *options]}


def toys_of_another_model():
    zero = np.zeros(8)
    toys = ToySample(
        zero.astype(int),
        np.arange(8),
        zero,
        zero,
        zero.astype(np.int8),
        zero.astype(bool),
        0.0,
        "x",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toys.npz"
        save_toys(toys, path)
        return path.read_bytes()


def narrow(workspace):
    """Leave no room for the limit."""
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-10.0, 1.2]]


def exclude_zero(workspace):
    """A POI that cannot be 0."""
    workspace["measurements"][0]["config"]["parameters"][0].update(
        bounds=[[1.0, 10.0]], inits=[2.0]
    )


def signal_alone(workspace):
    """A bin where nothing else is expected."""
    workspace["channels"][1]["samples"][1]["data"][1] = 0.0
    workspace["measurements"][0]["config"]["parameters"][0]["inits"] = [1.0]


def no_signal(workspace):
    workspace["channels"][1]["samples"][0]["data"] = [0.0, 0.0, 0.0]


def drop_signal(workspace):
    """A background-only workspace."""
    del workspace["channels"][1]["samples"][0]


def drop_poi(workspace):
    workspace["measurements"][0]["config"]["poi"] = ""


DISCOVER = {
    "an unknown kind of null": discover("--null", "asymptotic,toy"),
    "a kind of null twice": discover("--null", "toys,toys"),
    "a figure of a null without toys": discover("--plots", "figures"),
    "a file of toys that is not asked for": discover("--toys-file", "toys.npz"),
    "toys from a file and a number of toys": discover(
        "--null", "toys", "--toys-file", "toys.npz", "--toys", "10"
    ),
    "a number of toys that are not asked for": discover("--toys", "10"),
    "an expected strength that is no number": discover("--mu-expected", "one"),
    "an output named as the null's figure": {
        "arguments": [
            "discover", "workspace.json", "--null", "toys", "--plots", "plots",
            "-o", "plots/discover_null.png",
        ]
    },
    "an expected strength outside its bounds": discover("--mu-expected", "50"),
    "an expected strength of nan": discover("--mu-expected", "nan"),
    "a null of zero toys": discover("--null", "toys", "--toys", "0"),
    "a null of fewer than zero toys": discover("--null", "importance", "--toys", "-5"),
    "too few toys for importance sampling": discover("--null", "importance", "--toys", "100"),
    "an absent file of toys": discover("--null", "toys", "--toys-file", "absent.npz"),
    "a file of toys that holds none": {
        "files": {"bad.npz": "x"},
        **discover("--null", "toys", "--toys-file", "bad.npz"),
    },
    "a file of toys of another model": {
        "files": {"toys.npz": toys_of_another_model()},
        **discover("--null", "toys", "--toys-file", "toys.npz"),
    },
    "a discovery in a measurement that is not there": discover("--measurement", "search"),
    "a discovery with a fixed POI": discover("--measurement", "null"),
    "a discovery without a POI": {"edits": [drop_poi], **discover()},
    "a bin with signal alone": {"edits": [signal_alone], **discover()},
}  # fmt: skip

LIMIT = {
    "an unknown method": limit("--method", "bayes"),
    "a number of toys without the method": limit("--toys", "500"),
    "a confidence level that is none": limit("--cl", "95"),
    "a confidence level of nan": limit("--cl", "nan"),
    "too few toys for a limit": limit("--method", "toys", "--toys", "0"),
    "a limit of a measurement that is not there": limit("--measurement", "search"),
    "a limit with a fixed POI": limit("--measurement", "null"),
    "a limit without a POI": {"edits": [drop_poi], **limit()},
    "a limit beyond the POI's upper bound": {"edits": [narrow], **limit()},
    "bounds of the POI that exclude 0": {"edits": [exclude_zero], **limit()},
    "a limit of a background-only workspace": {"edits": [drop_signal], **limit()},
    "a limit on a signal without yield": {"edits": [no_signal], **limit()},
    "bounds of the POI in the wrong order": limit("--poi-bounds", "10,0"),
    "an existing figure of a limit": {
        "files": {"figures/limit.png": "x"},
        **limit("--plots", "figures"),
    },
}
