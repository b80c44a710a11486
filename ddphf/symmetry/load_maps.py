"""The maps that an analysis names: of the lepton identification, and of fake factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ddphf.config.analysis import Analysis, TemplateConfig
from ddphf.config.sections import LeptonIdConfig
from ddphf.exceptions import InputError
from ddphf.inputs.map_files import read_map
from ddphf.inputs.maps import LeptonMap

__all__ = ["factors_from_rates", "read_fake_maps", "read_maps"]


def read_maps(config: LeptonIdConfig, analysis: Analysis) -> dict[int, LeptonMap]:
    """Read the maps of ``lepton_id`` by PDG code, in the order of the file.

    Raises:
        InputError: A file that is no such map, or an absolute matrix for values that vary inside
            the bins.
    """
    variables = [] if analysis.events is None else analysis.events.leptons
    names = sorted({name for lepton in variables for name in lepton.variables})
    maps = {}
    for item in config.maps:
        reading = dict(item.reading)
        if item.covariance is not None or config.covariance is not None:
            for key in ("statistical", "sources"):  # the matrix stands for them
                reading.pop(key, None)
        read = read_map(
            item.file, name=item.name, kind=item.kind, folder=analysis.folder,
            named=[*config.shared, *item.exclude, *item.source_correlation], variables=names,
            **reading,
        )  # fmt: skip
        if item.covariance is not None and not item.relative and read.varies:
            raise InputError(
                f"{read.source}: its values vary inside a bin, as of a formula, so an absolute "
                f"covariance cannot be divided by them; give '{item.covariance}' relative, with "
                "'relative: true'"
            )
        maps[item.flavour] = read
    return maps


def read_fake_maps(template: TemplateConfig, analysis: Analysis) -> dict[int, LeptonMap]:
    """Read the fake factors of a template by PDG code, without the sources that it excludes.

    Raises:
        InputError: A file that is no map, or a source that it does not have.
    """
    maps = {}
    names = [] if template.lepton is None else sorted(template.lepton.variables)
    for item in template.maps:
        read = read_map(
            item.file, name=item.name, kind="fake_factor", folder=analysis.folder,
            named=item.exclude, variables=names, **item.reading,
        )  # fmt: skip
        unknown = [source for source in item.exclude if source not in read.sources]
        if unknown:
            raise InputError(
                f"{read.source}: no source '{unknown[0]}'; it has: "
                f"{', '.join(read.sources) or 'none'}"
            )
        sources = {key: shift for key, shift in read.sources.items() if key not in item.exclude}
        chosen = replace(read, sources=sources)
        maps[item.flavour] = factors_from_rates(chosen) if item.kind == "fake_rate" else chosen
    return maps


def factors_from_rates(rates: LeptonMap) -> LeptonMap:
    """Return fake factors F = f / (1 - f) of fake rates f, errors times dF/df = (1 - f)^-2.

    f is the part of the fakes that pass the loose selection which also pass the tight one, F the
    ratio of those that do to those that do not.

    Raises:
        InputError: A rate of 1 or more, or rates or errors that vary inside the bins.

    Example:
        >>> from ddphf.inputs.maps import make_map
        >>> rates = make_map("muon", "fake_factor", {"pt": [10, 20]}, [0.2], [0.016])
        >>> factors = factors_from_rates(rates)
        >>> round(float(factors.values[0]), 12), round(float(factors.statistical[0]), 12)
        (0.25, 0.025)
    """
    if rates.varies or rates.n_pseudo:
        raise InputError(
            f"{rates.source}: its fake rates or their errors vary inside a bin, as of a formula; "
            "give fake factors f / (1 - f), or errors in the bins of the rates"
        )
    for index in np.flatnonzero(~(rates.values < 1)):
        raise InputError(
            f"{rates.source or rates.name}, {rates.describe(int(index))}: value "
            f"{rates.values[index]:g}, expected a fake rate < 1; merge the bin, or leave 'kind' "
            "out if these are fake factors"
        )
    slope = (1 - rates.values) ** -2.0
    return replace(
        rates,
        values=rates.values / (1 - rates.values),
        statistical=rates.statistical * slope,
        sources={name: shift * slope for name, shift in rates.sources.items()},
    )
