"""What README.md of a bundle says of the records in it; the registry names these functions."""

from __future__ import annotations

from ddphf.arrays import Spec
from ddphf.publish.markdown import code, number, tail
from ddphf.results.provenance import describe_global

__all__ = ["lines_of_discovery", "lines_of_limit", "lines_of_ranking", "lines_of_search"]


def lines_of_ranking(where: str, entry: Spec) -> list[str]:
    """Return the three leading impacts.

    Args:
        where: Start of the line, which names the file.
        entry: What results.json says of it.
    """
    if not entry["ranking"]:
        return []
    leading = ", ".join(
        f"{code(p['name'])} ({number(p['postfit_up'])}, {number(p['postfit_down'])})"
        for p in entry["ranking"][:3]
    )
    return [f"{where}: shifts of the signal strength by one error up and down: {leading}, ..."]


def lines_of_limit(where: str, entry: Spec) -> list[str]:
    """Return observed and expected limits by each method; arguments as above."""
    lines = []
    for method in ("asymptotic", "toys"):
        if method in entry:
            limits = entry[method]
            error = limits.get("observed_error")
            both = f" +- {error:.1g}" if error else ""
            expected = ", ".join(map(number, limits["expected"]))
            lines.append(
                f"{where}: {100 * entry['level']:.4g} % CLs limit of {code(entry['measurement'])} "
                f"({method}): {number(limits['observed'])}{both}, expected at -2 to 2 sigma "
                f"without signal {expected}."
            )
    return lines


def lines_of_discovery(where: str, entry: Spec) -> list[str]:
    """Return a line for each measurement; arguments as above."""
    return [_discovery(where, statement) for statement in entry["statements"]]


def _discovery(where: str, statement: Spec) -> str:
    null, expected = statement["null"], statement["expected"]
    parts = [f"Z = {statement['observed']['z0']:.4f}"]
    if null.get("toys"):
        toys = null["toys"]
        parts.append(f"{tail(toys)} by {toys['n']} toys (seed {toys['seed']})")
    if null.get("importance"):
        found = null["importance"]
        parts.append(f"p0 = {found['p0']:.3g} +- {found['p0_error']:.1g} by importance sampling")
    parts += [f"by {kind} not done" for kind in null.get("failed") or {}]
    if expected:
        parts.append(f"expected Z = {expected['asimov']['z0']:.4f} at mu = {expected['mu']:g}")
    return f"{where}, {code(statement['measurement'])}: {'; '.join(parts)}."


def lines_of_search(where: str, entry: Spec) -> list[str]:
    """Return the best window, local and global; arguments as above."""
    if not entry["best"]:
        return []
    best, n = entry["best"][0], entry["windows"]["n"]
    ends = " x ".join(f"{low:g} to {high:g}" for low, high in best["edges"])
    z = best["local"]["z"]
    local = "not resolved" if z is None else f"{z:.4g}"
    return [
        f"{where}: {entry['direction']} searched in {n} windows; best {ends}: "
        f"{best['tested']:g} events, local Z {local}, global {describe_global(best['global'])}."
    ]
