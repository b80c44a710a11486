"""Label flips: exact for few events, with every correlation, whatever the order of the rows."""

import itertools

import numpy as np
import pytest
from flip_samples import (
    draw_events,
    largest_by_loops,
    masks_of,
    observables_of,
    prepare,
    shuffled,
)
from scipy.stats import kstest

from ddphf.exceptions import InputError
from ddphf.inputs.contents import number_contents
from ddphf.search.flip_blocks import flip_maxima
from ddphf.search.flips import Draw
from ddphf.search.lines import LANES
from ddphf.search.many import ManyHistograms, MemberScans, count_p, step_down
from ddphf.search.rows import find_cells


def every_label(rows):
    """Return all 2^n assignments, (n, 2^n), and the probability of each."""
    labels = np.array(list(itertools.product([0, 1], repeat=rows.n)), dtype=float).T
    q = rows.share[:, None]
    return labels, np.prod(np.where(labels > 0, q, 1 - q), axis=0)


def maxima_of(many, labels):
    """Return the largest Z of every member for given labels, (members, flips)."""
    out = np.zeros((len(many.members), labels.shape[1]))
    nothing = np.zeros((0, LANES), dtype=np.float32)
    for observable in range(len(many.observables)):
        events = many.flipped(observable)
        scans = MemberScans(many, observable)
        for chosen in many.batches():
            if many.members[chosen[0]].observable != observable:
                continue
            for start in range(0, labels.shape[1], LANES):
                some = labels[:, start : start + LANES]
                changed = (some - many.rows.share[:, None]).astype(np.float32)
                selections = [many.members[m].selection for m in chosen]
                draws = iter([Draw(slice(0, many.rows.n), changed, nothing, None)])
                found = events.differences(draws, selections)
                for row, member in enumerate(chosen):
                    terms = events.terms(selections[row], found[row], nothing)
                    out[member, start : start + LANES] = scans.largest(member, terms)
    return out


@pytest.fixture
def ten(monkeypatch):
    monkeypatch.setattr("ddphf.search.many.MIN_EVENTS", 1)
    columns, ratio = draw_events(10, 3)
    return columns, ratio, ManyHistograms(*prepare(columns, ratio))


def test_mean_and_variance_of_a_difference_are_exact_over_all_labels_of_ten_events(ten):
    _, _, many = ten
    labels, p = every_label(many.rows)
    events = many.flipped(1)
    flips = []
    for i in range(0, 1024, LANES):
        changed = (labels[:, i : i + LANES] - many.rows.share[:, None]).astype(np.float32)
        draw = Draw(slice(0, 10), changed, labels, None)
        flips.append(events.differences(iter([draw]), [0, 1, 2]))
    d = np.concatenate(flips, axis=2)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(d @ p, 0, atol=1e-6)
    variance = np.stack([h.variance for h in events.histograms])
    np.testing.assert_allclose(d.astype(float) ** 2 @ p, variance, atol=1e-6)


def test_the_largest_window_of_every_label_assignment_is_that_of_plain_loops(ten):
    _, _, many = ten
    labels, _ = every_label(many.rows)
    found = maxima_of(many, labels)
    ratio = many.rows.steps - 1
    for row, member in enumerate(many.members):
        observable = many.observables[member.observable]
        mask = many.cells.inside(member.selection)
        for flip in range(0, 1024, 7):
            want = largest_by_loops(
                labels[:, flip], ratio, mask, observable.bins, observable.boxes.shape
            )
            assert found[row, flip] == pytest.approx(want, abs=2e-6)


def test_sampled_flips_have_the_p_values_of_the_enumeration(ten):
    _, _, many = ten
    labels, weights = every_label(many.rows)
    exact = maxima_of(many, labels).max(axis=0)
    drawn = flip_maxima(many, 20_000, seed=1).max(axis=0)
    for z in np.quantile(exact, [0.2, 0.5, 0.8, 0.95]):
        p = weights[exact >= z - 1e-4].sum()
        error = np.sqrt(p * (1 - p) / len(drawn))
        assert abs(np.mean(drawn >= z - 1e-4) - p) < 4 * error


def test_the_order_of_the_rows_does_not_matter():
    columns, ratio = draw_events(500, 8)
    given = prepare(columns, ratio, slopes=np.outer(columns["a"], [1e-3, 2e-3]))
    order = np.random.default_rng(1).permutation(500)
    first, second = ManyHistograms(*given), ManyHistograms(*shuffled(*given, order))
    assert first.members == second.members
    assert np.array_equal(flip_maxima(first, 200, seed=4), flip_maxima(second, 200, seed=4))


def test_a_flip_does_not_depend_on_how_many_are_drawn():
    columns, ratio = draw_events(300, 9)
    many = ManyHistograms(*prepare(columns, ratio))
    assert np.array_equal(flip_maxima(many, 300, seed=2)[:, :130], flip_maxima(many, 130, seed=2))
    assert not np.array_equal(flip_maxima(many, 130, seed=3), flip_maxima(many, 130, seed=2))


def test_overlapping_selections_keep_their_correlation():
    # The correlation of Z in one bin of two selections is sqrt(events shared / events of both).
    columns, ratio = draw_events(2000, 10, low=1, high=1)
    rows, _, observables = prepare(columns, ratio)
    wide, narrow = np.ones(2000, dtype=bool), columns["b"] > 20
    one = find_cells([wide, narrow], 2000)
    observables[0].bins[:] = 0
    many = ManyHistograms(rows, one, observables[:1])
    events = many.flipped(0)
    terms = [
        np.concatenate([
            events.terms(s, *(lambda d, p, s=s: (d[s], p))(*events.flip(7, block, [0, 1])))
            for block in range(40)
        ], axis=1)[0]
        for s in (0, 1)
    ]  # fmt: skip
    want = np.sqrt(narrow.sum() / 2000)
    assert np.corrcoef(terms)[0, 1] == pytest.approx(want, abs=4 * (1 - want**2) / np.sqrt(5120))


def p_of_data(seed, **options):
    columns, ratio = draw_events(300, seed, **options)
    many = ManyHistograms(*prepare(columns, ratio))
    return count_p(many.statistics.max(), flip_maxima(many, 255, seed=seed).max(axis=0))[0]


def test_p_values_are_uniform_with_the_true_ratio():
    found = [p_of_data(seed) for seed in range(200)]
    assert kstest(found, "uniform").pvalue > 1e-3


def test_a_ratio_of_one_that_is_not_true_is_loud():
    columns, ratio = draw_events(3000, 1, low=1.4, high=1.8)
    many = ManyHistograms(*prepare(columns, np.ones_like(ratio)))
    p, _, z = count_p(many.statistics.max(), flip_maxima(many, 1023, seed=1).max(axis=0))
    assert p == 1 / 1024
    assert z > 3
    assert many.statistics.max() > 8


def test_a_nuisance_is_profiled_and_drawn():
    # Data whose ratio is 2 sigma of its nuisance off: not significant, but without it very much so.
    found = {}
    for known in (False, True):
        ps = []
        for seed in range(30):
            columns, ratio = draw_events(3000, 50 + seed, tilt=1.2)
            slopes = {"slopes": np.full((3000, 1), 0.1)} if known else {}
            many = ManyHistograms(*prepare(columns, ratio, **slopes))
            ps.append(
                count_p(many.statistics.max(), flip_maxima(many, 255, seed=seed).max(axis=0))[0]
            )
        found[known] = np.median(ps)
    assert found[False] < 0.01
    assert found[True] > 0.1


def test_cells_are_the_patterns_of_the_selections():
    columns, _ = draw_events(400, 2)
    masks = masks_of(columns)
    cells = find_cells(masks, 400)
    for number, mask in enumerate(masks):
        assert np.array_equal(cells.inside(number), mask)
    patterns = np.unique(np.stack(masks), axis=1)
    assert cells.passes.shape == (3, int(patterns.any(axis=0).sum()))


def test_contents_are_numbered_alike_where_they_are_equal():
    found = number_contents([np.array([0.0, -0.0, 1.0, np.nan, np.nan])], 5)
    assert found[0] == found[1]
    assert found[3] == found[4]
    assert len(set(found.tolist())) == 3


def test_step_down_is_that_of_plain_loops():
    rng = np.random.default_rng(4)
    flips, observed = rng.normal(size=(5, 99)), rng.normal(size=5) + 1
    order = np.argsort(-observed)
    want, last = np.zeros(5), 0.0
    for k, member in enumerate(order):
        rest = flips[order[k:]].max(axis=0)
        last = max(last, (np.sum(rest >= observed[member] - 1e-4) + 1) / 100)
        want[member] = last
    assert step_down(observed, flips).tolist() == want.tolist()


def test_selections_with_too_few_events_are_left_out():
    columns, ratio = draw_events(200, 6)
    rows, _, observables = prepare(columns, ratio)
    cells = find_cells([columns["a"] > 0, columns["a"] > 75], 200)
    many = ManyHistograms(rows, cells, observables)
    assert {m.selection for m in many.members} == {0}
    assert [(o, s) for o, s, _ in many.left_out] == [(0, 1), (1, 1)]
    with pytest.raises(InputError, match="no selection has 20 events"):
        ManyHistograms(rows, find_cells([columns["a"] > 75], 200), observables_of(columns))
