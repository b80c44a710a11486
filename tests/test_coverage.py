"""Coverage of the intervals: nominal at high counts, known to fall short at low ones."""

import numpy as np
import pytest
from engine_models import make_pair
from reference_numbers import inject_pair, square

from ddphf.inference.limits.coverage import coverage_asymptotic, coverage_calibrated
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel

ONE_SIGMA = 0.682689


def truth_at(mean, z, n=28, width=6):
    """Flat pair whose truth holds a signal of Asimov significance z (0: none)."""
    flat, signal = np.full(n * n, float(mean)), square(width, n)
    unit = inject_pair(flat, signal, 1.0)
    model = CompiledModel.from_reference(ReferenceModel(make_pair(flat, flat, flat, signal * unit)))
    point = model.parameters.init.copy()
    point[model.parameters.poi] = inject_pair(flat, signal, z) / unit if z else 0.0
    return ToySource.at(model, point)


@pytest.mark.parametrize("z", [0.0, 3.0])
def test_asymptotic_coverage_at_high_counts(z):
    found = coverage_asymptotic(truth_at(1e4, z), 2000, seed=1)
    assert found.n_failed == 0
    # Three binomial errors of 2000 data sets.
    assert found.coverage[0] == pytest.approx(ONE_SIGMA, abs=3 * 0.0104)
    assert found.coverage[1] == pytest.approx(0.95, abs=3 * 0.0049)


@pytest.mark.parametrize("z", [0.0, 3.0])
def test_asymptotic_intervals_are_short_at_five_events(z):
    """One free b per bin at 5 events: about .65, as documented."""
    found = coverage_asymptotic(truth_at(5.0, z), 4000, seed=1)
    assert found.coverage[0] == pytest.approx(0.653, abs=0.025)
    assert found.coverage[0] < ONE_SIGMA - 2 * found.error[0]


def test_calibration_runs():
    found = coverage_calibrated(truth_at(5.0, 0.0, 6, 6), 64, seed=3)
    assert (found.n, found.method, found.levels) == (64, "toys", (0.6827, 0.95))
    assert found.coverage[0] == pytest.approx(ONE_SIGMA, abs=4 * 0.058)
    assert found.to_dict()["n_failed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("z", [0.0, 3.0])
def test_calibrated_coverage_at_five_events(z):
    found = coverage_calibrated(truth_at(5.0, z, 6, 6), 2000, seed=1)
    assert found.coverage[0] == pytest.approx(ONE_SIGMA, abs=3 * found.error[0])
    assert found.coverage[1] == pytest.approx(0.95, abs=3 * found.error[1] + 0.004)
