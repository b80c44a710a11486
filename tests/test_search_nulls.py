"""Nulls of the maximum: reference values, counting, uniform p-values where the ratio is true."""

import numpy as np
import pytest
from scipy.stats import binomtest, kstest, norm
from search_data import (
    EDGE,
    FAMILIES,
    QUANTILES,
    TABLE,
    flat_pair,
    gaussian,
    null_pair,
    ratio_field,
)

from ddphf.exceptions import InputError, UsageError
from ddphf.search.binomial import BinomialNull, find_distortion, reachable
from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.global_p import draw_maxima, estimate_global_p
from ddphf.search.kernels import Scanner
from ddphf.search.nuisances import Nuisances
from ddphf.search.nulls import GaussianNull, Targets
from ddphf.search.scan import scan_terms
from ddphf.search.table import make_table
from ddphf.search.trials import choose_null, find_global_p
from ddphf.statistics.windows import scan_positions


def agree(found, p, error):
    __tracebackhide__ = True
    assert found.p == pytest.approx(p, abs=4 * np.hypot(found.error, error))
    assert found.z == pytest.approx(norm.isf(found.p), abs=1e-9)


CASES = [(family, z) for family, row in TABLE.items() for z in row]


@pytest.mark.parametrize(
    ("family", "z"),
    [("6x6", 3.0), ("6x6", 4.0), ("6x6", 6.0), ("squares", 4.5), ("all", 3.0), ("all", 5.0)],
)
def test_reference_values_of_the_global_p(family, z):
    null, scanner = gaussian(family)
    found = estimate_global_p(null, scanner, z, seed=1, target=0.04)
    agree(found, *TABLE[family][z])
    assert found.error < 0.04 * found.p
    assert found.n_windows == FAMILIES[family]
    assert found.method == ("counted" if (family, z) == ("all", 3.0) else "aimed")


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["numpy", "numba"])
@pytest.mark.parametrize(("family", "z"), CASES)
def test_the_whole_table_of_global_p(family, z, kernel):
    if kernel == "numba":
        pytest.importorskip("numba")
    null, scanner = gaussian(family, kernel)
    found = estimate_global_p(null, scanner, z, seed=5, target=0.005)
    agree(found, *TABLE[family][z])
    assert found.error <= 0.005 * found.p
    assert found.kernel == kernel


@pytest.mark.parametrize("method", ["aimed", "counted"])
@pytest.mark.parametrize("direction", ["excess", "deficit", "both"])
def test_directions(direction, method):
    """A Gaussian field has no direction; both of them are nearly twice one at small p."""
    table = make_table(make_boxes((12, 12)))
    scanner = Scanner(table, direction)
    found = estimate_global_p(
        GaussianNull(table), scanner, 3.8, seed=3, target=0.03, max_samples=40_000, method=method
    )
    one = estimate_global_p(GaussianNull(table), Scanner(table), 3.8, seed=4, target=0.01)
    expected = one.p if direction != "both" else 1 - (1 - one.p) ** 2
    assert found.p == pytest.approx(expected, abs=4 * np.hypot(found.error, 2 * one.error))


@pytest.mark.parametrize(("family", "n"), [("6x6", 20_000), ("squares", 4_000)])
def test_quantiles_of_the_maximum(family, n):
    found = draw_maxima(*gaussian(family), n, seed=2)
    for quantile, value in zip((0.5, 0.95, 0.99), QUANTILES[family], strict=True):
        below = int(np.sum(found <= value))
        assert binomtest(below, n, quantile).pvalue > 1e-4


@pytest.mark.slow
def test_quantiles_of_many_windows():
    found = draw_maxima(*gaussian("all"), 20_000, seed=2)
    for quantile, value in zip((0.5, 0.95, 0.99), QUANTILES["all"], strict=True):
        assert np.quantile(found, quantile) == pytest.approx(value, abs=0.02)
    cube = make_table(make_boxes((12, 12, 12)))
    found = draw_maxima(GaussianNull(cube), Scanner(cube), 2_048, seed=3)
    assert np.quantile(found, [0.5, 0.95]) == pytest.approx([4.22, 4.93], abs=0.06)


@pytest.mark.parametrize(
    ("family", "p", "error"), [("6x6", 1.199e-4, 7e-7), ("all", 7.66e-3, 1e-4)]
)
def test_global_p_with_a_ratio_error(family, p, error):
    field = ratio_field(0.01, signal=0.0)
    table = make_table(make_boxes(EDGE, family), field)
    chosen = choose_null(field, table, 5.0)
    found = find_global_p(chosen, Scanner(table), 5.0, seed=1, target=0.03)
    agree(found, p, error)
    assert chosen.name == "gaussian"


def test_correlated_fields_by_counting():
    """Nuisances, empty bins and a free ratio: conditioned fields against plain ones."""
    rng = np.random.default_rng(8)
    tested, partner = rng.poisson(400, (2, 10, 12)) * (rng.random((10, 12)) > 0.1)
    slope = np.linspace(-0.1, 0.1, 12) * np.ones((10, 12))
    nuisances = Nuisances.make((10, 12), ratio=[np.full((10, 12), 0.1), slope], free=[True, False])
    field = make_field(tested, partner, nuisances=nuisances)
    table = make_table(make_boxes((10, 12)), field)
    null, scanner = GaussianNull(table), Scanner(table)
    aimed = estimate_global_p(null, scanner, 3.6, seed=1, target=0.02, method="aimed")
    counted = np.mean(draw_maxima(null, scanner, 20_000, seed=2) >= 3.6)
    band = np.sqrt(counted * (1 - counted) / 20_000)
    assert aimed.p == pytest.approx(counted, abs=4 * np.hypot(aimed.error, band))


def low_counts(level, ratio, windows="6x6", shape=EDGE, seed=7, **options):
    """Return field, table, scanner and exact null of a pair with few events."""
    field = make_field(*null_pair(seed, level, ratio, shape), ratio=ratio, **options)
    table = make_table(make_boxes(shape, windows), field)
    return field, table, Scanner(table), BinomialNull(field, table)


def compare_with_counting(field, table, scanner, null, z, n, seed=1):
    targets = Targets(table, z, reachable(field, table, z, scanner.direction))
    aimed = estimate_global_p(
        null, scanner, z, seed=seed, target=0.03, method="aimed", targets=targets
    )
    counted = np.mean(draw_maxima(null, scanner, n, seed=seed + 1) >= z - 1e-4)
    band = np.sqrt(counted * (1 - counted) / n)
    assert aimed.p == pytest.approx(counted, abs=4 * np.hypot(aimed.error, band))
    return aimed


@pytest.mark.parametrize(("level", "ratio"), [(1, 1), (1, 0.5), (5, 0.5), (5, 2.0)])
@pytest.mark.parametrize("direction", ["excess", "both"])
def test_few_events_by_counting(level, ratio, direction):
    field, table, _, null = low_counts(level, ratio, "all", (8, 9))
    compare_with_counting(field, table, Scanner(table, direction), null, 3.5, 6_000)


@pytest.mark.parametrize("direction", ["excess", "deficit"])
def test_few_events_with_nuisances_and_fakes_by_counting(direction):
    shape = (6, 7)
    fakes = np.full(shape, 0.7)
    nuisances = Nuisances.make(
        shape, ratio=[0.1, 0.05], fakes_tested=[0.0 * fakes, 0.2 * fakes], free=[True, False]
    )
    field, table, _, null = low_counts(
        6, 0.5, "all", shape, fakes_tested=fakes, nuisances=nuisances
    )
    compare_with_counting(field, table, Scanner(table, direction), null, 3.2, 8_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "ratio", "p", "error"),
    [
        (1, 1, 4.35e-5, 0.17e-5), (5, 1, 1.06e-4, 0.04e-4), (1, 0.5, 3.01e-4, 0.12e-4),
        (5, 0.5, 2.40e-4, 0.10e-4), (25, 0.5, 1.56e-4, 0.07e-4), (25, 0.8, 1.22e-4, 0.05e-4),
    ],
)  # fmt: skip
def test_reference_values_of_few_events(level, ratio, p, error):
    case = low_counts(level, ratio)
    compare_with_counting(*case, 4.0, 30_000)
    chosen = choose_null(case[0], case[1], 5.0, null="binomial")
    found = find_global_p(chosen, case[2], 5.0, seed=3, target=0.02)
    # Each is of one field of n; other fields differ by some percent.
    assert found.p == pytest.approx(p, abs=4 * np.hypot(found.error, error) + 0.03 * p)


@pytest.mark.slow
def test_reference_value_of_few_events_in_all_rectangles():
    field, table, scanner, _ = low_counts(5, 0.5, "all")
    found = find_global_p(choose_null(field, table, 5.0), scanner, 5.0, seed=3, target=0.03)
    assert found.null == "binomial"
    assert found.p == pytest.approx(0.0131, abs=4 * np.hypot(found.error, 0.001))


def p_values(pairs, windows, n, **assumed):
    """Return the p-value of each pair by counting its own null, uniform where it is true."""
    rng, found = np.random.default_rng(0), []
    for i, (tested, partner) in enumerate(pairs):
        field = make_field(tested, partner, **assumed)
        table = make_table(make_boxes(field.shape, windows), field)
        scan = scan_terms(field.profiled, table)
        null = choose_null(field, table, scan.statistic).null
        maxima = draw_maxima(null, Scanner(table), n, seed=i)
        larger, same = (
            np.sum(maxima > scan.statistic + 1e-4),
            np.sum(np.abs(maxima - scan.statistic) <= 1e-4),
        )
        found.append((larger + rng.random() * (same + 1)) / (n + 1))
    return np.array(found)


@pytest.mark.parametrize(("level", "ratio"), [(1.5, 0.5), (400.0, 0.8)])
def test_p_is_uniform_with_the_true_ratio_and_fails_loudly_with_another(level, ratio):
    pairs = [null_pair(100 + i, level, ratio, (8, 8)) for i in range(150)]
    assert kstest(p_values(pairs, "all", 256, ratio=ratio), "uniform").pvalue > 1e-3
    wrong = p_values(pairs, "all", 256, ratio=ratio * (0.5 if level < 10 else 0.8))
    assert kstest(wrong, "uniform").pvalue < 1e-6
    assert np.mean(wrong < 0.05) > (0.5 if level < 10 else 0.99)


def test_p_is_uniform_with_a_ratio_error_that_is_profiled():
    rng, shape = np.random.default_rng(12), (8, 8)
    pairs = []
    for _ in range(150):
        true = 0.8 * (1 + 0.05 * rng.standard_normal())
        pairs.append((rng.poisson(1000 * true, shape), rng.poisson(1000, shape)))
    nuisances = Nuisances.make(shape, ratio=[0.05])
    profiled = p_values(pairs, "all", 256, ratio=0.8, nuisances=nuisances)
    assert kstest(profiled, "uniform").pvalue > 1e-3
    assert np.mean(p_values(pairs, "all", 256, ratio=0.8) < 0.05) > 0.25


def test_a_map_that_is_off_by_a_fifth_of_a_percent_is_seen_unless_profiled():
    """Of 750 000 events; their number tells a ratio to .23 %."""
    off, windows = 0.0022, "28x28,14x14,14x28,28x14"
    pairs = [null_pair(500 + i, 478.0, 1 + off) for i in range(150)]
    known = p_values(pairs, windows, 512, ratio=1.0)
    assert known.mean() < 0.4
    assert kstest(known, "uniform").pvalue < 1e-3
    assert kstest(p_values(pairs, windows, 512, ratio=1 + off), "uniform").pvalue > 1e-3
    # An error of the ratio is one of the null's: over its distribution p is uniform again.
    shifts = np.random.default_rng(5).standard_normal(150)
    pairs = [null_pair(700 + i, 478.0, 1 + off * x) for i, x in enumerate(shifts)]
    nuisances = Nuisances.make(EDGE, ratio=[off])
    assert kstest(p_values(pairs, windows, 512, nuisances=nuisances), "uniform").pvalue > 1e-3


def test_the_sum_of_folds_is_no_standard_normal():
    """Each fold's best window, tested on the others' data: the folds choose for each other."""
    for k, spread, ratio in ((2, 1.054, 4.3), (5, 1.357, 18.0)):
        rng, sums = np.random.default_rng(1), []
        for _ in range(20):
            parts = rng.standard_normal((k, 500, *EDGE))
            whole, z = parts.sum(axis=0), np.zeros(500)
            for part in parts:
                chosen = scan_positions(whole - part, (6, 6)).reshape(500, -1).argmax(axis=1)
                z += scan_positions(part, (6, 6)).reshape(500, -1)[np.arange(500), chosen]
            sums.append(z / np.sqrt(k))
        found = np.concatenate(sums)
        assert found.mean() == pytest.approx(0, abs=4 * spread / 100)
        assert found.std() == pytest.approx(spread, abs=4 * spread / np.sqrt(2e4))
        beyond = norm.sf(3) * ratio
        assert np.mean(found > 3) == pytest.approx(beyond, abs=4 * np.sqrt(beyond / 1e4))


def test_the_null_is_chosen_by_the_counts():
    rows = {
        (1e4, 1.0): "gaussian", (1e4, 0.5): "gaussian", (25, 1.0): "gaussian",
        (25, 0.5): "binomial", (1, 1.0): "binomial",
    }  # fmt: skip
    for (level, ratio), name in rows.items():
        field = make_field(*null_pair(1, level, ratio), ratio=ratio)
        table = make_table(make_boxes(EDGE, "6x6"), field)
        chosen = choose_null(field, table, 5.0)
        assert chosen.name == name
        assert chosen.distortion.is_small == (name == "gaussian")


def test_the_leading_orders_by_hand():
    field = make_field(*null_pair(1, 5, 0.5, (3, 3)), ratio=0.5)
    table = make_table(make_boxes((3, 3), "2x3"), field)
    found = find_distortion(field, table, 2.0, "excess")
    q, gammas, kappas = 1 / 3, [], []
    for i in range(2):
        n = field.total[i : i + 2].ravel()
        n = n[n > 0]
        gammas.append(abs((1 - 2 * q) / np.sqrt(q * (1 - q)) * np.sum(n**-0.5) / len(n) ** 1.5))
        kappas.append(abs((1 - 6 * q * (1 - q)) / (q * (1 - q)) * np.sum(1 / n) / len(n) ** 2))
    assert found.skewness == pytest.approx(max(gammas) * 8 / 6, rel=1e-12)
    assert found.kurtosis == pytest.approx(max(kappas) * 16 / 24, rel=1e-12)


def test_p_is_never_0_and_z_never_infinite():
    null, scanner = gaussian("6x6", shape=(8, 8))
    deep = estimate_global_p(null, scanner, 60.0, seed=1)
    assert deep.p is None
    assert deep.error is None
    assert deep.z == pytest.approx(60.0, abs=0.05)
    assert deep.z < 60
    sure = estimate_global_p(null, scanner, -40.0, seed=1)
    assert (sure.p, sure.z) == (1.0, None)
    assert sure.error > 0
    none = estimate_global_p(null, scanner, 60.0, seed=1, method="counted", max_samples=512)
    assert (none.p, none.error, none.z) == (None, None, None)


def test_what_cannot_be_reached_has_no_p():
    field, table, scanner, _ = low_counts(0.05, 1, "1x1", (5, 5))
    found = find_global_p(choose_null(field, table, 20.0), scanner, 20.0, seed=1, max_samples=1_000)
    assert (found.p, found.z, found.null) == (None, None, "binomial")


def test_the_same_bits_in_any_pieces():
    null, scanner = gaussian("6x6", shape=(9, 9))
    whole = draw_maxima(null, scanner, 1_500, seed=3)
    assert np.array_equal(draw_maxima(null, scanner, 200, seed=3), whole[:200])
    assert not np.array_equal(draw_maxima(null, scanner, 200, seed=4), whole[:200])
    one, again = (estimate_global_p(null, scanner, 3.0, seed=3) for _ in range(2))
    assert one == again


def test_kernels_give_the_same_numbers():
    pytest.importorskip("numba")
    found = [draw_maxima(*gaussian("6x6", k), 300, seed=1) for k in ("numpy", "numba")]
    np.testing.assert_allclose(*found, rtol=1e-5)


def weighted():
    tested, partner = null_pair(1, 5, 0.5)
    field = make_field(tested * 1.25, partner, ratio=0.5)
    return field, make_table(make_boxes(EDGE, "6x6"), field)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BinomialNull(*weighted()), InputError, r"bin \[0, \d+\] holds .* no whole number"),
        (
            lambda: choose_null(*weighted(), 5.0),
            InputError,
            "Gaussian field is wrong by more than 5%.*the exact null is for counts",
        ),
        (
            lambda: choose_null(*weighted(), 5.0, null="exact"),
            InputError,
            "null 'exact' is unknown",
        ),
        (
            lambda: choose_null(None, make_table(make_boxes((3, 3))), 5.0, null="binomial"),
            InputError,
            "needs the counts of a pair",
        ),
        (
            lambda: estimate_global_p(*gaussian("6x6"), np.nan, seed=1),
            InputError,
            "local Z = nan, expected a finite number",
        ),
        (lambda: estimate_global_p(*gaussian("6x6"), 5.0, seed=-1), UsageError, "seed -1"),
        (
            lambda: estimate_global_p(*gaussian("6x6"), 5.0, seed=1, target=0.0),
            InputError,
            "relative error 0, expected",
        ),
        (
            lambda: estimate_global_p(*gaussian("6x6"), 5.0, seed=1, max_samples=0),
            InputError,
            "0 samples, expected one or more",
        ),
        (lambda: draw_maxima(*gaussian("6x6"), 0, seed=1), InputError, "0 fields, expected one"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_weights_are_taken_where_the_gaussian_null_is_asked():
    assert choose_null(*weighted(), 5.0, null="gaussian").name == "gaussian"
    tested, partner = flat_pair(0.0)
    field = make_field(tested + 0.5, partner)
    assert choose_null(field, make_table(make_boxes(EDGE, "6x6"), field), 5.0).name == "gaussian"
