"""Pruning of the lepton-ID error: what moves mu stays, whatever the maps."""

from dataclasses import replace

import numpy as np
import pytest

from ddphf.inputs.covariance import make_covariance
from ddphf.symmetry.efficiency import LeptonId
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace

TESTED, PARTNER = "SR_b", "CR_a"


def random_pair(seed, lowest=0.5, highest=6.0):
    """Maps with statistical, common and differential parts of every size; some are shared."""
    rng = np.random.default_rng(seed)
    k, m = int(rng.integers(2, 8)), int(rng.integers(3, 13))
    events = 10 ** rng.uniform(lowest, highest) * np.exp(-rng.uniform(0, 3) * np.arange(m) / m)
    events = np.maximum(events, 0.6)
    ratio = rng.uniform(0.6, 1.3, m)

    def leptons():
        return rng.dirichlet(np.full(k, rng.choice([0.2, 1.0, 5.0])), size=m)

    leading, second = leptons(), leptons()
    tested = np.hstack([leading, second])
    alike = rng.random() < 0.4  # else the leptons change places
    partner = np.hstack([leading, second]) if alike else np.hstack([second, leading])
    statistical, common, own = 10 ** rng.uniform(-4, -1.6, size=3)
    matrix = np.diag((statistical * rng.uniform(0.5, 2.0, 2 * k)) ** 2)
    shift = common * rng.uniform(0.5, 1.5, 2 * k)
    blocks = [slice(0, 2 * k)] if rng.random() < 0.5 else [slice(0, k), slice(k, 2 * k)]
    for block in blocks:  # shared between the maps, or one for each
        matrix[block, block] += np.outer(shift[block], shift[block])
    other = own * rng.normal(size=k)
    matrix[:k, :k] += np.outer(other, other)
    largest = max(np.einsum("ik,kl,il->i", w, matrix, w).max() for w in (tested, partner))
    matrix *= min(1.0, (0.15 / np.sqrt(largest)) ** 2)
    signal = np.exp(-0.5 * ((np.arange(m) - rng.integers(m)) / rng.uniform(0.6, 3)) ** 2)
    signal *= rng.choice([1.0, 3.0, 10.0]) * np.sqrt(events.mean())
    leak = rng.choice([0.0, 0.2]) * signal[::-1]
    own_signal = np.hstack([leptons(), leptons()]) if rng.random() < 0.5 else None
    strength = rng.choice([0.0, 1.0])
    b = rng.poisson(events * ratio + strength * signal)
    a = rng.poisson(events + strength * leak)
    partner_signal = Template(leak) if leak.any() else None
    return Pair(
        Channel("b", b, signal=Template(signal)),
        Channel("a", a, signal=partner_signal),
        efficiency_ratio=ratio,
        floor=0.5,
        lepton_id=LeptonId(
            make_covariance(matrix), tested, partner, signal_tested=own_signal, retained=None
        ),
    )


def with_everything(pair):
    return replace(pair, lepton_id=replace(pair.lepton_id, retained=1.0))


def sample(spec, channel, name):
    found = next(c for c in spec["channels"] if c["name"] == channel)
    return next((s for s in found["samples"] if s["name"] == name), None)


def slopes(spec, channel, name, names):
    """Change per sigma in events, shape (M, n)."""
    found = sample(spec, channel, name)
    data = {} if found is None else {m["name"]: m["data"] for m in found["modifiers"]}
    none = np.zeros(len(spec["observations"][0]["data"]))
    return np.stack(
        [
            (np.array(data[n]["hi_data"]) - data[n]["lo_data"]) / 2 if n in data else none
            for n in names
        ]
        + [none],
        axis=1,
    )


def dense(spec, mu=0.0):
    """mu, sigma(mu) and Z by dense matrices, from nothing but the emitted workspace."""
    names = sorted(
        {
            m["name"]
            for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]
            if m["type"] == "histosys"
        }
    )  # fmt: skip
    observed = {o["name"]: np.array(o["data"]) for o in spec["observations"]}
    tested, partner = (np.array(sample(spec, c, "symmetric")["data"]) for c in (TESTED, PARTNER))
    ratio = tested / partner
    design, shifts = np.zeros(len(ratio)), 0.0
    for channel, sign in ((TESTED, np.ones_like(ratio)), (PARTNER, -ratio)):
        shifts = shifts + sign[:, None] * slopes(spec, channel, "symmetric", names)
        shifts = shifts + mu * sign[:, None] * slopes(spec, channel, "signal", names)
        signal = sample(spec, channel, "signal")
        if signal is not None:
            design = design + sign * np.array(signal["data"])
    covariance = np.diag(tested + ratio**2 * partner) + shifts @ shifts.T
    for channel, sign in ((TESTED, np.ones_like(ratio)), (PARTNER, -ratio)):
        for modifier in sample(spec, channel, "symmetric")["modifiers"]:
            if modifier["type"] == "shapesys":
                covariance += np.diag((sign * np.array(modifier["data"])) ** 2)
    weights = np.linalg.solve(covariance, design)
    y = observed[TESTED] - ratio * observed[PARTNER]
    sigma = (design @ weights) ** -0.5
    return weights @ y * sigma**2, sigma, weights @ y * sigma


def kept_and_all(pair):
    default, whole = build_workspace(pair), build_workspace(with_everything(pair))
    return default, whole


@pytest.mark.parametrize("seed", range(40))
def test_the_default_loses_nothing_of_mu_its_error_and_its_significance(seed):
    default, whole = kept_and_all(random_pair(seed))
    entry, full = default.metadata["lepton_id"], whole.metadata["lepton_id"]
    estimate = dense(whole.workspace)
    for got, want in zip(dense(default.workspace), estimate, strict=True):
        assert got == pytest.approx(want, rel=1e-6, abs=1e-8)
    sigma = estimate[1]
    for mu in (sigma, 2 * sigma, abs(estimate[0]), abs(estimate[0]) + 2 * sigma, 5 * sigma):
        got, want = dense(default.workspace, mu)[1], dense(whole.workspace, mu)[1]
        assert 0.99 * want < got < want * (1 + 1e-9)
    assert len(entry["kept"]) <= len(full["kept"])
    assert entry["sigma_mu_kept"] > 0.998
    assert entry["largest_loss_of_other_signals"] < 0.01


def test_fewer_nuisances_do():
    counts = []
    for seed in range(40):
        default, whole = kept_and_all(random_pair(seed))
        counts.append([len(b.metadata["lepton_id"]["kept"]) for b in (default, whole)])
    kept, every = np.array(counts).T
    assert np.mean(kept < every) > 0.85
    assert kept.sum() < 0.5 * every.sum()


class Likelihood:
    """The paired likelihood of an emitted workspace with b profiled in closed form, plain numpy."""

    def __init__(self, spec):
        names = sorted(
            m["name"] for m in sample(spec, TESTED, "symmetric")["modifiers"]
            if m["type"] == "histosys"
        )  # fmt: skip
        observed = {o["name"]: np.array(o["data"]) for o in spec["observations"]}
        self.b, self.a = observed[TESTED], observed[PARTNER]
        tested, partner = (
            np.array(sample(spec, c, "symmetric")["data"]) for c in (TESTED, PARTNER)
        )
        self.ratio, self.start = tested / partner, partner
        self.signal, self.g, self.h = {}, {}, {}
        for channel, nominal in ((TESTED, tested), (PARTNER, partner)):
            found = sample(spec, channel, "signal")
            self.signal[channel] = 0 * nominal if found is None else np.array(found["data"])
            self.g[channel] = slopes(spec, channel, "symmetric", names)[:, :-1] / nominal[:, None]
            self.h[channel] = slopes(spec, channel, "signal", names)[:, :-1]  # in events

    def value_and_gradient(self, x):
        mu, z = x[0], x[1:]
        f = {TESTED: self.ratio * (1 + self.g[TESTED] @ z), PARTNER: 1 + self.g[PARTNER] @ z}
        c = {k: mu * (self.signal[k] + self.h[k] @ z) for k in f}
        if any(np.any(v <= 0) for v in f.values()):
            return np.inf, np.zeros_like(x)
        # B p / (p b + c) + A q / (q b + d) = p + q, larger root.
        p, q, cb, ca = f[TESTED], f[PARTNER], c[TESTED], c[PARTNER]
        u = (p + q) * p * q
        v = (p + q) * (p * ca + q * cb) - p * q * (self.a + self.b)
        w = (p + q) * cb * ca - self.b * p * ca - self.a * q * cb
        b = (-v + np.sqrt(np.maximum(v**2 - 4 * u * w, 0))) / (2 * u)
        low = np.maximum(np.maximum(-cb / p, -ca / q), 0.0)
        b = np.maximum(b, low)
        total, gradient = float(z @ z), np.concatenate([[0.0], 2 * z])
        for n, key in ((self.b, TESTED), (self.a, PARTNER)):
            rate = f[key] * b + c[key]
            if np.any((rate <= 0) & (n > 0)) or np.any(rate < -1e-9):
                return np.inf, gradient
            safe = np.maximum(rate, 1e-300)
            total += 2 * float(np.sum(rate - n * np.log(np.where(n > 0, safe, 1.0))))
            slope = 2 * (1 - np.where(n > 0, n / safe, 0.0))
            dmu = self.signal[key] + self.h[key] @ z
            base = self.ratio if key == TESTED else np.ones_like(b)
            dz = (base * b)[:, None] * self.g[key] + mu * self.h[key]
            gradient += np.concatenate([[slope @ dmu], slope @ dz])
        return total, gradient

    def minimum(self, start, free):
        """Newton steps by differences of the gradient, each shortened until it descends."""
        x = np.array(start, dtype=float)
        value, gradient = self.value_and_gradient(x)
        for _ in range(60):
            hessian = self.hessian(x)[np.ix_(free, free)]
            step = np.linalg.solve(hessian, gradient[free])
            for shrink in 0.5 ** np.arange(40):
                trial = x.copy()
                trial[free] -= shrink * step
                found, slope = self.value_and_gradient(trial)
                if found <= value + 1e-9:
                    break
            x, value, gradient = trial, found, slope
            if abs(gradient[free] @ step) < 1e-12:
                break
        return x, value

    def hessian(self, x):
        scale = np.concatenate([[1e-4 * max(1.0, abs(x[0]))], np.full(len(x) - 1, 1e-4)])
        rows = [
            (self.value_and_gradient(x + s)[1] - self.value_and_gradient(x - s)[1]) / (2 * s.sum())
            for s in np.diag(scale)
        ]
        return (np.array(rows) + np.array(rows).T) / 2

    def fit(self):
        """mu, its error by the second derivative, and signed Z."""
        n = len(self.g[TESTED].T)
        free = np.arange(n + 1)
        null, at_null = self.minimum(np.zeros(n + 1), free[1:])
        x, best = self.minimum(null, free)
        sigma = np.sqrt(2 * np.linalg.inv(self.hessian(x))[0, 0])
        return x[0], sigma, np.sign(x[0]) * np.sqrt(max(at_null - best, 0.0))


@pytest.mark.parametrize("seed", range(1000, 1300))
def test_three_hundred_pairs_of_maps_fitted(seed):
    """Profile fits with the default and with everything, at counts where these are smooth."""
    default, whole = kept_and_all(random_pair(seed, lowest=1.5))
    got, want = (Likelihood(b.workspace).fit() for b in (default, whole))
    assert got[1] == pytest.approx(want[1], rel=0.01)
    assert got[2] == pytest.approx(want[2], rel=0.01, abs=0.002)
