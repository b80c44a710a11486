"""Closure in variables that the histograms do not have: what the maps do not know shows there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.config.sections import ClosureConfig
from ddphf.exceptions import InputError
from ddphf.inputs.alignment import align
from ddphf.statistics.n_sigma import null_variance
from ddphf.symmetry.closure import Contrast, global_p_value, profile_closure
from ddphf.symmetry.efficiency import EventEfficiencies, compose
from ddphf.symmetry.fakes import LooseLeptons, fake_shapes
from ddphf.symmetry.variable_bins import FEWEST_EVENTS, Cells, make_cells

if TYPE_CHECKING:
    from ddphf.symmetry.pair import Channel, Pair, Systematic

__all__ = ["ClosureEvents", "VariableEvents", "close_variables"]


@dataclass(frozen=True)
class VariableEvents:
    """Events of one sample of an analysis, n of them.

    Attributes:
        bins: Template bin, flattened; -1 outside the axes. Shape (n,).
        weights: Shape (n,).
        values: By expression of the variable, each of shape (n,).
        tested: Whether the event is in the tested sample, shape (n,).
        efficiencies: What the maps say, or None without maps.
        loose: The loose leptons of fakes from maps, or None.
        counted: Whether the squared weights are an error of the yields.
    """

    bins: IntArray
    weights: Array
    values: Mapping[str, Array]
    tested: Mask
    efficiencies: EventEfficiencies | None = None
    loose: LooseLeptons | None = None
    counted: bool = True

    def select(self, mask: Mask) -> VariableEvents:
        """Return the events where ``mask``, shape (n,), is true."""
        eff, loose = self.efficiencies, self.loose
        if eff is not None:
            eff = EventEfficiencies(**{name: values[mask] for name, values in vars(eff).items()})
        return replace(
            self,
            bins=self.bins[mask],
            weights=self.weights[mask],
            values={name: array[mask] for name, array in self.values.items()},
            tested=self.tested[mask],
            efficiencies=eff,
            loose=None if loose is None else loose.select(mask),
        )


@dataclass(frozen=True)
class ClosureEvents:
    """What closure in further variables needs beside the pair.

    Attributes:
        variables: In the order of the analysis.
        observed: Of both samples.
        fakes: By channel, ``tested`` or ``partner``.
        ratio: What is stated of the ratio beside the maps, per template bin or a number.
    """

    variables: tuple[ClosureConfig, ...]
    observed: VariableEvents
    fakes: Mapping[str, VariableEvents]
    ratio: Any


def close_variables(pair: Pair, side: Mask) -> dict[str, Any] | None:
    """Return the closure of a pair in every variable that was asked for, for JSON.

    The events of the side region are binned in the variable; ratio, composition and fakes are
    averaged in these bins as in the templates', and every error is carried over with its
    correlations: y = (B - f_B) - r (A - f_A), chi2 = y^T V^-1 y with V of counts, maps, fakes and
    stated systematics. A source that is alike in all bins moves them together, so that what
    depends on the variable alone is seen below it.

    Args:
        pair: With ``closure``, M template bins.
        side: Template bins away from the signal, shape (M,); without any, all bins are taken.

    Returns:
        None where nothing was asked for.

    Raises:
        InputError: A variable that tells the two samples apart by itself.
    """
    if pair.closure is None:
        return None
    region = side if side.any() else np.ones(len(side), dtype=bool)

    def inside(events: VariableEvents) -> VariableEvents:
        return events.select((events.bins >= 0) & region[np.maximum(events.bins, 0)])

    observed = inside(pair.closure.observed)
    fakes = {role: inside(events) for role, events in pair.closure.fakes.items()}
    results = [_close(pair, v, observed, fakes) for v in pair.closure.variables]
    tested = [r for r in results if r["degrees_of_freedom"]]
    smallest = min((r["p_value"] or 0.0 for r in tested), default=1.0)
    return {
        "region": "side" if side.any() else "all",
        "tried": len(tested),
        "smallest_p_value": (smallest or None) if tested else None,
        "global_p_value": global_p_value(smallest or None, len(tested)) if tested else None,
        "results": results,
    }


def _close(
    pair: Pair,
    variable: ClosureConfig,
    observed: VariableEvents,
    fakes: Mapping[str, VariableEvents],
) -> dict[str, Any]:
    name, values = variable.column, observed.values[variable.column]
    cells = make_cells(values, variable.edges)
    place, n = cells.place(values), len(cells.labels)
    b, a = _count(observed, place, n)
    entry: dict[str, Any] = {
        "variable": name,
        "binning": cells.rule,
        "edges": [float(edge) if np.isfinite(edge) else None for edge in cells.edges],
        "events": float(np.sum(b + a)),
        "events_outside": int(np.count_nonzero(place < 0)),
    }
    _refuse_label(name, cells, b, a)
    if not (b.sum() and a.sum()):
        empty = profile_closure(Contrast(np.zeros(0), np.zeros(0), np.zeros((0, 0))))
        return {**entry, **vars(empty), "bins": []}
    contrast, expected = _contrast(pair, name, cells, observed, fakes)
    found = profile_closure(contrast)
    return {
        **entry,
        **vars(found),
        "bins": [
            {
                "label": label,
                "tested": float(b[i]),
                "partner": float(a[i]),
                "restored": float(expected[i]),
                "error": float(contrast.error[i]),
            }
            for i, label in enumerate(cells.labels)
        ],
    }


def _refuse_label(name: str, cells: Cells, b: Array, a: Array) -> None:
    bad = np.flatnonzero((b + a >= FEWEST_EVENTS) & ((b == 0) | (a == 0)))
    if bad.size:
        raise InputError(
            f"closure in '{name}': all {b[bad[0]] + a[bad[0]]:g} events of "
            f"{cells.labels[bad[0]]} are in one sample, so it tells the samples apart by itself; "
            "name a variable that stays the same when the labels are exchanged"
        )


def _contrast(
    pair: Pair, name: str, cells: Cells, observed: VariableEvents,
    fakes: Mapping[str, VariableEvents],
) -> tuple[Contrast, Array]:  # fmt: skip
    """Return y with its covariance in the bins of a variable, and the restored expectation."""
    assert pair.closure is not None
    n, m = len(cells.labels), pair.n_bins
    parts, signs = [observed, *fakes.values()], [1.0, *(-1.0 for _ in fakes)]
    bins = np.concatenate([part.bins for part in parts])
    place = np.concatenate([cells.place(part.values[name]) for part in parts])
    weights = np.concatenate([s * p.weights for s, p in zip(signs, parts, strict=True)])
    stated = np.broadcast_to(np.ravel(pair.closure.ratio), (m,))[bins]
    efficiencies = _join(parts, stated)
    lepton_id = pair.lepton_id
    k = 0 if lepton_id is None else lepton_id.covariance.n_bins
    made = compose(efficiencies, place, n, k, weights)
    r, share = made.ratio, efficiencies.tested / (efficiencies.tested + efficiencies.partner)
    f: dict[str, Array] = {}
    error: dict[str, Array] = {}
    of_fakes: dict[str, Array] = {}
    of_ratio: dict[str, Array] = {}

    def add(shifts: dict[str, Array], key: str, change: Array) -> None:
        shifts[key] = shifts.get(key, np.zeros(n)) + change

    for role, sign in (("tested", 1.0), ("partner", -1.0)):
        channel: Channel = getattr(pair, role)
        own = weights * (share if role == "tested" else 1 - share)
        mean = _table(place, bins, own, n, m)
        mean /= np.where(mean.sum(axis=1) > 0, mean.sum(axis=1), 1.0)[:, None]
        for systematic in channel.systematics:
            add(of_ratio, systematic.name, sign * r * (mean @ _slope(pair, systematic, None)))
        f[role], error[role] = np.zeros(n), np.zeros(n)
        if role not in fakes:
            continue
        events, scale = fakes[role], 1.0 if role == "tested" else -r
        at = cells.place(events.values[name])
        table = _table(at, events.bins, events.weights, n, m)
        f[role] = table.sum(axis=1)
        assert channel.fakes is not None
        if events.counted:
            used = at >= 0
            error[role] = np.sqrt(np.bincount(at[used], events.weights[used] ** 2, n))
        elif channel.fakes.error is not None and not isinstance(channel.fakes.error, str):
            nominal, absolute = (
                pair.histogram(x).flat for x in (channel.fakes.yields, channel.fakes.error)
            )
            relative = absolute / np.where(nominal > 0, nominal, np.inf)
            error[role] = np.sqrt(np.sum((table * relative) ** 2, axis=1))
        for key, slope in _fake_slopes(pair, channel, events, at, table).items():
            add(of_fakes, key, scale * slope)
    b, a = _count(observed, place[: len(observed.bins)], n)
    # Subtraction may leave fakes below 0 in a bin: no variance comes of that.
    background, variance = null_variance(
        b, a, r, np.maximum(f["tested"], 0.0), np.maximum(f["partner"], 0.0)
    )
    zero = np.zeros(n)
    names = sorted({*of_ratio, *of_fakes})
    shapes = [background * of_ratio.get(key, zero) + of_fakes.get(key, zero) for key in names]
    if lepton_id is not None:
        moved = (r * background)[:, None] * (made.tested - made.partner)
        values, vectors = np.linalg.eigh(moved @ lepton_id.covariance.matrix @ moved.T)
        shapes.extend((vectors * np.sqrt(np.maximum(values, 0.0))).T)
    expected = r * (a - f["partner"]) + f["tested"]
    return Contrast(
        difference=b - expected,
        variance=variance + error["tested"] ** 2 + (r * error["partner"]) ** 2,
        shapes=np.array(shapes).reshape(-1, n).T,
    ), expected


def _count(observed: VariableEvents, place: IntArray, n: int) -> tuple[Array, Array]:
    """Return the events of both samples by bin of the variable: counts, or sums of weights."""
    b, a = (
        np.asarray(np.bincount(place[mask], observed.weights[mask], n), dtype=float)
        for mask in (observed.tested & (place >= 0), ~observed.tested & (place >= 0))
    )
    return b, a


def _join(parts: Sequence[VariableEvents], stated: Array) -> EventEfficiencies:
    """Return the efficiencies of all events, those of the tested sample times a stated ratio."""
    found = [part.efficiencies for part in parts]
    n = len(stated)
    if any(item is None for item in found):
        cells = np.full((n, 1), -1)
        whole, inside = np.ones(cells.shape), np.zeros(n, dtype=bool)
        return EventEfficiencies(stated, np.ones(n), cells, cells, inside, whole, whole)

    def join(name: str) -> AnyArray:
        return np.concatenate([getattr(item, name) for item in found])

    joined = {name: join(name) for name in EventEfficiencies.__dataclass_fields__}
    return EventEfficiencies(**{**joined, "tested": joined["tested"] * stated})


def _table(place: IntArray, bins: IntArray, weights: Array, n: int, m: int) -> Array:
    """Return sums of weights by bin of the variable and template bin, shape (n, m)."""
    used = place >= 0
    flat = place[used] * m + bins[used]
    return np.asarray(np.bincount(flat, weights[used], n * m).reshape(n, m), dtype=float)


def _slope(pair: Pair, systematic: Systematic, nominal: Array | None) -> Array:
    """Return the relative change per sigma in every template bin, shape (M,)."""
    if systematic.kind == "normsys":
        return np.full(pair.n_bins, (float(systematic.up) - float(systematic.down)) / 2)
    up, down = (
        align(pair.histogram(end), pair.binning)[0].flat for end in (systematic.up, systematic.down)
    )
    change = (up - down) / 2
    if systematic.relative or nominal is None:
        return np.asarray(change)
    return np.where(nominal > 0, change / np.where(nominal > 0, nominal, 1.0), 0.0)


def _fake_slopes(
    pair: Pair, channel: Channel, events: VariableEvents, place: IntArray, table: Array
) -> dict[str, Array]:
    """Return the change of the fakes per sigma of every nuisance, in bins of the variable."""
    out: dict[str, Array] = {}
    if events.loose is not None:  # exact: the factors of these very leptons
        for shape in fake_shapes(events.loose, place, (len(table),)):
            out[shape.name] = (shape.up - shape.down) / 2
    exact = set(out)
    assert channel.fakes is not None
    nominal = pair.histogram(channel.fakes.yields).flat
    for systematic in channel.fakes.systematics:
        if systematic.name not in exact:
            change = table @ _slope(pair, systematic, nominal)
            out[systematic.name] = out.get(systematic.name, 0.0) + change
    return out
