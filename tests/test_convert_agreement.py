"""The comparison of two workspaces: whether it finds each way in which they can differ."""

import copy

import numpy as np
import pytest
from interchange_models import every_modifier

from ddphf.exceptions import FitError
from ddphf.interchange.agreement import all_measurements, compare, points_near
from ddphf.interchange.terms import read_components
from ddphf.likelihood.reference import ReferenceModel


@pytest.fixture(scope="module")
def ours():
    return all_measurements(every_modifier())


def parameters(workspace, measurement):
    return workspace["measurements"][measurement]["config"]["parameters"]


def modifiers(workspace, channel, sample):
    return workspace["channels"][channel]["samples"][sample]["modifiers"]


def shift(workspace, channel, sample, index):
    data = modifiers(workspace, channel, sample)[index]["data"]
    if isinstance(data, list):
        data[0] *= 1.001
    else:
        key = "hi" if "hi" in data else "hi_data"
        data[key] = data[key] * 1.001 if key == "hi" else [v * 1.001 for v in data[key]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda w: parameters(w, 1)[1].update(inits=[1.0]), "is held at 0, after conversion at 1"),
        (lambda w: parameters(w, 1)[1].update(fixed=False), "held on one side"),
        (lambda w: w["measurements"][0]["config"].update(poi=""), "another POI"),
        (lambda w: w["measurements"].pop(), "1 measurements of 2"),
        (lambda w: modifiers(w, 0, 1).pop(1), "2NLL differences change"),
        (lambda w: modifiers(w, 0, 0).pop(1), "other parameters"),
        (lambda w: modifiers(w, 0, 2).pop(1), "2NLL differences change"),
        (lambda w: modifiers(w, 0, 0)[3].update(name="other"), "other parameters"),
        (lambda w: parameters(w, 0)[0].update(sigmas=[0.021]), "2NLL differences change"),
        (lambda w: w["observations"][1]["data"].__setitem__(2, 33.5), "2NLL differences change"),
        *[
            (lambda w, place=place: shift(w, *place), "2NLL differences change")
            for place in ((0, 0, 2), (0, 0, 3), (0, 1, 1), (0, 1, 2), (0, 2, 0), (0, 2, 1),
                          (0, 2, 2), (1, 0, 1))
        ],
    ],
)  # fmt: skip
def test_every_difference_is_found(ours, edit, message):
    workspace = every_modifier()
    edit(workspace)
    with pytest.raises(FitError, match=message):
        compare(ours, workspace)


def test_every_free_parameter_is_moved_from_its_bound():
    """A signal strength that starts at its lower bound is moved at every point."""
    workspace = every_modifier()
    parameters(workspace, 0)[1].update(bounds=[[0.0, 10.0]], inits=[0.0])
    components = read_components(ReferenceModel(workspace))
    start, *moved = points_near(components, 50)
    free = [not component.fixed for component in components]
    assert all(np.all((point != start)[free]) for point in moved)


def test_rates_below_zero_are_no_agreement():
    """Templates that drive a rate below 0 at two sigma are compared nearer to the start."""
    workspace = every_modifier()
    for key, factor in (("hi_data", 60.0), ("lo_data", -40.0)):
        data = modifiers(workspace, 0, 1)[2]["data"]
        data[key] = [factor * value for value in data[key]]
    ours = all_measurements(workspace)
    other = copy.deepcopy(workspace)
    assert compare(ours, other) == 0.0
    modifiers(other, 1, 0)[1]["data"]["lo_data"][2] *= 1.001
    with pytest.raises(FitError, match="2NLL differences change"):
        compare(ours, other)
