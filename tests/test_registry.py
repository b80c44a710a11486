"""Every kind of record stands once, is read in the form of every release, and may grow."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
from bundles import load, tamper, verify
from conftest import invoke, plain_workspace, write_analysis
from writing_commands import COMMANDS, commands_with_outputs, make_inputs

import ddphf
from ddphf.files import to_json
from ddphf.publish.archive import read_archive, unpack
from ddphf.publish.bundle import make_files
from ddphf.results.registry import (
    KINDS,
    check_record,
    kind_of,
    known_part,
    load_function,
)

PRODUCT = Path(ddphf.__file__).parent
RELEASES = sorted(path for path in (Path(__file__).parent / "records").iterdir())
RECORDS = [path for release in RELEASES for path in sorted(release.glob("*.json"))]
NAMES = [f"{path.parent.name}/{path.stem}" for path in RECORDS]

MAPS = {"samples", "signal_events"}
"""Objects whose keys are names by anybody: one more key is one more sample, of no yields."""

SAID = "keys that this version of ddphf does not know are left out: "


def read(path):
    return json.loads(path.read_text())


def test_a_schema_stands_once_in_the_product():
    """Where else it is needed, the class or the registry is asked."""
    found = {}
    for path in sorted(PRODUCT.rglob("*.py")):
        for schema in re.findall(r"ddphf/[a-z_]+/\d+", path.read_text()):
            found.setdefault(schema, []).append(str(path.relative_to(PRODUCT)))
    records = {kind.schema for kind in KINDS}
    assert {schema for schema, places in found.items() if len(places) > 1} == set()
    assert set(found) - records == {"ddphf/analysis/1", "ddphf/ratio/1"}  # inputs, no records
    assert {found[schema][0].split("/")[0] for schema in records} == {"results"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_whole(kind):
    assert re.fullmatch(r"ddphf/[a-z_]+/[1-9]\d*", kind.schema)
    assert kind.record.__module__.startswith("ddphf.results.")
    jsonschema.Draft202012Validator.check_schema(kind.shape)
    assert kind.command in COMMANDS
    if kind.published is not None:
        for name in ("lines", "refit", "refit_by_toys", "redraw"):
            function = getattr(kind.published, name)
            assert not function or callable(load_function(function))


def test_kinds_have_different_names():
    assert len({kind.schema for kind in KINDS}) == len({kind.name for kind in KINDS}) == len(KINDS)
    chapters = [kind.chapter for kind in KINDS if kind.chapter]
    assert len(set(chapters)) == len(chapters)


def test_pages_name_the_kinds_that_commands_take():
    docs = PRODUCT.parent / "docs"
    rows = re.findall(r"^\| `(ddphf/[^`]*)`", (docs / "report.md").read_text(), re.MULTILINE)
    assert set(rows) == {kind.schema for kind in KINDS if kind.chapter}
    page = (docs / "publish.md").read_text()
    for kind in KINDS:
        if kind.published is not None:
            name = f"{kind.name}.json" if kind.published.included else f"ddphf {kind.command}"
            assert f"`{name}`" in page


# Records of every release.


def test_there_is_a_record_of_every_kind_of_every_release():
    assert RELEASES[-1].name == ddphf.__version__, "add the records that this release writes"
    every = {kind.name for kind in KINDS}
    for release in RELEASES:  # a later kind has no record of an earlier release
        kinds = {kind_of(read(path)).name for path in release.glob("*.json")}
        assert kinds == every if release is RELEASES[-1] else kinds <= every, release


@pytest.mark.parametrize("path", RECORDS, ids=NAMES)
def test_records_of_every_release_are_read(path):
    data = read(path)
    kind = kind_of(data)
    assert check_record(data) is None
    assert known_part(data) == (data, "")
    assert json.loads(json.dumps(kind.record.from_dict(data).to_dict())) == data


# Records of later versions: the same, with keys that nobody here knows.


def grow(node, key=""):
    """One key more in every object at every depth."""
    if isinstance(node, list):
        return [grow(item, key) for item in node]
    if not isinstance(node, dict):
        return node
    out = {name: grow(item, name) for name, item in node.items()}
    return out if key in MAPS else {**out, "later": 1.0}


def cut(node):
    """Without them, and without what says that they are there."""
    if isinstance(node, list | tuple):
        return [cut(item) for item in node if not str(item).startswith(SAID)]
    if not isinstance(node, dict):
        return node
    return {k: cut(v) for k, v in node.items() if k not in ("later", "unknown_keys")}


@pytest.mark.parametrize("path", RECORDS, ids=NAMES)
def test_a_record_may_grow(path):
    """Unknown keys at any depth change nothing, and are said once by name."""
    data = read(path)
    kind, grown = kind_of(data), grow(data)
    assert check_record(grown) is None
    known, said = known_part(grown)
    assert cut(known) == cut(data)
    assert said.startswith(f"{SAID}'")
    assert re.search(r"[ .]'?later'", said)
    names = said.removeprefix(SAID).split(" and ")[0].split(", ")
    assert len(set(names)) == len(names)
    again = json.loads(json.dumps(kind.record.from_dict(grown).to_dict()))
    if "warnings" in data:
        assert [line for line in again["warnings"] if line.startswith(SAID)] == [said]
    else:
        assert "later" in again["provenance"].pop("unknown_keys")
        again = {key: value for key, value in again.items() if key in data}
    assert cut(again) == cut(data)


@pytest.mark.parametrize("path", RECORDS, ids=NAMES)
def test_another_version_of_a_schema_is_refused(path):
    data = read(path)
    kind = kind_of(data)
    later = {**data, "schema": f"{kind.schema[:-1]}2"}
    assert kind_of(later) is None
    assert check_record(later) == f"schema '{later['schema']}' is none that this version reads"
    with pytest.raises(
        ValueError, match=f"expected schema '{kind.schema}', got '{kind.schema[:-1]}2'"
    ):
        kind.record.from_dict(later)


@pytest.mark.parametrize("value", [3, "x", None, [], {}, [[]], [{}], [3], {"a": 3}, True])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_any_value_in_any_place_is_judged(kind, value):
    """No crash: a sentence, or nothing against it."""
    path = next(path for path in RECORDS if kind_of(read(path)) is kind)
    for key in read(path):
        record = {**read(path), key: copy.deepcopy(value)}
        if kind_of(record) is kind:
            assert isinstance(check_record(record), str | None)
            assert isinstance(known_part(record)[1], str)


def test_many_long_names_are_cut():
    data = {**read(RELEASES[0] / "scan.json"), **{"x" * 500 + str(i): i for i in range(40)}}
    _, said = known_part(data)
    assert len(said) < 1000
    assert said.endswith("and 30 more") or "and " in said


# The commands.


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What every command writes, by command."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("commands")
        patch.chdir(folder)
        make_inputs(folder)
        made = {}
        # The bundle of an analysis has a covariance, that of a scan what its arrays are.
        scan = MORE_OF_SCANS.format(list(COMMANDS).index("masses"))
        more = (("publish", MORE.split()), ("publish", scan.split()))
        for number, (name, line) in enumerate((*COMMANDS.items(), *more)):
            done = invoke(*line)
            assert done.code == 0, (name, done.err)
            place = Path("new").rename(folder / str(number))
            made.setdefault(name, []).extend(p for p in place.rglob("*") if p.is_file())
        return made


MORE = "publish events/analysis.yml -o new/lepton_id.tar.gz"
MORE_OF_SCANS = "publish masses.yml {}/m.json -o new/scan.tar.gz --inspire ins1234567"


def documents(path):
    """Name and bytes of the JSON of a file or bundle; HEPData's submission is not ours."""
    if path.name.endswith(".tar.gz") and "hepdata" not in path.name:
        files = unpack(read_archive(str(path)))
        yield from ((f"{path.name}:{n}", c) for n, c in files.items() if n.endswith(".json"))
    elif path.suffix == ".json":
        yield path.name, path.read_bytes()


def test_every_command_that_writes_json_writes_a_registered_kind(written):
    assert set(written) == commands_with_outputs()
    commands = {}
    for command, paths in written.items():
        for name, content in (document for path in paths for document in documents(path)):
            data = json.loads(content)
            if isinstance(data, list) or ("channels" in data and "schema" not in data):
                continue  # pyhf's own formats
            if "hs3_version" in data.get("metadata", {}):
                continue  # the standard's
            kind = kind_of(data)
            assert kind is not None, f"{name}: schema {data.get('schema')}"
            assert check_record(data) is None, name
            assert known_part(data)[1] == "", name
            commands.setdefault(kind.name, set()).add(command)
    for kind in KINDS:
        assert kind.command in commands[kind.name], kind.name


def test_commands_say_what_they_leave_out(folder):
    """A fit of a later version in `yields` and `publish`, a ranking in `report`."""
    Path("workspace.json").write_text(to_json(plain_workspace()))
    for command, name, *options in (
        ("fit", "fit.json"), ("rank", "rank.json", "--parameters", "symmetric_shape*"),
    ):  # fmt: skip
        assert invoke(command, "workspace.json", *options, "-o", name).code == 0
        data = grow(read(Path(name)))
        Path(name).write_text(json.dumps(data))
    done = invoke("yields", "workspace.json", "--fit", "fit.json", "-o", "yields.json")
    assert done.code == 0, done.err
    assert done.err.count(SAID) == 1
    done = invoke("report", "workspace.json", "rank.json", "fit.json", "-o", "report.html")
    assert done.code == 0, done.err
    assert done.err.count(f"rank.json: {SAID}") == done.err.count(f"fit.json: {SAID}") == 1
    done = invoke("publish", "workspace.json", "rank.json", "fit.json", "-o", "pair.tar.gz")
    assert done.code == 0, done.err
    assert done.err.count(f"rank.json: {SAID}") == done.err.count(f"fit.json: {SAID}") == 1
    files = unpack(read_archive("pair.tar.gz"))
    result, failure = verify(files, level=1)
    assert failure is None
    assert [c.what for c in result.checks if "later" in c.what] == ["rank.json, of a later version"]

    # What a later version says of its records beside what this one knows of them.
    def more(results):
        results["included"][0]["ranking"][0]["later"] = 1.0
        return grow(results)

    assert verify(tamper(files, "results.json", more), level=1)[1] is None

    def less(results):
        del results["included"][0]["ranking"][0]["value"]

    _, failure = verify(tamper(files, "results.json", less), level=0)
    assert failure.what == "records that results.json names"


@pytest.mark.parametrize("command", ["inspect", "fit", "yields", "publish"])
def test_commands_say_what_they_leave_out_of_a_sidecar(folder, command):
    done = invoke("build", write_analysis(folder), "-o", "workspace.json")
    assert done.code == 0, done.err
    path = Path("workspace.metadata.json")
    path.write_text(json.dumps(grow(read(path))))
    out = "out.tar.gz" if command == "publish" else "out.json"
    plots = ["--plots", "plots"] if command in ("fit", "yields") else []
    done = invoke(command, "workspace.json", *plots, "-o", out)
    assert done.code == 0, done.err
    assert done.err.count(f"{path}: {SAID}'binning.axes.later'") == 1
    assert done.err.count(SAID) == 1
    if command == "publish":  # keeps the file as it is
        kept = load(unpack(read_archive(out)), "metadata.json")
        assert kept == read(path)


def test_commands_refuse_another_version(folder):
    Path("workspace.json").write_text(to_json(plain_workspace()))
    assert invoke("fit", "workspace.json", "-o", "fit.json").code == 0
    data = read(Path("fit.json"))
    data["schema"] = data["schema"][:-1] + "2"
    Path("later.json").write_text(json.dumps(data))
    stated = f"schema '{data['schema']}'"
    for arguments, part in (
        (("report", "later.json"), f"{stated}, expected a workspace"),
        (("yields", "workspace.json", "--fit", "later.json"), "is no fit.json of 'ddphf fit'"),
        (("publish", "workspace.json", "later.json", "-o", "x.tar.gz"), stated),
    ):
        done = invoke(*arguments)
        assert (done.code, part in done.message) == (3, True), done.err


def test_a_bundle_of_another_version_fails(folder):
    from bundles import publication_of

    files = make_files(publication_of(plain_workspace()))
    version = load(files, "results.json")["schema"][:-1] + "2"
    _, failure = verify(tamper(files, "results.json", lambda r: r.update(schema=version)), level=0)
    assert (failure.what, version in failure.detail) == ("results.json", True)
