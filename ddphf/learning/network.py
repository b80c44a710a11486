"""A small network of sigmoids, trained to its minimum: many labellings and starts at once.

f(x) = c + sum_h a_h sigma(w_h x + b_h), logit h = logit pi + f(x), is fitted to the labels with a
Gaussian prior on a, w, b, so that there is a minimum, by Levenberg and Marquardt's method with the
whole second derivative. Nuisances of the labels are fitted in both hypotheses, c with them. Then

    t = 2 [min_c (-ln L) - min_f (-ln L - ln prior)]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from ddphf.arrays import Array, IntArray, Mask
from ddphf.compute.streams import generator
from ddphf.learning.groups import Grouped

__all__ = ["TRIED", "NetworkFit", "NetworkTest"]

PRIOR = (1.0, 15.0, 15.0)
"""Standard deviations of a, w and b, in standardised variables: chosen on toys of the model of
arXiv:2401.09530 that no quoted power is measured on."""

STARTS = 4

START_SEED = 4_077

CERTIFIED = 1e-4
"""Estimated distance to the minimum, in t, at which a fit is certified."""

ITERATIONS = 200

FIRST_DAMPING, LARGEST_DAMPING = 1e-1, 1e8

LEAST_CURVATURE = 1e-7
"""In units of the information's: below it a point is no minimum."""

TOGETHER = 12_800
"""Fits at once, times groups: their derivatives stay in the cache."""

TRIED = 64
"""Sets of sigmoids of which the starts are chosen."""

FIRST_SLOPE = 4.0
"""Of a sigmoid that is tried, in standard deviations of the variable."""

HOPE = 2.0
"""A fit may gain so many times (in -ln L) its estimated distance (in t, which is twice that)."""

NULL_STEP = 1e-12
"""A step of the nuisances alone, in standard deviations, below which their fit has ended."""

AGREE = 0.02
"""In t: starts that end so near to the best have found the same minimum, or one as good."""


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

    @cached_property
    def _precision(self) -> Array:
        """1 / variance of the prior of each parameter."""
        d, k = self.events.points.shape[1], self.events.linear.shape[1]
        a, w, b = (1 / s**2 for s in self.prior)
        h = self.hidden
        return np.concatenate(
            [np.full(h, a), np.full(h * d, w), np.full(h, b), [0.0], np.ones(k - 1)]
        )

    @cached_property
    def _tried(self) -> list[_Tried]:
        """Sets of sigmoids that rise where events are, with the best heights of each."""
        rng = generator(START_SEED)
        e, h = self.events, self.hidden
        z, (_, s_w, s_b) = e.points, self.prior
        linear = self._precision[-e.linear.shape[1] :]
        precision = np.diag(np.append(self._precision[:h], linear))
        p = expit(e.offset)
        out = []
        for _ in range(max(TRIED, self.starts)):
            w = rng.normal(0.0, FIRST_SLOPE, (h, z.shape[1]))
            b = -np.sum(w * z[rng.integers(len(z), size=h)], axis=1)
            f = self._columns(w, b)
            curve = f @ ((e.counts * p * (1 - p)) * f).T + precision
            lost = float(np.sum(w**2) / s_w**2 + np.sum(b**2) / s_b**2)
            out.append(_Tried(w, b, np.asarray(np.linalg.inv(curve), dtype=np.float64), lost))
        return out

    def _columns(self, w: Array, b: Array) -> Array:
        """Return the sigmoids of each group, then c and the nuisances, (h + 1 + k, g)."""
        sigma = _sigmoid(w @ self.events.points.T + b[:, None])
        return np.concatenate([sigma, self.events.linear.T])

    def _begin(self, tested: Array) -> Array:
        """Return where the fits of some labellings begin, (m, starts, p).

        Of the sets of sigmoids that are tried those whose heights alone gain most, to second order:
        one product of matrices for all labellings.
        """
        e, h = self.events, self.hidden
        residual = tested - (e.counts * expit(e.offset))[:, None]
        gains, steps = [], []
        for one in self._tried:
            pull = self._columns(one.w, one.b) @ residual
            steps.append(one.inverse @ pull)
            gains.append(np.sum(pull * steps[-1], axis=0) - one.lost)
        best = np.argsort(-np.array(gains), axis=0, kind="stable")[: self.starts]
        found = []
        for number, chosen in enumerate(best.T):
            for i in chosen:
                one, step = self._tried[i], steps[i][:, number]
                found.append(np.concatenate([step[:h], one.w.ravel(), one.b, step[h:]]))
        return np.array(found).reshape(tested.shape[1], self.starts, -1)

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
            step = np.linalg.solve(curve, slope.T[..., None])[..., 0]
            theta += step
            if np.max(np.abs(step)) < NULL_STEP:
                break
        eta = e.offset[:, None] + e.linear @ theta.T
        return np.asarray(self._nll(eta.T, tested.T) + 0.5 * np.sum(prior * theta**2, axis=1))

    def _nll(self, eta: Array, tested: Array) -> Array:
        """Return -ln L of logits and tested counts (m, g), (m,)."""
        softplus = np.maximum(eta, 0.0) + np.log1p(np.exp(-np.abs(eta)))
        return np.asarray(softplus @ self.events.counts - np.sum(tested * eta, axis=1))

    def fit(self, tested: Array) -> NetworkFit:
        """Fit many labellings; t is NaN where no start converged.

        Args:
            tested: Tested events of each group in each labelling, (g, m).
        """
        m = tested.shape[1]
        null = self.null(tested)
        theta, value, edm = self._minimize(self._begin(tested), tested.T)
        t = 2 * (null[:, None] - value)
        sure = edm < CERTIFIED
        best = np.argmax(np.where(sure, t, -np.inf), axis=1)
        rows = np.arange(m)
        highest = np.where(sure[rows, best], t[rows, best], np.nan)
        agree = np.sum(sure & (t > highest[:, None] - AGREE), axis=1)
        return NetworkFit(
            highest, theta[rows, best], edm[rows, best], sure[rows, best], agree.astype(np.int64)
        )

    def _forward(self, theta: Array) -> tuple[Array, Array]:
        """Return logits (m, g) and the sigmoids (m, h, g)."""
        e = self.events
        a, w, b = self._split(theta)
        sigma = _sigmoid(w @ e.points.T + b[:, :, None])
        linear = theta[:, -e.linear.shape[1] :] @ e.linear.T
        return e.offset + linear + np.matmul(a[:, None, :], sigma)[:, 0], sigma

    def _derivatives(
        self, theta: Array, eta: Array, sigma: Array, tested: Array
    ) -> tuple[Array, Array, Array]:
        """Return slope (m, p), second derivatives and information (m, p, p) of -ln L - ln prior."""
        e, h, (m, p) = self.events, self.hidden, theta.shape
        d, x = e.points.shape[1], e.points.T
        a, _, _ = self._split(theta)
        rise = sigma * (1 - sigma)
        jac = np.empty((m, p, len(e.counts)))
        jac[:, :h] = sigma
        np.multiply(a[:, :, None], rise, out=jac[:, h + h * d : 2 * h + h * d])
        inner = jac[:, h + h * d : 2 * h + h * d]
        for i in range(d):
            np.multiply(inner, x[i], out=jac[:, h + i : h + h * d : d])
        jac[:, 2 * h + h * d :] = e.linear.T
        probability = _sigmoid(eta)
        pull = e.counts * probability - tested
        slope = np.matmul(jac, pull[:, :, None])[..., 0] + theta * self._precision
        weighted = jac * (e.counts * probability * (1 - probability))[:, None, :]
        information = np.matmul(jac, weighted.transpose(0, 2, 1)) + np.diag(self._precision)
        # What the sigmoids bend: (w, b) of each with its height, and with themselves.
        curve = information.copy()
        rise *= pull[:, None, :]
        once = rise @ self._wide
        rise *= 1 - 2 * sigma
        twice = (rise @ self._products) * a[:, :, None]
        for k in range(h):
            own = np.append(h + k * d + np.arange(d), h + h * d + k)
            curve[:, k, own] += once[:, k]
            curve[:, own, k] += once[:, k]
            curve[:, own[:, None], own] += twice[:, k].reshape(m, d + 1, d + 1)
        return slope, curve, information

    @cached_property
    def _wide(self) -> Array:
        """Points with a one, (g, d + 1)."""
        e = self.events
        return np.concatenate([e.points, np.ones((len(e.counts), 1))], axis=1)

    @cached_property
    def _products(self) -> Array:
        """Products of two of these, (g, (d + 1)^2)."""
        square = self._wide[:, :, None] * self._wide[:, None, :]
        return np.asarray(square.reshape(len(self._wide), -1), dtype=np.float64)

    def _minimize(self, begin: Array, tested: Array) -> tuple[Array, Array, Array]:
        """Return parameters, -ln L - ln prior and estimated distance (in t) of each fit.

        Some fits go at once, and the next one begins where one has ended. A fit ends where it is
        certified, where no step helps, or where it cannot reach what another start of the same
        labels has reached already.

        Args:
            begin: Parameters, (m, starts, p).
            tested: Tested events of each group in each labelling, (m, g).
        """
        m, s, p = begin.shape
        theta = begin.reshape(m * s, p).copy()
        labelling = np.repeat(np.arange(m), s)
        value, edm = np.zeros(m * s), np.full(m * s, np.inf)
        damping, spent = np.full(m * s, FIRST_DAMPING), np.zeros(m * s, dtype=np.int64)
        reached = np.full(m, np.inf)
        together = max(s, TOGETHER // len(self.events.counts))
        open_, following = np.zeros(0, dtype=np.int64), 0
        eta, sigma = np.zeros((0, len(self.events.counts))), np.zeros((0, 0, 0))
        while True:
            if len(open_) <= together // 2 and following < m * s:
                more = np.arange(following, min(following + together - len(open_), m * s))
                following = int(more[-1]) + 1
                new_eta, new_sigma = self._forward(theta[more])
                value[more] = self._value(theta[more], new_eta, tested[labelling[more]])
                eta = np.concatenate([eta, new_eta])
                sigma = new_sigma if not len(open_) else np.concatenate([sigma, new_sigma])
                open_ = np.concatenate([open_, more])
            if not len(open_):
                return theta.reshape(m, s, p), value.reshape(m, s), edm.reshape(m, s)
            now, seen = theta[open_], tested[labelling[open_]]
            slope, curve, information = self._derivatives(now, eta, sigma, seen)
            scale = 1 / np.sqrt(np.einsum("mii->mi", information) + 1e-12)
            values, axes = np.linalg.eigh(curve * scale[:, :, None] * scale[:, None, :])
            along_axes = np.einsum("mpq,mp->mq", axes, slope * scale)
            sure = values[:, 0] > LEAST_CURVATURE
            size = np.maximum(np.abs(values), LEAST_CURVATURE)
            edm[open_] = np.where(sure, np.sum(along_axes**2 / size, axis=1), np.inf)
            along_axes /= size + damping[open_, None]
            new = now - scale * np.einsum("mpq,mq->mp", axes, along_axes)
            new_eta, new_sigma = self._forward(new)
            new_value = self._value(new, new_eta, seen)
            better = new_value <= value[open_]
            taken = open_[better]
            theta[taken], value[taken] = new[better], new_value[better]
            eta[better], sigma[better] = new_eta[better], new_sigma[better]
            damping[open_] = np.where(better, damping[open_] * 0.3, damping[open_] * 8.0)
            spent[open_] += 1
            left = (edm[open_] > 0.1 * CERTIFIED) & (damping[open_] < LARGEST_DAMPING)
            done = open_[edm[open_] < CERTIFIED]
            np.minimum.at(reached, labelling[done], value[done])
            left &= value[open_] - HOPE * edm[open_] < reached[labelling[open_]] + 0.5 * AGREE
            left &= spent[open_] < ITERATIONS
            open_, eta, sigma = open_[left], eta[left], sigma[left]

    def _value(self, theta: Array, eta: Array, tested: Array) -> Array:
        """Return -ln L - ln prior of parameters (m, p) and their logits, (m,)."""
        return np.asarray(self._nll(eta, tested) + 0.5 * (theta**2) @ self._precision)


@dataclass(frozen=True)
class _Tried:
    """One set of sigmoids to begin with.

    Attributes:
        w: Slopes, (h, d).
        b: Offsets, (h,).
        inverse: Of the second derivatives by heights, c and nuisances at the null.
        lost: What the prior takes for w and b, in t.
    """

    w: Array
    b: Array
    inverse: Array
    lost: float


def _sigmoid(u: Array) -> Array:
    """Return 1 / (1 + exp(-u)), which numpy does in wide registers by its tanh."""
    out: Array = np.tanh(0.5 * u)
    out += 1.0
    out *= 0.5
    return out
