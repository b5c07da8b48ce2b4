"""Service levels of a platform with one region's store function failing: the level that a caller would miss pages and
names the region, and its burn rate is what was sent makes it by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import boto3
import httpx
import pytest

from ops import service_levels
from ops.aws import Cloud
from ops.service_levels import Level
from tests.local.conftest import Atoll
from tests.local.platform import wait_until
from tests.local.test_enforcement import REGION, without
from tests.unit.handlers.support import cloudevent

OTHER = "ap-south-1"
BROKEN, WHOLE = 40, 60  # events accepted in each region
REFUSED = 30  # requests


@pytest.fixture
def cloud(atoll: Atoll, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", atoll.cloud["endpoint_url"])
    return Cloud(atoll.stage, str(atoll.stage.account), boto3.Session(region_name=REGION))


def beginning(atoll: Atoll) -> datetime:
    """The begin of a period before which nothing that a test sends was counted."""
    settings = atoll.stage.service_levels
    assert settings is not None
    atoll.wait_until_quiet()
    period = timedelta(seconds=settings.period_s)
    first = datetime.fromtimestamp(0, UTC) + (datetime.now(UTC) - datetime.fromtimestamp(0, UTC)) // period * period
    wait_until(lambda: datetime.now(UTC) >= first + period, "the next period")
    return first + period


def levels(cloud: Cloud, begin: datetime) -> dict[tuple[str, str], Level]:
    """What the levels of a platform that began then are as soon as all that was sent by now is judged: the time of the
    threshold, of a period and of settling is not waited for, as nothing more is sent."""
    now = datetime.now(UTC) + timedelta(seconds=40)
    frames = []
    for frame in service_levels.collect(cloud, now):
        # Hours hold what other tests sent before.
        own = frame[frame["time"] >= begin] if frame.attrs["period_s"] < 3600 else frame.iloc[:0]
        frames.append(own.copy())
    found = service_levels.evaluate(frames[0], frames[1], cloud.stage, now)
    return {(one.name, one.region): one for one in found}


def test_region_whose_store_fails_is_named_and_burns_as_what_was_sent_says(atoll: Atoll, cloud: Cloud) -> None:
    with without(atoll, "store", "dynamodb:PutItem"):
        begin = beginning(atoll)
        atoll.ops("send", "--count", str(BROKEN), "--from", "New York")
        atoll.ops("send", "--count", str(WHOLE), "--from", "Mumbai")

        def counted() -> dict[tuple[str, str], Level] | None:
            found = levels(cloud, begin)
            both = found["freshness", "all"]
            return found if (both.good, both.total) == (WHOLE, WHOLE + BROKEN) else None

        found = wait_until(counted, "all that was sent to be counted", timeout_s=60)
        fresh = {region: found["freshness", region] for region in (REGION, OTHER, "all")}
        assert (fresh[REGION].bad, fresh[REGION].total, fresh[REGION].verdict) == (BROKEN, BROKEN, "page")
        assert (fresh[OTHER].bad, fresh[OTHER].total, fresh[OTHER].verdict) == (0, WHOLE, "ok")
        # The objective is 99 %: all of a region's events lost burn 1 / 0.01 = 100 times, 40 of all 100 a share of 0.4.
        assert fresh[REGION].burn["1h"] == pytest.approx(100)
        assert fresh["all"].burn["1h"] == pytest.approx(0.4 / 0.01)
        assert fresh["all"].budget_left == pytest.approx(1 - 0.4 / 0.01)
        failed = [check.name for check in service_levels.checks(list(found.values())) if not check.ok]
        assert failed == [f"freshness in {REGION}", "freshness of all regions"]
        # The API answered all of them, and in time.
        assert found["availability", REGION].total >= BROKEN
        assert found["availability", "all"].bad == 0
        assert found["latency", REGION].total == found["availability", REGION].total
    atoll.wait_until_quiet()


def test_region_that_refuses_events_burns_its_availability(atoll: Atoll, cloud: Cloud) -> None:
    api, headers = atoll.api(REGION), {**atoll.bearer("write"), "content-type": "application/cloudevents+json"}
    with without(atoll, "ingest", "events:PutEvents"):
        begin = beginning(atoll)
        answers = []
        for number in range(REFUSED):
            event = cloudevent(id=f"{begin.timestamp()}-{number}")
            answers.append(
                httpx.post(f"{api}/events", headers=headers, content=json.dumps(event), timeout=30).status_code
            )
    assert answers == [503] * REFUSED

    def counted() -> dict[tuple[str, str], Level] | None:
        found = levels(cloud, begin)
        return found if found["availability", REGION].bad == REFUSED else None

    found = wait_until(counted, "all that was refused to be counted", timeout_s=60)
    level = found["availability", REGION]
    # The health checks ask this API, too: a few good answers, which the level counts.
    assert REFUSED <= level.total < 3 * REFUSED
    assert level.burn["1h"] == pytest.approx(REFUSED / level.total / 0.01)
    assert level.verdict == "page"
    assert found["availability", OTHER].verdict == "ok"
    # What was refused was not accepted, so that nothing is missing.
    assert found["freshness", "all"].bad == 0
