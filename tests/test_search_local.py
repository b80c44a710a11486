"""Local p-values of windows against exact distributions."""

import numpy as np
import pytest
from scipy.stats import binom, norm
from search_data import flat_pair, null_pair, ratio_field

from ddphf.exceptions import InputError
from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.local_p import log_tail_of_sum, window_p
from ddphf.search.nuisances import Nuisances
from ddphf.search.scan import scan_terms
from ddphf.search.table import make_table
from ddphf.statistics.windows import Window

SIGNAL = Window((11, 11), (6, 6))


def test_one_ratio_is_binomial():
    tested, partner = null_pair(1, 20.0, ratio=0.5)
    found = window_p(make_field(tested, partner, ratio=0.5), SIGNAL)
    b, a = tested[SIGNAL.slices].sum(), partner[SIGNAL.slices].sum()
    assert found.method == "binomial"
    assert found.p == pytest.approx(binom.sf(b - 1, a + b, 1 / 3), rel=1e-12)
    other = window_p(make_field(tested, partner, ratio=0.5), SIGNAL, deficit=True)
    assert other.p == pytest.approx(binom.cdf(b, a + b, 1 / 3), rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 5.0])
def test_different_ratios_by_enumeration(level):
    rng = np.random.default_rng(3)
    ratio = rng.uniform(0.3, 2.0, (2, 2))
    tested, partner = rng.poisson(level, (2, 2, 2)) + 1
    field, window = make_field(tested, partner, ratio=ratio), Window((0, 0), (2, 2))
    n, q = (tested + partner).ravel(), (ratio / (1 + ratio)).ravel()
    grids = np.meshgrid(*(np.arange(k + 1) for k in n), indexing="ij")
    laws = np.meshgrid(
        *(binom.pmf(np.arange(k + 1), k, x) for k, x in zip(n, q, strict=True)), indexing="ij"
    )
    p = np.prod(laws, axis=0)[np.sum(grids, axis=0) >= tested.sum()].sum()
    found = window_p(field, window)
    assert found.method == "convolution"
    assert found.p == pytest.approx(p, rel=1e-12)
    assert found.z == pytest.approx(norm.isf(p), abs=1e-10)
    low = np.prod(laws, axis=0)[np.sum(grids, axis=0) <= tested.sum()].sum()
    assert window_p(field, window, deficit=True).p == pytest.approx(low, rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_saddlepoint_against_the_binomial(share):
    n = 5000
    for z in (-6, -3, -0.5, 0, 1e-7, 0.5, 3, 6, 12):
        count = round(n * share + z * np.sqrt(n * share * (1 - share)))
        exact = binom.logsf(count - 1, n, share)
        found = log_tail_of_sum(count, np.full(5, n / 5), np.full(5, share))
        assert found == pytest.approx(exact, rel=1e-5, abs=1e-5)


def test_the_saddlepoint_at_the_mean_is_continuous():
    n, q = np.array([400.0]), np.array([0.25])
    values = [log_tail_of_sum(c, n, q) - binom.logsf(c - 1, 400, 0.25) for c in range(95, 107)]
    assert np.abs(values).max() < 1e-4


def test_ends_of_the_saddlepoint():
    n, q = np.array([3.0, 2.0]), np.array([0.2, 0.7])
    assert log_tail_of_sum(0, n, q) == 0.0
    assert log_tail_of_sum(6, n, q) == -np.inf
    # All of five events: the worst place of the approximation, and convolved where it counts.
    assert log_tail_of_sum(5, n, q) == pytest.approx(np.log(0.2**3 * 0.7**2), abs=0.05)


@pytest.mark.parametrize("error", [0.001, 0.01, 0.1])
def test_a_ratio_error_lowers_the_local_significance_as_in_the_profiled_z(error):
    field = ratio_field(error, signal=83.0)
    found = window_p(field, SIGNAL)
    z = scan_terms(field.profiled, make_table(make_boxes((28, 28), "6x6"), field)).best[0].z
    assert found.averaged
    assert found.z == pytest.approx(z, abs=2e-3)
    without = window_p(make_field(*flat_pair(83.0)), SIGNAL)
    assert without.z > found.z + 0.05


def test_deep_tails_have_a_significance():
    tested, partner = flat_pair(4000.0)
    found = window_p(make_field(tested, partner), SIGNAL)
    assert found.p is None
    assert found.z > 100
    assert window_p(make_field([[0, 3]], [[5, 5]]), Window((0, 0), (1, 1))).z is None


def test_a_nuisance_of_the_window_alone_is_refused():
    inside = np.zeros((1, 28, 28))
    inside[0][SIGNAL.slices] = 0.1
    tested, partner = flat_pair(83.0)
    free = make_field(tested, partner, nuisances=Nuisances.make((28, 28), ratio=inside, free=True))
    with pytest.raises(InputError, match="a free nuisance parameter acts inside the window alone"):
        window_p(free, SIGNAL)
    bound = make_field(tested, partner, nuisances=Nuisances.make((28, 28), ratio=inside))
    assert window_p(bound, SIGNAL).z < 0.3


def test_weights_are_refused():
    with pytest.raises(InputError, match=r"bin \[0, 1\] holds 2.5, no whole number.*weights"):
        window_p(make_field([[1.0, 2.5]], [[1.0, 2.0]]), Window((0, 0), (1, 1)))


def test_windows_outside_are_refused():
    with pytest.raises(InputError, match="outside the histogram"):
        window_p(make_field([[1.0, 2.0]], [[1.0, 2.0]]), Window((0, 1), (1, 2)))
