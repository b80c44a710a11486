"""Validation as pyhf does it, without opening its schemas again and again."""

import sys

import pyhf
import pytest
from conftest import plain_workspace

from ddphf.likelihood.schemas import validate

OPENED: list[str] = []
"""Files of pyhf's schemas, as the interpreter reports them."""


def edited(change):
    workspace = plain_workspace()
    change(workspace)
    return workspace


DOCUMENTS = {
    "valid": plain_workspace(),
    "empty": {},
    "list": [],
    "version": edited(lambda w: w.update(version="2")),
    "extra": edited(lambda w: w.update(extra=1)),
    "no samples": edited(lambda w: w["channels"][0].update(samples=[])),
    "text": edited(lambda w: w["channels"][0]["samples"][0].update(data=["x"])),
    "truth": edited(lambda w: w["channels"][0]["samples"][0].update(data=[True, 1.0, 2.0])),
    "kind": edited(lambda w: w["channels"][0]["samples"][0]["modifiers"][0].update(type="foo")),
    "text in a modifier": edited(
        lambda w: w["channels"][0]["samples"][0]["modifiers"].append(
            {"name": "x", "type": "normsys", "data": {"hi": "1", "lo": 1.0}}
        )
    ),
    "bounds": edited(lambda w: w["measurements"][0]["config"]["parameters"][0].update(bounds=[1])),
}
PATCHSET = {"metadata": {}, "patches": [], "version": "1.0.0"}


def violation(check, *arguments):
    try:
        check(*arguments)
    except pyhf.exceptions.InvalidSpecification as error:
        return error.path, error.instance, error.args[0].splitlines()[0]
    return None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_violation_is_the_one_that_pyhf_names(name):
    document = DOCUMENTS[name]
    expected = violation(pyhf.schema.validate, document, "workspace.json")
    assert violation(validate, document, "workspace") == expected
    assert (expected is None) == (name in ("valid", "truth"))


def test_a_patchset_is_validated_as_such():
    expected = violation(pyhf.schema.validate, PATCHSET, "patchset.json")
    assert violation(validate, PATCHSET, "patchset") == expected is not None


def test_no_file_is_opened_by_the_second_validation():
    validate(plain_workspace(), "workspace")
    sys.addaudithook(note)
    OPENED.clear()
    validate(plain_workspace(), "workspace")
    assert OPENED == []
    pyhf.schema.validate(plain_workspace(), "workspace.json")
    assert OPENED  # the hook works


def note(event, arguments):
    if event == "open" and "schemas" in str(arguments[0]):
        OPENED.append(str(arguments[0]))
