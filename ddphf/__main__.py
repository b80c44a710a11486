"""``python -m ddphf``."""

from ddphf.cli.signals import run

run()
