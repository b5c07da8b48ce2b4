"""Whether the installed ministack is the one that the replacements were written for.

The version and the parameters of every internal that is replaced or used are compared with what is noted here and in
``replacements``, and a difference stops the start: a silent mismatch would make tests prove nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from typing import Any

from ops.local.emulator.replacements import MINISTACK_VERSION, REPLACEMENTS

# Used, not replaced: the same care applies.
USED = {
    "core.responses.request_scope": ("account_id", "region"),
    "core.responses.get_account_id": (),
    "core.responses.get_region": (),
    "app._enforce_data_plane": (
        "service",
        "iam_action",
        "headers",
        "query_params",
        "request_id",
        "resource_arn",
        "service_context",
        "auth_error_response",
        "named_resource",
    ),
    "core.responses.set_request_account_id": ("access_key_id",),
    "core.router.extract_access_key_id": ("headers", "query_params"),
    "services.dynamodb._replica_group": ("table",),
    "services.dynamodb._extract_key_val": ("attr",),
    "services.dynamodb._export_arn": ("table_arn",),
    "services.dynamodb._table_name_from_arn": ("arn",),
    "services.dynamodb._normalize_table_name": ("value",),
    "services.s3._ensure_bucket": ("name",),
    "services.s3._put_object": ("bucket_name", "key", "body", "headers"),
    "services.dynamodb._set_item": ("table", "pk_val", "sk_val", "item"),
    "services.dynamodb._remove_item": ("table", "pk_val", "sk_val"),
    "services.dynamodb._emit_stream_event": ("table_name", "event_name", "old_item", "new_item", "replicate"),
    "services.cloudwatch._store_datum": (
        "namespace",
        "name",
        "dims",
        "ts",
        "unit",
        "value",
        "values",
        "counts",
        "stat_values",
    ),
    "services.cloudwatch._evaluate_all_alarms": (),
    "services.cloudwatch._calc_stats": ("points",),
    "services.cloudwatch._percentile_samples": ("points",),
    "services.cloudwatch._dims_key": ("dims",),
    "services.cloudwatch._record_history": (
        "alarm_name",
        "old_state",
        "new_state",
        "reason",
        "alarm_type",
        "reason_data",
    ),
    "services.cloudwatch._dispatch_alarm_actions": ("alarm", "old_state", "new_state", "reason"),
    "services.cloudwatch._evaluate_parent_alarms": ("child", "seen"),
    "services.apigateway._match_route": ("api_id", "method", "path"),
    "services.apigateway.find_api_scope": ("api_id",),
    "services.cognito._pool_id": (),
    "services.cognito._client_id": (),
    "services.eventbridge._pattern_event_view": ("event",),
    "services.eventbridge._event_bus_name_from_ref": ("name",),
    "services.eventbridge._archive_name_from_ref": ("source_arn",),
    "services.eventbridge._coerce_timestamp": ("value",),
    "services.eventbridge._dispatch_event": ("event", "view"),
    "services.eventbridge._matches_pattern_view": ("pattern_str", "view", "owner"),
    "services.eventbridge._now_ts": (),
    "services.eventbridge._rule_arn": ("rule_name", "bus_name"),
    "services.lambda_svc._execute_function": ("func", "event"),
    "services.lambda_svc._route_async_failure": ("target_arn", "func_name", "event", "result"),
    "services.lambda_svc._get_func_record_for_ref": ("function_ref",),
    "services.sqs._Err": ("code", "message", "status"),
    "services.sqs._ensure_msg_fields": ("m",),
    "services.sqs._externalize_url": ("url",),
    "services.sqs._validate_batch_entries": ("entries", "entry_name"),
    "services.sqs.queue_delay": ("q",),
    "services.sqs._md5_msg_attrs": ("attrs",),
    "core.arn.parse_arn": ("value",),
    "core.iam_evaluator.EvalContext": (
        "principal_arn",
        "principal_type",
        "principal_account",
        "action",
        "resource_arn",
        "region",
        "source_ip",
        "secure_transport",
        "request_tags",
        "tag_keys",
        "service_context",
        "principal_keys",
    ),
    "core.iam_evaluator.evaluate": ("ctx", "policies", "limits"),
    "core.iam_evaluator.evaluate_resource_policy": ("doc", "ctx", "service", "named_only", "direct_only"),
    "core.iam_evaluator._gather_role_policies": ("role_name", "account_id"),
}
USED_STATE = (
    "services.dynamodb._tables",
    "services.dynamodb._tags",
    "services.dynamodb._exports",
    "services.dynamodb._pitr_settings",
    "services.lambda_svc._functions",
    "services.lambda_svc._LAMBDA_ASYNC_RETRY_BASE_SECONDS",
    "services.lambda_svc._LAMBDA_ASYNC_RETRY_MAX_SECONDS",
    "services.lambda_svc.new_uuid",
    "services.sqs._queues",
    "services.sqs.esm_wake",
    "services.sqs.new_uuid",
    "services.eventbridge._event_buses",
    "services.eventbridge._rules",
    "services.eventbridge._targets",
    "services.eventbridge._archives",
    "services.eventbridge._replays",
    "services.cloudwatch._alarms",
    "services.cloudwatch._composite_alarms",
    "services.cognito._user_pools",
    "services.cloudwatch._metrics",
    "app._MAIN_LOOP",
)


class IncompatibleEmulatorError(RuntimeError):
    """The installed ministack is not the one that the replacements were written for."""


def check_compatible() -> None:
    """Compare version and signatures.

    Raises:
        IncompatibleEmulatorError: lists every difference.
    """
    version = importlib.metadata.version("ministack")
    problems = [] if version == MINISTACK_VERSION else [f"version is {version}, expected {MINISTACK_VERSION}"]
    expected = {one.target: one.parameters for one in REPLACEMENTS} | USED
    for target, parameters in expected.items():
        function = resolve(target)
        if function is None:
            problems.append(f"{target} is gone")
        elif tuple(inspect.signature(function).parameters) != parameters:
            found = ", ".join(inspect.signature(function).parameters)
            problems.append(f"{target} takes ({found}), expected ({', '.join(parameters)})")
    problems += [f"{target} is gone" for target in USED_STATE if not _has(target)]
    if problems:
        raise IncompatibleEmulatorError(
            "ministack does not fit ops/local/emulator/replacements.py:\n  "
            + "\n  ".join(problems)
            + f"\nInstall the pinned version (ministack=={MINISTACK_VERSION}), or review each replacement."
        )


def owner_of(target: str) -> tuple[Any, str]:
    """The module or class of ministack that holds ``target``, and its name there."""
    path, _, name = target.rpartition(".")
    module, _, last = path.rpartition(".")
    if last[:1].isupper():
        return getattr(importlib.import_module(f"ministack.{module}"), last), name
    return importlib.import_module(f"ministack.{path}"), name


def resolve(target: str) -> Any:
    """``target`` itself; None if it is gone."""
    owner, name = owner_of(target)
    return getattr(owner, name, None)


def _has(target: str) -> bool:
    owner, name = owner_of(target)
    return hasattr(owner, name)
