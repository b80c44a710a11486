"""The reference study: Birman et al., Eur. Phys. J. C 82 (2022) 508, with certified fits.

Null toys: A and B ~ Poisson(T). Signal toys: the same A, and B + mu S, a deterministic shift that
is no integer, with mu from Eq. 10 at Z_L1 = 5. L1 compares B with T, L2 and N_sigma compare it
with A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, Numbers, Places
from ddphf.compute.streams import seed_of_part
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.inference.toys.blocks import Block, draw_block, map_toys
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.results.birman import BirmanResult, SetupResult, StatisticResult
from ddphf.results.provenance import make_provenance
from ddphf.search.trials import global_p_value
from ddphf.statistics.n_sigma import n_sigma_terms
from ddphf.statistics.roc import make_roc
from ddphf.statistics.signed import signed_z
from ddphf.statistics.tails import FAILED, refuse_failures
from ddphf.statistics.windows import (
    BestWindow,
    Window,
    all_squares,
    centred_windows,
    find_best_window,
)
from ddphf.studies.birman_setups import (
    Z_INJECTED,
    Models,
    Setup,
    build_models,
    flat_setups,
)
from ddphf.studies.birman_table import make_table

__all__ = ["run_study"]

NAMES = ("L1", "L2", "N_sigma window", "N_sigma all")
INJECTED_Z = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
CURVE_PART = 20
"""One toy in this many is fitted at every strength of ``INJECTED_Z``."""

GLOBAL_SAMPLES = 4000
HISTOGRAM_BINS = 60


@dataclass(frozen=True)
class _Plan:
    """What every chunk of toys of one set-up needs.

    Attributes:
        models: Both likelihoods.
        fit_known: Fits blocks of B with L1.
        fit_pair: Fits blocks of (A, B) with L2.
        windows: Rows are windows: the stated one, all bins, then growing ones; columns bins.
        strengths: mu of the injected strengths.
        n_curve: Toys that are fitted at every strength.
        where: Columns of A and B in the pair's data.
    """

    models: Models
    fit_known: ToyFitter
    fit_pair: ToyFitter
    windows: Array
    strengths: Array
    n_curve: int
    where: tuple[slice, slice]


def run_study(
    *,
    toys: int,
    seed: int,
    sample: Setup | None = None,
    setups: list[Setup] | None = None,
    window: int = 6,
    work: Work = HERE,
) -> BirmanResult:
    """Run the study.

    Args:
        toys: Per ensemble and set-up.
        seed: Of the toys; set-up i takes the stream (seed, i).
        sample: A simulated sample to run beside the flat backgrounds.
        setups: Instead of the four flat ones.
        window: Bins along each axis of the window whose N_sigma is followed.
        work: Where toys are drawn and fitted, on threads by default; counts toys.

    Raises:
        InputError: No toys, or a window larger than a histogram.
        ModelError: A set-up is refused.
        FitError: More than one toy in a thousand failed.

    Example:
        >>> run_study(toys=0, seed=1)
        Traceback (most recent call last):
            ...
        ddphf.exceptions.InputError: 0 toys, expected 2 or more: an ensemble needs a spread
    """
    if toys < 2:
        raise InputError(f"{toys} toys, expected 2 or more: an ensemble needs a spread")
    chosen = flat_setups() if setups is None else list(setups)
    if sample is not None:
        chosen.append(sample)
    for setup in chosen:
        Window((0,) * setup.background.ndim, (window,) * setup.background.ndim).check(
            setup.background.shape
        )
    results = []
    for index, setup in enumerate(chosen):
        work.say(f"{setup.title}: workspaces")
        part = work.part(index * toys, len(chosen) * toys)
        results.append(_run_setup(setup, toys, seed_of_part(seed, index), window, part))
    return BirmanResult(
        toys=toys,
        seed=seed,
        setups=tuple(results),
        table=make_table(results),
        provenance=make_provenance(),
    )


def _run_setup(setup: Setup, toys: int, seed: int, side: int, work: Work) -> SetupResult:
    models = build_models(setup)
    t, s, shape = setup.background, models.signal, setup.background.shape
    asimov = n_sigma_terms(t + s, t, form="published")
    chosen = find_best_window(asimov, [(side,) * t.ndim])
    best = find_best_window(asimov, all_squares(shape))
    start, size = chosen.window.start, chosen.window.size
    centre = [a + k / 2 for a, k in zip(start, size, strict=True)]
    sizes = sorted({*range(2, min(shape) + 1, 2), side})
    growing = centred_windows(shape, sizes, centre=centre)
    whole = Window((0,) * t.ndim, shape)
    windows = np.stack([_row(shape, w) for w in (chosen.window, whole, *growing)])
    strengths = np.array([models.known.solve(z) for z in INJECTED_Z])
    pair_slices = models.pair.fitter.reference.channel_slices
    plan = _Plan(
        models=models,
        fit_known=ToyFitter(models.known.source(0.0)),
        fit_pair=ToyFitter(models.pair.source(0.0)),
        windows=windows,
        strengths=strengths,
        n_curve=min(toys, max(toys // CURVE_PART, 50)),
        where=(pair_slices["CR_A"], pair_slices["SR_B"]),
    )
    settings = {"plan": plan, "source": models.pair.source(0.0), "seed": seed}
    function = "ddphf.studies.birman:StudyToys"
    pieces = list(map_toys(function, settings, np.arange(toys), work=work))
    values = np.concatenate([p.values for p in pieces], axis=1)
    curve = np.concatenate([p.curve for p in pieces], axis=1)
    bands = np.concatenate([p.windows for p in pieces], axis=1)
    failed = np.sum([p.failed for p in pieces], axis=0)
    so = "their distribution would mean nothing"
    refuse_failures(int(failed.max()), 2 * toys, setup.title, so)
    quantiles = np.quantile(bands, SetupResult.BAND_QUANTILES, axis=1)  # (5, windows, 2)
    asimov_at = _asimov_values(plan, t, strengths)
    asimov_five = _asimov_values(plan, t, np.array([1.0]))[:, 0]
    found = global_p_value(
        chosen.n_sigma, shape, [size], n_samples=GLOBAL_SAMPLES, seed=seed % 2**31
    )
    assert found.p is not None  # it is above the local p
    assert found.error is not None
    inside = chosen.window.slices
    return SetupResult(
        name=setup.name,
        title=setup.title,
        axes=tuple(
            {"label": a.label or a.name, "unit": a.unit, "edges": list(a.edges)} for a in setup.axes
        ),
        background=_numbers(t),
        signal=_numbers(s),
        mu_known=float(s.sum()),
        mu_pair=models.pair.solve(Z_INJECTED) * float(s.sum()),
        window_start=start,
        window_size=size,
        window_fraction=float(s[inside].sum() / t[inside].sum()),
        signal_fraction=float(s.sum() / t.sum()),
        **_best(best),
        global_p=found.p,
        global_p_error=found.error,
        window_sizes=tuple(sizes),
        window_asimov=_numbers(windows[2:] @ asimov.ravel()),
        window_bands=tuple(_numbers(row) for row in quantiles[:, :, 1]),
        window_null_bands=tuple(_numbers(row) for row in quantiles[:, :, 0]),
        injected_z=INJECTED_Z,
        statistics=tuple(
            _summarize(
                name, float(asimov_five[i]), values[i], int(failed[i]), asimov_at[i], curve[i]
            )
            for i, name in enumerate(NAMES)
        ),
    )


@dataclass(frozen=True)
class _Piece:
    """A chunk of toys.

    Attributes:
        values: Shape (statistics, toys, 2): null and signal; NaN where failed.
        curve: Shape (statistics, toys of the curve, strengths).
        windows: N_sigma, shape (windows, toys, 2).
        failed: Toys without a certificate per statistic, in both ensembles together.
    """

    values: Array
    curve: Array
    windows: Array
    failed: AnyArray


class StudyToys:
    """The work of one set-up.

    Args:
        plan: What every block needs.
        source: Where toys are drawn from.
        seed: Their seed.
    """

    def __init__(self, plan: _Plan, source: ToySource, seed: int) -> None:
        self.plan, self.source, self.seed = plan, source, seed

    def __call__(self, numbers: AnyArray) -> _Piece:
        """Draw and fit wanted toys of one block."""
        return _fit_block(self.plan, numbers, draw_block(self.source, self.seed, numbers))


def _fit_block(plan: _Plan, numbers: AnyArray, block: Block) -> _Piece:
    null, failed_null = _statistics(plan, block, 0.0)
    signal, failed_signal = _statistics(plan, block, 1.0)
    n_curve = int(np.sum(numbers < plan.n_curve))
    curve = np.empty((len(NAMES), n_curve, len(plan.strengths)))
    for j, mu in enumerate(plan.strengths if n_curve else ()):
        # The block keeps its size, and with it its compilation.
        fewer = replace(block, rows=block.rows[:n_curve])
        curve[:, :, j] = _statistics(plan, fewer, float(mu))[0][: len(NAMES)]
    both = np.stack([null, signal], axis=-1)
    return _Piece(
        values=both[: len(NAMES)],
        curve=curve,
        windows=both[len(NAMES) :],
        failed=failed_null + failed_signal,
    )


def _statistics(plan: _Plan, block: Block, mu: float) -> tuple[Array, AnyArray]:
    """Return Z_L1, Z_L2 and every N_sigma of toys with mu S added, and what failed."""
    (a, b), rows = plan.where, block.rows
    data = block.data.copy()
    data[:, b] += mu * plan.models.signal.ravel()
    z, failed = [], np.zeros(len(NAMES), dtype=int)
    for i, (fitter, some) in enumerate(((plan.fit_known, data[:, b]), (plan.fit_pair, data))):
        q0, _, status, _ = fitter.fit(some, block.n)
        failed[i] = np.sum(status[rows] == FAILED)
        z.append(signed_z(q0[rows]))
    terms = n_sigma_terms(data[rows, b], data[rows, a], form="published")
    return np.concatenate([np.stack(z), plan.windows @ terms.T]), failed


def _asimov_values(plan: _Plan, background: Array, strengths: Array) -> Array:
    """Return every statistic on Asimov data, shape (statistics, strengths)."""
    out = np.empty((len(NAMES), len(strengths)))
    for j, mu in enumerate(strengths):
        shifted = background + mu * plan.models.signal
        terms = n_sigma_terms(shifted, background, form="published").ravel()
        out[:, j] = (
            plan.models.known.asimov_z(float(mu)),
            plan.models.pair.asimov_z(float(mu)),
            *(plan.windows[:2] @ terms),
        )
    return out


def _summarize(
    name: str, asimov: float, values: Array, failed: int, asimov_at: Array, curve: Array
) -> StatisticResult:
    # A draw counts in both ensembles or in none: its two values belong together.
    null, signal = values[np.all(np.isfinite(values), axis=1)].T
    edges = np.linspace(
        np.floor(min(null.min(), signal.min())), np.ceil(max(null.max(), signal.max())),
        HISTOGRAM_BINS + 1,
    )  # fmt: skip
    roc = make_roc(null, signal, paired=True)
    return StatisticResult(
        name=name,
        asimov=asimov,
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)),
        signal_mean=float(signal.mean()),
        signal_sd=float(signal.std(ddof=1)),
        n=len(values),
        n_failed=failed,
        edges=_numbers(edges),
        null_counts=_numbers(np.histogram(null, edges)[0]),
        signal_counts=_numbers(np.histogram(signal, edges)[0]),
        roc_background=roc.background,
        roc_signal=roc.signal,
        auc=roc.auc,
        auc_error=roc.auc_error,
        auc_gaussian=float(norm.cdf(asimov / np.sqrt(2))),
        injected_asimov=_numbers(asimov_at),
        injected_mean=_numbers(np.nanmean(curve, axis=0)),
        injected_sd=_numbers(np.nanstd(curve, axis=0, ddof=1)),
    )


def _row(shape: Places, window: Window) -> Array:
    """Return the weights that make N_sigma of a window of the bins' terms."""
    mask = np.zeros(shape)
    mask[window.slices] = 1.0 / np.sqrt(np.prod(window.size))
    return mask.ravel()


def _best(best: BestWindow) -> dict[str, Any]:
    return {
        "best_start": best.window.start,
        "best_size": best.window.size,
        "best_n_sigma": best.n_sigma,
    }


def _numbers(values: Any) -> Numbers:
    return tuple(float(x) for x in np.ravel(values))
