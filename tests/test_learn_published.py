"""Records of `ddphf learn` in a bundle: redone from their events, found when changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bundles import load, publication_of, rewrite_readme, tamper, verify, with_file
from conftest import invoke
from test_learn_handover import make_events

from ddphf.config.analysis import read_analysis
from ddphf.exceptions import InputError
from ddphf.learning.evidence import again, compare, pack_events, unpack_events
from ddphf.learning.read_labels import read_labelled_events
from ddphf.publish.bundle import make_files
from ddphf.publish.included import read_given
from ddphf.results.learn import events_file
from ddphf.results.provenance import digests_of_data

MADE = {
    "learn.json": ["test", "--redraws", "60"],
    "curve.json": ["curve", "--redraws", "100"],
    "power.json": ["power", "--inject", ".2:.02", "--strengths", "0,60", "--toys", "3",
                   "--redraws", "30"],
    "network.json": ["test", "--statistic", "network", "--redraws", "10"],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a learned template, its workspace and records of the whole sample."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("learned")
        patch.chdir(folder)
        make_events(folder, strength=120, size=400)
        for name, (command, *options) in MADE.items():
            done = invoke("learn", command, "analysis.yml", *options, "--seed", "3", "-o", name)
            assert done.code == 0, done.err
        for line in ("learn template analysis.yml --seed 1 -o h.yml", "build h.yml -o h.json"):
            done = invoke(*line.split())
            assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def files(made):
    workspace, sidecar = (
        json.loads((made / name).read_text()) for name in ("h.json", "h.metadata.json")
    )
    given = read_given(
        [str(made / name) for name in MADE], sidecar["workspace_digest"],
        digests_of_data(workspace, sidecar),
    )  # fmt: skip
    return make_files(publication_of(workspace, "learned", sidecar, given=given))


def stated(files, name):
    """Return what results.json says of a record, to be changed with it."""
    return next(e for e in load(files, "results.json")["included"] if e["name"] == name)


def forge(files, name, change):
    """Change a record and all that repeats it: only doing it again can tell."""
    from ddphf.publish.summaries import summarize_record

    files = tamper(files, name, change)
    entry = summarize_record(name, load(files, name))

    def replace(results):
        results["included"] = [entry if e["name"] == name else e for e in results["included"]]

    return rewrite_readme(tamper(files, "results.json", replace))


def test_records_of_the_whole_sample_verify_beside_a_learned_template(files):
    events = {name for name in files if name.startswith("events_")}
    assert len(events) == 1  # of four records
    result, failure = verify(files, level=2, records=True)
    assert failure is None, failure
    redone = [c for c in result.checks if c.level == 5]
    assert {c.what.split(",")[0] for c in redone} == set(MADE)
    assert "holds the variables, probabilities and labels" in files["README.md"].decode()
    assert "learned from" in files["README.md"].decode()


def test_trainings_and_toys_are_redone_at_level_6(made):
    for name in ("network.json", "power.json"):
        record = json.loads((made / name).read_text())
        content = pack_events(record, str(made / name))
        events = unpack_events(content, record, "events")
        assert list(compare(record, again(record, events), here=True)) == []


CHANGES = {
    "p": ("learn.json", lambda r: r.update(p=r["p"] * 0.9, p_interval=[0.0, 1.0])),
    "t of a member": ("learn.json", lambda r: r["members"][0].update(t=r["members"][0]["t"] + 0.1)),
    "the law": ("learn.json", lambda r: r["law"].update(mean=r["law"]["mean"] * 1.01)),
    "the seed": ("learn.json", lambda r: r.update(seed=4)),
    "the number of redraws": ("learn.json", lambda r: r.update(redraws=61)),
    "the null": ("learn.json", lambda r: r["null"]["quantiles"].update({"0.95": 99.0})),
    "the curve": ("curve.json", lambda r: r["curve"]["values"].__setitem__(7, 1.0)),
    "the band": ("curve.json", lambda r: r["curve"].update(simultaneous=9.0)),
    "the limit": (
        "power.json", lambda r: r["power"]["points"][1]["q0_l1"].update(q0=50.0),
    ),
    "t of a network": ("network.json", lambda r: r["members"][0].update(t=99.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_changed_numbers_are_found(files, case):
    name, change = CHANGES[case]
    _, failure = verify(forge(files, name, change), level=1, records=True)
    assert failure is not None
    assert (failure.level, failure.what.split(",")[0]) == (5, name)
    assert "other numbers at" in failure.detail


def test_a_changed_median_of_toys_is_found_at_level_6(made):
    record = json.loads((made / "power.json").read_text())
    events = unpack_events(pack_events(record, str(made / "power.json")), record, "events")
    record["power"]["points"][1]["median_z"] += 1.0
    wrong = list(compare(record, again(record, events), here=True))
    assert [where for where, *_ in wrong] == ["power.points.1.median_z"]


def other_events(files, change):
    """Return the files with other events, whose name and checksum fit."""
    name = next(name for name in files if name.startswith("events_"))
    from io import BytesIO

    with np.load(BytesIO(files[name])) as archive:
        arrays = dict(archive)
    change(arrays)
    out = BytesIO()
    np.savez_compressed(out, **arrays)
    return with_file(files, name, out.getvalue())


def flip(arrays):
    one, two = np.flatnonzero(arrays["tested"])[0], np.flatnonzero(~arrays["tested"])[0]
    arrays["tested"][[one, two]] = arrays["tested"][[two, one]]


def other_bin(arrays):
    arrays["bins"][0] = (arrays["bins"][0] + 1) % 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, "other events than those that the record is about"),
        (lambda a: a["raw"].__setitem__((0, 0), 0.5), "other events than those"),
        (lambda a: a["share"].__setitem__(0, 0.5), "other events than those"),
        (lambda a: a["share"].__setitem__(0, np.nan), "'share' is no number for some event"),
        (lambda a: a["share"].__setitem__(0, 1.0), "probabilities or labels that are none"),
        (other_bin, "fill other histograms"),
        (lambda a: a["bins"].__setitem__(0, 99), "no bin of its axes"),
        (lambda a: a.pop("slope"), "no events"),
        (lambda a: a.update(raw=a["raw"][:-1]), "'raw' is no column of"),
        (lambda a: a.update(raw=np.hstack([a["raw"]] * 2)), "2 variables and 2 nuisances"),
    ],
)
def test_changed_events_are_found(files, change, message):
    _, failure = verify(other_events(files, change), level=0)
    assert failure is not None
    assert failure.what == "records that results.json names"
    assert message in failure.detail


def test_a_file_that_is_no_array_is_found(files):
    name = next(name for name in files if name.startswith("events_"))
    _, failure = verify(with_file(files, name, b"PK\x03\x04 no zip"), level=0)
    assert "no events of a record" in failure.detail


def test_elsewhere_p_may_differ_by_redraws_at_the_edge(made):
    record = json.loads((made / "learn.json").read_text())
    found = {key: record[key] for key in ("t", "p", "members")}
    near = {**found, "p": record["p"] + 1 / 61}
    far = {**found, "p": record["p"] + 5 / 61}
    assert [w for w, *_ in compare(record, near, here=True)] == ["p"]
    assert list(compare(record, near, here=False)) == []
    assert [w for w, *_ in compare(record, far, here=False)] == ["p"]


def test_records_of_other_events_are_not_packed(made, tmp_path):
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    record = json.loads((tmp_path / "learn.json").read_text())
    events = read_labelled_events(read_analysis(tmp_path / "analysis.yml", needs_signal=False))
    assert events_file(record) == f"events_{events.digest[7:19]}_2.npz"
    table = dict(np.load(tmp_path / "events.npz"))
    table["x"][0] += 0.01
    np.savez(tmp_path / "events.npz", **table)
    with pytest.raises(InputError, match="are not those that it is about"):
        pack_events(record, str(tmp_path / "learn.json"))
    Path(tmp_path / "analysis.yml").unlink()
    with pytest.raises(InputError, match=r"the analysis file that names them .* is not there"):
        pack_events(record, str(tmp_path / "learn.json"))


ASKED = {
    "redraws": ("learn.json", lambda r: r.update(redraws=10**9), "1,000,000,000 redraws, more"),
    "labels": ("learn.json", lambda r: r.update(redraws=9_999_999), "redrawn labels, more than"),
    "strengths": (
        "power.json", lambda r: r["power"]["points"].extend(1001 * r["power"]["points"][:1]),
        "1,003 strengths, more than",
    ),
    "signal": (
        "power.json", lambda r: r["power"]["points"][1].update(strength=1e12), "at most 10 times",
    ),
    "width": (
        "power.json", lambda r: r["power"]["signal"].update(widths=[-1.0]), "widths numbers > 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
def test_what_takes_days_is_not_done_for_a_stranger(files, case, monkeypatch):
    monkeypatch.setattr("ddphf.learning.evidence.MOST_LABELS", 1e8)
    name, change, message = ASKED[case]
    _, failure = verify(forge(files, name, change), level=1, records=True)
    assert failure is not None
    assert failure.level == 5
    assert message in failure.detail


@pytest.mark.parametrize(("redraws", "message"), [(100_001, "100,001 trainings, more than"),
                                                  (10**9, "1,000,000,000 trainings")])  # fmt: skip
def test_trainings_are_bounded(made, redraws, message):
    record = json.loads((made / "network.json").read_text())
    events = unpack_events(pack_events(record, str(made / "network.json")), record, "events")
    with pytest.raises(InputError, match=message):
        again({**record, "redraws": redraws}, events)


def many_bins(arrays):
    arrays.update({f"edges_{i}": np.arange(1001.0) for i in range(3)})


def test_a_bundle_of_more_bins_than_memory_is_refused(files):
    _, failure = verify(other_events(files, many_bins), level=0)
    assert "1,000,000,000 bins, more than" in failure.detail


def test_more_nuisances_or_another_transform_than_there_are_is_refused(made):
    record = json.loads((made / "learn.json").read_text())
    content = pack_events(record, str(made / "learn.json"))
    many = {**record, "nuisances": 1001 * record["nuisances"]}
    with pytest.raises(InputError, match="2,002 nuisances, more than"):
        unpack_events(content, many, "events")
    other = {**record, "variables": [{**record["variables"][0], "transform": "exp"}]}
    with pytest.raises(InputError, match="'exp' is no transform"):
        unpack_events(content, other, "events")


def test_a_record_of_other_data_is_refused(made, monkeypatch):
    monkeypatch.chdir(made)
    invoke("learn", "template", "analysis.yml", "--seed", "2", "--folds", "2", "-o", "o.yml")
    assert invoke("learn", "test", "o_2.yml", "--redraws", "20", "-o", "o.json").code == 0
    done = invoke("publish", "h.json", "o.json", "-o", "o.tar.gz")
    assert done.code == 3
    assert "is about other data than those of this workspace" in done.message
