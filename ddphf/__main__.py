"""``python -m ddphf``."""

from ddphf.cli import main

main()
