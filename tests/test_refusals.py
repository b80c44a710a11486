"""Every row of docs/refusals.md: the printed message to the letter, the exit code, nothing left.

The table's messages are those of the cases below, run in a folder that holds analysis.yml,
table.csv and workspace.json.
"""

import copy
import json
import re
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from conftest import ANALYSIS, COLUMNS, EDGES, invoke, plain_workspace, write_table
from refusals_bumps import BUMPS
from refusals_convert import CONVERT
from refusals_discover import DISCOVER, LIMIT
from refusals_distributed import DISTRIBUTED, SHARDS
from refusals_events import EVENTS
from refusals_fakes import FAKES
from refusals_inputs import HISTOGRAMS, RATES, TABLES
from refusals_learn import LEARN
from refusals_maps import MAP_FILES
from refusals_masses import MASSES
from refusals_patchset import PATCHSETS
from refusals_publish import PATCH, PUBLISH, VERIFY
from refusals_ranking import RANKING
from refusals_ratio import RATIO
from refusals_report import REPORT
from refusals_search import SEARCH
from refusals_search_events import SEARCH_EVENTS
from refusals_studies import INJECT, STUDY
from test_fakes import write_loose_analysis
from test_lepton_id_build import write_event_analysis

DOCUMENT = Path(__file__).parent.parent / "docs" / "refusals.md"
DROP = object()
NAN = float("nan")


def put(path, value):
    """Return an edit of nested data: set what lies at a dotted path, or drop it."""

    def edit(data):
        *parents, last = [int(k) if k.isdigit() else k for k in path.split(".")]
        for key in parents:
            data = data[key]
        if value is DROP:
            del data[last]
        elif isinstance(data, list) and last == len(data):
            data.append(copy.deepcopy(value))
        else:
            data[last] = value

    return edit


def column(name, values):
    return {"columns": {name: values}}


def histosys(name="jes", **extra):
    ends = {"up": "table.csv:up", "down": "table.csv:down"}
    return {"name": name, "type": "histosys", **ends, **extra}


def normsys(name, up=1.1, down=0.9):
    return {"name": name, "type": "normsys", "up": up, "down": down}


def text(content, file="analysis.yml"):
    return {"files": {file: content}}


def edit(*edits):
    return {"edits": edits}


FIT_JSON = ["fit", "workspace.json", "-o", "fit.json"]

BUILD = {
    "no such analysis file": {"arguments": ["build", "absent.yml", "-o", "out/pair.json"]},
    "not YAML": text("schema: ddphf/analysis/1\nname: [x\n"),
    "a YAML key twice": text("name: x\nname: y\n"),
    "a YAML key that is no text": text("3: x\n"),
    "YAML nested too deeply": text("[" * 10_000),
    "a missing key": edit(put("tested.observed", DROP)),
    "an unknown key": edit(put("backgruond", {"floor": 0.5})),
    "a wrong type": edit(put("tested.fakes", "table.csv:fakes")),
    "a number out of range": edit(put("luminosity", {"relative_error": 0.5})),
    "a name with other characters": edit(put("tested.label", "mu-e")),
    "an unknown choice": edit(put("tested.fakes.error_kind", "poisson")),
    "another schema": edit(put("schema", "ddphf/analysis/9")),
    "neither number nor histogram": edit(put("efficiency_ratio", [0.9])),
    "neither number nor auto": edit(put("signal_scale", "big")),
    "NaN or infinity in the analysis file": edit(put("background", {"floor": float("inf")})),
    "a normsys declared relative": edit(
        put("tested.signal.systematics.0", {**normsys("theory"), "relative": True})
    ),
    "the same label twice": edit(put("partner.label", "mue")),
    "no signal stated": edit(put("tested.signal", DROP)),
    "an absolute variation of the symmetric background": edit(
        put("tested.systematics.0", histosys())
    ),
    "an unknown kind of file": edit(put("tested.observed", "table.txt:tested")),
    "a missing histogram file": edit(put("tested.observed", "absent.root:tested")),
    "an unknown histogram": edit(put("tested.observed", "table.csv:data")),
    "a file of several histograms and no name": edit(put("tested.observed", "table.csv")),
    "a damaged ROOT file": {
        **edit(put("tested.observed", "bad.root:h")),
        "files": {"bad.root": "root?"},
    },
    "a damaged npz file": {
        **edit(put("tested.observed", "bad.npz:h")),
        "files": {"bad.npz": "PK"},
    },
    "JSON that is no histogram": {
        **edit(put("tested.observed", "bad.json:h")),
        "files": {"bad.json": '{"h": {"axes": []}}'},
    },
    "a CSV without bins": {
        **edit(put("tested.observed", "bad.csv:h")),
        "files": {"bad.csv": "x,h\n1,2\n"},
    },
    "a CSV column twice": {
        **edit(put("tested.observed", "bad.csv:h")),
        "files": {"bad.csv": "x_low,x_high,h,h\n0,1,5,6\n"},
    },
    "a CSV entry that is no number": {
        **edit(put("tested.observed", "bad.csv:h")),
        "files": {"bad.csv": "x_low,x_high,h\n0,1,many\n"},
    },
    "CSV bins with a gap": {
        **edit(put("tested.observed", "bad.csv:h")),
        "files": {"bad.csv": "x_low,x_high,h\n0,1,5\n2,3,6\n"},
    },
    "a CSV grid with missing bins": {
        **edit(put("tested.observed", "bad.csv:h")),
        "files": {"bad.csv": "x_low,x_high,y_low,y_high,h\n0,1,0,1,5\n1,2,1,2,6\n"},
    },
    "unequal binning": {
        **edit(put("partner.observed", "other.csv:partner")),
        "edges": [30.0, 40.0, 50.0, 60.0, 80.0],
    },
    "NaN or infinity in a histogram": column("fakes", [12.0, NAN, 5.0, 3.0]),
    "a negative count": column("tested", [110, 85, -1, 41]),
    "a negative yield": column("signal", [2.0, 6.0, 5.0, -0.1]),
    "a closure variable without events": edit(put("closure", ["pt2"])),
    "a negative yield of fakes": column("fakes", [12.0, 8.0, 5.0, -3.7]),
    "a negative error": column("fakes_error", [2.0, 1.5, -1.0, 0.8]),
    "a count that is not whole": column("tested", [110, 85.5, 62, 41]),
    "an efficiency ratio of zero": column("ratio", [0.9, 0.9, 0.0, 0.9]),
    "a signal of zero": column("signal", [0.0, 0.0, 0.0, 0.0]),
    "a systematic twice": edit(put("tested.signal.systematics.1", normsys("theory", 1.2, 0.8))),
    "a systematic with a reserved name": edit(
        put("tested.signal.systematics.0", normsys("symmetric_shape"))
    ),
    "a template that turns negative": column("up", [1.02, 1.21, 0.99, 0.97]),
    "a variation in a bin without yield": {
        **edit(put("tested.fakes.systematics", [histosys()])),
        **column("fakes", [12.0, 8.0, 5.0, 0.0]),
    },
    "signal without background": {
        "columns": {"tested": [110, 85, 62, 0], "partner": [120, 84, 55, 0]},
        **edit(put("tested.fakes", DROP)),
    },
    "signal too small for optimizers": column("signal", [0.02, 0.06, 0.05, 0.01]),
    "signal too large for optimizers": edit(put("signal_scale", 1000.0)),
    "signal that the pair cannot see": {
        **edit(
            put("partner.signal", {"yields": "table.csv:signal_partner"}),
            put("efficiency_ratio", 1.0),
        ),
        **column("signal_partner", [2.0, 6.0, 5.0, 1.0]),
    },
}

FIT = {
    "no such workspace": {"arguments": ["fit", "absent.json", "-o", "fit.json"]},
    "not JSON": text("{", "workspace.json"),
    "not UTF-8": {"files": {"workspace.json": b"\xff\xfe{"}},
    "NaN or Infinity in JSON": text('{"channels": NaN}', "workspace.json"),
    "a JSON key twice": text('{"version": "1.0.0", "version": "1.0.0"}', "workspace.json"),
    "JSON nested too deeply": text("[" * 100_000, "workspace.json"),
    "JSON that is no object": text("[1.0]", "workspace.json"),
    "half a character": edit(put("channels.0.name", "\udc80")),
    "a number that overflows": text('{"channels": [1e999]}', "workspace.json"),
    "pyhf's schema broken": edit(put("channels.0.samples.0.data", ["many", 1.0, 1.0])),
    "a key that the schema lacks": edit(put("channels.0.colour", "red")),
    "a negative observation": edit(put("observations.0.data.1", -3.0)),
    "a short observation": edit(put("observations.0.data", [104.0, 79.0])),
    "a long observation": edit(put("observations.0.data", [104.0, 79.0, 58.0, 31.0])),
    "no observation": edit(put("observations.0", DROP)),
    "samples of unequal length": edit(put("channels.1.samples.1.data", [100.0, 80.0])),
    "one shapefactor over unequal bins": edit(
        put("channels.0.samples.0.data", [100.0, 80.0]),
        put("observations.0.data", [104.0, 79.0]),
    ),
    "a channel twice": edit(put("channels.1.name", "CR_emu")),
    "a sample twice": edit(put("channels.1.samples.1.name", "signal")),
    "a modifier twice": edit(
        put("channels.1.samples.0.modifiers.1", {"name": "mu", "type": "normfactor", "data": None})
    ),
    "an observation twice": edit(put("observations.1.name", "CR_emu")),
    "a measurement twice": edit(
        put("measurements.1", {"name": "discovery", "config": {"poi": "mu", "parameters": []}})
    ),
    "a parameter configured twice": edit(
        put("measurements.0.config.parameters.1.name", "mu"),
    ),
    "one name for two types of modifier": edit(
        put(
            "channels.1.samples.1.modifiers.1",
            {"name": "mu", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        )
    ),
    "a shapesys shared": edit(
        put(
            "channels.0.samples.0.modifiers.1",
            {"name": "mc", "type": "shapesys", "data": [1.0] * 3},
        ),
        put(
            "channels.1.samples.1.modifiers.1",
            {"name": "mc", "type": "shapesys", "data": [1.0] * 3},
        ),
    ),
    "a modifier of another length": edit(
        put("channels.0.samples.0.modifiers.1", {"name": "mc", "type": "shapesys", "data": [1.0]})
    ),
    "a negative uncertainty": edit(
        put(
            "channels.0.samples.0.modifiers.1",
            {"name": "mc", "type": "shapesys", "data": [1.0, -1.0, 1.0]},
        )
    ),
    "an uncertainty next to nothing": edit(
        put(
            "channels.0.samples.0.modifiers.1",
            {"name": "mc", "type": "shapesys", "data": [1.0, 1e-300, 1.0]},
        )
    ),
    "a normsys factor of zero": edit(
        put(
            "channels.1.samples.0.modifiers.1",
            {"name": "xs", "type": "normsys", "data": {"hi": 1.1, "lo": 0.0}},
        )
    ),
    "a lumi without configuration": edit(
        put("channels.1.samples.0.modifiers.1", {"name": "lumi", "type": "lumi", "data": None})
    ),
    "a constraint on a free parameter": edit(
        put("measurements.0.config.parameters.0.sigmas", [0.1])
    ),
    "an error of zero": edit(
        put("channels.1.samples.0.modifiers.1", {"name": "lumi", "type": "lumi", "data": None}),
        put(
            "measurements.0.config.parameters.2",
            {
                "name": "lumi",
                "inits": [1.0],
                "bounds": [[0.5, 1.5]],
                "auxdata": [1.0],
                "sigmas": [0.0],
            },
        ),
    ),
    "an unknown POI": edit(put("measurements.0.config.poi", "muu")),
    "a patchset for a workspace": text(
        '{"metadata": {}, "patches": [{"metadata": {"name": "m200"}, "patch": []}]}',
        "workspace.json",
    ),
    "a JSON Patch for a workspace": text('[{"op": "add", "path": "/a"}]', "workspace.json"),
    "a result for a workspace": text('{"schema": "ddphf/fit/1"}', "workspace.json"),
    "a model for a workspace": text('{"channels": []}', "workspace.json"),
    "a likelihood in HS3": text('{"distributions": []}', "workspace.json"),
    "a control character in a name": edit(put("channels.0.name", "CR\x07")),
    "a staterror with a slash": edit(
        put(
            "channels.0.samples.0.modifiers.1",
            {"name": "stat_e/mu", "type": "staterror", "data": [1.0] * 3},
        )
    ),
    "a staterror over unequal samples": edit(
        *(
            put(
                f"channels.{channel}.samples.0.modifiers.1",
                {"name": "mc", "type": "staterror", "data": [1.0] * 3},
            )
            for channel in (0, 1)
        )
    ),
    "two parameters of one name": edit(
        put(
            "channels.0.samples.0.modifiers.1",
            {"name": "symmetric_shape[0]", "type": "normfactor", "data": None},
        )
    ),
    "a POI of several components": edit(put("measurements.0.config.poi", "symmetric_shape")),
    "wrong number of inits": edit(put("measurements.0.config.parameters.1.inits", [1.0])),
    "wrong number of bounds": edit(
        put("measurements.0.config.parameters.1.bounds", [[1e-10, 100.0]])
    ),
    "bounds in the wrong order": edit(
        put("measurements.0.config.parameters.0.bounds", [[10.0, -10.0]])
    ),
    "a start outside its bounds": edit(put("measurements.0.config.parameters.0.inits", [11.0])),
    "nothing expected where data are": edit(
        put("channels.0.samples.0.data.1", 0.0), put("channels.1.samples.1.data.1", 0.0)
    ),
    "an unknown measurement": {"arguments": [*FIT_JSON, "--measurement", "exclusion"]},
    "plots beside a damaged sidecar": {
        "files": {"workspace.metadata.json": "{}"},
        "arguments": ["fit", "workspace.json", "-o", "fit.json", "--plots", "figures"],
    },
}

USAGE = {
    "an existing output": {"files": {"fit.json": "{}"}, "arguments": FIT_JSON},
    "an existing sidecar": {
        "files": {"pair.metadata.json": "{}"},
        "arguments": ["build", "analysis.yml", "-o", "pair.json"],
    },
    "an existing figure": {
        "files": {"figures/prefit.png": "x"},
        "arguments": [*FIT_JSON, "--plots", "figures"],
    },
    "an output that is a folder": {"arguments": ["fit", "workspace.json", "-o", "."]},
    "a folder without a name": {"arguments": [*FIT_JSON, "--plots", ""]},
    "an output that is a device": {
        "arguments": ["fit", "workspace.json", "-o", "/dev/null", "--force"]
    },
    "an output below a file": {"arguments": ["fit", "workspace.json", "-o", "table.csv/fit.json"]},
    "an unknown engine": {"arguments": [*FIT_JSON, "--engine", "root"]},
    "an unknown option": {"arguments": [*FIT_JSON, "--fast"]},
    "an unknown command": {"arguments": ["refit"]},
    "a missing argument": {"arguments": ["fit"]},
}

MAPS = "lepton_id.maps"
MAP_CSV = "pt_low,pt_high,value,statistical,tag\n10,20,{0},.006,.012\n20,60,.7,.005,{1}\n"
MATRIX = edit(
    put(f"{MAPS}.electron.covariance", "c.csv"), put(f"{MAPS}.electron.correlation", DROP)
)
CORRELATIONS = {"arguments": ["correlations", "analysis.yml", "--toys", "0"]}

# The analysis of tests/test_lepton_id_build.py: events.npz, electron.csv, muon.csv.
LEPTON_ID = {
    "neither histogram nor selection": edit(put("tested.select", DROP)),
    "histogram and selection": edit(put("tested.observed", "table.csv:tested")),
    "a selection without events": edit(put("events", DROP)),
    "yields and events": edit(put("tested.signal.yields", "table.csv:signal")),
    "a ratio beside efficiency maps": edit(put("efficiency_ratio", 0.9)),
    "neither events nor composition": {
        **edit(
            put("events", DROP),
            put(
                "tested",
                {
                    "label": "mue",
                    "observed": "table.csv:tested",
                    "signal": {"yields": "table.csv:signal"},
                },
            ),
            put("partner", {"label": "emu", "observed": "table.csv:partner"}),
        )
    },
    "two maps of one flavour": edit(put(f"{MAPS}.muon.flavour", 11)),
    "efficiencies and scale factors": edit(put(f"{MAPS}.muon.kind", "scale_factor")),
    "a matrix and a correlation": edit(put(f"{MAPS}.electron.covariance", "c.csv")),
    "a rho out of range": edit(put(f"{MAPS}.electron.correlation.pt", 1.5)),
    "edges of an axis that do not increase": edit(put("events.axes.0.edges", [70.0, 30.0])),
    "a missing event table": edit(put("events.file", "absent.parquet")),
    "a damaged event table": {
        **edit(put("events.file", "bad.parquet")),
        "files": {"bad.parquet": "PAR1"},
    },
    "an unknown column": edit(put("tested.select", "flavour == 13")),
    "an expression that is code": edit(put("tested.select", "__import__('os')")),
    "an expression that gives numbers": edit(put("tested.select", "f1 - 11")),
    "overlapping samples": edit(put("partner.select", "f1 > 10")),
    "events in neither sample": edit(put("partner.select", "f1 == 11 and mass > 30")),
    "an event in both samples by its number": edit(
        put("events.identifier", ["f2"]),
        put("tested.select", "pt1 > 30"),
        put("partner.select", "pt1 <= 30"),
    ),
    "leptons outside a map": text("pt_low,pt_high,value,tag\n10,50,.8,0\n", "electron.csv"),
    "an efficiency of zero": text(MAP_CSV.format(0, ".007"), "electron.csv"),
    "an efficiency above one": text(MAP_CSV.format(1.2, ".007"), "electron.csv"),
    "map bins that overlap": text(
        "pt_low,pt_high,value,tag\n10,30,.8,0\n20,60,.9,0\n", "electron.csv"
    ),
    "a map without values": text("pt_low,pt_high,eff,tag\n10,60,.9,0\n", "electron.csv"),
    "an unknown source": edit(put(f"{MAPS}.muon.exclude", ["trigger"])),
    "a source that the maps do not share": edit(put("lepton_id.shared", ["trigger"])),
    "a shared source with two correlations": edit(put("lepton_id.shared", ["tag"])),
    "a correlation of no source": edit(put(f"{MAPS}.muon.correlation", {"trigger": {"pt": 0.5}})),
    "a correlation along no axis of the map": edit(
        put(f"{MAPS}.muon.correlation", {"tag": {"eta": 0.5}})
    ),
    "a correlation of an excluded source": edit(
        put(
            f"{MAPS}.muon",
            {
                "file": "muon.csv",
                "kind": "efficiency",
                "exclude": ["tag"],
                "correlation": {"tag": {"pt": 0.5}},
            },
        )
    ),
    "a covariance that is not positive": {
        **MATRIX,
        "files": {"c.csv": "1e-4,2e-4,0\n2e-4,1e-4,0\n0,0,1e-4\n"},
    },
    "a covariance that is not symmetric": {
        **MATRIX,
        "files": {"c.csv": "1e-4,2e-5,0\n1e-5,1e-4,0\n0,0,1e-4\n"},
    },
    "a covariance of the wrong shape": {**MATRIX, "files": {"c.csv": "1e-4,0\n0,1e-4\n"}},
    "lepton-ID errors that are too large": text(MAP_CSV.format(0.6, ".3"), "electron.csv"),
    "a study without lepton ID": {**edit(put("lepton_id", DROP)), **CORRELATIONS},
    "a study of a matrix": {**MATRIX, **CORRELATIONS, "files": {"c.csv": "1,0,0\n0,1,0\n0,0,1\n"}},
    "a study along an unknown axis": {
        "arguments": [*CORRELATIONS["arguments"], "--axis", "charge"]
    },
}

TOYS_NPZ = ["toys", "workspace.json", "-o", "toys.npz"]
TOYS = {
    "toys on standard output": {"arguments": ["toys", "workspace.json", "-o", "-"]},
    "no toys and nothing to merge": {"arguments": [*TOYS_NPZ, "--toys", "0"]},
    "toys without a null": {"arguments": [*TOYS_NPZ, "--measurement", "null"]},
    "toys of a fit without a null": {
        "arguments": [*FIT_JSON, "--toys", "5", "--measurement", "null"]
    },
    "an absent file to merge": {"arguments": [*TOYS_NPZ, "--merge", "absent.npz"]},
    "a file to merge that holds no toys": {
        "files": {"bad.npz": "x"},
        "arguments": [*TOYS_NPZ, "--merge", "bad.npz"],
    },
    "an existing file of toys": {"files": {"toys.npz": "x"}, "arguments": TOYS_NPZ},
    "toys of more events than can be drawn": {
        "edits": [
            put(f"{part}.{channel}{sample}.data.1", 1e20)
            for channel in range(2)
            for part, sample in (("channels", ".samples.0"), ("observations", ""))
        ],
        "arguments": [*TOYS_NPZ, "--toys", "5"],
    },
    "an output that is the input": {
        "arguments": ["fit", "workspace.json", "-o", "workspace.json", "--force"]
    },
    "an output without a name": {"arguments": ["fit", "workspace.json", "-o", ""]},
    "a format without figures": {"arguments": ["fit", "workspace.json", "--format", "pdf"]},
    "a seed that files cannot keep": {
        "arguments": ["fit", "workspace.json", "--toys", "5", "--seed", str(2**63)]
    },
    "an output named as a figure": {
        "arguments": ["fit", "workspace.json", "-o", "figures/prefit.png", "--plots", "figures"]
    },
}

GROUPS = (
    ("build", BUILD),
    ("build", HISTOGRAMS),
    ("fit", FIT),
    ("usage", USAGE),
    ("toys", TOYS),
    ("lepton_id", LEPTON_ID),
    ("lepton_id", EVENTS),
    ("lepton_id", MAP_FILES),
    ("lepton_id", TABLES),
    ("lepton_id", SEARCH_EVENTS),
    ("lepton_id", LEARN),
    ("fakes", FAKES),
    ("fakes", RATES),
    ("toys", DISTRIBUTED),
    ("toys", SHARDS),
    ("toys", DISCOVER),
    ("toys", LIMIT),
    ("inject", INJECT),
    ("study", STUDY),
    ("ratio", RATIO),
    ("search", SEARCH),
    ("bumps", BUMPS),
    ("convert", CONVERT),
    ("masses", MASSES),
    ("masses", PATCHSETS),
    ("ranking", RANKING),
    ("report", REPORT),
    ("publish", PUBLISH),
    ("publish", VERIFY),
    ("publish", PATCH),
)
"""Kind of folder that the cases run in, and the cases."""

CASES = {what: (kind, case) for kind, cases in GROUPS for what, case in cases.items()}


def read_rows():
    rows = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith(("| What", "| --")):
            what, message, code, remedy = (c.strip() for c in line.strip("|").split(" | "))
            assert what not in rows, f"row '{what}' appears twice"
            assert remedy.endswith("."), f"row '{what}' lacks a remedy"
            rows[what] = (message.strip("`"), int(code))
    return rows


ROWS = read_rows()


def run_case(folder, kind, case):
    """Prepare the folder of a case and run its command."""
    analysis, workspace = copy.deepcopy(ANALYSIS), plain_workspace()
    if kind == "ranking":
        normsys = {"name": "xs", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
        workspace["channels"][1]["samples"][0]["modifiers"].append(normsys)
    if kind in ("toys", "inject", "ranking"):
        null = copy.deepcopy(workspace["measurements"][0])
        null["name"] = "null"
        null["config"]["parameters"][0].update(inits=[0.0], fixed=True)
        workspace["measurements"].append(null)
    for change in case.get("edits", ()):
        if kind not in ("lepton_id", "fakes"):
            change(analysis if kind in ("build", "study", "search") else workspace)
    write_table(folder / "table.csv", {**COLUMNS, **case.get("columns", {})})
    write_table(folder / "other.csv", COLUMNS, case.get("edges", EDGES))
    (folder / "analysis.yml").write_text(yaml.safe_dump(analysis, sort_keys=False))
    (folder / "workspace.json").write_text(json.dumps(workspace))
    if kind in ("lepton_id", "fakes"):
        write = write_event_analysis if kind == "lepton_id" else write_loose_analysis
        write(folder, lambda a: [change(a) for change in case.get("edits", ())] and None)
    for name, content in case.get("files", {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content)
    if "prepare" in case:
        case["prepare"](folder)
    build = ["build", "analysis.yml", "-o", "out/pair.json"]
    default = build if kind in ("build", "lepton_id", "fakes") else FIT_JSON
    before = snapshot(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", case.get("temporary"))
        patch.setattr("ddphf.compute.cluster.CONNECT_SECONDS", 0.5)
        for module in case.get("absent", ()):
            patch.setitem(sys.modules, module, None)
        outcome = invoke(*case.get("arguments", default))
    assert snapshot(folder) == before, "a refused command left something behind"
    return outcome


def snapshot(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_every_row_has_a_case_and_every_case_a_row():
    assert set(ROWS) == set(CASES)
    assert len(CASES) == sum(len(cases) for _, cases in GROUPS), "a name is used twice"


@pytest.mark.parametrize("what", CASES)
def test_refusal(folder, what):
    outcome = run_case(folder, *CASES[what])
    message, code = ROWS[what]
    # The table writes ... where another library speaks.
    pattern = ".+".join(re.escape(part) for part in message.split("..."))
    assert re.fullmatch(pattern, outcome.message), outcome.message
    assert outcome.code == code
    assert outcome.out == ""


@pytest.mark.parametrize("what", [w for w in FIT if "--plots" not in FIT[w].get("arguments", [])])
def test_inspect_refuses_what_fit_refuses(folder, what):
    """The same message."""
    kind, case = CASES[what]
    given = case.get("arguments", FIT_JSON)
    arguments = ["inspect", given[1], *given[len(FIT_JSON) :]]
    outcome = run_case(folder, kind, {**case, "arguments": arguments})
    message, code = ROWS[what]
    assert outcome.message.startswith(message.split("...")[0])
    assert outcome.code == code


def test_the_examples_themselves_are_accepted(folder):
    """Without its edit every case runs: the edit is what is refused."""
    outcome = run_case(folder, "build", {"arguments": ["build", "analysis.yml"]})
    assert outcome.code == 0
    assert invoke("fit", "workspace.json", "-o", "fit.json").code == 0
