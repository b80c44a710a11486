"""From a pair to the search's input: counts, ratio, fakes, and what may move ratio and fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Axis
from ddphf.results.provenance import data_digest
from ddphf.search.field import Field, make_field
from ddphf.search.nuisances import Nuisances
from ddphf.symmetry.pair import Pair
from ddphf.workspace.channels import ChannelYields, PairYields
from ddphf.workspace.naming import stat_name
from ddphf.workspace.yields import resolve_null

__all__ = ["MAX_ERRORS", "SearchPair", "check_ratio", "prepare_pair"]

MAX_ERRORS = 2500
"""Bins that may have a statistical error of their fakes: each is a nuisance parameter, and their
projection is a matrix of bins times bins."""

NO_EFFECT = 1e-12
"""A relative change of the ratio, or one of fakes in events, below this is rounding."""


@dataclass(frozen=True)
class SearchPair:
    """A pair as the search takes it; arrays have the histogram's shape.

    Attributes:
        axes: Of the histograms.
        labels: Of the tested sample and of its partner.
        tested: Counts B.
        partner: Counts A.
        ratio: r = eps_B / eps_A.
        fakes_tested: f_B.
        fakes_partner: f_A.
        nuisances: Correlated ones, then one for each bin whose fakes have a statistical error.
        n_correlated: How many come first.
        described: ``name``, ``source``, ``acts_on`` and ``size`` of each, the bins' errors as one.
        left_out: Sentences about what the analysis states and the search does not need.
        weighted: Whether the contents are sums of weights, and no counts.
        warnings: Sentences for the user.
    """

    axes: tuple[Axis, ...]
    labels: tuple[str, str]
    tested: Array
    partner: Array
    ratio: Array
    fakes_tested: Array
    fakes_partner: Array
    nuisances: Nuisances
    n_correlated: int
    described: tuple[Spec, ...]
    left_out: tuple[str, ...]
    weighted: bool
    warnings: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each axis."""
        return tuple(self.tested.shape)

    @property
    def digest(self) -> str:
        """Of both histograms with their binning."""
        edges = [axis.edges for axis in self.axes]
        return data_digest(self.tested.ravel(), self.partner.ravel(), edges)

    def field(self) -> Field:
        """Return the field of normalised differences, nuisances profiled."""
        return make_field(
            self.tested,
            self.partner,
            ratio=self.ratio,
            fakes_tested=self.fakes_tested,
            fakes_partner=self.fakes_partner,
            nuisances=self.nuisances,
        )


def check_ratio(analysis: Analysis) -> None:
    """Refuse maps that tell errors of a ratio which nobody has stated.

    Raises:
        InputError: From histograms, the ratio is not in the maps: 1 would be taken for it.
    """
    if analysis.lepton_id is None or analysis.events is not None or analysis.ratio_stated:
        return
    raise InputError(
        "efficiency ratio: is missing though 'lepton_id' gives maps; histograms do not tell which "
        "leptons they are made of, so state 'efficiency_ratio' (1 where the two are equal)"
    )


def prepare_pair(pair: Pair, *, nuisances: bool = True) -> SearchPair:
    """Return what the search needs of a pair; a signal that it may have is not looked at.

    Nuisances are the relative changes of the ratio per sigma, those of the symmetric background in
    the tested sample less those in its partner: systematics and every lepton-ID eigen-variation;
    and the changes of the fakes in events, their statistical errors bin by bin included. A
    variation that is not symmetric counts with half the difference of its two ends.

    Args:
        pair: From :func:`~ddphf.symmetry.load.load_pair`.
        nuisances: False takes ratio and fakes as known exactly.

    Raises:
        InputError: A histogram cannot be used, or too many bins have errors of their own.
        ModelError: A systematic or covariance that cannot be used.

    Example:
        >>> from ddphf.symmetry.pair import Channel, Systematic
        >>> efficiency = Systematic("eff", "normsys", 1.02, 0.98)
        >>> made = prepare_pair(Pair(Channel("mue", [130, 99], systematics=[efficiency]),
        ...                          Channel("emu", [100, 100])))
        >>> made.nuisances.ratio.round(6).tolist(), round(made.described[0]["size"], 6)
        ([[0.02, 0.02]], 0.02)
    """
    yields = resolve_null(pair)
    shape = tuple(axis.n_bins for axis in yields.axes)
    tested, partner = yields.channels
    found = _collect(yields) if nuisances else {}
    moving = {name: parts for name, parts in found.items() if _moves(parts)}
    errors = _errors(yields) if nuisances else np.zeros(pair.n_bins)
    rows = [*moving.values(), *_rows_of(errors)]
    k = len(rows)
    stacked = np.array(rows).reshape(k, 3, *shape)
    made = Nuisances.make(
        shape,
        ratio=stacked[:, 0],
        fakes_tested=stacked[:, 1],
        fakes_partner=stacked[:, 2],
        names=[*moving, *(f"fakes_stat[{i}]" for i in np.flatnonzero(errors))],
    )
    left_out = [
        f"'{name}' changes both samples alike: no difference of the two comes from it"
        for name in (*yields.absorbed, *(n for n in found if n not in moving))
    ]
    return SearchPair(
        axes=yields.axes,
        labels=(pair.tested.label, pair.partner.label),
        tested=tested.counts.reshape(shape),
        partner=partner.counts.reshape(shape),
        ratio=tested.ratio.reshape(shape),
        fakes_tested=tested.total(tested.fakes).reshape(shape),
        fakes_partner=partner.total(partner.fakes).reshape(shape),
        nuisances=made,
        n_correlated=len(moving),
        described=tuple(_describe(yields, moving, errors)),
        left_out=tuple(left_out),
        weighted=not pair.integer_data,
        warnings=yields.warnings,
    )


Parts = tuple[Array, Array, Array]
"""Relative change of the ratio, and changes of the fakes of both samples in events, shape (M,)."""


def _collect(yields: PairYields) -> dict[str, Parts]:
    """Return what each correlated nuisance changes, by name: one name is one parameter."""
    zero = np.zeros_like(yields.background)
    found: dict[str, list[Array]] = {}

    def add(name: str, place: int, change: Array) -> None:
        parts = found.setdefault(name, [zero, zero, zero])
        parts[place] = parts[place] + change

    for channel, sign, place in ((yields.tested, 1.0, 1), (yields.partner, -1.0, 2)):
        for variation in channel.variations:
            add(variation.name, 0, sign * variation.slope)
        for variation in () if channel.fakes is None else channel.fakes.variations:
            add(variation.name, place, channel.total(channel.fakes) * variation.slope)
    return {name: (ratio, own, other) for name, (ratio, own, other) in found.items()}


def _moves(parts: Parts) -> bool:
    return any(float(np.max(np.abs(part), initial=0.0)) > NO_EFFECT for part in parts)


def _errors(yields: PairYields) -> Array:
    """Return the statistical error of B - f_B - r (A - f_A) by the fakes of both, shape (M,).

    Raises:
        InputError: More bins have one than can be projected.
    """
    square = np.zeros_like(yields.background)
    scales = (np.ones_like(square), yields.tested.ratio)
    for channel, scale in zip(yields.channels, scales, strict=True):
        if channel.fakes is not None and channel.fakes.error is not None:
            square += (scale * channel.fakes.error) ** 2
    if np.count_nonzero(square) > MAX_ERRORS:
        raise InputError(
            f"fakes: {np.count_nonzero(square)} bins have a statistical error, more than "
            f"{MAX_ERRORS}, and each is a nuisance parameter; take coarser bins, or write 'error: "
            "none' in the sections 'fakes' where these errors do not matter"
        )
    return np.asarray(np.sqrt(square))


def _rows_of(errors: Array) -> list[Parts]:
    """Return each bin's error as a nuisance of the tested sample's fakes in this bin alone."""
    zero, rows = np.zeros_like(errors), []
    for index in np.flatnonzero(errors):
        own = zero.copy()
        own[index] = errors[index]
        rows.append((zero, own, zero))
    return rows


def _describe(yields: PairYields, moving: Mapping[str, Parts], errors: Array) -> list[Spec]:
    """Return the entry of each nuisance in the record, the bins' errors as one."""
    sources = _sources(yields.channels)
    out = []
    for name, (ratio, own, other) in moving.items():
        acts = {
            "ratio": float(np.max(np.abs(ratio), initial=0.0)),
            "fakes": float(np.max(np.abs([own, other]), initial=0.0)),
        }
        on = [key for key, size in acts.items() if size > NO_EFFECT]
        out.append(
            {
                "name": name,
                "source": sources.get(name, ""),
                "acts_on": " and ".join(on),
                "size": acts["ratio"] if "ratio" in on else acts["fakes"],
            }
        )
    if np.any(errors):
        names = [
            stat_name("fakes", channel.name)
            for channel in yields.channels
            if channel.fakes is not None and channel.fakes.error is not None
        ]
        out.append(
            {
                "name": " and ".join(names),
                "source": f"statistical errors of the fakes in {np.count_nonzero(errors)} bins, "
                "each for itself",
                "acts_on": "fakes",
                "size": float(errors.max()),
            }
        )
    return out


def _sources(channels: Sequence[ChannelYields]) -> dict[str, str]:
    """Return where each variation comes from, by name."""
    out: dict[str, str] = {}
    for channel in channels:
        groups = [("symmetric background", channel.variations)]
        if channel.fakes is not None:
            groups.append(("fakes", channel.fakes.variations))
        for what, variations in groups:
            for variation in variations:
                place = f"{what} of {channel.name}"
                said = f"{variation.source}, {place}" if variation.source else place
                earlier = out.get(variation.name)
                out[variation.name] = said if earlier is None else f"{earlier}; {place}"
    return out
