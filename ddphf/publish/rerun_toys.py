"""Level 6, and the toys of level 5: what a bundle records of toys, drawn again from the seeds.

In the environment that the toys were made in every number is the same. Elsewhere a toy near the
edge of a cut may differ, or random numbers do; then recorded and new agree as two samples do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from ddphf.arrays import Spec
from ddphf.compute.work import Work
from ddphf.files import parse_json
from ddphf.guards import MOST_TOYS, within
from ddphf.inference.limits.limits import LimitMethod, limit_model
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.importance import sample_importance
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample, merge_toys, summarize_toys
from ddphf.progress import Count, Stage
from ddphf.publish.contents import Bundle
from ddphf.publish.summaries import publishing_of
from ddphf.publish.toy_files import Segment, read_toys, segments
from ddphf.results.published import make_environment
from ddphf.results.registry import load_function
from ddphf.results.verified import FAIL, NOTHING, PASS, Check
from ddphf.statistics.tails import FAILED

__all__ = ["check_limit_by_toys", "check_nulls", "check_toys"]


SAME = 1e-7
"""Bits differ between processors; q0 of the same toy does not, by more than this."""

TAIL = 1e-4
"""Probability below which two samples differ."""

PULL = float(norm.isf(TAIL / 2))


def check_toys(bundle: Bundle, say: Stage, progress: Count | None) -> Iterator[Check]:
    """Level 6: every recorded ensemble from its seed."""
    found = False
    for entry in bundle.results.toys:
        found = True
        what = entry["file"] or f"{entry['measurement']}, toys of the fit"
        say(f"level 6: {what}")
        old = None
        if entry["file"] is not None:
            old = read_toys(bundle.files[entry["file"]], entry["file"])
        yield _ensemble(bundle, what, entry, old, entry.get("versions"), progress)
    for included in bundle.results.included:
        if not (redraw := publishing_of(included).redraw):
            continue
        name = included["name"]
        data = parse_json(bundle.files[name], name)
        for check in load_function(redraw)(bundle, name, data, say, progress):
            found = True
            yield check
    if not found:
        yield Check(6, "toys", NOTHING)


def check_nulls(
    bundle: Bundle, name: str, data: Spec, say: Stage, progress: Count | None
) -> Iterator[Check]:
    """Level 6: the nulls of a discovery, by toys and by importance sampling."""
    versions = data["provenance"].get("versions")
    for statement in data["statements"]:
        null, label = statement.get("null") or {}, statement["measurement"]
        if null.get("toys"):
            say(f"level 6: {name}, {label}")
            entry = {"measurement": label, "mu": 0.0, "q0": statement["observed"]["q0"],
                     **null["toys"]}  # fmt: skip
            yield _ensemble(
                bundle, f"{name}, {label}", entry, None, versions, progress, record=data
            )
        if null.get("importance"):
            say(f"level 6: {name}, {label}, importance sampling")
            yield _importance(bundle, name, data, statement, progress)


def _here(bundle: Bundle, versions: Spec | None) -> bool:
    """Whether a record was made in this environment, by the versions it states itself."""
    own = make_environment()
    return bundle.results.environment == own and versions in (None, own["versions"])


def _ensemble(
    bundle: Bundle, what: str, entry: Spec, old: ToySample | None, versions: Spec | None,
    progress: Count | None, *, record: Spec | None = None,
) -> Check:  # fmt: skip
    model = bundle.fitter_of(entry["measurement"], record).require_compiled()
    source = ToySource.conditional(model, entry["mu"])
    if old is None and entry["seed"] is None:
        return Check(6, what, NOTHING, "toys of several seeds, whose file was not published")
    within(what, "toys", entry["n"], MOST_TOYS)
    parts: list[Segment] = segments(old) if old is not None else [(entry["seed"], 0, entry["n"])]
    new = merge_toys([
        toy_ensemble(source, n, seed=seed, first=first, work=Work(count=progress))
        for seed, first, n in parts
    ])  # fmt: skip
    summary = summarize_toys(new, entry["q0"])
    counts = (summary.n, summary.n_failed, summary.n_ge)
    recorded = (entry["n"], entry["n_failed"], entry["n_ge"])
    exact, here = counts == recorded, _here(bundle, versions)
    if old is not None:
        here = here and old.fingerprint == source.fingerprint
        exact = exact and _same_toys(old, new)
    good = exact
    detail = f"{summary.n} toys, {summary.n_ge} at or above q0"
    if not here:
        # The recorded fraction as if it were known: the same toys cannot differ by chance.
        p = (entry["n_ge"] + 0.5) / (entry["n"] + 1)
        good = exact or float(binomtest(summary.n_ge, summary.n, p).pvalue) > TAIL
        detail += ", in another environment" + ("" if exact else ": the tails agree")
    if not good:
        detail = "{} toys, {} failed, {} at or above q0; recorded {}, {}, {}".format(
            *counts, *recorded
        )
        if counts == recorded:
            detail = "other toys than those of the recorded seeds"
    return Check(6, what, PASS if good else FAIL, detail, float(entry["n_ge"]), float(counts[2]))


def _same_toys(old: ToySample, new: ToySample) -> bool:
    ok = new.status != FAILED
    return (
        len(old) == len(new)
        and np.array_equal(old.status != FAILED, ok)
        and bool(np.allclose(new.q0[ok], old.q0[ok], rtol=SAME, atol=SAME))
    )


def _importance(
    bundle: Bundle, name: str, data: Spec, statement: Spec, progress: Count | None
) -> Check:
    versions = data["provenance"].get("versions")
    label, recorded = statement["measurement"], statement["null"]["importance"]
    within(name, "toys", recorded["n"], MOST_TOYS)
    model = bundle.fitter_of(label, data).require_compiled()
    source = ToySource.conditional(model)
    found = sample_importance(
        source, recorded["mu"], statement["observed"]["q0"], recorded["n"], seed=recorded["seed"],
        work=Work(count=progress),
    )  # fmt: skip
    error = float(np.hypot(found.p0_error, recorded["p0_error"]))
    good, detail = _agree(found.p0, recorded["p0"], error, here=_here(bundle, versions))
    return Check(
        6, f"{name}, {label}, p0 by importance sampling", PASS if good else FAIL,
        f"p0 = {found.p0:.6g}, recorded {recorded['p0']:.6g}{detail}",
    )  # fmt: skip


def check_limit_by_toys(
    bundle: Bundle, name: str, data: Spec, say: Stage, progress: Count | None
) -> Iterator[Check]:
    """Level 5: limits by toys, and intervals calibrated by them, from their seed."""
    old, here = data.get("toys"), _here(bundle, data["provenance"].get("versions"))
    by_toys = [e for e in data.get("intervals") or () if e["method"] == "toys"]
    if not old and not by_toys:
        return
    say(f"level 5: {name}, limits and intervals by toys")
    drawn = old or by_toys[0]  # a measurement without a null has intervals alone
    within(name, "toys", drawn["n"], MOST_TOYS)
    methods: tuple[LimitMethod, ...] = ("toys",)
    again = limit_model(
        bundle.fitter_of(data["measurement"], data), level=data["level"], methods=methods,
        interval=bool(by_toys), toys=drawn["n"], seed=drawn["seed"], work=Work(count=progress),
    ).to_dict()  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    if old:
        new = again["toys"]
        rows = [("observed limit", *((t["observed"], t["observed_error"]) for t in (old, new)))]
        for n, a, b, c, d in zip(
            range(-2, 3), old["expected"], old["expected_error"], new["expected"],
            new["expected_error"], strict=True,
        ):  # fmt: skip
            rows.append((f"expected {n:+d} sigma limit", (a, b), (c, d)))
    for entry, other in zip(by_toys, again.get("intervals", ()), strict=True):
        for side in ("lower", "upper"):
            ends = [(e[side], e[f"{side}_error"]) for e in (entry, other)]
            rows.append((f"{side} end at {entry['level']:g}", *ends))
    for what, (recorded, error), (found, new_error) in rows:
        if recorded is None or found is None:
            good, detail = recorded is found or not here, " the scan does not reach it"
        else:
            combined = float(np.hypot(error or 0.0, new_error or 0.0))
            good, detail = _agree(found, recorded, combined, here=here)
        yield Check(5, f"{name}, {what} by toys", PASS if good else FAIL, detail.lstrip(", "),
                    recorded, found)  # fmt: skip


def _agree(found: float, recorded: float, error: float, *, here: bool) -> tuple[bool, str]:
    """Whether two results of toys agree: exactly here, within their errors elsewhere."""
    exact = abs(found - recorded) <= 10 * SAME * max(abs(recorded), abs(found))
    if here:
        return exact, "" if exact else ", not the number of the recorded seed"
    return exact or abs(found - recorded) <= PULL * error, ", in another environment"
