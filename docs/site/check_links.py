"""Links of the built site: python docs/site/check_links.py FOLDER ends with what leads nowhere.

Every link inside the site must lead to a file, and its anchor to an element; every page must be
reached from the start page, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the attributes that matter."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        for name, value in values.items():
            if (tag, name) in LOADED:
                self.loaded.append(value)
            if name in ("href", "src"):
                self.links.append(value)


def check(folder: Path) -> list[str]:
    """Return a line for each fault of the site in a folder."""
    pages = {path: Page(path.read_text()) for path in folder.rglob("*.html")}
    faults, reached, left = [], set(), [folder / "index.html"]
    while left:
        path = left.pop()
        if path in reached or path not in pages:
            continue
        reached.add(path)
        for link in pages[path].links:
            parts = urlsplit(link)
            if not parts.scheme and not parts.netloc and parts.path:
                left.append((path.parent / unquote(parts.path)).resolve())
    for path, page in pages.items():
        place = path.relative_to(folder)
        for link in page.loaded:
            if urlsplit(link).netloc:
                faults.append(f"{place}: loads {link} from elsewhere")
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists():
                faults.append(f"{place}: no such file: {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                faults.append(f"{place}: no such place: {link}")
    faults += [
        f"{path.relative_to(folder)}: no page links to it" for path in pages if path not in reached
    ]
    return sorted(set(faults))


def main(folder: Path) -> None:
    """Print the faults, and fail if there are any.

    Raises:
        SystemExit: There are.
    """
    faults = check(folder.resolve())
    for line in faults:
        print(line)
    if faults:
        raise SystemExit(f"{len(faults)} faults in the links of {folder}")
    print(f"links of {len(list(folder.rglob('*.html')))} pages lead somewhere")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
