"""The pair: two samples that a symmetry says must agree, and what is known to differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Axis, Histogram, make_histogram
from ddphf.symmetry.efficiency import LeptonId

if TYPE_CHECKING:
    from ddphf.symmetry.closure_variables import ClosureEvents

__all__ = ["Channel", "Pair", "Systematic", "Template"]


@dataclass(frozen=True)
class Systematic:
    """One correlated uncertainty of a template; equal names share one nuisance parameter.

    Attributes:
        name: Name of the nuisance parameter.
        kind: ``"normsys"`` (a factor of the whole template) or ``"histosys"`` (a shape).
        up: At +1 sigma: a factor, or a template of shape (M,) in events.
        down: At -1 sigma.
        relative: For histosys: ``up`` and ``down`` are factors of the nominal, 1 for no change.
        source: Where it comes from, for the metadata.
    """

    name: str
    kind: Literal["normsys", "histosys"]
    up: Any
    down: Any
    relative: bool = False
    source: str = ""


@dataclass(frozen=True)
class Template:
    """Expected events of one process in one channel.

    Attributes:
        yields: Events per bin: a Histogram, hist.Hist or array.
        error: Uncorrelated absolute error per bin; None: the root of the variances (sums of
            squared weights) that the yields have; ``"none"``: no error.
        error_kind: ``"shapesys"`` (auxiliary Poisson) or ``"staterror"`` (Gaussian).
        systematics: Correlated uncertainties.
        description: How it was made, for the sidecar, or None.
        warnings: Sentences for the user.

    Example:
        >>> Template([3.0, 1.0], error=[0.3, 0.1]).error_kind
        'shapesys'
    """

    yields: Any
    error: Any = None
    error_kind: Literal["shapesys", "staterror"] = "shapesys"
    systematics: Sequence[Systematic] = ()
    description: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Channel:
    """One of the two samples.

    Attributes:
        label: Short name, such as ``mue``; letters, digits and underscores.
        observed: Counts per bin, of any dimension: a Histogram, hist.Hist or array; the samples and
            templates of a pair have one shape.
        signal: Signal events at the stated strength, or None.
        fakes: Non-prompt events, or None.
        systematics: Relative uncertainties of the symmetric background in this channel.

    Example:
        >>> Channel("mue", [12, 9]).label
        'mue'
    """

    label: str
    observed: Any
    signal: Template | None = None
    fakes: Template | None = None
    systematics: Sequence[Systematic] = ()


@dataclass(frozen=True)
class Pair:
    """Two mutually exclusive samples, selected identically but for the exchange of two labels.

    Attributes:
        tested: The sample searched for a signal (B).
        partner: The sample that tells its background (A).
        efficiency_ratio: r = eps_tested / eps_partner per bin, a number or a histogram.
        known_background: True background of the partner channel per bin, where it is known.
        floor: Background assumed in bins without any, so that they can carry signal.
        luminosity_error: Relative uncertainty on the signal's normalisation from luminosity.
        integer_data: Refuse counts that are not whole numbers.
        lepton_id: Covariance of the efficiency maps and how the bins are made of them, or None.
        axes: Axes for bare arrays; taken from the tested sample's histogram otherwise.
        warnings: Sentences for the user, from reading the input.
        closure: Events for the closure in variables that the histograms do not have, or None.
        data_directed: How a search found the signal, as the analysis file says; or None.
        learned: From which events the signal was learned, as the analysis file says; or None.

    Example:
        >>> pair = Pair(Channel("mue", [18, 33], signal=Template([1.0, 2.0])),
        ...             Channel("emu", [12, 30]))
        >>> pair.n_bins
        2
    """

    tested: Channel
    partner: Channel
    efficiency_ratio: Any = 1.0
    known_background: Any = None
    floor: float | None = None
    luminosity_error: float | None = None
    integer_data: bool = True
    lepton_id: LeptonId | None = None
    axes: Sequence[Axis] | None = None
    warnings: tuple[str, ...] = ()
    closure: ClosureEvents | None = None
    data_directed: Mapping[str, Any] | None = None
    learned: Mapping[str, Any] | None = None
    binning: tuple[Axis, ...] = field(init=False)

    def __post_init__(self) -> None:
        try:
            axes = self.histogram(self.tested.observed).axes
        except InputError as error:
            raise InputError(f"tested sample '{self.tested.label}', observed: {error}") from None
        object.__setattr__(self, "binning", axes)

    @property
    def n_bins(self) -> int:
        """Number of bins of one channel."""
        return int(np.prod([axis.n_bins for axis in self.binning]))

    def histogram(self, data: Any) -> Histogram:
        """Return ``data`` as a histogram, a bare array on this pair's axes.

        A flat array of the right length is folded onto n-D axes (last axis fastest).
        """
        if hasattr(data, "axes"):
            return make_histogram(data)
        axes = self.axes if self.axes is not None else getattr(self, "binning", None)
        values = make_histogram(data).values
        if axes is not None:
            shape = tuple(axis.n_bins for axis in axes)
            if values.ndim == 1 and len(shape) > 1 and values.size == np.prod(shape):
                data = values.reshape(shape)
        return make_histogram(data, axes=axes)
