"""A built workspace read back as a pair: counts, ratio, fakes, and what is uncertain about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.statistics.n_sigma import null_variance
from ddphf.symmetry.closure import Contrast
from ddphf.workspace_json import SampleDocument, Workspace

__all__ = ["EmittedPair", "read_pair"]


Columns = Mapping[str, Array]
"""By nuisance."""


@dataclass(frozen=True)
class EmittedPair:
    """What a workspace of ``ddphf build`` says of its pair, every array of shape (M,).

    Attributes:
        tested: Counts B.
        partner: Counts A.
        ratio: r.
        fakes_tested: f_B.
        fakes_partner: f_A.
        signal: s_B - r s_A at mu = 1.
        of_ratio: By nuisance: change of r per sigma, r (G_B - G_A).
        of_fakes: By nuisance: df_B - r df_A per sigma.
        fakes_tested_error: Uncorrelated.
        fakes_partner_error: Uncorrelated.
        residual: Relative variance of r that no other bin shares.
    """

    tested: Array
    partner: Array
    ratio: Array
    fakes_tested: Array
    fakes_partner: Array
    signal: Array
    of_ratio: Columns
    of_fakes: Columns
    fakes_tested_error: Array
    fakes_partner_error: Array
    residual: Array

    def shifts(self, background: Array) -> Array:
        """Return the change of y per sigma of every nuisance for r b of this b, shape (M, k).

        One name on ratio and fakes is one parameter: its shifts add.
        """
        zero = np.zeros_like(self.ratio)
        names = sorted({*self.of_ratio, *self.of_fakes})
        columns = [
            background * self.of_ratio.get(name, zero) + self.of_fakes.get(name, zero)
            for name in names
        ]
        return np.array(columns).reshape(-1, len(zero)).T

    def contrast(self) -> Contrast:
        """Return y = (B - f_B) - r (A - f_A) with its covariance under the null."""
        b, variance = null_variance(
            self.tested, self.partner, self.ratio, self.fakes_tested, self.fakes_partner
        )
        independent = self.fakes_tested_error**2 + (self.ratio * self.fakes_partner_error) ** 2
        return Contrast(
            difference=(self.tested - self.fakes_tested)
            - self.ratio * (self.partner - self.fakes_partner),
            variance=variance + independent + (self.ratio * b) ** 2 * self.residual,
            shapes=self.shifts(b),
        )


def read_pair(spec: Workspace, pairing: Mapping[str, str]) -> EmittedPair:
    """Read a workspace of ``ddphf build``.

    Correlated errors to first order: half the difference of up and down.

    Args:
        spec: The workspace.
        pairing: Names of the channels, ``tested`` and ``partner``, as in the sidecar.

    Example:
        >>> from ddphf.workspace.examples import build_pair
        >>> built = build_pair([90, 95], [100, 100], [9.0, 2.0], ratio=0.9)
        >>> read_pair(built.workspace, built.metadata["pairing"]).ratio.tolist()
        [0.9, 0.9]
    """
    counts = {o["name"]: np.asarray(o["data"], dtype=float) for o in spec["observations"]}
    tested, partner = counts[pairing["tested"]], counts[pairing["partner"]]
    zero = np.zeros_like(tested)
    symmetric, fakes, signal = (
        {role: _sample(spec, pairing[role], name) for role in ("tested", "partner")}
        for name in ("symmetric", "fakes", "signal")
    )
    # The builder emits r times the partner's template in the tested channel.
    ratio = _yields(symmetric["tested"], zero) / _yields(symmetric["partner"], zero)
    own = {"tested": zero, "partner": zero}
    residual = np.zeros_like(zero)
    of_ratio: dict[str, Array] = {}
    of_fakes: dict[str, Array] = {}
    for role, sign in (("tested", 1.0), ("partner", -1.0)):
        nominal = _yields(symmetric[role], zero)
        for key, slope in _slopes(symmetric[role], nominal).items():
            of_ratio[key] = of_ratio.get(key, zero) + sign * ratio * slope / nominal
        for error in _errors(symmetric[role]):
            residual += (error / nominal) ** 2
        scale = 1.0 if role == "tested" else -ratio
        for key, slope in _slopes(fakes[role], _yields(fakes[role], zero)).items():
            of_fakes[key] = of_fakes.get(key, zero) + scale * slope
        for error in _errors(fakes[role]):
            own[role] = error
    return EmittedPair(
        tested=tested,
        partner=partner,
        ratio=ratio,
        fakes_tested=_yields(fakes["tested"], zero),
        fakes_partner=_yields(fakes["partner"], zero),
        signal=_yields(signal["tested"], zero) - ratio * _yields(signal["partner"], zero),
        of_ratio=of_ratio,
        of_fakes=of_fakes,
        fakes_tested_error=own["tested"],
        fakes_partner_error=own["partner"],
        residual=residual,
    )


def _sample(spec: Workspace, channel: str, name: str) -> SampleDocument | None:
    samples = next(c["samples"] for c in spec["channels"] if c["name"] == channel)
    return next((s for s in samples if s["name"] == name), None)


def _yields(sample: SampleDocument | None, zero: Array) -> Array:
    return zero if sample is None else np.asarray(sample["data"], dtype=float)


def _slopes(sample: SampleDocument | None, nominal: Array) -> dict[str, Array]:
    """Return the change of the yields per sigma of every correlated nuisance, summed by name."""
    out: dict[str, Array] = {}
    for modifier in () if sample is None else sample["modifiers"]:
        if modifier["type"] == "normsys":
            slope = nominal * (modifier["data"]["hi"] - modifier["data"]["lo"]) / 2
        elif modifier["type"] == "histosys":
            shapes = modifier["data"]
            slope = (np.asarray(shapes["hi_data"]) - np.asarray(shapes["lo_data"])) / 2
        else:
            continue
        out[modifier["name"]] = out.get(modifier["name"], np.zeros_like(nominal)) + slope
    return out


def _errors(sample: SampleDocument | None) -> list[Array]:
    """Return the absolute uncorrelated errors of a sample."""
    modifiers = () if sample is None else sample["modifiers"]
    return [
        np.asarray(modifier["data"], dtype=float)
        for modifier in modifiers
        if modifier["type"] in ("shapesys", "staterror")
    ]
