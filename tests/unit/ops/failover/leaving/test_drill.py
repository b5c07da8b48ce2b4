"""A drill watches those who have to carry on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ops.errors import OpsError
from ops.failover.drill import SICK_LOOKS, _Drill
from ops.failover.request import Request
from ops.failover.timeline import Timeline
from ops.stage import Stage

US, INDIA = "us-east-1", "ap-south-1"


def drill(stage: Stage) -> _Drill:
    cloud: Any = SimpleNamespace(stage=stage)
    request = Request("drill", US, minutes=0.0005, parts=("api",))
    silent = Timeline(lambda line: None)
    plan: Any = None
    return _Drill(
        cloud, plan, request, "unit", {}, silent, lambda _: None, lambda _: None, lambda _: None, lambda _: None
    )


def watch(**red: int) -> Any:
    named = {name.replace("_", "-"): count for name, count in red.items()}
    return SimpleNamespace(answers={}, changed={}, red=named, moved_from=lambda region: False)


def test_drill_is_called_off_when_a_survivor_is_not_well(stage: Stage) -> None:
    with pytest.raises(OpsError, match="called off, ap-south-1 is not well while us-east-1 is away") as caught:
        drill(stage)._watch_outage(watch(us_east_1=99, ap_south_1=SICK_LOOKS), [])
    assert "ops status" in caught.value.hint


def test_drill_goes_on_to_its_end_when_the_region_that_is_away_and_nobody_else_is_not_well(stage: Stage) -> None:
    assert drill(stage)._watch_outage(watch(us_east_1=99, ap_south_1=SICK_LOOKS - 1), []) is None
