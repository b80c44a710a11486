"""cabinetry's own fit and ranking of a workspace, for comparison with ddphf's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddphf.exceptions import FitError
from ddphf.inference.ranking.impacts import select_parameters
from ddphf.inference.ranking.priors import read_priors
from ddphf.inference.selection import require_poi
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import PYHF_ERRORS, ReferenceModel, pyhf_backend
from ddphf.progress import Stage
from ddphf.results.fit import ParameterResult
from ddphf.results.provenance import json_digest, make_provenance
from ddphf.results.rank import CorrelationsResult, ImpactResult, RankResult

__all__ = ["rank_with_cabinetry"]

TOLERANCE = 1e-4
"""Of Minuit: cabinetry's default of .1 leaves mu_hat off by up to 1e-3 of its error."""

ALPHA_BOUNDS, WIDE_BOUNDS = (-5.0, 5.0), (-100.0, 100.0)
"""pyhf's default for a standard normal nuisance, and what is used instead.

Minuit fits the arcsine of a bounded parameter and takes half the width of +- one step of that as
its error: sin(e) / e of it, with e the error over half the distance of the bounds, is left.
"""


def rank_with_cabinetry(
    workspace: Mapping[str, object],
    *,
    measurement: str | None = None,
    parameters: Sequence[str] = (),
    top: int | None = None,
    progress: Stage | None = None,
) -> RankResult:
    """Rank with ``cabinetry.fit.ranking`` on pyhf's jax backend: slow, one refit at a time.

    cabinetry ranks every parameter. Those that are not asked for are given to it as held at their
    best fit with no error, which it skips where they are unconstrained, and are left out of the
    result. Bounds are the measurement's, but pyhf's default of +-5 for nuisances is widened:
    Minuit's errors suffer from near bounds.

    Args:
        workspace: Any pyhf JSON workspace as a dictionary.
        measurement: Name of the measurement; the first one by default.
        parameters: Globs of the parameters to rank; all but the per-bin ones by default.
        top: How many parameters to keep; all by default.
        progress: Called with a line for each stage.

    Raises:
        ModelError: As :func:`ddphf.inference.ranking.impacts.rank_parameters`.
        FitError: A fit of cabinetry failed; it knows no ranking without that one.
    """
    import cabinetry

    reference = ReferenceModel(workspace, measurement)
    table, model = reference.parameters, CompiledModel.from_reference(reference)
    poi = require_poi(table, reference.measurement)
    chosen = select_parameters(model, parameters, str(reference.measurement))
    if progress is not None:
        progress(f"cabinetry: {4 * int(chosen.sum())} refits one by one")
    bounds = list(zip(table.lower.tolist(), table.upper.tolist(), strict=True))
    bounds = [WIDE_BOUNDS if b == ALPHA_BOUNDS else b for b in bounds]
    options: dict[str, Any] = {"tolerance": TOLERANCE, "par_bounds": bounds}
    errors: tuple[type[Exception], ...] = (*PYHF_ERRORS, ValueError)
    with pyhf_backend("jax", "minuit"):
        try:
            fit = cabinetry.fit.fit(reference.model, list(reference.data), **options)
            skip = fit._replace(uncertainty=np.where(chosen, fit.uncertainty, 0.0))
            found = cabinetry.fit.ranking(
                reference.model, list(reference.data), fit_results=skip, **options
            )
        except errors as failure:
            raise FitError(
                f"measurement '{reference.measurement}': cabinetry's ranking failed: "
                f"{str(failure).splitlines()[0]}; rank with the engine ddphf"
            ) from None
    priors = read_priors(model)
    impacts = []
    for row, name in enumerate(found.labels):
        j = table.names.index(name)
        if not chosen[j]:
            continue
        value, error = float(fit.bestfit[j]), float(fit.uncertainty[j])
        prior: dict[str, Any] = {}
        if priors.constrained[j]:
            nominal, width = float(priors.nominal[j]), float(priors.width[j])
            prior = {
                "constrained": True,
                "nominal": nominal,
                "prior_width": width,
                "pull": (value - nominal) / width,
                "constraint": error / width,
                "prefit_up": float(found.prefit_up[row]),
                "prefit_down": float(found.prefit_down[row]),
            }
        impacts.append(
            ImpactResult(
                name=name,
                value=value,
                error=error,
                postfit_up=float(found.postfit_up[row]),
                postfit_down=float(found.postfit_down[row]),
                **prior,
            )
        )
    impacts.sort(key=lambda p: (-p.size, p.name))
    places = np.asarray(model.cells.global_)
    order = places[np.argsort(places != poi, kind="stable")]
    matrix = np.nan_to_num(np.asarray(fit.corr_mat)[np.ix_(order, order)])
    return RankResult(
        measurement=str(reference.measurement),
        engine="cabinetry",
        poi=ParameterResult(table.names[poi], float(fit.bestfit[poi]), float(fit.uncertainty[poi])),
        twice_nll=float(fit.best_twice_nll),
        parameters=tuple(impacts[:top]),
        n_ranked=len(impacts),
        groups=(),
        frozen=None,
        auxiliary=None,
        correlations=CorrelationsResult(
            names=tuple(table.names[i] for i in order),
            values=tuple(map(float, fit.bestfit[order])),
            errors=tuple(map(float, fit.uncertainty[order])),
            matrix=tuple(tuple(map(float, row)) for row in matrix),
        ),
        warnings=tuple(reference.warnings),
        provenance=make_provenance(workspace_digest=json_digest(workspace)),
    )
