"""Records in a bundle (toys, limits, rankings, statements): refused where wrong, made again."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyhf
import pytest
from bundles import load, publication_of, rewrite_readme, tamper, verify
from conftest import full_pair, invoke, plain_workspace

from ddphf.exceptions import InputError
from ddphf.files import to_json
from ddphf.publish.archive import read_archive, unpack
from ddphf.publish.bundle import make_files
from ddphf.publish.contents import check_contents, make_sums
from ddphf.publish.rerun_records import check_records
from ddphf.publish.rerun_toys import check_toys
from ddphf.publish.toy_files import read_toys
from ddphf.workspace.build import build_workspace

RECORDS = {
    "fit.json": ["fit", "--toys", "300", "--seed", "7"],
    "toys.npz": ["toys", "--toys", "400", "--seed", "3"],
    "rank.json": ["rank"],
    "limit.json": ["limit", "--interval", "--method", "asymptotic,toys", "--toys", "300",
                   "--seed", "4"],
    "discover.json": ["discover", "--null", "asymptotic,toys,importance", "--toys", "1000",
                      "--seed", "5"],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every kind of record of one workspace, and other toys, in a folder."""
    folder = tmp_path_factory.mktemp("records")
    workspace = build_workspace(full_pair(), name="full").workspace
    (folder / "workspace.json").write_text(to_json(workspace))
    for name, (command, *options) in RECORDS.items():
        done = invoke(command, folder / "workspace.json", *options, "-o", folder / name)
        assert done.code == 0, done.err
    options = ["--toys", "400", "--seed", "8", "-o", folder / "other.npz"]
    assert invoke("toys", folder / "workspace.json", *options).code == 0
    return folder


@pytest.fixture(scope="module")
def bundle(made):
    """All of them published by the command."""
    output = made / "full.tar.gz"
    given = [made / name for name in RECORDS]
    done = invoke("publish", made / "workspace.json", *given, "-o", output)
    assert done.code == 0, done.err
    return unpack(read_archive(output))


def again(files, *, levels=(5, 6), toys=True):
    """Levels 5 and 6: all checks, and the first that did not pass."""
    found, contents = check_contents(files)
    assert contents is not None, [c for c in found if not c.passed]
    say, checks = [].append, []
    if 5 in levels:
        checks += check_records(contents, say, toys=toys)
    if 6 in levels:
        checks += check_toys(contents, say, None)
    return checks, next((c for c in checks if not c.passed), None)


def elsewhere(files):
    return tamper(files, "results.json", lambda r: r["environment"].update(machine="another"))


def follow(files, name):
    """Let results.json and README say what a changed record says."""
    from ddphf.publish.summaries import summarize_record

    def edit(results):
        entries = results["included"]
        place = [entry["name"] for entry in entries].index(name)
        entries[place] = summarize_record(name, load(files, name))

    return rewrite_readme(tamper(files, "results.json", edit))


def test_every_record_is_taken_and_made_again(bundle):
    results = load(bundle, "results.json")
    assert [entry["name"] for entry in results["included"]] == [
        "discover.json", "limit.json", "rank.json",
    ]  # fmt: skip
    assert [(t["file"], t["seed"], t["n"]) for t in results["toys"]] == [
        ("toys.npz", 3, 400), (None, 7, 300),
    ]  # fmt: skip
    checks, failure = again(bundle)
    assert failure is None, failure
    what = " ".join(check.what for check in checks)
    for part in ("CLs at the observed limit", "observed limit by toys", "lower end at 0.95 by toys",
                 "expected Z at mu = 1", "up: shift of mu", "toys of the fit", "toys.npz",
                 "p0 by importance sampling"):  # fmt: skip
        assert part in what
    checks, failure = again(elsewhere(bundle))
    assert failure is None, failure
    assert any("in another environment" in check.detail for check in checks)


def test_results_and_readme_say_what_the_records_say(bundle):
    included = {e["name"]: e for e in load(bundle, "results.json")["included"]}
    readme = bundle["README.md"].decode()
    limit, rank = load(bundle, "limit.json"), load(bundle, "rank.json")
    assert included["limit.json"]["asymptotic"]["observed"] == limit["asymptotic"]["observed"]
    assert included["limit.json"]["toys"]["seed"] == 4
    assert [p["name"] for p in included["rank.json"]["ranking"]] == [
        p["name"] for p in rank["parameters"]
    ]
    assert f"(toys): {limit['toys']['observed']:.4g} +- " in readme
    assert f"`{rank['parameters'][0]['name']}` (" in readme
    found = load(bundle, "discover.json")["statements"][0]["null"]["importance"]
    assert f"p0 = {found['p0']:.3g} +- " in readme


CHANGES = {
    "limit.json": [
        (("asymptotic", "observed"), 1.02, "CLs at the observed limit"),
        (("asymptotic", "expected", 0), 1.02, "CLs at the expected -2 sigma limit"),
        (("intervals", 0, "upper"), 1.02, "rise of 2NLL at the upper end"),
        (("toys", "observed"), 1.001, "observed limit by toys"),
        (("intervals", 2, "upper"), 1.001, "upper end at 0.6827 by toys"),
    ],
    "rank.json": [(("parameters", 0, "postfit_up"), 1.02, "up: shift of mu")],
    "discover.json": [
        (("statements", 0, "expected", "asimov", "z0"), 1.01, "expected Z at mu = 1"),
        (("statements", 0, "null", "toys", "n_ge"), 3, "discover.json, discovery"),
        (("statements", 0, "null", "importance", "p0"), 1.01, "p0 by importance sampling"),
    ],
}


@pytest.mark.parametrize(
    ("name", "path", "factor", "what"),
    [(name, *change) for name, changes in CHANGES.items() for change in changes],
)
def test_a_changed_number_fails(bundle, name, path, factor, what):
    """At the contents, and where results.json and README are changed too when made again."""

    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = data[path[-1]] * factor + (2 if path[-1] == "n_ge" else 0)

    files = tamper(bundle, name, change)
    _, failure = verify(files, level=0)
    assert failure.what == "records that results.json names"
    level = 6 if what in ("discover.json, discovery", "p0 by importance sampling") else 5
    _, failure = again(follow(files, name), levels=(level,), toys="by toys" in what)
    assert what in failure.what


def test_a_record_about_another_point_fails_at_the_values(bundle):
    for name, change in (
        ("rank.json", lambda data: data["parameters"][0].update(value=0.3)),
        ("limit.json", lambda data: data.update(mu_hat=0.1)),
        ("discover.json", lambda data: data["statements"][0]["observed"].update(q0=0.1)),
    ):
        _, failure = verify(follow(tamper(bundle, name, change), name), level=1)
        assert (failure.level, failure.what) == (1, f"{name}, about these points")
        assert "but the fit gives" in failure.detail


def test_hidden_records_fail_at_the_contents(bundle):
    for key in ("included", "toys"):

        def hide(results, key=key):
            del results[key][0]

        _, failure = verify(tamper(bundle, "results.json", hide), level=0)
        assert failure.what == "every file is named"


def test_toys_of_another_seed_fail(bundle, made):
    """Swapped files, forged counts, and forged values under the recorded seed."""
    files = {**bundle, "toys.npz": (made / "other.npz").read_bytes()}
    files["SHA256SUMS"] = make_sums(files)
    _, failure = verify(files, level=0)
    assert failure.what == "toys that results.json names"
    assert failure.detail.startswith("toys.npz: results.json has another seeds")
    columns = dict(np.load(made / "toys.npz"))
    columns["q0"][columns["q0"] < 0] *= 0.5  # no count changes
    stream = io.BytesIO()
    np.savez(stream, **columns)
    forged = {**bundle, "toys.npz": stream.getvalue()}
    forged["SHA256SUMS"] = make_sums(forged)
    assert verify(forged, level=0)[1] is None
    _, failure = again(forged, levels=(6,))
    assert failure.what == "toys.npz"
    assert failure.detail == "other toys than those of the recorded seeds"


@pytest.mark.parametrize(("more", "where", "passes"), [
    (60, "here", False), (1, "here", False), (60, "elsewhere", False), (1, "elsewhere", True),
])  # fmt: skip
def test_forged_counts(bundle, more, where, passes):
    """One toy on the edge may fall to the other side on another machine; sixty may not."""

    def forge(results):
        results["toys"][1]["n_ge"] += more

    files = tamper(bundle, "results.json", forge)
    files = elsewhere(files) if where == "elsewhere" else files
    _, failure = again(files, levels=(6,))
    assert (failure is None) == passes


def test_publish_refuses_what_does_not_verify(made, folder):
    """A limit that the fits do not give, a ranking of another fit, toys with changed values."""

    def changed(name, change):
        data = json.loads((made / name).read_text())
        change(data)
        Path(name).write_text(json.dumps(data))
        done = invoke("publish", made / "workspace.json", name, "-o", "out.tar.gz")
        assert not Path("out.tar.gz").exists()
        return done

    done = changed("limit.json", lambda d: d["asymptotic"].update(observed=0.01))
    assert done.code == 4
    assert "level 5, limit.json, CLs at the observed limit 0.01: FAIL" in done.message
    done = changed("rank.json", lambda d: d["poi"].update(value=0.1))
    assert done.code == 3
    assert "rank.json: mu is 0.1, but the fit gives" in done.message
    done = changed("rank.json", lambda d: d.update(engine="cabinetry"))
    assert done.code == 3
    assert "was made with --engine cabinetry" in done.message
    columns = dict(np.load(made / "toys.npz"))
    columns["q0"] *= 0.5
    np.savez("toys.npz", **columns)
    done = invoke("publish", made / "workspace.json", "toys.npz", "-o", "out.tar.gz")
    assert done.code == 3
    assert "toys of another model, data set or measurement" in done.message


def npz(**columns):
    n = 3
    base = {
        "version": 1, "seed": np.zeros(n, int), "index": np.arange(n), "q0": np.full(n, 0.5),
        "mu_hat": np.full(n, 0.1), "status": np.zeros(n, np.int8), "at_zero": np.zeros(n, bool),
        "mu": 0.0, "fingerprint": "x",
    }  # fmt: skip
    stream = io.BytesIO()
    np.savez_compressed(stream, **{**base, **columns})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(q0=np.zeros(2)), "the column 'q0' is none of 3 toys"),
        (npz(q0=np.array(["a", "b", "c"])), "the column 'q0' is none of 3 toys"),
        (npz(seed=np.zeros(3)), "the column 'seed' is none of 3 toys"),
        (npz(seed=np.array([0, -1, 0])), "a negative seed"),
        (npz(mu=np.zeros(2)), "not a file of toys"),
        (npz(version=np.array([{}], dtype=object)), "not a file of toys"),
        (b"PK\x03\x04", "not a file of toys"),
    ],
)
def test_files_of_toys_by_anybody(content, message):
    with pytest.raises(InputError, match=message):
        read_toys(content, "toys.npz")


def test_a_bomb_of_toys():
    """Half a megabyte that unpacks to more than a bundle may hold."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("q0.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(501):
            member.write(bytes(1_000_000))
    assert len(stream.getvalue()) < 1e6
    with pytest.raises(InputError, match="501 MB of numbers from so small a file"):
        read_toys(stream.getvalue(), "toys.npz")
    stream = io.BytesIO()
    np.savez_compressed(stream, q0=np.zeros(26_000_000))
    with pytest.raises(InputError, match="unpacks to 208 MB; no file of toys in a bundle"):
        read_toys(stream.getvalue(), "toys.npz")


def test_toys_with_signal_have_no_p0(folder):
    """Their tail above the observed q0 is a power, not a p-value."""
    Path("workspace.json").write_text(to_json(plain_workspace()))
    options = ["--toys", "100", "--mu", "1", "-o", "signal.npz"]
    assert invoke("toys", "workspace.json", *options).code == 0
    done = invoke("publish", "workspace.json", "signal.npz", "-o", "plain.tar.gz")
    assert done.code == 0, done.err
    files = unpack(read_archive("plain.tar.gz"))
    (entry,) = load(files, "results.json")["toys"]
    assert entry["mu"] == 1.0
    assert "p0" not in entry
    assert "100 toys of `discovery` at mu = 1 (signal.npz, seed 0)" in files["README.md"].decode()
    assert again(files)[1] is None


def test_limits_against_pyhf():
    """pyhf's own upper limit: CLs there is 0.05; 2 % beside it is not."""
    model = pyhf.simplemodels.uncorrelated_background([5.0, 9.0], [50.0, 60.0], [7.0, 5.0])
    workspace = dict(pyhf.Workspace.build(model, [55.0, 62.0, *model.config.auxdata]))
    spec = pyhf.Workspace(workspace)
    plain = make_files(publication_of(workspace))
    observed, expected = pyhf.infer.intervals.upper_limits.upper_limit(
        spec.data(model), model, level=0.05, rtol=1e-6
    )
    limit = {
        "schema": "ddphf/limit/1", "measurement": "measurement", "level": 0.95,
        "provenance": {"workspace_digest": f"sha256:{pyhf.utils.digest(workspace)}"},
        "asymptotic": {"expected": [float(e) for e in expected]}, "intervals": [],
    }  # fmt: skip
    for shift, passed in ((1.0, [True] * 6), (1.02, [False] + [True] * 5)):
        limit["asymptotic"]["observed"] = float(observed) * shift
        files = {**plain, "limit.json": to_json(limit).encode()}
        files = tamper(files, "results.json", lambda r: r.update(included=[{"name": "limit.json"}]))
        checks, _ = again(follow(files, "limit.json"))
        assert [c.passed for c in checks if c.level == 5] == passed
