"""The platform as its users meet it: traffic through the edge, the same events again, replay, divergence, bad input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops.post import request_for
from ops.stage import ROOT
from tests.local.conftest import Atoll

EVENT = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "com.example.tested"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


@pytest.fixture(scope="module")
def sent(atoll: Atoll) -> list[dict[str, Any]]:
    """The lines of 500 requests, a fifth of them repeats, all processed."""
    out = atoll.directory / "sent.jsonl"
    atoll.ops("send", "--count", "500", "--duplicates", "0.2", "--invalid", "0.02", "--out", str(out))
    atoll.wait_until_quiet()
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_up_leaves_every_region_healthy(atoll: Atoll) -> None:
    status = atoll.ops("status", "--json").json

    assert set(status) == {"stage", "endpoint_url", "edge_url", "table", "healthy", "regions"}
    assert status["healthy"]
    assert [region["region"] for region in status["regions"]] == ["us-east-1", "ap-south-1"]
    for region in status["regions"]:
        assert region["table_status"] == "ACTIVE"
        assert region["archive"] == "atoll-local"
        assert [queue["name"] for queue in region["queues"]] == ["atoll-local-store", "atoll-local-activity"]
        assert region["journal_archive"] == "atoll-local-journal"
        assert {dlq["name"]: dlq["depth"] for dlq in region["dlqs"]} == dict.fromkeys(atoll.stage.dlqs, 0)


def test_up_again_changes_nothing(atoll: Atoll) -> None:
    again = atoll.ops("up")

    assert again.err.count("unchanged") == 2
    assert "nothing to change" in again.err


def test_send_reaches_the_region_nearest_to_each_city(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    nearest = {line["city"]: line["region"] for line in sent if line["status"] == 202}

    assert nearest["Mumbai"] == "ap-south-1"
    assert nearest["New York"] == "us-east-1"


def test_send_with_duplicates_leaves_each_event_once_in_both_replicas(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    accepted = {line["event_key"] for line in sent if line["status"] == 202}

    assert len(accepted) == 390
    assert sum(line["status"] == 400 for line in sent) == 10
    for region in atoll.stage.regions:
        keys = atoll.event_keys(region)
        assert accepted <= set(keys)
        assert len(keys) == len(set(keys))
    assert atoll.checksum("us-east-1") == atoll.checksum("ap-south-1")


def test_counts_are_those_of_one_delivery(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    for region in atoll.stage.regions:
        counted = {bytes(key) for item in atoll.items(region) for key in item.get("seen", {}).get("BS", [])}
        assert len(counted) == len(set(atoll.event_keys(region)))


def test_same_events_in_the_other_region_change_nothing(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    before = {region: atoll.checksum(region) for region in atoll.stage.regions}
    for region in atoll.stage.regions:
        figures = atoll.ops("send", "--again", str(atoll.directory / "sent.jsonl"), "--region", region, "--json").json
        assert figures["accepted"] == 390
    atoll.wait_until_quiet()

    assert {region: atoll.checksum(region) for region in atoll.stage.regions} == before


def test_replay_delivers_again_and_changes_nothing(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    before = {region: atoll.checksum(region) for region in atoll.stage.regions}
    planned = atoll.ops("run", "replay", "--json").json
    assert planned["verdict"] == "pass"
    assert {region: atoll.checksum(region) for region in atoll.stage.regions} == before

    applied = atoll.ops("run", "replay", "--apply", planned["plan"]["token"], "--json").json

    assert applied["verdict"] == "pass"
    assert applied["figures"]["checksum_before"] == applied["figures"]["checksum_after"]
    assert {region: atoll.checksum(region) for region in atoll.stage.regions} == before
    replays = atoll.client("events", "us-east-1").list_replays()["Replays"]
    assert [replay["State"] for replay in replays] == ["COMPLETED"]


def test_divergence_of_equal_replicas_passes(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    found = atoll.ops("run", "divergence", "--json").json

    assert found["verdict"] == "pass"
    assert found["figures"]["differences"] == 0


def test_divergence_after_writes_were_lost_names_exactly_them(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    deleted, changed = sorted({line["event_key"] for line in sent if line["event_key"]})[:2]
    table = {"TableName": atoll.stage.table_name}
    key = {name: {"pk": {"S": f"EVENT#{name}"}, "sk": {"S": "EVENT"}} for name in (deleted, changed)}
    home, other = (atoll.client("dynamodb", region) for region in atoll.stage.regions)
    images = {name: home.get_item(Key=key[name], **table)["Item"] for name in key}
    atoll.ops("fault", "replication-cut", "us-east-1", "ap-south-1", "--lose")
    home.delete_item(Key=key[deleted], **table)
    home.update_item(
        Key=key[changed], UpdateExpression="SET subject = :new", ExpressionAttributeValues={":new": {"S": "x"}}, **table
    )
    atoll.ops("fault", "heal")

    found = atoll.ops("run", "divergence", "--json", expect=1).json

    assert found["verdict"] == "fail"
    assert sorted(found["figures"]["keys"]) == sorted(f"pk=EVENT#{name}, sk=EVENT" for name in (deleted, changed))
    assert found["figures"]["differences"] == 2
    for name in (deleted, changed):
        home.put_item(Item=images[name], **table)
    atoll.wait_until_quiet()
    atoll.ops("run", "divergence")
    assert other.get_item(Key=key[changed], **table)["Item"] == images[changed]


def test_send_when_aggregated_accepts_each_event_in_fewer_requests(atoll: Atoll) -> None:
    out = atoll.directory / "together.jsonl"
    options = ("--count", "60", "--from", "London", "--batch", "10", "--linger", "200", "--concurrency", "4")
    figures = atoll.ops("send", *options, "--out", str(out), "--json").json

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert (figures["accepted"], figures["failed"]) == (60, 0)
    assert 6 <= figures["requests"] <= 20
    assert len({line["event_key"] for line in lines}) == 60
    atoll.wait_until_quiet()


@pytest.mark.parametrize("runbook", ["cost", "parity"])
def test_runbook_on_a_healthy_platform_passes_and_leaves_its_record(
    atoll: Atoll, sent: list[dict[str, Any]], runbook: str
) -> None:
    outcome = atoll.ops("run", runbook, "--json").json
    directory = Path(outcome["directory"])

    assert outcome["verdict"] == "pass"
    assert {path.name for path in directory.iterdir()} == {"run.ipynb", "run.html", "result.json"}
    assert json.loads((directory / "result.json").read_text())["runbook"] == runbook


def test_runbook_executed_by_papermill_itself_finds_the_local_cloud(atoll: Atoll, tmp_path: Path) -> None:
    command = [ROOT / ".venv" / "bin" / "papermill", "notebooks/parity.ipynb", str(tmp_path / "out.ipynb")]
    done = subprocess.run(
        command, cwd=ROOT, env=atoll.environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "PASS" in (tmp_path / "out.ipynb").read_text().upper()


def test_run_leaves_an_index_that_links_its_page(atoll: Atoll) -> None:
    page = Path(atoll.ops("run", "parity", "--json").json["directory"])

    assert f"local/{page.name}/run.html" in (atoll.directory / "reports" / "index.html").read_text()


def test_apply_with_a_token_of_no_plan_is_refused_and_changes_nothing(atoll: Atoll) -> None:
    refused = atoll.ops("run", "replay", "--apply", "0" * 16, expect=2)

    assert "no plan with token" in refused.err


# --- bad input: a specific answer, and nothing valid is lost ------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "--stage", "staging"), "'staging' has no file; accepted: dev, local, prod"),
        (("run", "divergense"), "there is no 'divergense'"),
        (("run", "divergence", "-p", "attemps=3"), "did you mean 'attempts'"),
        (("run", "divergence", "-p", "attempts=many"), "attempts"),
        (("run", "divergence", "-p", "attempts"), "is not name=value"),
        (("run", "replay", "-p", "region=eu-west-1"), "'eu-west-1' is not in stage 'local'"),
        (("deploy", "--stage", "local", "--region", "eu-west-1"), "'eu-west-1' is not in stage 'local'"),
        (("send", "--count", "0"), "count: 0 is too few"),
        (("send", "--from", "Atlantis", "--count", "1"), "Atlantis"),
        (("fault", "region-down", "eu-west-1"), "eu-west-1"),
        (("fault", "throttle", "dynamo"), "dynamo"),
        (("send", "--client", "atoll/local/none", "--count", "1"), "secret atoll/local/none: Secrets Manager has none"),
        (("token", "--access", "everything"), "everything"),
        (("nonsense",), "nonsense"),
    ],
)
def test_command_with_bad_input_exits_2_and_says_what_is_accepted(
    atoll: Atoll, arguments: tuple[str, ...], message: str
) -> None:
    ran = atoll.ops(*arguments, expect=2)

    assert message in " ".join((ran.err + ran.out).split())


def test_command_for_a_stage_on_aws_without_credentials_says_so(atoll: Atoll) -> None:
    refused = atoll.ops("status", "--stage", "dev", expect=2, AWS_EC2_METADATA_DISABLED="true")

    assert "no usable AWS credentials for stage 'dev'" in refused.err


@pytest.mark.parametrize(
    ("headers", "body", "status", "problem"),
    [
        (STRUCTURED, b"{", 400, "malformed"),
        ({"content-type": "text/plain"}, b"hello", 415, "content-type"),
        (STRUCTURED, json.dumps({**EVENT, "type": None}).encode(), 400, "type"),
        (STRUCTURED, json.dumps({k: v for k, v in EVENT.items() if k != "source"}).encode(), 400, "source"),
        (STRUCTURED, json.dumps({**EVENT, "id": "x" * 5000}).encode(), 400, "id"),
        (STRUCTURED, json.dumps({**EVENT, "time": "yesterday"}).encode(), 400, "time"),
        (STRUCTURED, json.dumps({**EVENT, "data": "x" * 1_100_000}).encode(), 413, ""),
    ],
)
def test_event_that_is_wrong_gets_a_problem_that_names_the_field(
    atoll: Atoll, headers: dict[str, str], body: bytes, status: int, problem: str
) -> None:
    answer = httpx.post(f"{atoll.cloud['edge_url']}/events", headers=headers | atoll.bearer(), content=body, timeout=30)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem in answer.text
    assert answer.json()["correlation_id"]


def test_batch_with_one_bad_event_loses_nothing_valid(atoll: Atoll) -> None:
    events = [{**EVENT, "id": f"batch-{number}"} for number in range(3)]
    del events[1]["type"]
    answer = httpx.post(
        f"{atoll.cloud['edge_url']}/events", headers=BATCH | atoll.bearer(), content=json.dumps(events), timeout=30
    )

    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202, 400, 202]
    atoll.wait_until_quiet()
    for region in atoll.stage.regions:
        assert {results[0]["event_key"], results[2]["event_key"]} <= set(atoll.event_keys(region))


def test_same_event_again_gets_the_same_answer_and_another_payload_422(atoll: Atoll) -> None:
    headers, body = request_for("/tests", "1a203badd4b-1-1", True)
    headers |= atoll.bearer()
    url = f"{atoll.cloud['edge_url']}/events"
    first, second = (httpx.post(url, headers=headers, content=body, timeout=30) for _ in range(2))
    other = httpx.post(url, headers=headers, content=body.replace(b"EUR", b"USD"), timeout=30)

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 422)
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"


def test_accepted_event_can_be_read_back_in_every_region(atoll: Atoll, sent: list[dict[str, Any]]) -> None:
    line = next(line for line in sent if line["status"] == 202)
    for region in atoll.stage.regions:
        base = atoll.api(region)
        found = httpx.get(f"{base}/events/{line['event_key']}?consistency=strong", headers=atoll.bearer(), timeout=30)
        assert found.status_code == 200, found.text
        assert found.json()["event"]["id"] == line["id"]
        page = httpx.get(f"{base}/events?limit=10", headers=atoll.bearer(), timeout=30).json()
        assert len(page["events"]) == 10
        assert page["cursor"]
    assert (
        httpx.get(f"{base}/events/00000000-0000-0000-0000-000000000000", headers=atoll.bearer(), timeout=30).status_code
        == 404
    )
