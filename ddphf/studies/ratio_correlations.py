"""Correlation assumptions of a ratio workspace: pull widths by closed form and by toys."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel
from ddphf.measurement.recalibrate import (
    calibrations_of,
    find_calibrations,
    recalibrate,
)
from ddphf.results.correlations import CorrelationResult
from ddphf.results.measured import Declared
from ddphf.results.provenance import json_digest, make_provenance
from ddphf.studies.correlations import RHOS, Comparing, closed_widths, compare_widths
from ddphf.workspace_json import Workspace

__all__ = ["study_ratio"]

FREE, STEP = 1e3, 1e-3
"""Relative width of a free factor in the closed form, wide beside any error, and the step of its
derivative."""


def study_ratio(
    workspace: Workspace,
    sidecar: Mapping[str, Any] | None = None,
    *,
    rho: Sequence[float] = RHOS,
    at: float | None = None,
    **comparing: Unpack[Comparing],
) -> CorrelationResult:
    """Compare correlation assumptions of the lepton-identification errors of a ratio.

    rho goes from independent calibration bins (0) to the full correlation (1) of what is in doubt:
    C(rho) = (1 - rho) C_independent + rho C_full, all calibrations together.

    Args:
        workspace: Of one measurement whose POI is a ratio.
        sidecar: Of ``ddphf build``; without one the names ``NAME_eig00`` tell the calibrations.
        rho: Correlations to compare.
        at: Value of the POI; its best fit by default.
        comparing: See :class:`~ddphf.studies.correlations.Comparing`.

    Raises:
        ModelError: There is no free POI, or no calibration to vary.
        InputError: The sidecar does not fit.
    """
    told = sidecar is not None and bool(sidecar.get("ratio", {}).get("lepton_id"))
    if told:
        assert sidecar is not None
        calibrations = calibrations_of(sidecar, workspace)
    else:
        calibrations = find_calibrations(workspace)
    if not calibrations:
        raise ModelError(
            "no calibration to vary: neither the sidecar has a 'lepton_id' nor are there "
            "variations called NAME_eig00; state one in the ratio file"
        )
    if at is None:
        fit = fit_workspace(workspace, declared=Declared(measurement=True))
        if fit.mu_hat is None:
            raise ModelError("the measurement has no free POI, so there is no pull")
        at = fit.mu_hat.value
    first = workspace["measurements"][0]
    poi = first["config"]["poi"]
    specs = recalibrate(_started(workspace, poi, at), calibrations, rho)
    models = [CompiledModel.from_reference(ReferenceModel(spec)) for spec in specs]
    linear = [_linear(model) for model in models]
    design, variance, _ = linear[0]
    closed = closed_widths(design, variance, [factors for _, _, factors in linear])
    return compare_widths(
        rho, closed, lambda: models, poi,
        provenance=make_provenance(
            workspace_digest=json_digest(workspace),
            measurement=first["name"],
            at=at,
            calibrations=[c.name for c in calibrations],
            calibration_bins="of the sidecar" if told else "template bins of equal variations",
        ),
        **comparing,
    )  # fmt: skip


def _started(workspace: Workspace, poi: str, at: float) -> Workspace:
    """Return the workspace, its first measurement alone, starting at a value of the POI."""
    spec = copy.deepcopy(workspace)
    spec["measurements"] = spec["measurements"][:1]
    parameters = spec["measurements"][0]["config"]["parameters"]
    own = next((p for p in parameters if p["name"] == poi), None)
    if own is None:
        parameters.append({"name": poi, "inits": [at]})
    else:
        own["inits"] = [at]
    return spec


def _linear(model: CompiledModel) -> tuple[Array, Array, Array]:
    """Return design, variance and factors of counts ~ design x POI + noise, at the start.

    Half the difference of up and down by one width; a factor without a constraint is as good as
    unknown.

    Returns:
        Shapes (bins,), (bins,) and (bins, nuisances).

    Raises:
        ModelError: The POI is held.
    """
    table, constraints = model.parameters, model.expansion.constraints
    if table.poi is None or table.fixed[table.poi]:
        raise ModelError("the measurement has no free POI, so there is no pull")
    width = np.full(len(table.names), np.nan)
    width[constraints.normal_parameter] = constraints.normal_sigma
    width[constraints.poisson_parameter] = 1 / np.sqrt(constraints.poisson_tau)
    scale = np.where(table.init == 0, 1.0, np.abs(table.init))
    step = np.where(np.isnan(width), STEP * scale, width)
    size = np.where(np.isnan(width), FREE * scale, width)
    free = np.flatnonzero(~table.fixed & (np.arange(len(width)) != table.poi))
    every = np.append(free, table.poi)
    shifts = np.zeros((len(every), len(width)))
    shifts[np.arange(len(every)), every] = step[every]
    up, down = model.rates(table.init + shifts), model.rates(table.init - shifts)
    slopes = (up - down) / (2 * step[every])[:, None]
    return slopes[-1], model.rates(table.init), (slopes[:-1] * size[free][:, None]).T
