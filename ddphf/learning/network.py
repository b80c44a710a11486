"""A small network of sigmoids, trained to its minimum: many labellings and starts at once.

f(x) = c + sum_h a_h sigma(w_h x + b_h), logit h = logit pi + f(x), is fitted to the labels with a
Gaussian prior on a, w, b, so that there is a minimum, by Levenberg and Marquardt's method with the
whole second derivative. Nuisances of the labels are fitted in both hypotheses, c with them. Then

    t = 2 [min_c (-ln L) - min_f (-ln L - ln prior)]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.compute.streams import generator
from ddphf.learning.features import standardize
from ddphf.learning.labels import Labels

__all__ = ["GROUPS", "Grouped", "NetworkFit", "NetworkTest", "group_events"]

GROUPS = 400
"""Of one variable: events so near to each other are one to a network."""

PRIOR = (1.0, 15.0, 15.0)
"""Standard deviations of a, w and b, in standardised variables: chosen on toys of the model of
arXiv:2401.09530 that no quoted power is measured on."""

STARTS = 4

START_SEED = 4_077

CERTIFIED = 1e-4
"""Estimated distance to the minimum, in t, at which a fit is certified."""

ITERATIONS = 200

FIRST_DAMPING, LARGEST_DAMPING = 1e-2, 1e8

LEAST_CURVATURE = 1e-7
"""In units of the information's: below it a point is no minimum."""

TOGETHER = 128
"""Fits at once: their derivatives stay in a few megabytes."""

AGREE = 0.02
"""In t: starts that end so near to the best have found the same minimum, or one as good."""


@dataclass(frozen=True)
class Grouped:
    """Events in groups.

    Attributes:
        points: Standardised variables of each group, (g, d).
        group: Of each event, (n,).
        counts: Events of each group, (g,).
        offset: logit of the mean pi of each group, (g,).
        linear: Change of the logit per sigma of each nuisance, after a column of ones, (g, 1 + k).
        mean: Of the variables.
        deviation: Of the variables.
    """

    points: Array
    group: IntArray
    counts: Array
    offset: Array
    linear: Array
    mean: Array
    deviation: Array

    def sums(self, values: AnyArray) -> Array:
        """Return sums over the groups of values (n, ...), (g, ...)."""
        flat = values.reshape(len(self.group), -1).T
        sums = [np.bincount(self.group, column, len(self.counts)) for column in flat]
        return np.asarray(
            np.stack(sums, axis=1).reshape(len(self.counts), *values.shape[1:]), float
        )


def group_events(points: Array, labels: Labels, groups: int = GROUPS) -> Grouped:
    """Return events in groups: of one variable neighbours together, otherwise each for itself.

    Example:
        >>> from ddphf.learning.labels import make_labels
        >>> labels = make_labels([True, False] * 500)
        >>> group_events(np.linspace(0, 1, 1000)[:, None], labels).counts.max()
        np.float64(3.0)
    """
    mean, deviation = standardize(points)
    z = (points - mean) / deviation
    n = len(z)
    group = np.arange(n)
    if points.shape[1] == 1 and n > groups:
        edges = np.unique(np.quantile(z[:, 0], np.arange(1, groups) / groups))
        _, group = np.unique(np.searchsorted(edges, z[:, 0], side="right"), return_inverse=True)
        group = group.ravel()
    counts = np.bincount(group).astype(float)

    def average(values: Array) -> Array:
        sums = [np.bincount(group, column) / counts for column in values.reshape(n, -1).T]
        return np.stack(sums, axis=1)

    share = average(labels.share)[:, 0]
    moves = average(np.asarray(labels.changes, dtype=float)) if labels.changes.shape[1] else None
    linear = np.ones((len(counts), 1))
    if moves is not None:
        linear = np.concatenate([linear, moves / (share * (1 - share))[:, None]], axis=1)
    return Grouped(average(z), group, counts, logit(share), linear, mean, deviation)


@dataclass(frozen=True)
class NetworkFit:
    """Fits of many labellings.

    Attributes:
        t: Of the best certified start, NaN where there is none, (m,).
        parameters: Of the best start: a, w, b, then c and nuisances, (m, p).
        edm: Estimated distance to the minimum of the best start, in t, (m,).
        converged: Whether it is certified, (m,).
        agree: Starts that ended within .02 of the best, (m,).
    """

    t: Array
    parameters: Array
    edm: Array
    converged: Mask
    agree: IntArray


@dataclass(frozen=True)
class NetworkTest:
    """The network for one pool of events.

    Attributes:
        events: In their groups.
        hidden: Sigmoids.
        starts: Of each labelling.
        prior: Standard deviations of a, w and b.
    """

    events: Grouped
    hidden: int = 4
    starts: int = STARTS
    prior: tuple[float, float, float] = PRIOR

    @property
    def _precision(self) -> Array:
        """1 / variance of the prior of each parameter."""
        d, k = self.events.points.shape[1], self.events.linear.shape[1]
        a, w, b = (1 / s**2 for s in self.prior)
        h = self.hidden
        return np.concatenate(
            [np.full(h, a), np.full(h * d, w), np.full(h, b), [0.0], np.ones(k - 1)]
        )

    def _starts(self) -> Array:
        """Return where fits begin, (starts, p): sigmoids that rise at places where events are."""
        rng = generator(START_SEED)
        z, h = self.events.points, self.hidden
        out = []
        for _ in range(self.starts):
            w = rng.normal(0.0, 4.0, (h, z.shape[1]))
            place = z[rng.integers(len(z), size=h)]
            b = -np.sum(w * place, axis=1)
            out.append(np.concatenate([rng.normal(0, 0.3, h), w.ravel(), b,
                                       np.zeros(self.events.linear.shape[1])]))  # fmt: skip
        return np.array(out)

    def value(self, parameters: Array, points: Array) -> Array:
        """Return f without its constant and nuisances, of raw points (m, d), (m,)."""
        z = (points - self.events.mean) / self.events.deviation
        a, w, b = self._split(parameters[None])
        return np.asarray(expit(z @ w[0].T + b[0]) @ a[0])

    def _split(self, theta: Array) -> tuple[Array, Array, Array]:
        h, d = self.hidden, self.events.points.shape[1]
        end = h + h * d
        return theta[:, :h], theta[:, h:end].reshape(-1, h, d), theta[:, end : end + h]

    def null(self, tested: Array) -> Array:
        """Return the smallest -ln L without the network, c and nuisances fitted, (m,).

        Args:
            tested: Tested events of each group in each labelling, (g, m).
        """
        e = self.events
        k = e.linear.shape[1]
        prior = np.append(0.0, np.ones(k - 1))
        theta = np.zeros((tested.shape[1], k))
        for _ in range(12):  # of a convex function from near its minimum
            p = expit(e.offset[:, None] + e.linear @ theta.T)
            slope = e.linear.T @ (tested - e.counts[:, None] * p) - prior[:, None] * theta.T
            spread = e.counts[:, None] * p * (1 - p)
            curve = np.einsum("gi,gm,gj->mij", e.linear, spread, e.linear) + np.diag(prior)
            theta += np.linalg.solve(curve, slope.T[..., None])[..., 0]
        eta = e.offset[:, None] + e.linear @ theta.T
        return np.asarray(self._nll(eta.T, tested.T) + 0.5 * np.sum(prior * theta**2, axis=1))

    def _nll(self, eta: Array, tested: Array) -> Array:
        """Return -ln L of logits and tested counts (m, g), (m,)."""
        return np.asarray(
            np.logaddexp(0.0, eta) @ self.events.counts - np.sum(tested * eta, axis=1)
        )

    def fit(self, tested: Array) -> NetworkFit:
        """Fit many labellings; t is NaN where no start converged.

        Args:
            tested: Tested events of each group in each labelling, (g, m).
        """
        m, s = tested.shape[1], self.starts
        begin = self._starts()
        null = self.null(tested)
        step = max(1, TOGETHER // s)
        parts = []
        for first in range(0, m, step):
            some = tested[:, first : first + step].T
            parts.append(self._minimize(np.tile(begin, (len(some), 1)), np.repeat(some, s, axis=0)))
        theta, value, edm = (np.concatenate(p) for p in zip(*parts, strict=True))
        t = 2 * (np.repeat(null, s) - value).reshape(m, s)
        edm = edm.reshape(m, s)
        sure = edm < CERTIFIED
        best = np.argmax(np.where(sure, t, -np.inf), axis=1)
        rows = np.arange(m)
        highest = np.where(sure[rows, best], t[rows, best], np.nan)
        agree = np.sum(sure & (t > highest[:, None] - AGREE), axis=1)
        theta = theta.reshape(m, s, -1)
        return NetworkFit(
            highest, theta[rows, best], edm[rows, best], sure[rows, best], agree.astype(np.int64)
        )

    def _forward(self, theta: Array) -> tuple[Array, Array]:
        """Return logits (m, g) and the sigmoids (m, g, h)."""
        e = self.events
        a, w, b = self._split(theta)
        sigma = expit(np.einsum("gd,mhd->mgh", e.points, w) + b[:, None, :])
        linear = theta[:, -e.linear.shape[1] :] @ e.linear.T
        return e.offset + linear + np.einsum("mgh,mh->mg", sigma, a), sigma

    def _bending(self, a: Array, sigma: Array, pull: Array, p: int) -> Array:
        """Return the part of the second derivatives of -ln L that is not the information.

        Args:
            a: Heights, (m, h).
            sigma: Sigmoids, (m, g, h).
            pull: Derivative of -ln L by each group's logit, (m, g).
            p: Parameters.
        """
        e, h, d = self.events, self.hidden, self.events.points.shape[1]
        first = pull[..., None] * sigma * (1 - sigma)
        second = first * (1 - 2 * sigma) * a[:, None, :]
        wide = np.concatenate([e.points, np.ones((len(e.counts), 1))], axis=1)
        rise = np.einsum("mgh,gi->mhi", first, wide)
        bend = np.einsum("mgh,gi,gj->mhij", second, wide, wide, optimize=True)
        out = np.zeros((len(a), p, p))
        for k in range(h):
            own = np.append(h + k * d + np.arange(d), h + h * d + k)
            out[:, k, own] = out[:, own, k] = rise[:, k]
            out[:, own[:, None], own] = bend[:, k]
        return out

    def _minimize(self, theta: Array, tested: Array) -> tuple[Array, Array, Array]:
        """Return parameters, -ln L - ln prior and estimated distance (in t) of each fit."""
        e, precision = self.events, self._precision
        m, p = theta.shape
        damping, open_ = np.full(m, FIRST_DAMPING), np.arange(m)
        edm = np.full(m, np.inf)
        eta, sigma = self._forward(theta)
        value = self._nll(eta, tested) + 0.5 * (theta**2) @ precision
        for _ in range(ITERATIONS):
            now = theta[open_]
            a, _, _ = self._split(now)
            inner = a[:, None, :] * sigma * (1 - sigma)
            along = np.einsum("mgh,gd->mghd", inner, e.points).reshape(len(now), len(e.counts), -1)
            wide = np.broadcast_to(e.linear, (len(now), *e.linear.shape))
            jac = np.concatenate([sigma, along, inner, wide], axis=2)
            h = expit(eta)
            pull = e.counts * h - tested[open_]
            slope = np.einsum("mgp,mg->mp", jac, pull) + now * precision
            weighted = jac * (e.counts * h * (1 - h))[..., None]
            curve = np.matmul(jac.transpose(0, 2, 1), weighted) + np.diag(precision)
            scale = 1 / np.sqrt(np.einsum("mii->mi", curve) + 1e-12)
            curve += self._bending(a, sigma, pull, p)
            values, axes = np.linalg.eigh(curve * scale[:, :, None] * scale[:, None, :])
            along_axes = np.einsum("mpq,mp->mq", axes, slope * scale)
            sure = values[:, 0] > LEAST_CURVATURE
            size = np.maximum(np.abs(values), LEAST_CURVATURE)
            edm[open_] = np.where(sure, np.sum(along_axes**2 / size, axis=1), np.inf)
            along_axes /= size + damping[open_, None]
            new = now - scale * np.einsum("mpq,mq->mp", axes, along_axes)
            new_eta, new_sigma = self._forward(new)
            new_value = self._nll(new_eta, tested[open_]) + 0.5 * (new**2) @ precision
            better = new_value <= value[open_]
            taken = open_[better]
            theta[taken], value[taken] = new[better], new_value[better]
            eta[better], sigma[better] = new_eta[better], new_sigma[better]
            damping[open_] = np.where(better, damping[open_] * 0.2, damping[open_] * 8.0)
            left = (edm[open_] > 0.1 * CERTIFIED) & (damping[open_] < LARGEST_DAMPING)
            open_, eta, sigma = open_[left], eta[left], sigma[left]
            if not len(open_):
                break
        return theta, value, edm
