"""``ddphf patch``: another signal on a published workspace."""

from __future__ import annotations

import re
from typing import Any

import click

from ddphf.cli import common
from ddphf.cli.fit import make_table
from ddphf.cli.sidecar import digest_of, read_binning
from ddphf.exceptions import InputError, UsageError
from ddphf.files import parse_json, read_json, to_json
from ddphf.outputs import Outputs

__all__ = ["command"]

SANE_ERROR = (0.05, 5.0)
"""Errors of mu outside this range mislead stock optimizers (they stop early, with success)."""


@click.command("patch")
@click.argument("base")
@click.option(
    "--signal", "signals", multiple=True, required=True, metavar="CHANNEL=FILE:NAME",
    help="Signal events of a channel, a histogram (ROOT, UHI JSON, npz, CSV); may be repeated.",
)  # fmt: skip
@click.option(
    "--error", "errors", multiple=True, metavar="CHANNEL=FILE:NAME",
    help="Their absolute uncertainties, uncorrelated between bins; CHANNEL=none for none. Without "
    "it the variances that a histogram has are taken.",
)  # fmt: skip
@click.option("--name", default="signal", show_default=True, help="Of the new sample and patch.")
@click.option(
    "--scale", type=click.FloatRange(min=0.0, min_open=True), default=1.0, show_default=True,
    help="mu = 1 means the histograms times this.",
)  # fmt: skip
@common.text_option(
    "--inspire", "ID", "Such as ins1234567: writes a pyhf patchset instead of a patch."
)
@common.output_option
@common.force_option
def command(
    base: str, signals: tuple[str, ...], errors: tuple[str, ...], name: str, scale: float,
    inspire: str | None, output: str, force: bool,
) -> None:  # fmt: skip
    """Write the JSON Patch that replaces the signal of BASE by yours.

    BASE is a workspace, a background-only one, or a bundle of `ddphf publish` (its BkgOnly.json,
    which is then what the patch applies to). The patched workspace is fitted before anything is
    written.

    Example: ddphf patch workspace.json --signal SR_mue=my.root:h -o patch.json
    """
    outputs = Outputs([output], inputs=[base], force=force)
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise UsageError(f"--name {name}: use letters, digits and underscores alone")
    addresses = {key: _split(key, values) for key, values in
                 (("--signal", signals), ("--error", errors))}  # fmt: skip
    files = [a for group in addresses.values() for a in group.values()]
    outputs.protect([*files, *(a.rpartition(":")[0] for a in files if ":" in a)])
    if extra := sorted(set(addresses["--error"]) - set(addresses["--signal"])):
        raise UsageError(f"--error {extra[0]}=...: there is no --signal for this channel")
    with common.progress_line() as say:
        say("reading")
        from ddphf.inference.fit import fit_workspace
        from ddphf.inputs.alignment import align
        from ddphf.inputs.histogram import Axis, Histogram, error_from_variances
        from ddphf.inputs.readers import read_histogram
        from ddphf.likelihood.patches import check_inspire, make_patchset
        from ddphf.likelihood.schemas import check_schema
        from ddphf.publish.recast import Template, recast_signal

        if inspire is not None:
            check_inspire(inspire)
        workspace, binning = _read_base(base)
        check_schema(workspace)
        axes = [Axis(a["name"], tuple(a["edges"]), a["label"], a["unit"]) for a in binning]
        notes: list[str] = []

        def read(address: str) -> Histogram:
            """Read a histogram in the order of the workspace's axes, where these are known."""
            found = read_histogram(address)
            if not axes:
                return found
            try:
                found, said = align(found, axes)
            except InputError as error:
                raise InputError(f"{address}: {error}") from None
            notes.extend(f"{address}: {note}" for note in said)
            return found

        templates = {}
        for channel, address in addresses["--signal"].items():
            yields, error = read(address), addresses["--error"].get(channel)
            if error is not None:
                absolute = None if error == "none" else read(error).flat
            else:
                absolute = None if yields.variances is None else error_from_variances(yields).flat
            templates[channel] = Template(yields.flat, absolute)
        recast = recast_signal(workspace, templates, name=name, scale=scale)
        result = fit_workspace(recast.workspace, progress=say)
        text: Any = recast.patch
        if inspire is not None:
            text = make_patchset(
                workspace, [(name, recast.patch)], inspire=inspire,
                description=f"Signal {name} on another background",
            )  # fmt: skip
    warnings = [*notes, *recast.notes, *result.warnings]
    mu = result.mu_hat
    if mu is not None and mu.error and not SANE_ERROR[0] <= mu.error <= SANE_ERROR[1]:
        warnings.append(
            f"the error of {mu.name} is {mu.error:.3g}: stock optimizers may stop early; give "
            f"--scale {scale * _power(mu.error):g}, so that it is between .1 and 1"
        )
    if mu is not None and mu.at_bound and mu.value > 0:
        warnings.append(
            f"{mu.name} is at its upper bound {mu.value:g}: the signal is too small for "
            "the excess; give a larger --scale"
        )
    elif mu is not None and mu.at_bound:
        warnings.append(
            f"{mu.name} is at its lower bound {mu.value:g}: the data have no excess of this signal"
        )
    common.print_warnings(warnings)
    with outputs:
        outputs.write(output, to_json(text))
    common.print_summary(make_table(result))


def _power(error: float) -> float:
    """Return the power of ten that brings an error into (.1, 1].

    Example:
        >>> _power(30.0), _power(0.004)
        (100.0, 0.01)
    """
    import math

    return float(10.0 ** math.ceil(math.log10(error)))


def _split(option: str, values: tuple[str, ...]) -> dict[str, str]:
    out: dict[str, str] = {}
    for value in values:
        channel, found, address = value.partition("=")
        if not (found and channel and address):
            raise UsageError(f"{option} {value}: expected CHANNEL=FILE:NAME")
        if channel in out:
            raise UsageError(f"{option} {channel}: given twice")
        out[channel] = address
    return out


def _read_base(base: str) -> tuple[Any, list[dict[str, Any]]]:
    """Return a workspace and the axes of its bins, none where nothing tells them."""
    if not base.endswith((".tar.gz", ".tgz")):
        workspace = read_json(base)
        return workspace, read_binning(base, digest_of(workspace))[0].get("axes", [])
    from ddphf.publish.archive import read_archive, unpack

    files = unpack(read_archive(base), name=base)
    if "BkgOnly.json" not in files:
        raise InputError(f"{base}: no BkgOnly.json inside; give a workspace")
    workspace = parse_json(files["BkgOnly.json"], f"{base}: BkgOnly.json")
    metadata = parse_json(files.get("metadata.json", b"{}"), f"{base}: metadata.json")
    return workspace, metadata.get("binning", {}).get("axes", [])
