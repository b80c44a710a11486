"""Google-style docstrings; a constant has no type before a colon, bars are absolute values."""

from __future__ import annotations

import re
from typing import Any

from sphinx.ext.napoleon.docstring import GoogleDocstring


def whole(docstring: Any) -> list[str]:
    """Return what is left of the docstring of a constant or property as it stands."""
    lines: list[str] = list(docstring._lines)
    docstring._lines.clear()
    return lines


def escape_bars(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keep |x| from being read as a substitution; code and examples stay as they are."""
    del app, what, name, value, options
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``[^`]*``)", line)
            lines[i] = "".join(p if j % 2 else p.replace("|", r"\|") for j, p in enumerate(parts))


def setup(app: Any) -> dict[str, bool]:
    """Load napoleon with these differences."""
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
    GoogleDocstring._parse_attribute_docstring = whole
    return {"parallel_read_safe": True, "parallel_write_safe": True}
