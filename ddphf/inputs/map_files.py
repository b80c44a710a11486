"""Lepton maps from files: text and YAML tables, and correctionlib JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddphf.exceptions import ConfigError, InputError
from ddphf.files import is_file, read_input
from ddphf.inputs.correction_maps import CorrectionKeys, read_correction
from ddphf.inputs.correction_tree import Fixed
from ddphf.inputs.map_axes import name_axes
from ddphf.inputs.map_tables import read_table
from ddphf.inputs.maps import Kind, LeptonMap, make_map
from ddphf.inputs.text_table import TEXT_SUFFIXES
from ddphf.yaml_text import parse_yaml

__all__ = ["read_map"]


def read_map(
    path: str,
    *,
    name: str,
    kind: Kind,
    folder: str | Path = ".",
    axes: Mapping[str, str] | None = None,
    columns: Mapping[str, Any] | None = None,
    correction: str | None = None,
    inputs: Fixed | None = None,
    value: Fixed | None = None,
    statistical: Fixed | None = None,
    sources: Mapping[str, Fixed] | None = None,
    varied: bool = False,
    exclude_bins: Collection[int] = (),
    named: Collection[str] = (),
    variables: Sequence[str] = (),
) -> LeptonMap:
    """Read a map.

    Text (``.csv``, ``.tsv``, ``.txt``, ``.dat``): columns ``<axis>_low``, ``<axis>_high``,
    ``value``, and errors; see :func:`ddphf.inputs.map_tables.read_table`. YAML: ``axes`` (edges by
    axis), ``values``, ``statistical``, ``sources``; the last axis runs fastest. correctionlib: see
    :func:`ddphf.inputs.correction_maps.read_correction`.

    Args:
        path: Text, ``.yml``/``.yaml`` or correctionlib ``.json``/``.json.gz``.
        name: Such as ``muon``.
        kind: ``"efficiency"``, ``"scale_factor"`` or ``"fake_factor"``.
        folder: What a relative path is relative to.
        axes: The file's name of an axis to ours, where it is not a common one.
        columns: Text: which columns are ``value``, ``statistical``, ``sources`` or ``ignore``.
        correction: correctionlib: which one.
        inputs: correctionlib: inputs that no lepton tells, such as ``{"year": "2018_UL"}``.
        value: correctionlib: the inputs that select the central value, ``{"ValType": "sf"}``.
        statistical: correctionlib: the same for the statistical error.
        sources: correctionlib: the same for every named source.
        varied: Errors are stored as value plus error, not as the error itself.
        exclude_bins: Bins, by number, whose leptons count as outside the map.
        named: Sources that the analysis names elsewhere, so that columns may be called so.
        variables: Further names of axes that the leptons have.

    Raises:
        InputError: The file is missing or damaged, or holds no such map.
    """
    file = Path(folder) / path
    if not is_file(file):
        raise InputError(f"{path}: no file '{file}'")
    renamed = dict(axes or {})
    excluded = frozenset(exclude_bins)
    suffix = file.suffix.lower()
    table = suffix in TEXT_SUFFIXES
    if table or suffix in (".yml", ".yaml"):
        selecting = {
            "correction": correction, "inputs": inputs, "value": value, "statistical": statistical,
            "sources": sources, "varied": varied and not table,
        }  # fmt: skip
        for key, given in selecting.items():
            if given:
                raise InputError(
                    f"{path}: '{key}' selects from correctionlib files; a table says it itself"
                    f"{' or in its columns' if table else ''}, so leave the key out"
                )
    if columns and not table:
        raise InputError(f"{path}: 'columns' is about text tables; leave the key out")
    if table:
        return read_table(
            file, path, name=name, kind=kind, renamed=renamed, columns=columns or {},
            varied=varied, named=named, variables=variables, excluded=excluded,
        )  # fmt: skip
    if suffix in (".yml", ".yaml"):
        return _read_yaml(file, path, name, kind, renamed, variables, excluded)
    if suffix not in (".json", ".gz"):
        raise InputError(f"{path}: expected a .csv, .tsv, .txt, .dat, .yml, .json or .json.gz file")
    if correction is None:
        raise InputError(f"{path}: which correction? give 'correction: NAME'")
    keys = CorrectionKeys(correction, inputs or {}, value or {}, statistical, sources or {}, varied)
    return read_correction(
        file, path, name=name, kind=kind, keys=keys, renamed=renamed,
        variables=tuple(variables), excluded=excluded,
    )  # fmt: skip


def _read_yaml(
    file: Path,
    path: str,
    name: str,
    kind: Kind,
    renamed: Mapping[str, str],
    variables: Sequence[str],
    excluded: frozenset[int],
) -> LeptonMap:
    try:
        data = parse_yaml(read_input(file, path).decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except ConfigError as error:
        raise InputError(f"{path}: {error}") from None
    axes, sources = (data.get(k) for k in ("axes", "sources")) if isinstance(data, dict) else (0, 0)
    if not (isinstance(axes, dict) and axes and "values" in data):
        raise InputError(f"{path}: expected a mapping with 'axes' (edges by name) and 'values'")
    if not (sources is None or isinstance(sources, dict)):
        raise InputError(f"{path}: 'sources' is no mapping of names to shifts")
    extra = sorted(set(data) - {"axes", "values", "statistical", "sources"})
    if extra:
        raise InputError(
            f"{path}: unknown key '{extra[0]}', expected axes, values, statistical, sources"
        )
    edges: dict[str, list[float]] = {}
    for axis, ours in zip(axes, name_axes(list(axes), renamed, path, variables), strict=True):
        try:
            edges[ours] = [float(x) for x in axes[axis] if isinstance(axes[axis], list)]
        except (TypeError, ValueError):
            edges[ours] = []
        if not edges[ours]:
            raise InputError(f"{path}: the edges of axis '{axis}' are not a list of numbers")
    return make_map(
        name,
        kind,
        edges,
        data["values"],
        data.get("statistical"),
        sources,
        source=path,
        excluded=excluded,
        written=tuple(axes),
    )
