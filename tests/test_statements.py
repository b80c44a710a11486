"""Every statement is made of a fitter, and of a workspace by way of one: the same numbers."""

import json

import numpy as np
import pytest
from engine_models import make_pair

from ddphf.compute.threads import Threads
from ddphf.exceptions import InputError, UsageError
from ddphf.inference.discovery import discover_model, discover_workspace
from ddphf.inference.fit import fit_workspace
from ddphf.inference.fitter import Fitter
from ddphf.inference.injection.record import inject_model, inject_signal
from ddphf.inference.limits.limits import limit_model, limit_workspace
from ddphf.inference.ranking.impacts import SHIFTS, rank_model, rank_parameters
from ddphf.inference.scan import scan_model, scan_parameters
from ddphf.inference.toys.kept import toys_model, toys_workspace
from ddphf.inference.toys.store import load_toys
from ddphf.inference.yields import predict_model, predict_yields
from ddphf.likelihood.reference import ReferenceModel

BOUNDS = (-3.0, 8.0)


@pytest.fixture(scope="module")
def workspace():
    rng = np.random.default_rng(11)
    template, signal = np.array([40.0, 50.0, 60.0]), np.array([2.0, 12.0, 3.0])
    rows = np.array([[[0.02, 0.01, 0.0]], [[0.0, 0.01, 0.02]]])
    counts = rng.poisson(template), rng.poisson(template + signal)
    return make_pair(template, *counts, signal, variations=rows)


@pytest.fixture(scope="module")
def fitter(workspace):
    return Fitter(ReferenceModel(workspace, None, BOUNDS))


@pytest.fixture(scope="module")
def plain(workspace):
    return Fitter(ReferenceModel(workspace))


def written(record):
    """The JSON without what a fitter does not know: versions and the workspace's digest."""
    data = json.loads(json.dumps(record.to_dict()))
    stated = data["provenance"]
    data["provenance"] = {k: v for k, v in stated.items() if k in ("poi_bounds", "written_digest")}
    return data


def test_statements_of_one_fitter_are_those_of_the_workspace(workspace, fitter):
    """Whatever was made of the fitter before: none of them leaves a trace in the next."""
    bounds = {"poi_bounds": BOUNDS}
    for made, direct in (
        (discover_model(fitter), discover_workspace(workspace, **bounds)),
        (limit_model(fitter, interval=True), limit_workspace(workspace, interval=True, **bounds)),
        (scan_model(fitter, ["mu"], points=5), scan_parameters(workspace, ["mu"], points=5,
                                                               **bounds)),
        (discover_model(fitter), discover_workspace(workspace, **bounds)),
    ):  # fmt: skip
        assert made.provenance == {"poi_bounds": list(BOUNDS)}
        assert direct.provenance["workspace_digest"].startswith("sha256:")
        assert written(made) == written(direct)


def test_rankings_yields_and_injections_too(workspace, plain):
    assert written(rank_model(plain, cold=True)) == written(rank_parameters(workspace))
    fit = fit_workspace(workspace)
    assert written(predict_model(plain, fit)) == written(predict_yields(workspace, fit))
    (data, made), (other, direct) = inject_model(plain, z=2.0), inject_signal(workspace, z=2.0)
    assert data == other != workspace
    assert set(made.provenance) == {"written_digest"}
    assert written(made) == written(direct)


def test_limits_that_need_other_bounds_say_which():
    """Widening builds other models of the fitter's workspace, and leaves the fitter as it is."""
    spec = {
        "channels": [{"name": "c", "samples": [
            {"name": "s", "data": [0.05], "modifiers": [
                {"name": "mu", "type": "normfactor", "data": None}]},
            {"name": "b", "data": [50.0], "modifiers": []}]}],
        "observations": [{"name": "c", "data": [52.0]}], "version": "1.0.0",
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }  # fmt: skip
    fitter = Fitter(ReferenceModel(spec))
    found = limit_model(fitter)
    assert found.provenance == {"poi_bounds": [0.0, 1000.0]}
    assert fitter.reference.poi_bounds is None
    assert float(fitter.reference.parameters.upper[0]) == 10.0
    assert written(limit_model(fitter)) == written(limit_workspace(spec)) == written(found)


def test_kept_toys_are_those_of_the_workspace(workspace, plain, tmp_path):
    one, warnings = toys_workspace(workspace, tmp_path / "one.npz", toys=64, seed=3)
    assert warnings == tuple(plain.reference.warnings)
    two, _ = toys_model(plain, tmp_path / "two.npz", toys=64, seed=3)
    assert np.array_equal(one.q0, two.q0)
    assert (one.workspace_digest[:7], two.workspace_digest) == ("sha256:", "")
    more, _ = toys_model(plain, tmp_path / "two.npz", toys=32, seed=4)  # added to
    assert len(more) == 96
    anew, _ = toys_model(plain, tmp_path / "two.npz", toys=32, seed=4, replace=True)
    assert len(anew) == len(load_toys(tmp_path / "two.npz")) == 32
    assert [path.name for path in tmp_path.glob(".*.part")] == []
    with pytest.raises(InputError, match="holds toys of another model, data set or --mu"):
        toys_model(plain, tmp_path / "two.npz", toys=32, mu=1.0)


def test_what_cannot_be_asked_is_refused_by_both(workspace, fitter):
    with pytest.raises(InputError, match="toys: 0, expected at least 1"):
        discover_model(fitter, nulls=("toys",), toys=0)
    with pytest.raises(InputError, match="confidence level 1: expected"):
        limit_model(fitter, level=1.0)
    with pytest.raises(UsageError, match="expected one, or two different ones"):
        scan_model(fitter, ["mu", "mu"])
    with pytest.raises(UsageError, match="one of the two"):
        inject_model(fitter, z=1.0, mu=1.0)


class Counted(Threads):
    """Counts what it is asked to do."""

    tasks = 0

    def prepare(self, task):
        self.tasks += 1
        return super().prepare(task)


def test_a_limit_is_done_where_one_asks_its_intervals_too(workspace):
    asked = []
    for interval in (False, True):
        with Counted() as runner:
            limit_workspace(
                workspace, methods=("toys",), interval=interval, toys=100, seed=1, runner=runner
            )
        asked.append(runner.tasks)
    assert 0 < asked[0] < asked[1]


def test_rankings_in_numpy_and_by_a_compiled_batch_agree(plain):
    """Fits end where 2NLL is right to 1e-14, which is 1e-7 of an error."""
    cold, warm = rank_model(plain, cold=True), rank_model(plain)
    for one, other in zip(cold.parameters, warm.parameters, strict=True):
        assert one.name == other.name
        for shift in SHIFTS:
            found = getattr(one, shift), getattr(other, shift)
            assert found[0] == pytest.approx(found[1], rel=0, abs=2e-7 * warm.poi.error)
