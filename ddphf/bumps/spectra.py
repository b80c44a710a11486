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

__all__ = [
    "BACKGROUND", "COUNTS", "FEWEST_BINS", "MOST_BINS", "PARTNER", "RATIO", "Spectrum",
    "check_counts", "read_spectra",
]  # fmt: skip

BACKGROUND = "background"
"""Column or histogram of a file that is a known background of the others, not a spectrum."""

PARTNER, RATIO = "partner", "ratio"
"""Those that are counts of the partner sample of a symmetry, and the ratio of its efficiencies
(that of the spectrum over that of the partner)."""

COUNTS = "counts"
"""The word for those of spectrum and partner."""

BESIDE = (BACKGROUND, PARTNER, RATIO)

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
        partner: Counts of the partner sample of a symmetry, or None.
        ratio: Of the efficiencies, spectrum over partner, shape (n,); None for 1.
        held: What stands beside it with errors that are not used.
    """

    name: str
    edges: Array
    counts: Array
    background: Array | None = None
    unit: str = ""
    weighted: bool = False
    sources: tuple[str, ...] = ()
    partner: Array | None = None
    ratio: Array | None = None
    held: tuple[str, ...] = ()

    @property
    def ratios(self) -> Array:
        """Of the efficiencies, 1 where none was stated, shape (n,)."""
        return np.ones(len(self.counts)) if self.ratio is None else self.ratio

    @property
    def digest(self) -> str:
        """SHA-256 of edges and counts, and of the partner sample with its ratio."""
        beside = [] if self.partner is None else [self.partner, self.ratios]
        both = np.concatenate([self.edges, self.counts, *beside]).astype("<f8")
        return f"sha256:{hashlib.sha256(both.tobytes()).hexdigest()}"


def read_spectra(
    addresses: Sequence[str], partner: str | None = None
) -> tuple[list[Spectrum], list[str]]:
    """Read spectra.

    Args:
        addresses: Files with all their histograms of one axis, ``file:name`` for one of them; with
            ``*``, ``?`` and ``[]`` in the name of a file all that match, in order of their names.
        partner: File, or ``file:name``, with the partner sample of all of them and, by that name,
            the ratio of efficiencies.

    Returns:
        The spectra, and the files.

    Raises:
        InputError: A file that is not there or cannot be read, a histogram of several axes, one
            spectrum twice, or nothing at all.
    """
    spectra: list[Spectrum] = []
    files: dict[str, None] = {}
    shared: dict[str, Histogram] = {}
    if partner is not None:
        file, shared = _read_partner(partner)
        files[file] = None
    for address in addresses:
        for file, name in _expand(address):
            files[file] = None
            spectra += _read_file(file, name, shared)
    for name, count in Counter(spectrum.name for spectrum in spectra).items():
        if count > 1:
            raise InputError(f"{name}: is there {count} times; name every spectrum once")
    _refuse_copies(spectra)
    if not spectra:
        raise InputError(f"{', '.join(addresses)}: no spectrum of one axis")
    return spectra, list(files)


def _refuse_copies(spectra: Sequence[Spectrum]) -> None:
    """Refuse the same counts by two names: they would count twice in what is said of all."""
    known: dict[bytes, Spectrum] = {}
    for spectrum in spectra:
        key = np.concatenate([spectrum.edges, spectrum.counts + 0.0]).tobytes()  # 0 for -0
        other = known.setdefault(key, spectrum)
        if other is not spectrum and spectrum.counts.any():
            raise InputError(
                f"{spectrum.name}: has the bins and counts of {other.name}; one spectrum counts "
                "once: leave one of them out"
            )


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


def _read_partner(address: str) -> tuple[str, dict[str, Histogram]]:
    """Return the file of ``--partner``, and what it holds."""
    ((file, name), *more) = _expand(address)
    if more:
        raise InputError(f"--partner {address}: {len(more) + 1} files match; name one")
    known = histogram_names(file)
    if name is None:
        found = [n for n in known if n not in BESIDE] or [n for n in known if n == PARTNER]
        found = [PARTNER] if PARTNER in known else found
        if len(found) != 1:
            raise InputError(
                f"--partner {file}: holds {', '.join(known)}; name one, as in {file}:{known[0]}"
            )
        (name,) = found
    out = {PARTNER: _read(file, name)}
    if RATIO in known and name != RATIO:
        out[RATIO] = _read(file, RATIO)
    if any(len(one.axes) != 1 for one in out.values()):
        raise InputError(f"--partner {file}: has several axes; expected one, the mass")
    return file, out


def _read_file(file: str, name: str | None, shared: dict[str, Histogram]) -> list[Spectrum]:
    known = histogram_names(file)
    wanted = [n for n in known if n not in BESIDE] if name is None else [name]
    if not wanted:
        raise InputError(f"{file}: holds no spectrum beside '{BACKGROUND}'")
    beside = {n: _read(file, n) for n in BESIDE if n in known and len(known) > 1 and n != name}
    if PARTNER in beside and shared:
        raise InputError(f"{file}: holds a '{PARTNER}' of its own; leave --partner out")
    beside |= shared
    out = []
    for one in wanted:
        found = _read(file, one)
        if len(found.axes) != 1:
            if name is None:
                continue
            raise InputError(f"{file}:{one}: has {len(found.axes)} axes; expected one, the mass")
        out.append(_spectrum(file, one, found, beside))
    return out


def _read(file: str, name: str) -> Histogram:
    return read_histogram(f"{file}:{name}" if name else file)


def _spectrum(file: str, name: str, found: Histogram, beside: dict[str, Histogram]) -> Spectrum:
    axis = found.axes[0]
    label = f"{Path(file).as_posix()}:{name}" if name else Path(file).as_posix()
    values: dict[str, Array] = {}
    for what, other in beside.items():
        if len(other.axes) != 1:
            continue
        if not axis.same_edges(other.axes[0]):
            raise InputError(f"{label}: its bins are not those of '{what}'")
        values[what] = other.flat
        if what != PARTNER and not (np.all(np.isfinite(other.flat)) and np.all(other.flat > 0)):
            raise InputError(f"{file}: '{what}' must be above 0 in every bin")
    partner = beside.get(PARTNER) if PARTNER in values else None
    held = tuple(n for n in (BACKGROUND, RATIO) if n in values and _has_errors(beside[n]))
    if found.error_columns or (partner is not None and partner.error_columns):
        held = (COUNTS, *held)
    if RATIO in values and partner is None:
        raise InputError(f"{file}: holds a '{RATIO}' of efficiencies and no '{PARTNER}'")
    return Spectrum(
        label, np.array(axis.edges), found.flat, values.get(BACKGROUND), axis.unit,
        _is_weighted(found) or (partner is not None and _is_weighted(partner)),
        partner=values.get(PARTNER), ratio=values.get(RATIO), held=held,
    )  # fmt: skip


def _has_errors(found: Histogram) -> bool:
    return found.variances is not None or bool(found.error_columns)


def _is_weighted(found: Histogram) -> bool:
    """Return whether the errors of a histogram are not those of counts."""
    v = found.variances
    return found.weighted or bool(
        v is not None and not np.allclose(v, found.flat, rtol=1e-6, atol=1e-9)
    )


def check_counts(spectrum: Spectrum) -> str | None:
    """Return why counts are not those of a spectrum that can be scanned, None where they are.

    Example:
        >>> check_counts(Spectrum("s", np.arange(6.0), np.full(5, 7.0)))
        '5 bins; expected 12 to 300'
    """
    n, counts = len(spectrum.counts), spectrum.counts
    if not FEWEST_BINS <= n <= MOST_BINS:
        return f"{n} bins; expected {FEWEST_BINS} to {MOST_BINS}"
    wrong = _not_counts(counts)
    if wrong is None and spectrum.partner is not None:
        wrong = _not_counts(spectrum.partner)
        wrong = wrong and f"partner: {wrong}"
    if wrong is not None:
        return wrong
    if spectrum.weighted:
        whose = "its errors" if spectrum.partner is None else "its errors or its partner's"
        return f"{whose} are not those of counts: weighted events have no Poisson law"
    if spectrum.partner is not None and np.array_equal(counts, spectrum.partner):
        return "its partner sample holds its own counts; name the sample of the other side"
    if counts.sum() < FEWEST_EVENTS:
        return f"{counts.sum():g} events; expected at least {FEWEST_EVENTS}"
    return None


def _not_counts(counts: Array) -> str | None:
    """Return which bin holds no count, None where all do."""
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
    if counts.max() > 1e12:
        return f"bin {int(counts.argmax())} holds {counts.max():g}; expected at most 1e12"
    return None
