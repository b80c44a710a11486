"""Lepton (mis)identification of a ratio: one covariance, eigen-variations across its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.config.placeholders import fill, match_samples
from ddphf.config.ratio import RatioConfig, RatioMapConfig
from ddphf.exceptions import InputError, ModelError
from ddphf.inputs.covariance import make_covariance, read_matrix
from ddphf.measurement.samples import (
    RatioChannel,
    RatioSample,
    RatioVariation,
    refuse_turning_negative,
)
from ddphf.workspace.eigen import PSD_TOLERANCE, EigenVariations, decompose

__all__ = ["Calibration", "attach_calibrations", "covariance_at", "read_calibrations"]

SMALL_LOSS = 1e-3
"""Part of the variance of a bin that may be dropped without a word."""


@dataclass(frozen=True)
class Calibration:
    """One calibration, of K bins.

    Attributes:
        name: Of its eigen-variations.
        independent: Relative covariance without any correlation that is in doubt, (K, K).
        full: The same with all of it.
        rho: What is assumed between the two: 0 to 1.
        composition: Mean number of leptons of template bin i in calibration bin k, (M, K), by
            ``CHANNEL/SAMPLE``.
        at_most: How many eigen-variations to keep, or None.
        retained: Part of the summed variance to keep.
        psd_tolerance: See :func:`ddphf.workspace.eigen.psd_factor`.
    """

    name: str
    independent: Array
    full: Array
    rho: float
    composition: dict[str, Array]
    at_most: int | None = None
    retained: float = 1.0
    psd_tolerance: float = PSD_TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of the sidecar."""
        return {
            "name": self.name,
            "rho": self.rho,
            "independent": self.independent.tolist(),
            "full": self.full.tolist(),
            "composition": {key: w.tolist() for key, w in self.composition.items()},
            "psd_tolerance": self.psd_tolerance,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what :meth:`to_dict` wrote; every variation is kept."""
        return cls(
            data["name"],
            np.array(data["independent"], dtype=float),
            np.array(data["full"], dtype=float),
            float(data["rho"]),
            {key: np.array(w, dtype=float) for key, w in data["composition"].items()},
            psd_tolerance=float(data.get("psd_tolerance", PSD_TOLERANCE)),
        )

    def vary(self, rho: float) -> EigenVariations:
        """Return the eigen-variations of all its samples, one after the other, at a correlation.

        Raises:
            ModelError: The covariance is none, or a composition is negative.
        """
        stacked = np.concatenate([*self.composition.values()])
        matrix = make_covariance(covariance_at(self, rho), source=self.name)
        try:
            return decompose(matrix, stacked, psd_tolerance=self.psd_tolerance)
        except ModelError as error:
            raise ModelError(f"lepton_id '{self.name}': {error}") from None


def covariance_at(calibration: Calibration, rho: float) -> Array:
    """Return (1 - rho) x independent + rho x full, shape (K, K).

    Example:
        >>> c = Calibration("id", np.eye(2), np.ones((2, 2)), 1.0, {})
        >>> covariance_at(c, 0.5).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    return np.asarray((1.0 - rho) * calibration.independent + rho * calibration.full)


def read_calibrations(
    config: RatioConfig, channels: Sequence[RatioChannel]
) -> tuple[Calibration, ...]:
    """Read every calibration of a ratio file.

    Raises:
        InputError: A matrix of the wrong shape, or a composition that does not fit.
    """
    return tuple(_read(config, item, channels) for item in config.lepton_id)


def _read(
    config: RatioConfig, item: RatioMapConfig, channels: Sequence[RatioChannel]
) -> Calibration:
    where = f"lepton_id '{item.name}'"
    if item.covariance is not None:
        matrix = read_matrix(item.covariance, folder=config.folder)
        full = make_covariance(matrix, source=f"{where}, {item.covariance}").matrix
        independent, rho = np.diag(np.diag(full)), 1.0
    else:
        systematic = _vector(config, str(item.systematic), where)
        statistical = np.zeros_like(systematic)
        if item.statistical is not None:
            statistical = _vector(config, item.statistical, where)
            if len(statistical) != len(systematic):
                raise InputError(
                    f"{where}: {len(statistical)} statistical and {len(systematic)} systematic "
                    "errors; give one of each per calibration bin"
                )
        if np.any(statistical < 0):
            raise InputError(
                f"{where}, {item.statistical}: got {float(statistical.min()):g}, expected relative "
                "errors >= 0"
            )
        full = np.diag(statistical**2) + np.outer(systematic, systematic)
        independent = np.diag(statistical**2 + systematic**2)
        rho = item.correlation
    sizes = {
        f"{channel.name}/{sample.name}": len(channel.observed)
        for channel in channels
        for sample in channel.samples
    }
    composition = {
        key: _composition(config, item, key, sizes[key], len(full), where)
        for key in match_samples(item.samples, list(sizes))
    }
    tolerance = PSD_TOLERANCE if item.psd_tolerance is None else item.psd_tolerance
    return Calibration(
        item.name, independent, full, rho, composition, item.at_most, item.retained, tolerance
    )


def _vector(config: RatioConfig, address: str, where: str) -> Array:
    values = np.squeeze(read_matrix(address, folder=config.folder))
    if values.ndim != 1 or not np.all(np.isfinite(values)):
        raise InputError(
            f"{where}, {address}: shape {values.shape}, expected a finite relative error for each "
            "calibration bin"
        )
    return np.asarray(values)


def _composition(
    config: RatioConfig, item: RatioMapConfig, key: str, n_bins: int, n_calibration: int, where: str
) -> Array:
    if item.composition is None:
        if n_bins != n_calibration:
            raise InputError(
                f"{where}: {n_calibration} calibration bins, but {key} has {n_bins} bins; give "
                "'composition', the mean number of leptons of each bin in each calibration bin"
            )
        return item.leptons * np.eye(n_bins)
    channel, _, sample = key.partition("/")
    address = fill(item.composition, {"{channel}": channel, "{sample}": sample})
    found = read_matrix(address, folder=config.folder)
    if found.shape != (n_bins, n_calibration):
        raise InputError(
            f"{where}, {address}: shape {found.shape}, expected {(n_bins, n_calibration)} (bins of "
            f"{key} x calibration bins)"
        )
    return found


def attach_calibrations(
    channels: Sequence[RatioChannel], calibrations: Sequence[Calibration]
) -> tuple[tuple[RatioChannel, ...], list[dict[str, Any]], list[str]]:
    """Give the samples the eigen-variations of every calibration.

    Args:
        channels: Of the ratio.
        calibrations: Whose samples are there.

    Returns:
        The channels, what the sidecar says of each calibration, and warnings.

    Raises:
        ModelError: No covariance, or one so large that a template turns negative.
    """
    added: dict[str, list[RatioVariation]] = {}
    entries: list[dict[str, Any]] = []
    warnings: list[str] = []
    for calibration in calibrations:
        keys = list(calibration.composition)
        found = calibration.vary(calibration.rho)
        if found.clipped:
            warnings.append(
                f"lepton_id '{calibration.name}': {len(found.clipped)} negative eigenvalue(s) of "
                f"the covariance are set to 0 (the lowest: {min(found.clipped):.3g})"
            )
        sums = np.cumsum(found.eigenvalues)
        enough = int(np.searchsorted(sums, calibration.retained * found.trace * (1 - 1e-12))) + 1
        count = min(enough, found.n_kept, calibration.at_most or found.n_kept)
        names = [f"{calibration.name}_eig{number:02d}" for number in range(count)]
        variance = np.sum(found.columns**2, axis=1)
        dropped = np.sum(found.columns[:, count:] ** 2, axis=1)
        loss = float(np.max(dropped / np.where(variance > 0, variance, 1.0)))
        if loss > SMALL_LOSS:
            warnings.append(
                f"lepton_id '{calibration.name}': {found.n_kept - count} of {found.n_kept} "
                f"eigen-variations are dropped, with up to {loss:.3g} of the variance of a bin; "
                "keep more of them"
            )
        rows = np.split(
            variance, np.cumsum([len(w) for w in calibration.composition.values()])[:-1]
        )
        warnings += [
            f"lepton_id '{calibration.name}': moves no bin of {key}, whose composition or whose "
            "errors are 0; correct them, or leave the sample out"
            for key, own in zip(keys, rows, strict=True)
            if not np.any(own)
        ]
        entries.append(
            {
                **calibration.to_dict(),
                "kept": names,
                "eigenvalues": found.eigenvalues.tolist(),
                "dropped": found.n_kept - count,
                "largest_loss": loss,
            }
        )
        row = 0
        for key in keys:
            n_bins = len(calibration.composition[key])
            columns = found.columns[row : row + n_bins, :count]
            row += n_bins
            added.setdefault(key, []).extend(
                RatioVariation(
                    name, "histosys", 1 + column, 1 - column, f"eigen-variation {calibration.name}"
                )
                for name, column in zip(names, columns.T, strict=True)
                if np.any(column)
            )
    return tuple(_with(channel, added) for channel in channels), entries, warnings


def _with(channel: RatioChannel, added: Mapping[str, list[RatioVariation]]) -> RatioChannel:
    samples: list[RatioSample] = []
    for sample in channel.samples:
        more = tuple(added.get(f"{channel.name}/{sample.name}", ()))
        changed = replace(sample, variations=(*sample.variations, *more))
        where = f"channel '{channel.name}', sample '{sample.name}'"
        refuse_turning_negative(changed, channel.axes, where)
        samples.append(changed)
    return replace(channel, samples=tuple(samples))
