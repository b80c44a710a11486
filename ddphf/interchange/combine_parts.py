"""A workspace as Combine's channels and processes: which histograms, which nuisances on them.

A pyhf channel with parameters per bin becomes one Combine channel per bin, where a parameter of one
bin is a rateParam; the auxiliary count of a shapesys is a channel of its own, whose one process
the same rateParam scales. So both likelihoods are the same product of Poisson and Gaussian terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.guards import within
from ddphf.interchange.names import Names
from ddphf.interchange.terms import Component
from ddphf.workspace_json import ChannelDocument, ModifierDocument, SampleDocument

__all__ = ["Bin", "Card", "Process", "split_channels"]

PER_BIN = ("shapefactor", "shapesys", "staterror")

AUXILIARY = "auxiliary"
"""The process whose rate is the auxiliary count of a shapesys."""

MOST_HISTOGRAMS = 50_000
"""Of one card: uproot writes 400 a second."""


@dataclass
class Process:
    """One process in one Combine channel.

    Attributes:
        name: Its name in the card.
        signal: Whether the POI scales it.
        yields: Its histogram, shape (bins,).
        shapes: Up and down histograms by nuisance.
        norms: Factors at +1 and -1 by nuisance.
        factors: Rate parameters on it.
    """

    name: str
    signal: bool
    yields: Array
    shapes: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    norms: dict[str, tuple[float, float]] = field(default_factory=dict)
    factors: list[str] = field(default_factory=list)


@dataclass
class Bin:
    """One Combine channel: its data, shape (bins,), and its processes."""

    name: str
    data: Array
    processes: list[Process]


@dataclass
class Card:
    """Everything that a card says.

    Attributes:
        bins: Channels.
        free: Rate parameters by name: start, lower and upper bound.
        gaussian: Constraint of a rate parameter or nuisance by name: datum and sigma.
        nuisances: Bounds of each unit Gaussian nuisance.
    """

    bins: list[Bin] = field(default_factory=list)
    free: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    gaussian: dict[str, tuple[float, float]] = field(default_factory=dict)
    nuisances: dict[str, tuple[float, float]] = field(default_factory=dict)


def split_channels(
    channels: Sequence[ChannelDocument],
    observed: Mapping[str, Sequence[float]],
    components: Sequence[Component],
    poi: str,
    names: Names,
) -> Card:
    """Return the parts of a card.

    Args:
        channels: Of a checked workspace.
        observed: Counts by channel.
        components: Parameters of the measurement.
        poi: The normfactor that is Combine's ``r``.
        names: Makes the names.

    Raises:
        ModelError: The workspace says what a card cannot.
        InputError: It would take too many histograms.
    """
    return _Splitter(components, poi, names, channels).split(channels, observed)


class _Splitter:
    def __init__(
        self, components: Sequence[Component], poi: str, names: Names,
        channels: Sequence[ChannelDocument],
    ) -> None:  # fmt: skip
        self._names, self._poi = names, poi
        self._components = {(c.modifier, c.bin): c for c in components}
        self._card = Card()
        self._first = _first_components(channels)
        roles: dict[str, set[bool]] = {}
        for channel in channels:
            for sample in channel["samples"]:
                roles.setdefault(sample["name"], set()).add(self._is_signal(sample))
                if any(m["type"] == "shapesys" for m in sample["modifiers"]):
                    roles.setdefault(AUXILIARY, set()).add(False)
        self._both = {name for name, found in roles.items() if len(found) > 1}

    def _is_signal(self, sample: SampleDocument) -> bool:
        return any(m["name"] == self._poi for m in sample["modifiers"])

    def split(
        self, channels: Sequence[ChannelDocument], observed: Mapping[str, Sequence[float]]
    ) -> Card:
        histograms = 0
        for channel in channels:
            size = len(channel["samples"][0]["data"])
            per_bin = any(
                m["type"] in PER_BIN for sample in channel["samples"] for m in sample["modifiers"]
            )
            pieces = [slice(i, i + 1) for i in range(size)] if per_bin else [slice(0, size)]
            shapes = sum(
                m["type"] == "histosys" for s in channel["samples"] for m in s["modifiers"]
            )
            histograms += len(pieces) * (1 + len(channel["samples"]) + 2 * shapes)
            within("card", "histograms", histograms, MOST_HISTOGRAMS)
            for piece in pieces:
                self._add_bin(channel, np.array(observed[channel["name"]][piece]), piece, per_bin)
        return self._card

    def _add_bin(self, channel: ChannelDocument, data: Array, piece: slice, per_bin: bool) -> None:
        name, kind = channel["name"], "channel"
        if per_bin:  # a channel x_bin_0 beside a channel x is another one
            name, kind = f"{name}_bin_{piece.start}", "bin"
        processes = []
        for sample in channel["samples"]:
            where = f"channel '{channel['name']}', sample '{sample['name']}'"
            process = self._process(sample, piece, channel["name"], where)
            if process is not None:
                processes.append(process)
        if processes:  # else nothing is expected, and pyhf has refused data there
            self._card.bins.append(Bin(self._names.make(name, kind), data, processes))

    def _process(
        self, sample: SampleDocument, piece: slice, channel: str, where: str
    ) -> Process | None:
        yields = np.array(sample["data"][piece], dtype=float)
        if np.any(yields < 0):
            raise ModelError(
                f"{where}, bin {piece.start + int(np.argmin(yields))}: a yield of "
                f"{yields.min():g}; Combine cuts negative ones off, so merge bins or samples"
            )
        signal = self._is_signal(sample)
        name, kind = sample["name"], "process"
        if name in self._both:  # Combine has a process as signal everywhere or nowhere
            kind = "signal" if signal else "background"
            name = f"{name}_{kind}"
        process = Process(self._names.make(name, kind), signal, yields)
        held = 1.0
        for modifier in sample["modifiers"]:
            held *= self._apply(modifier, process, piece, channel, where)
        process.yields = yields * held
        process.shapes = {k: (u * held, d * held) for k, (u, d) in process.shapes.items()}
        if not np.any(process.yields > 0):
            if process.shapes:
                raise ModelError(
                    f"{where}, bin {piece.start}: histosys '{next(iter(process.shapes))}' varies a "
                    "yield of 0; Combine drops such a process, so give it a small yield"
                )
            return None
        return process

    def _apply(
        self, modifier: ModifierDocument, process: Process, piece: slice, channel: str, where: str
    ) -> float:
        """Add a modifier to a process; return the factor of one that is held."""
        name, kind = modifier["name"], modifier["type"]
        if name == self._poi:
            return 1.0
        if modifier["type"] == "normsys" or modifier["type"] == "histosys":
            component = self._components[name, None]
            if self._is_constant(component):
                return 1.0
            nuisance = self._nuisance(component)
            if modifier["type"] == "normsys":
                norm = (modifier["data"]["hi"], modifier["data"]["lo"])
                if norm != (1.0, 1.0):
                    process.norms[nuisance] = norm
                return 1.0
            up, down = (
                np.array(modifier["data"][key][piece], dtype=float)
                for key in ("hi_data", "lo_data")
            )
            nominal = process.yields
            if np.any(up != nominal) or np.any(down != nominal):
                process.shapes[nuisance] = (up, down)
            return 1.0
        place = piece.start + self._first.get((name, channel), 0) if kind in PER_BIN else None
        component = self._components[name, place]
        if component.fixed:
            return component.init
        process.factors.append(self._factor(component, where))
        return 1.0

    def _is_constant(self, component: Component) -> bool:
        if component.fixed and component.init != 0:
            raise ModelError(
                f"parameter '{component.modifier}' is held at {component.init:g}; Combine holds "
                "nuisances at 0, so let it float or change its templates"
            )
        return component.fixed

    def _nuisance(self, component: Component) -> str:
        term = component.constraint
        assert term is not None
        if (term.centre, term.width) != (0.0, 1.0):
            raise ModelError(
                f"parameter '{component.modifier}' ({component.kind}) has the auxiliary datum "
                f"{term.centre:g} with sigma {term.width:g}; Combine has 0 with 1, so drop its "
                "auxdata and sigmas, or scale its up and down variations"
            )
        name = self._names.make(component.modifier, "parameter")
        self._card.nuisances[name] = (component.low, component.high)
        return name

    def _factor(self, component: Component, where: str) -> str:
        """Return the rate parameter of a factor; one with an auxiliary count gets its channel."""
        name = component.modifier
        if component.bin is not None:
            name = f"{name}_bin_{component.bin}"
        # a normfactor x_bin_0 beside a shapefactor x is another parameter
        name = self._names.make(name, "parameter" if component.bin is None else "component")
        if name in self._card.free:
            return name
        self._card.free[name] = (component.init, component.low, component.high)
        term = component.constraint
        if term is None:
            return name
        if term.kind == "gaussian":
            self._card.gaussian[name] = (term.centre, term.width)
            return name
        if not term.centre > 0:
            raise ModelError(f"{where}: no auxiliary events of '{component.modifier}'")
        auxiliary = Process(self._names.make(AUXILIARY, "process"), False, np.array([term.width]))
        auxiliary.factors.append(name)
        self._card.bins.append(
            Bin(
                self._names.make(f"auxiliary_{name}", "auxiliary"),
                np.array([term.centre]),
                [auxiliary],
            )
        )
        return name


def _first_components(channels: Sequence[ChannelDocument]) -> dict[tuple[str, str], int]:
    """Return which component of a staterror is that of the first bin, by its name and channel.

    pyhf lines up the bins of all channels of one staterror, by the names of the channels.
    """
    first: dict[tuple[str, str], int] = {}
    sizes: Counter[str] = Counter()
    for channel in sorted(channels, key=lambda c: c["name"]):
        modifiers = [m for sample in channel["samples"] for m in sample["modifiers"]]
        for name in {m["name"] for m in modifiers if m["type"] == "staterror"}:
            first[name, channel["name"]] = sizes[name]
            sizes[name] += len(channel["samples"][0]["data"])
    return first
