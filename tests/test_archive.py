"""Archives by others: nothing is unpacked that could do harm, nothing is ever written."""

import gzip
import io
import tarfile

import pytest

from ddphf.exceptions import InputError
from ddphf.publish.archive import DamagedArchiveError, pack, read_archive, unpack

FILES = {"README.md": b"# a\n", "workspace.json": b"{}"}


def make(*entries, mode="w:gz"):
    """A tar.gz of (name, type, content or link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content.decode()
                tar.addfile(info)
    return out.getvalue()


def test_round_trip():
    packed = pack(FILES)
    assert unpack(packed) == FILES
    assert packed == pack(dict(reversed(FILES.items())))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:  # any tar reads it
        assert tar.getnames() == sorted(FILES)
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in tar} == {(0, 0, "", 0o644)}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("/etc/passwd", tarfile.REGTYPE, b"x"), "'/etc/passwd' is an absolute path"),
        (("C:\\x", tarfile.REGTYPE, b"x"), "is an absolute path"),
        (("\\\\host\\x", tarfile.REGTYPE, b"x"), "is an absolute path"),
        (("../up.json", tarfile.REGTYPE, b"x"), r"'\.\./up\.json' points outside"),
        (("a/../../up", tarfile.REGTYPE, b"x"), "points outside"),
        (("a\\..\\up", tarfile.REGTYPE, b"x"), "points outside"),
        (("link", tarfile.SYMTYPE, b"/etc/passwd"), "'link' is a link"),
        (("link", tarfile.LNKTYPE, b"workspace.json"), "'link' is a link"),
        (("device", tarfile.CHRTYPE, b""), "'device' is no regular file"),
        (("device", tarfile.BLKTYPE, b""), "'device' is no regular file"),
        (("pipe", tarfile.FIFOTYPE, b""), "'pipe' is no regular file"),
        (("folder", tarfile.DIRTYPE, b""), "'folder' is no regular file"),
        (("folder/a.json", tarfile.REGTYPE, b"x"), "is no flat file name"),
        ((".bashrc", tarfile.REGTYPE, b"x"), "is no flat file name"),
        (("-rf", tarfile.REGTYPE, b"x"), "is no flat file name"),
        (("a\nb", tarfile.REGTYPE, b"x"), "is no flat file name"),
        (("workspace.json", tarfile.REGTYPE, b"x"), "'workspace.json' is in it twice"),
        (("WORKSPACE.json", tarfile.REGTYPE, b"x"), "'WORKSPACE.json' is in it twice"),
    ],
)
def test_hostile_members(entry, message):
    archive = make(("workspace.json", tarfile.REGTYPE, b"{}"), entry)
    with pytest.raises(InputError, match=message):
        unpack(archive)


def test_bombs():
    with pytest.raises(InputError, match="more than 200 files"):
        unpack(make(*((f"f{i}", tarfile.REGTYPE, b"") for i in range(201))))
    bomb = make(("zeros.json", tarfile.REGTYPE, bytes(200_000_001)))
    assert len(bomb) < 3e5
    with pytest.raises(InputError, match="unpacks to more than 200 MB"):
        unpack(bomb)
    members = pack(FILES) + gzip.compress(bytes(1 << 20), 9) * 520  # 520 MB of further members
    with pytest.raises(InputError, match="unpacks to more than 200 MB"):
        unpack(members)


def test_size_before_reading(tmp_path):
    path = tmp_path / "large.tar.gz"
    with path.open("wb") as file:
        file.truncate(60_000_000)
    with pytest.raises(InputError, match=r"60 MB; a bundle has at most 52"):
        read_archive(path)


def test_a_header_that_lies_about_a_size():
    tar = bytearray(gzip.decompress(make(("a.json", tarfile.REGTYPE, b"x"))))
    tar[124:136] = b"77777777777\0"  # 8 GB
    tar[148:156] = b" " * 8
    tar[148:156] = f"{sum(tar[:512]):06o}\0 ".encode()
    with pytest.raises(DamagedArchiveError, match="damaged"):
        unpack(gzip.compress(bytes(tar)))


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", InputError, "not a gzip file"),
        (b"PK\x03\x04", InputError, "not a gzip file"),
        (pack(FILES)[:100], DamagedArchiveError, "damaged"),
        (pack(FILES) + b"\0", DamagedArchiveError, "bytes after its end"),
        (pack(FILES) + gzip.compress(b""), DamagedArchiveError, "bytes after its end"),
        (gzip.compress(b"no tar"), DamagedArchiveError, "no tar inside"),
        (gzip.compress(b""), DamagedArchiveError, "packed again|no tar"),
        (make(("a.json", tarfile.REGTYPE, b"{}")), DamagedArchiveError, "packed again"),
    ],
    # Not the bytes: those hold the time, and workers must collect the same names.
    ids=["empty", "zip", "short", "byte_more", "file_more", "no_tar", "nothing", "other_packer"],
)
def test_damaged(content, kind, message):
    with pytest.raises(kind, match=message):
        unpack(content)


def test_names_that_are_not_flat_are_not_packed():
    for name in ("a/b", "../a", ".a", ""):
        with pytest.raises(InputError, match="no flat file name"):
            pack({name: b""})


def test_too_large_for_hepdata():
    import numpy as np

    noise = np.random.default_rng(1).bytes(53_000_000)
    with pytest.raises(InputError, match="more than the 52 MB that HEPData takes"):
        pack({"toys.npz": noise})
