"""Backgrounds and signals of the reference study: four flat ones, and a sample from a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError, ModelError
from ddphf.inference.fitter import Fitter
from ddphf.inference.injection.signals import Injection
from ddphf.inputs.histogram import Axis
from ddphf.likelihood.reference import ReferenceModel
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.channels import ChannelYields
from ddphf.workspace.yields import resolve_pair
from ddphf.workspace_json import ModifierDocument, ParameterDocument, SampleDocument, Workspace

__all__ = ["Z_INJECTED", "Models", "Setup", "build_models", "flat_setups", "sample_setup"]

BINS = 28
RECTANGLE = 6
GAUSSIAN_SD = 2.0
"""In bins. The paper states none; with 2 the best square has 6 x 6 bins, as for the rectangle."""

FLAT_LEVELS = (100.0, 1e4)
Z_INJECTED = 5.0
"""Asimov significance of the signal where the background is known (Eq. 10)."""


@dataclass(frozen=True)
class Setup:
    """One background with one signal shape.

    Attributes:
        name: For files and tables.
        title: For people.
        background: T, n-D.
        shape: Signal, any normalisation, n-D.
        axes: Binning.
    """

    name: str
    title: str
    background: Array
    shape: Array
    axes: tuple[Axis, ...]


def flat_setups() -> list[Setup]:
    """Return flat backgrounds of 100 and 10 000 events per bin with two signal shapes.

    Example:
        >>> [setup.name for setup in flat_setups()][:2]
        ['flat_100_rectangle', 'flat_100_gaussian']
    """
    edges = tuple(float(i) for i in range(BINS + 1))
    axes = (Axis("x", edges, "x", "bins"), Axis("y", edges, "y", "bins"))
    rectangle = np.zeros((BINS, BINS))
    low = (BINS - RECTANGLE) // 2
    rectangle[low : low + RECTANGLE, low : low + RECTANGLE] = 1.0
    x = np.arange(BINS) - (BINS - 1) / 2
    gaussian = np.exp(-(x[:, None] ** 2 + x**2) / (2 * GAUSSIAN_SD**2))
    # Without the far tail: yields of 1e-40 are no signal, and the builder's factors overflow.
    gaussian[gaussian < 1e-6] = 0.0
    setups = []
    for level in FLAT_LEVELS:
        background = np.full((BINS, BINS), level)
        for name, shape in (("rectangle", rectangle), ("gaussian", gaussian)):
            title = f"flat {level:.0f}, {'Gaussian' if name == 'gaussian' else name}"
            setups.append(Setup(f"flat_{level:.0f}_{name}", title, background, shape, axes))
    return setups


def sample_setup(analysis: Analysis) -> Setup:
    """Return the background and signal of an analysis file.

    Raises:
        InputError: A histogram cannot be read, or is not two-dimensional.
        ModelError: The background is not known, or the pair is not the plain one.
    """
    pair = resolve_pair(load_pair(analysis))
    if pair.known_background is None:
        raise ModelError(
            f"analysis '{analysis.name}': the reference study compares L1 with the true "
            "background; state it as 'background: known'"
        )
    tested, partner = pair.channels
    if not _is_plain(tested) or not _is_plain(partner) or partner.signal is not None:
        raise ModelError(
            f"analysis '{analysis.name}': the reference study takes a pair of equal efficiencies "
            "without fakes and systematics, with the signal in the tested sample; leave the others "
            "out"
        )
    shape = tuple(axis.n_bins for axis in pair.axes)
    if len(shape) != 2:
        raise InputError(
            f"analysis '{analysis.name}': histograms with {len(shape)} axes, expected 2: windows "
            "and figures of the reference study are two-dimensional"
        )
    return Setup(
        name="sample",
        title=f"sample {analysis.name}",
        background=pair.known_background.reshape(shape),
        shape=tested.total(tested.signal).reshape(shape),
        axes=pair.axes,
    )


def _is_plain(channel: ChannelYields) -> bool:
    signal = channel.signal
    return (
        channel.fakes is None
        and not channel.variations
        and channel.residual is None
        and bool(np.all(channel.ratio == 1.0))
        and (signal is None or (not signal.variations and signal.error is None))
    )


@dataclass(frozen=True)
class Models:
    """The two likelihoods of one set-up, with mu = 1 the injected signal.

    Attributes:
        known: L1: the tested sample alone, background T (Eq. 3). With T known the partner sample
            says nothing about mu.
        pair: L2: both samples, background free in every bin (Eq. 4).
        signal: Injected events, n-D, with Asimov Z_L1 = 5.
    """

    known: Injection
    pair: Injection
    signal: Array


def build_models(setup: Setup) -> Models:
    """Scale the signal to Z_L1 = 5 and build both workspaces, as ``ddphf build`` does.

    Raises:
        ModelError: The workspace is refused, as where a bin has signal and no background.
    """
    if np.any((setup.background <= 0) & (setup.shape > 0)):
        raise ModelError(f"{setup.title}: a bin has signal and no background; merge bins")
    good = setup.background > 0
    information = np.sum(setup.shape[good] ** 2 / setup.background[good])
    # To first order; the exact strength is solved for below.
    guess = setup.shape * Z_INJECTED / np.sqrt(information)
    signal = guess * _inject(_known_workspace(setup.background, guess)).solve(Z_INJECTED)
    pair = Pair(
        Channel("B", setup.background, signal=Template(signal)),
        Channel("A", setup.background),
        integer_data=False,
        axes=setup.axes,
    )
    workspace = build_workspace(pair, signal_scale=1.0, name=setup.name).workspace
    return Models(
        known=_inject(_known_workspace(setup.background, signal)),
        pair=_inject(workspace),
        signal=signal,
    )


def _inject(workspace: Workspace) -> Injection:
    return Injection(Fitter(ReferenceModel(workspace)))


def _known_workspace(background: Array, signal: Array) -> Workspace:
    """Return L1 as a workspace: one channel with a known background."""
    mu: ModifierDocument = {"name": "mu", "type": "normfactor", "data": None}
    rates = [float(x) for x in background.ravel()]
    samples: list[SampleDocument] = [
        {"name": "background", "data": rates, "modifiers": []},
        {"name": "signal", "data": [float(x) for x in signal.ravel()], "modifiers": [mu]},
    ]
    parameters: list[ParameterDocument] = [
        {"name": "mu", "inits": [0.0], "bounds": [[-100.0, 100.0]]}
    ]
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR_B", "samples": samples}],
        "observations": [{"name": "SR_B", "data": rates}],
        "measurements": [
            {"name": "known_background", "config": {"poi": "mu", "parameters": parameters}}
        ],
    }
