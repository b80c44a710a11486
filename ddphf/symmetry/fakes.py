"""Non-prompt events of a channel, from a histogram or from maps of fake factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.inputs.maps import LeptonMap
from ddphf.symmetry.efficiency import LeptonColumns, lepton_flavour
from ddphf.symmetry.fake_templates import keep_positive
from ddphf.symmetry.pair import Systematic, Template

__all__ = [
    "LooseLeptons",
    "fake_normalisation",
    "fake_shapes",
    "fakes_from_histogram",
    "fakes_from_maps",
    "find_loose",
]


def fake_normalisation(error: float, name: str = "fakes_norm") -> list[Systematic]:
    """Return the error of the whole template's normalisation as a normsys; none for 0.

    Args:
        error: Relative; the factors are 1 + error and its inverse.
        name: The same name in both channels is one parameter.

    Raises:
        InputError: The error is not in [0, 1).

    Example:
        >>> [(s.name, s.up, s.down) for s in fake_normalisation(0.25)]
        [('fakes_norm', 1.25, 0.8)]
    """
    if not 0 <= error < 1:
        raise InputError(
            f"fakes: relative error of the normalisation {error:g}, expected 0 <= error < 1"
        )
    return [Systematic(name, "normsys", 1 + error, 1 / (1 + error))] if error > 0 else []


def fakes_from_histogram(
    yields: Any, statistical: Any = None, normalisation: float = 0.0, *, name: str = "fakes_norm"
) -> Template:
    """Return a template with a statistical error per bin and one on its normalisation.

    Args:
        yields: Expected non-prompt events per bin.
        statistical: Absolute, uncorrelated, per bin.
        normalisation: Relative error of the whole template; 0 for none.
        name: Nuisance of the normalisation.

    Raises:
        InputError: The normalisation error is not in [0, 1).

    Example:
        >>> [s.kind for s in fakes_from_histogram([5.0, 2.0], [1.0, 0.5], 0.2).systematics]
        ['normsys']
    """
    return Template(yields, error=statistical, systematics=fake_normalisation(normalisation, name))


@dataclass(frozen=True)
class LooseLeptons:
    """Events of a control region, each with one loose lepton that has a fake factor.

    Attributes:
        maps: Fake factors, one map per flavour; their bins are counted through.
        cells: Bin of each loose lepton, -1 outside the maps, shape (n,).
        weights: Of the events, without the fake factor, shape (n,).
        factors: Fake factor of each, 0 outside the maps, shape (n,).
        columns: Bins whose errors move the factor, -1 for none, shape (n, c).
        amounts: By how much, in units of these errors, shape (n, c).
    """

    maps: tuple[LeptonMap, ...]
    cells: IntArray
    weights: Array
    factors: Array
    columns: IntArray
    amounts: Array

    @property
    def expected(self) -> Array:
        """Weight times fake factor per event, 0 outside the maps, shape (n,)."""
        return np.asarray(self.weights * self.factors)

    def select(self, mask: Mask | IntArray) -> LooseLeptons:
        """Return the events where ``mask``, shape (n,), is true; or those of some numbers."""
        return LooseLeptons(
            self.maps, self.cells[mask], self.weights[mask], self.factors[mask],
            self.columns[mask], self.amounts[mask],
        )  # fmt: skip

    def refuse_outside(self, bins: IntArray, source: str) -> None:
        """Refuse events without a fake factor in a template bin (``bins`` >= 0, shape (n,)).

        Raises:
            InputError: Says how many there are.
        """
        lost = int(np.count_nonzero((self.cells < 0) & (bins >= 0)))
        if lost:
            names = " and ".join(f"'{m.name}'" for m in self.maps)
            raise InputError(
                f"{source or 'control region'}: {lost} loose leptons have no fake factor, outside "
                f"the bins of {names} or of another flavour; extend the maps, or drop such events "
                "from both samples"
            )


def find_loose(
    table: EventTable,
    maps: Mapping[int, LeptonMap],
    lepton: LeptonColumns,
    weights: Array | None = None,
) -> LooseLeptons:
    """Look the loose leptons of a control region up in the maps of their flavours.

    Args:
        table: n events, one loose lepton each.
        maps: Fake factors by PDG code.
        lepton: The columns of the loose lepton.
        weights: Of the events, shape (n,), negative to subtract prompt ones; 1 by default.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> from ddphf.inputs.maps import make_map
        >>> factors = make_map("muon", "fake_factor", {"pt": [10, 20, 50]}, [0.25, 0.5])
        >>> events = make_events({"pt": [12.0, 30.0, 60.0], "id": [13, -13, 13]})
        >>> loose = find_loose(events, {13: factors}, LeptonColumns("id", "pt"))
        >>> loose.cells.tolist(), loose.expected.tolist()
        ([0, 1, -1], [0.25, 0.5, 0.0])
    """
    flavour = lepton_flavour(table, lepton)
    values = lepton.values(table)
    n, wide = table.n_events, max((m.n_columns for m in maps.values()), default=1)
    cells, factors = np.full(n, -1), np.zeros(n)
    columns, amounts, first = np.full((n, wide), -1), np.zeros((n, wide)), 0
    for code, calibration in maps.items():
        rows = np.flatnonzero(flavour == code)
        seen = calibration.look_up({axis: v[rows] for axis, v in values.items()})
        rows, inside = rows[seen.cells >= 0], seen.cells >= 0
        cells[rows], factors[rows] = first + seen.cells[inside], seen.values[inside]
        for column in range(seen.columns.shape[1]):
            found = seen.columns[inside, column]
            columns[rows, column] = np.where(found >= 0, first + found, -1)
            # The errors of a bin are absolute; those at the leptons come as shares of the factor.
            share = seen.weights[inside, column] * seen.values[inside]
            amounts[rows, column] = share if column else 1.0
        first += calibration.n_bins
    ones = np.ones(table.n_events) if weights is None else weights
    return LooseLeptons(tuple(maps.values()), cells, ones, factors, columns, amounts)


def fake_shapes(loose: LooseLeptons, bins: IntArray, shape: tuple[int, ...]) -> list[Systematic]:
    """Return the errors of the maps as shapes of the fakes, exact because they are linear in F.

    One shape per map bin for its statistical error and one per named source, each shared by all
    template bins and by every channel that uses the map. Names: ``fakes_<map>_binNN`` and
    ``fakes_<map>_<source>``.

    Args:
        loose: n events.
        bins: Template bin of each event, flattened, shape (n,); negative ones are skipped.
        shape: Of the template.
    """
    size, total = int(np.prod(shape)), sum(m.n_bins for m in loose.maps)
    used = (bins >= 0) & (loose.cells >= 0)
    counts = np.zeros(size * total)
    for column, amount in zip(loose.columns[used].T, loose.amounts[used].T, strict=True):
        known = column >= 0
        place = bins[used][known] * total + column[known]
        counts += np.bincount(place, (loose.weights[used] * amount)[known], size * total)
    per_cell = counts.reshape(size, total)
    yields = np.bincount(bins[used], loose.expected[used], size)
    out: list[Systematic] = []

    def add(name: str, shift: Array, source: str) -> None:
        up, down = ((yields + sign * shift).reshape(shape) for sign in (1.0, -1.0))
        out.append(Systematic(name, "histosys", up, down, source=source))

    first = 0
    for calibration in loose.maps:
        block = per_cell[:, first : first + calibration.n_bins]
        digits = max(2, len(str(calibration.n_bins - 1)))
        for k in np.flatnonzero(np.any(block, axis=0) & (calibration.statistical > 0)):
            name = f"fakes_{calibration.name}_bin{k:0{digits}d}"
            source = f"statistical error of {calibration.source}, {calibration.describe(int(k))}"
            add(name, block[:, k] * calibration.statistical[k], source)
        for key, shift in calibration.sources.items():
            if np.any(block @ shift):  # none where the loose leptons are of another flavour
                name = f"fakes_{calibration.name}_{key}"
                add(name, block @ shift, f"{key} of {calibration.source}")
        first += calibration.n_bins
    return out


def fakes_from_maps(
    table: EventTable,
    maps: Mapping[int, LeptonMap],
    lepton: LeptonColumns,
    bins: IntArray,
    shape: tuple[int, ...],
    *,
    weights: Array | None = None,
    normalisation: float = 0.0,
) -> Template:
    """Return fakes as control-region events times the fake factor of their loose lepton.

    Errors: the control region's counting error sqrt(sum (w F)^2) per template bin, the shapes of
    :func:`fake_shapes`, and the normalisation.

    Args:
        table: Control region, n events with one loose lepton each.
        maps: Fake factors by PDG code.
        lepton: The columns of the loose lepton.
        bins: Template bin of each event, flattened, shape (n,); negative ones are skipped.
        shape: Of the template.
        weights: Of the events, shape (n,); 1 by default.
        normalisation: Relative error of the whole template.

    Raises:
        InputError: A loose lepton lies outside the maps; says how many do.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> from ddphf.inputs.maps import make_map
        >>> factors = make_map("electron", "fake_factor", {"pt": [10, 20, 50]}, [0.1, 0.3])
        >>> made = fakes_from_maps(make_events({"pt": [12.0, 30.0]}), {11: factors},
        ...                        LeptonColumns(11, "pt"), np.array([0, 1]), (2,))
        >>> made.yields.tolist()
        [0.1, 0.3]
    """
    loose = find_loose(table, maps, lepton, weights)
    loose.refuse_outside(bins, table.source)
    used, size = bins >= 0, int(np.prod(shape))
    expected = loose.expected[used]
    yields = np.asarray(np.bincount(bins[used], expected, size).reshape(shape), dtype=float)
    shapes = keep_positive(fake_shapes(loose, bins, shape), yields)[0]
    return Template(
        yields,
        error=np.sqrt(np.bincount(bins[used], expected**2, size)).reshape(shape),
        systematics=[*fake_normalisation(normalisation), *shapes],
    )
