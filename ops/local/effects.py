"""What a record of faults breaks: pure, computed from the whole record at every change.

- *region-down*, by parts: ``api`` (the region's APIs answer 503), ``calls`` (AWS calls signed for the region are
  reset, hang, or are throttled; those of its functions like those of the toolkit) and ``processing`` (queues and
  streams are not read). Nothing is changed in the region's configuration, so there is nothing to put back.
- *replication-cut*: both directions of one pair of regions; ``lose`` drops for ever what is held or written meanwhile.
- *throttle*, *latency*, *reset*, *timeout*: a share of the AWS calls to one service.
- *function-error*, *function-delay*: a share of the invocations of some functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ops.local.record import PARTS, Fault

ApiFaultKind = Literal["throttle", "latency", "reset", "timeout"]
API_FAULT_KINDS: tuple[str, ...] = get_args(ApiFaultKind)

# Longer than an SDK waits for an answer by default (botocore's read_timeout is 60 s), so that the caller gives up
# first; and bounded, for one that would wait for ever.
HANG_MS = 65_000.0

# The service as an operator says it -> its signing name, by which the proxy knows it.
SERVICES = {
    "all": "*",
    "apigateway": "apigateway",
    "cloudformation": "cloudformation",
    "cloudwatch": "monitoring",
    "dynamodb": "dynamodb",
    "events": "events",
    "iam": "iam",
    "lambda": "lambda",
    "logs": "logs",
    "route53": "route53",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "sqs": "sqs",
    "ssm": "ssm",
    "sts": "sts",
}

# What each service answers when it throttles, so that SDKs back off as they do on AWS.
_THROTTLE_ERRORS = {
    "apigateway": ("TooManyRequestsException", 429),
    "cloudformation": ("Throttling", 400),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "iam": ("Throttling", 400),
    "lambda": ("TooManyRequestsException", 429),
    "monitoring": ("Throttling", 400),
    "s3": ("SlowDown", 503),
    "sts": ("Throttling", 400),
}
_THROTTLE_DEFAULT = ("ThrottlingException", 400)


@dataclass(frozen=True)
class Effects:
    """What is to break.

    ``cuts`` has a pair of regions in alphabetical order for each cut, with whether what is written meanwhile is lost;
    ``rules`` are the proxy's, ``functions`` the faults of single functions.
    """

    apis_down: frozenset[str]
    calls_down: frozenset[str]
    processing_off: frozenset[str]
    cuts: dict[tuple[str, str], bool]
    functions: tuple[Fault, ...]
    rules: list[dict[str, Any]]

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Effects:
        """The union of what the faults break: healing one leaves what another breaks too."""
        cuts: dict[tuple[str, str], bool] = {}
        for fault in faults:
            if fault.kind == "replication-cut" and fault.region and fault.other_region:
                first, second = sorted((fault.region, fault.other_region))
                cuts[first, second] = cuts.get((first, second), False) or fault.lose
        return cls(
            apis_down=_without(faults, "api"),
            calls_down=_without(faults, "calls"),
            processing_off=_without(faults, "processing"),
            cuts=cuts,
            functions=tuple(fault for fault in faults if fault.kind.startswith("function-")),
            rules=rules(faults),
        )


def _without(faults: Iterable[Fault], part: str) -> frozenset[str]:
    return frozenset(
        fault.region
        for fault in faults
        if fault.kind == "region-down" and fault.region and part in (fault.parts or PARTS)
    )


def rules(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """The proxy's rules for ``faults``. The first that matches a call decides, so regions that are down come first."""
    found: list[dict[str, Any]] = []
    for fault in sorted(faults, key=lambda one: (one.kind != "region-down", one.since, one.id)):
        if fault.kind == "region-down":
            found += _region_rules(fault) if "calls" in (fault.parts or PARTS) else []
        elif fault.kind in API_FAULT_KINDS:
            found.append(_api_rule(fault))
    return found


def _region_rules(fault: Fault) -> list[dict[str, Any]]:
    every = {"service": "*", "region": fault.region}
    match fault.how:
        case "timeout":
            return [every | {"timeout_ms": HANG_MS}]
        case "throttle":
            services = [{"service": name, "region": fault.region} | _throttled(name) for name in _THROTTLE_ERRORS]
            return [*services, every | _throttled("*")]
    return [every | {"reset": True}]


def _api_rule(fault: Fault) -> dict[str, Any]:
    service = SERVICES[fault.service or "all"]
    rule: dict[str, Any] = {"service": service, "probability": fault.rate}
    if fault.region:
        rule["region"] = fault.region
    match fault.kind:
        case "reset":
            return rule | {"reset": True}
        case "timeout":
            return rule | {"timeout_ms": HANG_MS}
        case "latency":
            return rule | {"latency": fault.latency_ms}
    return rule | _throttled(service)


def _throttled(service: str) -> dict[str, Any]:
    code, status = _THROTTLE_ERRORS.get(service, _THROTTLE_DEFAULT)
    return {"error": {"code": code, "status": status, "message": "Rate exceeded (ops fault throttle)"}}
