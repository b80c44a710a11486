"""The correlation study of a user's analysis: its pair, its maps, rho along one of their axes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

from ddphf.config.analysis import Analysis
from ddphf.config.sections import MapConfig
from ddphf.exceptions import ConfigError, ModelError
from ddphf.inputs.covariance import Covariance
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.correlations import CorrelationResult
from ddphf.results.provenance import make_provenance
from ddphf.studies.correlations import RHOS, Comparing, closed_widths, compare_widths
from ddphf.studies.ratio import RATIO, add_uncorrelated, measure_ratio
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.load_events import EventSamples
from ddphf.symmetry.load_lepton_id import load_covariance
from ddphf.symmetry.load_maps import read_maps
from ddphf.symmetry.pair import Pair
from ddphf.workspace.build import build_workspace
from ddphf.workspace.scaling import linear_pair
from ddphf.workspace.yields import resolve_pair
from ddphf.workspace_json import Workspace

__all__ = ["study_analysis", "study_pair"]

Poi = Literal["mu", "ratio"]


class Varied(Comparing, total=False):
    """What a study of a pair is asked beside its correlations.

    Attributes:
        poi: Whose pulls: ``"mu"``, the default, or ``"ratio"``: a factor R of the tested channel's
            symmetric background, without a signal.
        uncorrelated: Relative error per bin of that background, added to data and models; 0.
    """

    poi: Poi
    uncorrelated: float


def study_analysis(
    analysis: Analysis,
    *,
    axis: str = "pt",
    rho: Sequence[float] = RHOS,
    **varied: Unpack[Varied],
) -> CorrelationResult:
    """Vary the correlation of every map's systematic error along one axis.

    The statistical errors stay independent; along the other axes and between the maps stands what
    the analysis says, full correlation along an axis where it says nothing. Every other systematic
    is in data and models alike; the data hold no signal.

    Args:
        analysis: With a section ``lepton_id`` whose maps have sources, not matrices.
        axis: Of the maps.
        rho: Correlations to compare.
        varied: See :class:`Varied`.

    Raises:
        ConfigError: There is no such section, or nothing in it depends on rho.
    """
    config = analysis.lepton_id
    if config is None:
        raise ConfigError("at lepton_id: is missing; the study varies the correlation of its maps")
    if config.covariance is not None or any(m.covariance is not None for m in config.maps):
        raise ConfigError(
            "at lepton_id: a covariance matrix has no rho to vary; give the maps' sources"
        )
    maps = read_maps(config, analysis)
    if not any(axis in calibration.axes for calibration in maps.values()):
        known = sorted({a for calibration in maps.values() for a in calibration.axes})
        raise ConfigError(f"--axis: no map depends on '{axis}', only on {', '.join(known)}")

    def vary(item: MapConfig, value: float) -> MapConfig:
        if axis not in maps[item.flavour].axes:
            return item
        return replace(
            item,
            correlation={**(item.correlation or {}), axis: value},
            source_correlation={
                source: {**rhos, axis: value} for source, rhos in item.source_correlation.items()
            },
        )

    def covariances() -> Iterator[Covariance]:
        for value in rho:
            varied = replace(config, maps=tuple(vary(item, float(value)) for item in config.maps))
            yield load_covariance(varied, EventSamples(maps=maps), analysis)

    return study_pair(
        load_pair(analysis),
        list(covariances()),
        rho=rho,
        provenance=make_provenance(analysis=analysis.name, axis=axis),
        **varied,
    )


def study_pair(
    pair: Pair,
    covariances: Sequence[Covariance],
    *,
    rho: Sequence[float],
    poi: Poi = "mu",
    uncorrelated: float = 0.0,
    provenance: dict[str, Any] | None = None,
    **comparing: Unpack[Comparing],
) -> CorrelationResult:
    """Compare correlation assumptions for a pair: each covariance as truth and as model.

    Args:
        pair: With a ``lepton_id``, whose composition is used.
        covariances: Of the calibration bins, one per assumption.
        rho: What they are called.
        poi: See :class:`Varied`.
        uncorrelated: The same.
        provenance: For the record; versions by default.
        comparing: See :class:`~ddphf.studies.correlations.Comparing`.

    Raises:
        ModelError: The pair has no lepton-ID composition, or cannot be built.

    Example:
        >>> import numpy as np
        >>> from ddphf.inputs.covariance import make_covariance
        >>> from ddphf.symmetry.efficiency import LeptonId
        >>> from ddphf.symmetry.pair import Channel, Template
        >>> independent = make_covariance(1e-4 * np.eye(2))
        >>> full = make_covariance(1e-4 * np.ones((2, 2)))
        >>> counts, w = [50_000, 50_000], np.eye(2)
        >>> pair = Pair(Channel("mue", counts, signal=Template([500.0, 0.0])),
        ...             Channel("emu", counts), lepton_id=LeptonId(full, w, 0 * w))
        >>> study_pair(pair, [independent, full], rho=[0, 1], poi="ratio").conservative
        1.0
    """
    lepton_id = pair.lepton_id
    if lepton_id is None:
        raise ModelError("the pair has no 'lepton_id', so there is no correlation to vary")
    if not 0 <= uncorrelated < 1:  # also NaN
        raise ModelError(f"uncorrelated error: got {uncorrelated:g}, expected a number in [0, 1)")
    factors, specs = [], []
    for covariance in covariances:
        changed = replace(
            lepton_id, covariance=covariance, retained=1.0, at_most=None, residual="drop",
            rounding=None,
        )  # fmt: skip
        # The closed form with every variation; toys with those that move the result.
        linear = linear_pair(resolve_pair(replace(pair, lepton_id=changed)))
        factors.append(linear.shapes)
        if comparing.get("n_toys"):
            built = build_workspace(replace(pair, lepton_id=replace(changed, retained=None)))
            tested, spec = built.metadata["pairing"]["tested"], built.workspace
            if poi == RATIO:
                spec = measure_ratio(spec, tested)
            specs.append(add_uncorrelated(spec, tested, uncorrelated) if uncorrelated else spec)
    design = linear.symmetric if poi == RATIO else linear.signal
    variance = linear.variance + (uncorrelated * linear.symmetric) ** 2
    closed = closed_widths(design, variance, factors)

    def models() -> list[CompiledModel]:
        return [CompiledModel.from_reference(ReferenceModel(spec)) for spec in _alike(specs)]

    return compare_widths(
        rho, closed, models, poi, uncorrelated=uncorrelated,
        provenance=make_provenance() if provenance is None else provenance, **comparing,
    )  # fmt: skip


def _alike(specs: Sequence[Workspace]) -> list[Workspace]:
    """Give every workspace the variations of the largest: models of one shape compile once.

    The nuisance of a variation that a workspace lacked is held at 0, where it changes nothing.
    """
    largest = max(specs, key=_count_modifiers)
    return [_fill(spec, largest) for spec in specs]


def _count_modifiers(spec: Workspace) -> int:
    return sum(len(s["modifiers"]) for channel in spec["channels"] for s in channel["samples"])


def _fill(spec: Workspace, largest: Workspace) -> Workspace:
    spec = copy.deepcopy(spec)
    known = {m["name"] for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]}
    added = set()
    for channel, channel_ in zip(spec["channels"], largest["channels"], strict=True):
        for sample, sample_ in zip(channel["samples"], channel_["samples"], strict=True):
            for place, modifier in enumerate(sample_["modifiers"]):
                if modifier["name"] not in known and modifier["type"] == "histosys":
                    sample["modifiers"].insert(place, modifier)
                    added.add(modifier["name"])
    for measurement in spec["measurements"]:
        measurement["config"]["parameters"] += [
            {"name": name, "inits": [0.0], "fixed": True} for name in sorted(added)
        ]
    return spec
