"""The maps that an analysis names: of the lepton identification, and of fake factors."""

from __future__ import annotations

from dataclasses import replace

from ddphf.config.analysis import Analysis, TemplateConfig
from ddphf.config.sections import LeptonIdConfig
from ddphf.exceptions import InputError
from ddphf.inputs.map_files import read_map
from ddphf.inputs.maps import LeptonMap

__all__ = ["read_fake_maps", "read_maps"]


def read_maps(config: LeptonIdConfig, analysis: Analysis) -> dict[int, LeptonMap]:
    """Read the maps of ``lepton_id`` by PDG code, in the order of the file."""
    return {
        item.flavour: read_map(
            item.file, name=item.name, kind=item.kind, folder=analysis.folder, **item.reading
        )
        for item in config.maps
    }


def read_fake_maps(template: TemplateConfig, analysis: Analysis) -> dict[int, LeptonMap]:
    """Read the fake factors of a template by PDG code, without the sources that it excludes.

    Raises:
        InputError: A file that is no map, or a source that it does not have.
    """
    maps = {}
    for item in template.maps:
        read = read_map(
            item.file, name=item.name, kind="fake_factor", folder=analysis.folder, **item.reading
        )
        unknown = [source for source in item.exclude if source not in read.sources]
        if unknown:
            raise InputError(
                f"{read.source}: no source '{unknown[0]}'; it has: "
                f"{', '.join(read.sources) or 'none'}"
            )
        sources = {key: shift for key, shift in read.sources.items() if key not in item.exclude}
        maps[item.flavour] = replace(read, sources=sources)
    return maps
