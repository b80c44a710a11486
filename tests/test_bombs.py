"""Small files that would take much memory or time: refused by their headers, before they are read.

docs/security.md says what is limited. Memory is limited in a process of its own.
"""

import gzip
import io
import json
import os
import struct
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bundles import plain_files, with_file
from conftest import invoke
from watchdogs import run_watched

from ddphf.array_guards import check_arrays
from ddphf.exceptions import ConfigError, InputError
from ddphf.guards import measure_json
from ddphf.publish.archive import pack
from ddphf.publish.contents import make_sums
from ddphf.yaml_text import parse_yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def plain():
    return plain_files()


HARNESS = """
import resource, sys, time
from pathlib import Path
from ddphf.exceptions import DdphfError
imports, code, megabytes = sys.argv[1:]
exec(imports)
attack = compile(code, "attack", "exec")
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + int(megabytes) * 1000000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
start = time.process_time()
try:
    exec(attack)
except DdphfError as error:
    print("refused:", error)
print("seconds:", time.process_time() - start)
"""


def refused(imports, code, megabytes, folder, seconds=60.0):
    """Run code that must raise a DdphfError, with so much memory beyond what its imports take."""
    done = run_watched(
        [sys.executable, "-c", HARNESS, imports, textwrap.dedent(code).strip(), str(megabytes)],
        cpu_s=seconds + 60, cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "refused: " in done.stdout, done.stdout[-2000:]
    assert float(done.stdout.split("seconds: ")[1]) < seconds
    return done.stdout


def verified(packed, folder, megabytes=700):
    """What level 0 says of a bomb; an archive may unpack to 200 MB, three times that is time."""
    (folder / "bomb.tar.gz").write_bytes(packed)
    return refused(
        "from ddphf.publish.archive import read_archive\n"
        "from ddphf.publish.verify import verify_archive",
        """
        result = verify_archive(read_archive("bomb.tar.gz"), level=0)
        raise DdphfError("; ".join(f"{c.what}: {c.detail}" for c in result.failures))
        """,
        megabytes, folder,
    )  # fmt: skip


FILES = "from ddphf.files import read_json"
JSON_BOMBS = {
    "empty objects": (b"[" + b"{}," * 30_000_000 + b"{}]", "lists and objects"),
    "empty lists": (b"[" + b"[]," * 30_000_000 + b"[]]", "lists and objects"),
    "numbers": (b"[" + b"1.5," * 20_000_000 + b"1]", "values"),
    "depth": (b"[" * 90_000_000, "lists and objects"),
    "a little depth": (b"[" * 900 + b"]" * 900, "nested too deeply"),
    "size": (b" " * 200_000_001, "MB"),
    "a text in another alphabet": (b'"' + b"x" * 200_000_000 + "\U0001f600".encode() + b'"', "MB"),
}


@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_json_is_measured_before_it_is_parsed(tmp_path, kind):
    content, message = JSON_BOMBS[kind]
    (tmp_path / "bomb.json").write_bytes(content)
    said = refused(FILES, 'read_json("bomb.json")', 450, tmp_path)
    assert message in said


@pytest.mark.parametrize("name", ["workspace.json", "metadata.json", "notes.json"])
def test_an_archive_of_kilobytes_stays_small(plain, tmp_path, name):
    """90 MB of empty objects were 8 GB of Python's; 90 kB packed."""
    packed = pack(with_file(plain, name, JSON_BOMBS["empty objects"][0]))
    assert len(packed) < 300_000
    said = verified(packed, tmp_path)
    assert "not named in results.json" in said if name == "notes.json" else "are read" in said


def test_an_archive_of_many_large_files_stays_small(plain, tmp_path):
    files = dict(plain)
    for number in range(10):
        files[f"patch_{number}.json"] = b"[" + b"{}," * 1_000_000 + b"{}]"
    files["SHA256SUMS"] = make_sums(files)
    assert "the JSON files together" in verified(pack(files), tmp_path)


MERGE = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new}\n  <<: [{', '.join([f'*{old}'] * 30)}]\n"
    for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
YAML_BOMBS = {
    "merge keys": (MERGE, "aliases"),
    "aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "aliases",
    ),
    "keys that are aliases": ("a: &a [x]\nb: &b {? *a : *a}\nc: {? *b : *b}\n", "is not text"),
    "a sexagesimal number": ("a: 1" + ":59" * 300_000, "numbers and colons"),
    "a sexagesimal fraction": ("a: 1" + ":59" * 300_000 + ".5", "numbers and colons"),
    "size": ("# " + "x" * 10_000_000, "MB"),
    "depth": ("[" * 50_000, "nested too deeply"),
    "a circle of merge keys": ("a: &a\n  <<: *a\n", "lies inside what it stands for"),
}  # fmt: skip


@pytest.mark.parametrize("kind", YAML_BOMBS)
def test_yaml_is_counted_before_it_is_built(kind):
    text, message = YAML_BOMBS[kind]
    start = time.process_time()
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text)
    assert time.process_time() - start < 10.0


def test_honest_merge_keys_are_read():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: 1:30:00\n") == {
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": 5400,
    }  # fmt: skip


def npz(**arrays):
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def lying(shape, kind="<f8", data=b"\0" * 80):
    """A npy array whose header says another shape than it has numbers."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return out.getvalue() + data


def zipped(members, level=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", level) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def with_toys(replaced):
    """A file of toys, one column of which is replaced by bytes."""
    n = 10
    columns = {
        "version": np.array(1), "seed": np.zeros(n, int), "index": np.arange(n),
        "q0": np.zeros(n), "mu_hat": np.zeros(n), "status": np.zeros(n, np.int8),
        "at_zero": np.zeros(n, bool), "mu": np.array(0.0), "fingerprint": np.array("x"),
        "workspace_digest": np.array("x"),
    }  # fmt: skip
    members = []
    for name, array in columns.items():
        out = io.BytesIO()
        np.lib.format.write_array(out, array)
        members.append((f"{name}.npy", replaced.get(name, out.getvalue())))
    return zipped(members)


NPZ_BOMBS = {
    "a shape of 1e14": (with_toys({"q0": lying((10**14,))}), "header says"),
    "a shape of many axes": (with_toys({"q0": lying((10**5,) * 4)}), "header says"),
    "numbers without size": (with_toys({"q0": lying((10**14,), "|S0")}), "header says"),
    "a text of 1e12 characters": (with_toys({"q0": lying((), "<U100000000")}), "header says"),
    "zeros": (with_toys({"q0": lying((75_000_000,), data=bytes(600_000_000))}), "so small a file"),
    "a table of contents": (
        zipped([(f"{i}.npy", b"") for i in range(60_000)], zipfile.ZIP_STORED), "table of contents",
    ),
}  # fmt: skip


def test_arrays_are_measured_before_they_are_read(tmp_path):
    """By every reader; in one process, as imports are what takes time."""
    for kind, (content, _) in NPZ_BOMBS.items():
        (tmp_path / f"{kind}.npz").write_bytes(content)
    imports = (
        "from ddphf.inference.toys.store import load_toys\n"
        "from ddphf.inputs.covariance import read_matrix\n"
        "from ddphf.inputs.readers import read_histogram\n"
        "from ddphf.inputs.events import read_events"
    )
    code = """
    for path in sorted(Path().glob("*.npz")):
        for read in (
            lambda: load_toys(path), lambda: read_histogram(f"{path}:q0"),
            lambda: read_events(str(path)), lambda: read_matrix(f"{path}:q0"),
        ):
            try:
                read()
            except DdphfError as error:
                print(f"{path.stem}| {error}")
    raise DdphfError("done")
    """
    said = refused(imports, code, 300, tmp_path).splitlines()
    for kind, (_, message) in NPZ_BOMBS.items():
        lines = [line for line in said if line.startswith(f"{kind}|")]
        assert len(lines) == 4, lines
        assert all(message in line for line in lines), lines


def test_an_array_without_its_suffix_is_measured_too(tmp_path):
    """numpy looks at the first bytes of a member, whatever its name."""
    path = tmp_path / "a.npz"
    path.write_bytes(zipped([("q0", lying((10**14,)))]))
    with pytest.raises(InputError, match="header says"):
        check_arrays(path, "a.npz")


def test_a_table_of_contents_that_a_second_one_hides(tmp_path):
    """The signature once more inside the record, where a search from the end finds it first."""
    content = bytearray(zipped([(f"{i}.npy", b"") for i in range(60_000)], zipfile.ZIP_STORED))
    content[-22 + 16 :] = b"PK\x05\x06\0\0"
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises((InputError, ValueError), match=r"table of contents|damaged"):
        check_arrays(tmp_path / "a.npz", "a.npz")
    content[-2:] = struct.pack("<H", 0)
    content += b""
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="table of contents"):
        check_arrays(tmp_path / "a.npz", "a.npz")


MAPS = "import correctionlib.schemav2\nfrom ddphf.inputs.map_files import read_map"
MAP = 'read_map("{}", name="e", kind="efficiency", correction="SF")'


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_maps_are_measured_before_they_are_parsed(tmp_path, suffix):
    content = JSON_BOMBS["empty objects"][0]
    (tmp_path / f"map{suffix}").write_bytes(
        gzip.compress(content) if suffix == ".json.gz" else content
    )
    assert "lists and objects" in refused(MAPS, MAP.format(f"map{suffix}"), 450, tmp_path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    packed = gzip.compress(bytes(1 << 20)) * 3000  # 3 GB
    (tmp_path / "map.json.gz").write_bytes(packed)
    assert "MB or more when unpacked" in refused(MAPS, MAP.format("map.json.gz"), 500, tmp_path)


EVENTS = "import pyarrow.parquet\nfrom ddphf.inputs.events import read_events"


def test_rows_of_parquet_are_counted_before_they_are_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": pa.nulls(10**9)}), tmp_path / "rows.parquet")
    long = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(1000, np.int32)), pa.array(["x" * 1_000_000])
    )
    pq.write_table(pa.table({"x": long}), tmp_path / "words.parquet")  # a GB of one word
    for name, message in (("rows", "so small a file|MB of numbers"), ("words", "is no number")):
        assert (tmp_path / f"{name}.parquet").stat().st_size < 2e6
        said = refused(EVENTS, f'read_events("{name}.parquet")', 400, tmp_path)
        assert any(part in said for part in message.split("|")), said


def test_endless_files_are_not_read(tmp_path):
    for imports, call in (
        ("from ddphf.publish.archive import read_archive", "read_archive"),
        (FILES, "read_json"),
        ("from ddphf.config.analysis import read_analysis", "read_analysis"),
    ):
        assert "MB" in refused(imports, f'{call}("/dev/zero")', 900, tmp_path)


def test_the_limit_can_be_raised(tmp_path, monkeypatch):
    path = tmp_path / "large.json"
    path.write_text("[" + "{}," * 2_100_000 + "{}]")
    done = invoke("inspect", path)
    assert done.code == 3
    assert done.message == (
        f"{path}: 2,100,002 lists and objects, more than the 2,000,000 that are read; where you "
        "trust the file, DDPHF_LIMITS=2 in the environment allows them"
    )
    monkeypatch.setenv("DDPHF_LIMITS", "2")
    done = invoke("inspect", path)
    assert done.code == 3
    assert "expected a JSON object" in done.message
    deep = tmp_path / "deep.json"  # nesting has the one limit
    deep.write_text("[" * 300 + "]" * 300)
    assert "nested too deeply, 300 levels" in invoke("inspect", deep).message
    for text in ("many", "0", "nan", "inf", "1e308", "-1", ""):
        monkeypatch.setenv("DDPHF_LIMITS", text)
        done = invoke("inspect", path)
        assert (done.code, "expected a number from 1 to 1e6" in done.message) == (2, True)


def test_measured_sizes_are_those_of_the_parsed_text():
    def count(node):
        if isinstance(node, dict):
            found = [count(value) for value in node.values()]
        elif isinstance(node, list):
            found = [count(value) for value in node]
        else:
            return 1, 0, 0
        values, containers, depth = zip(*found, strict=True) if found else ((), (), (0,))
        return 1 + sum(values), 1 + sum(containers), 1 + max(depth)

    for name in ("fit.json", "workspace.json", "workspace.metadata.json"):
        raw = (ROOT / "workspaces" / "higgs_lfv_window" / name).read_bytes()
        values, containers, depth = count(json.loads(raw))
        size = measure_json(raw)
        assert (size.containers, size.depth) == (containers, depth)
        assert values <= size.values <= values + containers
