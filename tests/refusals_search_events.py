"""Refusals of `ddphf search events`, for test_refusals.py: test_lepton_id_build's files, edited."""

import numpy as np
from refusals_events import NUMBERS, change, events

__all__ = ["SEARCH_EVENTS"]

SEARCH = ["search", "events", "analysis.yml", "--flips", "40", "-o", "out/search.json"]
MASS = {"column": "mass", "edges": {"bins": 4, "low": 30, "high": 70}}


def search(section, **more):
    """Return a case: the search of an analysis with this section."""
    return {**change(lambda a: a.update(search=section)), "arguments": SEARCH, **more}


def select(text):
    return search({"selections": [{"name": "mine", "select": text}]})


def edited(function, **more):
    return {**change(function), "arguments": SEARCH, **more}


def append_row(folder):
    """Let the last row be the fifth again."""
    with np.load(folder / "events.npz") as archive:
        table = {name: np.append(values, values[4:5]) for name, values in archive.items()}
    np.savez(folder / "events.npz", **table)


def append_copies(folder):
    """Let a thousand rows be there twice, where values are rounded."""
    with np.load(folder / "events.npz") as archive:
        table = {name: np.rint(values) for name, values in archive.items()}
    np.savez(folder / "events.npz", **{k: np.append(v, v[:1000]) for k, v in table.items()})


def histogram_fakes(analysis):
    analysis["tested"]["fakes"] = {"yields": "table.csv:fakes"}


def shape_of_fakes(analysis):
    ends = {"up": "table.csv:up", "down": "table.csv:down"}
    analysis["tested"]["fakes"]["systematics"] = [{"name": "jes", "type": "histosys", **ends}]


SEARCH_EVENTS = {
    "more flips than memory is meant for": search(
        {"observables": [MASS]},
        arguments=["search", "events", "analysis.yml", "--flips", "900000000", "-o", "s.json"],
    ),
    "selections without events": edited(
        lambda a: [a.pop("events"), a.pop("lepton_id"), a.update(search={"grid": {"mass": [30]}}),
                   a.update(tested={"label": "b", "observed": "table.csv:tested"}),
                   a.update(partner={"label": "a", "observed": "table.csv:partner"})]
    ),
    "label flips of histograms": edited(
        lambda a: [a.pop("events"), a.pop("lepton_id"),
                   a.update(tested={"label": "b", "observed": "table.csv:tested"}),
                   a.update(partner={"label": "a", "observed": "table.csv:partner"})]
    ),
    "weights where labels are flipped": edited(lambda a: a["events"].update(weight="pt1")),
    "fakes that selections cannot cut": edited(histogram_fakes),
    "an error of fakes that selections cannot cut": edited(
        lambda a: a["tested"]["fakes"].update(error="table.csv:fakes_error")
    ),
    "a shape of fakes that selections cannot cut": edited(shape_of_fakes),
    "two selections of one name": search({"selections": [{"name": "x"}, {"name": "x"}]}),
    "an observable twice": search({"observables": [MASS, MASS]}),
    "cuts that do not increase": search({"grid": {"pt1": [30, 20]}}),
    "more selections than a search can mean": search(
        {"grid": {name: list(range(30)) for name in ("pt1", "pt2", "mass")}}
    ),
    "a cut that knows the label": select("pt1 > 30 and f1 == 13"),
    "an observable that knows the label": search(
        {"observables": [{**MASS, "column": "(f1 == 13) * pt1 + (f2 == 13) * pt2"}]}
    ),
    "a common selection that knows the label": edited(
        lambda a: a["events"].update(select="pt1 > 25 or f1 == 13")
    ),
    "a cut on a column of one flavour": {
        **select("electron_pt > 20"), **events(electron_pt=30.0 + NUMBERS % 7),
    },
    "a cut on numbers that no float holds": {
        **select("number % 2 == 0"), **events(number=2**60 + NUMBERS),
    },
    "an event twice that has no number": edited(lambda a: None, prepare=append_row),
    "copies among rounded events": edited(lambda a: None, prepare=append_copies),
    "selections with too few events": select("mass > 69.99"),
    "cumulative shares of two axes": search(
        {"observables": [[MASS, {**MASS, "column": "pt1"}]]},
        arguments=[*SEARCH, "--statistic", "ks"],
    ),
}  # fmt: skip
