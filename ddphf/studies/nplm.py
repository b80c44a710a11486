"""Symmetrised NPLM (arXiv:2401.09530) done again: null, signals, luminosity, permutation, mass."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2, kstest, norm

from ddphf.arrays import AnyArray, Array, Mask, Spec
from ddphf.compute.streams import generator, seed_of_part
from ddphf.config.analysis import Analysis
from ddphf.learning.calibration import LAW_REDRAWS, count_redraws, own_p_values
from ddphf.learning.change_points import change_point_supremum
from ddphf.learning.groups import group_events
from ddphf.learning.ideal import ideal_t, ideal_z, known_background_z, toy_densities
from ddphf.learning.labels import make_labels
from ddphf.learning.network import NetworkTest
from ddphf.learning.nplm import AdamTest
from ddphf.learning.pool import make_pool
from ddphf.learning.redraws import redraw_pool
from ddphf.learning.run_test import DEFAULT, judge_pool
from ddphf.progress import Stage, silent
from ddphf.results.learn import LearnResult
from ddphf.results.provenance import make_provenance
from ddphf.studies.nplm_sample import study_sample
from ddphf.studies.nplm_table import compare_with_paper

__all__ = ["CASES", "EPOCHS", "draw_toy", "run_nplm_study"]

EPOCHS = (5_000, 10_000, 20_000, 50_000)

UNITS = {"x as e^-x": 8.0, "x as 8 e^-8x": 1.0}
"""Factor of the toy model's x."""

CASES = (("tail", 10, 2_000), ("bulk", 35, 2_000), ("bulk", 90, 2_000), ("non-local", 90, 2_000),
         ("bulk", 500, 20_000), ("non-local", 500, 20_000))  # fmt: skip
"""Signal, its events, and events of the background in each sample: A carries it."""

LIKE = {"tail": (0.8, 0.02), "bulk": (0.2, 0.02)}

PAPER = {("tail", 10): "2 sigma where Z_id is 5"}
"""What the paper states of a signal's sensitivity, where it states a number."""

LUMINOSITY = (2_000, 5_000, 10_000, 20_000)
"""Events of the background in each sample, at one fraction of signal."""

FRACTION = 0.025
"""Signal over the background of one sample: that of 500 in 20 000."""

PERMUTED = (4_000, 20_000)
"""Events of both samples where permutation is tried."""

FADING = 10.0
"""GeV of pT in which the difference of a turn-on falls to 1 / e."""

DIFFERENCES: dict[str, Callable[[Array], Array]] = {
    "below 40 GeV": lambda pt: np.where(pt < 40, 0.8, 1.0),
    f"at 20 GeV, fading by e in {FADING:g} GeV": lambda pt: 1 - 0.2 * np.exp((20 - pt) / FADING),
}
"""Ratio of the efficiencies by pT, 20 % apart at the threshold of 20 GeV: a step has half of all
events below it, a turn-on of a trigger moves few."""

UNSTATED = (
    "the unit of x that the null belongs to: the scripts have e^-x, with the tail's signal at 6.4, "
    "the formulas 8 e^-8x, with it at .8. Both are done",
    "the epochs after which a training is stopped: the scripts ask for up to 500 000, and 2 to 50 "
    "hours. 5 000 to 50 000 are done; t still grows there",
    "initial weights and how many starts a training has: those of Keras and one are taken",
    "the largest size of a weight, which NPLM_package clips at: none is set",
    "how many toys a median Z and a null distribution are of, and their errors: those of the "
    "record are taken",
    "what a p-value is of where chi2 of 12 degrees of freedom does not hold: labels are redrawn",
    "efficiencies that differ, and fakes: neither has a place in the method as published",
)
"""What the source leaves unstated and the numbers depend on, and what was taken."""

PRIOR_WORK = (
    "inbarsavoray/LFVNN-symmetrized: the authors' scripts",
    "GaiaGrosso/NPLM_package (PyPI: NPLM): the network in Keras 2; its toy script does not run "
    "with Keras 3",
    "mletizia/kernel-nplm: kernel methods (LogFalkon), p by permutation",
)


def draw_toy(rng: np.random.Generator, signal: str, events: float, size: int) -> tuple[Array, Mask]:
    """Return x (n, 1) and whether each event is in B, of the toy model; A carries the signal.

    Example:
        >>> x, tested = draw_toy(np.random.default_rng(1), "bulk", 0, 50)
        >>> x.shape == (len(tested), 1), bool(x.min() > 0)
        (True, True)
    """
    a, b = (rng.exponential(1 / 8, rng.poisson(size)) for _ in range(2))
    n = rng.poisson(events)
    extra = rng.normal(*LIKE[signal], n) if signal in LIKE else rng.gamma(3.0, 1 / 8, n)
    x = np.concatenate([a, extra, b])
    return x[:, None], np.arange(len(x)) >= len(a) + n


def run_nplm_study(
    *,
    sample: Analysis | None = None,
    toys: int = 24,
    redraws: int = 199,
    seed: int = 0,
    stage: Stage = silent,
) -> LearnResult:
    """Do the study again.

    Args:
        sample: Events whose collinear mass is tested; None leaves that out.
        toys: Of each row of each table.
        redraws: Of the labels of each toy.
        seed: Of everything drawn.
        stage: Called with a line at each stage.
    """
    epochs = []
    for unit, scale in UNITS.items():
        for count in EPOCHS:
            stage(f"null of Adam: {unit}, {count} epochs")
            epochs.append({"unit": unit, "epochs": count, **_null(scale, count, toys, seed)})
    stage("largest t over change points")
    rng = generator(seed, 2)
    limits = []
    for size in (200, 500, 2000):
        found = []
        for _ in range(max(4, toys // 2)):
            y = rng.permutation(np.arange(2 * size) < size)
            found.append(sum(change_point_supremum(rng.random(2 * size), y)))
        limits.append({"events": size, "mean": float(np.mean(found)), "error": _error(found)})
    signals = []
    for number, (signal, events, size) in enumerate(CASES):
        stage(f"{signal}, {events} of {size} events")
        rng = generator(seed, 10 + number)
        signals.append(_signal(rng, signal, events, size, toys, redraws, seed))
    luminosity = []
    for number, signal in enumerate(("bulk", "non-local")):
        for size in LUMINOSITY:
            stage(f"luminosity: {signal}, {FRACTION:.1%} of {size} events")
            rng = generator(seed, 40 + 10 * number + LUMINOSITY.index(size))
            events = round(FRACTION * size)
            luminosity.append(
                _signal(rng, signal, events, size, toys, redraws, seed, network=False)
            )
    permutation = []
    for number, (where, size) in enumerate(itertools.product(DIFFERENCES, PERMUTED)):
        stage(f"permutation where efficiencies differ {where}, {size} events")
        rng = generator(seed, 30 + number)
        permutation.append(_permutation(rng, where, size, toys, redraws, seed))
    mass = None
    if sample is not None:
        mass = study_sample(
            sample, redraws=max(redraws, LAW_REDRAWS), epochs=EPOCHS[-1], seed=seed, stage=stage
        )
    study: Spec = {
        "toys": toys, "epochs": epochs, "change_points": limits, "signals": signals,
        "luminosity": luminosity, "permutation": permutation, "sample": mass,
        "unstated": list(UNSTATED), "prior_work": list(PRIOR_WORK),
    }  # fmt: skip
    return LearnResult(
        kind="study", statistic="nplm", redraws=redraws, seed=seed,
        study={**study, "table": compare_with_paper(study)},
        provenance=make_provenance(),
    )  # fmt: skip


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _null(scale: float, epochs: int, toys: int, seed: int) -> Spec:
    """Return mean of t_sym without a signal, and its KS p-value against chi2_12."""
    rng, t = generator(seed, 1), []
    for start in range(toys):
        x, y = draw_toy(rng, "bulk", 0, 2_000)
        events = group_events(scale * x, make_labels(y))
        counts = events.sums(y.astype(float)[:, None])
        t.append(float(AdamTest(events, epochs=epochs, start=start).fit(counts)[0]))
    return {
        "mean": float(np.mean(t)), "error": _error(t),
        "chi2_12_ks_p": float(kstest(t, chi2(12).cdf).pvalue),
    }  # fmt: skip


def _signal(
    rng: np.random.Generator,
    signal: str,
    events: int,
    size: int,
    toys: int,
    redraws: int,
    seed: int,
    *,
    network: bool = True,
) -> Spec:
    """Return the limits of one signal, and the median Z of the default and of the network."""
    step = 2e-5
    x: Array = np.asarray((np.arange(200_000) + 0.5) * step, dtype=np.float64)
    b, s = (step * density for density in toy_densities(signal, x))
    t = ideal_t(size * b, size * b + events * s)
    z: dict[str, list[float]] = {"default": [], "network": []}
    few = 39  # of the network's redraws: medians alone are told
    for number in range(toys):
        points, y = draw_toy(rng, signal, events, size)
        labels = make_labels(y)
        pool = make_pool(points, labels, DEFAULT)
        drawn = redraw_pool(pool, redraws, seed=seed_of_part(seed, number))
        # Beyond the redraws' reach by the closed law, where they confirm it.
        z["default"].append(_z(judge_pool(pool, "default", drawn)["significance"]["p"]))
        if network and size <= 2_000:
            grouped = group_events(points, labels)
            many = (rng.random((labels.n, few)) < labels.share[:, None]).astype(float)
            every = np.concatenate([y[:, None], many], axis=1)
            values = NetworkTest(grouped).fit(grouped.sums(every)).t
            z["network"].append(_z(own_p_values(values[0], values[1:])[0]))
    return {
        "signal": signal, "events": events, "background": size, "t_ideal": t,
        "z_known_background": known_background_z(size * b, events * s), "z_ideal": ideal_z(t),
        "z_known_shape": float(np.sqrt(t)), "paper": PAPER.get((signal, events)),
        **{name: _median(values) for name, values in z.items() if values},
    }  # fmt: skip


def _z(p: float) -> float:
    return float(norm.isf(min(p, 1 - 1e-9)))


def _median(values: Sequence[float]) -> Spec:
    spread = 1.2533 * float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return {"median_z": float(np.median(values)), "error": float(spread)}


def _permutation(
    rng: np.random.Generator, where: str, size: int, toys: int, redraws: int, seed: int
) -> Spec:
    """Return how often p < .05 without a signal, efficiencies differing by 20 % at low pT."""
    rates: dict[str, list[float]] = {"redraws": [], "permutation": []}
    for number in range(4 * toys):
        n = rng.poisson(size)
        pt = 20 + rng.exponential(30.0, n)
        points: AnyArray = np.stack([rng.normal(90.0, 20.0, n), pt], axis=1)
        ratio = DIFFERENCES[where](pt)
        y = rng.random(n) < ratio / (1 + ratio)
        for name, r in (("redraws", ratio), ("permutation", np.ones(n))):
            pool = make_pool(points, make_labels(y, r), ("kernel",))
            drawn = redraw_pool(pool, redraws, seed=seed_of_part(seed, number))
            rates[name].append(count_redraws(float(pool.observed[0, 0]), drawn[0, 0]).p)
    out: dict[str, Any] = {name: float(np.mean(np.array(p) < 0.05)) for name, p in rates.items()}
    return {"events": size, "experiments": 4 * toys, "difference": 0.2, "where": where, **out}
