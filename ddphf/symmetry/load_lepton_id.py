"""The lepton-ID uncertainty of an analysis: covariance of the maps, composition of the bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.config.analysis import Analysis
from ddphf.config.sections import LeptonIdConfig
from ddphf.inputs.covariance import Covariance, make_covariance, read_matrix
from ddphf.inputs.histogram import Histogram
from ddphf.symmetry.efficiency import Composition, EventEfficiencies, LeptonId, compose
from ddphf.symmetry.load_events import EventSamples, FilledEvents
from ddphf.symmetry.map_correlations import correlate_maps

__all__ = ["load_covariance", "load_lepton_id"]


def load_lepton_id(
    analysis: Analysis, samples: EventSamples
) -> tuple[LeptonId | None, Histogram | None]:
    """Return the uncertainty and, from events, the ratio of efficiencies.

    Raises:
        InputError: A covariance or a composition that cannot be used.
    """
    config = analysis.lepton_id
    if config is None:
        return None, None
    covariance = load_covariance(config, samples, analysis)
    signals: dict[str, Any] = {}
    ratio: Histogram | None = None
    warnings = list(samples.warnings)
    if analysis.events is None:
        tested, partner = (
            read_matrix(f"{config.composition}:{role}", folder=analysis.folder)
            for role in ("tested", "partner")
        )
    else:
        made = _compose(samples, covariance.n_bins)
        tested, partner = made.tested, made.partner
        shape = tuple(axis.n_bins for axis in samples.axes)
        ratio = Histogram(made.ratio.reshape(shape), samples.axes, source="efficiency maps")
        if made.empty:
            warnings.append(
                f"lepton_id: {len(made.empty)} bin(s) without events have the average ratio and "
                f"composition of all (first: bin {made.empty[0]})"
            )
        signals = _signals(samples, covariance.n_bins)
    description = {
        "maps": [
            {
                "name": item.name,
                "file": item.file,
                "kind": item.kind,
                "flavour": item.flavour,
                "bins": samples.maps[item.flavour].n_bins - samples.maps[item.flavour].n_pseudo,
                "errors": ["statistical", *samples.maps[item.flavour].sources],
            }
            for item in config.maps
        ],
        "outside": {
            "rule": config.outside,
            "events_moved" if config.outside == "nearest" else "events_excluded": dict(
                samples.notes
            ),
        },
    }
    return (
        LeptonId(
            covariance=covariance,
            tested=tested,
            partner=partner,
            signal_tested=signals.get("tested"),
            signal_partner=signals.get("partner"),
            on_signal=config.signal,
            source=config.source,
            retained=config.retained,
            at_most=config.at_most,
            residual=config.residual,
            psd_tolerance=config.psd_tolerance,
            rounding=config.rounding,
            description=description,
            warnings=tuple(warnings),
        ),
        ratio,
    )


def load_covariance(
    config: LeptonIdConfig, samples: EventSamples, analysis: Analysis
) -> Covariance:
    """Return the relative covariance of all calibration bins, map after map.

    Raises:
        InputError: A matrix of the wrong shape, or a shared source that a map does not have.
    """
    maps = [samples.maps[item.flavour] for item in config.maps]
    if config.covariance is not None:
        labels = tuple(label for m in maps for label in m.labels)
        matrix = read_matrix(config.covariance, folder=analysis.folder)
        return make_covariance(matrix, labels=labels, source=config.covariance)
    return correlate_maps(config, maps, analysis.folder)


def _compose(samples: EventSamples, n_calibration: int) -> Composition:
    """Average over the events of both samples, the fakes' events subtracted."""
    parts = [samples.events["both", "observed"]]
    parts += [e for (role, sample), e in samples.events.items() if sample == "fakes"]
    signs = [1.0] + [-1.0] * (len(parts) - 1)
    found = [part.efficiencies for part in parts if part.efficiencies is not None]
    return compose(
        EventEfficiencies(
            **{
                name: np.concatenate([vars(part)[name] for part in found])
                for name in vars(found[0])
            }
        ),
        np.concatenate([part.bins for part in parts]),
        _size(samples),
        n_calibration,
        np.concatenate([sign * part.weights for sign, part in zip(signs, parts, strict=True)]),
    )


def _signals(samples: EventSamples, n_calibration: int) -> dict[str, Array]:
    """Return the composition of every signal that is given as events."""
    out = {}
    for role in ("tested", "partner"):
        events = samples.events.get((role, "signal"))
        if events is not None:
            out[role] = _own_composition(events, _size(samples), n_calibration, role)
    return out


def _own_composition(events: FilledEvents, n_bins: int, n_calibration: int, role: str) -> Array:
    """Mean number of leptons per calibration bin of the events as they are, shape (M, K)."""
    assert events.efficiencies is not None
    used = events.bins >= 0
    place, weights = events.bins[used], events.weights[used]
    counts = events.efficiencies.count(role, place, weights, n_bins, n_calibration, used)
    sums = np.bincount(place, weights, n_bins)
    overall = counts.sum(axis=0) / max(float(sums.sum()), 1e-300)
    safe = np.where(sums > 0, sums, 1.0)
    return np.where(sums[:, None] > 0, counts / safe[:, None], overall)


def _size(samples: EventSamples) -> int:
    return int(np.prod([axis.n_bins for axis in samples.axes]))
