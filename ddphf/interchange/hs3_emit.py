"""What was read of an HS3 document, written as a pyhf workspace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.interchange.hs3_channels import SCALAR, Channel, Modifier
from ddphf.interchange.hs3_per_bin import Group, Use, classify
from ddphf.interchange.terms import Constraint
from ddphf.results.provenance import read_mark
from ddphf.text import list_names

__all__ = ["Point", "emit"]

Uses = Mapping[tuple[str, ...], Sequence[Use]]


@dataclass(frozen=True)
class Point:
    """What one analysis says of the parameters.

    Attributes:
        name: Of the analysis.
        poi: Its parameter of interest, or None.
        values: Of parameters and constants.
        held: Which of them are constant.
        bounds: Lower and upper one, where it has both.
        terms: Constraint terms.
    """

    name: str
    poi: str | None
    values: Mapping[str, float]
    held: Mapping[str, bool]
    bounds: Mapping[str, list[float]]
    terms: dict[str, Constraint]

    def holds(self, name: str) -> bool:
        """Return whether a parameter is constant."""
        return bool(self.held.get(name, False))


def emit(
    channels: Sequence[Channel], observed: Mapping[str, list[float]], uses: Uses,
    points: Sequence[Point], own: Spec,
) -> tuple[Spec, list[str]]:  # fmt: skip
    """Return the workspace, and what was left out.

    Args:
        channels: With their samples.
        observed: Their data.
        uses: Every modifier by its parameters.
        points: One per analysis.
        own: What ddphf wrote for itself into ``misc``, empty of others' documents.

    Raises:
        InputError: pyhf has no such parameter.
    """
    emitter = _Emitter(uses, points, own)
    return emitter.workspace(channels, observed), emitter.warnings


class _Emitter:
    def __init__(self, uses: Uses, points: Sequence[Point], own: Spec) -> None:
        self._uses, self._points = uses, points
        originals = own.get("names")
        self._originals = originals if isinstance(originals, dict) else {}
        self._mark = own.get("data_directed")
        self.warnings: list[str] = []
        self._centres: dict[tuple[tuple[str, ...], int], list[float] | None] = {}
        self._groups = {key: self._group(key) for key in uses if self._is_per_bin(key)}
        self._kinds = {key: self._kind(key) for key in uses}
        self._names = self._name_all()

    def _is_per_bin(self, key: tuple[str, ...]) -> bool:
        return self._uses[key][0].modifier.kind not in SCALAR

    def workspace(self, channels: Sequence[Channel], observed: Mapping[str, list[float]]) -> Spec:
        return {
            "version": "1.0.0",
            "channels": [
                {
                    "name": self._original(channel.name),
                    "samples": [
                        {
                            "name": self._original(sample.name),
                            "data": sample.contents,
                            "modifiers": [
                                self._modifier(modifier, channel.name, sample.name)
                                for modifier in sample.modifiers
                            ],
                        }
                        for sample in channel.samples
                    ],
                }
                for channel in channels
            ],
            "observations": [
                {"name": self._original(name), "data": data} for name, data in observed.items()
            ],
            "measurements": [self._measurement(point) for point in self._points],
        }

    def _original(self, name: str) -> str:
        found = self._originals.get(name)
        return found if isinstance(found, str) and found else name

    def _kind(self, key: tuple[str, ...]) -> str:
        """Return the pyhf type of the modifiers of a parameter; both for normsys and histosys."""
        if key in self._groups:
            return self._groups[key].kind
        kinds = {use.modifier.kind for use in self._uses[key]}
        where = f"parameter '{key[0]}'"
        if "normfactor" in kinds and len(kinds) > 1:
            raise InputError(
                f"HS3 {where}: of a normfactor and of a {sorted(kinds - {'normfactor'})[0]}; pyhf "
                "shares parameters between normsys and histosys alone"
            )
        term = self._points[0].terms.get(key[0])
        if "normfactor" in kinds:
            if term is not None and term.kind != "gaussian":
                raise InputError(
                    f"HS3 {where}: a normfactor with a Poisson term, which pyhf has not"
                )
            return "normfactor" if term is None else "lumi"
        if term is None or term.kind != "gaussian":
            raise InputError(
                f"HS3 {where}: of a {sorted(kinds)[0]} without a Gaussian constraint term; pyhf's "
                "always has one"
            )
        return "+".join(sorted(kinds))

    def _group(self, key: tuple[str, ...]) -> Group:
        dead: set[int] = set()
        partly = [
            {i for i, name in enumerate(key) if point.holds(name)}
            for point in self._points
            if not all(point.holds(name) for name in key)
        ]
        if partly:
            dead = partly[0]
        if any(other != dead for other in partly):
            raise InputError(
                f"HS3 parameters '{key[0]}' to '{key[-1]}': other ones are constant in each "
                "analysis; pyhf holds the same bins in all, so choose by --analysis NAME"
            )
        groups = [
            classify(key, self._uses[key], point.terms, dead, not partly) for point in self._points
        ]
        first = groups[0]
        self._centres |= {(key, i): group.centres for i, group in enumerate(groups)}
        if any((g.kind, g.errors) != (first.kind, first.errors) for g in groups):
            raise InputError(
                f"HS3 parameters '{key[0]}' to '{key[-1]}': other constraint terms in each "
                "analysis; choose by --analysis NAME"
            )
        return first

    def _name_all(self) -> dict[tuple[str, ...], str]:
        """Name the modifiers of each parameter: as they are named, else after their parameters."""
        lumi = [key for key, kind in self._kinds.items() if kind == "lumi"]
        if len(lumi) > 1:
            raise InputError(
                "HS3: several normfactors with Gaussian terms, "
                f"{list_names([key[0] for key in lumi])}; pyhf has one, the luminosity"
            )
        wanted: dict[tuple[str, ...], str] = {}
        for key, uses in self._uses.items():
            names = {use.modifier.name for use in uses}
            wanted[key] = next(iter(names)) if len(names) == 1 else _stem(key)
        counts = Counter(wanted.values())
        for key, name in wanted.items():
            if counts[name] > 1:
                channels = {use.channel.name for use in self._uses[key]}
                alone = len(key) > 1 and len(channels) == 1
                wanted[key] = f"{name}_{next(iter(channels))}" if alone else _stem(key)
        out = {key: self._original(name) for key, name in wanted.items()}
        out |= dict.fromkeys(lumi, "lumi")
        twice = [name for name, count in Counter(out.values()).items() if count > 1]
        if twice:
            raise InputError(
                f"HS3: two parameters would be called '{twice[0]}' in pyhf; rename one of their "
                "modifiers"
            )
        return out

    def _modifier(self, modifier: Modifier, channel: str, sample: str) -> Spec:
        key = modifier.parameters
        name, kind = self._names[key], self._kinds[key]
        if key in self._groups:
            data: object = self._groups[key].errors.get((channel, sample))
            return {"name": name, "type": kind, "data": data}
        if modifier.kind == "normsys":
            data = {"hi": modifier.high[0], "lo": modifier.low[0]}
        elif modifier.kind == "histosys":
            data = {"hi_data": list(modifier.high), "lo_data": list(modifier.low)}
        else:
            return {"name": name, "type": kind, "data": None}
        return {"name": name, "type": modifier.kind, "data": data}

    def _measurement(self, point: Point) -> Spec:
        parameters: list[Spec] = []
        unbounded: list[str] = []
        for key, name in self._names.items():
            entry: Spec = {"name": name}
            parameters.append(entry)
            missing = [parameter for parameter in key if parameter not in point.values]
            if missing:
                raise InputError(
                    f"HS3 analysis '{point.name}': parameter '{missing[0]}' has no value in "
                    "parameter_points"
                )
            entry["inits"] = [point.values[parameter] for parameter in key]
            held = all(point.holds(parameter) for parameter in key)
            if held:
                entry["fixed"] = True
            bounds = [point.bounds.get(parameter) for parameter in key]
            if None not in bounds:
                entry["bounds"] = bounds
            elif not held:
                unbounded.append(name)
            self._add_term(entry, key, point)
        if unbounded:
            self.warnings.append(
                f"analysis '{point.name}': no bounds of {list_names(unbounded)}; pyhf's defaults "
                "are taken"
            )
        poi = "" if point.poi is None else self._poi(point.poi)
        measurement: Spec = {
            "name": self._original(point.name), "config": {"poi": poi, "parameters": parameters},
        }  # fmt: skip
        if isinstance(self._mark, str):
            marked = {"name": "", "config": {"poi": "", "parameters": [{"name": self._mark}]}}
            if read_mark({"measurements": [marked]}) is not None:
                parameters.append({"name": self._mark})
        return measurement

    def _poi(self, parameter: str) -> str:
        key = (parameter,)
        if key not in self._names or key in self._groups:
            raise InputError(
                f"HS3: the parameter of interest '{parameter}' is one of many bins; pyhf's is alone"
            )
        return self._names[key]

    def _add_term(self, entry: Spec, key: tuple[str, ...], point: Point) -> None:
        """State auxiliary data and sigmas that are not pyhf's default."""
        kind = self._kinds[key]
        if key in self._groups:
            centres = self._centres[key, self._points.index(point)]
            if centres is not None:
                entry["auxdata"] = centres
            return
        if kind == "normfactor":
            return
        term = point.terms.get(key[0])
        if term is None or term.kind != "gaussian":
            raise InputError(
                f"HS3 parameter '{key[0]}': other constraint terms in each analysis; choose by "
                "--analysis NAME"
            )
        if kind == "lumi" or (term.centre, term.width) != (0.0, 1.0):
            entry["auxdata"], entry["sigmas"] = [term.centre], [term.width]


def _stem(key: tuple[str, ...]) -> str:
    """Return what the parameters per bin have in common.

    Example:
        >>> _stem(("gamma_x_bin_0", "gamma_x_bin_1")), _stem(("alpha",))
        ('gamma_x', 'alpha')
    """
    if len(key) == 1:
        return key[0]
    return re.sub(r"(_bin)?_?\d+$", "", key[0]) or key[0]
