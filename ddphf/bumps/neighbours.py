"""Sums of spectra of neighbouring exclusive multiplicities, where a resonance may be in both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.spectra import Spectrum
from ddphf.exceptions import InputError

__all__ = ["add_neighbours"]


def add_neighbours(spectra: Sequence[Spectrum], word: str) -> tuple[list[Spectrum], list[str]]:
    """Return the spectra and, after them, the sums of neighbours.

    Args:
        spectra: By names that hold the multiplicity before a word, ``ee_2jets``.
        word: Such as ``jets``.

    Returns:
        With the sums of n and n + 1 where all else in the names is the same, and sentences about
        neighbours of different bins, which have none.

    Raises:
        InputError: No two spectra are neighbours.

    Example:
        >>> two, three = (Spectrum(f"a.csv:{n}jets", np.arange(3.0), np.ones(2)) for n in "23")
        >>> found, _ = add_neighbours([two, three], "jets")
        >>> found[2].name, found[2].counts
        ('a.csv:2+3jets', array([2., 2.]))
    """
    pattern = re.compile(rf"(?P<head>.*?)(?P<n>\d+)(?P<tail>{re.escape(word)}.*)", re.DOTALL)
    known: dict[tuple[str, int, str], Spectrum] = {}
    for spectrum in spectra:
        found = pattern.fullmatch(spectrum.name)
        if found is not None:
            known[found["head"], int(found["n"]), found["tail"]] = spectrum
    sums, said = [], []
    for (head, n, tail), one in known.items():
        other = known.get((head, n + 1, tail))
        if other is None:
            continue
        if not np.array_equal(one.edges, other.edges):
            said.append(f"{one.name} and {other.name} have different bins, so no sum is scanned")
            continue
        pair = _join_partners(one, other)
        if pair is None:
            said.append(
                f"{one.name} and {other.name} have no partner samples with one ratio of "
                "efficiencies, so no sum is scanned"
            )
            continue
        both = (one.background, other.background)
        background = None if both[0] is None or both[1] is None else both[0] + both[1]
        sums.append(
            replace(
                one, name=f"{head}{n}+{n + 1}{tail}", counts=one.counts + other.counts,
                background=background, weighted=one.weighted or other.weighted,
                sources=(one.name, other.name), partner=pair[0], ratio=pair[1],
                held=tuple(dict.fromkeys((*one.held, *other.held))),
            )
        )  # fmt: skip
    if not sums and not said:
        raise InputError(
            f"--combine {word}: no two names differ by one in the number before '{word}'"
        )
    return [*spectra, *sums], said


def _join_partners(one: Spectrum, other: Spectrum) -> tuple[Array | None, Array | None] | None:
    """Return the partner sample of a sum with its ratio; None where there is none.

    A sample that both share is there once, and predicts the sum of both: added to itself it would
    have twice the variance of counts.
    """
    a, b = one.partner, other.partner
    if a is None or b is None:
        return (None, None) if a is b else None
    if np.array_equal(a, b) and a.any():
        return a, one.ratios + other.ratios
    return (a + b, one.ratio) if np.array_equal(one.ratios, other.ratios) else None
