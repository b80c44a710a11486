"""The pair as flat numbers, every one checked: what the builder may rely on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddphf.exceptions import DdphfError, InputError, ModelError
from ddphf.inputs.histogram import Array, Axis, describe_bin
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.absorbed import drop_absorbed
from ddphf.workspace.lepton_id import LeptonIdYields, attach_lepton_id
from ddphf.workspace.naming import RESERVED, partner_channel, stat_name, tested_channel

__all__ = ["ChannelYields", "PairYields", "SampleYields", "Variation", "resolve_pair"]

EMPTY_BIN = "merge bins, or set the bin to 0 and widen its error"

LARGEST = 1e30
"""No yield: a larger number is damage, and its powers overflow."""

N_SIGMA_POSITIVE = 5.0
"""A template must stay positive when its nuisances reach this many sigma together."""


@dataclass(frozen=True)
class Variation:
    """A systematic of one sample as factors of its nominal, shape (M,) or a single number."""

    name: str
    kind: str
    up: Array
    down: Array
    source: str

    @property
    def slope(self) -> Array:
        """Relative change per sigma around the nominal, (up - down) / 2."""
        return np.asarray((self.up - self.down) / 2)


@dataclass(frozen=True)
class SampleYields:
    """Checked yields of one sample in one channel, shape (M,)."""

    name: str
    yields: Array
    variations: tuple[Variation, ...]
    error: Array | None = None
    error_kind: str = "shapesys"
    error_source: str = ""


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


def resolve_pair(pair: Pair) -> PairYields:
    """Check a pair and flatten it (C order, last axis fastest).

    Raises:
        InputError: A histogram with NaN, negative or fractional content, or another binning.
        ModelError: Names channel, sample and bin, and what to do.
    """
    pair, lepton_id = attach_lepton_id(pair)
    warnings: list[str] = [] if lepton_id is None else list(lepton_id.warnings)
    ratio = _ratio(pair)
    tested = _channel(pair, pair.tested, tested_channel(pair.tested.label), ratio, warnings)
    partner = _channel(
        pair, pair.partner, partner_channel(pair.partner.label), np.ones_like(ratio), warnings
    )
    signals = tested.total(tested.signal) + partner.total(partner.signal)
    if tested.signal is None and partner.signal is None:
        raise ModelError(
            f"channels '{tested.name}' and '{partner.name}': no sample 'signal' in either; state "
            "the template that is searched"
        )
    if not np.any(signals):
        raise ModelError(
            f"channel '{tested.name}', sample 'signal': zero in every bin, so mu has no meaning; "
            "check the histogram and its selection"
        )
    known = None
    if pair.known_background is not None:
        known = _flat(pair, pair.known_background, "known background", warnings)
        _refuse_negative(pair, known, "known background")
    background, floored = _estimate_background(pair, tested, partner, signals)
    tested, partner, absorbed = drop_absorbed(tested, partner)
    if lepton_id is not None:
        tested = replace(tested, residual=lepton_id.residual_tested)
        partner = replace(partner, residual=lepton_id.residual_partner)
    for name in absorbed:
        warnings.append(
            f"variation '{name}' changes the symmetric background alike in both channels: the "
            "shared background absorbs it, it is left out"
        )
    return PairYields(
        tested=tested,
        partner=partner,
        axes=pair.binning,
        known_background=known,
        background=background,
        floored=floored,
        absorbed=absorbed,
        luminosity_error=pair.luminosity_error,
        lepton_id=lepton_id,
        warnings=tuple(warnings),
    )


def _flat(pair: Pair, data: Any, where: str, warnings: list[str] | None = None) -> Array:
    """Return checked contents; events outside the axes are said in ``warnings`` where given."""
    try:
        histogram = pair.histogram(data)
    except DdphfError as error:
        raise InputError(f"{where}: {error}") from None
    where = f"{where} ({histogram.source})" if histogram.source else where
    if len(histogram.axes) != len(pair.binning) or any(
        not ours.same_edges(theirs)
        for ours, theirs in zip(pair.binning, histogram.axes, strict=False)
    ):
        raise InputError(
            f"{where}: binning {_binning(histogram.axes)} differs from the tested sample's "
            f"{_binning(pair.binning)}; rebin one of them"
        )
    if warnings is not None and histogram.flow != 0:
        warnings.append(
            f"{where}: {histogram.flow:g} events lie under or over the axes and are left out; "
            "widen the outer bins if they belong to the search"
        )
    flat = histogram.flat
    for index in np.flatnonzero(~(np.abs(flat) <= LARGEST)):
        raise InputError(
            f"{where}, {describe_bin(pair.binning, int(index))}: got {flat[index]:g}, expected a "
            "finite number; repair the histogram"
        )
    return flat


def _binning(axes: Sequence[Axis]) -> str:
    parts = [f"{a.name} {a.n_bins} bins {a.edges[0]:g}..{a.edges[-1]:g}" for a in axes]
    return "(" + ", ".join(parts) + ")"


def _refuse_negative(pair: Pair, flat: Array, where: str, remedy: str = EMPTY_BIN) -> None:
    for index in np.flatnonzero(flat < 0):
        raise InputError(
            f"{where}, {describe_bin(pair.binning, int(index))}: got {flat[index]:g}, expected "
            f">= 0; {remedy}"
        )


def _ratio(pair: Pair) -> Array:
    data = pair.efficiency_ratio
    if np.ndim(data) == 0 and not hasattr(data, "axes"):
        ratio = np.full(pair.n_bins, float(data))
    else:
        ratio = _flat(pair, data, "efficiency ratio")
    for index in np.flatnonzero(~np.isfinite(ratio) | (ratio <= 0)):
        raise InputError(
            f"efficiency ratio, {describe_bin(pair.binning, int(index))}: got {ratio[index]:g}, "
            "expected a number > 0; exclude or merge the bin"
        )
    return ratio


def _channel(
    pair: Pair, channel: Channel, name: str, ratio: Array, warnings: list[str]
) -> ChannelYields:
    if not re.fullmatch(r"[A-Za-z0-9_]+", channel.label):
        raise ModelError(f"label '{channel.label}': expected letters, digits and underscores")
    where = f"channel '{name}', observed"
    counts = _flat(pair, channel.observed, where, warnings)
    _refuse_negative(pair, counts, where, "give the raw counts, nothing subtracted")
    fractional = np.flatnonzero(np.abs(counts - np.round(counts)) > 1e-9)
    if pair.integer_data and fractional.size:
        index = int(fractional[0])
        raise InputError(
            f"{where}, {describe_bin(pair.binning, index)}: got {counts[index]:g}, not a whole "
            "number; weighted data are not Poisson: give raw counts and put the weights into the "
            "efficiency ratio, or declare 'integer_data: false' for Asimov data"
        )
    return ChannelYields(
        name=name,
        counts=counts,
        ratio=ratio,
        signal=_sample(pair, channel.signal, "signal", name, warnings),
        fakes=_sample(pair, channel.fakes, "fakes", name, warnings),
        variations=_variations(
            pair,
            channel.systematics,
            np.ones_like(counts),
            f"channel '{name}', sample 'symmetric'",
            warnings,
        ),
    )


def _sample(
    pair: Pair, template: Template | None, sample: str, channel: str, warnings: list[str]
) -> SampleYields | None:
    if template is None:
        return None
    where = f"channel '{channel}', sample '{sample}'"
    yields = _flat(pair, template.yields, where, warnings)
    _refuse_negative(pair, yields, where)
    error = None
    if template.error is not None:
        error = _flat(pair, template.error, f"{where}, error")
        _refuse_negative(pair, error, f"{where}, error")
        lost = np.flatnonzero((error > 0) & (yields == 0))
        if lost.size:
            warnings.append(
                f"{where}: the error of {lost.size} bin(s) without yield is ignored (first: "
                f"{describe_bin(pair.binning, int(lost[0]))}); pyhf scales errors with the yield"
            )
            error = np.where(yields > 0, error, 0.0)
    return SampleYields(
        name=sample,
        yields=yields,
        variations=_variations(pair, template.systematics, yields, where, warnings),
        error=error,
        error_kind=template.error_kind,
        error_source="" if error is None else pair.histogram(template.error).source,
    )


def _variations(
    pair: Pair,
    systematics: Sequence[Systematic],
    nominal: Array,
    where: str,
    warnings: list[str],
) -> tuple[Variation, ...]:
    for (name, kind), count in Counter((s.name, s.kind) for s in systematics).items():
        if count > 1:
            raise ModelError(
                f"{where}: systematic '{name}' ({kind}) appears {count} times; pyhf would keep one "
                "of them, so rename or merge them"
            )
    variations = []
    for systematic in systematics:
        place = f"{where}, systematic '{systematic.name}'"
        if systematic.name in RESERVED | _stat_names(pair) or not re.fullmatch(
            r"[A-Za-z0-9_]+", systematic.name
        ):
            raise ModelError(
                f"{place}: the name is reserved or not letters, digits, underscores; rename it"
            )
        if systematic.kind == "normsys":
            up, down = np.asarray(float(systematic.up)), np.asarray(float(systematic.down))
            if not (0 < up < np.inf and 0 < down < np.inf):
                raise ModelError(
                    f"{place}: factors {up:g} and {down:g}, expected numbers > 0, 1 for no change"
                )
        else:
            up, down = (
                _flat(pair, end, f"{place}, {side}")
                for end, side in ((systematic.up, "up"), (systematic.down, "down"))
            )
            if not systematic.relative:
                appearing = np.flatnonzero((nominal == 0) & ((up != 0) | (down != 0)))
                if appearing.size:
                    raise ModelError(
                        f"{place}, {describe_bin(pair.binning, int(appearing[0]))}: the nominal is "
                        "0 but the variation is not; set it to 0 or merge bins"
                    )
                safe = np.where(nominal > 0, nominal, 1.0)
                up = np.where(nominal > 0, up / safe, 1.0)
                down = np.where(nominal > 0, down / safe, 1.0)
        variations.append(Variation(systematic.name, systematic.kind, up, down, systematic.source))
        if np.any((up - 1) * (down - 1) * nominal > 0):
            warnings.append(
                f"{place}: up and down change some bin the same way; such a one-sided variation "
                "makes several minima, so check it"
            )
    _refuse_turning_negative(pair, variations, nominal, where)
    return tuple(variations)


def _stat_names(pair: Pair) -> set[str]:
    channels = (tested_channel(pair.tested.label), partner_channel(pair.partner.label))
    return {stat_name(sample, channel) for sample in ("signal", "fakes") for channel in channels}


def _refuse_turning_negative(
    pair: Pair, variations: list[Variation], nominal: Array, where: str
) -> None:
    total = np.zeros_like(nominal)
    for variation in variations:
        if variation.kind == "histosys":
            total += np.maximum(np.abs(variation.up - 1), np.abs(variation.down - 1)) ** 2
    reach = N_SIGMA_POSITIVE * np.sqrt(total)
    bad = np.flatnonzero((reach >= 1) & (nominal > 0))
    if bad.size:
        index = int(bad[np.argmax(reach[bad])])
        raise ModelError(
            f"{where}, {describe_bin(pair.binning, index)}: relative variations add up to "
            f"{np.sqrt(total[index]):.3g} in quadrature, so the template turns negative within "
            f"{N_SIGMA_POSITIVE:g} sigma; merge or exclude the bin, or use a normsys"
        )


def _estimate_background(
    pair: Pair, tested: ChannelYields, partner: ChannelYields, signals: Array
) -> tuple[Array, tuple[int, ...]]:
    """Return b of the null without nuisances, (A - fA + B - fB) / (1 + r), floored."""
    fakes = tested.total(tested.fakes) + partner.total(partner.fakes)
    estimate = (tested.counts + partner.counts - fakes) / (1 + tested.ratio)
    if pair.floor is None:
        empty = np.flatnonzero((estimate <= 0) & (signals > 0))
        if empty.size:
            index = int(empty[0])
            raise ModelError(
                f"channel '{tested.name}', sample 'symmetric', {describe_bin(pair.binning, index)}"
                f": no background is left (observed {tested.counts[index]:g} and "
                f"{partner.counts[index]:g}, fakes {fakes[index]:g}) but signal is expected; set "
                f"'background: {{floor: 0.5}}' to start such bins there, or merge them "
                f"({empty.size} in all)"
            )
    floor = 0.5 if pair.floor is None else pair.floor
    low = np.flatnonzero(estimate < floor)
    return np.maximum(estimate, floor), tuple(int(i) for i in low)
