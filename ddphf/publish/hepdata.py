"""The HEPData submission of a bundle: submission.yaml, full-digit tables, and the bundle itself."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ddphf.exceptions import InputError
from ddphf.inference.fitter import Fitter
from ddphf.inference.yields import expected_yields
from ddphf.likelihood.reference import ReferenceModel
from ddphf.publish.archive import pack, unpack
from ddphf.publish.bundle import Publication
from ddphf.publish.contents import relative_variations

__all__ = ["check_label", "make_submission", "validate_submission"]

Spec = dict[str, Any]
Column = tuple[str, str, Any]
"""Name, unit and values."""

LABEL = "HistFactory"
LARGEST_TABLE = 10_485_760
"""HEPData takes no larger YAML file."""

KEYWORDS = ("cmenergies", "observables", "reactions", "phrases")
"""Empty: the authors fill them in."""


def make_submission(
    publication: Publication, files: dict[str, bytes], bundle_name: str, packed: bytes
) -> tuple[bytes, list[str]]:
    """Return the submission as one archive to upload, and notes for the user.

    Args:
        publication: What is published.
        files: Files of the bundle.
        bundle_name: File name of the bundle.
        packed: The bundle.

    Raises:
        InputError: It does not validate.
    """
    tables = {**_yields(publication), **_results(publication), **_fit_covariance(publication)}
    tables |= _variations(publication) | _calibration(publication)
    results = publication.results
    first = {
        "comment": f"{results.name}: {len(results.channels)} channels, statistical model with all "
        "its uncertainties, and the results that it gives.",
        "additional_resources": [
            {
                "description": "Archive of the statistical model as a pyhf workspace, with "
                "background-only workspace and signal patches, recorded minima, a README.md with "
                "the commands that reproduce them, and a script that checks them.",
                "location": bundle_name,
                "type": LABEL,
            }
        ],
    }
    documents: list[Spec] = [first]
    out = {bundle_name: packed}
    notes: list[str] = []
    for name, (description, independent, dependent) in tables.items():
        file = f"{name.lower().replace(' ', '_')}.yaml"
        text = _yaml(_table(independent, dependent))
        if len(text) > LARGEST_TABLE:
            notes.append(f"HEPData table '{name}' would have {len(text) / 1e6:.0f} MB: left out")
            continue
        out[file] = text
        documents.append({
            "name": name,
            "description": description,
            "keywords": [{"name": key, "values": []} for key in KEYWORDS],
            "data_file": file,
        })  # fmt: skip
    out["submission.yaml"] = _yaml(*documents)
    submission = pack(out)
    check_label(submission)
    if not validate_submission(submission):
        notes.append(
            "HEPData submission: label checked, but not validated, as hepdata-validator is not "
            "installed (pip install ddphf[hepdata])"
        )
    return submission, notes


class _Dumper(yaml.SafeDumper):
    """Full digits, no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(*documents: Any) -> bytes:
    # libyaml writes a large table in a tenth of the time; both write floats with repr's digits.
    text = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=100,
        default_flow_style=None,
    )  # fmt: skip
    return str(text).encode()


def _table(independent: list[Column], dependent: list[Column]) -> Spec:
    def column(entry: Column) -> Spec:
        name, unit, values = entry
        header = {"name": name, "units": unit} if unit else {"name": name}
        rows = [value if isinstance(value, dict) else {"value": value} for value in _plain(values)]
        return {"header": header, "values": rows}

    return {
        "independent_variables": [column(entry) for entry in independent],
        "dependent_variables": [column(entry) for entry in dependent],
    }


def _plain(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


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
    values = {p.name: p.value for p in point.minimum.parameters}
    before = expected_yields(publication.workspace, point.measurement, None)
    after = expected_yields(publication.workspace, point.measurement, values)
    observed = {o["name"]: o["data"] for o in publication.workspace["observations"]}
    out: Spec = {}
    for channel, samples in before.items():
        columns: list[Column] = [("observed", "events", observed[channel])]
        columns += [(f"{s}, before the fit", "events", y) for s, y in samples.items()]
        columns += [(f"{s}, after the fit", "events", y) for s, y in after[channel].items()]
        out[f"Yields {channel}"[:64]] = (
            f"Observed and expected events of channel {channel}, before the fit and after that of "
            f"measurement {point.measurement}.",
            _bins(publication, len(observed[channel])),
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


def _error(size: float) -> Spec:
    return {"errors": [{"symerror": size}]} if size > 0 else {}


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
    names = publication.metadata.get("lepton_id", {}).get("kept", [])
    if not names:
        return {}
    rows = relative_variations(publication.workspace, names)
    out: Spec = {}
    first = 0
    for channel in publication.workspace["channels"]:
        n = len(channel["samples"][0]["data"])
        out[f"Eigen-variations {channel['name']}"[:64]] = (
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


def check_label(submission: bytes) -> None:
    r"""Refuse a submission that HEPData would not show as a statistical model.

    hepdata-validator takes any resource type; recasting tools look for ``HistFactory`` on the
    first document, and HEPData sorts resources with "HS3" in their description elsewhere.

    Raises:
        InputError: What is wrong with the label.

    Example:
        >>> check_label(pack({"submission.yaml": b"---\ncomment: none\n"}))
        Traceback (most recent call last):
        ...
        ddphf.exceptions.InputError: submission.yaml: the first document has no resource ...
    """
    files = unpack(submission, name="submission")
    documents = list(yaml.safe_load_all(files["submission.yaml"]))
    found = [r for r in documents[0].get("additional_resources", []) if r.get("type") == LABEL]
    if not found:
        raise InputError(
            f"submission.yaml: the first document has no resource of type '{LABEL}'; HEPData would "
            "not show a statistical model"
        )
    for resource in found:
        if "HS3" in resource["description"]:
            raise InputError(
                "submission.yaml: a description with 'HS3' in it is taken for another format"
            )
        if resource["location"] not in files:
            raise InputError(f"submission.yaml: '{resource['location']}' is not in the archive")
        inner = unpack(files[resource["location"]], name=resource["location"])
        if "README.md" not in inner:
            raise InputError(f"{resource['location']}: no README.md inside")


def validate_submission(submission: bytes) -> bool:
    """Validate with hepdata-validator; False where it is not installed.

    Raises:
        InputError: It finds something.
    """
    if importlib.util.find_spec("hepdata_validator") is None:
        return False
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # hepdata-validator 0.3.6 uses jsonschema's deprecated RefResolver and leaves files open.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        from hepdata_validator.full_submission_validator import FullSubmissionValidator

        path = Path(folder) / "submission.tar.gz"
        path.write_bytes(submission)
        validator = FullSubmissionValidator(schema_version="1.1.1", autoload_remote_schemas=False)
        if not validator.validate(archive=str(path)):
            found = [m.message for all_ in validator.get_messages().values() for m in all_]
            raise InputError(f"HEPData submission: {'; '.join(found)[:500]}")
    return True
