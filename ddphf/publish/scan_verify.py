"""Levels 1 to 6 of the bundle of a mass scan: by pyhf at some hypotheses, by new fits at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from ddphf.arrays import Array, Spec
from ddphf.compute.work import Work
from ddphf.files import to_json
from ddphf.guards import MOST_TOYS, within
from ddphf.likelihood.certificate import measure_rounding
from ddphf.likelihood.reference import BackendName, ReferenceModel
from ddphf.progress import Count, Stage
from ddphf.publish.clean_venv import CleanRun, check_in_clean_environment
from ddphf.publish.scan_contents import ScanBundle, scan_script
from ddphf.publish.scan_readme import scan_numbers
from ddphf.publish.stock_fits import STOCK, fit_stock, judge_stock
from ddphf.results.published import make_environment
from ddphf.results.verified import FAIL, LIMITED, NOTHING, PASS, Check

__all__ = ["check_limits", "run_scan_level"]

SAME = 1e-6
"""Largest difference of two evaluations of -2 ln L at one point."""

NEAR = 1e-5
"""Of q0, of mu_hat in its errors, and of a limit relative to it."""

ERRORS = 1e-3
"""Of an error of mu_hat, relative to it."""

SOME = 3
"""Hypotheses that stock optimizers fit from the recorded point, and whose toys are drawn again at
level 5; all recorded ones at levels 3 and 6."""

TAIL = 1e-4
"""Probability below which two samples differ."""

PULL = float(norm.isf(TAIL / 2))


def run_scan_level(
    bundle: ScanBundle, level: int, seconds: float, say: Stage, toys: Count | None
) -> Iterator[Check]:
    """Run one level, which takes those below for granted."""
    if level == 1:
        yield from check_points(bundle, say)
    elif level == 2:
        yield from check_fits(bundle, say)
        yield from _stock(bundle, level, seconds, say)
    elif level == 3:
        yield from _stock(bundle, level, seconds, say)
    elif level == 4:
        yield from _command_line(bundle, seconds, say)
    elif level == 5:
        yield from check_limits(bundle, say)
        yield from _toys(bundle, level, say, toys)
    else:
        yield from _toys(bundle, level, say, toys)
        yield from _global(bundle, say, toys)


def check_points(bundle: ScanBundle, say: Stage) -> Iterator[Check]:
    """Level 1: 2NLL at the recorded parameters by pyhf, and what the record makes of them."""
    for point in bundle.points["points"]:
        index, reference = point["index"], bundle.reference(point)
        row, table = bundle.record["hypotheses"][index], reference.parameters
        values: dict[str, float] = {}
        for key in ("free", "null"):
            if point[key] is None:
                continue
            name = _name(bundle, index, key)
            place = _place(reference, point[key])
            held = table.fixed.copy()
            if key == "null" and table.poi is not None:
                held[table.poi] = True
                if place[table.poi] != 0:
                    yield Check(1, name, FAIL, f"{table.names[table.poi]} is not 0")
            outside = ((place < table.lower) | (place > table.upper)) & ~held
            for i in np.flatnonzero(outside)[:1]:
                yield Check(1, name, FAIL, f"{table.names[i]} is outside its bounds")
            recorded = point[key]["twice_nll"]
            backends: tuple[BackendName, ...] = ("numpy", "jax")
            for backend in backends:
                say(f"level 1: {name}, {backend}")
                found = reference.twice_nll(place, backend=backend)
                rounding = measure_rounding(reference)
                same = abs(found - recorded) <= SAME + 1e-12 * abs(recorded) + rounding
                yield Check(
                    1, f"{name}, {backend}", PASS if same else FAIL,
                    "" if same else f"differs by {found - recorded:.3g}", recorded,
                    found if np.isfinite(found) else None,
                )  # fmt: skip
            values[key] = recorded
        yield _statement(bundle, point, row, values, table)
    lost = [
        line
        for line in (scan_numbers(bundle.record, bundle.points)).splitlines()
        if line not in bundle.files["README.md"].decode()
    ]
    trouble = f"README.md does not say '{lost[0]}'" if lost else ""
    yield Check(1, "numbers of README.md", FAIL if trouble else PASS, trouble)


def _statement(
    bundle: ScanBundle, point: Spec, row: Spec, values: Mapping[str, float], table: Any
) -> Check:
    """Compare mu_hat and q0 of the record with the points."""
    name = _name(bundle, point["index"], "mu_hat and q0")
    best = point["free"]["parameters"][table.names[table.poi]]
    trouble = ""
    if not _near(row["mu_hat"], best, NEAR * max(row["mu_error"] or 0.0, 1.0)):
        trouble = f"mu_hat is {row['mu_hat']}, that of the point is {best}"
    q0 = None
    if "null" in values:
        q0 = float(np.sign(best) * (values["null"] - values["free"]))
    if row["q0"] is not None and not _near(row["q0"], q0, NEAR):
        trouble = f"q0 is {row['q0']}, that of the points is {q0}"
    return Check(1, name, FAIL if trouble else PASS, trouble, row["q0"], q0)


def check_fits(bundle: ScanBundle, say: Stage) -> Iterator[Check]:
    """Level 2: mu_hat, its error and q0 of new fits."""
    say("level 2: fits of the hypotheses")
    again = bundle.source.fits(_work(say, None))
    rows = bundle.record["hypotheses"]
    for key in ("mu_hat", "mu_error", "q0"):
        pairs = {i: (rows[i][key], found[key]) for i, found in again.items()}

        def near(i: int, stated: float, key: str = key) -> float:
            if key == "mu_error":
                return ERRORS * abs(stated)
            return NEAR * max((rows[i]["mu_error"] or 0.0) if key == "mu_hat" else 1.0, 1e-3)

        yield _compare(bundle, 2, f"{key} of {len(again)} hypotheses", pairs, near)


def check_limits(bundle: ScanBundle, say: Stage) -> Iterator[Check]:
    """Level 5: asymptotic limits with their bands by new fits."""
    say("level 5: asymptotic limits")
    again = bundle.source.fits(_work(say, None))
    rows = bundle.record["hypotheses"]
    for number, level in enumerate(bundle.record["levels"]):
        pairs: dict[int, tuple[Any, Any]] = {}
        place = 0
        for i, found in again.items():
            stated, own = (_limit(row, number).get("asymptotic") for row in (rows[i], found))
            stated, own = stated or {}, own or {}
            lists = [[x.get("observed"), *x.get("expected", [None] * 5)] for x in (stated, own)]
            for pair in zip(*lists, strict=True):
                pairs[place] = pair
                place += 1
        yield _compare(
            bundle, 5, f"asymptotic limits at {100 * level:g} % of {len(again)} hypotheses", pairs,
            lambda _, stated: NEAR * abs(stated), per=6, names=list(again),
        )  # fmt: skip


def _compare(
    bundle: ScanBundle, level: int, what: str, pairs: Mapping[int, tuple[Any, Any]],
    near: Any, per: int = 1, names: list[int] | None = None,
) -> Check:  # fmt: skip
    """Compare numbers; the first hypothesis that differs is told."""
    for place, (stated, found) in pairs.items():
        allowed = 0.0 if stated is None else near(place, stated)
        if not _near(stated, found, allowed):
            index = place if names is None else names[place // per]
            return Check(
                level, what, FAIL, f"{_name(bundle, index)}: {stated}, a new fit gives {found}",
                stated, found,
            )  # fmt: skip
    return Check(level, what, PASS)


def _stock(bundle: ScanBundle, level: int, seconds: float, say: Stage) -> Iterator[Check]:
    """Level 2: from the recorded points of some no optimizer finds a lower one; 3: cold, of all."""
    points = bundle.points["points"]
    for point in points[:SOME] if level == 2 else points:
        reference = bundle.reference(point)
        table = reference.parameters
        for key in ("free", "null"):
            if point[key] is None:
                continue
            place, fixed = _place(reference, point[key]), table.fixed.copy()
            cold = table.init.copy()
            if key == "null" and table.poi is not None:
                fixed[table.poi], cold[table.poi] = True, 0.0
            for backend, optimizer in STOCK:
                starts = {"warm": place} if level == 2 else {"cold": cold, "warm": place}
                for start, where in starts.items():
                    name = f"{_name(bundle, point['index'], key)}, {backend} and {optimizer}"
                    say(f"level {level}: {name}")
                    fit = fit_stock(
                        reference, backend, optimizer, start=where, fixed=fixed, seconds=seconds
                    )
                    status, detail = judge_stock(fit, point[key]["twice_nll"])
                    yield Check(level, f"{name}, {start}", status, detail,
                                point[key]["twice_nll"], fit.twice_nll)  # fmt: skip
                    if status != LIMITED:
                        break


def _command_line(bundle: ScanBundle, seconds: float, say: Stage) -> Iterator[Check]:
    runs = []
    if "patchset.json" in bundle.files:
        runs.append(CleanRun("pyhf patchset verify", ["patchset", "verify", "BkgOnly.json",
                                                      "patchset.json"]))  # fmt: skip
    files = dict(bundle.files)
    for point in bundle.points["points"][:SOME]:
        name = f"hypothesis_{point['index']}.json"
        files[name] = to_json(bundle.source.workspace(point["index"])).encode()
        runs.append(
            CleanRun(
                f"pyhf fit of {_name(bundle, point['index'])}", ["fit", "--value", name],
                point["free"]["twice_nll"], bundle.reference(point),
            )
        )  # fmt: skip
    yield from check_in_clean_environment(
        files, "verify_scan.py", scan_script(), runs, seconds, say
    )


def _toys(bundle: ScanBundle, level: int, say: Stage, count: Count | None) -> Iterator[Check]:
    """Levels 5 and 6: limits by toys of some hypotheses from the seed of the record."""
    rows, found = bundle.record["hypotheses"], False
    if bundle.source.scan is None:
        yield Check(level, "limits by toys", NOTHING, "hypotheses are fitted one by one")
        return
    some = bundle.source.sampled
    for index in some[:SOME] if level == 5 else some:
        for number, value in enumerate(bundle.record["levels"]):
            stated = _limit(rows[index], number).get("toys")
            if stated is None:
                continue
            found = True
            what = f"{_name(bundle, index)}, limit by toys at {100 * value:g} %"
            within(what, "toys", stated["n"] * (1 + len(stated["points"])), MOST_TOYS)
            say(f"level {level}: {what}")
            again = bundle.source.toys(index, number)
            yield _same_limits(bundle, level, what, stated, again)
    if not found:
        yield Check(level, "limits by toys", NOTHING)


def _same_limits(bundle: ScanBundle, level: int, what: str, stated: Spec, again: Spec) -> Check:
    here = bundle.points["environment"] == make_environment()
    trouble = ""
    both = [[x["observed"], *x["expected"]] for x in (stated, again)]
    errors = [[x["error"], *(x.get("expected_error") or [None] * 5)] for x in (stated, again)]
    for old, new, a, b in zip(*both, *errors, strict=True):
        size = np.hypot(a or 0.0, b or 0.0)
        near = NEAR * abs(old or 0.0) if here else PULL * size + NEAR * abs(old or 0.0)
        if (here or (old is not None and new is not None)) and not _near(old, new, near):
            trouble = f"{old} is recorded, toys of the same seed give {new}"
    detail = trouble or ("" if here else "in another environment: within errors")
    return Check(level, what, FAIL if trouble else PASS, detail, stated["observed"],
                 again["observed"])  # fmt: skip


def _global(bundle: ScanBundle, say: Stage, count: Count | None) -> Iterator[Check]:
    stated, scan = bundle.record["global"], bundle.source.scan
    what = "global p by toys of all hypotheses"
    if stated is None:
        yield Check(6, what, NOTHING)
        return
    if scan is None or scan.edges is None:
        yield Check(6, what, NOTHING, "the bundle does not say which events windows share")
        return
    within(what, "toys", stated["toys"] * len(scan), MOST_TOYS)
    say(f"level 6: {what}")
    again = bundle.source.overall(_work(say, count))
    n, recorded = stated["toys"], stated.get("n_ge", round((stated["p"] or 0.0) * stated["toys"]))
    same = again["n_ge"] == recorded and _near(again["z0"], stated["z0"], NEAR)
    good, detail = same, f"{n} toys, {again['n_ge']} reach the largest z, recorded {recorded}"
    if bundle.points["environment"] != make_environment():
        p = (recorded + 0.5) / (n + 1)
        good = same or float(binomtest(again["n_ge"], n, p).pvalue) > TAIL
        detail += ", in another environment"
    yield Check(6, what, PASS if good else FAIL, detail, stated["p"], again["p"])


def _limit(row: Spec, number: int) -> Spec:
    found: Spec = row["limit"] if number == 0 else row["limits"][number - 1]
    return found


def _name(bundle: ScanBundle, index: int, what: str = "") -> str:
    value = bundle.record["values"][index]
    name = f"{bundle.record['parameter']['name']} = {value:g}"
    return f"{name}, {what}" if what else name


def _place(reference: ReferenceModel, minimum: Spec) -> Array:
    values = minimum["parameters"]
    return np.array([float(values[name]) for name in reference.parameters.names])


def _near(stated: float | None, found: float | None, near: float) -> bool:
    if stated is None or found is None:
        return stated is found
    return abs(stated - found) <= near


def _work(say: Stage, count: Count | None) -> Work:
    return Work(say=say, count=count)
