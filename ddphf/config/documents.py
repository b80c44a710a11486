"""What ``ddphf build`` takes: an analysis file or a ratio file, told apart by their schema."""

from __future__ import annotations

import json
from pathlib import Path

from ddphf.config.analysis import Analysis, parse_analysis, read_text
from ddphf.config.ratio import SCHEMA, RatioConfig, parse_ratio
from ddphf.exceptions import ConfigError
from ddphf.yaml_text import parse_yaml

__all__ = ["read_document"]

ANALYSIS = "ddphf/analysis/"
"""Schemas of analysis files, before their version."""


def read_document(path: str | Path) -> Analysis | RatioConfig:
    """Read and validate a file; ``-`` reads standard input.

    Raises:
        ConfigError: The file is missing or no YAML, or breaks its schema or its meaning.
    """
    text = read_text(path)
    standard = str(path) == "-"
    folder = Path(".") if standard else Path(path).parent
    try:
        data = parse_yaml(text)
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema == SCHEMA:
            return parse_ratio(text, folder=folder)
        if isinstance(schema, str) and not schema.startswith(ANALYSIS):
            raise ConfigError(
                f"at schema: got {json.dumps(schema)}, expected '{ANALYSIS}1' or '{SCHEMA}'"
            )
        return parse_analysis(text, folder=folder)
    except ConfigError as error:
        if standard:
            raise
        raise ConfigError(f"{Path(path)}: {error}") from None
