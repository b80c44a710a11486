"""Why mu = 0 is no hypothesis of a measurement, with what can be done about it."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array
from ddphf.likelihood.certificate import EPSILON
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend

__all__ = [
    "describe_impossible_null",
    "find_null_problem",
    "find_signal_only",
    "is_without_null",
]

NAMED = 5
"""Bins that a message names."""

TRIED = 200
"""Points at which something may be expected."""

LARGE = 1e4
"""Terms of a sum that cancels may be so many times larger than the events that are seen."""


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
    upper = f"'ddphf fit' gives '{name}' with its error, and 'ddphf limit' its upper limits"
    if not table.lower[table.poi] <= 0.0 <= table.upper[table.poi]:
        return (
            f"{where}: the bounds of the POI '{name}' exclude 0, so there is no null; widen them. "
            f"Without a null {free}"
        )
    if place := find_signal_only(reference, name, reference.data):
        have = "have" if ", bins " in place else "has"
        return (
            f"{where}: {place} {have} events, but only samples with the POI '{name}' are expected "
            f"there, so mu = 0 is impossible and there is no null; add a background. Without a "
            f"null {upper}"
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
    """Return bins with events where only samples with the POI are expected, or None.

    Args:
        reference: The measurement.
        poi: Name of the POI.
        counts: Main data, more behind them or not.
    """
    slices = reference.channel_slices
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
        observed = counts[slices[channel["name"]]]
        found = np.flatnonzero((others == 0) & (observed > 0)).tolist()
        if found:
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            word = "bin" if len(found) == 1 else "bins"
            return f"channel '{channel['name']}', {word} {', '.join(map(str, found[:NAMED]))}{more}"
    return None


def is_without_null(reference: ReferenceModel) -> bool:
    """Return whether mu = 0 is no hypothesis only because signal alone is expected of some events.

    There is no q0 then, and no discovery statement; upper limits compare values of mu above 0.
    """
    table = reference.parameters
    if table.poi is None or table.fixed[table.poi] or not table.lower[table.poi] <= 0:
        return False
    name = table.names[table.poi]
    return (
        table.upper[table.poi] > 0
        and _kinds_of(reference, name) == {"normfactor"}
        and find_signal_only(reference, name, reference.data) is not None
    )


def describe_impossible_null(reference: ReferenceModel) -> str:
    """Return a short sentence that names the bins with events of the signal alone, if any."""
    if not is_without_null(reference):
        return ""
    table = reference.parameters
    assert table.poi is not None
    name = table.names[table.poi]
    place = find_signal_only(reference, name, reference.data)
    return f"only '{name}' explains the events of {place}, so {name} = 0 is impossible"


def _find_no_expectation(reference: ReferenceModel) -> str | None:
    """Return a bin with events whose rate at mu = 0 is above 0 nowhere, or None.

    Negative yields may take away all that the other samples expect. Nowhere: at none of many
    points between the bounds.
    """
    table, observed = reference.parameters, reference.data[: reference.n_main]
    assert table.poi is not None
    poi, slices = table.names[table.poi], reference.channel_slices
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
    small = EPSILON * LARGE * np.minimum(observed, terms)
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
