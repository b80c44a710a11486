"""HS3: what is written by the text of the standard, what is read as others write it."""

import contextlib
import copy
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke
from hs3_formulas import twice_nll, values_of
from hypothesis import HealthCheck, given, settings
from interchange_models import (
    MARK,
    differences,
    every_modifier,
    marked,
    plain,
    points,
    pyhf_differences,
)
from model_zoo import zoo

from ddphf.exceptions import InputError, ModelError
from ddphf.interchange import hs3_read
from ddphf.interchange.agreement import all_measurements, compare
from ddphf.interchange.hs3_read import read_hs3
from ddphf.interchange.hs3_write import write_hs3
from ddphf.interchange.names import Names
from ddphf.likelihood.reference import ReferenceModel

WORKSPACES = Path(__file__).parent.parent / "workspaces"
ZOO = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def as_file(document):
    return json.loads(json.dumps(document))


def assert_same(workspace, n=5):
    """What is written is the likelihood by the standard's text, and reads back as it was."""
    references = all_measurements(workspace)
    document = as_file(write_hs3(references))
    for reference in references:
        start = values_of(document, reference.measurement)
        names = list(start)[: len(reference.parameters.names)]
        where = points(reference, n)
        theirs = [twice_nll(document, reference.measurement,
                            {**start, **dict(zip(names, map(float, x), strict=True))})
                  for x in where]  # fmt: skip
        np.testing.assert_allclose(
            differences(theirs), pyhf_differences(reference, where), rtol=1e-10, atol=1e-6
        )
    again, left_out = read_hs3(document)
    assert left_out == []
    assert compare(references, again) < 1e-6
    for one, other in zip(references, all_measurements(again), strict=True):
        assert other.parameters.names == one.parameters.names
        np.testing.assert_array_equal(other.parameters.lower, one.parameters.lower)
        np.testing.assert_array_equal(other.parameters.upper, one.parameters.upper)
        np.testing.assert_array_equal(other.parameters.fixed, one.parameters.fixed)
        np.testing.assert_array_equal(other.parameters.init, one.parameters.init)
        assert other.parameters.poi == one.parameters.poi


def test_every_modifier_is_the_likelihood_of_the_standard():
    assert_same(every_modifier(), n=20)


@ZOO
@given(workspace=zoo())
def test_generated_models_are_the_likelihood_of_the_standard(workspace):
    assert_same(plain(workspace))


@pytest.mark.parametrize("name", ["higgs_lfv_window", "tau_ratio"])
def test_shipped_workspaces(name):
    assert_same(json.loads((WORKSPACES / name / "workspace.json").read_text()), n=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["higgs_lfv", "higgs_lfv_asymmetric"])
def test_large_shipped_workspaces(name):
    assert_same(json.loads((WORKSPACES / name / "workspace.json").read_text()), n=1)


def test_bins_that_pyhf_holds_stay_held():
    workspace = every_modifier()
    fake = workspace["channels"][0]["samples"][2]
    fake["modifiers"][0]["data"][1] = 0.0
    assert_same(workspace)


def test_names_that_no_other_tool_takes_come_back():
    workspace = every_modifier()
    text = json.dumps(workspace).replace('"SR"', '"SR high-mass (µτ)"').replace('"id"', '"2 id/%"')
    text = text.replace('"mu"', '"CR"').replace('"sf"', '"alpha_shape"')
    assert_same(json.loads(text))
    document = write_hs3(all_measurements(json.loads(text)))
    objects = [o["name"] for key in ("distributions", "functions", "data", "likelihoods", "domains",
                                     "parameter_points", "analyses")
               for o in document[key]]  # fmt: skip
    values = [p["name"] for p in document["parameter_points"][0]["parameters"]]
    assert len(set(objects + values)) == len(objects + values)
    assert all(name.isidentifier() and name.isascii() for name in objects + values)


def test_a_mark_of_a_chosen_window_is_kept():
    again, _ = read_hs3(write_hs3(all_measurements(marked())))
    for measurement in again["measurements"]:
        assert measurement["config"]["parameters"][-1] == {"name": MARK}


def test_a_nuisance_that_is_measured_otherwise_is_refused():
    workspace = every_modifier()
    moved = {"name": "shape", "auxdata": [0.4]}
    workspace["measurements"][0]["config"]["parameters"].append(moved)
    with pytest.raises(ModelError, match=r"'shape' .*has the auxiliary datum .*HS3 has 0 with 1"):
        write_hs3(all_measurements(workspace))


def as_root_writes(workspace):
    """Return the document as ROOT 6.40 writes one: other names, terms named or implied."""
    document = as_file(write_hs3(all_measurements(workspace)[:1]))
    gone = ("constraint_gamma_fk", "constraint_gamma_staterror")
    document["distributions"] = [
        d for d in document["distributions"] if not d["name"].startswith(gone)
    ]
    document["functions"] = [  # means of the terms that went
        f for f in document["functions"] if not f["name"].startswith("expected_gamma_fk")
    ]
    (likelihood,) = document["likelihoods"]
    del likelihood["aux_distributions"]
    errors = {"signal": [0.2, 0.3, 0.1], "bkg": [3.0, 2.0, 4.0]}
    vals = {"fk": [0.2, 1 / 8, 0.5]}
    for channel in document["distributions"]:
        for sample in channel.get("samples", ()):
            if channel["name"] == "SR":
                sample["data"]["errors"] = errors.get(sample["name"], [0.0] * 3)
            for modifier in sample["modifiers"]:
                name = modifier["name"]
                if name == "lumi":
                    modifier["constraint_name"] = "constraint_lumi"
                elif name == "staterror_SR":
                    modifier |= {"name": "staterror", "type": "staterror"}
                    modifier["constraint_type"] = "Gauss"
                elif modifier["type"] == "shapefactor":
                    modifier |= {"type": "shapesys", "data": {"vals": vals.get(name, [0.0] * 3)}}
                    modifier["constraint_type"] = "Poisson" if name == "fk" else "Gauss"
                elif modifier["type"] == "normsys":
                    modifier["interpolation"] = 5
                    del modifier["constraint"]
                    modifier["constraint_name"] = f"{modifier['parameter']}Constraint"
                elif modifier["type"] == "histosys":
                    del modifier["constraint"]
                    modifier["constraint_name"] = f"{modifier['parameter']}Constraint"
    for parameter in ("alpha_id", "alpha_shape"):
        document["distributions"].append({
            "name": f"{parameter}Constraint", "type": "gaussian_dist", "x": parameter,
            "mean": f"nom_{parameter}", "sigma": 1.0,
        })  # fmt: skip
        document["parameter_points"][0]["parameters"].append(
            {"name": f"nom_{parameter}", "value": 0.0, "const": True}
        )
    document["metadata"]["packages"] = [{"name": "ROOT", "version": "6.40.00"}]
    document["misc"] = {"ROOT_internal": {}}
    document["domains"][0]["axes"].append({"name": "nom_gamma_fk_bin_0", "min": 0.0})
    return document


def test_a_document_in_the_manner_of_root():
    workspace = every_modifier()
    again, left_out = read_hs3(as_root_writes(workspace))
    assert left_out == []
    one, other = ReferenceModel(workspace), ReferenceModel(again)
    names = [name.replace("staterror_SR", "staterror") for name in one.parameters.names]
    assert list(other.parameters.names) == names
    where = points(one, 5)
    np.testing.assert_allclose(
        pyhf_differences(other, where), pyhf_differences(one, where), atol=1e-9
    )


@pytest.mark.parametrize(
    ("meaning", "vals"),
    [
        ("relative", [0.2, 0.125, 0.5]),
        ("absolute", [2.0, 1.0, 3.0]),
        ("counts", [25.0, 64.0, 4.0]),
        ("root-counts", [5.0, 8.0, 2.0]),
    ],
)
def test_the_vals_of_a_shapesys_are_what_the_user_says(meaning, vals):
    document = as_root_writes(every_modifier())
    for parameter in document["parameter_points"][0]["parameters"]:
        if parameter["name"].startswith("nom_gamma_fk"):
            parameter["name"] = f"x_{parameter['name']}"
    (fake,) = [s for s in document["distributions"][0]["samples"] if s["name"] == "fake"]
    fake["modifiers"][0]["data"]["vals"] = vals
    with pytest.raises(InputError, match="vals of shapesys 'fk' mean is not said"):
        read_hs3(document)
    again, _ = read_hs3(document, shapesys=meaning)
    (fake,) = [s for s in again["channels"][0]["samples"] if s["name"] == "fake"]
    np.testing.assert_allclose(fake["modifiers"][0]["data"], [2.0, 1.0, 3.0])


def test_analyses_of_other_data_are_chosen_by_name():
    document = write_hs3(all_measurements(every_modifier()))
    (likelihood,) = document["likelihoods"]
    document["data"] += [{**d, "name": f"asimov_{d['name']}"} for d in document["data"]]
    other = {**likelihood, "name": "asimov", "data": [f"asimov_{d}" for d in likelihood["data"]]}
    document["likelihoods"].append(other)
    document["analyses"].append({**document["analyses"][0], "name": "asimov_analysis",
                                 "likelihood": "asimov"})  # fmt: skip
    with pytest.raises(InputError, match=r"have different data .*choose by --analysis NAME"):
        read_hs3(document)
    again, left_out = read_hs3(document, analysis="free")
    assert [m["name"] for m in again["measurements"]] == ["free"]
    assert left_out == [
        "left out, since a pyhf workspace has no place for them: analyses null, asimov_analysis",
        "left out, since a pyhf workspace has no place for them: data asimov_observed_SR, "
        "asimov_observed_CR",
        "left out, since a pyhf workspace has no place for them: parameter points values_null",
    ]


def changed(edit):
    document = as_file(write_hs3(all_measurements(every_modifier())))
    edit(document)
    return document


def modifier_of(document, sample, name):
    (found,) = [s for s in document["distributions"][0]["samples"] if s["name"] == sample]
    return next(m for m in found["modifiers"] if m["name"] == name)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: modifier_of(d, "signal", "id").update(type="custom"), "type 'custom', which"),
        (lambda d: modifier_of(d, "signal", "id").update(interpolation="code1"), "code1"),
        (lambda d: modifier_of(d, "signal", "id").update(constraint="LogNormal"), "LogNormal"),
        (lambda d: [c["samples"][-1 if c["name"] == "CR" else 1]["modifiers"][-1].pop("constraint")
                    for c in d["distributions"][:2]], "without a Gaussian constraint term"),
        (lambda d: modifier_of(d, "signal", "id").update(extra=1), "unknown component 'extra'"),
        (lambda d: modifier_of(d, "bkg", "sf").update(parameters=["a", "a", "b"]), "two bins"),
        (lambda d: modifier_of(d, "bkg", "sf")["parameters"].reverse(), "two different lists"),
        (lambda d: d["data"][0].update(type="unbinned"), "needs binned ones"),
        (lambda d: d["data"][0]["contents"].pop(), "2 numbers for 3 bins"),
        (lambda d: d["data"][0].update(uncertainty={}), "unknown component 'uncertainty'"),
        (lambda d: d["distributions"].append({"name": "x", "type": "exponential_dist"})
         or d["likelihoods"][0]["aux_distributions"].append("x"), "'exponential_dist' has no"),
        (lambda d: d["distributions"].append(d["distributions"][0]), "is there twice"),
        (lambda d: d["analyses"][0].update(likelihood="other"), "no 'other'"),
        (lambda d: d["analyses"][0].update(domains=["other"]), "no 'other'"),
        (lambda d: d["analyses"][0].update(parameters_of_interest=["x"]), "no modifier has"),
        (lambda d: [p["parameters"].pop(2) for p in d["parameter_points"]], "has no value"),
        (lambda d: d.update(extra=[]), "unknown component 'extra' at the top level"),
        (lambda d: d["distributions"][0]["axes"][0].update(nbins=10**12), "numbers for"),
        (lambda d: d["distributions"][0]["axes"][0].update(nbins=0), "expected nbins or edges"),
        (lambda d: d["distributions"][0].update(samples={}), "expected a list of objects"),
        (lambda d: modifier_of(d, "signal", "id").update(constraint_type="Poisson"), "differ, and"),
        (lambda d: modifier_of(d, "bkg", "sf").update(parameter="x"), "expected parameters, one"),
        (lambda d: modifier_of(d, "bkg", "sf").update(constraint="Const"), "is Const, and its"),
        (lambda d: d["data"][0]["axes"][0].update(max=30.0), "other bins than channel 'SR'"),
        (lambda d: d["parameter_points"][0]["parameters"][0].update(const=1), "const true or f"),
        (lambda d: d["parameter_points"][0]["parameters"].append(
            {**d["parameter_points"][0]["parameters"][0], "value": 9.0}), "is there twice"),
        (lambda d: [v.update(value=1e-300) for p in d["parameter_points"] for v in p["parameters"]
                    if v["name"].startswith("width_gamma_fk")]
         and d["functions"][0]["factors"].extend([1e-300]), "positive, finite width"),
        # a width that the fit would move is no constant
        (lambda d: next(t for t in d["distributions"] if t["type"] == "gaussian_dist")
         .update(sigma="mu"), "a constant in the place of 'mu'"),
        (lambda d: d["distributions"][0].update(axes=[{"name": "m", "nbins": 10**300}] * 20),
         "more bins than any document"),
    ],
)  # fmt: skip
def test_what_pyhf_has_not_is_refused(edit, message):
    with pytest.raises(InputError, match=message):
        read_hs3(changed(edit))


@pytest.mark.parametrize(
    ("meaning", "vals"),
    [("relative", [0.2, 0.125, 0.5]), ("absolute", [2.0, 1.0, 3.0]),
     ("counts", [25.0, 64.0, 4.0]), ("root-counts", [5.0, 8.0, 2.0])],
)  # fmt: skip
def test_the_vals_of_a_gaussian_shapesys_are_what_the_user_says(meaning, vals):
    document = as_root_writes(every_modifier())
    (fake,) = [s for s in document["distributions"][0]["samples"] if s["name"] == "fake"]
    fake["modifiers"][0] |= {"constraint": "Gauss", "data": {"vals": vals}}
    fake["modifiers"][0].pop("constraint_type", None)
    again, _ = read_hs3(document, shapesys=meaning)
    (fake,) = [s for s in again["channels"][0]["samples"] if s["name"] == "fake"]
    (errors,) = [m["data"] for m in fake["modifiers"] if m["name"] == "fk"]
    np.testing.assert_allclose(errors, [2.0, 1.0, 3.0])
    for point in document["parameter_points"]:
        point["parameters"] = [p for p in point["parameters"] if "nom_gamma_fk" not in p["name"]]
    with pytest.raises(InputError, match="what the vals of shapesys 'fk' mean is not said"):
        read_hs3(document)


def test_parameters_that_a_few_characters_stand_for_are_limited(monkeypatch):
    def edit(document):
        modifiers = document["distributions"][0]["samples"][1]["modifiers"]
        modifiers += [{"name": f"m{i}", "type": "shapefactor"} for i in range(4)]

    monkeypatch.setattr(hs3_read, "MOST_CELLS", 11)
    with pytest.raises(InputError, match="12 parameters that modifiers leave unnamed"):
        read_hs3(changed(edit))


@pytest.mark.parametrize("value", [5e-324, 1e-200, 1e200, 1.7e308])
@pytest.mark.parametrize("meaning", [None, "relative", "absolute", "counts", "root-counts"])
def test_errors_whose_squares_are_no_numbers_are_refused_or_read(value, meaning):
    document = as_root_writes(every_modifier())
    (fake,) = [s for s in document["distributions"][0]["samples"] if s["name"] == "fake"]
    fake["modifiers"][0]["data"]["vals"][0] = value
    with contextlib.suppress(InputError):
        again, _ = read_hs3(document, shapesys=meaning)
        (fake,) = [s for s in again["channels"][0]["samples"] if s["name"] == "fake"]
        assert np.all(np.isfinite(fake["modifiers"][0]["data"]))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d["metadata"].update(authors=[{"name": "A"}]), "keys of metadata authors"),
        (lambda d: d["misc"].update(notes="x"), "keys of misc notes"),
        (lambda d: d["distributions"].append({"name": "x", "type": "any"}), "distributions x"),
        (lambda d: d["functions"].append({"name": "x", "type": "any"}), "functions x"),
        (lambda d: d["domains"].append({"name": "x", "type": "any"}), "domains x"),
        (lambda d: d["likelihoods"].append({"name": "x"}), "likelihoods x"),
        (lambda d: d["parameter_points"][0]["parameters"][0].update(error=1.0),
         "keys of parameter points error"),
        (lambda d: [d[k][0].update(axes=[{"name": "m", "edges": [0, 1, 5, 9]}])
                    for k in ("distributions", "data")], "bin edges of channels SR"),
        (lambda d: d["distributions"][1]["samples"][0]["modifiers"].clear()
         or d["distributions"][1]["samples"][0]["data"].update(errors=[1.0, 0.0, 0.0]),
         "errors of samples without a modifier per bin CR/bkg"),
        (lambda d: modifier_of(d, "bkg", "shape")["data"]["hi"].update(errors=[1.0, 1.0, 1.0]),
         "errors of variations of SR/bkg"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_said(edit, said):
    _, left_out = read_hs3(changed(edit))
    assert left_out == [f"left out, since a pyhf workspace has no place for them: {said}"]


def test_another_version_of_the_standard_is_said():
    _, left_out = read_hs3(changed(lambda d: d["metadata"].update(hs3_version="1.0")))
    assert left_out == ["metadata.hs3_version is '1.0', it is read as 0.2"]


def test_many_names_that_become_one_are_made_in_linear_time():
    names = Names()
    made = [names.make(chr(0x4E00 + index)) for index in range(20_000)]
    assert made[:2] == ["n_", "n__2"]
    assert len(set(made)) == len(made)


def leaves(node, path=()):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, (*path, index))
    yield path


def test_damage_anywhere_is_refused_or_read_never_a_traceback():
    document = as_file(write_hs3(all_measurements(every_modifier())[:1]))
    rng = np.random.default_rng(3)
    paths = [path for path in leaves(document) if path]
    for index in rng.choice(len(paths), 400, replace=False):
        for value in (None, [], {}, "x", -1.5, True, [[1]], {"a": 1}):
            bad = copy.deepcopy(document)
            node = bad
            *parents, last = paths[index]
            for key in parents:
                node = node[key]
            node[last] = value
            with contextlib.suppress(InputError):
                read_hs3(bad)


def test_the_command_goes_both_ways_through_a_pipe(folder):
    Path("w.json").write_text(json.dumps(every_modifier()))
    done = invoke("convert", "w.json", "--to", "hs3")
    assert done.code == 0, done.err
    back = invoke("convert", "-", "--to", "pyhf", "-o", "back.json", stdin=done.out)
    assert back.code == 0, back.err
    again = json.loads(Path("back.json").read_text())
    assert compare(all_measurements(every_modifier()), again) < 1e-6
