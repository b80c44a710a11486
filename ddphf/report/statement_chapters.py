"""Chapters of the report that state numbers: significance, limits, scans, goodness of fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.figures.null import bin_toys, draw_null
from ddphf.report.measured_chapter import measured_parts
from ddphf.report.page import draw, headline, note, text
from ddphf.report.tables import Table, number
from ddphf.results.fit import DiscoveryResult, FitResult, describe_error
from ddphf.results.provenance import describe_global

__all__ = ["doubts", "null_parts", "result_parts"]

Record = Mapping[str, Any]

TERMS = {
    "L2": "L2: the partner channel tells the background of every bin.",
    "L1": "L1: the background is known, as in simulation alone.",
    "q0": "q0: 2NLL of the fit without a signal minus 2NLL of the fit with one (2NLL: -2 ln of the "
    "likelihood), negative for a deficit.",
    "Z": "Z: sign(q0) sqrt(|q0|), in standard deviations; p0 = 1 - Phi(Z) where the null is "
    "asymptotic.",
}

SMALL_P = 0.01
"""A goodness-of-fit p-value below this is a warning."""

NAMES = {"known_background": "known background (L1)", "discovery": "discovery (L2)"}


def doubts(fit: FitResult | None, goodness: Record | None) -> list[str]:
    """Return what the numbers themselves warn of."""
    out = []
    if goodness is not None:
        p = _p_value(goodness)
        if p is not None and p < SMALL_P:
            out.append(f"goodness of fit: p = {p:.2g}; the model does not describe the data")
    if fit is not None and fit.discovery is not None and fit.discovery.toys is not None:
        low, high = fit.discovery.toys["p0_interval"]
        if not low <= fit.discovery.p0 <= high and fit.discovery.toys["p0"] is not None:
            out.append(
                f"the asymptotic p0 = {fit.discovery.p0:.3g} is outside the interval that the toys "
                f"give, [{low:.3g}, {high:.3g}]: quote the toys"
            )
    return out


def result_parts(fit: FitResult | None, discover: Record | None) -> list[str]:
    """Return the headline and the table of all statements."""
    parts: list[str] = []
    rows: list[tuple[str, ...]] = []
    if fit is not None and fit.discovery is not None:
        d = fit.discovery
        kind = "an excess" if d.z0 > 0 else "a deficit"
        size = f"{kind} of {abs(d.z0):.2f} standard deviations" if d.z0 else "no excess"
        local = "" if fit.data_directed is None else "local "
        parts.append(headline(f"{fit.poi} = {_estimate(d, 4)}: {size}, {local}p0 = {d.p0:.2g}"))
        looked = "searches in other places are not accounted for."
        if fit.data_directed is not None:
            n, found_p = fit.data_directed["windows"], fit.data_directed["global"]
            looked = f"the signal was chosen on these data, out of {n} windows: global "
            looked += f"{describe_global(found_p)}."
        parts.append(text(f"Local and asymptotic; {looked} q0 is signed, negative for a deficit."))
        found = [(fit.measurement, d), ("known_background", fit.known_background)]
        for name, s in found:
            if s is not None:
                rows.append(
                    (NAMES.get(name, name), "asymptotic", _estimate(s, 5),
                     f"{s.q0:.5g}", f"{s.z0:.3f}", f"{s.p0:.3g}")
                )  # fmt: skip
                if s.toys is not None:
                    rows.append((NAMES.get(name, name), *_toy_cells(s.toys)))
    elif fit is not None and fit.measurement_statement is not None:
        parts += measured_parts(fit.measurement_statement)
    elif fit is not None:
        value = f" = {fit.mu_hat.value:.5g} {fit.mu_hat.stated_error}" if fit.mu_hat else ""
        parts.append(
            text(f"{fit.poi or 'No parameter of interest'}{value}.",
                 "The measurement has no null hypothesis, so there is no significance.")
        )  # fmt: skip
    for statement in discover["statements"] if discover is not None else ():
        rows += _statement_rows(statement, seen=fit is not None)
    if rows:
        columns = ("statement", "null", "signal strength", "q0", "Z", "p0")
        table = Table("significance of the signal", columns, tuple(rows), labels=2)
        parts.append(table.to_html())
        parts.append(text(*(TERMS[key] for key in TERMS if key in _used(rows))))
    expected = [
        row
        for statement in (discover["statements"] if discover is not None else ())
        for row in _expected_rows(statement)
    ]
    if expected:
        bands = ("statement", "by", "-2 sigma", "-1 sigma", "median", "+1 sigma", "+2 sigma")
        parts.append(Table("expected Z", bands, tuple(expected), labels=2).to_html())
    return parts


def _used(rows: list[tuple[str, ...]]) -> set[str]:
    """Return the terms that a table of statements needs explained."""
    names = " ".join(row[0] for row in rows)
    return {"q0", "Z"} | {term for term in ("L1", "L2") if f"({term})" in names}


def _name(statement: Record) -> str:
    name = str(statement["measurement"])
    return NAMES.get(name, name)


def _toy_cells(toys: Record) -> tuple[str, ...]:
    low, high = toys["p0_interval"]
    name = f"{toys['n']} toys" + (f", {toys['n_failed']} failed" if toys["n_failed"] else "")
    if toys["p0"] is None:
        return (name, "", "", "", f"< {number(high, 2)}")
    return (name, "", "", number(toys.get("z0"), 4),
            f"{toys['p0']:.3g} [{number(low, 3)}, {number(high, 3)}]")  # fmt: skip


def _statement_rows(statement: Record, *, seen: bool) -> list[tuple[str, ...]]:
    """Return rows of discover.json; the asymptotic ones only where no fit has said it."""
    name = _name(statement)
    o, null = statement["observed"], statement.get("null") or {}
    rows: list[tuple[str, ...]] = []
    if not seen:
        estimate = f"{o['mu_hat']:.5g} {describe_error(o['mu_error'], 3)}"
        rows.append(
            (name, "asymptotic", estimate, f"{o['q0']:.5g}",
             f"{o['z0']:.3f}", f"{o['p0']:.3g}")
        )  # fmt: skip
    if null.get("toys"):
        rows.append((name, *_toy_cells(null["toys"])))
    if null.get("importance"):
        i = null["importance"]
        p = number(i["p0"], 3)
        if i["p0"] is not None and i.get("p0_error") is not None:
            p = f"{i['p0']:.3g} +- {i['p0_error']:.1g}"
        rows.append((name, "importance sampling", "", "", number(i.get("z0"), 4), p))
    rows += [(name, kind, "", "", "", "not done") for kind in null.get("failed") or {}]
    return rows


def _expected_rows(statement: Record) -> list[tuple[str, ...]]:
    expected = statement.get("expected")
    if not expected:
        return []
    name = f"{_name(statement)}, mu = {expected['mu']:.4g}"
    rows = []
    for key, label in (("asymptotic", "asymptotic"), ("toys", "toys")):
        entry = expected.get(key)
        if entry:
            by = label if key == "asymptotic" else f"{entry['n']} toys"
            rows.append((name, by, *(number(z, 4) for z in entry["z0"])))
    return rows or [(name, "Asimov", "", "", number(expected["asimov"]["z0"], 4), "", "")]


def _estimate(statement: DiscoveryResult, digits: int) -> str:
    """Return value and error of the signal strength; at a bound or a corner there is no error."""
    value = f"{statement.mu_hat:.{digits}g}"
    return f"{value} {describe_error(statement.mu_error, 3)}"


def null_parts(
    fit: FitResult | None, discover: Record | None, toys: np.ndarray[Any, Any] | None
) -> list[str]:
    """Return the comparison of toys of the null with the asymptotic distribution."""
    observed = fit.discovery.z0 if fit is not None and fit.discovery is not None else None
    parts = []
    if toys is not None and np.isfinite(toys).any():
        finite = toys[np.isfinite(toys)]
        name = "the toys" if fit is None else fit.measurement
        parts.append(
            draw(
                draw_null(bin_toys(toys, observed), observed, name),
                "Histogram of the signed significance of toys of the null, with a standard normal",
                f"{len(toys)} toys at mu = 0, {len(toys) - len(finite)} failed: mean "
                f"{finite.mean():.3f}, standard deviation {finite.std():.3f}; the asymptotic null "
                "is the standard normal.",
            )
        )
    for statement in discover["statements"] if discover is not None and not parts else ():
        comparison = (statement.get("null") or {}).get("comparison")
        if comparison:
            ks = comparison.get("ks") or {}
            distance = f" KS distance {ks['distance']:.4f}," if ks else ""
            p = f" p = {ks['p_value']:.3g}." if ks.get("p_value") is not None else ""
            parts.append(
                draw(
                    draw_null(
                        comparison, statement["observed"]["z0"], str(statement["measurement"])
                    ),
                    "Signed significance of toys of the null against its asymptotic distribution",
                    f"{_name(statement)}: {comparison['n']} toys at mu = 0.{distance}{p}",
                )
            )
    return [note("The two nulls"), *parts] if parts else []


def _p_value(goodness: Record) -> float | None:
    toys = goodness.get("toys") or {}
    p = toys.get("p_value") if toys.get("p_value") is not None else goodness["p_value"]
    return None if p is None else float(p)
