"""Record of expected and observed events, and its JSON: made by inference, drawn by report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ddphf.arrays import Numbers, Spec
from ddphf.results import shapes as s
from ddphf.results.growth import Written
from ddphf.results.shown import Shown, find_named

__all__ = [
    "AsymmetryResult",
    "ChannelYields",
    "PredictionResult",
    "PullResult",
    "YieldResult",
    "YieldsResult",
]

TITLES = {"prefit": "pre-fit", "postfit": "post-fit", "null": "fit at mu = 0"}


@dataclass(frozen=True)
class YieldResult:
    """Expected events of one sample of a channel, or of all of them together.

    Attributes:
        expected: Per bin.
        error: Per bin, from the covariance of all parameters.
        sum: Over the bins.
        sum_error: Of the sum, with the correlations between bins.
    """

    expected: Numbers
    error: Numbers
    sum: float
    sum_error: float

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> YieldResult:
        """Read what ``asdict`` wrote."""
        return cls(
            _numbers(data["expected"]),
            _numbers(data["error"]),
            float(data["sum"]),
            float(data["sum_error"]),
        )


@dataclass(frozen=True)
class PredictionResult:
    """What the model expects in one channel at one parameter point.

    Attributes:
        samples: By name, in the workspace's order.
        total: All samples together.
        axis_errors: Errors of the total projected on each axis of the binning; empty for a
            channel that is not binned so.
    """

    samples: dict[str, YieldResult]
    total: YieldResult
    axis_errors: tuple[Numbers, ...] = ()


@dataclass(frozen=True, repr=False)
class ChannelYields(Shown):
    """One channel.

    Attributes:
        name: Such as ``SR_mue``.
        observed: Counts per bin.
        predictions: By ``"prefit"``, ``"postfit"`` and ``"null"`` (fitted at mu = 0).
    """

    name: str
    observed: Numbers
    predictions: dict[str, PredictionResult]


@dataclass(frozen=True)
class AsymmetryResult:
    """(B - A) / (B + A) of the tested channel B and its partner A, projected on one axis.

    Attributes:
        axis: Number of the axis.
        observed: Per bin; None where both are empty.
        observed_error: 2 sqrt(A B / (A + B)^3), Poisson.
        expected: By prediction.
        expected_error: By prediction, with the correlation of the two channels.
    """

    axis: int
    observed: tuple[float | None, ...]
    observed_error: tuple[float | None, ...]
    expected: dict[str, tuple[float | None, ...]]
    expected_error: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class PullResult:
    """One constrained parameter that is not per bin.

    Attributes:
        name: Of the parameter.
        value: Fitted.
        error: Fitted; 0 at a bound, None where there is none.
        nominal: What its auxiliary measurement said.
        width: Of its constraint.
    """

    name: str
    value: float
    error: float | None
    nominal: float
    width: float

    @property
    def pull(self) -> float:
        """(value - nominal) / width."""
        return (self.value - self.nominal) / self.width

    @property
    def constraint(self) -> float | None:
        """Error over width: below 1 the data know more than the auxiliary measurement."""
        return None if self.error is None else self.error / self.width


@dataclass(frozen=True, repr=False)
class YieldsResult(Written):
    """What ``ddphf yields`` writes.

    Attributes:
        measurement: Name of the fitted measurement.
        channels: In the workspace's order.
        prefit_strength: The signal strength of the prediction ``"prefit"``; None where the POI is
            no strength, or in records that do not say.
        axes: Binning as in the sidecar: ``label``, ``unit`` and ``edges`` per dimension; empty
            where no sidecar tells.
        pairing: ``tested`` and ``partner``, or None.
        asymmetry: One per axis, for a pair.
        correlations: ``names`` and ``matrix`` of the fitted parameters that are not per bin.
        pulls: Of the constrained parameters that are not per bin.
        warnings: Sentences for the user.
        provenance: Versions and the workspace's digest.
    """

    measurement: str
    channels: tuple[ChannelYields, ...]
    prefit_strength: float | None = None
    axes: tuple[dict[str, Any], ...] = ()
    pairing: dict[str, str] | None = None
    asymmetry: tuple[AsymmetryResult, ...] = ()
    correlations: dict[str, Any] | None = None
    pulls: tuple[PullResult, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/yields/1"

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each axis."""
        return tuple(len(axis["edges"]) - 1 for axis in self.axes)

    def title(self, prediction: str) -> str:
        """Return what a prediction is called in tables and figures.

        Example:
            >>> YieldsResult("m", (), 1.0).title("prefit")
            'pre-fit, mu = 1'
        """
        if prediction == "prefit" and self.prefit_strength is not None:
            return f"pre-fit, mu = {self.prefit_strength:g}"
        return TITLES[prediction]

    def channel(self, name: str) -> ChannelYields:
        """Return a channel by name.

        Raises:
            KeyError: There is no such channel.
        """
        return find_named(self.channels, name)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"schema": self.SCHEMA, **asdict(self)}

    @classmethod
    def _read(cls, data: dict[str, Any]) -> YieldsResult:
        return cls(
            measurement=data["measurement"],
            channels=tuple(_channel(channel) for channel in data["channels"]),
            prefit_strength=data.get("prefit_strength"),
            axes=tuple(data["axes"]),
            pairing=data["pairing"],
            asymmetry=tuple(_asymmetry(entry) for entry in data["asymmetry"]),
            correlations=data["correlations"],
            pulls=tuple(PullResult(**pull) for pull in data["pulls"]),
            warnings=tuple(data.get("warnings", ())),
            provenance=data.get("provenance", {}),
        )


def _numbers(values: Any) -> Numbers:
    return tuple(float(value) for value in values)


def _holes(values: Any) -> tuple[float | None, ...]:
    return tuple(None if value is None else float(value) for value in values)


def _channel(data: dict[str, Any]) -> ChannelYields:
    predictions = {
        name: PredictionResult(
            {s: YieldResult.from_dict(y) for s, y in entry["samples"].items()},
            YieldResult.from_dict(entry["total"]),
            tuple(_numbers(errors) for errors in entry["axis_errors"]),
        )
        for name, entry in data["predictions"].items()
    }
    return ChannelYields(str(data["name"]), _numbers(data["observed"]), predictions)


def _asymmetry(data: dict[str, Any]) -> AsymmetryResult:
    return AsymmetryResult(
        axis=int(data["axis"]),
        observed=_holes(data["observed"]),
        observed_error=_holes(data["observed_error"]),
        expected={name: _holes(values) for name, values in data["expected"].items()},
        expected_error={name: _holes(values) for name, values in data["expected_error"].items()},
    )


def _by_prediction(schema: Spec) -> Spec:
    return s.fields({}, dict.fromkeys(TITLES, schema))


YIELD = s.fields(
    {
        "expected": s.listed(s.NUMBER),
        "error": s.listed(s.NUMBER),
        "sum": s.NUMBER,
        "sum_error": s.NUMBER,
    }
)
PREDICTION = s.fields(
    {
        "samples": {"type": "object", "additionalProperties": YIELD},
        "total": YIELD,
        "axis_errors": s.listed(s.listed(s.NUMBER)),
    }
)
CHANNEL = s.fields(
    {
        "name": s.TEXT,
        "observed": s.listed({**s.NUMBER, "minimum": 0}, minItems=1),
        "predictions": s.fields(
            {"prefit": PREDICTION, "postfit": PREDICTION}, {"null": PREDICTION}
        ),
    }
)
ASYMMETRY = s.fields(
    {
        "axis": s.COUNT,
        "observed": s.HOLES,
        "observed_error": s.HOLES,
        "expected": _by_prediction(s.HOLES),
        "expected_error": _by_prediction(s.HOLES),
    }
)
PULL = s.fields(
    {
        "name": s.TEXT,
        "value": s.NUMBER,
        "error": s.HOLE,
        "nominal": s.NUMBER,
        "width": {**s.NUMBER, "exclusiveMinimum": 0},
    }
)
SHAPE = YieldsResult.SHAPE = s.fields(
    {
        **s.COMMON,
        "channels": s.listed(CHANNEL, minItems=1),
        "axes": s.listed(s.AXIS),
        "pairing": s.maybe(s.PAIRING),
        "asymmetry": s.listed(ASYMMETRY),
        "correlations": s.maybe(
            s.fields({"names": s.listed(s.TEXT), "matrix": s.listed(s.listed(s.NUMBER))})
        ),
        "pulls": s.listed(PULL),
    },
    {**s.WARNINGS, "prefit_strength": s.ANY},
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield lengths and names that do not agree."""
    yield from s.misfits_of_axes(record["axes"], "axes")
    shape = [len(axis["edges"]) - 1 for axis in record["axes"]]
    names = {channel["name"] for channel in record["channels"]}
    kinds = set(record["channels"][0]["predictions"])
    for number, channel in enumerate(record["channels"]):
        length, where = len(channel["observed"]), f"at channels.{number}"
        if set(channel["predictions"]) != kinds:
            yield f"{where}: predictions of other kinds than those of the first channel"
            return
        samples = set(channel["predictions"]["prefit"]["samples"])
        for kind, prediction in channel["predictions"].items():
            if set(prediction["samples"]) != samples:
                yield f"{where}.predictions.{kind}: other samples than before the fit"
            for entry in (*prediction["samples"].values(), prediction["total"]):
                if not len(entry["expected"]) == len(entry["error"]) == length:
                    yield f"{where}.predictions.{kind}: expected {length} bins, as observed"
            binned = bool(shape) and length == math.prod(shape)
            if binned and [len(errors) for errors in prediction["axis_errors"]] != shape:
                yield f"{where}.predictions.{kind}.axis_errors: expected lengths {shape}"
    if record["pairing"] is not None and not set(record["pairing"].values()) <= names:
        yield "at pairing: names a channel that is not there"
    for entry in record["asymmetry"]:
        curves = [*entry["expected"].values(), *entry["expected_error"].values()]
        lists = [entry["observed"], entry["observed_error"], *curves]
        if (
            record["pairing"] is None
            or entry["axis"] >= len(shape)
            or set(entry["expected"]) != set(entry["expected_error"])
            or any(len(values) != shape[entry["axis"]] for values in lists)
        ):
            yield "at asymmetry: does not fit pairing and axes"
    correlations = record["correlations"]
    if correlations is not None:
        n = len(correlations["names"])
        if [len(row) for row in correlations["matrix"]] != [n] * n:
            yield f"at correlations.matrix: expected {n} x {n} numbers"
