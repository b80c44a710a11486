"""A scan that was done: fitted again, its points for others, its toys drawn again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.reference import ReferenceModel
from ddphf.masses.check import point_of
from ddphf.masses.empty_bins import treat_empty_bins
from ddphf.masses.global_p import global_p
from ddphf.masses.one_by_one import OneByOne, hypothesis_of
from ddphf.masses.one_by_one import digest_of as digest_of_hypotheses
from ddphf.masses.patched_rows import NoRows, make_rows
from ddphf.masses.patchset import Hypotheses
from ddphf.masses.run import Fitted, digest_of, fit_scan, run_scan
from ddphf.masses.scan import MassScan
from ddphf.masses.toy_limits import redo_toys
from ddphf.workspace_json import Workspace

__all__ = ["Repeatable", "ScanPoint"]

SAMPLED = 8
"""Hypotheses whose minima are kept in full: the best one, and some from the first to the last."""


@dataclass(frozen=True)
class ScanPoint:
    """Minima of one hypothesis, with all parameters by the names of its pyhf workspace.

    Attributes:
        index: Of the hypothesis, from 0.
        free: ``twice_nll`` and ``parameters``.
        null: The same at mu = 0; None where that is impossible.
    """

    index: int
    free: Spec
    null: Spec | None


@dataclass(frozen=True)
class Repeatable:
    """The hypotheses of a record.

    Attributes:
        scan: As rows; None where they are fitted one by one.
        found: Of a patchset; None where there is none.
        record: What was found of them.
    """

    scan: MassScan | None
    found: Hypotheses | None
    record: Spec

    @classmethod
    def of_scan(cls, scan: MassScan, record: Spec) -> Repeatable:
        """Return what a record says of a scan."""
        lower, upper = record["poi"]["bounds"]
        return cls(replace(scan, poi=replace(scan.poi, lower=lower, upper=upper)), None, record)

    @classmethod
    def of_patchset(cls, found: Hypotheses, record: Spec) -> Repeatable:
        """Return what a record says of the hypotheses of a patchset."""
        policy = (record.get("empty_bins") or {}).get("policy")
        try:
            scan = treat_empty_bins(make_rows(found), policy)
        except NoRows:
            return cls(None, found, record)
        return replace(cls.of_scan(scan, record), found=found)

    def __len__(self) -> int:
        return len(self.found) if self.scan is None else len(self.scan)  # type: ignore[arg-type]

    @property
    def digest(self) -> str:
        """What the record's provenance must state."""
        if self.scan is not None:
            return digest_of(self.scan)
        assert self.found is not None
        return digest_of_hypotheses(self.found)

    @cached_property
    def sampled(self) -> tuple[int, ...]:
        """Some hypotheses: the best one first, then evenly from the first to the last."""
        rows = self.record["hypotheses"]
        usable = [i for i, row in enumerate(rows) if row["mu_hat"] is not None]
        if not usable:
            raise InputError("no hypothesis of the record has a fit")
        best = max(usable, key=lambda i: rows[i]["z0"] if rows[i]["z0"] is not None else -np.inf)
        places = np.linspace(0, len(usable) - 1, min(SAMPLED, len(usable))).round().astype(int)
        return tuple(dict.fromkeys([best, *(usable[i] for i in places)]))[:SAMPLED]

    @cached_property
    def fitted(self) -> Fitted:
        """The fits of all rows."""
        assert self.scan is not None
        return fit_scan(self.scan)

    def workspace(self, index: int) -> Workspace:
        """Return the pyhf workspace of a hypothesis, the one that its numbers are of."""
        if self.found is not None:
            return self.found.workspace(index)
        assert self.scan is not None
        return self.scan.workspace(index)  # type: ignore[return-value]

    def fits(self, work: Work = HERE) -> dict[int, Spec]:
        """Fit again, with asymptotic limits: all hypotheses that are rows, else some.

        Returns:
            As ``hypotheses`` of the record, by index.
        """
        levels = self.record["levels"]
        if self.scan is not None:
            again = run_scan(self.scan, levels=levels, work=work)
            return dict(enumerate(again.hypotheses))
        assert self.found is not None
        do = OneByOne(self.found, levels, ("asymptotic",), 0, 0)
        return {
            index: hypothesis_of(self.found.names[index], do(index), levels, self.found)
            for index in self.sampled
        }

    def points(self) -> Iterator[ScanPoint]:
        """Yield the minima of some hypotheses."""
        for index in self.sampled:
            workspace = dict(self.workspace(index))
            reference = ReferenceModel(workspace)
            if self.scan is None:
                fit = fit_workspace(workspace)
                both = [fit.fit, fit.null]
                values = [
                    None if m is None else np.array([p.value for p in m.parameters]) for m in both
                ]
            else:
                fits, engine = self.fitted, self.fitted.engine
                places = _places(workspace)
                values = [
                    None
                    if dark and engine.impossible[index]
                    else point_of(engine, reference, own, index, dark=dark, places=places)
                    for own, dark in ((fits.free, False), (fits.null, True))
                ]
            free, null = (_describe(reference, value) for value in values)
            assert free is not None
            yield ScanPoint(index, free, null)

    def toys(self, index: int, level: int) -> Spec:
        """Draw the toys of a hypothesis's limit again, from the record's seed.

        Args:
            index: Of the hypothesis.
            level: Which of ``levels``.
        """
        row, seed = self.record["hypotheses"][index], self.record["seed"]
        stated = (row["limit"] if level == 0 else row["limits"][level - 1])["toys"]
        assert self.scan is not None
        points = np.array(stated["points"], dtype=float)
        return redo_toys(
            self.scan, index, level, self.record["levels"][level], points, stated["n"], seed
        )

    def overall(self, work: Work = HERE) -> Spec:
        """Draw the toys of all hypotheses again, from the record's seed."""
        assert self.scan is not None
        return global_p(
            self.scan, self.fitted.q0, self.record["global"]["toys"], seed=self.record["seed"],
            folder=None, work=work,
        )  # fmt: skip


def _places(workspace: Any) -> dict[str, int]:
    """Return the first bin of the channel of each error of bins, channels one after the other."""
    out: dict[str, int] = {}
    first = 0
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                out[modifier["name"]] = first
        first += len(channel["samples"][0]["data"])
    return out


def _describe(reference: ReferenceModel, values: Array | None) -> Spec | None:
    if values is None:
        return None
    names: Sequence[str] = reference.parameters.names
    stated: dict[str, Any] = dict(zip(names, values.tolist(), strict=True))
    return {"twice_nll": reference.twice_nll(values, backend="numpy"), "parameters": stated}
