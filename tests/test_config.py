"""The analysis file: what is read from it, its defaults, and how YAML's traps are avoided."""

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import ANALYSIS, write_analysis

from ddphf.config.analysis import parse_analysis, read_analysis
from ddphf.exceptions import ConfigError
from ddphf.symmetry.load import load_pair

MINIMAL = """
schema: ddphf/analysis/1
name: x
tested: {label: mue, observed: t.csv:b, signal: {yields: t.csv:s}}
partner: {label: emu, observed: t.csv:a}
"""


def test_schema_is_valid_draft_2020_12():
    text = resources.files("ddphf.config").joinpath("analysis.schema.json").read_text("utf-8")
    schema = json.loads(text)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(ANALYSIS)


def test_defaults():
    analysis = parse_analysis(MINIMAL)
    assert analysis.efficiency_ratio == 1.0
    assert analysis.signal_scale == 1.0
    assert analysis.integer_data is True
    assert analysis.known_background is None
    assert analysis.floor is None
    assert analysis.luminosity_error is None
    assert analysis.partner.signal is None
    assert analysis.tested.fakes is None
    assert analysis.description == ""


def test_everything_written_is_read(tmp_path):
    written = {
        **ANALYSIS,
        "description": "text",
        "background": {"known": "table.csv:known", "floor": 0.25},
        "luminosity": {"relative_error": 0.017},
        "signal_scale": "auto",
        "integer_data": False,
    }
    path = write_analysis(tmp_path, written)
    analysis = read_analysis(path)
    assert analysis.folder == tmp_path
    assert (analysis.name, analysis.description) == ("example", "text")
    assert (analysis.floor, analysis.luminosity_error) == (0.25, 0.017)
    assert (analysis.signal_scale, analysis.integer_data) == ("auto", False)
    pair = load_pair(analysis)
    assert (pair.floor, pair.luminosity_error, pair.integer_data) == (0.25, 0.017, False)
    assert pair.known_background.flat.tolist() == [110.0, 80.0, 55.0, 40.0]
    assert pair.efficiency_ratio.flat.tolist() == [0.91, 0.93, 0.96, 0.97]
    theory = pair.tested.signal.systematics[0]
    assert (theory.name, theory.kind, theory.up, theory.down) == ("theory", "normsys", 1.1, 0.9)
    electron = pair.tested.systematics[0]
    assert (electron.relative, electron.source) == (True, "table.csv:up")
    assert electron.down.flat.tolist() == [0.98, 0.99, 1.01, 1.03]
    assert pair.tested.fakes.error_kind == "shapesys"


def test_exponents_without_a_point_are_numbers():
    assert parse_analysis(MINIMAL + "signal_scale: 1e4\n").signal_scale == 1e4
    assert parse_analysis(MINIMAL + "efficiency_ratio: 9E-1\n").efficiency_ratio == 0.9


def test_anchors_and_merge_keys_may_be_overridden():
    merged = MINIMAL.replace("partner: {label: emu, ", "partner: {<<: *t, label: emu, ")
    merged = merged.replace("tested: {", "tested: &t {")
    analysis = parse_analysis(merged)
    assert analysis.partner.label == "emu"
    assert analysis.partner.signal == analysis.tested.signal


BOMB = "description:\n- &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(12)
)
"""A few lines that stand for 10^13 words."""


def integers(path, value):
    data = yaml.safe_load(MINIMAL)
    data["events"] = {
        "file": "e.npz",
        "axes": [{"column": "m", "edges": {"bins": 4, "low": 0, "high": 1}}],
        "leptons": [{"flavour": 11, "pt": "pt"}],
    }
    data["lepton_id"] = {"maps": {"muon": {"file": "m.csv", "kind": "efficiency", "flavour": 13}}}
    *parents, last = path.split(".")
    item = data
    for key in parents:
        item = item[int(key) if key.isdigit() else key]
    item[last] = value
    return yaml.safe_dump(data)


@pytest.mark.parametrize(
    "path", ["events.axes.0.edges.bins", "lepton_id.at_most", "lepton_id.maps.muon.flavour"]
)
def test_whole_numbers_are_written_without_a_point(path):
    """JSON Schema takes 4.0 for an integer, but a range or a slice does not."""
    with pytest.raises(ConfigError, match=rf"at {path}: got 4\.0, expected "):
        parse_analysis(integers(path, 4.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"at the top: got null, expected a mapping"),
        ("- 1\n", r"at the top: got \[1\], expected a mapping"),
        ("\x00", r"not YAML \(unacceptable character"),
        ("a: !!python/object:os.system x", r"not YAML \(line 1, column 4"),
        (MINIMAL + "description: &a [*a]\n", r"an alias \(\*name\) lies inside what it stands for"),
        (MINIMAL + BOMB, r"aliases \(\*name\) are expanded, more than the 1,000,000 that are read"),
        (MINIMAL + "description: 4.0\n", r"at description: got 4.0, expected string"),
        (MINIMAL + "description: 2025-01-01\n", r'at description: got "2025-01-01", expected str'),
        (MINIMAL + "integer_data: 'no'\n", r'at integer_data: got "no", expected boolean'),
        (MINIMAL + f"signal_scale: 1{'0' * 400}\n", r"at signal_scale: got an integer of many"),
        (MINIMAL + "luminosity: {relative_error: .nan}\n", r"relative_error: got nan, expected"),
        (MINIMAL + "background: {floor: 0}\n", r"at background.floor: got 0, expected a number >"),
        (MINIMAL.replace("mue", '"mue\\n"'), r"at tested.label: got .* expected letters, digits"),
    ],
)
def test_yaml_that_is_no_analysis(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_analysis(text)


def systematic(**item):
    data = yaml.safe_load(MINIMAL)
    data["tested"]["signal"]["systematics"] = [{"name": "x", "up": 1.1, "down": 0.9, **item}]
    return yaml.safe_dump(data)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"type": "shapesys"}, r'systematics.0.type: got "shapesys", expected one of normsys, hi'),
        ({"type": "normsys", "up": 0}, r"systematics.0.up: got 0, expected a number > 0"),
        ({"type": "normsys", "up": "a:b"}, r'systematics.0.up: got "a:b", expected number'),
        ({"type": "histosys"}, r"systematics.0.up: got 1.1, expected FILE:NAME of a histogram"),
        ({}, r"tested.signal.systematics.0: 'type' is missing"),
    ],
)
def test_systematics_that_mean_nothing(item, message):
    with pytest.raises(ConfigError, match=message):
        parse_analysis(systematic(**item))


def test_message_starts_with_the_file(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("{")
    with pytest.raises(ConfigError, match=f"^{path}: not YAML"):
        read_analysis(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_analysis(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_analysis(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_analysis(Path("absent.yml"))
