"""Bundles that are what they say pass; every way of tampering fails at its level."""

import json
import random
import subprocess

import numpy as np
import pyhf
import pytest
from bundles import (
    full_files,
    lepton_id_files,
    load,
    plain_files,
    redigest,
    rewrite_readme,
    tamper,
    verify,
)
from conftest import plain_workspace

from ddphf.exceptions import InputError
from ddphf.publish.archive import pack
from ddphf.publish.contents import make_sums
from ddphf.publish.verify import verify_archive
from ddphf.results.verified import VerifyResult


@pytest.fixture(scope="module")
def plain():
    return plain_files()


@pytest.fixture(scope="module")
def full():
    return full_files()


@pytest.fixture(scope="module")
def lepton_id(tmp_path_factory):
    return lepton_id_files(tmp_path_factory.mktemp("lepton_id"))


def edit_sample(channel, sample, change):
    """Return an edit of one sample of a workspace."""

    def edit(workspace):
        for c in workspace["channels"]:
            for s in c["samples"]:
                if (c["name"], s["name"]) == (channel, sample):
                    change(s)

    return edit


# What passes.


def test_untouched_bundles_pass(full, lepton_id):
    for files in (full, lepton_id):
        result, failure = verify(files, level=1)
        assert failure is None, failure
        assert {check.level for check in result.checks} == {0, 1}
        assert VerifyResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.slow
def test_untouched_bundles_pass_refits(full, lepton_id):
    for files in (full, lepton_id):
        result, failure = verify(files, level=3)
        assert failure is None, failure
        assert {check.level for check in result.checks} == {0, 1, 2, 3}


def test_warm_and_cold_refits_by_stock_pyhf_pass(plain):
    result, failure = verify(plain, level=3)
    assert failure is None, failure
    assert {check.level for check in result.checks} == {0, 1, 2, 3}
    cold = [check for check in result.checks if check.level == 3]
    assert {"discovery, numpy and minuit, cold", "discovery, jax and scipy, cold"} <= {
        check.what for check in cold
    }
    for check in cold:
        assert check.found == pytest.approx(check.recorded, abs=1e-2)


def test_same_input_same_bytes():
    assert pack(plain_files()) == pack(plain_files())


# Negative controls. The checksums are made anew each time, as somebody who means it would.


def test_one_percent_in_one_bin_changes_the_digest(plain):
    def more(sample):
        sample["data"][1] *= 1.01

    files = tamper(plain, "workspace.json", edit_sample("SR_mue", "signal", more))
    _, failure = verify(files)
    assert (failure.level, failure.what) == (0, "digest of the workspace")


def test_one_percent_in_one_bin_with_new_digests_fails_at_the_values(plain):
    def more(sample):
        sample["data"][1] *= 1.01

    files = redigest(tamper(plain, "workspace.json", edit_sample("SR_mue", "signal", more)))
    _, failure = verify(files)
    assert (failure.level, failure.what) == (1, "discovery, numpy")
    assert failure.detail.startswith("differs by")


def test_one_percent_in_one_count_fails_at_the_contents(plain):
    """The events of every channel are on record."""

    def more(workspace):
        workspace["observations"][0]["data"][0] *= 1.01

    _, failure = verify(redigest(tamper(plain, "workspace.json", more)))
    assert (failure.level, failure.what) == (0, "names and order")


def test_moved_counts_fail_at_the_values(plain):
    def move(workspace):
        workspace["observations"][0]["data"].reverse()

    _, failure = verify(redigest(tamper(plain, "workspace.json", move)))
    assert (failure.level, failure.what) == (1, "discovery, numpy")


def test_one_covariance_entry_fails_at_the_contents(lepton_id):
    def more(data):
        data["matrix"][0][1] *= 1.01

    _, failure = verify(tamper(lepton_id, "covariance.json", more))
    assert (failure.level, failure.what) == (0, "covariance")
    assert "metadata.json states another" in failure.detail


def test_one_eigen_variation_fails_at_the_contents(lepton_id):
    """One entry of G, with every digest made anew: its length is no longer the eigenvalue."""

    def more(sample):
        data = next(m for m in sample["modifiers"] if m["type"] == "histosys")["data"]
        nominal = sample["data"][0]
        data["hi_data"][0] = nominal + 1.01 * (data["hi_data"][0] - nominal)

    files = tamper(lepton_id, "workspace.json", edit_sample("SR_mue", "symmetric", more))
    _, failure = verify(redigest(files))
    assert (failure.level, failure.what) == (0, "covariance")
    assert "squared length" in failure.detail


def test_one_eigenvalue_fails_at_the_contents(lepton_id):
    def more(data):
        data["lepton_id"]["eigenvalues"][0] *= 1.0001

    _, failure = verify(tamper(lepton_id, "metadata.json", more))
    assert (failure.level, failure.what) == (0, "covariance")


def test_swapped_channels_fail(full):
    """By the events on record; with those forged too by the values."""

    def swap(workspace):
        first, second = workspace["observations"]
        first["data"], second["data"] = second["data"], first["data"]

    def forge(results):
        first, second = results["channels"]
        first["observed"], second["observed"] = second["observed"], first["observed"]

    files = redigest(tamper(full, "workspace.json", swap))
    _, failure = verify(files)
    assert (failure.level, failure.what) == (0, "names and order")
    _, failure = verify(tamper(files, "results.json", forge))
    assert failure.level == 1


def test_swapped_names_fail_at_the_contents(plain):
    def swap(workspace):
        for entries in (workspace["channels"], workspace["observations"]):
            entries[0]["name"], entries[1]["name"] = entries[1]["name"], entries[0]["name"]

    files = redigest(tamper(plain, "workspace.json", swap))
    # Nothing that the likelihood sees: it is the record of the channels that tells.
    _, failure = verify(files)
    assert (failure.level, failure.what) == (0, "names and order")


def test_one_for_one_point_zero_fails_at_the_contents(full):
    def whole(workspace):
        data = workspace["observations"][0]["data"]
        data[0] = int(data[0])

    files = tamper(full, "workspace.json", whole)
    _, failure = verify(files)
    assert (failure.level, failure.what) == (0, "digest of the workspace")
    result, _ = verify(redigest(files))
    assert [c.what for c in result.failures] == ["numbers written as floats"]


def test_another_interpolation_code_fails_at_the_contents(full):
    def code(results):
        results["interpolation"]["normsys"] = "code1"

    _, failure = verify(tamper(full, "results.json", code))
    assert (failure.level, failure.what) == (0, "interpolation codes")


def test_values_of_another_interpolation_code_fail_at_the_values(full):
    """Recorded as code4, but 2NLL evaluated with code1: the normsys are asymmetric."""
    workspace = pyhf.Workspace(load(full, "workspace.json"))

    def recompute(results):
        for point in results["points"]:
            model = workspace.model(
                measurement_name=point["measurement"],
                modifier_settings={
                    "normsys": {"interpcode": "code1"}, "histosys": {"interpcode": "code0"},
                },
            )  # fmt: skip
            values = {p["name"]: p["value"] for p in point["parameters"]}
            parameters = [values[name] for name in model.config.par_names]
            point["twice_nll"] = -2 * float(model.logpdf(parameters, workspace.data(model))[0])

    _, failure = verify(tamper(full, "results.json", recompute))
    assert failure.level == 1


def test_stale_results_fail(plain):
    """Results of an older workspace: by the digest, and with that forged by the values."""
    older = plain_workspace()
    older["observations"][1]["data"][1] -= 5.0
    from bundles import publication_of

    from ddphf.publish.bundle import make_files

    stale = make_files(publication_of(older))
    files = {**plain, "results.json": stale["results.json"]}
    files["SHA256SUMS"] = make_sums(files)
    _, failure = verify(files)
    assert (failure.level, failure.what) == (0, "digest of the workspace")
    _, failure = verify(redigest(files))
    assert (failure.level, failure.what) == (0, "names and order")

    def forge(results):
        results["channels"] = load(plain, "results.json")["channels"]

    _, failure = verify(tamper(redigest(files), "results.json", forge))
    assert (failure.level, failure.what) == (1, "discovery, numpy")


def test_a_point_that_is_no_minimum_fails_at_the_refits(plain):
    """Value and statement follow from the point; only the point is not the lowest."""
    workspace = pyhf.Workspace(load(plain, "workspace.json"))

    def move(results):
        model = workspace.model(measurement_name="discovery")
        free = results["points"][0]
        parameter = next(p for p in free["parameters"] if p["name"] == "symmetric_shape[0]")
        parameter["value"] += 0.01
        values = {p["name"]: p["value"] for p in free["parameters"]}
        parameters = [values[name] for name in model.config.par_names]
        free["twice_nll"] = -2 * float(model.logpdf(parameters, workspace.data(model))[0])
        q0 = results["points"][1]["twice_nll"] - free["twice_nll"]
        statement = results["statements"][0]
        statement.update(q0=q0, q0_capped=q0, z0=np.sqrt(q0), p0=float(
            pyhf.tensorlib.normal_cdf(-np.sqrt(q0))))  # fmt: skip

    _, failure = verify(tamper(plain, "results.json", move))
    assert (failure.level, failure.what) == (1, "numbers of README.md")
    result, failure = verify(rewrite_readme(tamper(plain, "results.json", move)))
    assert failure.level == 2
    lower = {c.what for c in result.failures}
    assert "discovery, ddphf, cold" in lower
    assert "discovery, numpy and scipy, warm" in lower


def test_a_statement_that_does_not_follow_fails_at_the_values(plain):
    def boast(results):
        results["statements"][0]["z0"] += 0.01

    _, failure = verify(tamper(plain, "results.json", boast))
    assert (failure.level, failure.what) == (1, "discovery, q0")


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("results.json", lambda d: d["points"][0]["parameters"].reverse(), "names and order"),
        ("results.json", lambda d: d["channels"].reverse(), "names and order"),
        ("results.json", lambda d: d["points"].pop(0), "names and order"),
        ("results.json", lambda d: d.pop("points"), "results.json"),
        ("results.json", lambda d: d.update(schema="ddphf/results/9"), "results.json"),
        ("results.json", lambda d: d["points"][0].update(status="failed"), "numbers are finite"),
        ("workspace.json", lambda d: d.pop("channels"), "schema of workspace.json"),
        ("workspace.json", lambda d: d["observations"].pop(), "every measurement makes a model"),
        ("BkgOnly.json", lambda d: d["observations"].pop(), "patches make the workspace"),
        ("patch_signal.json", lambda d: d.append({"op": "remove", "path": "/version"}),
         "patches make the workspace"),
        ("patch_signal.json", lambda d: d.clear(), "patches make the workspace"),
    ],
)  # fmt: skip
def test_damaged_contents(plain, name, change, what):
    def edit(data):
        change(data)

    _, failure = verify(tamper(plain, name, edit))
    assert (failure.level, failure.what) == (0, what)


def test_damaged_records_are_failures_and_no_tracebacks(plain):
    def statement(results):
        del results["statements"][0]["q0"]

    _, failure = verify(tamper(plain, "results.json", statement))
    assert (failure.level, failure.what) == (1, "records")

    def held(results):
        results["points"][0]["n_free"] = 0  # would leave minuit out

    _, failure = verify(tamper(plain, "results.json", held))
    assert (failure.level, failure.what) == (0, "names and order")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: r["points"][0].update(poi=None), "names and order"),
        (lambda r: r["points"][0].update(poi="symmetric_shape[0]"), "names and order"),
        (lambda r: r.update(points=r["points"] + r["points"][:1]), "names and order"),
        (lambda r: r.update(environment="here"), "results.json"),
        (lambda r: r.update(name=3), "results.json"),
        (lambda r: r.update(name="a\x1b[31mb"), "results.json"),
    ],
)
def test_results_of_another_shape(plain, change, what):
    _, failure = verify(tamper(plain, "results.json", change), level=1)
    assert (failure.level, failure.what) == (0, what)


def test_an_error_that_is_none_fails_at_the_refits(plain):
    def change(results):
        results["points"][0]["parameters"][2]["error"] *= 1.01

    _, failure = verify(tamper(plain, "results.json", change))
    assert (failure.level, failure.what) == (2, "discovery, ddphf, cold")
    assert failure.detail.startswith("the error of ")


def test_names_cannot_command_a_terminal(plain):
    def change(results):
        results["points"][0]["measurement"] = "\x1b]0;mine\x07"

    result, failure = verify(tamper(plain, "results.json", change), level=1)
    assert failure.level == 0
    assert all(check.detail.isprintable() for check in result.checks)


def test_metadata_that_says_nothing_fails_at_the_contents(full):
    def strip(data):
        return {"workspace_digest": data["workspace_digest"]}

    _, failure = verify(tamper(full, "metadata.json", strip), level=0)
    assert failure.what == "pairing"


def test_requirements_name_pyhf_alone(plain):
    """Level 4 installs them."""
    for line in (b"evil", b"pyhf @ https://example.org/pyhf.tar.gz", b"-r other.txt"):
        files = {**plain, "requirements.txt": plain["requirements.txt"] + line + b"\n"}
        files["SHA256SUMS"] = make_sums(files)
        _, failure = verify(files, level=0)
        assert failure.what == "files"
        assert "is no version of pyhf, numpy or scipy" in failure.detail


def test_nan_and_missing_files(plain):
    files = {**plain, "results.json": plain["results.json"].replace(b'"p0":', b'"p0": NaN, "x":')}
    files["SHA256SUMS"] = make_sums(files)
    assert verify(files)[1].what == "JSON without NaN"
    files = dict(plain)
    del files["LICENSE"]
    files["SHA256SUMS"] = make_sums(files)
    assert verify(files)[1].detail == "not in the archive: LICENSE"
    assert verify({**plain, "patch_x.json": b"x"})[1].detail == "not in SHA256SUMS: patch_x.json"
    assert verify({**plain, "LICENSE": b"x"})[1].detail == "changed: LICENSE"


def test_one_flipped_byte_anywhere_fails_at_the_contents(plain):
    packed = pack(plain)
    rng = random.Random(1)
    places = [*range(10), *rng.sample(range(10, len(packed)), 60), *range(-9, 0)]
    for place in places:
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        try:
            result = verify_archive(bytes(damaged), level=0)
        except InputError:
            assert place in (0, 1)  # the magic number: no archive at all
        else:
            assert not result.passed, place
            assert next(result.failures).level == 0


def test_points_off_the_held_values_do_not_count(plain):
    """Finite differences move mu off 0: such points are lower than the null, and are none."""
    from ddphf.publish.stock_fits import _Clock

    point = load(plain, "results.json")["points"][1]
    start = np.array([p["value"] for p in point["parameters"]])
    clock = _Clock(30.0, lambda where: where[0] == start[0])
    watched = clock.watch(lambda where: (1.0 - 30.0 * where[0], None))
    for shift in (0.0, 1e-8, -1e-8):
        watched(start + shift * np.eye(len(start))[0])
    assert clock.lowest == 1.0
    assert np.array_equal(clock.where, start)


def test_a_lower_point_at_a_negative_rate_is_unphysical():
    """pyhf rewards a negative rate of an empty bin; that is not a better point."""
    from ddphf.publish.stock_fits import StockFit, judge_stock
    from ddphf.results.verified import FAIL, LIMITED, PASS, UNPHYSICAL

    value = 12.0
    assert judge_stock(StockFit(value - 1.0, False), value)[0] == UNPHYSICAL
    assert judge_stock(StockFit(value - 1.0, True), value)[0] == FAIL
    assert judge_stock(StockFit(value - 5e-4, True), value)[0] == PASS
    assert judge_stock(StockFit(value + 5e-3, True), value)[0] == PASS
    assert judge_stock(StockFit(value + 0.1, True), value)[0] == LIMITED
    assert judge_stock(StockFit(None, True, "says that it failed"), value)[0] == LIMITED


def test_a_negative_rate_of_the_command_line_is_told_from_a_lower_minimum():
    """What `pyhf fit --value` prints, at a point below 0 and at one above."""
    from ddphf.likelihood.reference import ReferenceModel
    from ddphf.publish.clean_venv import _judge
    from ddphf.results.verified import FAIL, UNPHYSICAL

    workspace = plain_workspace()
    reference = ReferenceModel(workspace)
    for mu, status in ((-9.0, UNPHYSICAL), (0.5, FAIL)):
        printed = {"mle_parameters": {"mu": [mu], "symmetric_shape": [1.0] * 3}, "twice_nll": 1.0}
        done = subprocess.CompletedProcess([], 0, json.dumps(printed), "")
        assert _judge(done, 10.0, 60.0, reference)[0] == status
