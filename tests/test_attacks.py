"""Files by somebody who means harm: code in a bundle, bombs, commands to the terminal.

docs/security.md says what is promised. Memory is limited in a process of its own.
"""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from bundles import plain_files, tamper, verify, with_file
from conftest import ANALYSIS, invoke, plain_workspace, write_analysis

from ddphf.cli.common import CleanConsole
from ddphf.exceptions import InputError
from ddphf.files import to_json
from ddphf.publish.archive import pack, read_archive, unpack
from ddphf.publish.clean_venv import LOCK, _run, check_command_line, locked_versions
from ddphf.publish.contents import check_contents, stock_script
from ddphf.text import clean_text

ROOT = Path(__file__).parents[1]
ESC = "\x1b]0;owned\x07\x1b[31m"
HOSTILE = f"S{ESC}\x9b2J\u202egnp\u2066.\u200b\u2028end"
LEGAL = "S\u202egnp\u2066.\u200b\u2028end"
"""Without control characters, which no workspace may hold in its names."""
"""Title and colour of the terminal, a C1 command, a turned direction, no width, a line's end."""


@pytest.fixture(scope="module")
def plain():
    return plain_files()


def write_bundle(files, folder):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# ---- code in a bundle ---------------------------------------------------------------------------

MARK = "open(__import__('os').environ.get('MARK', 'mark'), 'w').close()\n"


@pytest.mark.parametrize(
    "name",
    [
        "venv.py", "pip.py", "hashlib.py", "__future__.py", "sitecustomize.py", "usercustomize.py",
        "conftest.py", "x.pth", "libc.so", "json.cpython-311-x86_64-linux-gnu.so", "json.pyd",
        "pyvenv.cfg", "pip.conf", "pytest.ini", "run.sh", "Makefile", "setup.py", "index.html",
        "other.txt", "verify_stock.pyc", "requirements.lock", "patch_a-b.json5", "more.svg",
    ],
)  # fmt: skip
def test_files_that_no_bundle_holds_fail_at_the_contents(plain, name):
    _, failure = verify(with_file(plain, name, MARK.encode()), level=0)
    assert failure is not None, "admitted"
    assert (failure.what, failure.detail) == ("files", f"'{name}' is no file of a bundle")


@pytest.mark.parametrize("name", ["notes.json", "discover2.json", "more.npz", "patch.json"])
def test_files_that_results_do_not_name_fail_and_are_not_parsed(plain, name):
    """They are no JSON at all: a parser would have said so."""
    _, failure = verify(with_file(plain, name, b"{" * 1000), level=0)
    assert failure is not None, "admitted"
    assert failure.what == "every file is named"
    assert failure.detail == f"in the archive, but not named in results.json: {name}"


@pytest.mark.parametrize("name", ["workspace.json", "a.py", "patch_a.json", "README.md"])
def test_results_cannot_name_what_is_no_record(plain, name):
    def change(results):
        results["included"] = [{"name": name, "schema": "ddphf/rank/1", "measurement": "m"}]

    _, failure = verify(tamper(plain, "results.json", change), level=0)
    assert failure.what == "every file is named"
    assert "cannot be the name of" in failure.detail


def test_another_script_fails_at_the_contents(plain):
    files = with_file(plain, "verify_stock.py", stock_script() + MARK.encode())
    _, failure = verify(files, level=0)
    assert failure is not None, "admitted"
    assert "is not the script that ddphf publishes; do not run it" in failure.detail


def test_texts_and_pictures_of_a_bundle_are_such(plain):
    for name in ("README.md", "LICENSE", "CITATION.cff"):
        _, failure = verify(with_file(plain, name, plain[name] + ESC.encode()), level=0)
        assert failure is not None, "admitted"
        assert failure.detail == f"{name}: holds something that is no text"
    _, failure = verify(with_file(plain, "prefit.png", b"<svg onload='x()'>"), level=0)
    assert failure is not None, "admitted"
    assert failure.detail == "prefit.png: is no PNG"


@pytest.mark.parametrize(
    "module", ["hashlib", "json", "math", "pathlib", "typing", "pyhf", "__future__"]
)
def test_the_script_of_a_bundle_takes_no_module_from_its_folder(plain, tmp_path, module):
    """As README.md says it, and as somebody in a hurry would."""
    folder = write_bundle(plain, tmp_path / "bundle")
    mark = tmp_path / "mark"
    (folder / f"{module}.py").write_text(MARK)
    env = {"PATH": os.environ["PATH"], "MARK": str(mark), "PYTHONWARNINGS": "ignore"}
    for options, code in ((["-I"], 0), ([], 1)):
        done = subprocess.run(
            [sys.executable, *options, "verify_stock.py"], cwd=folder, env=env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert not mark.exists(), options
        assert done.returncode == code, done.stdout + done.stderr
    assert "python -I verify_stock.py" in done.stderr


def test_commands_of_a_bundle_are_isolated(plain):
    """Every call of Python in README.md has -I: `-m` and scripts look into the folder first."""
    readme = plain["README.md"].decode()
    calls = [line for line in readme.splitlines() if line.lstrip().startswith(("python3", "venv/"))]
    assert len(calls) == 3
    assert all("python3 -I " in line or "python -I " in line for line in calls)


@pytest.mark.parametrize("module", ["venv", "pip", "hashlib", "sitecustomize"])
def test_processes_of_level_4_see_no_module_and_no_secret(tmp_path, monkeypatch, module):
    mark = tmp_path / "mark"
    (tmp_path / f"{module}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    for name in ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("GITHUB_TOKEN", "PIP_INDEX_URL", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "secret")
    code = f"import os, hashlib, {module if module != 'sitecustomize' else 'venv'}; "
    code += "print(os.environ, __import__('sys').path)"
    done = _run([sys.executable, "-I", "-c", code], tmp_path, 60.0)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()
    assert "secret" not in done.stdout
    assert str(tmp_path) not in done.stdout


def test_every_process_of_level_4_is_isolated(plain, monkeypatch):
    """What would be run, without running it: no package index is needed to see the commands."""
    from ddphf.publish import clean_venv

    seen = []

    def watch(command, **options):
        seen.append((command, options))
        output = json.dumps({"twice_nll": 0.0}) if "fit" in command else ""
        return subprocess.CompletedProcess(command, 0, output, "")

    monkeypatch.setattr(clean_venv.subprocess, "run", watch)
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    _, bundle = check_contents(plain)
    checks = list(check_command_line(bundle, 30.0, lambda line: None))
    assert len(seen) >= 5
    for command, options in seen:
        assert command[1] == "-I", command
        assert Path(options["cwd"]).name == "empty"
        assert not {k for k in options["env"] if k.startswith(("PYTHON", "PIP_", "GITHUB"))}
    install = next(command for command, _ in seen if "install" in command)
    assert {"--require-hashes", "--only-binary", "--no-deps", str(LOCK)} <= set(install)
    script = next(command for command, _ in seen if command[-2].endswith("verify_stock.py"))
    assert Path(script[-2]).parent != Path(script[-1])
    assert checks[0].status == "PASS"


def test_versions_that_were_not_tested_are_not_installed(plain):
    files = with_file(plain, "requirements.txt", b"numpy==1.0\npyhf==0.7.6\nscipy==1.17.1\n")
    _, bundle = check_contents(files)
    (check,) = check_command_line(bundle, 30.0, lambda line: None)
    assert check.status == "NOT RUN"
    assert "the bundle was made with numpy==1.0; this ddphf was tested with" in check.detail


def test_the_lock_is_of_the_tested_versions_with_checksums_alone():
    text = LOCK.read_text()
    tested = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    locked = locked_versions()
    assert {"numpy", "scipy", "pyhf", "click", "jsonschema", "pyyaml"} <= set(locked)
    for package, version in locked.items():
        name = package.lower()
        known = tested.get(name, tested.get(name.replace("-", "_")))
        assert known == version or package == "colorama", package  # colorama: Windows alone
    assert "://" not in text
    for entry in text.split("\n\n")[-1].split("\n"):
        assert entry.startswith(("#", "    --hash=sha256:")) or "==" in entry or not entry


def test_the_page_states_the_checksum_of_the_script():
    digest = hashlib.sha256(stock_script()).hexdigest()
    assert f"{digest}  verify_stock.py" in (ROOT / "docs" / "security.md").read_text()


@pytest.mark.slow
def test_level_4_passes_with_a_package_index(plain):
    result, failure = verify(plain, level=4, seconds=60.0)
    if failure is not None and failure.status == "NOT RUN":
        pytest.skip(failure.detail)
    assert failure is None, failure
    assert sum(check.level == 4 for check in result.checks) >= 4


# ---- archives -----------------------------------------------------------------------------------


def tar_of(*entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


def entry(name, **fields):
    out = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(out, key, value)
    return out


ARCHIVES = {
    "a sparse file": entry("workspace.json", type=tarfile.GNUTYPE_SPARSE),
    "a sparse file of pax": entry("a.json", pax_headers={"GNU.sparse.size": "99999999999999"}),
    "a path in a pax header": entry("a.json", pax_headers={"path": "../../up.json"}),
    "a size in a pax header": entry("a.json", pax_headers={"size": "1"}),
    "a name of 5000 characters": entry("a" * 5000),
    "a name by prefix": entry("b" * 90 + "/" + "a" * 60),
    "a device of Windows": entry("con.json"),
    "another device of Windows": entry("LPT1"),
    "a stream of NTFS": entry("a.json:evil.py"),
    "a full stop at the end": entry("../a."),
    "letters that look alike": entry("w\u043erkspace.json"),
    "letters in two parts": entry("cafe\u0301.json"),
    "a direction": entry("a\u202enosj.exe"),
    "a command": entry("\x1b[2Ja.json"),
    "a zero": entry("a.json\0.py"),
    "a directory": entry("a.json", type=tarfile.DIRTYPE),
    "a continuous file": entry("a.json", type=tarfile.CONTTYPE),
    "an old kind of file": entry("a.json", type=tarfile.AREGTYPE),
    "an executable": entry("workspace.json", mode=0o4755),
    "an owner": entry("workspace.json", uid=1, uname="root"),
}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_of_other_kinds_are_refused(kind, form):
    packed = tar_of((ARCHIVES[kind], b"{}"), form=form)
    with pytest.raises(InputError) as caught:
        unpack(packed)
    assert str(caught.value).isprintable()


def test_a_negative_size_is_damage():
    header = bytearray(entry("a.json").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    with pytest.raises(InputError, match="damaged"):
        unpack(gzip.compress(bytes(header) + bytes(9728)))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8703, 8704, 9215, 9216, 9217, 20_000])
def test_archives_of_every_length_read_back(size):
    files = {"a.json": b"x" * size, "b.json": b""}
    assert unpack(pack(files)) == files


# ---- names on a terminal ------------------------------------------------------------------------


def hostile_workspace(prefix=LEGAL):
    text = json.dumps(plain_workspace())
    for name in ("SR_mue", "symmetric", "discovery", "signal"):
        text = text.replace(f'"{name}', f'"{json.dumps(prefix)[1:-1]}{name}')
    return json.loads(text)


def harmless(*texts):
    for text in texts:
        bad = {c for c in text if not (c.isprintable() or c == "\n")}
        assert not bad, bad


def test_one_function_cleans_every_text():
    assert clean_text(HOSTILE).isprintable()
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x2028, 0x202A, 0x2067, 0xFEFF, 0xD800):
        assert clean_text(f"a{chr(code)}b").isprintable()
    for name in ("mu", "H → τμ", "Größe", "質量", "é"):
        assert clean_text(name) == name
    assert len(clean_text({"a\x07": 1, "a\x08": 2, "a\ufffd": 3})) == 3  # none is lost


def test_names_cannot_command_a_terminal(folder):
    Path("workspace.json").write_text(to_json(hostile_workspace()))
    for arguments in (
        ["inspect", "workspace.json"],
        ["fit", "workspace.json", "-o", "fit.json"],
        ["scan", "workspace.json", "--parameter", "mu", "-o", "scan.json"],
        ["yields", "workspace.json", "-o", "yields.json"],
        ["limit", "workspace.json", "-o", "limit.json"],
        ["inject", "workspace.json", "--mu", "1", "-o", "injected.json"],
        ["publish", "workspace.json", "fit.json", "-o", "out.tar.gz"],
        ["verify", "out.tar.gz"],
    ):
        done = invoke(*arguments)
        assert done.code == 0, done.err
        harmless(done.out, done.err)
    files = unpack(read_archive("out.tar.gz"))
    harmless(files["README.md"].decode())
    submission = unpack(read_archive("out.hepdata.tar.gz"))
    assert len(submission) == 7


def test_control_characters_in_names_are_refused_without_being_printed(folder):
    Path("workspace.json").write_text(to_json(hostile_workspace(HOSTILE)))
    for command in ("inspect", "fit", "publish"):
        done = invoke(command, "workspace.json", "-o", "out.tar.gz")
        assert done.code == 3
        assert "holds the control character" in done.err
        harmless(done.out, done.err)


def test_names_in_errors_cannot_command_a_terminal(folder):
    workspace = hostile_workspace()
    workspace["channels"].append(workspace["channels"][0])  # twice: an error that names it
    Path("workspace.json").write_text(to_json(workspace))
    Path(f"{ESC}.json").write_text("{")
    analysis = {**ANALYSIS, "name": HOSTILE, HOSTILE: 1}
    write_analysis(folder, analysis)
    cases = (
        ["inspect", "workspace.json"],
        ["fit", "workspace.json", "--measurement", HOSTILE],
        ["fit", f"{ESC}.json"],
        ["build", "analysis.yml"],
        ["build", f"{ESC}.yml"],
        ["verify", f"{ESC}.tar.gz"],
        ["report", f"{ESC}.json", "-o", f"{ESC}.html"],
        ["fit", "workspace.json", f"--{ESC}"],
        [ESC],
    )
    for arguments in cases:
        done = invoke(*arguments)
        assert done.code in (2, 3), arguments
        harmless(done.out, done.err)
        assert len(done.err.splitlines()) <= 6
        assert len(done.err) < 10_000


def test_what_reaches_a_terminal_is_cleaned_in_colour_too():
    from rich.panel import Panel
    from rich.progress import Progress
    from rich.table import Table
    from rich.text import Text

    shown = io.StringIO()
    console = CleanConsole(file=shown, force_terminal=True, color_system="truecolor", width=200)
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(Text(HOSTILE, style="red"))
    table.add_row("[bold]mu[/bold] :smile: [link=file:///etc/passwd]x[/link] [/]")
    console.print(table, Panel(HOSTILE), HOSTILE, style="bold")
    with Progress(console=console) as bar:
        bar.add_task(HOSTILE, total=1)
    text = shown.getvalue()
    for part in ("\x1b]", "\x07", "\x9b", "\u202e", "\u2066", "\u200b"):
        assert part not in text
    assert "[bold]mu[/bold] :smile: [link=file:///etc/passwd]x[/link] [/]" in text


def test_the_script_of_a_bundle_prints_no_commands(folder):
    Path("workspace.json").write_text(to_json(hostile_workspace()))
    done = invoke("publish", "workspace.json", "-o", "out.tar.gz")
    assert done.code == 0, done.err
    bundle = write_bundle(unpack(read_archive("out.tar.gz")), folder / "bundle")
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-W", "ignore", "verify_stock.py"], cwd=bundle,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    harmless(done.stdout.decode(), done.stderr.decode())
    readme = (bundle / "README.md").read_text()
    assert "".join(f"    {line}\n" for line in done.stdout.decode().splitlines()) in readme


# ---- names in pages, tables and documents -------------------------------------------------------

MARKUP = (
    '</title><script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onclick='alert(1)",
    "</style><svg/onload=alert(1)>", "<!-- ", "--> <b>", "&lt;script&gt;", "`x`|", "``` # a ```",
    "[click](javascript:alert(1))", "![x](http://example.org/track.png)", "$(touch pwned)",
    "; touch pwned #", "=HYPERLINK(\"http://example.org\")", "@SUM(A1)", "+1", "-1+1",
    "\\input{/etc/passwd}", "\\write18{touch pwned}", "$\\frac$", "%", "--help", "x\u2028PASS",
)  # fmt: skip


def marked_workspace():
    """Every channel, sample, measurement and modifier has a name that is code somewhere."""
    names = iter(MARKUP * 2)
    bins = 2

    def sample(modifiers):
        return {"name": next(names), "data": [50.0] * bins, "modifiers": modifiers}

    channels = []
    for _ in range(4):
        signal = sample([{"name": "mu", "type": "normfactor", "data": None}])
        noise = [sample([{"name": next(names), "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}])
                 for _ in range(2)]  # fmt: skip
        channels.append({"name": next(names), "samples": [signal, *noise]})
    measurements = [{"name": next(names), "config": {"poi": "mu", "parameters": []}}]
    observations = [{"name": c["name"], "data": [160.0, 155.0]} for c in channels]
    return {"version": "1.0.0", "channels": channels, "measurements": measurements,
            "observations": observations}  # fmt: skip


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """All that is written about such a workspace."""
    folder = tmp_path_factory.mktemp("marked")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("workspace.json").write_text(to_json(marked_workspace()))
        for arguments in (
            ["fit", "workspace.json", "-o", "fit.json"],
            ["rank", "workspace.json", "-o", "rank.json"],
            ["yields", "workspace.json", "--fit", "fit.json", "-o", "yields.json", "--tables",
             "tables", "--plots", "plots"],
            ["report", "workspace.json", "fit.json", "rank.json", "yields.json", "-o", "page.html"],
            ["publish", "workspace.json", "fit.json", "rank.json", "-o", "out.tar.gz"],
        ):  # fmt: skip
            done = invoke(*arguments)
            assert done.code == 0, done.err
            harmless(done.out, done.err)
            assert not [line for line in done.err.splitlines() if line.startswith("PASS")]
    finally:
        os.chdir(before)
    return folder


def test_names_are_no_html(marked):
    from html.parser import HTMLParser

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.attributes, self.links = set(), set(), []

        def handle_starttag(self, tag, attributes):
            self.tags.add(tag)
            self.attributes |= {key for key, _ in attributes}
            self.links += [value for key, value in attributes if key in ("href", "src")]

    page = Reader()
    page.feed((marked / "page.html").read_text())
    assert not page.tags & {"script", "svg", "b", "iframe", "object", "embed", "form", "link"}
    assert not {key for key in page.attributes if key.startswith("on")}
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in page.links)
    import base64

    for link in page.links:
        if link.startswith("data:"):
            drawn = base64.b64decode(link.split(",", 1)[1]).decode()
            assert "<script" not in drawn
            assert "onload" not in drawn


def test_names_are_no_formulas_and_no_macros(marked):
    import csv

    for path in (marked / "tables").glob("*.csv"):
        with path.open(newline="") as stream:
            header, *rows = csv.reader(stream)
        assert rows
        for name in (*header, *(cell for row in rows for cell in row[:2])):
            assert not name.lstrip().startswith(("=", "+", "-", "@")), name
            assert "\n" not in name
        assert all(len(row) == len(header) for row in rows)
    for path in (marked / "tables").glob("*.tex"):
        text = path.read_text()
        known = {
            "begin", "end", "caption", "hline", "endhead", "pm", "textbackslash", "textasciitilde",
            "textasciicircum", "textless", "textgreater", "textbar",
        }  # fmt: skip
        assert set(re.findall(r"\\([A-Za-z]+)", text)) <= known
        body = text.replace("\\$", "").replace("\\%", "")
        assert "%" not in body
        assert body.count("$") % 2 == 0
        assert "\n\n" not in text.strip()


def test_names_are_no_markdown(marked):
    """Outside of code spans and blocks no name makes a link, a picture, a heading or HTML."""
    readme = unpack(read_archive(marked / "out.tar.gz"))["README.md"].decode()
    text = re.sub(r"```python\n.*?\n```\n", "", readme, flags=re.DOTALL)
    assert text.count("```") == readme.count("```") - 2
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    bare = re.sub(r"(?<![`\\])(`+)(?!`).*?(?<!`)\1(?!`)", "", "\n".join(lines))
    bare = bare.replace("[pyhf](https://github.com/scikit-hep/pyhf)", "")
    assert not re.search(r"(?<!\\)\[", bare), bare
    assert "<" not in bare
    headings = [line for line in lines if line.startswith("#")]
    assert headings == ["# workspace", "## Reproduce it with plain pyhf",
                        "## What the numbers mean"]  # fmt: skip


def test_commands_of_the_readme_are_one_command_each(marked):
    """Words by the rules of the shell: the measurement is one of them, nothing else is run."""
    import shlex

    files = unpack(read_archive(marked / "out.tar.gz"))
    name = json.loads(files["workspace.json"])["measurements"][0]["name"]
    rows = re.findall(r"^\| (`+) ?(pyhf fit .*?) ?\1 \|", files["README.md"].decode(), re.MULTILINE)
    assert len(rows) == 2
    for _, command in rows:
        words = shlex.split(command.replace("\\|", "|"))
        assert words[:4] == ["pyhf", "fit", "--value", "--measurement"]
        assert words[4] == clean_text(name)


def test_a_name_that_fills_a_page_is_refused(folder):
    """A megabyte of name kept the layout of a figure busy for minutes."""
    text = json.dumps(plain_workspace()).replace('"symmetric"', f'"{"x" * 1_000_000}"')
    Path("workspace.json").write_text(text)
    for command in ("inspect", "fit"):
        done = invoke(command, "workspace.json")
        assert done.code == 3
        assert "a text of 1000000 characters, at most 1000" in done.message


SIDECARS = {
    "no schema": {"schema": 3},
    "no binning": {"binning": None},
    "a number of axes": {"binning": {"axes": 5}},
    "edges that fall": {"binning": {"axes": [{"label": "x", "unit": "", "edges": [1.0, 0.0]}]}},
    "other bins": {"binning": {"axes": [{"label": "x", "unit": "", "edges": [0.0, 1.0]}]}},
    "no pair": {"pairing": 5},
    "another pair": {"pairing": {"tested": "x", "partner": "y"}},
    "a list of maps": {"lepton_id": []},
    "empty maps": {"lepton_id": {}},
    "absorbed": {"absorbed": 3},
    "a variation that is none": {"lepton_id": {"kept": ["lepid_eig7"]}},
    "a variation without a number": {"lepton_id": {"kept": ["lepid_eig"]}},
}


@pytest.mark.parametrize("kind", SIDECARS)
def test_sidecars_by_strangers_are_no_tracebacks(folder, kind):
    import pyhf

    workspace = plain_workspace()
    Path("workspace.json").write_text(to_json(workspace))
    n_bins = len(workspace["channels"][0]["samples"][0]["data"])
    maps = {
        "eigenvalues": [1.0], "trace": 1.0, "retained": 1.0, "largest_sigma": 0.1, "dropped": 0,
        "residual": "none", "largest_loss": 0.0, "covariance": {"calibration_bins": 1, "model": ""},
    }  # fmt: skip
    data = {
        "schema": "ddphf/metadata/1", "name": "x",
        "workspace_digest": f"sha256:{pyhf.utils.digest(workspace)}",
        "binning": {"axes": [{"label": "x", "unit": "", "edges": list(range(n_bins + 1))}]},
        "pairing": {"tested": "SR_mue", "partner": "CR_emu"},
    }  # fmt: skip
    change = SIDECARS[kind]
    if isinstance(change.get("lepton_id"), dict) and change["lepton_id"]:
        change = {"lepton_id": {**maps, **change["lepton_id"]}}
    Path("workspace.metadata.json").write_text(json.dumps({**data, **change}))
    for arguments in (
        ["inspect", "workspace.json"],
        ["inspect", "workspace.json", "--plots", "plots"],
        ["publish", "workspace.json", "-o", "out.tar.gz"],
    ):
        done = invoke(*arguments)
        assert done.code == 3, done.err
        assert "build it again or move it away" in done.message
        assert done.out == ""
    Path("workspace.metadata.json").write_text(json.dumps(data))
    assert invoke("inspect", "workspace.json").code == 0


# ---- models, patches and seeds ------------------------------------------------------------------


def test_a_short_workspace_of_a_huge_model_is_refused(tmp_path):
    """A megabyte of text whose arrays take pyhf ten gigabytes."""
    samples = [{"name": f"s{i}", "data": [10.0] * 50, "modifiers": []} for i in range(200)]
    for j in range(4000):
        entry = {"name": f"m{j}", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
        samples[j % 200]["modifiers"].append(entry)
    samples[0]["modifiers"].append({"name": "mu", "type": "normfactor", "data": None})
    workspace = plain_workspace()
    workspace["channels"] = [{"name": "c", "samples": samples}]
    workspace["observations"] = [{"name": "c", "data": [2000.0] * 50}]
    workspace["measurements"] = [{"name": "m", "config": {"poi": "mu", "parameters": []}}]
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(workspace))
    assert path.stat().st_size < 1e6
    done = invoke("fit", path)
    assert done.code == 3
    assert (
        "40,010,000 numbers of its model (4001 modifiers x 200 samples x 50 bins)" in done.message
    )


def test_a_patch_that_doubles_is_not_applied(plain):
    bomb = [{"op": "copy", "from": "/channels/0/samples", "path": "/channels/0/samples/0/x"}] * 60
    files = tamper(plain, "patch_signal.json", lambda steps: [*steps, *bomb])
    start = time.process_time()
    _, failure = verify(files, level=0)
    assert (failure.what, "copies /channels/0" in failure.detail) == (
        "patches make the workspace", True,
    )  # fmt: skip
    assert time.process_time() - start < 30.0


@pytest.mark.parametrize("n", [10**12, 10**7 + 1])
def test_a_bundle_cannot_ask_for_endless_toys(plain, n):
    from ddphf.publish.rerun_toys import check_toys

    def change(results):
        statement = results["statements"][0]
        results["toys"] = [
            {"file": None, "measurement": statement["measurement"], "mu": 0.0,
             "q0": statement["q0"], "n": n, "n_failed": 0, "n_ge": 0, "seed": 1}
        ]  # fmt: skip

    _, bundle = check_contents(tamper(plain, "results.json", change))
    with pytest.raises(InputError, match="toys, more than the 10,000,000"):
        list(check_toys(bundle, lambda line: None, None))


BUG = """
import sys
from ddphf.cli.signals import run
class Broken(str):
    def startswith(self, *given):
        raise RuntimeError("a name of a file: \\x1b[31mred \\u202e")
sys.argv = ["ddphf", Broken("inspect")]
run()
"""


def test_a_bug_shows_no_escapes_of_names(folder):
    """Its traceback is printed by Python, whose messages are not cleaned."""
    done = subprocess.run([sys.executable, "-c", BUG], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: a name of a file: \ufffd[31mred \ufffd" in done.stderr
    assert "\x1b" not in done.stderr
