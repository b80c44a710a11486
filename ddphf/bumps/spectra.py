"""Mass spectra from files, and why one is not scanned."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Histogram
from ddphf.inputs.readers import histogram_names, read_histogram

__all__ = ["BACKGROUND", "FEWEST_BINS", "MOST_BINS", "Spectrum", "check_counts", "read_spectra"]

BACKGROUND = "background"
"""Column or histogram of a file that is a known background of the others, not a spectrum."""

FEWEST_BINS, MOST_BINS = 12, 300

FEWEST_EVENTS = 20
"""Of a spectrum: with fewer no background is told from another."""

SUFFIXES = (".root", ".json", ".npz", ".csv")


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Counts of one mass spectrum.

    Attributes:
        name: File and histogram.
        edges: Of the bins, shape (n + 1,).
        counts: Observed, shape (n,).
        background: Known, or None.
        unit: Of the mass.
        weighted: Whether it was filled with weights.
        sources: Spectra that it is the sum of.
    """

    name: str
    edges: Array
    counts: Array
    background: Array | None = None
    unit: str = ""
    weighted: bool = False
    sources: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of edges and counts."""
        both = np.concatenate([self.edges, self.counts]).astype("<f8")
        return f"sha256:{hashlib.sha256(both.tobytes()).hexdigest()}"


def read_spectra(addresses: Sequence[str]) -> tuple[list[Spectrum], list[str]]:
    """Read spectra.

    Args:
        addresses: Files with all their histograms of one axis, ``file:name`` for one of them; with
            ``*``, ``?`` and ``[]`` in the name of a file all that match, in order of their names.

    Returns:
        The spectra, and the files.

    Raises:
        InputError: A file that is not there or cannot be read, a histogram of several axes, or
            nothing at all.
    """
    spectra: list[Spectrum] = []
    files: dict[str, None] = {}
    for address in addresses:
        for file, name in _expand(address):
            files[file] = None
            spectra += _read_file(file, name)
    for name, count in Counter(spectrum.name for spectrum in spectra).items():
        if count > 1:
            raise InputError(f"{name}: is there {count} times; name every spectrum once")
    if not spectra:
        raise InputError(f"{', '.join(addresses)}: no spectrum of one axis")
    return spectra, list(files)


def _expand(address: str) -> list[tuple[str, str | None]]:
    """Return file and histogram of what an address means."""
    file, name = address, None
    for suffix in SUFFIXES:
        head, found, tail = address.partition(f"{suffix}:")
        if found:
            file, name = head + suffix, tail
    if not any(letter in file for letter in "*?[") or Path(file).exists():
        return [(file, name)]
    matching = sorted(glob.glob(file, recursive=True))
    if not matching:
        raise InputError(f"{address}: no file matches")
    return [(path, name) for path in matching]


def _read_file(file: str, name: str | None) -> list[Spectrum]:
    known = histogram_names(file)
    wanted = [n for n in known if n != BACKGROUND] if name is None else [name]
    if not wanted:
        raise InputError(f"{file}: holds no spectrum beside '{BACKGROUND}'")
    background = _read(file, BACKGROUND) if BACKGROUND in known and len(known) > 1 else None
    out = []
    for one in wanted:
        found = _read(file, one)
        if len(found.axes) != 1:
            if name is None:
                continue
            raise InputError(f"{file}:{one}: has {len(found.axes)} axes; expected one, the mass")
        out.append(_spectrum(file, one, found, background))
    return out


def _read(file: str, name: str) -> Histogram:
    return read_histogram(f"{file}:{name}" if name else file)


def _spectrum(file: str, name: str, found: Histogram, background: Histogram | None) -> Spectrum:
    axis, known = found.axes[0], None
    label = f"{Path(file).as_posix()}:{name}" if name else Path(file).as_posix()
    if background is not None and len(background.axes) == 1:
        if not axis.same_edges(background.axes[0]):
            raise InputError(f"{label}: its bins are not those of '{BACKGROUND}' in the same file")
        known = background.flat
        if not (np.all(np.isfinite(known)) and np.all(known > 0)):
            raise InputError(f"{file}: '{BACKGROUND}' must be above 0 in every bin")
    counts = found.flat
    variances = found.variances
    weighted = found.weighted or bool(
        variances is not None and not np.allclose(variances, counts, rtol=1e-6, atol=1e-9)
    )
    return Spectrum(label, np.array(axis.edges), counts, known, axis.unit, weighted)


def check_counts(spectrum: Spectrum) -> str | None:
    """Return why counts are not those of a spectrum that can be scanned, None where they are.

    Example:
        >>> check_counts(Spectrum("s", np.arange(6.0), np.full(5, 7.0)))
        '5 bins; expected 12 to 300'
    """
    n, counts = len(spectrum.counts), spectrum.counts
    if not FEWEST_BINS <= n <= MOST_BINS:
        return f"{n} bins; expected {FEWEST_BINS} to {MOST_BINS}"
    bad = np.flatnonzero(~np.isfinite(counts))
    if bad.size:
        return f"bin {bad[0]} holds {counts[bad[0]]:g}; expected a count"
    bad = np.flatnonzero(counts < 0)
    if bad.size:
        return f"bin {bad[0]} holds {counts[bad[0]]:g}; expected a count of at least 0"
    bad = np.flatnonzero(counts != np.round(counts))
    if bad.size:
        return (
            f"bin {bad[0]} holds {counts[bad[0]]:g}; expected whole numbers: weighted events or "
            "fractions have no Poisson law"
        )
    if spectrum.weighted:
        return "its errors are not those of counts: weighted events have no Poisson law"
    if counts.max() > 1e12:
        return f"bin {int(counts.argmax())} holds {counts.max():g}; expected at most 1e12"
    if counts.sum() < FEWEST_EVENTS:
        return f"{counts.sum():g} events; expected at least {FEWEST_EVENTS}"
    return None
