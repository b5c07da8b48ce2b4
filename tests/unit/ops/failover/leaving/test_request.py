"""What is asked is checked before anything is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from ops.errors import OpsError, RefusedError, UsageError
from ops.failover.request import request
from ops.stage import Stage
from tests.unit.ops.conftest import SETTINGS
from tests.unit.ops.failover.leaving.conftest import AP, EU, US


@pytest.mark.parametrize(
    ("mode", "region", "options", "said"),
    [
        ("flee", US, {}, "mode: 'flee' is unknown; accepted: evacuate, drill, failback"),
        ("evacuate", "", {}, "region: say which"),
        ("evacuate", "sa-east-1", {}, "region: 'sa-east-1' is not in stage"),
        ("failback", US, {"force": True}, "force: a failback takes no chances"),
        ("evacuate", US, {"reason": "two\nlines"}, "reason: accepted"),
        ("drill", US, {"minutes": 0.5}, "minutes: 0.5 is out of range; accepted: 1 to 60"),
        ("drill", US, {"rate": -1}, "rate: -1 is out of range"),
        ("drill", US, {"parts": ["calls"]}, "parts: calls: accepted: api, processing, replication"),
        ("drill", US, {"parts": ["api"], "leave": ["replication"]}, "leave: replication: accepted: api"),
        ("drill", US, {"parts": ["api", "api"]}, "parts: a part is named twice"),
    ],
)
def test_wrong_request_names_field_and_what_is_accepted(
    stage: Stage, mode: str, region: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as failure:
        request(stage, mode, region, **options)
    assert said in str(failure.value)


def test_drill_takes_what_the_stage_allows_and_says_what_it_leaves(stage: Stage) -> None:
    asked = request(stage, "drill", US, minutes=2, leave=["replication"])
    assert asked.parts == ("api", "processing", "replication")
    assert (asked.healed, asked.leave) == (("api", "processing"), ("replication",))
    assert asked.rate_per_s == stage.failover.load_per_s
    assert asked.survivors(stage) == [AP, EU]


def test_stage_of_one_region_is_not_left() -> None:
    alone = Stage.model_validate(SETTINGS | {"regions": [US]})
    with pytest.raises(RefusedError, match="nowhere to go"):
        request(alone, "evacuate", US)


def test_stage_without_parts_has_no_drills(stage: Stage) -> None:
    quiet = stage.model_copy(update={"failover": stage.failover.model_copy(update={"parts": []})})
    with pytest.raises(OpsError, match="allows no drills"):
        request(quiet, "drill", US)
