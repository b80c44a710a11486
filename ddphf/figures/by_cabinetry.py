"""Figures of a ranking, drawn by ``cabinetry.visualize``: impacts, pulls, correlations."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.results.rank import ImpactResult, RankResult

__all__ = ["draw_correlations", "draw_pulls", "draw_ranking"]

SHOWN = 25
"""More rows than this cannot be read on a page."""


def draw_ranking(result: RankResult) -> Figure | None:
    """Draw the leading impacts, pre- and post-fit, over the pulls; None without any.

    Pulls and constraints are in units of the prior width; unconstrained parameters have none.
    """
    from cabinetry import visualize

    listed = result.parameters[:SHOWN]
    if not listed or result.poi.error is None:
        return None
    found = result.to_cabinetry_ranking()
    impacts = ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
    finite = {name: np.nan_to_num(getattr(found, name)) for name in impacts}
    found = found._replace(
        bestfit=np.array([np.nan if p.pull is None else p.pull for p in result.parameters]),
        uncertainty=np.array(
            [np.nan if p.constraint is None else p.constraint for p in result.parameters]
        ),
        labels=[_plain(p.name) for p in result.parameters],
        **finite,
    )
    with _cabinetry_style():
        figure: Figure = visualize.ranking(found, max_pars=SHOWN, save_figure=False)
    pulls, impact = figure.axes
    impact.set_xlabel(f"impact on {_plain(result.poi.name)}")
    # cabinetry takes the limits from pre-fit impacts alone; without a constraint these are 0.
    largest = max((np.abs(x[: len(listed)]).max() for x in finite.values()), default=0.0)
    impact.set_xlim(-1.1 * (largest or 1.0), 1.1 * (largest or 1.0))
    ends = np.abs(found.bestfit) + found.uncertainty
    reach = float(np.max(np.nan_to_num(ends[: len(listed)]), initial=1.8))
    pulls.set_xlim(-1.1 * reach, 1.1 * reach)
    return figure


def draw_pulls(result: RankResult) -> Figure | None:
    """Draw the pulls of the constrained parameters that are listed; None without any."""
    from cabinetry import visualize
    from cabinetry.fit import FitResults

    listed = [p for p in result.parameters if _has_pull(p)][:SHOWN]
    if not listed:
        return None
    listed.sort(key=lambda p: p.name)
    found = FitResults(
        bestfit=np.array([p.pull for p in listed]),
        uncertainty=np.array([p.constraint for p in listed]),
        # Its filter on staterror_ is for pulls around 1; these are around 0.
        labels=[_plain(p.name) for p in listed],
        corr_mat=np.eye(len(listed)),
        best_twice_nll=result.twice_nll,
    )
    with _cabinetry_style():
        figure: Figure = visualize.pulls(found, save_figure=False)
    return figure


def draw_correlations(result: RankResult) -> Figure | None:
    """Draw the correlations of the most correlated parameters; None for fewer than two."""
    from cabinetry import visualize

    found = result.to_cabinetry_fit()
    free = np.flatnonzero(found.uncertainty > 0)
    if len(free) < 2:
        return None
    size = np.abs(found.corr_mat[np.ix_(free, free)] - np.eye(len(free))).max(axis=1)
    keep = np.sort(free[np.argsort(-size, kind="stable")[:SHOWN]])
    found = found._replace(
        bestfit=found.bestfit[keep],
        uncertainty=found.uncertainty[keep],
        labels=[_plain(found.labels[i]) for i in keep],
        corr_mat=found.corr_mat[np.ix_(keep, keep)],
    )
    with _cabinetry_style():
        figure: Figure = visualize.correlation_matrix(found, save_figure=False)
    return figure


def _has_pull(parameter: ImpactResult) -> bool:
    return parameter.pull is not None and bool(parameter.error)


def _plain(name: str) -> str:
    """Return a name that matplotlib shows as it is."""
    return name.replace("$", r"\$")


@contextlib.contextmanager
def _cabinetry_style() -> Iterator[Any]:
    """Restore matplotlib's settings, which cabinetry changes, and silence its empty axes."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Attempting to set identical low and high")
        yield
