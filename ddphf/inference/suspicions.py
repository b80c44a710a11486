"""What a fit is suspected of: several minima, flat or dead directions, bounds, no null.

A certificate is local and knows nothing of these. Each function answers one question about a
measurement or a minimum; :mod:`ddphf.inference.fitter` asks them and warns or refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import xlogy

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import edge_terms
from ddphf.likelihood.expansion import read_constraints
from ddphf.likelihood.minimum import Minimum
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.workspace_json import SampleDocument

__all__ = [
    "compare_values",
    "find_bins_at_zero",
    "find_dead",
    "find_flat",
    "find_null_problem",
    "find_one_sided",
    "find_singular",
    "find_stuck",
    "list_names",
    "measure_rounding",
    "name_bounds",
]

NO_BACKGROUND = 1e-6
"""A lower bound of a per-bin factor below this only keeps logarithms finite."""

INFLATION = 1e5
"""An error so many times larger than with all others held is suspected: along an exactly flat
direction rounding leaves 2e5 or more."""

ROUNDING = 2.3e-16
"""Of a number in double precision."""

TRIED = 200
"""Points at which something may be expected."""

LARGE = 1e4
"""Terms of a sum that cancels may be so many times larger than the events that are seen."""

SINGULAR = 1e-13
"""Eigenvalue of the Hessian, scaled to a unit diagonal, below which a direction is flat."""


def find_one_sided(reference: ReferenceModel) -> list[int]:
    """Return the free nuisance parameters that move a sample's bin the same way at +1 and -1 sigma.

    The likelihood may then have a minimum on either side.
    """
    table, seen = reference.parameters, set()
    for channel in reference.workspace["channels"]:
        for sample in channel["samples"]:
            nominal = np.array(sample["data"], dtype=float)
            for name, (up, down) in _variations(sample, nominal).items():
                # A fifth of the bin's Poisson error: below it no minimum can hide.
                size = np.minimum(np.abs(up), np.abs(down))
                if np.any((up * down > 0) & (size > 0.2 * np.sqrt(np.maximum(nominal, 1.0)))):
                    seen.add(name)
    return [i for i, name in enumerate(table.names) if name in seen and not table.fixed[i]]


def _variations(sample: SampleDocument, nominal: Array) -> dict[str, tuple[Array, Array]]:
    """Return the change at +1 and -1 sigma by parameter; one name may be histosys and normsys."""
    shapes: dict[str, list[Array]] = {}
    norms: dict[str, list[float]] = {}
    for modifier in sample["modifiers"]:
        name = modifier["name"]
        if modifier["type"] == "histosys":
            both = modifier["data"]["hi_data"], modifier["data"]["lo_data"]
            shapes[name] = [np.array(side, dtype=float) for side in both]
        elif modifier["type"] == "normsys":
            norms[name] = [modifier["data"]["hi"], modifier["data"]["lo"]]
    out = {}
    for name in {**shapes, **norms}:
        yields, factors = shapes.get(name, [nominal, nominal]), norms.get(name, [1.0, 1.0])
        out[name] = (yields[0] * factors[0] - nominal, yields[1] * factors[1] - nominal)
    return out


def find_null_problem(reference: ReferenceModel) -> str | None:
    """Return why mu = 0 is no hypothesis of a measurement, with what can be done; None if it is.

    A measurement whose POI is free may still be fitted.
    """
    table = reference.parameters
    where = f"measurement '{reference.measurement}'"
    if reference.missing_poi is not None:
        return (
            f"{where}: its POI '{reference.missing_poi}' is in no sample: a background-only "
            "workspace, whose signal comes with a patch. Apply that patch, or make one of your "
            "signal with 'ddphf patch'"
        )
    other = "; pick one whose POI is a free normfactor"
    if table.poi is None:
        return f"{where} has no POI, so there is no signal strength to hold at 0{other}"
    name = table.names[table.poi]
    if table.fixed[table.poi]:
        return f"{where} holds its POI '{name}' fixed, so it tests no signal{other}"
    if _kinds_of(reference, name) != {"normfactor"}:
        return f"{where} has a POI that is no normfactor, '{name}': 0 is no null{other}"
    free = f"'ddphf fit' gives '{name}' with its error, and 'ddphf scan' its intervals"
    if not table.lower[table.poi] <= 0.0 <= table.upper[table.poi]:
        return (
            f"{where}: the bounds of the POI '{name}' exclude 0, so there is no null; widen them. "
            f"Without a null {free}"
        )
    if place := find_signal_only(reference, name, reference.data):
        return (
            f"{where}: {place} has events, but only samples with the POI '{name}' are expected "
            f"there, so mu = 0 is impossible and there is no null; add a background. Without a "
            f"null {free}"
        )
    if place := _find_no_expectation(reference):
        return (
            f"{where}: {place} has events, but without the samples of the POI '{name}' nothing is "
            f"expected there (at {TRIED} points of the other parameters), so mu = 0 is impossible "
            f"and there is no null; correct the yields. Without a null {free}"
        )
    return None


def _kinds_of(reference: ReferenceModel, name: str) -> set[str]:
    return {
        modifier["type"]
        for channel in reference.workspace["channels"]
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
        if modifier["name"] == name
    }


def find_signal_only(reference: ReferenceModel, poi: str, counts: Array) -> str | None:
    """Return a bin with events where only samples with the POI are expected, or None.

    Args:
        reference: The measurement.
        poi: Name of the POI.
        counts: Main data, more behind them or not.
    """
    where = reference.channel_slices()
    for channel in reference.workspace["channels"]:
        others = np.zeros(len(channel["samples"][0]["data"]))
        for sample in channel["samples"]:
            if any(m["name"] == poi and m["type"] == "normfactor" for m in sample["modifiers"]):
                continue
            others += np.abs(sample["data"])
            for modifier in sample["modifiers"]:
                if modifier["type"] == "histosys":
                    others += np.abs(modifier["data"]["hi_data"])
                    others += np.abs(modifier["data"]["lo_data"])
        observed = counts[where[channel["name"]]]
        for index in np.flatnonzero((others == 0) & (observed > 0)):
            return f"channel '{channel['name']}', bin {index}"
    return None


def _find_no_expectation(reference: ReferenceModel) -> str | None:
    """Return a bin with events whose rate at mu = 0 is above 0 nowhere, or None.

    Negative yields may take away all that the other samples expect. Nowhere: at none of many
    points between the bounds.
    """
    table, observed = reference.parameters, reference.data[: reference.n_main]
    assert table.poi is not None
    poi, slices = table.names[table.poi], reference.channel_slices()
    points = np.random.default_rng(1).uniform(table.lower, table.upper, (TRIED, len(table.init)))
    points = np.vstack([table.init, np.where(table.fixed, table.init, points)])
    points[:, table.poi] = 0.0
    dark = observed > 0
    # Counts may be many times what is expected, which is no rounding.
    terms = np.zeros(reference.n_main)
    for channel in reference.workspace["channels"]:
        for sample in channel["samples"]:
            if all(modifier["name"] != poi for modifier in sample["modifiers"]):
                terms[slices[channel["name"]]] += np.abs(sample["data"])
    small = ROUNDING * LARGE * np.minimum(observed, terms)
    with pyhf_backend("numpy"):
        for point in points:
            if not dark.any():
                return None
            rates = reference.model.expected_data(point.tolist(), include_auxdata=False)
            dark &= np.asarray(rates) <= small
    for name, where in slices.items():
        for index in np.flatnonzero(dark[where]):
            return f"channel '{name}', bin {index}"
    return None


def find_stuck(reference: ReferenceModel, minimum: Minimum) -> list[int]:
    """Return the free factors of whole samples that a minimum leaves at a bound.

    Per-bin factors are left out: at low counts many of them sit there.
    """
    config, found = reference.model.config, []
    for name in config.par_order:
        where = config.par_slice(name)
        if where.stop - where.start == 1 and not config.param_set(name).constrained:
            found += [where.start] if minimum.at_bound[where.start] else []
    return found


def find_dead(
    reference: ReferenceModel, model: CompiledModel | None, start: Array, fixed: Mask
) -> Mask:
    """Return True for free unconstrained parameters that change no expected count, shape (n,).

    Args:
        reference: The measurement.
        model: The same compiled, or None: one call of pyhf for each parameter takes long.
        start: Values of the held parameters, shape (n,): at mu = 0 what scales the signal is dead.
        fixed: Held parameters, shape (n,).
    """
    table, config = reference.parameters, reference.model.config
    around = np.where(fixed, start, table.init)
    rates = (reference if model is None else model).rates
    before = rates(around)
    dead = np.zeros_like(fixed)
    for name in config.par_order:
        if config.param_set(name).constrained:
            continue
        for index in range(config.par_slice(name).start, config.par_slice(name).stop):
            if not fixed[index]:
                moved = around.copy()
                moved[index] = 0.5 * (table.lower[index] + table.upper[index]) + 0.1234
                dead[index] = np.array_equal(before, rates(moved))
    return dead


def find_flat(minimum: Minimum) -> list[int]:
    """Return the parameters of a minimum whose effect another one seems to take over.

    Their errors are many times what they would be with all others held. Whether such an error is
    true (a narrow valley at large counts) or rounding (a flat one) only a step along it tells.
    """
    inflation = minimum.errors * np.sqrt(np.maximum(minimum.stiffness, 0.0))
    return [int(i) for i in np.flatnonzero(inflation > INFLATION)]


def find_singular(reference: ReferenceModel, point: Array, fixed: Mask) -> list[str]:
    """Return the parameters along which the Hessian vanishes where a fit failed, if it does.

    Args:
        reference: The measurement.
        point: Where the fit stopped, shape (n,).
        fixed: Held parameters, shape (n,).
    """
    table = reference.parameters
    free = np.flatnonzero(~fixed & (point > table.lower) & (point < table.upper))
    hessian = reference.hessian(point)[np.ix_(free, free)]
    if not free.size or not np.all(np.isfinite(hessian)) or np.any(np.diag(hessian) <= 0):
        return []
    scale = 1.0 / np.sqrt(np.diag(hessian))
    values, vectors = np.linalg.eigh(hessian * scale[:, None] * scale[None, :])
    if abs(values[0]) > SINGULAR * len(free):
        return []
    return [table.names[free[i]] for i in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1)]


def find_bins_at_zero(
    reference: ReferenceModel, model: CompiledModel | None, minimum: Minimum, fixed: Mask
) -> list[str]:
    """Return the empty bins whose rate a fit holds at 0; in a pair that is ordinary.

    Args:
        reference: The measurement.
        model: The same compiled, where it compiles.
        minimum: Of the fit.
        fixed: Shape (n,): the parameters that it held.
    """
    if model is None or model.pair is not None:
        return []
    free = ~fixed & ~minimum.at_bound
    held = edge_terms(model.direct, minimum.parameters, free, model.data).multiplier > 0
    return [
        f"channel '{channel}', bin {index}"
        for channel, where in reference.channel_slices().items()
        for index in np.flatnonzero(held[where])
    ]


def name_bounds(reference: ReferenceModel, minimum: Minimum) -> Iterator[str]:
    """Yield the parameters at a bound of the measurement."""
    table = reference.parameters
    # Per-bin factors at a lower bound of 1e-10 are bins without background: no bound.
    natural = (table.lower >= 0) & (table.lower < NO_BACKGROUND)
    natural &= minimum.parameters <= table.lower
    if table.poi is not None:
        natural[table.poi] = False
    for index in np.flatnonzero(minimum.at_bound & ~natural):
        yield table.names[index]


def measure_rounding(reference: ReferenceModel) -> float:
    """Return about what rounding alone moves q0 by."""
    return 2e-16 * (_size_of_terms(reference) + _size_of_auxiliary_terms(reference))


def _size_of_terms(reference: ReferenceModel) -> float:
    """Return about the sum of the absolute values of the terms of -2 ln L."""
    return _size_of_poisson(reference.data[: reference.n_main])


def _size_of_auxiliary_terms(reference: ReferenceModel) -> float:
    """Return the same of the auxiliary Poisson terms: (yield / error)^2 events per bin."""
    constraints = read_constraints(reference.model.constraint_model)
    return _size_of_poisson(reference.data[reference.n_main :][constraints.poisson_data])


def _size_of_poisson(counts: Array) -> float:
    return 2 * float(np.sum(counts + np.abs(xlogy(counts, counts))))


def compare_values(
    reference: ReferenceModel, ours: float, other: float, name: str, tolerance: float
) -> None:
    """Refuse two values of -2 ln L that differ by more than rounding.

    Args:
        reference: The model; its data set the size of the terms and so of the rounding.
        ours: By the fit.
        other: By another calculation.
        name: Of that calculation.
        tolerance: Absolute.

    Raises:
        FitError: They differ.
    """
    rounding = 1e-13 * _size_of_terms(reference)
    # Exact events, yields over errors squared, may be many more than those that were counted.
    rounding += ROUNDING * _size_of_auxiliary_terms(reference)
    if not abs(ours - other) <= tolerance + rounding + 1e-12 * abs(ours):
        raise FitError(
            f"-2 ln L is {ours:.12g} by the fit and {other:.12g} by {name}; one of them is wrong, "
            "so there is no result"
        )


def list_names(names: Sequence[str]) -> str:
    """Join the first five names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
