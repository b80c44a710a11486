"""From an analysis file to the pair: read every histogram, event table and map that it names."""

from __future__ import annotations

from collections.abc import Callable

from ddphf.config.analysis import Analysis, ChannelConfig, SystematicConfig, TemplateConfig
from ddphf.exceptions import InputError
from ddphf.inputs.alignment import align
from ddphf.inputs.histogram import Histogram, error_from_variances
from ddphf.inputs.readers import read_histogram
from ddphf.symmetry.fakes import fake_normalisation, fake_shapes
from ddphf.symmetry.load_events import EventSamples, read_samples
from ddphf.symmetry.load_lepton_id import load_lepton_id
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template

__all__ = ["load_pair"]

NO_ERROR = "none"
"""In the place of an address: a template without the statistical error that its source has."""


def load_pair(analysis: Analysis) -> Pair:
    """Read what an analysis names.

    With an event table the samples are selected and filled from it, and with efficiency maps the
    ratio of efficiencies is theirs.

    Raises:
        InputError: A file or histogram is missing or unreadable, or the events cannot be used.
    """
    samples = read_samples(analysis)

    def read(address: str) -> Histogram:
        return read_histogram(address, folder=analysis.folder)

    def systematic(config: SystematicConfig) -> Systematic:
        def value(end: float | str) -> float | Histogram:
            return read(end) if isinstance(end, str) else float(end)

        return Systematic(
            name=config.name,
            kind=config.kind,
            up=value(config.up),
            down=value(config.down),
            relative=config.relative,
            source=config.source or (str(config.up) if config.kind == "histosys" else ""),
        )

    def template(config: TemplateConfig | None, role: str, sample: str) -> Template | None:
        if config is None:
            return None
        yields, error = _yields(config, samples, (role, sample), read)
        systematics = [systematic(s) for s in config.systematics]
        systematics += fake_normalisation(config.normalisation)
        if sample == "fakes" and role in samples.loose:
            bins = samples.events[role, sample].bins
            systematics += fake_shapes(samples.loose[role], bins, yields.values.shape)
        return Template(
            yields=yields, error=error, error_kind=config.error_kind, systematics=tuple(systematics)
        )

    def channel(config: ChannelConfig, role: str) -> Channel:
        return Channel(
            label=config.label,
            observed=(
                read(config.observed)
                if config.observed is not None
                else samples.histograms[role, "observed"]
            ),
            signal=template(config.signal, role, "signal"),
            fakes=template(config.fakes, role, "fakes"),
            systematics=tuple(systematic(s) for s in config.systematics),
        )

    ratio = analysis.efficiency_ratio
    stated = read(ratio) if isinstance(ratio, str) else float(ratio)
    lepton_id, from_maps = load_lepton_id(analysis, samples)
    if from_maps is not None:
        # Scale factors correct a ratio that comes from simulation; efficiencies are the ratio.
        if isinstance(stated, Histogram):
            stated = _multiply(from_maps, stated, f"efficiency ratio ({ratio})")
        else:
            stated = Histogram(from_maps.values * stated, from_maps.axes, source=from_maps.source)
    known, events = analysis.known_background, analysis.events
    return Pair(
        tested=channel(analysis.tested, "tested"),
        partner=channel(analysis.partner, "partner"),
        efficiency_ratio=stated,
        known_background=None if known is None else read(known),
        floor=analysis.floor,
        luminosity_error=analysis.luminosity_error,
        integer_data=analysis.integer_data and not (events and events.weight is not None),
        lepton_id=lepton_id,
        warnings=tuple(samples.reading),
    )


def _multiply(from_maps: Histogram, stated: Histogram, where: str) -> Histogram:
    """Return the ratio of the maps times that of the simulation, on the axes of the maps."""
    try:
        factor, _ = align(stated, from_maps.axes)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    variances = factor.variances
    return Histogram(
        from_maps.values * factor.values,
        from_maps.axes,
        variances=None if variances is None else from_maps.values**2 * variances,
        source=from_maps.source,
    )


def _yields(
    config: TemplateConfig,
    samples: EventSamples,
    key: tuple[str, str],
    read: Callable[[str], Histogram],
) -> tuple[Histogram, Histogram | str | None]:
    """Return a template and its error: with variances the root of them, where nothing is said."""
    filled = samples.histograms[key] if config.yields is None else read(config.yields)
    if config.error == NO_ERROR:
        return filled, NO_ERROR
    if config.error is not None:
        return filled, read(config.error)
    return filled, None if filled.variances is None else error_from_variances(filled)
