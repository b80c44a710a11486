"""Results in a shell and in a notebook: short, escaped, of every kind."""

import dataclasses
import importlib
import pkgutil

import pytest
from conftest import plain_workspace

import ddphf
from ddphf.inference.fit import fit_workspace
from ddphf.inference.yields import predict_yields
from ddphf.results.shown import Shown


def classes():
    found = set()
    for module in pkgutil.walk_packages(ddphf.__path__, "ddphf."):
        if module.name != "ddphf.__main__":
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and hasattr(value, "SCHEMA"):
                    found.add(value)
    return sorted(found, key=lambda c: c.__qualname__)


def test_every_record_of_a_command_is_shown():
    found = classes()
    assert len(found) >= 8
    assert [c.__name__ for c in found if not issubclass(c, Shown)] == []
    assert [c.__name__ for c in found if c.__repr__ is not Shown.__repr__] == []


@pytest.mark.parametrize("make", ["fit", "yields"])
def test_a_record_is_one_line_and_a_table(make):
    workspace = plain_workspace()
    for channel in workspace["channels"]:
        channel["samples"][-1]["name"] = "<b>symmetric"
    record = fit_workspace(workspace)
    if make == "yields":
        record = predict_yields(workspace, record)
    assert len(repr(record)) < 1000
    assert "\n" not in repr(record)
    page = record._repr_html_()
    assert page.startswith("<table>")
    assert "<b>" not in page


def test_parts_of_a_record_are_tables_too():
    result = fit_workspace(plain_workspace())
    for part in (result.discovery, result.fit, result.fit.certificate, result.goodness_of_fit):
        assert part._repr_html_().startswith("<table>")
        assert "\n" not in repr(part)


def test_long_records_are_cut():
    @dataclasses.dataclass(frozen=True, repr=False)
    class Item(Shown):
        name: str

    @dataclasses.dataclass(frozen=True, repr=False)
    class Many(Shown):
        items: tuple[Item, ...]

    many = Many(tuple(Item("x" * 500) for _ in range(1000)))
    assert len(repr(many)) < 50
    page = many._repr_html_()
    assert "and 975 more" in page
    assert len(page) < 5000
