"""A mass scan as arrays: data, backgrounds and signal of every hypothesis, and its workspaces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ddphf.arrays import Array, IntArray, Mask, Spec
from ddphf.likelihood.general.layout import normsys_coefficients
from ddphf.likelihood.rows.model import RowModel

__all__ = ["UNSTATED", "MassScan", "Norm", "Parameter", "Poi", "Sample"]

CHANNEL = "window"
UNSTATED = (0.0, 10.0)
"""Bounds of a POI of which nothing is said, as pyhf's."""

NUISANCE = (-5.0, 5.0)
"""Bounds of a normsys, which pyhf sets."""


@dataclass(frozen=True)
class Norm:
    """A correlated error of one sample: its factors at +1 and -1 sigma in each hypothesis.

    Attributes:
        name: Samples whose errors have one name share the nuisance.
        up: Shape (n,).
        down: Shape (n,).
    """

    name: str
    up: Array
    down: Array


@dataclass(frozen=True)
class Sample:
    """Expected events.

    Attributes:
        name: Of the sample.
        yields: Shape (n, bins).
        error: Absolute errors of the simulation, shape (n, bins), or None.
        shapesys: Whether they are those of an auxiliary Poisson measurement, not staterrors.
        norms: Correlated errors.
    """

    name: str
    yields: Array
    error: Array | None = None
    shapesys: bool = False
    norms: tuple[Norm, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """What is scanned: name, unit and values, shape (n,), increasing."""

    name: str
    unit: str
    values: Array


@dataclass(frozen=True)
class Poi:
    """The signal strength: name, unit and bounds; pyhf's, where nobody has stated any."""

    name: str
    unit: str
    lower: float
    upper: float
    stated: bool = True


@dataclass(frozen=True)
class MassScan:
    """A scan over n hypotheses.

    Attributes:
        name: Letters, digits and underscores.
        parameter: What is scanned.
        poi: The signal strength.
        counts: Observed events, shape (n, bins).
        backgrounds: Samples without signal, one or more.
        signal: What the signal strength multiplies.
        live: Bins that a hypothesis has, shape (n, bins); others hold zeros.
        edges: Of the windows along the scanned observable, shape (n, m + 1): bins are m times
            others, the others fastest. None where events are not known to be shared.
        empty: Bins without simulated background, shape (n, bins), before anything was done to them.
        policy: What was done: keep, drop, floor or merge; empty where there are none.
        warnings: Sentences.
        raw: The scan before its bins were merged, where they were.
        group: The bin of this scan that each of its bins went to, shape (n, bins), or None.
        between: Simulated values between which the signal is interpolated, shape (n, 2), nan where
            it is simulated; None without interpolation.
        interpolation: How that was done, and what leaving simulated values out says.
    """

    name: str
    parameter: Parameter
    poi: Poi
    counts: Array
    backgrounds: tuple[Sample, ...]
    signal: Sample
    live: Mask
    edges: Array | None = None
    empty: Mask = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))
    policy: str = ""
    warnings: tuple[str, ...] = ()
    raw: MassScan | None = None
    group: IntArray | None = None
    between: Array | None = None
    interpolation: Spec | None = None

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Backgrounds, then the signal."""
        return (*self.backgrounds, self.signal)

    @property
    def background(self) -> Array:
        """All of it, shape (n, bins)."""
        return np.asarray(sum(sample.yields for sample in self.backgrounds))

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the correlated errors, in the order of the samples."""
        return tuple(dict.fromkeys(norm.name for s in self.samples for norm in s.norms))

    def take(self, rows: IntArray) -> MassScan:
        """Return some hypotheses."""

        def some(sample: Sample) -> Sample:
            norms = tuple(Norm(n.name, n.up[rows], n.down[rows]) for n in sample.norms)
            error = None if sample.error is None else sample.error[rows]
            return replace(sample, yields=sample.yields[rows], error=error, norms=norms)

        return replace(
            self,
            parameter=replace(self.parameter, values=self.parameter.values[rows]),
            counts=self.counts[rows],
            backgrounds=tuple(map(some, self.backgrounds)),
            signal=some(self.signal),
            live=self.live[rows],
            edges=None if self.edges is None else self.edges[rows],
            empty=self.empty[rows],
            raw=None if self.raw is None else self.raw.take(rows),
            group=None if self.group is None else self.group[rows],
            between=None if self.between is None else self.between[rows],
        )

    def rows(self) -> RowModel:
        """Return the hypotheses as rows of one model."""
        names = (self.poi.name, *self.nuisances)
        samples, (n, bins) = self.samples, self.counts.shape
        linear = np.zeros((len(samples), len(names)))
        linear[-1, 0] = 1.0
        coefficients = np.zeros((n, len(samples), len(names), 8))
        for s, sample in enumerate(samples):
            for norm in sample.norms:
                coefficients[:, s, names.index(norm.name)] = normsys_coefficients(
                    norm.down, norm.up, "code4"
                )
        total, square = np.zeros((n, bins)), np.zeros((n, bins))
        tau = np.zeros((n, bins))
        for sample in samples:
            if sample.error is None:
                continue
            if sample.shapesys:
                some = (sample.yields > 0) & (sample.error > 0)
                tau[some] = (sample.yields[some] / sample.error[some]) ** 2
            else:
                total, square = total + sample.yields, square + sample.error**2
        sigma = np.sqrt(square) / np.where(total > 0, total, 1.0)
        bounded = np.zeros(len(names)), np.full(len(names), NUISANCE[1])
        bounded[0][1:] = NUISANCE[0]
        bounded[0][0], bounded[1][0] = self.poi.lower, self.poi.upper
        return RowModel(
            names=names,
            yields=np.stack([sample.yields for sample in samples], axis=1),
            wobbling=np.array([sample.error is not None for sample in samples]),
            linear=linear,
            coefficients=coefficients,
            code="code4",
            lower=bounded[0],
            upper=bounded[1],
            centre=np.zeros(len(names)),
            width=np.array([0.0] + [1.0] * (len(names) - 1)),
            sigma=np.where(total > 0, sigma, 0.0),
            tau=tau,
            counts=self.counts,
        )

    def workspace(self, index: int) -> Spec:
        """Return the pyhf workspace of one hypothesis: what its row stands for."""
        live = np.flatnonzero(self.live[index])
        samples = []
        for sample in self.samples:
            modifiers: list[Spec] = []
            if sample is self.signal:
                modifiers.append({"name": self.poi.name, "type": "normfactor", "data": None})
            for norm in sample.norms:
                data = {"hi": float(norm.up[index]), "lo": float(norm.down[index])}
                modifiers.append({"name": norm.name, "type": "normsys", "data": data})
            if sample.error is not None:
                kind = "shapesys" if sample.shapesys else "staterror"
                name = f"{sample.name}_error" if sample.shapesys else f"{kind}_{CHANNEL}"
                errors = sample.error[index, live].tolist()
                modifiers.append({"name": name, "type": kind, "data": errors})
            samples.append(
                {
                    "name": sample.name,
                    "data": sample.yields[index, live].tolist(),
                    "modifiers": modifiers,
                }
            )
        inside = min(max(0.0, self.poi.lower), self.poi.upper)
        poi = {
            "name": self.poi.name,
            "bounds": [[self.poi.lower, self.poi.upper]],
            "inits": [inside],
        }
        return {
            "version": "1.0.0",
            "channels": [{"name": CHANNEL, "samples": samples}],
            "observations": [{"name": CHANNEL, "data": self.counts[index, live].tolist()}],
            "measurements": [
                {"name": self.name, "config": {"poi": self.poi.name, "parameters": [poi]}}
            ],
        }
