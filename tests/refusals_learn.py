"""Refusals of `ddphf learn`, for test_refusals.py: test_lepton_id_build's files, edited."""

import numpy as np
import yaml
from conftest import invoke
from refusals_events import change, events
from test_lepton_id_build import make_tables

__all__ = ["LEARN"]

TEST = ["learn", "test", "analysis.yml", "--redraws", "40", "-o", "out/learn.json"]


def learn(*variables, arguments=TEST, **more):
    """Return a case: the analysis with these variables of the section learn."""
    given = [{"column": v} if isinstance(v, str) else v for v in variables]
    edit = change(lambda a: a.update(learn={"variables": given}))
    return {**edit, "arguments": arguments, **more}


def edited(function, **more):
    """Return a case: the analysis with the section learn, and another edit."""

    def edit(analysis):
        analysis["learn"] = {"variables": [{"column": "mass"}]}
        function(analysis)

    return {**change(edit), "arguments": TEST, **more}


def histograms(analysis):
    analysis.pop("events")
    analysis.pop("lepton_id")
    analysis["tested"] = {"label": "b", "observed": "table.csv:tested"}
    analysis["partner"] = {"label": "a", "observed": "table.csv:partner"}


def many_fakes(analysis):
    analysis["tested"]["fakes"]["weight"] = "w * 60"


def one_bin_of_fakes(analysis):
    analysis["tested"]["fakes"]["weight"] = "9 * (mass > 30) * (mass < 40)"


def learned(change, command=("build", "again.yml", "-o", "out/pair.json")):
    """Return a case: the analysis file of a learned template, edited."""

    def prepare(folder):
        assert invoke("learn", "template", "analysis.yml", "--seed", "1", "-o", "h.yml").code == 0
        document = yaml.safe_load((folder / "h.yml").read_text())
        change(document)
        (folder / "again.yml").write_text(yaml.safe_dump(document))

    return edited(lambda a: None, arguments=list(command), prepare=prepare)


def without_its_analysis(folder):
    """The record of a test whose analysis file is not there any more."""
    arguments = ("learn", "test", "analysis.yml", "--redraws", "20", "-o", "l.json")
    assert invoke(*arguments).code == 0
    assert invoke("build", "analysis.yml", "-o", "pair.json").code == 0
    (folder / "analysis.yml").unlink()


SPLIT = np.where(make_tables()["events"]["mass"] > 50, 13, 11)
"""Flavours that the mass tells."""

LEARN = {
    "learning without variables": {**change(lambda a: None), "arguments": TEST},
    "learning from histograms": edited(histograms),
    "weights where labels are redrawn": edited(lambda a: a["events"].update(weight="pt1")),
    "more variables than samples can fill": learn(*(f"mass + {i}" for i in range(11))),
    "a variable twice": learn("mass", "mass"),
    "a resolution of a transformed variable": learn(
        {"column": "mass", "transform": "log", "resolution": 1.0}
    ),
    "a variable that is no number for some event": learn("sqrt(mass - 30)"),
    "a variable with one value": learn("0 * mass + 1"),
    "a variable of whole numbers": learn("floor(mass / 10)"),
    "a resolution beyond all values": learn({"column": "mass", "resolution": 100.0}),
    "values whose squares are no numbers": learn("mass * 1e300"),
    "a logarithm of what has none": learn({"column": "mass - 40", "transform": "log"}),
    "a variable that knows the label": learn("(f1 == 13) * pt1 + (f2 == 13) * pt2"),
    "fewer events than labels can tell": edited(lambda a: a["events"].update(select="mass > 74.9")),
    "fakes beyond all events": edited(many_fakes),
    "fakes beyond the events of a bin": edited(one_bin_of_fakes),
    "a curve in three variables": learn(
        "mass", "pt1", "pt2", arguments=["learn", "curve", "analysis.yml", "-o", "c.json"]
    ),
    "power of a test with a training per redraw": edited(
        lambda a: None,
        arguments=["learn", "power", "analysis.yml", "--inject", "50:2", "--statistic", "network",
                   "-o", "p.json"],
    ),
    "a signal in other variables than the test": edited(
        lambda a: None,
        arguments=["learn", "power", "analysis.yml", "--inject", "50:2,3:1", "-o", "p.json"],
    ),
    "more signal than a pool holds": edited(
        lambda a: None,
        arguments=["learn", "power", "analysis.yml", "--inject", "50:2", "--strengths", "1e12",
                   "-o", "p.json"],
    ),
    "a signal that is no Gaussian": edited(
        lambda a: None, arguments=["learn", "power", "analysis.yml", "--inject", "50", "-o", "p"]
    ),
    "t beyond too few redraws": {
        **learn("mass", arguments=["learn", "test", "analysis.yml", "--statistic", "kernel",
                                   "--redraws", "40", "-o", "l.json"]),
        **events(f1=SPLIT, f2=24 - SPLIT),
    },
    "events that a template was learned from": learned(
        lambda d: d["events"].update(file="events.npz")
    ),
    "a training half that was edited": learned(lambda d: d["learned"].update(coincidences=2000)),
    "a learned template without its section": learned(lambda d: d.pop("learned")),
    "a template learned for a learned one": learned(
        lambda d: None, ("learn", "template", "again.yml", "-o", "out/h.yml")
    ),
    "what was learned, published without its events": edited(
        lambda a: None, prepare=without_its_analysis,
        arguments=["publish", "pair.json", "l.json", "-o", "out.tar.gz"],
    ),
    "a template written to standard output": edited(
        lambda a: None, arguments=["learn", "template", "analysis.yml", "-o", "-"]
    ),
}  # fmt: skip
