"""Records of ``ddphf learn`` in a bundle: their events beside them, redone at levels 5 and 6."""

from __future__ import annotations

from collections.abc import Iterator

from ddphf.arrays import Spec
from ddphf.exceptions import DdphfError
from ddphf.learning.evidence import (
    again,
    compare,
    pack_events,
    quick_again,
    unpack_events,
)
from ddphf.learning.trained import TRAINED
from ddphf.progress import Count, Stage
from ddphf.publish.contents import Bundle
from ddphf.publish.markdown import code, number
from ddphf.results.learn import events_file
from ddphf.results.published import make_environment
from ddphf.results.verified import FAIL, PASS, Check

__all__ = ["attach_events", "check_learned", "check_trained", "inspect_events", "lines_of_learned"]


def attach_events(record: Spec, path: str) -> bytes:
    """Return what goes beside a record into the bundle.

    Args:
        record: Of ``ddphf learn``.
        path: Of its file.
    """
    return pack_events(record, path)


def inspect_events(record: Spec, content: bytes) -> str:
    """Return what is wrong with the events beside a record, empty if nothing is (level 0)."""
    try:
        unpack_events(content, record, events_file(record) or "events")
    except DdphfError as error:
        return str(error)
    return ""


def check_learned(bundle: Bundle, name: str, data: Spec, say: Stage) -> Iterator[Check]:
    """Level 5: what takes no training for each redraw, and no toys."""
    say(f"level 5: {name}")
    file = events_file(data)
    events = unpack_events(bundle.files[file], data, file)
    yield _judge(5, bundle, name, data, quick_again(data, events))


def check_trained(
    bundle: Bundle, name: str, data: Spec, say: Stage, progress: Count | None
) -> Iterator[Check]:
    """Level 6: trainings of every redraw, and toys."""
    if data["kind"] != "power" and data["statistic"] not in TRAINED:
        return
    say(f"level 6: {name}")
    file = events_file(data)
    events = unpack_events(bundle.files[file], data, file)
    yield _judge(6, bundle, name, data, again(data, events, progress))


def _judge(level: int, bundle: Bundle, name: str, data: Spec, found: Spec) -> Check:
    versions = data["provenance"].get("versions")
    own = make_environment()
    here = bundle.results.environment == own and versions in (None, own["versions"])
    wrong = list(compare(data, found, here=here))
    what = f"{name}, {data['kind']} of {data['statistic']} from seed {data['seed']}"
    detail = "" if here else "in another environment"
    if wrong:
        places = ", ".join(where for where, *_ in wrong[:3])
        detail = f"other numbers at {places}" + (", ..." if wrong[3:] else "")
        return Check(level, what, FAIL, detail, wrong[0][1], wrong[0][2])
    return Check(level, what, PASS, detail, data.get("t"), found.get("t"))


def lines_of_learned(where: str, entry: Spec) -> list[str]:
    """Return what was tested, and the events beside it.

    Args:
        where: Start of the line, which names the file.
        entry: What results.json says of it.
    """
    labels = entry["labels"]
    events = f"{labels['n_tested']} and {labels['n_partner']} events"
    beside = (
        f"{where}: `{entry['events']}` holds the variables, probabilities and labels of its events."
    )
    if entry["kind"] == "power":
        said = f"sensitivity of {code(entry['statistic'])} in {events}."
    else:
        said = (
            f"{entry['kind']} of {code(entry['statistic'])} in {events}: p = {number(entry['p'])} "
            f"from {entry['redraws']} redraws of the labels."
        )
    return [f"{where}: {said}", beside]
