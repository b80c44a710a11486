"""Which parameter moves the POI by how much: refits in one batch, and two sums that add up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.compute.blocks import Runner
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import ModelError
from ddphf.inference.fitter import Fitter
from ddphf.inference.other_sides import lower_refits
from ddphf.inference.ranking.decomposition import decompose
from ddphf.inference.ranking.priors import Priors, read_priors
from ddphf.inference.refits import compiled_meanwhile, refit_all
from ddphf.inference.selection import match_globs, require_poi, split_groups
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import Propagation, held_by_data, propagate
from ddphf.likelihood.reference import ParameterTable, ReferenceModel
from ddphf.progress import Count, Stage, silent
from ddphf.results.fit import ParameterResult
from ddphf.results.measured import PLAIN, Declared
from ddphf.results.provenance import made_of
from ddphf.results.rank import CorrelationsResult, ImpactResult, RankResult
from ddphf.text import list_names

__all__ = ["rank_model", "rank_parameters", "select_parameters"]

SHIFTS = (
    "prefit_up",
    "prefit_down",
    "postfit_up",
    "postfit_down",
    "auxiliary_up",
    "auxiliary_down",
)


def rank_parameters(
    workspace: Mapping[str, object],
    *,
    measurement: str | None = None,
    parameters: Sequence[str] = (),
    groups: Sequence[tuple[str, str]] = (),
    top: int | None = None,
    declared: Declared = PLAIN,
    progress: Stage | None = None,
    refit_progress: Count | None = None,
    runner: Runner | None = None,
) -> RankResult:
    """Rank the nuisance parameters of a workspace by their impact on the POI.

    Impacts are cabinetry's: mu_hat with the parameter held at its best fit +- its prior width
    (pre-fit) or its error (post-fit), minus mu_hat. Auxiliary shifts and their sum: Pinto et al.,
    Eur. Phys. J. C 84 (2024) 593.

    Args:
        workspace: Any pyhf JSON workspace as a dictionary.
        measurement: Name of the measurement; the first one by default.
        parameters: Globs of the parameters to rank; all but the per-bin ones by default.
        groups: (name, globs joined by commas) of parameters to freeze together.
        top: How many parameters to keep; all by default.
        declared: What the sidecar says: where there is no null, none is fitted.
        progress: Called with a line for each stage.
        refit_progress: Called with (done, refits).
        runner: Where refits are done; on threads by default.

    Raises:
        ModelError: The workspace is refused; there is no POI or nothing to rank; a glob matches
            nothing, a group appears twice.
        FitError: The fit itself has no certificate. A refit without one is in ``failures``.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.correlated_background([5.0], [50.0], [52.0], [48.0])
        >>> workspace = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> ranked = rank_parameters(workspace)
        >>> [(p.name, round(p.postfit_up, 3)) for p in ranked.parameters]
        [('correlated_bkg_uncertainty', -0.4)]
    """
    ranked = rank_model(
        Fitter(ReferenceModel(workspace, measurement), declared=declared), parameters=parameters,
        groups=groups, work=Work(progress or silent, refit_progress, runner), cold=True,
    )  # fmt: skip
    return made_of(replace(ranked, parameters=ranked.parameters[:top]), workspace)


def rank_model(
    fitter: Fitter,
    *,
    parameters: Sequence[str] = (),
    groups: Sequence[tuple[str, str]] = (),
    work: Work = HERE,
    cold: bool = False,
) -> RankResult:
    """Rank with a model that is already built; see :func:`rank_parameters`.

    Args:
        fitter: Of one measurement.
        parameters: Globs of the parameters to rank.
        groups: (name, globs joined by commas).
        work: How long work is done.
        cold: For one ranking in a process: a pair's refits are compiled only where they must be,
            while the first fit runs. Else they are one compiled batch, for the next ranking too.

    Returns:
        The ranking, all of it, without provenance.
    """
    say, reference, table = work.say, fitter.reference, fitter.reference.parameters
    poi = require_poi(table, reference.measurement)
    model = fitter.require_compiled("rankings")
    chosen = select_parameters(model, parameters, str(reference.measurement))
    named = split_groups(table, groups)
    with compiled_meanwhile(model) if cold else contextlib.nullcontext():
        fits = fitter.fit_free(say)
    free = fits.free
    held = held_by_data(free, table.fixed)
    spread = propagate(model, free.parameters, poi, fixed=held)
    priors = read_priors(model)
    plan = _Plan(model, priors, free, held, np.flatnonzero(chosen & ~held))
    shifts: dict[tuple[int, str], float] = {}
    reasons: dict[int, str] = {}
    lowered = 0
    if plan.items:
        say(f"{len(plan.items)} refits")
        refits = refit_all(
            model, start=plan.start, fixed=plan.fixed, data=plan.data, near=free.parameters,
            many=not cold, work=work,
        )  # fmt: skip
        refits, lowered = lower_refits(model, refits, free, held, plan.fixed, plan.data)
        found = refits.points[:, poi] - free.parameters[poi]
        shifts, reasons = dict(zip(plan.items, found, strict=True)), refits.reasons
    impacts = [plan.describe(j, shifts, spread) for j in map(int, plan.chosen)]
    impacts.sort(key=lambda p: (-p.size, p.name))
    failures = tuple(
        {"parameter": table.names[plan.items[i][0]], "shift": plan.items[i][1], "reason": reason}
        for i, reason in sorted(reasons.items())
    )
    say("groups")
    parts = decompose(model, free, held, spread, priors, plan.auxiliary_shifts(shifts), named)
    return RankResult(
        measurement=str(reference.measurement),
        engine="ddphf",
        poi=ParameterResult(
            table.names[poi],
            float(free.parameters[poi]),
            free.error(poi),
            bool(free.at_bound[poi]),
        ),
        twice_nll=free.twice_nll,
        parameters=tuple(impacts),
        n_ranked=len(impacts),
        groups=parts.groups if plan.defined else (),
        frozen=parts.frozen,
        auxiliary=parts.auxiliary,
        correlations=_correlations(table, free, poi, np.asarray(model.cells.global_), spread),
        failures=failures,
        warnings=(
            *fits.warnings,
            *_warnings(impacts, failures, len(plan.items)),
            *(
                [
                    "the likelihood has several minima "
                    f"({list_names([table.names[i] for i in model.one_sided])}): {lowered} of "
                    f"{len(plan.items)} refits are lower in another one than the fit is in, so "
                    "these impacts are jumps; check these parameters"
                ]
                if lowered
                else []
            ),
            *(
                []
                if plan.defined
                else [
                    f"'{table.names[poi]}' has no error at the best fit, where it cannot move both "
                    "ways, so no impact on it is defined; 'ddphf scan' shows how 2NLL rises"
                ]
            ),
            *parts.warnings,
        ),
    )


def select_parameters(model: CompiledModel, globs: Sequence[str], measurement: str) -> Mask:
    """Return which parameters to rank, shape (n,): the matches, or all but the per-bin ones.

    Raises:
        ModelError: A glob matches nothing, or nothing is left.
    """
    table = model.stated
    if globs:
        return match_globs(table, globs, "--parameters")
    free = ~table.fixed
    free[table.poi] = False
    chosen: Mask = free & ~model.expansion.per_bin
    if not chosen.any():
        kinds = sorted({table.names[i].split("[")[0] for i in np.flatnonzero(free)})
        remedy = (
            f"--parameters '{kinds[0]}*' ranks per-bin ones"
            if kinds
            else "there is no other free parameter at all"
        )
        raise ModelError(
            f"measurement '{measurement}' has nothing to rank: no free parameter but the POI that "
            f"is not per bin; {remedy}"
        )
    return chosen


@dataclass
class _Plan:
    """The refits: (parameter, shift) of each, its start, held parameters and data."""

    model: CompiledModel
    priors: Priors
    free: Minimum
    held: Mask
    chosen: np.ndarray[Any, np.dtype[np.int64]]

    def __post_init__(self) -> None:
        table = self.model.parameters
        self.clipped = np.zeros(len(table.names), dtype=bool)
        self.items: list[tuple[int, str]] = []
        starts, masks, sets = [], [], []
        poi = table.poi
        assert poi is not None
        self.defined = self.free.error(poi) is not None
        for j in map(int, self.chosen) if self.defined else ():
            for shift, value, data in self._shifts(j):
                start, mask = self.free.parameters.copy(), self.held.copy()
                if value is not None:
                    start[j] = np.clip(value, table.lower[j], table.upper[j])
                    self.clipped[j] |= start[j] != value
                    mask[j] = True
                self.items.append((j, shift))
                starts.append(start)
                masks.append(mask)
                sets.append(data)
        n = len(self.items)
        self.start = np.array(starts).reshape(n, len(table.names))
        self.fixed = np.array(masks, dtype=bool).reshape(n, len(table.names))
        self.data = np.array(sets).reshape(n, len(self.model.data))

    def _shifts(self, j: int) -> Iterator[tuple[str, float | None, Array]]:
        """Yield (shift, value to hold or None, data) of the refits of parameter j."""
        best, data, priors = float(self.free.parameters[j]), self.model.data, self.priors
        for shift in SHIFTS:
            kind, side = shift.split("_")
            sign = 1.0 if side == "up" else -1.0
            if kind == "auxiliary":
                if priors.constrained[j]:
                    yield shift, None, priors.shifted(data, j, sign)
                continue
            size = float((priors.width if kind == "prefit" else self.free.errors)[j])
            if size > 0:  # NaN without a constraint
                yield shift, best + sign * size, data

    def auxiliary_shifts(self, shifts: dict[tuple[int, str], float]) -> dict[int, float]:
        """Return the root mean square of up and down by parameter, where both refits are there.

        Half their difference would lose a variation that moves the POI one way for both signs.
        """
        out = {}
        for j in map(int, self.chosen):
            up, down = (shifts.get((j, f"auxiliary_{side}"), np.nan) for side in ("up", "down"))
            if np.isfinite(up - down):
                out[j] = float(np.sqrt((up**2 + down**2) / 2))
        return out

    def describe(
        self, j: int, shifts: dict[tuple[int, str], float], spread: Propagation
    ) -> ImpactResult:
        """Return the record of parameter j."""
        free, priors = self.free, self.priors
        value, error = float(free.parameters[j]), float(free.errors[j])
        record = ImpactResult(
            name=self.model.parameters.names[j],
            value=value,
            error=free.error(j),
            at_bound=bool(free.at_bound[j]),
            clipped=bool(self.clipped[j]),
        )
        if self.defined:
            # As cabinetry: no error, no refit.
            still = 0.0 if free.error(j) == 0 else None
            record = replace(
                record, postfit_up=still, postfit_down=still,
                covariance=float(spread.covariance[j] / error) if error > 0 else 0.0,
            )  # fmt: skip
        if priors.constrained[j]:
            nominal, width = float(priors.nominal[j]), float(priors.width[j])
            record = replace(
                record, constrained=True, nominal=nominal, prior_width=width,
                pull=(value - nominal) / width,
                constraint=None if free.at_edge[j] else error / width,
            )  # fmt: skip
        found = {s: shifts[j, s] for s in SHIFTS if (j, s) in shifts}
        numbers: dict[str, Any] = {s: float(x) for s, x in found.items() if np.isfinite(x)}
        return replace(record, **numbers)


def _correlations(
    table: ParameterTable, free: Minimum, poi: int, places: Array, spread: Propagation
) -> CorrelationsResult:
    """Return the correlations of the global parameters, the POI first."""
    order = np.argsort(places != poi, kind="stable")
    covariance = spread.global_covariance[np.ix_(order, order)]
    edge = free.at_edge[places[order].astype(int)]
    covariance = np.where(edge[:, None] | edge, 0.0, covariance)
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.outer(errors, errors)
    matrix = np.where(scale > 0, covariance / np.where(scale > 0, scale, 1.0), 0.0)
    where = places[order].astype(int)
    return CorrelationsResult(
        names=tuple(table.names[i] for i in where),
        values=tuple(map(float, free.parameters[where])),
        errors=tuple(map(float, errors)),
        matrix=tuple(tuple(map(float, row)) for row in np.clip(matrix, -1.0, 1.0)),
    )


def _warnings(
    impacts: Sequence[ImpactResult], failures: Sequence[dict[str, str]], n: int
) -> list[str]:
    lines = []
    if failures:
        first = failures[0]
        lines.append(
            f"{len(failures)} of {n} refits have no certificate and no number, the first "
            f"{first['shift']} of '{first['parameter']}': {first['reason']}"
        )
    if names := [p.name for p in impacts if p.clipped]:
        lines.append(
            f"shifted beyond a bound of the measurement, so held at it: {', '.join(names[:5])}"
            f"{', ...' if len(names) > 5 else ''}"
        )
    return lines
