"""Programs that must end, judged by their processor time: a busy machine stretches the clock."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

POLL_S = 5.0
IDLE_POLLS = 120
"""Ten minutes in which a program does nothing at all: it waits for what never comes."""

TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid):
    """Return what a program's threads have used so far; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_watched(command, *, cpu_s, idle_polls=IDLE_POLLS, poll_s=POLL_S, **options):
    """Run a program and return its exit code and what it said, as ``subprocess.run`` does.

    Args:
        command: Its arguments.
        cpu_s: Processor seconds that it may take; without /proc the watchdog of the whole run is
            the only one.
        idle_polls: After so many looks at an idle program it is said to hang.
        poll_s: Seconds between two looks.
        options: Of ``subprocess.Popen``.
    """
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        subprocess.Popen(command, stdout=out, stderr=err, **options) as process,
    ):
        idle, before = 0, 0.0
        while True:
            try:
                process.wait(timeout=poll_s)
                break
            except subprocess.TimeoutExpired:
                used = processor_seconds(process.pid)
            idle = idle + 1 if used == before else 0
            if used is None or (used <= cpu_s and idle < idle_polls):
                before = used
                continue
            process.kill()
            why = "idle" if used <= cpu_s else f"not done in {cpu_s:g} processor seconds"
            pytest.fail(f"{' '.join(command)[:500]}: {why} after {used:.0f} processor seconds")
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read())
        return subprocess.CompletedProcess(command, process.returncode, *said)
