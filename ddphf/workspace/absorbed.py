"""Variations that the shared background takes over: the same factor in both channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ddphf.workspace.channels import ChannelYields

__all__ = ["drop_absorbed"]


def drop_absorbed(
    tested: ChannelYields, partner: ChannelYields
) -> tuple[ChannelYields, ChannelYields, tuple[str, ...]]:
    """Leave out variations equal in both channels that touch nothing but the background.

    One that also touches signal or fakes moves mu, its error and its limits, and stays everywhere.

    Args:
        tested: The channel with the signal.
        partner: Its partner.

    Returns:
        Both channels without them, and their names.
    """
    carriers = {
        variation.name
        for channel in (tested, partner)
        for sample in (channel.signal, channel.fakes)
        if sample is not None
        for variation in sample.variations
    }
    ours = {(v.name, v.kind): v for v in tested.variations}
    theirs = {(v.name, v.kind): v for v in partner.variations}
    both = Counter(name for name, _ in {**ours, **theirs})
    absorbed = tuple(
        key[0]
        for key, variation in ours.items()
        if key in theirs
        and both[key[0]] == 1
        and key[0] not in carriers
        and np.allclose(variation.up, theirs[key].up, rtol=1e-12, atol=0)
        and np.allclose(variation.down, theirs[key].down, rtol=1e-12, atol=0)
    )

    def without(channel: ChannelYields) -> ChannelYields:
        kept = tuple(v for v in channel.variations if v.name not in absorbed)
        return replace(channel, variations=kept)

    return without(tested), without(partner), absorbed
