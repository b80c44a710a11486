"""``ddphf search``: where two samples differ, and what looking everywhere costs."""

from __future__ import annotations

import click

from ddphf.cli import search_events, search_freeze, search_null, search_pair, search_test

__all__ = ["command"]


@click.group("search")
def command() -> None:
    """Search two samples for a difference, without a signal in mind.

    Every local significance stands beside its global p-value: how often the best of
    all windows is as good where nothing is to be found.
    """


for _module in (search_events, search_freeze, search_null, search_pair, search_test):
    command.add_command(_module.command)
