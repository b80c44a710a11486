"""The tables of a mass scan for HEPData: limits, and significance, against the parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddphf.arrays import Spec
from ddphf.publish.hepdata_tables import Column, Table
from ddphf.text import clean_text

__all__ = ["scan_tables"]

BANDS = ("-2 sigma", "-1 sigma", "median", "+1 sigma", "+2 sigma")

HOLE = "-"
"""HEPData's word for no number."""


def scan_tables(record: Spec) -> dict[str, Table]:
    """Return the tables by name.

    Args:
        record: Of ``ddphf masses``.
    """
    rows = record["hypotheses"]
    parameter, poi = record["parameter"], record["poi"]
    independent: list[Column] = [
        (clean_text(parameter["name"]), clean_text(parameter["unit"]), record["values"])
    ]
    unit = clean_text(poi["unit"])
    out: dict[str, Table] = {}
    for number, level in enumerate(record["levels"]):
        for method in ("asymptotic", "toys"):
            found = [
                (row["limit"] if number == 0 else row["limits"][number - 1]).get(method) or {}
                for row in rows
            ]
            if not any(found):
                continue
            columns: list[Column] = [
                ("observed", unit, [_cell(x.get("observed"), x.get("error")) for x in found])
            ]
            columns += [
                (f"expected, {band}", unit,
                 [_cell((x.get("expected") or [None] * 5)[i]) for x in found])
                for i, band in enumerate(BANDS)
            ]  # fmt: skip
            how = "asymptotic formulas" if method == "asymptotic" else "toys"
            out[f"Limits at {100 * level:g} % by {how}"] = (
                f"CLs upper limits of {clean_text(poi['name'])} at {100 * level:g} % confidence "
                f"level by {how}, observed and expected without a signal.",
                independent,
                columns,
            )
    keys: Sequence[tuple[str, str]] = (("q0", "q0"), ("local Z", "z0"), ("local p0", "p0"))
    mu = [_cell(row["mu_hat"], row["mu_error"]) for row in rows]
    out["Signal strength and local significance"] = (
        "Best-fit signal strength, signed discovery statistic q0, negative for a deficit, Z and "
        "asymptotic p0 of each hypothesis alone; none where an event lies in a bin in which "
        "nothing but the signal is expected.",
        independent,
        [(clean_text(poi["name"]), unit, mu)]
        + [(name, "", [_cell(row[key]) for row in rows]) for name, key in keys],
    )
    return out


def _cell(value: float | None, error: float | None = None) -> Any:
    if value is None:
        return HOLE
    return {"value": value, "errors": [{"symerror": error}]} if error else value
