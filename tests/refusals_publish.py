"""Cases of docs/refusals.md for `ddphf publish`, `verify` and `patch`."""

import io
import json
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyhf
from conftest import plain_workspace
from refusals_masses import SCAN

from ddphf.masses.config import read_scan
from ddphf.masses.run import run_scan
from ddphf.publish.archive import pack

DIGEST = f"sha256:{pyhf.utils.digest(plain_workspace())}"


def command(*arguments, **case):
    return {"arguments": list(arguments), **case}


def publish(*given, **case):
    return command("publish", "workspace.json", *given, "-o", "out.tar.gz", **case)


def verify(content):
    return command("verify", "bundle.tar.gz", files={"bundle.tar.gz": content})


def patch(*options, base="workspace.json", **case):
    return command("patch", base, *options, "-o", "new.json", **case)


def archive(name, kind=tarfile.REGTYPE, times=1):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for number in range(times):
            entry = tarfile.TarInfo(name.format(number))
            entry.type, entry.linkname = kind, "target" if kind == tarfile.SYMTYPE else ""
            tar.addfile(entry)
    return out.getvalue()


def result(schema="ddphf/fit/1", digest=DIGEST, **data):
    return json.dumps({"schema": schema, "provenance": {"workspace_digest": digest}, **data})


def other_toys(**columns):
    out = io.BytesIO()
    n = 64
    toys = {
        "version": 1, "seed": np.zeros(n, int), "index": np.arange(n), "q0": np.full(n, 0.5),
        "mu_hat": np.full(n, 0.1), "status": np.zeros(n, np.int8), "at_zero": np.zeros(n, bool),
        "mu": 0.0, "fingerprint": "other",
    }  # fmt: skip
    np.savez(out, **{**toys, **columns})
    return out.getvalue()


MINIMUM = {"twice_nll": 1.0, "parameters": [], "certificate": {"edm": 0.0, "twice_nll_pyhf": 1.0}}
NUMBERS = {"mu_hat": 1.0, "mu_error": 1.0, "q0": 1.0, "z0": 1.0, "p0": 0.1}
STALE = result(
    measurement="discovery", engine="ddphf", fit=MINIMUM, null=MINIMUM, discovery=NUMBERS
)
OTHER_BOUNDS = json.dumps(json.loads(STALE) | {
    "provenance": {"workspace_digest": DIGEST, "poi_bounds": [0, 5]}
})  # fmt: skip
POINT = {"name": "mu", "value": 0.0, "error": 1.0}
BY_OTHERS = result(
    "ddphf/rank/1", measurement="discovery", engine="cabinetry", poi=POINT, parameters=[]
)
SIGNAL = ["--signal", "SR_mue=new.csv:new"]
TABLE = "x_low,x_high,new,negative,none\n0,1,2,2,0\n1,2,6,-6,0\n2,3,4,4,0\n"
NEW = {"new.csv": TABLE}

COMMON = {**SCAN, "observed": [[3, 5]] * 2,
          "background": {"yields": [[3.0, 4.0]] * 2, "error": [[0.5, 0.6]] * 2}}  # fmt: skip


@cache
def record_of(document):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scan.yml").write_text(document)
        return run_scan(read_scan(f"{folder}/scan.yml")[0]).to_dict()


def masses_record(document=SCAN):
    return json.dumps(record_of(json.dumps(document)))


def scan(*given, files=None, document=None):
    """Publish a scan, whose second hypothesis has other data than its record."""
    if document is None:
        document = {**SCAN, "observed": [[3, 5], [4, 7]]}
    return command(
        "publish", "scan.yml", *given, "-o", "out.tar.gz",
        files={"scan.yml": json.dumps(document), **(files or {})},
    )  # fmt: skip


PUBLISH = {
    "a bundle of another kind": command("publish", "workspace.json", "-o", "out.zip"),
    "an existing bundle": publish(files={"out.tar.gz": "x"}),
    "no temporary folder": publish(temporary="absent"),
    "an existing submission": publish(files={"out.hepdata.tar.gz": "x"}),
    "an INSPIRE id that is none": publish("--inspire", "1234567"),
    "a name that breaks the table": publish("--name", "a|b"),
    "no such workspace to publish": command("publish", "absent.json", "-o", "out.tar.gz"),
    "a sidecar of another workspace": publish(
        files={"workspace.metadata.json": '{"workspace_digest": "sha256:0"}'}
    ),
    "no such terms of use": publish("--license", "absent.txt"),
    "terms of use with commands to a terminal": publish(
        "--license", "terms.txt", files={"terms.txt": "\x1b[31mCC0"}
    ),
    "a file larger than is read": command(
        "publish", "large.json", "-o", "out.tar.gz",
        files={"large.json": "[" + "{}," * 2_000_000 + "{}]"},
    ),
    "a second result whose name no bundle may hold": publish(
        "limit.json", "my limit.json",
        files={name: result("ddphf/limit/1") for name in ("limit.json", "my limit.json")},
    ),
    "no such result": publish("absent.json"),
    "a result that is a folder": publish("."),
    "a result twice": publish("a/fit.json", "a/fit.json", files={"a/fit.json": result()}),
    "a result that is none": publish("other.json", files={"other.json": '{"schema": "x"}'}),
    "a result of another workspace": publish(
        "rank.json", files={"rank.json": result("ddphf/rank/1", "sha256:0")}
    ),
    "a stale fit": publish("fit.json", files={"fit.json": STALE}),
    "a fit with bounds of its own": publish("fit.json", files={"fit.json": OTHER_BOUNDS}),
    "a result of another engine": publish("rank.json", files={"rank.json": BY_OTHERS}),
    "an incomplete fit": publish("fit.json", files={"fit.json": result()}),
    "a damaged file of toys": publish("toys.npz", files={"toys.npz": b"PK\x03\x04"}),
    "toys whose columns do not fit": publish(
        "toys.npz", files={"toys.npz": other_toys(q0=np.zeros(3))}
    ),
    "toys of another workspace": publish("toys.npz", files={"toys.npz": other_toys()}),
    "a patch without a name": publish("my-signal.json", files={"my-signal.json": "[]"}),
    "a patch that does not fit": publish(
        "heavy.json",
        files={"heavy.json": '[{"op": "remove", "path": "/channels/7/samples/0"}]'},
    ),
    "a patch of more than channels": publish(
        "heavy.json", files={"heavy.json": '[{"op": "remove", "path": "/observations/0"}]'}
    ),
    "a mass scan without its record": scan(),
    "a mass scan with other results": scan(
        "rank.json", files={"rank.json": result("ddphf/rank/1")}
    ),
    "a record of another mass scan": scan("masses.json", files={"masses.json": masses_record()}),
    "a published patchset of a mass scan without an id": scan(
        "masses.json", files={"masses.json": masses_record(COMMON)}, document=COMMON
    ),
    "a background-only workspace without its patchset": publish(
        "masses.json", files={"masses.json": masses_record()}
    ),
    "a patchset without a signal": publish(
        "--inspire", "ins1234567",
        edits=[lambda w: w["measurements"][0]["config"].update(poi="")],
    ),
}  # fmt: skip

VERIFY = {
    "no such bundle": command("verify", "absent.tar.gz"),
    "a bundle that is a folder": command("verify", "."),
    "a bundle that is no archive": verify(b"PK\x03\x04"),
    "an absolute path in an archive": verify(archive("/etc/passwd")),
    "a parent path in an archive": verify(archive("../up.json")),
    "a link in an archive": verify(archive("link", tarfile.SYMTYPE)),
    "a device in an archive": verify(archive("device", tarfile.CHRTYPE)),
    "a folder in an archive": verify(archive("folder", tarfile.DIRTYPE)),
    "a file in a folder of an archive": verify(archive("a/b.json")),
    "a device of Windows in an archive": verify(archive("con.json")),
    "a file twice in an archive": verify(archive("a.json", times=2)),
    "too many files in an archive": verify(archive("f{}", times=201)),
    "a level that is none": command("verify", "bundle.tar.gz", "--level", "7"),
}

PATCH = {
    "a signal without a channel": patch("--signal", "new.csv:new", files=NEW),
    "a signal twice": patch(*SIGNAL, *SIGNAL, files=NEW),
    "errors of no signal": patch(*SIGNAL, "--error", "CR_emu=new.csv:new", files=NEW),
    "a patch name of other characters": patch(*SIGNAL, "--name", "m-200", files=NEW),
    "a signal of an unknown channel": patch("--signal", "SR_x=new.csv:new", files=NEW),
    "a signal of another length": patch("--signal", "SR_mue=table.csv:signal"),
    "a negative signal": patch("--signal", "SR_mue=new.csv:negative", files=NEW),
    "a signal without events": patch("--signal", "SR_mue=new.csv:none", files=NEW),
    "a signal with the name of a background": patch(*SIGNAL, "--name", "symmetric", files=NEW),
    "a signal without a POI": patch(
        *SIGNAL, files=NEW, edits=[lambda w: w["measurements"][0]["config"].update(poi="")]
    ),
    "a bundle without a background": patch(
        *SIGNAL, base="b.tar.gz", files={**NEW, "b.tar.gz": pack({"README.md": b""})}
    ),
}
