"""What the subcommands of ``ddphf bumps`` share: records that they read."""

from __future__ import annotations

from typing import Any

from ddphf.exceptions import InputError

__all__ = ["ranked_spectrum", "read_bumps"]


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
