"""A scan over the patches of a patchset: rows where they are of that kind, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from ddphf.exceptions import InputError
from ddphf.masses.empty_bins import treat_empty_bins
from ddphf.masses.one_by_one import Stated, run_one_by_one
from ddphf.masses.patched_rows import NoRows, make_rows
from ddphf.masses.patchset import Hypotheses
from ddphf.masses.run import run_scan
from ddphf.results.masses import MassesResult

__all__ = ["run_patchset"]


def run_patchset(
    found: Hypotheses, *, empty_bins: str | None = None, **stated: Unpack[Stated]
) -> MassesResult:
    """Fit all hypotheses and set limits.

    Args:
        found: The hypotheses.
        empty_bins: What is done to bins without background; must be said where there are some.
        **stated: See :class:`ddphf.masses.one_by_one.Stated`.

    Raises:
        InputError: Empty bins of which nothing is said, or something that cannot be done.
        ModelError: A workspace is refused.
        FitError: No fit has a certificate.

    Example:
        >>> from ddphf.masses.examples import small_patchset
        >>> from ddphf.masses.patchset import read_hypotheses
        >>> result = run_patchset(read_hypotheses(*small_patchset()))
        >>> [found["name"] for found in result.hypotheses], result.warnings
        (['m_1', 'm_2', 'm_3'], ())
    """
    _check_policy(found, empty_bins)
    try:
        scan = make_rows(found)
    except NoRows as reason:
        return run_one_by_one(found, str(reason), **stated)
    result = run_scan(treat_empty_bins(scan, empty_bins), **stated)
    named = zip(result.hypotheses, found.names, strict=True)
    return replace(result, hypotheses=tuple({**h, "name": name} for h, name in named))


def _check_policy(found: Hypotheses, policy: str | None) -> None:
    """Refuse empty bins of which nothing is said, or what would mix bins of channels."""
    places = [
        f"bin {bin_} of channel '{channel['name']}'"
        for channel in found.background["channels"]
        for bin_ in _empty(channel["samples"])
    ]
    if not places or policy == "keep":
        return
    if policy is None:
        raise InputError(
            f"{len(places)} bins have no background (the first one is {places[0]}); say what is "
            "done to them: --empty-bins keep (nothing is expected there without a signal) or drop "
            "(such bins are left out)"
        )
    if policy in ("floor", "merge") and len(found.background["channels"]) > 1:
        raise InputError(
            f"--empty-bins {policy}: would mix bins of several channels; take keep or drop"
        )
    try:
        make_rows(found)
    except NoRows as reason:
        raise InputError(
            f"--empty-bins {policy}: {places[0]} stays as it is where hypotheses are fitted one by "
            f"one ({reason}); take keep"
        ) from None


def _empty(samples: Sequence[Any]) -> list[int]:
    total = np.sum([sample["data"] for sample in samples], axis=0)
    return [int(i) for i in np.flatnonzero(total <= 0)]
