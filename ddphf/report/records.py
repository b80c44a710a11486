"""JSON Schemas of the records that a report is made of."""

from __future__ import annotations

from ddphf.arrays import Spec

__all__ = ["KINDS"]


# A number whose square still is one: figures and tables compute with it.
NUMBER: Spec = {"type": "number", "minimum": -1e100, "maximum": 1e100}
HOLE: Spec = {**NUMBER, "type": ["number", "null"]}
TEXT: Spec = {"type": "string", "maxLength": 100_000}
COUNT: Spec = {"type": "integer", "minimum": 0}


def _object(required: Spec, optional: Spec | None = None) -> Spec:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


def _list(item: Spec, **limits: int) -> Spec:
    return {"type": "array", "items": item, **limits}


def _maybe(schema: Spec) -> Spec:
    return {"anyOf": [schema, {"type": "null"}]}


HOLES = _list(HOLE)
BANDS = _list(HOLE, minItems=5, maxItems=5)
COMMON = {"provenance": {"type": "object"}, "measurement": TEXT}
WARNINGS = {"warnings": _list(TEXT)}
POI = _object(
    {"name": TEXT, "value": NUMBER, "error": HOLE}, {"error_up": HOLE, "error_down": HOLE}
)

MINIMUM = _object(
    {
        "twice_nll": NUMBER,
        "parameters": _list(POI),
        "certificate": _object({"edm": NUMBER, "twice_nll_pyhf": NUMBER}),
    },
    {"poi": POI, "status": TEXT},
)
PAIR_OF_NUMBERS = _list(NUMBER, minItems=2, maxItems=2)
TOYS = _object(
    {
        "n": COUNT,
        "n_failed": COUNT,
        "p0": HOLE,
        "p0_interval": _list(NUMBER, minItems=2, maxItems=2),
    },
    {"z0": HOLE, "seed": {"type": ["integer", "null"]}, "n_ge": COUNT},
)
STATEMENT = _object(
    {"mu_hat": NUMBER, "mu_error": HOLE, "q0": NUMBER, "z0": NUMBER, "p0": NUMBER},
    {"toys": _maybe(TOYS)},
)
GOODNESS = _object(
    {"statistic": NUMBER, "degrees_of_freedom": NUMBER, "p_value": HOLE},
    {
        "expected_statistic": HOLE,
        "asymptotic": {"type": "boolean"},
        "toys": _maybe(_object({"n": COUNT, "n_failed": COUNT, "p_value": HOLE})),
        "channels": _list(_object({"name": TEXT, "pulls": HOLES})),
    },
)
IMPACT = _object(
    {"name": TEXT},
    dict.fromkeys(
        (
            "pull", "constraint", "prefit_up", "prefit_down", "postfit_up", "postfit_down",
            "auxiliary_up", "auxiliary_down",
        ),
        HOLE,
    ),
)  # fmt: skip
GROUP = _object({"name": TEXT}, dict.fromkeys(("frozen_error", "impact", "auxiliary"), HOLE))
NULLS = _object(
    {},
    {
        "asymptotic": _maybe(_object({"p0": NUMBER, "z0": HOLE})),
        "toys": _maybe(TOYS),
        "importance": _maybe(
            _object({"p0": HOLE}, {"p0_error": HOLE, "z0": HOLE, "effective_sample_size": HOLE})
        ),
        "comparison": _maybe(
            _object(
                {
                    "n": COUNT,
                    "histogram": _object(
                        {"edges": _list(NUMBER, minItems=2), "counts": _list(NUMBER, minItems=1)}
                    ),
                },
                {"ks": _object({"distance": NUMBER, "p_value": HOLE}), "mean": HOLE, "sd": HOLE},
            )
        ),
        "failed": {"type": "object", "additionalProperties": TEXT},
    },
)
EXPECTED = _object(
    {"mu": NUMBER, "asimov": _object({"z0": NUMBER})},
    {
        "asymptotic": _maybe(_object({"z0": BANDS})),
        "toys": _maybe(_object({"n": COUNT, "z0": BANDS})),
    },
)
SCAN_OF_LIMIT = _object(
    {"mu": _list(NUMBER, minItems=1), "observed": HOLES},
    {"expected": _list(HOLES, minItems=5, maxItems=5)},
)
LIMIT = _object(
    {"observed": HOLE}, {"expected": BANDS, "observed_error": HOLE, "scan": SCAN_OF_LIMIT}
)

SCAN_AXIS = {
    **_object({"name": TEXT, "best": NUMBER, "error": HOLE, "values": _list(NUMBER, minItems=2)}),
    "additionalProperties": False,
}
INTERVAL = _object({"level": NUMBER, "rise": NUMBER, "low": HOLE, "high": HOLE})
LINE = _object({"x": _list(NUMBER), "y": _list(NUMBER)})
CONTOUR = _object({"level": NUMBER, "rise": NUMBER, "paths": _list(LINE)})

AXIS = _object({"label": TEXT, "unit": TEXT, "edges": _list(NUMBER, minItems=2)})
PAIRING = _object({"tested": TEXT, "partner": TEXT})
LEPTON_ID = _object(
    {
        "kept": _list(TEXT),
        "eigenvalues": _list(NUMBER),
        "trace": {**NUMBER, "minimum": 0},
        "retained": NUMBER,
        "largest_sigma": NUMBER,
        "residual": TEXT,
        "covariance": _object({"calibration_bins": COUNT, "model": TEXT}),
    },
    {
        "ratio_variances": _list(NUMBER),
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
)
YIELD = _object(
    {"expected": _list(NUMBER), "error": _list(NUMBER), "sum": NUMBER, "sum_error": NUMBER}
)
PREDICTION = _object(
    {
        "samples": {"type": "object", "additionalProperties": YIELD},
        "total": YIELD,
        "axis_errors": _list(_list(NUMBER)),
    }
)
CHANNEL = _object(
    {
        "name": TEXT,
        "observed": _list({**NUMBER, "minimum": 0}, minItems=1),
        "predictions": {
            **_object({"prefit": PREDICTION, "postfit": PREDICTION}, {"null": PREDICTION}),
            "additionalProperties": False,
        },
    }
)
ASYMMETRY = _object(
    {
        "axis": COUNT,
        "observed": HOLES,
        "observed_error": HOLES,
        "expected": {"type": "object", "additionalProperties": HOLES},
        "expected_error": {"type": "object", "additionalProperties": HOLES},
    }
)
PULL = {
    **_object(
        {
            "name": TEXT,
            "value": NUMBER,
            "error": HOLE,
            "nominal": NUMBER,
            "width": {**NUMBER, "exclusiveMinimum": 0},
        }
    ),
    "additionalProperties": False,
}

KINDS: dict[str, Spec] = {
    "ddphf/fit/1": _object(
        {**COMMON, "engine": TEXT, "fit": MINIMUM},
        {
            **WARNINGS,
            "null": _maybe(MINIMUM),
            "discovery": _maybe(STATEMENT),
            "known_background": STATEMENT,
            "goodness_of_fit": _maybe(GOODNESS),
        },
    ),
    "ddphf/yields/1": _object(
        {
            **COMMON,
            "channels": _list(CHANNEL, minItems=1),
            "axes": _list(AXIS),
            "pairing": _maybe(PAIRING),
            "asymmetry": _list(ASYMMETRY),
            "correlations": _maybe(
                _object({"names": _list(TEXT), "matrix": _list(_list(NUMBER))})
            ),
            "pulls": _list(PULL),
        },
        WARNINGS,
    ),
    "ddphf/rank/1": _object(
        {**COMMON, "poi": POI, "parameters": _list(IMPACT)},
        {
            **WARNINGS,
            "n_ranked": COUNT,
            "groups": _list(GROUP),
            "frozen": _maybe({"type": "object", "additionalProperties": HOLE}),
            "auxiliary": _maybe({"type": "object", "additionalProperties": HOLE}),
            "failures": _list(_object({"parameter": TEXT, "reason": TEXT})),
        },
    ),
    "ddphf/scan/1": _object(
        {
            **COMMON,
            **WARNINGS,
            "twice_nll": NUMBER,
            "parameters": _list(SCAN_AXIS, minItems=1, maxItems=2),
            "delta_twice_nll": {"type": "array", "minItems": 2},
            "failures": _list({"type": "object"}),
        },
        {"intervals": _list(INTERVAL, maxItems=2), "contours": _list(CONTOUR, maxItems=2)},
    ),
    "ddphf/discover/1": _object(
        {
            **COMMON,
            "statements": _list(
                _object(
                    {"measurement": TEXT, "observed": STATEMENT},
                    {"null": _maybe(NULLS), "expected": _maybe(EXPECTED)},
                ),
                minItems=1,
            ),
        },
        WARNINGS,
    ),
    "ddphf/limit/1": _object(
        {**COMMON, "level": NUMBER},
        {
            **WARNINGS,
            "poi": TEXT,
            "asymptotic": _maybe(LIMIT),
            "toys": _maybe(LIMIT),
            "intervals": _maybe(
                _list(_object({"level": NUMBER, "method": TEXT, "lower": HOLE, "upper": HOLE}))
            ),
        },
    ),
    "ddphf/metadata/1": _object(
        {
            "workspace_digest": TEXT,
            "pairing": PAIRING,
            "binning": _object({"axes": _list(AXIS, minItems=1)}),
        },
        {"name": TEXT, "lepton_id": LEPTON_ID, "absorbed": _list(TEXT), **WARNINGS},
    ),
}  # fmt: skip
"""JSON Spec of each record; keys that a report does not read are left alone."""
