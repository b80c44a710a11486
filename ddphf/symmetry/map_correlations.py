"""The covariance of several maps: each source with its own correlation, some of them shared.

C = diag(stat^2) + sum over sources of u u^T x R, R the product over the axes of the correlation
between two bins: 1 where they are one bin of that axis, rho otherwise. A shared source has one R
over the bins of all maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ddphf.arrays import Array
from ddphf.config.sections import LeptonIdConfig, MapConfig
from ddphf.exceptions import InputError
from ddphf.inputs.covariance import (
    Covariance,
    axis_correlation,
    combine_covariances,
    make_covariance,
    read_matrix,
    rho_covariance,
)
from ddphf.inputs.maps import LeptonMap, map_covariance

__all__ = ["correlate_maps"]

NO_AXIS = (-np.inf, np.inf)
"""Stands for the bin of an axis that a map does not have."""


def correlate_maps(
    config: LeptonIdConfig, maps: Sequence[LeptonMap], folder: str | Path
) -> Covariance:
    """Return the relative covariance of all calibration bins, map after map.

    Args:
        config: What the analysis says about the maps' errors.
        maps: In the order of ``config.maps``.
        folder: Where matrices are read from.

    Raises:
        InputError: A source or an axis that a map does not have, a shared source of a map that has
            a matrix, or one whose correlation differs between the maps.
    """
    for name in config.shared:
        for item, calibration in zip(config.maps, maps, strict=True):
            if (
                item.covariance is not None
                or name not in calibration.sources
                or name in item.exclude
            ):
                raise InputError(
                    f"lepton_id.shared: '{name}' is no source of map '{item.name}'"
                    f"{', which has a matrix' if item.covariance is not None else ''}; it has: "
                    f"{', '.join(calibration.sources) or 'none'}"
                )
    blocks = [
        _block(item, calibration, config.shared, folder)
        for item, calibration in zip(config.maps, maps, strict=True)
    ]
    combined = combine_covariances(blocks)
    matrix = combined.matrix.copy()
    owner = np.repeat(np.arange(len(maps)), [m.n_bins for m in maps])
    across = owner[:, None] != owner[None, :]
    for name in config.shared:
        rhos = _common_rhos(name, config.maps, maps)
        shift = np.concatenate([m.sources[name] / m.values for m in maps])
        matrix[across] += _source(shift, maps, rhos)[across]
    return replace(combined, matrix=matrix)


def _block(
    config: MapConfig, calibration: LeptonMap, shared: Sequence[str], folder: str | Path
) -> Covariance:
    """Return the covariance of one map alone."""
    if config.covariance is not None:
        matrix = read_matrix(config.covariance, folder=folder)
        checked = make_covariance(matrix, labels=calibration.labels, source=config.covariance)
        if config.relative:
            return checked
        scaled = checked.matrix / np.outer(calibration.values, calibration.values)
        return Covariance(scaled, checked.labels, "matrix", checked.asymmetry)
    where = calibration.source or f"map '{calibration.name}'"
    for name, axes in config.source_correlation.items():
        if name not in calibration.sources:
            raise InputError(
                f"{where}: correlation of '{name}', which is no source of the map; it has: "
                f"{', '.join(calibration.sources) or 'none'}"
            )
        pseudo = calibration.sources[name][calibration.n_bins - calibration.n_pseudo :]
        if np.any(pseudo) and any(rho != 1 for rho in axes.values()):
            raise InputError(
                f"{where}: '{name}' varies inside the bins, as of a formula, and is evaluated at "
                "the leptons; it has no 'correlation' along an axis, so leave that out"
            )
        for axis in axes:
            if axis not in calibration.axes:
                raise InputError(
                    f"{where}: correlation of '{name}' along '{axis}', which is no axis of the "
                    f"map; it has: {', '.join(calibration.axes)}"
                )
    # A source with a correlation of its own, or shared with other maps, stands for itself; what
    # is left is taken together.
    alone = list(config.source_correlation)
    if config.correlation is not None:
        alone += [name for name in shared if name not in config.source_correlation]
    block = map_covariance(
        calibration, correlation=config.correlation, exclude=[*config.exclude, *alone]
    )
    matrix, words = block.matrix.copy(), [block.model]
    for name in alone:
        rhos = _rhos(name, config)
        matrix += _source(calibration.sources[name] / calibration.values, [calibration], rhos)
        text = ", ".join(f"{axis}: {rhos.get(axis, 1.0):g}" for axis in calibration.axes)
        words.append(f"'{name}' with rho ({text})")
    return replace(block, matrix=matrix, model=", ".join(words))


def _rhos(name: str, config: MapConfig) -> Mapping[str, float]:
    """Return rho by axis of a source that stands for itself; full where nothing is said."""
    return config.source_correlation.get(name, config.correlation or {})


def _common_rhos(
    name: str, configs: Sequence[MapConfig], maps: Sequence[LeptonMap]
) -> dict[str, float]:
    """Return rho by axis of a shared source, the same in every map that has the axis."""
    out: dict[str, float] = {}
    for config, calibration in zip(configs, maps, strict=True):
        for axis in calibration.axes:
            rho = _rhos(name, config).get(axis, 1.0)
            if out.setdefault(axis, rho) != rho:
                raise InputError(
                    f"lepton_id.shared: '{name}' has rho {out[axis]:g} along {axis} in one map and "
                    f"{rho:g} in map '{config.name}'; a shared source has one correlation, so "
                    f"state 'correlation: {{{name}: {{{axis}: ...}}}}' alike in all"
                )
    return out


def _source(shift: Array, maps: Sequence[LeptonMap], rhos: Mapping[str, float]) -> Array:
    """Return u u^T x R of one source over the bins of maps, shape (K, K)."""
    factors = [
        axis_correlation(np.concatenate([_ends(m, axis) for m in maps]), rhos[axis])
        for axis in dict.fromkeys(axis for m in maps for axis in m.axes)
        if axis in rhos
    ]
    # The sign of a shift counts: u is no size here.
    return rho_covariance(shift, factors)


def _ends(calibration: LeptonMap, axis: str) -> Array:
    """Return what tells the bins of an axis apart, shape (K, 2), equal to six digits."""
    if axis not in calibration.axes:
        return np.tile(NO_AXIS, (calibration.n_bins, 1))
    number = calibration.axes.index(axis)
    ends = np.stack([calibration.lows[:, number], calibration.highs[:, number]], axis=1)
    return np.array([[float(f"{x:.6g}") for x in pair] for pair in ends])
