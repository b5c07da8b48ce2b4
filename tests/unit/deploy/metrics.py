"""Every metric that an alarm or a dashboard may name: those of AWS that Atoll uses, and those the handlers embed."""

from __future__ import annotations

import ast
import re

from ops.stage import ROOT

# Namespace and names -> the sets of dimensions they come with, from the services' pages:
_API = (("ApiId",), ("ApiId", "Stage"), ("ApiId", "Method", "Resource", "Stage"))
AWS: dict[str, tuple[set[str], tuple[tuple[str, ...], ...]]] = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    "AWS/ApiGateway": ({"4xx", "5xx", "Count", "IntegrationLatency", "Latency", "DataProcessed"}, _API),
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": (
        {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"},
        (("FunctionName",), ("FunctionName", "Resource")),
    ),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    "AWS/SQS": (
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesVisible",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
            "NumberOfMessagesSent",
            "NumberOfMessagesReceived",
            "NumberOfMessagesDeleted",
        },
        (("QueueName",),),
    ),
    # https://docs.aws.amazon.com/codebuild/latest/userguide/monitoring-metrics.html
    "AWS/CodeBuild": ({"Builds", "SucceededBuilds", "FailedBuilds", "Duration"}, (("ProjectName",),)),
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    "AWS/DynamoDB": ({"ReplicationLatency"}, (("ReceivingRegion", "TableName"),)),
}


def embedded() -> dict[str, set[str]]:
    """Metric -> services: those the handlers' code embeds, each listed in docs/events-api.md with its services."""
    used = {
        node.args[0].value
        for path in (ROOT / "handlers").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        in ("count", "duration", "gauge")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and re.fullmatch(r"[A-Z]\w+", node.args[0].value)  # str.count() is no metric
    }
    text = (ROOT / "docs" / "events-api.md").read_text(encoding="utf-8")
    paragraph = next(line for line in text.splitlines() if line.startswith("Metrics, namespace `Atoll`"))
    documented = {
        name: set(services.split(", "))
        for names, services in re.findall(r"((?:`\w+` )+)\(([\w, ]+)\)", paragraph)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert used == set(documented), "docs/events-api.md lists the metrics that the code embeds"
    return documented


def check(namespace: str, name: str, dimensions: dict[str, str], stage: str) -> None:
    """Assert that somebody publishes this metric."""
    if namespace == "Atoll":
        assert dimensions == {"stage": stage, "service": dimensions["service"]}, (name, dimensions)
        assert dimensions["service"] in embedded()[name], (name, dimensions)
        return
    known, sets = AWS[namespace]
    assert name in known, (namespace, name)
    assert tuple(sorted(dimensions)) in sets, (namespace, name, dimensions)
