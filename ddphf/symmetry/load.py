"""From an analysis file to the pair: read every histogram, event table and map that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ddphf.config.analysis import Analysis, ChannelConfig, SystematicConfig, TemplateConfig
from ddphf.config.sections import FakeMapConfig
from ddphf.exceptions import InputError
from ddphf.inputs.alignment import align
from ddphf.inputs.histogram import Axis, Histogram, error_from_variances
from ddphf.inputs.readers import read_histogram
from ddphf.symmetry.closure_variables import ClosureEvents, VariableEvents
from ddphf.symmetry.expressions import column_names
from ddphf.symmetry.fake_templates import keep_positive, mend_negative
from ddphf.symmetry.fakes import fake_normalisation, fake_shapes
from ddphf.symmetry.learned import refuse_other_templates
from ddphf.symmetry.load_events import EventSamples, read_samples
from ddphf.symmetry.load_lepton_id import load_lepton_id
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.symmetry.window_signal import make_window_signal

__all__ = ["load_pair"]

NO_ERROR = "none"
"""In the place of an address: a template without the statistical error that its source has."""


def load_pair(analysis: Analysis) -> Pair:
    """Read what an analysis names.

    With an event table the samples are selected and filled from it, and with efficiency maps the
    ratio of efficiencies is theirs.

    Args:
        analysis: From :func:`~ddphf.config.analysis.read_analysis`.

    Returns:
        Both samples, counts and templates of one shape; edges in the units of the analysis.

    Raises:
        InputError: A file or histogram is missing or unreadable, or the events cannot be used.

    Example:
        >>> import ddphf
        >>> analysis = ddphf.read_analysis("workspaces/flat_reference/analysis.yml")
        >>> ddphf.load_pair(analysis).tested.observed.values.shape
        (28, 28)
    """
    refuse_other_templates(analysis)
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

    observed = {
        role: samples.histograms[role, "observed"] if name is None else read(name)
        for role, name in (
            ("tested", analysis.tested.observed), ("partner", analysis.partner.observed)
        )
    }  # fmt: skip

    def template(config: TemplateConfig | None, role: str, sample: str) -> Template | None:
        if config is None:
            return None
        if config.window is not None:
            try:
                box = make_window_signal(config.window, observed["tested"], _on_axes(observed))
            except InputError as refused:
                raise InputError(f"{role} sample, {sample}: {refused}") from None
            return Template(box, NO_ERROR, systematics=[systematic(s) for s in config.systematics])
        yields, error = _yields(config, samples, (role, sample), read)
        systematics = [systematic(s) for s in config.systematics]
        systematics += fake_normalisation(config.normalisation)
        if sample == "fakes" and role in samples.loose:
            bins = samples.events[role, sample].bins
            systematics += fake_shapes(samples.loose[role], bins, yields.values.shape)
        made = Template(yields, error, config.error_kind, tuple(systematics))
        return _make_fakes(config, made) if sample == "fakes" else made

    def channel(config: ChannelConfig, role: str) -> Channel:
        return Channel(
            label=config.label,
            observed=observed[role],
            signal=template(config.signal, role, "signal"),
            fakes=template(config.fakes, role, "fakes"),
            systematics=tuple(systematic(s) for s in config.systematics),
        )

    ratio = analysis.efficiency_ratio
    stated = read(ratio) if isinstance(ratio, str) else float(ratio)
    ratio_beside_maps = stated
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
        closure=_closure_events(analysis, samples, ratio_beside_maps),
        data_directed=analysis.data_directed,
        learned=None if analysis.learned is None else analysis.learned.section,
    )


def _on_axes(observed: dict[str, Histogram]) -> Histogram:
    """Return the partner's counts on the axes of the tested sample."""
    try:
        return align(observed["partner"], observed["tested"].axes)[0]
    except InputError as error:
        raise InputError(f"partner sample, observed: {error}") from None


def _make_fakes(config: TemplateConfig, template: Template) -> Template:
    """Return fakes that a model can hold, and how they were made.

    Negative bins go by the rule of the analysis, then shapes that would turn the template negative
    within 5 sigma become a factor times a smaller shape.

    Args:
        config: As written.
        template: As read; yields and error are histograms.

    Raises:
        InputError: ``negative: merge`` where all bins together are negative.
    """
    axes = template.yields.axes
    stated = template.error if isinstance(template.error, str) else _on(template.error, axes)
    yields, error, systematics, record = mend_negative(
        template.yields,
        None if isinstance(stated, str) else stated,
        [replace(s, up=_on(s.up, axes), down=_on(s.down, axes)) for s in template.systematics],
        config.negative,
    )
    systematics, factors = keep_positive(systematics, yields.values)
    if config.yields is not None:  # a bare array would be taken to be on the axes of the pair
        systematics = [replace(s, up=_as(s.up, axes), down=_as(s.down, axes)) for s in systematics]
    warnings = []
    bad = record["negative_bins"]
    if bad and config.negative != "refuse":
        what = {
            "zero": "set to 0, without an error",
            "merge": "merged with a neighbour",
        }[config.negative]
        warnings.append(
            f"{len(bad)} bin(s) below 0, the lowest {record['lowest']:.4g}, are {what}; the fakes' "
            f"sum is {record['sum_after']:.6g} for {record['sum_before']:.6g}"
        )
    if factors:
        warnings.append(
            f"the errors of {', '.join(factors)} are too large for shapes alone, which would turn "
            "the fakes negative within 5 sigma; written as a factor times a shape"
        )
    description = {
        "from": config.yields if config.yields is not None else config.events,
        "weight": config.weight,
        "select": config.select,
        "prompt": None if config.prompt is None else vars(config.prompt),
        "error": config.error if config.error is not None or config.yields else "sum of squares",
        "error_kind": config.error_kind,
        "normalisation": config.normalisation,
        "maps": [_describe_map(item) for item in config.maps],
        **record,
        "shapes_as_factors": factors,
    }
    return Template(
        yields=yields,
        error=stated if isinstance(stated, str) else error,
        error_kind=template.error_kind,
        systematics=tuple(systematics),
        description=description,
        warnings=tuple(warnings),
    )


def _on(data: Any, axes: tuple[Axis, ...]) -> Any:
    """Return a shape or an error on the axes of its yields, as it is where the builder refuses."""
    try:
        return align(data, axes)[0] if isinstance(data, Histogram) else data
    except InputError:
        return data


def _as(data: Any, axes: tuple[Axis, ...]) -> Any:
    """Return an array as a histogram."""
    return Histogram(data, axes) if isinstance(data, np.ndarray) else data


def _describe_map(item: FakeMapConfig) -> dict[str, object]:
    return {
        "name": item.name,
        "file": item.file,
        "flavour": item.flavour,
        "sources_left_out": list(item.exclude),
    }


def _closure_events(
    analysis: Analysis, samples: EventSamples, ratio: Histogram | float
) -> ClosureEvents | None:
    """Return the events for the closure in further variables, None where none is asked for.

    Raises:
        InputError: A variable without a column.
    """
    if not analysis.closure:
        return None
    for variable in analysis.closure:
        if not column_names(variable.column):
            raise InputError(f"closure: '{variable.column}' names no column of the events")

    def events(key: tuple[str, str], config: TemplateConfig | None = None) -> VariableEvents:
        filled = samples.events[key]
        return VariableEvents(
            bins=filled.bins,
            weights=filled.weights,
            values=filled.variables,
            tested=filled.tested,
            efficiencies=filled.efficiencies,
            loose=samples.loose.get(key[0]) if config is not None else None,
            counted=config is not None and config.error is None,
        )

    channels = {"tested": analysis.tested, "partner": analysis.partner}
    return ClosureEvents(
        variables=analysis.closure,
        observed=events(("both", "observed")),
        fakes={
            role: events((role, "fakes"), channel.fakes)
            for role, channel in channels.items()
            if channel.fakes is not None
        },
        ratio=align(ratio, samples.axes)[0].values if isinstance(ratio, Histogram) else ratio,
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
