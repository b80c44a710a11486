"""Ratios of couplings of leptons to the W boson, from ratios of leptonic branching fractions."""

from __future__ import annotations

import math

__all__ = ["coupling_ratio", "phase_space", "phase_space_ratio"]


def phase_space(x: float) -> float:
    """Return 1 - 8 x + 8 x^3 - x^4 - 12 x^2 ln x, the phase space of L -> l nu nu.

    Source: Tsai, Phys. Rev. D 4 (1971) 2821; HFLAV, arXiv:2206.07501, section 10.

    Args:
        x: (m_l / m_L)^2, in (0, 1).

    Example:
        >>> round(phase_space((105.6583755 / 1776.86) ** 2), 9)
        0.972559957
    """
    return 1.0 - 8.0 * x + 8.0 * x**3 - x**4 - 12.0 * x**2 * math.log(x)


def phase_space_ratio(*, tau: float, muon: float, electron: float) -> float:
    """Return f(m_mu^2 / m_tau^2) / f(m_e^2 / m_tau^2): R_mu of equal couplings.

    Radiative corrections and that of the W propagator cancel to 1e-7.

    Args:
        tau: Mass, in the unit of the others.
        muon: Mass.
        electron: Mass.

    Example:
        >>> round(phase_space_ratio(tau=1776.93, muon=105.6583755, electron=0.51099895), 9)
        0.972562707
    """
    return phase_space((muon / tau) ** 2) / phase_space((electron / tau) ** 2)


def coupling_ratio(ratio: float, space: float) -> float:
    """Return |g_mu / g_e| = sqrt(R_mu / phase-space ratio).

    Args:
        ratio: R_mu = B(tau -> mu nu nu) / B(tau -> e nu nu).
        space: Of :func:`phase_space_ratio`.

    Example:
        >>> round(coupling_ratio(0.9675, 0.972562707), 6)
        0.997394
    """
    return math.sqrt(ratio / space)
