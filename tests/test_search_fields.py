"""Profiled terms, every window by brute sums, the list of the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_data import EDGE, PROFILED, brute_z, flat_pair, null_pair, ratio_field

from ddphf.exceptions import InputError
from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.nuisances import Nuisances
from ddphf.search.scan import scan_terms
from ddphf.search.table import make_table
from ddphf.statistics.background import profile_background


def scan(field, windows="all", **options):
    return scan_terms(
        field.profiled, make_table(make_boxes(field.shape, windows), field), **options
    )


@pytest.mark.parametrize(("error", "z"), PROFILED.items())
def test_profiled_z_of_a_ratio_error(error, z):
    best = scan(ratio_field(error), "6x6").best[0]
    assert best.window.start == (11, 11)
    assert best.z == pytest.approx(z, abs=2e-6)
    if error == 0.01:
        assert best.variance == pytest.approx(0.954016, abs=1e-6)


def test_a_free_ratio_is_the_limit_of_a_large_error():
    free, large = (scan(f, "6x6").best[0] for f in (ratio_field(0.01, free=True), ratio_field(1e3)))
    assert free.z == pytest.approx(large.z, rel=1e-8)
    assert free.z == pytest.approx(PROFILED[0.1], abs=1e-5)


def busy_field(shape, seed=2, level=2.0):
    """Return a field with empty bins, fakes, ratios and nuisances of every kind."""
    rng = np.random.default_rng(seed)
    ratio = rng.uniform(0.7, 1.3, shape)
    fakes = rng.uniform(0, 0.4, (2, *shape)) * (rng.random(shape) < 0.5)
    empty = rng.random(shape) < 0.2
    empty.flat[0] = True
    fakes[:, empty] = 0
    tested, partner = (rng.poisson(mean * ~empty) for mean in (level * ratio, level + 0 * ratio))
    nuisances = Nuisances.make(
        shape,
        ratio=rng.normal(0, 0.1, (3, *shape)),
        fakes_tested=np.stack([0 * fakes[0], 0.3 * fakes[0], 0 * fakes[0]]),
        fakes_partner=np.stack([0 * fakes[0], 0.2 * fakes[1], 0 * fakes[0]]),
        free=[False, False, True],
    )
    data = {"ratio": ratio, "fakes_tested": fakes[0], "fakes_partner": fakes[1]}
    return make_field(tested, partner, **data, nuisances=nuisances), tested, partner, data


@pytest.mark.parametrize("shape", [(9,), (5, 7), (3, 4, 2), (2, 3, 2, 3)])
def test_every_window_by_brute_sums(shape):
    field, tested, partner, data = busy_field(shape)
    assert not field.filled.all()
    # The terms and pulls of the formula, from the arrays themselves.
    r, f_b, f_a = data.values()
    b = profile_background(*(x.ravel().astype(float) for x in (tested, partner, r, f_b, f_a)))
    b = b.reshape(shape)
    v = (r * b + f_b) + r**2 * (b + f_a)
    some = v > 0
    t = ((tested - f_b) - r * (partner - f_a))[some] / np.sqrt(v[some])
    np.testing.assert_allclose(field.terms[some], t, rtol=1e-12)
    assert np.all(field.terms[~some] == 0)
    n = field.nuisances
    moved = r * b * n.ratio + n.fakes_tested - r * n.fakes_partner
    pulls = moved[:, some] / np.sqrt(v[some])
    np.testing.assert_allclose(field.profile.pulls.T[:, some.ravel()], pulls, rtol=1e-12)
    found = scan(field)
    boxes = found.table.boxes
    for i in range(boxes.count):
        z, variance = brute_z(field.terms, some, field.profile, boxes.window(i))
        if np.isnan(z) or variance < 1e-6:
            assert np.isnan(found.z[i])
        else:
            assert found.z[i] == pytest.approx(z, abs=1e-12, rel=1e-12 / variance)
    assert np.sum(np.isnan(found.z)) == found.table.n_empty + found.table.n_degenerate


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 2)])
def test_every_plain_window_by_brute_sums(shape):
    field = make_field(*null_pair(1, 30.0, shape=shape))
    found = scan(field)
    assert found.table.scales is None
    for i in range(found.table.boxes.count):
        part = field.terms[found.table.boxes.window(i).slices]
        assert found.z[i] == pytest.approx(part.sum() / np.sqrt(part.size), abs=1e-12)


def test_profiled_terms_have_the_stated_covariance():
    """P is a projection's relative: P^(1/2) twice is P, and P the covariance of profiled terms."""
    field = busy_field((4, 5), level=20.0)[0]
    profile, bins = field.profile, 20
    p = profile.project(np.eye(bins))
    root = profile.correlate(np.eye(bins))
    np.testing.assert_allclose(root @ root, p, atol=1e-12)
    g, bound = profile.pulls, ~profile.free
    drawn = np.eye(bins) + g[:, bound] @ g[:, bound].T  # of t: free ones are projected away
    np.testing.assert_allclose(p @ drawn @ p, p, atol=1e-12)


def test_the_window_that_is_the_nuisance_is_left_out():
    field = ratio_field(0.01, free=True)
    found = scan(field)
    assert found.table.n_degenerate == 1
    assert found.table.n_windows == 164_835
    assert np.isnan(found.z[found.table.boxes.number(make_boxes(EDGE, "28x28").window(0))])
    with pytest.raises(
        InputError, match=r"none of 1 is left to search.*nuisance parameters explain"
    ):
        make_table(make_boxes(EDGE, "28x28"), field)


def test_empty_bins_do_not_count():
    tested, partner = np.zeros((4, 4)), np.zeros((4, 4))
    tested[1, 1], partner[2, 2], tested[0, 3] = 9, 4, 1
    found = scan(make_field(tested, partner))
    whole = found.table.boxes.number(make_boxes((4, 4), "4x4").window(0))
    assert found.z[whole] == pytest.approx((3 - 2 + 1) / np.sqrt(3))
    assert found.table.n_empty == sum(
        make_field(tested, partner).filled[found.table.boxes.window(i).slices].sum() == 0
        for i in range(found.table.boxes.count)
    )
    with pytest.raises(InputError, match="none of 16 is left to search, since none holds an event"):
        make_table(make_boxes((4, 4), "1x1"), make_field(np.zeros((4, 4)), np.zeros((4, 4))))


def test_the_list_of_the_best():
    tested, partner = flat_pair(300.0)
    tested[2:5, 20:24] += 400
    tested[22:26, 3:6] -= 350
    up, down, both = (
        scan(make_field(tested, partner), direction=d) for d in ("excess", "deficit", "both")
    )
    assert [f.window.slices for f in up.best[:2]] == [np.s_[11:17, 11:17], np.s_[2:5, 20:24]]
    assert down.best[0].window.slices == np.s_[22:26, 3:6]
    assert down.best[0].z < 0
    assert [f.z for f in both.best[:3]] == [up.best[0].z, up.best[1].z, down.best[0].z]
    assert both.statistic == up.statistic
    for i, one in enumerate(both.best):
        mask = np.zeros(EDGE, dtype=bool)
        mask[one.window.slices] = True
        assert not any(mask[other.window.slices].any() for other in both.best[:i])
    assert sum(1 + f.merged for f in up.best) == np.sum(up.z >= 2.0)
    assert np.nanmax(up.size_best) == up.best[0].z
    assert up.size_best[up.table.boxes.sizes.index((6, 6))] == up.best[0].z


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_axes_may_be_exchanged_and_turned(seed, order, flips):
    tested, partner = null_pair(seed, 5.0, shape=(3, 4, 2))
    delta = np.random.default_rng(seed).normal(0, 0.2, (1, 3, 4, 2))

    def best(turn):
        nuisances = Nuisances.make(turn(tested).shape, ratio=turn(delta[0])[None])
        found = scan(make_field(turn(tested), turn(partner), nuisances=nuisances))
        return np.sort(found.z)

    turned = tuple(axis for axis, flip in enumerate(flips) if flip)
    one, other = best(lambda x: x), best(lambda x: np.flip(x.transpose(order), turned))
    np.testing.assert_allclose(one, other, atol=1e-10)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_exchange_of_the_samples(seed, ratio):
    """t(A, B; 1/r) = -t(B, A; r): what is an excess of one is a deficit of the other."""
    tested, partner = null_pair(seed, 8.0, shape=(4, 5))
    up = scan(make_field(tested, partner, ratio=ratio))
    down = scan(make_field(partner, tested, ratio=1 / ratio), direction="deficit")
    np.testing.assert_allclose(up.z, -down.z, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_field([[np.nan]], [[1.0]]), "tested, bin .*nan, expected a number >= 0"),
        (lambda: make_field([[1.0]], [[np.inf]]), "partner, bin .*inf"),
        (lambda: make_field([[1.0]], [[1.0, 2.0]]), "shapes .* differ"),
        (lambda: make_field([[1.0]], [[1.0]], ratio=0), "ratio, bin .*expected a number > 0"),
        (lambda: make_field([[1.0]], [[1.0]], fakes_tested=-1), "fakes_tested"),
        (lambda: Nuisances.make((2, 2), ratio=[np.nan]), "ratio, .*nan, expected a finite number"),
        (lambda: Nuisances.make((2, 2), ratio=0.1), "expected 0 rows"),
        (lambda: Nuisances.make((2, 2), ratio=np.zeros((1, 3, 2))), "does not fit bins of shape"),
        (
            lambda: Nuisances.make((2, 2), ratio=[0.1], fakes_tested=[1.0, 2.0]),
            "tested fakes of shape .* expected 1 rows",
        ),
        (lambda: Nuisances.make((2, 2), ratio=[0.1], names=["a", "b"]), "2 names of 1"),
        (
            lambda: make_field([[1.0]], [[1.0]], nuisances=Nuisances.make((2, 2))),
            r"for bins of shape \(2, 2\)",
        ),
        (
            lambda: make_table(make_boxes((2, 2)), make_field([[1.0]], [[1.0]])),
            "made for .* the histogram has",
        ),
        (lambda: scan(make_field([[1.0]], [[1.0]]), direction="up"), "direction 'up' is unknown"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
