"""From an analysis file to the pair: read every histogram that it names."""

from __future__ import annotations

from ddphf.config.analysis import Analysis, ChannelConfig, SystematicConfig, TemplateConfig
from ddphf.inputs.histogram import Histogram
from ddphf.inputs.readers import read_histogram
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template

__all__ = ["load_pair"]


def load_pair(analysis: Analysis) -> Pair:
    """Read the histograms of an analysis.

    Raises:
        InputError: A file or histogram is missing or unreadable.
    """

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

    def template(config: TemplateConfig | None) -> Template | None:
        if config is None:
            return None
        return Template(
            yields=read(config.yields),
            error=None if config.error is None else read(config.error),
            error_kind=config.error_kind,
            systematics=tuple(systematic(s) for s in config.systematics),
        )

    def channel(config: ChannelConfig) -> Channel:
        return Channel(
            label=config.label,
            observed=read(config.observed),
            signal=template(config.signal),
            fakes=template(config.fakes),
            systematics=tuple(systematic(s) for s in config.systematics),
        )

    ratio = analysis.efficiency_ratio
    known = analysis.known_background
    return Pair(
        tested=channel(analysis.tested),
        partner=channel(analysis.partner),
        efficiency_ratio=read(ratio) if isinstance(ratio, str) else float(ratio),
        known_background=None if known is None else read(known),
        floor=analysis.floor,
        luminosity_error=analysis.luminosity_error,
        integer_data=analysis.integer_data,
    )
