"""What every exporter needs of a workspace: its parameters with their constraint terms.

pyhf itself says what they are (a measurement may move auxiliary data and widths), per component.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ddphf.likelihood.reference import ReferenceModel

__all__ = ["Component", "Constraint", "read_components"]


@dataclass(frozen=True)
class Constraint:
    """The auxiliary measurement of one parameter.

    Attributes:
        kind: ``gaussian``: ``centre`` is drawn around the parameter with ``width``; ``poisson``:
            ``centre`` events are observed where the parameter times ``width`` are expected.
        centre: The datum.
        width: Sigma, or the expectation at parameter 1.
    """

    kind: Literal["gaussian", "poisson"]
    centre: float
    width: float


@dataclass(frozen=True)
class Component:
    """One scalar parameter of a measurement.

    Attributes:
        modifier: Name of the modifiers that it belongs to.
        kind: Their type; where ``normsys`` and ``histosys`` share the name, one of them.
        bin: Place among the components of a modifier with one per bin, else None.
        init: Starting value.
        low: Lower bound.
        high: Upper bound.
        fixed: Whether it is held.
        constraint: Its auxiliary measurement, or None.
    """

    modifier: str
    kind: str
    bin: int | None
    init: float
    low: float
    high: float
    fixed: bool
    constraint: Constraint | None


def read_components(reference: ReferenceModel) -> tuple[Component, ...]:
    """Return the parameters of a measurement in pyhf's order.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> [component.modifier for component in read_components(one_bin())]
        ['mu', 'uncorr_bkguncrt']
    """
    config, table, terms = reference.model.config, reference.parameters, reference.constraints
    auxiliary = reference.data[reference.n_main :]
    constraints: dict[int, Constraint] = {}
    for index, place, sigma in zip(
        terms.normal_parameter, terms.normal_data, terms.normal_sigma, strict=True
    ):
        constraints[int(index)] = Constraint("gaussian", float(auxiliary[place]), float(sigma))
    for index, place, tau in zip(
        terms.poisson_parameter, terms.poisson_data, terms.poisson_tau, strict=True
    ):
        constraints[int(index)] = Constraint("poisson", float(auxiliary[place]), float(tau))
    kinds, start = dict(config.modifiers), config.suggested_init()
    out: list[Component] = []
    for name in config.par_order:
        part = config.par_slice(name)
        scalar = bool(config.param_set(name).is_scalar)
        for place, index in enumerate(range(part.start, part.stop)):
            out.append(
                Component(
                    modifier=name,
                    kind=kinds[name],
                    bin=None if scalar else place,
                    init=float(start[index]),
                    low=float(table.lower[index]),
                    high=float(table.upper[index]),
                    fixed=bool(table.fixed[index]),
                    constraint=constraints.get(index),
                )
            )
    return tuple(out)
