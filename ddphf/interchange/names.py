"""Names that every reader takes: letters, digits and underscores, each once in a document."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Names", "check_unique"]

from ddphf.exceptions import InputError


class Names:
    """Makes names that RooFit, Combine and generic expressions accept, and remembers the originals.

    Attributes:
        changed: The original of each name that had to be changed.

    Example:
        >>> names = Names()
        >>> names.make("SR high-mass"), names.make("SR_high_mass"), names.make("2mu")
        ('SR_high_mass', 'SR_high_mass_2', 'n2mu')
        >>> names.make("SR high-mass")
        'SR_high_mass'
        >>> names.changed["n2mu"]
        '2mu'
    """

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self._made: dict[str, str] = {}
        self._taken: set[str] = set()

    def make(self, original: str) -> str:
        """Return the name for an original, always the same one."""
        if original not in self._made:
            plain = re.sub(r"[^A-Za-z0-9_]", "_", original) or "n"
            if not plain[0].isalpha():
                plain = f"n{plain}"
            name, number = plain, 1
            while name in self._taken:
                number += 1
                name = f"{plain}_{number}"
            self._taken.add(name)
            self._made[original] = name
            if name != original:
                self.changed[name] = original
        return self._made[original]


def check_unique(names: Iterable[str], what: str) -> None:
    """Refuse two objects of one name.

    Raises:
        InputError: Names it.

    Example:
        >>> check_unique(["a", "b"], "parameters")
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"two {what} are called '{name}' in the other format; rename one")
        seen.add(name)
