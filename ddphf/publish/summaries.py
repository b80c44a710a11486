"""Records beside results.json: what it says about them, and whether they are about its points."""

from __future__ import annotations

from collections.abc import Iterator

from ddphf.arrays import Spec
from ddphf.inference.injection.record import InjectionResult
from ddphf.publish.records import PublishedResults
from ddphf.report.checks import check_record
from ddphf.report.records import KINDS

__all__ = ["LEADING", "STALE", "damaged_record", "stale_record", "summarize_record"]


LEADING = 20
"""Parameters of a ranking that results.json names; rank.json has all of them."""

RANKED = ("name", "value", "error", "postfit_up", "postfit_down", "prefit_up", "prefit_down")

STALE = 1e-5
"""Largest difference from the certified fits: of 2NLL and q0, and of parameters in errors."""


def damaged_record(data: Spec) -> str:
    """Return what is wrong with the shape of a record, empty if nothing is known to be."""
    if data["schema"] == InjectionResult.SCHEMA:
        try:
            InjectionResult.from_dict(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return f"damaged: {type(error).__name__}: {error}"
        return ""
    return (check_record(data) or "") if data["schema"] in KINDS else ""


def summarize_record(name: str, data: Spec) -> Spec:
    """Return what results.json says about a record of ``rank``, ``limit``, ``discover``, ...

    Args:
        name: Its file in the bundle.
        data: The record, of a shape that :func:`damaged_record` has nothing against.
    """
    out: Spec = {
        "name": name, "schema": data["schema"], "measurement": data.get("measurement"),
    }  # fmt: skip
    if data["schema"] == "ddphf/rank/1":
        leading = data["parameters"][:LEADING]
        out["ranking"] = [{key: entry.get(key) for key in RANKED} for entry in leading]
    elif data["schema"] == "ddphf/limit/1":
        out["level"] = data["level"]
        for method in ("asymptotic", "toys"):
            if data.get(method):
                out[method] = {k: v for k, v in data[method].items() if k != "scan"}
        keys = ("level", "method", "lower", "upper")
        out["intervals"] = [{k: entry[k] for k in keys} for entry in data.get("intervals") or ()]
    elif data["schema"] == "ddphf/discover/1":
        out["statements"] = [
            {
                "measurement": entry["measurement"],
                "observed": entry["observed"],
                "null": {k: v for k, v in (entry.get("null") or {}).items() if k != "comparison"},
                "expected": entry.get("expected"),
            }
            for entry in data["statements"]
        ]
    return out


def stale_record(data: Spec, results: PublishedResults) -> str:
    """Return which number of a record differs from the certified fits, empty if none does.

    Raises:
        KeyError: The record, or the results, lack one.
        TypeError: A number is none.
    """
    for what, given, found, allowed in _stated(data, results):
        if not abs(given - found) <= allowed:
            return f"{what} is {given:.9g}, but the fit gives {found:.9g}"
    return ""


def _stated(data: Spec, results: PublishedResults) -> Iterator[tuple[str, float, float, float]]:
    """Yield what a record states, its number, that of the fits, and how far it may be."""
    kind = str(data["schema"]).removeprefix("ddphf/").partition("/")[0]
    if kind == "discover":
        for entry in data["statements"]:
            yield from _statement(entry["measurement"], entry["observed"], results)
        return
    if kind == "injection":
        # Its fit is of the data that it wrote, which may be those of another workspace.
        if data["provenance"]["written_digest"] == results.workspace_digest:
            yield from _statement(data["measurement"], data["found"], results)
        return
    if kind not in ("fit", "rank", "limit", "scan"):
        return
    name = data["measurement"]
    fitted = results.point(name).minimum
    parameters = {p.name: p for p in fitted.parameters}
    if kind == "fit":
        yield "2NLL", data["fit"]["twice_nll"], fitted.twice_nll, STALE
        statement = next((s for s in results.statements if s["measurement"] == name), None)
        if statement is not None:
            null = results.point(statement["null"]).minimum.twice_nll
            yield "2NLL of the null", data["null"]["twice_nll"], null, STALE
            yield from _statement(name, data["discovery"], results)
    elif kind == "rank":
        yield "2NLL", data["twice_nll"], fitted.twice_nll, STALE
        for entry in (data["poi"], *data["parameters"]):
            own = parameters[entry["name"]]
            near = STALE * max(own.error or 0.0, 1.0)
            yield entry["name"], entry["value"], own.value, near
            yield f"the error of {entry['name']}", entry["error"] or 0.0, own.error or 0.0, near
    elif kind == "limit":
        own = parameters[data["poi"]]
        yield "mu_hat", data["mu_hat"], own.value, STALE * max(own.error or 0.0, 1.0)
        yield (
            "mu_error",
            data["mu_error"] or 0.0,
            own.error or 0.0,
            STALE * max(own.error or 0.0, 1.0),
        )
    else:
        for entry in data["parameters"]:
            own = parameters[entry["name"]]
            yield entry["name"], entry["best"], own.value, STALE * max(own.error or 0.0, 1.0)


def _statement(
    name: str, stated: Spec, results: PublishedResults
) -> Iterator[tuple[str, float, float, float]]:
    found = {s["measurement"]: s for s in results.statements}[name]
    near = STALE * max(found["mu_error"] or 0.0, 1.0)
    yield "q0", stated["q0"], found["q0"], STALE
    yield "mu_hat", stated["mu_hat"], found["mu_hat"], near
    yield "mu_error", stated["mu_error"] or 0.0, found["mu_error"] or 0.0, near
