"""What toys say about a null hypothesis: parts of the record of a discovery."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ddphf.arrays import Numbers, Places
from ddphf.results.shapes import ANY, COUNT, HOLE, NUMBER, TEXT, fields, listed

__all__ = ["COMPARISON", "IMPORTANCE", "ImportanceResult", "NullComparison"]


@dataclass(frozen=True)
class ImportanceResult:
    """p0 by importance sampling.

    Attributes:
        n: Toys, those of the null's share included.
        n_null: Toys drawn from the null itself.
        n_failed: Toys without a certificate.
        n_ge: Certified toys with q0 >= the observed one.
        mu: POI that the proposal is drawn with.
        p0: Estimate.
        p0_error: Its standard error.
        z0: Significance of p0.
        z0_interval: Significances of p0 + error (failed toys counted as >=) and p0 - error.
        effective_sample_size: (sum w)^2 / sum w^2 over the toys that count.
        normalization: Mean weight of all toys; 1 up to its error.
        normalization_error: Its standard error.
        seed: Seed.
    """

    n: int
    n_null: int
    n_failed: int
    n_ge: int
    mu: float
    p0: float
    p0_error: float
    z0: float
    z0_interval: tuple[float, float]
    effective_sample_size: float
    normalization: float
    normalization_error: float
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "z0_interval": list(self.z0_interval)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ImportanceResult:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**data, "z0_interval": tuple(data["z0_interval"])})


@dataclass(frozen=True)
class NullComparison:
    """Signed Z of null toys beside what asymptotics expect of it.

    Attributes:
        n: Certified toys.
        reference: ``"normal"``: a standard normal; ``"normal_capped"``: the same with everything
            below 0 moved to 0, for a POI that is bounded at 0.
        mean: Of signed Z.
        sd: Standard deviation of signed Z.
        ks_distance: Largest difference of the two distribution functions (for
            ``"normal_capped"``, over Z >= 0).
        ks_p_value: Kolmogorov's p-value of it; an upper end where Z has atoms.
        edges: Histogram's edges.
        counts: Toys per bin.
        below: Toys below the histogram.
        above: Toys above it.
        probability: Probabilities of the quantiles.
        asymptotic: Quantiles of the reference.
        toys: Quantiles of the toys.
    """

    n: int
    reference: Literal["normal", "normal_capped"]
    mean: float
    sd: float
    ks_distance: float
    ks_p_value: float
    edges: Numbers
    counts: Places
    below: int
    above: int
    probability: Numbers
    asymptotic: Numbers
    toys: Numbers

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {
            **{key: values[key] for key in ("n", "reference", "mean", "sd")},
            "ks": {"distance": self.ks_distance, "p_value": self.ks_p_value},
            "histogram": {key: values[key] for key in ("edges", "counts", "below", "above")},
            "quantiles": {key: values[key] for key in ("probability", "asymptotic", "toys")},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NullComparison:
        """Read what :meth:`to_dict` wrote."""
        flat = {**data["histogram"], **data["quantiles"]}
        flat = {k: tuple(v) if isinstance(v, list) else v for k, v in flat.items()}
        own = {key: data[key] for key in ("n", "reference", "mean", "sd")}
        ks = {"ks_distance": data["ks"]["distance"], "ks_p_value": data["ks"]["p_value"]}
        return cls(**own, **ks, **flat)


IMPORTANCE = fields(
    {"p0": HOLE},
    {"p0_error": HOLE, "z0": HOLE, "effective_sample_size": HOLE},
    of=ImportanceResult,
)
COMPARISON = fields(
    {
        "n": COUNT,
        "histogram": fields(
            {"edges": listed(NUMBER, minItems=2), "counts": listed(NUMBER, minItems=1)},
            {"below": ANY, "above": ANY},
        ),
    },
    {
        "ks": fields({"distance": NUMBER, "p_value": HOLE}),
        "mean": HOLE,
        "sd": HOLE,
        "reference": TEXT,
        "quantiles": fields(
            {
                "probability": listed({**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
                "asymptotic": listed(NUMBER),
                "toys": listed(NUMBER),
            }
        ),
    },
)
