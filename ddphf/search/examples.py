"""What examples of the search start from."""

from __future__ import annotations

from ddphf.search.boxes import make_boxes
from ddphf.search.kernels import Scanner
from ddphf.search.nulls import GaussianNull
from ddphf.search.table import make_table

__all__ = ["many_events"]


def many_events() -> tuple[GaussianNull, Scanner]:
    """Return the null and the scanner of 6 x 6 windows of 28 x 28 bins with many events each.

    Example:
        >>> many_events()[0].table.n_windows
        529
    """
    table = make_table(make_boxes((28, 28), "6x6"))
    return GaussianNull(table), Scanner(table)
