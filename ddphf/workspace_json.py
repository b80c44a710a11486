"""Types of a pyhf workspace (JSON, schema 1.0.0) as its parts are passed around; its luminosity.

They say what a workspace holds once it has passed pyhf's schema. What comes from a file is a plain
mapping until then: ``likelihood/reference.py`` is where it is checked.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

__all__ = [
    "FACTOR_FLOOR",
    "ChannelDocument",
    "FactorKind",
    "MeasurementConfig",
    "MeasurementDocument",
    "ModifierDocument",
    "ObservationDocument",
    "ParameterDocument",
    "PerBinKind",
    "PerBinModifier",
    "SampleDocument",
    "Shapes",
    "VariedKind",
    "Workspace",
    "lumi_parameter",
]


VariedKind = Literal["normsys", "histosys"]
FactorKind = Literal["normfactor", "shapefactor", "lumi"]
PerBinKind = Literal["shapesys", "staterror"]


class Factors(TypedDict):
    """Factors of a ``normsys`` at +1 and -1 sigma."""

    hi: float
    lo: float


class Shapes(TypedDict):
    """Yields of a ``histosys`` at +1 and -1 sigma, per bin."""

    hi_data: list[float]
    lo_data: list[float]


class FactorModifier(TypedDict):
    """A free factor, of the sample or per bin, or the luminosity."""

    name: str
    type: FactorKind
    data: None


class NormModifier(TypedDict):
    """A nuisance that scales the sample."""

    name: str
    type: Literal["normsys"]
    data: Factors


class ShapeModifier(TypedDict):
    """A nuisance that changes its shape."""

    name: str
    type: Literal["histosys"]
    data: Shapes


class PerBinModifier(TypedDict):
    """Absolute errors, per bin."""

    name: str
    type: PerBinKind
    data: list[float]


ModifierDocument = FactorModifier | NormModifier | ShapeModifier | PerBinModifier
"""What changes the yields of a sample; the ``type`` tells which data it has."""


class SampleDocument(TypedDict):
    """Expected events of one process in one channel, per bin."""

    name: str
    data: list[float]
    modifiers: list[ModifierDocument]


class ChannelDocument(TypedDict):
    """The processes of one channel."""

    name: str
    samples: list[SampleDocument]


class ObservationDocument(TypedDict):
    """The counts of one channel, per bin."""

    name: str
    data: list[float]


class ParameterDocument(TypedDict):
    """What a measurement states of a parameter; lists have an entry per component."""

    name: str
    inits: NotRequired[list[float]]
    bounds: NotRequired[list[list[float]]]
    fixed: NotRequired[bool]
    auxdata: NotRequired[list[float]]
    sigmas: NotRequired[list[float]]


class MeasurementConfig(TypedDict):
    """Its parameter of interest, empty where there is none, and its settings."""

    poi: str
    parameters: list[ParameterDocument]


class MeasurementDocument(TypedDict):
    """A measurement by name."""

    name: str
    config: MeasurementConfig


class Workspace(TypedDict):
    """Channels, what was observed in them, and what is measured."""

    version: str
    channels: list[ChannelDocument]
    observations: list[ObservationDocument]
    measurements: list[MeasurementDocument]


FACTOR_FLOOR = 1e-10
"""Lower bound of every parameter that multiplies yields: pyhf's logarithms need a rate > 0."""


def lumi_parameter(name: str, error: float) -> ParameterDocument:
    """Return the parameter of a luminosity: constrained around 1 by its relative error."""
    return {
        "name": name,
        "auxdata": [1.0],
        "sigmas": [error],
        "inits": [1.0],
        "bounds": [[max(FACTOR_FLOOR, 1 - 5 * error), 1 + 5 * error]],
    }
