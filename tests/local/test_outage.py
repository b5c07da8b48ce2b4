"""A region is taken away in parts or whole, by `ops fault` and by experiments, and comes back whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from tests.local.conftest import Atoll
from tests.local.platform import ACCOUNT, wait_until

US, INDIA = "us-east-1", "ap-south-1"
RESET = (ConnectionClosedError, EndpointConnectionError)
MINUTE_S = 60


@pytest.fixture(autouse=True)
def healed(atoll: Atoll) -> Iterator[None]:
    """Leave the platform as it was found: nothing broken, nothing under way."""
    yield
    atoll.ops("fault", "heal")
    atoll.wait_until_quiet()


@pytest.fixture(scope="module")
def api(atoll: Atoll) -> str:
    return atoll.api(US)


def client(atoll: Atoll, service: str, region: str = US) -> Any:
    """A client that does not try again and does not wait long."""
    config = Config(retries={"total_max_attempts": 1}, read_timeout=2)
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=region,
        endpoint_url=atoll.cloud["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


def send(atoll: Atoll, api: str, *names: str) -> set[str]:
    """Have a region's own API accept events; returns their keys."""
    headers = {**atoll.bearer("write"), "content-type": "application/cloudevents+json"}
    keys = set()
    for name in names:
        event = {"specversion": "1.0", "id": name, "source": "/tests/outage", "type": "com.example.outage"}
        answer = httpx.post(f"{api}/events", content=json.dumps(event), headers=headers, timeout=20)
        assert answer.status_code == 202, answer.text
        keys.add(str(answer.json()["event_key"]))
    return keys


def there(atoll: Atoll, region: str, keys: set[str]) -> bool:
    return keys <= set(atoll.event_keys(region))


def function(name: str) -> str:
    return f"arn:aws:lambda:{US}:{ACCOUNT}:function:atoll-local-{name}"


def target(kind: str, *arns: str) -> dict[str, Any]:
    return {"resourceType": kind, "resourceArns": list(arns), "selectionMode": "ALL"}


def action(kind: str, key: str = "", name: str = "", **parameters: str) -> dict[str, Any]:
    made = {"actionId": kind, "parameters": {"duration": "PT1M", **parameters}}
    return made | ({"targets": {key: name}} if key else {})


def outage(atoll: Atoll, *names: str) -> dict[str, Any]:
    """A template that takes parts of the region away: api, processing, replication, calls, delay."""
    fails = {"invocationPercentage": "100", "preventExecution": "true"}
    table = f"arn:aws:dynamodb:{US}:{ACCOUNT}:table/{atoll.stage.table_name}"
    actions = {
        "api": action("aws:lambda:invocation-error", "Functions", "api", **fails),
        "processing": action("aws:lambda:invocation-error", "Functions", "processors", **fails),
        "replication": action("aws:dynamodb:global-table-pause-replication", "Tables", "table"),
        "calls": action("atoll:reset-calls"),
        "delay": action("aws:lambda:invocation-add-delay", "Functions", "api", startupDelayMilliseconds="1500"),
    }
    return {
        "description": "tests/local/test_outage.py",
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/atoll-local-drills",
        "stopConditions": [{"source": "none"}],
        "targets": {
            "api": target("aws:lambda:function", function("ingest"), function("query"), function("status")),
            "processors": target("aws:lambda:function", function("store"), function("activity")),
            "table": target("aws:dynamodb:global-table", table),
        },
        "actions": {name: actions[name] for name in names},
    }


def start(atoll: Atoll, template: dict[str, Any]) -> str:
    fis = client(atoll, "fis")
    made = fis.create_experiment_template(**template)["experimentTemplate"]
    experiment = fis.start_experiment(experimentTemplateId=made["id"])["experiment"]
    await_status(atoll, experiment["id"], "running")
    return str(experiment["id"])


def experiment_of(atoll: Atoll, name: str) -> dict[str, Any]:
    return dict(client(atoll, "fis").get_experiment(id=name)["experiment"])


def await_status(atoll: Atoll, name: str, status: str, timeout_s: float = 10) -> dict[str, Any]:
    wait_until(
        lambda: experiment_of(atoll, name)["state"]["status"] == status, f"{name} to be {status}", timeout_s=timeout_s
    )
    return experiment_of(atoll, name)


# --- parts, by ops fault -----------------------------------------------------------------------------------------


def test_api_down_answers_503_while_calls_and_processing_go_on(atoll: Atoll, api: str) -> None:
    keys = send(atoll, api, "before-api-down")
    said = atoll.ops("fault", "region-down", US, "--part", "api").out
    assert "is partly down: its APIs answer 503" in " ".join(said.split())
    assert httpx.get(f"{api}/status").status_code == 503
    assert httpx.get(f"{atoll.api(INDIA)}/status").status_code == 200
    client(atoll, "sqs").list_queues()
    wait_until(lambda: there(atoll, US, keys), "what was accepted to be processed", timeout_s=60)


def test_calls_reset_reach_toolkit_and_functions_while_the_api_answers(atoll: Atoll, api: str) -> None:
    atoll.ops("fault", "region-down", US, "--part", "calls")
    for service in ("sqs", "dynamodb"):
        caller = client(atoll, service)
        with pytest.raises(RESET):
            caller.list_tables() if service == "dynamodb" else caller.list_queues()
    client(atoll, "sqs", INDIA).list_queues()
    # Not the gateway's 503: the function ran, and says that it does not reach its table.
    answer = httpx.get(f"{api}/status", timeout=30)
    assert (answer.status_code, answer.json()["region"]) == (503, US)
    assert answer.json()["checks"]["table"]["ok"] is False


def test_calls_that_time_out_hang_until_the_caller_gives_up(atoll: Atoll) -> None:
    atoll.ops("fault", "region-down", US, "--part", "calls", "--how", "timeout")
    started = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        client(atoll, "sqs").list_queues()
    assert time.monotonic() - started >= 2
    client(atoll, "sqs", INDIA).list_queues()
    client(atoll, "fis").list_experiments()
    atoll.ops("fault", "heal")
    client(atoll, "sqs").list_queues()


def test_calls_that_are_throttled_end_with_each_services_own_error(atoll: Atoll) -> None:
    atoll.ops("fault", "region-down", US, "--part", "calls", "--how", "throttle")
    for service, operation, code in (
        ("dynamodb", "list_tables", "ProvisionedThroughputExceededException"),
        ("sqs", "list_queues", "ThrottlingException"),
        ("lambda", "list_functions", "TooManyRequestsException"),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(client(atoll, service), operation)()
        assert caught.value.response["Error"]["Code"].endswith(code)  # SQS says whose code it is before it


def test_processing_off_keeps_what_is_accepted_in_the_queue_until_it_is_back(atoll: Atoll, api: str) -> None:
    atoll.ops("fault", "region-down", US, "--part", "processing")
    keys = send(atoll, api, *(f"kept-{n}" for n in range(3)))
    assert httpx.get(f"{api}/status").status_code == 200

    def queued() -> int:
        regions = atoll.ops("status", "--json", expect=None).json["regions"]
        return max(int(one["depth"]) for region in regions if region["region"] == US for one in region["queues"])

    wait_until(lambda: queued() == 3, "the events in the queue", timeout_s=30)
    assert not keys & set(atoll.event_keys(US))
    atoll.ops("fault", "heal", f"region-down:{US}:processing")
    wait_until(lambda: there(atoll, US, keys) and there(atoll, INDIA, keys), "the queue to be drained", timeout_s=60)


def test_parts_that_are_down_together_are_listed_and_healed_one_by_one(atoll: Atoll, api: str) -> None:
    atoll.ops("fault", "region-down", US, "--part", "api")
    atoll.ops("fault", "region-down", US, "--part", "calls")
    atoll.ops("fault", "replication-cut", US, INDIA)
    listed = " ".join(atoll.ops("fault", "list").out.split())
    for words in ("its APIs answer 503", "AWS calls to it are reset", "and us-east-1 is cut"):
        assert words in listed
    atoll.ops("fault", "heal", f"region-down:{US}:calls")
    client(atoll, "sqs").list_queues()
    assert httpx.get(f"{api}/status").status_code == 503
    atoll.ops("fault", "heal", f"region-down:{US}:api")
    assert httpx.get(f"{api}/status").status_code == 200
    assert [one["kind"] for one in atoll.ops("fault", "list", "--json").json] == ["replication-cut"]


# --- experiments -------------------------------------------------------------------------------------------------

_CLIENT = """
import json, sys, time, boto3
endpoint, template = sys.argv[1], json.loads(sys.argv[2])
fis = boto3.client("fis", region_name="us-east-1", endpoint_url=endpoint,
                   aws_access_key_id="test", aws_secret_access_key="test")
made = fis.create_experiment_template(**template)["experimentTemplate"]
print(fis.start_experiment(experimentTemplateId=made["id"])["experiment"]["id"], flush=True)
time.sleep(600)
"""


def test_whole_region_is_lost_for_a_minute_and_back_although_its_client_was_killed(atoll: Atoll, api: str) -> None:
    parts = ("processing", "replication", "api", "calls")
    arguments = [sys.executable, "-c", _CLIENT, atoll.cloud["endpoint_url"], json.dumps(outage(atoll, *parts))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        name = caller.stdout.readline().strip()
        caller.send_signal(signal.SIGKILL)
    begun = await_status(atoll, name, "running")["startTime"].timestamp()
    atoll.ops("fault", "throttle", "s3", "--region", INDIA)

    assert httpx.get(f"{api}/status").status_code >= 500
    with pytest.raises(RESET):
        client(atoll, "sqs").list_queues()
    listed = atoll.ops("fault", "list", "--json").json
    assert {(one["kind"], one["owner"]) for one in listed} == {
        ("function-error", name),
        ("replication-cut", name),
        ("region-down", name),
        ("throttle", None),
    }
    assert f"by experiment {name}" in " ".join(atoll.ops("fault", "list").out.split())
    atoll.client("dynamodb", INDIA).put_item(
        TableName=atoll.stage.table_name, Item={"pk": {"S": "TEST#outage"}, "sk": {"S": "TEST"}}
    )
    links = httpx.get(f"{atoll.cloud['emulator_url']}/_atoll/replication").json()
    assert links["held"] == 1

    ended = await_status(atoll, name, "completed", timeout_s=MINUTE_S + 10)
    assert MINUTE_S <= ended["endTime"].timestamp() - begun < MINUTE_S + 2
    assert [one["id"] for one in atoll.ops("fault", "list", "--json").json] == [f"throttle:s3:{INDIA}"]
    client(atoll, "sqs").list_queues()
    assert httpx.get(f"{api}/status", timeout=30).status_code == 200
    key = {"pk": {"S": "TEST#outage"}, "sk": {"S": "TEST"}}
    table = atoll.client("dynamodb", US)
    wait_until(lambda: "Item" in table.get_item(TableName=atoll.stage.table_name, Key=key), "the write that was held")
    atoll.client("dynamodb", US).delete_item(TableName=atoll.stage.table_name, Key=key)


def test_processing_that_fails_by_experiment_leaves_events_in_the_queue_and_stop_drains_it(
    atoll: Atoll, api: str
) -> None:
    name = start(atoll, outage(atoll, "processing"))
    keys = send(atoll, api, *(f"failing-{n}" for n in range(3)))
    assert not keys & set(atoll.event_keys(US))
    client(atoll, "fis").stop_experiment(id=name)
    await_status(atoll, name, "stopped")
    wait_until(lambda: there(atoll, US, keys), "the queue to be drained", timeout_s=60)


def test_experiment_is_stopped_while_the_calls_of_its_region_are_reset(atoll: Atoll) -> None:
    name = start(atoll, outage(atoll, "calls"))
    with pytest.raises(RESET):
        client(atoll, "sqs").list_queues()
    client(atoll, "fis").stop_experiment(id=name)
    await_status(atoll, name, "stopped")
    client(atoll, "sqs").list_queues()


def test_replication_paused_by_experiment_holds_both_ways_until_it_is_stopped(atoll: Atoll, api: str) -> None:
    name = start(atoll, outage(atoll, "replication"))
    here, abroad = send(atoll, api, "of-us"), send(atoll, atoll.api(INDIA), "of-india")
    wait_until(lambda: there(atoll, US, here) and there(atoll, INDIA, abroad), "both at home", timeout_s=60)
    assert not there(atoll, INDIA, here)
    assert not there(atoll, US, abroad)
    client(atoll, "fis").stop_experiment(id=name)
    wait_until(lambda: there(atoll, INDIA, here) and there(atoll, US, abroad), "both everywhere", timeout_s=30)


def test_functions_delayed_by_experiment_answer_later_and_others_do_not(atoll: Atoll, api: str) -> None:
    httpx.get(f"{api}/status", timeout=30)
    name = start(atoll, outage(atoll, "delay"))
    started = time.monotonic()
    assert httpx.get(f"{api}/status", timeout=30).status_code == 200
    assert time.monotonic() - started >= 1.5
    client(atoll, "fis").stop_experiment(id=name)
    await_status(atoll, name, "stopped")
    started = time.monotonic()
    assert httpx.get(f"{api}/status", timeout=30).status_code == 200
    assert time.monotonic() - started < 1.5


def test_heal_ends_the_experiment_as_stopped(atoll: Atoll, api: str) -> None:
    name = start(atoll, outage(atoll, "api", "replication"))
    assert httpx.get(f"{api}/status").status_code >= 500
    atoll.ops("fault", "heal", name)
    assert httpx.get(f"{api}/status", timeout=30).status_code == 200
    assert "healed" in await_status(atoll, name, "stopped")["state"]["reason"]


def test_alarm_of_a_stop_condition_stops_the_experiment(atoll: Atoll) -> None:
    cloudwatch = client(atoll, "cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="outage-test",
        Namespace="Test",
        MetricName="Outage",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="ignore",
    )
    arn = cloudwatch.describe_alarms(AlarmNames=["outage-test"])["MetricAlarms"][0]["AlarmArn"]
    template = outage(atoll, "replication") | {"stopConditions": [{"source": "aws:cloudwatch:alarm", "value": arn}]}
    try:
        name = start(atoll, template)
        cloudwatch.set_alarm_state(AlarmName="outage-test", StateValue="ALARM", StateReason="test")
        assert arn in await_status(atoll, name, "stopped")["state"]["reason"]
        assert atoll.ops("fault", "list", "--json").json == []
    finally:
        cloudwatch.delete_alarms(AlarmNames=["outage-test"])
