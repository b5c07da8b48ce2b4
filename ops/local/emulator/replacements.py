"""The table of what is replaced in ministack: each internal with the reason, what stands there now, and its test.

Pure data: ``application`` puts it in place, ``compatibility`` compares it with the installed version.
"""

from __future__ import annotations

from dataclasses import dataclass

MINISTACK_VERSION = "1.5.33"


@dataclass(frozen=True)
class Replacement:
    """An internal of ministack that is replaced.

    ``target`` is where it is, in the package ``ministack``, with its ``parameters``; ``by`` what replaces it: a part of
    ``application.Emulator``, which is the module of that name, and its function; ``test`` one that shows what it does.
    """

    target: str
    parameters: tuple[str, ...]
    reason: str
    by: str
    test: str


REPLACEMENTS = (
    Replacement(
        "services.dynamodb._replicate_write",
        ("table", "event_name", "old_item", "new_item"),
        "Replicas of a global table converge asynchronously on AWS, last writer wins. ministack applies a write to all "
        "replicas before it answers, with no lag, no conflict and no way to cut a pair of regions.",
        "tables.replicate_write",
        "tests/local/test_local_cloud.py::test_write_reaches_the_other_region_after_the_lag",
    ),
    Replacement(
        "services.dynamodb._create_replica",
        ("name", "table", "region"),
        "A replica added while writes are in flight must receive those too; the copy alone lacks them.",
        "tables.create_replica",
        "tests/local/test_local_cloud.py::test_replica_added_later_holds_what_was_there_and_what_was_on_its_way",
    ),
    Replacement(
        "services.dynamodb._export_table_to_point_in_time",
        ("data",),
        "An export has a manifest and data files in S3, needs point-in-time recovery and a time within its window, and "
        "fails where it cannot write. ministack writes nothing and says COMPLETED.",
        "exports.start",
        "tests/unit/local/emulator/test_exports.py::test_export_holds_each_item_once_in_files_that_its_manifests_name",
    ),
    Replacement(
        "services.dynamodb._describe_export",
        ("data",),
        "An export is COMPLETED when its manifest is written, and says what it has. ministack's is after a second.",
        "exports.describe",
        "tests/unit/local/emulator/test_exports.py::test_export_into_no_bucket_fails_and_says_so",
    ),
    Replacement(
        "services.dynamodb._describe_continuous_backups",
        ("data",),
        "A table can be exported as of any second from its making to now. ministack's window is the present second.",
        "exports.backups",
        "tests/unit/local/emulator/test_exports.py::test_export_of_a_second_outside_of_the_window_is_refused",
    ),
    Replacement(
        "services.lambda_svc._execute_function_dispatch",
        ("func", "config", "event", "request_id", "started"),
        "CloudWatch gets Invocations, Errors and Duration of every invocation, and the metrics embedded in its log. "
        "ministack counts the Invoke API only and ingests no embedded metrics. It also starts a process for each "
        "concurrent invocation: on a laptop a burst of cold starts takes longer than a few warm workers in turn, so an "
        "invocation first waits a moment for one of those. Experiments make invocations fail or start late.",
        "lambdas.execute",
        "tests/local/test_local_cloud.py::test_events_are_processed_and_counted_as_aws_counts_them",
    ),
    Replacement(
        "core.lambda_runtime.Worker._read_stderr",
        ("self",),
        "Reads the log of a worker under a lock, so that whoever wants the log can take it whole without waiting.",
        "workerlog.read",
        "tests/unit/local/emulator/test_workerlog.py"
        "::test_handler_that_writes_more_than_the_pipe_holds_is_not_stopped_and_loses_nothing",
    ),
    Replacement(
        "core.lambda_runtime.Worker._drain_stderr",
        ("self",),
        "Takes the log from where it is read now, when an invocation has timed out.",
        "workerlog.take",
        "tests/unit/local/emulator/test_workerlog.py::test_take_after_the_process_ended_gives_its_last_words",
    ),
    Replacement(
        "core.lambda_runtime.Worker._drain_stderr_bounded",
        ("self", "first_line_wait", "idle_confirm", "hard_cap"),
        "ministack looks every millisecond whether more log follows: at least 5 ms an invocation, 50 ms for a handler "
        "that logs nothing, and a tenth of the processor time of a busy emulator.",
        "workerlog.take",
        "tests/unit/local/emulator/test_workerlog.py::test_take_of_nothing_does_not_wait",
    ),
    Replacement(
        "services.cloudwatch._stat_value",
        ("stats", "stat_name", "points"),
        "CloudWatch counts and adds up the values within fixed bounds (TC, TS, PR). ministack answers with the "
        "average to every statistic that it does not know.",
        "statistics.value",
        "tests/unit/local/emulator/test_statistics.py::test_trimmed_count_leaves_out_the_lower_bound_and_has_the_upper",
    ),
    Replacement(
        "services.lambda_svc._emit_lambda_metrics",
        ("function_name", "duration_ms", "error", "throttle"),
        "Silenced: what it counted is counted above, once for each invocation.",
        "lambdas.emit_nothing",
        "tests/local/test_local_cloud.py::test_invoke_api_is_counted_once",
    ),
    Replacement(
        "services.lambda_svc._acquire_execution_slot",
        ("func", "config"),
        "Throttles are published per function wherever the invocation came from.",
        "lambdas.acquire_slot",
        "tests/unit/local/emulator/test_lambdas.py::test_invocation_without_a_free_slot_is_published_as_a_throttle",
    ),
    Replacement(
        "services.lambda_svc.invoke_async_with_retry",
        ("func", "event"),
        "The record of a failed asynchronous invocation has version, time, request id, the attempts made and the "
        "version that ran; a dead-letter queue gets the bare event with attributes. ministack leaves these out, says "
        "three attempts whatever they were, and sends the record to both.",
        "invocations.take",
        "tests/local/test_played_recovery.py::test_failed_asynchronous_invocation_is_recorded_with_its_request_id",
    ),
    Replacement(
        "services.lambda_svc._iter_all_esms",
        (),
        "What is taken away reads no queue and no stream, without any change to its event source mappings.",
        "lambdas.event_source_mappings",
        "tests/local/test_local_cloud.py::test_region_down_leaves_messages_in_the_queue_until_it_is_back",
    ),
    Replacement(
        "services.apigateway.handle_execute",
        ("api_id", "stage", "path", "method", "headers", "body", "query_params", "raw_query_string"),
        "AWS/ApiGateway publishes Count, 4xx, 5xx and Latency per API; ministack publishes nothing. "
        "The APIs of a region taken away answer 503.",
        "apis.serve",
        "tests/local/test_local_cloud.py::test_events_are_processed_and_counted_as_aws_counts_them",
    ),
    Replacement(
        "services.eventbridge._invoke_target",
        ("target", "event", "rule", "view"),
        "EventBridge retries a delivery that failed and sends it to the target's DLQ in the end, and publishes metrics "
        "per rule. ministack tries once, swallows every failure, looks at no queue policy or role of a rule, and "
        "publishes nothing.",
        "rules.invoke",
        "tests/local/test_rule_targets.py::test_event_for_a_queue_throttled_for_a_while_arrives_once",
    ),
    Replacement(
        "services.eventbridge._dispatch_to_event_bus",
        ("spec", "event", "rule", "event_path", "target_input_payload"),
        "A rule may have a bus of another region as its target; ministack drops those events silently.",
        "rules.dispatch_to_bus",
        "tests/local/test_local_cloud.py::test_rule_with_a_bus_of_another_region_delivers_with_the_same_id",
    ),
    Replacement(
        "services.eventbridge._put_events",
        ("data", "allow_aws_source"),
        "An event has the time that its entry gives; ministack takes the present. Archives are replayed by that time.",
        "archives.put_events",
        "tests/local/test_played_recovery.py::test_replay_takes_the_window_by_the_time_of_the_events_minute_by_minute",
    ),
    Replacement(
        "services.eventbridge._archive_event",
        ("event", "view"),
        "An archive counts its bytes, takes no replayed event, also not one that a rule brought to another bus, and "
        "its managed rule has metrics. ministack counts no bytes, archives the latter, and publishes nothing.",
        "archives.keep",
        "tests/local/test_played_recovery.py::test_archive_counts_events_and_bytes_and_its_rule_has_metrics",
    ),
    Replacement(
        "services.eventbridge._describe_archive",
        ("data",),
        "No API shows the events of an archive; ministack answers with all of them, megabytes for some thousands.",
        "archives.describe",
        "tests/unit/local/emulator/test_archives.py::test_description_of_an_archive_does_not_hold_its_events",
    ),
    Replacement(
        "services.eventbridge._start_replay",
        ("data",),
        "A replay takes a while, goes minute by minute, reaches only the rules that FilterArns names, says how far it "
        "is, and is one of ten at most. ministack ignores FilterArns, the order and the limit, and tells no progress.",
        "replays.start",
        "tests/local/test_played_recovery.py::test_replay_reaches_only_the_rules_that_filter_arns_names",
    ),
    Replacement(
        "services.eventbridge._describe_replay",
        ("data",),
        "Answers from a copy of the record that the replay under way changes.",
        "replays.describe",
        "tests/local/test_played_recovery.py::test_replay_shows_its_progress_and_cancelling_it_stops_delivery",
    ),
    Replacement(
        "services.eventbridge._list_replays",
        ("data",),
        "The list comes in pages and says of each replay how far it is; ministack's ends at state and start.",
        "replays.list_replays",
        "tests/local/test_played_recovery.py::test_eleventh_replay_under_way_is_refused",
    ),
    Replacement(
        "services.eventbridge._cancel_replay",
        ("data",),
        "A cancelled replay delivers nothing more, and only one that is starting or running can be cancelled. "
        "ministack's says CANCELLED and goes on.",
        "replays.cancel",
        "tests/local/test_played_recovery.py::test_replay_shows_its_progress_and_cancelling_it_stops_delivery",
    ),
    Replacement(
        "services.sqs._dispatch",
        ("action", "data", "qurl"),
        "Tasks that move the messages of a DLQ, and the list of a DLQ's sources, are missing. A deletion searches the "
        "queue and builds it anew; what another thread adds meanwhile is lost. A receipt that is not the last one "
        "deletes nothing and is no error on AWS.",
        "queues.dispatch",
        "tests/local/test_played_recovery.py::test_move_task_brings_dead_letters_back_to_their_queue_as_new_messages",
    ),
    *(
        Replacement(
            f"services.sqs.{name}",
            parameters,
            "Each receive, deletion and count walks the whole queue: at 100,000 messages about 30 a second are "
            "received, sent on and deleted, whatever the number of clients. A standard queue has an index now.",
            f"queues.{by}",
            "tests/unit/local/emulator/test_queues.py::test_work_on_a_queue_does_not_grow_with_its_depth",
        )
        for name, parameters, by in (
            ("_get_q", ("url", "action"), "get"),
            ("_queue_by_arn", ("arn",), "by_arn"),
            ("_collect_msgs", ("q", "max_n", "vis_timeout"), "collect"),
            ("_dlq_sweep", ("q",), "sweep"),
            ("_expire_retained", ("q",), "expire"),
            ("_refresh_counts", ("q",), "count"),
            ("_delete_messages_for_esm", ("queue_url", "receipt_handles"), "delete_for_mapping"),
        )
    ),
    Replacement(
        "services.cognito._create_user_pool",
        ("data",),
        "A stage file names the issuer of its tokens before there is one. Cognito draws a pool's id at random; here it "
        "ends with the pool's name.",
        "userpools.create_pool",
        "tests/unit/local/emulator/test_userpools.py"
        "::test_user_pools_and_clients_get_the_ids_that_their_names_say_unless_taken",
    ),
    Replacement(
        "services.cognito._create_user_pool_client",
        ("data",),
        "A stage file names the audience before there is one. Cognito draws a client's id at random; here it is the "
        "client's name.",
        "userpools.create_client",
        "tests/unit/local/emulator/test_userpools.py"
        "::test_user_pools_and_clients_get_the_ids_that_their_names_say_unless_taken",
    ),
    Replacement(
        "app.pin_request_origin",
        ("source_ip", "secure_transport"),
        "AWS is reached over TLS only, this machine's loopback without: with IAM enforced, every policy that denies "
        "plain HTTP would deny everything.",
        "enforcement.pin_request_origin",
        "tests/unit/local/emulator/test_enforcement.py::test_request_over_loopback_counts_as_one_over_tls",
    ),
    Replacement(
        "core.iam_actions.extract_resource_arn",
        ("service", "method", "path", "headers", "body", "query_params", "region", "account_id"),
        "Calls of EventBridge and Route 53 address buses, archives, replays, the rules of a bus, health checks and "
        "changes; ministack holds DescribeEventBus against a rule of the default bus, and most others against nothing.",
        "enforcement.extract_resource_arn",
        "tests/unit/local/emulator/test_enforcement.py::test_resource_of_a_call_is_what_aws_holds_it_against",
    ),
    Replacement(
        "core.iam_actions.eventbridge_resource_arns",
        ("body", "region", "account_id"),
        "StartReplay needs its grant on the replay, the archive and the bus, CreateArchive on the archive and the bus; "
        "ministack asks for one.",
        "enforcement.eventbridge_resource_arns",
        "tests/local/test_played_recovery.py::test_replay_is_refused_without_its_grant_on_archive_bus_and_replay",
    ),
    Replacement(
        "core.iam_evaluator.enforce",
        ("access_key_id", "iam_action", "service", "region", "resource_arn", "service_context"),
        "A task that moves dead letters needs what moving them by hand needs too: to receive and delete there, and to "
        "send to their destination; a batch needs the grant of the single call; an export, to write its objects. "
        "ministack knows one action a call, of the call's own name.",
        "enforcement.enforce",
        "tests/local/test_played_recovery.py::test_move_task_is_refused_without_the_grants_of_what_it_does",
    ),
    Replacement(
        "core.iam_actions._lambda_action",
        ("method", "path"),
        "Reading a reserved concurrency, or one event source mapping, has an action of its own; ministack holds the "
        "first against PutFunctionConcurrency and the second against ListEventSourceMappings.",
        "enforcement.lambda_action",
        "tests/unit/local/emulator/test_enforcement.py::test_action_of_reading_one_thing_of_a_function_is_its_own",
    ),
    Replacement(
        "services.cloudwatch._evaluate_alarm",
        ("alarm",),
        "An alarm is on its own metric and dimensions, on M of N periods, and treats missing data as it says. "
        "ministack takes all dimensions of a metric together (a message in any queue is one in the DLQ) and one "
        "period, and looks only when data come in.",
        "alarms.evaluate",
        "tests/local/test_alarms.py::test_message_in_a_dlq_raises_its_alarm_alone_and_taking_it_away_ends_it",
    ),
    *(
        Replacement(
            f"services.cloudformation.{module}._evaluate_conditions",
            ("template", "params"),
            "A condition may ask for the region and for a mapping; ministack compares the words 'AWS::Region' instead. "
            "Each module that evaluates conditions has the function under a name of its own.",
            "conditions.evaluate",
            "tests/unit/local/emulator/test_conditions.py"
            "::test_conditions_of_the_emulator_with_values_follow_the_region",
        )
        for module in ("handlers", "changesets", "stacks")
    ),
    Replacement(
        "services.route53._build_health_check_el",
        ("parent", "hc"),
        "Writes Inverted and Disabled as XML has them. ministack writes Python's True, which every SDK reads as false: "
        "a health check that was inverted or disabled would look as if it were not.",
        "healthchecks.write",
        "tests/local/test_edge.py::test_inverted_health_check_sends_traffic_away_and_every_sdk_sees_it_inverted",
    ),
    Replacement(
        "services.route53._parse_health_check_config",
        ("el",),
        "Keeps the children of a calculated check. ministack looks for their ids one element too deep and keeps empty "
        "ones, so that a calculated check would never follow its children.",
        "healthchecks.read",
        "tests/unit/local/emulator/test_healthchecks.py::test_calculated_check_keeps_its_children",
    ),
    Replacement(
        "services.stepfunctions._execute_task",
        ("state_def", "raw_input", "execution", "ctx"),
        "An execution that is stopped begins nothing more, and the iterations of its Map end with it. ministack notes "
        "that it was stopped and runs all iterations to their end.",
        "executions.task",
        "tests/unit/local/emulator/test_executions.py::test_task_of_a_stopped_execution_is_not_begun",
    ),
    Replacement(
        "services.stepfunctions._fail_execution",
        ("execution", "error", "cause"),
        "A stopped execution stays stopped. ministack calls it failed once an iteration was not run to its end.",
        "executions.fail",
        "tests/unit/local/emulator/test_executions.py::test_stopped_execution_does_not_fail_later",
    ),
    Replacement(
        "app.app",
        ("scope", "receive", "send"),
        "Carries the control endpoint /_atoll/ and the ticks. An asynchronous invocation is answered with the id "
        "that the function sees and its record names; ministack draws three.",
        "serve",
        "tests/local/test_local_cloud.py::test_control_endpoint_lists_each_replacement_with_its_reason",
    ),
)
