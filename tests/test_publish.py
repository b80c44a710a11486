"""Publishing: what is in a bundle, what is refused, and what a reader gets out of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyhf
import pytest
import yaml
from bundles import load, plain_files, publication_of, verify
from conftest import invoke, plain_workspace, write_analysis
from environments import without_ddphf
from others_data import OTHERS, needs
from test_lepton_id_build import write_event_analysis

from ddphf.files import to_json
from ddphf.likelihood.patches import apply_patch
from ddphf.publish.archive import pack, read_archive, unpack
from ddphf.publish.bundle import make_archive, make_files
from ddphf.publish.hepdata import check_label, make_submission, validate_submission
from ddphf.publish.points import collect_results, find_null
from ddphf.results.registry import KINDS

ATLAS = OTHERS / "atlas_sbottom_regionC_600_280_150"
HEPDATA_FILES = {"submission.yaml", "minima.yaml", "significance.yaml", "fit_covariance.yaml"}


@pytest.fixture(scope="module")
def plain():
    return plain_files()


def unpack_to(files, folder):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def run_stock(folder, *arguments, program="python"):
    """Run a program of this environment in a folder, ddphf out of sight."""
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env=without_ddphf(OPENBLAS_NUM_THREADS="1"),
    )  # fmt: skip


def test_from_the_command_line(folder):
    """Analysis file and fit with toys in, bundle and submission out; both verify elsewhere."""
    write_analysis(folder)
    workspace = plain_workspace()
    Path("workspace.json").write_text(to_json(workspace))
    fit = ["fit", "workspace.json", "-o", "fit.json", "--toys", "300", "--seed", "7"]
    assert invoke(*fit).code == 0
    toys = ["toys", "workspace.json", "-o", "toys.npz", "--toys", "200", "--seed", "3"]
    assert invoke(*toys).code == 0
    done = invoke("publish", "workspace.json", "fit.json", "toys.npz", "-o", "out/plain.tar.gz")
    assert done.code == 0, done.err
    assert done.out == ""
    files = unpack(read_archive("out/plain.tar.gz"))
    assert {
        "BkgOnly.json", "CITATION.cff", "LICENSE", "README.md", "SHA256SUMS", "metadata.json",
        "patch_signal.json", "postfit.png", "prefit.png", "requirements.txt", "results.json",
        "toys.npz", "verify_stock.py", "workspace.json",
    } == set(files)  # fmt: skip
    results = load(files, "results.json")
    assert [t["seed"] for t in results["toys"]] == [3, 7]
    assert [t["n"] for t in results["toys"]] == [200, 300]
    submission = unpack(read_archive("out/plain.hepdata.tar.gz"))
    assert HEPDATA_FILES | {"plain.tar.gz"} <= set(submission)
    assert submission["plain.tar.gz"] == read_archive("out/plain.tar.gz")

    # The toys again from their seeds, from another directory.
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    done = invoke("verify", "../out/plain.tar.gz", "--level", "2", "-o", "verify.json")
    assert done.code == 0, done.err
    assert json.loads(Path("verify.json").read_text())["passed"] is True
    os.chdir("..")
    result, failure = _rerun_toys(files)
    assert failure is None, failure
    assert [c.status for c in result] == ["PASS", "PASS"]


def test_stale_results_are_refused(folder):
    """The same files beside another workspace, and a fit whose numbers were changed."""
    workspace = plain_workspace()
    Path("workspace.json").write_text(to_json(workspace))
    assert invoke("fit", "workspace.json", "-o", "fit.json").code == 0
    toys = ["toys", "workspace.json", "-o", "toys.npz", "--toys", "100", "--seed", "3"]
    assert invoke(*toys).code == 0
    fit = json.loads(Path("fit.json").read_text())
    fit["discovery"]["q0"] += 0.01
    Path("changed.json").write_text(json.dumps(fit))
    done = invoke("publish", "workspace.json", "changed.json", "-o", "stale.tar.gz")
    assert done.code == 3
    assert "stale or was changed" in done.message
    workspace["observations"][0]["data"][0] += 1.0
    Path("other.json").write_text(to_json(workspace))
    for given, message in (("fit.json", "is about the workspace"), ("toys.npz", "another model")):
        done = invoke("publish", "other.json", given, "-o", "stale.tar.gz")
        assert done.code == 3
        assert message in done.message
    assert not Path("stale.tar.gz").exists()
    assert not Path("stale.hepdata.tar.gz").exists()


def _rerun_toys(files):
    from ddphf.publish.contents import check_contents
    from ddphf.publish.rerun_toys import check_toys

    _, bundle = check_contents(files)
    checks = list(check_toys(bundle, lambda line: None, None))
    return checks, next((c for c in checks if not c.passed), None)


def test_parameters_read_back_to_the_last_bit(plain):
    collected = collect_results(plain_workspace(), name="example")
    read = load(plain, "results.json")
    for point, stored in zip(collected.points, read["points"], strict=True):
        for mine, theirs in zip(point.minimum.parameters, stored["parameters"], strict=True):
            assert mine.value == theirs["value"]
        assert point.minimum.twice_nll == stored["twice_nll"]


def test_background_and_patch_make_the_workspace(plain):
    background, workspace = load(plain, "BkgOnly.json"), load(plain, "workspace.json")
    assert [s["name"] for c in background["channels"] for s in c["samples"]] == ["symmetric"] * 2
    assert apply_patch(background, load(plain, "patch_signal.json")) == workspace
    assert pyhf.utils.digest(apply_patch(background, load(plain, "patch_signal.json"))) == (
        pyhf.utils.digest(workspace)
    )


def test_a_patchset_only_with_an_inspire_id(plain, tmp_path):
    assert "patchset.json" not in plain
    publication = publication_of(plain_workspace(), inspire="ins1234567")
    files = make_files(publication)
    patchset = pyhf.PatchSet(load(files, "patchset.json"))
    background = pyhf.Workspace(load(files, "BkgOnly.json"))
    patchset.verify(background)
    assert dict(patchset.apply(background, "signal")) == load(files, "workspace.json")
    _, failure = verify(files, level=0)
    assert failure is None, failure


def test_null_measurements_are_recognised():
    def measurement(name, *parameters):
        return {"name": name, "config": {"poi": "mu", "parameters": list(parameters)}}

    shape = {"name": "b", "inits": [1.0]}
    held = {"name": "mu", "fixed": True, "inits": [0.0]}
    free = measurement("free", {"name": "mu", "inits": [1.0]}, shape)
    for other, found in (
        (measurement("null", held, shape), "null"),
        (measurement("null", shape, held), "null"),
        (measurement("null", {**held, "inits": [1.0]}, shape), None),
        (measurement("null", {**held, "fixed": False}, shape), None),
        (measurement("null", held, {**shape, "fixed": True}), None),
    ):
        assert find_null({"measurements": [free, other]}, free) == found


# The bundle's own script and commands.


def test_verify_stock_prints_the_numbers_of_the_readme(plain, tmp_path):
    done = run_stock(unpack_to(plain, tmp_path), "-I", "verify_stock.py", "--fit")
    assert done.returncode == 0, done.stdout + done.stderr
    readme = plain["README.md"].decode()
    printed = "".join(f"    {line}\n" for line in done.stdout.splitlines())
    assert printed in readme


def test_verify_stock_imports_pyhf_and_the_standard_library_alone(plain):
    code = plain["verify_stock.py"].decode()
    imported = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    assert set(imported) - set(sys.stdlib_module_names) == {"pyhf"}


@pytest.mark.parametrize("what", ["value", "file", "statement"])
def test_verify_stock_fails(plain, tmp_path, what):
    from bundles import tamper

    def edit(results):
        if what == "value":
            results["points"][0]["parameters"][0]["value"] += 0.001
        else:
            results["statements"][0]["q0"] += 0.001

    files = {**plain, "LICENSE": b"x"} if what == "file" else tamper(plain, "results.json", edit)
    done = run_stock(unpack_to(files, tmp_path), "-I", "verify_stock.py")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "FAIL"


def test_commands_of_the_readme(plain, tmp_path):
    """Every `pyhf fit` of the README prints the number beside it; `pyhf digest` the digest."""
    readme = plain["README.md"].decode()
    rows = re.findall(r"^\| `pyhf (fit .*)` \| ([-\d.]+) \|$", readme, re.MULTILINE)
    assert len(rows) == 2
    folder = unpack_to(plain, tmp_path)
    for command, value in rows:
        done = run_stock(folder, *command.split(), program="pyhf")
        assert json.loads(done.stdout)["twice_nll"] == pytest.approx(float(value), abs=1e-2)
    digest = run_stock(folder, "digest", "workspace.json", program="pyhf").stdout.strip()
    assert f"`{digest}`" in readme


def test_python_of_the_readme(plain, tmp_path):
    readme = plain["README.md"].decode()
    code = re.search(r"```python\n(.*?)```\n\nprints ([-\d.]+)\.", readme, re.DOTALL)
    done = run_stock(unpack_to(plain, tmp_path), "-c", code.group(1))
    assert float(done.stdout) == pytest.approx(float(code.group(2)), abs=1e-5)


# HEPData.


def test_publish_takes_every_kind_that_its_page_promises(folder):
    """Made by the commands; docs/publish.md names them."""
    page = (Path(__file__).parents[1] / "docs" / "publish.md").read_text()
    promised = re.search(r"The others are results: (.*?)\. They must", page, re.DOTALL).group(1)
    named = set(re.findall(r"`(?:ddphf )?([\w ]+)`", promised))
    learn = {"variables": [{"column": "mass"}], "redraws": 40}
    write_event_analysis(folder, lambda analysis: analysis.update(learn=learn))
    assert invoke("build", "analysis.yml", "-o", "workspace.json").code == 0
    made = {
        "learn test": ["learn", "test", "analysis.yml", "-o", "learn.json"],
        "search pair": ["search", "pair", "analysis.yml", "--precision", ".3", "-o", "search.json"],
        "fit": ["fit", "workspace.json", "-o", "fit.json"],
        "toys": ["toys", "workspace.json", "-o", "toys.npz", "--toys", "100"],
        "rank": ["rank", "workspace.json", "--parameters", "symmetric_shape*", "-o", "rank.json"],
        "discover": ["discover", "workspace.json", "-o", "discover.json"],
        "limit": ["limit", "workspace.json", "-o", "limit.json"],
        "scan": ["scan", "workspace.json", "--parameter", "mu", "-o", "scan.json"],
        "inject": ["inject", "workspace.json", "--mu", "1", "-o", "five.json"],
    }
    assert named == set(made) == {"toys"} | {k.command for k in KINDS if k.published is not None}
    for arguments in made.values():
        done = invoke(*arguments)
        assert done.code == 0, done.err
    given = ["fit.json", "toys.npz", "rank.json", "discover.json", "limit.json", "scan.json",
             "search.json", "five.injection.json", "learn.json"]  # fmt: skip
    done = invoke("publish", "workspace.json", *given, "-o", "all.tar.gz")
    assert done.code == 0, done.err
    files = unpack(read_archive("all.tar.gz"))
    kinds = ("rank", "discover", "limit", "scan", "search", "injection", "learn")
    records = {f"{kind}.json" for kind in kinds}
    assert records | {"toys.npz"} <= set(files)
    assert "of its 4000 events go into the bundle" in done.err
    assert {entry["name"] for entry in load(files, "results.json")["included"]} == records
    done = invoke("verify", "all.tar.gz", "--level", "3")
    assert done.code == 0, done.err

    # The injection beside the workspace that it wrote, and beside neither.
    done = invoke("publish", "five.json", "five.injection.json", "-o", "five.tar.gz")
    assert done.code == 0, done.err
    record = json.loads(Path("five.injection.json").read_text())
    record["found"]["q0"] += 0.01
    Path("changed.json").write_text(json.dumps(record))
    done = invoke("publish", "five.json", "changed.json", "-o", "x.tar.gz")
    assert (done.code, "stale or was changed" in done.message) == (3, True)
    del record["found"]
    Path("changed.json").write_text(json.dumps(record))
    done = invoke("publish", "five.json", "changed.json", "-o", "x.tar.gz")
    assert (done.code, "no complete result of 'ddphf inject'" in done.message) == (3, True)
    done = invoke("publish", "five.json", "rank.json", "-o", "x.tar.gz")
    assert (done.code, "is about the workspace" in done.message) == (3, True)


def channels_called(*names):
    """The plain workspace once per name, with one signal strength."""
    out = plain_workspace()
    first = out["channels"][0]
    bins = len(first["samples"][0]["data"])
    sample = [{"name": "signal", "data": [5.0] * bins,
               "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
              {"name": "background", "data": [50.0] * bins, "modifiers": []}]  # fmt: skip
    out["channels"] = [{"name": name, "samples": sample} for name in names]
    out["observations"] = [{"name": name, "data": [57.0] * bins} for name in names]
    out["measurements"] = [{"name": "m", "config": {"poi": "mu", "parameters": []}}]
    return out


@pytest.mark.parametrize(
    "names",
    [
        ("SR", "sr", "Sr"),
        ("a b", "a_b", "a/b", "A,B"),
        ("3j, pT>50 GeV", "3j, pT>60 GeV", "(#&/)", "τμ", "質量", "minima"),
        ("x" * 80 + "1", "x" * 80 + "2"),
        ("con", "../up", ".hidden", "-rf"),
    ],
)
def test_every_channel_has_a_table_whatever_its_name(names):
    publication = publication_of(channels_called(*names))
    files = make_files(publication)
    packed, _ = make_archive(files, level=0, seconds=5.0)
    submitted, notes = make_submission(publication, "x.tar.gz", packed)
    assert notes == []
    out = unpack(submitted)
    documents = list(yaml.safe_load_all(out["submission.yaml"]))[1:]
    tables = {d["name"]: d for d in documents if d["name"].startswith("Yields")}
    assert len(documents) == len({d["name"].casefold() for d in documents})
    assert len(documents) == len({d["data_file"].lower() for d in documents})
    assert {d["data_file"] for d in documents} <= set(out)
    assert len(tables) == len(names)
    for name in names:  # the channel is recorded where its table has another name
        assert sum(f"channel {name}, before" in d["description"] for d in tables.values()) == 1


@pytest.fixture(scope="module")
def submission(plain):
    publication = publication_of(plain_workspace())
    packed, notes = make_submission(publication, "plain.tar.gz", pack(plain))
    return unpack(packed), notes


def test_submission(submission):
    files, notes = submission
    documents = list(yaml.safe_load_all(files["submission.yaml"]))
    resource = documents[0]["additional_resources"][0]
    assert (resource["type"], resource["location"]) == ("HistFactory", "plain.tar.gz")
    assert "README.md" in unpack(files["plain.tar.gz"])
    assert notes == [] or "not installed" in notes[0]
    named = {d["data_file"] for d in documents[1:]}
    assert named | {"submission.yaml", "plain.tar.gz"} == set(files)


def test_submission_has_full_digits(submission, plain):
    files, _ = submission
    results = load(plain, "results.json")
    table = yaml.safe_load(files["significance.yaml"])
    columns = {c["header"]["name"]: c["values"] for c in table["dependent_variables"]}
    assert columns["q0"][0]["value"] == results["statements"][0]["q0"]
    table = yaml.safe_load(files["yields_sr_mue.yaml"])
    columns = {c["header"]["name"]: c["values"] for c in table["dependent_variables"]}
    assert [v["value"] for v in columns["observed"]] == [99.0, 103.0, 66.0]
    fitted = np.array([v["value"] for v in columns["signal, after the fit"]])
    mu = results["statements"][0]["mu_hat"]
    assert np.array_equal(fitted, mu * np.array([5.0, 20.0, 5.0]))


def test_hepdata_validator_accepts_and_refuses(submission):
    pytest.importorskip("hepdata_validator")
    from ddphf.exceptions import InputError

    files, _ = submission
    assert validate_submission(pack(files))
    broken = {**files, "minima.yaml": b"independent_variables: 1\n"}
    with pytest.raises(InputError, match=r"HEPData submission: .+"):
        validate_submission(pack(broken))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"type: HistFactory", b"type: histfactory", "no resource of type 'HistFactory'"),
        (b"pyhf workspace", b"HS3 workspace", "'HS3'"),
        (b"location: plain.tar.gz", b"location: other.tar.gz", "not in the archive"),
    ],
)
def test_label_check(submission, old, new, message):
    from ddphf.exceptions import InputError

    files = dict(submission[0])
    assert old in files["submission.yaml"]
    files["submission.yaml"] = files["submission.yaml"].replace(old, new)
    with pytest.raises(InputError, match=message):
        check_label(pack(files))


def test_label_check_wants_the_readme_inside(submission):
    from ddphf.exceptions import InputError

    inner = unpack(submission[0]["plain.tar.gz"])
    del inner["README.md"]
    with pytest.raises(InputError, match=r"no README\.md inside"):
        check_label(pack({**submission[0], "plain.tar.gz": pack(inner)}))


# Not published unless it verifies.


def test_what_does_not_verify_is_not_published(plain):
    from bundles import tamper

    from ddphf.exceptions import FitError

    wrong = tamper(plain, "results.json", lambda r: r["points"][0].update(twice_nll=1.0))
    with pytest.raises(FitError, match="not published, the bundle does not verify: level 1"):
        make_archive(wrong, level=2, seconds=30.0)


# Somebody else's workspace.


@pytest.mark.slow
@needs(ATLAS.name)
def test_a_published_record_of_others(folder):
    done = invoke("publish", ATLAS / "bottom-squarks.json", "-o", "atlas.tar.gz")
    assert done.code == 0, done.err
    files = unpack(read_archive("atlas.tar.gz"))
    reference = json.loads((ATLAS / "reference.json").read_text())
    results = load(files, "results.json")
    null = next(p for p in results["points"] if p["poi_value"] == 0.0)
    # cabinetry's minuit stops up to 1e-3 above the minimum.
    assert null["twice_nll"] == pytest.approx(reference["best_twice_nll"], abs=1e-3)
    assert null["twice_nll"] <= reference["best_twice_nll"]
    known = reference["bestfit_and_symmetric_uncertainty"]
    found = {p["name"]: (p["value"], p["error"]) for p in null["parameters"]}
    for name in ("mu_z", "mu_ttbar"):
        assert found[name][0] == pytest.approx(known[name][0], abs=2e-3)
        assert found[name][1] == pytest.approx(known[name][1], rel=0.02)
    assert invoke("verify", "atlas.tar.gz", "--level", "3", "-o", "verify.json").code == 0
    done = run_stock(unpack_to(files, Path("unpacked")), "-I", "verify_stock.py")
    assert done.returncode == 0, done.stdout


def test_without_a_package_index_the_level_is_not_run(plain, monkeypatch, tmp_path):
    """The user's settings of pip say where the index is, or that there is none."""
    settings = tmp_path / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("[global]\nno-index = true\nfind-links =\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    from ddphf.publish.clean_venv import check_command_line
    from ddphf.publish.contents import check_contents

    _, bundle = check_contents(plain)
    checks = list(check_command_line(bundle, 60.0, lambda line: None))
    assert [(c.status, c.passed) for c in checks] == [("NOT RUN", False)]
    assert "is there a package index?" in checks[0].detail


def test_limits_with_bounds_of_their_own_are_found_again(folder):
    """The workspace's bound of 1.8 is below the limit; --poi-bounds goes beyond it."""
    workspace = plain_workspace()
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-10.0, 1.8]]
    Path("workspace.json").write_text(to_json(workspace))
    assert "the observed limit is beyond it" in invoke("limit", "workspace.json").message
    options = ["--poi-bounds", "-10,50", "--method", "asymptotic,toys", "--toys", "1000"]
    assert invoke("limit", "workspace.json", *options, "-o", "limit.json").code == 0
    done = invoke("publish", "workspace.json", "limit.json", "-o", "b.tar.gz")
    assert done.code == 0, done.err
    done = invoke("verify", "b.tar.gz", "--level", "5", "-o", "verify.json")
    assert done.code == 0, done.err
    checks = json.loads(Path("verify.json").read_text())["checks"]
    assert sum("limit by toys" in c["what"] for c in checks) == 6


def test_results_that_need_other_bounds_are_refused_by_name(folder):
    """A deficit: with the workspace's bounds mu is 0, with the option below it."""
    workspace = plain_workspace()
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0.0, 10.0]]
    for channel in workspace["observations"]:
        if channel["name"].startswith("SR"):
            channel["data"] = [0.7 * n for n in channel["data"]]
    Path("workspace.json").write_text(to_json(workspace))
    for command in ("fit", "discover", "limit"):
        given = f"{command}.json"
        done = invoke(command, "workspace.json", "--poi-bounds=-9,10", "-o", given)
        assert done.code == 0, done.err
        done = invoke("publish", "workspace.json", given, "-o", "b.tar.gz")
        assert done.code == 3
        assert "was made with bounds -9 to 10 of the POI" in done.message
        assert "make it again without --poi-bounds" in done.message
