"""Real inputs by others, not shipped with the project: tests that need them are skipped without."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
OTHERS = Path(os.environ.get("DDPHF_SHARED_DATA", BESIDE))

WANTING = "needs ../shared/data: "
"""How the reason of every such skip begins; the end of a run counts them."""


def needs(path):
    """Mark a test that reads a file or folder of others."""
    return pytest.mark.skipif(not (OTHERS / path).exists(), reason=f"{WANTING}{path}")


def others(path):
    """Return where a file or folder of others is, or skip the test."""
    if not (OTHERS / path).exists():
        pytest.skip(f"{WANTING}{path}")
    return OTHERS / path
