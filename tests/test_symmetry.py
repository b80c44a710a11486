"""Efficiencies, composition, restored expectation, fakes and closure, by hand and by toys."""

import numpy as np
import pytest

from ddphf.exceptions import InputError
from ddphf.inputs.events import make_events
from ddphf.inputs.maps import make_map
from ddphf.symmetry.closure import (
    close_pair,
    n_sigma,
    n_sigma_plug_in,
    null_background,
    pulls,
)
from ddphf.symmetry.efficiency import LeptonColumns, compose, event_efficiencies, event_ratio
from ddphf.symmetry.fakes import fakes_from_histogram, fakes_from_maps
from ddphf.symmetry.restore import restore_expectation

EDGES = {"pt": [10.0, 20.0, 50.0], "eta": [-2.5, 0.0, 2.5]}
ELECTRON = make_map("electron", "efficiency", EDGES, [0.6, 0.62, 0.8, 0.82])
MUON = make_map("muon", "efficiency", EDGES, [0.9, 0.91, 0.95, 0.96])
MAPS = {11: ELECTRON, 13: MUON}
LEPTONS = [LeptonColumns("f1", "pt1", "eta1"), LeptonColumns("f2", "pt2", "eta2")]


def table(**changes):
    columns = {
        "f1": [13, 11, -13], "pt1": [30, 30, 45.0], "eta1": [1, 1, -1.0],
        "f2": [11, 13, 11], "pt2": [15, 15, 25.0], "eta2": [-1, -1, 1.0],
    }  # fmt: skip
    return make_events({**columns, **changes})


def test_events_are_looked_up_under_both_assignments():
    found = event_efficiencies(table(), LEPTONS, MAPS, np.array([True, False, True]))
    # Events 0 and 1 differ by their labels alone: the same efficiencies, whichever was found.
    assert found.tested == pytest.approx([0.96 * 0.6, 0.96 * 0.6, 0.95 * 0.82], rel=1e-15)
    assert found.partner == pytest.approx([0.82 * 0.9, 0.82 * 0.9, 0.8 * 0.96], rel=1e-15)
    assert found.tested_bins.tolist() == [[4 + 3, 0], [4 + 3, 0], [4 + 2, 3]]
    assert found.partner_bins.tolist() == [[3, 4], [3, 4], [2, 4 + 3]]
    assert found.ratio[0] == pytest.approx(0.576 / 0.738, rel=1e-15)
    assert not found.outside.any()


def test_an_event_outside_under_one_assignment_is_outside():
    """The electron map ends earlier: the muon at 30 GeV is fine, as an electron it is not."""
    short = make_map("electron", "efficiency", {"pt": [10, 20]}, [0.6])
    found = event_efficiencies(
        table(), LEPTONS, {11: short, 13: MUON}, np.array([True, False, True])
    )
    assert found.outside.tolist() == [True, True, True]
    nearest = event_efficiencies(
        table(), LEPTONS, {11: short, 13: MUON}, np.array([True, False, True]), nearest=True
    )
    assert not nearest.outside.any()
    assert nearest.partner[0] == pytest.approx(0.6 * 0.9, rel=1e-15)


def test_exchange_of_charges_and_directions():
    edges = {"pt": [10, 50], "charge": [-2, 0, 2]}
    one = {13: make_map("muon", "efficiency", edges, [0.8, 0.9])}
    events = make_events({"pt": [20.0, 20.0], "q": [1, -1]})
    lepton = [LeptonColumns(13, "pt", charge="q")]
    found = event_efficiencies(events, lepton, one, np.array([True, False]), exchange="charge")
    assert found.ratio == pytest.approx([0.9 / 0.8] * 2, rel=1e-15)
    sides = {13: make_map("muon", "efficiency", {"eta": [-2.5, 0, 2.5]}, [0.7, 0.9])}
    events = make_events({"pt": [20.0, 20.0], "eta": [1.0, -1.0]})
    lepton = [LeptonColumns(13, "pt", "eta")]
    found = event_efficiencies(events, lepton, sides, np.array([True, False]), exchange="eta")
    assert found.ratio == pytest.approx([0.9 / 0.7] * 2, rel=1e-15)
    with pytest.raises(
        InputError, match=r"exchange of flavours: 1 map\(s\), expected one for each"
    ):
        event_efficiencies(events, lepton, sides, np.array([True, False]))


@pytest.mark.parametrize("value", [0.0, -0.1, np.nan, np.inf])
def test_an_infinite_ratio_is_refused(value):
    with pytest.raises(InputError, match=r"partner sample, event 1: .* R\^eps is 0 or infinite"):
        event_ratio(np.array([0.5, 0.5]), np.array([0.5, value]))


def make_asymmetric(seed, size=200_000):
    """Symmetric events that get their label by the maps' efficiencies."""
    rng = np.random.default_rng(seed)
    events = make_events(
        {
            "f1": np.full(size, 13), "pt1": rng.uniform(20, 50, size),
            "eta1": rng.uniform(-2.5, 2.5, size), "f2": np.full(size, 11),
            "pt2": rng.uniform(10, 20, size), "eta2": rng.uniform(-2.5, 2.5, size),
        }
    )  # fmt: skip
    found = event_efficiencies(events, LEPTONS, MAPS, np.ones(size, dtype=bool))
    is_tested = rng.random(size) < found.tested / (found.tested + found.partner)
    bins = np.minimum((events["pt1"] - 20) / 5, 5).astype(int)
    return found, bins, is_tested


def test_the_average_does_not_depend_on_where_events_were_found():
    found, bins, is_tested = make_asymmetric(1)
    made = compose(found, bins, 6, 8)
    for i in range(6):
        here = bins == i
        share = found.tested[here] / (found.tested[here] + found.partner[here])
        assert made.ratio[i] == pytest.approx(share.sum() / (1 - share).sum(), rel=1e-12)
        # The slides' average over the partner's own events agrees within its fluctuation.
        mean = found.ratio[here & ~is_tested].mean()
        spread = found.ratio[here & ~is_tested].std() / np.sqrt(np.sum(here & ~is_tested))
        assert mean == pytest.approx(made.ratio[i], abs=5 * spread)
    # One muon and one electron per event, in both channels.
    for w in (made.tested, made.partner):
        assert w[:, :4].sum(axis=1) == pytest.approx(np.ones(6), rel=1e-12)
        assert w[:, 4:].sum(axis=1) == pytest.approx(np.ones(6), rel=1e-12)
    assert np.all(made.tested[:, :2] > 0)  # its electron is the soft lepton
    assert not np.any(made.tested[:, 2:4])


def test_bins_without_events_take_the_average_and_are_said():
    found, bins, _ = make_asymmetric(2, 1000)
    made = compose(found, np.where(bins == 3, -1, bins), 6, 8)
    assert made.empty == (3,)
    assert made.tested[3].sum() == pytest.approx(2, rel=1e-12)
    assert 0 < made.ratio[3] < 2
    with pytest.raises(InputError, match="no events inside the axes and the maps"):
        compose(found, np.full(1000, -1), 6, 8)


def test_closure_of_a_symmetric_sample_before_and_after():
    found, bins, is_tested = make_asymmetric(3)
    ratio = compose(found, bins, 6, 8).ratio
    b, a = (np.bincount(bins[m], minlength=6) for m in (is_tested, ~is_tested))
    closed = close_pair(b, a, ratio)
    assert closed.before < -50
    assert abs(closed.after) < 3
    assert 1e-3 < closed.p_value < 1 - 1e-3
    # Exchange of the labels: every pull changes its sign.
    swapped = close_pair(a, b, 1 / ratio)
    assert swapped.pulls == pytest.approx(-closed.pulls, rel=1e-10)


def test_restored_expectation_of_the_worked_example():
    restored = restore_expectation(
        [10000], 0.85, fakes_partner=(200, 20), fakes_tested=(350, 35), ratio_error=0.01,
    )  # fmt: skip
    assert restored.expected[0] == pytest.approx(8680, rel=1e-14)
    assert np.sqrt(restored.variance[0]) == pytest.approx(135.436332, abs=5e-7)


def test_the_ratio_error_is_correlated_between_bins():
    a, r, s = np.array([100.0, 400.0]), np.array([0.9, 0.8]), np.array([0.02, 0.01])
    restored = restore_expectation(a, r, ratio_error=s)
    expected = np.diag(r**2 * a) + np.outer(a * s, a * s)
    assert restored.covariance() == pytest.approx(expected, rel=1e-14)
    assert restored.total()[1] == pytest.approx(np.sqrt(expected.sum()), rel=1e-14)
    independent = restore_expectation(a, r, ratio_factor=np.diag(s))
    assert independent.covariance() == pytest.approx(np.diag(r**2 * a + (a * s) ** 2), rel=1e-14)


def test_the_variance_is_that_of_toys():
    rng = np.random.default_rng(8)
    a, r, s_r, fa, s_fa, fb, s_fb = 900.0, 0.8, 0.02, 50.0, 8.0, 60.0, 6.0
    n = 200_000
    drawn = (rng.poisson(a, n) - rng.normal(fa, s_fa, n)) * rng.normal(r, s_r, n)
    drawn = drawn + rng.normal(fb, s_fb, n)
    restored = restore_expectation(
        [a], r, fakes_partner=(fa, s_fa), fakes_tested=(fb, s_fb), ratio_error=s_r,
    )  # fmt: skip
    # Second order (s_R^2 times the variance of A) is .04 % here; the band is 5 sigma of the toys.
    assert np.var(drawn) == pytest.approx(restored.variance[0], rel=5 * np.sqrt(2 / n) + 4e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([100.0], 0.0), r"ratio, bin 0: got 0, expected a finite number > 0"),
        (([100.0], np.inf), "ratio, bin 0: got inf"),
        (([-1.0], 1.0), r"partner, bin 0: got -1, expected a finite number >= 0"),
        (([1.0, 2.0], [1.0, 1.0, 1.0]), "ratio: 3 numbers for 2 bins"),
    ],
)
def test_impossible_restorations_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        restore_expectation(*arguments)


def test_null_background_of_the_worked_example():
    b = null_background(*(np.array([x]) for x in (130.0, 100.0, 0.9, 22.0, 5.0)))
    assert b[0] == pytest.approx(105.841147, abs=5e-7)


@pytest.mark.parametrize(("ratio", "bias"), [(0.9, -0.21592), (0.8, -0.47127), (0.5, -1.65888)])
def test_the_plug_in_form_is_biased_and_the_null_form_is_not(ratio, bias):
    """784 bins of 25 events: the expectation summed over the two Poisson distributions."""
    n = np.arange(150)
    from scipy.stats import poisson

    weight = np.outer(poisson.pmf(n, 25 * ratio), poisson.pmf(n, 25))
    b, a = np.meshgrid(n, n, indexing="ij")
    plug_in = np.vectorize(lambda x, y: n_sigma_plug_in([x], [y], ratio))
    small = weight > 1e-12
    mean = np.sum(weight[small] * plug_in(b[small], a[small])) * 28
    assert mean == pytest.approx(bias, abs=2e-5)
    values = pulls(b.ravel(), a.ravel(), ratio)
    assert np.sum(weight.ravel() * values) * 28 == pytest.approx(0, abs=1e-6)
    assert np.sum(weight.ravel() * values**2) == pytest.approx(1, abs=1e-9)


def test_bias_with_fakes():
    """r = .8, fA = 3, fB = 6 at T = 25: the null form leaves +.001980 of -.567870."""
    n = np.arange(150)
    from scipy.stats import poisson

    weight = np.outer(poisson.pmf(n, 26.0), poisson.pmf(n, 28.0)).ravel()
    b, a = (x.ravel() for x in np.meshgrid(n, n, indexing="ij"))
    assert np.sum(weight * pulls(b, a, 0.8, 6.0, 3.0)) * 28 == pytest.approx(0.001980, abs=2e-6)


def test_n_sigma_of_equal_exposure_is_that_of_the_reference():
    b, a = np.array([18.0, 33, 0, 4]), np.array([12.0, 30, 0, 7])
    terms = np.array([6 / np.sqrt(30), 3 / np.sqrt(63), 0, -3 / np.sqrt(11)])
    assert n_sigma(b, a) == pytest.approx(terms.sum() / 2, rel=1e-12)


def test_fakes_from_a_map_are_linear_in_its_factors():
    factors = make_map(
        "loose", "fake_factor", {"pt": [10, 20, 50]}, [0.1, 0.3], [0.01, 0.02],
        {"prompt": [0.005, 0.01]},
    )  # fmt: skip
    events = make_events({"pt": [12.0, 15, 30, 40, 45]})
    bins = np.array([0, 1, 1, 1, -1])
    lepton = LeptonColumns(11, "pt")
    made = fakes_from_maps(events, {11: factors}, lepton, bins, (2,), normalisation=0.2)
    assert made.yields == pytest.approx([0.1, 0.1 + 2 * 0.3], rel=1e-14)
    assert made.error == pytest.approx([0.1, np.sqrt(0.01 + 2 * 0.09)], rel=1e-14)
    shapes = {s.name: s for s in made.systematics}
    assert list(shapes) == [
        "fakes_norm", "fakes_loose_bin00", "fakes_loose_bin01", "fakes_loose_prompt",
    ]  # fmt: skip
    assert shapes["fakes_loose_bin01"].up == pytest.approx([0.1, 0.7 + 2 * 0.02], rel=1e-14)
    assert shapes["fakes_loose_prompt"].down == pytest.approx([0.095, 0.7 - 0.025], rel=1e-14)
    with pytest.raises(InputError, match=r"1 loose leptons have no .* of 'loose' or"):
        fakes_from_maps(make_events({"pt": [60.0]}), {11: factors}, lepton, np.array([0]), (2,))
    with pytest.raises(InputError, match=r"normalisation 1\.5"):
        fakes_from_histogram([1.0], normalisation=1.5)
