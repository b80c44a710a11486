"""A ratio workspace with another correlation of its lepton-identification errors."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.measurement.lepton_id import Calibration
from ddphf.workspace.emit import varied
from ddphf.workspace_json import SampleDocument, Workspace

__all__ = ["calibrations_of", "find_calibrations", "recalibrate", "variations_of"]

EIGEN = re.compile(r"(.+)_eig\d+")
"""Names of eigen-variations, and of the calibration that they are of."""

SAME_ROW = 1e-9
"""Bins whose variations differ by less, relative to the largest, are one calibration bin."""


def calibrations_of(sidecar: Mapping[str, Any], workspace: Workspace) -> tuple[Calibration, ...]:
    """Return the calibrations that a sidecar of ``ddphf build`` tells.

    Raises:
        InputError: They do not fit the workspace.
    """
    sizes = {key: len(sample["data"]) for key, sample in _samples(workspace).items()}
    out = []
    for entry in sidecar["ratio"]["lepton_id"]:
        try:
            found = Calibration.from_dict(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the sidecar's ratio.lepton_id is damaged ({error!r})") from None
        shape = (len(found.full),) * 2
        wrong = [k for k, w in found.composition.items() if w.shape != (sizes.get(k), shape[0])]
        if wrong or not found.full.shape == found.independent.shape == shape:
            raise InputError(
                f"the sidecar's ratio.lepton_id, '{found.name}', does not fit the workspace"
                + (f" at {wrong[0]}" if wrong else "")
            )
        out.append(found)
    return tuple(out)


def find_calibrations(workspace: Workspace) -> tuple[Calibration, ...]:
    """Return the calibrations that the names of eigen-variations tell, ``NAME_eig00`` and so on.

    Template bins whose variations are equal are one calibration bin; the correlation of the
    workspace is the full one, and none at all the independent one.

    Example:
        >>> shift = {"hi_data": [11.0, 11.0, 10.0], "lo_data": [9.0, 9.0, 10.0]}
        >>> sample = {"name": "s", "data": [10.0] * 3, "modifiers": [
        ...     {"name": "id_eig00", "type": "histosys", "data": shift}]}
        >>> (found,) = find_calibrations({"channels": [{"name": "c", "samples": [sample]}]})
        >>> found.name, found.composition["c/s"].tolist()
        ('id', [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    """
    rows: dict[str, dict[str, dict[str, Array]]] = {}
    for key, sample in _samples(workspace).items():
        nominal = np.asarray(sample["data"], dtype=float)
        for modifier in sample["modifiers"]:
            named = EIGEN.fullmatch(modifier["name"])
            if named is None or modifier["type"] != "histosys":
                continue
            up = np.asarray(modifier["data"]["hi_data"], dtype=float)
            down = np.asarray(modifier["data"]["lo_data"], dtype=float)
            shift = (up - down) / 2 / np.where(nominal > 0, nominal, 1.0)
            rows.setdefault(named[1], {}).setdefault(key, {})[modifier["name"]] = shift
    out = []
    for name, by_sample in rows.items():
        names = sorted({variation for found in by_sample.values() for variation in found})
        stacks = {
            key: np.stack([found.get(n, 0.0 * next(iter(found.values()))) for n in names], 1)
            for key, found in by_sample.items()
        }
        stacked = np.concatenate([*stacks.values()])
        step = SAME_ROW * float(np.max(np.abs(stacked), initial=0.0)) or 1.0
        _, first, place = np.unique(
            np.round(stacked / step), axis=0, return_index=True, return_inverse=True
        )
        which = np.ravel(place)
        full = stacked[first] @ stacked[first].T
        composition, start = {}, 0
        for key, stack in stacks.items():
            composition[key] = np.eye(len(first))[which[start : start + len(stack)]]
            start += len(stack)
        out.append(Calibration(name, np.diag(np.diag(full)), full, 1.0, composition))
    return tuple(out)


def variations_of(calibration: Calibration, rho: float) -> dict[str, Array]:
    """Return the relative eigen-variations of every sample at a correlation, shape (M, n)."""
    keys = list(calibration.composition)
    ends = np.cumsum([len(calibration.composition[key]) for key in keys])[:-1]
    return dict(zip(keys, np.split(calibration.vary(rho).columns, ends), strict=True))


def recalibrate(
    workspace: Workspace, calibrations: Sequence[Calibration], rhos: Sequence[float]
) -> list[Workspace]:
    """Return the workspace at several correlations, all with the same parameters.

    Where one has fewer eigen-variations than another, the rest change nothing and are held.

    Args:
        workspace: Of a ratio.
        calibrations: Of its samples.
        rhos: Between independent (0) and full (1).
    """
    out = [_without(workspace, [c.name for c in calibrations]) for _ in rhos]
    for calibration in calibrations:
        every = [variations_of(calibration, rho) for rho in rhos]
        counts = [next(iter(found.values())).shape[1] for found in every]
        for spec, found, count in zip(out, every, counts, strict=True):
            _add(spec, calibration.name, found, count, max(counts))
    return out


def _samples(workspace: Workspace) -> dict[str, SampleDocument]:
    return {
        f"{channel['name']}/{sample['name']}": sample
        for channel in workspace["channels"]
        for sample in channel["samples"]
    }


def _without(workspace: Workspace, names: Sequence[str]) -> Workspace:
    """Return a copy without the eigen-variations of some calibrations."""
    spec = copy.deepcopy(workspace)

    def is_theirs(name: str) -> bool:
        named = EIGEN.fullmatch(name)
        return named is not None and named[1] in names

    for sample in _samples(spec).values():
        sample["modifiers"] = [m for m in sample["modifiers"] if not is_theirs(m["name"])]
    for measurement in spec["measurements"]:
        config = measurement["config"]
        config["parameters"] = [p for p in config["parameters"] if not is_theirs(p["name"])]
    return spec


def _add(spec: Workspace, name: str, found: Mapping[str, Array], count: int, largest: int) -> None:
    samples = _samples(spec)
    for key, columns in found.items():
        nominal = np.asarray(samples[key]["data"], dtype=float)
        for number in range(largest):
            column = columns[:, number] if number < count else np.zeros(len(nominal))
            samples[key]["modifiers"].append(
                varied(f"{name}_eig{number:02d}", "histosys", nominal, 1 + column, 1 - column)
            )
    for measurement in spec["measurements"]:
        measurement["config"]["parameters"] += [
            {"name": f"{name}_eig{number:02d}", "inits": [0.0], "fixed": True}
            for number in range(count, largest)
        ]
