"""Pieces of one self-contained HTML page: nothing is loaded, every text is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ddphf.figures.style import Figure, figure_bytes

__all__ = ["Section", "draw", "facts", "headline", "note", "render_page", "text"]

WIDE = 7.0
"""Inches: a wider figure keeps its size on a phone and scrolls."""

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #595959; --line: #c9c9c9; --accent: #00538a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.25rem 3rem; color: var(--ink);
  background: #fff; font: 16px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6rem 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .5rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .4rem; }
p { max-width: 44rem; margin: .5rem 0; }
.headline { font-size: 1.15rem; font-weight: 600; max-width: none; }
.lead { color: var(--soft); overflow-wrap: anywhere; }
a { color: var(--accent); }
nav ul { list-style: none; margin: .8rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .2rem 1rem; font-size: .92rem; }
.warnings { border-left: 4px solid #b35900; background: #fdf3e7; padding: .4rem 1rem;
  margin: 1.2rem 0; }
.warnings.none { border-color: #2b7a4b; background: #eef7f1; }
.warnings ul { margin: .3rem 0; padding-left: 1.2rem; }
.warnings li { overflow-wrap: anywhere; }
.warnings h2 { border: 0; margin: .3rem 0; padding: 0; font-size: 1.05rem; }
/* Shadows at the sides where a table or figure goes on: they scroll with it at its ends. */
.scroll { overflow-x: auto; margin: .8rem 0; background:
  linear-gradient(to right, #fff 30%, transparent) 0 0 / 2.4rem 100% no-repeat local,
  linear-gradient(to left, #fff 30%, transparent) 100% 0 / 2.4rem 100% no-repeat local,
  linear-gradient(to right, #0003, transparent) 0 0 / .8rem 100% no-repeat scroll,
  linear-gradient(to left, #0003, transparent) 100% 0 / .8rem 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2rem 0 .4rem; white-space: nowrap; }
th, td { padding: .22rem .7rem .22rem 0; border-bottom: 1px solid #e4e4e4; text-align: right;
  white-space: nowrap; vertical-align: top; }
th[scope=row] { font-weight: 400; }
thead th { border-bottom: 1px solid #777; font-weight: 600; }
th.name, th[scope=row] { text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
figure { margin: 1.2rem 0; }
/* Multiplied, so that the shadows at the sides show through a white figure. */
figure img { display: block; max-width: 100%; height: auto; mix-blend-mode: multiply; }
figcaption { color: var(--soft); font-size: .9rem; max-width: 44rem; margin-top: .3rem; }
code, pre { font: .86em/1.45 ui-monospace, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { overflow-x: auto; background: #f5f5f5; padding: .7rem .9rem; }
@media (max-width: 40rem) { body { padding: .6rem .8rem 2rem; } h1 { font-size: 1.4rem; }
  figure img { max-width: none; width: 34rem; } figure.wide img { width: 44rem; } }
@page { margin: 16mm 14mm; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  h2, h3 { break-after: avoid; } figure, tr, .scroll { break-inside: avoid; }
  pre { white-space: pre-wrap; }
  .scroll { overflow: visible; } table { font-size: 8pt; } th, td { padding-right: .4rem; }
  figure img { max-width: 100%; max-height: 235mm; } a { color: inherit; text-decoration: none; } }
"""


@dataclass(frozen=True)
class Section:
    """One chapter of the page.

    Attributes:
        key: Its anchor.
        title: Its heading.
        parts: HTML.
    """

    key: str
    title: str
    parts: Sequence[str]


def text(*sentences: str) -> str:
    """Return a paragraph.

    Example:
        >>> text("a < b.", "It holds.")
        '<p>a &lt; b. It holds.</p>'
    """
    return f"<p>{_escape(' '.join(sentence for sentence in sentences if sentence))}</p>"


def headline(sentence: str) -> str:
    """Return the sentence that a reader should take away."""
    return f'<p class="headline">{_escape(sentence)}</p>'


def _escape(sentence: str) -> str:
    return html.escape(sentence).replace("+-", "&plusmn;")


def note(title: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{html.escape(title)}</h3>"


def facts(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and what they are; long values wrap."""
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td class="text">{html.escape(value)}</td>'
        "</tr>"
        for name, value in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{html.escape(caption)}</caption>'
        f"<tbody>{body}</tbody></table></div>"
    )


def draw(figure: Figure, alt: str, caption: str) -> str:
    """Return a figure inside the page, as SVG.

    Args:
        figure: What is drawn.
        alt: What it shows, for who cannot see it.
        caption: Printed below.
    """
    width, height = figure.get_size_inches()
    data = base64.b64encode(figure_bytes(figure, "svg")).decode("ascii")
    wide = width > WIDE
    kind = ' class="wide"' if wide else ""
    return (
        f'<figure{kind}><div class="scroll" tabindex="0">'
        f'<img alt="{html.escape(alt)}" width="{96 * width:.0f}" height="{96 * height:.0f}" '
        f'src="data:image/svg+xml;base64,{data}"></div>'
        f"<figcaption>{_escape(caption)}</figcaption></figure>"
    )


def render_page(title: str, lead: str, warnings: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page: the warnings come first.

    Args:
        title: Heading and name of the window.
        lead: One line below it.
        warnings: Sentences; none is said to be none.
        sections: In order.

    Example:
        >>> page = render_page("<pair>", "784 bins", [], [Section("data", "Data", [text("none")])])
        >>> "<h1>&lt;pair&gt;</h1>" in page, '<section id="data"' in page
        (True, True)
    """
    links = "".join(f'<li><a href="#{s.key}">{html.escape(s.title)}</a></li>' for s in sections)
    if warnings:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in warnings)
        box = f'<div class="warnings"><h2>Warnings</h2><ul>{items}</ul></div>'
    else:
        box = '<div class="warnings none"><h2>Warnings</h2><p>None.</p></div>'
    body = "\n".join(
        f'<section id="{s.key}" aria-labelledby="{s.key}-title">'
        f'<h2 id="{s.key}-title">{html.escape(s.title)}</h2>\n'
        + "\n".join(s.parts)
        + "\n</section>"
        for s in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="lead">{html.escape(lead)}</p>\n{box}\n'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n</header>\n<main>\n{body}\n</main>\n'
        "</body>\n</html>\n"
    )
