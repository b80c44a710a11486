"""Refused injections and studies, for test_refusals.py.

Injections take the plain pair with a measurement 'null', studies the analysis file.
"""

__all__ = ["INJECT", "STUDY"]

PLAIN = {
    "tested": {
        "label": "mue", "observed": "table.csv:tested", "signal": {"yields": "table.csv:signal"},
    },
    "partner": {"label": "emu", "observed": "table.csv:partner"},
    "efficiency_ratio": 1.0,
    "background": {"known": "table.csv:known"},
}  # fmt: skip


def inject(*options, edits=()):
    return {"edits": edits, "arguments": ["inject", "workspace.json", "-o", "five.json", *options]}


def study(*options, edits=()):
    return {"edits": edits, "arguments": ["study", "birman", "-o", "birman", *options]}


def sample(change):
    """Return a study of the analysis file after ``change(analysis)``."""
    return study("--toys", "10", "--analysis", "analysis.yml", edits=[change])


def few_events(workspace):
    workspace["observations"][1]["data"][1] = 10.0


def no_signal(workspace):
    workspace["channels"][1]["samples"][0]["data"] = [0.0, 0.0, 0.0]


def positive_mu(workspace):
    parameter = workspace["measurements"][0]["config"]["parameters"][0]
    parameter.update(inits=[2.0], bounds=[[1.0, 10.0]])


INJECT = {
    "neither Z nor a strength": inject(),
    "a Z that is no number": inject("--z", "nan"),
    "a scan that is no list of numbers": inject("--z", "5", "--toys", "9", "--scan", "0,x"),
    "a scan without toys": inject("--z", "5", "--scan", "0,1"),
    "a scan of one toy": inject("--z", "5", "--toys", "1"),
    "a Z that no strength reaches": inject("--z", "50"),
    "a Z next to 0": inject("--z", "1e-6"),
    "a strength outside the bounds": inject("--mu", "11"),
    "a scan outside the bounds": inject("--z", "3", "--toys", "9", "--scan", "0,11"),
    "a deficit that leaves no events": inject("--mu", "-5"),
    "a shift that leaves no events": inject("--mu", "-2", "--data", "shift", edits=[few_events]),
    "an injection without a null": inject("--z", "3", "--measurement", "null"),
    "an injection into an unknown measurement": inject("--z", "3", "--measurement", "exclusion"),
    "a known background that is not there": inject("--z", "3", "--background", "known"),
    "an injection where 0 is out of bounds": inject("--z", "3", edits=[positive_mu]),
    "an injection of a signal without yield": inject("--z", "3", edits=[no_signal]),
}

STUDY = {
    "a study without toys": study("--toys", "0"),
    "a window outside the histogram": study("--window", "40"),
    "an empty window": study("--window", "0"),
    "a study that is there": {"files": {"birman/study.json": "{}"}, **study()},
    "a sample whose background is not known": sample(
        lambda a: (a.update(PLAIN), a.pop("background"))
    ),
    "a sample that is no plain pair": sample(
        lambda a: a.update(background={"known": "table.csv:known"})
    ),
    "a sample of one axis": sample(lambda a: a.update(PLAIN)),
}
