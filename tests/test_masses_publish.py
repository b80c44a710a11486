"""Bundles of mass scans: both kinds, verified by refits and by stock pyhf; tampering is found."""

import io
import json
import subprocess
import sys

import numpy as np
import pyhf
import pytest
from conftest import invoke
from test_masses_patchset import write_scan

from ddphf.cli.publish_scan import publish_scan
from ddphf.files import to_json
from ddphf.masses.config import read_scan
from ddphf.masses.examples import small_patchset
from ddphf.progress import silent
from ddphf.publish.archive import pack, read_archive, unpack
from ddphf.publish.contents import make_sums
from ddphf.publish.scan_bundle import make_scan_files
from ddphf.publish.scan_contents import check_scan_contents
from ddphf.publish.scan_verify import check_fits, check_limits, run_scan_level
from ddphf.publish.verify import verify_archive

YIELDS = [[5.0, 6.0, 7.0], [6.0, 7.0, 6.0], [7.0, 6.0, 0.0]]
COUNTS = [[6, 8, 7], [8, 7, 5], [7, 5, 0]]


def publish(folder, *given, options=()):
    paths = [str(folder / name) for name in given]
    outcome = invoke("publish", *paths, "-o", str(folder / "scan.tar.gz"), "--force", *options)
    assert outcome.code == 0, outcome.err
    return unpack(read_archive(str(folder / "scan.tar.gz")))


def of(folder, source, *given, inspire=None):
    return publish_scan(
        str(folder / source), [str(folder / name) for name in given], name=None, inspire=inspire,
        license=None, citation=None, say=silent,
    )  # fmt: skip


def made(folder, source, *given, inspire=None):
    """Return the files of a bundle, which level 0 and new fits find nothing against."""
    files = make_scan_files(of(folder, source, *given, inspire=inspire))
    checks, bundle = check_scan_contents(files)
    checks += [*check_fits(bundle, silent), *check_limits(bundle, silent)]
    assert [check for check in checks if not check.passed] == []
    return files


def scan(folder, *options, counts=COUNTS, yields=YIELDS, edges=None):
    arguments = write_scan(folder, counts, yields)[:4]
    if edges is not None:
        document = json.loads((folder / "scan.yml").read_text())
        (folder / "scan.yml").write_text(json.dumps({**document, "edges": edges}))
    outcome = invoke(*arguments, "--force", *options)
    assert outcome.code == 0, outcome.err
    return json.loads((folder / "masses.json").read_text())


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """A scan of different backgrounds, an empty bin merged, with toys of both kinds."""
    folder = tmp_path_factory.mktemp("arrays")
    toys = ["--method", "asymptotic,toys", "--toys", "100", "--global-toys", "24", "--seed", "3"]
    edges = [[0.0, 1.0, 2.0, 3.0], [0.5, 1.5, 2.5, 3.5], [2.0, 3.0, 4.0, 5.0]]
    scan(folder, "--empty-bins", "merge", "--cl", "0.9,0.95", *toys, edges=edges)
    return publish(folder, "scan.yml", "masses.json")


@pytest.fixture(scope="module")
def patchset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patchset")
    base, patches = small_patchset(3)
    (folder / "base.json").write_text(json.dumps(base))
    (folder / "patches.json").write_text(json.dumps(patches))
    line = f"masses {folder}/base.json --patchset {folder}/patches.json -o {folder}/masses.json"
    assert invoke(*line.split()).code == 0
    return publish(folder, "base.json", "patches.json", "masses.json")


def verified(files, level=2):
    result = verify_archive(pack(files), level=level, seconds=60.0)
    return result, next(result.failures, None)


def test_arrays_with_a_script(arrays):
    """Limits and toys of both kinds again; levels below have passed before it was written."""
    assert {"scan.npz", "scan.json", "make_workspace.py"} <= set(arrays)
    assert "patchset.json" not in arrays
    _, bundle = check_scan_contents(arrays)
    checks = [c for n in (5, 6) for c in run_scan_level(bundle, n, 60.0, lambda _: None, None)]
    assert [c for c in checks if not c.passed] == []
    whats = "; ".join(c.what for c in checks if c.status == "PASS")
    for word in ("asymptotic limits at 90 %", "asymptotic limits at 95 %", "limit by toys at 95 %",
                 "global p by toys of all hypotheses"):  # fmt: skip
        assert word in whats


@pytest.mark.parametrize("kind", ["arrays", "patchset"])
def test_stock_pyhf_reproduces_it(kind, tmp_path, request):
    """The script imports pyhf alone; its CLs at the observed limits are 1 - level."""
    files = request.getfixturevalue(kind)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-I", str(tmp_path / "verify_scan.py"), "--fit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "PASS"
    assert sum(line.startswith("CLs") for line in lines) == 3
    readme = (tmp_path / "README.md").read_text()
    assert all(line in readme for line in lines if line.startswith(("2NLL", "q0")))
    (tmp_path / "masses.json").write_text(
        (tmp_path / "masses.json").read_text().replace('"q0": ', '"q0": 1')
    )
    done = subprocess.run(command[:-1], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1
    assert "FAIL  masses.json differs from SHA256SUMS" in done.stdout
    assert "q0 is" in done.stdout


def test_a_patchset_as_it_was_given(patchset):
    """Digest and labels are what pyhf's own classes verify; a patch applied gives the record."""
    background = pyhf.Workspace(json.loads(patchset["BkgOnly.json"]))
    found = pyhf.PatchSet(json.loads(patchset["patchset.json"]))
    found.verify(background)
    assert found.labels == ["m"]
    assert "scan.npz" not in patchset


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrays", "patchset"])
def test_stock_pyhf_from_its_own_start(kind, request):
    result, failure = verified(request.getfixturevalue(kind), level=3)
    assert failure is None, failure
    assert any(check.level == 3 and check.status == "PASS" for check in result.checks)


def test_a_common_background_needs_an_id_and_gets_a_patchset(tmp_path):
    scan(tmp_path, counts=[[6, 8, 7]] * 3, yields=[[5.0, 6.0, 7.0]] * 3)
    line = ["publish", f"{tmp_path}/scan.yml", f"{tmp_path}/masses.json", "-o",
            f"{tmp_path}/s.tar.gz"]  # fmt: skip
    outcome = invoke(*line)
    assert outcome.code == 2
    assert "give --inspire, such as ins1234567" in outcome.err
    files = made(tmp_path, "scan.yml", "masses.json", inspire="ins7654321")
    background = pyhf.Workspace(json.loads(files["BkgOnly.json"]))
    patches = pyhf.PatchSet(json.loads(files["patchset.json"]))
    patches.verify(background)
    assert [patch.values for patch in patches] == [(1.0,), (1.5,), (3.0,)]
    rows, _ = read_scan(f"{tmp_path}/scan.yml")
    assert dict(patches.apply(background, "m_1")) == rows.workspace(1)


def test_dropped_bins_of_a_patchset_are_published_as_fitted(tmp_path):
    """The workspaces of the given patchset are not those that were fitted."""
    base, patches = small_patchset(2)
    sample = base["channels"][0]["samples"][0]
    sample["data"][2] = sample["modifiers"][1]["data"][2] = 0.0
    patches["metadata"]["digests"] = {"sha256": pyhf.utils.digest(base)}
    (tmp_path / "base.json").write_text(json.dumps(base))
    (tmp_path / "patches.json").write_text(json.dumps(patches))
    line = f"masses {tmp_path}/base.json --patchset {tmp_path}/patches.json --empty-bins drop"
    assert invoke(*line.split(), "-o", f"{tmp_path}/masses.json").code == 0
    files = made(tmp_path, "base.json", "patches.json", "masses.json", inspire="ins7654321")
    background = json.loads(files["BkgOnly.json"])
    assert [len(c["samples"][0]["data"]) for c in background["channels"]] == [3]  # 2 of SR, 1 of CR
    assert "scan.npz" in files


def test_hypotheses_one_by_one_are_published(tmp_path):
    base, patches = small_patchset(2)
    base["measurements"].append({**base["measurements"][0], "name": "other"})
    patches["metadata"]["digests"] = {"sha256": pyhf.utils.digest(base)}
    (tmp_path / "base.json").write_text(json.dumps(base))
    (tmp_path / "patches.json").write_text(json.dumps(patches))
    line = f"masses {tmp_path}/base.json --patchset {tmp_path}/patches.json"
    outcome = invoke(*line.split(), "-o", f"{tmp_path}/masses.json")
    assert outcome.code == 0
    assert "one by one" in outcome.err
    made(tmp_path, "base.json", "patches.json", "masses.json")


def edit(files, name, change):
    """Return files with an edit, and new checksums."""
    data = json.loads(files[name])
    change(data)
    files = {**files, name: to_json(data).encode()}
    files["SHA256SUMS"] = make_sums(files)
    return files


def edit_arrays(files, key, change):
    with np.load(io.BytesIO(files["scan.npz"])) as archive:
        table = {name: archive[name] for name in archive.files}
    table[key] = change(table[key])
    stream = io.BytesIO()
    np.savez_compressed(stream, **table)
    files = {**files, "scan.npz": stream.getvalue()}
    files["SHA256SUMS"] = make_sums(files)
    return files


def record(files, change):
    return edit(files, "masses.json", change)


def row(index, key, value):
    def change(found):
        found["hypotheses"][index][key] = value

    return change


def limit(found):
    bands = found["hypotheses"][2]["limit"]["asymptotic"]
    bands["expected"][2] *= 1.001


def toys(found):
    found["hypotheses"][0]["limit"]["toys"]["observed"] *= 1.01


def tail(found):
    found["global"]["n_ge"] -= 1


TAMPERED = {
    "mu_hat of a hypothesis": (lambda f: record(f, row(1, "mu_hat", 0.5)), 1, "mu_hat"),
    "its error": (lambda f: record(f, row(1, "mu_error", 9.0)), 2, "mu_error of 3"),
    "an asymptotic limit": (lambda f: record(f, limit), 5, "asymptotic limits at 90 %"),
    "a limit by toys": (lambda f: record(f, toys), 5, "limit by toys at 90 %"),
    "the global p": (lambda f: record(f, tail), 6, "global p by toys"),
    "a value of the parameter": (
        lambda f: record(f, lambda r: r["values"].__setitem__(1, 1.6)), 0, "hypotheses",
    ),
    "2NLL of a point": (
        lambda f: edit(f, "points.json", lambda p: p["points"][0]["free"].update(twice_nll=1.0)),
        1, "free",
    ),
    "the data": (lambda f: edit_arrays(f, "counts", lambda c: c + np.eye(3)), 1, ""),
    "a yield that is no number": (
        lambda f: edit_arrays(f, "sample0_yields", lambda y: y * np.nan), 0, "hypotheses",
    ),
    "the script": (lambda f: {**f, "verify_scan.py": b"print('PASS')"}, 0, "files"),
    "the maker": (lambda f: {**f, "make_workspace.py": b"import os"}, 0, "files"),
    "another file": (lambda f: {**f, "pyhf.py": b""}, 0, "files"),
    "a checksum": (lambda f: {**f, "README.md": f["README.md"] + b"."}, 0, "SHA256SUMS"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(arrays, name):
    change, level, what = TAMPERED[name]
    files = change(dict(arrays))
    checks, bundle = check_scan_contents(files)
    for number in range(1, level + 1):
        assert bundle is not None, checks
        if number == level:  # what lower levels find is not looked at here
            checks = list(run_scan_level(bundle, number, 60.0, lambda _: None, None))
    wrong = [c for c in checks if not c.passed]
    assert wrong
    assert {c.level for c in wrong} == {level}
    assert any(what in c.what for c in wrong), wrong


PATCHED = {
    "another background": (
        lambda f: edit(f, "BkgOnly.json", lambda b: b["observations"][0]["data"].reverse()),
        "digests.sha256",
    ),
    "another signal": (
        lambda f: edit(f, "patchset.json", lambda p: p["patches"].pop()),
        "3 hypotheses, there are 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PATCHED)
def test_tampering_with_a_patchset_is_found(patchset, name):
    change, word = PATCHED[name]
    _, failure = verified(change(dict(patchset)), level=0)
    assert failure is not None
    assert failure.level == 0
    assert word in failure.detail


def test_stale_records_are_refused(tmp_path):
    scan(tmp_path, "--empty-bins", "drop")
    text = (tmp_path / "scan.yml").read_text()
    (tmp_path / "scan.yml").write_text(text.replace("[6, 8, 7]", "[6, 9, 7]"))
    line = ["publish", f"{tmp_path}/scan.yml", f"{tmp_path}/masses.json", "-o",
            f"{tmp_path}/s.tar.gz"]  # fmt: skip
    outcome = invoke(*line)
    assert outcome.code == 3
    assert "is about another scan than" in outcome.err
    (tmp_path / "scan.yml").write_text(text)
    record = json.loads((tmp_path / "masses.json").read_text())
    record["hypotheses"][0]["limit"]["asymptotic"]["observed"] *= 1.01
    (tmp_path / "masses.json").write_text(json.dumps(record))
    files = make_scan_files(of(tmp_path, "scan.yml", "masses.json"))
    _, bundle = check_scan_contents(files)
    (check,) = check_limits(bundle, silent)
    assert not check.passed
    assert "m = 1: " in check.detail
