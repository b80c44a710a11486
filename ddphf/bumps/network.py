"""A small network that estimates, in every bin, the significance over a known background.

Convolutions along the bins, so that a spectrum may have any number of them. It only ranks: what it
gives is an estimate by what it has been shown, no likelihood ratio, and has no p-value.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import check_arrays, load_arrays
from ddphf.arrays import Array, Spec
from ddphf.bumps.binning import Binning
from ddphf.bumps.net_inputs import CHANNELS, CURVES, NetInputs
from ddphf.exceptions import InputError
from ddphf.text import cut_middle

__all__ = [
    "VERSION", "Network", "apply_network", "estimate_all", "read_network", "shapes",
    "shipped_network",
]  # fmt: skip

VERSION = "1"
"""Of the inputs and of how weights are used: other weights are refused."""

SHIPPED = "network.npz"

KERNELS = (7, 5, 5, 5, 5, 5)
"""Bins that a layer looks at."""

DILATIONS = (1, 1, 2, 4, 8, 1)
"""Bins from one of these to the next."""

LARGEST = 1_000_000
"""Bytes of a file of weights."""

TOGETHER = 64
"""Spectra at once: their arrays stay in the cache."""

Weights = Mapping[str, Any]


def apply_network(xp: Any, weights: Weights, seen: Any, mask: Any) -> Any:
    """Return z of each bin.

    Args:
        xp: ``numpy`` or ``jax.numpy``: training and use are one function.
        weights: ``k0`` to ``k5`` (bins times channels, channels), ``b0`` to ``b5``, and ``head``,
            ``head_b``.
        seen: Of :class:`NetInputs`, shape (H, n, channels).
        mask: 1 where there is a bin, shape (H, n, 1).

    Returns:
        Shape (H, n): the bumps over the curves, weighted, and something added.
    """
    h = _convolve(xp, seen * mask, weights["k0"], KERNELS[0], 1) + weights["b0"]
    h = xp.maximum(h, 0) * mask
    for layer in range(1, len(KERNELS)):
        step = _convolve(xp, h, weights[f"k{layer}"], KERNELS[layer], DILATIONS[layer])
        h = h + xp.maximum(step + weights[f"b{layer}"], 0) * mask
    told = h @ weights["head"] + weights["head_b"]
    k = CURVES
    share = xp.exp(told[..., :k] - xp.max(told[..., :k], axis=-1, keepdims=True))
    share = share / xp.sum(share, axis=-1, keepdims=True)
    return 5 * (xp.sum(share * seen[..., :k], axis=-1) + told[..., k])


def _convolve(xp: Any, h: Any, kernel: Any, wide: int, dilation: int) -> Any:
    """Return a convolution; beyond the ends there is nothing."""
    half = (wide // 2) * dilation
    n = h.shape[1]
    padded = xp.pad(h, ((0, 0), (half, half), (0, 0)))
    parts = [padded[:, i * dilation : i * dilation + n] for i in range(wide)]
    return xp.concatenate(parts, axis=-1) @ kernel


def shapes(channels: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of weights."""
    out: dict[str, tuple[int, ...]] = {}
    for layer, wide in enumerate(KERNELS):
        out[f"k{layer}"] = (wide * (channels if layer else CHANNELS), channels)
        out[f"b{layer}"] = (channels,)
    return out | {"head": (channels, CURVES + 1), "head_b": (CURVES + 1,)}


def digest_of(weights: Mapping[str, Array], about: str) -> str:
    """Return SHA-256 of arrays and of what is said of them."""
    found = hashlib.sha256(about.encode())
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name], dtype="<f4")
        found.update(f"{name}{values.shape}".encode() + values.tobytes())
    return f"sha256:{found.hexdigest()}"


@dataclass(frozen=True, eq=False)
class Network:
    """Weights, and how they were made.

    Attributes:
        weights: By name, single precision.
        about: ``version``, and the settings of the training with its seed.
    """

    weights: dict[str, Array]
    about: Spec

    @property
    def digest(self) -> str:
        """Of all that it is."""
        return digest_of(self.weights, json.dumps(self.about, sort_keys=True))

    @property
    def widths(self) -> tuple[float, float]:
        """Of bumps, in bins, that it was trained with."""
        low, high = self.about["widths"]
        return float(low), float(high)

    def describe(self) -> Spec:
        """Return what a record says of it."""
        return {**self.about, "digest": self.digest,
                "parameters": int(sum(w.size for w in self.weights.values()))}  # fmt: skip

    def knows(self, inputs: NetInputs) -> bool:
        """Return whether it was trained with such widths."""
        low, high = self.widths
        return bool(np.all((inputs.in_bins > 0.99 * low) & (inputs.in_bins < 1.01 * high)))

    def z(self, inputs: NetInputs, counts: Array) -> Array:
        """Return the estimated significance over a known background, in every bin.

        Args:
            inputs: Of the binning.
            counts: Shape (H, n).

        Returns:
            Shape (H, n).

        Raises:
            InputError: The weights give something that is no finite number.
        """
        out = np.empty(counts.shape)
        for first in range(0, len(counts), TOGETHER):
            some = slice(first, first + TOGETHER)
            seen = inputs(counts[some]).astype(np.float32)
            mask = np.ones((*seen.shape[:2], 1), dtype=np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                out[some] = apply_network(np, self.weights, seen, mask)
        if not np.all(np.isfinite(out)):
            raise InputError(
                "--weights: give no finite z of these spectra; train others with 'ddphf bumps "
                "train', or leave the option out"
            )
        return out

    def to_bytes(self) -> bytes:
        """Return the file of the weights."""
        buffer = io.BytesIO()
        text = json.dumps(self.about, sort_keys=True)
        head = {"about": np.array(text), "digest": np.array(self.digest)}
        np.savez(buffer, **head, **self.weights)  # type: ignore[arg-type]
        return buffer.getvalue()


def read_network(path: str | Path) -> Network:
    """Return a network from the file that ``ddphf bumps train`` wrote.

    The digest tells damage, and which weights they are; whoever makes a file makes its digest too,
    so nothing that a file holds is trusted: numbers alone, of the shapes of the network.

    Raises:
        InputError: It is none, is damaged, or is of another version.
    """
    where, name = Path(path), str(path)
    if not where.is_file():
        raise InputError(f"{name}: there is no such file")
    if where.stat().st_size > LARGEST:
        raise InputError(f"{name}: is larger than {LARGEST} bytes, so no weights of a network")
    try:
        if check_arrays(where, name) > LARGEST:
            raise ValueError("is larger unpacked")
        arrays = load_arrays(where, name)
        about = json.loads(str(arrays.pop("about")))
        json.dumps(about, allow_nan=False)  # it goes into records, which have no NaN
        digest = str(arrays.pop("digest"))
        channels = int(about["channels"])
        low, high = (float(x) for x in about["widths"])
        version = about["version"]
    except (InputError, OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise InputError(f"{name}: is no file of weights of 'ddphf bumps train'") from None
    if version != VERSION:
        said = cut_middle(str(version))
        raise InputError(f"{name}: weights of version {said}; expected {VERSION}: train again")
    wanted = shapes(channels) if 0 < channels <= 256 else {}
    fine = {key: values.shape for key, values in arrays.items()} == wanted and all(
        values.dtype == np.float32 and np.all(np.isfinite(values)) for values in arrays.values()
    )
    network = Network(arrays, about)
    if not fine or network.digest != digest or not 0 < low <= high:
        raise InputError(f"{name}: the weights are not those of their digest: the file is damaged")
    return network


def estimate_all(
    network: Network, binnings: Sequence[Binning], counts: Sequence[Array]
) -> list[Array | None]:
    """Return the z of every bin of many spectra; None where bumps have widths that it never saw.

    Args:
        network: That estimates.
        binnings: Of each spectrum.
        counts: Of each.
    """
    alike: dict[bytes, list[int]] = {}
    for i, binning in enumerate(binnings):
        alike.setdefault(binning.edges.tobytes() + b"|" + binning.widths.tobytes(), []).append(i)
    out: list[Array | None] = [None] * len(counts)
    for some in alike.values():
        inputs = NetInputs(binnings[some[0]].edges, binnings[some[0]].widths)
        if network.knows(inputs):
            for i, z in zip(some, network.z(inputs, np.stack([counts[i] for i in some])),
                            strict=True):  # fmt: skip
                out[i] = z
    return out


@cache
def shipped_network() -> Network:
    """Return the network that comes with ddphf."""
    with as_file(files("ddphf.bumps").joinpath(SHIPPED)) as place:
        return read_network(place)
