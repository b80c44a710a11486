"""Any compiled model laid out: dense arrays over (bin, sample), and which parameters are local.

Parameters are global, or local to a cell: a cell is a connected component of bins through per-bin
parameters (shapefactor, shapesys, staterror). The arrays are inputs of every compiled function, so
that two models of one shape share one compilation; what fixes the shape of the program is in
:class:`Codes`. All of this is numpy, once per model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ddphf.arrays import AnyArray, Array, Float, IntArray, JaxArray, for_programs
from ddphf.likelihood.expansion import CannotCompileError, Expansion
from ddphf.likelihood.interpolation import is_symmetric

__all__ = ["Cells", "Codes", "ModelArrays", "build_arrays", "find_cells", "normsys_coefficients"]

MAX_LOCALS = 8


class Codes(NamedTuple):
    """What is fixed at compilation: interpolation codes and the number of symmetric histosys."""

    normsys: str
    histosys: str
    n_symmetric: int


class ModelArrays(NamedTuple):
    """One model.

    Attributes:
        nominal: Shape (bins, samples).
        shift: Shape (rows, bins, samples): symmetric shifts, then up, then down shifts.
        histosys: Shape (symmetric + asymmetric,): parameter of each histosys.
        factor: Shape (bins, samples, factors): place of each factor in
            [parameters, normsys factors, 1].
        normsys: Shape (entries,): parameter of each normsys factor.
        coefficients: Shape (entries, 8), see :func:`normsys_coefficients`.
        normal_parameter: Shape (n_normal,).
        normal_data: Shape (n_normal,): place in the auxiliary data.
        normal_sigma: Shape (n_normal,).
        poisson_parameter: Shape (n_poisson,).
        poisson_data: Shape (n_poisson,).
        poisson_tau: Shape (n_poisson,).
    """

    nominal: JaxArray
    shift: JaxArray
    histosys: JaxArray
    factor: JaxArray
    normsys: JaxArray
    coefficients: JaxArray
    normal_parameter: JaxArray
    normal_data: JaxArray
    normal_sigma: JaxArray
    poisson_parameter: JaxArray
    poisson_data: JaxArray
    poisson_tau: JaxArray


class Cells(NamedTuple):
    """Which parameters are local, and to what. Padding: parameter index n, cell index ``cells``.

    A parameter is at most one factor of a sample in a bin; ``*factor`` says which entry of the
    table [parameters, normsys factors, 1] that is (its last entry where there is none).

    Attributes:
        global_: Shape (k,): parameter index.
        local: Shape (cells, L): parameter index, n where a cell has fewer.
        of_bin: Shape (bins,): the cell of each bin.
        global_factor: Shape (bins, samples, k).
        local_factor: Shape (bins, samples, L).
        variation: Shape (k,): place in the model's histosys, their number where there is none.
    """

    global_: JaxArray
    local: JaxArray
    of_bin: JaxArray
    global_factor: JaxArray
    local_factor: JaxArray
    variation: JaxArray


def build_arrays(expansion: Expansion) -> tuple[ModelArrays, Codes]:
    """Lay an expansion out densely.

    Returns:
        The arrays (numpy, moved to the device at first use) and the static codes.
    """
    (n_samples, n_bins), n = expansion.nominal.shape, expansion.n_parameters
    by_parameter: dict[int, list[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]] = {}
    for s, variations in enumerate(expansion.histosys):
        for parameter, up, down in variations:
            by_parameter.setdefault(parameter, []).append((s, up, down))
    symmetric, asymmetric = [], []
    for parameter, entries in by_parameter.items():
        up, down = np.zeros((n_bins, n_samples)), np.zeros((n_bins, n_samples))
        for s, u, d in entries:
            up[:, s] += u
            down[:, s] += d
        if is_symmetric(up, down, expansion.nominal.T):
            symmetric.append((parameter, 0.5 * (up + down)))
        else:
            asymmetric.append((parameter, up, down))
    rows = [x[1] for x in symmetric] + [x[1] for x in asymmetric] + [x[2] for x in asymmetric]

    entries_: dict[tuple[int, float, float], int] = {}
    columns: list[list[np.ndarray[Any, Any]]] = [[] for _ in range(n_samples)]
    for s in range(n_samples):
        for index, _ in expansion.factors[s]:
            columns[s].append(index)
        for norm in expansion.normsys[s]:
            column = np.full(n_bins, -1)
            for channel in np.unique(expansion.channel[norm.mask]):
                where = norm.mask & (expansion.channel == channel)
                first = int(np.flatnonzero(where)[0])
                key = (norm.parameter, float(norm.low[first]), float(norm.high[first]))
                column[where] = n + entries_.setdefault(key, len(entries_))
            columns[s].append(column)
    one = n + len(entries_)
    factor = np.full((n_bins, n_samples, max(1, *map(len, columns))), one)
    for s, cols in enumerate(columns):
        for f, column in enumerate(cols):
            factor[:, s, f] = np.where(column >= 0, column, one)
    keys = list(entries_)
    constraints = expansion.constraints
    arrays = ModelArrays(
        nominal=for_programs(expansion.nominal.T.copy()),
        shift=for_programs(np.stack(rows) if rows else np.zeros((0, n_bins, n_samples))),
        histosys=for_programs(np.array([x[0] for x in (*symmetric, *asymmetric)], dtype=int)),
        factor=for_programs(factor),
        normsys=for_programs(np.array([key[0] for key in keys], dtype=int)),
        coefficients=for_programs(
            normsys_coefficients(
                np.array([key[1] for key in keys]),
                np.array([key[2] for key in keys]),
                expansion.normsys_code,
            )
        ),
        normal_parameter=for_programs(constraints.normal_parameter),
        normal_data=for_programs(constraints.normal_data),
        normal_sigma=for_programs(constraints.normal_sigma),
        poisson_parameter=for_programs(constraints.poisson_parameter),
        poisson_data=for_programs(constraints.poisson_data),
        poisson_tau=for_programs(constraints.poisson_tau),
    )
    return arrays, Codes(expansion.normsys_code, expansion.histosys_code, len(symmetric))


def find_cells(expansion: Expansion, arrays: ModelArrays, max_locals: int = MAX_LOCALS) -> Cells:
    """Split the parameters; those of a component with too many locals stay global.

    Args:
        expansion: The model taken apart.
        arrays: The same model laid out.
        max_locals: Largest L.

    Raises:
        CannotCompileError: A parameter acts twice on one sample in one bin.
    """
    n, n_bins = expansion.n_parameters, len(arrays.nominal)
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        while parent.setdefault(x, x) != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    touched: dict[int, set[int]] = {}
    for s, columns in enumerate(expansion.factors):
        for index, per_bin in columns:
            if not per_bin:
                continue
            for i in np.flatnonzero((index >= 0) & expansion.present[s]):
                parameter = int(index[i])
                touched.setdefault(parameter, set()).add(int(i))
                parent[root(n_bins + parameter)] = root(int(i))
    components: dict[int, list[int]] = {}
    for parameter in sorted(touched):
        components.setdefault(root(n_bins + parameter), []).append(parameter)
    kept = {r: p for r, p in components.items() if len(p) <= max_locals}
    width = max((len(p) for p in kept.values()), default=0)
    local = np.full((len(kept), width), n)
    of_bin = np.full(n_bins, len(kept))
    is_local = np.zeros(n, dtype=bool)
    for c, parameters in enumerate(kept.values()):
        local[c, : len(parameters)] = parameters
        is_local[parameters] = True
        for parameter in parameters:
            of_bin[list(touched[parameter])] = c
    # Per-bin parameters of bins without yield have their constraint alone: any free place will do,
    # and among the globals they would make every dense step as large as the model.
    idle = [int(p) for p in np.flatnonzero(expansion.per_bin) if int(p) not in touched]
    if width:
        filled = idle[: int(np.sum(local == n))]
        local[tuple(np.argwhere(local == n)[: len(filled)].T)] = filled
        is_local[filled] = True
    return _find_factors(expansion, arrays, np.flatnonzero(~is_local), local, of_bin)


def _find_factors(
    expansion: Expansion, arrays: ModelArrays, global_: IntArray, local: IntArray, of_bin: IntArray
) -> Cells:
    n = expansion.n_parameters
    one = n + len(arrays.normsys)
    owner = np.concatenate([np.arange(n), arrays.normsys, [n]]).astype(int)
    slot = np.full(n + 1, -1)
    slot[global_] = np.arange(len(global_))
    cell_slot = np.zeros(n + 1, dtype=int)
    cell_slot[local] = np.broadcast_to(np.arange(local.shape[1]), local.shape)
    shape = arrays.factor.shape[:2]
    global_factor = np.full((*shape, len(global_)), one, dtype=np.int32)
    local_factor = np.full((*shape, local.shape[1]), one, dtype=np.int32)
    # Where a sample has no yield its factors are idle, and may sit in any place of any cell.
    places = np.nonzero((arrays.factor != one) & expansion.present.T[:, :, None])
    for b, s, entry in zip(*places[:2], arrays.factor[places], strict=True):
        p = owner[entry]
        table, where = (global_factor, slot[p]) if slot[p] >= 0 else (local_factor, cell_slot[p])
        if table[b, s, where] != one:
            raise CannotCompileError(f"parameter {p} acts twice on one sample in bin {b}")
        table[b, s, where] = entry
    row = np.full(n + 1, len(arrays.histosys))
    row[arrays.histosys] = np.arange(len(arrays.histosys))
    tables: list[AnyArray] = [global_, local, of_bin, global_factor, local_factor, row[global_]]
    return Cells(*map(for_programs, tables))


# Rows: coefficients a_1..a_6 of code4's polynomial from value, slope and curvature at +-1.
_CODE4 = np.array(
    [
        [15 / 16, -15 / 16, -7 / 16, -7 / 16, 1 / 16, -1 / 16],
        [3 / 2, 3 / 2, -9 / 16, 9 / 16, 1 / 16, 1 / 16],
        [-5 / 8, 5 / 8, 5 / 8, 5 / 8, -1 / 8, 1 / 8],
        [-3 / 2, -3 / 2, 7 / 8, -7 / 8, -1 / 8, -1 / 8],
        [3 / 16, -3 / 16, -3 / 16, -3 / 16, 1 / 16, -1 / 16],
        [1 / 2, 1 / 2, -5 / 16, 5 / 16, 1 / 16, 1 / 16],
    ]
)


def normsys_coefficients(
    low: Float[Array, "entries"], high: Float[Array, "entries"], code: str
) -> Float[Array, "entries 8"]:
    """Return what :func:`~ddphf.likelihood.interpolation.normsys_factor` needs.

    Shape (entries, 8), from the factors at -1, +1.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    log_low, log_high = np.log(low), np.log(high)
    polynomial = np.zeros((low.size, 6))
    if code == "code4":
        conditions = np.stack(
            [
                high - 1.0,
                low - 1.0,
                log_high * high,
                -log_low * low,
                log_high**2 * high,
                log_low**2 * low,
            ]
        )
        polynomial = (_CODE4 @ conditions).T
    return np.concatenate([log_low[:, None], log_high[:, None], polynomial], axis=1)
