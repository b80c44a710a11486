"""The pair as flat numbers: what the builder relies on, every entry checked before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ddphf.arrays import Array
from ddphf.inputs.histogram import Axis
from ddphf.workspace_json import PerBinKind, VariedKind

if TYPE_CHECKING:
    from ddphf.workspace.lepton_id import LeptonIdYields

__all__ = ["ChannelYields", "PairYields", "SampleYields", "Variation"]


@dataclass(frozen=True)
class Variation:
    """A systematic of one sample as factors of its nominal, shape (M,) or a single number."""

    name: str
    kind: VariedKind
    up: Array
    down: Array
    source: str

    @property
    def slope(self) -> Array:
        """Relative change per sigma around the nominal, (up - down) / 2."""
        return np.asarray((self.up - self.down) / 2)


@dataclass(frozen=True)
class SampleYields:
    """Checked yields of one sample in one channel, shape (M,), and how they were made."""

    name: str
    yields: Array
    variations: tuple[Variation, ...]
    error: Array | None = None
    error_kind: PerBinKind = "shapesys"
    error_source: str = ""
    description: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ChannelYields:
    """Checked content of one channel.

    ``residual`` is a relative uncorrelated error of the symmetric background, or None.
    """

    name: str
    counts: Array
    ratio: Array
    signal: SampleYields | None
    fakes: SampleYields | None
    variations: tuple[Variation, ...]
    residual: Array | None = None

    def total(self, sample: SampleYields | None) -> Array:
        """Yields of a sample that may be absent, shape (M,)."""
        return np.zeros_like(self.counts) if sample is None else sample.yields


@dataclass(frozen=True)
class PairYields:
    """The checked pair.

    Attributes:
        tested: The channel with the signal (B).
        partner: Its partner (A).
        axes: Binning of both.
        known_background: T, shape (M,), or None.
        background: Estimate of b under the null, floored, shape (M,).
        floored: Flat indices of bins where the floor was taken.
        absorbed: Names of variations that the shared background absorbs, left out.
        luminosity_error: Relative, or None.
        lepton_id: What the lepton-ID covariance became, or None.
        warnings: Sentences for the user.
    """

    tested: ChannelYields
    partner: ChannelYields
    axes: tuple[Axis, ...]
    known_background: Array | None
    background: Array
    floored: tuple[int, ...]
    absorbed: tuple[str, ...]
    luminosity_error: float | None
    lepton_id: LeptonIdYields | None
    warnings: tuple[str, ...]

    @property
    def channels(self) -> tuple[ChannelYields, ChannelYields]:
        """Tested and partner channel."""
        return self.tested, self.partner
