"""A workspace as HS3, the JSON of the HEP Statistics Serialization Standard.

Readers agree on ``normfactor``, ``normsys``, ``histosys`` and ``shapefactor``; they do not on the
``vals`` of a ``shapesys``, nor on the default of a ``staterror`` (docs/convert.md has the list). So
every parameter per bin is written as a ``shapefactor``, and its constraint term as a distribution
of its own, which all of them read alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ddphf import __version__
from ddphf.arrays import Spec
from ddphf.exceptions import ModelError
from ddphf.interchange.names import Names
from ddphf.interchange.terms import Component, read_components
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.provenance import read_mark
from ddphf.workspace_json import ChannelDocument, ModifierDocument, Workspace

__all__ = ["HS3_VERSION", "write_hs3"]

HS3_VERSION = "0.2.9"
"""Of the standard that is written."""

RESERVED = ("default_domain", "default_values", "e", "pi", "TRUE", "FALSE", "PI", "EULER")
"""Names with a meaning of their own, to ROOT or in expressions."""

PER_BIN = ("shapefactor", "shapesys", "staterror")


def write_hs3(references: Sequence[ReferenceModel]) -> Spec:
    """Return the HS3 document of a workspace, an analysis for each measurement.

    Args:
        references: All measurements of one workspace, the main one first.

    Raises:
        ModelError: The workspace says what HS3 cannot: a ``normsys`` or ``histosys`` whose
            auxiliary datum is not 0 or whose sigma is not 1.

    Source: https://github.com/hep-statistics-serialization-standard, version 0.2.9.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> document = write_hs3([one_bin()])
        >>> [d["type"] for d in document["distributions"]]
        ['histfactory_dist', 'poisson_dist']
        >>> document["parameter_points"][0]["parameters"][-1]["name"]
        'width_gamma_uncorr_bkguncrt_bin_0'
    """
    writer = _Writer(references[0].workspace)
    return writer.document(references)


@dataclass
class _Writer:
    """The parts of one document, and the names in them."""

    workspace: Workspace
    names: Names = field(default_factory=lambda: Names(RESERVED))
    terms: dict[str, Spec] = field(default_factory=dict)
    functions: dict[str, Spec] = field(default_factory=dict)

    def document(self, references: Sequence[ReferenceModel]) -> Spec:
        channels = self.workspace["channels"]
        observed = {o["name"]: o["data"] for o in self.workspace["observations"]}
        parameters = [read_components(reference) for reference in references]
        sizes = {c.modifier: 0 for c in parameters[0] if c.bin is not None}
        for component in parameters[0]:
            if component.bin is not None:
                sizes[component.modifier] += 1
        distributions = [self._channel(channel, sizes) for channel in channels]
        data = [
            {
                "name": self.names.make(f"observed_{channel['name']}", "data"),
                "type": "binned",
                "axes": [self._axis(channel)],
                "contents": observed[channel["name"]],
            }
            for channel in channels
        ]
        analyses: list[Spec] = []
        domains: list[Spec] = []
        points: list[Spec] = []
        likelihoods: dict[tuple[str, ...], Spec] = {}
        for reference, components in zip(references, parameters, strict=True):
            name = self.names.make(str(reference.measurement), "analysis")
            main = not analyses
            terms = tuple(term for c in components if (term := self._term(c, name)))
            likelihood = {
                "name": self.names.make(f"likelihood_{len(likelihoods)}", "likelihood"),
                "distributions": [d["name"] for d in distributions],
                "data": [d["name"] for d in data],
                "aux_distributions": list(terms),
            }
            if not terms:
                del likelihood["aux_distributions"]
            domain = "default_domain" if main else self.names.make(f"domain_{name}", "domain")
            point = "default_values" if main else self.names.make(f"values_{name}", "point")
            analysis: Spec = {
                "name": name,
                "likelihood": likelihoods.setdefault(terms, likelihood)["name"],
                "domains": [domain],
                "init": point,
            }
            if (poi := reference.parameters.poi) is not None:
                analysis["parameters_of_interest"] = [self._parameter(components[poi])]
            analyses.append(analysis)
            domains.append({
                "name": domain,
                "type": "product_domain",
                "axes": [
                    {"name": self._parameter(c), "min": c.low, "max": c.high} for c in components
                ],
            })  # fmt: skip
            points.append({"name": point, "parameters": self._values(components)})
        return {
            "metadata": {
                "hs3_version": HS3_VERSION,
                "packages": [{"name": "ddphf", "version": __version__}],
            },
            "distributions": [*distributions, *self.terms.values()],
            "functions": list(self.functions.values()),
            "data": data,
            "likelihoods": list(likelihoods.values()),
            "domains": domains,
            "parameter_points": points,
            "analyses": analyses,
            "misc": {"ddphf": self._own(references)},
        }

    def _own(self, references: Sequence[ReferenceModel]) -> Spec:
        """What only ddphf reads: names as they were, and what the defaults of HS3 stand for."""
        out: Spec = {
            "interpolation": {"normsys": "code4", "histosys": "code4p"},
            "names": dict(self.names.changed),
        }
        if (mark := read_mark({"measurements": self.workspace["measurements"]})) is not None:
            out["data_directed"] = mark.name
        return out

    def _axis(self, channel: ChannelDocument) -> Spec:
        size = len(channel["samples"][0]["data"])
        name = self.names.make(f"obs_{channel['name']}", "axis")
        return {"name": name, "min": 0.0, "max": float(size), "nbins": size}

    def _channel(self, channel: ChannelDocument, sizes: dict[str, int]) -> Spec:
        size = len(channel["samples"][0]["data"])
        samples = []
        for sample in channel["samples"]:
            modifiers = []
            for modifier in sample["modifiers"]:
                if modifier["type"] in PER_BIN and sizes[modifier["name"]] != size:
                    raise ModelError(
                        f"channel '{channel['name']}', sample '{sample['name']}': "
                        f"{modifier['type']} '{modifier['name']}' has {sizes[modifier['name']]} "
                        f"parameters for {size} bins, over several channels; HS3 wants one per "
                        "bin, so give each channel its own name"
                    )
                modifiers.append(self._modifier(modifier, size))
            samples.append({
                "name": self.names.make(sample["name"], "sample"),
                "data": {"contents": sample["data"], "errors": [0.0] * size},
                "modifiers": modifiers,
            })  # fmt: skip
        return {
            "name": self.names.make(channel["name"], "channel"),
            "type": "histfactory_dist",
            "axes": [self._axis(channel)],
            "samples": samples,
        }

    def _modifier(self, modifier: ModifierDocument, size: int) -> Spec:
        original, kind = modifier["name"], modifier["type"]
        name = self.names.make(original, "modifier")
        if kind in PER_BIN:
            parameters = [self._name(original, kind, i) for i in range(size)]
            return {"name": name, "type": "shapefactor", "parameters": parameters}
        if modifier["type"] == "normsys":
            data: Spec = {"hi": modifier["data"]["hi"], "lo": modifier["data"]["lo"]}
        elif modifier["type"] == "histosys":
            data = {
                "hi": {"contents": modifier["data"]["hi_data"]},
                "lo": {"contents": modifier["data"]["lo_data"]},
            }
        else:  # ROOT takes the name of a normfactor for that of its parameter
            return {"name": name, "type": "normfactor", "parameter": name}
        return {
            "name": name,
            "type": modifier["type"],
            "parameter": self._name(original, kind, None),
            "constraint": "Gauss",
            "data": data,
        }

    def _parameter(self, component: Component) -> str:
        return self._name(component.modifier, component.kind, component.bin)

    def _name(self, modifier: str, kind: str, index: int | None) -> str:
        """Name a parameter; the free factor of a sample has the name of its modifier (ROOT)."""
        if index is not None:
            return self.names.make(f"gamma_{modifier}_bin_{index}", "parameter")
        if kind in ("normsys", "histosys"):
            return self.names.make(f"alpha_{modifier}", "parameter")
        return self.names.make(modifier, "modifier")

    def _term(self, component: Component, measurement: str) -> str | None:
        """Return the name of the distribution of a constraint term; ``Gauss`` implies its own."""
        constraint = component.constraint
        if constraint is None:
            return None
        parameter = self._parameter(component)
        if component.kind in ("normsys", "histosys"):
            if (constraint.centre, constraint.width) != (0.0, 1.0):
                raise ModelError(
                    f"measurement '{measurement}': parameter '{component.modifier}' "
                    f"({component.kind}) has the auxiliary datum {constraint.centre:g} with sigma "
                    f"{constraint.width:g}; HS3 has 0 with 1, so drop its auxdata and sigmas, or "
                    "scale its up and down variations"
                )
            return None
        # ROOT reads a number in the place of a name to six digits, a constant parameter to all
        term: Spec = {
            "name": self.names.make(f"constraint_{parameter}", "term"),
            "x": self.names.make(f"nom_{parameter}", "constant"),
        }
        width = self.names.make(f"width_{parameter}", "constant")
        if constraint.kind == "gaussian":
            term |= {"type": "gaussian_dist", "mean": parameter, "sigma": width}
        else:
            product = self.names.make(f"expected_{parameter}", "function")
            factors = [parameter, width]
            self.functions[product] = {"name": product, "type": "product", "factors": factors}
            # RooFit would round x down
            term |= {"type": "poisson_dist", "mean": product, "integer": False}
        self.terms[str(term["name"])] = term
        return str(term["name"])

    def _values(self, components: Sequence[Component]) -> list[Spec]:
        """Return the starting values, and the data of the constraint terms, which are held."""
        values: list[Spec] = []
        for component in components:
            value: Spec = {"name": self._parameter(component), "value": component.init}
            values.append(value | {"const": True} if component.fixed else value)
        for component in components:
            constraint, name = component.constraint, self._parameter(component)
            if constraint is not None and component.kind not in ("normsys", "histosys"):
                values += [
                    {"name": self.names.make(f"{what}_{name}", "constant"), "value": value,
                     "const": True}
                    for what, value in (("nom", constraint.centre), ("width", constraint.width))
                ]  # fmt: skip
        return values
