"""Parameters per bin of an HS3 document, as the pyhf modifier that their constraint terms make."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ddphf.exceptions import InputError
from ddphf.interchange.hs3_channels import Channel, Modifier, Sample
from ddphf.interchange.terms import Constraint

__all__ = ["SHAPESYS", "Group", "ShapesysVals", "Use", "classify", "implied_term"]

ShapesysVals = Literal["relative", "absolute", "counts", "root-counts"]

SHAPESYS: tuple[ShapesysVals, ...] = ("relative", "absolute", "counts", "root-counts")
"""What the ``vals`` of a shapesys may be: relative errors (ROOT 6.40), absolute ones (pyhs3), the
auxiliary counts (older ROOT), their square roots (the text of the standard)."""

SAME = 1e-9
"""Relative difference below which two statements of an auxiliary count are one."""


@dataclass(frozen=True)
class Use:
    """One modifier where it stands."""

    channel: Channel
    sample: Sample
    modifier: Modifier


@dataclass(frozen=True)
class Group:
    """A list of parameters per bin, and the pyhf modifier that it is.

    Attributes:
        kind: ``shapefactor``, ``shapesys`` or ``staterror``.
        errors: Absolute errors per bin of each (channel, sample); empty for a shapefactor.
        centres: Auxiliary data where they are not at the nominal, else None.
    """

    kind: str
    errors: dict[tuple[str, str], list[float]]
    centres: list[float] | None


def classify(
    parameters: Sequence[str],
    uses: Sequence[Use],
    constraints: Mapping[str, Constraint],
    dead: Collection[int],
    all_held: bool,
) -> Group:
    """Return what a list of parameters is in pyhf.

    Args:
        parameters: One per bin.
        uses: Every modifier that has this list.
        constraints: Constraint terms by parameter.
        dead: Bins whose parameter is constant where the others are not.
        all_held: Whether no measurement leaves any of them free.

    Raises:
        InputError: pyhf has no modifier with these constraint terms in these places.
    """
    where = f"parameters '{parameters[0]}' to '{parameters[-1]}'"
    live = {i: constraints.get(name) for i, name in enumerate(parameters) if i not in dead}
    kinds = {None if term is None else term.kind for term in live.values()}
    if len(kinds) > 1:
        raise InputError(
            f"HS3 {where}: constraint terms of several kinds, or in some of the bins; pyhf has one "
            "kind for all bins of a modifier"
        )
    kind = next(iter(kinds))
    if kind is None:
        if dead:
            raise InputError(
                f"HS3 {where}: some are constant; pyhf holds all bins of a shapefactor, or none"
            )
        return Group("shapefactor", {}, None)
    samples = _samples(where, uses, kind)
    channel = uses[0].channel
    errors: dict[tuple[str, str], list[float]] = {
        (channel.name, sample.name): [0.0] * channel.size for sample in samples
    }
    centres = [1.0] * channel.size
    moved = False
    for index, term in live.items():
        assert term is not None
        nominal = 1.0 if kind == "gaussian" else term.width
        moved |= not math.isclose(term.centre, nominal, rel_tol=SAME)
        centres[index] = term.centre
        total = sum(sample.contents[index] for sample in samples)
        if total <= 0 and all_held:
            continue
        if total <= 0:
            raise InputError(
                f"HS3 channel '{channel.name}', bin {index}: '{parameters[index]}' is "
                f"constrained and scales a yield of {total:g}, where pyhf holds it; make it "
                "constant"
            )
        relative = term.width if kind == "gaussian" else 1 / math.sqrt(term.width)
        for sample, share in zip(samples, _shares(samples, index, relative * total), strict=True):
            errors[channel.name, sample.name][index] = share
    return Group(
        "staterror" if kind == "gaussian" else "shapesys", errors, centres if moved else None
    )


def _samples(where: str, uses: Sequence[Use], kind: str) -> list[Sample]:
    """Return the samples that constrained parameters scale: of one channel, one for Poisson."""
    channels = {use.channel.name for use in uses}
    if len(channels) > 1:
        raise InputError(
            f"HS3 {where}: constrained, and shared by the channels {', '.join(sorted(channels))}; "
            "pyhf shares shapefactors alone"
        )
    names = {use.sample.name for use in uses}
    samples = [sample for sample in uses[0].channel.samples if sample.name in names]
    if kind == "poisson" and len(samples) > 1:
        raise InputError(
            f"HS3 {where}: Poisson terms, and shared by the samples "
            f"{', '.join(sample.name for sample in samples)}; pyhf's shapesys has one sample"
        )
    return samples


def _shares(samples: Sequence[Sample], index: int, total: float) -> list[float]:
    """Split an error of the sum in quadrature: as the samples state it, else by their yields."""
    stated = [0.0 if s.errors is None else s.errors[index] for s in samples]
    if not math.isclose(math.hypot(*stated), total, rel_tol=SAME):
        stated = [sample.contents[index] for sample in samples]
    size = math.hypot(*stated)
    return [total * abs(value) / size for value in stated]


def implied_term(
    use: Use, index: int, meaning: ShapesysVals | None, nominal: float | None
) -> Constraint | None:
    """Return the constraint term that a modifier per bin implies in one bin, None for none.

    Args:
        use: The modifier.
        index: The bin.
        meaning: What the user says of the ``vals`` of shapesys modifiers, or None.
        nominal: The datum of the term that ROOT writes among its parameters, or None.

    Raises:
        InputError: Readers differ on what it is, and nothing says which one is meant.
    """
    modifier = use.modifier
    where = f"channel '{use.channel.name}', sample '{use.sample.name}'"
    if modifier.kind == "staterror":
        sharing = [
            sample
            for sample in use.channel.samples
            # one parameter stands in one list, so the first tells lists apart
            if any(m.parameters[0] == modifier.parameters[0] for m in sample.modifiers)
        ]
        total = sum(sample.contents[index] for sample in sharing)
        size = math.hypot(*(s.errors[index] for s in sharing if s.errors is not None))
        if modifier.implied is None:
            raise InputError(
                f"HS3 {where}: staterror '{modifier.name}' says no constraint, and readers differ "
                "(Gauss in pyhs3, Poisson in ROOT); write one"
            )
        if size == 0 or total <= 0:
            return None
        relative = size / total
        if modifier.implied == "Gauss":
            return Constraint("gaussian", 1.0, relative)
        return _counted(lambda: relative**-2, f"{where}: staterror '{modifier.name}'")
    if modifier.implied is None:
        return None
    if modifier.kind == "shapefactor":  # of unit width, says the standard
        kind: Literal["gaussian", "poisson"] = (
            "gaussian" if modifier.implied == "Gauss" else "poisson"
        )
        return Constraint(kind, 1.0, 1.0)
    value = modifier.vals[index]
    if value == 0:
        return None
    if value < 0:
        raise InputError(f"HS3 {where}: shapesys '{modifier.name}' has the error {value:g}")
    if modifier.implied == "Gauss" and (meaning == "relative" or (not meaning and nominal)):
        return Constraint("gaussian", 1.0, value)  # ROOT's vals are relative, and it has a datum
    counted = _counted(
        lambda: _count_of(use, index, meaning, nominal), f"{where}: shapesys '{modifier.name}'"
    )
    if modifier.implied == "Gauss":
        return Constraint("gaussian", 1.0, 1 / math.sqrt(counted.width))
    return counted


def _counted(count: Callable[[], float], what: str) -> Constraint:
    """Return the term of an auxiliary count; powers of tiny and huge errors have no number."""
    try:
        value = count()
    except (OverflowError, ZeroDivisionError):
        value = math.inf
    if not 0 < value < math.inf:
        raise InputError(f"HS3 {what}: its error is of no auxiliary count above 0 and finite")
    return Constraint("poisson", value, value)


def _count_of(use: Use, index: int, meaning: ShapesysVals | None, nominal: float | None) -> float:
    """Return the auxiliary count that a value of a shapesys means."""
    value, content = use.modifier.vals[index], use.sample.contents[index]
    where = f"channel '{use.channel.name}', sample '{use.sample.name}'"
    counts: dict[ShapesysVals, Callable[[], float]] = {
        "relative": lambda: value**-2,
        "absolute": lambda: (content / value) ** 2,
        "counts": lambda: value,
        "root-counts": lambda: value**2,
    }
    if meaning is not None:
        return counts[meaning]()
    if nominal is None:
        raise InputError(
            f"HS3 {where}: what the vals of shapesys '{use.modifier.name}' mean is not said, and "
            f"readers differ; say it by --shapesys: {', '.join(SHAPESYS)}"
        )
    if not (
        math.isclose(value * value * nominal, 1, rel_tol=1e-6)
        or math.isclose(value, nominal, rel_tol=1e-6)
    ):
        raise InputError(
            f"HS3 {where}: the vals of shapesys '{use.modifier.name}' are neither relative errors "
            f"nor counts of the datum {nominal:g}; say by --shapesys what they are"
        )
    return nominal
