"""A statistic of a pair's whole histogram, which the record states beside the windows."""

from __future__ import annotations

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.progress import Stage, silent
from ddphf.search.error_matrix import compare_statistic
from ddphf.search.field import Field
from ddphf.search.pair import SearchPair
from ddphf.search.scan import Direction
from ddphf.search.whole_statistics import STATISTICS, WHOLE

__all__ = ["compare_pair"]


def compare_pair(
    pair: SearchPair,
    field: Field,
    statistic: str,
    *,
    direction: Direction,
    seed: int,
    stage: Stage = silent,
) -> tuple[Spec, ...]:
    """Return a statistic with its own null, for the record; nothing for ``n_sigma``.

    Args:
        pair: The data.
        field: Of them.
        statistic: ``n_sigma``, ``t``, ``ks``, ``chi2`` or ``g``.
        direction: Of t.
        seed: Of the draws.
        stage: Called with a line at each stage.

    Raises:
        InputError: It is unknown, or cannot be told for these data.
    """
    if statistic not in STATISTICS:
        raise InputError(f"statistic '{statistic}' is unknown; expected {', '.join(STATISTICS)}")
    which = next((w for w in WHOLE if w == statistic), None)
    if which is None:
        return ()
    if pair.weighted:
        raise InputError(
            f"statistic '{statistic}': the analysis says 'integer_data: false' or gives its events "
            "weights, and labels are flipped of events; give counts, or leave --statistic out"
        )
    found = compare_statistic(field, which, direction=direction, seed=seed, stage=stage)
    return ({**found, "method": "label flips"},)
