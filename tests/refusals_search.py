"""Cases of tests/test_refusals.py for ``ddphf search``."""

import json
from pathlib import Path

from conftest import invoke

__all__ = ["SEARCH"]


def search(*options, edits=(), **case):
    arguments = ["search", "pair", "analysis.yml", "-o", "s.json", "--precision", ".5", *options]
    return {"arguments": arguments, "edits": edits, **case}


def null(*options):
    return {"arguments": ["search", "null", "-o", "n.json", *options]}


def run(line):
    outcome = invoke(*line.split())
    assert outcome.code == 0, outcome.err


def found(folder):
    """A record, and its best window as a hypothesis."""
    del folder
    run("search pair analysis.yml --precision .5 -o s.json -q")
    run("search freeze s.json -o hypothesis.yml -q")


def half_new(folder):
    """New data whose partner is the old one."""
    found(folder)
    table = Path("table.csv").read_text().replace(",110,", ",131,")
    Path("new.csv").write_text(table)
    Path("new.yml").write_text(Path("analysis.yml").read_text().replace("table.csv", "new.csv"))


def two_axes(folder):
    del folder
    rows = [f"{i},{i + 1},{j},{j + 1},60,50" for i in range(2) for j in range(2)]
    Path("two.csv").write_text("\n".join(["m_low,m_high,pt_low,pt_high,b,a", *rows]))
    sides = {"tested": ("mue", "b"), "partner": ("emu", "a")}
    parts = {k: {"label": x, "observed": f"two.csv:{y}"} for k, (x, y) in sides.items()}
    Path("two.yml").write_text(json.dumps({"schema": "ddphf/analysis/1", "name": "two", **parts}))


def table_of_trials(folder):
    del folder
    run("search null --shape 4 --z 2 --precision .5 -o s.json -q")


def changed(folder):
    found(folder)
    Path("analysis.yml").write_text(Path("analysis.yml").read_text() + "description: later\n")


def other_data(folder):
    found(folder)
    Path("table.csv").write_text(Path("table.csv").read_text().replace(",110,", ",131,"))


def moved(folder):
    found(folder)
    Path("analysis.yml").unlink()


def broken(folder):
    found(folder)
    data = json.loads(Path("s.json").read_text())
    data["best"][0]["global"]["p"] = 0.0
    Path("s.json").write_text(json.dumps(data))


def edited_hypothesis(folder):
    found(folder)
    text = Path("hypothesis.yml").read_text()
    line = next(x for x in text.splitlines() if x.startswith("  data_digest: "))
    Path("hypothesis.yml").write_text(text.replace(line, f"  data_digest: sha256:{64 * '0'}"))


def untrue(folder):
    found(folder)
    data = json.loads(Path("s.json").read_text())
    data["best"][0]["global"] |= {"p": 1e-6, "z": 1.0}
    Path("s.json").write_text(json.dumps(data))


def nothing_there(folder):
    """New data that are empty in the window."""
    found(folder)
    lines = Path("table.csv").read_text().splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    low, size = (json.loads(Path("s.json").read_text())["best"][0][k][0] for k in ("start", "size"))
    for i, row in enumerate(rows):
        row |= {"tested": 91 * (not low <= i < low + size), "fakes": 0, "fakes_error": 0}
        row |= {"partner": 93 * (not low <= i < low + size)}
    text = [",".join(names), *(",".join(str(row[n]) for n in names) for row in rows)]
    Path("new.csv").write_text("\n".join(text) + "\n")
    Path("new.yml").write_text(Path("analysis.yml").read_text().replace("table.csv", "new.csv"))


def weighted(analysis):
    analysis["integer_data"] = False


def maps_without_ratio(analysis):
    del analysis["efficiency_ratio"]
    analysis["lepton_id"] = {
        "maps": {"electron": {"file": "maps.json", "kind": "efficiency"}},
        "composition": "composition.npz",
    }


def unknown_ratio(analysis):
    analysis["tested"]["systematics"] = [
        {"name": "ratio", "type": "normsys", "up": 1.9, "down": 0.1}
    ]
    del analysis["tested"]["fakes"]


def box(**window):
    def change(analysis):
        analysis["tested"]["signal"] = {"window": {"events": 5.0, **window}}

    return change


def box_and_yields(analysis):
    analysis["tested"]["signal"]["window"] = {"events": 5.0, "start": [1], "size": [2]}


FREEZE = ["search", "freeze", "s.json", "-o", "h.yml"]
TEST = ["search", "test", "hypothesis.yml", "-o", "t.json"]
BUILD = ["build", "analysis.yml", "-o", "out/pair.json"]
MANY = {"tested": [30_000_000] * 4, "partner": [30_000_000] * 4}

SEARCH = {
    "no window": search("--windows", ""),
    "windows of no known rule": search("--windows", "sqares"),
    "a searched window outside the histogram": search("--windows", "9"),
    "a window of other axes": search("--windows", "2x2"),
    "too many windows": search("--max-windows", "9"),
    "the exact null of weights": search("--null", "binomial", edits=[weighted]),
    "a whole statistic of weights": search("--statistic", "chi2", edits=[weighted]),
    "cumulative shares of a pair of two axes": {
        "arguments": ["search", "pair", "two.yml", "-o", "s.json", "--statistic", "ks"],
        "prepare": two_axes,
    },
    "maps without a ratio": search(edits=[maps_without_ratio]),
    "a window that is the nuisance": search(
        "--windows", "4", edits=[unknown_ratio], columns=MANY
    ),
    "a shape without bins": null("--shape", "4,0", "--z", "3"),
    "a local Z that is no number": null("--shape", "4", "--z", "nan"),
    "a window with yields": {"arguments": BUILD, "edits": [box_and_yields]},
    "a window neither by bins nor by edges": {"arguments": BUILD, "edits": [box()]},
    "an edge of a window that is none": {"arguments": BUILD, "edits": [box(edges=[[41, 60]])]},
    "a signal window outside the histogram": {
        "arguments": BUILD, "edits": [box(start=[3], size=[2])],
    },
    "a rank that was not listed": {"arguments": [*FREEZE, "--rank", "99"], "prepare": found},
    "a table of trials to freeze": {"arguments": FREEZE, "prepare": table_of_trials},
    "a record that is no search": {"arguments": ["search", "freeze", "workspace.json"]},
    "a damaged record of a search": {"arguments": FREEZE, "prepare": broken},
    "a searched analysis that was changed": {"arguments": FREEZE, "prepare": changed},
    "a searched analysis that is gone": {"arguments": FREEZE, "prepare": moved},
    "searched data that were changed": {"arguments": FREEZE, "prepare": other_data},
    "a test on the choosing data": {"arguments": [*TEST, "analysis.yml"], "prepare": found},
    "a test on half of the choosing data": {"arguments": [*TEST, "new.yml"], "prepare": half_new},
    "a frozen window that was edited": {
        "arguments": [*TEST, "analysis.yml"], "prepare": edited_hypothesis,
    },
    "a search whose p is not its significance": {"arguments": FREEZE, "prepare": untrue},
    "a test where no event is": {"arguments": [*TEST, "new.yml"], "prepare": nothing_there},
    "histograms without an event": search(
        edits=[lambda a: a["tested"].pop("fakes")],
        columns={"tested": [0] * 4, "partner": [0] * 4},
    ),
    "a test of no frozen window": {
        "arguments": ["search", "test", "analysis.yml", "analysis.yml", "-o", "t.json"],
    },
}  # fmt: skip
