"""Load through the edge while something is taken away, watched and proven: on the whole platform."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ops import aws, token
from ops.aws import Cloud
from ops.failover import measures
from ops.failover.arrivals import Arrivals
from ops.failover.measures import FAILED, Phase
from ops.failover.proof import prove
from ops.load import Load, LoadRecord
from tests.local.conftest import Atoll
from tests.local.platform import wait_until

US, INDIA = "us-east-1", "ap-south-1"


@pytest.fixture
def cloud(atoll: Atoll, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The platform, as a runbook's process sees it."""
    left = Path(atoll.environment["ATOLL_STATE_DIR"]) / aws.ENVIRONMENT_FILE.format(stage=atoll.stage.stage)
    for name, value in json.loads(left.read_text()).items():
        monkeypatch.setenv(name, value)
    return aws.connect(atoll.stage)


@pytest.fixture
def healed(atoll: Atoll) -> Iterator[None]:
    yield
    atoll.ops("fault", "heal", expect=None)
    wait_until(lambda: _edge_leads_to(atoll, "New York") == US, "the region answers again", 90)


def _edge_leads_to(atoll: Atoll, city: str) -> str:
    answer = httpx.get(f"{atoll.cloud['edge_url']}/status", headers={"x-atoll-city": city})
    return str(answer.headers.get("x-atoll-region", ""))


def load_on(atoll: Atoll, cloud: Cloud, run: str) -> Load:
    regions = atoll.ops("status", "--json", expect=None).json["regions"]
    urls = {found["region"]: found["api_url"] for found in regions}
    # The first request a function answers takes seconds: no part of an outage.
    for url in urls.values():
        httpx.post(f"{url}/events", headers=atoll.bearer("write"), json={}, timeout=60)
    return Load(cloud.edge_url, urls, token.for_stage(cloud), rate_per_s=5, run=run)


def accepted(made: Load, count: int) -> LoadRecord:
    wait_until(lambda: len(made.record().accepted) >= count, f"{count} accepted", 90)
    return made.record()


def led_elsewhere(made: Load, since: float, quiet_s: float = 5) -> bool:
    """Whether no first attempt through the edge has failed for a while."""
    failures = [one.started for one in made.record().attempts if one.number == 1 and one.failed]
    return time.time() - max([since, *failures]) > quiet_s


@pytest.mark.usefixtures("healed")
def test_load_when_a_region_is_lost_loses_and_doubles_nothing(atoll: Atoll, cloud: Cloud) -> None:
    with load_on(atoll, cloud, "lost-region") as made, Arrivals(cloud, made.record, [US, INDIA]) as seen:
        accepted(made, 50)
        used, since = time.process_time(), time.monotonic()
        started = time.time()
        atoll.ops("fault", "region-down", US)
        wait_until(lambda: measures.left_at(made.record(), INDIA, started), "traffic in the other region", 60)
        wait_until(lambda: _failed(made, started), "a failure", 30)
        wait_until(lambda: led_elsewhere(made, started), "the edge leads elsewhere", 90)
        cpu_share = (time.process_time() - used) / (time.monotonic() - since)
        atoll.ops("fault", "heal")
        ended = time.time()
        wait_until(lambda: measures.returned_at(made.record(), US, ended), "traffic is back", 90)
        record = made.finish(60)
        proof = prove(cloud, record, [US, INDIA], deadline_s=120)
        assert seen.finish(60)

    assert [check.detail for check in proof.checks() if not check.ok] == []
    assert (len(proof.lost), len(proof.doubled), len(record.in_doubt)) == (0, 0, 0)
    found = measures.recovery(record, started, ended)
    # The outage begins while the command that makes it is still running; a probe has time to fail, too.
    assert 0 < found.rto_s <= measures.expected_rto_s(atoll.stage) + 5
    assert found.recovered
    assert found.by_city["Mumbai"] == found.by_city["Singapore"] == 0
    moved = measures.moved(record, [Phase("outage", started + found.rto_s, ended)])
    assert set(moved["region"]) == {INDIA}
    assert FAILED not in set(moved["region"])
    assert any(span.region == US and span.ended for span in seen.unreachable)
    assert seen.frame()["lag_ms"].notna().all()
    assert cpu_share < 0.15
    assert not [thread for thread in threading.enumerate() if thread.name in ("atoll-load", "atoll-arrivals")]


def _failed(made: Load, since: float) -> bool:
    return any(one.failed and one.started >= since for one in made.record().attempts)


@pytest.mark.usefixtures("healed")
def test_proof_when_replication_loses_writes_names_exactly_the_missing_keys(atoll: Atoll, cloud: Cloud) -> None:
    with load_on(atoll, cloud, "lost-writes") as made, Arrivals(cloud, made.record, [US, INDIA]) as seen:
        before = accepted(made, 15)
        wait_until(
            lambda: all((key, region) in seen.seen for key in before.accepted for region in (US, INDIA)),
            "replicated",
            90,
        )
        atoll.ops("fault", "replication-cut", US, INDIA, "--lose")
        accepted(made, len(made.record().accepted) + 25)
        record = made.finish(30)
        behind = seen.behind(time.time(), US)
        atoll.wait_until_quiet()
        atoll.ops("fault", "heal")
        proof = prove(cloud, record, [US, INDIA], deadline_s=10)

    there = {region: set(atoll.event_keys(region)) for region in (US, INDIA)}
    absent = {region: sorted(set(record.accepted) - keys) for region, keys in there.items()}
    assert {region: sorted(keys) for region, keys in proof.missing.items()} == absent
    assert absent[US]
    assert absent[INDIA]
    assert not set(proof.lost) & set(before.accepted)
    assert set(absent[INDIA]) <= set(behind.keys)
    assert behind.seconds > 0
    detail = next(check.detail for check in proof.checks() if check.name == "no accepted event is lost")
    assert f"-p region={INDIA} -p archive={atoll.stage.journal_bus}" in detail
    assert (proof.doubled, proof.foreign, proof.differing) == ([], [], [])
