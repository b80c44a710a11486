"""p-values of `ddphf search events` are uniform where nothing is to be found; minutes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import test_lepton_id_build as build
from scipy.stats import kstest
from test_search_events import write

from ddphf.config.analysis import read_analysis
from ddphf.search.flip_blocks import flip_maxima
from ddphf.search.many import ManyHistograms, count_p
from ddphf.search.read_events import read_search_events
from ddphf.search.run_events import search_events

FAKES, WEIGHT, NORM_ERROR = 120, 0.3, 0.2


def place(pt):
    return np.clip(np.searchsorted(build.PT, pt, side="right") - 1, 0, 2)


def draw_fakes(rng, n):
    table = build.draw(rng, n)
    table["mass"] = 25 + 50 * rng.random(n) ** 1.5
    return table


def draw_tables(seed, moved):
    """Return tables without a signal; with the maps and the fakes' norm off by their errors."""
    rng = np.random.default_rng(seed)
    e, mu = (
        {k: np.array(v, dtype=float) for k, v in m.items()} for m in (build.ELECTRON, build.MUON)
    )
    scale = 1.0
    if moved:
        for one in (e, mu):
            one["value"] += one["statistical"] * rng.normal(size=3)
        rho = np.linalg.cholesky(0.5 + 0.5 * np.eye(3))
        e["value"] += e["tag"] * (rho @ rng.normal(size=3))
        mu["value"] += mu["tag"] * rng.normal()
        scale = max(1 + NORM_ERROR * rng.normal(), 0.1)
    events = build.draw(rng, rng.poisson(4000))
    first, second = place(events["pt1"]), place(events["pt2"])
    tested = mu["value"][first] * e["value"][second]
    partner = e["value"][first] * mu["value"][second]
    label = np.where(rng.random(len(first)) < tested / (tested + partner), 13, 11)
    fakes = draw_fakes(rng, rng.poisson(FAKES * scale))
    control = draw_fakes(rng, rng.poisson(FAKES / WEIGHT))
    events = {k: np.concatenate([v, fakes[k]]) for k, v in events.items()}
    events["f1"] = np.concatenate([label, np.full(len(fakes["mass"]), 13)])
    control |= {"f1": np.full(len(control["mass"]), 13)}
    control |= {"w": np.full(len(control["mass"]), WEIGHT)}
    signal = {**build.draw(rng, 300), "f1": np.full(300, 13)}
    tables = {"events": events, "signal": signal, "fakes": control}
    for table in tables.values():
        table["f2"] = 24 - table["f1"]
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["excess", "deficit"])
@pytest.mark.parametrize("moved", [True, False])
def test_p_is_uniform_with_fakes_and_efficiencies_and_their_errors(folder, moved, direction):
    found = []
    for seed in range(100):
        analysis = read_analysis(write(folder, tables=draw_tables(seed, moved)))
        result = search_events(analysis, flips=128, seed=seed, direction=direction, nuisances=moved)
        found.append(result.overall["p"])
    assert kstest(found, "uniform").pvalue > 1e-3


PROMPT = {
    "grid": (4.347, 4.54, 5.16, 0.74), "momenta": (4.603, 4.38, 5.09, 0.26),
    "central": (4.683, 4.58, 5.19, 0.39), "random": (4.655, 4.79, 5.35, 0.69),
}  # fmt: skip
"""Of the shipped prompt events by four sets of 200 selections: the best Z, median and 95 % of
flips, p. One sample has many p-values, since each set looks elsewhere."""


@pytest.mark.slow
@pytest.mark.parametrize("selections", PROMPT)
def test_the_prompt_events_of_the_shipped_sample(selections):
    sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
    from bench_flips import prompt_analysis

    analysis = prompt_analysis(selections)
    events = read_search_events(analysis, nuisances=False, max_windows=10**6)
    many = ManyHistograms(events.rows, events.cells, events.observables)
    highest = flip_maxima(many, 256, seed=1).max(axis=0)
    best, median, high, p = PROMPT[selections]
    assert many.statistics.max() == pytest.approx(best, abs=0.001)
    assert np.median(highest) == pytest.approx(median, abs=0.06)
    assert np.quantile(highest, 0.95) == pytest.approx(high, abs=0.15)
    assert count_p(float(many.statistics.max()), highest)[0] == pytest.approx(p, abs=0.12)
