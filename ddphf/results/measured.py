"""What a measurement without a null states: value, errors, intervals, a tested value, derived ones.

What is to be stated beside the fit (`Declared`) stands in the sidecar of the workspace; what was
found (`MeasurementStatement`) in the record of the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ddphf.arrays import Spec
from ddphf.results.shapes import ANY, HOLE, NUMBER, OPEN, TEXT, fields, listed, maybe
from ddphf.results.shown import Shown
from ddphf.statistics.couplings import phase_space_ratio

__all__ = [
    "DECLARED",
    "DERIVED",
    "MEASUREMENT",
    "PLAIN",
    "Declared",
    "DerivedResult",
    "DerivedRule",
    "MeasurementStatement",
    "ValueTest",
    "misfits_of_declared",
]

MASSES = ("tau", "muon", "electron")


@dataclass(frozen=True)
class DerivedRule:
    """A quantity (factor x POI)^power.

    Attributes:
        name: Of the quantity.
        factor: Multiplies the POI, > 0.
        power: Of the product.
        factor_error: Of the factor; counts as systematic.
        inputs: What the factor was made of, for the record.
    """

    name: str
    factor: float
    power: float
    factor_error: float
    inputs: dict[str, Any]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> DerivedRule:
        """Read a rule as it stands in the sidecar.

        Example:
            >>> masses = {"tau": 1776.93, "muon": 105.6583755, "electron": 0.51099895}
            >>> rule = DerivedRule.of({"name": "g", "kind": "coupling_ratio", "masses": masses})
            >>> round(rule.inputs["phase_space_ratio"], 9), rule.power
            (0.972562707, 0.5)
        """
        if entry["kind"] == "coupling_ratio":
            masses = {name: float(entry["masses"][name]) for name in MASSES}
            space = phase_space_ratio(**masses)
            inputs = {"masses": masses, "phase_space_ratio": space}
            return cls(entry["name"], 1.0 / space, 0.5, 0.0, inputs)
        factor, power = float(entry.get("factor", 1.0)), float(entry.get("power", 1.0))
        error = float(entry.get("factor_error", 0.0))
        inputs = {"factor": factor, "factor_error": error, "power": power}
        return cls(entry["name"], factor, power, error, inputs)

    def apply(
        self, value: float, error: float | None, statistical: float | None
    ) -> DerivedResult | None:
        """Return the quantity with its errors to first order; None where it has no value.

        Args:
            value: Of the POI.
            error: Its error; None where there is none.
            statistical: The part of it that the counts carry.

        Example:
            >>> masses = {"tau": 1776.93, "muon": 105.6583755, "electron": 0.51099895}
            >>> rule = DerivedRule.of({"name": "g", "kind": "coupling_ratio", "masses": masses})
            >>> g = rule.apply(0.9675, (0.0007**2 + 0.0036**2) ** 0.5, 0.0007)
            >>> [round(x, 6) for x in (g.value, g.error, g.statistical, g.systematic)]
            [0.997394, 0.00189, 0.000361, 0.001856]
        """
        if not value > 0:
            return None
        found = float((self.factor * value) ** self.power)
        slope = abs(self.power * found / value)
        if error is None:
            return DerivedResult(self.name, found, None, None, None, self.inputs)
        own = abs(self.power * found * self.factor_error / self.factor)
        total = float((slope**2 * error**2 + own**2) ** 0.5)
        part = None if statistical is None else slope * statistical
        rest = None if part is None else float(max(total**2 - part**2, 0.0) ** 0.5)
        return DerivedResult(self.name, found, total, part, rest, self.inputs)


@dataclass(frozen=True)
class Declared:
    """What the sidecar of a workspace says of its measurement.

    Attributes:
        measurement: Whether its POI is declared to be no signal strength: there is no null then.
        tested: Value of the POI to be tested, or None.
        derived: Quantities to be derived of the POI.
        groups: (name, globs joined by commas) of parameters that rankings freeze together.
    """

    measurement: bool = False
    tested: float | None = None
    derived: tuple[DerivedRule, ...] = ()
    groups: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, sidecar: Mapping[str, Any] | None) -> Declared:
        """Read a checked sidecar; without one nothing is declared."""
        if sidecar is None:
            return PLAIN
        tested = sidecar.get("tested")
        return cls(
            sidecar.get("statement") == "measurement",
            None if tested is None else float(tested),
            tuple(map(DerivedRule.of, sidecar.get("derived", ()))),
            tuple(
                (name, ",".join(globs))
                for name, globs in sidecar.get("ratio", {}).get("groups", {}).items()
            ),
        )


PLAIN = Declared()


@dataclass(frozen=True, repr=False)
class ValueTest(Shown):
    """A value of the POI against the data.

    Attributes:
        value: Tested.
        t: t_mu = 2NLL(value) - 2NLL(best fit), as pyhf's ``tmu`` (Cowan et al., arXiv:1007.1727,
            Eq. 8).
        p_two_sided: 2 (1 - Phi(sqrt t)); None where the best fit sits at a bound.
        t_tilde: The same against the best fit that is not below 0, pyhf's ``tmu_tilde`` (Eq. 11);
            None for a value below 0.
        p_two_sided_tilde: Asymptotic (Eq. 44); None where it has no width.
    """

    value: float
    t: float
    p_two_sided: float | None
    t_tilde: float | None
    p_two_sided_tilde: float | None


@dataclass(frozen=True, repr=False)
class DerivedResult(Shown):
    """A function of the POI.

    Attributes:
        name: As declared.
        value: At the best fit.
        error: To first order; None where the POI has none.
        statistical: Part of it by the counts.
        systematic: The rest, in quadrature.
        inputs: Stated numbers that it was made of.
    """

    name: str
    value: float
    error: float | None
    statistical: float | None
    systematic: float | None
    inputs: dict[str, Any]


@dataclass(frozen=True, repr=False)
class MeasurementStatement(Shown):
    """What a measurement without a null states of its POI.

    Attributes:
        poi: Its name.
        value: Best fit.
        error: From the inverse Hessian; None where there is none.
        error_up: Where 2NLL has risen by 1 above; None where it does not inside the bounds.
        error_down: The same below, <= 0.
        statistical: Part of the error that the counts carry: sqrt(sum_i (d poi / d n_i)^2 n_i).
        systematic: The rest, in quadrature: what the auxiliary measurements carry.
        frozen: The other convention, ``statistical`` with all constrained parameters held, and the
            ``systematic`` rest; None where the POI has no error.
        intervals: ``level``, ``low``, ``high`` by the profile; an end at a bound is None.
        tested: The tested value, or None.
        derived: Quantities derived of the POI.
        no_null: Why there is no null.
    """

    poi: str
    value: float
    error: float | None
    error_up: float | None
    error_down: float | None
    statistical: float | None
    systematic: float | None
    frozen: dict[str, float] | None
    intervals: tuple[dict[str, float | None], ...]
    tested: ValueTest | None
    derived: tuple[DerivedResult, ...]
    no_null: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out = asdict(self)
        return {**out, "intervals": list(out["intervals"]), "derived": list(out["derived"])}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MeasurementStatement:
        """Read what :meth:`to_dict` wrote."""
        tested = data.get("tested")
        return cls(
            **{
                **data,
                "intervals": tuple(data["intervals"]),
                "tested": None if tested is None else ValueTest(**tested),
                "derived": tuple(DerivedResult(**entry) for entry in data["derived"]),
            }
        )


POSITIVE: Spec = {**NUMBER, "exclusiveMinimum": 0}
DERIVED: Spec = {
    **fields(
        {"name": {**TEXT, "minLength": 1}, "kind": {"enum": ["coupling_ratio", "power"]}},
        {
            "masses": fields(dict.fromkeys(MASSES, POSITIVE)),
            "factor": POSITIVE,
            "factor_error": {**NUMBER, "minimum": 0},
            "power": NUMBER,
        },
    ),
    "if": {"properties": {"kind": {"const": "coupling_ratio"}}},
    "then": {"required": ["masses"]},
}
DECLARED: Spec = {
    "statement": {"enum": ["measurement", "search"]},
    "tested": NUMBER,
    "derived": listed(DERIVED),
}
"""Keys of a sidecar."""

PARTS = dict.fromkeys(("error", "statistical", "systematic"), HOLE)
MEASUREMENT: Spec = fields(
    {"poi": TEXT, "value": NUMBER, "error": HOLE},
    {
        **PARTS,
        "error_up": HOLE,
        "error_down": HOLE,
        "frozen": maybe(fields({"statistical": NUMBER, "systematic": NUMBER})),
        "intervals": listed(fields({"level": NUMBER, "low": HOLE, "high": HOLE})),
        "tested": maybe(
            fields(
                {"value": NUMBER, "t": NUMBER, "p_two_sided": HOLE},
                {"t_tilde": HOLE, "p_two_sided_tilde": HOLE},
            )
        ),
        "derived": listed(fields({"name": TEXT, "value": NUMBER, **PARTS, "inputs": OPEN})),
        "no_null": ANY,
    },
)
"""Of the statement in a record."""


def misfits_of_declared(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what JSON Schema cannot say of the keys of a sidecar."""
    for number, entry in enumerate(record.get("derived", ())):
        masses = entry.get("masses", {}) if entry["kind"] == "coupling_ratio" else {}
        for name in MASSES[1:] if masses else ():
            if not masses[name] < masses["tau"]:
                yield (
                    f"at derived.{number}.masses.{name}: got {masses[name]:g}, expected less than "
                    f"that of the tau, {masses['tau']:g}"
                )
