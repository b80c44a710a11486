"""Small workspaces whose POI is a ratio, not a signal strength."""

import json

import pyhf


def ratio_workspace(bounds=(0.5, 1.5), numerator=(4040.0, 6110.0), error=0.02):
    """Two channels of two bins: R t B_e and a background against t B_e, B_e with an error."""
    t = [4000.0, 6000.0]
    reference = {"name": "B_e", "type": "normsys", "data": {"hi": 1 + error, "lo": 1 - error}}
    efficiency = {
        "name": "muon_ID",
        "type": "histosys",
        "data": {"hi_data": [x * 1.01 for x in t], "lo_data": [x * 0.99 for x in t]},
    }
    ratio = {"name": "R", "type": "normfactor", "data": None}
    return {
        "version": "1.0.0",
        "channels": [
            {"name": "electron", "samples": [{"name": "s", "data": t, "modifiers": [reference]}]},
            {
                "name": "muon",
                "samples": [
                    {"name": "s", "data": t, "modifiers": [ratio, reference, efficiency]},
                    {"name": "b", "data": [40.0, 60.0], "modifiers": []},
                ],
            },
        ],
        "observations": [
            {"name": "electron", "data": [4040.0, 6010.0]},
            {"name": "muon", "data": list(numerator)},
        ],
        "measurements": [
            {
                "name": "ratio",
                "config": {
                    "poi": "R",
                    "parameters": [{"name": "R", "inits": [1.0], "bounds": [list(bounds)]}],
                },
            }
        ],
    }


def write_measurement(folder, workspace, **declared):
    """Write w.json and, where something is declared, its sidecar."""
    (folder / "w.json").write_text(json.dumps(workspace))
    if declared:
        sidecar = {
            "schema": "ddphf/metadata/1",
            "workspace_digest": f"sha256:{pyhf.utils.digest(workspace)}",
            **declared,
        }
        (folder / "w.metadata.json").write_text(json.dumps(sidecar))


MASSES = {"tau": 1776.93, "muon": 105.6583755, "electron": 0.51099895}
COUPLING = {"name": "g_mu/g_e", "kind": "coupling_ratio", "masses": MASSES}
