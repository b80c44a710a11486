"""The rooms of the house, and who may import whom: ARCHITECTURE.md as a table."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ddphf

PRODUCT = Path(ddphf.__file__).parent

GROUND = {"results", "statistics", "compute"}
"""Folders that both wings share; single files beside them are ground too."""

MAY_IMPORT = {
    "cli": {
        "bumps", "config", "figures", "inference", "inputs", "interchange", "learning",
        "likelihood", "masses", "measurement", "publish", "report", "search", "studies",
        "symmetry", "workspace",
    },
    "studies": {
        "config", "figures", "inference", "inputs", "learning", "likelihood", "measurement",
        "search",
        "symmetry", "workspace",
    },
    "measurement": {"config", "inputs", "symmetry", "workspace"},
    "workspace": {"config", "inputs", "symmetry"},
    "symmetry": {"config", "inputs"},
    "publish": {"figures", "inference", "learning", "likelihood", "masses", "report"},
    "masses": {"inference", "inputs", "likelihood"},
    "inference": {"likelihood"},
    "interchange": {"inputs", "likelihood"},
    "likelihood": set(),
    "search": {"config", "inputs", "symmetry", "workspace"},
    "bumps": {"config", "inputs", "symmetry", "workspace"},
    "learning": {"config", "inputs", "search", "symmetry", "workspace"},
    "report": {"figures"},
    "figures": set(),
    "inputs": set(),
    "config": set(),
    "results": set(),
    "statistics": set(),
    "compute": set(),
}  # fmt: skip
"""Beside the ground. The left wing (symmetry, search, bumps, learning, measurement, workspace) and
the right one (likelihood, inference, masses, publish, interchange) meet in a file; `publish` redoes
what was learned from events, which no workspace holds."""

GROUND_MAY_IMPORT = {"results": {"statistics"}, "statistics": {"compute"}, "compute": set()}

NAMES_OTHERS = "ddphf.results.registry"
"""Says which functions of `publish` check a kind of record; they are imported when asked for."""

MAX_LINES = 400

PUBLIC = {
    "AsymmetryTest", "Channel", "DdphfError", "Pair", "Template", "__version__", "all_squares",
    "build_workspace", "bump_z", "centred_windows", "compare_statistic", "discover_workspace",
    "draw_pairs", "error_matrix", "exact_p_value", "find_best_window", "fit_workspace",
    "global_p_value", "inject_signal", "limit_workspace", "load_pair", "n_sigma",
    "n_sigma_terms", "open_runner", "predict_yields", "rank_parameters", "read_analysis",
    "scan_parameters",
}  # fmt: skip


def modules():
    for path in sorted(PRODUCT.rglob("*.py")):
        name = ".".join(("ddphf", *path.relative_to(PRODUCT).with_suffix("").parts))
        yield name.removesuffix(".__init__"), path


def imported(path, typing_too=True):
    """Return (module, line) of each import of the product, inside functions too."""
    found = []
    tree = ast.parse(path.read_text())
    skipped = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [(name, node.lineno) for name in names if name.split(".")[0] == "ddphf"]
    return found


def named(path):
    """Return (module, line) of each module that a string names, imported when it is asked for."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.match(r"(ddphf(?:\.\w+)+)(:\w+)?$", node.value)
            if found:
                yield found[1], node.lineno


def room(module):
    """Return the folder, or None for the single files of the ground and the face."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PRODUCT / parts[1]).is_dir() else None


def broken_rules():
    for module, path in modules():
        own = room(module)
        later = [] if module == NAMES_OTHERS else named(path)
        for name, line in (*imported(path), *later):
            other = room(name)
            if other is None or other == own or module in ("ddphf", "ddphf.__main__"):
                continue
            if own is None:
                yield f"{path.name}:{line}: the ground imports the room '{other}'"
            elif own in GROUND_MAY_IMPORT:
                if other not in GROUND_MAY_IMPORT[own]:
                    yield f"{module}:{line}: '{own}' is ground and imports '{other}'"
            elif other not in MAY_IMPORT[own] | GROUND:
                yield f"{module}:{line}: '{own}' may not import '{other}'"


def test_imports_follow_the_table():
    assert list(broken_rules()) == []


def test_every_import_is_of_a_module_that_exists():
    known = {module for module, _ in modules()}
    missing = [
        f"{path.relative_to(PRODUCT)}:{line}: {name}"
        for _, path in modules()
        for name, line in (*imported(path), *named(path))
        if name not in known
    ]
    assert missing == []


def test_every_folder_has_a_row():
    folders = {p.name for p in PRODUCT.iterdir() if (p / "__init__.py").exists()}
    assert folders <= set(MAY_IMPORT)


def test_the_table_has_no_circle():
    done: set[str] = set()
    left = dict(MAY_IMPORT)
    while left:
        free = {name for name, needs in left.items() if needs <= done}
        assert free, f"a circle among {sorted(left)}"
        done |= free
        left = {name: needs for name, needs in left.items() if name not in free}


def test_modules_import_each_other_in_no_circle():
    """Imports at the top of files: those inside functions and for types alone do not count."""
    graph = {}
    for module, path in modules():
        tree = ast.parse(path.read_text())
        inside = {
            inner.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            for inner in ast.walk(node)
            if isinstance(inner, ast.ImportFrom | ast.Import)
        }
        graph[module] = {n for n, line in imported(path, typing_too=False) if line not in inside}
    while graph:
        free = {name for name, needs in graph.items() if not needs & set(graph) - {name}}
        assert free, f"a circle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in free}


def test_files_can_be_read_in_a_sitting():
    long = {
        str(path.relative_to(PRODUCT)): lines
        for _, path in modules()
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_public_names_are_pinned():
    assert set(dir(ddphf)) == PUBLIC
    for name in PUBLIC - {"__version__"}:
        found = getattr(ddphf, name)
        assert found.__doc__
        assert found.__module__ == f"ddphf.{ddphf._HOMES[name]}"
    with pytest.raises(AttributeError, match="module 'ddphf' has no attribute 'fit'"):
        _ = ddphf.fit


def test_type_checkers_see_the_same_names():
    block = next(
        node
        for node in ast.parse(Path(ddphf.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    found = {node.names[0].name: node.module for node in block.body}
    assert found == {name: f"ddphf.{home}" for name, home in ddphf._HOMES.items()}


def test_import_of_the_face_waits_for_nothing():
    program = (
        "import sys, ddphf; dir(ddphf)\n"
        "heavy = {'numpy', 'jax', 'pyhf', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


DEEP = {"docs/engine.md"}
"""Pages about the inside of the engine."""


def test_pages_import_the_face_alone():
    root = Path(__file__).parents[1]
    pages = [*sorted((root / "docs").glob("*.md")), *sorted((root / "docs/tutorials").glob("*.md"))]
    for page in [root / "README.md", *pages]:
        name = str(page.relative_to(root))
        lines = [line for line in page.read_text().splitlines() if "from ddphf." in line]
        assert name in DEEP or lines == [], f"{name}: {lines}"


def test_arrays_and_callbacks_have_one_home():
    """A local alias of a type that others use closes circles and hides what differs."""
    for module, path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and module not in ("ddphf.arrays", "ddphf.progress"):
                text = ast.unparse(node.value)
                assert not text.startswith(("np.ndarray[", "Callable[[str], None]")), text
                assert text not in ("Any", "dict[str, Any]", "Callable[[int, int], None]"), text


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("have no certificate, more than", "statistics/tails.py"),
        ("np.sqrt(np.abs(q)", "statistics/signed.py"),
        ('1e-6\n"""A held fit below the free one', "statistics/signed.py"),
        ("CONVERGED_FAST, CAREFUL, FAILED = ", "statistics/tails.py"),
        ("beta.ppf", "statistics/tails.py"),
        ("SeedSequence(", "compute/streams.py"),
        ('f"sha256:{pyhf', "results/provenance.py"),
        ("ThreadPoolExecutor(", "compute/threads.py"),
    ],
)
def test_what_exists_once_stands_once(text, home):
    found = [str(p.relative_to(PRODUCT)) for _, p in modules() if text in p.read_text()]
    assert found == [home]


def test_emission_knows_no_pair():
    """Ratios, masses and bumps will write workspaces of other channels with it."""
    names = {name for name, _ in imported(PRODUCT / "workspace" / "emit.py")}
    assert names == {"ddphf.arrays", "ddphf.workspace_json"}


def filled_parameters():
    """Yield where a function adds to a list that its caller gave it."""
    adding = {"append", "extend", "insert"}
    for module, path in modules():
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            given = {
                a.arg
                for a in arguments
                if a.annotation is not None and ast.unparse(a.annotation).startswith("list[")
            }
            for node in ast.walk(function):
                if isinstance(node, ast.Assign):  # from there on it is a list of its own
                    given -= {target.id for target in node.targets if isinstance(target, ast.Name)}
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)):
                        found = name in given and attribute in adding
                    case ast.AugAssign(target=ast.Name(id=name)):
                        found = name in given
                    case _:
                        continue
                if found:
                    yield f"{module}:{node.lineno}: {function.name} adds to '{name}'"


def test_what_a_function_finds_is_returned_and_not_added_to_an_argument():
    assert list(filled_parameters()) == []
