"""Mass scans: rows against single workspaces, a plain likelihood, and closed forms."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import invoke
from scipy.optimize import minimize
from scipy.stats import norm, poisson

from ddphf import fit_workspace, limit_workspace
from ddphf.compute.runners import open_runner
from ddphf.compute.streams import generator
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.likelihood.rows.model import factors
from ddphf.masses.asymptotic import cross
from ddphf.masses.empty_bins import POLICIES, treat_empty_bins
from ddphf.masses.examples import small_scan
from ddphf.masses.global_p import global_p
from ddphf.masses.run import fit_scan, run_scan
from ddphf.masses.scan import MassScan, Norm, Parameter, Poi, Sample
from ddphf.masses.shared_events import Cells, SharedEvents
from ddphf.results.masses import MassesResult


def shapesys_scan():
    scan = small_scan()
    (background,) = scan.backgrounds
    return replace(scan, backgrounds=(replace(background, shapesys=True),))


def rich_scan():
    """Two backgrounds of which one has no error of its bins, a signal with one, shared norms."""
    scan = small_scan()
    (background,) = scan.backgrounds
    ones = np.ones(len(scan))
    other = Sample(
        "other", 0.5 + 0.0 * background.yields,
        norms=(Norm("background_norm", 1.2 * ones, 0.9 * ones), Norm("lumi", 1.02 * ones, ones)),
    )  # fmt: skip
    signal = replace(
        scan.signal,
        error=0.1 * scan.signal.yields,
        norms=(*scan.signal.norms, Norm("lumi", 1.02 * ones, 0.97 * ones)),
    )
    return replace(scan, backgrounds=(background, other), signal=signal)


def below_zero():
    scan = small_scan(seed=4)
    return replace(scan, poi=replace(scan.poi, lower=-1.0))


SCANS = {
    **{policy: lambda policy=policy: treat_empty_bins(small_scan(), policy) for policy in POLICIES},
    "shapesys": lambda: treat_empty_bins(shapesys_scan(), "drop"),
    "rich": lambda: treat_empty_bins(rich_scan(), None),
    "below zero": lambda: treat_empty_bins(below_zero(), "drop"),
}


@pytest.mark.parametrize("name", SCANS)
def test_rows_are_what_single_workspaces_say(name):
    """Value and error of the POI, q0 and limits of every hypothesis, one by one."""
    scan = SCANS[name]()
    result = run_scan(scan, levels=(0.9,))
    assert [found["status"] for found in result.hypotheses] == ["converged"] * len(scan)
    for index, found in enumerate(result.hypotheses):
        workspace = scan.workspace(index)
        fit = fit_workspace(workspace)
        assert found["mu_hat"] == pytest.approx(fit.mu_hat.value, abs=2e-6)
        assert found["mu_error"] == pytest.approx(fit.mu_hat.error, rel=1e-5)
        if fit.discovery is None:
            assert found["q0"] is None
            assert found["empty_bins"]["with_events"] > 0
        else:
            assert found["q0"] == pytest.approx(fit.discovery.q0, abs=1e-7)
        limit = limit_workspace(workspace, level=0.9).asymptotic
        stated = found["limit"]["asymptotic"]
        assert stated["observed"] == pytest.approx(limit.observed, rel=1e-6)
        assert stated["expected"] == pytest.approx(limit.expected, rel=1e-6)


def test_an_event_in_an_empty_bin():
    """With keep mu = 0 is impossible: limits as of the single workspace, no q0, the bin named."""
    scan = small_scan()
    counts = scan.counts.copy()
    counts[-1, -1] = 1.0
    scan = treat_empty_bins(replace(scan, counts=counts), "keep")
    result = run_scan(scan)
    last = result.hypotheses[-1]
    assert (last["q0"], last["z0"], last["p0"]) == (None, None, None)
    assert last["empty_bins"] == {"n": 1, "with_events": 1, "bins": [5]}
    limit = limit_workspace(scan.workspace(3)).asymptotic
    assert last["limit"]["asymptotic"]["observed"] == pytest.approx(limit.observed, rel=1e-6)
    assert any("mu = 0 is impossible there" in line and "bins [5]" in line
               for line in result.warnings)  # fmt: skip


def plain_nll(scan, index, mu, norms, gammas):
    """-ln L by hand: a Poisson term per bin, Gaussian terms of the norms and staterrors."""
    (background,) = scan.backgrounds
    up, down = 1.1, 1 / 1.1

    def factor(alpha, high, low):
        if abs(alpha) >= 1:
            return high**alpha if alpha > 0 else low ** (-alpha)
        conditions = [high - 1, low - 1, np.log(high) * high, -np.log(low) * low,
                      np.log(high) ** 2 * high, np.log(low) ** 2 * low]  # fmt: skip
        powers = np.arange(1, 7)
        ends = (1.0, -1.0)
        rows = [[x**p for p in powers] for x in ends]
        rows += [[p * x ** (p - 1) for p in powers] for x in ends]
        rows += [[p * (p - 1) * x ** (p - 2) if p > 1 else 0.0 for p in powers] for x in ends]
        return 1 + np.linalg.solve(rows, conditions) @ alpha**powers

    b = background.yields[index]
    sigma = background.error[index] / b
    rate = gammas * b * factor(norms[0], up, down)
    rate = rate + mu * scan.signal.yields[index] * factor(norms[1], 1.05, 1 / 1.05)
    if np.any(rate <= 0):
        return 1e9
    return -(
        poisson.logpmf(scan.counts[index], rate).sum()
        + norm.logpdf(norms).sum()
        + norm.logpdf(gammas, 1.0, sigma).sum()
    )


def test_a_likelihood_by_hand():
    scan = small_scan()
    fitted = fit_scan(treat_empty_bins(scan, "drop"))
    for index in (0, 1):
        bins = scan.counts.shape[1]

        def free(x, index=index):
            return plain_nll(scan, index, x[0], x[1:3], x[3:])

        start = np.r_[0.5, 0.0, 0.0, np.ones(bins)]
        bounds = [(0.0, 50.0), *[(-5, 5)] * 2, *[(1e-10, 10)] * bins]
        options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000}
        best = minimize(free, start, method="L-BFGS-B", bounds=bounds, options=options)
        bounds[0] = (0.0, 0.0)
        null = minimize(free, start, method="L-BFGS-B", bounds=bounds, options=options)
        assert fitted.free.theta[index, 0] == pytest.approx(best.x[0], abs=2e-4)
        assert fitted.q0[index] == pytest.approx(2 * (null.fun - best.fun), abs=1e-6)


def test_interpolated_factors_have_their_derivatives():
    model = rich_scan().rows()
    step = 1e-6
    for alpha in (-1.7, -0.6, 0.0, 0.3, 0.99, 2.2):
        theta = np.full((len(model), len(model.names)), alpha)
        value, first, second = factors(model, theta)
        up, down = (factors(model, theta + s)[0] for s in (step, -step))
        linear = model.linear > 0
        assert (value * first)[:, ~linear] == pytest.approx(
            ((up - down) / (2 * step))[:, ~linear], abs=1e-8
        )
        assert (value * second)[:, ~linear] == pytest.approx(
            ((up - 2 * value + down) / step**2)[:, ~linear], abs=2e-3
        )


def test_crossings_of_many_functions():
    roots = np.array([0.3, 4.0, 30.0, 700.0])
    found = cross(
        lambda items, x: np.log((roots[items] + 1) / (x + 1)), np.zeros(4), np.ones(4), 100.0
    )
    assert found[:3] == pytest.approx(roots[:3], rel=1e-9)
    assert np.isnan(found[3])


def test_a_scan_compiles_at_most_three_programs():
    """Structure is data: another number of empty bins needs no program of its own."""
    compiled, listening = [], True

    def listen(event, duration, **_):
        if listening and "backend_compile" in event:
            compiled.append(event)

    scan = small_scan(n=9)
    (background,) = scan.backgrounds
    yields, error = background.yields.copy(), background.error.copy()
    for row in range(9):
        yields[row, : row % 4] = error[row, : row % 4] = 0.0
    scan = replace(scan, backgrounds=(replace(background, yields=yields, error=error),))
    jax.monitoring.register_event_duration_secs_listener(listen)
    for policy in ("keep", "drop"):
        result = run_scan(treat_empty_bins(scan, policy), methods=("asymptotic", "toys"), toys=100)
        assert all(found["status"] == "converged" for found in result.hypotheses)
    listening = False
    assert len(compiled) <= 3


# Empty bins.


def test_policies_keep_the_events_that_they_say():
    scan = small_scan()
    total = {p: treat_empty_bins(scan, p).counts.sum() for p in POLICIES}
    lost = scan.counts[-1, -1]
    assert total == {p: scan.counts.sum() - (lost if p == "drop" else 0) for p in POLICIES}
    floored = treat_empty_bins(scan, "floor").backgrounds[0]
    assert floored.yields[-1, -1] == floored.error[-1, -1] == pytest.approx(0.1)
    merged = treat_empty_bins(scan, "merge")
    assert merged.counts[-1, 4] == scan.counts[-1, 4] + scan.counts[-1, 5]
    assert merged.backgrounds[0].error[-1, 4] == scan.backgrounds[0].error[-1, 4]


def test_empty_bins_need_a_policy():
    with pytest.raises(
        InputError, match=r"at empty_bins: 1 bins of 1 hypotheses .* bin 5 of m = 4"
    ):
        treat_empty_bins(small_scan(), None)


# Toys.


def test_toy_limits_of_two_seeds_agree_with_each_other_and_with_a_single_workspace():
    scan = treat_empty_bins(small_scan(n=2), "drop")
    found = [
        run_scan(scan, levels=(0.9,), methods=("toys",), toys=1500, seed=seed) for seed in (1, 2)
    ]
    pairs = [[r.hypotheses[i]["limit"]["toys"] for r in found] for i in range(2)]
    single = limit_workspace(scan.workspace(0), level=0.9, methods=("toys",), toys=400, seed=3).toys
    for one, two in pairs:
        assert one["n_failed"] == 0
        error = np.hypot(one["error"], two["error"])
        assert abs(one["observed"] - two["observed"]) < 4 * error
        for band in (2, 3, 4):
            error = np.hypot(one["expected_error"][band], two["expected_error"][band])
            assert abs(one["expected"][band] - two["expected"][band]) < 4 * error
    error = np.hypot(single.observed_error, pairs[0][0]["error"])
    assert abs(single.observed - pairs[0][0]["observed"]) < 4 * error


def test_no_bit_depends_on_the_runner_and_kept_pieces_are_taken(tmp_path):
    scan = treat_empty_bins(windowed(), "drop")
    settings = {"methods": ("toys",), "toys": 100, "global_toys": 20, "seed": 5}
    first = run_scan(scan, folder=tmp_path, **settings).to_dict()
    kept = sorted(tmp_path.glob("*.npz"))
    assert len(kept) == len(scan) + 5
    with open_runner("processes:2") as runner:
        other = run_scan(scan, work=Work(runner=runner), **settings).to_dict()
    assert other == first
    kept[0].unlink()
    kept[1].write_bytes(b"half a file")
    times = {path: path.stat().st_mtime_ns for path in kept[2:]}
    again = run_scan(scan, folder=tmp_path, **settings).to_dict()
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in kept[2:]} == times
    assert run_scan(scan, **{**settings, "seed": 6}).to_dict() != first


def windowed(shift=0.4, n=3):
    """Windows of four bins, each shifted by part of a bin, over a flat background."""
    edges = np.arange(5.0) + shift * np.arange(n)[:, None]
    ones = np.ones(n)
    yields = np.tile(12.0, (n, 4))
    signal = np.tile([0.5, 1.5, 1.5, 0.5], (n, 1))
    rng = generator(3)
    return MassScan(
        name="windows",
        parameter=Parameter("m", "", np.arange(1.0, n + 1)),
        poi=Poi("mu", "", 0.0, 50.0),
        counts=rng.poisson(yields).astype(float),
        backgrounds=(
            Sample(
                "background", yields, 0.1 * yields, norms=(Norm("n", 1.05 * ones, ones / 1.05),)
            ),
        ),
        signal=Sample("signal", signal),
        live=np.ones((n, 4), dtype=bool),
        edges=edges,
        empty=np.zeros((n, 4), dtype=bool),
    )  # fmt: skip


def test_cells_count_the_events_of_every_window():
    rng = np.random.default_rng(5)
    edges = np.sort(rng.uniform(0, 10, (6, 5)), axis=1)
    x, other = rng.uniform(0, 10, 400), rng.integers(3, size=400)
    cells = Cells(edges, 3)
    held = np.histogram2d(x, other, bins=(cells.union, np.arange(4)))[0]
    expected = [np.histogram2d(x, other, bins=(row, np.arange(4)))[0].ravel() for row in edges]
    assert np.array_equal(cells.sums(held), expected)
    again = cells.sums(cells.resolve(np.array(expected, dtype=float)))
    assert np.max(np.abs(again - expected) / np.sqrt(np.maximum(expected, 1))) < 0.1


def test_toys_share_events_norms_and_simulation():
    """Counts of two windows have the covariance of their overlap, and so have the simulations."""
    events = SharedEvents(windowed(shift=2.0, n=2))
    toys = [events.draw(generator(1, i)) for i in range(3000)]
    counts = np.array([toy.counts for toy in toys])
    assert counts.mean(axis=0) == pytest.approx(np.full((2, 4), 12.0), rel=0.03)
    assert np.array_equal(counts[:, 0, 2:], counts[:, 1, :2])
    local = np.array([toy.local for toy in toys])
    assert np.array_equal(local[:, 0, 2:], local[:, 1, :2])
    assert local.std(axis=0) == pytest.approx(np.full((2, 4), 0.1), rel=0.06)
    assert np.corrcoef(counts[:, 0, 0], local[:, 0, 0])[0, 1] == pytest.approx(0.0, abs=0.06)
    centre = np.array([toy.centre for toy in toys])
    assert np.array_equal(centre[:, 0], centre[:, 1])
    assert centre[:, 0, 1].std() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_global_p_of_equal_and_of_separate_windows(shift):
    """Equal windows cost nothing; n separate ones cost 1 - (1 - p)^n."""
    n = 3
    if shift:
        scan = windowed(shift, n)
    else:
        scan = windowed(0.0, 1).take(np.zeros(n, dtype=int))
        scan = replace(scan, parameter=replace(scan.parameter, values=np.arange(1.0, n + 1)))
    (background,) = scan.backgrounds
    scan = replace(scan, backgrounds=(replace(background, norms=()),))
    toys, threshold = 600, 1.0
    q0 = np.full(n, threshold)
    found = global_p(scan, q0, toys, seed=2, folder=None, work=HERE)
    one = global_p(scan.take(np.array([0])), q0[:1], toys, seed=9, folder=None, work=HERE)
    expected = one["p"] if shift == 0 else 1 - (1 - one["p"]) ** n
    error = np.hypot(found["error"], one["error"] * (1 if shift == 0 else n))
    assert abs(found["p"] - expected) < 3.5 * error
    assert 0.1 < one["p"] < 0.2  # of a Gaussian .159
    assert found["gross_vitells"]["u0"] == 0.5


def test_without_edges_there_is_no_global_p():
    with pytest.raises(InputError, match="at edges: the edges of the windows are missing"):
        run_scan(treat_empty_bins(small_scan(), "drop"), global_toys=20)


# The command.


def write_scan(folder, **changes):
    """Write arrays and their scan file."""
    scan = windowed()
    np.savez(
        folder / "scan.npz", m=scan.parameter.values, edges=scan.edges, data=scan.counts,
        background=scan.background, background_error=scan.backgrounds[0].error,
        signal=scan.signal.yields,
    )  # fmt: skip
    document = {
        "schema": "ddphf/masses/1",
        "name": "windows",
        "parameter": {"name": "m", "unit": "GeV", "values": "scan.npz:m"},
        "observed": "scan.npz:data",
        "edges": "scan.npz:edges",
        "background": {
            "yields": "scan.npz:background",
            "error": "scan.npz:background_error",
            "systematics": [{"name": "n", "type": "normsys", "up": 1.05, "down": 0.952381}],
        },
        "signal": {"yields": "scan.npz:signal"},
        "poi": {"name": "mu", "unit": "fb", "bounds": [0, 50]},
        **changes,
    }
    (folder / "masses.yml").write_text(json.dumps(document))


def test_command(tmp_path):
    write_scan(tmp_path)
    out, figures = tmp_path / "m.json", tmp_path / "figures"
    line = f"masses {tmp_path}/masses.yml --cl 0.9,0.95 --global-toys 20 -o {out} --plots {figures}"
    outcome = invoke(*line.split())
    assert outcome.code == 0, outcome.err
    record = json.loads(out.read_text())
    assert MassesResult.from_dict(record).to_dict() == record
    assert record["levels"] == [0.9, 0.95]
    assert record["global"]["toys"] == 20
    assert [h["limits"][0]["level"] for h in record["hypotheses"]] == [0.95] * 3
    assert sorted(p.name for p in figures.iterdir()) == [
        "masses_limits.png", "masses_mu.png", "masses_p0.png",
    ]  # fmt: skip


def test_arrays_alone(tmp_path):
    """An npz says all but the correlated errors."""
    write_scan(tmp_path, background={"yields": "scan.npz:background",
                                     "error": "scan.npz:background_error"},
               poi={"name": "mu"})  # fmt: skip
    records = []
    for name in ("scan.npz", "masses.yml"):
        outcome = invoke("masses", str(tmp_path / name), "-o", str(tmp_path / f"{name}.json"))
        assert outcome.code == 0, outcome.err
        records.append(json.loads((tmp_path / f"{name}.json").read_text()))
    assert records[0]["hypotheses"] == records[1]["hypotheses"]
    assert records[0]["parameter"]["name"] == "m"


def test_toys_of_an_excess_are_drawn_where_they_tell():
    """Up to the best fit CLs is 1 whatever the limit; the observed limit needs points above it."""
    scan = small_scan()
    counts = scan.counts.copy()
    counts[0] = np.round(scan.background[0] + 5.0 * scan.signal.yields[0])
    scan = treat_empty_bins(replace(scan, counts=counts), "keep").take(np.array([0]))
    result = run_scan(scan, levels=(0.9,), methods=("asymptotic", "toys"), toys=400, seed=1)
    limit = result.hypotheses[0]["limit"]
    assert result.hypotheses[0]["mu_hat"] > 3
    assert len(limit["toys"]["points"]) > 8
    assert limit["toys"]["observed"] == pytest.approx(limit["asymptotic"]["observed"], rel=0.15)
    bands = limit["toys"]["expected"]
    said = [line for line in result.warnings if "limits by toys at 90 % are null" in line]
    assert len(said) == (None in [limit["toys"]["observed"], *bands])
