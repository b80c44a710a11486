"""The ratio file: numerator, denominator and what is known of both, as written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ddphf.arrays import Hole
from ddphf.config.analysis import named_files
from ddphf.config.placeholders import fill, match_samples
from ddphf.config.ratio_meaning import check_ratio
from ddphf.config.validation import validate
from ddphf.exceptions import ConfigError
from ddphf.yaml_text import parse_yaml

__all__ = [
    "SCHEMA",
    "ControlConfig",
    "RatioChannelConfig",
    "RatioConfig",
    "RatioMapConfig",
    "RatioSampleConfig",
    "RatioSystematicConfig",
    "parse_ratio",
]

SCHEMA = "ddphf/ratio/1"

Kind = Literal["normsys", "histosys", "shapesys", "staterror", "lumi"]
Role = Literal["signal", "background", "fake"]


@dataclass(frozen=True)
class RatioSystematicConfig:
    """An uncertainty of one sample as written.

    Attributes:
        name: Of its nuisance, or of its per-bin ones.
        kind: Of the modifier.
        up: A factor (``normsys``) or an address (``histosys``).
        down: The same.
        relative: Whether the histograms of a ``histosys`` are factors of the yields.
        error: Address of absolute errors per bin (``shapesys``, ``staterror``); the variances of
            the yields by default.
        prune: Part of the channel's expected events below which a bin's error is left out
            (``shapesys``); None: no bin may have an error of 0.
        source: Where it comes from, for the sidecar.
    """

    name: str
    kind: Kind
    up: float | str | None = None
    down: float | str | None = None
    relative: bool = False
    error: str | None = None
    prune: float | None = None
    source: str = ""


@dataclass(frozen=True)
class RatioSampleConfig:
    """One process in one channel."""

    name: str
    role: Role
    yields: str
    systematics: tuple[RatioSystematicConfig, ...] = ()


@dataclass(frozen=True)
class RatioChannelConfig:
    """One channel: what was counted, and what is expected."""

    channel: str
    observed: str
    samples: tuple[RatioSampleConfig, ...]

    def sample_names(self) -> list[str]:
        """Return ``CHANNEL/SAMPLE`` of every sample."""
        return [f"{self.channel}/{sample.name}" for sample in self.samples]


@dataclass(frozen=True)
class ControlConfig:
    """A second pair whose true ratio is known, so that it measures the ratio of efficiencies.

    Attributes:
        numerator: Its channel with the leptons of the numerator.
        denominator: That with the leptons of the denominator.
        value: Its true ratio.
        error: Of that.
        efficiency: Name of the nuisance.
        prior: Relative error of the ratio of efficiencies of one lepton before any data.
        leptons: Per event, of signal and of control pair.
        transfer: Relative error of the ratio by what does not carry over.
    """

    numerator: RatioChannelConfig
    denominator: RatioChannelConfig
    value: float
    error: float
    efficiency: str
    prior: float
    leptons: dict[str, int]
    transfer: float


@dataclass(frozen=True)
class RatioMapConfig:
    """Errors of one calibration of lepton identification, or of misidentification.

    Attributes:
        name: Of its eigen-variations.
        samples: ``CHANNEL/SAMPLE`` that they act on.
        covariance: Address of the relative covariance of the calibration bins, (K, K); or None.
        statistical: Address of independent relative errors, (K,); or None.
        systematic: Address of relative errors with a common ``correlation`` between bins, (K,).
        correlation: Of the systematic errors, 0 to 1.
        composition: Address of the mean number of leptons of a template bin in a calibration bin,
            (M, K), which may hold ``{channel}`` and ``{sample}``; None where bins are the same.
        leptons: Per event, where there is no composition.
        at_most: How many eigen-variations to keep, or None.
        retained: Part of the summed variance to keep.
        psd_tolerance: Negative eigenvalues of the covariance down to this part of the largest are
            set to 0; None for those that are rounding.
    """

    name: str
    samples: tuple[str, ...]
    covariance: str | None = None
    statistical: str | None = None
    systematic: str | None = None
    correlation: float = 1.0
    composition: str | None = None
    leptons: int = 1
    at_most: int | None = None
    retained: float = 1.0
    psd_tolerance: float | None = None


@dataclass(frozen=True)
class RatioConfig:
    """A validated ratio file.

    Attributes:
        name: Letters, digits and underscores.
        poi: Name of the ratio.
        expected: Its value in the hypothesis that is tested.
        bounds: Of the ratio.
        reference: Name of the factor that numerator and denominator share.
        reference_value: What the yields assume of it.
        reference_error: Absolute.
        numerator: Its signal is multiplied by ratio and reference.
        denominator: Its signal is multiplied by the reference.
        control: A pair of known ratio, or None.
        luminosity_error: Relative, or None.
        lepton_id: Calibrations.
        groups: Globs of parameters by name, for rankings.
        derived: Rules of :class:`ddphf.results.measured.DerivedRule`, as in the sidecar.
        integer_data: Whether counts must be whole numbers.
        description: Free text.
        folder: What addresses are relative to.
        files: Every file that it names and that exists.
    """

    name: str
    poi: str
    expected: float
    bounds: tuple[float, float]
    reference: str
    reference_value: float
    reference_error: float
    numerator: RatioChannelConfig
    denominator: RatioChannelConfig
    control: ControlConfig | None = None
    luminosity_error: Hole = None
    lepton_id: tuple[RatioMapConfig, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    derived: tuple[dict[str, Any], ...] = ()
    integer_data: bool = True
    description: str = ""
    folder: Path = Path()
    files: tuple[Path, ...] = ()

    def channels(self) -> tuple[RatioChannelConfig, ...]:
        """Return all channels, those of the control pair last."""
        control = self.control
        more = () if control is None else (control.numerator, control.denominator)
        return (self.numerator, self.denominator, *more)


def parse_ratio(text: str, *, folder: str | Path = ".") -> RatioConfig:
    r"""Validate the text of a ratio file.

    Args:
        text: YAML.
        folder: What addresses are relative to.

    Raises:
        ConfigError: Says path, what, got and expected.

    Example:
        >>> try:
        ...     parse_ratio("3")
        ... except ConfigError as error:
        ...     print(str(error)[:40])
        at the top: got 3, expected a mapping: n
    """
    data = parse_yaml(text)
    validate(data, "ratio")
    low, high = data["ratio"]["bounds"]
    control = data.get("control")
    config = RatioConfig(
        name=data["name"],
        poi=data["ratio"]["name"],
        expected=data["ratio"]["expected"],
        bounds=(float(low), float(high)),
        reference=data["reference"]["name"],
        reference_value=data["reference"]["value"],
        reference_error=data["reference"]["error"],
        numerator=_channel(data["numerator"]),
        denominator=_channel(data["denominator"]),
        control=None if control is None else _control(control),
        luminosity_error=data.get("luminosity", {}).get("relative_error"),
        lepton_id=tuple(map(_map, data.get("lepton_id", ()))),
        groups={name: tuple(globs) for name, globs in data.get("groups", {}).items()},
        derived=tuple(data.get("derived", ())),
        integer_data=data.get("integer_data", True),
        description=data.get("description", ""),
        folder=Path(folder),
        files=tuple(named_files(data, Path(folder))),
    )
    config = _with_common(config, data.get("systematics", ()))
    check_ratio(config)
    return config


def _channel(data: Mapping[str, Any]) -> RatioChannelConfig:
    samples = tuple(
        RatioSampleConfig(
            s["name"], s["role"], s["yields"], tuple(map(_systematic, s.get("systematics", ())))
        )
        for s in data["samples"]
    )
    return RatioChannelConfig(data["channel"], data["observed"], samples)


def _control(data: Mapping[str, Any]) -> ControlConfig:
    return ControlConfig(
        numerator=_channel(data["numerator"]),
        denominator=_channel(data["denominator"]),
        value=data["ratio"]["value"],
        error=data["ratio"]["error"],
        efficiency=data["efficiency"]["name"],
        prior=data["efficiency"]["prior"],
        leptons=dict(data["efficiency"].get("leptons", {"signal": 1, "control": 1})),
        transfer=data["transfer"],
    )


def _map(data: Mapping[str, Any]) -> RatioMapConfig:
    errors = data.get("errors")
    where = f"at lepton_id, '{data['name']}'"
    if (errors is None) == ("covariance" not in data):
        got = "neither" if errors is None else "both"
        raise ConfigError(f"{where}: 'covariance' or 'errors', got {got}; give one of them")
    if errors is None and "correlation" in data:
        raise ConfigError(f"{where}: a covariance has its correlations; leave 'correlation' out")
    return RatioMapConfig(
        name=data["name"],
        samples=tuple(data["samples"]),
        covariance=data.get("covariance"),
        statistical=None if errors is None else errors.get("statistical"),
        systematic=None if errors is None else errors["systematic"],
        correlation=float(data.get("correlation", 1.0)),
        composition=data.get("composition"),
        leptons=data.get("leptons", 1),
        at_most=data.get("at_most"),
        retained=float(data.get("retained", 1.0)),
        psd_tolerance=data.get("psd_tolerance"),
    )


def _systematic(data: Mapping[str, Any]) -> RatioSystematicConfig:
    return RatioSystematicConfig(
        name=data["name"],
        kind=data["type"],
        **{key: value for key, value in data.items() if key not in ("name", "type", "samples")},
    )


def _with_common(config: RatioConfig, common: Any) -> RatioConfig:
    """Give the samples the systematics that are stated for several of them."""
    known = [name for channel in config.channels() for name in channel.sample_names()]
    for number, entry in enumerate(common):
        match_samples(entry.get("samples", ["*/*"]), known, f"at systematics.{number}.samples")

    def channel(one: RatioChannelConfig) -> RatioChannelConfig:
        samples = tuple(
            replace(
                sample, systematics=(*sample.systematics, *_common(one.channel, sample, common))
            )
            for sample in one.samples
        )
        return replace(one, samples=samples)

    control = config.control
    if control is not None:
        control = replace(
            control,
            numerator=channel(control.numerator),
            denominator=channel(control.denominator),
        )
    return replace(
        config,
        numerator=channel(config.numerator),
        denominator=channel(config.denominator),
        control=control,
    )


def _common(
    channel: str, sample: RatioSampleConfig, common: Any
) -> Iterator[RatioSystematicConfig]:
    for entry in common:
        if match_samples(entry.get("samples", ["*/*"]), [f"{channel}/{sample.name}"]):
            names = {"{channel}": channel, "{sample}": sample.name}
            yield _systematic({key: fill(value, names) for key, value in entry.items()})
