"""``ddphf bumps``: bumps on mass spectra whose background no model tells."""

from __future__ import annotations

import click

from ddphf.cli import bumps_evaluate, bumps_scan, bumps_train, bumps_workspace

__all__ = ["command"]


@click.group("bumps")
def command() -> None:
    """Search smoothly falling mass spectra for bumps, without a model of the background.

    What is stated has the background fitted to the same counts; its p-value counts all
    places, and the choice of the background, by toys.
    """


for _module in (bumps_evaluate, bumps_scan, bumps_train, bumps_workspace):
    command.add_command(_module.command)
