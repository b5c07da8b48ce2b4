"""Parity: what must differ is not seen, what may not differ is named with the value of every region."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import parity
from ops.errors import OpsError
from ops.parity import Normaliser, Parity
from ops.stage import Stage

US, AP = "us-east-1", "ap-south-1"
ACCOUNT = "123456789012"


def region_of(region: str) -> dict[str, Any]:
    """One region's answers, by operation; texts differ where AWS makes them differ."""
    api = {US: "a1b2c3d4e5", AP: "z9y8x7w6v5"}[region]
    arn = f"arn:aws:{{}}:{region}:{ACCOUNT}:{{}}"
    function = {
        "FunctionName": "atoll-unit-store",
        "CodeSha256": "abc=",
        "CodeSize": 1000,
        "LastModified": "2026-11-20T10:00:00.000+0000" if region == US else "2026-11-20T10:05:00.000+0000",
        "Runtime": "python3.11",
        "MemorySize": 256,
        "Environment": {"Variables": {"BUS": arn.format("events", "event-bus/atoll-unit"), "WINDOW": "60"}},
        "RevisionId": region,
        "Role": arn.format("iam", f"role/{region}-x"),
    }
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            f"StoreLambdaVersion{'A' * 40 if region == US else 'B' * 40}": {
                "Type": "AWS::Lambda::Version",
                "Properties": {"CodeSha256": region},
            },
            "StoreLambdaFunction": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Code": {
                        "S3Key": f"serverless/atoll/unit/17{len(region):011d}-2026-11-20T10:00:0{len(api)}.1Z/x.zip"
                    }
                },
            },
        },
    }
    kinds = {
        "AWS::Lambda::Function": "atoll-unit-store",
        "AWS::Lambda::EventSourceMapping": f"uuid-{region}",
        "AWS::SQS::Queue": f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/atoll-unit-store",
        "AWS::Events::Rule": "atoll-unit|atoll-unit-store",
        "AWS::ApiGatewayV2::Api": api,
    }
    return {
        "describe_stacks": {"Stacks": [{"StackStatus": "CREATE_COMPLETE" if region == US else "UPDATE_COMPLETE"}]},
        "list_stack_resources": {
            "StackResourceSummaries": [
                {"ResourceType": kind, "LogicalResourceId": kind.rpartition(":")[2], "PhysicalResourceId": physical}
                for kind, physical in kinds.items()
            ]
        },
        "get_template": {"TemplateBody": json.dumps(template)},
        "get_function_configuration": function,
        "get_function_concurrency": {},
        "get_event_source_mapping": {
            "UUID": f"uuid-{region}",
            "BatchSize": 10,
            "State": "Enabled",
            "EventSourceArn": arn.format("sqs", "atoll-unit-store"),
            "FunctionArn": arn.format("lambda", "function:atoll-unit-store"),
        },
        "get_queue_attributes": {
            "Attributes": {
                "QueueArn": arn.format("sqs", "atoll-unit-store"),
                "VisibilityTimeout": "60",
                "CreatedTimestamp": region,
                "ApproximateNumberOfMessages": region,
                "Policy": json.dumps({"Resource": arn.format("sqs", "atoll-unit-store")}),
            }
        },
        "list_rules": {
            "Rules": [{"Name": "atoll-unit-store", "EventPattern": '{"source": ["atoll.events"]}', "State": "ENABLED"}]
        },
        "list_targets_by_rule": {"Targets": [{"Id": "store", "Arn": arn.format("sqs", "atoll-unit-store")}]},
        "get_api": {"ApiId": api, "Name": "atoll-unit", "ProtocolType": "HTTP"},
        "get_integrations": {
            "Items": [
                {
                    "IntegrationId": region,
                    "IntegrationUri": arn.format("lambda", "function:atoll-unit-query"),
                    "PayloadFormatVersion": "2.0",
                }
            ]
        },
        "get_routes": {"Items": [{"RouteKey": "GET /status", "Target": f"integrations/{region}"}]},
        "get_stages": {"Items": [{"StageName": "$default", "AutoDeploy": True}]},
        "list_archives": {"Archives": [{"ArchiveName": "atoll-unit"}]},
        "describe_archive": {"EventPattern": '{"source":["atoll.events"]}', "RetentionDays": 7, "State": "ENABLED"},
    }


class Canned:
    """A client of any service that answers from a region's answers and keeps the names of the operations."""

    def __init__(self, answers: dict[str, Any], asked: list[str]) -> None:
        self.answers = answers
        self.asked = asked

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**_: Any) -> Any:
            self.asked.append(operation)
            answer = self.answers[operation]
            if isinstance(answer, Exception):
                raise answer
            return copy.deepcopy(answer)

        return call

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [getattr(self, operation)()])


class World:
    """Two regions that are equal until a test changes one."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.account = ACCOUNT
        self.regions = {region: region_of(region) for region in (US, AP)}
        self.asked: list[str] = []

    def client(self, service: str, region: str) -> Canned:
        return Canned(self.regions[region], self.asked)

    def compare(self) -> Parity:
        return parity.compare(self)  # type: ignore[arg-type]


@pytest.fixture
def world(stage: Stage) -> World:
    return World(stage)


def test_compare_when_regions_differ_only_by_nature_is_equal(world: World) -> None:
    found = world.compare()
    assert found.frame(only_differing=True).to_dict("records") == []
    assert found.equal
    assert all(check.ok for check in found.checks())
    assert {row.aspect for row in found.rows} == {
        "stack",
        "template",
        "function code",
        "function configuration",
        "event source mapping",
        "queue",
        "rule",
        "API",
        "archive",
    }
    assert set(found.summary()["differing"]) == {0}


def test_compare_makes_no_mutating_call(world: World) -> None:
    world.compare()
    assert [name for name in world.asked if not name.startswith(("get_", "list_", "describe_"))] == []


def test_compare_when_code_differs_names_the_function_and_who_is_ahead(world: World) -> None:
    world.regions[AP]["get_function_configuration"]["CodeSha256"] = "xyz="
    (row,) = world.compare().differing
    assert (row.aspect, row.resource) == ("function code", "atoll-unit-store sha256")
    assert row.values == {US: '"abc="', AP: '"xyz="'}
    assert row.ahead == AP
    (check,) = [check for check in world.compare().checks() if not check.ok]
    assert check.name == "function code equal"
    assert "modified last in ap-south-1" in check.detail


@pytest.mark.parametrize(
    ("operation", "path", "value", "resource"),
    [
        ("get_function_configuration", ("MemorySize",), 512, "atoll-unit-store MemorySize"),
        (
            "get_function_configuration",
            ("Environment", "Variables", "WINDOW"),
            "90",
            "atoll-unit-store Environment.Variables.WINDOW",
        ),
        ("get_event_source_mapping", ("State",), "Disabled", "atoll-unit-store to atoll-unit-store State"),
        ("get_queue_attributes", ("Attributes", "VisibilityTimeout"), "61", "atoll-unit-store VisibilityTimeout"),
        ("list_rules", ("Rules", 0, "State"), "DISABLED", "atoll-unit-store State"),
        ("describe_archive", ("RetentionDays",), 8, "atoll-unit RetentionDays"),
        ("get_function_concurrency", ("ReservedConcurrentExecutions",), 0, "atoll-unit-store ReservedConcurrency"),
    ],
)
def test_compare_when_one_setting_differs_names_it(
    world: World, operation: str, path: tuple[Any, ...], value: Any, resource: str
) -> None:
    target = world.regions[AP][operation]
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    assert [row.resource for row in world.compare().differing] == [resource]


def test_compare_when_an_environment_cannot_be_read_is_an_error_and_not_equal(world: World) -> None:
    error = {"ErrorCode": "AccessDeniedException", "Message": "not authorized to perform: kms:Decrypt"}
    for region in (US, AP):
        world.regions[region]["get_function_configuration"]["Environment"] = {"Error": error}
    with pytest.raises(OpsError, match=r"environment of atoll-unit-store cannot be read: .*kms:Decrypt") as caught:
        world.compare()
    assert caught.value.hint.endswith("ops policy parity --stage unit")


def test_compare_takes_the_journal_of_the_next_region_as_the_same_and_of_another_as_a_difference(world: World) -> None:
    mappings = {"Journal": {US: {"Next": AP}, AP: {"Next": US}}}
    for region, following in ((US, AP), (AP, US)):
        target = f"arn:aws:events:{following}:{ACCOUNT}:event-bus/atoll-unit-journal"
        world.regions[region]["list_targets_by_rule"] = {"Targets": [{"Id": "journal", "Arn": target}]}
        body = json.loads(world.regions[region]["get_template"]["TemplateBody"]) | {"Mappings": mappings}
        world.regions[region]["get_template"]["TemplateBody"] = json.dumps(body)
    assert world.compare().equal
    wrong = f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/atoll-unit-journal"
    world.regions[AP]["list_targets_by_rule"]["Targets"][0]["Arn"] = wrong
    body["Mappings"]["Journal"][US]["Next"] = US
    world.regions[AP]["get_template"]["TemplateBody"] = json.dumps(body)
    assert {row.resource for row in world.compare().differing} == {
        "atoll-unit-store Targets[0].Arn",
        f"[Mappings] Journal.{US}.Next",
    }


def replication_alarms(world: World, region: str, peers: list[str]) -> None:
    """Put an alarm on each peer into a region's template; the region's own is left out by its condition."""
    answer = world.regions[region]["get_template"]
    template = json.loads(answer["TemplateBody"])
    template["Conditions"] = {f"Has{n}": {"Fn::Equals": [{"Ref": "AWS::Region"}, p]} for n, p in enumerate(peers)}
    for number, peer in enumerate(peers):
        template["Resources"][f"Replication{number}"] = {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"Dimensions": [{"Name": "ReceivingRegion", "Value": peer}]},
        }
    answer["TemplateBody"] = json.dumps(template)


def test_compare_when_templates_name_the_same_regions_one_by_one_is_equal(world: World) -> None:
    for region in (US, AP):
        replication_alarms(world, region, [US, AP])
    assert world.compare().equal


def test_compare_when_a_region_lacks_a_peer_names_it(world: World) -> None:
    replication_alarms(world, US, [US, AP])
    replication_alarms(world, AP, [US, "eu-west-1"])
    found = [row.resource for row in world.compare().differing]
    assert "Replication1 Properties.Dimensions[0].Value" in found
    assert any(name.startswith("[Conditions]") for name in found)


def test_compare_when_a_route_is_missing_shows_it_as_absent(world: World) -> None:
    world.regions[AP]["get_routes"]["Items"] = []
    (row,) = world.compare().differing
    assert (row.resource, row.values) == ("atoll-unit GET /status", {US: "present", AP: "(absent)"})


def test_compare_when_a_stack_is_missing_shows_everything_as_absent(world: World) -> None:
    error = {"Code": "ValidationError", "Message": "Stack with id atoll-unit does not exist"}
    world.regions[AP]["describe_stacks"] = ClientError({"Error": error}, "DescribeStacks")
    found = world.compare()
    assert not any(row.equal for row in found.rows)
    assert found.rows[0].values == {US: "present", AP: "(absent)"}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("arn:aws:sqs:us-east-1:123456789012:q", "arn:aws:sqs:<region>:<account>:q"),
        ("us-east-1a and us-east-10", "<region>a and us-east-10"),
        (
            "serverless/atoll/prod/1763650000000-2026-11-20T14:46:40.000Z/a.zip",
            "serverless/atoll/prod/<deployment>/a.zip",
        ),
        (
            "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "https://<HttpApi>.execute-api.<region>.amazonaws.com",
        ),
        ("IngestLambdaVersionAbCdEfGh0123456789AbCdEfGh0123456789xyz", "IngestLambdaVersion<hash>"),
        ("order 9123456789012 of eu-west-1", "order 9123456789012 of eu-west-1"),
    ],
)
def test_normaliser_replaces_only_what_must_differ(text: str, normal: str) -> None:
    assert Normaliser(US, ACCOUNT, {"a1b2c3d4e5": "<HttpApi>"}).text(text) == normal


def test_normaliser_when_all_regions_are_named_together_takes_them_as_one() -> None:
    regions = [US, AP]
    for region in regions:
        normal = Normaliser(region, "", {}, regions)
        assert normal.value({"Fn::Join": [",", regions]}) == {"Fn::Join": [",", "<regions>"]}
        assert normal.value(f"{US},{AP}") == "<regions>"
    assert Normaliser(US, "", {}, regions).value([AP, US]) == [AP, "<region>"]


def test_normaliser_takes_json_inside_texts_apart() -> None:
    normal = Normaliser(US, ACCOUNT, {})
    assert normal.value({"Policy": '{"b": 1, "a": "us-east-1"}'}) == {"Policy": {"a": "<region>", "b": 1}}
    assert normal.value(["{not json us-east-1"]) == ["{not json <region>"]
