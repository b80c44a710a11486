"""Histograms of one channel flattened and checked: contents, errors, systematics."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import DdphfError, InputError, ModelError
from ddphf.inputs.alignment import align
from ddphf.inputs.histogram import describe_bin, error_from_variances
from ddphf.statistics.one_sided import say_one_sided
from ddphf.statistics.positive import describe_negative
from ddphf.symmetry.pair import Pair, Systematic, Template
from ddphf.workspace.channels import SampleYields, Variation
from ddphf.workspace.naming import RESERVED, partner_channel, stat_name, tested_channel

__all__ = ["NO_ERROR", "check_sample", "check_variations", "flatten", "refuse_negative"]

EMPTY_BIN = "merge bins, or set the bin to 0 and widen its error"

NEGATIVE_FAKES = (
    "set 'negative: zero' or 'negative: merge' in the section 'fakes', which say what they change"
)
NO_ERROR = "none"
"""In the place of an error: leave the variances of the yields out."""

LARGEST = 1e30
"""No yield: a larger number is damage, and its powers overflow."""


def flatten(pair: Pair, data: Any, where: str, *, events: bool = True) -> tuple[Array, list[str]]:
    """Return checked contents in the order of the pair's axes, and warnings.

    Args:
        pair: Its binning.
        data: A histogram, or an array in the order of the binning.
        where: Channel and sample, for messages.
        events: Whether the contents are events, so that those outside the axes are worth a word.

    Raises:
        InputError: NaN, or another binning.
    """
    try:
        histogram = pair.histogram(data)
    except DdphfError as error:
        raise InputError(f"{where}: {error}") from None
    where = f"{where} ({histogram.source})" if histogram.source else where
    try:
        histogram, notes = align(histogram, pair.binning)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    warnings = [f"{where}: {note}" for note in notes]
    if events and histogram.flow != 0:
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
    return flat, warnings


def refuse_negative(pair: Pair, flat: Array, where: str, remedy: str = EMPTY_BIN) -> None:
    """Refuse contents below 0, naming the first such bin.

    Args:
        pair: Its binning.
        flat: Contents, shape (M,).
        where: Channel and sample, for the message.
        remedy: What to do, for the message.

    Raises:
        InputError: Some content is negative.
    """
    for index in np.flatnonzero(flat < 0):
        raise InputError(
            f"{where}, {describe_bin(pair.binning, int(index))}: got {flat[index]:g}, expected "
            f">= 0; {remedy}"
        )


def check_sample(
    pair: Pair, template: Template | None, sample: str, channel: str
) -> tuple[SampleYields | None, list[str]]:
    """Return the checked yields of a template with their errors and systematics, and warnings.

    Args:
        pair: Its binning and labels.
        template: What the user gave, or None.
        sample: Name of the sample.
        channel: Name of the channel.

    Raises:
        InputError: A histogram with NaN, negative content, or another binning.
        ModelError: A systematic that cannot be built.
    """
    if template is None:
        return None, []
    where = f"channel '{channel}', sample '{sample}'"
    yields, said = flatten(pair, template.yields, where)
    warnings = [*(f"{where}: {line}" for line in template.warnings), *said]
    refuse_negative(pair, yields, where, NEGATIVE_FAKES if sample == "fakes" else EMPTY_BIN)
    error = None
    stated, said = _stated_error(pair, template, where)
    warnings += said
    if stated is not None:
        error, said = flatten(pair, stated, f"{where}, error", events=False)
        warnings += said
        refuse_negative(pair, error, f"{where}, error")
        lost = np.flatnonzero((error > 0) & (yields == 0))
        if lost.size:
            warnings.append(
                f"{where}: the error of {lost.size} bin(s) without yield is ignored (first: "
                f"{describe_bin(pair.binning, int(lost[0]))}); pyhf scales errors with the yield"
            )
            error = np.where(yields > 0, error, 0.0)
        if not np.any(error):
            error = None
    variations, said = check_variations(pair, template.systematics, yields, where)
    checked = SampleYields(
        name=sample,
        yields=yields,
        variations=variations,
        error=error,
        error_kind=template.error_kind,
        error_source="" if error is None else pair.histogram(stated).source,
        description=template.description,
    )
    return checked, [*warnings, *said]


def _stated_error(pair: Pair, template: Template, where: str) -> tuple[Any, list[str]]:
    """Return the error that the user gave, else the root of the yields' variances; and warnings."""
    if isinstance(template.error, str):
        if template.error != NO_ERROR:
            raise InputError(f"{where}, error: got '{template.error}', expected '{NO_ERROR}'")
        return None, []
    if template.error is not None:
        return template.error, []
    yields = pair.histogram(template.yields)
    if yields.variances is not None:
        try:
            return error_from_variances(yields), []
        except InputError as error:
            raise InputError(f"{where}, error: {error}") from None
    warnings = []
    if yields.weighted:
        warnings.append(
            f"{where}: filled with weights into a storage that keeps no sums of their squares, so "
            f"it has no statistical error; fill hist.storage.Weight(), or write 'error: {NO_ERROR}'"
        )
    if yields.error_columns:
        warnings.append(
            f"{where} ({yields.source}): its errors {', '.join(yields.error_columns)} are not "
            f"used; name one in 'error', or write 'error: {NO_ERROR}'"
        )
    return None, warnings


def check_variations(
    pair: Pair, systematics: Sequence[Systematic], nominal: Array, where: str
) -> tuple[tuple[Variation, ...], list[str]]:
    """Return the checked systematics of one sample as factors of its nominal, and warnings.

    Args:
        pair: Its binning and labels.
        systematics: What the user gave.
        nominal: Yields of the sample, shape (M,).
        where: Channel and sample, for messages.

    Raises:
        InputError: A histogram with NaN or another binning.
        ModelError: Names that repeat or are reserved, factors <= 0, variations where the nominal
            is 0, or that turn the template negative.
    """
    for (name, kind), count in Counter((s.name, s.kind) for s in systematics).items():
        if count > 1:
            raise ModelError(
                f"{where}: systematic '{name}' ({kind}) appears {count} times; pyhf would keep one "
                "of them, so rename or merge them"
            )
    variations, warnings = [], list[str]()
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
            up, said = flatten(pair, systematic.up, f"{place}, up", events=False)
            down, more = flatten(pair, systematic.down, f"{place}, down", events=False)
            warnings += [*said, *more]
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
        warnings += say_one_sided(up, down, nominal, place)
    found = describe_negative(variations, nominal, "merge or exclude the bin, or use a normsys")
    if found is not None:
        raise ModelError(f"{where}, {describe_bin(pair.binning, found[0])}: {found[1]}")
    return tuple(variations), warnings


def _stat_names(pair: Pair) -> set[str]:
    channels = (tested_channel(pair.tested.label), partner_channel(pair.partner.label))
    return {stat_name(sample, channel) for sample in ("signal", "fakes") for channel in channels}
