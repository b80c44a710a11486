"""What is not known of the ratio and the fakes, as a change per event and sigma.

Errors of the lepton identification come as many directions as the maps have bins. For any histogram
of any selection F = G'G is at most sum_i q_i (1 - q_i) lambda_i lambda_i' over the events, by the
inequality of Cauchy and Schwarz. Directions with an eigenvalue of it below .01 are dropped:
together they add less than 1 % to the variance of any window (derived).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.config.analysis import Analysis, SystematicConfig
from ddphf.exceptions import InputError
from ddphf.inputs.alignment import align
from ddphf.inputs.readers import read_histogram
from ddphf.symmetry.efficiency import EventEfficiencies
from ddphf.symmetry.fakes import LooseLeptons, fake_normalisation
from ddphf.symmetry.load_events import EventSamples
from ddphf.symmetry.load_lepton_id import load_covariance

__all__ = ["Base", "Direction", "label_directions", "other_directions"]

DROPPED = 0.01
"""Variance, of a window's 1, that may be left out."""

TINY = 1e-9
"""Variance below which a nuisance does nothing."""


@dataclass(frozen=True)
class Base:
    """Events of both samples, then the events of the control regions of fakes.

    Attributes:
        keys_: Which tables these are.
        starts: First row of each, and the end.
        bins: In the axes of the analysis, flat, -1 outside, (n,).
        ratio: r at the event, (n,).
        event: No event of a control region, (n,).
        tested: In the tested sample, (n,).
        weights: Expected fakes that the event stands for; 1 for events, (n,).
        known: Has a ratio, (n,).
        share: q, (n,).
        prompt: Expected part of the events of its bin that are no fakes, (n,).
        counted: Has a counting error, (n,).
    """

    keys_: tuple[tuple[str, str], ...]
    starts: IntArray
    bins: IntArray
    ratio: Array
    event: Mask
    tested: Mask
    weights: Array
    known: Mask
    share: Array
    prompt: Array
    counted: Mask

    @staticmethod
    def keys(samples: EventSamples) -> list[tuple[str, str]]:
        """Return which tables of the samples count, in their order."""
        fakes = [(role, "fakes") for role in ("tested", "partner")]
        return [("both", "observed"), *(key for key in fakes if key in samples.events)]

    @property
    def outside(self) -> int:
        """Events without a ratio."""
        return int(np.sum(~self.known & self.event))

    @property
    def parts(self) -> Array:
        """What an event of a control region adds to the difference: -f_B, or r f_A."""
        return np.asarray(np.where(self.tested, -self.weights, self.ratio * self.weights))

    def rows(self, key: tuple[str, str]) -> slice:
        """Return the rows of one table."""
        i = self.keys_.index(key)
        return slice(int(self.starts[i]), int(self.starts[i + 1]))


@dataclass(frozen=True)
class Direction:
    """One nuisance parameter.

    Attributes:
        name: Of it.
        source: Where it comes from, in words.
        values: Per sigma: relative change of the odds of each row's label, or change of the row's
            part of the difference, (n of the base,); in single precision for labels.
    """

    name: str
    source: str
    values: AnyArray


def label_directions(analysis: Analysis, samples: EventSamples, base: Base) -> list[Direction]:
    """Return the nuisances of the efficiency ratio, those of the lepton identification first."""
    r, q = base.ratio, base.share
    # d ln(odds) / d ln(r) of a label; 1 without fakes.
    felt = np.where(base.event, base.prompt * r / ((1 + r) ** 2 * q * (1 - q)), 0.0)
    out = []
    config = analysis.lepton_id
    if config is not None:
        covariance = load_covariance(config, samples, analysis)
        values, vectors = np.linalg.eigh(covariance.matrix)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        leptons = _difference(samples.events["both", "observed"].efficiencies, covariance.n_bins)
        weight = (q * (1 - q) * felt**2)[base.event]
        matrix = root.T @ (leptons.T @ sparse.diags(weight) @ leptons @ root)
        sizes, turns = np.linalg.eigh(matrix)
        sizes, turns = sizes[::-1], turns[:, ::-1]
        kept = int(np.sum(sizes > DROPPED))
        for k in range(kept):
            full = np.zeros(len(r), dtype=np.float32)
            full[base.event] = (leptons @ (root @ turns[:, k])) * felt[base.event]
            name = f"lepid_{config.source}_{k:02d}"
            out.append(Direction(name, f"lepton identification ({covariance.model})", full))
    for name, change in _background_changes(analysis, samples, base).items():
        if np.sum((q * (1 - q) * (change * felt) ** 2)[base.event]) > TINY:
            out.append(Direction(name, "systematic of the symmetric background", change * felt))
    return out


def _difference(efficiencies: EventEfficiencies | None, n_bins: int) -> sparse.csr_matrix:
    """Return leptons per calibration bin as in the tested minus as in the partner sample."""
    assert efficiencies is not None
    n = len(efficiencies.tested)
    total = sparse.csr_matrix((n, n_bins))
    for role, sign in (("tested", 1.0), ("partner", -1.0)):
        cells: IntArray = getattr(efficiencies, f"{role}_bins")
        shares: Array = getattr(efficiencies, f"{role}_shares")
        row, column = np.nonzero(cells >= 0)
        data = sign * shares[row, column]
        total = total + sparse.csr_matrix((data, (row, cells[row, column])), shape=(n, n_bins))
    return total


def _background_changes(analysis: Analysis, samples: EventSamples, base: Base) -> dict[str, Array]:
    """Return the relative change of r per sigma of each systematic of the channels."""
    out: dict[str, Array] = {}
    for sign, channel in ((1.0, analysis.tested), (-1.0, analysis.partner)):
        for config in channel.systematics:
            change = sign * _relative(config, analysis, samples, base)
            out[config.name] = out.get(config.name, 0.0) + change
    return out


def _relative(
    config: SystematicConfig, analysis: Analysis, samples: EventSamples, base: Base
) -> Array:
    """Return half the difference of the factors at +-1 sigma, of each row."""
    ends = []
    for end in (config.up, config.down):
        if not isinstance(end, str):
            ends.append(np.full(len(base.bins), float(end)))
            continue
        found = align(read_histogram(end, folder=analysis.folder), samples.axes)[0]
        if np.any(lost := (base.bins < 0) & base.event):
            raise InputError(
                f"search: systematic '{config.name}' is a histogram ({end}), and {lost.sum()} "
                "events lie outside its axes; drop them with 'events.select', or widen the axes"
            )
        ends.append(np.append(found.values.ravel(), 1.0)[base.bins])
    return np.asarray((ends[0] - ends[1]) / 2)


def other_directions(analysis: Analysis, samples: EventSamples, base: Base) -> list[Direction]:
    """Return the nuisances of the fakes: equal names in both channels are one.

    Raises:
        InputError: A shape that is a histogram, which other selections do not have.
    """
    found: dict[str, tuple[str, Array]] = {}

    def add(name: str, source: str, rows: slice, change: Array) -> None:
        values = found.setdefault(name, (source, np.zeros(len(base.bins))))[1]
        values[rows] += change

    for role, channel in (("tested", analysis.tested), ("partner", analysis.partner)):
        fakes = channel.fakes
        if fakes is None:
            continue
        rows = base.rows((role, "fakes"))
        parts = base.parts[rows]
        for norm in fake_normalisation(fakes.normalisation):
            half = (float(norm.up) - float(norm.down)) / 2
            add(norm.name, "normalisation of the fakes", rows, parts * half)
        for config in fakes.systematics:
            if isinstance(config.up, str) or isinstance(config.down, str):
                raise InputError(
                    f"search: systematic '{config.name}' of the fakes of '{role}' is a histogram, "
                    "which cannot be filled in other selections; give a normsys, or maps of fake "
                    "factors with their errors"
                )
            half = (config.up - config.down) / 2
            add(config.name, "systematic of the fakes", rows, parts * half)
        if role in samples.loose:
            for name, source, change in _map_errors(samples.loose[role]):
                sign = -1.0 if role == "tested" else base.ratio[rows]
                add(name, source, rows, sign * change)
    return [Direction(n, s, v) for n, (s, v) in found.items() if np.any(v)]


def _map_errors(loose: LooseLeptons) -> list[tuple[str, str, Array]]:
    """Return name, source and change of the expected fakes of each event by errors of the maps."""
    out = []
    first = 0
    for calibration in loose.maps:
        known = (loose.columns >= first) & (loose.columns < first + calibration.n_bins)
        cells = np.where(known, loose.columns - first, 0)
        amounts = np.where(known, loose.amounts, 0.0) * loose.weights[:, None]
        digits = max(2, len(str(calibration.n_bins - 1)))
        for k in np.flatnonzero(calibration.statistical > 0):
            change = np.sum(np.where(cells == k, amounts, 0.0), axis=1)
            if np.any(change):
                name = f"fakes_{calibration.name}_bin{k:0{digits}d}"
                source = f"statistical error of {calibration.source}"
                out.append((name, source, change * calibration.statistical[k]))
        for key, shift in calibration.sources.items():
            change = np.sum(amounts * shift[cells], axis=1)
            if np.any(change):
                name = f"fakes_{calibration.name}_{key}"
                out.append((name, f"{key} of {calibration.source}", change))
        first += calibration.n_bins
    return out
