"""An HS3 document by anybody: its parts by name, each of the form that is expected of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.guards import LONGEST_NAME
from ddphf.text import did_you_mean, list_names

__all__ = ["Document", "entries", "is_hs3", "number", "numbers", "refuse_unknown", "text"]

TOP_LEVEL = {
    "analyses", "data", "distributions", "domains", "functions", "likelihoods", "metadata", "misc",
    "parameter_points",
}  # fmt: skip


def is_hs3(document: Any) -> bool:
    """Return whether a JSON document says that it is HS3.

    Example:
        >>> is_hs3({"metadata": {"hs3_version": "0.2"}}), is_hs3({"channels": []})
        (True, False)
    """
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return isinstance(metadata, dict) and "hs3_version" in metadata


@dataclass
class Document:
    """The objects of a document.

    Args:
        spec: JSON data.

    Raises:
        InputError: No HS3, another form than the standard's, or two objects of one name.
    """

    spec: Spec
    distributions: dict[str, Spec] = field(init=False)
    functions: dict[str, Spec] = field(init=False)
    data: dict[str, Spec] = field(init=False)
    likelihoods: dict[str, Spec] = field(init=False)
    domains: dict[str, Spec] = field(init=False)
    points: dict[str, Spec] = field(init=False)
    analyses: dict[str, Spec] = field(init=False)

    def __post_init__(self) -> None:
        if not is_hs3(self.spec):
            raise InputError("no HS3 document: it has no metadata.hs3_version")
        if extra := sorted(set(self.spec) - TOP_LEVEL):
            raise InputError(f"HS3: unknown component '{extra[0]}' at the top level")
        self.distributions = self._named("distributions")
        self.functions = self._named("functions")
        self.data = self._named("data")
        self.likelihoods = self._named("likelihoods")
        self.domains = self._named("domains")
        self.points = self._named("parameter_points")
        self.analyses = self._named("analyses")

    def _named(self, component: str) -> dict[str, Spec]:
        out: dict[str, Spec] = {}
        for entry in entries(self.spec.get(component, []), component):
            name = text(entry.get("name"), f"{component}: name")
            if name in out:
                raise InputError(f"HS3 {component}: '{name}' is there twice")
            out[name] = entry
        return out

    def find(self, component: str, known: dict[str, Spec], name: Any) -> Spec:
        """Return an object by name.

        Raises:
            InputError: There is none.
        """
        wanted = text(name, f"{component}: a name")
        if wanted not in known:
            raise InputError(
                f"HS3 {component}: no '{wanted}'; {did_you_mean(wanted, known)}it has: "
                f"{list_names(sorted(known)) or 'none'}"
            )
        return known[wanted]


def entries(node: Any, what: str) -> list[Spec]:
    """Return a list of JSON objects.

    Raises:
        InputError: It is none.
    """
    if not isinstance(node, list) or not all(isinstance(entry, dict) for entry in node):
        raise InputError(f"HS3 {what}: expected a list of objects")
    return node


def text(node: Any, what: str) -> str:
    """Return a name.

    Raises:
        InputError: It is none.
    """
    if not isinstance(node, str) or not 0 < len(node) <= LONGEST_NAME:
        raise InputError(f"HS3 {what}: expected a text of 1 to {LONGEST_NAME} characters")
    return node


def number(node: Any, what: str) -> float:
    """Return a finite number.

    Raises:
        InputError: It is none.
    """
    if isinstance(node, bool) or not isinstance(node, (int, float)):
        raise InputError(f"HS3 {what}: expected a number, got {type(node).__name__}")
    try:
        value = float(node)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise InputError(f"HS3 {what}: expected a finite number")
    return value


def numbers(node: Any, what: str, size: int | None = None) -> list[float]:
    """Return a list of finite numbers, of a given length where one is expected.

    Raises:
        InputError: It is none.
    """
    if not isinstance(node, list):
        raise InputError(f"HS3 {what}: expected a list of numbers")
    out = [number(value, what) for value in node]
    if size is not None and len(out) != size:
        raise InputError(f"HS3 {what}: {len(out)} numbers for {size} bins")
    return out


def refuse_unknown(node: Spec, known: Iterable[str], what: str) -> None:
    """Refuse keys whose meaning would be lost.

    Raises:
        InputError: Names the first.
    """
    if extra := sorted(set(node) - set(known)):
        raise InputError(f"HS3 {what}: unknown component '{extra[0]}', which ddphf cannot convert")
