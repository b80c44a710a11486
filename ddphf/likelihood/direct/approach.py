"""Cheap steps towards minima near a known one: its factorised Hessian serves many fits.

A gradient of many points costs a fraction of one Hessian. Where the steps converge they save all
Newton steps but the last, whose exact Hessian is the certificate; where they do not, a fit goes on
from the lowest point that they have reached.

The steps are those of L-BFGS (Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4)
with the known Hessian in place of its first guess: in what the Hessian elsewhere differs is learnt
from the gradients on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ddphf.arrays import Array, Float, IntArray, Mask
from ddphf.compute.blas import one_blas_thread
from ddphf.likelihood.descent import ENOUGH, SLACK
from ddphf.likelihood.direct.model import Factored, factorise
from ddphf.likelihood.direct.newton import Problem, is_physical, look

__all__ = ["approach"]


MAX_TRIALS = 150
REJECTIONS = 12
"""Trials in a row that do not lower -ln L enough; the next direction would be no better."""
SUFFICIENT = 1e-4
"""Share of the gain expected to first order that a step must bring."""
MEMORY = 20
"""Steps of which a descent remembers what the gradient did."""
REMEMBERED = 10_000_000
"""Numbers that all descents together remember."""


def approach(
    problems: Sequence[Problem],
    starts: Float[Array, "fits n"],
    near: Float[Array, "n"],
    data: Float[Array, "data"],
) -> Float[Array, "fits n"]:
    """Return starts that are nearer to the minima: -ln L is not higher there.

    Args:
        problems: Shape (m,): of one model; each holds the parameters that all hold, and at most
            one more. Others stay where they are.
        starts: Shape (m, n).
        near: A minimum with nothing but the common parameters held, shape (n,).
        data: Of that minimum.
    """
    fixed = np.stack([problem.fixed for problem in problems])
    common: Mask = np.all(fixed, axis=0)
    extra = fixed & ~common
    model, _, _, lower, upper = problems[0]
    local = look(problems[0]._replace(data=data, fixed=common), near)
    # What is pushed against a bound stays there, unless a start has it elsewhere.
    still = ~local.free & np.all(starts == near, axis=0)
    metric = factorise(local.curvature.hessian, model.split, ~common & ~still) or local.factored
    out, rows = starts.copy(), np.flatnonzero(extra.sum(axis=1) <= 1)
    if metric is None or not len(rows):
        return out
    box = np.where(metric.free, [lower, upper], [[-np.inf], [np.inf]])
    sets = np.stack([problems[int(i)].data for i in rows])
    x = np.where(fixed[rows], starts[rows], np.clip(starts[rows], lower, upper))
    held = np.where(extra.any(axis=1), extra.argmax(axis=1), -1)[rows]
    s = _Descents.begin(rows, x, sets, fixed[rows], held, metric, box)
    with one_blas_thread(), np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for _ in range(MAX_TRIALS):
            trial, share = s.propose()  # may be far out
            at = model.evaluate(trial, s.data)
            physical = is_physical(at.rate, s.data[:, : model.n_bins])
            s.take(trial, share, at.value, np.where(s.fixed, 0.0, at.gradient), physical)
            going = s.are_going()
            if not going.all():
                out[s.rows[~going]] = s.x[~going]
                s = s.those(going)
            if not len(s.rows):
                break
    out[s.rows] = s.x
    return out


@dataclass
class _Descents:
    """Many descents in step, shape (m, ...) each.

    Attributes:
        rows: Their places in the input.
        x: The lowest points.
        data: Main and auxiliary data.
        fixed: Parameters that are held from the beginning.
        value: -ln L; inf before the first evaluation.
        gradient: 0 for held parameters.
        move: What a whole step subtracts.
        edm: Gradient times that.
        share: Of a whole step, the next trial.
        rejected: Trials since the last good one.
        held: The one parameter that is held beyond the common ones, or has met its bound; -1
            where there is none.
        column: That parameter's column of the inverse Hessian, divided by its diagonal.
    """

    metric: Factored
    box: Array
    memory: list[tuple[Array, Array, Array]]
    rows: IntArray
    x: Array
    data: Array
    fixed: Mask
    value: Array
    gradient: Array
    move: Array
    edm: Array
    share: Array
    rejected: IntArray
    held: IntArray
    column: Array

    @classmethod
    def begin(
        cls, rows: IntArray, x: Array, data: Array, fixed: Mask, held: IntArray, metric: Factored,
        box: Array,
    ) -> _Descents:  # fmt: skip
        m, none = len(rows), np.zeros_like(x)
        out = cls(
            metric, box, [], rows, x, data, fixed, np.full(m, np.inf), none, none,
            np.full(m, np.inf), np.ones(m), np.zeros(m, dtype=int), np.full(m, -1), none.copy(),
        )  # fmt: skip
        out._hold(np.flatnonzero(held >= 0), held[held >= 0])
        return out

    def those(self, going: Mask) -> _Descents:
        """Return some of them."""
        memory = [(a[going], b[going], c[going]) for a, b, c in self.memory]
        rest = [getattr(self, f.name)[going] for f in fields(self)[3:]]
        return _Descents(self.metric, self.box, memory, *rest)

    def are_going(self) -> Mask:
        """Return which are not at an end."""
        return np.asarray(
            (self.edm > ENOUGH) & (self.rejected < REJECTIONS) & np.isfinite(self.value)
        )

    def propose(self) -> tuple[Array, Array]:
        """Return trials, not beyond a bound, and their share of a whole step."""
        step = self.share[:, None] * self.move
        lower, upper = self.box
        bound = np.where(step > 0, lower, upper)
        reach = np.where(step != 0, (self.x - bound) / step, np.inf)
        first, each = np.argmin(reach, axis=1), np.arange(len(step))
        room = np.minimum(1.0, reach[each, first])
        trial = np.where(self.fixed, self.x, self.x - room[:, None] * step)
        trial[each, first] = np.where(room < 1, bound[each, first], trial[each, first])
        return trial, self.share * room

    def take(self, trial: Array, share: Array, value: Array, gradient: Array, legal: Mask) -> None:
        """Go where -ln L is lower, and find the next steps.

        Args:
            trial: As proposed.
            share: As proposed.
            value: -ln L there.
            gradient: Its gradient there, 0 for held parameters.
            legal: Whether a trial is allowed.
        """
        begun = np.isfinite(self.value)
        gain = np.where(begun, share * self.edm, 0.0)
        slack = SLACK * (1.0 + np.abs(self.value))
        good = legal & ((value <= self.value - SUFFICIENT * gain + slack) | ~begun)
        if begun.all():
            self._learn(good, trial - self.x, gradient - self.gradient)
        # A short step: to the minimum of the parabola through both values, within limits.
        shorter = 0.5 * gain / (value - self.value + gain)
        shorter = np.where(shorter > 0, np.clip(shorter, 0.1, 0.5), 0.25)
        self.x = np.where(good[:, None], trial, self.x)
        self.value = np.where(good, value, self.value)
        self.gradient = np.where(good[:, None], gradient, self.gradient)
        self.rejected = np.where(good, 0, self.rejected + 1)
        self.share = np.where(good, 1.0, shorter * share)
        move = self._direction()
        row, parameter = np.nonzero(self._is_outward(move) & good[:, None])
        if len(row):
            once = (np.bincount(row, minlength=len(move)) == 1) & (self.held < 0)
            self._hold(row[once[row]], parameter[once[row]])
            move = self._direction()
            # One that would leave by another bound too is left to the full steps.
            self.rejected[good & np.any(self._is_outward(move), axis=1)] = REJECTIONS
        self.move = np.where(good[:, None], move, self.move)
        self.edm = np.where(good, np.sum(self.move * self.gradient, axis=1), self.edm)

    def _is_outward(self, move: Array) -> Mask:
        """Return True where a parameter is at a bound and would leave by it."""
        lower, upper = self.box
        return np.asarray(((self.x <= lower) & (move > 0)) | ((self.x >= upper) & (move < 0)))

    def _hold(self, which: IntArray, parameter: IntArray) -> None:
        """Hold one parameter more: its column of the inverse is projected out."""
        if not len(which):
            return
        distinct, place = np.unique(parameter, return_inverse=True)
        columns = self.metric.solve(np.eye(self.metric.split.n)[distinct])
        pivot = columns[np.arange(len(distinct)), distinct]
        columns /= np.where(pivot > 0, pivot, 1.0)[:, None]
        self.held[which], self.column[which] = parameter, columns[place]
        self.gradient[which, parameter] = 0.0
        self.fixed[which, parameter] = True
        for _, _, inverse in self.memory:
            inverse[which] = 0.0

    def _learn(self, good: Mask, moved: Array, change: Array) -> None:
        curvature = np.sum(moved * change, axis=1)
        useful = good & (curvature > 0)
        inverse = np.where(useful, 1.0 / np.where(useful, curvature, 1.0), 0.0)
        depth = max(5, min(MEMORY, REMEMBERED // max(1, 2 * moved.size)))
        self.memory = [(moved, change, inverse), *self.memory[: depth - 1]]

    def _direction(self) -> Array:
        rest, shares = self.gradient.copy(), []
        for moved, change, inverse in self.memory:
            shares.append(inverse * np.sum(moved * rest, axis=1))
            rest -= shares[-1][:, None] * change
        step = self.metric.solve(rest)
        step -= self.column * step[np.arange(len(step)), self.held][:, None]
        for moved, change, inverse in reversed(self.memory):
            share = shares.pop() - inverse * np.sum(change * step, axis=1)
            step += share[:, None] * moved
        return np.asarray(step)
