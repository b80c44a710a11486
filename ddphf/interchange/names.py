"""Names that every reader takes: letters, digits and underscores, each once in a document."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Names"]


class Names:
    """Makes names that RooFit, Combine and generic expressions accept, and remembers the originals.

    Attributes:
        changed: The original of each name that had to be changed.

    Example:
        >>> names = Names()
        >>> names.make("SR high-mass"), names.make("SR_high_mass"), names.make("2mu")
        ('SR_high_mass', 'SR_high_mass_2', 'n2mu')
        >>> names.make("SR high-mass"), names.make("2mu", kind="parameter")
        ('SR_high_mass', 'n2mu_2')
        >>> names.changed["n2mu"]
        '2mu'
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.changed: dict[str, str] = {}
        self._made: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set(reserved)
        self._numbers: dict[str, int] = {}

    def make(self, original: str, kind: str = "", avoid: tuple[str, ...] = ()) -> str:
        """Return the name for an original, always the same one; each kind has names of its own.

        Args:
            original: The name as it is.
            kind: What is named.
            avoid: Beginnings that mean something else to the reader.
        """
        key = (kind, original)
        if key not in self._made:
            plain = re.sub(r"[^A-Za-z0-9_]", "_", original) or "n"
            if not plain[0].isalpha() or plain.startswith(avoid):
                plain = f"n{plain}"
            # from the last number on: foreign names may all become the same one
            number = self._numbers.get(plain, 1)
            name = plain if number == 1 else f"{plain}_{number}"
            while name in self._taken:
                number += 1
                name = f"{plain}_{number}"
            self._taken.add(name)
            self._numbers[plain] = number
            self._made[key] = name
            if name != original:
                self.changed[name] = original
        return self._made[key]
