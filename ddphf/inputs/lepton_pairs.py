"""The pair of leptons of every event, from jagged collections of one flavour each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inputs.branches import Branches
from ddphf.inputs.event_table import EventTable, make_events

__all__ = ["FLAVOURS", "MASSES", "Collection", "leading_pair", "pair_columns", "read_collection"]

FLAVOURS = {"electron": 11, "muon": 13, "tau": 15}

MASSES = {11: 0.000510999, 13: 0.105658, 15: 1.77693}
"""GeV, for the mass of the pair where a collection has no mass of its own."""


@dataclass(frozen=True)
class Collection:
    """The leptons of one flavour, and which of them count.

    Attributes:
        prefix: Of its branches, such as ``Electron_``.
        select: Which leptons count, given their table (a row per lepton); all by default.
        tight: Which of these are tight, or None where the collection does not tell.
        columns: Further quantities of a lepton by name.
        needs: Branches, without the prefix, that these functions read.
    """

    prefix: str
    select: Callable[[EventTable], Any] | None = None
    tight: Callable[[EventTable], Any] | None = None
    columns: Mapping[str, Callable[[EventTable], Any]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def read_collection(branches: Branches, collection: Collection, code: int) -> dict[str, Any]:
    """Return the jagged quantities of the leptons that count, by name.

    ``pt``, ``eta``, ``phi`` and ``charge`` (or ``Px``, ``Py``, ``Pz``), ``mass``, ``tight`` where
    it is told, and the collection's own ``columns``.

    Raises:
        InputError: A branch that is not there, or has another number of leptons.
    """
    import awkward as ak

    def has(name: str) -> bool:
        return branches.resolve(f"{collection.prefix}{name}", ignore_case=True) is not None

    def get(name: str) -> Any:
        return branches.read(f"{collection.prefix}{name}", ignore_case=True)

    if has("pt"):
        out = {name: get(name) for name in ("pt", "eta", "charge")}
        out |= {name: get(name) for name in ("phi", "mass") if has(name)}
    elif not has("Px"):
        raise InputError(
            f"{branches.where}: no branch '{collection.prefix}pt', nor '{collection.prefix}Px'; it "
            f"has: {', '.join(sorted(branches.paths)[:20])}"
        )
    else:
        px, py, pz = get("Px"), get("Py"), get("Pz")
        pt = np.hypot(px, py)
        out = {"pt": pt, "eta": np.arcsinh(pz / pt), "charge": get("Charge")}
        out["phi"] = np.arctan2(py, px)
    counts = ak.num(out["pt"], axis=1)
    fields = {name: get(name) for name in collection.needs if name not in out}
    for name, values in {**out, **fields}.items():
        if values.ndim != 2 or not ak.all(ak.num(values, axis=1) == counts):
            raise InputError(
                f"{branches.where}: '{collection.prefix}{name}' has not one number per lepton of "
                f"'{collection.prefix}pt'"
            )
    out.setdefault("mass", ak.full_like(out["pt"], MASSES[code], dtype=np.float64))
    table = make_events(
        {name: ak.to_numpy(ak.flatten(v)) for name, v in {**out, **fields}.items()},
        source=f"{branches.where}: {collection.prefix}",
    )
    for name, evaluate in collection.columns.items():
        out[name] = ak.unflatten(np.asarray(evaluate(table), dtype=float), counts)
    if collection.tight is not None:
        out["tight"] = ak.unflatten(np.asarray(collection.tight(table)), counts)
    if collection.select is not None:
        chosen = ak.unflatten(np.asarray(collection.select(table)), counts)
        out = {name: values[chosen] for name, values in out.items()}
    return out


def leading_pair(collections: Mapping[int, tuple[Any, Any, Any]]) -> dict[str, Array]:
    """Return the two leptons of highest pT of every event, as flat columns.

    Args:
        collections: By PDG code: jagged (awkward) pT, eta and charge.

    Returns:
        ``n_<code>`` (leptons of each flavour) and, for i = 1, 2, ``l<i>_flavour``, ``l<i>_pt``,
        ``l<i>_eta``, ``l<i>_charge``; NaN where an event has fewer leptons (flavour 0).

    Example:
        >>> import awkward as ak
        >>> e = (ak.Array([[30.0], []]), ak.Array([[0.1], []]), ak.Array([[1], []]))
        >>> mu = (ak.Array([[40.0, 20.0], []]), ak.Array([[1.0, 2.0], []]), ak.Array([[-1, 1], []]))
        >>> leading_pair({11: e, 13: mu})["l1_flavour"].tolist()
        [13.0, 0.0]
    """
    return pair_columns(
        {
            code: dict(zip(("pt", "eta", "charge"), given, strict=True))
            for code, given in collections.items()
        }
    )


def pair_columns(collections: Mapping[int, Mapping[str, Any]]) -> dict[str, Array]:
    """Return the two leptons of highest pT of every event, and what follows from them.

    Args:
        collections: By PDG code: jagged quantities by name, ``pt``, ``eta`` and ``charge`` among
            them. What only some collections have is NaN for the others, except ``tight``, which
            is then true.

    Returns:
        ``n_<code>``, and ``l1_<name>``, ``l2_<name>`` of every name and ``flavour``; NaN where an
        event has fewer leptons (flavour 0). With ``phi`` and ``mass``: ``pair_mass``, GeV. With
        ``tight``: ``n_tight``, and ``loose_<name>`` of the one of the two that is not tight, NaN
        where that are none or both.
    """
    import awkward as ak

    names = sorted({name for fields in collections.values() for name in fields})
    out: dict[str, Array] = {
        f"n_{code}": ak.to_numpy(ak.num(fields["pt"], axis=1)).astype(float)
        for code, fields in collections.items()
    }
    parts = []
    for code, fields in collections.items():
        like = fields["pt"]
        given = {
            name: fields.get(name, ak.full_like(like, 1.0 if name == "tight" else np.nan))
            for name in names
        }
        given = {name: ak.values_astype(values, np.float64) for name, values in given.items()}
        parts.append(ak.zip({**given, "flavour": ak.full_like(given["pt"], float(code))}))
    both = ak.concatenate(parts, axis=1)
    both = both[ak.argsort(both.pt, axis=1, ascending=False, stable=True)]
    padded = ak.pad_none(both, 2, axis=1)
    for index in (0, 1):
        for name in (*names, "flavour"):
            empty = 0.0 if name == "flavour" else np.nan
            values = ak.fill_none(padded[name][:, index], empty)
            out[f"l{index + 1}_{name}"] = ak.to_numpy(values).astype(float)
    if "phi" in names and "mass" in names:
        out["pair_mass"] = _pair_mass(out)
    if "tight" in names:
        out["n_tight"] = ak.to_numpy(ak.sum(both.tight, axis=1)).astype(float)
        out |= _loose_lepton(out, names)
        for index in (1, 2):  # a lepton that is not there is not tight
            out[f"l{index}_tight"] = out[f"l{index}_tight"] == 1
    return out


def _pair_mass(columns: Mapping[str, Array]) -> Array:
    """Return sqrt((E1 + E2)^2 - (p1 + p2)^2), shape (n,)."""
    pt, eta, phi, m = (
        [columns[f"l{i}_{name}"] for i in (1, 2)] for name in ("pt", "eta", "phi", "mass")
    )
    with np.errstate(invalid="ignore"):
        energy = [np.sqrt((pt[i] * np.cosh(eta[i])) ** 2 + m[i] ** 2) for i in (0, 1)]
        product = pt[0] * pt[1] * (np.cos(phi[0] - phi[1]) + np.sinh(eta[0]) * np.sinh(eta[1]))
        square = m[0] ** 2 + m[1] ** 2 + 2 * (energy[0] * energy[1] - product)
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _loose_lepton(columns: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    first, second = columns["l1_tight"] == 0, columns["l2_tight"] == 0
    one = first ^ second
    out = {}
    for name in (*(n for n in names if n != "tight"), "flavour"):
        chosen = np.where(first, columns[f"l1_{name}"], columns[f"l2_{name}"])
        out[f"loose_{name}"] = np.where(one, chosen, 0.0 if name == "flavour" else np.nan)
    return out
