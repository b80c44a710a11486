"""Branches of a tree by name: full paths, leaves of structs, elements of jagged branches."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.exceptions import InputError
from ddphf.guards import check_decoded
from ddphf.text import did_you_mean

__all__ = ["ELEMENT", "LENGTH", "Branches", "flat_branches", "tree_branches"]

ELEMENT = re.compile(r"^(?P<branch>.+)\[(?P<index>\d+)\]$")
LENGTH = re.compile(r"^len\((?P<branch>.+)\)$")

NUMERIC = re.compile(r"^(std::)?(u?int\d+_t|double|float|bool)$")


@dataclass
class Branches:
    """What a tree, or a table with lists and structs, holds.

    Attributes:
        paths: Full paths, parts joined by / or dots.
        load: Reads one of them, as an awkward or numpy array.
        where: Of the tree, for messages.
    """

    paths: Sequence[str]
    load: Callable[[str], Any]
    where: str
    _read: dict[str, Any] = field(default_factory=dict)

    def resolve(self, name: str, *, ignore_case: bool = False) -> str | None:
        """Return the path that a name stands for: a full path, or the end of a single one.

        Returns:
            None where there is none.

        Raises:
            InputError: Several end so; says which.

        Example:
            >>> branches = Branches(["a/time", "b/time", "b/mom"], lambda path: None, "t")
            >>> branches.resolve("mom"), branches.resolve("a.time"), branches.resolve("x")
            ('b/mom', 'a/time', None)
        """
        wanted = _parts(name, ignore_case)
        found = [p for p in self.paths if _parts(p, ignore_case)[-len(wanted) :] == wanted]
        whole = [p for p in found if len(_parts(p, ignore_case)) == len(wanted)]
        exact = [p for p in found if p == name]
        found = exact or whole or found
        if len(found) > 1 and len(set(found)) == 1:
            raise InputError(
                f"{self.where}: '{found[0]}' is the full path of {len(found)} branches, which "
                "nothing tells apart; rename one when the tree is written"
            )
        if len(found) > 1:
            raise InputError(
                f"{self.where}: '{name}' is the name of {len(found)} branches; write one of "
                f"{', '.join(found)} (in backquotes in an expression, as the column of an axis "
                f'is: "`{found[0]}`")'
            )
        return next(iter(found), None)

    def read(self, name: str, *, ignore_case: bool = False) -> Any:
        """Return one branch.

        Raises:
            InputError: There is none of this name, or several.
        """
        path = self.resolve(name, ignore_case=ignore_case)
        if path is None:
            start = _parts(name, ignore_case)
            inside = [p for p in self.paths if _parts(p, ignore_case)[: len(start)] == start]
            known = ", ".join(sorted(inside or self.paths)[:20]) or "none"
            hint = did_you_mean(name, self.paths)
            raise InputError(
                f"{self.where}: '{name}' holds several branches; write one of {known}"
                if inside
                else f"{self.where}: no branch '{name}'; {hint}it has: {known}"
            )
        if path not in self._read:
            self._read[path] = self.load(path)
        return self._read[path]

    def column(self, name: str) -> Any:
        """Return one number per event: a flat branch, ``J[0]``, or ``len(J)``.

        Raises:
            InputError: No such branch, or one of another depth.
        """
        import awkward as ak

        element, length = ELEMENT.match(name), LENGTH.match(name)
        if element is not None and name not in self.paths:
            index = int(element["index"])
            chosen = ak.pad_none(self._jagged(element["branch"]), index + 1, axis=1)[:, index]
            if ak.fields(chosen) or chosen.ndim > 1:
                raise InputError(
                    f"{self.where}: '{name}' holds several numbers per event; name one of them"
                )
            holes = np.asarray(ak.is_none(chosen))
            return np.asarray(ak.to_numpy(ak.fill_none(chosen, np.nan) if holes.any() else chosen))
        if length is not None:
            return ak.to_numpy(ak.num(self._jagged(length["branch"]), axis=1))
        values = self.read(name)
        if ak.fields(values):
            raise InputError(
                f"{self.where}: branch '{name}' holds several, {', '.join(ak.fields(values))}; "
                f"write '{name}/{ak.fields(values)[0]}', in backquotes in an expression"
            )
        if values.ndim != 1:
            raise InputError(
                f"{self.where}: branch '{name}' has several numbers per event; write '{name}[0]' "
                f"or 'len({name})', in backquotes in an expression"
            )
        return np.asarray(ak.to_numpy(values))

    def _jagged(self, branch: str) -> Any:
        values = self.read(branch)
        if values.ndim < 2:
            raise InputError(
                f"{self.where}: branch '{branch}' has one number per event; write '{branch}'"
            )
        return values


def _parts(path: str, ignore_case: bool) -> list[str]:
    text = path.lower() if ignore_case else path
    return [part for part in re.split(r"[./]", text) if part]


def tree_branches(tree: Any, where: str, packed: int) -> Branches:
    """Return the branches of a TTree or RNTuple.

    Args:
        tree: As uproot reads it.
        where: What to call it in messages.
        packed: Bytes of the file, which limit those of a branch.
    """
    paths: list[str] = []
    leaves: dict[str, tuple[Any, str]] = {}
    for key, branch in tree.items():  # a tree may hold one path twice, so not tree[key]
        members = getattr(branch, "member", None)
        found = (members("fLeaves") or ()) if members else ()
        names = [str(leaf.member("fName")) for leaf in found] if len(found) > 1 else []
        # Several leaves: a struct of numbers, written as one branch.
        given = {f"{key.rstrip('.')}/{name}": (branch, name) for name in names}
        given = given or {key: (branch, "")}
        paths += given
        leaves |= given

    def load(path: str) -> Any:
        branch, name = leaves[path]
        check_decoded(getattr(branch, "uncompressed_bytes", 0), packed, where)
        # uproot makes the array of all entries that the branch says it has before it reads one.
        kind = getattr(getattr(branch, "interpretation", None), "to_dtype", np.dtype(float))
        check_decoded(float(kind.itemsize) * getattr(branch, "num_entries", 0), packed, where)
        check_decoded(8.0 * _numbers_claimed(tree, branch), packed, where)
        values = branch.array(library="ak")
        return values[name] if name else values

    return Branches(paths, load, where)


def _numbers_claimed(tree: Any, branch: Any) -> int:
    """Return how many numbers a field's longest column says that its pages hold.

    Of an RNTuple: uproot makes the array for them before it reads a page. Other columns may be as
    long as they like: nobody reads them.
    """
    pages, field = getattr(tree, "page_link_list", ()), getattr(branch, "field_id", None)
    if field is None:
        return 0
    own = {field}
    for number, record in enumerate(tree.field_records):  # a parent stands before its parts
        if record.parent_field_id in own:
            own.add(number)
    columns = [c for c, record in enumerate(tree.column_records) if record.field_id in own]
    # A negative number marks a page with a checksum.
    return max(
        (
            sum(abs(int(page.num_elements)) for cluster in pages for page in cluster[column].pages)
            for column in columns
        ),
        default=0,
    )


def flat_branches(tree: Any) -> list[str]:
    """Return the branches of a TTree or RNTuple that are numbers; in lists, too, of an RNTuple."""
    return [key for key, branch in tree.items() if NUMERIC.match(branch.typename or "")]
