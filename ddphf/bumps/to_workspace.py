"""A found bump as a pyhf workspace that ``ddphf fit`` and stock pyhf fit.

* A background linear in its parameters: one sample per column with a free normfactor, exact. The
  bent directions of splines with the identity link are histosys with the penalty as constraint,
  exact too.
* Another function: eigen-variations of its covariance, as histosys. Made on the data that are
  fitted they count these twice, so they are inflated: by K, of which 1/K^2 is left. They begin
  halfway between the fits without and with the bump: what is left of the constraint is the same
  in both, and the straight lines are nearest to the function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.bumps.binning import PAIRS, Binning
from ddphf.bumps.designs import Design
from ddphf.bumps.families import FAMILIES, family_design
from ddphf.bumps.fits import Fits, fit, start
from ddphf.bumps.linear import LinearModel, linear_z
from ddphf.bumps.links import IDENTITY, evaluate
from ddphf.bumps.newton import Models
from ddphf.bumps.paired_workspace import FORM, paired_workspace
from ddphf.bumps.templates import integral_templates
from ddphf.exceptions import FitError, InputError
from ddphf.results.documents import BumpModelDocument
from ddphf.results.provenance import Mark, json_digest, make_provenance
from ddphf.workspace.emit import (
    Channel,
    Sample,
    emit_measurement,
    emit_workspace,
    factor,
    floats,
)
from ddphf.workspace_json import ModifierDocument, ParameterDocument, Shapes, Workspace

__all__ = ["INFLATION", "MOST_RESIDUAL", "bump_workspace"]

INFLATION = 10.0
"""K: the constraint keeps 1/K^2 of what the fit has measured already."""

MOST_RESIDUAL = 0.02
"""Z of the workspace minus that of the direct fit, above which it is refused."""

SPLINE = "spline"


@dataclass(frozen=True, eq=False)
class _Form:
    """A background in the parameters that the workspace has.

    Attributes:
        model: Its rates.
        form: How it is said.
    """

    model: LinearModel
    form: str


def bump_workspace(row: Mapping[str, Any], background: str = SPLINE) -> tuple[Workspace, Spec]:
    """Return the workspace of the best bump of a spectrum, and what stands beside it.

    Args:
        row: Entry of a record of ``ddphf bumps scan``.
        background: ``spline`` as it was chosen, or one of ``families.FAMILIES``.

    Raises:
        InputError: The spectrum has no bump, or the function is not defined at its masses.
        FitError: A fit has no certificate, or the workspace is not the direct fit.
    """
    best = row["best"]
    if best is None:
        raise InputError(f"{row['name']}: {row['status']}, so there is no bump to write")
    if row.get("partner"):
        return _over_partner(row, background)
    first = row["start"]
    edges = np.array(row["edges"][first:], dtype=float)
    counts = np.array(row["observed"][first:], dtype=float)
    binning = Binning(edges, np.array(row["widths"][first:], dtype=float))
    mass, width = np.array([best["mass"]]), np.array([best["width"]])
    template = integral_templates(edges, mass, width)[0]
    design, strength = _design(row, binning, background)
    null, bump = _fits(design, strength, counts, template)
    gain = float(2 * (null.nll[0] - bump.nll[0]))
    direct = float(np.sign(bump.mu[0]) * np.sqrt(max(gain, 0.0)))
    # halfway between both fits a straight line is nearest to both, and the constraint, the same
    # for both, cancels in their difference
    form = _form(binning, design, strength, (null.theta[0] + bump.theta[0]) / 2)
    try:
        z, events = linear_z(form.model, counts, template)
    except FitError:
        raise FitError(
            f"{row['name']}: a workspace of the bump over '{background}' has no minimum: its rates "
            "are linear, and reach 0 where no event is observed; take a range that ends before the "
            "empty bins"
        ) from None
    residual = z - direct
    if not abs(residual) <= MOST_RESIDUAL:
        raise FitError(
            f"{row['name']}: as a workspace the bump over '{background}' has Z = {z:.4f}, by the "
            f"direct fit {direct:.4f}: more than {MOST_RESIDUAL:g} apart, for so few events; take "
            "another --background, of fewer parameters or linear such as bernstein-4"
        )
    scale = max(events, 2 * float(1 / np.sqrt(bump.information[0])))
    workspace = _emit(form, counts, template * scale, _mark(row))
    made = {"name": background, "form": form.form, "strength": strength}
    z_of = {"direct": direct, "workspace": z, "residual": residual}
    events_of = {"direct": float(bump.mu[0]), "workspace": events}
    return workspace, _about(row, workspace, edges, scale, made, z_of, events_of)


def _over_partner(row: Mapping[str, Any], background: str) -> tuple[Workspace, Spec]:
    """Return the same of a spectrum that has a partner sample: the paired model."""
    if background != SPLINE:
        raise InputError(
            f"--background {background}: {row['name']} was scanned over its partner sample, which "
            "is its background"
        )
    workspace, edges, scale, fit = paired_workspace(row)
    mark = _mark(row)
    for measurement in workspace["measurements"]:
        measurement["config"]["parameters"].append({**mark})
    z, events = float(fit.z), float(fit.mu)
    made = {"name": "partner", "form": FORM, "strength": 0.0}
    about = _about(
        row, workspace, edges, scale, made, {"direct": z, "workspace": z, "residual": 0.0},
        {"direct": events, "workspace": events},
    )  # fmt: skip
    return workspace, about


def _about(
    row: Mapping[str, Any], workspace: Workspace, edges: Array, scale: float, background: Spec,
    z: Spec, events: Spec,
) -> Spec:  # fmt: skip
    """Return what stands beside a workspace."""
    best = row["best"]
    return {
        "schema": BumpModelDocument.SCHEMA,
        "workspace_digest": json_digest(workspace),
        "spectrum": {
            "name": row["name"], "digest": row.get("digest", ""), "start": row["start"],
        },
        "edges": floats(edges),
        "unit": row.get("unit", ""),
        "bump": {
            "mass": float(best["mass"]), "width": float(best["width"]), "events_at_mu_1": scale,
        },
        "background": background,
        "z": z,
        "events": events,
        "chosen_on_the_same_data": {
            "z": best["z"],
            "p_global": best["p_global"],
            "p_global_interval": best["p_global_interval"],
        },
        "provenance": make_provenance(),
    }  # fmt: skip


def _design(row: Mapping[str, Any], binning: Binning, background: str) -> tuple[Design, float]:
    if background == SPLINE:
        known = row["background"]
        links = [(name, "identity" if link == IDENTITY else "log") for name, link in PAIRS]
        pair = (known.get("coordinate"), known.get("link"))
        if pair not in links or not known.get("strength"):
            raise InputError(f"{row['name']}: the record does not say which splines were chosen")
        return binning.designs[links.index(pair)], float(known["strength"])
    if background not in FAMILIES:
        raise InputError(
            f"--background {background}: expected {SPLINE} or one of {', '.join(FAMILIES)}"
        )
    design = family_design(binning, background)
    if design is None:
        raise InputError(
            f"--background {background}: is not defined at the masses of this spectrum"
        )
    return design, 0.0


def _fits(design: Design, strength: float, counts: Array, template: Array) -> tuple[Fits, Fits]:
    models = Models((design,), np.zeros(1, dtype=np.int64), np.array([strength]))
    data = counts[None]
    null = fit(models, data, start(models, data))
    bump = fit(models, data, null.theta, template[None])
    if not (null.certified[0] and bump.certified[0]):
        raise FitError("the background has no certified fit, so there is no workspace of it")
    return null, bump


def _form(binning: Binning, design: Design, strength: float, theta: Array) -> _Form:
    """Return the background as nominal rates and columns."""
    x = design.columns
    penalised = strength > 0
    rough = binning.rough[0] / np.sqrt(strength) if penalised else np.zeros((len(theta), 0))
    bent = np.full(rough.shape[1], True)
    if design.link == IDENTITY:
        free = _positive(len(theta)) if penalised else np.eye(len(theta))
        columns = np.hstack([x @ free, x @ rough])
        both = np.hstack([free, rough])
        start_at = np.linalg.lstsq(both, theta, rcond=None)[0]
        kinds = np.append(np.zeros(free.shape[1], dtype=bool), bent)
        model = LinearModel(np.zeros(len(x)), columns, kinds, start_at)
        return _Form(model, "exact: free normfactors" + (" and the penalty" if penalised else ""))
    rates = evaluate(design.link, x @ theta + design.offset)
    slopes = x * rates.first[:, None]
    free = design.free
    total = (x * rates.b[:, None]).T @ x + strength * design.differences.T @ design.differences
    covariance = np.linalg.inv(_regular(total))
    onto = np.linalg.lstsq(np.hstack([free, rough]), np.eye(len(theta)), rcond=None)[0]
    inside = onto[: free.shape[1]] @ covariance @ onto[: free.shape[1]].T
    values, vectors = np.linalg.eigh(slopes @ free @ inside @ (slopes @ free).T)
    kept = values > 1e-12 * values.max()
    variations = INFLATION * vectors[:, kept] * np.sqrt(values[kept])
    coordinates = onto[free.shape[1] :] @ theta
    nominal = rates.b - slopes @ (rough @ coordinates)
    columns = np.hstack([variations, slopes @ rough])
    kinds = np.full(columns.shape[1], True)
    start_at = np.append(np.zeros(int(kept.sum())), coordinates)
    model = LinearModel(nominal, columns, kinds, start_at)
    return _Form(model, f"eigen-variations of the fitted function, inflated by {INFLATION:g}")


def _regular(matrix: Array) -> Array:
    """Return a matrix with a little on its diagonal: what no bin sees has no information."""
    return np.asarray(matrix + 1e-12 * np.trace(matrix) * np.eye(len(matrix)))


def _positive(p: int) -> Array:
    """Return quadratics in the number of the spline that are nowhere below 0, shape (p, 3)."""
    u = np.linspace(0, 1, p)
    return np.stack([(1 - u) ** 2, 2 * u * (1 - u), u**2], axis=1)


def _mark(row: Mapping[str, Any]) -> ParameterDocument:
    """Return what tells every fit of the workspace that its significance is local."""
    best = row["best"]
    p, interval = best["p_global"], best["p_global_interval"]
    error = None if p is None else (interval[1] - interval[0]) / 2
    places = sum(why is None for why in row.get("excluded") or []) or len(row["observed"])
    digest = str(row.get("digest", "")).removeprefix("sha256:")[:16]
    if not re.fullmatch("[0-9a-f]{16}", digest):
        digest = "0" * 16
    return {"name": Mark(p, error, best["z"], places, digest).name}


def _emit(form: _Form, counts: Array, signal: Array, mark: ParameterDocument) -> Workspace:
    """Return the workspace of a form."""
    model = form.model
    samples = [Sample("signal", signal, (factor("mu"),))]
    parameters: list[ParameterDocument] = [
        {"name": "mu", "inits": [0.0], "bounds": [[-20.0, 20.0]]}
    ]
    free = np.flatnonzero(~model.constrained)
    least = 1e-3 * float(counts.mean())
    for number, k in enumerate(free):
        size = max(abs(float(model.start[k])) * float(np.abs(model.columns[:, k]).max()), least)
        unit = size / float(np.abs(model.columns[:, k]).max())
        name = f"background_{number}"
        samples.append(Sample(name, unit * model.columns[:, k], (factor(f"{name}_norm"),)))
        value = float(model.start[k] / unit)
        reach = max(100.0, 100 * abs(value))
        parameters.append({"name": f"{name}_norm", "inits": [value], "bounds": [[-reach, reach]]})
    if model.constrained.any():
        bends: list[ModifierDocument] = []
        for number, k in enumerate(np.flatnonzero(model.constrained)):
            change = model.columns[:, k]
            shapes: Shapes = {
                "hi_data": floats(model.nominal + change),
                "lo_data": floats(model.nominal - change),
            }
            name = f"background_eig{number:02d}"
            bends.append({"name": name, "type": "histosys", "data": shapes})
            value = float(model.start[k])
            reach = max(10.0, 10 * abs(value))
            parameters.append({"name": name, "inits": [value], "bounds": [[-reach, reach]]})
        samples.append(Sample("background", model.nominal, tuple(bends)))
    parameters.append(mark)
    channel = Channel("SR_bump", counts, tuple(samples))
    fixed: list[ParameterDocument] = [{**parameters[0], "fixed": True}, *parameters[1:]]
    return emit_workspace(
        [channel],
        [
            emit_measurement("discovery", "mu", parameters),
            emit_measurement("discovery_null", "mu", fixed),
        ],
    )
