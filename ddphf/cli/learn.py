"""``ddphf learn``: tests that learn the difference of two samples."""

from __future__ import annotations

import click

from ddphf.cli import learn_curve, learn_power, learn_template, learn_test

__all__ = ["command"]


@click.group("learn")
def command() -> None:
    """Learn whether, and where, two samples differ; p-values by redrawn labels.

    The labels of the events are redrawn with the probabilities that efficiencies and
    fakes give them, so that a p-value is right whatever the statistic.
    """


for _module in (learn_curve, learn_power, learn_template, learn_test):
    command.add_command(_module.command)
