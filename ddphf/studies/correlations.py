"""What a wrong correlation assumption does: pull widths for every truth and every model.

Data vary with the covariance C(rho_toy), the model assumes C(rho_model): a pull width above 1 says
that the model's errors are too small. Source: Feichtinger, Belle II pyhf talk; closed form derived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ddphf.exceptions import ModelError
from ddphf.inputs.histogram import Array
from ddphf.studies.pair_fits import PairFits, ShapedPair, fit_pairs

__all__ = ["RHOS", "CorrelationResult", "closed_widths", "study_correlations", "toy_widths"]

IRRELEVANT = 0.005
"""Pull widths this close to 1 everywhere: the assumption does not matter."""

RHOS = (0.0, 0.25, 0.5, 0.75, 1.0)

FitMany = Callable[[ShapedPair, Array, Array], PairFits]


@dataclass(frozen=True)
class CorrelationResult:
    """Pull widths, rows rho of the data, columns rho of the model.

    Attributes:
        rho: The correlations, in order.
        poi: ``"mu"`` or ``"ratio"``.
        closed: By the closed form.
        toys: By fits of toys, or None.
        toy_errors: Their standard errors, or None.
        n_toys: Per row.
        seed: Of the toys.
        conservative: The rho to assume where the true one is unknown, or None where no column
            covers every row.
        advice: The same in a sentence.
        provenance: Versions.
    """

    rho: tuple[float, ...]
    poi: str
    closed: tuple[tuple[float, ...], ...]
    toys: tuple[tuple[float, ...], ...] | None
    toy_errors: tuple[tuple[float, ...], ...] | None
    n_toys: int
    seed: int | None
    conservative: float | None
    advice: str
    provenance: dict[str, Any]

    SCHEMA = "ddphf/correlations/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            **{key: value for key, value in asdict(self).items() if value is not None},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CorrelationResult:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: Another schema.
        """
        if data.get("schema") != cls.SCHEMA:
            raise ValueError(f"expected schema '{cls.SCHEMA}', got {data.get('schema')!r}")

        def table(key: str) -> Any:
            rows = data.get(key)
            return None if rows is None else tuple(tuple(row) for row in rows)

        return cls(
            rho=tuple(data["rho"]),
            poi=data["poi"],
            closed=table("closed"),
            toys=table("toys"),
            toy_errors=table("toy_errors"),
            n_toys=data["n_toys"],
            seed=data.get("seed"),
            conservative=data.get("conservative"),
            advice=data["advice"],
            provenance=data["provenance"],
        )


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
    models: Sequence[ShapedPair], *, n_toys: int, seed: int, fit: FitMany = fit_pairs
) -> tuple[Array, Array]:
    """Return pull widths by toys, and their standard errors.

    Row i draws nuisances from the constraints of model i and counts from its expectation; auxiliary
    data stay nominal. Every model then fits the same counts.

    Args:
        models: One per correlation assumption, else equal.
        n_toys: Per row.
        seed: Toys of row i come from the stream (seed, i).
        fit: Fits many data sets at once.

    Returns:
        Widths and errors, each of shape (n, n), rows the data's assumption.
    """
    if n_toys < 2:
        raise ModelError(f"{n_toys} toys, expected 2 or more: a width needs a spread")
    widths, errors = np.empty((len(models), len(models))), np.empty((len(models), len(models)))
    for row, truth in enumerate(models):
        rng = np.random.default_rng([seed, row])
        tested, partner = _draw(truth, n_toys, rng)
        for column, model in enumerate(models):
            pulls = fit(model, tested, partner).pulls(model.nominal)
            widths[row, column] = np.std(pulls, ddof=1)
            # Of a standard deviation, with the measured fourth moment: pulls need not be Gaussian.
            centred = pulls - pulls.mean()
            excess = np.mean(centred**4) / np.mean(centred**2) ** 2 - 1
            errors[row, column] = widths[row, column] * np.sqrt(excess / (4 * len(pulls)))
    return widths, errors


def _draw(model: ShapedPair, n_toys: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw counts of the model without a signal, in chunks of bounded memory."""
    size, step = len(model.background), 2000
    tested, partner = np.empty((n_toys, size)), np.empty((n_toys, size))
    for start in range(0, n_toys, step):
        part = slice(start, min(start + step, n_toys))
        a = rng.standard_normal((part.stop - start, model.shapes_tested.shape[1]))
        rate_b = model.ratio * model.background * (1 + a @ model.shapes_tested.T)
        rate_a = model.background * (1 + a @ model.shapes_partner.T)
        tested[part] = rng.poisson(np.maximum(rate_b + model.fakes_tested, 0.0))
        partner[part] = rng.poisson(np.maximum(rate_a + model.fakes_partner, 0.0))
    return tested, partner


def linear_model(model: ShapedPair) -> tuple[Array, Array, Array]:
    """Return design, variance and factor of the contrast y = B - slope A around the nominal model.

    The shared background drops out of y exactly: its variance is lambda_B + r^2 lambda_A.
    """
    b, r = model.background, model.ratio
    variance = r * b + model.fakes_tested + r**2 * (b + model.fakes_partner)
    factor = (r * b)[:, None] * (model.shapes_tested - model.shapes_partner)
    if model.poi == "ratio":
        return r * b, variance, factor
    return np.asarray(model.signal_tested - r * model.signal_partner), variance, factor


def study_correlations(
    model: ShapedPair,
    shapes: Sequence[tuple[Array, Array]],
    *,
    rho: Sequence[float] = RHOS,
    n_toys: int = 0,
    seed: int = 0,
    provenance: dict[str, Any] | None = None,
    fit: FitMany = fit_pairs,
) -> CorrelationResult:
    """Compare correlation assumptions.

    Args:
        model: The pair; its shapes are replaced.
        shapes: Per rho G_B and G_A, each of shape (M, k).
        rho: The correlations that ``shapes`` stand for.
        n_toys: Per rho; 0 for the closed form alone.
        seed: Of the toys.
        provenance: Versions, for the record.
        fit: Fits many data sets at once.
    """
    models = [replace(model, shapes_tested=b, shapes_partner=a) for b, a in shapes]
    linear = [linear_model(m) for m in models]
    closed = closed_widths(linear[0][0], linear[0][1], [factor for _, _, factor in linear])
    toys = errors = None
    if n_toys:
        toys, errors = toy_widths(models, n_toys=n_toys, seed=seed, fit=fit)
    best, advice = advise(rho, closed)

    def rows(table: Array | None) -> tuple[tuple[float, ...], ...] | None:
        return None if table is None else tuple(tuple(float(x) for x in row) for row in table)

    return CorrelationResult(
        rho=tuple(map(float, rho)),
        poi=model.poi,
        closed=rows(closed) or (),
        toys=rows(toys),
        toy_errors=rows(errors),
        n_toys=n_toys,
        seed=seed if n_toys else None,
        conservative=best,
        advice=advice,
        provenance=provenance if provenance is not None else {},
    )


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
        f"no rho covers every truth; rho = {rho[best]:g} is off the least, its pulls are up to "
        f"{worst[best]:.3f} wide"
    )
