"""Pruning of the lepton-ID error: what moves mu stays, whatever the maps."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest

from ddphf.inference.fit import fit_workspace
from ddphf.inputs.covariance import make_covariance
from ddphf.publish.consistency import other_covariance
from ddphf.studies.lepton_id import study_pair
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


def compare_fits(seeds):
    """Largest differences of sigma(mu) and Z between profile fits; nuisances kept, and of all."""
    sigma, z, counts = [], [], []
    for seed in seeds:
        both = kept_and_all(random_pair(seed, lowest=1.5))
        got, want = (Likelihood(b.workspace).fit() for b in both)
        sigma.append(abs(got[1] / want[1] - 1))
        z.append(abs(got[2] - want[2]))
        counts.append([len(b.metadata["lepton_id"]["kept"]) for b in both])
    return max(sigma), max(z), np.array(counts).T


def test_profile_fits_with_the_default_and_with_everything():
    sigma, z, (kept, every) = compare_fits(range(1000, 1040))
    assert sigma < 0.002
    assert z < 0.002
    assert np.all(kept < every)


@pytest.mark.slow
def test_three_hundred_pairs_of_maps_fitted():
    sigma, z, (kept, every) = compare_fits(range(1000, 1300))
    assert sigma < 0.002
    assert z < 0.002
    assert np.all(kept < every)
    assert kept.mean() < 2 < 7 < every.mean()


def independent_and_shared(independent, shared, n=8, **options):
    """Each bin has its own electron and muon bin; all of them share one large error."""
    u = np.full(2 * n, shared)
    matrix = independent**2 * np.eye(2 * n) + np.outer(u, u)
    counts = np.full(n, 250_000.0)
    signal = 900 * np.exp(-0.5 * (np.arange(n) - 3.5) ** 2)
    none = np.zeros((n, n))
    lepton_id = LeptonId(
        make_covariance(matrix), np.hstack([np.eye(n), none]), np.hstack([none, np.eye(n)]),
        **{"retained": None, **options},
    )  # fmt: skip
    tested = Channel("b", np.round(counts + signal), signal=Template(signal))
    return Pair(tested, Channel("a", counts), lepton_id=lepton_id)


def test_a_large_common_error_hides_nothing():
    """Kept by the trace of both channels one variation would do, and sigma(mu) be half of it."""
    pair = independent_and_shared(0.004, 0.03)
    default, whole = kept_and_all(pair)
    assert len(whole.metadata["lepton_id"]["kept"]) == 16
    assert 8 <= len(default.metadata["lepton_id"]["kept"]) <= 9
    got, want = (fit_workspace(b.workspace) for b in (default, whole))
    assert got.mu_hat.error == pytest.approx(want.mu_hat.error, rel=1e-3)
    assert got.discovery.z0 == pytest.approx(want.discovery.z0, rel=1e-3)
    by_numpy, by_matrices = Likelihood(whole.workspace).fit(), dense(whole.workspace)
    assert want.mu_hat.error == pytest.approx(by_numpy[1], rel=1e-6)
    assert want.discovery.z0 == pytest.approx(by_numpy[2], rel=1e-6)
    assert by_matrices == pytest.approx(by_numpy, rel=0.01)
    # By hand: with independent bins V is diagonal, but for what the signal itself shares.
    counts, signal = 250_000.0, np.array(sample(whole.workspace, TESTED, "signal")["data"])
    variance = 2 * counts + 2 * (0.004 * counts) ** 2
    assert by_numpy[1] == pytest.approx(np.sum(signal**2 / variance) ** -0.5, rel=0.01)
    assert not any("loses" in line for line in default.warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"at_most": 2}, r"'at_most: 2' loses"), ({"retained": 0.4}, r"'retained: 0\.4' loses")],
)
def test_a_choice_that_loses_is_told_by_name_and_size(options, words):
    built = build_workspace(independent_and_shared(0.004, 0.03, **options))
    (line,) = [w for w in built.warnings if "loses" in w]
    assert re.search(words, line)
    entry = built.metadata["lepton_id"]
    assert f"up to {entry['largest_loss_of_other_signals']:.1%} of that of another" in line
    # This signal, however, has lost nothing: what mu feels comes first.
    whole = build_workspace(with_everything(independent_and_shared(0.004, 0.03)))
    assert dense(built.workspace) == pytest.approx(dense(whole.workspace), rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_signal_loses_one_percent(seed):
    default, whole = kept_and_all(random_pair(seed))
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(10):
        other = rng.gamma(0.3, size=len(whole.workspace["observations"][0]["data"])) + 1e-6
        sigma = []
        for built in (default, whole):
            spec = copy.deepcopy(built.workspace)
            for channel in spec["channels"]:
                channel["samples"] = [s for s in channel["samples"] if s["name"] == "symmetric"]
            signal = {"name": "signal", "data": list(other), "modifiers": []}
            next(c for c in spec["channels"] if c["name"] == TESTED)["samples"].append(signal)
            sigma.append(dense(spec)[1])
        losses.append(1 - sigma[0] / sigma[1])
    stated = default.metadata["lepton_id"]["largest_loss_of_other_signals"]
    assert max(losses) < stated + 1e-9 < 0.01


@pytest.mark.parametrize("seed", range(10))
def test_everything_kept_is_the_covariance(seed):
    pair = random_pair(seed)
    built = build_workspace(with_everything(pair))
    names = built.metadata["lepton_id"]["kept"]
    rows, compositions = [], [pair.lepton_id.tested, pair.lepton_id.partner]
    for channel in (TESTED, PARTNER):
        nominal = np.array(sample(built.workspace, channel, "symmetric")["data"])
        columns = slopes(built.workspace, channel, "symmetric", names)
        rows.append(columns[:, :-1] / nominal[:, None])
    if pair.lepton_id.signal_tested is not None:
        nominal = np.array(sample(built.workspace, TESTED, "signal")["data"])
        filled = nominal > 1e-3 * nominal.max()
        columns = slopes(built.workspace, TESTED, "signal", names)[:, :-1]
        rows.append(columns[filled] / nominal[filled, None])
        compositions.append(pair.lepton_id.signal_tested[filled])
    if built.metadata["absorbed"]:  # alike in both channels: the ratio is left
        rows, compositions = ([part[0] - part[1], *part[2:]] for part in (rows, compositions))
    g, w = np.concatenate(rows), np.concatenate(compositions)
    full = w @ pair.lepton_id.covariance.matrix @ w.T
    assert np.linalg.norm(g @ g.T - full) < 1e-11 * np.linalg.norm(full)


@pytest.mark.parametrize("options", [{}, {"at_most": 3}])
def test_the_remainder_is_whole_for_the_ratio(options):
    """Its variance bin by bin; what is common to the channels would only widen the ratio."""
    pair = independent_and_shared(0.004, 0.03, residual="shapesys", **options)
    built = build_workspace(pair)
    whole = build_workspace(with_everything(pair))
    names = built.metadata["lepton_id"]["kept"]
    g = {
        c: slopes(built.workspace, c, "symmetric", names)
        / np.array(sample(built.workspace, c, "symmetric")["data"])[:, None]
        for c in (TESTED, PARTNER)
    }
    of_ratio = np.sum((g[TESTED] - g[PARTNER]) ** 2, axis=1)
    for channel in (TESTED, PARTNER):
        found = sample(built.workspace, channel, "symmetric")
        for modifier in found["modifiers"]:
            if modifier["type"] == "shapesys":
                of_ratio = of_ratio + (np.array(modifier["data"]) / found["data"]) ** 2
    assert of_ratio == pytest.approx(np.full(8, 2 * 0.004**2), rel=1e-6)
    # The remainder of independent bins is correlated, so it may widen sigma(mu), not narrow it.
    assert 0.99 < dense(built.workspace)[1] / dense(whole.workspace)[1] < 1.6
    assert dense(built.workspace)[1] > 0.99 * dense(whole.workspace)[1]


def test_a_source_of_the_signal_alone_is_kept_where_mu_is_large():
    """Leptons that the background lacks: their error is one of the signal's yield."""
    n = 4
    w = np.hstack([np.eye(n)[:, :2], np.zeros((n, 1))])
    own = np.hstack([np.zeros((n, 2)), np.ones((n, 1))])
    signal = np.array([5.0, 40.0, 30.0, 5.0])
    lepton_id = LeptonId(
        make_covariance(np.diag([1e-4, 1e-4, 0.15**2])), w, w, signal_tested=own, retained=None
    )
    pair = Pair(
        Channel("b", np.array([105.0, 140.0, 130.0, 105.0]), signal=Template(signal)),
        Channel("a", np.full(n, 100.0)),
        lepton_id=lepton_id,
    )
    built, whole = kept_and_all(pair)
    entry = built.metadata["lepton_id"]
    assert entry["kept"] == ["lepid_id_eig00"]
    assert entry["squared_lengths"] == [0.0]
    carriers = [
        (c["name"], s["name"])
        for c in built.workspace["channels"] for s in c["samples"] for m in s["modifiers"]
        if m["name"] == "lepid_id_eig00"
    ]  # fmt: skip
    assert carriers == [(TESTED, "signal")]
    found = np.array(sample(built.workspace, TESTED, "signal")["data"])
    up = slopes(built.workspace, TESTED, "signal", ["lepid_id_eig00"])[:, 0] / found
    assert np.abs(up) == pytest.approx(np.full(n, 0.15), rel=1e-9)
    # Far from 0 it is felt: without it sigma(mu) of a large signal would be a third too small.
    mu, sigma, _ = dense(whole.workspace)
    assert dense(built.workspace, mu)[1] == pytest.approx(dense(whole.workspace, mu)[1], rel=1e-9)
    assert dense(whole.workspace, mu)[1] > 1.05 * sigma
    assert entry["sigma_mu_kept"] > 0.999


def test_nothing_is_kept_where_nothing_is_felt():
    pair = independent_and_shared(0.004, 0.03)
    same = replace(pair.lepton_id, partner=pair.lepton_id.tested, on_signal=False)
    built = build_workspace(replace(pair, lepton_id=same))
    entry = built.metadata["lepton_id"]
    assert entry["kept"] == []
    assert entry["sigma_mu_kept"] == pytest.approx(1.0, abs=1e-12)
    assert any("0 of 8 eigen-variations" in line for line in built.warnings)


def test_degenerate_directions_have_a_basis_of_their_own():
    """The same covariance from a factor that is turned: the same columns, whatever eigh makes."""
    pair = independent_and_shared(0.004, 0.0, on_signal=False)
    pair = replace(pair, tested=replace(pair.tested, observed=np.full(8, 250_000.0)))
    names = [f"lepid_id_eig{i:02d}" for i in range(16)]
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))
    lepton_id, matrix = pair.lepton_id, pair.lepton_id.covariance.matrix
    noise = turn @ (turn.T @ matrix @ turn) @ turn.T  # equal up to rounding
    noisy = replace(lepton_id, covariance=make_covariance((noise + noise.T) / 2))
    one, two = (
        slopes(build_workspace(with_everything(replace(pair, lepton_id=x))).workspace, TESTED,
               "symmetric", names)
        for x in (lepton_id, noisy)
    )  # fmt: skip
    assert one == pytest.approx(two, abs=1e-9 * np.abs(one).max())


def test_a_bundle_of_it_is_consistent():
    for seed in range(5):
        for built in kept_and_all(random_pair(seed)):
            assert other_covariance({}, built.workspace, built.metadata) == ""


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_a_known_background_feels_what_is_common(seed):
    """There the channels are not compared, so nothing is absorbed."""
    plain = random_pair(seed)
    lepton_id = replace(plain.lepton_id, on_signal=False)
    truth = np.maximum(np.asarray(plain.partner.observed, dtype=float), 1.0)
    pair = replace(plain, lepton_id=lepton_id, known_background=truth)
    sigma = []
    for built in kept_and_all(pair):
        names = built.metadata["lepton_id"]["kept"]
        rows, variance, design = [], [], []
        for channel, ratio in ((TESTED, plain.efficiency_ratio), (PARTNER, 1.0)):
            nominal = np.array(sample(built.workspace, channel, "symmetric")["data"])
            scale = (ratio * truth / nominal)[:, None]
            rows.append(scale * slopes(built.workspace, channel, "symmetric", names))
            variance.append(ratio * truth)
            signal = sample(built.workspace, channel, "signal")
            design.append(0 * truth if signal is None else np.array(signal["data"]))
        shifts, d = np.concatenate(rows), np.concatenate(design)
        v = np.diag(np.concatenate(variance)) + shifts @ shifts.T
        sigma.append((d @ np.linalg.solve(v, d)) ** -0.5)
    assert sigma[0] == pytest.approx(sigma[1], rel=0.005)


def test_the_correlation_study_knows_the_error_of_the_ratio():
    """With most of the trace common to both channels; widths by dense matrices."""
    pair = independent_and_shared(0.004, 0.03, on_signal=False)
    matrices = [
        0.004**2 * np.kron(np.eye(2), rho + (1 - rho) * np.eye(8)) + 0.03**2 for rho in (0.0, 1.0)
    ]
    found = study_pair(pair, [make_covariance(m) for m in matrices], rho=[0.0, 1.0]).closed
    plain = build_workspace(pair).workspace
    b, d = (np.array(sample(plain, TESTED, n)["data"]) for n in ("symmetric", "signal"))
    contrast = np.hstack([np.diag(b), -np.diag(b)])
    v = [np.diag(2 * b) + contrast @ m @ contrast.T for m in matrices]
    for column, model in enumerate(v):
        weights = np.linalg.solve(model, d)
        s2 = 1 / (d @ weights)
        for row, toys in enumerate(v):
            width = np.sqrt(s2 * weights @ toys @ weights)
            assert found[row][column] == pytest.approx(width, rel=1e-9)
    assert found[0][1] > 1.5
