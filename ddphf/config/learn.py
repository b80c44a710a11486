"""The section ``learn`` of the analysis file: what ``ddphf learn`` looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ddphf.exceptions import ConfigError

__all__ = ["MAX_VARIABLES", "LearnConfig", "VariableConfig", "parse_learn"]

MAX_VARIABLES = 10
"""With more, samples of any size are empty almost everywhere."""


@dataclass(frozen=True)
class VariableConfig:
    """A variable: an expression over columns.

    Attributes:
        column: The expression.
        transform: ``log`` or ``rank`` of it, or None.
        resolution: What its values are rounded to, or None.
        label: For people.
        unit: Of it.
    """

    column: str
    transform: Literal["log", "rank"] | None = None
    resolution: float | None = None
    label: str = ""
    unit: str = ""


@dataclass(frozen=True)
class LearnConfig:
    """The section ``learn``.

    Attributes:
        variables: In which a difference is looked for.
        redraws: Redraws of the labels.
        statistic: Of the test.
    """

    variables: tuple[VariableConfig, ...]
    redraws: int = 999
    statistic: str = "default"


def parse_learn(data: Mapping[str, Any] | None) -> LearnConfig | None:
    """Return the section ``learn``, already valid by the schema.

    Raises:
        ConfigError: Too many variables, one twice, or a resolution of what has none.
    """
    if data is None:
        return None
    variables = tuple(VariableConfig(**item) for item in data["variables"])
    if len(variables) > MAX_VARIABLES:
        raise ConfigError(
            f"at learn.variables: {len(variables)} variables, more than {MAX_VARIABLES}: events "
            "are then far apart in any sample; choose those in which a difference is expected"
        )
    for number, variable in enumerate(variables):
        where = f"at learn.variables.{number}"
        if any(variable.column == other.column for other in variables[:number]):
            raise ConfigError(f"{where}: '{variable.column}' is there already")
        if variable.resolution is not None and variable.transform is not None:
            raise ConfigError(
                f"{where}: 'resolution' with 'transform: {variable.transform}', which spaces the "
                "values unevenly; leave one of them out"
            )
    return LearnConfig(variables, **{k: v for k, v in data.items() if k != "variables"})
