"""Recognise the plain pair in a workspace, so that its closed form can check every fit of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.likelihood.certificate import Minimum, compare_values
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.workspace_json import ChannelDocument

__all__ = ["RecognisedPair", "recognise_pair"]

OUTSIDE = 1e-8
"""How far, in events or in a parameter, the closed form may be outside the bounds: -2 ln L knows no
difference at its certificate's precision."""
SAME = 1e-6
"""Largest difference in -2 ln L of a fit and the closed form, beside rounding: mu_hat is not known
better."""


@dataclass(frozen=True)
class RecognisedPair:
    """A plain pair found in a workspace, and how its unknowns map to the model's parameters.

    Attributes:
        pair: The closed-form model; ``known_background`` is set where the shape is fixed.
        template: Nominal background of the partner channel, shape (M,): b = template x factor.
        shape: Where the shapefactor lies in the parameter vector.
    """

    pair: PlainPair
    template: Array
    shape: slice

    def compare(self, reference: ReferenceModel, minimum: Minimum, fixed: Mask) -> None:
        """Compare a certified fit with the closed form, where bounds are not in the way.

        Args:
            reference: The measurement.
            minimum: Its fit.
            fixed: Shape (n,): the parameters that it held.

        Raises:
            FitError: They differ.
        """
        table, pair = reference.parameters, self.pair
        if table.poi is None or not pair.has_signal:
            return
        if fixed[table.poi]:
            there = pair.at(float(minimum.parameters[table.poi]))
            mu, background, value = there.mu, there.background, there.twice_nll()
        else:
            best = pair.fit()
            mu, background, value = best.mu, best.background, best.twice_nll
        x = table.init.copy()
        x[table.poi], x[self.shape] = mu, background / self.template
        # Of bounds the closed form knows only b >= 0. That is not in those of a shapefactor, but
        # 1e-10 of the template is as good.
        moved = np.abs(np.clip(x, table.lower, table.upper) - x)
        moved[self.shape] *= self.template
        if moved.max() < OUTSIDE:
            compare_values(reference, minimum.twice_nll, value, "the closed form", SAME)


def recognise_pair(reference: ReferenceModel) -> RecognisedPair | None:
    """Return the plain pair that a model is, or None.

    Plain: two channels, one shapefactor shared by one sample of each, a normfactor POI on the
    others or no modifier at all.

    Args:
        reference: The model.
    """
    workspace, table = reference.workspace, reference.parameters
    if len(workspace["channels"]) != 2 or table.poi is None:
        return None
    poi = table.names[table.poi]
    parts = [_split(channel, poi) for channel in workspace["channels"]]
    if any(part is None for part in parts):
        return None
    (shape_a, base_a, signal_a, fixed_a), (shape_b, base_b, signal_b, fixed_b) = (
        part for part in parts if part is not None
    )
    if shape_a != shape_b or np.any(base_a <= 0) or np.any(base_b <= 0):
        return None
    where = reference.model.config.par_slice(shape_a)
    held = table.fixed[where]
    if held.any() and not held.all():
        return None
    slices = reference.channel_slices
    names = [channel["name"] for channel in workspace["channels"]]
    pair = PlainPair.of(
        reference.data[slices[names[1]]],
        reference.data[slices[names[0]]],
        signal_b,
        signal_partner=signal_a,
        ratio=base_b / base_a,
        fakes_tested=fixed_b,
        fakes_partner=fixed_a,
        known_background=base_a * table.init[where] if held.all() else None,
    )
    return RecognisedPair(pair=pair, template=base_a, shape=where)


def _split(channel: ChannelDocument, poi: str) -> tuple[str, Array, Array, Array] | None:
    """Return (shapefactor, its sample, signal, the rest) of a channel, None if it is not plain."""
    shape: tuple[str, Array] | None = None
    signal = np.zeros(len(channel["samples"][0]["data"]))
    rest = np.zeros_like(signal)
    for sample in channel["samples"]:
        yields = np.array(sample["data"], dtype=float)
        kinds = [(m["type"], m["name"]) for m in sample["modifiers"]]
        if not kinds:
            rest += yields
        elif kinds == [("normfactor", poi)]:
            signal += yields
        elif len(kinds) == 1 and kinds[0][0] == "shapefactor" and shape is None:
            shape = (kinds[0][1], yields)
        else:
            return None
    return None if shape is None else (shape[0], shape[1], signal, rest)
