"""The pair of the examples in the docs."""

from __future__ import annotations

from collections.abc import Sequence

from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import BuiltWorkspace, build_workspace

__all__ = ["build_pair"]


def build_pair(
    tested: Sequence[int], partner: Sequence[int], signal: Sequence[float], *, ratio: float = 1.0
) -> BuiltWorkspace:
    """Return the workspace of a pair without errors.

    Args:
        tested: Counts of the channel mue, shape (M,).
        partner: Counts of the channel emu, shape (M,).
        signal: Expected in the tested channel, shape (M,).
        ratio: Efficiency ratio.

    Example:
        >>> build_pair([90], [100], [9.0]).metadata["pairing"]["tested"]
        'SR_mue'
    """
    pair = Pair(
        Channel("mue", list(tested), signal=Template(list(signal))),
        Channel("emu", list(partner)),
        efficiency_ratio=ratio,
    )
    return build_workspace(pair)
