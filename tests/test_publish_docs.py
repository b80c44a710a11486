"""docs/reproduce.md and docs/hepdata.md, followed word for word."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import invoke, write_analysis
from environments import without_ddphf

from ddphf.publish.archive import read_archive, unpack

ROOT = Path(__file__).parents[1]
WINDOW = ROOT / "workspaces" / "published" / "higgs_lfv_window.tar.gz"


def commands(page):
    """The indented blocks of a page, in order."""
    text = re.sub(r"```.*?```", "", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)
    return [line[4:] for line in text.splitlines() if re.match(r"    \S", line)]


def test_python_of_reproduce(tmp_path):
    for name, content in unpack(read_archive(WINDOW)).items():
        (tmp_path / name).write_bytes(content)
    text = (ROOT / "docs" / "reproduce.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```\n\nprints `(.*?)`", text, re.DOTALL).groups()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=without_ddphf(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == printed, done.stderr


@pytest.mark.slow
def test_reproduce_word_for_word(tmp_path):
    """In a clean environment, nothing of this one on the paths."""
    shutil.copy(WINDOW, tmp_path)
    keep = ("PATH", "HOME", "LANG")
    env = {k: v for k, v in os.environ.items() if k in keep or k.startswith(("PIP_", "SSL_"))}
    script = "\n".join(commands("reproduce.md"))
    done = subprocess.run(
        ["bash", "-e"], input=script, cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if "No matching distribution" in done.stderr:
        pytest.skip("no package index")
    assert done.returncode == 0, done.stdout + done.stderr
    values = [float(v) for v in re.findall(r'"twice_nll": ([\d.]+)', done.stdout)]
    assert values[1] - values[0] == pytest.approx(14.68216, abs=1e-2)
    assert values[2] == pytest.approx(values[0], abs=1e-3)
    assert done.stdout.count("PASS") == 2


def test_commands_of_the_hepdata_page(folder):
    write_analysis(folder)
    Path("LICENSE.txt").write_text("mine\n")
    Path("CITATION.cff").write_text("cff-version: 1.2.0\n")
    Path("workspace.json").write_text("")
    assert invoke("build", "analysis.yml", "-o", "workspace.json", "--force").code == 0
    assert invoke("fit", "workspace.json", "-o", "fit.json").code == 0
    text = (ROOT / "docs" / "hepdata.md").read_text()
    line = re.search(r"ddphf (publish analysis\.yml .*?)\n\n", text, re.DOTALL).group(1)
    words = re.findall(r'"[^"]*"|\S+', line.replace("\\\n", " "))
    done = invoke(*(word.strip('"') for word in words))
    assert done.code == 0, done.err
    files = unpack(read_archive("pair.hepdata.tar.gz"))
    bundle = unpack(files["pair.tar.gz"])
    assert bundle["LICENSE"] == b"mine\n"
    assert bundle["README.md"].startswith(b"# Search for H to tau mu\n")
    tables = {name for name in files if name.endswith(".yaml")}
    for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)[2:5]:
        for name in re.findall(r"`(.*?)`", row):
            pattern = name.replace("<channel>", ".*")
            assert any(re.fullmatch(pattern, table) for table in tables), name
    documents = list(yaml.safe_load_all(files["submission.yaml"]))
    assert documents[0]["additional_resources"][0]["type"] == "HistFactory"
