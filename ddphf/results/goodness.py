"""How well a fitted model describes the data: part of the record of a fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ddphf.arrays import Numbers
from ddphf.results.shapes import ANY, COUNT, HOLE, HOLES, NUMBER, TEXT, fields, listed, maybe
from ddphf.results.shown import Shown

__all__ = ["GOODNESS", "ChannelPulls", "GoodnessResult"]


@dataclass(frozen=True)
class ChannelPulls:
    """Data, expectation and pulls of one channel's bins.

    Attributes:
        name: Of the channel.
        observed: Counts.
        expected: At the fit.
        pulls: (observed - expected) over the standard deviation of that difference; 0 where the
            model follows the count entirely.
    """

    name: str
    observed: Numbers
    expected: Numbers
    pulls: Numbers


@dataclass(frozen=True, repr=False)
class GoodnessResult(Shown):
    """How well the fitted model describes the data.

    Attributes:
        statistic: D, 2NLL above the saturated model.
        degrees_of_freedom: Bins minus unconstrained free parameters; 0 or less tests nothing.
        p_value: Asymptotic, chi-squared; None without degrees of freedom.
        expected_statistic: About the mean of D at these counts.
        asymptotic: Whether that is near enough to the degrees of freedom; if not, toys decide.
        constraint_part: What the constraint terms add to D.
        channels: Every bin; empty where the model is not compiled.
        toys: ``n``, ``n_failed``, ``n_ge``, ``p_value``, ``p_interval``, ``p_interval_level``,
            ``mean`` (of D) and ``seed``, where toys were run.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float | None
    expected_statistic: float
    asymptotic: bool
    constraint_part: float
    channels: tuple[ChannelPulls, ...]
    toys: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; toys that were not drawn have no key."""
        out = asdict(self)
        if self.toys is None:
            del out["toys"]
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GoodnessResult:
        """Read what :meth:`to_dict` wrote."""
        channels = tuple(
            ChannelPulls(
                name=c["name"],
                observed=tuple(c["observed"]),
                expected=tuple(c["expected"]),
                pulls=tuple(c["pulls"]),
            )
            for c in data["channels"]
        )
        return cls(**{**data, "channels": channels})


GOODNESS = fields(
    {"statistic": NUMBER, "degrees_of_freedom": NUMBER, "p_value": HOLE},
    {
        "expected_statistic": HOLE,
        "asymptotic": {"type": "boolean"},
        "toys": maybe(
            fields(
                {"n": COUNT, "n_failed": COUNT, "p_value": HOLE},
                dict.fromkeys(("n_ge", "p_interval", "p_interval_level", "mean", "seed"), ANY),
            )
        ),
        "channels": listed(fields({"name": TEXT, "pulls": HOLES}, of=ChannelPulls)),
    },
    of=GoodnessResult,
)
