"""Constraint terms of an HS3 document: which parameter, drawn how, and the datum."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.interchange.hs3_document import Document, number, refuse_unknown, text
from ddphf.interchange.terms import Constraint

__all__ = ["read_terms"]

GAUSSIAN = ("gaussian_dist", "normal_dist")


def read_terms(
    document: Document,
    names: Mapping[str, float | None],
    parameters: Collection[str],
    constants: Mapping[str, float],
) -> dict[str, Constraint]:
    """Return the constraint of each parameter that has one.

    Args:
        document: Has the distributions.
        names: Those that are constraint terms, with the datum where the likelihood pairs one.
        parameters: What the modifiers depend on; anything else is a constant.
        constants: Values of parameters.

    Raises:
        InputError: A distribution is no constraint that pyhf has, or a parameter has two.
    """
    out: dict[str, Constraint] = {}
    for name, datum in names.items():
        spec = document.find("distributions", document.distributions, name)
        parameter, term = _Reader(document, parameters, constants, name).read(spec, datum)
        if parameter in out:
            raise InputError(
                f"HS3 distribution '{name}': '{parameter}' has another constraint term already"
            )
        out[parameter] = term
    return out


class _Reader:
    def __init__(
        self, document: Document, parameters: Collection[str], constants: Mapping[str, float],
        name: str,
    ) -> None:  # fmt: skip
        self._document, self._parameters, self._constants = document, parameters, constants
        self._what = f"distribution '{name}'"

    def read(self, spec: Spec, datum: float | None) -> tuple[str, Constraint]:
        kind = spec.get("type")
        if kind in GAUSSIAN:
            refuse_unknown(spec, ("name", "type", "x", "mean", "sigma"), self._what)
            ends = [spec.get("x") if datum is None else datum, spec.get("mean")]
            own = [text(end, self._what) for end in ends if self._is_parameter(end)]
            others = [end for end in ends if not self._is_parameter(end)]
            if len(own) != 1:
                self._refuse("depends on one parameter of the model through x or mean")
            width = self._value(spec.get("sigma"))
            term = Constraint("gaussian", self._value(others[0]), width)
            return own[0], self._positive(term)
        if kind == "poisson_dist":
            refuse_unknown(spec, ("name", "type", "x", "mean", "integer"), self._what)
            centre = self._value(spec.get("x")) if datum is None else datum
            if spec.get("integer") is True and centre != round(centre):
                self._refuse("has a whole number as its datum: integer is true")
            parameter, width = self._scaled(spec.get("mean"))
            return parameter, self._positive(Constraint("poisson", centre, width))
        raise InputError(
            f"HS3 {self._what}: '{kind}' has no counterpart in pyhf, whose likelihoods are made of "
            "histfactory_dist, gaussian_dist and poisson_dist"
        )

    def _positive(self, term: Constraint) -> Constraint:
        if not 0 < term.width < math.inf:
            self._refuse("has a positive, finite width")
        return term

    def _refuse(self, expected: str) -> None:
        raise InputError(
            f"HS3 {self._what}: expected a constraint term that {expected}; pyhf has no other"
        )

    def _is_parameter(self, node: Any) -> bool:
        return isinstance(node, str) and node in self._parameters

    def _value(self, node: Any) -> float:
        if isinstance(node, str):
            if self._is_parameter(node):
                self._refuse(f"has a constant in the place of '{node}', which the fit moves")
            if node not in self._constants:
                raise InputError(
                    f"HS3 {self._what}: '{node}' is no parameter of the model and has no value "
                    "in parameter_points"
                )
            return self._constants[node]
        return number(node, self._what)

    def _scaled(self, node: Any) -> tuple[str, float]:
        """Return the parameter and the factor of the mean of a Poisson term."""
        name = text(node, self._what)
        if name in self._parameters:
            return name, 1.0
        product = self._document.find("functions", self._document.functions, name)
        if product.get("type") != "product" or not isinstance(product.get("factors"), list):
            self._refuse("has a parameter, or a product of one with numbers, as its mean")
        factor, own = 1.0, []
        for node in product["factors"]:
            if self._is_parameter(node):
                own.append(node)
            else:
                factor *= self._value(node)
        if len(own) != 1:
            self._refuse("depends on one parameter of the model")
        return own[0], factor
