"""Lay out the sources of the site: python docs/site/stage.py FOLDER.

Pages are copied, their links rewritten to where the pages lie in the site, and the references of
commands and of Python are written from the program itself. A link that leads nowhere ends it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import api
import commands

ROOT = Path(__file__).resolve().parents[2]
PROJECT = {
    "README.md": "project/readme.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security_policy.md",
}
RENAMED = {"search.md": "data_directed_search.md"}
"""Sphinx has a search.html of its own."""

LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\]\()([^()\s#]+)?(#[\w.-]+)?(\))")
CODE = re.compile(
    r"(^(?:```|~~~).*?^(?:```|~~~)|`[^`\n]*\]\([^`\n]*`|(?:^    [^\n]*\n)+)", re.M | re.S
)


def pages() -> dict[Path, Path]:
    """Return where each page of the repository lies in the site, both relative."""
    found = {Path(name): Path(place) for name, place in PROJECT.items()}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        place = path.relative_to(ROOT / "docs")
        found[path.relative_to(ROOT)] = Path(RENAMED.get(str(place), place))
    for path in sorted((ROOT / "workspaces").glob("*/README.md")):
        found[path.relative_to(ROOT)] = Path("samples") / f"{path.parent.name}.md"
    return found


def rewrite(text: str, page: Path, known: dict[Path, Path], folder: Path) -> str:
    """Return the text of a page with its links as they are in the site.

    Files that are no pages are copied beside them, so that the site is whole by itself.

    Raises:
        SystemExit: A link leads to nothing.
    """
    here = known[page].parent

    def link(match: re.Match[str]) -> str:
        head, target, anchor, tail = match.groups()
        if target is None or re.match(r"[a-z]+:", target):
            return match[0]
        path = Path(os.path.normpath(page.parent / target))
        if path in known:
            place = known[path]
            if place.parts[0] == "tutorials":
                place = place.with_suffix(".ipynb")  # `tutorials.py` writes these in their place
        elif path.parts[0] in ("api", "commands", "gallery.md") or path.parts[:2] in GENERATED:
            place = Path(*path.parts[path.parts[0] == "docs" :])
        elif (ROOT / path).is_file():
            place = Path(*path.parts[1:]) if path.parts[0] == "docs" else Path("files") / path
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / place)
        else:
            raise SystemExit(f"{page}: no such file: {target}")
        return f"{head}{os.path.relpath(place, here)}{anchor or ''}{tail}"

    parts = CODE.split(text)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))


GENERATED = {("docs", "api"), ("docs", "commands"), ("docs", "gallery.md")}


def stage(folder: Path) -> None:
    """Write all sources into a folder, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    known = {page: place for page, place in pages().items() if (ROOT / page).exists()}
    for page, place in known.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        text = rewrite((ROOT / page).read_text(), page, known, folder)
        (folder / place).write_text(text)
    for name in ("asymmetry.png", "postfit.png"):
        shutil.copy(ROOT / "docs" / name, folder)
    (folder / "workspaces").symlink_to(ROOT / "workspaces")
    commands.write(folder / "commands")
    api.write(folder / "api", ROOT / "ddphf")


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
