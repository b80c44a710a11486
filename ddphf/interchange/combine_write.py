"""A workspace as a Combine datacard with its histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.interchange.combine_norms import code4_formula, largest_difference
from ddphf.interchange.combine_parts import Card, split_channels
from ddphf.interchange.names import Names
from ddphf.interchange.terms import Component, read_components
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.provenance import read_mark
from ddphf.text import clean_text, list_names

__all__ = ["Datacard", "write_card", "write_histograms"]

RESERVED = ("r", "data_obs", "channelCat", "CMS_th1x", "CMS_channel", "MH")
"""What Combine calls something itself."""

UNIT_BOUNDS = (-5.0, 5.0)
"""pyhf's own of a unit Gaussian nuisance."""


@dataclass(frozen=True)
class Datacard:
    """A card, its histograms, and what differs.

    Attributes:
        text: The card.
        histograms: Contents by the path in the ROOT file, bins of width 1 from 0.
        notes: Differences from pyhf's likelihood, with numbers.
    """

    text: str
    histograms: dict[str, Array]
    notes: tuple[str, ...]


def write_card(reference: ReferenceModel, root_file: str, *, exact: bool = False) -> Datacard:
    """Return the Combine datacard of a measurement.

    ``histosys`` become ``shape`` lines under hist-mode 2 of ``autoMCStats``, whose morphing is
    pyhf's; free and per-bin factors rateParams; ``normsys`` are ``lnN``, whose factors between
    -1 and +1 differ from pyhf's, or rateParams with pyhf's formula.

    Args:
        reference: The measurement.
        root_file: Name of the file of histograms, as the card has it.
        exact: Whether every ``normsys`` is written as a formula.

    Raises:
        ModelError: The measurement has no free POI or no signal, or says what a card cannot.
        InputError: It would take too many histograms.

    Source: https://cms-analysis.github.io/HiggsAnalysis-CombinedLimit (v10.2).

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> card = write_card(one_bin(), "card.root")
        >>> sorted(card.histograms)[:2]
        ['auxiliary_uncorr_bkguncrt_bin_0/auxiliary', 'auxiliary_uncorr_bkguncrt_bin_0/data_obs']
        >>> print([line for line in card.text.splitlines() if "rateParam" in line][1])
        uncorr_bkguncrt_bin_0 rateParam singlechannel_bin_0 background 1.0 [1e-10,10.0]
    """
    components = read_components(reference)
    poi = reference.parameters.poi
    if poi is None or components[poi].fixed or components[poi].kind != "normfactor":
        raise ModelError(
            f"measurement '{reference.measurement}': Combine's r needs a POI that is a free "
            "normfactor; choose by --measurement, or state one"
        )
    names = Names(RESERVED)
    observed = {o["name"]: o["data"] for o in reference.workspace["observations"]}
    card = split_channels(
        reference.workspace["channels"], observed, components, components[poi].modifier, names
    )
    if not any(process.signal for channel in card.bins for process in channel.processes):
        raise ModelError(
            f"measurement '{reference.measurement}': nothing is expected of the samples that "
            f"'{components[poi].modifier}' scales, and Combine needs a signal; give them yields"
        )
    shaped = {n for b in card.bins for p in b.processes for n in p.shapes}
    # before the text, whose own formulas take the names that nobody has
    notes = (*_left_out(reference, components, exact), *_notes(card, names, shaped, exact))
    text = "\n".join(_Lines(card, names, shaped, exact).lines(reference, root_file, poi))
    return Datacard(f"{text}\n", _histograms(card), notes)


def write_histograms(histograms: Mapping[str, Array], path: str | Path) -> None:
    """Write histograms with bins of width 1 from 0 into a ROOT file.

    Args:
        histograms: Contents by their path in the file.
        path: The file.
    """
    import uproot

    with uproot.recreate(path) as file:
        for name, contents in histograms.items():
            file[name] = (np.asarray(contents, dtype=float), np.arange(len(contents) + 1.0))


def _histograms(card: Card) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for path, contents in _named(card):
        if path in out:  # a_b with c and a with b_c are one name to Combine
            raise ModelError(
                f"two histograms would be called '{path}', by sample and histosys; rename one of "
                "the samples"
            )
        out[path] = contents
    return out


def _named(card: Card) -> Iterator[tuple[str, Array]]:
    """Give each histogram under the path where Combine looks for it."""
    for channel in card.bins:
        yield f"{channel.name}/data_obs", channel.data
        for process in channel.processes:
            yield f"{channel.name}/{process.name}", process.yields
            for nuisance, (up, down) in process.shapes.items():
                yield f"{channel.name}/{process.name}_{nuisance}Up", up
                yield f"{channel.name}/{process.name}_{nuisance}Down", down


def _left_out(
    reference: ReferenceModel, components: Sequence[Component], exact: bool
) -> Iterator[str]:
    """Say what of the workspace is not in the card."""
    others = [m["name"] for m in reference.workspace["measurements"]]
    others.remove(str(reference.measurement))
    if others:
        yield (
            f"a card has one measurement, here '{reference.measurement}'; left out (choose by "
            f"--measurement): {list_names(others)}"
        )
    lost = [
        c.modifier
        for c in components
        if c.kind in ("normsys", "histosys") and not c.fixed
        and (c.init != 0 or (not exact and (c.low, c.high) != UNIT_BOUNDS))
    ]  # fmt: skip
    if lost:
        yield f"bounds and starting values are Combine's, of {list_names(lost)}"


def _notes(card: Card, names: Names, shaped: set[str], exact: bool) -> Iterator[str]:
    """Say where the card's likelihood is not pyhf's, and by how much."""
    # the bins of a channel have the same ones, so each is looked at once
    norms = {item for b in card.bins for p in b.processes for item in p.norms.items()}
    worst: dict[str, float] = {}
    for nuisance, norm in norms:
        if not exact and nuisance not in shaped:
            worst[nuisance] = max(worst.get(nuisance, 0.0), largest_difference(*norm))
    if worst:
        name = max(sorted(worst), key=lambda n: worst[n])
        yield (
            f"{len(worst)} lnN: between -1 and +1 sigma their factors differ from pyhf's by up to "
            f"{worst[name]:.2g} ('{name}'); --exact writes pyhf's formula"
        )
    below = {
        n for b in card.bins for p in b.processes for n, ends in p.shapes.items()
        if np.min(ends) < 0
    }  # fmt: skip
    if below:
        yield (
            "Combine cuts processes off at 0 and pyhf does not, which differs where yields are "
            f"below 0 at one sigma: {list_names(sorted(below))}"
        )
    if renamed := [f"{original} -> {name}" for name, original in names.changed.items()]:
        yield f"renamed for Combine: {list_names(renamed)}"


class _Lines:
    """The lines of one card."""

    def __init__(self, card: Card, names: Names, shaped: set[str], exact: bool) -> None:
        self._card, self._names, self._shaped, self._exact = card, names, shaped, exact
        self._columns = [(b, p) for b in card.bins for p in b.processes]

    def lines(self, reference: ReferenceModel, root_file: str, poi: int) -> Iterator[str]:
        component = read_components(reference)[poi]
        card = self._card
        yield f"# measurement {_comment(str(reference.measurement))} of a pyhf workspace"
        yield (
            f"# r is {_comment(component.modifier)}: --setParameterRanges "
            f"r={component.low!r},{component.high!r} --setParameters r={component.init!r}"
        )
        if (mark := read_mark({"measurements": reference.workspace["measurements"]})) is not None:
            yield f"# {mark.name}"
        signals = list(dict.fromkeys(p.name for _, p in self._columns if p.signal))
        others = list(dict.fromkeys(p.name for _, p in self._columns if not p.signal))
        yield f"imax {len(card.bins)}"
        yield f"jmax {len(signals) + len(others) - 1}"
        yield "kmax *"
        yield "---"
        yield f"shapes * * {root_file} $CHANNEL/$PROCESS $CHANNEL/$PROCESS_$SYSTEMATIC"
        yield "---"
        yield _row("bin", (b.name for b in card.bins))
        yield _row("observation", ("-1" for _ in card.bins))
        yield "---"
        numbers = {name: -index for index, name in enumerate(signals)}
        numbers |= {name: index + 1 for index, name in enumerate(others)}
        yield _row("bin", (b.name for b, _ in self._columns))
        yield _row("process", (p.name for _, p in self._columns))
        yield _row("process", (str(numbers[p.name]) for _, p in self._columns))
        yield _row("rate", ("-1" for _ in self._columns))
        yield "---"
        yield from self._systematics()
        yield from self._factors()
        # hist-mode 2: shapes move absolute yields, as a histosys does; no errors of bins (-1)
        yield "* autoMCStats -1 0 2"

    def _is_formula(self, nuisance: str) -> bool:
        return self._exact or nuisance in self._shaped

    def _systematics(self) -> Iterator[str]:
        for nuisance, (low, high) in self._card.nuisances.items():
            if nuisance in self._shaped:
                yield _row(
                    f"{nuisance} shape",
                    ("1" if nuisance in p.shapes else "-" for _, p in self._columns),
                )
            elif self._is_formula(nuisance):
                yield f"{nuisance} param 0 1 [{low!r},{high!r}]"
            else:
                yield _row(
                    f"{nuisance} lnN", (_kappa(p.norms.get(nuisance)) for _, p in self._columns)
                )

    def _factors(self) -> Iterator[str]:
        for name, (centre, width) in self._card.gaussian.items():
            _, low, high = self._card.free[name]
            yield f"{name} param {centre!r} {width!r} [{low!r},{high!r}]"
        known: dict[tuple[str, float, float], str] = {}
        for channel, process in self._columns:
            for name in process.factors:
                start, low, high = self._card.free[name]
                yield (
                    f"{name} rateParam {channel.name} {process.name} {start!r} [{low!r},{high!r}]"
                )
            for nuisance, (high, low) in process.norms.items():
                if not self._is_formula(nuisance):
                    continue
                wanted = self._names.make(f"{nuisance}_factor_{len(known)}", "factor")
                name = known.setdefault((nuisance, high, low), wanted)
                yield (
                    f"{name} rateParam {channel.name} {process.name} "
                    f"{code4_formula(high, low)} {nuisance}"
                )


def _comment(name: str) -> str:
    """Return a foreign name that ends no line."""
    return str(clean_text(name))


def _row(head: str, cells: Iterator[str]) -> str:
    return " ".join([head, *cells])


def _kappa(norm: tuple[float, float] | None) -> str:
    """Return the entry of an lnN: down/up factors."""
    return "-" if norm is None else f"{norm[1]!r}/{norm[0]!r}"
