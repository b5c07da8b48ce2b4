"""What a rule of the emulated EventBridge does with an event: deliver it, try again, or send it to the target's DLQ.

Before a delivery, the target is looked at as AWS would find it: is it there, may the rule (by the queue's policy) or
the rule's role (by its own) reach it, is its region up, is the service throttled on purpose. Queues and buses are
looked at in full, functions for being there; targets of other kinds are left to the emulator.
"""

from __future__ import annotations

import importlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ops.local.emulator.messages import message_of
from ops.local.emulator.outages import Outages
from ops.local.emulator.retries import Burial, Failure, Policy, Retries
from ops.local.emulator.scopes import Scope, entered, here

EVENTBRIDGE = "events.amazonaws.com"
EVENTBRIDGE_SENDER = "AROAEXAMPLE"

logger = logging.getLogger("atoll")

Count = Callable[[Scope, str, str, str], None]
Fault = Callable[[str, str, str], str | None]


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target of a rule, in the scope of the rule."""

    scope: Scope
    target: dict[str, Any]
    event: dict[str, Any]
    rule: dict[str, Any]
    view: Any

    @property
    def bus(self) -> str:
        return str(self.rule.get("EventBusName", "default"))


class RuleTargets:
    """Stands in for the emulator's one attempt at each target."""

    def __init__(self, outages: Outages, count: Count) -> None:
        """``count(scope, metric, rule, bus)`` publishes one."""
        self._outages = outages
        self._count = count
        # (service, operation, region) -> the code of a fault that is injected into such a call, if there is one.
        self.fault: Fault = lambda service, operation, region: None
        self._events = importlib.import_module("ministack.services.eventbridge")
        self._deliver_now = self._events._invoke_target
        self._dispatch = self._events._dispatch_to_event_bus
        self._sqs = importlib.import_module("ministack.services.sqs")
        self._lambda = importlib.import_module("ministack.services.lambda_svc")
        self._iam = importlib.import_module("ministack.core.iam_evaluator")
        self._arn = importlib.import_module("ministack.core.arn")
        self._retries: Retries[Delivery] = Retries(self._attempt, self._bury, time.monotonic)
        self.dropped = 0

    def invoke(self, target: Any, event: Any, rule: Any, view: Any = None) -> None:
        """Stands in for ``_invoke_target``."""
        delivery = Delivery(here(), target, event, rule, view or self._events._pattern_event_view(event))
        self._publish(delivery, "Invocations")
        self._retries.take(delivery, Policy.of(target))

    def dispatch_to_bus(
        self, spec: Any, event: Any, rule: Any, event_path: Any, target_input_payload: Any = None
    ) -> None:
        """Stands in for ``_dispatch_to_event_bus``.

        The other region's bus, in the same account: the event keeps its id and time, as on AWS.
        """
        home = here()
        region = spec.region if spec.account_id == home.account else home.region
        with entered(Scope(home.account, region)):
            self._dispatch(spec, event, rule, event_path, target_input_payload)

    def tick(self) -> None:
        """Try again what is due."""
        self._retries.pump()

    def state(self) -> dict[str, Any]:
        """What ``GET /_atoll/deliveries`` answers: how many events wait for another attempt, and were lost."""
        return {"retrying": self._retries.waiting, "dropped": self.dropped}

    def _publish(self, delivery: Delivery, metric: str) -> None:
        self._count(delivery.scope, metric, str(delivery.rule.get("Name", "")), delivery.bus)

    def _attempt(self, delivery: Delivery) -> Failure | None:
        with entered(delivery.scope):
            failure = self._refusal(delivery)
            if failure is None:
                self._deliver_now(delivery.target, delivery.event, delivery.rule, delivery.view)
            elif failure.retryable:
                self._publish(delivery, "RetryInvocationAttempts")
            return failure

    def _refusal(self, delivery: Delivery) -> Failure | None:
        try:
            target = self._arn.parse_arn(delivery.target.get("Arn", ""))
        except self._arn.ArnParseError as error:
            return Failure("INVALID_PARAMETER", str(error))
        if target.service == "sqs":
            return self._queue_refusal(delivery, target)
        if target.service == "events" and target.resource.startswith("event-bus/"):
            return self._bus_refusal(delivery, target)
        if target.service == "lambda" and self._lambda._get_func_record_for_ref(str(target))[0] is None:
            return Failure("NO_RESOURCE", f"function {target.resource.rpartition(':')[2]} does not exist")
        return None

    def _queue_refusal(self, delivery: Delivery, target: Any) -> Failure | None:
        if target.region != delivery.scope.region:
            return Failure("INVALID_PARAMETER", "a queue must be in the region of the rule")
        queue = self._sqs._queue_by_arn(str(target))
        if queue is None:
            return Failure("NO_RESOURCE", f"queue {target.resource} does not exist")
        if not self._rule_may_send(delivery, str(target), queue):
            return Failure("NO_PERMISSIONS", f"the policy of queue {target.resource} does not let the rule send")
        # What a region accepted just before it went down is in its queues when it comes back.
        if target.region not in self._outages.effects.calls_down and (
            code := self.fault("sqs", "SendMessage", target.region)
        ):
            return Failure("THROTTLING" if "Thrott" in code else "SDK_CLIENT_ERROR", code, retryable=True)
        return None

    def _bus_refusal(self, delivery: Delivery, target: Any) -> Failure | None:
        scope, name = delivery.scope, target.resource.partition("/")[2]
        abroad = target.region != scope.region
        for region in (scope.region, target.region) if abroad else ():
            if region in self._outages.effects.calls_down:
                return Failure("CROSS_REGION_INGESTION_FAILED", f"{region} gives no answer", retryable=True)
        if code := self.fault("events", "PutEvents", target.region) if abroad else None:
            return Failure("THROTTLING" if "Thrott" in code else "SDK_CLIENT_ERROR", code, retryable=True)
        if self._events._event_buses.get_scoped(target.account_id, target.region, name) is None:
            return Failure("NO_RESOURCE", f"event bus {name} does not exist in {target.region}")
        role = delivery.target.get("RoleArn")
        if role and not self._role_may_put(role, str(target), scope):
            return Failure("NO_PERMISSIONS", f"role {role.rpartition('/')[2]} may not put events on {target}")
        return None

    def _rule_arn(self, delivery: Delivery) -> str:
        return str(self._events._rule_arn(delivery.rule.get("Name", ""), delivery.bus))

    def _rule_may_send(self, delivery: Delivery, queue_arn: str, queue: Any) -> bool:
        """By the queue's policy: EventBridge has no other right to a queue."""
        asking = self._iam.EvalContext(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action="sqs:SendMessage",
            resource_arn=queue_arn,
            region=delivery.scope.region,
            secure_transport=True,
            service_context={
                "aws:sourcearn": self._rule_arn(delivery),
                "aws:sourceaccount": delivery.scope.account,
                "aws:principalisawsservice": "true",
            },
        )
        policy = queue["attributes"].get("Policy")
        return str(self._iam.evaluate_resource_policy(policy, asking, service=EVENTBRIDGE).decision) == "Allow"

    def _role_may_put(self, role: str, bus_arn: str, scope: Scope) -> bool:
        asking = self._iam.EvalContext(
            principal_arn=role,
            principal_type="AssumedRole",
            principal_account=scope.account,
            action="events:PutEvents",
            resource_arn=bus_arn,
            region=scope.region,
            secure_transport=True,
        )
        policies = self._iam._gather_role_policies(role.rpartition("/")[2], scope.account)
        return str(self._iam.evaluate(asking, policies).decision) == "Allow"

    def _bury(self, delivery: Delivery, burial: Burial) -> None:
        self._publish(delivery, "FailedInvocations")
        with entered(delivery.scope):
            if self._sent_to_dlq(delivery, burial):
                return
        self.dropped += 1
        logger.warning(
            "event of rule %s dropped: %s: %s", delivery.rule.get("Name"), burial.failure.code, burial.failure.message
        )

    def _sent_to_dlq(self, delivery: Delivery, burial: Burial) -> bool:
        arn = (delivery.target.get("DeadLetterConfig") or {}).get("Arn")
        if not arn:
            return False
        queue = self._sqs._queue_by_arn(arn)
        if queue is None or not self._rule_may_send(delivery, arn, queue):
            self._publish(delivery, "InvocationsFailedToBeSentToDlq")
            return False
        body = json.dumps(delivery.view.event_with_detail())
        facts = {
            "RULE_ARN": self._rule_arn(delivery),
            "TARGET_ARN": delivery.target["Arn"],
            "ERROR_CODE": burial.failure.code,
            "ERROR_MESSAGE": burial.failure.message,
            "EXHAUSTED_RETRY_CONDITION": burial.exhausted,
            "RETRY_ATTEMPTS": str(burial.retries),
        }
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in facts.items() if value}
        queue["messages"].append(message_of(self._sqs, queue, body, attributes, EVENTBRIDGE_SENDER))
        self._sqs.esm_wake.set()
        self._publish(delivery, "InvocationsSentToDlq")
        return True
