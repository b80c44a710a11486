"""ROOT files whose headers claim more than there is, or whose blocks unpack to more than that."""

import lzma
import struct
import zlib

import awkward as ak
import cramjam
import hist
import numpy as np
import pytest
import uproot
from test_bombs import refused

from ddphf.exceptions import InputError
from ddphf.inputs.events import read_events
from ddphf.inputs.readers import read_histogram

IMPORTS = (
    "import uproot, hist, awkward\n"
    "from ddphf.inputs.events import read_events\n"
    "from ddphf.inputs.readers import read_histogram"
)
BLOCKS = {
    "ZL": zlib.compress,
    "ZS": cramjam.zstd.compress,
    "XZ": lambda raw: lzma.compress(raw, preset=0),
}


def root_file(path, compression=None):
    histogram = hist.Hist.new.Reg(4, 0, 1, name="x").Weight()
    histogram.fill([0.1, 0.2, 0.8], weight=[1.0, 2.0, 3.0])
    with uproot.recreate(path, compression=compression) as file:
        file["h"] = histogram
        file["t"] = {"x": np.arange(64.0)}
    return path.read_bytes()


def patched(raw, old, new):
    assert old in raw
    assert len(old) == len(new)
    return raw.replace(old, new)


@pytest.mark.parametrize("method", BLOCKS)
def test_blocks_unpack_to_what_their_headers_say(tmp_path, method):
    """400 MB of zeros in a block that says 1000 bytes, put behind the end for the key of 'h'."""
    raw = root_file(tmp_path / "a.root")
    with uproot.open(tmp_path / "a.root") as file:
        key = file.key("h")
        old = struct.pack(">ihi", key.fNbytes, 4, key.fObjlen)
        seek, length = key.fSeekKey, key.fKeylen
    bomb = bytes(BLOCKS[method](bytes(400_000_000)))
    assert len(bomb) < 2e6
    sizes = [struct.pack("<I", n)[:3] for n in (len(bomb), 1000)]
    block = struct.pack("2sB", method.encode(), 8) + sizes[0] + sizes[1] + bomb
    new = struct.pack(">ihi", length + len(block), 4, 1000)
    raw = patched(raw, old, new)
    raw = patched(raw, struct.pack(">ii", seek, 100), struct.pack(">ii", len(raw) - length, 100))
    (tmp_path / "a.root").write_bytes(raw + block)
    said = refused(IMPORTS, 'read_histogram("a.root:h")', 250, tmp_path)
    assert "cannot be read as ROOT (failed to write whole buffer)" in said


EACH = """
raw = Path("base.root").read_bytes()
read_histogram("base.root:h"), read_events("base.root:t")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for at in range({start}, len(raw) - 4, {step}):
    Path("bad.root").write_bytes(raw[:at] + b"\\x7f\\xff\\xff\\xff" + raw[at + 4:])
    for read in (lambda: read_histogram("bad.root:h"), lambda: read_events("bad.root:t")):
        begun = time.process_time()
        try:
            read()
        except DdphfError as error:
            if "llocat" in str(error) or "MemoryError" in str(error):
                print(f"{{at}} takes memory: {{error}}")
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if used > before + 100_000:
            print(f"{{at}} takes {{used - before}} kB")
        if time.process_time() - begun > 5.0:
            print(f"{{at}} takes long")
raise DdphfError("done")
"""


@pytest.mark.parametrize(
    ("start", "step"),
    [
        ("0", 19),
        ("len(raw) - 400", 2),  # the branch: how many entries it has
        pytest.param("0", 2, marks=pytest.mark.slow),
        pytest.param("1", 2, marks=pytest.mark.slow),
    ],
)
def test_no_number_of_a_file_takes_memory_or_time(tmp_path, start, step):
    """Each number in turn says 2e9, wherever it lies: lengths, counts, places.

    Python gives as many addresses to what is read from a file as a length says, but no memory.
    """
    root_file(tmp_path / "base.root")
    said = refused(IMPORTS, EACH.format(start=start, step=step), 3000, tmp_path, seconds=600.0)
    assert "takes" not in said, said


def test_a_long_column_that_nobody_asks_for_is_no_obstacle(tmp_path):
    """70 million zeros beside the column that is read; they are refused where they are read."""
    with uproot.recreate(tmp_path / "a.root") as file:
        file["t"] = {"x": np.arange(3.0), "many": ak.Array([np.zeros(70_000_000), [], []])}
    assert (tmp_path / "a.root").stat().st_size < 2_500_000
    events = read_events(f"{tmp_path / 'a.root'}:t", columns=["x"])
    assert events.columns["x"].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(InputError, match="MB of numbers from so small a file"):
        read_events(f"{tmp_path / 'a.root'}:t", columns=["len(many)"])


def test_another_uproot_is_refused_by_name(tmp_path, monkeypatch):
    """Its blocks could not be limited: as many bytes as a file likes."""
    from uproot import compression

    path = tmp_path / "a.root"
    root_file(path)
    monkeypatch.delattr(compression, "_decompress_ZSTD")
    with pytest.raises(InputError, match=r"unpacks blocks in a way .* install uproot 5\.7"):
        read_histogram(f"{path}:h")
