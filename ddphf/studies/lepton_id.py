"""The correlation study of a user's analysis: its pair, its maps, rho along one of their axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddphf.config.analysis import Analysis
from ddphf.exceptions import ConfigError
from ddphf.results import make_provenance
from ddphf.studies.correlations import RHOS, CorrelationResult, study_correlations
from ddphf.studies.pair_fits import ShapedPair
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.load_events import EventSamples, read_maps
from ddphf.symmetry.load_lepton_id import load_covariance
from ddphf.workspace.eigen import decompose, prune
from ddphf.workspace.scaling import asimov_sigma, choose_scale
from ddphf.workspace.yields import resolve_pair

__all__ = ["study_analysis"]

RETAINED = 0.999
"""Part of the trace that the study keeps."""


def study_analysis(
    analysis: Analysis,
    *,
    axis: str = "pt",
    rho: Sequence[float] = RHOS,
    n_toys: int = 0,
    seed: int = 0,
) -> CorrelationResult:
    """Vary the correlation of every map's systematic error along one axis.

    The statistical errors stay independent; along the other axes stands what the analysis says,
    full correlation where it says nothing. The pull is that of mu, without a signal in the data;
    other systematics stay at their nominal values in data and model, and the signal carries none.

    Args:
        analysis: With a section ``lepton_id`` whose maps have sources, not matrices.
        axis: Of the maps.
        rho: Correlations to compare.
        n_toys: Per rho; 0 for the closed form alone.
        seed: Of the toys.

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
    pair = load_pair(analysis)
    lepton_id = pair.lepton_id
    if lepton_id is None:
        raise ConfigError("at lepton_id: is missing; the study varies the correlation of its maps")
    yields = resolve_pair(replace(pair, lepton_id=None))
    composition = np.concatenate([np.asarray(lepton_id.tested), np.asarray(lepton_id.partner)])
    shapes = []
    for value in rho:
        varied = tuple(
            replace(
                item,
                exclude=(),
                correlation=(
                    {**(item.correlation or {}), axis: float(value)}
                    if axis in maps[item.flavour].axes
                    else item.correlation
                ),
            )
            for item in config.maps
        )
        covariance = load_covariance(
            replace(config, maps=varied, shared=()), EventSamples(maps=maps), analysis
        )
        columns = prune(decompose(covariance, composition), retained=RETAINED).columns
        shapes.append((columns[: pair.n_bins], columns[pair.n_bins :]))
    tested, partner = yields.channels
    scale = choose_scale(asimov_sigma(yields), "auto")
    empty = np.zeros((pair.n_bins, 0))
    model = ShapedPair(
        background=yields.background,
        ratio=tested.ratio,
        shapes_tested=empty,
        shapes_partner=empty,
        signal_tested=tested.total(tested.signal) * scale,
        signal_partner=partner.total(partner.signal) * scale,
        fakes_tested=tested.total(tested.fakes),
        fakes_partner=partner.total(partner.fakes),
    )
    return study_correlations(
        model,
        shapes,
        rho=rho,
        n_toys=n_toys,
        seed=seed,
        provenance=make_provenance(analysis=analysis.name, axis=axis),
    )
