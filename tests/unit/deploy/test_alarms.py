"""The alarms of every stage: complete, about metrics that exist, and right about recorded traffic."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from ops.local.emulator.alarms import Rule, State
from ops.provision.alarms import desired_alarms
from ops.stage import ROOT, load_stage, stage_names
from tests.template import ACCOUNT, Stack, resolved
from tests.unit.deploy import metricmath, metrics

Template = dict[str, Any]
ALARM, COMPOSITE = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
REGIONS = [(name, region) for name in stage_names() for region in load_stage(name).regions]


@pytest.fixture
def deployed(template: Callable[[str], Template]) -> Callable[[str, str], Stack]:
    return lambda stage, region: Stack(template(stage), region)


Deployed = Callable[[str, str], Stack]


def tickets(alarms: dict[str, Any]) -> set[str]:
    return {name for name, alarm in alarms.items() if alarm.get("AlarmActions")}


def reporting(alarms: dict[str, Any]) -> set[str]:
    """Those of scheduled reports: nothing of what the region does."""
    return {name for name, alarm in alarms.items() if alarm["AlarmName"].endswith("-reports")}


def surveying(alarms: dict[str, Any]) -> set[str]:
    """Those of the function that reads for the divergence runbook: whoever runs it is told, and the region is well."""
    return {name for name in alarms if name.startswith("Sketch")}


# --- completeness -------------------------------------------------------------------------------------------------


def dlqs(stack: Stack) -> set[str]:
    """Logical ids of the queues that something gives up into: queues, rule targets, asynchronous invocations."""
    named: set[str] = set()

    def look(value: Any, within: str = "") -> None:
        if isinstance(value, dict):
            target = value.get("Fn::GetAtt")
            if target and within in ("deadLetterTargetArn", "DeadLetterConfig", "OnFailure"):
                named.add(target[0])
            for name, inner in value.items():
                look(inner, within if name in ("Arn", "Destination", "TargetArn") else name)
        elif isinstance(value, list):
            for inner in value:
                look(inner, within)

    look(stack.resources)
    return named & set(stack.of_type("AWS::SQS::Queue"))


@pytest.mark.parametrize(("stage", "region"), REGIONS)
def test_every_dead_letter_queue_has_an_alarm_that_acts(deployed: Deployed, stage: str, region: str) -> None:
    stack = deployed(stage, region)
    alarms, queues = stack.of_type(ALARM), stack.of_type("AWS::SQS::Queue")

    watched = {alarms[name]["Dimensions"][0]["Value"] for name in tickets(alarms) - reporting(alarms)}

    assert watched == {queues[name]["QueueName"] for name in dlqs(stack)}
    for name in tickets(alarms) - reporting(alarms):
        assert alarms[name]["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert alarms[name]["AlarmActions"] == alarms[name]["OKActions"] == ["AlarmTopic"]
        assert alarms[name]["Threshold"] == load_stage(stage).alarms.dlq_depth


@pytest.mark.parametrize(("stage", "region"), REGIONS)
def test_every_function_queue_and_pair_of_regions_is_watched(deployed: Deployed, stage: str, region: str) -> None:
    stack, settings = deployed(stage, region), load_stage(stage)
    alarms = stack.of_type(ALARM)
    watched = {
        (a["MetricName"], *(one["Value"] for one in a["Dimensions"])) for a in alarms.values() if "MetricName" in a
    }

    functions = {f["FunctionName"] for f in stack.of_type("AWS::Lambda::Function").values()}
    for function in functions:
        assert {("Errors", function), ("Throttles", function)} <= watched
    for processor in settings.processor_names:
        assert ("ApproximateAgeOfOldestMessage", settings.queue(processor)) in watched
    peers = {one[2] for one in watched if one[0] == "ReplicationLatency"}
    assert peers == set(settings.regions) - {region}


@pytest.mark.parametrize(("stage", "region"), REGIONS)
def test_every_alarm_says_what_it_means_what_to_do_and_what_no_data_mean(
    deployed: Deployed, stage: str, region: str
) -> None:
    settings = load_stage(stage)
    for name, alarm in deployed(stage, region).of_type(ALARM).items():
        assert "First: " in alarm["AlarmDescription"], name
        assert len(alarm["AlarmDescription"]) <= 1024, name
        assert alarm["AlarmName"].startswith(f"{settings.prefix}-"), name
        assert alarm["TreatMissingData"] in ("ignore", "breaching", "notBreaching"), name
        sustained = name in tickets(deployed(stage, region).of_type(ALARM))
        assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == ((1, 1) if sustained else (3, 5)), name
        for one in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm, "Period": alarm.get("Period")}}]):
            if "MetricStat" in one:
                metric, period_s = one["MetricStat"]["Metric"], one["MetricStat"]["Period"]
                dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
                metrics.check(metric["Namespace"], metric["MetricName"], dimensions, stage)
                # Builds are few: their alarm looks at five minutes.
                assert period_s == (300 if metric["Namespace"] == "AWS/CodeBuild" else settings.alarms.period_s)


def test_docs_list_every_alarm_and_nothing_else(deployed: Deployed) -> None:
    """By what comes after ``atoll-<stage>-``; a row may stand for one alarm a function, processor, queue or region."""
    text = (ROOT / "docs" / "alarms.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    stack = deployed("prod", "us-east-1")
    found = [a["AlarmName"] for kind in (ALARM, COMPOSITE) for a in stack.of_type(kind).values()]
    found += desired_alarms(load_stage("prod"), "123456789012")
    patterns = {row: re.compile("atoll-prod-" + re.sub(r"<\w+>", "[a-z0-9-]+", row)) for row in rows}
    for name in found:
        assert any(pattern.fullmatch(name) for pattern in patterns.values()), name
    for row, pattern in patterns.items():
        assert any(pattern.fullmatch(name) for name in found), row


@pytest.mark.parametrize("region", load_stage("local").regions)
def test_stage_without_combined_alarms_has_single_metrics_only(deployed: Deployed, region: str) -> None:
    stack = deployed("local", region)
    assert stack.of_type(COMPOSITE) == {}
    assert all("MetricName" in alarm for alarm in stack.of_type(ALARM).values())


def test_topic_takes_alarms_of_this_account_only_and_is_not_encrypted_with_a_key_cloudwatch_cannot_use(
    deployed: Deployed,
) -> None:
    stack = deployed("prod", "us-east-1")
    (topic,) = stack.of_type("AWS::SNS::Topic").values()
    assert "alias/aws/sns" not in str(topic.get("KmsMasterKeyId"))
    allow = next(
        statement
        for policy in stack.of_type("AWS::SNS::TopicPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    )
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    arn = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:atoll-prod-*"
    assert allow["Condition"]["ArnLike"] == {"aws:SourceArn": arn}


# --- the composite ------------------------------------------------------------------------------------------------


def holds(rule: str, states: dict[str, str]) -> bool:
    """Whether an alarm rule of ALARM(), OR and FALSE holds; all that Atoll's use."""
    found = False
    for term in rule.split(" OR "):
        match = re.fullmatch(r'ALARM\("([^"]+)"\)', term)
        assert match or term == "FALSE", term
        found = found or (match is not None and states[match[1]] == "ALARM")
    return found


@pytest.mark.parametrize(("stage", "region"), [(s, r) for s, r in REGIONS if load_stage(s).alarms.combined])
def test_region_is_unhealthy_when_any_of_its_alarms_but_a_dlqs_is_on(
    deployed: Deployed, stage: str, region: str
) -> None:
    stack = deployed(stage, region)
    composite = stack.of_type(COMPOSITE)["RegionUnhealthyAlarm"]
    alarms = stack.of_type(ALARM)
    states = {alarm["AlarmName"]: "OK" for alarm in alarms.values()}

    assert not holds(composite["AlarmRule"], states)
    assert not holds(composite["AlarmRule"], dict.fromkeys(states, "INSUFFICIENT_DATA"))
    for name, alarm in alarms.items():
        on = holds(composite["AlarmRule"], states | {alarm["AlarmName"]: "ALARM"})
        assert on == (name not in tickets(alarms) | surveying(alarms)), name
    assert composite["AlarmActions"] == composite["OKActions"] == ["AlarmTopic"]
    assert len(composite["AlarmRule"]) <= 10_240  # PutCompositeAlarm's limit


def generated(regions: list[str], consistency: str = "eventual") -> Any:
    alarms = load_stage("prod").alarms.model_dump()
    values = {
        "self:custom.stage.table": {"consistency": consistency},
        "self:custom.stage.regions": regions,
        "self:custom.stage.alarms": alarms,
        "self:custom.prefix": "atoll-unit",
        "self:custom.functions": ["ingest"],
        "self:custom.processors": ["store"],
    }
    script = (
        f"const values = {json.dumps(values)}; const made = require('./deploy/alarms.cjs');"
        "const variables = { resolveVariable: async (name) => values[name] };"
        "Promise.all(['conditions', 'replication', 'composite'].map((part) => made[part](variables)))"
        ".then(([Conditions, Resources, terms]) => console.log(JSON.stringify({ Conditions, Resources, terms })));"
    )
    done = subprocess.run(["node", "-e", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_generated_parts_follow_the_list_of_regions(count: int) -> None:
    regions = ["us-east-1", "ap-south-1", "eu-west-1", "sa-east-1"][:count]
    made = generated(regions)
    for region in regions:
        stack = Stack(made, region)
        pairs = {alarm["Dimensions"][1]["Value"] for alarm in stack.of_type(ALARM).values()}
        assert pairs == set(regions) - {region}
        asked = {"Rule": {"Value": [term for term in made["terms"] if "Fn::If" in term]}}
        terms = stack.value(resolved(made | {"Outputs": asked}, region)["Outputs"]["Rule"]["Value"])
        names = {alarm["AlarmName"] for alarm in stack.of_type(ALARM).values()}
        assert sorted(terms) == sorted(["FALSE", *(f'ALARM("{name}")' for name in names)])


def test_generated_parts_of_a_strongly_consistent_table_have_no_replication_latency() -> None:
    made = generated(["us-east-1", "us-east-2", "us-west-2"], "strong")
    assert (made["Conditions"], made["Resources"]) == ({}, {})
    assert made["terms"]
    assert not any("Fn::If" in term for term in made["terms"])


# --- decided on recorded series -----------------------------------------------------------------------------------


def states(alarm: dict[str, Any], series: metricmath.Series) -> list[State]:
    """The alarm's state after each period of a series that begins with the alarm."""
    rule = Rule(
        float(alarm["Threshold"]),
        alarm["ComparisonOperator"],
        alarm["EvaluationPeriods"],
        alarm["DatapointsToAlarm"],
        alarm["TreatMissingData"],
    )
    found: list[State] = ["OK"]
    for end in range(1, len(series) + 1):
        padded = [None] * rule.periods_looked_at + series[:end]
        found.append(rule.decide(padded, found[-1]))
    return found[1:]


MINIMUM = load_stage("prod").alarms.min_requests
QUIET: list[float | None] = [None] * 8
PROBES: list[float | None] = [90.0] * 8
NO_PROBES: list[float | None] = [0.0] * 8


@pytest.mark.parametrize(
    ("what", "series", "rates", "expected"),
    [
        ("healthy", ([1090.0] * 8, [2.0] * 8, PROBES, NO_PROBES), [0.2] * 8, ["OK"] * 8),
        (
            "a burst of errors that lasts",
            ([1090.0] * 8, [0.0, 0.0, 300.0, 300.0, 300.0, 300.0, 0.0, 0.0], PROBES, NO_PROBES),
            [0, 0, 30, 30, 30, 30, 0, 0],
            ["OK", "OK", "OK", "OK", "ALARM", "ALARM", "ALARM", "ALARM"],
        ),
        (
            "one bad minute",
            ([1090.0] * 8, [0.0, 1000.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], PROBES, NO_PROBES),
            [0, 100, 0, 0, 0, 0, 0, 0],
            ["OK"] * 8,
        ),
        ("nobody and nothing", (QUIET, QUIET, QUIET, QUIET), [None] * 8, ["OK"] * 8),
        ("probes only", (PROBES, NO_PROBES, PROBES, NO_PROBES), [0.0] * 8, ["OK"] * 8),
        ("one error in two requests", ([92.0] * 8, [1.0] * 8, PROBES, NO_PROBES), [0.0] * 8, ["OK"] * 8),
        (
            "as few requests as count, and one error",
            ([90.0 + MINIMUM] * 8, [1.0] * 8, PROBES, NO_PROBES),
            [100 / MINIMUM] * 8,
            ["OK", "OK", *["ALARM"] * 6],
        ),
        (
            "probes that fail while the rest works are HealthAlarm's",
            ([1090.0] * 8, [90.0] * 8, PROBES, PROBES),
            [0.0] * 8,
            ["OK"] * 8,
        ),
        (
            "errors without any health check",
            ([1000.0] * 8, [500.0] * 8, QUIET, QUIET),
            [50.0] * 8,
            ["OK", "OK", *["ALARM"] * 6],
        ),
        (
            "traffic that ends after errors, as no data",
            ([1000.0] * 3 + [None] * 5, [500.0] * 3 + [None] * 5, QUIET, QUIET),
            [50.0] * 3 + [None] * 5,
            ["OK", "OK", *["ALARM"] * 5, "OK"],
        ),
    ],
)
def test_error_rate_on_recorded_series(
    deployed: Deployed,
    what: str,
    series: tuple[metricmath.Series, ...],
    rates: metricmath.Series,
    expected: list[str],
) -> None:
    """``series`` are requests, errors, probes and failed probes."""
    alarm = deployed("prod", "us-east-1").of_type(ALARM)["ApiErrorRateAlarm"]
    expression = next(one["Expression"] for one in alarm["Metrics"] if "Expression" in one)
    given = dict(zip(("requests", "errors", "probes", "failed_probes"), series, strict=True))
    assert metricmath.names(expression) == {one["Id"] for one in alarm["Metrics"] if "MetricStat" in one} == set(given)
    assert [one["Id"] for one in alarm["Metrics"] if one.get("ReturnData", True)] == ["rate"]

    found = metricmath.evaluate(expression, given)

    assert found == [rate if rate is None else pytest.approx(rate) for rate in rates], what
    assert states(alarm, found) == expected, what


@pytest.mark.parametrize(
    ("name", "series", "last"),
    [
        ("ApiLatencyAlarm", [200.0] * 5, "OK"),
        ("ApiLatencyAlarm", [200.0, 9000.0, 200.0, 9000.0, 9000.0], "ALARM"),
        ("ApiLatencyAlarm", [None] * 5, "OK"),
        ("HealthAlarm", [0.0] * 5, "OK"),
        ("HealthAlarm", [0.0, 0.4, 0.4, 0.4, 0.4], "OK"),
        ("HealthAlarm", [0.0, 0.0, 1.0, 1.0, 1.0], "ALARM"),
        ("HealthAlarm", [0.0] * 5 + [None] * 2, "OK"),
        ("HealthAlarm", [0.0] * 5 + [None] * 7, "ALARM"),
        ("IngestErrorsAlarm", [0.0, 90.0, 0.0, 0.0, 0.0], "OK"),
        ("StoreThrottlesAlarm", [0.0, 90.0, 90.0, 90.0, 0.0], "ALARM"),
        ("StoreQueueAgeAlarm", [0.0, 130.0, 190.0, 250.0, 310.0], "ALARM"),
        ("StoreQueueAgeAlarm", [0.0, 130.0, 190.0, 250.0] + [None] * 9, "ALARM"),
        ("StoreDlqAlarm", [0.0, 1.0], "ALARM"),
        ("StoreDlqAlarm", [0.0, 1.0] + [None] * 9, "ALARM"),
        ("StoreDlqAlarm", [0.0, 1.0, 0.0], "OK"),
        ("ReplicationToApSouth1Alarm", [800.0, 4000.0, 4000.0, 4000.0, 900.0], "ALARM"),
        ("ReplicationToApSouth1Alarm", [800.0] + [None] * 9, "OK"),
    ],
)
def test_alarm_on_one_metric_on_recorded_series(
    deployed: Deployed, name: str, series: list[float | None], last: str
) -> None:
    alarm = deployed("prod", "us-east-1").of_type(ALARM)[name]
    assert states(alarm, series)[-1] == last
