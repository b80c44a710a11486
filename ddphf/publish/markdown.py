"""Markdown that names and numbers by anybody cannot leave."""

from __future__ import annotations

import re

from ddphf.arrays import Spec
from ddphf.text import clean_text

__all__ = ["cell", "code", "number", "prose", "tail"]


def code(name: str) -> str:
    """Return a name as a code span that it cannot leave: names are by anybody.

    Example:
        >>> code("mu"), code("a`b")
        ('`mu`', '`` a`b ``')
    """
    text = clean_text(name)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def cell(text: str) -> str:
    """Return a code span in a table."""
    return code(text).replace("|", "\\|")


def prose(text: str) -> str:
    r"""Return text that is no markup of Markdown or HTML.

    Example:
        >>> print(prose("<b>[x](y)"))
        &lt;b>\[x\](y)
    """
    out = clean_text(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`\[\]*])", r"\\\1", out)


def tail(toys: Spec) -> str:
    """Return p0 by toys; where none reaches the observed q0, the upper end of its interval."""
    low, high = toys["p0_interval"]
    if toys["p0"] is None:
        return f"p0 < {high:.2g}"
    return f"p0 = {toys['p0']:.3g} [{low:.2g}, {high:.2g}]"


def number(value: float | None) -> str:
    """Return a number as it is printed.

    Example:
        >>> number(0.123456), number(None)
        ('0.1235', 'none')
    """
    return "none" if value is None else f"{value:.4g}"
