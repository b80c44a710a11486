"""pyhf's reader of HistFactory XML, kept quiet and within limits while it reads."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.guards import MOST_CELLS, within
from ddphf.text import clean_line

__all__ = ["parse_xml"]


def parse_xml(top: Path, base: Path) -> tuple[Spec, list[str]]:
    """Return the workspace that pyhf reads, and what it logs.

    Args:
        top: The top file, whose files were looked at.
        base: What paths in them are relative to.

    Raises:
        InputError: pyhf refuses, in whatever way; more numbers than are read; or a histogram that
            it takes in the place of the one that is named.
    """
    from pyhf import readxml

    # of a StatError without a histogram, yields below 0 have no root: the workspace is refused
    with _closed_files(), _watched(str(top)), _listening() as said, np.errstate(invalid="ignore"):
        try:
            workspace: Spec = readxml.parse(str(top), str(base))
        except InputError:
            raise
        except Exception as error:  # pyhf and uproot raise many kinds on damaged files
            what = clean_line(f"{type(error).__name__}: {error}")
            raise InputError(f"{top}: pyhf cannot read it ({what:.300})") from None
    return workspace, [f"pyhf: {line}" for line in dict.fromkeys(said.lines)]


class _Said(logging.Handler):
    """Keeps what pyhf logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(clean_line(record.getMessage()))


@contextlib.contextmanager
def _listening() -> Iterator[_Said]:
    """Keep what pyhf's reader logs, and print nothing of it."""
    said, logger = _Said(), logging.getLogger("pyhf.readxml")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(said)
    try:
        yield said
    finally:
        logger.removeHandler(said)
        logger.setLevel(level)
        logger.propagate = propagate


@contextlib.contextmanager
def _closed_files() -> Iterator[None]:
    """Close the ROOT files that pyhf keeps open between calls (its own cache, by path)."""
    from pyhf import readxml

    readxml.clear_filecache()
    try:
        yield
    finally:
        for file, _ in vars(readxml)["__FILECACHE__"].values():
            file.close()
        readxml.clear_filecache()


@contextlib.contextmanager
def _watched(top: str) -> Iterator[None]:
    """Look at each histogram that pyhf reads: elements may name a large one again and again."""
    from pyhf import readxml

    original = readxml.import_root_histogram
    numbers = 0

    def watch(resolver: Any, filename: str, path: str, name: str, filecache: Any = None) -> Any:
        nonlocal numbers
        found = original(resolver, filename, path, name, filecache)
        numbers += len(found[0])
        within(top, "numbers of histograms", numbers, MOST_CELLS)
        _, keys = vars(readxml)["__FILECACHE__"][str(resolver(filename))]
        inner = f"{(path or '').strip('/')}/{name}"
        if path and name in keys and inner in keys:
            raise InputError(
                f"{filename}: holds '{inner}' and '{name}'; the first is meant and pyhf reads the "
                "second, so rename or remove it"
            )
        return found

    vars(readxml)["import_root_histogram"] = watch
    try:
        yield
    finally:
        vars(readxml)["import_root_histogram"] = original
