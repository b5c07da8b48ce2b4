"""Whether what failed would take its messages now: reasons to mend something before a redrive. Reads only.

Asked of each target that messages would go back to: which of the stage's alarms that name it are red, whether its
function failed in the last minutes, how long its queue's oldest message has waited, whether anybody takes from the
queue. What cannot be asked is said, and is no reason to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from ops.aws import NO_ANSWER, Cloud, error_code
from ops.failover.preflight import alarms_on
from ops.fanout import each

LATELY = timedelta(minutes=5)


class Metric(NamedTuple):
    """A metric of AWS's, and how its periods are read."""

    namespace: str
    name: str
    dimension: str
    statistic: str


AGE = Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "Maximum")
ERRORS = Metric("AWS/Lambda", "Errors", "FunctionName", "Sum")
_GONE = ("ResourceNotFoundException", "NonExistentQueue", "QueueDoesNotExist")


def warnings(cloud: Cloud, targets: Mapping[str, str]) -> list[str]:
    """What speaks against sending to these targets now.

    Args:
        targets: ARN -> the name of what failed there, as messages have it.
    """

    def ask(arn: str) -> list[str]:
        try:
            return list(_of_target(cloud, arn))
        except ClientError as error:
            return [f"{arn} could not be looked at: {error_code(error)}"]
        except NO_ANSWER:
            return [f"{arn} could not be looked at: no answer"]

    found = [line for lines in each(sorted(targets), ask).values() for line in lines]
    return found + list(_red_alarms(cloud, targets))


def _of_target(cloud: Cloud, arn: str) -> Iterator[str]:
    service, region, name = arn.split(":")[2], arn.split(":")[3], arn.split(":", 6)[-1]
    if service == "lambda":
        yield from _failing(cloud, region, [name.partition(":")[0]])
    elif service == "sqs":
        name = arn.rpartition(":")[2]
        mappings = _mappings(cloud, region, arn)
        off = [mapping for mapping in mappings if mapping.get("State") not in ("Enabled", "Creating", "Enabling")]
        if off:
            yield f"{name} in {region}: its function does not take from it: the mapping is {off[0].get('State')}"
        functions = {mapping["FunctionArn"].split(":")[6] for mapping in mappings if mapping.get("FunctionArn")}
        yield from _failing(cloud, region, sorted(functions))
        age_s = _lately(cloud, region, AGE, name)
        if age_s > cloud.stage.alarms.queue_age_s:
            yield f"{name} in {region}: its oldest message has waited {age_s:,.0f} s, and what is added waits behind it"
    elif service == "events" and ":event-bus/" in arn:
        try:
            cloud.client("events", region).describe_event_bus(Name=arn.rpartition("/")[2])
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise
            yield f"{arn}: there is no such bus"


def _failing(cloud: Cloud, region: str, functions: Iterable[str]) -> Iterator[str]:
    for name in functions:
        errors = _lately(cloud, region, ERRORS, name)
        if errors:
            minutes = int(LATELY.total_seconds() // 60)
            yield f"{name} in {region}: failed {errors:,.0f} times in the last {minutes} minutes: is it mended?"


def _mappings(cloud: Cloud, region: str, arn: str) -> list[Any]:
    answer: Any = cloud.client("lambda", region).list_event_source_mappings(EventSourceArn=arn)
    return list(answer["EventSourceMappings"])


def _lately(cloud: Cloud, region: str, metric: Metric, name: str) -> float:
    """The sum, or the largest, of the last minutes; 0 without data."""
    # Whole minutes, the current one included: CloudWatch leaves out what is at the end itself.
    end = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    of: Any = {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": metric.dimension, "Value": name}],
    }
    asked: Any = {"Metric": of, "Period": 60, "Stat": metric.statistic}
    answer = cloud.client("cloudwatch", region).get_metric_data(
        MetricDataQueries=[{"Id": "lately", "MetricStat": asked}], StartTime=end - LATELY, EndTime=end
    )
    values = [value for result in answer["MetricDataResults"] for value in result.get("Values", ())]
    return float(sum(values) if metric.statistic == "Sum" else max(values, default=0.0))


def _red_alarms(cloud: Cloud, targets: Mapping[str, str]) -> Iterator[str]:
    """Of the stage's alarms, those in ALARM that name what the messages go back to; a DLQ's own says nothing new."""
    names: dict[str, set[str]] = {}
    for arn, handler in targets.items():
        names.setdefault(arn.split(":")[3], set()).update({handler, arn.rpartition(":")[2].rpartition("/")[2]} - {""})

    def ask(region: str) -> list[str]:
        try:
            return alarms_on(cloud, region)
        except ClientError as error:
            return [f"the alarms could not be asked for: {error_code(error)}"]
        except NO_ANSWER:
            return ["the alarms could not be asked for: no answer"]

    for region, found in each(sorted(names), ask).items():
        for alarm in found:
            if "could not" in alarm:
                yield f"{region}: {alarm}"
            elif any(alarm.startswith(f"{name}-") and not alarm.endswith("-dlq") for name in names[region]):
                yield f"{region}: alarm {alarm} is red: mend its cause first, or the messages come back"
