"""What the subcommands of ``ddphf bumps`` share: records and weights that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ddphf.cli import common
from ddphf.exceptions import InputError, UsageError

if TYPE_CHECKING:
    from ddphf.bumps.network import Network

__all__ = ["METHODS", "network_of", "ranked_spectrum", "read_bumps", "weights_option"]

METHODS = ("spline", "network")

weights_option = common.text_option(
    "--weights", "FILE",
    "Of the network, from 'ddphf bumps train'; those that ddphf brings by default.",
)  # fmt: skip


def network_of(method: str, weights: str | None) -> Network | None:
    """Return the network that was asked for, None for splines.

    Raises:
        UsageError: Weights without the network.
        InputError: The file holds none.
    """
    if method != "network":
        if weights is not None:
            raise UsageError("--weights: is for --method network")
        return None
    from ddphf.bumps.network import read_network, shipped_network

    return shipped_network() if weights is None else read_network(weights)


def read_bumps(name: str) -> dict[str, Any]:
    """Return a record of ``ddphf bumps scan``.

    Raises:
        InputError: It is none, or is damaged.
    """
    from ddphf.results.bumps import BumpsResult
    from ddphf.results.registry import read_record

    record: dict[str, Any] = read_record(name, BumpsResult, "ddphf bumps scan").to_dict()
    return record


def ranked_spectrum(record: dict[str, Any], rank: int, name: str) -> dict[str, Any]:
    """Return a spectrum of a record.

    Raises:
        InputError: No spectrum has this rank, or what makes a workspace is missing.
    """
    ranked = [s for s in record["spectra"] if s.get("rank") is not None]
    for spectrum in ranked:
        if spectrum["rank"] == rank:
            missing = [k for k in ("edges", "observed", "widths", "start") if k not in spectrum]
            n = len(spectrum.get("edges") or [])
            holes = [
                key
                for key in ("observed", "widths")
                if len(spectrum.get(key) or []) != n - 1
                or None in (spectrum.get(key) or [])[spectrum.get("start", 0) :]
            ]
            if missing or holes:
                raise InputError(
                    f"{name}: spectrum {rank} lacks its {', '.join(missing or holes)}; scan again"
                )
            return dict(spectrum)
    raise InputError(f"--rank {rank}: the record ranks {len(ranked)} spectra, from 1")
