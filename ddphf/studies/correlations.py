"""What a wrong correlation assumption does: pull widths for every truth and every model.

Data vary with the covariance C(rho_toy), the model assumes C(rho_model): a pull width above 1 says
that the model's errors are too small. Source: Feichtinger, Belle II pyhf talk; closed form derived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from ddphf.arrays import Array, Rows, Spec
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import ModelError
from ddphf.likelihood.batch import BLOCK, minimize_batch
from ddphf.likelihood.cache import CACHE
from ddphf.likelihood.compiled import CompiledModel
from ddphf.results.correlations import CorrelationResult
from ddphf.statistics.tails import FAILED, refuse_failures

__all__ = ["RHOS", "Comparing", "advise", "closed_widths", "compare_widths", "toy_widths"]

IRRELEVANT = 0.005
"""Pull widths this close to 1 everywhere: the assumption does not matter."""

RHOS = (0.0, 0.25, 0.5, 0.75, 1.0)

DRAWN_NUMBERS = 2_000_000
"""Bins times nuisances times toys that are drawn at once: bounds the memory."""

FITTED_NUMBERS = 400_000
"""Bins times nuisances times fits of one compiled call: what stays in a processor's cache."""

LEAST_FITS, MOST_FITS = 16, 1000


def closed_widths(design: Array, variance: Array, factors: Sequence[Array]) -> Array:
    """Return the pull widths of the linear model y = design x POI + noise.

    V = diag(variance) + F F^T, s2 = 1 / (d^T V_model^-1 d), w = s2 V_model^-1 d,
    width = sqrt(w^T V_toy w / s2), all by Woodbury's identity: nothing of size M x M.

    Args:
        design: dy/dPOI, shape (M,).
        variance: Uncorrelated variance of y, shape (M,).
        factors: F of every correlation assumption, each of shape (M, k).

    Returns:
        Shape (n, n), rows the data's assumption, columns the model's.

    Example:
        >>> import numpy as np
        >>> widths = closed_widths(np.ones(2), np.ones(2), [np.zeros((2, 1)), np.ones((2, 1))])
        >>> round(float(widths[1, 0] ** 2), 12)
        3.0
    """
    out = np.empty((len(factors), len(factors)))
    for column, model in enumerate(factors):
        scaled = model / variance[:, None]
        inner = np.eye(model.shape[1]) + model.T @ scaled
        solved = design / variance - scaled @ np.linalg.solve(inner, scaled.T @ design)
        s2 = 1.0 / float(design @ solved)
        weights = s2 * solved
        for row, toy in enumerate(factors):
            spread = float(weights @ (variance * weights)) + float(np.sum((toy.T @ weights) ** 2))
            out[row, column] = np.sqrt(spread / s2)
    return out


def toy_widths(
    models: Sequence[CompiledModel],
    *,
    n_toys: int,
    seed: int,
    work: Work = HERE,
) -> tuple[Array, Array, int]:
    """Return pull widths by toys, their standard errors, and the number of failed fits.

    Row i draws nuisances from the constraints of model i and counts from its expectation; auxiliary
    data stay nominal. Every model then fits the same counts; its pull is (estimate - start) over
    its error.

    Args:
        models: One per correlation assumption, with the same bins. Each starts at the truth: the
            parameter of interest at its null value, everything else at its nominal one.
        n_toys: Per row.
        seed: Toys of row i come from the stream (seed, i).
        work: Where the cells of the table are done, on threads by default; counts fits.

    Returns:
        Widths and errors, each of shape (n, n), rows the data's assumption; failed fits.

    Raises:
        ModelError: Too few toys, or a model without a free parameter of interest.
        FitError: More than one fit in a thousand has no certificate.
    """
    if n_toys < 2:
        raise ModelError(f"toys: got {n_toys}, expected 2 or more: a width needs a spread")
    n, failed = len(models), 0
    work = work.of(n_toys)
    if work.count is not None:
        work.count(0, n * n)
    settings = {"models": list(models), "n_toys": n_toys, "seed": seed}
    task = Task("ddphf.studies.correlations:Pulls", settings, begin=CACHE)
    widths, errors = np.empty((n, n)), np.empty((n, n))
    pieces = run_blocks(task, range(n * n), runner=work.runner, progress=work.count)
    for cell, found in enumerate(pieces):
        row, column = divmod(cell, n)
        good = found[np.isfinite(found)]
        failed += n_toys - len(good)
        what = f"data row {row}, model {column}"
        so = "are there bins with few events? merge them"
        refuse_failures(n_toys - len(good), n_toys, what, so)
        widths[row, column] = np.std(good, ddof=1)
        # Of a standard deviation, with the measured fourth moment: pulls need not be Gaussian.
        centred = good - good.mean()
        excess = np.mean(centred**4) / np.mean(centred**2) ** 2 - 1
        errors[row, column] = widths[row, column] * np.sqrt(excess / (4 * len(good)))
    return widths, errors, failed


class Comparing(TypedDict, total=False):
    """The keywords of every study of correlations.

    Attributes:
        n_toys: Per rho; 0, the default, for the closed form alone.
        seed: Of the toys; 0.
        work: Where toys are fitted, on threads by default; counts fits.
    """

    n_toys: int
    seed: int
    work: Work


def compare_widths(
    rho: Sequence[float], closed: Array, models: Callable[[], Sequence[CompiledModel]], poi: str, *,
    provenance: Spec, uncorrelated: float = 0.0, n_toys: int = 0, seed: int = 0, work: Work = HERE,
) -> CorrelationResult:  # fmt: skip
    """Return the record of a study: its closed form, toys where any are wanted, and its advice.

    Args:
        rho: Correlations that are compared.
        closed: Pull widths, of :func:`closed_widths`.
        models: Returns what toys are fitted with; called where there are toys.
        poi: Whose pulls.
        provenance: For the record.
        uncorrelated: Relative error per bin that was added.
        n_toys: As in :class:`Comparing`, and so on.
        seed: The same.
        work: The same.
    """
    best, advice = advise(rho, closed)
    toys = errors = None
    failed = 0
    if n_toys:
        toys, errors, failed = toy_widths(models(), n_toys=n_toys, seed=seed, work=work)

    def rows(table: Array) -> Rows:
        return tuple(tuple(float(x) for x in row) for row in table)

    return CorrelationResult(
        rho=tuple(map(float, rho)),
        poi=poi,
        closed=rows(closed),
        toys=None if toys is None else rows(toys),
        toy_errors=None if errors is None else rows(errors),
        n_toys=n_toys,
        n_failed=failed,
        seed=seed if n_toys else None,
        uncorrelated=uncorrelated,
        conservative=best,
        advice=advice,
        provenance=provenance,
    )


class Pulls:
    """The work of :func:`toy_widths`: called with the number of a cell, it returns its pulls.

    The cells of a row draw the same toys, each for itself: that is a hundredth of the fits.
    """

    def __init__(self, models: Sequence[CompiledModel], n_toys: int, seed: int) -> None:
        self.models, self.n_toys, self.seed = models, n_toys, seed
        numbers = max(model.n_main * len(model.global_names()) for model in models)
        self.size = min(n_toys, MOST_FITS, max(BLOCK, DRAWN_NUMBERS // numbers))
        self.block = min(self.size, max(LEAST_FITS, FITTED_NUMBERS // numbers))

    def __call__(self, cell: int) -> Array:
        """Return the pulls of a model in toys of another, NaN where a fit failed; (n_toys,)."""
        row, column = divmod(cell, len(self.models))
        rng = generator(self.seed, row)
        parts = []
        for start in range(0, self.n_toys, self.size):
            counts = _draw(self.models[row], min(self.size, self.n_toys - start), rng)
            parts.append(_pulls(self.models[column], counts, self.block))
        return np.concatenate(parts)


def _draw(model: CompiledModel, n: int, rng: np.random.Generator) -> Array:
    """Draw nuisances, then counts, shape (n, n_main)."""
    constraints, table = model.expansion.constraints, model.parameters
    points = np.tile(table.init, (n, 1))
    for index, sigma in zip(constraints.normal_parameter, constraints.normal_sigma, strict=True):
        if not table.fixed[index]:
            points[:, index] += sigma * rng.standard_normal(n)
    for index, tau in zip(constraints.poisson_parameter, constraints.poisson_tau, strict=True):
        if not table.fixed[index]:
            points[:, index] = rng.gamma(tau, 1 / tau, n)  # mean 1, variance 1 / tau, positive
    return np.asarray(rng.poisson(np.maximum(model.rates(points), 0.0)), dtype=float)


def _pulls(model: CompiledModel, counts: Array, block: int) -> Array:
    """Fit counts, shape (n, n_main), with nominal auxiliary data; NaN where a fit failed."""
    poi = model.parameters.poi
    if poi is None or model.parameters.fixed[poi]:
        raise ModelError("the measurement has no free parameter of interest, so there is no pull")
    auxiliary = np.tile(model.data[model.n_main :], (len(counts), 1))
    fits = minimize_batch(model, np.hstack([counts, auxiliary]), block=block)
    place = list(fits.names).index(model.parameters.names[poi])
    value, error = fits.parameters[:, place], fits.errors[:, place]
    good = (fits.status != FAILED) & (error > 0)
    pulls = (value - model.parameters.init[poi]) / np.where(good, error, 1.0)
    return np.where(good, pulls, np.nan)


def advise(rho: Sequence[float], widths: Array) -> tuple[float | None, str]:
    """Return the conservative rho: no width above 1 whatever the truth, and closest to 1.

    Example:
        >>> import numpy as np
        >>> advise([0.0, 1.0], np.array([[1.0, 0.97], [1.9, 1.0]]))[0]
        1.0
    """
    worst = widths.max(axis=0)
    if np.all(np.abs(widths - 1) <= IRRELEVANT):
        reach = float(np.max(np.abs(widths - 1)))
        best = int(np.argmin(worst))
        return float(rho[best]), (
            f"the correlation does not matter here: no pull is further than {reach:.2g} from 1"
        )
    safe = np.flatnonzero(worst <= 1 + 1e-9)
    if safe.size:
        best = int(safe[np.argmax(widths[:, safe].min(axis=0))])
        low = float(widths[:, best].min())
        return float(rho[best]), (
            f"rho = {rho[best]:g} is conservative: no pull is wider than 1 whatever the true rho, "
            f"and none is narrower than {low:.3f}"
        )
    best = int(np.argmin(worst))
    return None, (
        f"no assumption is conservative; least bad is rho = {rho[best]:g}, whose pulls are up to "
        f"{worst[best]:.3f} wide"
    )
