"""A pyhf model taken apart: which parameter touches which sample in which bin, and how.

This is the only module that reads pyhf's internals (checked on 0.7.6, which the dependency pins to
that minor series). It runs once per workspace, in numpy; everything else sees plain arrays.

Auxiliary data that do not fit their constraint terms are said here too: they are given in another
unit, as a rule, and pyhf takes them as they are. A shapesys wants the count of its auxiliary
measurement, (yield / error)^2, a staterror and a lumi want a factor; where a fit is given the one
for the other it follows it, many sigmas away, and its numbers are those of another model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy

from ddphf.arrays import Array, IntArray, Mask
from ddphf.exceptions import ModelError

if TYPE_CHECKING:
    from ddphf.likelihood.reference import ParameterTable

__all__ = [
    "FAR", "CannotCompileError", "Constraints", "Expansion", "NormSys", "auxiliary_pulls",
    "expand_model", "read_constraints", "warn_of_auxiliary_data",
]  # fmt: skip

SCALAR_FACTORS = ("normfactor", "lumi")
PER_BIN_FACTORS = ("shapefactor", "shapesys", "staterror")
KNOWN = {*SCALAR_FACTORS, *PER_BIN_FACTORS, "normsys", "histosys"}
NORMSYS_CODES = ("code1", "code4")
HISTOSYS_CODES = ("code0", "code4p")


class CannotCompileError(ModelError):
    """The model uses something that ddphf does not compile; pyhf itself can still evaluate it."""


@dataclass(frozen=True)
class Constraints:
    """Auxiliary measurements.

    Attributes:
        normal_parameter: Shape (n_normal,): parameter index.
        normal_data: Shape (n_normal,): place of its centre in the auxiliary data.
        normal_sigma: Shape (n_normal,).
        poisson_parameter: Shape (n_poisson,): parameter index.
        poisson_data: Shape (n_poisson,): place of its counts in the auxiliary data.
        poisson_tau: Shape (n_poisson,): expected counts at parameter 1.
    """

    normal_parameter: IntArray
    normal_data: IntArray
    normal_sigma: Array
    poisson_parameter: IntArray
    poisson_data: IntArray
    poisson_tau: Array


@dataclass(frozen=True)
class NormSys:
    """One normsys on one sample: the factor at -1 and +1 sigma, per bin (constant in a channel)."""

    parameter: int
    mask: Mask
    low: Array
    high: Array


@dataclass(frozen=True)
class Expansion:
    """All modifiers of one model.

    Samples and bins are in pyhf's order: channels and samples alphabetical, bins concatenated.

    Attributes:
        n_parameters: Number of scalar parameters.
        nominal: Shape (samples, bins); 0 where a channel lacks the sample.
        channel: Shape (bins,): index of the channel of each bin.
        present: Shape (samples, bins): True where the sample contributes to the bin at all.
        factors: Per sample, (parameter index or -1 per bin, is_per_bin).
        normsys: Per sample.
        histosys: Per sample, (parameter, up - nominal, nominal - down), shapes (bins,).
        normsys_code: ``"code1"`` or ``"code4"``.
        histosys_code: ``"code0"`` or ``"code4p"``.
        per_bin: Shape (n_parameters,): True for components of shapefactor, shapesys, staterror.
        constraints: Auxiliary measurements.
    """

    n_parameters: int
    nominal: Array
    channel: IntArray
    present: Mask
    factors: tuple[tuple[tuple[IntArray, bool], ...], ...]
    normsys: tuple[tuple[NormSys, ...], ...]
    histosys: tuple[tuple[tuple[int, Array, Array], ...], ...]
    normsys_code: str
    histosys_code: str
    per_bin: Mask
    constraints: Constraints

    def nothing_without(self, parameter: int) -> Mask:
        """Return the bins whose rate is identically 0 once a factor is, shape (bins,)."""
        others = np.zeros(self.nominal.shape[1], dtype=bool)
        for present, factors in zip(self.present, self.factors, strict=True):
            scaled = np.zeros(self.nominal.shape[1], dtype=bool)
            for index, per_bin in factors:
                scaled |= (index == parameter) & (not per_bin)
            others |= present & ~scaled
        return np.asarray(~others)


def _mask(applier: Any, kind: str) -> Mask:
    """Return where each modifier acts, shape (modifiers, samples, bins)."""
    return np.asarray(getattr(applier, f"_{kind}_mask"), dtype=bool)[:, :, 0]


def _selection(applier: Any) -> list[IntArray]:
    return [np.asarray(s, dtype=int).reshape(-1) for s in applier.param_viewer.index_selection]


def expand_model(model: Any) -> Expansion:
    """Take a ``pyhf.Model`` apart.

    Args:
        model: ``pyhf.Model`` without batch size and clipping.

    Raises:
        CannotCompileError: Names what is not compiled.
    """
    main, config = model.main_model, model.config
    if model.batch_size is not None:
        raise CannotCompileError("a model with a batch size is not compiled; build it without one")
    if main.clip_sample_data is not None or main.clip_bin_data is not None:
        raise CannotCompileError("clipped expectations (clip_sample_data, clip_bin_data)")
    appliers = main.modifiers_appliers
    if unknown := sorted({kind for _, kind in config.modifiers} - KNOWN):
        raise CannotCompileError(f"modifier type not compiled: {', '.join(unknown)}")
    normsys_code = getattr(appliers.get("normsys"), "interpcode", "code4")
    histosys_code = getattr(appliers.get("histosys"), "interpcode", "code4p")
    for kind, code, known in (
        ("normsys", normsys_code, NORMSYS_CODES),
        ("histosys", histosys_code, HISTOSYS_CODES),
    ):
        if code not in known:
            raise CannotCompileError(f"{kind} interpolation {code}; compiled: {', '.join(known)}")

    nominal = np.asarray(main._nominal_rates, dtype=float)[0, :, 0]
    n_samples, n_bins = nominal.shape
    factors: list[list[tuple[IntArray, bool]]] = [[] for _ in range(n_samples)]
    normsys: list[list[NormSys]] = [[] for _ in range(n_samples)]
    histosys: list[list[tuple[int, Array, Array]]] = [[] for _ in range(n_samples)]
    present = nominal != 0
    per_bin = np.zeros(config.npars, dtype=bool)

    for kind in (*SCALAR_FACTORS, *PER_BIN_FACTORS):
        applier = appliers.get(kind)
        if applier is None or not applier.param_viewer.index_selection:
            continue
        for m, selection in enumerate(_selection(applier)):
            if kind in SCALAR_FACTORS:
                index = np.full(n_bins, selection[0])
            else:
                index = np.asarray(applier._access_field[m][0], dtype=int)
                per_bin[selection] = True
            for s, mask in enumerate(_mask(applier, kind)[m]):
                if mask.any():
                    factors[s].append((np.where(mask, index, -1), kind in PER_BIN_FACTORS))
    for kind in ("normsys", "histosys"):
        applier = appliers.get(kind)
        if applier is None or not applier.param_viewer.index_selection:
            continue
        sets = np.asarray(getattr(applier, f"_{kind}_histoset"), dtype=float)
        masks = _mask(applier, kind)
        for m, selection in enumerate(_selection(applier)):
            for s in map(int, np.flatnonzero(masks[m].any(axis=1))):
                mask, (low, centre, high) = masks[m, s], sets[m, s]
                if kind == "normsys":
                    entry = NormSys(int(selection[0]), mask, low / centre, high / centre)
                    normsys[s].append(entry)
                else:
                    up = np.where(mask, high - centre, 0.0)
                    down = np.where(mask, centre - low, 0.0)
                    histosys[s].append((int(selection[0]), up, down))
                    present[s] |= (up != 0) | (down != 0)
    if not all(np.isfinite(nominal).ravel()):
        raise CannotCompileError("a nominal yield is not finite")

    slices = config.channel_slices
    channel = np.concatenate(
        [np.full(slices[c].stop - slices[c].start, i) for i, c in enumerate(config.channels)]
    )
    return Expansion(
        n_parameters=int(config.npars),
        nominal=nominal,
        channel=channel,
        present=present,
        factors=tuple(map(tuple, factors)),
        normsys=tuple(map(tuple, normsys)),
        histosys=tuple(map(tuple, histosys)),
        normsys_code=normsys_code,
        histosys_code=histosys_code,
        per_bin=per_bin,
        constraints=read_constraints(model.constraint_model),
    )


def read_constraints(constraint: Any) -> Constraints:
    """Take the constraint terms of a ``pyhf.Model`` (its ``constraint_model``) apart."""
    empty_index, empty = np.zeros(0, dtype=int), np.zeros(0)
    normal, poisson = constraint.constraints_gaussian, constraint.constraints_poisson
    has_normal, has_poisson = normal.has_pdf(), poisson.has_pdf()
    return Constraints(
        normal_parameter=np.asarray(normal._access_field[0], dtype=int)
        if has_normal
        else empty_index,
        normal_data=np.asarray(normal._normal_data, dtype=int) if has_normal else empty_index,
        normal_sigma=np.asarray(normal._sigmas, dtype=float) if has_normal else empty,
        poisson_parameter=np.asarray(poisson._access_field[0], dtype=int)
        if has_poisson
        else empty_index,
        poisson_data=np.asarray(poisson._poisson_data, dtype=int) if has_poisson else empty_index,
        poisson_tau=np.asarray(poisson._batched_factors[0]) if has_poisson else empty,
    )


FAR = 5.0
"""Sigmas of a constraint term beyond which its datum is hardly what was measured."""

UNITY = ("shapesys", "staterror")
"""Modifiers whose parameter is a factor, 1 at its nominal."""

WIDE = 0.5
"""A relative error of the luminosity above this is one in per cent, or an absolute one."""

SHOWN = 3


def auxiliary_pulls(constraints: Constraints, auxiliary: Array, parameters: Array) -> Array:
    """Return how many sigmas each auxiliary datum is off its expectation, by parameter.

    Args:
        constraints: The constraint terms.
        auxiliary: Auxiliary data.
        parameters: Where they are expected, shape (n,).

    Returns:
        Shape (n,): (datum - expectation) / sigma, NaN without a constraint term. For a Poisson
        term sigma is the square root of the expectation, and the pull is 0 where the likelihood
        itself does not call it that far: 1 event for .01 is 2.7 sigma, not 10.
    """
    out = np.full(len(parameters), np.nan)
    where = constraints.normal_parameter
    centre = auxiliary[constraints.normal_data]
    out[where] = (centre - parameters[where]) / constraints.normal_sigma
    where = constraints.poisson_parameter
    counts = auxiliary[constraints.poisson_data]
    mean = np.maximum(parameters[where] * constraints.poisson_tau, 1e-300)
    deviance = 2 * (mean - counts + xlogy(counts, np.maximum(counts, 1e-300) / mean))
    far = np.sqrt(np.maximum(deviance, 0.0)) > FAR
    pull = (counts - mean) / np.sqrt(mean)
    out[where] = np.where((np.abs(pull) <= FAR) | far, pull, 0.0)
    return out


def warn_of_auxiliary_data(
    model: Any, constraints: Constraints, auxiliary: Array, table: ParameterTable
) -> list[str]:
    """Return a sentence per modifier whose auxiliary data, sigmas or starting values are far off.

    Args:
        model: ``pyhf.Model``.
        constraints: Its constraint terms.
        auxiliary: Its auxiliary data.
        table: Its parameters.
    """
    kinds = dict(model.config.modifiers)
    nominal = table.init.copy()
    for name, kind in kinds.items():
        if kind in UNITY:
            nominal[model.config.par_slice(name)] = 1.0
        elif kind in ("normsys", "histosys"):
            nominal[model.config.par_slice(name)] = 0.0
    lines = list(_warn_of_widths(model, kinds))
    seen: set[str] = set()
    for point, is_nominal in ((nominal, True), (table.init, False)):
        pulls = np.where(table.fixed, np.nan, auxiliary_pulls(constraints, auxiliary, point))
        for name in model.config.par_order:
            own = pulls[model.config.par_slice(name)]
            if name in seen or not np.any(np.abs(own) > FAR):
                continue
            seen.add(name)
            worst = model.config.par_slice(name).start + int(np.nanargmax(np.abs(own)))
            n_far = int(np.sum(np.abs(own) > FAR))
            lines.append(
                _describe(constraints, kinds[name], table, auxiliary, worst, point, is_nominal)
                + f", {pulls[worst]:+.1f} sigma"
                + (f" ({n_far} of {len(own)} are as far)" if n_far > 1 else "")
                + (
                    "; is it in another unit?"
                    if is_nominal
                    else "; is one of them in another unit?"
                )
            )
    return lines


def _describe(
    constraints: Constraints, kind: str, table: ParameterTable, auxiliary: Array, index: int,
    point: Array, is_nominal: bool,
) -> str:  # fmt: skip
    """Name the datum, what it is, and what was expected."""
    place = np.flatnonzero(constraints.poisson_parameter == index)
    if place.size:
        datum = auxiliary[constraints.poisson_data[place[0]]]
        expected = point[index] * constraints.poisson_tau[place[0]]
        unit = " auxiliary events"
    else:
        place = np.flatnonzero(constraints.normal_parameter == index)
        datum, expected, unit = auxiliary[constraints.normal_data[place[0]]], point[index], ""
    where = f"parameter '{table.names[index]}' ({kind}): the auxiliary datum is {datum:.4g}{unit}"
    if is_nominal:
        return f"{where}, expected is {expected:.4g}"
    return f"{where}, but the starting value {point[index]:.4g} expects {expected:.4g}"


def _warn_of_widths(model: Any, kinds: dict[str, str]) -> Iterator[str]:
    for name, kind in kinds.items():
        if kind not in ("lumi", "staterror"):
            continue
        paramset = model.config.param_set(name)
        size = np.abs(np.asarray(paramset.auxdata, dtype=float))
        relative = np.asarray(paramset.width(), dtype=float) / np.maximum(size, 1e-300)
        limit = WIDE if kind == "lumi" else 1.0
        given = kind == "lumi" or _is_given(model, name)
        if given and np.any(relative > limit):
            yield (
                f"parameter '{name}' ({kind}): its sigma is {relative.max():.3g} of its value; is "
                "it in another unit?"
            )


def _is_given(model: Any, name: str) -> bool:
    """Whether the measurement states the sigmas: those that pyhf derives may be wide."""
    return any(p["name"] == name and "sigmas" in p for p in model.spec.get("parameters", []))
