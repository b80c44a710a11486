"""Non-prompt events of a channel, from a histogram or from a map of fake factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.inputs.histogram import Array
from ddphf.inputs.maps import IntArray, LeptonMap
from ddphf.symmetry.efficiency import LeptonColumns
from ddphf.symmetry.pair import Systematic, Template

__all__ = ["fakes_from_histogram", "fakes_from_map"]


def fakes_from_histogram(
    yields: Any, statistical: Any = None, normalisation: float = 0.0, *, name: str = "fakes_norm"
) -> Template:
    """Return a template with a statistical error per bin and one on its normalisation.

    Args:
        yields: Expected non-prompt events per bin.
        statistical: Absolute, uncorrelated, per bin.
        normalisation: Relative error of the whole template; 0 for none.
        name: Nuisance of the normalisation: the same name in both channels is one parameter.

    Raises:
        InputError: The normalisation error is not in [0, 1).

    Example:
        >>> [s.kind for s in fakes_from_histogram([5.0, 2.0], [1.0, 0.5], 0.2).systematics]
        ['normsys']
    """
    if not 0 <= normalisation < 1:
        raise InputError(
            f"fakes: relative error of the normalisation {normalisation:g}, expected 0 <= error < 1"
        )
    systematics: list[Systematic] = []
    if normalisation > 0:
        systematics.append(Systematic(name, "normsys", 1 + normalisation, 1 / (1 + normalisation)))
    return Template(yields, error=statistical, systematics=systematics)


def fakes_from_map(
    table: EventTable,
    calibration: LeptonMap,
    lepton: LeptonColumns,
    bins: IntArray,
    shape: tuple[int, ...],
    *,
    normalisation: float = 0.0,
) -> Template:
    """Return fakes as control-region events times the fake factor of their loose lepton.

    Errors: the control region's counting error sqrt(sum F^2) per template bin; one shape per map
    bin for the map's statistical errors and one per named source, each shared by all template bins
    and by every channel that uses the map. These shapes are exact: the yields are linear in F.

    Args:
        table: Control region, one loose lepton per event.
        calibration: Fake factors.
        lepton: The columns of the loose lepton.
        bins: Template bin of each event, flattened, shape (n,); negative ones are skipped.
        shape: Of the template.
        normalisation: Relative error of the whole template.

    Raises:
        InputError: A loose lepton lies outside the map; says how many do.
    """
    size = int(np.prod(shape))
    place = calibration.locate(
        pt=table[lepton.pt],
        eta=None if lepton.eta is None else table[lepton.eta],
        charge=None if lepton.charge is None else table[lepton.charge],
    )
    lost = int(np.count_nonzero((place < 0) & (bins >= 0)))
    if lost:
        raise InputError(
            f"{table.source or 'control region'}: {lost} loose leptons lie outside the map "
            f"'{calibration.name}'; extend the map, or drop such events from both samples"
        )
    used = bins >= 0
    cells = bins[used] * calibration.n_bins + place[used]
    counts = np.bincount(cells, minlength=size * calibration.n_bins)
    per_bin = counts.reshape(size, calibration.n_bins).astype(float)
    yields = per_bin @ calibration.values
    shifts: list[tuple[str, Array]] = [
        (f"fakes_{calibration.name}_bin{k:02d}", per_bin[:, k] * calibration.statistical[k])
        for k in np.flatnonzero((per_bin.sum(axis=0) > 0) & (calibration.statistical > 0))
    ]
    for source, shift in calibration.sources.items():
        shifts.append((f"fakes_{calibration.name}_{source}", per_bin @ shift))
    base = fakes_from_histogram(
        yields.reshape(shape),
        np.sqrt(per_bin @ calibration.values**2).reshape(shape),
        normalisation,
        name=f"fakes_{calibration.name}_norm",
    )
    return Template(
        base.yields,
        error=base.error,
        systematics=[
            *base.systematics,
            *_shapes(shifts, yields, shape, calibration.source),
        ],
    )


def _shapes(
    shifts: Sequence[tuple[str, Array]], yields: Array, shape: tuple[int, ...], source: str
) -> list[Systematic]:
    return [
        Systematic(
            name,
            "histosys",
            (yields + shift).reshape(shape),
            (yields - shift).reshape(shape),
            source=source,
        )
        for name, shift in shifts
    ]
