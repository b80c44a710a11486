"""What the detector makes of the symmetry: R^eps per event, its bin averages, the composition.

With eps_B and eps_A the efficiencies of an event with and without the labels exchanged,
R^eps = eps_B / eps_A and N_B = (N_A - f_A) R^eps + f_B (DDP slides on the e-mu symmetry, methods
of arXiv:1405.4545 and 1604.07730).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.exceptions import InputError
from ddphf.inputs.covariance import Covariance
from ddphf.inputs.events import EventTable
from ddphf.inputs.maps import LeptonMap

__all__ = [
    "Composition",
    "EventEfficiencies",
    "LeptonColumns",
    "LeptonId",
    "compose",
    "event_efficiencies",
    "event_ratio",
    "lepton_flavour",
]

Exchange = Literal["flavour", "charge", "eta"]

LIGHT = (11, 13)
"""The flavours that are exchanged where maps of others stand beside them."""


@dataclass(frozen=True)
class LeptonColumns:
    """Where an event table has one of its leptons.

    Attributes:
        flavour: Column of PDG codes (sign ignored), or the code itself.
        pt: Column, GeV.
        eta: Column, or None.
        charge: Column, or None.
        variables: Columns of further axes of the maps, by the name of the axis.
    """

    flavour: str | int
    pt: str
    eta: str | None = None
    charge: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    def values(self, table: EventTable) -> dict[str, Array]:
        """Return what the table says of the lepton, by the name of the axis, shape (n,) each."""
        named = {"pt": self.pt, "eta": self.eta, "charge": self.charge, **self.variables}
        return {axis: table[column] for axis, column in named.items() if column is not None}


@dataclass(frozen=True)
class EventEfficiencies:
    """What the maps say about every event, under both assignments of the labels.

    Attributes:
        tested: Product over the leptons as in the tested sample, shape (n,).
        partner: The same with the labels exchanged, as in the partner sample, shape (n,).
        tested_bins: Calibration bins of the leptons, counted through all maps, shape (n, L); -1
            for a lepton without a map. More than L columns where errors are evaluated at the
            leptons.
        partner_bins: The same with the labels exchanged.
        outside: Events with a lepton outside a map under either assignment, shape (n,).
        tested_shares: How much the leptons take part in these bins, of the shape of the bins.
        partner_shares: The same with the labels exchanged.
    """

    tested: Array
    partner: Array
    tested_bins: IntArray
    partner_bins: IntArray
    outside: Mask
    tested_shares: Array
    partner_shares: Array

    def count(
        self,
        role: str,
        place: IntArray,
        weights: Array,
        n_bins: int,
        n_calibration: int,
        rows: Mask,
    ) -> Array:
        """Return the weighted leptons by template bin and calibration bin.

        Args:
            role: ``"tested"`` or ``"partner"``.
            place: Template bin of some events, shape (m,).
            weights: Of these events, shape (m,).
            n_bins: M.
            n_calibration: K, over all maps.
            rows: Which events these are, shape (n,).

        Returns:
            Shape (M, K).
        """
        cells = getattr(self, f"{role}_bins")[rows]
        shares = getattr(self, f"{role}_shares")[rows]
        table = np.zeros(n_bins * n_calibration)
        for column in range(cells.shape[1]):
            known = cells[:, column] >= 0
            flat = place[known] * n_calibration + cells[known, column]
            part = weights[known] * shares[known, column]
            table += np.bincount(flat, part, n_bins * n_calibration)
        return table.reshape(n_bins, n_calibration)

    @property
    def ratio(self) -> Array:
        """R^eps per event, shape (n,)."""
        return event_ratio(self.tested, self.partner)


def lepton_flavour(table: EventTable, lepton: LeptonColumns) -> Array:
    """Return the PDG code of one lepton of every event without its sign, shape (n,).

    Raises:
        InputError: A code that is no whole number: the lepton would silently count as unmapped.
    """
    if not isinstance(lepton.flavour, str):
        return np.full(table.n_events, float(abs(lepton.flavour)))
    codes = np.abs(table[lepton.flavour])
    bad = np.flatnonzero(~(codes == np.round(codes)))  # also NaN
    if bad.size:
        raise InputError(
            f"{table.source or 'events'}: flavour '{lepton.flavour}' is {codes[bad[0]]:g} for "
            f"{bad.size} of {table.n_events} events (first: row {bad[0]}), expected a PDG code "
            "such as 11 or 13; correct the column, or drop those events with 'events.select'"
        )
    return codes


def event_ratio(tested: Array, partner: Array) -> Array:
    """Return R^eps = eps_tested / eps_partner per event.

    Raises:
        InputError: An efficiency of zero, so that R is 0 or infinite, or one that is no number.

    Example:
        >>> import numpy as np
        >>> event_ratio(np.array([0.9]), np.array([0.6])).tolist()
        [1.5]
    """
    for name, values in (("tested", tested), ("partner", partner)):
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if bad.size:
            raise InputError(
                f"efficiency of the {name} sample, event {bad[0]}: got {values[bad[0]]:g}, "
                f"expected a number > 0, or R^eps is 0 or infinite ({bad.size} in all); exclude "
                "such events from both samples"
            )
    return np.asarray(tested / partner)


def event_efficiencies(
    table: EventTable,
    leptons: Sequence[LeptonColumns],
    maps: Mapping[int, LeptonMap],
    in_tested: Mask,
    *,
    exchange: Exchange = "flavour",
    nearest: bool = False,
) -> EventEfficiencies:
    """Look every lepton up under both assignments of the labels.

    Args:
        table: n events of both samples.
        leptons: Where the leptons are.
        maps: By PDG code; a lepton of another flavour has no map and counts as 1. The calibration
            bins are counted through the maps in this order.
        in_tested: Whose events are in the tested sample, shape (n,).
        exchange: What the symmetry exchanges: ``"flavour"`` swaps the two flavours of the maps,
            of more than two electrons and muons, and leaves the others alone; ``"charge"`` and
            ``"eta"`` change the sign.
        nearest: Use the outermost bin for leptons beyond the range of a map.

    Returns:
        Products of the leptons' values; 1 for events that are ``outside``, which the caller must
        exclude: from both samples, so that the exclusion is symmetric.

    Raises:
        InputError: A column that the table does not have, or maps that cannot be exchanged.
    """
    codes = list(maps)
    swap: dict[int, int] = {}
    if exchange == "flavour":
        exchanged = codes if len(codes) == 2 else [code for code in codes if code in LIGHT]
        if len(exchanged) != 2:
            raise InputError(
                f"exchange of flavours: {len(codes)} map(s), expected one for each of two "
                "flavours; of more than two, electrons (11) and muons (13) are exchanged"
            )
        swap = {exchanged[0]: exchanged[1], exchanged[1]: exchanged[0]}
    starts = dict(zip(codes, np.cumsum([0, *(m.n_bins for m in maps.values())])[:-1], strict=True))
    n = table.n_events
    # A lepton takes part in its calibration bin and in the errors that are evaluated at it.
    wide = max((m.n_columns for m in maps.values()), default=1)
    shape = (n, len(leptons) * wide)
    products = {True: np.ones(n), False: np.ones(n)}  # with the labels as they are, exchanged
    bins = {True: np.full(shape, -1), False: np.full(shape, -1)}
    shares = {True: np.ones(shape), False: np.ones(shape)}
    outside = np.zeros(n, dtype=bool)
    for number, lepton in enumerate(leptons):
        flavour, said = lepton_flavour(table, lepton), lepton.values(table)
        for as_is in (True, False):
            values = said if as_is else _exchanged(said, exchange)
            for code, calibration in maps.items():
                rows = np.flatnonzero(flavour == (code if as_is else swap.get(code, code)))
                seen = calibration.look_up(
                    {axis: v[rows] for axis, v in values.items()}, nearest=nearest
                )
                outside[rows[seen.cells < 0]] = True
                products[as_is][rows] *= seen.values
                for column in range(seen.columns.shape[1]):
                    found = seen.columns[:, column]
                    slot = number * wide + column
                    bins[as_is][rows, slot] = np.where(found >= 0, starts[code] + found, -1)
                    shares[as_is][rows, slot] = seen.weights[:, column]
    mapped = np.any([found >= 0 for found in bins.values()], axis=(0, 2))
    if n and not np.any(mapped | outside):
        raise InputError(
            f"{table.source or 'events'}: no lepton has the flavour of a map, "
            f"{' or '.join(map(str, codes))}, so the maps tell nothing; check 'leptons' and the "
            "flavours of the maps"
        )
    own = in_tested[:, None]
    return EventEfficiencies(
        tested=np.where(outside, 1.0, np.where(in_tested, products[True], products[False])),
        partner=np.where(outside, 1.0, np.where(in_tested, products[False], products[True])),
        tested_bins=np.where(own, bins[True], bins[False]),
        partner_bins=np.where(own, bins[False], bins[True]),
        outside=outside,
        tested_shares=np.where(own, shares[True], shares[False]),
        partner_shares=np.where(own, shares[False], shares[True]),
    )


def _exchanged(values: Mapping[str, Array], exchange: Exchange) -> dict[str, Array]:
    """Return a lepton's values under the other assignment of the labels."""
    signed = {"charge": ("charge",), "eta": ("eta", "costheta")}.get(exchange, ())
    out = {axis: -v if axis in signed else v for axis, v in values.items()}
    if exchange == "eta" and "theta" in out:
        out["theta"] = np.pi - out["theta"]
    return out


@dataclass(frozen=True)
class Composition:
    """Averages over the events of each template bin.

    Attributes:
        ratio: r, shape (M,).
        tested: W of the tested channel, shape (M, K).
        partner: W of its partner, shape (M, K).
        empty: Template bins without events, which have the average of all.
    """

    ratio: Array
    tested: Array
    partner: Array
    empty: tuple[int, ...]


def compose(
    efficiencies: EventEfficiencies,
    bins: IntArray,
    n_bins: int,
    n_calibration: int,
    weights: Array | None = None,
) -> Composition:
    """Average ratio and composition over template bins, from the events of both samples together.

    An event of the two samples' union lies in the tested one with probability
    p = eps_B / (eps_A + eps_B), whichever it was found in. So

        r = sum p / sum (1 - p),  W_B = sum p n_B / sum p,  W_A = sum (1 - p) n_A / sum (1 - p)

    with n the leptons of the event per calibration bin. Averages over the partner's own events
    (sum R^eps / N_A) have the same expectation, but they share the fluctuation of N_A that the
    comparison tests; this form does not depend on which sample an event fell into. Derived.

    Args:
        efficiencies: Of n events, all inside the maps.
        bins: Template bin of each event, flattened, shape (n,); negative ones are skipped.
        n_bins: M.
        n_calibration: K, over all maps.
        weights: Per event, shape (n,), negative to subtract fakes; 1 by default.

    Example:
        >>> import numpy as np
        >>> whole = np.ones((1, 2))
        >>> one = EventEfficiencies(np.array([0.9]), np.array([0.6]), np.array([[0, 1]]),
        ...                         np.array([[2, 3]]), np.array([False]), whole, whole)
        >>> made = compose(one, np.array([0]), 1, 4)
        >>> round(float(made.ratio[0]), 12), made.tested.tolist(), made.partner.tolist()
        (1.5, [[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]])
    """
    inside = (bins >= 0) & ~efficiencies.outside
    w = np.ones(len(bins)) if weights is None else weights
    share = efficiencies.tested / (efficiencies.tested + efficiencies.partner)
    place = bins[inside]
    sums, counts = {}, {}
    for name, part in (("tested", w * share), ("partner", w * (1 - share))):
        sums[name] = np.bincount(place, part[inside], n_bins)
        counts[name] = efficiencies.count(name, place, part[inside], n_bins, n_calibration, inside)
    total = {name: float(s.sum()) for name, s in sums.items()}
    if not (total["tested"] > 0 and total["partner"] > 0):
        raise InputError("composition: no events inside the axes and the maps; check both")
    good = (sums["tested"] > 0) & (sums["partner"] > 0)

    def average(name: str) -> Array:
        overall = _clip(counts[name].sum(axis=0)[None])[0] / total[name]
        safe = np.where(good, sums[name], 1.0)
        return np.where(good[:, None], _clip(counts[name]) / safe[:, None], overall)

    safe = np.where(good, sums["partner"], 1.0)
    return Composition(
        ratio=np.where(good, sums["tested"] / safe, total["tested"] / total["partner"]),
        tested=average("tested"),
        partner=average("partner"),
        empty=tuple(int(i) for i in np.flatnonzero(~good)),
    )


def _clip(counts: Array) -> Array:
    """Set negative contents, left by subtracted fakes, to 0 and keep the sum of each row."""
    total = counts.sum(axis=1, keepdims=True)
    positive = np.maximum(counts, 0.0)
    size = positive.sum(axis=1, keepdims=True)
    return np.asarray(positive * np.where(size > 0, total / np.where(size > 0, size, 1.0), 0.0))


@dataclass(frozen=True)
class LeptonId:
    """Uncertainty of the lepton identification of a pair, before its decomposition.

    Attributes:
        covariance: Relative, of all calibration bins (every map), K in all.
        tested: Composition W of the tested channel's symmetric background, shape (M, K).
        partner: The same of its partner.
        signal_tested: Of the signal in the tested channel; None: as ``tested``.
        signal_partner: Of the signal in the partner channel; None: as ``partner``.
        on_signal: Whether the signal carries the nuisances too.
        source: Nuisances are called ``lepid_<source>_eigNN``.
        retained: Part of the ratio's variance to keep; 1: everything; None: what moves the result
            (:mod:`ddphf.workspace.pruning`).
        at_most: No more variations than this, or None.
        residual: ``"shapesys"`` keeps what pruning drops as one uncorrelated error per channel.
        psd_tolerance: Negative eigenvalues down to -this times the largest are clipped.
        rounding: Largest change of C by rounding, relative to its largest element; None: no
            rounding.
        description: What goes into the sidecar: maps, what was done with events outside.
        warnings: Sentences for the user.
    """

    covariance: Covariance
    tested: Any
    partner: Any
    signal_tested: Any = None
    signal_partner: Any = None
    on_signal: bool = True
    source: str = "id"
    retained: float | None = 1.0
    at_most: int | None = None
    residual: Literal["drop", "shapesys"] = "drop"
    psd_tolerance: float = 1e-10
    rounding: float | None = None
    description: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
