"""Records that are passed on as they stand in the file: sidecars, summaries, covariances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from ddphf.arrays import Spec
from ddphf.results.growth import Written
from ddphf.results.measured import DECLARED, misfits_of_declared
from ddphf.results.shapes import (
    ANY,
    AXIS,
    COUNT,
    NUMBER,
    OPEN,
    PAIRING,
    TEXT,
    WARNINGS,
    fields,
    listed,
    maybe,
    misfits_of_axes,
)

__all__ = [
    "BumpModelDocument",
    "CovarianceDocument",
    "ForeignDocument",
    "ScanArraysDocument",
    "ScanPointsDocument",
    "SidecarDocument",
    "SummaryDocument",
    "misfits_of_sidecar",
]


@dataclass(frozen=True, repr=False)
class Document(Written):
    """A record as a dictionary.

    Attributes:
        data: Its JSON, ``schema`` included.
    """

    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.data

    @classmethod
    def _read(cls, data: dict[str, Any]) -> Self:
        return cls(data)


LEPTON_ID: Spec = {
    **fields(
        {
            "kept": listed(TEXT),
            "eigenvalues": listed(NUMBER),
            "trace": {**NUMBER, "minimum": 0},
            "retained": NUMBER,
            "largest_sigma": NUMBER,
            "residual": TEXT,
            "covariance": {
                **fields({"calibration_bins": COUNT, "model": TEXT}),
                "additionalProperties": True,
            },
        },
        {
            "ratio_variances": listed(NUMBER),
            "dropped": COUNT,
            **dict.fromkeys(
                (
                    "ratio_retained",
                    "largest_loss",
                    "sigma_mu_kept",
                    "largest_loss_of_other_signals",
                ),
                NUMBER,
            ),
        },
    ),
    "additionalProperties": True,  # what describes the maps is theirs
}


class SidecarDocument(Document):
    """What ``ddphf build`` writes beside a workspace: what pyhf's schema has no place for."""

    SCHEMA = "ddphf/metadata/1"
    SHAPE = fields(
        {"workspace_digest": TEXT},
        {
            "pairing": PAIRING,
            "binning": fields({"axes": listed(AXIS, minItems=1)}, {"order": ANY}),
            "name": TEXT,
            **DECLARED,
            "lepton_id": LEPTON_ID,
            "absorbed": listed(TEXT),
            **WARNINGS,
            **dict.fromkeys(
                (
                    "efficiency_ratio", "background", "signal", "fakes", "modifier_sources",
                    "closure", "covariance_matrix", "versions", "data_directed", "ratio",
                    "learned",
                ),
                ANY,
            ),
        },
    )  # fmt: skip


def misfits_of_sidecar(record: dict[str, Any]) -> Iterator[str]:
    """Yield what is missing, edges that do not rise, more eigen-variations than eigenvalues.

    Of a pair of samples its pairing and binning are told; a measurement may have neither.
    """
    if record.get("statement") != "measurement":
        for key in ("binning", "pairing"):
            if key not in record:
                yield f"at the top: '{key}' is a required property"
    yield from misfits_of_declared(record)
    if "binning" in record:
        yield from misfits_of_axes(record["binning"]["axes"], "binning.axes")
    entry = record.get("lepton_id")
    if entry is not None:
        known = entry.get("ratio_variances", entry["eigenvalues"])
        if len(entry["kept"]) > len(known):
            yield "at lepton_id.kept: more names than eigenvalues"


class ForeignDocument(Document):
    """The place of the sidecar in a bundle of a workspace that ddphf did not build."""

    SCHEMA = "ddphf/foreign/1"
    SHAPE = fields(
        {},
        dict.fromkeys(("name", "workspace_digest", "modifiers", "poi", "covariance_matrix"), ANY),
    )


class CovarianceDocument(Document):
    """Relative covariance of the lepton-ID calibration bins, in a bundle."""

    SCHEMA = "ddphf/covariance/1"
    SHAPE = fields({"labels": listed(ANY), "matrix": listed(listed(NUMBER))})


class ScanPointsDocument(Document):
    """Minima of some hypotheses of a mass scan with all parameters, in its bundle."""

    SCHEMA = "ddphf/scan_points/1"
    _MINIMUM = fields({"twice_nll": NUMBER, "parameters": OPEN})
    SHAPE = fields(
        {
            "name": TEXT,
            "points": listed(
                fields({"index": COUNT, "free": _MINIMUM, "null": maybe(_MINIMUM)}), minItems=1
            ),
        },
        {"interpolation": OPEN, "environment": OPEN},
    )


class ScanArraysDocument(Document):
    """What the arrays of a mass scan are, beside them."""

    SCHEMA = "ddphf/scan_arrays/1"
    _ERROR = fields({"name": TEXT, "type": {"enum": ["staterror", "shapesys"]}, "table": TEXT})
    _NORM = fields({"name": TEXT, "up": TEXT, "down": TEXT})
    _SCALE = fields({"name": TEXT, "type": {"enum": ["lumi", "normfactor"]}})
    _ONE = listed(NUMBER, minItems=1, maxItems=1)
    _STATED = fields(
        {"name": TEXT},
        {
            "auxdata": _ONE, "sigmas": _ONE, "inits": _ONE, "fixed": {"type": "boolean"},
            "bounds": listed(listed(NUMBER, minItems=2, maxItems=2), minItems=1, maxItems=1),
        },
    )  # fmt: skip
    _POI = fields(
        {
            "name": TEXT,
            "bounds": listed(listed(NUMBER, minItems=2, maxItems=2), minItems=1, maxItems=1),
            "inits": listed(NUMBER, minItems=1, maxItems=1),
        }
    )
    _SAMPLE = fields(
        {
            "name": TEXT, "signal": {"type": "boolean"}, "yields": TEXT, "error": maybe(_ERROR),
            "norms": listed(_NORM), "shifts": listed(_NORM), "scales": listed(_SCALE),
        }
    )  # fmt: skip
    SHAPE = fields(
        {
            "name": TEXT,
            "channel": TEXT,
            "parameter": fields({"name": TEXT, "unit": TEXT}),
            "poi": _POI,
            "poi_unit": TEXT,
            "policy": TEXT,
            "stated": listed(_STATED),
            "samples": listed(_SAMPLE, minItems=2),
        }
    )


class BumpModelDocument(Document):
    """What ``ddphf bumps workspace`` writes beside a workspace."""

    SCHEMA = "ddphf/bump_model/1"
    SHAPE = fields(
        {
            "workspace_digest": TEXT,
            "edges": listed(NUMBER, minItems=2),
            "background": fields({"name": TEXT, "form": TEXT}, {"strength": NUMBER}),
            "z": fields({"direct": NUMBER, "workspace": NUMBER, "residual": NUMBER}),
        },
        dict.fromkeys(
            ("spectrum", "unit", "bump", "events", "chosen_on_the_same_data", "provenance"), OPEN
        )
        | {"unit": TEXT},
    )


class SummaryDocument(Document):
    """What ``ddphf inspect`` says of a workspace."""

    SCHEMA = "ddphf/summary/1"
    SHAPE = fields(
        {"digest": TEXT, "channels": listed(OPEN), "parameters": OPEN},
        {
            "provenance": OPEN,
            **WARNINGS,
            **dict.fromkeys(
                (
                    "measurement", "measurements", "poi", "modifiers", "signal_events", "closure",
                    "lepton_id", "absorbed",
                ),
                ANY,
            ),
        },
    )  # fmt: skip
