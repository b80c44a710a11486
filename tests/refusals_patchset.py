"""Cases of tests/test_refusals.py for ``ddphf masses --patchset`` and ``--workspaces``."""

import json

import pyhf
from refusals_masses import masses

from ddphf.masses.examples import small_patchset


def patched(*options, background=None, change=None):
    """Return a background-only workspace with its patchset, either of them changed."""
    base, patchset = small_patchset()
    if background is not None:
        background(base)
        patchset["metadata"]["digests"] = {"sha256": pyhf.utils.digest(base)}
    if change is not None:
        change(patchset)
    return {
        "files": {"base.json": json.dumps(base), "patches.json": json.dumps(patchset)},
        "arguments": ["masses", "base.json", "--patchset", "patches.json", "-o", "masses.json",
                      *options],
    }  # fmt: skip


def step_of(patchset):
    return patchset["patches"][0]["patch"]


def replace_background(patchset):
    step_of(patchset).append(
        {"op": "replace", "path": "/channels/0/samples/0/data", "value": [5.0, 6.0, 8.0]}
    )


def empty_background(base):
    sample = base["channels"][0]["samples"][0]
    sample["data"][2] = sample["modifiers"][1]["data"][2] = 0.0


def labelled(*values):
    def change(patchset):
        patchset["metadata"]["labels"] = ["m", "width"][: len(values)]
        patchset["patches"][0]["metadata"]["values"] = list(values)
        for entry in patchset["patches"][1:]:
            entry["metadata"]["values"] += [1] * (len(values) - 1)

    return change


PATCHSETS = {
    "a patchset of another background": patched(
        change=lambda p: p["metadata"]["digests"].update(sha256="0" * 64)
    ),
    "a patchset that is none": patched(change=lambda p: p.pop("version")),
    "two equal labels of a patchset": patched(
        change=lambda p: (
            p["metadata"].update(labels=["m", "m"]),
            [e["metadata"].update(values=2 * e["metadata"]["values"]) for e in p["patches"]],
        ),
    ),
    "a list where one bin is meant": masses(observed=[3, 5]),
    "two patches of one mass": patched(change=labelled(2)),
    "a mass that is no number": patched(change=labelled("heavy")),
    "a patch with values of no label": patched(
        change=lambda p: p["patches"][0]["metadata"].update(values=[3, 1])
    ),
    "a patchset of two labels": patched(change=labelled(3, 1)),
    "a label that no patchset has": patched("--parameter", "mass"),
    "a patch that changes the background": patched(change=replace_background),
    "a patch without a signal": patched(
        change=lambda p: step_of(p)[0]["value"]["modifiers"].pop(0)
    ),
    "a patch whose signal is 0": patched(
        change=lambda p: step_of(p)[0]["value"].update(data=[0.0, 0.0, 0.0])
    ),
    "a patch of a mass that does not fit": patched(
        change=lambda p: step_of(p)[0].update(path="/channels/7/samples/1")
    ),
    "a patch that breaks the workspace": patched(
        change=lambda p: step_of(p)[0]["value"].pop("data")
    ),
    "a patchset beside a workspace with a signal": patched(
        background=lambda b: b["channels"][0]["samples"].append(
            step_of(small_patchset()[1])[0]["value"]
        )
    ),
    "empty bins of a patchset without a policy": patched(background=empty_background),
    "empty bins of channels that are merged": patched(
        "--empty-bins", "merge", background=empty_background
    ),
    "a global p-value of a patchset": patched("--global-toys", "50"),
    "a parameter without a patchset": masses("--parameter", "m"),
    "a patchset of a mass scan without an id": masses(
        "--workspaces",
        "published",
        observed=[[3, 5]] * 2,
        background={"yields": [[3.0, 4.0]] * 2},
    ),
    "an id without a patchset": masses("--inspire", "ins1234567"),
    "workspaces of a patchset": patched("--workspaces", "published"),
}
