"""Cases of tests/test_refusals.py for ``ddphf convert``."""

import json

from interchange_models import every_modifier

from ddphf.interchange.agreement import all_measurements
from ddphf.interchange.hs3_write import write_hs3
from ddphf.interchange.xml_write import write_xml

__all__ = ["CONVERT"]


def convert(model, target, output, *options, **case):
    return {"arguments": ["convert", model, "--to", target, "-o", output, *options], **case}


def workspace(target, edit, output="out.json"):
    """A case of a workspace with every modifier, changed."""

    def prepare(folder):
        made = every_modifier()
        edit(made)
        (folder / "w.json").write_text(json.dumps(made))

    return convert("w.json", target, output, prepare=prepare)


def document(edit, *options):
    """A case of an HS3 document, changed."""

    def prepare(folder):
        made = json.loads(json.dumps(write_hs3(all_measurements(every_modifier()))))
        edit(made)
        (folder / "m.hs3.json").write_text(json.dumps(made))

    return convert("m.hs3.json", "pyhf", "out.json", *options, prepare=prepare)


def xml(name, old, new):
    """A case of HistFactory XML with one text of one file replaced."""

    def prepare(folder):
        for path, content in write_xml(all_measurements(every_modifier()), "m").files.items():
            (folder / path).write_bytes(content)
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return convert("m.xml", "pyhf", "out.json", prepare=prepare)


def setting(name, **what):
    def edit(made):
        made["measurements"][0]["config"]["parameters"].append({"name": name, **what})

    return edit


def silence(sample):
    """Take its yields and their errors."""
    sample["data"] = [0.0] * len(sample["data"])
    sample["modifiers"][2]["data"] = sample["data"]


def modifier(made, sample, name):
    (found,) = [s for s in made["distributions"][0]["samples"] if s["name"] == sample]
    return next(m for m in found["modifiers"] if m["name"] == name)


def shapesys(made):
    own = modifier(made, "fake", "fk")
    own |= {"type": "shapesys", "constraint": "Poisson", "data": {"vals": [0.2, 0.1, 0.5]}}
    terms = made["likelihoods"][0]["aux_distributions"]
    terms[:] = [name for name in terms if "_fk_" not in name]
    for point in made["parameter_points"]:
        point["parameters"] = [p for p in point["parameters"] if "nom_gamma_fk" not in p["name"]]


def unknown_term(made):
    made["distributions"].append({"name": "x", "type": "exponential_dist"})
    made["likelihoods"][0]["aux_distributions"].append("x")


def other_data(made):
    made["data"].append({**made["data"][0], "name": "asimov"})
    likelihood = {**made["likelihoods"][0], "name": "other"}
    likelihood["data"] = ["asimov", likelihood["data"][1]]
    made["likelihoods"].append(likelihood)
    made["analyses"][1]["likelihood"] = "other"


def two_lumis(made):
    modifier(made, "signal", "mu")["constraint"] = "Gauss"


def moving_width(made):
    next(d for d in made["distributions"] if d["type"] == "gaussian_dist")["sigma"] = "mu"


ENTITY = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><Combination>&b;</Combination>"

CONVERT = {
    "a format of no tool": convert("workspace.json", "roofit", "out.json"),
    "what is in that format already": convert("workspace.json", "pyhf", "out.json"),
    "a datacard on standard output": convert("workspace.json", "combine", "-"),
    "XML that is not called so": convert("workspace.json", "root", "out.txt"),
    "a datacard with a blank in its name": convert("workspace.json", "combine", "my card.txt"),
    "a datacard named as its histograms": convert("workspace.json", "combine", "card.root"),
    "an existing file of histograms": convert(
        "workspace.json", "combine", "card.txt", files={"card.root": "x"}
    ),
    "a measurement of all": convert("workspace.json", "hs3", "out.json", "--measurement", "x"),
    "exactness of what is exact": convert("workspace.json", "hs3", "out.json", "--exact"),
    "a base folder of one file": convert("workspace.json", "hs3", "out.json", "--basedir", "."),
    "an analysis of a workspace": convert("workspace.json", "hs3", "out.json", "--analysis", "x"),
    "a moved auxiliary datum in HS3": workspace("hs3", setting("shape", auxdata=[0.4])),
    "a moved auxiliary datum in Combine": workspace(
        "combine", setting("shape", auxdata=[0.4]), "card.txt"
    ),
    "a moved auxiliary datum in XML": workspace("root", setting("shape", auxdata=[0.4]), "m.xml"),
    "no POI for Combine": workspace(
        "combine", lambda w: w["measurements"][0]["config"].update(poi=""), "card.txt"
    ),
    "no POI for XML": workspace(
        "root", lambda w: w["measurements"][0]["config"].update(poi=""), "m.xml"
    ),
    "a negative yield in Combine": workspace(
        "combine",
        lambda w: w["channels"][0]["samples"][2].update(data=[-1.0, 8.0, 6.0]),
        "card.txt",
    ),
    "a shape of nothing in Combine": workspace(
        "combine", lambda w: w["channels"][0]["samples"][2].update(data=[0.0, 8.0, 6.0]),
        "card.txt",
    ),
    "two histograms of one name in Combine": workspace(
        "combine", lambda w: w["channels"][0]["samples"][1].update(name="fake_idUp"), "card.txt"
    ),
    "no signal for Combine": workspace(
        "combine", lambda w: silence(w["channels"][0]["samples"][0]), "card.txt"
    ),
    "a nuisance that is held in Combine": workspace(
        "combine", setting("id", fixed=True, inits=[0.5]), "card.txt"
    ),
    "a shape factor that is held in XML": workspace("root", setting("sf", fixed=True), "m.xml"),
    "two staterrors of a channel in XML": workspace(
        "root",
        lambda w: w["channels"][0]["samples"][1]["modifiers"][1].update(name="other"),
        "m.xml",
    ),
    "an error of no yield in XML": workspace(
        "root", lambda w: w["channels"][0]["samples"][0].update(data=[0.0, 5.0, 3.0]), "m.xml"
    ),
    "HS3 that does not say so": document(lambda d: d["metadata"].pop("hs3_version")),
    "an HS3 component that is unknown": document(lambda d: d.update(extra=[])),
    "an HS3 distribution that pyhf has not": document(unknown_term),
    "an HS3 modifier that pyhf has not": document(
        lambda d: modifier(d, "signal", "id").update(type="custom")
    ),
    "another interpolation": document(
        lambda d: modifier(d, "signal", "id").update(interpolation="code1")
    ),
    "another constraint": document(
        lambda d: modifier(d, "signal", "id").update(constraint="LogNormal")
    ),
    "a constraint twice": document(
        lambda d: modifier(d, "fake", "fk").update(constraint="Poisson")
    ),
    "two constrained normfactors": document(two_lumis),
    "vals of a shapesys that may be anything": document(shapesys),
    "a width that the fit moves": document(moving_width),
    "a parameter in two lists": document(
        lambda d: modifier(d, "bkg", "sf")["parameters"].reverse()
    ),
    "unbinned data": document(lambda d: d["data"][0].update(type="unbinned")),
    "HS3 contents of another length": document(lambda d: d["data"][0]["contents"].pop()),
    "analyses of different data": document(other_data),
    "an unknown analysis": document(lambda d: None, "--analysis", "fre"),
    "no top file of XML": convert("absent.xml", "pyhf", "out.json"),
    "XML that defines entities": {
        **convert("m.xml", "pyhf", "out.json"), "files": {"m.xml": ENTITY},
    },
    "XML that names a file elsewhere": xml("m.xml", "m_SR.xml", "../m_SR.xml"),
    "blanks around a file that XML names": xml("m.xml", "<Input>m_SR", "<Input> m_SR"),
    "output over a file that XML names": {
        **xml("m.xml", "m_SR", "m_SR"),
        "arguments": ["convert", "m.xml", "--to", "pyhf", "-o", "m.root", "--force"],
    },
    "a folder of histograms that ROOT inherits": xml(
        "m_SR.xml", '<Channel Name="SR"', '<Channel HistoPath="SR" Name="SR"'
    ),
    "a file of histograms that pyhf has no word for": xml(
        "m_SR.xml", "<HistoSys", '<HistoSys InputFile="other.root"'
    ),
    "a parameter that XML sets twice": xml(
        "m.xml", "</ParamSetting>", "</ParamSetting><ParamSetting>mu</ParamSetting>"
    ),
    "XML that is damaged": xml("m_SR.xml", "<Channel", "<Channel <"),
    "an element that pyhf passes over": xml("m_SR.xml", "<ShapeFactor", "<HistoFactor"),
    "a constraint term of XML": xml(
        "m.xml", "</Measurement>", "<ConstraintTerm Type='Gamma'/></Measurement>"
    ),
    "a switch of XML that is neither": xml("m.xml", 'Const="True"', 'Const="true"'),
    "a Gaussian ShapeSys": xml(
        "m_SR.xml", 'ConstraintType="Poisson"', 'ConstraintType="Gaussian"'
    ),
    "a ROOT file of XML that is none": xml(
        "m_SR.xml", 'InputFile="m.root"', 'InputFile="m.xml"'
    ),
    "a histogram of XML that is not there": xml(
        "m_SR.xml", 'HistoName="histSR_bkg"', 'HistoName="absent"'
    ),
}  # fmt: skip
