"""HS3 as a pyhf workspace: what pyhf can say is said, anything else is refused by name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.guards import MOST_CELLS, within
from ddphf.interchange.hs3_channels import (
    PER_BIN,
    SCALAR,
    Channel,
    count_implied,
    read_axes,
    read_channel,
)
from ddphf.interchange.hs3_document import Document, entries, number, numbers, refuse_unknown, text
from ddphf.interchange.hs3_emit import Point, emit
from ddphf.interchange.hs3_left_out import say_left_out
from ddphf.interchange.hs3_per_bin import ShapesysVals, Use, implied_term
from ddphf.interchange.hs3_terms import read_terms
from ddphf.interchange.terms import Constraint
from ddphf.text import list_names

__all__ = ["read_hs3"]

LIKELIHOOD = ("distributions", "data", "aux_distributions")
ANALYSIS = (
    "name", "likelihood", "domains", "domain", "init", "parameters_of_interest", "prior",
)  # fmt: skip

READ_ANYWAY = ("default_values", "NominalParamValues")
"""Parameter points that ROOT writes beside those of the analyses, with the constants."""


def read_hs3(
    spec: Spec, *, analysis: str | None = None, shapesys: ShapesysVals | None = None
) -> tuple[Spec, list[str]]:
    """Return the pyhf workspace of an HS3 document, and what was left out.

    Args:
        spec: JSON data.
        analysis: The one to take where their likelihoods differ; all of one likelihood by default.
        shapesys: What the ``vals`` of shapesys modifiers are, where the document does not say.

    Raises:
        InputError: Damaged, or of parts that pyhf has not.

    Source: https://github.com/hep-statistics-serialization-standard, version 0.2.9.

    Example:
        >>> from ddphf.interchange.hs3_write import write_hs3
        >>> from ddphf.likelihood.examples import one_bin
        >>> workspace, _ = read_hs3(write_hs3([one_bin()]))
        >>> [modifier] = workspace["channels"][0]["samples"][1]["modifiers"]
        >>> modifier["type"], round(modifier["data"][0], 12)
        ('shapesys', 7.0)
    """
    return _Reader(Document(spec), shapesys).read(analysis)


@dataclass
class _Reader:
    """One document on its way to a workspace."""

    document: Document
    shapesys: ShapesysVals | None
    warnings: list[str] = field(default_factory=list)

    def read(self, analysis: str | None) -> tuple[Spec, list[str]]:
        analyses = self._select(analysis)
        likelihood = self._likelihood(analyses[0])
        channels, observed, paired = self._channels(likelihood)
        uses: dict[tuple[str, ...], list[Use]] = defaultdict(list)
        for channel in channels:
            for sample in channel.samples:
                for modifier in sample.modifiers:
                    uses[modifier.parameters].append(Use(channel, sample, modifier))
        parameters = [name for names in uses for name in names]
        for name, count in Counter(parameters).items():
            if count > 1:
                raise InputError(
                    f"HS3: parameter '{name}' stands in two different lists of parameters; pyhf "
                    "shares whole modifiers"
                )
        points = [self._point(entry, set(parameters)) for entry in analyses]
        self._check_constants(uses, points)
        for point in points:
            point.terms.update(self._terms(likelihood, paired, uses, point))
        self.warnings += say_left_out(self.document, analyses, likelihood, channels, READ_ANYWAY)
        workspace, said = emit(channels, observed, dict(uses), points, self._own())
        return workspace, [*self.warnings, *said]

    def _own(self) -> Spec:
        """Return what ddphf wrote for itself."""
        misc = self.document.spec.get("misc")
        own = misc.get("ddphf") if isinstance(misc, dict) else None
        return own if isinstance(own, dict) else {}

    def _select(self, name: str | None) -> list[Spec]:
        """Return the analyses to convert: one by name, or all, which then have one likelihood."""
        document = self.document
        if not document.analyses:  # none is needed where there is nothing to choose
            document.analyses = {
                likelihood: {
                    "name": likelihood,
                    "likelihood": likelihood,
                    "domains": list(document.domains),
                }
                for likelihood in document.likelihoods
            }
        if name is not None:
            return [document.find("analyses", document.analyses, name)]
        out = list(document.analyses.values())
        if not out:
            raise InputError("HS3: no analyses and no likelihoods, so nothing says what to convert")
        first = self._likelihood(out[0])
        for entry in out[1:]:
            other = self._likelihood(entry)
            if any(other.get(key) != first.get(key) for key in LIKELIHOOD):
                raise InputError(
                    f"HS3: the analyses {list_names(list(document.analyses))} have different data "
                    "or distributions, a pyhf workspace has one set; choose by --analysis NAME"
                )
        return out

    def _likelihood(self, analysis: Spec) -> Spec:
        what = f"analysis '{analysis['name']}'"
        refuse_unknown(analysis, ANALYSIS, what)
        likelihood = self.document.find(
            "likelihoods", self.document.likelihoods, analysis.get("likelihood")
        )
        refuse_unknown(likelihood, ("name", *LIKELIHOOD), f"likelihood '{likelihood['name']}'")
        return likelihood

    def _channels(
        self, likelihood: Spec
    ) -> tuple[list[Channel], dict[str, list[float]], dict[str, float]]:
        """Return the channels, their data, and the data of constraint terms that are paired."""
        document, what = self.document, f"likelihood '{likelihood['name']}'"
        names, data = likelihood.get("distributions"), likelihood.get("data")
        if not isinstance(names, list) or not isinstance(data, list) or len(names) != len(data):
            raise InputError(f"HS3 {what}: expected as many data as distributions")
        channels: list[Channel] = []
        observed: dict[str, list[float]] = {}
        paired: dict[str, float] = {}
        implied = 0
        for name, datum in zip(names, data, strict=True):
            spec = document.find("distributions", document.distributions, name)
            if spec.get("type") != "histfactory_dist":
                if isinstance(datum, str):
                    found = document.find("data", document.data, datum)
                    datum = found.get("value") if found.get("type") == "point" else None
                paired[spec["name"]] = number(datum, f"{what}: datum of '{spec['name']}'")
                continue
            implied += count_implied(spec)
            within("HS3", "parameters that modifiers leave unnamed", implied, MOST_CELLS)
            channel = read_channel(spec)
            if channel.name in observed:
                raise InputError(f"HS3 {what}: distribution '{channel.name}' is there twice")
            channels.append(channel)
            observed[channel.name] = self._observed(datum, channel)
        if not channels:
            raise InputError(f"HS3 {what}: no histfactory_dist; pyhf has nothing else to fit")
        return channels, observed, paired

    def _observed(self, name: Any, channel: Channel) -> list[float]:
        spec = self.document.find("data", self.document.data, name)
        what = f"data '{spec['name']}'"
        if spec.get("type") != "binned":
            raise InputError(
                f"HS3 {what}: {spec.get('type')!r:.40} data, a pyhf channel needs binned ones"
            )
        refuse_unknown(spec, ("name", "type", "axes", "contents"), what)
        if spec.get("axes"):
            axes = read_axes(spec["axes"], what)
            if axes.size != channel.size or axes.differ(channel.axes):
                raise InputError(f"HS3 {what}: other bins than channel '{channel.name}'")
        return numbers(spec.get("contents"), f"{what}: contents", channel.size)

    def _check_constants(
        self, uses: dict[tuple[str, ...], list[Use]], points: Sequence[Point]
    ) -> None:
        """Refuse a modifier that says Const of a parameter that is free."""
        for use in (use for group in uses.values() for use in group):
            if use.modifier.constant:
                free = [n for n in use.modifier.parameters for p in points if not p.holds(n)]
                if free:
                    raise InputError(
                        f"HS3 channel '{use.channel.name}', sample '{use.sample.name}': "
                        f"{use.modifier.kind} '{use.modifier.name}' is Const, and its parameter "
                        f"'{free[0]}' is not; write const: true in the parameter point"
                    )

    def _point(self, analysis: Spec, parameters: Collection[str]) -> Point:
        """Read starting values, bounds and constants of an analysis."""
        document, what = self.document, f"analysis '{analysis['name']}'"
        init = analysis.get("init")
        if init is not None:
            document.find("parameter_points", document.points, init)
        # ROOT writes constants into one point and all values into another
        order = [init, *READ_ANYWAY] if init is not None else [*READ_ANYWAY, *document.points]
        values: dict[str, float] = {}
        held: dict[str, bool] = {}
        for name in dict.fromkeys(name for name in order if name in document.points):
            where = f"parameter point '{name}'"
            here: set[str] = set()
            for entry in entries(document.points[name].get("parameters", []), where):
                parameter = text(entry.get("name"), f"{where}: name")
                if parameter in here:
                    raise InputError(f"HS3 {where}: '{parameter}' is there twice")
                here.add(parameter)
                if not isinstance(entry.get("const", False), bool):
                    raise InputError(f"HS3 {where}: '{parameter}': expected const true or false")
                if parameter not in values:
                    values[parameter] = number(entry.get("value"), f"{where}: '{parameter}'")
                    held[parameter] = entry.get("const", False)
        bounds: dict[str, list[float]] = {}
        domains = analysis.get("domains", analysis.get("domain")) or []
        for name in domains if isinstance(domains, list) else [domains]:
            domain = document.find("domains", document.domains, name)
            where = f"domain '{domain['name']}'"
            if domain.get("type", "product_domain") != "product_domain":
                raise InputError(f"HS3 {where}: pyhf has bounds alone, a product_domain")
            for axis in entries(domain.get("axes", []), f"{where}: axes"):
                parameter = text(axis.get("name"), f"{where}: name")
                if parameter not in parameters or "min" not in axis or "max" not in axis:
                    continue
                ends = [number(axis[key], f"{where}: '{parameter}'") for key in ("min", "max")]
                if bounds.setdefault(parameter, ends) != ends:
                    raise InputError(f"HS3 {what}: two domains have other bounds of '{parameter}'")
        pois = analysis.get("parameters_of_interest") or []
        if not isinstance(pois, list) or not all(
            isinstance(poi, str) and poi in parameters for poi in pois
        ):
            raise InputError(f"HS3 {what}: a parameter of interest that no modifier has; remove it")
        if len(pois) > 1:
            self.warnings.append(
                f"{what}: pyhf has one parameter of interest, '{pois[0]}'; the others are free "
                f"parameters: {list_names(pois[1:])}"
            )
        return Point(str(analysis["name"]), pois[0] if pois else None, values, held, bounds, {})

    def _terms(
        self, likelihood: Spec, paired: dict[str, float], uses: dict[tuple[str, ...], list[Use]],
        point: Point,
    ) -> dict[str, Constraint]:  # fmt: skip
        """Return the constraint terms: those of their own, those named, and those implied."""
        auxiliary = likelihood.get("aux_distributions") or []
        if not isinstance(auxiliary, list):
            raise InputError(f"HS3 likelihood '{likelihood['name']}': expected a list of names")
        names: dict[str, float | None] = dict(paired)
        names |= {text(name, "aux_distributions"): None for name in auxiliary}
        modifiers = [use.modifier for group in uses.values() for use in group]
        names |= {m.named: None for m in modifiers if m.named is not None and m.named not in names}
        named = {name for m in modifiers if m.named is not None for name in m.parameters}
        terms = read_terms(
            self.document, names, {name for group in uses for name in group}, point.values
        )
        for group, members in uses.items():
            for index, name in enumerate(group):
                found = {self._implied(use, index, point) for use in members} - {None}
                if len(found) > 1 or (found and terms.get(name, *found) not in found):
                    raise InputError(f"HS3: parameter '{name}' is constrained in two ways")
                if found and name in terms and name not in named:
                    raise InputError(
                        f"HS3: parameter '{name}' is constrained twice, by its modifier and by a "
                        "distribution of its own; remove one"
                    )
                if (term := next(iter(found), None)) is not None:
                    terms[name] = term
        return terms

    def _implied(self, use: Use, index: int, point: Point) -> Constraint | None:
        modifier = use.modifier
        if modifier.named is not None or (modifier.kind in SCALAR and modifier.implied is None):
            return None
        if modifier.kind in PER_BIN:
            datum = point.values.get(f"nom_{modifier.parameters[index]}")
            return implied_term(use, index, self.shapesys, datum)
        if modifier.implied == "Poisson":
            raise InputError(
                f"HS3 channel '{use.channel.name}', sample '{use.sample.name}': {modifier.kind} "
                f"'{modifier.name}' has a Poisson constraint, pyhf's is Gaussian"
            )
        return Constraint("gaussian", 1.0 if modifier.kind == "normfactor" else 0.0, 1.0)
