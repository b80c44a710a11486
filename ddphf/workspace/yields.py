"""From a pair to its checked, flat numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError, ModelError
from ddphf.inputs.histogram import Histogram, describe_bin
from ddphf.symmetry.pair import Channel, Pair
from ddphf.workspace.absorbed import drop_absorbed
from ddphf.workspace.channels import ChannelYields, PairYields
from ddphf.workspace.lepton_id import LeptonIdYields, attach_lepton_id
from ddphf.workspace.naming import partner_channel, tested_channel
from ddphf.workspace.samples import check_sample, check_variations, flatten, refuse_negative

__all__ = ["resolve_null", "resolve_pair"]


def resolve_pair(pair: Pair) -> PairYields:
    """Check a pair and flatten it (C order, last axis fastest).

    Raises:
        InputError: A histogram with NaN, negative or fractional content, or another binning.
        ModelError: Names channel, sample and bin, and what to do.
    """
    if pair.lepton_id is None:
        return _resolve(pair, None)
    # What the result feels of the lepton-ID error is known once everything else is.
    plain = _resolve(replace(pair, lepton_id=None), None)
    return _resolve(*attach_lepton_id(pair, plain))


def resolve_null(pair: Pair) -> PairYields:
    """Check a pair without its signal: what is expected, and how well, where nothing is searched.

    The lepton-ID variations are all kept that move the ratio, whatever the analysis prunes: only a
    likelihood is the slower for them.

    Raises:
        InputError: A histogram with NaN, negative or fractional content, or another binning.
        ModelError: Names channel, sample and bin, and what to do.

    Example:
        >>> from ddphf.symmetry.pair import Channel
        >>> resolve_null(Pair(Channel("mue", [18, 33]), Channel("emu", [12, 30]))).tested.counts
        array([18., 33.])
    """
    tested, partner = (replace(channel, signal=None) for channel in (pair.tested, pair.partner))
    bare = replace(pair, tested=tested, partner=partner, luminosity_error=None, lepton_id=None)
    plain = _resolve(bare, None, signal=False)
    if pair.lepton_id is None:
        return plain
    everything = replace(
        pair.lepton_id, retained=1.0, at_most=None, residual="drop", rounding=None, on_signal=False
    )
    return _resolve(*attach_lepton_id(replace(bare, lepton_id=everything), plain), signal=False)


def _resolve(pair: Pair, lepton_id: LeptonIdYields | None, *, signal: bool = True) -> PairYields:
    ratio, said = _ratio(pair)
    tested, of_tested = _channel(pair, pair.tested, tested_channel(pair.tested.label), ratio)
    partner, of_partner = _channel(
        pair, pair.partner, partner_channel(pair.partner.label), np.ones_like(ratio)
    )
    warnings = [*pair.warnings, *([] if lepton_id is None else lepton_id.warnings)]
    warnings += [*said, *of_tested, *of_partner]
    signals = tested.total(tested.signal) + partner.total(partner.signal)
    if signal and tested.signal is None and partner.signal is None:
        raise ModelError(
            f"channels '{tested.name}' and '{partner.name}': no sample 'signal' in either; state "
            "the template that is searched"
        )
    if signal and not np.any(signals):
        raise ModelError(
            f"channel '{tested.name}', sample 'signal': zero in every bin, so mu has no meaning; "
            "check the histogram and its selection"
        )
    known = None
    if pair.known_background is not None:
        known, said = flatten(pair, pair.known_background, "known background")
        warnings += said
        refuse_negative(pair, known, "known background")
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


def _ratio(pair: Pair) -> tuple[Array, list[str]]:
    data, warnings = pair.efficiency_ratio, list[str]()
    if np.ndim(data) == 0 and not hasattr(data, "axes"):
        ratio = np.full(pair.n_bins, float(data))
    else:
        ratio, warnings = flatten(pair, data, "efficiency ratio", events=False)
        variances = pair.histogram(data).variances
        if variances is not None and np.any(variances > 0):
            warnings.append(
                "efficiency ratio: the variances of the histogram are not used; state its errors "
                "as systematics of the tested sample (histosys, relative)"
            )
    for index in np.flatnonzero(~np.isfinite(ratio) | (ratio <= 0)):
        raise InputError(
            f"efficiency ratio, {describe_bin(pair.binning, int(index))}: got {ratio[index]:g}, "
            "expected a number > 0; exclude or merge the bin"
        )
    return ratio, warnings


def _channel(
    pair: Pair, channel: Channel, name: str, ratio: Array
) -> tuple[ChannelYields, list[str]]:
    if not re.fullmatch(r"[A-Za-z0-9_]+", channel.label):
        raise ModelError(f"label '{channel.label}': expected letters, digits and underscores")
    where = f"channel '{name}', observed"
    counts, warnings = flatten(pair, channel.observed, where)
    refuse_negative(pair, counts, where, "give the raw counts, nothing subtracted")
    warnings += _check_variances(pair, pair.histogram(channel.observed), where)
    fractional = np.flatnonzero(np.abs(counts - np.round(counts)) > 1e-9)
    if pair.integer_data and fractional.size:
        index = int(fractional[0])
        raise InputError(
            f"{where}, {describe_bin(pair.binning, index)}: got {counts[index]:g}, not a whole "
            "number; weighted data are not Poisson: give raw counts and put the weights into the "
            "efficiency ratio, or declare 'integer_data: false' for Asimov data"
        )
    signal, of_signal = check_sample(pair, channel.signal, "signal", name)
    fakes, of_fakes = check_sample(pair, channel.fakes, "fakes", name)
    variations, of_symmetric = check_variations(
        pair, channel.systematics, np.ones_like(counts), f"channel '{name}', sample 'symmetric'"
    )
    checked = ChannelYields(
        name=name, counts=counts, ratio=ratio, signal=signal, fakes=fakes, variations=variations
    )
    return checked, [*warnings, *of_signal, *of_fakes, *of_symmetric]


def _check_variances(pair: Pair, observed: Histogram, where: str) -> list[str]:
    """Refuse weighted sums that pass for counts, or say so where they are declared."""
    variances, warnings = observed.variances, []
    if observed.weighted and pair.integer_data:
        warnings.append(
            f"{where}: filled with weights into a storage that keeps no sums of their squares; "
            "other weights than 1 would make these no counts, though they are whole numbers"
        )
    if variances is None:
        return warnings
    size = np.maximum(np.abs(observed.values), 1.0)
    weighted = np.flatnonzero(np.abs(variances - observed.values) > 1e-6 * size)
    if not weighted.size:
        return warnings
    index = int(weighted[0])
    found = (
        f"{where}, {describe_bin(observed.axes, index)}: {observed.flat[index]:g} events with a "
        f"variance of {variances.ravel()[index]:g}"
    )
    if pair.integer_data:
        raise InputError(
            f"{found}: weighted data are not Poisson; give raw counts and put the weights into the "
            "efficiency ratio, or declare 'integer_data: false' for Asimov data"
        )
    warnings.append(
        f"{found}: taken as pseudo-data, whose fluctuations are not those of counts; a p value of "
        "them is no p value of data"
    )
    return warnings


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
