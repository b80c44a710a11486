"""Pages of the API reference: the face, then every room, one section per module."""

from __future__ import annotations

import ast
from pathlib import Path

import ddphf

SCRIPTS = {"ddphf.publish.verify_stock", "ddphf.masses.make_workspace"}
"""Run by strangers as they stand; they have no public names."""


def exported(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of ``__all__`` of a module, and which of them are another module's."""
    names: list[str] = []
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                names = [str(name.value) for name in elements if isinstance(name, ast.Constant)]
            case ast.ImportFrom(names=aliases):
                imported |= {alias.asname or alias.name for alias in aliases}
    return [n for n in names if n not in imported], [n for n in names if n in imported]


def packages(product: Path) -> dict[str, dict[str, list[str]]]:
    """Return the modules with public names of every package, and their names that are others'."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(product.rglob("*.py")):
        module = ".".join(("ddphf", *path.relative_to(product).with_suffix("").parts))
        names, others = exported(path)
        if names and module not in SCRIPTS and path != product / "__init__.py":
            package = module.rpartition(".")[0]
            found.setdefault(package, {})[module] = others
    return found


def inner(product: Path) -> list[str]:
    """Return the full names of types and classes that modules keep for themselves.

    Annotations of public names may speak of them; the reference has no entry for them.
    """
    found = []
    for path in sorted(product.rglob("*.py")):
        module = ".".join(("ddphf", *path.relative_to(product).with_suffix("").parts))
        own, others = exported(path)
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.ClassDef(name=name):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name)):
                    pass
                case _:
                    continue
            if name not in (*own, *others):
                found.append(f"{module}.{name}")
    return found


def summary(path: Path) -> str:
    """Return the first line of what a package says of itself."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def face() -> str:
    """Return the page of the names that users import."""
    lines = ["# What `ddphf` hands on", "", "Users import these names, and no others:", ""]
    lines += [f"- {{py:obj}}`ddphf.{name}`" for name in ddphf.__all__ if name != "__version__"]
    lines += ["", "`ddphf.__version__` is the version, a string.", ""]
    lines += ["```{eval-rst}", ".. currentmodule:: ddphf", ""]
    for name in ddphf.__all__:
        value = getattr(ddphf, name)
        if isinstance(value, type):
            kind = "autoexception" if issubclass(value, Exception) else "autoclass"
            lines += [
                f".. {kind}:: ddphf.{name}",
                "   :members:",
                "   :inherited-members: Exception, object",
            ]
        elif callable(value):
            lines += [f".. autofunction:: ddphf.{name}"]
        lines.append("")
    return "\n".join([*lines, "```", ""])


def write(folder: Path, product: Path) -> None:
    """Write a page for the face and for each package."""
    folder.mkdir(parents=True)
    (folder / "ddphf.md").write_text(face())
    found = packages(product)
    rows = []
    for package, modules in sorted(found.items()):
        path = product.joinpath(*package.split(".")[1:])
        title = "Single files of the ground" if package == "ddphf" else f"`{package}`"
        name = "ground" if package == "ddphf" else package.removeprefix("ddphf.")
        text = "" if package == "ddphf" else summary(path / "__init__.py")
        lines = [f"# {title}", "", text, ""]
        if package != "ddphf":
            lines += ["```{eval-rst}", f".. py:module:: {package}", "```", ""]
        for module, others in modules.items():
            left_out = [f"   :exclude-members: {', '.join(others)}"] if others else []
            lines += [
                f"## `{module}`", "", "```{eval-rst}",
                f".. automodule:: {module}", "   :members:", "   :show-inheritance:", *left_out,
                "```", "",
            ]  # fmt: skip
        (folder / f"{name}.md").write_text("\n".join(lines))
        rows.append((name, title, text))
    entries = [
        "# API reference", "",
        "Users import from `ddphf` alone: [these names](ddphf.md). The rooms behind them follow, "
        "module by module; [the architecture](../project/architecture.md) says who may import "
        "whom. Shapes, units, errors and the source of a formula stand with each name.", "",
        "| room | holds |", "|---|---|",
        *(f"| [{title}]({name}.md) | {text} |" for name, title, text in rows), "",
        "```{toctree}", ":hidden:", "", "ddphf", *(name for name, _, _ in rows), "```", "",
    ]  # fmt: skip
    (folder / "index.md").write_text("\n".join(entries))
