"""The network by second order, the published training, the classifier."""

import numpy as np
import pytest
from learn_toys import labelled, toy
from scipy.optimize import minimize
from scipy.special import expit

from ddphf.exceptions import FitError
from ddphf.learning.groups import group_events
from ddphf.learning.labels import make_labels
from ddphf.learning.network import CERTIFIED, NetworkTest
from ddphf.learning.nplm import AdamTest
from ddphf.learning.trained import TrainedStatistics, train_all
from ddphf.results.learn import describe_band


def small(rng, size=150):
    points, y = toy(rng, "bulk", 40, size=size)
    labels = make_labels(y)
    return points, labels, group_events(points, labels)


def test_the_minimum_is_that_of_another_optimizer():
    """-ln L by plain sums over the events, minimised by scipy from where the network ended."""
    points, labels, events = small(np.random.default_rng(1))
    test = NetworkTest(events)
    fit = test.fit(labels.tested[:, None].astype(float))
    assert fit.converged[0]
    assert fit.edm[0] < CERTIFIED
    z = (points[:, 0] - points.mean()) / points.std()
    y, base = labels.tested.astype(float), np.log(labels.share / (1 - labels.share))

    def nll(theta):
        a, w, b, c = theta[:4], theta[4:8], theta[8:12], theta[12]
        eta = base + c + expit(np.outer(z, w) + b) @ a
        prior = 0.5 * np.sum((theta[:12] / np.repeat(test.prior, 4)) ** 2)
        return np.sum(np.logaddexp(0, eta) - y * eta) + prior

    null = np.sum(np.logaddexp(0, base) - y * base)  # rho is fitted already
    assert 2 * (null - nll(fit.parameters[0])) == pytest.approx(fit.t[0], abs=1e-6)
    found = minimize(nll, fit.parameters[0], method="BFGS", options={"gtol": 1e-7})
    assert 2 * (null - found.fun) == pytest.approx(fit.t[0], abs=2e-3)


def test_derivatives_are_those_of_finite_differences():
    _, labels, events = small(np.random.default_rng(2), size=60)
    test = NetworkTest(events, starts=1)
    y = labels.tested[:, None].astype(float)
    best = test.fit(y)
    theta = best.parameters[0]

    def loss(x):
        eta, _ = test._forward(x[None])
        return test._nll(eta, y.T)[0] + 0.5 * np.sum(x**2 * test._precision)

    step = 1e-4
    slope = [(loss(theta + step * e) - loss(theta - step * e)) / (2 * step) for e in np.eye(13)]
    assert np.abs(slope).max() < 0.05  # a minimum, as the certificate says


def test_many_labellings_at_once_are_each_for_itself():
    rng = np.random.default_rng(3)
    _, labels, events = small(rng)
    many = (rng.random((labels.n, 5)) < labels.share[:, None]).astype(float)
    test = NetworkTest(events)
    together = test.fit(many).t
    alone = [test.fit(many[:, [i]]).t[0] for i in range(5)]
    assert together == pytest.approx(alone, abs=1e-3)


def test_nuisances_are_fitted_in_both_hypotheses():
    """A difference that a nuisance explains is no difference."""
    rng = np.random.default_rng(4)
    points, _ = toy(rng, size=400)
    change = 0.1 * np.sign(points[:, 0] - np.median(points))
    y = rng.random(len(points)) < 0.5 + change
    t = {}
    for known in (True, False):
        labels = make_labels(y, changes=None if known else change[:, None])
        events = group_events(points, labels)
        t[known] = NetworkTest(events).fit(events.sums(y.astype(float)[:, None])).t[0]
    assert t[True] > 15
    assert t[False] < 0.6 * t[True]


def test_chosen_starts_find_what_all_of_them_find():
    """4 of 64 sets of sigmoids, chosen by what their heights alone gain, against all 64."""
    rng = np.random.default_rng(12)
    _, labels, events = small(rng, size=400)
    many = (rng.random((labels.n, 16)) < labels.share[:, None]).astype(float)
    counts = events.sums(many)
    few, every = (NetworkTest(events, starts=n).fit(counts).t for n in (4, 64))
    assert np.all(few < every + 0.05)
    assert np.mean(few > every - 0.05) > 0.7
    assert np.mean(every - few) < 0.3


def test_a_start_has_the_best_heights_of_its_sigmoids():
    """Against a fit of a, c alone by scipy, to second order at the null."""
    _, labels, events = small(np.random.default_rng(13), size=200)
    test = NetworkTest(events)
    y = events.sums(labels.tested.astype(float)[:, None])
    begin = test._begin(y)[0, 0]
    p = expit(events.offset)
    f = np.concatenate([test._columns(begin[4:8, None], begin[8:12])])
    pull, spread = y[:, 0] - events.counts * p, events.counts * p * (1 - p)

    def loss(x):
        eta = x @ f
        return -pull @ eta + 0.5 * spread @ eta**2 + 0.5 * np.sum(x[:4] ** 2)

    found = minimize(loss, np.zeros(5)).x
    assert np.append(begin[:4], begin[12:]) == pytest.approx(found, abs=1e-3)


def test_several_variables():
    points, labels = labelled(np.random.default_rng(5), size=150)
    events = group_events(points, labels)
    fit = NetworkTest(events).fit(labels.tested[:, None].astype(float))
    assert fit.t[0] > 0
    assert NetworkTest(events).value(fit.parameters[0], points).shape == (labels.n,)


def test_t_is_not_negative_and_some_starts_agree():
    points, y = toy(np.random.default_rng(6), size=300)
    labels = make_labels(y)
    names, observed, drawn, said = train_all(points, labels, "network", 20, seed=1)
    assert names == ("network",)
    assert np.all(drawn >= -1e-6)
    assert 1 <= said["agree"] <= said["starts"] == 4
    again = train_all(points, labels, "network", 10, seed=1)[2]
    assert again == pytest.approx(drawn[:, :10])
    assert observed[0] >= 0


def test_a_network_that_does_not_converge_is_refused(monkeypatch):
    points, labels, _ = small(np.random.default_rng(7))
    monkeypatch.setattr("ddphf.learning.network.ITERATIONS", 1)
    with pytest.raises(FitError, match="no start of the network converged"):
        train_all(points, labels, "network", 5, seed=1)


def test_adam_is_the_published_formula():
    """One labelling against a loop in numpy."""
    points, labels, events = small(np.random.default_rng(8), size=40)
    y = labels.tested.astype(float)
    test = AdamTest(events, "ce", epochs=300, start=3)
    begin = test._begin(np.random.default_rng([9_530, 3]), 1)
    theta = np.concatenate([begin["w"].ravel(), begin["b"].ravel(), begin["a"].ravel(), [0.0]])
    x, base = points[:, 0], np.log(labels.share / (1 - labels.share))
    first, second = np.zeros(13), np.zeros(13)
    for i in range(1, 301):
        w, b, a, c = theta[:4], theta[4:8], theta[8:12], theta[12]
        s = expit(np.outer(x, w) + b)
        pull = expit(base + s @ a + c) - y
        inner = pull[:, None] * a * s * (1 - s)
        g = np.concatenate([x @ inner, inner.sum(0), pull @ s, [pull.sum()]])
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        rate = 1e-3 * np.sqrt(1 - 0.999**i) / (1 - 0.9**i)
        theta = theta - rate * first / (np.sqrt(second) + 1e-7)
    w, b, a, c = theta[:4], theta[4:8], theta[8:12], theta[12]
    f = expit(np.outer(x, w) + b) @ a + c
    t = 2 * np.sum(y * f - np.logaddexp(0, base + f) + np.logaddexp(0, base))
    assert test.fit(y[:, None])[0] == pytest.approx(t, abs=5e-3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("nplm", {"epochs": 300}), ("network", {}), ("classifier", {"layers": (8,), "epochs": 2})],
)
def test_the_data_are_trained_as_every_redraw_is(kind, options):
    """Whatever is chosen or drawn on the way to t is the same for the same labels: p is exact."""
    points, y = toy(np.random.default_rng(14), "bulk", 30, size=150)
    found = TrainedStatistics(points, make_labels(y), kind, 1, options)
    alone, _ = found.evaluate(y[:, None])
    between = np.random.default_rng(15).random((len(y), 16)) < 0.5
    between[:, [0, 7, 15]] = y[:, None]
    together, _ = found.evaluate(between)
    near = 1e-3 * np.abs(alone)
    assert np.all(np.abs(together[:, [0, 7, 15]] - alone) < near)
    assert np.ptp(together[-1]) > 100 * near[-1]


def test_clipped_weights_reach_less():
    _, labels, events = small(np.random.default_rng(9))
    y = labels.tested[:, None].astype(float)
    free, clipped = (AdamTest(events, epochs=3000, clip=c).fit(y)[0] for c in (None, 0.3))
    assert clipped < free


def test_the_classifier_sees_a_difference_in_its_own_events():
    rng = np.random.default_rng(10)
    points, y = toy(rng, "non-local", 150, size=400)
    labels = make_labels(y)
    found = TrainedStatistics(points, labels, "classifier", 1, {"layers": (16,), "epochs": 10})
    observed, _ = found.evaluate(y[:, None])
    null = found(0)
    assert observed.shape == (3, 1)
    assert np.mean(null[1] >= observed[1, 0]) < 0.2
    assert null[2].mean() < null[1].mean()  # what it has not seen it does not overfit


def test_the_published_band_is_that_of_bootstrap_samples():
    """Its largest scores lie above those of redraws: events that are there twice are learned."""
    points, y = toy(np.random.default_rng(11), size=200)
    options = {"layers": (16,), "epochs": 20, "batch": 50}
    names, observed, drawn, said = train_all(
        points, make_labels(y), "classifier", 16, seed=2, options=options
    )
    band = said["bootstrap"]
    assert names[0] == band["statistic"]
    assert (band["samples"], band["observed"]) == (16, pytest.approx(observed[0]))
    quantiles = [band["quantiles"][q] for q in ("0.025", "0.16", "0.5", "0.84", "0.975")]
    assert quantiles == sorted(quantiles)
    assert band["quantiles"]["0.5"] > np.median(drawn[0])
    assert describe_band({"network": said}).startswith(f"largest score {observed[0]:.3g}; in 16 ")


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "mean", "error"), [(8.0, 11.3, 1.2), (1.0, 7.9, 1.6)])
def test_adam_depends_on_the_unit(scale, mean, error):
    """24 toys at 50 000 epochs, x as e^-x and as 8 e^-8x."""
    rng = np.random.default_rng(7)
    t = []
    for start in range(24):
        points, y = toy(rng)
        events = group_events(scale * points, make_labels(y))
        counts = events.sums(y.astype(float)[:, None])
        t.append(AdamTest(events, start=start).fit(counts)[0])
    assert np.mean(t) == pytest.approx(mean, abs=error)
