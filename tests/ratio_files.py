"""A small ratio file with everything that one may hold, and a plain one of a control pair."""

import copy

import numpy as np
import yaml

ARRAYS = {
    "edges_0": np.array([0.0, 1.0, 2.0, 4.0]),
    "axis_names": np.array(["p"]),
    "muon": np.array([39_200.0, 48_600.0, 29_100.0]),
    "electron": np.array([41_000.0, 50_300.0, 30_400.0]),
    "muon_signal": np.array([39_000.0, 48_000.0, 28_800.0]),
    "muon_fake": np.array([700.0, 500.0, 300.0]),
    "electron_signal": np.array([40_000.0, 49_600.0, 29_900.0]),
    "electron_fake": np.array([500.0, 400.0, 200.0]),
    "muon_signal_mc": np.array([60.0, 70.0, 55.0]),
    "muon_fake_mc": np.array([20.0, 15.0, 12.0]),
    "muon_fake_error": np.array([70.0, 0.5, 30.0]),
    "electron_signal_mc": np.array([60.0, 70.0, 55.0]),
    "electron_fake_mc": np.array([20.0, 15.0, 12.0]),
    "shape_up": np.array([1.002, 1.0, 0.998]),
    "shape_down": np.array([0.998, 1.0, 1.002]),
    "id_covariance": np.array([[9e-6, 4e-6], [4e-6, 16e-6]]),
    "composition": np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]),
    "statistical": np.array([1e-3, 2e-3, 1e-3]),
    "systematic": np.array([3e-3, 2e-3, 4e-3]),
}

FULL = {
    "schema": "ddphf/ratio/1",
    "name": "small",
    "ratio": {"name": "R", "expected": 0.97, "bounds": [0.5, 1.5]},
    "reference": {"name": "B_e", "value": 0.178, "error": 0.0004},
    "luminosity": {"relative_error": 0.006},
    "numerator": {
        "channel": "muon",
        "observed": "in.npz:muon",
        "samples": [
            {"name": "signal", "role": "signal", "yields": "in.npz:muon_signal"},
            {
                "name": "fake",
                "role": "fake",
                "yields": "in.npz:muon_fake",
                "systematics": [
                    {"name": "fake_norm", "type": "normsys", "up": 1.1, "down": 0.9},
                    {
                        "name": "fake_bins",
                        "type": "shapesys",
                        "error": "in.npz:muon_fake_error",
                        "prune": 1e-4,
                    },
                ],
            },
        ],
    },
    "denominator": {
        "channel": "electron",
        "observed": "in.npz:electron",
        "samples": [
            {"name": "signal", "role": "signal", "yields": "in.npz:electron_signal"},
            {"name": "fake", "role": "fake", "yields": "in.npz:electron_fake"},
        ],
    },
    "lepton_id": [
        {
            "name": "muon_ID",
            "covariance": "in.npz:id_covariance",
            "composition": "in.npz:composition",
            "samples": ["muon/signal"],
        },
        {
            "name": "electron_ID",
            "errors": {"statistical": "in.npz:statistical", "systematic": "in.npz:systematic"},
            "correlation": 0.5,
            "samples": ["electron/signal"],
        },
    ],
    "systematics": [
        {"name": "trigger", "type": "normsys", "up": 1.001, "down": 0.999, "samples": ["muon/*"]},
        {
            "name": "shape",
            "type": "histosys",
            "relative": True,
            "up": "in.npz:shape_up",
            "down": "in.npz:shape_down",
        },
        {"name": "mc_{channel}", "type": "staterror", "error": "in.npz:{channel}_{sample}_mc"},
        {"name": "lumi", "type": "lumi"},
    ],
    "groups": {"lepton_id": ["*_ID_eig*"], "simulation": ["mc_*"]},
    "derived": [
        {
            "name": "g_mu/g_e",
            "kind": "coupling_ratio",
            "masses": {"tau": 1776.93, "muon": 105.6583755, "electron": 0.51099895},
        }
    ],
}

ONE_BIN = {
    "edges_0": np.array([0.0, 1.0]),
    "top": np.array([81_000.0]),
    "bottom": np.array([90_000.0]),
    "control_top": np.array([930_000.0]),
    "control_bottom": np.array([1_010_000.0]),
    "rare": np.array([100_000.0]),
    "common": np.array([1_000_000.0]),
}


def pair(channel, observed, yields):
    sample = {"name": "s", "role": "signal", "yields": f"in.npz:{yields}"}
    return {"channel": channel, "observed": f"in.npz:{observed}", "samples": [sample]}


DOUBLE = {
    "schema": "ddphf/ratio/1",
    "name": "double",
    "ratio": {"name": "R_K", "expected": 1.0, "bounds": [0.2, 5.0]},
    "reference": {"name": "B_K", "value": 1.0, "error": 0.2},
    "numerator": pair("top", "top", "rare"),
    "denominator": pair("bottom", "bottom", "rare"),
    "control": {
        "numerator": pair("control_top", "control_top", "common"),
        "denominator": pair("control_bottom", "control_bottom", "common"),
        "ratio": {"value": 1.0, "error": 0.004},
        "efficiency": {"name": "efficiency", "prior": 0.2},
        "transfer": 0.006,
    },
}


def write_ratio(folder, document, arrays=ARRAYS, change=None):
    """Write ratio.yml and in.npz; ``change`` edits both before."""
    document, arrays = copy.deepcopy(document), dict(arrays)
    if change is not None:
        change(document, arrays)
    np.savez(folder / "in.npz", **arrays)
    path = folder / "ratio.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path
