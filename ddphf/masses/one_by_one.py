"""Hypotheses that are no rows: each one by the engine of single workspaces, the same record."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.compute.streams import seed_of_part
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, InputError, ModelError
from ddphf.inference.fit import fit_workspace
from ddphf.inference.limits.limits import MIN_TOYS, LimitMethod, limit_workspace
from ddphf.masses.kept import Piece, do_kept, work_digest
from ddphf.masses.patchset import Hypotheses
from ddphf.results.limit import LimitResult
from ddphf.results.masses import MassesResult
from ddphf.results.provenance import json_digest, make_provenance

__all__ = ["OneByOne", "Stated", "digest_of", "hypothesis_of", "run_one_by_one"]

FITTED = ("mu_hat", "mu_error", "q0", "z0", "p0")


class Stated(TypedDict, total=False):
    """What is stated of hypotheses, rows of one scan or one by one.

    Attributes:
        levels: Confidence levels of the limits, the first one in ``limit``; .95 by default.
        methods: Of limits: ``"asymptotic"`` (the default), ``"toys"``.
        toys: Of each ensemble of limits by toys, 1000 by default.
        seed: Of them.
        folder: Where finished work is kept, and taken from; None for nowhere.
        work: How long work is done.
    """

    levels: Sequence[float]
    methods: Collection[str]
    toys: int
    seed: int
    folder: Path | None
    work: Work


class OneByOne:
    """The work: fit and limits of one hypothesis.

    Args:
        found: The hypotheses.
        levels: Confidence levels.
        methods: Of limits.
        toys: Of each ensemble.
        seed: Of them.
    """

    def __init__(
        self, found: Hypotheses, levels: Sequence[float], methods: Sequence[str], toys: int,
        seed: int,
    ) -> None:  # fmt: skip
        self.found, self.levels, self.methods = found, tuple(levels), tuple(methods)
        self.toys, self.seed = toys, seed

    def __call__(self, index: int) -> Piece:
        """Return numbers, NaN for those that are not stated, and what is said."""
        name, workspace = self.found.names[index], dict(self.found.workspace(index))
        out: dict[str, Any] = {}
        said: list[str] = []
        try:
            fit = fit_workspace(workspace)
        except ModelError as error:
            raise ModelError(f"patch '{name}': {error}") from None
        except FitError as error:
            said.append(str(error))
            out["fit"] = np.full(len(FITTED), np.nan)
        else:
            mu, claim = fit.mu_hat, fit.discovery
            if mu is None or fit.measurement_statement is not None:
                raise ModelError(
                    f"patch '{name}': its measurement has no free POI with a null, so there is no "
                    "limit; widen the POI's bounds"
                )
            values = [mu.value, mu.error]
            values += [None] * 3 if claim is None else [claim.q0, claim.z0, claim.p0]
            out["fit"] = _array(values)
            said += fit.warnings
        for k, level in enumerate(self.levels):
            limit: LimitResult | None = None
            try:
                limit = limit_workspace(
                    workspace, level=level, toys=self.toys,
                    methods=cast("tuple[LimitMethod, ...]", self.methods),
                    seed=seed_of_part(self.seed, k * len(self.found) + index),
                )  # fmt: skip
            except (FitError, ModelError) as error:
                said.append(f"no limit at {100 * level:g} %: {error}")
            else:
                said += limit.warnings
            plain = None if limit is None else limit.asymptotic
            drawn = None if limit is None else limit.toys
            out[f"asymptotic_{k}"] = (
                np.full(6, np.nan) if plain is None else _array([plain.observed, *plain.expected])
            )
            if drawn is not None:
                out[f"toys_{k}"] = _array(
                    [drawn.observed, *drawn.expected, drawn.observed_error, *drawn.expected_error]
                )
                out[f"points_{k}"] = np.asarray(drawn.mu)
                out[f"numbers_{k}"] = np.array([drawn.n, drawn.n_failed])
        text = "\n".join(dict.fromkeys(said)).encode()
        out["said"] = np.frombuffer(text, dtype=np.uint8)
        return out


def digest_of(found: Hypotheses) -> str:
    """Return what the data of hypotheses one by one are known again by."""
    parts: list[Any] = [found.background, list(found.patches), list(found.names)]
    return json_digest([*parts, found.values.tolist()])


def run_one_by_one(
    found: Hypotheses, reason: str, *, levels: Sequence[float] = (0.95,),
    methods: Collection[str] = ("asymptotic",), toys: int = 1000, seed: int = 0,
    folder: Path | None = None, work: Work = HERE,
) -> MassesResult:  # fmt: skip
    """Fit hypotheses that are no rows, for a reason; the keywords are those of :class:`Stated`.

    Raises:
        InputError: Too few toys.
        ModelError: A hypothesis's workspace is refused.
        FitError: No hypothesis has a certified fit.
    """
    if "toys" in methods and toys < MIN_TOYS:
        raise InputError(f"toys: {toys}, expected at least {MIN_TOYS} per scanned signal strength")
    ordered = ("asymptotic", *(["toys"] if "toys" in methods else []))
    work.say(f"{len(found)} hypotheses one by one")
    inputs = digest_of(found)
    settings = {"levels": tuple(levels), "methods": ordered, "toys": toys, "seed": seed}
    digest = work_digest([found.values], inputs, sorted(settings.items()))
    pieces = list(
        do_kept(
            Task("ddphf.masses.one_by_one:OneByOne", {"found": found, **settings}),
            list(range(len(found))),
            name=f"hypotheses_{digest}",
            folder=folder,
            sizes=[1] * len(found),
            work=work,
        )
    )
    failed = [not np.isfinite(piece["fit"][0]) for piece in pieces]
    if all(failed):
        raise FitError("no hypothesis has a certified fit with and without a signal")
    config = found.background["measurements"][0]["config"]
    stated: Any = next((p for p in config["parameters"] if p["name"] == config["poi"]), {})
    bounds = [float(x) for x in stated.get("bounds", [[0.0, 10.0]])[0]]
    said = dict.fromkeys(
        (line, i) for i, p in enumerate(pieces) for line in bytes(p["said"]).decode().splitlines()
    )
    return MassesResult(
        name=found.background["measurements"][0]["name"],
        parameter={"name": found.parameter, "unit": ""},
        poi={"name": config["poi"], "unit": "", "bounds": bounds},
        values=tuple(found.values.tolist()),
        levels=tuple(levels),
        hypotheses=tuple(
            hypothesis_of(name, piece, levels, found)
            for name, piece in zip(found.names, pieces, strict=True)
        ),
        fits={"careful": len(found) - sum(failed), "failed": sum(failed)},
        seed=seed if "toys" in methods else None,
        warnings=(
            f"hypotheses are fitted one by one by the engine of single workspaces: {reason}",
            *_gather(list(said), found),
        ),
        provenance=make_provenance(data_digest=digest_of(found)),
    )


def _gather(said: Sequence[tuple[str, int]], found: Hypotheses) -> list[str]:
    """Return sentences with the hypotheses that they are of, each sentence once."""
    of: dict[str, list[int]] = {}
    for line, index in said:
        of.setdefault(line, []).append(index)
    out = []
    for line, indices in of.items():
        more = "" if len(indices) == 1 else f" and {len(indices) - 1} more"
        out.append(f"{found.parameter} = {found.values[indices[0]]:g}{more}: {line}")
    return out


def hypothesis_of(name: str, piece: Piece, levels: Sequence[float], found: Hypotheses) -> Spec:
    """Return a row of the record, of what the work returned."""
    limits: list[Spec] = []
    for k, level in enumerate(levels):
        values = _list(piece[f"asymptotic_{k}"])
        limit: Spec = {"level": level}
        limit["asymptotic"] = {"observed": values[0], "expected": values[1:]}
        if f"toys_{k}" in piece:
            drawn = _list(piece[f"toys_{k}"])
            n, lost = piece[f"numbers_{k}"]
            limit["toys"] = {
                "observed": drawn[0], "expected": drawn[1:6], "error": drawn[6],
                "expected_error": drawn[7:], "n": int(n), "n_failed": int(lost),
                "points": piece[f"points_{k}"].tolist(),
            }  # fmt: skip
        limits.append(limit)
    out: Spec = dict(zip(FITTED, _list(piece["fit"]), strict=True))
    out["name"] = name
    out["limit"] = limits[0]
    out["empty_bins"] = _empty_bins(found)
    out["status"] = "careful" if out["mu_hat"] is not None else "failed"
    if len(limits) > 1:
        out["limits"] = limits[1:]
    return out


def _empty_bins(found: Hypotheses) -> Spec:
    """Return the bins without background, numbered through all channels, as rows have them."""
    base = found.background
    total = [np.sum([s["data"] for s in c["samples"]], axis=0) for c in base["channels"]]
    observed = {o["name"]: o["data"] for o in base["observations"]}
    counts = np.concatenate([observed[c["name"]] for c in base["channels"]])
    empty = np.concatenate(total) <= 0
    dark = np.flatnonzero(empty & (counts > 0))
    out: Spec = {"n": int(empty.sum()), "with_events": len(dark)}
    if len(dark):
        out["bins"] = dark.tolist()
    return out


def _array(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if x is None else x for x in values], dtype=float)


def _list(values: Array) -> list[float | None]:
    return [float(x) if np.isfinite(x) else None for x in values]
