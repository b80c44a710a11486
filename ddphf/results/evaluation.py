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
            median of estimated minus known z, ``half_range``: half of its 16-84 % range; where Z
            is stated, and ``delta_z_all``), ``auc`` of the largest estimate (of all spectra; of
            those whose Z is stated in the bin of the bump; ``auc_missed`` of the largest stated Z,
            below all where there is none; of the known background), ``false_positives`` of the
            stated Z with 95 % intervals, ``threshold`` that one background in a thousand reaches,
            ``against`` what Delta Z is told.
        method: ``spline`` or ``network``.
        width_bins: Of the bumps, geometric mean of smallest and largest.
        seed: Of all that was drawn.
        width_range: Smallest and largest.
        network: Its version, digest and training; None for splines.
        provenance: Versions.
    """

    sets: tuple[Spec, ...]
    method: str
    width_bins: float
    seed: int
    width_range: tuple[float, ...] = ()
    network: Spec | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/bumps_evaluation/1"


SPREAD = {"n": COUNT, "bias": HOLE, "bias_error": HOLE, "half_range": HOLE}
ROW = fields(SPREAD, {"low": NUMBER, "high": NUMBER, "family": TEXT})
AGAINST = ("z", "counts", "place", "bins", "width", "family")
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
                },
                {
                    "delta_z_all": fields(SPREAD),
                    "delta_z_histogram": fields(
                        {"edges": listed(NUMBER, minItems=2), "counts": listed(COUNT)}
                    ),
                    "auc_missed": AUC,
                    "roc": listed(fields({"false": NUMBER, "true": HOLE})),
                    "threshold": maybe(
                        fields(
                            {
                                "rate": NUMBER,
                                "rate_interval": listed(NUMBER),
                                "z": NUMBER,
                                "z_interval": listed(NUMBER),
                                "signals": HOLE,
                            }
                        )
                    ),
                },
            )
        ),
        "method": TEXT,
        "width_bins": NUMBER,
        "seed": COUNT,
        "provenance": OPEN,
    },
    {"width_range": listed(NUMBER), "network": maybe(OPEN)},
)
BumpsEvaluation.SHAPE = SHAPE
