"""Another signal on a published background: the JSON Patch that puts it there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError, ModelError
from ddphf.likelihood.patches import Patch, apply_patch
from ddphf.text import did_you_mean
from ddphf.workspace_json import (
    ChannelDocument,
    ModifierDocument,
    SampleDocument,
    Shapes,
    Workspace,
)

__all__ = ["Recast", "Template", "recast_signal"]

Side = Literal["hi_data", "lo_data"]


@dataclass(frozen=True)
class Template:
    """A user's signal in one channel.

    Attributes:
        yields: Events per bin at mu = 1, shape (n_bins,).
        error: Their absolute uncertainties, or None.
    """

    yields: Array
    error: Array | None = None


@dataclass(frozen=True)
class Recast:
    """What :func:`recast_signal` returns.

    Attributes:
        patch: JSON Patch; it touches /channels alone.
        workspace: The patched workspace.
        notes: What was kept, replaced and left out, as sentences.
    """

    patch: Patch
    workspace: Workspace
    notes: tuple[str, ...]


def recast_signal(
    base: Workspace, templates: Mapping[str, Template], *, name: str = "signal", scale: float = 1.0
) -> Recast:
    """Replace the signal of a workspace.

    Args:
        base: A published workspace, or its background-only one: what the patch applies to.
        templates: The new signal by channel; channels without one have none.
        name: Of the new sample.
        scale: mu = 1 means the templates times this.

    Returns:
        The patch. Uncertainties of the old signal carry over as relative ones: normsys and lumi
        as they are; histosys bin by bin where the old signal has yields, else as the sample
        ``symmetric`` has them; per-bin statistical ones not at all.

    Raises:
        InputError: An unknown channel, a template of another length, no events, negative ones, or
            a name that another sample has.
        ModelError: The workspace has no POI.

    Example:
        >>> base = {"channels": [{"name": "c", "samples": [
        ...     {"name": "b", "data": [5.0, 5.0], "modifiers": []}]}],
        ...     "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}]}
        >>> recast = recast_signal(base, {"c": Template(np.array([1.0, 2.0]))})
        >>> recast.patch[0]["op"], recast.patch[0]["path"], recast.patch[0]["value"]["data"]
        ('add', '/channels/0/samples/0', [1.0, 2.0])
    """
    poi = base["measurements"][0]["config"]["poi"]
    if not poi:
        raise ModelError(
            "the workspace has no POI, so no signal strength for a new signal; name a normfactor "
            "as POI in its first measurement"
        )
    channels = {channel["name"]: channel for channel in base["channels"]}
    for label in templates:
        if label not in channels:
            raise InputError(
                f"channel '{label}' is not in the workspace; {did_you_mean(label, channels)}"
                f"take one of: {', '.join(channels)}"
            )
    if not any(np.any(template.yields > 0) for template in templates.values()):
        raise InputError("the new signal has no events in any channel; nothing could be measured")
    patch: Patch = []
    notes: list[str] = []
    for i, channel in enumerate(base["channels"]):
        samples = channel["samples"]
        old = [j for j, sample in enumerate(samples) if _is_signal(sample, poi)]
        for j in reversed(old):
            patch.append({"op": "remove", "path": f"/channels/{i}/samples/{j}"})
        template = templates.get(channel["name"])
        if template is None:
            if old:
                events = sum(sum(samples[j]["data"]) for j in old)
                notes.append(
                    f"{channel['name']}: the published signal has {events:.6g} events here, the "
                    "new one none"
                )
            if len(old) == len(samples):
                raise InputError(
                    f"channel '{channel['name']}': would have no sample left; give a template"
                )
            continue
        others = [sample for j, sample in enumerate(samples) if j not in old]
        if any(sample["name"] == name for sample in others):
            raise InputError(f"channel '{channel['name']}': has a sample '{name}'; give a --name")
        sample, lines = _make_sample(channel, old, template, poi=poi, name=name, scale=scale)
        notes += lines
        place = old[0] if old else 0
        patch.append({"op": "add", "path": f"/channels/{i}/samples/{place}", "value": sample})
    return Recast(patch, apply_patch(base, patch), tuple(notes))


def _is_signal(sample: SampleDocument, poi: str) -> bool:
    return any(m["name"] == poi and m["type"] == "normfactor" for m in sample["modifiers"])


def _make_sample(
    channel: ChannelDocument,
    old: list[int],
    template: Template,
    *,
    poi: str,
    name: str,
    scale: float,
) -> tuple[SampleDocument, list[str]]:
    where, n_bins = f"channel '{channel['name']}'", len(channel["samples"][0]["data"])
    yields = np.ravel(np.asarray(template.yields, dtype=float)) * scale
    if len(yields) != n_bins:
        raise InputError(
            f"{where}: a template of {len(yields)} bins, the channel has {n_bins}; give one yield "
            "per bin, the last axis fastest"
        )
    if not np.all(np.isfinite(yields) & (yields >= 0)):
        bad = int(np.flatnonzero(~(np.isfinite(yields) & (yields >= 0)))[0])
        raise InputError(
            f"{where}, bin {bad}: signal {yields[bad]:g}, expected a number >= 0"
            + ("; negative yields make a negative rate somewhere" if yields[bad] < 0 else "")
        )
    modifiers: list[ModifierDocument] = [{"name": poi, "type": "normfactor", "data": None}]
    kept: list[str] = []
    dropped: list[str] = []
    if old:
        published = channel["samples"][old[0]]
        for modifier in published["modifiers"]:
            if modifier["name"] == poi:
                continue
            moved = _move(modifier, np.array(published["data"], dtype=float), yields, channel)
            (dropped if moved is None else kept).append(modifier["name"])
            if moved is not None:
                modifiers.append(moved)
    if template.error is not None:
        error = np.ravel(np.asarray(template.error, dtype=float)) * scale
        if len(error) != n_bins or not np.all(np.isfinite(error) & (error >= 0)):
            raise InputError(f"{where}: expected {n_bins} errors >= 0 of the template")
        # pyhf fixes the parameter of a bin whose yield or error is 0.
        label = f"{name}_stat_{channel['name']}"
        modifiers.append({"name": label, "type": "shapesys", "data": error.tolist()})
    notes = []
    if kept:
        notes.append(f"{channel['name']}: kept as relative uncertainties: {_some(kept)}")
    if dropped:
        notes.append(f"{channel['name']}: left out, as they belong to the old signal: "
                     f"{_some(dropped)}")  # fmt: skip
    return {"name": name, "data": yields.tolist(), "modifiers": modifiers}, notes


def _move(
    modifier: ModifierDocument, old: Array, new: Array, channel: ChannelDocument
) -> ModifierDocument | None:
    """Return a modifier of the old signal on the new one; None where it does not carry over."""
    if modifier["type"] in ("normsys", "lumi", "normfactor"):
        return copy.deepcopy(modifier)
    if modifier["type"] != "histosys":
        return None
    safe = np.where(old > 0, old, 1.0)

    def moved(side: Side) -> list[float]:
        shape = np.array(modifier["data"][side], dtype=float)
        relative = np.where(old > 0, shape / safe, 1.0)
        common = _symmetric(channel, modifier["name"], side)
        if common is not None:
            relative = np.where(old > 0, relative, common)
        return [float(x) for x in new * relative]

    shapes: Shapes = {"hi_data": moved("hi_data"), "lo_data": moved("lo_data")}
    return {"name": modifier["name"], "type": modifier["type"], "data": shapes}


def _symmetric(channel: ChannelDocument, name: str, side: Side) -> Array | None:
    """Return the relative variation of the sample ``symmetric``, shape (n_bins,)."""
    for sample in channel["samples"]:
        for modifier in sample["modifiers"]:
            if modifier["type"] != "histosys":
                continue
            if (sample["name"], modifier["name"]) == ("symmetric", name):
                nominal = np.array(sample["data"], dtype=float)
                shifted = np.array(modifier["data"][side], dtype=float)
                ones: Array = np.ones_like(nominal)
                np.divide(shifted, nominal, out=ones, where=nominal > 0)
                return ones
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
