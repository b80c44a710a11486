"""The search of one pair: its profiled Z against the likelihood, its nuisances, its p-values."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import AXES, C
from scipy.stats import norm

from ddphf import fit_workspace
from ddphf.exceptions import InputError
from ddphf.inputs.covariance import make_covariance
from ddphf.results.search import SearchResult
from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.kernels import Scanner
from ddphf.search.pair import prepare_pair
from ddphf.search.pair_table import make_pair_table
from ddphf.search.run_null import search_null
from ddphf.search.run_pair import search_pair
from ddphf.search.scan import scan_terms
from ddphf.search.table import make_table
from ddphf.search.trials import choose_null, find_global_p
from ddphf.statistics.n_sigma import exact_p_value
from ddphf.statistics.windows import Window
from ddphf.symmetry.efficiency import LeptonId
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace

BOX = Window((11, 11), (6, 6))
RATIO_ERRORS = {
    0.0: 3.533078, 0.0005: 3.492533, 0.001: 3.467582, 0.00236: 3.454327, 0.01: 3.450890,
    0.1: 3.450680,
}  # fmt: skip
"""Relative error of the ratio, and Z of the box: the closed form of a flat background of 1e4."""


def flat_pair(error, background=1e4):
    """A box of signal over a flat background, Asimov data."""
    total = np.full((28, 28), background)
    signal = np.zeros_like(total)
    signal[BOX.slices] = 83.448994
    errors = [Systematic("efficiency", "normsys", 1 + error, 1 - error)] if error else []
    tested = Channel("mue", total + signal, signal=Template(signal), systematics=errors)
    return Pair(tested, Channel("emu", total), integer_data=False)


def profiled_z(pair, window):
    given = prepare_pair(pair)
    field = given.field()
    boxes = make_boxes(given.shape, [window.size])
    table = make_pair_table(boxes, field, given.n_correlated)
    return float(scan_terms(field.profiled, table, direction="both").z[boxes.number(window)])


def likelihood_z(pair):
    return fit_workspace(build_workspace(pair).workspace).discovery.z0


@pytest.mark.parametrize(("error", "known"), RATIO_ERRORS.items())
def test_profiled_z_of_the_flat_background(error, known):
    pair = flat_pair(error)
    assert profiled_z(pair, BOX) == pytest.approx(known, abs=2e-6)


@pytest.mark.parametrize("error", [0.0, 0.001, 0.01])
def test_profiled_z_is_that_of_the_likelihood(error):
    """To second order: by 1e-5 at 3.5 sigma, where the null profiled b is the observed mean."""
    pair = flat_pair(error)
    assert profiled_z(pair, BOX) == pytest.approx(likelihood_z(pair), abs=1.5e-5)


def rich_pair(scale, size=1.0):
    """Errors of every kind, a shared name, lepton ID: signal and errors times size."""
    rng = np.random.default_rng(2)
    n = 6
    norm = Systematic("fake_norm", "normsys", 1 + 0.02 * size, 1 / (1 + 0.02 * size), source="CR")
    base = scale * np.linspace(1.0, 2.0, n)
    ratio = np.linspace(0.7, 0.9, n)
    fakes_b, fakes_a = 0.1 * base, 0.2 * base
    signal = np.zeros(n)
    signal[2:4] = 1.0
    lepton_id = LeptonId(
        make_covariance(size**2 * np.diag([4e-4, 1e-4, 9e-4])),
        tested=rng.uniform(0.2, 1.0, (n, 3)),
        partner=rng.uniform(0.2, 1.0, (n, 3)),
        on_signal=False,
    )
    shape = 1 + 0.01 * size * np.array([1.0, 1.0, -1.0, -1.0, 2.0, 0.0])
    tested = Channel(
        "mue",
        ratio * base + fakes_b + 0.05 * size * scale * signal,
        signal=Template(np.sqrt(ratio * base * (1 + ratio)) * signal),
        fakes=Template(
            fakes_b, error=0.03 * size * fakes_b, error_kind="staterror", systematics=[norm]
        ),
        systematics=[Systematic("tilt", "histosys", shape, 2 - shape, relative=True)],
    )
    partner = Channel(
        "emu",
        base + fakes_a,
        fakes=Template(
            fakes_a, error=0.02 * size * fakes_a, error_kind="staterror", systematics=[norm]
        ),
        systematics=[Systematic("both", "normsys", 1 + 0.03 * size, 1 / (1 + 0.03 * size))],
    )
    return Pair(tested, partner, efficiency_ratio=ratio, integer_data=False, lepton_id=lepton_id)


@pytest.mark.parametrize(("scale", "size", "near"), [(1e6, 1.0, 3e-3), (1e8, 0.1, 3e-4)])
def test_everything_profiled_is_the_likelihood(scale, size, near):
    """To first order in the errors: ten times smaller ones differ ten times less."""
    pair = rich_pair(scale, size)
    weights = prepare_pair(pair).field().variance[2:4] ** 0.5
    signal = np.zeros(6)
    signal[2:4] = weights
    pair = replace(pair, tested=replace(pair.tested, signal=Template(signal)))
    ours = profiled_z(pair, Window((2,), (2,)))
    assert ours > 2
    assert ours == pytest.approx(likelihood_z(pair), rel=near)
    bare = prepare_pair(pair, nuisances=False).field()
    assert bare.terms[2:4].sum() / np.sqrt(2) > 2 * ours


def test_what_is_taken_is_listed_with_its_source():
    made = prepare_pair(rich_pair(1e4))
    names = [entry["name"] for entry in made.described]
    assert {"tilt", "both", "fake_norm"} <= set(names)
    assert names[-1] == "fakes_stat_SR_mue and fakes_stat_CR_emu"
    by_name = {entry["name"]: entry for entry in made.described}
    assert by_name["fake_norm"]["acts_on"] == "fakes"
    assert "CR, fakes of" in by_name["fake_norm"]["source"]
    assert "CR_emu" in by_name["fake_norm"]["source"]
    assert by_name["tilt"]["size"] == pytest.approx(0.02)
    assert by_name["both"]["size"] == pytest.approx((1.03 - 1 / 1.03) / 2)
    assert "eigen-variation" in by_name["lepid_id_eig00"]["source"]
    assert made.n_correlated == len(names) - 1
    assert len(made.nuisances.names) == made.n_correlated + 6


def test_without_nuisances_nothing_is_taken():
    made = prepare_pair(rich_pair(1e4), nuisances=False)
    assert made.described == ()
    assert made.nuisances.names == ()
    assert np.all(made.fakes_tested > 0)


def test_what_is_alike_in_both_samples_is_said_and_not_profiled():
    same = Systematic("trigger", "normsys", 1.05, 0.95)
    made = prepare_pair(
        Pair(Channel("b", [100, 120], systematics=[same]),
             Channel("a", [110, 100], systematics=[same]))
    )  # fmt: skip
    assert made.nuisances.names == ()
    assert made.left_out == (
        "'trigger' changes both samples alike: no difference of the two comes from it",
    )


def test_every_eigen_variation_is_taken_whatever_the_analysis_prunes():
    pair = rich_pair(1e4)
    assert pair.lepton_id is not None
    pruned = replace(pair, lepton_id=replace(pair.lepton_id, at_most=1))
    full, less = prepare_pair(pair), prepare_pair(pruned)
    assert np.array_equal(full.nuisances.ratio, less.nuisances.ratio)
    weights = pair.lepton_id.tested - pair.lepton_id.partner
    covariance = weights @ pair.lepton_id.covariance.matrix @ weights.T
    rows = full.nuisances.ratio[[n.startswith("lepid") for n in full.nuisances.names]]
    assert np.allclose(rows.T @ rows, covariance, rtol=1e-9, atol=1e-15)


def test_scales_with_errors_of_single_bins_are_those_of_the_full_projection():
    made = prepare_pair(rich_pair(1e4))
    field, boxes = made.field(), make_boxes(made.shape)
    ours, full = make_pair_table(boxes, field, made.n_correlated), make_table(boxes, field)
    assert np.allclose(ours.scales, full.scales, rtol=1e-10)


def test_too_many_bins_with_errors_are_refused(monkeypatch):
    from ddphf.search import pair as module

    monkeypatch.setattr(module, "MAX_ERRORS", 5)
    with pytest.raises(InputError, match=r"6 bins have a statistical error, more than 5.*none"):
        prepare_pair(rich_pair(1e4))


def small_search(direction="excess", **options):
    rng = np.random.default_rng(7)
    counts = rng.poisson(60.0, (2, 6, 7))
    counts[0, 2:4, 3:5] += 40
    if direction == "deficit":
        counts = counts[::-1]
    pair = prepare_pair(Pair(Channel("b", counts[0]), Channel("a", counts[1])))
    return pair, search_pair(pair, direction=direction, precision=0.05, seed=3, **options)


def test_the_record_states_local_and_global_of_every_window():
    pair, found = small_search()
    data = json.loads(json.dumps(found.to_dict()))
    assert SearchResult.from_dict(data).to_dict() == data
    assert data["windows"]["n"] == 21 * 28
    assert data["best"][0]["start"] == [2, 3]
    assert data["best"][0]["size"] == [2, 2]
    for window in data["best"]:
        assert window["local"]["p"] is not None
        assert 0 < window["global"]["p"] <= 1
    assert data["global"] == data["best"][0]["global"]
    best = data["best"][0]
    box = np.s_[2:4, 3:5]
    assert best["tested"] == pair.tested[box].sum()
    terms = (pair.tested - pair.partner)[box] / np.sqrt((pair.tested + pair.partner)[box])
    assert best["local"]["z"] == pytest.approx(terms.sum() / 2, abs=1e-12)
    assert len(data["maps"]["z"]) == 42
    assert len(data["size_curve"]) == 42
    assert max(entry["z"] for entry in data["size_curve"]) == pytest.approx(best["local"]["z"])


def test_a_deficit_is_the_excess_of_the_partner():
    _, excess = small_search()
    _, deficit = small_search("deficit")
    for one, other in zip(excess.best, deficit.best, strict=True):
        assert one["local"]["z"] == pytest.approx(-other["local"]["z"])
        assert one["local"]["p"] == pytest.approx(other["local"]["p"], rel=1e-6)
        assert one["start"] == other["start"]


def test_nulls_agree():
    """The tilted sampler and counting, within their errors; a Gaussian field comes near."""
    counts = np.random.default_rng(8).poisson(60.0, (2, 6, 7))
    pair = prepare_pair(Pair(Channel("b", counts[0]), Channel("a", counts[1])))
    found = {
        null: search_pair(pair, windows="2x2,3x3", null=null, precision=0.02, seed=5, top=1)
        for null in ("gaussian", "binomial", "counting")
    }
    assert {r.null["method"] for r in found.values()} == {"gaussian", "binomial"}
    exact, counted = (found[null].overall for null in ("binomial", "counting"))
    assert counted["method"].endswith("counted")
    assert abs(exact["p"] - counted["p"]) < 4 * math.hypot(exact["error"], counted["error"])
    assert exact["p"] == pytest.approx(found["gaussian"].overall["p"], rel=0.1)


def test_the_same_seed_gives_the_same_record():
    _, one = small_search()
    _, two = small_search()
    assert one.to_dict() == two.to_dict()


def test_the_table_of_trial_factors():
    found = search_null((28, 28), [4.0, 5.0], windows="6x6", precision=0.02, seed=1)
    for row, (p, error) in zip(found.table, ((0.010080, 1.8e-5), (1.1650e-4, 1.4e-7)), strict=True):
        overall = row["global"]
        assert abs(overall["p"] - p) < 4 * math.hypot(overall["error"], error)
        assert row["local"]["p"] == pytest.approx(norm.sf(row["local"]["z"]))
    assert found.overall == found.table[0]["global"]
    assert found.null["quantiles"]["0.95"] == pytest.approx(3.558, abs=0.05)


@pytest.mark.parametrize(("z", "message"), [([], "none given"), ([99.0], "from -37 to 37")])
def test_thresholds_without_a_p_value_are_refused(z, message):
    with pytest.raises(InputError, match=message):
        search_null((4, 4), z)


def test_axes_of_the_record_are_those_of_the_pair():
    pair = Pair(Channel("b", C["tested"]), Channel("a", C["partner"]), axes=AXES)
    found = search_pair(prepare_pair(pair), precision=0.1)
    (axis,) = found.axes
    assert (axis["label"], axis["unit"], axis["edges"]) == ("mass", "GeV", list(AXES[0].edges))
    start, size = found.best[0]["start"][0], found.best[0]["size"][0]
    assert found.best[0]["edges"] == [[axis["edges"][start], axis["edges"][start + size]]]


def test_one_window_has_the_global_p_of_its_own_law():
    """Few events: nothing is approximated, and nothing is looked at beside it."""
    found = search_pair(prepare_pair(Pair(Channel("mue", [30]), Channel("emu", [22]))))
    (window,) = found.best
    want = exact_p_value(30, 22)[0]
    assert window["local"]["p"] == pytest.approx(want, rel=1e-12)
    assert window["global"]["p"] == pytest.approx(want, abs=4 * window["global"]["error"])
    assert found.null["method"] == "binomial"


def test_all_windows_of_two_events_by_enumeration():
    counts = [[1, 1], [1, 1]]
    found = search_pair(prepare_pair(Pair(Channel("mue", counts), Channel("emu", counts))))
    # No window reaches 0 where all four bins have both events in the partner alone.
    assert found.overall["p"] == pytest.approx(1 - 1 / 256, abs=4 * found.overall["error"])


def test_a_difference_beyond_every_number_takes_no_time():
    field = make_field(np.full((4, 4), 10**8), np.full((4, 4), 103 * 10**6))
    table = make_table(make_boxes((4, 4)), field)
    chosen = choose_null(field, table, 843.0, direction="both")
    found = find_global_p(chosen, Scanner(table, "both"), 843.0, seed=1)
    assert (found.p, found.n_samples) == (None, 1024)
