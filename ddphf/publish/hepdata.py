"""The HEPData submission of a bundle: submission.yaml, full-digit tables, and the bundle itself."""

from __future__ import annotations

import importlib.util
import itertools
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ddphf.arrays import Spec
from ddphf.exceptions import InputError, UsageError
from ddphf.publish.archive import pack, unpack
from ddphf.publish.bundle import Publication
from ddphf.publish.hepdata_tables import Column, Table, make_tables

__all__ = ["check_label", "make_submission", "pack_submission", "validate_submission"]

LABEL = "HistFactory"
LARGEST_TABLE = 10_485_760
"""HEPData takes no larger YAML file."""

KEYWORDS = ("cmenergies", "observables", "reactions", "phrases")
"""Empty: the authors fill them in."""


def make_submission(
    publication: Publication, bundle_name: str, packed: bytes
) -> tuple[bytes, list[str]]:
    """Return the submission as one archive to upload, and notes for the user.

    Args:
        publication: What is published.
        bundle_name: File name of the bundle.
        packed: The bundle.

    Raises:
        InputError: It does not validate.
    """
    results = publication.results
    return pack_submission(
        f"{results.name}: {len(results.channels)} channels, statistical model with all its "
        "uncertainties, and the results that it gives.",
        "Archive of the statistical model as a pyhf workspace, with background-only workspace and "
        "signal patches, recorded minima, a README.md with the commands that reproduce them, and "
        "a script that checks them.",
        make_tables(publication), bundle_name, packed,
    )  # fmt: skip


def pack_submission(
    comment: str, description: str, tables: Mapping[str, Table], bundle_name: str, packed: bytes
) -> tuple[bytes, list[str]]:
    """Return a submission of tables and a bundle as one archive, and notes for the user.

    Args:
        comment: On all of it.
        description: Of the bundle.
        tables: By name.
        bundle_name: File name of the bundle.
        packed: The bundle.

    Raises:
        InputError: It does not validate.
    """
    first = {
        "comment": comment,
        "additional_resources": [
            {"description": description, "location": bundle_name, "type": LABEL}
        ],
    }
    documents: list[Spec] = [first]
    out = {bundle_name: packed}
    notes: list[str] = []
    for name, (about, independent, dependent) in tables.items():
        file = _free_file(name, out)
        text = _yaml(_table(independent, dependent))
        if len(text) > LARGEST_TABLE:
            notes.append(f"HEPData table '{name}' would have {len(text) / 1e6:.0f} MB: left out")
            continue
        out[file] = text
        documents.append({
            "name": name,
            "description": about,
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


def _free_file(title: str, taken: Mapping[str, bytes]) -> str:
    """Return the file of a table, made of its name; submission.yaml says which is which.

    Example:
        >>> _free_file("Yields 3j, pT>50 GeV", {}), _free_file("Yields A", {"yields_a.yaml": b""})
        ('yields_3j_pt_50_gev.yaml', 'yields_a_2.yaml')
    """
    stem = re.sub(r"[^a-z0-9.+-]+", "_", title.lower()).strip("_.")
    ends = itertools.chain([""], (f"_{n}" for n in itertools.count(2)))
    return next(file for end in ends if (file := f"{stem}{end}.yaml") not in taken)


# libyaml writes a large table in a tenth of the time; both write floats with repr's digits.
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    """Full digits, no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(*documents: Any) -> bytes:
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
        try:
            path.write_bytes(submission)
        except OSError as error:
            raise UsageError(
                f"{tempfile.gettempdir()}: cannot be written ({error.strerror}); the HEPData "
                "submission is validated there"
            ) from None
        validator = FullSubmissionValidator(schema_version="1.1.1", autoload_remote_schemas=False)
        if not validator.validate(archive=str(path)):
            found = [m.message for all_ in validator.get_messages().values() for m in all_]
            raise InputError(f"HEPData submission: {'; '.join(found)[:500]}")
    return True
