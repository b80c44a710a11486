"""Certified minima of every measurement of a workspace, and the statements made of them."""

from __future__ import annotations

from dataclasses import asdict

from ddphf.arrays import Spec
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Stage
from ddphf.results.fit import DiscoveryResult
from ddphf.results.provenance import json_digest
from ddphf.results.published import PointResult, PublishedResults, make_environment
from ddphf.workspace_json import MeasurementDocument, ParameterDocument, Workspace

__all__ = ["collect_results", "describe_channels", "find_null"]


def collect_results(
    workspace: Workspace, *, name: str, progress: Stage | None = None
) -> PublishedResults:
    """Fit every measurement of a workspace and keep what a reader needs to repeat it.

    Args:
        workspace: A pyhf workspace.
        name: Of the publication.
        progress: Called with a line for each stage.

    Returns:
        One point per measurement; one more, with the POI held at 0, where a measurement has a null
        that no measurement of the workspace states.

    Raises:
        ModelError: The workspace is refused.
        FitError: A fit has no certificate.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> results = collect_results(workspace, name="example")
        >>> [point.name for point in results.points]
        ['measurement', 'measurement, mu = 0']
        >>> round(results.statements[0]["z0"], 4)
        0.9591
    """
    points: list[PointResult] = []
    statements: list[Spec] = []
    warnings: list[str] = []
    for measurement in workspace["measurements"]:
        label = measurement["name"]
        result = fit_workspace(workspace, measurement=label, progress=progress)
        reference = ReferenceModel(workspace, label)
        n_free = int((~reference.parameters.fixed).sum())
        points.append(PointResult(label, result.poi, None, n_free, result.fit))
        # A line about another measurement is made where that one is fitted.
        other = tuple(f"{m['name']}: " for m in workspace["measurements"])
        new = [line for line in result.warnings if not line.startswith(other)]
        warnings += [f"{label}: {line}" for line in new]
        if result.null is None or result.discovery is None:
            continue
        null = find_null(workspace, measurement)
        if null is None:
            point = PointResult(label, result.poi, 0.0, n_free - 1, result.null)
            points.append(point)
            null = point.name
        statements.append(
            {"measurement": label, "point": label, "null": null, **_plain(result.discovery)}
        )
    return PublishedResults(
        name=name,
        workspace_digest=json_digest(workspace),
        channels=tuple(describe_channels(ReferenceModel(workspace))),
        points=tuple(points),
        statements=tuple(statements),
        warnings=tuple(warnings),
        environment=make_environment(),
    )


def describe_channels(reference: ReferenceModel) -> list[Spec]:
    """Return name, number of bins and observed events of every channel, in pyhf's order."""
    return [
        {
            "name": name,
            "bins": where.stop - where.start,
            "observed": float(reference.data[where].sum()),
        }
        for name, where in reference.channel_slices.items()
    ]


def _plain(statement: DiscoveryResult) -> Spec:
    return {key: value for key, value in asdict(statement).items() if key != "toys"}


def find_null(workspace: Workspace, measurement: MeasurementDocument) -> str | None:
    """Return the measurement that is this one with the POI held at 0, or None.

    Example:
        >>> free = {"name": "a", "config": {"poi": "mu", "parameters": []}}
        >>> held = {"name": "mu", "fixed": True, "inits": [0.0]}
        >>> null = {"name": "b", "config": {"poi": "mu", "parameters": [held]}}
        >>> find_null({"measurements": [free, null]}, free)
        'b'
    """
    poi = measurement["config"]["poi"]

    def others(entry: MeasurementDocument) -> list[ParameterDocument]:
        parameters = entry["config"]["parameters"]
        return sorted((p for p in parameters if p["name"] != poi), key=lambda p: str(p["name"]))

    for entry in workspace["measurements"]:
        if entry["config"]["poi"] != poi or others(entry) != others(measurement):
            continue
        settings = [p for p in entry["config"]["parameters"] if p["name"] == poi]
        if settings and settings[0].get("fixed") and settings[0].get("inits") == [0.0]:
            return str(entry["name"])
    return None
