"""The test of a frozen window on new data: one window, no trial factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.results.provenance import make_provenance
from ddphf.results.search import SearchResult
from ddphf.search.boxes import make_boxes
from ddphf.search.pair import SearchPair
from ddphf.search.pair_table import make_pair_table
from ddphf.search.pair_windows import describe_axes, describe_window
from ddphf.search.scan import Found
from ddphf.search.shared_data import refuse_shared
from ddphf.symmetry.window_signal import find_window

__all__ = ["ONE_WINDOW", "run_test"]

ONE_WINDOW = "one window, chosen on other data"


def run_test(hypothesis: Analysis, pair: SearchPair, new: Analysis) -> SearchResult:
    """Test the window of a hypothesis on data that had no part in its choice.

    Args:
        hypothesis: What ``ddphf search freeze`` has written.
        pair: The new data.
        new: Their analysis.

    Raises:
        InputError: The hypothesis has no frozen window, the axes differ, the data are those that
            chose it or share them, or the window holds no event.
    """
    chosen = hypothesis.data_directed
    sides = {"tested": hypothesis.tested.signal, "partner": hypothesis.partner.signal}
    boxes = {role: s.window for role, s in sides.items() if s is not None and s.window is not None}
    if chosen is None or len(boxes) != 1:
        raise InputError(
            "the hypothesis has no 'data_directed' window; give what 'ddphf search freeze' wrote"
        )
    said = refuse_shared(hypothesis, pair, new)
    ((side, config),) = boxes.items()
    window = find_window(config, pair.axes)
    for key, value in (("start", window.start), ("size", window.size)):
        stated = chosen["windows"].get(key)
        if stated is not None and tuple(stated) != value:
            raise InputError(
                f"window: its {key} is {list(value)} in the bins of these data and {list(stated)} "
                "in those that chose it; bin the new data on the same axes"
            )
    field = pair.field()
    if not field.filled[window.slices].any():
        raise InputError(
            "window: holds no event of these data, so that they say nothing of it; give data that "
            "reach it"
        )
    family = make_boxes(pair.shape, "x".join(str(k) for k in window.size))
    table = make_pair_table(family, field, pair.n_correlated)
    number = np.array([family.number(window)])
    scale = float(table.scale(number)[0])
    if not np.isfinite(scale):
        raise InputError(
            "window: cannot be tested on these data: the nuisances explain any difference in it"
        )
    z = float(field.profiled[window.slices].sum()) * scale
    n_bins = int(field.filled[window.slices].sum())
    deficit = side == "partner"
    found = Found(window, int(number[0]), z, n_bins, 1 / (n_bins * scale**2), 0)
    entry = {"rank": 1, **describe_window(pair, field, found, deficit=deficit)}
    local: Any = entry["local"]
    p = local["p"]
    overall = {
        "p": p,
        "error": None,
        "z": float(norm.isf(p)) if p is not None and p < 1 else None,
        "method": ONE_WINDOW,
        "samples": None,
    }
    return SearchResult(
        kind="test",
        windows={"rule": "frozen", "n": 1, "shape": list(pair.shape)},
        direction="deficit" if deficit else "excess",
        best=({**entry, "global": overall},),
        overall=overall,
        nuisances=pair.described,
        left_out=pair.left_out,
        axes=describe_axes(pair.axes),
        pairing={"tested": pair.labels[0], "partner": pair.labels[1]},
        data_digest=pair.digest,
        warnings=(*pair.warnings, *said),
        provenance={
            **make_provenance(),
            "data_digest": pair.digest,
            "chosen_on": chosen["data_digest"],
        },
    )
