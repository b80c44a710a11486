"""The analysis file: YAML, validated by a JSON Schema and then for its meaning."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ddphf.config.learn import LearnConfig, parse_learn
from ddphf.config.learned import LearnedConfig, parse_learned
from ddphf.config.meaning import check_meaning
from ddphf.config.search import SearchConfig, parse_search
from ddphf.config.sections import (
    ClosureConfig,
    EventsConfig,
    FakeMapConfig,
    LeptonConfig,
    LeptonIdConfig,
    parse_closure,
    parse_events,
    parse_fake_maps,
    parse_files,
    parse_lepton_id,
    parse_weight,
)
from ddphf.config.validation import validate
from ddphf.config.window import WindowConfig, parse_window
from ddphf.exceptions import ConfigError, InputError
from ddphf.files import read_input
from ddphf.results.provenance import seal_of
from ddphf.yaml_text import parse_yaml

__all__ = [
    "Analysis",
    "ChannelConfig",
    "PromptConfig",
    "SystematicConfig",
    "TemplateConfig",
    "named_files",
    "parse_analysis",
    "read_analysis",
    "read_text",
]


@dataclass(frozen=True)
class SystematicConfig:
    """A correlated uncertainty as written: numbers for normsys, addresses for histosys."""

    name: str
    kind: Literal["normsys", "histosys"]
    up: float | str
    down: float | str
    relative: bool = False
    source: str = ""


@dataclass(frozen=True)
class PromptConfig:
    """Weighted events of prompt leptons in the control region of fakes, to be subtracted."""

    events: str | tuple[str, ...]
    weight: str | None = None
    select: str | None = None


@dataclass(frozen=True)
class TemplateConfig:
    """A template as written: the address of a histogram (``yields``) or of weighted events.

    Fakes may have a relative error of their ``normalisation``, a rule for ``negative`` bins, and be
    events of a control region times the fake factor of their loose ``lepton``, looked up in
    ``maps``, with the events of ``prompt`` subtracted. ``select`` stands in the place of the
    selection of all events. A signal may be a ``window`` instead.
    """

    yields: str | None
    error: str | None = None
    error_kind: Literal["shapesys", "staterror"] = "shapesys"
    systematics: tuple[SystematicConfig, ...] = ()
    events: str | tuple[str, ...] | None = None
    select: str | None = None
    weight: str | None = None
    prompt: PromptConfig | None = None
    normalisation: float = 0.0
    lepton: LeptonConfig | None = None
    maps: tuple[FakeMapConfig, ...] = ()
    negative: Literal["refuse", "zero", "merge"] = "refuse"
    window: WindowConfig | None = None


@dataclass(frozen=True)
class ChannelConfig:
    """One of the two samples as written: a histogram (``observed``) or a selection of events."""

    label: str
    observed: str | None
    signal: TemplateConfig | None = None
    fakes: TemplateConfig | None = None
    systematics: tuple[SystematicConfig, ...] = ()
    select: str | None = None


@dataclass(frozen=True)
class Analysis:
    """A validated analysis file.

    Attributes:
        name: Letters, digits and underscores.
        tested: The sample searched for a signal.
        partner: The sample that tells its background.
        efficiency_ratio: A number or the address of a histogram; with events and efficiency maps
            the maps tell it instead.
        known_background: Address of the true background of the partner channel, or None.
        floor: Background assumed in bins without any, or None.
        signal_scale: Factor from stated signal to mu = 1, or ``"auto"``.
        luminosity_error: Relative, or None.
        integer_data: Whether counts must be whole numbers.
        description: Free text.
        events: The event table, where the samples are selected from one.
        lepton_id: The lepton-ID uncertainty, or None.
        closure: Variables beside the axes in which closure is tested.
        search: Selections and observables of the search, or None.
        learn: Variables in which a difference is learned, or None.
        learned: Which events its template was learned from, or None.
        folder: What addresses are relative to.
        files: Every file that it names and that exists: none of them may become an output.
        ratio_stated: Whether it has an ``efficiency_ratio``.
        data_directed: How its signal was found by a search, as written; or None.
    """

    name: str
    tested: ChannelConfig
    partner: ChannelConfig
    efficiency_ratio: float | str = 1.0
    known_background: str | None = None
    floor: float | None = None
    signal_scale: float | Literal["auto"] = 1.0
    luminosity_error: float | None = None
    integer_data: bool = True
    description: str = ""
    events: EventsConfig | None = None
    lepton_id: LeptonIdConfig | None = None
    closure: tuple[ClosureConfig, ...] = ()
    search: SearchConfig | None = None
    learn: LearnConfig | None = None
    learned: LearnedConfig | None = None
    folder: Path = Path()
    files: tuple[Path, ...] = ()
    ratio_stated: bool = False
    data_directed: Mapping[str, Any] | None = None


def read_analysis(path: str | Path, *, needs_signal: bool = True) -> Analysis:
    """Read and validate an analysis file; ``-`` reads standard input.

    Args:
        path: Of the file.
        needs_signal: Refuse one without a signal: a search needs none.

    Raises:
        ConfigError: The file is missing or no YAML, or breaks the schema or its meaning.

    Example:
        >>> read_analysis("workspaces/flat_reference/analysis.yml").name
        'flat_reference'
    """
    text = read_text(path)
    if str(path) == "-":
        return parse_analysis(text, needs_signal=needs_signal)
    try:
        return parse_analysis(text, folder=Path(path).parent, needs_signal=needs_signal)
    except ConfigError as error:
        raise ConfigError(f"{Path(path)}: {error}") from None


def read_text(path: str | Path) -> str:
    """Return the text of a file; ``-`` reads standard input.

    Raises:
        ConfigError: The file is missing or no text.
    """
    standard = str(path) == "-"
    name = "standard input" if standard else str(Path(path))
    try:
        return read_input("-" if standard else Path(path), name).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: cannot be read ({error})") from None
    except InputError as error:
        raise ConfigError(str(error)) from None


def parse_analysis(text: str, *, folder: str | Path = ".", needs_signal: bool = True) -> Analysis:
    r"""Validate the text of an analysis file.

    Args:
        text: YAML.
        folder: What addresses of histograms are relative to.
        needs_signal: Refuse one without a signal.

    Raises:
        ConfigError: Says path, what, got and expected.

    Example:
        >>> parse_analysis("schema: ddphf/analysis/1\nname: x\ntested: 3\npartner: {}")
        Traceback (most recent call last):
            ...
        ddphf.exceptions.ConfigError: at tested: got 3, expected object
    """
    data = parse_yaml(text)
    validate(data, "analysis")
    if "data_directed" in data and seal_of(data) != data["data_directed"]["seal"]:
        raise ConfigError(
            "at data_directed: the window, or what chose it, was changed since 'ddphf search "
            "freeze' wrote it; freeze the window again"
        )
    background = data.get("background", {})
    analysis = Analysis(
        name=data["name"],
        tested=_channel(data["tested"], "tested"),
        partner=_channel(data["partner"], "partner"),
        efficiency_ratio=data.get("efficiency_ratio", 1.0),
        known_background=background.get("known"),
        floor=background.get("floor"),
        signal_scale=data.get("signal_scale", 1.0),
        luminosity_error=data.get("luminosity", {}).get("relative_error"),
        integer_data=data.get("integer_data", True),
        description=data.get("description", ""),
        events=parse_events(data.get("events")),
        lepton_id=parse_lepton_id(data.get("lepton_id")),
        closure=parse_closure(data.get("closure", ())),
        search=parse_search(data.get("search")),
        learn=parse_learn(data.get("learn")),
        learned=parse_learned(data.get("learned")),
        folder=Path(folder),
        files=tuple(named_files(data, Path(folder))),
        ratio_stated="efficiency_ratio" in data,
        data_directed=data.get("data_directed"),
    )
    check_meaning(analysis, needs_signal=needs_signal)
    return analysis


def named_files(node: Any, folder: Path) -> Iterator[Path]:
    """Yield every existing file that some text names: FILE, FILE:NAME, or a pattern of files."""
    if isinstance(node, str):
        for end in [len(node), *(i for i, letter in enumerate(node) if letter == ":")]:
            pattern = str(folder / node[:end])
            # A broken or endless pattern is refused where it is read.
            with contextlib.suppress(OSError, ValueError, RecursionError):
                names = glob.iglob(pattern) if glob.has_magic(pattern) else [pattern]
                yield from (Path(name) for name in names if os.path.isfile(name))
    elif isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from named_files(child, folder)


def _channel(data: dict[str, Any], path: str) -> ChannelConfig:
    return ChannelConfig(
        label=data["label"],
        observed=data.get("observed"),
        select=data.get("select"),
        signal=_template(data.get("signal"), f"at {path}.signal"),
        fakes=_template(data.get("fakes"), f"at {path}.fakes"),
        systematics=_systematics(data),
    )


def _template(data: dict[str, Any] | None, where: str) -> TemplateConfig | None:
    if data is None:
        return None
    lepton = data.get("lepton")
    return TemplateConfig(
        yields=data.get("yields"),
        events=None if "events" not in data else parse_files(data["events"]),
        select=data.get("select"),
        weight=parse_weight(data.get("weight")),
        prompt=None if "prompt" not in data else _prompt(data["prompt"]),
        error=data.get("error"),
        error_kind=data.get("error_kind", "shapesys"),
        systematics=_systematics(data),
        normalisation=data.get("normalisation", 0.0),
        lepton=None if lepton is None else LeptonConfig(**lepton),
        maps=parse_fake_maps(data.get("maps", {}), f"{where}.maps"),
        negative=data.get("negative", "refuse"),
        window=parse_window(data.get("window"), f"{where}.window"),
    )


def _prompt(data: dict[str, Any]) -> PromptConfig:
    return PromptConfig(
        parse_files(data["events"]), parse_weight(data.get("weight")), data.get("select")
    )


def _systematics(data: dict[str, Any]) -> tuple[SystematicConfig, ...]:
    return tuple(
        SystematicConfig(
            name=item["name"],
            kind=item["type"],
            up=item["up"],
            down=item["down"],
            relative=item.get("relative", False),
            source=item.get("source", ""),
        )
        for item in data.get("systematics", ())
    )
