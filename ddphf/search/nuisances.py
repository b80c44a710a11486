"""Nuisance parameters of a pair's ratio and fakes, profiled in closed form.

With t the normalised differences of the bins and G their change per sigma of each nuisance, the
null is t ~ N(G alpha, 1), alpha ~ N(0, 1) for a constrained nuisance. Profiled,

    t' = P t,  P = 1 - G (C + F)^-1 G',  F = G'G,  C = 1 for a constrained and 0 for a free one,

and P is the covariance of t' too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.exceptions import InputError

__all__ = ["Nuisances", "Profile", "project_away"]

DROPPED = 1e-12
"""Of the largest eigenvalue of C + F: a free nuisance, or a sum of some, that moves nothing."""


@dataclass(frozen=True)
class Nuisances:
    """What each nuisance parameter does to the null, per sigma.

    Attributes:
        ratio: Relative change of the efficiency ratio in each bin, shape ``(k, *bins)``.
        fakes_tested: Change of the fakes of the tested sample, in events, ``(k, *bins)``.
        fakes_partner: Of its partner's.
        free: Not constrained by a measurement, shape (k,); its unit is then arbitrary.
        names: Of the k nuisances.
    """

    ratio: Array
    fakes_tested: Array
    fakes_partner: Array
    free: Mask
    names: tuple[str, ...]

    @classmethod
    def make(
        cls,
        shape: Sequence[int],
        *,
        ratio: Any = None,
        fakes_tested: Any = None,
        fakes_partner: Any = None,
        free: Any = False,
        names: Sequence[str] | None = None,
    ) -> Nuisances:
        """Return nuisances with the parts that are not given as 0.

        Args:
            shape: Bins of the histogram.
            ratio: ``(k, *bins)``, or anything that broadcasts to it; so are the fakes' changes.
            fakes_tested: Of the tested sample.
            fakes_partner: Of its partner.
            free: For all, or of each.
            names: By default their numbers.

        Raises:
            InputError: Shapes differ, or a number is not finite.

        Example:
            >>> Nuisances.make((2, 2), ratio=[[[0.01, 0.02], [0.0, 0.0]]]).ratio.shape
            (1, 2, 2)
        """
        given = {"ratio": ratio, "tested fakes": fakes_tested, "partner fakes": fakes_partner}
        parts = {n: np.asarray(v, dtype=float) for n, v in given.items() if v is not None}
        k = next((len(v) for v in parts.values() if v.ndim), 0)
        full = {name: np.zeros((k, *shape)) for name in given}
        for name, values in parts.items():
            if values.ndim == 0 or len(values) != k:
                raise InputError(f"nuisances: {name} of shape {values.shape}, expected {k} rows")
            try:
                full[name] += values.reshape(k, *([1] * len(shape))) if values.ndim == 1 else values
            except ValueError:
                raise InputError(
                    f"nuisances: {name} of shape {values.shape} does not fit bins of shape "
                    f"{tuple(shape)}"
                ) from None
            if np.any(bad := ~np.isfinite(full[name])):
                raise InputError(
                    f"nuisances: {name}, [nuisance, bin] {np.argwhere(bad)[0].tolist()}: "
                    f"{full[name][bad][0]:g}, expected a finite number"
                )
        called = tuple(str(i) for i in range(k)) if names is None else tuple(names)
        unbound = np.broadcast_to(np.asarray(free, dtype=bool), (k,)).copy()
        if len(called) != k:
            raise InputError(f"nuisances: {len(called)} names of {k}")
        tested, partner = full["tested fakes"], full["partner fakes"]
        return cls(full["ratio"], tested, partner, unbound, called)


@dataclass(frozen=True)
class Profile:
    """The projection that profiles nuisances away.

    Attributes:
        pulls: G, change of each bin's term per sigma, shape (bins, k).
        inverse: (C + F)^-1, shape (k, k).
        root: P^(1/2) = 1 - basis root basis', shape (rank, rank).
        basis: Orthonormal, of what G moves, shape (bins, rank).
        free: Not constrained, shape (k,).
    """

    pulls: Array
    inverse: Array
    root: Array
    basis: Array
    free: Mask

    @classmethod
    def make(cls, pulls: Array, free: Mask) -> Profile:
        """Return the projection of pulls G, shape (bins, k).

        Example:
            >>> profile = Profile.make(np.ones((4, 1)), np.array([False]))
            >>> profile.project(np.ones(4))
            array([0.2, 0.2, 0.2, 0.2])
        """
        matrix = pulls.T @ pulls + np.diag(np.where(free, 0.0, 1.0))
        values, vectors = np.linalg.eigh(matrix)
        kept = values > DROPPED * max(float(values.max(initial=0.0)), 1e-300)
        inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        left, stretch, right = np.linalg.svd(pulls, full_matrices=False)
        moved = stretch > DROPPED * max(float(stretch.max(initial=0.0)), 1e-300)
        basis, turned = left[:, moved], (right.T * stretch)[:, moved]
        lost, axes = np.linalg.eigh(turned.T @ inverse @ turned)  # P = 1 - basis (...) basis'
        root = (axes * (1 - np.sqrt(np.clip(1 - lost, 0.0, 1.0)))) @ axes.T
        return cls(pulls, inverse, root, basis, free)

    def project(self, terms: AnyArray) -> AnyArray:
        """Return P terms, for terms of shape (bins, ...)."""
        return project_away(terms, self.pulls, self.inverse)

    def correlate(self, noise: AnyArray) -> AnyArray:
        """Return P^(1/2) noise: independent terms of variance 1 get the covariance of t'."""
        if not self.basis.shape[1]:
            return noise
        basis = self.basis.astype(noise.dtype)
        return np.asarray(noise - basis @ (self.root.astype(noise.dtype) @ (basis.T @ noise)))


def project_away(terms: AnyArray, pulls: Array, inverse: Array) -> AnyArray:
    """Return terms with the nuisances profiled: t - G (C + F)^-1 G't.

    Args:
        terms: Shape (bins, ...); their type is that of the result.
        pulls: G, shape (bins, k).
        inverse: (C + F)^-1, shape (k, k).

    Example:
        >>> project_away(np.ones(4), np.ones((4, 1)), np.array([[0.2]]))
        array([0.2, 0.2, 0.2, 0.2])
    """
    if not pulls.shape[1]:
        return terms
    moved = pulls.astype(terms.dtype)
    left = inverse.astype(terms.dtype) @ (moved.T @ terms)
    return np.asarray(terms - moved @ left)
