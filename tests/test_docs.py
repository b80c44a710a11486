"""What the documentation names as its backing exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from ddphf import guards
from ddphf.compute import threads
from ddphf.inference.toys import blocks, ensembles, source
from ddphf.interchange import xml_read
from ddphf.likelihood import batch, certificate
from ddphf.likelihood.ensembles import rough
from ddphf.publish import archive

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


def has(page, *texts):
    text = " ".join((ROOT / "docs" / page).read_text().split())
    for part in texts:
        assert part in text, part


def test_numbers_of_the_engine_page_are_those_of_the_code():
    has(
        "engine.md",
        f"A block is {blocks.FIT_BLOCK} toys",
        f"with {threads.WORKERS} blocks in work at a time",
        f"Batches of other fits run {batch.BLOCK} at a time",
        f"every {ensembles.SAVE_SECONDS:g} seconds",
        f"block i // {source.DRAW_BLOCK}",
        f"predicted to reach an EDM of {rough.ROUGH_TARGET:.0e}".replace("e-0", "e-"),
        f"over the free directions, is below {certificate.EDM_TOLERANCE:.0e}".replace("e-0", "e-"),
    )


def test_limits_of_the_security_page_are_those_of_the_code():
    def number(value):
        return f"{value:,}".replace(",", " ")

    has(
        "security.md",
        f"unpacked from `.json.gz` | {guards.LARGEST_FILE // 10**6} MB",
        f"lists and objects of a JSON text | {number(guards.MOST_CONTAINERS)}",
        f"values of a JSON text | {number(guards.MOST_VALUES)}",
        f"nesting of a JSON text | {guards.DEEPEST} levels",
        f"YAML text | {guards.LARGEST_YAML // 10**6} MB",
        f"expanded | {number(guards.MOST_YAML_NODES)}",
        f"npz file | {number(guards.MOST_ARRAYS)}, {guards.LARGEST_ARRAYS // 10**9} GB together",
        f"branches, histograms | {guards.LARGEST_ARRAYS // 10**9} GB",
        f"| {guards.EXPANSION} times the file, where that is more than {guards.FREE // 10**6} MB",
        f"files of a model | {xml_read.LARGEST_XML // 10**6} MB; {number(xml_read.MOST_XML)}",
        f"samples x bins of a model | {number(guards.MOST_CELLS)}",
        f"a patchset beyond is fitted one by one | {number(guards.MOST_NUMBERS)}",
        f"`verify` draws again | {number(guards.MOST_TOYS)}",
        f"an archive | {archive.LARGEST_PACKED // 10**6} MB, {archive.MOST_FILES} files, "
        f"{archive.LARGEST_UNPACKED // 10**6} MB unpacked",
    )
