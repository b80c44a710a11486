"""A workspace as HistFactory XML with its histograms, by pyhf, mended where pyhf leaves gaps."""

from __future__ import annotations

import copy
import tempfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddphf.exceptions import ModelError
from ddphf.interchange.names import Names
from ddphf.interchange.terms import Component, read_components
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.provenance import read_mark
from ddphf.text import list_names
from ddphf.workspace_json import ChannelDocument, Workspace

__all__ = ["XmlFiles", "write_xml"]

PER_BIN = ("shapefactor", "shapesys", "staterror")

OTHERS = ("alpha_", "gamma_", "Lumi")
"""How HistFactory calls the parameters of other modifiers; a NormFactor's is called as itself."""


LONGEST_FILE = 255
"""Characters of a file's name: each channel is a file."""


@dataclass(frozen=True)
class XmlFiles:
    """The files of one model.

    Attributes:
        files: Contents by name; the top file is first.
        workspace: What they hold, under the names that they have.
        notes: What they do not hold.
    """

    files: dict[str, bytes]
    workspace: Workspace
    notes: tuple[str, ...]


def write_xml(references: Sequence[ReferenceModel], stem: str) -> XmlFiles:
    """Return the HistFactory XML of a workspace.

    pyhf writes channels and histograms; here files are named relative to each other, errors of the
    simulation are declared Gaussian without a threshold (ROOT's default is Poisson above 5 %),
    the relative error of the luminosity is one, and what measurements hold is set in each.

    Args:
        references: All measurements of one workspace, the main one first.
        stem: Beginning of the names of the files.

    Raises:
        ModelError: The workspace says what HistFactory XML cannot.

    Source: HistFactory, CERN-OPEN-2012-016; pyhf.writexml.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> list(write_xml([one_bin()], "model").files)
        ['model.xml', 'model_singlechannel.xml', 'model.root', 'model.dtd']
    """
    kept, notes = _measurements(references)
    names = Names()
    workspace = _renamed(references[0].workspace, kept, names)
    if renamed := [f"{original} -> {name}" for name, original in names.changed.items()]:
        notes.append(f"renamed: {list_names(renamed)}")
    notes += _lost(kept)
    with tempfile.TemporaryDirectory() as folder:
        files = _Writer(workspace, kept, names, stem, Path(folder)).files()
    return XmlFiles(files, workspace, tuple(notes))


def _measurements(
    references: Sequence[ReferenceModel],
) -> tuple[list[ReferenceModel], list[str]]:
    """Return the measurements that can be written, and say which cannot."""
    kept: list[ReferenceModel] = []
    notes: list[str] = []
    for reference in references:
        why = _unwritable(reference)
        if why is None:
            kept.append(reference)
        elif reference is references[0]:
            raise ModelError(f"measurement '{reference.measurement}': {why}")
        else:
            notes.append(f"measurement '{reference.measurement}' is left out: {why}")
    return kept, notes


def _unwritable(reference: ReferenceModel) -> str | None:
    """Say what of a measurement HistFactory XML has no place for."""
    components = read_components(reference)
    by_name: dict[str, list[Component]] = {}
    for component in components:
        by_name.setdefault(component.modifier, []).append(component)
    for name, own in by_name.items():
        held = [component.fixed for component in own]
        if own[0].kind in PER_BIN and all(held) and len(held) > 0 and _is_set(reference, name):
            return f"'{name}' ({own[0].kind}) is held, which XML can say of no parameter per bin"
        term = own[0].constraint
        if own[0].kind == "lumi" and term is not None and not term.centre > 0:
            return f"its luminosity is {term.centre:g}, and XML has a relative error of it"
        if _moved(reference, name):
            return f"'{name}' has auxdata or sigmas of its own, which XML has for Lumi alone"
    if reference.parameters.poi is None:
        return "it has no POI, which XML must name"
    return None


def _is_set(reference: ReferenceModel, name: str) -> bool:
    return any(p["name"] == name and p.get("fixed", False) for p in _settings(reference))


def _moved(reference: ReferenceModel, name: str) -> bool:
    stated = any(
        p["name"] == name and ("auxdata" in p or "sigmas" in p) for p in _settings(reference)
    )
    return stated and name != "lumi"


def _settings(reference: ReferenceModel) -> list[dict[str, object]]:
    for measurement in reference.workspace["measurements"]:
        if measurement["name"] == reference.measurement:
            return [dict(p) for p in measurement["config"]["parameters"]]
    return []


def _lost(kept: Sequence[ReferenceModel]) -> list[str]:
    """Say which bounds, starting values and marks a reader does not find."""
    bounds = {(c.modifier, c.bin): (c.low, c.high) for c in read_components(kept[0])}
    lost: set[str] = set()
    for reference in kept:
        stated = {str(p["name"]) for p in _settings(reference) if "bounds" in p or "inits" in p}
        for c in read_components(reference):
            if c.kind == "normfactor":  # XML has the bounds of the first measurement
                missing = (c.low, c.high) != bounds[c.modifier, c.bin]
            else:
                missing = c.modifier in stated
            if missing:
                lost.add(c.modifier)
    notes = [f"bounds and starting values are the reader's, of {list_names(sorted(lost))}"]
    out = notes if lost else []
    if read_mark({"measurements": kept[0].workspace["measurements"]}) is not None:
        out.append(
            "that the signal is a chosen window is a comment of the XML, which no tool reads"
        )
    return out


def _renamed(workspace: Workspace, kept: Sequence[ReferenceModel], names: Names) -> Workspace:
    """Return the workspace of the measurements that are kept, with names that are file names."""
    out = copy.deepcopy(workspace)
    for channel in out["channels"]:
        _check_channel(channel)
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":  # XML has no name for it
                    modifier["name"] = f"staterror_{names.make(channel['name'], 'channel')}"
                elif modifier["type"] != "lumi":
                    avoid = OTHERS if modifier["type"] == "normfactor" else ()
                    modifier["name"] = names.make(modifier["name"], "modifier", avoid)
            sample["name"] = names.make(sample["name"], "sample")
        channel["name"] = names.make(channel["name"], "channel")
    for observation in out["observations"]:
        observation["name"] = names.make(observation["name"], "channel")
    known = {m["name"] for c in workspace["channels"] for s in c["samples"] for m in s["modifiers"]}
    wanted = {str(reference.measurement) for reference in kept}
    out["measurements"] = [m for m in out["measurements"] if m["name"] in wanted]
    out["measurements"].sort(key=lambda m: m["name"] != kept[0].measurement)
    stats = {
        m["name"]
        for c in workspace["channels"] for s in c["samples"] for m in s["modifiers"]
        if m["type"] == "staterror"
    }  # fmt: skip
    for measurement in out["measurements"]:
        config = measurement["config"]
        measurement["name"] = names.make(measurement["name"], "measurement")
        config["poi"] = names.make(config["poi"], "modifier")
        config["parameters"] = [
            {**p, "name": p["name"] if p["name"] == "lumi" else names.make(p["name"], "modifier")}
            for p in config["parameters"]
            if p["name"] in known - stats
        ]
    return out


def _check_channel(channel: ChannelDocument) -> None:
    found: set[str] = set()
    for sample in channel["samples"]:
        where = f"channel '{channel['name']}', sample '{sample['name']}'"
        for modifier in sample["modifiers"]:
            if modifier["type"] != "staterror":
                continue
            found.add(modifier["name"])
            if any(
                error > 0 and content <= 0
                for error, content in zip(modifier["data"], sample["data"], strict=True)
            ):
                raise ModelError(
                    f"{where}: staterror '{modifier['name']}' has an error of a yield that is not "
                    "positive; XML has relative errors, so give the error to another sample"
                )
    if len(found) > 1:
        raise ModelError(
            f"channel '{channel['name']}': the staterrors {list_names(sorted(found))}; XML has "
            "one per channel"
        )


class _Writer:
    def __init__(
        self, workspace: Workspace, references: Sequence[ReferenceModel], names: Names, stem: str,
        folder: Path,
    ) -> None:  # fmt: skip
        self._workspace, self._references = workspace, references
        self._names, self._stem, self._folder = names, stem, folder

    def files(self) -> dict[str, bytes]:
        from pyhf import schema, writexml

        for channel in self._workspace["channels"]:
            if len(name := f"{self._stem}_{channel['name']}.xml") > LONGEST_FILE:
                raise ModelError(
                    f"channel '{channel['name']:.40}...' would be a file whose name has "
                    f"{len(name)} characters, at most {LONGEST_FILE}; rename it"
                )
        spec, data = self._folder / "spec", self._folder / "data"
        for folder in (spec, data):
            folder.mkdir()
        with warnings.catch_warnings():  # pyhf 0.7.6 with Python 3.12 and later
            warnings.filterwarnings("ignore", "Testing an element's truth", DeprecationWarning)
            try:
                text = writexml.writexml(self._workspace, str(spec), str(data), self._stem)
            except KeyError as error:  # pyhf joins names by underscores, which they hold too
                raise ModelError(
                    "two histograms of XML would have one name, by channel, sample and modifier "
                    f"({error.args[0]}); rename one of the samples"
                ) from None
        top = ET.fromstring(text)
        channels = {
            f"{self._stem}_{channel['name']}.xml": self._channel(
                spec / f"{self._stem}_{channel['name']}.xml"
            )
            for channel in self._workspace["channels"]
        }
        top.attrib["OutputFilePrefix"] = self._stem
        measurements = self._references[0].workspace["measurements"]
        if (mark := read_mark({"measurements": measurements})) is not None:
            top.insert(0, ET.Comment(mark.name))
        for entry, name in zip(top.findall("Input"), channels, strict=True):
            entry.text = name
        for entry, reference in zip(top.findall("Measurement"), self._references, strict=True):
            self._measurement(entry, reference)
        return {
            f"{self._stem}.xml": self._text(top, "Combination"),
            **channels,
            f"{self._stem}.root": (data / "data.root").read_bytes(),
            f"{self._stem}.dtd": (schema.path / "HistFactorySchema.dtd").read_bytes(),
        }

    def _text(self, element: ET.Element, root: str) -> bytes:
        ET.indent(element)
        head = f"<!DOCTYPE {root} SYSTEM '{self._stem}.dtd'>\n\n"
        return (head + ET.tostring(element, encoding="unicode") + "\n").encode()

    def _channel(self, path: Path) -> bytes:
        channel = ET.fromstring(path.read_text().partition("\n\n")[2])
        for element in channel.iter():
            if "InputFile" in element.attrib:
                element.attrib["InputFile"] = f"{self._stem}.root"
        if channel.find("Sample/StatError") is not None:
            config = ET.Element(
                "StatErrorConfig", RelErrorThreshold="0.0", ConstraintType="Gaussian"
            )
            channel.insert(1, config)
        return self._text(channel, "Channel")

    def _measurement(self, element: ET.Element, reference: ReferenceModel) -> None:
        """Set luminosity, constants and starting values."""
        for old in element.findall("ParamSetting"):
            element.remove(old)
        shared = {c.modifier: c.init for c in read_components(self._references[0])}
        for component in read_components(reference):
            term = component.constraint
            if component.kind == "lumi" and term is not None:
                element.attrib["Lumi"] = repr(term.centre)
                element.attrib["LumiRelErr"] = repr(term.width / term.centre)
            if component.bin is not None:
                continue
            first = component.kind != "normfactor" or component.init == shared[component.modifier]
            if not component.fixed and first:
                continue
            setting = ET.SubElement(
                element, "ParamSetting", Const=str(component.fixed), Val=repr(component.init)
            )
            name = self._names.make(component.modifier, "modifier")
            prefix = "alpha_" if component.kind in ("normsys", "histosys") else ""
            setting.text = "Lumi" if component.kind == "lumi" else f"{prefix}{name}"
