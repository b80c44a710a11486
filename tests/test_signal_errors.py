"""A signal whose own statistical errors are in the model: at mu = 0 nothing is multiplied by them.

The auxiliary data of toys move, so the held fit's factors are not 1: q0 must not count them.
"""

from dataclasses import replace

import iminuit
import numpy as np
import pytest

from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.batch import minimize_batch
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.tails import CONVERGED_FAST
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace

SIGNAL = np.array([2.0, 20.0, 30.0, 6.0])
COUNTS = np.array([110.0, 160.0, 140.0, 41.0])


def make_spec(kind):
    error = np.array([0.5, 3.0, 2.0, 1.5])
    signal = Template(SIGNAL, error=error, error_kind=kind)
    tested = Channel("mue", COUNTS, signal=signal)
    partner = Channel("emu", np.array([120.0, 150.0, 120.0, 43.0]))
    return build_workspace(Pair(tested, partner)).workspace


@pytest.fixture(params=["shapesys", "staterror"], scope="module")
def case(request):
    reference = ReferenceModel(make_spec(request.param))
    model = CompiledModel.from_reference(reference)
    assert model.pair is not None
    table = model.parameters
    held = table.fixed.copy()
    held[table.poi] = True
    source = ToySource.conditional(model)
    data = np.concatenate([source.draw_block(3, block) for block in (0, 1)])
    return reference, model, held, source, data


def by_minuit(reference, data, held):
    table = reference.parameters
    start = np.where(held, 0.0, table.init)
    fit = iminuit.Minuit(
        lambda x: reference.twice_nll(x, data=data), start, name=table.names,
        grad=lambda x: reference.value_and_gradient(x, data)[1],
    )  # fmt: skip
    fit.limits = list(zip(table.lower, table.upper, strict=True))
    fit.fixed = list(held)
    fit.tol, fit.strategy = 1e-4, 2
    fit.migrad()
    return fit.fval, fit.values[table.poi]


def test_held_fits_of_toys_are_minuits(case):
    reference, model, held, _, data = case
    table = model.parameters
    null = minimize_batch(model, data, fixed=held, values=np.where(held, 0.0, table.init))
    free = minimize_batch(model, data)
    general = minimize_batch(
        replace(model, pair=None), data, fixed=held, values=np.where(held, 0.0, table.init)
    )
    assert np.all(null.status == CONVERGED_FAST)
    assert null.twice_nll == pytest.approx(general.twice_nll, abs=1e-8)
    for row in range(4):
        lowest, _ = by_minuit(reference, data[row], held)
        assert null.twice_nll[row] == pytest.approx(lowest, abs=2e-4)
        lowest, mu = by_minuit(reference, data[row], table.fixed)
        assert free.twice_nll[row] == pytest.approx(lowest, abs=2e-4)
        assert free.points[row, table.poi] == pytest.approx(mu, abs=2e-3)


def test_q0_of_toys_is_that_of_the_general_likelihood(case):
    """All of them by shared information alone, signals below 0 too: about half of the toys."""
    _, model, held, source, data = case
    q0, mu_hat, status, _ = ToyFitter(source, len(data)).fit(data, len(data))
    general = replace(model, pair=None)
    zero = np.where(held, 0.0, model.parameters.init)
    null = minimize_batch(general, data, fixed=held, values=zero)
    free = minimize_batch(general, data)
    expected = np.sign(mu_hat) * (null.twice_nll - free.twice_nll)
    assert np.mean(status == CONVERGED_FAST) > 0.95
    assert 0.3 < np.mean(mu_hat < 0) < 0.7
    assert q0 == pytest.approx(expected, abs=1e-7)
    assert np.abs(q0).max() < 16
