"""What the documentation names as its backing exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@cache
def known_tests():
    return {
        node.name
        for path in (ROOT / "tests").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_tests_named_in_the_documentation_exist(page):
    text = page.read_text()
    assert set(re.findall(r"`(test_\w+)`", text)) <= known_tests()
    for name in re.findall(r"`((?:tests|docs)/[\w/]+\.(?:py|json|md))", text):
        assert (ROOT / name).exists(), name
