"""The command line: one file per command, the only place where the two wings meet."""

from ddphf.cli.main import main

__all__ = ["main"]
