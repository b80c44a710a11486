"""What pyhf drops in silence: said by name, since a fit would look as if it had been used.

Three things of a legal workspace have no effect in pyhf: observations without a channel, settings
of a parameter that no modifier has (a misspelt ``fixed: true`` leaves the other one free), and
per-bin errors where the yield they belong to is not positive (pyhf holds those factors at 1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ddphf.exceptions import ModelError
from ddphf.results.data_directed import read_mark
from ddphf.text import did_you_mean, list_names
from ddphf.workspace_json import ChannelDocument, MeasurementDocument, Workspace

__all__ = ["check_staterrors", "warn_of_dropped"]


WRITTEN_ANYWAY = "lumi"
"""pyhf xml2json configures it in every measurement, used or not."""


def warn_of_dropped(
    workspace: Workspace, measurement: MeasurementDocument, parameters: Iterable[str]
) -> Iterator[str]:
    """Yield a sentence about each kind of content that pyhf ignores.

    Args:
        workspace: A checked pyhf workspace.
        measurement: The measurement to be fitted.
        parameters: Names of the parameters that its modifiers have.

    Example:
        >>> spec = {"channels": [], "observations": [{"name": "VR", "data": [1.0]}]}
        >>> measurement = {"name": "m", "config": {"poi": "", "parameters": [{"name": "nrm"}]}}
        >>> lost, ignored = warn_of_dropped(spec, measurement, ["norm"])
        >>> lost
        'observations without a channel are ignored: VR'
        >>> ignored.partition(": nrm")[2]
        " (did you mean 'norm'?)"
    """
    channels = workspace["channels"]
    places = [*_empty_staterrors(channels), *_empty_shapesys(channels)]
    names = {channel["name"] for channel in channels}
    if extra := sorted({o["name"] for o in workspace["observations"]} - names):
        # Pruned published workspaces keep them.
        yield f"observations without a channel are ignored: {', '.join(extra)}"
    known, config = set(parameters), measurement["config"]
    lost = [p["name"] for p in config["parameters"] if p["name"] not in known | {WRITTEN_ANYWAY}]
    if (mark := read_mark({"measurements": [measurement]})) is not None:
        yield mark.describe()
        lost = [name for name in lost if name != mark.name]
    if config["poi"] and config["poi"] not in known:
        lost = []  # a background-only workspace: they come with the patch of the signal
    if lost:
        free = known - {p["name"] for p in config["parameters"]}
        hint = did_you_mean(lost[0], sorted(free)).rstrip("; ")
        yield (
            f"measurement '{measurement['name']}': settings of parameters that no modifier has are "
            f"ignored: {list_names(lost)}" + (f" ({hint})" if hint else "")
        )
    if places:
        yield (
            "per-bin errors where the yield is not above 0 are ignored by pyhf: "
            f"{list_names(places)}; a histosys states such an error"
        )


def check_staterrors(channels: list[ChannelDocument]) -> None:
    """Refuse a staterror whose samples do not have it in the same channels.

    Raises:
        ModelError: pyhf would stop with an assertion; says which sample lacks it where.

    Example:
        >>> stat = {"name": "k", "type": "staterror", "data": [1.0]}
        >>> sample = {"name": "b", "data": [9.0], "modifiers": [stat]}
        >>> channel = {"name": "A", "samples": [sample]}
        >>> check_staterrors([channel, {**channel, "name": "Z"}])
        >>> check_staterrors([channel, {"name": "Z", "samples": [{**sample, "name": "c"}]}])
        Traceback (most recent call last):
        ...
        ddphf.exceptions.ModelError: staterror 'k': channel 'Z' has it in sample 'c' and not in ...
    """
    for name, samples in _staterrors(channels).items():
        everywhere = {channel for own in samples.values() for channel in own}
        for sample, own in samples.items():
            if missing := sorted(everywhere - set(own)):
                other = next(s for s, places in samples.items() if missing[0] in places)
                raise ModelError(
                    f"staterror '{name}': channel '{missing[0]}' has it in sample '{other}' and "
                    f"not in sample '{sample}', which has it in channel '{min(own)}'; pyhf needs "
                    "every sample of a staterror in all of its channels, so give each channel a "
                    "staterror of its own name"
                )


def _staterrors(
    channels: list[ChannelDocument],
) -> dict[str, dict[str, dict[str, tuple[Any, Any]]]]:
    """Return yields and errors by staterror, sample and channel."""
    out: dict[str, dict[str, dict[str, tuple[Any, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":
                    pair = (np.array(sample["data"]), np.array(modifier["data"]))
                    out[modifier["name"]][sample["name"]][channel["name"]] = pair
    return out


def _empty_staterrors(channels: list[ChannelDocument]) -> Iterator[str]:
    """Yield where the samples of a staterror add up to nothing, and one of them has an error."""
    for name, samples in _staterrors(channels).items():
        for channel in sorted({place for own in samples.values() for place in own}):
            pairs = [own[channel] for own in samples.values() if channel in own]
            total = np.sum([yields for yields, _ in pairs], axis=0)
            error = np.sum([errors for _, errors in pairs], axis=0)
            yield from _name_bins((total <= 0) & (error > 0), channel, name, "staterror")


def _empty_shapesys(channels: list[ChannelDocument]) -> Iterator[str]:
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "shapesys":
                    empty = (np.array(sample["data"]) <= 0) & (np.array(modifier["data"]) > 0)
                    yield from _name_bins(empty, channel["name"], modifier["name"], "shapesys")


def _name_bins(where: Any, channel: str, name: str, kind: str) -> Iterator[str]:
    bins = [str(i) for i in np.flatnonzero(where)]
    if bins:
        yield f"channel '{channel}', {kind} '{name}', bin{'s' * (len(bins) > 1)} {list_names(bins)}"
