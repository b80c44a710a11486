"""Data that are impossible without a signal: limits, toys and intervals all the same."""

import numpy as np
import pytest
from conftest import invoke
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm, poisson

from ddphf import fit_workspace, limit_workspace
from ddphf.exceptions import ModelError
from ddphf.files import to_json
from ddphf.inference.discovery import discover_workspace
from ddphf.inference.limits.profile import ProfileScan
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import toy_statistics
from ddphf.inference.toys.store import load_toys
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.tails import FAILED

SIGNAL, BACKGROUND = np.array([2.0, 1.0, 0.5]), np.array([6.0, 3.0, 0.0])
OBSERVED = np.array([7.0, 2.0, 1.0])


def dark_workspace(observed=OBSERVED, lower=0.0):
    """Return three bins without nuisances, the last of signal alone."""
    return {
        "version": "1.0.0",
        "channels": [
            {
                "name": "c",
                "samples": [
                    {
                        "name": "signal",
                        "data": SIGNAL.tolist(),
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                    {"name": "background", "data": BACKGROUND.tolist(), "modifiers": []},
                ],
            }
        ],
        "observations": [{"name": "c", "data": list(map(float, observed))}],
        "measurements": [
            {
                "name": "m",
                "config": {
                    "poi": "mu",
                    "parameters": [{"name": "mu", "bounds": [[lower, 50.0]], "inits": [1.0]}],
                },
            }
        ],
    }


def twice_nll(mu, n):
    return -2 * float(np.sum(poisson.logpmf(n, BACKGROUND + mu * SIGNAL)))


def q_tilde(mu, n):
    best = minimize_scalar(
        lambda x: twice_nll(x, n), bounds=(1e-9, 50), method="bounded", options={"xatol": 1e-12}
    )
    return 0.0 if best.x > mu else twice_nll(mu, n) - min(best.fun, twice_nll(1e-9, n))


def asimov_value(mu):
    rate = BACKGROUND + mu * SIGNAL
    some = BACKGROUND > 0
    terms = rate - BACKGROUND
    terms[some] -= BACKGROUND[some] * np.log(rate[some] / BACKGROUND[some])
    return 2 * terms.sum()


@pytest.mark.parametrize("lower", [0.0, -10.0])
def test_limits_are_those_of_a_plain_calculation(lower):
    def cls(mu):
        q, a = q_tilde(mu, OBSERVED), asimov_value(mu)
        shifted = np.sqrt(q) - np.sqrt(a) if q <= a else (q - a) / (2 * np.sqrt(a))
        return norm.sf(shifted + np.sqrt(a)) / norm.sf(shifted) - 0.05

    found = limit_workspace(dark_workspace(lower=lower))
    assert found.asymptotic.observed == pytest.approx(brentq(cls, 1.5, 20), rel=1e-5)
    median = brentq(lambda mu: np.sqrt(asimov_value(mu)) - norm.isf(0.025), 0.1, 20)
    assert found.asymptotic.expected[2] == pytest.approx(median, rel=1e-6)
    assert any("explains the events of channel 'c', bin 2, so" in w for w in found.warnings)


def test_all_bins_are_named():
    workspace = dark_workspace()
    for sample in workspace["channels"][0]["samples"]:
        sample["data"] += [0.5, 0.5] if sample["name"] == "signal" else [0.0, 0.0]
    workspace["observations"][0]["data"] += [0.0, 2.0]
    found = limit_workspace(workspace)
    assert any("explains the events of channel 'c', bins 2, 4, so" in w for w in found.warnings)


def test_toys_with_events_of_signal_alone_are_no_failures():
    """At mu = 1.5 half of the toys have such events; the plain likelihood tells t of each."""
    model = CompiledModel.from_reference(ReferenceModel(dark_workspace()))
    source = ToySource.conditional(model, 1.5)
    toys = toy_statistics(source, [1.5, 0.0], 96, seed=3)
    assert toys.n_failed == 0
    counts = source.draw_toys(3, np.arange(96))[:, :3]
    dark = counts[:, 2] > 0
    assert 30 < dark.sum() < 80
    assert np.array_equal(np.isinf(toys.t_zero), dark)
    assert np.array_equal(np.isinf(toys.t[:, 1]), dark)
    expected = [q_tilde(1.5, n) for n in counts]
    assert toys.q_tilde(0) == pytest.approx(expected, abs=1e-5)


def test_without_a_signal_nothing_is_drawn_there():
    model = CompiledModel.from_reference(ReferenceModel(dark_workspace()))
    source = ToySource.conditional(model, 0.0)
    assert source.rates[2] == 0
    assert source.draw_toys(1, np.arange(64))[:, 2].sum() == 0


def test_t_is_infinite_at_zero_and_the_interval_excludes_it():
    model = CompiledModel.from_reference(ReferenceModel(dark_workspace()))
    assert ProfileScan(model).t(0.0) == np.inf
    found = limit_workspace(dark_workspace(), interval=True)
    low, high = found.intervals[0].lower, found.intervals[0].upper
    assert 0 < low < found.mu_hat < high
    best = twice_nll(found.mu_hat, OBSERVED)
    for end in (low, high):
        assert twice_nll(end, OBSERVED) - best == pytest.approx(1.0, abs=2e-4)


def test_profile_errors_and_intervals_of_a_fit_stop_before_zero():
    """The likelihood falls to 0 at mu = 0, where the interval at two errors would reach."""
    found = fit_workspace(dark_workspace())
    statement = found.measurement_statement
    best = twice_nll(statement.value, OBSERVED)
    assert len(statement.intervals) == 2
    ends = [(statement.value + statement.error_down, 1.0)]
    for interval, rise in zip(statement.intervals, (1.0, 4.0), strict=True):
        ends += [(interval["low"], rise), (interval["high"], rise)]
    for end, rise in ends:
        assert end > 0
        assert twice_nll(end, OBSERVED) - best == pytest.approx(rise, abs=1e-3)
    assert not any("missing" in line for line in found.warnings)


def test_there_is_still_no_discovery_statement():
    with pytest.raises(ModelError, match="bin 2 has events, but only samples with the POI"):
        discover_workspace(dark_workspace())
    assert fit_workspace(dark_workspace()).discovery is None


def test_limits_by_toys(tmp_path):
    (tmp_path / "w.json").write_text(to_json(dark_workspace()))
    out = tmp_path / "l.json"
    line = f"limit {tmp_path}/w.json --method asymptotic,toys --toys 400 -o {out}"
    outcome = invoke(*line.split())
    assert outcome.code == 0, outcome.err
    (warning,) = [line for line in outcome.err.splitlines() if "impossible" in line]
    assert warning.endswith(
        "no null and no discovery statement: only 'mu' explains the events of channel 'c', bin 2, "
        "so mu = 0 is impossible"
    )


def test_toys_of_a_signal_have_an_infinite_q0_there(tmp_path):
    """Data without an event in the bin have a null; toys of a signal with one there rule it out."""
    workspace = dark_workspace()
    workspace["observations"][0]["data"][2] = 0.0
    (tmp_path / "w.json").write_text(to_json(workspace))
    line = f"toys {tmp_path}/w.json --mu 1.5 --toys 96 --seed 3 -o {tmp_path}/t.npz"
    outcome = invoke(*line.split())
    assert outcome.code == 0, outcome.err
    toys = load_toys(tmp_path / "t.npz")
    model = CompiledModel.from_reference(ReferenceModel(workspace))
    counts = ToySource.conditional(model, 1.5).draw_toys(3, np.arange(96))[:, :3]
    assert np.array_equal(np.isinf(toys.q0), counts[:, 2] > 0)
    assert np.all(toys.status != FAILED)
    assert np.all(np.isfinite(toys.mu_hat))
