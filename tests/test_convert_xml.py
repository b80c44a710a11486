"""HistFactory XML: what is written and read again, and XML by strangers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
from conftest import invoke
from hypothesis import HealthCheck, given, settings
from interchange_models import (
    MARK,
    every_modifier,
    marked,
    plain,
    points,
    pyhf_differences,
    stating,
    without_poi,
)
from model_zoo import zoo
from pyhf import readxml

from ddphf.exceptions import InputError, ModelError
from ddphf.interchange import xml_parse, xml_read
from ddphf.interchange.agreement import all_measurements, compare
from ddphf.interchange.convert import to_root
from ddphf.interchange.xml_read import read_xml
from ddphf.interchange.xml_write import write_xml
from ddphf.likelihood.reference import ReferenceModel

WORKSPACES = Path(__file__).parent.parent / "workspaces"
ZOO = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def put(workspace, folder, stem="model"):
    """Write a workspace as XML into a folder, and return its top file."""
    files = write_xml(all_measurements(workspace), stem).files
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / f"{stem}.xml"


def test_every_modifier_is_the_same_likelihood_when_read_again(tmp_path):
    again, said, _ = read_xml(put(every_modifier(), tmp_path))
    assert said == []
    for name in ("free", "null"):
        one, other = ReferenceModel(every_modifier(), name), ReferenceModel(again, name)
        assert one.parameters.names == other.parameters.names
        np.testing.assert_array_equal(one.parameters.fixed, other.parameters.fixed)
        where = points(one, 5)
        np.testing.assert_allclose(
            pyhf_differences(other, where), pyhf_differences(one, where), atol=1e-9
        )
    assert other.parameters.init[other.parameters.poi] == 0.0


@ZOO
@given(workspace=zoo())
def test_generated_models(workspace):
    workspace = plain(workspace)
    for measurement in workspace["measurements"]:
        measurement["config"]["poi"] = "mu"
    _, difference, _ = to_root(workspace, "model")
    assert difference < 1e-6


@pytest.mark.parametrize("name", ["higgs_lfv_window", "tau_ratio"])
def test_shipped_workspaces(name):
    workspace = json.loads((WORKSPACES / name / "workspace.json").read_text())
    _, difference, said = to_root(workspace, "model")
    assert difference < 1e-6
    left_out = [line for line in said if "known_background" in line]
    assert len(left_out) == (2 if name == "higgs_lfv_window" else 0)


def test_stock_pyhf_reads_it_too(tmp_path):
    put(every_modifier(), tmp_path)
    program = [sys.executable, "-c", "from pyhf.cli import cli; cli()"]
    subprocess.run(
        [*program, "xml2json", "model.xml", "--basedir", ".", "--output-file", "w.json",
         "--hide-progress"],
        cwd=tmp_path, check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    again = json.loads((tmp_path / "w.json").read_text())
    assert compare(all_measurements(every_modifier()), again) < 1e-9


def test_a_luminosity_that_is_not_1_keeps_its_error(tmp_path):
    """pyhf 0.7.6 writes sigma itself as LumiRelErr, and its reader multiplies it by the value."""
    workspace = every_modifier()
    for measurement in workspace["measurements"]:
        measurement["config"]["parameters"][0] |= {
            "auxdata": [36.1], "sigmas": [0.7], "inits": [36.1], "bounds": [[1.0, 80.0]],
        }  # fmt: skip
    again, *_ = read_xml(put(workspace, tmp_path))
    lumi = again["measurements"][0]["config"]["parameters"][0]
    assert lumi["sigmas"] == [pytest.approx(0.7)]


def test_what_a_later_measurement_or_a_mark_loses_is_said():
    workspace = marked()
    settings_ = workspace["measurements"][1]["config"]["parameters"]
    settings_[1]["bounds"] = [[-1.0, 1.0]]
    settings_.append({"name": "id", "bounds": [[-3.0, 3.0]]})
    files = write_xml(all_measurements(workspace), "model")
    assert f"<!--{MARK}-->" in files.files["model.xml"].decode()
    assert any("chosen window is a comment" in note for note in files.notes)
    (lost,) = [note for note in files.notes if note.startswith("bounds and starting values")]
    assert lost.endswith("of id, lumi, mu")


def test_names_are_no_paths(tmp_path):
    text = json.dumps(every_modifier()).replace('"SR"', '"../../SR x"').replace('"bkg"', '"b/k"')
    files = write_xml(all_measurements(json.loads(text)), "model")
    assert set(files.files) == {
        "model.xml", "model_n______SR_x.xml", "model_CR.xml", "model.root", "model.dtd",
    }  # fmt: skip
    assert any("../../SR x -> n______SR_x" in note for note in files.notes)


def test_no_file_stays_open(tmp_path):
    top = put(every_modifier(), tmp_path)
    read_xml(top)
    assert vars(readxml)["__FILECACHE__"] == {}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without_poi, "it has no POI"),
        (lambda w: w["measurements"][0]["config"]["parameters"][0].update(auxdata=[0.0]),
         "its luminosity is 0"),
        (stating("sf", fixed=True), "'sf' .shapefactor. is held"),
        (stating("id", auxdata=[0.5]), "auxdata or sigmas of its own"),
        (lambda w: w["channels"][0]["samples"][1]["modifiers"][1].update(name="other"),
         "XML has one per channel"),
        (lambda w: w["channels"][0]["samples"][0].update(data=[0.0, 5.0, 3.0]),
         "error of a yield that is not positive"),
        (lambda w: [w[key][0].update(name="C" * 246) for key in ("channels", "observations")],
         "a file whose name has 256 characters"),
    ],
)  # fmt: skip
def test_what_xml_cannot_say_is_refused(edit, message):
    workspace = every_modifier()
    edit(workspace)
    with pytest.raises(ModelError, match=message):
        write_xml(all_measurements(workspace), "model")


@pytest.mark.parametrize("name", ["alpha_id", "gamma_x", "Lumi"])
def test_a_factor_called_as_the_parameter_of_another_modifier(name):
    """ROOT would take both for one parameter, and pyhf's reader holds the other one."""
    workspace = every_modifier()
    workspace["channels"][0]["samples"][1]["modifiers"].append(
        {"name": name, "type": "normfactor", "data": None}
    )
    stating(name, fixed=True, inits=[1.5])(workspace)
    written, difference, notes = to_root(workspace, "model")
    assert difference < 1e-9
    assert f"n{name}</ParamSetting>" in written.files["model.xml"].decode()
    assert any(f"{name} -> n{name}" in note for note in notes)


def test_two_histograms_of_one_name_are_refused():
    workspace = every_modifier()
    shape = {"hi_data": [3.0, 5.0, 4.0], "lo_data": [1.0, 5.0, 2.0]}
    for sample, modifier in (("signal", "bkg_x"), ("signal_bkg", "x")):
        workspace["channels"][0]["samples"].append({"name": sample, "data": [2.0, 5.0, 3.0],
            "modifiers": [{"name": modifier, "type": "histosys", "data": shape}]})  # fmt: skip
    workspace["channels"][0]["samples"][0]["name"] = "other"
    with pytest.raises(ModelError, match=r"two histograms of XML .*SR_signal_bkg_x"):
        write_xml(all_measurements(workspace), "model")


def damaged(folder, name, old, new):
    """Write the model with one text replaced in one file."""
    top = put(every_modifier(), folder)
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return top


LAUGHS = (
    "<!DOCTYPE Combination [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(
        f"<!ENTITY {b} '{10 * f'&{a};'}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><Combination OutputFilePrefix='x'><Input>&i;</Input></Combination>"
)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("model.xml", "<Input>model_SR.xml", "<Input>../secret.xml", "outside of the folder"),
        ("model.xml", "<Input>model_SR.xml", "<Input>/etc/passwd", "outside of the folder"),
        ("model.xml", "model_SR.xml", "absent.xml", "no such file"),
        ("model.xml", "model_SR.xml", "model_CR.xml", "the same Input twice"),
        ("model.xml", "model_SR.xml", "model.xml", "is a 'Combination', expected a Channel"),
        ("model_SR.xml", 'InputFile="model.root"', 'InputFile="../../x.root"', "outside"),
        ("model_SR.xml", 'InputFile="model.root"', 'InputFile="absent.root"', "no such file"),
        ("model_SR.xml", 'InputFile="model.root"', 'InputFile="model.xml"', "cannot be read as R"),
        ("model_SR.xml", 'HistoName="histSR_bkg"', 'HistoName="absent"', "pyhf cannot read it"),
        ("model_SR.xml", "<ShapeFactor", "<HistoFactor", "'HistoFactor' in 'Sample'"),
        ("model_SR.xml", 'ConstraintType="Poisson"', 'ConstraintType="Gaussian"', "is Gaussian"),
        (
            "model.xml",
            "</Measurement>",
            "<ConstraintTerm Type='LogNormal'/></Measurement>",
            "'ConstraintTerm' in 'Measurement'",
        ),
        ("model.xml", "</Combination>", "<Function Name='f'/></Combination>", "'Function' in 'C"),
        ("model.xml", 'Const="True"', 'Const="true"', "Const='true' in 'ParamSetting'"),
        ("model_SR.xml", 'Activate="True"', 'Activate="1"', "Activate='1' in 'StatError'"),
        ("model_SR.xml", 'NormalizeByTheory="True"', 'NormalizeByTheory="yes"', "y.*='yes' in"),
        ("model_SR.xml", "<Channel", "<Channel <", "cannot be read as XML"),
        ("model_SR.xml", 'High="1.1"', 'High="x"', "pyhf cannot read it"),
        # pyhf would open the file whose name has the blank, at which nobody looked
        ("model.xml", "<Input>model_SR.xml", "<Input> model_SR.xml", "has blanks around it"),
        (
            "model.xml",
            "</Measurement>",
            "<ParamSetting Const='True'>mu</ParamSetting><ParamSetting>a mu</ParamSetting>"
            "</Measurement>",
            "'mu' is set twice",
        ),
        # places of histograms that ROOT inherits, or that pyhf does not look for
        (
            "model_SR.xml",
            '<Channel Name="SR"',
            '<Channel HistoPath="SR" Name="SR"',
            "no HistoPath.*takes 'SR' of the Channel",
        ),
        ("model_SR.xml", "<HistoSys", '<HistoSys InputFile="other.root"', "would pass over"),
        ("model_SR.xml", "<StatError A", '<StatError InputFile="other.root" A', "pass over"),
    ],
)
def test_hostile_and_damaged_files_are_refused(tmp_path, name, old, new, message):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.xml").write_text("<Channel Name='x'/>")
    with pytest.raises(InputError, match=message):
        read_xml(damaged(tmp_path / "inner", name, old, new))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    top = put(every_modifier(), tmp_path / "inner")
    (tmp_path / "inner/model.root").rename(tmp_path / "model.root")
    (tmp_path / "inner/model.root").symlink_to(tmp_path / "model.root")
    with pytest.raises(InputError, match="outside of the folder"):
        read_xml(top)
    for path in (tmp_path / "inner").glob("*.xml"):  # as `pyhf xml2json --basedir` has it
        text = re.sub(r"(>|\")(model\S*?\.(xml|root))", r"\1inner/\2", path.read_text())
        path.write_text(text)
    again, *_ = read_xml(top, tmp_path)
    assert again["channels"][0]["name"] == "SR"


@pytest.mark.parametrize("name", ["model.xml", "model_SR.xml"])
def test_entities_are_refused(tmp_path, name):
    top = put(every_modifier(), tmp_path)
    (tmp_path / name).write_text(LAUGHS)
    with pytest.raises(InputError, match="defines entities"):
        read_xml(top)
    (tmp_path / name).write_text(
        "<!DOCTYPE x [<!ENTITY s SYSTEM 'file:///etc/passwd'>]><Combination>&s;</Combination>"
    )
    with pytest.raises(InputError, match="defines entities"):
        read_xml(top)


def test_sizes_are_limited(tmp_path, monkeypatch):
    top = put(every_modifier(), tmp_path)
    monkeypatch.setattr(xml_read, "MOST_XML", 10)
    with pytest.raises(InputError, match="11 elements, more than the 10"):
        read_xml(top)
    monkeypatch.setattr(xml_read, "LARGEST_XML", 100)
    with pytest.raises(InputError, match="more than the 0 that are read"):
        read_xml(top)


def test_an_object_of_any_class_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    top = put(every_modifier(), tmp_path)
    with uproot.recreate(tmp_path / "model.root", compression=uproot.ZLIB(9)) as file:
        file["h"] = "x" * 2_000_000
    monkeypatch.setattr("ddphf.guards.FREE", 1e5)
    with pytest.raises(InputError, match="MB of numbers from so small a file"):
        read_xml(top)


def test_a_histogram_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    top = put(every_modifier(), tmp_path)
    with uproot.recreate(tmp_path / "model.root", compression=uproot.ZLIB(9)) as file:
        file["h"] = (np.zeros(1_000_000), np.arange(1_000_001.0))
    monkeypatch.setattr("ddphf.guards.FREE", 1e5)
    with pytest.raises(InputError, match="MB of numbers from so small a file"):
        read_xml(top)


def test_a_histogram_that_is_named_again_and_again_is_read_so_often_alone(tmp_path, monkeypatch):
    top = put(every_modifier(), tmp_path)
    monkeypatch.setattr(xml_parse, "MOST_CELLS", 20)
    original = readxml.import_root_histogram
    with pytest.raises(InputError, match="21 numbers of histograms, more than the 20"):
        read_xml(top)
    assert readxml.import_root_histogram is original


def test_a_histogram_that_pyhf_takes_for_the_named_one_is_refused(tmp_path):
    """pyhf looks at the top of the file first, ROOT in the folder that HistoPath names."""
    top = damaged(tmp_path, "model_SR.xml", "<Data", '<Data HistoPath="SR"')
    with uproot.open(tmp_path / "model.root") as file:
        found = {key: file[key].to_numpy() for key in file.keys(cycle=False)}
    with uproot.recreate(tmp_path / "model.root") as file:
        for key, (contents, edges) in found.items():
            file[f"SR/{key}"] = (contents, edges)
            file[key] = (2 * contents, edges)
    with pytest.raises(InputError, match="holds 'SR/histSR_data' and 'histSR_data'"):
        read_xml(top)


def test_what_pyhf_reads_otherwise_than_root_is_said(tmp_path):
    config = '<StatErrorConfig RelErrorThreshold="0.0" ConstraintType="Gaussian" />'
    top = damaged(tmp_path, "model_SR.xml", config, "")
    path = tmp_path / "model_SR.xml"
    path.write_text(path.read_text().replace(' NormalizeByTheory="False"', ""))
    _, said, _ = read_xml(top)
    assert any("StatError with Poisson constraints in ROOT" in line for line in said)
    assert any("relative errors below 0.05" in line for line in said)
    assert any("is not said of bkg, fake" in line for line in said)
    path.write_text(path.read_text().replace("<NormFactor", '<NormFactor Const="True"'))
    path = tmp_path / "model.xml"
    path.write_text(path.read_text().replace("<POI>mu</POI>", "<POI>mu</POI><POI>k</POI>", 1))
    _, said, _ = read_xml(top)
    assert any("which ROOT ignores, holds mu" in line for line in said)
    assert any("one parameter of interest, 'mu'; the others are free" in line for line in said)


def test_the_command_goes_both_ways(folder):
    Path("w.json").write_text(json.dumps(every_modifier()))
    done = invoke("convert", "w.json", "--to", "root", "-o", "out/m.xml")
    assert done.code == 0, done.err
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "m.dtd", "m.root", "m.xml", "m_CR.xml", "m_SR.xml",
    ]  # fmt: skip
    again = invoke("convert", "out/m.xml", "--to", "root", "-o", "out/m.xml")
    assert again.code == 2
    for target in ("pyhf", "hs3"):
        done = invoke("convert", "out/m.xml", "--to", target, "-o", f"{target}.json")
        assert done.code == 0, done.err
    assert (
        compare(all_measurements(every_modifier()), json.loads(Path("pyhf.json").read_text()))
        < 1e-9
    )
    Path("out/m_SR.xml").write_text("x")
    blocked = invoke("convert", "w.json", "--to", "root", "-o", "out/m.xml")
    assert blocked.code == 2
    assert Path("out/m_SR.xml").read_text() == "x"


@pytest.mark.parametrize(
    ("target", "output"),
    [("combine", "out/m.txt"), ("hs3", "out/m_SR.xml"), ("pyhf", "out/m.root")],
)
def test_no_file_of_the_model_is_overwritten(folder, target, output):
    Path("w.json").write_text(json.dumps(every_modifier()))
    assert invoke("convert", "w.json", "--to", "root", "-o", "out/m.xml").code == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    done = invoke("convert", "out/m.xml", "--to", target, "-o", output, "--force")
    assert done.code == 2
    assert "of this command, which would be lost" in done.err
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_what_is_no_number_is_bad_input(folder):
    Path("w.json").write_text(json.dumps(every_modifier()))
    assert invoke("convert", "w.json", "--to", "root", "-o", "m.xml").code == 0
    path = Path("m_SR.xml")
    path.write_text(path.read_text().replace('High="1.1"', 'High="nan"'))
    done = invoke("convert", "m.xml", "--to", "pyhf")
    assert done.code == 3
    assert "got nan, expected a finite number" in done.err
