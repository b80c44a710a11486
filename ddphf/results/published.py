"""What a bundle states, ``results.json``: certified points, and statements made of them."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from typing import Any

from ddphf.results.fit import CertificateResult, MinimumResult, ParameterResult
from ddphf.results.growth import Written
from ddphf.results.measured import MEASUREMENT
from ddphf.results.provenance import make_provenance
from ddphf.results.shapes import ANY, MINIMUM, OPEN, TEXT, WARNINGS, fields, listed
from ddphf.results.shown import find_named

__all__ = ["INTERPOLATION", "PRINTABLE", "PointResult", "PublishedResults", "make_environment"]

PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f|`]{1,100}")
"""Names of publications."""

INTERPOLATION = {"histosys": "code4p", "normsys": "code4"}
"""What ``pyhf fit`` uses, and the only codes a bundle may be made with."""


def make_environment() -> dict[str, Any]:
    """Return versions and kind of machine: where bits agree.

    Example:
        >>> sorted(make_environment())
        ['machine', 'system', 'versions']
    """
    return {**make_provenance(), "machine": platform.machine(), "system": platform.system()}


@dataclass(frozen=True)
class PointResult:
    """One certified minimum.

    Attributes:
        measurement: Name in the workspace.
        poi: Name of its parameter of interest, or None.
        poi_value: Where the POI was held on top of what the measurement holds; None for the
            measurement as it is, which is what ``pyhf fit --measurement`` fits.
        n_free: Number of floating parameters.
        minimum: Point, value and certificate.
    """

    measurement: str
    poi: str | None
    poi_value: float | None
    n_free: int
    minimum: MinimumResult

    @property
    def name(self) -> str:
        """Such as ``discovery`` or ``discovery, mu = 0``."""
        held = "" if self.poi_value is None else f", {self.poi} = {self.poi_value:g}"
        return f"{self.measurement}{held}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        own = {key: value for key, value in vars(self).items() if key != "minimum"}
        return {**own, **self.minimum.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PointResult:
        """Read what :meth:`to_dict` wrote."""
        minimum = MinimumResult(
            twice_nll=float(data["twice_nll"]),
            parameters=tuple(ParameterResult(**p) for p in data["parameters"]),
            certificate=CertificateResult(**data["certificate"]),
            status=data["status"],
        )
        value = data["poi_value"]
        return cls(
            measurement=data["measurement"],
            poi=data["poi"],
            poi_value=None if value is None else float(value),
            n_free=int(data["n_free"]),
            minimum=minimum,
        )


@dataclass(frozen=True, repr=False)
class PublishedResults(Written):
    """``results.json`` of a bundle.

    Attributes:
        name: Of the publication.
        workspace_digest: ``sha256:...`` as ``pyhf digest`` prints it.
        channels: Name, number of bins and observed events of each, in pyhf's order.
        points: Every measurement's minimum, and the null where no measurement is it.
        statements: Per measurement with a null: mu_hat, mu_error, q0, z0, p0, q0_capped, the names
            of both points, and the toys of ``ddphf fit --toys``.
        measured: Per measurement without a null: what it states of its POI
            (:class:`ddphf.results.measured.MeasurementStatement`).
        toys: Files of toys: measurement, mu, counts per seed, tail above the observed q0.
        included: Other result files: name, schema, measurement.
        warnings: Sentences.
        environment: Versions, machine and system it was made with.
    """

    name: str
    workspace_digest: str
    channels: tuple[dict[str, Any], ...]
    points: tuple[PointResult, ...]
    statements: tuple[dict[str, Any], ...]
    measured: tuple[dict[str, Any], ...] = ()
    toys: tuple[dict[str, Any], ...] = ()
    included: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    interpolation: dict[str, str] = field(default_factory=lambda: dict(INTERPOLATION))

    SCHEMA = "ddphf/results/1"

    def point(self, name: str) -> PointResult:
        """Return a point by name.

        Raises:
            KeyError: There is none.
        """
        return find_named(self.points, name)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "name": self.name,
            "workspace_digest": self.workspace_digest,
            "interpolation": self.interpolation,
            "backend": "numpy",
            "optimizer": "ddphf",
            "channels": list(self.channels),
            "points": [point.to_dict() for point in self.points],
            "statements": list(self.statements),
            **({"measured": list(self.measured)} if self.measured else {}),
            "toys": list(self.toys),
            "included": list(self.included),
            "warnings": list(self.warnings),
            "environment": self.environment,
        }

    @classmethod
    def _read(cls, data: dict[str, Any]) -> PublishedResults:
        for key, kind in (("name", str), ("workspace_digest", str), ("environment", dict)):
            if not isinstance(data[key], kind):
                raise TypeError(f"{key}: expected {kind.__name__}, got {data[key]!r}")
        if not PRINTABLE.fullmatch(data["name"]):
            raise ValueError("name: expected one line of up to 100 characters")
        return cls(
            name=data["name"],
            workspace_digest=data["workspace_digest"],
            channels=tuple(data["channels"]),
            points=tuple(PointResult.from_dict(point) for point in data["points"]),
            statements=tuple(data["statements"]),
            measured=tuple(data.get("measured", ())),
            toys=tuple(data["toys"]),
            included=tuple(data["included"]),
            warnings=tuple(data["warnings"]),
            environment=data["environment"],
            interpolation=data["interpolation"],
        )


MEASURED = {key: value for key, value in MINIMUM["properties"].items() if key != "poi"}
POINT = fields({"measurement": TEXT, "status": TEXT, **MEASURED}, of=PointResult)
SHAPE = PublishedResults.SHAPE = fields(
    {"name": TEXT, "workspace_digest": TEXT, "points": listed(POINT), "environment": OPEN},
    {
        **WARNINGS,
        "backend": ANY,
        "optimizer": ANY,
        "channels": listed(fields({}, dict.fromkeys(("name", "bins", "observed"), ANY))),
        "interpolation": fields({}, dict.fromkeys(INTERPOLATION, ANY)),
        "measured": listed(fields({"measurement": TEXT}, MEASUREMENT["properties"])),
    },
    of=PublishedResults,
)
