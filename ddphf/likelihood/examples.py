"""The model of the examples in the engine's docs."""

from __future__ import annotations

from ddphf.likelihood.reference import ReferenceModel

__all__ = ["one_bin"]


def one_bin(
    signal: float = 5.0, background: float = 50.0, error: float = 7.0, *, observed: float = 60.0
) -> ReferenceModel:
    """Return a counting experiment: mu times a signal on a background with an error.

    Args:
        signal: Expected at mu = 1.
        background: Expected.
        error: Of the background, by an auxiliary measurement (a shapesys).
        observed: Events.

    Example:
        >>> one_bin().parameters.names
        ('mu', 'uncorr_bkguncrt[0]')
    """
    import pyhf

    model = pyhf.simplemodels.uncorrelated_background([signal], [background], [error])
    return ReferenceModel(dict(pyhf.Workspace.build(model, [observed, *model.config.auxdata])))
