r"""Models of one kind as rows of arrays: yields, errors and data differ, the formula does not.

The rate of bin i of a row is :math:`\lambda_i = \gamma_i A_i + B_i`. A, B are sums of components,
each a template times factors of a few global parameters; a template may be shifted by some of them,
bin by bin. The one parameter of the bin, of a staterror or a shapesys, is gamma, eliminated in
closed form. Bins that a row lacks hold zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from ddphf.arrays import AnyArray, Array, Float, IntArray, Mask

__all__ = ["TINY", "RowData", "RowModel", "Shifts", "factors", "weights"]

TINY = 1e-100
"""Stands for a linear factor of 0 in derivatives: the product of the others is P / TINY."""


@dataclass(frozen=True)
class RowData:
    """What was measured, a row per fit.

    Attributes:
        counts: Shape (fits, bins).
        centre: Auxiliary data of the global parameters, shape (fits, k).
        local: Auxiliary data of the bins' parameters, shape (fits, bins).
    """

    counts: Float[Array, "fits bins"]
    centre: Float[Array, "fits k"]
    local: Float[Array, "fits bins"]

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, rows: AnyArray | slice) -> RowData:
        """Return some rows."""
        return RowData(self.counts[rows], self.centre[rows], self.local[rows])


@dataclass(frozen=True)
class Shifts:
    """Changes of templates by histosys (code4p): pairs of a component and a parameter.

    Attributes:
        component: Of each pair, shape (pairs,).
        parameter: The same, among the global ones.
        up: Changes at +1 sigma, shape (rows, pairs, bins).
        down: From -1 sigma to the template: the template less its value there.
    """

    component: IntArray
    parameter: IntArray
    up: Float[Array, "rows pairs bins"]
    down: Float[Array, "rows pairs bins"]

    def __len__(self) -> int:
        return len(self.component)

    @classmethod
    def none(cls, rows: int, bins: int) -> Shifts:
        """Return no pairs."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros((rows, 0, bins)), np.zeros((rows, 0, bins)))


@dataclass(frozen=True)
class RowModel:
    """Models of one kind.

    Attributes:
        names: Of the global parameters, k of them; the first is the POI.
        yields: Of the components, shape (rows, components, bins).
        wobbling: Which components the bins' parameters multiply, shape (components,).
        linear: 1 where a component has a parameter itself as a factor, shape (components, k).
        coefficients: Of normsys factors, all 0 where there is none, shape (rows, components, k, 8).
        code: Of the normsys.
        lower: Bounds of the global parameters, shape (k,).
        upper: The same.
        centre: Values at which they were measured elsewhere, shape (k,).
        width: Errors of that; 0 where nothing constrains one.
        sigma: Relative errors of staterrors, shape (rows, bins); 0 where there is none.
        tau: Of shapesys: events of the auxiliary measurement; 0 where there is none.
        counts: Observed, shape (rows, bins).
        start: Values of the global parameters that fits begin at, shape (k,).
        held: Global parameters that stay there, shape (k,).
        shifts: Changes of the templates.
        factored: Components and parameters of all normsys, shape (normsys, 2); found by default.
    """

    names: tuple[str, ...]
    yields: Float[Array, "rows components bins"]
    wobbling: Mask
    linear: Float[Array, "components k"]
    coefficients: Float[Array, "rows components k 8"]
    code: str
    lower: Float[Array, "k"]
    upper: Float[Array, "k"]
    centre: Float[Array, "k"]
    width: Float[Array, "k"]
    sigma: Float[Array, "rows bins"]
    tau: Float[Array, "rows bins"]
    counts: Float[Array, "rows bins"]
    start: Float[Array, "k"] = field(default_factory=lambda: np.zeros(0))
    held: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    shifts: Shifts = field(default_factory=lambda: Shifts.none(0, 0))
    factored: IntArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def __post_init__(self) -> None:
        k = len(self.names)
        for name, value in (
            ("start", self.centre),
            ("held", np.zeros(k, dtype=bool)),
        ):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, value)
        if not self.factored.shape[1]:
            some = np.any(self.coefficients != 0, axis=(0, 3))
            object.__setattr__(self, "factored", np.argwhere(some))

    def __len__(self) -> int:
        return len(self.yields)

    @property
    def observed(self) -> RowData:
        """The data of all rows."""
        return RowData(self.counts, np.tile(self.centre, (len(self), 1)), self.auxiliary())

    def auxiliary(self) -> Array:
        """Return the auxiliary data of the bins where nothing fluctuates, shape (rows, bins)."""
        return np.where(self.tau > 0, self.tau, 1.0)

    def take(self, rows: IntArray) -> RowModel:
        """Return some rows, any of them more than once."""
        own = ("yields", "coefficients", "sigma", "tau", "counts")
        out = {name: getattr(self, name)[rows] for name in own}
        if len(self.shifts):
            up, down = self.shifts.up[rows], self.shifts.down[rows]
            out["shifts"] = replace(self.shifts, up=up, down=down)
        return replace(self, **out)

    def null(self) -> RowModel:
        """Return the components that the first parameter does not scale: all there is at 0."""
        kept = np.flatnonzero(self.linear[:, 0] == 0)
        pairs = np.flatnonzero(np.isin(self.shifts.component, kept))
        shifts = Shifts(
            np.searchsorted(kept, self.shifts.component[pairs]),
            self.shifts.parameter[pairs],
            self.shifts.up[:, pairs],
            self.shifts.down[:, pairs],
        )
        return replace(
            self,
            yields=self.yields[:, kept],
            wobbling=self.wobbling[kept],
            linear=self.linear[kept],
            coefficients=self.coefficients[:, kept],
            shifts=shifts,
            factored=np.zeros((0, 0), dtype=np.int64),
        )

    def without_signal(self) -> Mask:
        """Return the bins where nothing but the signal is expected, shape (rows, bins)."""
        others = self.linear[:, 0] == 0
        some = np.any(self.yields[:, others] != 0, axis=1)
        if len(self.shifts):
            moved = others[self.shifts.component]
            some |= np.any(self.shifts.up[:, moved] != 0, axis=1)
            some |= np.any(self.shifts.down[:, moved] != 0, axis=1)
        return np.asarray(~some)

    def rates(self, theta: Float[Array, "rows k"], gamma: Float[Array, "rows bins"]) -> Array:
        """Return the expected counts, shape (rows, bins)."""
        a, b = self.split(theta)
        return np.asarray(gamma * a + b)

    def split(self, theta: Float[Array, "rows k"]) -> tuple[Array, Array]:
        """Return what the bins' parameters multiply, and the rest, shape (rows, bins) each."""
        factor = np.prod(factors(self, theta)[0], axis=2)
        parts = factor[:, :, None] * self.templates(theta)
        return parts[:, self.wobbling].sum(axis=1), parts[:, ~self.wobbling].sum(axis=1)

    def templates(self, theta: Float[Array, "rows k"]) -> Array:
        """Return the yields of the components, shifted, shape (rows, components, bins)."""
        if not len(self.shifts):
            return self.yields
        (up, down), _, _ = weights(theta[:, self.shifts.parameter])
        moved = up[:, :, None] * self.shifts.up + down[:, :, None] * self.shifts.down
        out = np.repeat(self.yields, len(theta) // len(self), axis=0)
        for pair, component in enumerate(self.shifts.component):
            out[:, component] += moved[:, pair]
        return out

    def digest_parts(self) -> list[Array]:
        """Return the arrays that make it what it is."""
        apart = ("names", "code", "start", "held", "shifts", "factored")
        values = [getattr(self, f.name) for f in fields(self) if f.name not in apart]
        if len(self.shifts) or self.held.any() or not np.array_equal(self.start, self.centre):
            values += [self.start, self.held, *vars(self.shifts).values()]
        return [np.ascontiguousarray(value, dtype=float) for value in values]


def weights(alpha: Array) -> tuple[tuple[Array, Array], tuple[Array, Array], tuple[Array, Array]]:
    """Return the weights of up and down shifts (code4p), with two derivatives.

    Example:
        >>> (up, down), _, _ = weights(np.array([0.5, 2.0, -2.0]))
        >>> up.round(6).tolist(), down.round(6).tolist()
        ([0.448242, 2.0, 0.0], [0.051758, 0.0, -2.0])
    """
    square = alpha * alpha
    even = square * (square * (square * 3.0 - 10.0) + 15.0) / 16.0
    slope = alpha * (square * (square * 18.0 - 40.0) + 30.0) / 16.0
    bend = (square * (square * 90.0 - 120.0) + 30.0) / 16.0
    above, below = alpha > 1, alpha < -1
    inside = ~(above | below)
    up = np.where(inside, 0.5 * alpha + even, np.where(above, alpha, 0.0))
    down = np.where(inside, 0.5 * alpha - even, np.where(below, alpha, 0.0))
    first = np.where(inside, slope, 0.0)
    one, two = np.where(inside, 0.5, above), np.where(inside, 0.5, below)
    second = np.where(inside, bend, 0.0)
    return (up, down), (one + first, two - first), (second, -second)


def factors(model: RowModel, theta: Float[Array, "rows k"]) -> tuple[Array, Array, Array]:
    """Return the factors of each component by each parameter, and two logarithmic derivatives.

    Returns:
        f, f' / f and f'' / f, each of shape (rows, components, k).
    """
    shape = (len(theta), *model.linear.shape)
    value, first, second = np.ones(shape), np.zeros(shape), np.zeros(shape)
    s, k = model.factored.T
    if len(s):
        value[:, s, k], first[:, s, k], second[:, s, k] = _normsys(
            theta[:, k], model.coefficients[:, s, k], model.code
        )
    s, k = np.nonzero(model.linear)
    alpha = theta[:, k]
    safe = np.where(alpha == 0, TINY, alpha)
    value[:, s, k], first[:, s, k] = safe, 1.0 / safe
    return value, first, second


def _normsys(alpha: Array, table: Array, code: str) -> tuple[Array, Array, Array]:
    """Return factors of normsys and their derivatives: alpha of shape (rows, factors)."""
    rate = np.where(alpha >= 0, table[..., 1], -table[..., 0])
    inside = np.abs(alpha) < 1 if code == "code4" else np.zeros(alpha.shape, dtype=bool)
    if inside.all():
        value, first, second = rate, rate, rate
    else:
        value = np.exp(np.clip(alpha * rate, -500.0, 500.0))
        first, second = rate, rate * rate
    if not inside.any():
        return value, first, second
    p = np.broadcast_to(table[..., 7], alpha.shape).copy()
    dp, ddp = np.zeros_like(p), np.zeros_like(p)
    for power in range(6, 1, -1):  # Horner, of the polynomial divided by alpha
        ddp *= alpha
        ddp += dp
        dp *= alpha
        dp += p
        p *= alpha
        p += table[..., power]
    # 1 + alpha p: its derivatives are p + alpha p' and 2 p' + alpha p''.
    inner = 1.0 + alpha * p
    safe = np.where(inside & (inner > 0), inner, 1.0)
    return (
        np.where(inside, inner, value),
        np.where(inside, (p + alpha * dp) / safe, first),
        np.where(inside, (2.0 * dp + 2.0 * alpha * ddp) / safe, second),
    )
