"""The schema is checked on one modifier of each form; what it refuses stays refused, in place."""

from __future__ import annotations

import pytest
from cost_models import foreign

from ddphf.exceptions import ModelError
from ddphf.likelihood.schemas import check_schema

BAD = [
    {"name": "x", "type": "normsys", "data": {"hi": 1.0}},
    {"name": "x", "type": "normsys", "data": {"hi": "1", "lo": 1.0}},
    {"name": 3, "type": "normsys", "data": {"hi": 1.0, "lo": 1.0}},
    {"name": "x", "type": "histosys", "data": {"hi_data": [], "lo_data": [1.0]}},
    {"name": "x", "type": "histosys", "data": {"hi_data": [1.0, "2"], "lo_data": [1.0, 2.0]}},
    {"name": "x", "type": "normfactor", "data": [1.0]},
    {"name": "x", "type": "unknown", "data": None},
    {"name": "x", "type": ["normsys"], "data": None},
    {"name": "x", "type": "normfactor"},
    "normfactor",
    None,
]


@pytest.mark.parametrize("bad", BAD, ids=map(str, range(len(BAD))))
@pytest.mark.parametrize("place", [(0, 1, 3), (1, 1, 9)])
def test_a_bad_modifier_among_many(bad, place):
    workspace = foreign(2, 3, 8, 4)
    check_schema(workspace)
    channel, sample, index = place
    modifiers = workspace["channels"][channel]["samples"][sample]["modifiers"]
    modifiers.insert(index, bad)
    where = rf"at channels\[{channel}\]\.samples\[{sample}\]\.modifiers\[{index}\]"
    with pytest.raises(ModelError, match=where):
        check_schema(workspace)
