"""What README.md shows is run, and prints what it says; tests/test_first_hour.py runs the rest."""

import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

from environments import with_tree
from rich.console import Console

import ddphf.cli.fit as fit_command
from ddphf.files import read_json
from ddphf.results.fit import FitResult

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL).group(1)


def test_python_example():
    code = block("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "README.md", "exec"), {})
    match = re.fullmatch(
        r"mu = (-?\d\.\d\d) \+- (\d\.\d\d), Z = (-?\d+\.\d\d)\n", output.getvalue()
    )
    mu, error, z = map(float, match.groups())
    assert abs(mu - 1) < 4 * error
    assert z > 2


def test_commands_on_your_own_histograms(tmp_path):
    (tmp_path / "analysis.yml").write_text(block("yaml"))
    shutil.copy(ROOT / "workspaces/higgs_lfv_window/histograms.root", tmp_path)
    section = README.split("## Your own histograms")[1].split("##")[0]
    commands = re.findall(r"^    ((?:ddphf|pyhf) .*)$", section, re.MULTILINE)
    assert [c.split()[1] for c in commands] == ["build", "inspect", "fit", "fit", "fit", "fit"]
    bin_folder = str(Path(sys.executable).parent)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    env = with_tree(PATH=path, OPENBLAS_NUM_THREADS="1")
    values = []
    for command in commands:
        command = command.replace("ddphf ", f"{sys.executable} -m ddphf ", 1)
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        if command.startswith("pyhf"):
            values.append(float(re.search(r'"twice_nll": ([\d.]+)', done.stdout).group(1)))
    q0 = read_json(str(tmp_path / "fit.json"))["discovery"]["q0"]
    assert abs(values[1] - values[0] - q0) < 2e-3
    assert (tmp_path / "figures/postfit.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "workspace.metadata.json").is_file()


def test_printed_result_is_the_shipped_one():
    result = FitResult.from_dict(read_json(str(ROOT / "workspaces/higgs_lfv/fit.json")))
    output = io.StringIO()
    console = Console(file=output, width=100)
    console.print(fit_command.make_table(result))
    table = [line.rstrip() for line in output.getvalue().splitlines() if line[0] in "┏┃┡│└"]
    assert len(table) == 6
    for line in table:
        assert f"    {line}\n" in README
