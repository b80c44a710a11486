"""Significances of the demonstration sample, and the numbers that its README quotes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The best square of the reference study: 110-140 GeV and 45-75 GeV.
BEST_SQUARE = (slice(16, 22), slice(7, 13))
#: Flat entries added to every bin.
FLAT_PER_BIN = 25.0


def asimov_z(background: Array, signal: Array, *, paired: bool) -> float:
    """Asimov significance: Eq. 10 of Birman et al. (known background) or Eq. 11 (``paired``)."""
    t, s = background.ravel(), signal.ravel()
    if paired:
        terms = (t + s) * np.log1p(s / (2 * t + s)) - t * np.log1p(s / (2 * t))
        return float(np.sqrt(2 * terms.sum()))
    return float(np.sqrt(2 * ((t + s) * np.log1p(s / t) - s).sum()))


def n_sigma(b: Array, a: Array) -> float:
    """N_sigma of two equally exposed samples: sum (B - A) / sqrt(A + B) / sqrt(bins)."""
    return float(np.sum((b - a) / np.sqrt(a + b)) / np.sqrt(a.size))


def injected_strength(background: Array, signal: Array, z: float) -> float:
    """Strength mu at which ``asimov_z(background, mu * signal)`` is ``z``, by bisection."""
    low, high = 0.0, 1.0
    while asimov_z(background, high * signal, paired=False) < z:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        below = asimov_z(background, middle * signal, paired=False) < z
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def best_square(b: Array, a: Array) -> tuple[float, int, int, int]:
    """Largest N_sigma of all squares: value, side in bins, first mass bin, first pT bin."""
    terms = (b - a) / np.sqrt(a + b)
    best = (-np.inf, 0, 0, 0)
    for side in range(1, min(b.shape) + 1):
        sums = np.lib.stride_tricks.sliding_window_view(terms, (side, side)).sum(axis=(2, 3)) / side
        i, j = np.unravel_index(np.argmax(sums), sums.shape)
        best = max(best, (float(sums[i, j]), side, int(i), int(j)))
    return best


def report(
    filled: dict[str, dict[str, Array]],
    arrays: dict[str, Array],
    *,
    in_a: Array,
    in_b: Array,
    strength: float,
    variance: Array,
) -> None:
    """Print yields, significances and the effect of the asymmetries.

    Args:
        filled: Output of ``fill_process`` by process.
        arrays: The histograms, by name.
        in_a: Simulated background with an electron leading, without the flat term.
        in_b: The same with a muon leading.
        strength: Branching ratio of H -> tau mu that the injected signal stands for.
        variance: Monte Carlo variance of the background template.
    """
    background, signal = arrays["background"], arrays["signal"]
    simulated = background - FLAT_PER_BIN
    print("yields in range, both orderings, before the flat term:")
    for name, parts in filled.items():
        factor = strength if name.startswith("signal") else 1.0
        both = factor * (parts["a"].sum() + parts["b"].sum())
        print(f"  {name:11s} {both:10.1f}   filled pairs {int(parts['entries'].sum())}")
    print(f"  simulated background {2 * simulated.sum():.0f}, per sample {simulated.sum():.0f}")
    print(f"  background of one sample with the flat term {background.sum():.0f}")
    print(f"bins below 25 before the flat term: {np.count_nonzero(simulated < 25)}")
    print(f"smallest simulated bin: {simulated.min():.2f}")
    relative = np.sqrt(variance / background)
    print(f"MC error / Poisson error: median {np.median(relative):.2f}, max {relative.max():.2f}")

    leading_e = sum(filled[n]["a"].sum() for n in filled if n.startswith("signal"))
    leading_mu = sum(filled[n]["b"].sum() for n in filled if n.startswith("signal"))
    print(f"signal: {signal.sum():.1f} events, BR(H -> tau mu) = {100 * strength:.3f} %")
    print(f"  electron leading, left out: {leading_e / (leading_e + leading_mu):.3%}")
    print(f"  of the background: {signal.sum() / background.sum():.3%}")
    print(f"  in the best square: {signal[BEST_SQUARE].sum() / background[BEST_SQUARE].sum():.2%}")
    peak = np.unravel_index(np.argmax(signal), signal.shape)
    print(f"  peak bin (from 0): {int(peak[0])}, {int(peak[1])}")
    mass = 32.5 + 5.0 * np.arange(signal.shape[0])
    profile = signal.sum(axis=1) / signal.sum()
    mean = float(mass @ profile)
    print(f"  collinear mass: mean {mean:.1f}, sd {np.sqrt((mass - mean) ** 2 @ profile):.1f} GeV")
    positive = signal > 0
    mc = np.sqrt((arrays["signal_stat"] ** 2).sum()) / signal.sum()
    print(
        f"  bins {np.count_nonzero(positive)}, smallest {signal[positive].min():.2e}, MC {mc:.2%}"
    )

    with_signal = background + signal
    z_known = asimov_z(background, signal, paired=False)
    print(f"Asimov Z_L1 {z_known:.4f}, Z_L2 {asimov_z(background, signal, paired=True):.4f}")
    square = n_sigma(with_signal[BEST_SQUARE], background[BEST_SQUARE])
    print(f"N_sigma 6x6 {square:.3f}, all bins {n_sigma(with_signal, background):.3f}")
    print(f"best square (N_sigma, side, first bins): {best_square(with_signal, background)}")

    a_seen, b_seen = arrays["A_observed"], arrays["B_observed"]
    square = n_sigma(b_seen[BEST_SQUARE], a_seen[BEST_SQUARE])
    print(f"observed: A {a_seen.sum():.0f}, B {b_seen.sum():.0f}")
    print(f"observed: N_sigma 6x6 {square:.3f}, all bins {n_sigma(b_seen, a_seen):.3f}")
    print(f"observed best square: {best_square(b_seen, a_seen)}")

    ratio = arrays["efficiency_ratio"]
    fakes_a, fakes_b = arrays["fakes_A"], arrays["fakes_B"]
    print(f"efficiency ratio {in_b.sum() / in_a.sum():.4f}, {ratio.min():.3f} to {ratio.max():.3f}")
    unequal = n_sigma(2 * background * ratio / (1 + ratio), 2 * background / (1 + ratio))
    print(f"N_sigma all bins, efficiencies uncorrected: {unequal:.1f}")
    print(f"fakes: A {fakes_a.sum():.0f}, B {fakes_b.sum():.0f}")
    print(f"  bins with fakes: A {np.count_nonzero(fakes_a)}, B {np.count_nonzero(fakes_b)}")
    print(f"  largest part of the background: {(fakes_b / background).max():.2f}")
    with_fakes = n_sigma(background + fakes_b, background + fakes_a)
    print(f"N_sigma all bins, fakes not subtracted: {with_fakes:.1f}")
