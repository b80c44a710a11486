"""What programs that tests start see of the packages here, which may come by PYTHONPATH alone."""

import os
from pathlib import Path

import ddphf

ROOT = Path(ddphf.__file__).parents[1]


def _paths():
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def with_tree(**settings):
    """The environment in which ``python -m ddphf`` is that of this checkout."""
    paths = [str(ROOT), *(path for path in _paths() if Path(path) != ROOT)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **settings}


def without_ddphf(**settings):
    """The environment in which its packages are found and ddphf is not."""
    env = {**os.environ, "PYTHONWARNINGS": "ignore", **settings}
    paths = [path for path in _paths() if not (Path(path) / "ddphf").exists()]
    env.pop("PYTHONPATH", None)
    return {**env, "PYTHONPATH": os.pathsep.join(paths)} if paths else env
