"""Search for new physics through Standard Model symmetries, published as pyhf workspaces.

The names below are what users import; each is loaded when it is first asked for, so that
``import ddphf`` waits for nothing.

Example:
    >>> import ddphf
    >>> terms = ddphf.n_sigma_terms([12.0, 9.0], [10.0, 10.0])
    >>> round(float(ddphf.n_sigma(terms)), 3)
    0.139
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddphf.bumps.known import bump_z as bump_z
    from ddphf.compute.runners import open_runner as open_runner
    from ddphf.config.analysis import read_analysis as read_analysis
    from ddphf.exceptions import DdphfError as DdphfError
    from ddphf.inference.discovery import discover_workspace as discover_workspace
    from ddphf.inference.fit import fit_workspace as fit_workspace
    from ddphf.inference.injection.record import inject_signal as inject_signal
    from ddphf.inference.limits.limits import limit_workspace as limit_workspace
    from ddphf.inference.ranking.impacts import rank_parameters as rank_parameters
    from ddphf.inference.scan import scan_parameters as scan_parameters
    from ddphf.inference.yields import predict_yields as predict_yields
    from ddphf.learning.estimator import AsymmetryTest as AsymmetryTest
    from ddphf.search.error_matrix import compare_statistic as compare_statistic
    from ddphf.search.error_matrix import draw_pairs as draw_pairs
    from ddphf.search.error_matrix import error_matrix as error_matrix
    from ddphf.search.trials import global_p_value as global_p_value
    from ddphf.statistics.n_sigma import exact_p_value as exact_p_value
    from ddphf.statistics.n_sigma import n_sigma as n_sigma
    from ddphf.statistics.n_sigma import n_sigma_terms as n_sigma_terms
    from ddphf.statistics.windows import all_squares as all_squares
    from ddphf.statistics.windows import centred_windows as centred_windows
    from ddphf.statistics.windows import find_best_window as find_best_window
    from ddphf.symmetry.load import load_pair as load_pair
    from ddphf.symmetry.pair import Channel as Channel
    from ddphf.symmetry.pair import Pair as Pair
    from ddphf.symmetry.pair import Template as Template
    from ddphf.workspace.build import build_workspace as build_workspace

__version__ = "1.0.0"

_HOMES = {
    "AsymmetryTest": "learning.estimator",
    "Channel": "symmetry.pair",
    "DdphfError": "exceptions",
    "Pair": "symmetry.pair",
    "Template": "symmetry.pair",
    "all_squares": "statistics.windows",
    "build_workspace": "workspace.build",
    "bump_z": "bumps.known",
    "centred_windows": "statistics.windows",
    "compare_statistic": "search.error_matrix",
    "discover_workspace": "inference.discovery",
    "draw_pairs": "search.error_matrix",
    "error_matrix": "search.error_matrix",
    "exact_p_value": "statistics.n_sigma",
    "find_best_window": "statistics.windows",
    "fit_workspace": "inference.fit",
    "global_p_value": "search.trials",
    "inject_signal": "inference.injection.record",
    "limit_workspace": "inference.limits.limits",
    "load_pair": "symmetry.load",
    "n_sigma": "statistics.n_sigma",
    "n_sigma_terms": "statistics.n_sigma",
    "open_runner": "compute.runners",
    "predict_yields": "inference.yields",
    "rank_parameters": "inference.ranking.impacts",
    "read_analysis": "config.analysis",
    "scan_parameters": "inference.scan",
}
"""Where each public name lives; type checkers read the imports above instead (a test compares)."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ddphf' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"ddphf.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
