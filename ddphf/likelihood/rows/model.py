r"""Models of one kind as rows of arrays: yields, errors and data differ, the formula does not.

The rate of bin i of a row is :math:`\lambda_i = \gamma_i A_i + B_i`. A, B are sums of components,
each a template times factors of a few global parameters. The one parameter of the bin, of a
staterror or a shapesys, is gamma, eliminated in closed form. Bins that a row lacks hold zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ddphf.arrays import AnyArray, Array, Float, IntArray, Mask

__all__ = ["TINY", "RowData", "RowModel", "factors"]

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
        return replace(self, **{name: getattr(self, name)[rows] for name in own})

    def without_signal(self) -> Mask:
        """Return the bins where nothing but the signal is expected, shape (rows, bins)."""
        others = self.linear[:, 0] == 0
        return np.asarray(~np.any(self.yields[:, others] != 0, axis=1))

    def rates(self, theta: Float[Array, "rows k"], gamma: Float[Array, "rows bins"]) -> Array:
        """Return the expected counts, shape (rows, bins)."""
        factor = np.prod(factors(self, theta)[0], axis=2)
        parts = factor[:, :, None] * self.yields
        return np.asarray(
            gamma * parts[:, self.wobbling].sum(axis=1) + parts[:, ~self.wobbling].sum(axis=1)
        )

    def digest_parts(self) -> list[Array]:
        """Return the arrays that make it what it is."""
        values = (getattr(self, f.name) for f in fields(self) if f.name not in ("names", "code"))
        return [np.ascontiguousarray(value, dtype=float) for value in values]


def factors(model: RowModel, theta: Float[Array, "rows k"]) -> tuple[Array, Array, Array]:
    """Return the factors of each component by each parameter, and two logarithmic derivatives.

    Returns:
        f, f' / f and f'' / f, each of shape (rows, components, k).
    """
    alpha = theta[:, None, :]
    table = model.coefficients
    low, high = table[..., 0], table[..., 1]
    rate = np.where(alpha >= 0, high, -low)
    value = np.exp(np.clip(alpha * rate, -500.0, 500.0))
    first, second = rate + 0.0 * value, rate * rate + 0.0 * value
    if model.code == "code4":
        inside = np.broadcast_to(np.abs(alpha) < 1, value.shape)
        p, dp, ddp = np.zeros_like(value), np.zeros_like(value), np.zeros_like(value)
        for power in range(7, 1, -1):  # Horner, of the polynomial divided by alpha
            ddp = ddp * alpha + dp
            dp = dp * alpha + p
            p = p * alpha + table[..., power]
        # 1 + alpha p: its derivatives are p + alpha p' and 2 p' + alpha p''.
        inner = 1.0 + alpha * p
        safe = np.where(inside & (inner > 0), inner, 1.0)
        value = np.where(inside, inner, value)
        first = np.where(inside, (p + alpha * dp) / safe, first)
        second = np.where(inside, (2.0 * dp + 2.0 * alpha * ddp) / safe, second)
    linear = model.linear > 0
    safe = np.where(alpha == 0, TINY, alpha)
    value = value * np.where(linear, safe, 1.0)
    first = np.where(linear, 1.0 / safe, first)
    second = np.where(linear, 0.0, second)
    return value, first, second
