"""Likelihood, gradient, information and Newton step of very many penalised Poisson models."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.bumps.bands import Factors, factorize, solve
from ddphf.bumps.designs import Design
from ddphf.bumps.links import Rates, evaluate, evaluate_wall

__all__ = ["Models", "Problem", "State", "evaluate_items", "information"]

TRUSTED = 0.2
"""Part of the expected information of mu below which the observed one makes no step."""

CURVED = 0.1
"""Part of the expected information that an empty bin has where the observed one makes no step."""


@dataclass(frozen=True, eq=False)
class Models:
    """A batch of models: item i has the design ``group[i]``.

    Attributes:
        designs: One per group; all with as many bins and columns.
        group: Of each item, not decreasing, shape (N,).
        strength: Of the penalty, shape (N,).
    """

    designs: tuple[Design, ...]
    group: IntArray
    strength: Array

    def take(self, items: IntArray) -> Models:
        """Return some of the models."""
        return Models(self.designs, self.group[items], self.strength[items])

    @property
    def diagonals(self) -> int:
        """Of the information of a model's coefficients."""
        return 1 + max(design.reach for design in self.designs)

    def groups(self) -> list[tuple[int, slice]]:
        """Return the designs that items have, and where these stand."""
        ends = np.searchsorted(self.group, np.arange(len(self.designs) + 1))
        pairs = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        return [(g, slice(a, b)) for g, (a, b) in enumerate(pairs) if b > a]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is fitted.

    Attributes:
        models: N models.
        counts: Observed, shape (N, n).
        template: Part of a signal in each bin, shape (N, n); None for no signal.
    """

    models: Models
    counts: Array
    template: Array | None

    def take(self, items: IntArray) -> Problem:
        """Return some of the items, in a rising order."""
        some = None if self.template is None else self.template[items]
        return Problem(self.models.take(items), self.counts[items], some)


@dataclass(frozen=True, eq=False)
class State:
    """A point of each item, and what its step is made of; the arrays are its own.

    Attributes:
        theta: Coefficients, shape (N, p).
        mu: Signal events, shape (N,).
        nll: Negative log-likelihood with its penalty.
        size: Sum of the absolute values of its terms.
        edm: Estimated distance from the minimum in 2NLL; infinite where there is no step.
        step_theta: Newton step.
        step_mu: Newton step.
        left_of_mu: Information of mu, coefficients profiled.
        free: Log-determinant of the information of the free directions.
        factors: Of the information of the coefficients.
    """

    theta: Array
    mu: Array
    nll: Array
    size: Array
    edm: Array
    step_theta: Array
    step_mu: Array
    left_of_mu: Array
    free: Array
    factors: Factors

    @staticmethod
    def join(states: list[State]) -> State:
        """Return the items of several states."""
        names = [one.name for one in fields(State) if one.name != "factors"]
        joined = {name: np.concatenate([getattr(s, name) for s in states]) for name in names}
        lower = np.concatenate([s.factors.lower for s in states], axis=-1)
        pivots = np.concatenate([s.factors.pivots for s in states], axis=-1)
        return State(**joined, factors=Factors(lower, pivots))

    def put(self, items: IntArray, other: State, which: IntArray | slice = slice(None)) -> None:
        """Put items of another state in the place of these."""
        for one in fields(self):
            if one.name != "factors":
                getattr(self, one.name)[items] = getattr(other, one.name)[which]
        for own, new in zip(self.factors, other.factors, strict=True):
            own[..., items] = new[..., which]


def evaluate_items(problem: Problem, theta: Array, mu: Array) -> State:
    """Evaluate every item; where the information is that of no minimum, by its positive part.

    Args:
        problem: N items.
        theta: Coefficients, shape (N, p).
        mu: Signal events, shape (N,).
    """
    state = _newton(problem, theta, mu, careful=False)
    bad = np.flatnonzero(~np.isfinite(state.edm))
    if bad.size:
        state.put(bad, _newton(problem.take(bad), theta[bad], mu[bad], careful=True))
    return state


def information(design: Design, weight: Array, strength: Array, diagonals: int) -> Array:
    """Return X^T W X + strength P as diagonals, shape (diagonals, p, N)."""
    flat = weight @ design.products
    flat += strength[:, None] * design.penalty.ravel()
    band = np.ascontiguousarray(flat.T).reshape(*design.penalty.shape, len(weight))
    return np.pad(band, ((0, diagonals - len(band)), (0, 0), (0, 0)))


def _newton(problem: Problem, theta: Array, mu: Array, *, careful: bool) -> State:
    """Evaluate likelihood, gradient, information, and the Newton step of every item."""
    models, template = problem.models, problem.template
    band, gradient, cross = [], [], []
    nll, size, g_mu, h_mu, f_mu, free = (np.zeros(len(theta)) for _ in range(6))
    for g, part in models.groups():
        design, n, strength = models.designs[g], problem.counts[part], models.strength[part]
        x, t = design.columns, None if template is None else template[part]
        rates = evaluate(design.link, theta[part] @ x.T + design.offset)
        signal = np.zeros_like(rates.b) if t is None else mu[part, None] * t
        r = rates.b + signal
        logs = n * np.log(r)
        slope = 1 - n / r
        curve, left = n / r**2, slope
        if careful:
            curve, left = np.maximum(curve, CURVED / r), np.maximum(left, 0.0)
        differences = theta[part] @ design.differences.T
        cost = 0.5 * strength * np.einsum("ij,ij->i", differences, differences)
        rough = strength[:, None] * (differences @ design.differences)
        e, ee = slope * rates.first, curve * rates.first**2 + left * rates.second
        if t is not None:
            s, ss, es = slope, curve, curve * rates.first
            low = np.flatnonzero(mu[part] < 0)
            if low.size:
                wall = evaluate_wall(Rates(*(rate[low] for rate in rates)), signal[low])
                cost[low] += wall.cost.sum(axis=1)
                s, ss = slope.copy(), np.array(curve)
                for values, more in zip((e, s, ee, es, ss), wall[1:], strict=True):
                    values[low] += more
            g_mu[part] = np.einsum("ij,ij->i", t, s)
            h_mu[part] = np.einsum("ij,ij->i", t * t, ss)
            f_mu[part] = np.einsum("ij,ij->i", t * t, 1 / r)
            cross.append((t * es) @ x)
        nll[part] = (r - logs).sum(axis=1) + cost
        size[part] = np.abs(r).sum(axis=1) + np.abs(logs).sum(axis=1) + cost
        gradient.append(e @ x + rough)
        band.append(information(design, ee, strength, models.diagonals))
        k = design.free.shape[1]
        small = (ee @ design.free_products).reshape(len(n), k, k)
        free[part] = np.linalg.slogdet(small)[1]
    factors = factorize(np.concatenate(band, axis=2))
    down = np.concatenate(gradient).T
    if template is None:
        step = -solve(factors, down[:, None])[:, 0]
        edm = -np.einsum("pi,pi->i", step, down)
        step_mu, left_of_mu = np.zeros_like(mu), np.full(len(mu), np.nan)
    else:
        side = np.concatenate(cross).T
        found = solve(factors, np.stack([down, side], axis=1))
        left_of_mu = h_mu - np.einsum("pi,pi->i", side, found[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            step_mu = -(g_mu - np.einsum("pi,pi->i", side, found[:, 0])) / left_of_mu
        step = -found[:, 0] - found[:, 1] * step_mu
        edm = -np.einsum("pi,pi->i", step, down) - step_mu * g_mu
        edm = np.where((left_of_mu > 0) & (careful | (h_mu > TRUSTED * f_mu)), edm, np.inf)
    fine = np.all(factors.pivots > 0, axis=0) & (edm >= 0)
    edm = np.where(fine, edm, np.inf)
    return State(theta, mu, nll, size, edm, step.T, step_mu, left_of_mu, free, factors)
