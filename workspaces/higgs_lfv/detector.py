"""Tau decays, parametrised detector and e-mu selection for the demonstration sample.

Pure numpy: truth events of ``generate.py`` in, selected e-mu pairs out. The pairs carry no
efficiency weight: ``pair_efficiencies`` gives it for either assignment of electron and muon to
the leading and the subleading lepton, so that the same pairs serve both samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TAU_MASS_GEV = 1.77686
BR_TAU_E, BR_TAU_MU = 0.1782, 0.1739
#: Mean tau polarisation at the Z pole.
Z_POLARISATION = -0.147
PT_MIN_GEV = 10.0
ETA_MAX = 2.5
#: The calorimeter crack is taken from both flavours: the ratio of efficiencies has no bound there.
CRACK = (1.37, 1.52)
#: Coefficient a of the missing-momentum resolution a * sqrt(HT + 120 GeV) per component.
MET_RESOLUTION = 0.6
#: MET resolution without any jet: sqrt(120 GeV) times the coefficient.
MET_HT_OFFSET_GEV = 120.0


@dataclass(frozen=True)
class Pairs:
    """Selected e-mu pairs, one row per pair.

    Attributes:
        event: Row of the truth event.
        weight_fb: Cross-section in fb with tau branching ratios, before lepton efficiencies.
        lead_pt: Transverse momentum of the leading lepton in GeV.
        lead_eta: Its pseudorapidity.
        sub_pt: Transverse momentum of the other lepton in GeV.
        sub_eta: Its pseudorapidity.
        lead_is_muon: Flavour of the leading lepton.
        collinear_mass: In GeV.
        met: Missing transverse momentum in GeV.
    """

    event: NDArray[np.int64]
    weight_fb: Array
    lead_pt: Array
    lead_eta: Array
    sub_pt: Array
    sub_eta: Array
    lead_is_muon: NDArray[np.bool_]
    collinear_mass: Array
    met: Array


def electron_efficiency(pt: Array, eta: Array) -> Array:
    """Electron efficiency: .58 at 10 GeV rising to .90, falling by 5 % towards |eta| = 2.5."""
    plateau = 0.90 - 0.32 * np.exp(-(pt - PT_MIN_GEV) / 20.0)
    return np.asarray(plateau * (1 - 0.05 * (eta / ETA_MAX) ** 2))


def muon_efficiency(pt: Array, eta: Array) -> Array:
    """Muon efficiency: .855 at 10 GeV rising to .95, 2 % less around |eta| = 0."""
    plateau = 0.95 - 0.095 * np.exp(-(pt - PT_MIN_GEV) / 20.0)
    return np.asarray(plateau * (1 - 0.02 * np.exp(-((eta / 0.3) ** 2))))


def pair_efficiencies(pairs: Pairs) -> tuple[Array, Array]:
    """Efficiency of each pair with an electron leading (sample A) and a muon leading (sample B).

    Args:
        pairs: Selected pairs; their own flavours are not used.

    Returns:
        ``eps_e(l1) eps_mu(l2)`` and ``eps_mu(l1) eps_e(l2)``.
    """
    lead, sub = (pairs.lead_pt, pairs.lead_eta), (pairs.sub_pt, pairs.sub_eta)
    return (
        electron_efficiency(*lead) * muon_efficiency(*sub),
        muon_efficiency(*lead) * electron_efficiency(*sub),
    )


def decay_taus(p4: Array, parent_p4: Array, helicity: Array, rng: np.random.Generator) -> Array:
    """Charged-lepton momenta of leptonic tau decays (Michel spectrum, massless lepton).

    In the tau rest frame, with x = 2E/m and c the cosine between the lepton and the direction in
    which the tau left its parent, d2N/(dx dc) ~ x^2 [(3 - 2x) + h c (2x - 1)].

    Args:
        p4: Tau momenta (N, 4): px, py, pz, E in GeV.
        parent_p4: Momenta of their parents (N, 4); zeros where there is none (needs h = 0).
        helicity: h (N,): +1 for the taus of a W, whose leptons are hard.
        rng: Source of randomness.

    Returns:
        Lepton momenta (N, 4).
    """
    n = len(p4)
    grid = np.linspace(0, 1, 2001)
    x = np.interp(rng.random(n), 2 * grid**3 - grid**4, grid)
    k = helicity * (2 * x - 1) / (3 - 2 * x)
    u = rng.random(n)
    cos = np.clip((4 * u - 2 + k) / (1 + np.sqrt(1 - k * (2 - k - 4 * u))), -1, 1)
    phi = 2 * np.pi * rng.random(n)

    # Exactly on the mass shell: single-precision input would spoil the boost of fast taus.
    momentum = p4[:, :3]
    energy = np.sqrt((momentum**2).sum(axis=1) + TAU_MASS_GEV**2)
    beta_gamma = momentum / TAU_MASS_GEV
    gamma = energy / TAU_MASS_GEV

    along = (beta_gamma * parent_p4[:, :3]).sum(axis=1)
    recoil = (
        parent_p4[:, :3] + ((along / (gamma + 1) - parent_p4[:, 3])[:, None]) * beta_gamma
    )  # the parent in the tau rest frame; the tau flew the other way
    length = np.linalg.norm(recoil, axis=1)
    axis = np.where(length[:, None] > 0, -recoil / np.maximum(length, 1e-12)[:, None], [0, 0, 1.0])
    helper = np.where(np.abs(axis[:, 2:]) < 0.9, [0, 0, 1.0], [1.0, 0, 0])
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first, axis=1)[:, None]
    second = np.cross(axis, first)
    sin = np.sqrt(1 - cos**2)
    direction = (
        cos[:, None] * axis
        + (sin * np.cos(phi))[:, None] * first
        + (sin * np.sin(phi))[:, None] * second
    )
    rest_energy = x * TAU_MASS_GEV / 2
    rest = rest_energy[:, None] * direction
    along = (beta_gamma * rest).sum(axis=1)
    lab = rest + (along / (gamma + 1) + rest_energy)[:, None] * beta_gamma
    return np.concatenate([lab, np.linalg.norm(lab, axis=1)[:, None]], axis=1)


def draw_helicities(
    kind: NDArray[np.int8], charge: NDArray[np.int8], scalar: bool, rng: np.random.Generator
) -> Array:
    """Tau helicity factors h per leg.

    Args:
        kind: ``parent_kind`` (N, 4) of ``generate.py``.
        charge: Lepton charges (N, 4).
        scalar: Whether pairs come from a Higgs boson (opposite h) or from Z/gamma* (equal h).
        rng: Source of randomness.

    Returns:
        h (N, 4): +1 for W, +-1 for pairs, 0 otherwise.
    """
    hard = (1 - Z_POLARISATION) / 2  # a left-handed tau- gives a hard lepton
    sign = np.where(rng.random(len(kind)) < (0.5 if scalar else hard), 1.0, -1.0)[:, None]
    pair = sign * charge if scalar else np.broadcast_to(sign, kind.shape)
    return np.where(kind == 1, 1.0, np.where(kind == 2, pair, 0.0))


def assign_flavours(
    leg_id: NDArray[np.int8], role: str, swap: bool, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Give every leg its reconstructed flavour, and the event the probability of it.

    Args:
        leg_id: PDG codes (N, 4).
        role: ``pair``: the positive leg is an electron and the negative one a muon (``swap``: the
            mirror, which is as frequent by lepton universality); ``free``: the generated
            flavours, with tau decays drawn (``swap``: e <-> mu, half the weight each);
            ``signal``: muons stay, taus decay to electrons.
        swap: See ``role``.
        rng: Source of randomness.

    Returns:
        Flavours (N, 4): 11, 13 or 0 (no lepton, or a hadronic tau), and probabilities (N,).
    """
    kind = np.abs(leg_id.astype(np.int64))
    is_tau = kind == 15
    if role == "free":
        u = rng.random(leg_id.shape)
        decay = np.where(u < BR_TAU_E, 11, np.where(u < BR_TAU_E + BR_TAU_MU, 13, 0))
        flavour = np.where(is_tau, decay, kind)
        if swap:
            flavour = np.where(flavour > 0, 24 - flavour, 0)
        return flavour, np.full(len(leg_id), 0.5)
    if role == "signal":
        flavour = np.where(is_tau, 11, kind)
    else:
        electron = (leg_id > 0) if swap else (leg_id < 0)  # negative codes are positive leptons
        flavour = np.where(kind > 0, np.where(electron, 11, 13), 0)
    branching = np.where(is_tau, np.where(flavour == 11, BR_TAU_E, BR_TAU_MU), 1.0)
    return flavour, branching.prod(axis=1)


def collinear_mass(
    lead: tuple[Array, Array, Array], sub: tuple[Array, Array, Array], met: Array
) -> Array:
    """Collinear mass sqrt(2 pT1 (pT2 + MET) (cosh d_eta - cos d_phi)) in GeV.

    Args:
        lead: pT (GeV), eta, phi of the leading lepton.
        sub: The same of the other one, taken as the lepton from the tau.
        met: Missing transverse momentum in GeV.
    """
    angle = np.cosh(lead[1] - sub[1]) - np.cos(lead[2] - sub[2])
    return np.asarray(np.sqrt(2 * lead[0] * (sub[0] + met) * angle))


def reconstruct(
    truth: dict[str, NDArray[Any]],
    *,
    role: str,
    swap: bool,
    scalar: bool,
    rng: np.random.Generator,
    met_resolution: float = MET_RESOLUTION,
) -> Pairs:
    """Decay taus, smear, and select opposite-charge e-mu pairs without a third lepton.

    Args:
        truth: Arrays of a cache file (or rows of it).
        role: See ``assign_flavours``.
        swap: See ``assign_flavours``.
        scalar: See ``draw_helicities``.
        rng: Source of randomness.
        met_resolution: Coefficient a of ``a * sqrt(HT + 120 GeV)``.

    Returns:
        The selected pairs. A third lepton in acceptance enters as the probability to miss it.
    """
    leg_id = truth["leg_id"]
    flavour, probability = assign_flavours(leg_id, role, swap, rng)
    helicity = draw_helicities(truth["parent_kind"], -np.sign(leg_id), scalar, rng)
    p4 = truth["leg_p4"].astype(np.float64)
    neutrino = truth["neutrino_p"].astype(np.float64)
    leptonic = (np.abs(leg_id) == 15) & (flavour > 0)
    # The neutrino of a hadronic tau (WZ and ZZ only) is left with its jet.
    row, slot = np.nonzero(leptonic)
    tau = p4[row, slot]
    parent = truth["parent_p4"][row, slot].astype(np.float64)
    p4[row, slot] = decay_taus(tau, parent, helicity[row, slot], rng)
    np.add.at(neutrino, row, tau[:, :2] - p4[row, slot, :2])

    true_pt = np.hypot(p4[:, :, 0], p4[:, :, 1])
    eta = np.arcsinh(p4[:, :, 2] / np.maximum(true_pt, 1e-6))
    phi = np.arctan2(p4[:, :, 1], p4[:, :, 0])
    energy = np.maximum(p4[:, :, 3], 1e-3)
    electron_width = np.sqrt(0.1**2 / energy + 0.01**2 + (0.3 / energy) ** 2)
    muon_width = np.hypot(0.02, 3e-4 * true_pt)
    width = np.where(flavour == 11, electron_width, muon_width)
    pt = true_pt * np.maximum(1 + width * rng.standard_normal(true_pt.shape), 0.05)
    met_width = met_resolution * np.sqrt(truth["ht"].astype(np.float64) + MET_HT_OFFSET_GEV)
    smeared = neutrino + met_width[:, None] * rng.standard_normal(neutrino.shape)
    met = np.hypot(smeared[:, 0], smeared[:, 1])

    in_crack = (np.abs(eta) > CRACK[0]) & (np.abs(eta) < CRACK[1])
    accepted = (flavour > 0) & (pt > PT_MIN_GEV) & (np.abs(eta) < ETA_MAX) & ~in_crack
    efficiency = np.where(flavour == 11, electron_efficiency(pt, eta), muon_efficiency(pt, eta))
    missed = np.where(accepted, 1 - efficiency, 1.0)
    weight = truth["weight_fb"] * probability

    columns: list[list[NDArray[Any]]] = [[] for _ in range(9)]
    for i in range(4):
        for j in range(4):
            # Ordered by reconstructed pT: (i, j) and (j, i) cannot both pass.
            chosen = (
                accepted[:, i]
                & accepted[:, j]
                & (flavour[:, i] + flavour[:, j] == 24)
                & (np.sign(leg_id[:, i]) * np.sign(leg_id[:, j]) == -1)
                & (pt[:, i] > pt[:, j])
            )
            if not chosen.any():
                continue
            others = [k for k in range(4) if k not in (i, j)]
            lead = (pt[chosen, i], eta[chosen, i], phi[chosen, i])
            sub = (pt[chosen, j], eta[chosen, j], phi[chosen, j])
            values = (
                np.nonzero(chosen)[0],
                (weight * missed[:, others].prod(axis=1))[chosen],
                lead[0],
                lead[1],
                sub[0],
                sub[1],
                flavour[chosen, i] == 13,
                collinear_mass(lead, sub, met[chosen]),
                met[chosen],
            )
            for column, value in zip(columns, values, strict=True):
                column.append(value)
    empty = [np.zeros(0, t) for t in (int, float, float, float, float, float, bool, float, float)]
    return Pairs(*(np.concatenate([e, *c]) for e, c in zip(empty, columns, strict=True)))
