"""The local cloud itself: it behaves as AWS where the emulator does not, breaks on request, and mends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from ops.local import cloud as local_cloud
from ops.local import faults
from ops.local.cloud import LocalCloud
from ops.local.processes import choose_port
from ops.stage import Stage
from tests.local.platform import Aws, stage_on, wait_until

US, INDIA, IRELAND = "us-east-1", "ap-south-1", "eu-west-1"
RESET = (ConnectionClosedError, EndpointConnectionError, HTTPClientError)


@dataclass
class Platform:
    """A running cloud with an API and a processor in two regions."""

    cloud: LocalCloud
    stage: Stage
    aws: Aws
    http: httpx.Client
    apis: dict[str, str]

    def call(self, path: str, city: str = "Mumbai", **kwargs: Any) -> httpx.Response:
        headers = kwargs.pop("headers", {}) | {"x-atoll-city": city}
        method = kwargs.pop("method", "GET")
        return self.http.request(method, f"{self.cloud.edge_url}{path}", headers=headers, **kwargs)

    def direct(self, region: str, path: str) -> httpx.Response:
        return self.http.get(f"{self.cloud.emulator_url}/_aws/execute-api/{self.apis[region]}/$default{path}")

    def control(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.http.request(method, f"{self.cloud.emulator_url}/_atoll/{path}", json=body)

    def idle(self) -> None:
        wait_until(lambda: self.control("GET", "replication/idle").json()["idle"], "replication to settle")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    state_dir = tmp_path_factory.mktemp("cloud")
    with pytest.MonkeyPatch.context() as patch:
        # An operator's shell: none of it may reach the functions.
        patch.setenv("AWS_PROFILE", "REAL-profile")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "REAL-secret")
        patch.setenv("AWS_SESSION_TOKEN", "REAL-token")
        stage = stage_on(choose_port(0, {0}))
        cloud = local_cloud.up(stage, state_dir=state_dir)
    aws, http = Aws(cloud), httpx.Client(trust_env=False, timeout=20)
    try:
        aws.global_table("items", US, INDIA)
        apis = {}
        for region in (US, INDIA):
            apis[region] = aws.http_api(region, aws.function(region, "api"))
            aws.queue_behind_bus(region, aws.function(region, "store"))
        yield Platform(cloud, stage, aws, http, apis)
    finally:
        http.close()
        aws.close()
        local_cloud.down(state_dir=state_dir)


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "platform" in request.fixturenames:
        platform = request.getfixturevalue("platform")
        faults.heal(platform.cloud, platform.stage)


# --- the edge: first, because it starts without records ----------------------------------------------------------


def test_edge_without_records_says_run_provision(platform: Platform) -> None:
    answer = platform.call("/status")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "ops run provision" in answer.json()["detail"]


def test_edge_forwards_to_the_nearest_region_as_soon_as_records_exist(platform: Platform) -> None:
    platform.aws.latency_records(platform.stage.dns.zone, platform.stage.dns.record, platform.apis)
    answer = platform.call("/status?a=1&a=b%20c", "Mumbai", headers={"x-own": "kept"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["region"], body["path"], body["query"]) == (INDIA, "/status", "a=1&a=b%20c")
    assert body["headers"]["x-own"] == "kept"
    assert answer.headers["x-atoll-region"] == INDIA
    assert answer.headers["x-handler"] == "yes"
    assert float(answer.headers["x-atoll-rtt-ms"]) < 20
    assert platform.call("/status", "New York").json()["region"] == US


def test_edge_explain_says_which_region_and_why(platform: Platform) -> None:
    answer = platform.http.get(f"{platform.cloud.edge_url}/_edge/explain", params={"city": "London"}).json()
    assert answer["region"] == US
    assert [one["region"] for one in answer["candidates"]] == [US, INDIA]
    assert answer["candidates"][0]["rtt_ms"] < answer["candidates"][1]["rtt_ms"]


def test_edge_with_an_unknown_city_names_the_known_ones(platform: Platform) -> None:
    answer = platform.call("/status", "Atlantis")
    assert answer.status_code == 400
    assert "Mumbai" in answer.json()["detail"]


def test_functions_see_nothing_of_the_operators_credentials(platform: Platform) -> None:
    body = platform.call("/env").json()
    assert body["secrets"] == []
    assert body["endpoint"] == platform.cloud.endpoint_url


# --- replication -------------------------------------------------------------------------------------------------


def test_write_reaches_the_other_region_after_the_lag(platform: Platform) -> None:
    started = time.monotonic()
    platform.aws.put("items", US, "lagged")
    assert "lagged" not in platform.aws.items("items", INDIA)
    wait_until(lambda: "lagged" in platform.aws.items("items", INDIA), "replication")
    assert time.monotonic() - started >= 0.2


def test_concurrent_writes_are_seen_apart_and_then_converge_to_the_later(platform: Platform) -> None:
    platform.aws.put("items", US, "both", "earlier")
    platform.aws.put("items", INDIA, "both", "later")
    assert platform.aws.items("items", US)["both"] == "earlier"
    platform.idle()
    assert platform.aws.items("items", US)["both"] == platform.aws.items("items", INDIA)["both"] == "later"


def test_replicated_write_emits_a_stream_record_in_its_region_and_goes_no_further(platform: Platform) -> None:
    platform.aws.put("items", US, "streamed")
    platform.idle()
    table = platform.aws("dynamodb", INDIA).describe_table(TableName="items")["Table"]
    streams = platform.aws("dynamodbstreams", INDIA)
    shard = streams.describe_stream(StreamArn=table["LatestStreamArn"])["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(
        StreamArn=table["LatestStreamArn"], ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator)["Records"]
    names = [one["eventName"] for one in records if one["dynamodb"]["Keys"]["pk"]["S"] == "streamed"]
    assert names == ["INSERT"]
    assert records[-1]["awsRegion"] == INDIA


def test_cut_holds_writes_and_heal_delivers_them(platform: Platform) -> None:
    platform.aws.put("items", US, "kept", "old")
    platform.aws.put("items", US, "dropped", "old")
    platform.idle()
    faults.replication_cut(platform.cloud, platform.stage, INDIA, US)
    platform.aws.put("items", US, "kept", "new")
    platform.aws.delete("items", INDIA, "dropped")
    wait_until(lambda: platform.control("GET", "replication").json()["held"] == 2, "two writes to be held")
    assert platform.aws.items("items", INDIA)["kept"] == "old"
    assert "dropped" in platform.aws.items("items", US)
    faults.heal(platform.cloud, platform.stage)
    platform.idle()
    for region in (US, INDIA):
        items = platform.aws.items("items", region)
        assert items["kept"] == "new"
        assert "dropped" not in items


def test_lossy_cut_leaves_exactly_what_was_written_meanwhile_different(platform: Platform) -> None:
    for key in ("changed", "deleted", "untouched"):
        platform.aws.put("items", US, key, "old")
    platform.idle()
    faults.replication_cut(platform.cloud, platform.stage, US, INDIA, lose=True)
    platform.aws.put("items", US, "changed", "new")
    platform.aws.delete("items", INDIA, "deleted")
    faults.heal(platform.cloud, platform.stage)
    platform.aws.put("items", US, "afterwards", "new")
    platform.idle()
    here, there = platform.aws.items("items", US), platform.aws.items("items", INDIA)
    assert {key for key in here | there if here.get(key) != there.get(key)} == {"changed", "deleted"}


def test_lag_set_for_a_pair_through_the_control_endpoint_applies(platform: Platform) -> None:
    platform.control("PATCH", "replication", {"source": US, "destination": INDIA, "lag_ms": 0})
    platform.aws.put("items", US, "at once")
    wait_until(lambda: "at once" in platform.aws.items("items", INDIA), "a write without lag", timeout_s=0.15)
    platform.control("PATCH", "replication", {"source": US, "destination": INDIA, "lag_ms": 200})


def test_replica_added_later_holds_what_was_there_and_what_was_on_its_way(platform: Platform) -> None:
    platform.aws.global_table("grown", US, INDIA)
    platform.aws.put("grown", US, "there")
    platform.idle()
    platform.aws.put("grown", INDIA, "on its way")
    platform.aws.add_replica("grown", US, IRELAND)
    platform.idle()
    assert set(platform.aws.items("grown", IRELAND)) == {"there", "on its way"}


def test_deleted_replica_takes_nothing_and_stops_nothing(platform: Platform) -> None:
    platform.aws.global_table("shrunk", US, INDIA)
    platform.aws.put("shrunk", US, "k")
    platform.aws("dynamodb", INDIA).delete_table(TableName="shrunk")
    platform.idle()
    assert set(platform.aws.items("shrunk", US)) == {"k"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"source": US}, "destination: missing"),
        ({"source": US, "destination": US}, "joins two regions"),
        ({"source": US, "destination": INDIA, "lag_ms": -1}, "lag_ms: expected milliseconds"),
        ({"source": US, "destination": INDIA, "cut": "yes"}, "cut: expected true or false"),
        ({"source": US, "destination": INDIA, "colour": 1}, "colour: unknown; accepted: source"),
    ],
)
def test_control_endpoint_with_bad_input_says_what_is_accepted(
    platform: Platform, body: dict[str, Any], problem: str
) -> None:
    answer = platform.control("PATCH", "replication", body)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]


def test_control_endpoint_lists_each_replacement_with_its_reason(platform: Platform) -> None:
    status = platform.control("GET", "status").json()
    assert {"services.dynamodb._replicate_write", "app.app"} <= {one["target"] for one in status["replacements"]}
    assert platform.control("GET", "nothing").status_code == 404


# --- events and telemetry ----------------------------------------------------------------------------------------


def test_events_are_processed_and_counted_as_aws_counts_them(platform: Platform) -> None:
    api_dimensions = {"ApiId": platform.apis[INDIA]}
    before = {
        name: platform.aws.metric_sum(INDIA, "AWS/ApiGateway", name, api_dimensions) for name in ("Count", "4xx", "5xx")
    }
    for number in range(12):
        answer = platform.call("/send", method="POST", json={"key": f"event-{number}"})
        assert answer.status_code == 202
    assert platform.call("/missing").status_code == 404
    assert platform.call("/fail").status_code == 502
    wait_until(
        lambda: {f"event-{n}" for n in range(12)} <= set(platform.aws.items("items", US)),
        "12 events in the other region",
    )
    test = {"stage": "local", "service": "test"}
    wait_until(
        lambda: platform.aws.metric_sum(INDIA, "Atoll", "Stored", test) == 12, "the embedded metric of 12 events"
    )
    assert platform.aws.metric_sum(INDIA, "Atoll", "Sent", test) == 12
    assert platform.aws.metric_sum(US, "Atoll", "Stored", test) == 0
    counted = {name: platform.aws.metric_sum(INDIA, "AWS/ApiGateway", name, api_dimensions) for name in before}
    assert counted["Count"] - before["Count"] >= 14  # the health check calls too
    assert counted["4xx"] - before["4xx"] == 1
    assert counted["5xx"] - before["5xx"] == 1
    function = {"FunctionName": "api"}
    assert platform.aws.metric_sum(INDIA, "AWS/Lambda", "Errors", function) == 1
    assert platform.aws.metric_sum(INDIA, "AWS/Lambda", "Invocations", function) == counted["Count"]
    assert platform.aws.metric_sum(INDIA, "AWS/Lambda", "Duration", function) > 0
    assert platform.aws.metric_sum(INDIA, "AWS/Lambda", "Errors", {"FunctionName": "store"}) == 0
    rule = {"EventBusName": "bus", "RuleName": "to-store"}
    assert platform.aws.metric_sum(INDIA, "AWS/Events", "Invocations", rule) == 12
    receiving = {"TableName": "items", "ReceivingRegion": US}
    wait_until(  # published with the next tick
        lambda: platform.aws.metric_sum(INDIA, "AWS/DynamoDB", "ReplicationLatency", receiving) >= 12 * 200,
        "the replication latency of 12 writes",
    )


def test_invoke_api_is_counted_once(platform: Platform) -> None:
    platform.aws.function(IRELAND, "store")
    function = {"FunctionName": "store"}
    for _ in range(2):
        platform.aws("lambda", IRELAND).invoke(FunctionName="store", Payload=b'{"Records": []}')
    # What is counted once a tick is there in whole: two calls counted twice would show as four at once.
    wait_until(lambda: platform.aws.metric_sum(IRELAND, "AWS/Lambda", "Duration", function) > 0, "the metrics")
    wait_until(lambda: platform.aws.metric_sum(IRELAND, "AWS/Lambda", "Invocations", function) == 2, "two invocations")


def test_queue_depth_and_age_are_published(platform: Platform) -> None:
    sqs = platform.aws("sqs", US)
    url = sqs.create_queue(QueueName="waiting")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")
    dimensions = {"QueueName": "waiting"}
    wait_until(
        lambda: platform.aws.metric_sum(US, "AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions) >= 1,
        "the depth of the queue",
    )
    wait_until(
        lambda: platform.aws.metric_sum(US, "AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions) >= 1,
        "the age of its oldest message",
    )


def test_rule_with_a_bus_of_another_region_delivers_with_the_same_id(platform: Platform) -> None:
    bus_arn = platform.aws("events", IRELAND).create_event_bus(Name="journal")["EventBusArn"]
    platform.aws.role_may_put_events_on(bus_arn)
    events, sqs = platform.aws("events", IRELAND), platform.aws("sqs", IRELAND)
    rule = events.put_rule(Name="all", EventBusName="journal", EventPattern='{"source": ["atoll.events"]}')["RuleArn"]
    arn = platform.aws.queue(IRELAND, "journal", rule)
    url = sqs.get_queue_url(QueueName="journal")["QueueUrl"]
    events.put_targets(Rule="all", EventBusName="journal", Targets=[{"Id": "q", "Arn": arn}])
    platform.aws.rule(US, "to-journal", bus_arn)
    sent = platform.aws("events", US).put_events(
        Entries=[{"Source": "atoll.events", "DetailType": "t", "Detail": '{"key": "far"}', "EventBusName": "bus"}]
    )["Entries"][0]
    received = wait_until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "the event in the other region")
    assert json.loads(received[0]["Body"])["id"] == sent["EventId"]
    platform.aws("events", US).remove_targets(Rule="to-journal", EventBusName="bus", Ids=["t"])


# --- faults ------------------------------------------------------------------------------------------------------


def test_throttled_service_answers_as_aws_does_and_others_do_not(platform: Platform) -> None:
    faults.api_fault(platform.cloud, platform.stage, "throttle", "dynamodb", region=US)
    with pytest.raises(ClientError) as caught:
        platform.aws("dynamodb", US).list_tables()
    assert caught.value.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    platform.aws("dynamodb", INDIA).list_tables()
    platform.aws("sqs", US).list_queues()


def test_fault_of_a_service_reaches_the_functions_too(platform: Platform) -> None:
    faults.api_fault(platform.cloud, platform.stage, "throttle", "events", region=INDIA)
    assert platform.call("/send", method="POST", json={"key": "never"}).status_code == 502
    faults.heal(platform.cloud, platform.stage, f"throttle:events:{INDIA}")
    assert platform.call("/send", method="POST", json={"key": "now"}).status_code == 202


def test_latency_fault_delays_calls(platform: Platform) -> None:
    faults.api_fault(platform.cloud, platform.stage, "latency", "sqs", latency_ms=300)
    started = time.monotonic()
    platform.aws("sqs", US).list_queues()
    assert time.monotonic() - started >= 0.3


def test_region_down_takes_api_calls_and_processing_and_heal_gives_them_back(platform: Platform) -> None:
    aws = platform.aws
    mapping = aws("lambda", US).list_event_source_mappings()["EventSourceMappings"][0]
    fault = faults.region_down(platform.cloud, platform.stage, US)
    assert faults.region_down(platform.cloud, platform.stage, US) == fault
    assert [one.id for one in faults.list_faults(platform.cloud, platform.stage)] == [f"region-down:{US}"]
    assert platform.direct(US, "/status").status_code == 503
    with pytest.raises(RESET):
        aws("dynamodb", US).list_tables()
    aws("dynamodb", INDIA).list_tables()
    wait_until(lambda: platform.call("/status", "New York").json().get("region") == INDIA, "traffic to move")
    assert platform.call("/status", "New York").status_code == 200
    faults.heal(platform.cloud, platform.stage, fault.id)
    assert faults.list_faults(platform.cloud, platform.stage) == []
    assert platform.direct(US, "/status").status_code == 200
    after = aws("lambda", US).list_event_source_mappings()["EventSourceMappings"][0]
    assert (after["UUID"], after["State"]) == (mapping["UUID"], mapping["State"])
    wait_until(lambda: platform.call("/status", "New York").json().get("region") == US, "traffic to come back")


def test_region_down_leaves_messages_in_the_queue_until_it_is_back(platform: Platform) -> None:
    faults.region_down(platform.cloud, platform.stage, US)
    # past the proxy, as what was accepted just before the outage
    past = Aws(LocalCloud(**{**platform.cloud.to_json(), "endpoint_url": platform.cloud.emulator_url}))
    entry = {"Source": "atoll.events", "DetailType": "t", "Detail": '{"key": "patient"}', "EventBusName": "bus"}
    past("events", US).put_events(Entries=[entry])
    url = past("sqs", US).get_queue_url(QueueName="store")["QueueUrl"]
    attributes = past("sqs", US).get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "1"
    past.close()
    faults.heal(platform.cloud, platform.stage)
    wait_until(lambda: "patient" in platform.aws.items("items", US), "the queued event")


def test_heal_from_another_caller_mends_what_is_recorded(platform: Platform) -> None:
    faults.api_fault(platform.cloud, platform.stage, "reset", "sqs")
    found = local_cloud.current(platform.cloud.state_dir)
    assert found == platform.cloud
    assert [one.id for one in faults.heal(found, platform.stage)] == ["reset:sqs"]
    platform.aws("sqs", US).list_queues()
    assert faults.heal(platform.cloud, platform.stage) == []
