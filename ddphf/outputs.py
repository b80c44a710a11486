"""The files that a command writes: refused before any work, in place together or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from ddphf.exceptions import UsageError

__all__ = ["Outputs", "check_folder", "locked", "sweep_litter", "write_atomically"]

STDOUT = "-"


def check_folder(option: str, name: str) -> Path:
    """Return the folder of several outputs.

    Raises:
        UsageError: Its name is empty.

    Example:
        >>> check_folder("--plots", "figures").name
        'figures'
    """
    if not name:
        raise UsageError(f"{option}: the name of the folder is empty; . is the current one")
    return Path(name)


class _Litter:
    """Temporary files, and folders made for them, that are removed unless they hold outputs."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.folders: list[Path] = []
        _LITTER.append(self)

    def sweep(self) -> None:
        for path in self.files:
            path.unlink(missing_ok=True)
        for folder in sorted(self.folders, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):  # holds the outputs
                folder.rmdir()
        _LITTER.remove(self)


_LITTER: list[_Litter] = []


def sweep_litter() -> None:
    """Remove what commands could not: a signal may come before their cleaning has begun."""
    for litter in [*_LITTER]:
        with contextlib.suppress(OSError):  # it was said already
            litter.sweep()


class Outputs:
    """The output files of one command.

    Made before any work, it refuses what could not be written or would destroy something. As a
    context it collects temporary files beside their targets; when the block succeeds standard
    output is written and all files are renamed into place, the first target last, so that a main
    output implies its companions. When the block fails nothing is left.

    A symbolic link is followed: the file that it points to is replaced, the link stays.

    Args:
        targets: Where the command will write; ``-`` is standard output, None is left out.
        inputs: Files that the command reads, which no target may be, whatever ``force`` says;
            ``-`` and None are left out.
        force: Whether existing files may be replaced.

    Raises:
        UsageError: A target exists and ``force`` is not set; it is empty, a folder, a device, or an
            input; two targets are one file; a folder cannot be written.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> with Outputs([folder / "a.json", folder / "b.txt"]) as outputs:
        ...     outputs.write(folder / "a.json", "{}")
        ...     outputs.write(folder / "b.txt", "text")
        ...     (folder / "a.json").exists()
        False
        >>> sorted(path.name for path in folder.iterdir())
        ['a.json', 'b.txt']
    """

    def __init__(
        self,
        targets: Iterable[str | Path | None],
        *,
        inputs: Iterable[str | Path | None] = (),
        force: bool = False,
    ) -> None:
        self._force = force
        self._targets: dict[Path, str] = {}
        self._staged: dict[Path, Path] = {}
        self._stdout: list[str] = []
        for name in targets:
            if name is not None and str(name) != STDOUT:
                target = _check_target(name, force=force)
                if target in self._targets:
                    raise UsageError(
                        f"{name}: is the name of two outputs of this command; choose another"
                    )
                self._targets[target] = str(name)
        self.protect(inputs)

    def protect(self, inputs: Iterable[str | Path | None]) -> None:
        """Refuse targets that are one of these files, also under another name (links).

        Raises:
            UsageError: Names the target and the input.
        """
        existing = {}
        for target, name in self._targets.items():
            with contextlib.suppress(OSError):
                status = target.stat()
                existing[status.st_dev, status.st_ino] = name
        for source in inputs:
            if source is None or str(source) == STDOUT or not existing:
                continue
            try:
                status = Path(source).stat()
            except (OSError, ValueError):
                continue
            if (output := existing.get((status.st_dev, status.st_ino))) is not None:
                raise UsageError(
                    f"{output}: is the input '{source}' of this command, which would be lost; "
                    "choose another output"
                )

    def __enter__(self) -> Self:
        self._litter = _Litter()
        return self

    def write(self, target: str | Path, text: str) -> None:
        """Stage text in UTF-8 for a target, or for standard output."""
        if str(target) == STDOUT:
            self._stdout.append(text)
        else:
            self.write_bytes(target, text.encode())

    def write_bytes(self, target: str | Path, content: bytes) -> None:
        """Stage bytes for a target."""
        with self.stage(target) as temporary:
            temporary.write_bytes(content)

    @contextlib.contextmanager
    def stage(self, target: str | Path) -> Iterator[Path]:
        """Give the temporary file, with the target's suffix, that becomes the target.

        Raises:
            UsageError: The folder or disk does not take it.
        """
        final = _check_target(target, force=self._force)
        try:
            # Written down before they are made: a signal may come between any two lines.
            self._litter.folders += [p for p in final.parents if not p.exists()]
            self._staged[final] = _beside(final, final.suffix)
            self._litter.files.append(self._staged[final])
            final.parent.mkdir(parents=True, exist_ok=True)
            yield self._staged[final]
        except OSError as error:  # no such place, or a full disk
            raise UsageError(f"{target}: cannot be written ({error.strerror})") from None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._litter.sweep()

    def _commit(self) -> None:
        """Write standard output, then put every file in place or, where one fails, none."""
        gone: BrokenPipeError | None = None
        try:
            _write_stdout("".join(self._stdout))
        except BrokenPipeError as error:  # the reader went away, as `head` does: keep the files
            gone = error
        old = {final: _beside(final, ".old") for final in self._staged if final.exists()}
        self._litter.files += old.values()
        placed: list[Path] = []
        try:
            for final, backup in old.items():
                # A second name, kept until the successor is there. A file system without hard
                # links: replaced one by one.
                with contextlib.suppress(OSError):
                    os.link(final, backup)
            for final in reversed(self._order()):
                placed.append(final)
                self._staged[final].replace(final)
        except BaseException as failure:
            for final in placed:
                if final in old and old[final].exists():
                    old[final].replace(final)
                elif final not in old and not self._staged[final].exists():
                    final.unlink(missing_ok=True)
            if isinstance(failure, OSError):
                raise UsageError(f"{final}: cannot be written ({failure.strerror})") from None
            raise
        if gone is not None:
            raise gone

    def _order(self) -> list[Path]:
        """Return the staged files, the command's own order of targets first."""
        known = [path for path in self._targets if path in self._staged]
        return [*known, *(path for path in self._staged if path not in self._targets)]


@contextlib.contextmanager
def write_atomically(path: str | Path, *, force: bool = True) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` when the block succeeds.

    Raises:
        UsageError: As :class:`Outputs`.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "x.txt"
        >>> with write_atomically(path) as temporary:
        ...     _ = temporary.write_text("all")
        >>> path.read_text()
        'all'
    """
    with Outputs([path], force=force) as outputs, outputs.stage(path) as temporary:
        yield temporary


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the folder of a file against other processes that update a file in it.

    The lock is the folder's own (``flock``), so nothing is left behind, whatever ends the process;
    nor is a folder that was made for it and stayed empty.

    Raises:
        UsageError: The folder cannot be opened.
    """
    folder = Path(os.path.realpath(path)).parent
    litter = _Litter()
    litter.folders += [p for p in (folder, *folder.parents) if not p.exists()]
    handles: list[int] = []  # written down at once: a signal must not leave a lock that is held
    try:
        try:
            # Again where another process removed the folder, empty, before it was locked.
            while not (handles and _is_open(folder, handles[-1])):
                folder.mkdir(parents=True, exist_ok=True)
                handles.append(os.open(folder, os.O_RDONLY))
                # A file system without locks (some network disks): replacement is atomic still.
                with contextlib.suppress(OSError):
                    fcntl.flock(handles[-1], fcntl.LOCK_EX)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
        yield
    finally:
        try:
            litter.sweep()
        finally:
            for handle in handles:
                os.close(handle)


def _is_open(folder: Path, handle: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), folder.stat())
    return False


def _check_target(name: str | Path, *, force: bool) -> Path:
    """Return the file behind a target's name, links followed."""
    if not str(name) or "\0" in str(name):
        raise UsageError("-o: the name of the output is empty; give a file name, or - for stdout")
    try:
        target = Path(os.path.realpath(name))
        if target.is_dir() or str(name).endswith(os.sep):
            raise UsageError(f"{name}: is a directory, expected a file name")
        if target.exists() and not target.is_file():
            raise UsageError(f"{name}: is not a regular file; - writes to standard output")
        if target.exists() and not force:
            raise UsageError(f"{name}: exists; give --force to replace it, or write elsewhere")
        folder = next(p for p in target.parents if p.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise UsageError(f"{name}: cannot be written, '{folder.name}' is no writable folder")
    except OSError as error:
        raise UsageError(f"{name}: cannot be written ({error.strerror})") from None
    return target


def _beside(final: Path, ending: str) -> Path:
    """Return an unused hidden name in the folder of a file."""
    return final.with_name(f".{final.stem[:100]}.{secrets.token_hex(6)}{ending}")


def _write_stdout(text: str) -> None:
    if not text:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  Python flushes it again at exit
        raise UsageError(f"standard output cannot be written ({error.strerror})") from None
