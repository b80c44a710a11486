"""What an analysis file may not say although its schema allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddphf.exceptions import ConfigError

if TYPE_CHECKING:
    from ddphf.config.analysis import Analysis, ChannelConfig, TemplateConfig

__all__ = ["check_meaning"]


def check_meaning(analysis: Analysis, *, needs_signal: bool = True) -> None:
    """Refuse what a schema cannot say.

    Args:
        analysis: Valid by the schema.
        needs_signal: Refuse an analysis without one.

    Raises:
        ConfigError: Says where, and what contradicts what.
    """
    if analysis.tested.label == analysis.partner.label:
        raise ConfigError(
            f"at partner.label: got '{analysis.partner.label}', which is the label of the tested "
            "sample too; the two need different labels"
        )
    if needs_signal and analysis.tested.signal is None and analysis.partner.signal is None:
        raise ConfigError("at tested: 'signal' is missing; state the template that is searched")
    for path, channel in (("tested", analysis.tested), ("partner", analysis.partner)):
        for index, systematic in enumerate(channel.systematics):
            if systematic.kind == "histosys" and not systematic.relative:
                raise ConfigError(
                    f"at {path}.systematics.{index}: '{systematic.name}' acts on the symmetric "
                    "background, whose yields the fit finds; give factors and 'relative: true'"
                )
        _check_channel(analysis, path, channel)
    _check_fake_maps(analysis)
    _check_closure(analysis)
    if analysis.search is not None and analysis.events is None:
        raise ConfigError(
            "at search: there is no section 'events' to select from; selections and observables "
            "need an event table"
        )
    if analysis.learn is not None and analysis.events is None:
        raise ConfigError(
            "at learn: there is no section 'events'; labels are redrawn event by event, which "
            "needs an event table"
        )
    if analysis.learned is not None and analysis.events is None:
        raise ConfigError("at learned: there is no section 'events' to compare it with")
    axes = () if analysis.events is None else analysis.events.axes
    for index, axis in enumerate(axes):
        if any(axis.column == other.column for other in axes[:index]):
            raise ConfigError(f"at events.axes.{index}: '{axis.column}' is an axis already")
    lepton_id = analysis.lepton_id
    if lepton_id is None:
        return
    if analysis.events is None and lepton_id.composition is None:
        raise ConfigError(
            "at lepton_id: 'composition' is missing; without 'events' nothing tells which "
            "calibration bins a template bin is made of"
        )
    if analysis.events is not None and lepton_id.composition is not None:
        raise ConfigError("at lepton_id.composition: the events tell it already; leave it out")
    efficiencies = lepton_id.maps[0].kind == "efficiency"
    if analysis.events is not None and efficiencies and analysis.ratio_stated:
        raise ConfigError(
            "at efficiency_ratio: the efficiency maps of 'lepton_id' tell it already; leave it "
            "out, or give scale factors"
        )
    if analysis.events is not None and not efficiencies and not analysis.ratio_stated:
        raise ConfigError(
            "at efficiency_ratio: is missing; scale factors only correct the ratio of the "
            "simulated efficiencies, so state that (1 where the two are equal)"
        )


def _check_channel(analysis: Analysis, path: str, channel: ChannelConfig) -> None:
    """Refuse a sample that is neither, or both, a histogram and a selection of events."""
    _require_one(f"at {path}", observed=channel.observed, select=channel.select)
    if channel.select is not None and analysis.events is None:
        raise ConfigError(f"at {path}.select: there is no section 'events' to select from")
    if channel.observed is not None and analysis.events is not None:
        raise ConfigError(f"at {path}.observed: with 'events' a sample is given by 'select'")
    for key, template in (("signal", channel.signal), ("fakes", channel.fakes)):
        if template is None:
            continue
        if template.window is not None:
            _check_window(template, f"at {path}.{key}")
            continue
        _require_one(f"at {path}.{key}", yields=template.yields, events=template.events)
        if template.events is not None and analysis.events is None:
            raise ConfigError(f"at {path}.{key}.events: there is no section 'events' for its axes")
        if template.events is None and template.weight is not None:
            raise ConfigError(f"at {path}.{key}.weight: a histogram has no weights; leave it out")
        for name in ("select", "prompt"):
            if template.events is None and getattr(template, name) is not None:
                raise ConfigError(
                    f"at {path}.{key}.{name}: a histogram has no events; leave it out"
                )
        if template.events is None and (template.maps or template.lepton is not None):
            raise ConfigError(
                f"at {path}.{key}: a histogram has no loose leptons; give 'events' with 'maps'"
            )
        if bool(template.maps) != (template.lepton is not None):
            missing = "lepton" if template.maps else "maps"
            raise ConfigError(
                f"at {path}.{key}: '{missing}' is missing; fake factors need both maps and the "
                "columns of the loose lepton"
            )


def _require_one(where: str, **given: object) -> None:
    """Refuse none or more than one of some keys; the first is the one that is missed."""
    stated = [f"'{key}'" for key, value in given.items() if value is not None]
    if not stated:
        raise ConfigError(f"{where}: '{next(iter(given))}' is missing")
    if len(stated) > 1:
        raise ConfigError(f"{where}: {' and '.join(stated)}, expected one of them")


def _check_window(template: TemplateConfig, where: str) -> None:
    """Refuse what a window cannot have: its events are exact."""
    for name in ("yields", "events", "select", "weight", "error"):
        _require_one(where, window=template.window, **{name: getattr(template, name)})


def _check_closure(analysis: Analysis) -> None:
    """Refuse variables where some sample has no events to bin in them."""
    for index, variable in enumerate(analysis.closure):
        where = f"at closure.{index}"
        if analysis.events is None:
            raise ConfigError(
                f"{where}: there is no section 'events', and histograms have no further variables"
            )
        for path, channel in (("tested", analysis.tested), ("partner", analysis.partner)):
            if channel.fakes is not None and channel.fakes.events is None:
                raise ConfigError(
                    f"{where}: the fakes of '{path}' are a histogram, which cannot be filled in "
                    f"'{variable.column}'; give them as events, or leave 'closure' out"
                )


def _check_fake_maps(analysis: Analysis) -> None:
    """Refuse one name for two maps: it names the nuisance parameters that the channels share."""
    fakes = (analysis.tested.fakes, analysis.partner.fakes)
    first, second = ({m.name: m for m in (f.maps if f else ())} for f in fakes)
    for name in first.keys() & second.keys():
        if first[name] != second[name]:
            raise ConfigError(
                f"at partner.fakes.maps.{name}: another map of this name than in 'tested', but "
                "equal names share their nuisance parameters; rename one (with its 'flavour')"
            )
