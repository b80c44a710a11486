"""The gallery: python docs/site/gallery.py FOLDER runs commands on the shipped samples.

Each entry is commands, as a reader would type them, and what of their figures is shown.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WINDOW, ASYMMETRIC, RATIO = (
    f"workspaces/{name}" for name in ("higgs_lfv_window", "higgs_lfv_asymmetric", "tau_ratio")
)


@dataclass(frozen=True)
class Entry:
    """One command and its figures.

    Attributes:
        title: Of the section.
        page: Where the command is explained.
        command: As typed in the repository; figures go to ``figures``.
        shown: File name and caption of each figure that is shown.
    """

    title: str
    page: str
    command: str
    shown: dict[str, str]


ENTRIES = (
    Entry(
        "The pair before and after the fit", "fit.md",
        f"ddphf fit {WINDOW}/workspace.json -o fit.json --plots figures",
        {"postfit.png": "Both channels after the fit, their ratio to the model, and the asymmetry"},
    ),
    Entry(
        "Expected events, bin by bin", "yields.md",
        f"ddphf yields {WINDOW}/workspace.json --fit {WINDOW}/fit.json -o yields.json "
        "--plots figures",
        {
            "asymmetry.png": "Asymmetry of the two samples, with the fits at mu = 0 and above",
            "z_map.png": "Local Z of each bin",
        },
    ),
    Entry(
        "Upper limits", "limits.md",
        f"ddphf limit {WINDOW}/workspace.json -o limit.json --plots figures",
        {"limit.png": "CLs against mu, observed and expected"},
    ),
    Entry(
        "The null by toys", "discover.md",
        f"ddphf discover {WINDOW}/workspace.json --null asymptotic,toys --toys 2000 --seed 1 "
        "-o discover.json --plots figures",
        {"discover_null.png": "Signed Z of toys without a signal, and their quantiles"},
    ),
    Entry(
        "A profile", "rank.md",
        f"ddphf scan {RATIO}/workspace.json --parameter R_mu -o scan.json --plots figures",
        {"scan.png": "2NLL of a measured ratio, everything else refitted"},
    ),
    Entry(
        "What moves the result", "rank.md",
        f"ddphf rank {RATIO}/workspace.json --top 15 -o rank.json --plots figures",
        {"ranking.png": "The largest impacts beside the pulls"},
    ),
    Entry(
        "Where two samples differ", "data_directed_search.md",
        f"ddphf search pair {WINDOW}/analysis.yml --windows ladder --seed 1 -o search.json "
        "--plots figures",
        {
            "search_z_map.png": "Z of each bin, and the best windows",
            "search_maximum.png": "The largest Z of histograms without a signal, and the data's",
        },
    ),
    Entry(
        "Masses", "masses.md",
        "ddphf masses workspaces/zprime_scan/scan.yml -o masses.json --plots figures",
        {"masses_limits.png": "Limits of every hypothesis, observed and expected"},
    ),
    Entry(
        "Bumps", "bumps.md",
        "ddphf bumps scan spectrum.csv --width-bins 1.5 --toys 40 --seed 1 -o bumps.json "
        "--plots figures",
        {"bump.png": "A spectrum, its fitted background, and Z of every bin"},
    ),
)  # fmt: skip


def spectrum() -> str:
    """Return a falling spectrum with a bump, as the CSV file that ``ddphf bumps`` reads."""
    import numpy as np

    edges = np.linspace(100.0, 200.0, 51)
    middle = (edges[1:] + edges[:-1]) / 2
    rate = 2000 * np.exp(-middle / 30) * 10 + 90 * np.exp(-(((middle - 145) / 3) ** 2) / 2)
    counts = np.random.default_rng(4).poisson(rate)
    rows = zip(edges[:-1], edges[1:], counts, strict=True)
    return "mass_low,mass_high,counts\n" + "".join(f"{a},{b},{n}\n" for a, b, n in rows)


def run(work: Path, entry: Entry) -> Path:
    """Run the command of an entry in a folder of its own, and return it.

    Raises:
        SystemExit: The command failed.
    """
    work.mkdir()
    (work / "workspaces").symlink_to(ROOT / "workspaces")
    (work / "spectrum.csv").write_text(spectrum())
    program, *words = shlex.split(entry.command)
    done = subprocess.run(
        [sys.executable, "-m", program, *words, "-q"], cwd=work, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{entry.command}: {done.stderr}")
    return work


def write(folder: Path) -> None:
    """Run all entries, two at a time, and write the page.

    Raises:
        SystemExit: A command failed, or a figure that is shown was not drawn.
    """
    place = folder.parent / "gallery"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (folder / "figures").mkdir(exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        works = list(pool.map(lambda n: run(place / str(n), ENTRIES[n]), range(len(ENTRIES))))
    lines = [
        "# Gallery", "",
        "Drawn by the commands above them, when this site was built, from the shipped samples; "
        "the last from a spectrum that `docs/site/gallery.py` draws, with a bump at 145.", "",
    ]  # fmt: skip
    for number, (entry, work) in enumerate(zip(ENTRIES, works, strict=True)):
        how = f"[How it is used]({entry.page})."
        lines += [f"## {entry.title}", "", f"    {entry.command}", "", how, ""]
        for name, caption in entry.shown.items():
            drawn = work / "figures" / name
            if not drawn.exists():
                there = sorted(path.name for path in (work / "figures").iterdir())
                raise SystemExit(f"{entry.command}: no {name} among {there}")
            shutil.copy(drawn, folder / "figures" / f"{number}_{name}")
            lines += [f"![{caption}](figures/{number}_{name})", "", caption + ".", ""]
    (folder / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
