"""The tables of a HEPData submission: yields, minima, significance, covariances."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np

from ddphf.arrays import Spec
from ddphf.inference.fitter import Fitter
from ddphf.inference.yields import predict_yields
from ddphf.likelihood.reference import ReferenceModel
from ddphf.publish.bundle import Publication
from ddphf.publish.consistency import relative_variations
from ddphf.results.fit import FitResult
from ddphf.text import clean_text

__all__ = ["Column", "Table", "make_tables"]

Column = tuple[str, str, Any]
"""Name, unit and values."""

Table = tuple[str, list[Column], list[Column]]
"""Description, independent and dependent variables."""

LONGEST = 64
"""Characters of the name of a table that HEPData takes."""


def make_tables(publication: Publication) -> dict[str, Table]:
    """Return description, independent and dependent variables of every table, by name."""
    tables = {**_yields(publication), **_results(publication), **_fit_covariance(publication)}
    return tables | _variations(publication) | _calibration(publication)


def _free_title(title: str, taken: Spec) -> str:
    """Return the name of a table: of a length that HEPData takes, unlike the others in any case.

    Example:
        >>> _free_title("Yields sr", {"Yields SR": ()}), _free_title("Yields a", {})
        ('Yields sr (2)', 'Yields a')
    """
    used = {other.casefold() for other in taken}
    title = clean_text(title)
    names = (title[: LONGEST - len(end)] + end
             for end in itertools.chain([""], (f" ({n})" for n in itertools.count(2))))  # fmt: skip
    return next(name for name in names if name.casefold() not in used)


def _bins(publication: Publication, n_bins: int) -> list[Column]:
    """Return the bins of a channel: edges where the sidecar has them, else numbers."""
    axes = publication.metadata.get("binning", {}).get("axes", [])
    ranges = [list(itertools.pairwise(axis["edges"])) for axis in axes]
    if not axes or int(np.prod([len(r) for r in ranges])) != n_bins:
        return [("bin", "", list(range(n_bins)))]
    rows = list(itertools.product(*ranges))  # the last axis fastest
    return [
        (axis["label"], axis["unit"], [{"low": row[i][0], "high": row[i][1]} for row in rows])
        for i, axis in enumerate(axes)
    ]


def _yields(publication: Publication) -> Spec:
    point = publication.results.points[0]
    fit = FitResult(point.measurement, "ddphf", None, point.minimum, None, None, None)
    out: Spec = {}
    for channel in predict_yields(publication.workspace, fit).channels:
        columns: list[Column] = [("observed", "events", channel.observed)]
        for name, when in (("prefit", "before the fit"), ("postfit", "after the fit")):
            found = channel.predictions[name]
            columns += [(f"{s}, {when}", "events", y.expected) for s, y in found.samples.items()]
            total = zip(found.total.expected, found.total.error, strict=True)
            values = [{"value": value, **_error(error)} for value, error in total]
            columns.append((f"all samples, {when}", "events", values))
        out[_free_title(f"Yields {channel.name}", out)] = (
            f"Observed and expected events of channel {clean_text(channel.name)}, before the fit "
            f"and after that of measurement {clean_text(point.measurement)}; errors from the "
            "covariance of all parameters.",
            _bins(publication, len(channel.observed)),
            columns,
        )
    return out


def _results(publication: Publication) -> Spec:
    points, statements = publication.results.points, publication.results.statements
    out: Spec = {
        "Minima": (
            "Minima of -2 ln L, constants and constraint terms included, as pyhf evaluates it.",
            [("measurement", "", [p.name for p in points])],
            [
                ("twice_nll", "", [p.minimum.twice_nll for p in points]),
                (
                    "estimated distance to the minimum",
                    "",
                    [p.minimum.certificate.edm for p in points],
                ),
                ("floating parameters", "", [p.n_free for p in points]),
            ],
        )
    }
    if measured := publication.results.measured:
        poi = [{"value": s["value"], **_error(s["error"])} for s in measured]
        split = ("error_up", "error_down", "statistical", "systematic")
        columns: list[Column] = [("value", "", poi)]
        columns += [
            (key.replace("_", " "), "", [s[key] for s in measured])
            for key in split
            if all(s[key] is not None for s in measured)
        ]
        out["Measurement"] = (
            "Parameter of interest of measurements without a null: value, profile errors, parts "
            "of the error by the counts (statistical) and by auxiliary data (systematic).",
            [("measurement", "", [s["measurement"] for s in measured])],
            columns,
        )
        derived = [d for s in measured for d in s["derived"]]
        if derived:
            out["Derived quantities"] = (
                "Functions of the parameter of interest.",
                [("quantity", "", [d["name"] for d in derived])],
                [("value", "", [{"value": d["value"], **_error(d["error"])} for d in derived])],
            )
    if statements:
        # HEPData refuses errors of zero: that of a POI at its bound.
        mu = [{"value": s["mu_hat"], **_error(s["mu_error"])} for s in statements]
        out["Significance"] = (
            "Signed discovery statistic q0 = -2 ln(L(mu=0) / L(mu_hat)), negative for a deficit, "
            "Z = sgn(mu_hat) sqrt(|q0|), and asymptotic p0.",
            [("measurement", "", [s["measurement"] for s in statements])],
            [("signal strength", "", mu)]
            + [(key, "", [s[key] for s in statements]) for key in ("q0", "z0", "p0")],
        )
    return out


def _error(size: float | None) -> Spec:
    return {"errors": [{"symerror": size}]} if size else {}


def _matrix(names: list[str], matrix: Any) -> tuple[list[Column], list[Column]]:
    n = len(names)
    return (
        [("first", "", [a for a in names for _ in range(n)]), ("second", "", names * n)],
        [("covariance", "", np.ravel(matrix))],
    )


def _fit_covariance(publication: Publication) -> Spec:
    """Return the covariance of the parameters that are no per-bin ones, where there is one."""
    point = publication.results.points[0]
    with contextlib.suppress(Exception):
        fitter = Fitter(ReferenceModel(publication.workspace, point.measurement))
        model = fitter.require_compiled()
        values = np.array([p.value for p in point.minimum.parameters])
        matrix = model.covariance(values)
        names = list(model.global_names())
        if names and np.all(np.isfinite(matrix)):
            return {
                "Fit covariance": (
                    f"Covariance of the fitted parameters of measurement {point.measurement}, the "
                    "per-bin ones profiled; 0 for those held or at a bound.",
                    *_matrix(names, matrix),
                )
            }
    return {}


def _variations(publication: Publication) -> Spec:
    absorbed = publication.metadata.get("absorbed", [])
    kept = publication.metadata.get("lepton_id", {}).get("kept", [])
    names = [name for name in kept if name not in absorbed]
    if not names:
        return {}
    rows = relative_variations(publication.workspace, names)
    out: Spec = {}
    first = 0
    for channel in publication.workspace["channels"]:
        n = len(channel["samples"][0]["data"])
        out[_free_title(f"Eigen-variations {channel['name']}", out)] = (
            "Relative shift of the symmetric background by one standard deviation of each "
            "lepton-ID eigen-variation G; the covariance of the yields is G G^T, over both "
            "channels.",
            _bins(publication, n),
            [(name, "", rows[first : first + n, j]) for j, name in enumerate(names)],
        )
        first += n
    return out


def _calibration(publication: Publication) -> Spec:
    if publication.covariance is None:
        return {}
    labels = [str(label) for label in publication.covariance["labels"]]
    return {
        "Calibration covariance": (
            "Relative covariance of the lepton-ID efficiencies in their calibration bins.",
            *_matrix(labels, publication.covariance["matrix"]),
        )
    }
