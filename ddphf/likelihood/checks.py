"""What a pyhf workspace must be before anything is fitted to it.

pyhf accepts many of these silently (duplicate names are merged, NaN passes, a shapefactor over
channels of unequal length reads parameter 0): here each is refused with its place and a remedy.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.guards import check_model
from ddphf.likelihood.schemas import check_staterrors, warn_of_dropped
from ddphf.text import did_you_mean
from ddphf.workspace_json import (
    ChannelDocument,
    MeasurementDocument,
    SampleDocument,
    Workspace,
)

__all__ = [
    "LARGEST_COUNT", "Content", "check_measurement", "check_workspace", "find_one_sided",
    "select_measurement",
]  # fmt: skip


LARGEST_COUNT = 1e18
"""Beyond it a count has no neighbours in double precision, and none can be drawn."""

CONSTRAINT = {  # modifiers that may share a name: those with the same constraint term
    "normfactor": "free",
    "shapefactor": "free per bin",
    "shapesys": "Poisson per bin",
    "staterror": "Gaussian per bin",
    "lumi": "luminosity",
    "normsys": "Gaussian",
    "histosys": "Gaussian",
}

PER_BIN = ("shapefactor", "shapesys", "staterror")


def select_measurement(workspace: Any, name: str | None = None) -> MeasurementDocument:
    """Return the measurement called ``name``, the first one by default.

    Raises:
        ModelError: The workspace, which passed the schema, has no such measurement.
    """
    measurements: list[MeasurementDocument] = workspace["measurements"]
    _refuse_duplicates((m["name"] for m in measurements), "measurement", "workspace")
    if name is None:
        return measurements[0]
    for measurement in measurements:
        if measurement["name"] == name:
            return measurement
    names = [m["name"] for m in measurements]
    hint = did_you_mean(name, names)
    raise ModelError(
        f"measurement '{name}' is not in the workspace; {hint}it has: {', '.join(names)}"
    )


class Content(NamedTuple):
    """What the measurements of a checked workspace share.

    Attributes:
        warnings: Sentences about what is unusual but legal, such as a negative yield of one sample.
        sizes: Number of parameters by name of their modifiers.
        kinds: Type of these modifiers.
    """

    warnings: tuple[str, ...]
    sizes: dict[str, int]
    kinds: dict[str, str]


def check_workspace(workspace: Workspace) -> Content:
    """Refuse a workspace whose fit would be meaningless, whatever the measurement.

    Args:
        workspace: A pyhf workspace that passed :func:`~ddphf.likelihood.schemas.check_schema`.

    Raises:
        ModelError: Names channel, sample, modifier and bin, and what to do.
        InputError: The model is too large.
    """
    channels: list[ChannelDocument] = workspace["channels"]
    _refuse_duplicates((c["name"] for c in channels), "channel", "workspace")
    _refuse_duplicates((o["name"] for o in workspace["observations"]), "observation", "workspace")
    observed = {o["name"]: o["data"] for o in workspace["observations"]}
    warnings: list[str] = []
    for channel in channels:
        warnings += _check_channel(channel, observed)
    sizes, kinds = _check_shared(channels)
    check_staterrors(channels)
    check_model(channels)
    return Content(tuple(warnings), sizes, kinds)


def check_measurement(
    workspace: Workspace, measurement: MeasurementDocument, content: Content
) -> list[str]:
    """Refuse a measurement of a checked workspace that cannot be fitted; return warnings of both.

    Raises:
        ModelError: Names parameter and component, and what to do.
    """
    said = list(_check_measurement(measurement, content.sizes, content.kinds))
    _check_constraints(measurement, content.kinds)
    lost = warn_of_dropped(workspace, measurement, content.kinds)
    return [*content.warnings, *said, *lost]


def _refuse_duplicates(names: Iterable[str], kind: str, where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ModelError(
                f"{where}: {kind} '{name}' appears {count} times; pyhf would silently merge or "
                "drop them, so rename or remove the others"
            )


def _check_channel(channel: ChannelDocument, observed: dict[str, list[float]]) -> Iterator[str]:
    name = channel["name"]
    where = f"channel '{name}'"
    if name not in observed:
        raise ModelError(f"{where}: no observation with this name; add one, or drop the channel")
    n_bins = len(channel["samples"][0]["data"])
    if len(observed[name]) != n_bins:
        raise ModelError(
            f"{where}: {len(observed[name])} observed bins, but its samples have {n_bins}; "
            "give one count per bin"
        )
    for index, count in enumerate(observed[name]):
        if count < 0:
            raise ModelError(
                f"{where}, bin {index}: observed {count}, expected a count >= 0; give "
                "the raw counts, nothing subtracted"
            )
    _refuse_duplicates((s["name"] for s in channel["samples"]), "sample", where)
    for sample in channel["samples"]:
        yield from _check_sample(sample, n_bins, where)


def _check_sample(sample: SampleDocument, n_bins: int, where: str) -> Iterator[str]:
    where = f"{where}, sample '{sample['name']}'"
    if len(sample["data"]) != n_bins:
        raise ModelError(
            f"{where}: {len(sample['data'])} bins, expected {n_bins} as its first sample has"
        )
    if negative := [i for i, value in enumerate(sample["data"]) if value < 0]:
        yield (
            f"{where}: negative yield in bin{'s' if len(negative) > 1 else ''} "
            + ", ".join(map(str, negative[:8]))
            + (", ..." if len(negative) > 8 else "")
        )
    for (kind, name), count in Counter((m["type"], m["name"]) for m in sample["modifiers"]).items():
        if count > 1:
            raise ModelError(
                f"{where}: modifier '{name}' ({kind}) appears {count} times; pyhf would drop all "
                "but one, so rename or merge them"
            )
    for modifier in sample["modifiers"]:
        place = f"{where}, modifier '{modifier['name']}' ({modifier['type']})"
        if modifier["type"] == "staterror" and "/" in modifier["name"]:
            # pyhf 0.7.6 keeps it as "staterror/NAME" and takes what is between two slashes.
            raise ModelError(
                f"{place}: pyhf cannot read a staterror whose name holds a '/'; rename it, as "
                "pyhf.Workspace(spec).rename(modifiers={old: new}) does"
            )
        if modifier["type"] == "histosys":
            shapes = modifier["data"]
            arrays = {"hi_data": shapes["hi_data"], "lo_data": shapes["lo_data"]}
        elif modifier["type"] == "shapesys" or modifier["type"] == "staterror":
            arrays = {"data": modifier["data"]}
        else:
            arrays = {}
        if modifier["type"] == "normsys":
            high, low = modifier["data"]["hi"], modifier["data"]["lo"]
            if min(high, low) <= 0:
                raise ModelError(
                    f"{place}: hi {high}, lo {low}; both must be > 0 (a factor of the yield, "
                    "extrapolated exponentially)"
                )
        for key, values in arrays.items():
            if len(values) != n_bins:
                raise ModelError(f"{place}: {key} has {len(values)} bins, expected {n_bins}")
            if modifier["type"] != "histosys" and min(values) < 0:
                bin_ = int(np.argmin(values))
                raise ModelError(f"{place}, bin {bin_}: uncertainty {values[bin_]}, expected >= 0")
        if modifier["type"] == "shapesys":
            _check_auxiliary_counts(sample["data"], modifier["data"], place)


def _check_auxiliary_counts(yields: list[float], errors: list[float], where: str) -> None:
    """Refuse a shapesys whose auxiliary count, (yield / error)^2, no double can count or draw."""
    for index, (value, error) in enumerate(zip(yields, errors, strict=True)):
        if error > 0 and value > LARGEST_COUNT**0.5 * error:
            raise ModelError(
                f"{where}, bin {index}: uncertainty {error:g} of a yield of {value:g} stands for "
                f"more than {LARGEST_COUNT:g} auxiliary events; set it to 0 if it is exact"
            )


def _check_shared(channels: list[ChannelDocument]) -> tuple[dict[str, int], dict[str, str]]:
    """Return number of parameters and type by modifier name, refusing inconsistent sharing."""
    sizes: dict[str, int] = {}
    kinds: dict[str, str] = {}
    first: dict[str, str] = {}
    stat_channels: dict[str, set[str]] = defaultdict(set)
    for channel in channels:
        n_bins = len(channel["samples"][0]["data"])
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                name, kind = modifier["name"], modifier["type"]
                size = n_bins if kind in PER_BIN else 1
                where = f"channel '{channel['name']}', sample '{sample['name']}'"
                if name in kinds and CONSTRAINT[kinds[name]] != CONSTRAINT[kind]:
                    raise ModelError(
                        f"{where}: {kind} '{name}' has the name of the {kinds[name]} of "
                        f"{first[name]}; one parameter cannot be both, so rename one"
                    )
                kinds[name] = kind
                if kind == "staterror":  # pyhf: one parameter per bin of every channel with it
                    if channel["name"] not in stat_channels[name]:
                        stat_channels[name].add(channel["name"])
                        sizes[name] = sizes.get(name, 0) + n_bins
                    first.setdefault(name, where)
                    continue
                if name in sizes and sizes[name] != size:
                    raise ModelError(
                        f"{kind} '{name}' is shared by {first[name]} ({sizes[name]} parameters) "
                        f"and {where} ({size}); channels that share it need the same number of bins"
                    )
                if kind == "shapesys" and name in first:
                    raise ModelError(
                        f"{where}: shapesys '{name}' already belongs to {first[name]}; pyhf "
                        "cannot share it, so give it a name of its own"
                    )
                sizes.setdefault(name, size)
                first.setdefault(name, where)
    return sizes, kinds


def _check_measurement(
    measurement: MeasurementDocument, sizes: dict[str, int], kinds: dict[str, str]
) -> Iterator[str]:
    where = f"measurement '{measurement['name']}'"
    poi = measurement["config"]["poi"]
    if poi and poi not in sizes:
        yield _judge_missing_poi(measurement, kinds)
        poi = ""
    if poi and sizes[poi] != 1:
        raise ModelError(
            f"{where}: the POI '{poi}' has {sizes[poi]} components, expected one; a normfactor "
            "has one"
        )
    parameters = measurement["config"]["parameters"]
    _refuse_duplicates((p["name"] for p in parameters), "parameter", where)
    for parameter in (p for p in parameters if p["name"] in sizes):
        name = parameter["name"]
        for key in ("inits", "bounds", "auxdata", "sigmas"):
            if key in parameter and len(parameter[key]) != sizes[name]:
                raise ModelError(
                    f"{where}, parameter '{name}': {len(parameter[key])} {key}, expected "
                    f"{sizes[name]}, one per component"
                )
        for index, bound in enumerate(parameter.get("bounds", [])):
            if len(bound) != 2 or bound[0] >= bound[1]:
                raise ModelError(
                    f"{where}, parameter '{name}', component {index}: bounds {bound}, expected "
                    "[lower, upper] with lower < upper"
                )
            start = parameter["inits"][index] if "inits" in parameter else None
            if start is not None and not bound[0] <= start <= bound[1]:
                raise ModelError(
                    f"{where}, parameter '{name}', component {index}: starting value {start} is "
                    f"outside its bounds {bound}"
                )


def _judge_missing_poi(measurement: MeasurementDocument, kinds: dict[str, str]) -> str:
    """Warn of a background-only workspace, whose POI comes with the patch of a signal.

    A slip of the pen is refused: a name close to a normfactor's, unless the measurement has
    settings for it. pyhf refuses all of them until the patch is there.
    """
    where, poi = f"measurement '{measurement['name']}'", measurement["config"]["poi"]
    factors = sorted(name for name, kind in kinds.items() if kind == "normfactor")
    near = difflib.get_close_matches(poi, factors, n=1)
    stated = any(p["name"] == poi for p in measurement["config"]["parameters"])
    if near and not stated:
        raise ModelError(
            f"{where}: the POI '{poi}' is not a parameter of any modifier, did you mean "
            f"'{near[0]}'? Of a background-only workspace name it among the measurement's "
            "parameters, or give an empty POI to fit without"
        )
    choice = f"; the normfactors here are {', '.join(factors[:5])}" if factors else ""
    return (
        f"{where}: the POI '{poi}' is in no sample, so this is a background-only workspace, "
        "without a null; its signal comes with a patch (that of its authors, or one that 'ddphf "
        f"patch' makes of yours){choice}"
    )


def _check_constraints(measurement: MeasurementDocument, kinds: dict[str, str]) -> None:
    """Refuse settings of constraint terms on which pyhf stops with a TypeError or a NaN."""
    where = f"measurement '{measurement['name']}'"
    settings = {p["name"]: p for p in measurement["config"]["parameters"]}
    for name, kind in kinds.items():
        given: Mapping[str, Any] = settings.get(name, {})
        place = f"{where}, parameter '{name}' ({kind})"
        if kind == "lumi":
            for key in ("inits", "bounds", "auxdata", "sigmas"):
                if key not in given:
                    raise ModelError(
                        f"{place}: '{key}' is missing; a lumi needs inits, bounds, auxdata and "
                        "sigmas"
                    )
        for key, kinds_with in (
            ("sigmas", ("lumi", "staterror")),
            ("auxdata", ("lumi", "staterror", "shapesys", "normsys", "histosys")),
        ):
            if key in given and kind not in kinds_with:
                raise ModelError(f"{place}: has no '{key}'; remove them from the measurement")
        if min(given.get("sigmas", [1.0])) <= 0:
            raise ModelError(
                f"{place}: sigmas {given['sigmas']}, expected numbers > 0; fix the "
                "parameter instead of giving it no error"
            )


def find_one_sided(workspace: Workspace) -> set[str]:
    """Return the parameters that move a sample's bin the same way at +1 and -1 sigma.

    That is legal, but the likelihood may have a minimum on either side.
    """
    seen = set()
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            nominal = np.array(sample["data"], dtype=float)
            for name, (up, down) in _variations(sample, nominal).items():
                # A fifth of the bin's Poisson error: below it no minimum can hide.
                size = np.minimum(np.abs(up), np.abs(down))
                if np.any((up * down > 0) & (size > 0.2 * np.sqrt(np.maximum(nominal, 1.0)))):
                    seen.add(name)
    return seen


def _variations(sample: SampleDocument, nominal: Array) -> dict[str, tuple[Array, Array]]:
    """Return the change at +1 and -1 sigma by parameter; one name may be histosys and normsys."""
    shapes: dict[str, list[Array]] = {}
    norms: dict[str, list[float]] = {}
    for modifier in sample["modifiers"]:
        name = modifier["name"]
        if modifier["type"] == "histosys":
            both = modifier["data"]["hi_data"], modifier["data"]["lo_data"]
            shapes[name] = [np.array(side, dtype=float) for side in both]
        elif modifier["type"] == "normsys":
            norms[name] = [modifier["data"]["hi"], modifier["data"]["lo"]]
    out = {}
    for name in {**shapes, **norms}:
        yields, factors = shapes.get(name, [nominal, nominal]), norms.get(name, [1.0, 1.0])
        out[name] = (yields[0] * factors[0] - nominal, yields[1] * factors[1] - nominal)
    return out
