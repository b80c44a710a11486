"""Run the tutorials: python docs/site/tutorials.py FOLDER makes an executed notebook of each page.

The pages are notebooks in MyST's text form; jupytext reads them. A cell that fails ends it, and so
does a tutorial that takes longer than a reader would wait.
"""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

MOST_S = {"first_pair": 60.0}
"""Processor seconds; others have `OTHERS_S`."""

OTHERS_S = 120.0
PLAIN = """import os
for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "PY_COLORS"):
    os.environ.pop(name, None)
os.environ.update(NO_COLOR="1", COLUMNS="92")
"""
"""A kernel asks commands for colours, which a page would have to take out again."""

TIMER = """import resource
print(sum(sum(resource.getrusage(who)[:2]) for who in (0, -1)))
"""
LOG = re.compile(r"^ddphf: \d[\d.]* s: .*\n?", re.M)
"""Stages of long commands: when they come depends on the machine."""


def execute(page: Path) -> float:
    """Run a page, write the notebook beside it in the place of the page.

    Returns:
        Its processor seconds, of the kernel and of the commands.

    Raises:
        SystemExit: A cell failed.
    """
    notebook = jupytext.read(page)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(PLAIN))
    notebook.cells.append(nbformat.v4.new_code_cell(TIMER))
    client = NotebookClient(
        notebook, timeout=600, startup_timeout=300, kernel_name="python3", coalesce_streams=True
    )
    try:
        client.execute(cwd=str(page.parent.resolve()))
    except CellExecutionError as error:
        raise SystemExit(f"{page.name}: {error}") from None
    notebook.cells.pop(0)
    seconds = float(notebook.cells.pop().outputs[0].text)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = LOG.sub("", output.text)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("text", " ")]
    nbformat.write(notebook, page.with_suffix(".ipynb"))
    page.unlink()
    return seconds


def main(folder: Path) -> None:
    """Run all of them, two at a time.

    Raises:
        SystemExit: One failed, or took too long.
    """
    programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join(
        (programs, os.environ["PATH"])
    )  # of cells that are commands
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    pages = sorted(folder.glob("*.md"))
    with ThreadPoolExecutor(2) as pool:
        times = dict(zip((page.stem for page in pages), pool.map(execute, pages), strict=True))
    for name, seconds in times.items():
        print(f"{name}: {seconds:.1f} processor seconds")
        if seconds > MOST_S.get(name, OTHERS_S):
            raise SystemExit(f"{name}: too long for a tutorial")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
