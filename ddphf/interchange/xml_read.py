"""HistFactory XML by anybody as a pyhf workspace: read by pyhf, after its files were looked at.

XML can name other files, define entities that grow without end, and ask for histograms of any
size; pyhf takes it as it is, and passes over what it does not know.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from xml.parsers import expat

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.files import read_input
from ddphf.guards import check_decoded, within
from ddphf.inputs.root_file import open_root
from ddphf.interchange.xml_parse import parse_xml
from ddphf.text import clean_line, list_names

__all__ = ["XmlModel", "read_xml"]

LARGEST_XML = 10_000_000
"""Bytes of one XML file."""

MOST_XML = 200_000
"""Elements of all XML files of a model together."""

KNOWN = {
    "Combination": {"Input", "Measurement"},
    "Measurement": {"POI", "ParamSetting"},
    "Channel": {"Data", "StatErrorConfig", "Sample"},
    "Sample": {
        "StatError", "HistoSys", "OverallSys", "ShapeSys", "NormFactor", "ShapeFactor",
    },
}  # fmt: skip
"""Elements that pyhf understands, by where they stand."""

FILES = ("InputFile", "HistoFile", "HistoFileHigh", "HistoFileLow")
"""Attributes that name a ROOT file."""

SWITCHES = ("Activate", "Const", "NormalizeByTheory")
"""Attributes that say yes or no."""

PATHS = {
    "HistoSys": ("HistoPathHigh", "HistoPathLow"), "ShapeSys": ("HistoPath",),
    "StatError": ("HistoPath",),
}  # fmt: skip
"""Attributes that say where a histogram is, which ROOT takes from the Channel by default."""

STAT_DEFAULT = "Poisson"
"""ROOT's constraint of a StatError where the channel does not say."""


class XmlModel(NamedTuple):
    """A model of HistFactory XML.

    Attributes:
        workspace: As pyhf reads it.
        warnings: What pyhf reads otherwise than ROOT.
        files: Every file that was read beside the top one.
    """

    workspace: Spec
    warnings: list[str]
    files: list[Path]


def read_xml(path: str | Path, basedir: str | Path | None = None) -> XmlModel:
    """Read HistFactory XML.

    Args:
        path: The top file.
        basedir: What the paths in it are relative to, and the only folder that is read; the
            folder of the top file by default.

    Raises:
        InputError: Damaged, too large, a path that leads out of the folder, an entity, or an
            element that pyhf passes over.
    """
    base = Path(path).parent if basedir is None else Path(basedir)
    reader = _Reader(base)
    reader.look_at(Path(path))
    workspace, said = parse_xml(Path(path), base)
    return XmlModel(workspace, [*reader.warnings, *said], reader.files)


class _Reader:
    def __init__(self, base: Path) -> None:
        self._base, self._elements = base, 0
        self.warnings: list[str] = []
        self.files: list[Path] = []

    def look_at(self, top: Path) -> None:
        """Look at every file that the top one names.

        Raises:
            InputError: One of them is refused.
        """
        combination = self._read(top, "Combination", str(top))
        self._look_at_elements(combination, str(top))
        for measurement in combination.findall("Measurement"):
            self._look_at_measurement(measurement, str(top))
        inputs = [str(entry.text or "") for entry in combination.findall("Input")]
        if not inputs:
            raise InputError(f"{top}: no Input; is this the top file of HistFactory XML?")
        if len(set(inputs)) < len(inputs):
            raise InputError(f"{top}: the same Input twice")
        for name in inputs:
            if name != name.strip():  # pyhf opens the name with its blanks, another file
                raise InputError(f"{top}: Input {name!r:.80} has blanks around it; remove them")
            self._look_at_channel(self._inside(name, str(top)), name)
            self.files.append(self._base / name)

    def _inside(self, name: str, where: str) -> Path:
        """Return the path of a file, which is in the folder."""
        base = self._base.resolve()
        try:
            found = (self._base / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{where}: names the file '{name}' ({error})") from None
        if not found.is_relative_to(base):
            raise InputError(
                f"{where}: names '{name}', outside of the folder '{self._base}'; give the folder "
                "that paths are relative to by --basedir"
            )
        return found

    def _read(self, path: Path, root: str, name: str) -> ET.Element:
        raw = read_input(path, name, LARGEST_XML)
        self._count(raw, name)
        try:
            element = ET.fromstring(raw)
        except ET.ParseError as error:
            raise InputError(f"{name}: cannot be read as XML ({error})") from None
        if element.tag != root:
            raise InputError(f"{name}: is a {element.tag!r:.40}, expected a {root}")
        return element

    def _count(self, raw: bytes, name: str) -> None:
        """Refuse entities and more elements than are read, before a tree is built."""
        parser = expat.ParserCreate()

        def refuse(*_: Any) -> NoReturn:
            raise InputError(
                f"{name}: defines entities, which HistFactory XML has not; remove its DOCTYPE"
            )

        def count(*_: Any) -> None:
            self._elements += 1
            within(name, "elements", self._elements, MOST_XML)

        parser.EntityDeclHandler = refuse
        parser.StartElementHandler = count
        try:
            parser.Parse(raw, True)
        except expat.ExpatError as error:
            raise InputError(f"{name}: cannot be read as XML ({error})") from None

    def _look_at_elements(self, root: ET.Element, name: str) -> None:
        """Refuse what pyhf would pass over, or take for something else."""
        for parent in root.iter():
            for child in parent:
                if child.tag not in KNOWN.get(parent.tag, set()):
                    raise InputError(
                        f"{name}: the element '{child.tag}' in '{parent.tag}', which pyhf would "
                        "pass over; remove it"
                    )
            for key in SWITCHES:
                if parent.attrib.get(key, "True") not in ("True", "False"):
                    raise InputError(
                        f"{name}: {key}='{parent.attrib[key]}' in '{parent.tag}'; write True or "
                        "False, pyhf takes anything else for False"
                    )

    def _look_at_measurement(self, measurement: ET.Element, name: str) -> None:
        """Refuse what pyhf and ROOT settle otherwise, and say which POI is taken."""
        where = f"{name}: measurement '{measurement.attrib.get('Name')}'"
        stated = [str(entry.text or "").strip() for entry in measurement.findall("POI")]
        pois = list(dict.fromkeys(stated))
        if len(pois) > 1:
            self.warnings.append(
                f"{where}: pyhf has one parameter of interest, '{pois[0]}'; the others are free "
                f"parameters: {list_names(pois[1:])}"
            )
        settings = [str(entry.text or "").split() for entry in measurement.findall("ParamSetting")]
        for parameter, count in Counter(p for names in settings for p in names).items():
            if count > 1:
                raise InputError(
                    f"{where}: '{parameter}' is set twice, pyhf takes the last and ROOT both; "
                    "remove one"
                )

    def _look_at_channel(self, path: Path, name: str) -> None:
        channel = self._read(path, "Channel", name)
        self._look_at_elements(channel, name)
        for element in channel.iter("ShapeSys"):
            if element.attrib.get("ConstraintType", "Gaussian") != "Poisson":
                raise InputError(
                    f"{name}: ShapeSys '{element.attrib.get('Name')}' is Gaussian (ROOT's "
                    "default); pyhf's shapesys is Poisson"
                )
        if channel.find("Sample/StatError") is not None:
            self._look_at_errors(channel.find("StatErrorConfig"), name)
        for sample in channel.iter("Sample"):
            self._look_at_places(sample, channel, name)
        if held := [
            str(element.attrib.get("Name"))
            for element in channel.iter("NormFactor") if element.attrib.get("Const") == "True"
        ]:  # fmt: skip
            self.warnings.append(
                f"{name}: Const of a NormFactor, which ROOT ignores, holds {list_names(held)}"
            )
        silent = [
            str(sample.attrib.get("Name"))
            for sample in channel.iter("Sample")
            if "NormalizeByTheory" not in sample.attrib
        ]
        if silent:
            self.warnings.append(
                f"{name}: whether the luminosity scales them is not said of {list_names(silent)}; "
                "pyhf takes no"
            )
        files = {
            element.attrib[key]: self._inside(element.attrib[key], name)
            for element in channel.iter()
            for key in FILES
            if element.attrib.get(key)  # empty: that of the channel, or none
        }
        for given, file in sorted(files.items()):
            _check_root(file, given)
            self.files.append(self._base / given)

    def _look_at_places(self, sample: ET.Element, channel: ET.Element, name: str) -> None:
        """Refuse a modifier whose histogram ROOT takes from another place than pyhf."""
        file = sample.attrib.get("InputFile", channel.attrib.get("InputFile", ""))
        path = channel.attrib.get("HistoPath", "")
        for element in sample:
            if element.tag == "StatError" and not element.attrib.get("HistoName"):
                continue
            where = f"{name}: {element.tag} of sample '{sample.attrib.get('Name')}'"
            missing = [key for key in PATHS.get(element.tag, ()) if key not in element.attrib]
            if path and missing:
                raise InputError(
                    f"{where}: no {missing[0]}, where ROOT takes '{path}' of the Channel and pyhf "
                    "the top of the file; write it"
                )
            passed = element.attrib.get("InputFile") or file
            if element.tag in ("HistoSys", "StatError") and passed != file:
                raise InputError(
                    f"{where}: InputFile='{passed}', which pyhf would pass over; put its "
                    "histograms into the file of the sample"
                )

    def _look_at_errors(self, config: ET.Element | None, name: str) -> None:
        attributes = {} if config is None else config.attrib
        kind = attributes.get("ConstraintType", STAT_DEFAULT)
        if kind.lower() not in ("gaussian", "gauss"):
            self.warnings.append(
                f"{name}: StatError with {kind} constraints in ROOT; pyhf's are Gaussian"
            )
        threshold = attributes.get("RelErrorThreshold", "0.05")
        if threshold not in ("0", "0.", "0.0"):
            self.warnings.append(
                f"{name}: ROOT holds bins of relative errors below {threshold}; pyhf takes all"
            )


def _check_root(path: Path, name: str) -> None:
    """Refuse a ROOT file whose objects unpack to more than is read: any may be named."""
    try:
        size = path.stat().st_size
        with open_root(path) as file:
            total = 0
            for key in file.keys():  # noqa: SIM118 - a directory of uproot, with its cycles
                total += file.key(key).data_uncompressed_bytes
                check_decoded(total, size, name)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except Exception as error:  # uproot raises many kinds on damaged files
        what = clean_line(f"{type(error).__name__}: {error}")
        raise InputError(f"{name}: cannot be read as ROOT ({what:.200})") from None
