from decimal import Decimal, localcontext

import numpy as np
import pytest
from engine_models import eigen_variations, gaussian_signal, make_pair, rectangle_signal
from scipy.stats import kstest

from ddphf.compute.work import Work
from ddphf.exceptions import InputError, UsageError
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import load_toys, merge_toys, save_toys, summarize_toys
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.tails import CONVERGED_FAST, FAILED


def make_source(t=100.0, n=6, variations=None, **options):
    m = n * n
    flat = np.full(m, float(t))
    signal = gaussian_signal(n, 2.0) * 30 * np.sqrt(t)
    workspace = make_pair(flat, flat, flat, signal, variations=variations, **options)
    return ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))


@pytest.fixture(scope="module")
def source():
    return make_source()


def assert_same(one, other):
    for name in ("seed", "index", "status", "at_zero"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("q0", "mu_hat"):  # bit for bit
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_toys_do_not_depend_on_chunks(source):
    whole = toy_ensemble(source, 150, seed=5, fit_block_size=64)
    parts = [
        toy_ensemble(source, 70, seed=5, fit_block_size=64),
        toy_ensemble(source, 80, seed=5, first=70, fit_block_size=64),
    ]
    assert_same(whole, merge_toys(parts))
    columns = ("seed", "index", "q0", "mu_hat", "status", "at_zero")
    assert sum(getattr(whole, name).itemsize for name in columns) == 34  # bytes per toy
    alone = source.draw(5, 77)
    np.testing.assert_array_equal(alone, source.draw_block(5, 2)[13])


def test_resume_merge_and_interrupt(source, tmp_path):
    store = tmp_path / "toys.npz"

    def interrupt(done, n):
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_ensemble(
            source, 300, seed=7, store=store, work=Work(count=interrupt), fit_block_size=64
        )
    kept = len(load_toys(store))  # a block is done beside others
    assert kept in (64, 128, 192)
    seen = []
    resumed = toy_ensemble(
        source, 300, seed=7, store=store, fit_block_size=64,
        work=Work(count=lambda done, n: seen.append((done, n))),
    )  # fmt: skip
    assert seen[0][0] > kept
    assert seen[-1] == (300, 300)
    assert_same(resumed, toy_ensemble(source, 300, seed=7, fit_block_size=64))
    other = toy_ensemble(make_source(t=90.0), 64, seed=7, fit_block_size=64)
    with pytest.raises(UsageError, match="different models"):
        merge_toys([resumed, other])
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no")
    with pytest.raises(InputError, match="not a file of toys"):
        load_toys(broken)
    save_toys(other, broken)
    with pytest.raises(UsageError, match="another model"):
        toy_ensemble(source, 10, seed=7, store=broken)


def test_summary_counts_failed_toys_both_ways(source):
    toys = toy_ensemble(source, 64, seed=1, fit_block_size=64)
    toys.status[:4] = 2
    toys.q0[:4] = np.nan
    toys.q0[4:] = 1.0
    summary = summarize_toys(toys, 2.0)
    assert (summary.n, summary.n_failed, summary.n_ge, summary.p0) == (64, 4, 0, None)
    assert summary.z0 is None
    assert summary.p0_interval[0] == 0.0
    # Clopper-Pearson upper end of 4 in 64 at 68.27 %, not of 0 in 60.
    assert 0.09 < summary.p0_interval[1] < 0.13


@pytest.mark.parametrize("kind", ["shapesys", "staterror"])
def test_shared_information_agrees_with_single_fits(kind):
    rng = np.random.default_rng(3)
    m = 36
    source = make_source(
        variations=eigen_variations(3, m, rng),
        fakes=(np.full(m, 10.0), np.full(m, 6.0)),
        errors=(np.full(m, 2.0), np.full(m, 1.0)),
        kind=kind,
    )
    toys = toy_ensemble(source, 64, seed=2, fit_block_size=64)
    assert not np.any(toys.status == FAILED)
    assert np.mean(toys.status == CONVERGED_FAST) > 0.9
    model, poi = source.model, source.model.parameters.poi
    held = model.parameters.fixed.copy()
    held[poi] = True
    for i in (0, 17, 63):
        data = source.draw(2, i)
        free = minimize(model, data=data)
        null = minimize(model, data=data, fixed=held)
        sign = np.sign(free.parameters[poi])
        assert toys.q0[i] == pytest.approx(sign * (null.twice_nll - free.twice_nll), abs=1e-6)
        assert toys.mu_hat[i] == pytest.approx(free.parameters[poi], abs=1e-3 * free.errors[poi])


def q0_in_decimals(a, b, s):
    """Signed q0 of the plain pair with r = 1, with 50 digits: the background in closed form."""
    with localcontext(prec=50):
        a, b, s = ([Decimal(float(x)) for x in values] for values in (a, b, s))

        def cells(mu):  # 2 u^2 + (2 mu s - a - b) u - a mu s = 0
            for x, y, z in zip(a, b, s, strict=True):
                half = mu * z - (x + y) / 2
                u = ((half * half + 2 * x * mu * z).sqrt() - half) / 2
                yield x, y, z, u, u + mu * z

        def value(mu):
            return 2 * sum(u + v - x * u.ln() - y * v.ln() for x, y, _, u, v in cells(mu))

        low, high = Decimal(-50), Decimal(50)
        for _ in range(120):
            middle = (low + high) / 2
            falls = sum(z * (1 - y / v) for _, y, z, _, v in cells(middle)) < 0
            low, high = (middle, high) if falls else (low, middle)
        return float((value(Decimal(0)) - value(low)).copy_sign(low))


@pytest.mark.parametrize("mean", [1e2, 1e6, 1e10])
def test_q0_of_toys_at_large_counts(mean):
    """-2 ln L itself is 1e12 at 1e10 events per bin: the difference of two is good to 1e-4."""
    flat, signal = np.full(4, mean), np.array([0.1, 0.4, 0.3, 0.2]) * 10 * np.sqrt(mean)
    workspace = make_pair(flat, flat, flat, signal)
    source = ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))
    data = source.draw_block(3, 0)
    q0, _, status, _ = ToyFitter(source, 32).fit(data, 32)
    assert np.all(status == 0)
    exact = [q0_in_decimals(toy[:4], toy[4:8], signal) for toy in data]
    np.testing.assert_allclose(q0, exact, rtol=0, atol=1e-8)


def test_a_model_that_is_no_pair_has_toys():
    import pyhf

    model = pyhf.simplemodels.uncorrelated_background([5.0, 8.0], [50.0, 60.0], [7.0, 6.0])
    workspace = dict(pyhf.Workspace.build(model, [55.0, 66.0, *model.config.auxdata]))
    source = ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))
    toys = toy_ensemble(source, 64, seed=1, fit_block_size=64)
    assert not np.any(toys.status == FAILED)
    assert np.mean(toys.at_zero) == pytest.approx(0.5, abs=0.25)  # mu >= 0 is a bound there


def fraction_at_zero(mean, n_bins, n=200_000):
    """Fraction of null toys with 0 in the subdifferential, from the closed form alone.

    With r = 1 and flat S: the scores on both sides of 0 are S times
    sum (B - A)/(A + B) over the other bins, minus or plus the number of (0,0) bins.
    """
    rng = np.random.default_rng(0)
    a, b = rng.poisson(mean, (2, n, n_bins))
    total = a + b
    other = np.sum(np.where(total > 0, (b - a) / np.maximum(total, 1), 0.0), axis=1)
    empty = np.sum(total == 0, axis=1)
    return np.mean((np.abs(other) <= empty + 1e-12) & (empty > 0))


@pytest.mark.parametrize("mean", [0.5, 2.0, 5.0])
def test_low_counts_never_fail(mean):
    flat = np.full(36, mean)
    workspace = make_pair(flat, flat, flat, np.full(36, 1 / 36))
    source = ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))
    toys = toy_ensemble(source, 512, seed=11)
    assert not np.any(toys.status == FAILED)
    expected = fraction_at_zero(mean, 36)
    # 4 standard deviations of a fraction of 512.
    band = 4 * np.sqrt(max(expected * (1 - expected), 0.002) / 512)
    assert np.mean(toys.at_zero) == pytest.approx(expected, abs=band)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [100.0, 1e4])
def test_null_of_signed_z_is_standard_normal(mean):
    m = 784
    flat = np.full(m, mean)
    workspace = make_pair(flat, flat, flat, rectangle_signal() * 30 * np.sqrt(mean))
    source = ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))
    toys = toy_ensemble(source, 20_000, seed=1)
    assert not np.any(toys.status == FAILED)
    assert kstest(toys.z0, "norm").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "mu", "z_mean", "z_sd", "auc"),
    [(1e4, 3004.163780, 3.5364, 0.997, 0.99398), (100.0, 304.138356, 3.5303, 0.982, 0.99416)],
)
def test_signal_ensembles_worked_out(mean, mu, z_mean, z_sd, auc):
    m, n, size = 784, 20_000, 250
    s, flat = rectangle_signal(), np.full(784, mean)
    workspace = make_pair(flat, flat, flat, s * 30 * np.sqrt(mean))
    source = ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))
    fitter, rng = ToyFitter(source, size), np.random.default_rng(12)
    null, signal = [], []
    for _ in range(n // size):
        a, b = rng.poisson(mean, (2, size, m)).astype(float)
        for tested, out in ((b, null), (b + mu * s, signal)):
            q0, _, status, _ = fitter.fit(np.concatenate([a, tested], axis=1), size)
            assert np.all(status < 2)
            out.append(np.sign(q0) * np.sqrt(np.abs(q0)))
    null, signal = np.concatenate(null), np.concatenate(signal)
    # Tolerances: about four standard errors of 20 000 toys.
    assert np.mean(signal) == pytest.approx(z_mean, abs=0.03)
    assert np.std(signal) == pytest.approx(z_sd, abs=0.02)
    both = np.argsort(np.argsort(np.concatenate([null, signal])))
    area = (np.sum(both[n:] + 1) - n * (n + 1) / 2) / n**2
    assert area == pytest.approx(auc, abs=1e-3)
