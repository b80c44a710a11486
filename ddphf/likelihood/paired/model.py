r"""The paired model as matrices: every rate linear in a few features of the global parameters.

A workspace is a pair when one free shapefactor is shared by two channels, bin by bin, and every
other per-bin parameter touches one bin of one channel alone, additively. Its rates are then

.. math::  \lambda_X = b\,u_X(\theta) + \gamma_X v_X(\theta) + c_X(\theta), \qquad X = B, A

(docs/workspace.md), and each of u, v, c is ``features(theta) @ matrix``: the features are the
products of the scalar factors with 1 and with the histosys weights, so that a data set costs two
matrix products per iteration, whatever the number of nuisances.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ddphf.arrays import AnyArray, Float, JaxArray, for_programs
from ddphf.likelihood.expansion import CannotCompileError, Expansion
from ddphf.likelihood.general.layout import normsys_coefficients
from ddphf.likelihood.interpolation import (
    histosys_weights,
    is_symmetric,
    normsys_factor,
)

__all__ = ["PairArrays", "PairStructure", "Part", "build_pair", "features"]

ROLES = ("u_B", "u_A", "v_B", "v_A", "c_B", "c_A")


class Part(NamedTuple):
    """Static: one product of scalar factors, and the histosys weights that multiply with it.

    Attributes:
        factors: Indices of global parameters.
        normsys: Indices of normsys entries.
        rows: Indices into the histosys weights; -1 is the nominal yield.
    """

    factors: tuple[int, ...]
    normsys: tuple[int, ...]
    rows: tuple[int, ...]


class PairStructure(NamedTuple):
    """Static: what fixes the compiled program of a pair.

    Attributes:
        n_cells: Number M of bins of each channel.
        n_global: Number of global parameters.
        parts: Per role (u_B, u_A, v_B, v_A, c_B, c_A), its parts; empty: the role is absent.
        histosys: Per histosys weight, (global parameter, "linear" | "up" | "down").
        normsys: Per normsys entry, its global parameter.
        normsys_code: pyhf's interpolation code.
        histosys_code: pyhf's interpolation code.
        gaussian: For B and A, whether the channel's own factor has a Gaussian constraint.
    """

    n_cells: int
    n_global: int
    parts: tuple[tuple[Part, ...], ...]
    histosys: tuple[tuple[int, str], ...]
    normsys: tuple[int, ...]
    normsys_code: str
    histosys_code: str
    gaussian: tuple[bool, bool]

    @property
    def scaled(self) -> tuple[bool, bool]:
        """For B and A, whether a parameter without constraint may scale v to below 0."""
        return any(p.factors for p in self.parts[2]), any(p.factors for p in self.parts[3])

    def has(self, role: str) -> bool:
        """Whether a role is present."""
        return bool(self.parts[ROLES.index(role)])


class PairArrays(NamedTuple):
    """One pair; inputs of the compiled program. M cells, k global parameters.

    Attributes:
        matrices: Per role, shape (features, M); None where absent.
        coefficients: Normsys coefficients, shape (entries, 8).
        lower: Lower bounds of the global parameters, shape (k,).
        upper: Upper bounds.
        precision: 1 / sigma^2 of the Gaussian constraints, 0 where free, shape (k,).
        b_lower: Shape (M,).
        b_upper: Shape (M,).
        width: For B and A, tau or sigma of the channel's own factor, shape (M,) or None.
        gamma_lower: For B and A, shape (M,) or None.
        gamma_upper: For B and A, shape (M,) or None.
    """

    matrices: tuple[JaxArray | None, ...]
    coefficients: JaxArray
    lower: JaxArray
    upper: JaxArray
    precision: JaxArray
    b_lower: JaxArray
    b_upper: JaxArray
    width: tuple[JaxArray | None, JaxArray | None]
    gamma_lower: tuple[JaxArray | None, JaxArray | None]
    gamma_upper: tuple[JaxArray | None, JaxArray | None]


class PairPlaces(NamedTuple):
    """Where the pair's pieces lie in pyhf's parameters and data (numpy, host side).

    Attributes:
        b: Parameter index of each cell's background, shape (M,).
        bins: For B and A, the main-data bin of each cell, shape (M,).
        gamma: For B and A, the parameter index of the channel's factor, -1 where absent.
        gamma_data: For B and A, its place in the auxiliary data, -1 where absent.
        global_: Parameter index of each global parameter, shape (k,).
        global_data: Place of its centre in the auxiliary data, -1 where unconstrained.
    """

    b: Any
    bins: tuple[Any, Any]
    gamma: tuple[Any, Any]
    gamma_data: tuple[Any, Any]
    global_: Any
    global_data: Any


def features(
    structure: PairStructure,
    coefficients: Float[JaxArray, "*one entries 8"],
    theta: Float[JaxArray, "*toys k"],
) -> tuple[JaxArray | None, ...]:
    """Return the features of each role, shapes (..., features), of theta, shape (..., k)."""
    dtype, ones = theta.dtype, jnp.ones((*theta.shape[:-1], 1), theta.dtype)

    def pick(places: Any) -> JaxArray:
        # A product with a selection matrix: the transpose of a gather is a slow scatter.
        return theta @ jnp.asarray(np.eye(structure.n_global)[:, list(places)], dtype)

    weights = pick(index for index, _ in structure.histosys)
    if any(kind != "linear" for _, kind in structure.histosys):
        up, down = histosys_weights(weights, structure.histosys_code)
        kinds = np.array([kind for _, kind in structure.histosys])
        weights = jnp.where(kinds == "up", up, jnp.where(kinds == "down", down, weights))
    factors = None
    if structure.normsys:
        coefficients = jnp.asarray(coefficients, dtype)
        factors = normsys_factor(pick(structure.normsys), coefficients, structure.normsys_code)
    out: list[JaxArray | None] = []
    for parts in structure.parts:
        columns = []
        for part in parts:
            rows = [r for r in part.rows if r >= 0]
            n_rows = len(structure.histosys)
            if rows == list(range(n_rows)):
                block = weights
            else:
                block = weights @ jnp.asarray(np.eye(n_rows)[:, rows], dtype)
            if part.rows[0] < 0:
                block = jnp.concatenate([ones, block], axis=-1)
            for index in part.factors:
                block = block * theta[..., index : index + 1]
            for entry in part.normsys:
                assert factors is not None
                block = block * factors[..., entry : entry + 1]
            columns.append(block)
        out.append(jnp.concatenate(columns, axis=-1) if columns else None)
    return tuple(out)


def build_pair(
    expansion: Expansion, lower: Any, upper: Any
) -> tuple[PairStructure, PairArrays, PairPlaces]:
    """Recognise a pair in an expansion.

    Args:
        expansion: A pyhf model taken apart.
        lower: Lower bounds of all parameters.
        upper: Upper bounds.

    Raises:
        CannotCompileError: Says why the model is not a pair (it may still compile in general).
    """
    return _PairBuilder(expansion, np.asarray(lower), np.asarray(upper)).build()


class _PairBuilder:
    def __init__(self, expansion: Expansion, lower: Any, upper: Any) -> None:
        self.x, self.lower, self.upper = expansion, lower, upper
        constrained = {*expansion.constraints.normal_parameter.tolist()}
        constrained |= {*expansion.constraints.poisson_parameter.tolist()}
        self.constrained = constrained
        self.globals = np.flatnonzero(~expansion.per_bin)
        self.place = {int(p): i for i, p in enumerate(self.globals)}
        self.entries: dict[tuple[int, float, float], int] = {}
        self.rows: dict[tuple[int, str], int] = {}

    def build(self) -> tuple[PairStructure, PairArrays, PairPlaces]:
        x = self.x
        background = self._backgrounds()  # (samples, bins) parameter of b, -1
        first = self._cells(background)
        m = first.shape[1]
        gamma = [np.full(m, -1) for _ in range(2)]
        parts: list[dict[Any, dict[int, Any]]] = [{} for _ in ROLES]
        for s in range(x.nominal.shape[0]):
            for side in range(2):
                bins = first[side]
                if not x.present[s, bins].any():
                    continue
                own = self._own(s, bins, background[s, bins])
                free = background[s, bins] >= 0
                kinds = (
                    (0, free & x.present[s, bins]),
                    (2, (own >= 0) & ~free & x.present[s, bins]),
                    (4, (own < 0) & ~free & x.present[s, bins]),
                )
                if np.any(free & (own >= 0)):
                    raise CannotCompileError("a per-bin factor on the shared background")
                clash = (own >= 0) & (gamma[side] >= 0) & (gamma[side] != own)
                if clash.any():
                    raise CannotCompileError("two per-bin factors in one bin")
                gamma[side] = np.where(own >= 0, own, gamma[side])
                for role, mask in kinds:
                    if mask.any():
                        self._add(parts[role + side], s, bins, mask)
        return self._assemble(first, background, gamma, parts)

    def _backgrounds(self) -> Any:
        x = self.x
        background = np.full(x.nominal.shape, -1)
        for s, columns in enumerate(x.factors):
            for index, per_bin in columns:
                if not per_bin:
                    continue
                free = (index >= 0) & ~np.isin(index, list(self.constrained)) & x.present[s]
                if np.any(free & (background[s] >= 0)):
                    raise CannotCompileError("two free per-bin factors on one sample")
                background[s] = np.where(free, index, background[s])
        return background

    def _cells(self, background: Any) -> Any:
        x = self.x
        channels = np.unique(x.channel)
        if len(channels) != 2:
            raise CannotCompileError(f"{len(channels)} channels; a pair has two")
        per_bin = background.max(axis=0)
        if np.any(per_bin < 0):
            raise CannotCompileError("a bin without a free shared background")
        if np.any((background >= 0) & (background != per_bin)):
            raise CannotCompileError("two free backgrounds in one bin")
        bins = [np.flatnonzero(x.channel == c) for c in channels]
        if len(bins[0]) != len(bins[1]) or np.any(per_bin[bins[0]] != per_bin[bins[1]]):
            raise CannotCompileError("the two channels do not share one background per bin")
        if len(np.unique(per_bin[bins[0]])) != len(bins[0]):
            raise CannotCompileError("one background shared by several bins")
        # pyhf sorts channels by name: CR_ is A, SR_ is B; only the labels depend on it.
        return np.stack([bins[1], bins[0]])

    def _own(self, s: int, bins: Any, background: Any) -> Any:
        own = np.full(len(bins), -1)
        for index, per_bin in self.x.factors[s]:
            if not per_bin:
                continue
            here = np.where((index[bins] >= 0) & (index[bins] != background), index[bins], -1)
            here = np.where(self.x.present[s, bins], here, -1)
            if np.any((here >= 0) & (own >= 0)):
                raise CannotCompileError("two per-bin factors on one sample in one bin")
            own = np.where(here >= 0, here, own)
        return own

    def _add(self, parts: dict[Any, dict[int, Any]], s: int, bins: Any, mask: Any) -> None:
        """Add sample ``s`` of one channel to a role, merged with parts of the same factors."""
        x = self.x
        factors, normsys = [], []
        for index, per_bin in x.factors[s]:
            if per_bin:
                continue
            values = np.unique(index[bins])
            if len(values) != 1:
                raise CannotCompileError("a scalar factor on some bins of a channel only")
            if values[0] >= 0:
                factors.append(self.place[int(values[0])])
        for norm in x.normsys[s]:
            if norm.mask[bins].any():
                key = (
                    self.place[norm.parameter],
                    float(norm.low[bins[0]]),
                    float(norm.high[bins[0]]),
                )
                normsys.append(self.entries.setdefault(key, len(self.entries)))
        target = parts.setdefault((tuple(sorted(factors)), tuple(sorted(normsys))), {})
        target[-1] = target.get(-1, 0.0) + np.where(mask, x.nominal[s, bins], 0.0)
        for parameter, up, down in x.histosys[s]:
            up, down = np.where(mask, up[bins], 0.0), np.where(mask, down[bins], 0.0)
            if not (up.any() or down.any()):
                continue
            g = self.place[parameter]
            if is_symmetric(up, down, x.nominal[s, bins]):
                shifts = [("linear", 0.5 * (up + down))]
            else:
                shifts = [("up", up), ("down", down)]
            for kind, shift in shifts:
                row = self.rows.setdefault((g, kind), len(self.rows))
                target[row] = target.get(row, 0.0) + shift

    def _assemble(
        self, first: Any, background: Any, gamma: list[Any], parts: list[dict[Any, dict[int, Any]]]
    ) -> tuple[PairStructure, PairArrays, PairPlaces]:
        x, m = self.x, first.shape[1]
        if not (parts[0] and parts[1]):
            raise CannotCompileError("the shared background is missing in one channel")
        structure_parts, matrices = [], []
        for role in parts:
            structure_parts.append(
                tuple(Part(f, n, tuple(sorted(rows))) for (f, n), rows in sorted(role.items()))
            )
            stacked = [rows[r] for _, rows in sorted(role.items()) for r in sorted(rows)]
            matrices.append(np.stack(stacked) if stacked else None)
        for matrix in matrices[2:4]:
            if matrix is not None and np.any(matrix[0] < 0):
                raise CannotCompileError("negative yields under a per-bin factor")
        con = x.constraints
        normal = {int(p): i for i, p in enumerate(con.normal_parameter)}
        poisson = {int(p): i for i, p in enumerate(con.poisson_parameter)}
        gaussian, width, places = [], [], []
        for side in range(2):
            have = gamma[side][gamma[side] >= 0]
            kinds = {int(p) in normal for p in have}
            if len(kinds) > 1:
                raise CannotCompileError("shapesys and staterror in one channel")
            is_normal = kinds == {True}
            gaussian.append(is_normal)
            table = normal if is_normal else poisson
            where = np.array([table[int(p)] if p >= 0 else -1 for p in gamma[side]])
            value = con.normal_sigma if is_normal else con.poisson_tau
            data = con.normal_data if is_normal else con.poisson_data
            width.append(np.where(where >= 0, value[where], 1.0) if have.size else None)
            places.append(np.where(where >= 0, data[where], -1) if have.size else where)
        bounds = [
            [np.where(g >= 0, limit[g], one) if (g >= 0).any() else None for g in gamma]
            for limit, one in ((self.lower, 1.0), (self.upper, 1.0))
        ]
        globals_ = self.globals
        centre = np.array([normal.get(int(p), -1) for p in globals_], dtype=int)
        if any(int(p) in poisson for p in globals_):
            raise CannotCompileError("a scalar parameter with a Poisson constraint")
        sigma = np.array([con.normal_sigma[i] if i >= 0 else np.inf for i in centre])
        b = background[:, first[0]].max(axis=0)
        keys = list(self.entries)
        structure = PairStructure(
            n_cells=m,
            n_global=len(globals_),
            parts=tuple(structure_parts),
            histosys=tuple(self.rows),
            normsys=tuple(key[0] for key in keys),
            normsys_code=x.normsys_code,
            histosys_code=x.histosys_code,
            gaussian=(gaussian[0], gaussian[1]),
        )
        low, high = (np.array([key[i] for key in keys]) for i in (1, 2))
        arrays = PairArrays(
            matrices=tuple(None if m is None else for_programs(m) for m in matrices),
            coefficients=for_programs(normsys_coefficients(low, high, x.normsys_code)),
            lower=for_programs(self.lower[globals_]),
            upper=for_programs(self.upper[globals_]),
            precision=for_programs(1.0 / sigma**2),
            b_lower=for_programs(self.lower[b]),
            b_upper=for_programs(self.upper[b]),
            width=_both(width),
            gamma_lower=_both(bounds[0]),
            gamma_upper=_both(bounds[1]),
        )
        data = np.array([con.normal_data[i] if i >= 0 else -1 for i in centre], dtype=int)
        return (
            structure,
            arrays,
            PairPlaces(
                b=b,
                bins=(first[0], first[1]),
                gamma=(gamma[0], gamma[1]),
                gamma_data=(places[0], places[1]),
                global_=globals_,
                global_data=data,
            ),
        )


def _both(arrays: list[AnyArray | None]) -> tuple[JaxArray | None, JaxArray | None]:
    one, other = (None if array is None else for_programs(array) for array in arrays)
    return one, other
