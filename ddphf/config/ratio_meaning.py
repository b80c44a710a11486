"""What a ratio file may not say although its schema allows it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ddphf.config.placeholders import match_samples
from ddphf.exceptions import ConfigError
from ddphf.results.measured import misfits_of_declared

if TYPE_CHECKING:
    from ddphf.config.ratio import RatioConfig, RatioSampleConfig, RatioSystematicConfig

__all__ = ["CONTROL_RATE", "LUMI", "check_ratio"]

LUMI = "lumi"

CONTROL_RATE = "control_rate"
"""Free factor of both channels of a control pair."""

NEEDED = {
    "normsys": ("up", "down"),
    "histosys": ("up", "down"),
    "shapesys": (),
    "staterror": (),
    "lumi": (),
}
ALLOWED = {
    "normsys": {"up", "down"},
    "histosys": {"up", "down", "relative"},
    "shapesys": {"error", "prune"},
    "staterror": {"error"},
    "lumi": set[str](),
}
PER_BIN = ("shapesys", "staterror")


def check_ratio(config: RatioConfig) -> None:
    """Refuse what a schema cannot say.

    Args:
        config: Valid by the schema.

    Raises:
        ConfigError: Says where, and what contradicts what.
    """
    low, high = config.bounds
    if not low < high:
        raise ConfigError(f"at ratio.bounds: got [{low:g}, {high:g}], expected the lower one first")
    if not low <= config.expected <= high:
        raise ConfigError(
            f"at ratio.expected: got {config.expected:g}, outside the bounds [{low:g}, {high:g}]; "
            "correct it, or widen them"
        )
    known_values = {"reference": (config.reference_error, config.reference_value)}
    if config.control is not None:
        known_values["control.ratio"] = config.control.error, config.control.value
    for path, (error, value) in known_values.items():
        if error >= value:
            raise ConfigError(
                f"at {path}.error: got {error:g}, not below the value {value:g}; it is absolute, "
                "and so large that the value is not known"
            )
    _check_names(config)
    places = {"numerator": config.numerator, "denominator": config.denominator}
    if config.control is not None:
        places |= {
            "control.numerator": config.control.numerator,
            "control.denominator": config.control.denominator,
        }
    for path, channel in places.items():
        if all(sample.role != "signal" for sample in channel.samples):
            raise ConfigError(
                f"at {path}.samples: no sample has the role 'signal', so nothing is measured; give "
                "one of them 'role: signal'"
            )
        for number, sample in enumerate(channel.samples):
            _check_sample(config, sample, f"at {path}.samples.{number} ('{sample.name}')")
    _check_per_bin(config)
    known = [name for channel in config.channels() for name in channel.sample_names()]
    for number, item in enumerate(config.lepton_id):
        match_samples(item.samples, known, f"at lepton_id.{number}.samples")
    for what, names in (
        ("lepton_id", [item.name for item in config.lepton_id]),
        ("derived", [str(entry["name"]) for entry in config.derived]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                raise ConfigError(f"at {what}: '{name}' is there {count} times; rename one")
    _check_derived(config)


def _check_names(config: RatioConfig) -> None:
    for name, count in Counter(c.channel for c in config.channels()).items():
        if count > 1:
            raise ConfigError(
                f"at numerator, denominator and control: {count} channels are called '{name}'; "
                "name each its own way"
            )
    for channel in config.channels():
        for name, count in Counter(s.name for s in channel.samples).items():
            if count > 1:
                raise ConfigError(
                    f"channel '{channel.channel}': {count} samples are called '{name}'; pyhf would "
                    "keep one of them, so rename or merge them"
                )
    taken = [config.poi, config.reference, LUMI]
    if config.control is not None:
        control = config.control.efficiency
        taken += [control, f"{control}_control", f"{control}_transfer", CONTROL_RATE]
    for name, count in Counter(taken).items():
        if count > 1:
            raise ConfigError(
                f"'{name}' names two parameters (ratio, reference, efficiency, lumi, "
                f"{CONTROL_RATE}); rename one"
            )
    for channel in config.channels():
        for sample in channel.samples:
            for systematic in sample.systematics:
                if systematic.name in taken and systematic.kind != "lumi":
                    raise ConfigError(
                        f"channel '{channel.channel}', sample '{sample.name}': systematic "
                        f"'{systematic.name}' has the name of another parameter; rename it"
                    )


def _check_sample(config: RatioConfig, sample: RatioSampleConfig, where: str) -> None:
    for (name, kind), count in Counter((s.name, s.kind) for s in sample.systematics).items():
        if count > 1:
            raise ConfigError(
                f"{where}: systematic '{name}' ({kind}) is there {count} times; pyhf would keep "
                "one of them, so rename or merge them"
            )
    for systematic in sample.systematics:
        _check_systematic(config, systematic, f"{where}, systematic '{systematic.name}'")


def _check_systematic(config: RatioConfig, s: RatioSystematicConfig, where: str) -> None:
    given = {key for key in ("up", "down", "error", "prune") if getattr(s, key) is not None}
    given |= {"relative"} if s.relative else set()
    if extra := sorted(given - ALLOWED[s.kind]):
        raise ConfigError(f"{where}: a {s.kind} has no '{extra[0]}'; leave it out")
    for key in NEEDED[s.kind]:
        if key not in given:
            raise ConfigError(f"{where}: '{key}' is missing; a {s.kind} has 'up' and 'down'")
    for key in ("up", "down") if s.kind == "normsys" else ():
        value = getattr(s, key)
        if isinstance(value, str) or not value > 0:
            raise ConfigError(f"{where}, {key}: got {value!r}, expected a factor > 0")
    for key in ("up", "down") if s.kind == "histosys" else ():
        value = getattr(s, key)
        if not isinstance(value, str):
            raise ConfigError(f"{where}, {key}: got {value!r}, expected FILE:NAME of a histogram")
    if s.kind == "lumi":
        if config.luminosity_error is None:
            raise ConfigError(
                f"{where}: there is no 'luminosity: {{relative_error: ...}}' to tell its width"
            )
        if s.name != LUMI:
            raise ConfigError(f"{where}: a lumi is called '{LUMI}'; rename it")


def _check_per_bin(config: RatioConfig) -> None:
    """Refuse one name for errors of bins of two channels, or of two samples that are no sum."""
    owners: dict[str, tuple[str, str, str]] = {}
    for channel in config.channels():
        for sample in channel.samples:
            for s in sample.systematics:
                first = owners.setdefault(s.name, (s.kind, channel.channel, sample.name))
                if s.kind not in PER_BIN and first[0] not in PER_BIN:
                    continue
                same = first[0] == s.kind and first[1] == channel.channel
                if same and (s.kind == "staterror" or first[2] == sample.name):
                    continue
                raise ConfigError(
                    f"'{s.name}' is a {first[0]} of {first[1]}/{first[2]} and a {s.kind} of "
                    f"{channel.channel}/{sample.name}; errors of bins are shared by the samples of "
                    "one channel, as staterror, alone: put {channel} or {sample} into the name"
                )


def _check_derived(config: RatioConfig) -> None:
    for number, entry in enumerate(config.derived):
        where, kind = f"at derived.{number}", entry["kind"]
        of = {"coupling_ratio": {"masses"}, "power": {"factor", "factor_error", "power"}}
        if extra := sorted(set(entry) - {"name", "kind"} - of[kind]):
            raise ConfigError(f"{where}: a {kind} has no '{extra[0]}'; leave it out")
        if kind == "coupling_ratio" and "masses" not in entry:
            raise ConfigError(
                f"{where}: 'masses' is missing; state those of tau, muon and electron, in one unit"
            )
    for trouble in misfits_of_declared({"derived": config.derived}):
        raise ConfigError(trouble)
