"""What a JSON document is that was given for a workspace and is none."""

from __future__ import annotations

from typing import Any

__all__ = ["recognise_other"]


def recognise_other(document: Any) -> str | None:
    """Return what a document is that is no workspace but looks like something known, and a remedy.

    Args:
        document: JSON data without channels or without measurements.

    Example:
        >>> recognise_other([{"op": "add", "path": "/channels/0/samples/0", "value": {}}])[:14]
        'a JSON Patch o'
    """
    if isinstance(document, list):
        if document and all(isinstance(x, dict) and {"op", "path"} <= set(x) for x in document):
            return (
                f"a JSON Patch of {len(document)} operations, no workspace; apply it to the "
                "background-only workspace that it belongs to: jsonpatch BkgOnly.json patch.json "
                "> workspace.json"
            )
        return None
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("patches"), list):
        found = [p.get("metadata", {}) for p in document["patches"] if isinstance(p, dict)]
        names = [str(m.get("name")) for m in found if isinstance(m, dict)]
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return (
            f"a patchset of {len(names)} signals ({shown}), no workspace; apply one of them to the "
            "background-only workspace that it belongs to: pyhf patchset apply BkgOnly.json "
            f"patchset.json --name {names[0] if names else 'NAME'} --output-file workspace.json"
        )
    kind = document.get("schema")
    if isinstance(kind, str) and kind.startswith("ddphf/"):
        return f"a record of ddphf ({kind}), no workspace; give the workspace that it is about"
    if "distributions" in document:
        return "a likelihood in HS3, no pyhf workspace; make one with ddphf convert FILE --to pyhf"
    channels = document.get("channels")
    if isinstance(channels, list) and all(isinstance(channel, dict) for channel in channels):
        return (
            "a model without observations and measurements, no workspace; make one with "
            "pyhf.Workspace.build(pyhf.Model(spec), data)"
        )
    return None
