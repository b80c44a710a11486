"""The record of an evaluation: how well bumps are measured in spectra whose background is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ddphf.arrays import Spec
from ddphf.results.growth import Flat
from ddphf.results.shapes import COUNT, HOLE, NUMBER, OPEN, TEXT, fields, listed, maybe

__all__ = ["SHAPE", "BumpsEvaluation"]


@dataclass(frozen=True, repr=False)
class BumpsEvaluation(Flat):
    """What ``ddphf bumps evaluate`` writes.

    Attributes:
        sets: Of each set of functions its ``name``, numbers of spectra, ``delta_z`` (``bias``: the
            median of estimated minus known z, ``half_range``: half of its 16-84 % range), ``auc``
            of the best bump's z (of all spectra; of those whose z is stated; of the known
            background), ``false_positives`` with 95 % intervals, ``against`` what Delta Z is told.
        method: ``spline``.
        width_bins: Of the bumps.
        seed: Of all that was drawn.
        provenance: Versions.
    """

    sets: tuple[Spec, ...]
    method: str
    width_bins: float
    seed: int
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/bumps_evaluation/1"


SPREAD = {"n": COUNT, "bias": HOLE, "bias_error": HOLE, "half_range": HOLE}
ROW = fields(SPREAD, {"low": NUMBER, "high": NUMBER, "family": TEXT})
AGAINST = ("z", "counts", "place", "bins", "family")
AUC = maybe(fields({"value": NUMBER, "error": NUMBER}))
SHAPE = fields(
    {
        "sets": listed(
            fields(
                {
                    "name": TEXT,
                    "signals": COUNT,
                    "signals_stated": COUNT,
                    "backgrounds": COUNT,
                    "undescribed": COUNT,
                    "failed": COUNT,
                    "delta_z": fields(SPREAD),
                    "auc": AUC,
                    "auc_stated": AUC,
                    "auc_known": AUC,
                    "false_positives": listed(
                        fields(
                            {"z": NUMBER, "n": COUNT, "rate": NUMBER, "interval": listed(NUMBER)}
                        )
                    ),
                    "against": fields({}, dict.fromkeys(AGAINST, listed(ROW))),
                }
            )
        ),
        "method": TEXT,
        "width_bins": NUMBER,
        "seed": COUNT,
        "provenance": OPEN,
    }
)
BumpsEvaluation.SHAPE = SHAPE
