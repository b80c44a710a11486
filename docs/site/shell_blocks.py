"""Indented blocks of commands are coloured as such; the pages do not say so of each."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

PROGRAM = re.compile(
    r"^(\$ |\. \.venv|(ddphf|pyhf|make|pip|python3?|mkdir|cp|cd|tar|git|export|dask|docker) )"
)


class ShellBlocks(SphinxTransform):
    """Give literal blocks without a language that of what they are."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Look at every block of the page."""
        del kwargs
        for block in self.document.findall(nodes.literal_block):
            if block.get("language", "none") in ("none", "default"):
                text = block.astext()
                if PROGRAM.match(text):
                    block["language"] = "console" if text.startswith("$ ") else "bash"
                elif text.startswith(("import ", "from ")):
                    block["language"] = "python"


def setup(app: Any) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(ShellBlocks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
