"""A mass scan as arrays: data, backgrounds and signal of every hypothesis, and its workspaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ddphf.arrays import Array, IntArray, Mask, Spec
from ddphf.likelihood.general.layout import normsys_coefficients
from ddphf.likelihood.rows.model import RowModel, Shifts
from ddphf.masses.stated import Globals, set_globals

__all__ = ["UNSTATED", "MassScan", "Norm", "Parameter", "Poi", "Sample", "Scale", "Shift"]

CHANNEL = "window"
UNSTATED = (0.0, 10.0)
"""Bounds of a POI of which nothing is said, as pyhf's."""


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
class Shift:
    """A histosys of one sample: its yields at +1 and -1 sigma in each hypothesis.

    Attributes:
        name: Of the nuisance.
        up: Shape (n, bins).
        down: Shape (n, bins).
    """

    name: str
    up: Array
    down: Array


@dataclass(frozen=True)
class Scale:
    """A parameter that multiplies a sample: its name, and ``lumi`` or ``normfactor``."""

    name: str
    kind: str


@dataclass(frozen=True)
class Sample:
    """Expected events.

    Attributes:
        name: Of the sample.
        yields: Shape (n, bins).
        error: Absolute errors of the simulation, shape (n, bins), or None.
        shapesys: Whether they are those of an auxiliary Poisson measurement, not staterrors.
        norms: Correlated errors.
        shifts: Correlated errors that differ from bin to bin.
        scales: Parameters that multiply it, other than the POI.
    """

    name: str
    yields: Array
    error: Array | None = None
    shapesys: bool = False
    norms: tuple[Norm, ...] = ()
    shifts: tuple[Shift, ...] = ()
    scales: tuple[Scale, ...] = ()

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of its correlated errors."""
        return (*(norm.name for norm in self.norms), *(shift.name for shift in self.shifts))

    def change(self, of: Callable[[Array], Array]) -> Sample:
        """Return the sample whose tables are changed, errors as they are."""
        shifts = tuple(Shift(s.name, of(s.up), of(s.down)) for s in self.shifts)
        return replace(self, yields=of(self.yields), shifts=shifts)


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
        more_signals: What the signal strength multiplies beside ``signal``, as in other channels.
        stated: Entries of a measurement for parameters other than the POI, as pyhf has them.
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
    more_signals: tuple[Sample, ...] = ()
    stated: tuple[Spec, ...] = ()

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Backgrounds, then what the signal strength multiplies."""
        return (*self.backgrounds, *self.signals)

    @property
    def signals(self) -> tuple[Sample, ...]:
        """All that the signal strength multiplies."""
        return (self.signal, *self.more_signals)

    @property
    def background(self) -> Array:
        """All of it, shape (n, bins)."""
        return np.asarray(sum(sample.yields for sample in self.backgrounds))

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the correlated errors, in the order of the samples."""
        return tuple(dict.fromkeys(name for s in self.samples for name in s.nuisances))

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Parameters that multiply samples, other than the POI."""
        return tuple(dict.fromkeys(scale for s in self.samples for scale in s.scales))

    @property
    def globals(self) -> Globals:
        """Bounds, start and auxiliary data of all parameters but those of single bins."""
        kinds = dict.fromkeys(self.nuisances, "normsys")
        kinds |= {scale.name: scale.kind for scale in self.scales}
        return set_globals((self.poi.name, self.poi.lower, self.poi.upper), kinds, self.stated)

    def take(self, rows: IntArray) -> MassScan:
        """Return some hypotheses."""

        def some(sample: Sample) -> Sample:
            norms = tuple(Norm(n.name, n.up[rows], n.down[rows]) for n in sample.norms)
            error = None if sample.error is None else sample.error[rows]
            return replace(sample.change(lambda x: x[rows]), error=error, norms=norms)

        return replace(
            self,
            parameter=replace(self.parameter, values=self.parameter.values[rows]),
            counts=self.counts[rows],
            backgrounds=tuple(map(some, self.backgrounds)),
            signal=some(self.signal),
            more_signals=tuple(map(some, self.more_signals)),
            live=self.live[rows],
            edges=None if self.edges is None else self.edges[rows],
            empty=self.empty[rows],
            raw=None if self.raw is None else self.raw.take(rows),
            group=None if self.group is None else self.group[rows],
            between=None if self.between is None else self.between[rows],
        )

    def rows(self) -> RowModel:
        """Return the hypotheses as rows of one model."""
        own = self.globals
        names, samples, (n, bins) = own.names, self.samples, self.counts.shape
        linear = np.zeros((len(samples), len(names)))
        linear[-len(self.signals) :, 0] = 1.0
        for i, sample in enumerate(samples):
            linear[i, [names.index(scale.name) for scale in sample.scales]] = 1.0
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
        return RowModel(
            names=names,
            yields=np.stack([sample.yields for sample in samples], axis=1),
            wobbling=np.array([sample.error is not None for sample in samples]),
            linear=linear,
            coefficients=coefficients,
            code="code4",
            lower=own.lower,
            upper=own.upper,
            centre=own.centre,
            width=own.width,
            sigma=np.where(total > 0, sigma, 0.0),
            tau=tau,
            counts=self.counts,
            start=own.start,
            held=own.held,
            shifts=self._shifts(names),
        )

    def _shifts(self, names: Sequence[str]) -> Shifts:
        """Return the histosys of all samples as pairs of sample and parameter."""
        pairs = [(i, one) for i, sample in enumerate(self.samples) for one in sample.shifts]
        if not pairs:
            return Shifts.none(*self.counts.shape)
        yields = [self.samples[i].yields for i, _ in pairs]
        return Shifts(
            component=np.array([i for i, _ in pairs]),
            parameter=np.array([names.index(one.name) for _, one in pairs]),
            up=np.stack([one.up - y for (_, one), y in zip(pairs, yields, strict=True)], axis=1),
            down=np.stack(
                [y - one.down for (_, one), y in zip(pairs, yields, strict=True)], axis=1
            ),
        )

    def workspace(self, index: int) -> Spec:
        """Return the pyhf workspace of one hypothesis: what its row stands for."""
        live = np.flatnonzero(self.live[index])
        samples = []
        for sample in self.samples:
            modifiers: list[Spec] = []
            if any(sample is one for one in self.signals):
                modifiers.append({"name": self.poi.name, "type": "normfactor", "data": None})
            for norm in sample.norms:
                data = {"hi": float(norm.up[index]), "lo": float(norm.down[index])}
                modifiers.append({"name": norm.name, "type": "normsys", "data": data})
            for shift in sample.shifts:
                ends = {"hi_data": shift.up, "lo_data": shift.down}
                tables = {key: value[index, live].tolist() for key, value in ends.items()}
                modifiers.append({"name": shift.name, "type": "histosys", "data": tables})
            for scale in sample.scales:
                modifiers.append({"name": scale.name, "type": scale.kind, "data": None})
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
                {
                    "name": self.name,
                    "config": {"poi": self.poi.name, "parameters": [poi, *self.stated]},
                }
            ],
        }
