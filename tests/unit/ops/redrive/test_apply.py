"""A redrive from plan to record: what it moves, what it keeps, what it writes down, and how it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ops import bucket, ledger
from ops.aws import Cloud
from ops.bucket import place
from ops.errors import InterruptedRunError, OpsError, RefusedError
from ops.ledger import Entry
from ops.plan import Outcome, Plan, Step
from ops.redrive import queues, receiving
from ops.redrive.apply import apply
from ops.redrive.book import Book
from ops.redrive.orders import Tally
from ops.redrive.outcome import Done, Redriven
from ops.redrive.survey import Seen, Survey

REGION, KEY = "us-east-1", "0b6ef0a1-3b52-4c7e-9a59-0d3b1f0c7a11"
OTHER_KEY = "0b6ef0a1-3b52-4c7e-9a59-0d3b1f0c7a12"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "LONG_POLL_S", 0)


@pytest.fixture
def cloud(deployed: Cloud) -> Cloud:
    """With the bucket, and the activity queue as what its DLQ belongs to."""
    sqs = deployed.client("sqs", REGION)
    arn = _attribute(deployed, "activity-dlq", "QueueArn")
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    sqs.set_queue_attributes(QueueUrl=_url(deployed, "activity"), Attributes={"RedrivePolicy": policy})
    deployed.client("s3", REGION).create_bucket(Bucket=place(deployed, REGION).bucket)
    # moto builds its routes at the first call of each service, which Python 3.11 cannot do in two threads at a time.
    deployed.client("lambda", REGION).list_functions()
    deployed.client("events", REGION).list_event_buses()
    return deployed


def _url(cloud: Cloud, name: str) -> str:
    return cloud.client("sqs", REGION).get_queue_url(QueueName=f"atoll-unit-{name}")["QueueUrl"]


def _attribute(cloud: Cloud, name: str, attribute: Any) -> str:
    found = cloud.client("sqs", REGION).get_queue_attributes(QueueUrl=_url(cloud, name), AttributeNames=[attribute])
    return found["Attributes"][attribute]


def depth(cloud: Cloud, name: str) -> int:
    return int(_attribute(cloud, name, "ApproximateNumberOfMessages"))


def put(cloud: Cloud, count: int, **attributes: str) -> None:
    texts = {"FUNCTION": "activity", "ERROR_CODE": "Boom", "EVENT_KEY": KEY, **attributes}
    typed: Any = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
    for number in range(count):
        cloud.client("sqs", REGION).send_message(
            QueueUrl=_url(cloud, "activity-dlq"), MessageBody=f"body-{number}", MessageAttributes=typed
        )


def plan_of(cloud: Cloud, **parameters: Any) -> Plan:
    name = "atoll-unit-activity-dlq"
    after = {"region": REGION, "queue": name, "url": _url(cloud, "activity-dlq"), "engine": "client"}
    lists: dict[str, Any] = {one: [] for one in ("queues", "error_codes", "handlers", "types", "keys")}
    texts = {"older_than": "", "younger_than": "", "engine": "client", "on_second_failure": "quarantine", "keep": ""}
    return Plan(
        runbook="redrive",
        stage="unit",
        account=cloud.account,
        regions=[REGION],
        parameters={**lists, **texts, "rate_per_s": 500, "limit": 0, **parameters},
        steps=[Step(action="run", resource=f"redrive of {name}", region=REGION, after=after)],
    )


def entry_of(cloud: Cloud, plan: Plan) -> Entry:
    entry = ledger.read(cloud, place(cloud, REGION), "redrive", plan.token)
    assert entry is not None
    return entry


def test_redrive_moves_quarantines_and_leaves_its_record(cloud: Cloud) -> None:
    put(cloud, 5)
    put(cloud, 2, REDRIVES="1")
    plan, told, done = plan_of(cloud), [], list[Outcome]()
    redriven = apply(cloud, plan, plan.token, told.append, done.append)

    assert (depth(cloud, "activity"), depth(cloud, "activity-dlq")) == (5, 0)
    assert redriven.moved_keys == [(KEY, REGION)] * 5
    figures = redriven.figures()
    assert {name: figures[name] for name in ("moved", "quarantined", "not_taken")} == {
        "moved": 5,
        "quarantined": 2,
        "not_taken": 0,
    }
    assert [check.ok for check in redriven.checks()] == [True]
    assert len(redriven.frame()) == 1
    assert [outcome.done for outcome in done] == ["5 moved, 2 quarantined"]
    assert len(list(bucket.keys(cloud, place(cloud, REGION), "quarantine/"))) == 2
    entry = entry_of(cloud, plan)
    assert (entry.state, entry.figures["moved"], entry.steps[0]["moved"]) == ("done", 5, 5)


def test_filter_leaves_the_others_where_they_are(cloud: Cloud) -> None:
    put(cloud, 3, ERROR_CODE="Other")
    put(cloud, 2)
    plan = plan_of(cloud, error_codes=["Boom"])
    assert apply(cloud, plan, plan.token).figures()["moved"] == 2
    assert depth(cloud, "activity-dlq") == 3


def test_another_plans_token_changes_nothing(cloud: Cloud) -> None:
    put(cloud, 1)
    with pytest.raises(RefusedError):
        apply(cloud, plan_of(cloud), plan_of(cloud, limit=1).token)
    assert depth(cloud, "activity-dlq") == 1


def test_nothing_is_touched_when_the_ledger_cannot_be_written(cloud: Cloud) -> None:
    put(cloud, 1)
    plan = plan_of(cloud, keep="s3://somewhere-else")
    with pytest.raises(OpsError, match="no such bucket"):
        apply(cloud, plan, plan.token)
    assert depth(cloud, "activity-dlq") == 1


def test_interruption_says_how_to_go_on_and_the_next_run_does(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cloud, 4)
    plan = plan_of(cloud)
    stop: Callable[..., None] = lambda self, queue, done: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(
            sys.modules["ops.redrive.apply"]._Run, "_by_client", stop
        )  # the package has a function so named
        with pytest.raises(InterruptedRunError) as stopped:
            apply(cloud, plan, plan.token)
    assert f"--apply {plan.token}" in stopped.value.hint
    assert entry_of(cloud, plan).state == "stopped"

    redriven = apply(cloud, plan, plan.token)
    assert (redriven.resumed, redriven.figures()["moved"], entry_of(cloud, plan).state) == (True, 4, "done")


def test_failure_is_in_the_ledger(cloud: Cloud) -> None:
    put(cloud, 1)
    plan = plan_of(cloud)
    cloud.client("sqs", REGION).delete_queue(QueueUrl=_url(cloud, "activity-dlq"))
    with pytest.raises(OpsError, match="no such queue"):
        apply(cloud, plan, plan.token)
    assert entry_of(cloud, plan).state == "failed"


def test_counts_and_request_ids_go_on_from_a_run_that_did_not_end(cloud: Cloud) -> None:
    plan = plan_of(cloud)
    first = Book(cloud, plan)
    first.add(["a"])
    first.write("running", {"moved": 3})
    second = Book(cloud, plan)
    second.add(["b"])
    second.write("done", {"moved": 2, "rate_per_s": 1.5})
    entry = entry_of(cloud, plan)
    assert (first.resumed, second.resumed) == (False, True)
    assert (entry.figures["moved"], entry.request_ids) == (5, ["a", "b"])
    assert not Book(cloud, plan).resumed


def test_fifo_queue_is_not_redriven_in_part(cloud: Cloud) -> None:
    sqs, name = cloud.client("sqs", REGION), "orders-dlq.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    step = Step(action="run", resource=name, region=REGION, after={"region": REGION, "queue": name, "url": url})
    plan = plan_of(cloud, error_codes=["Boom"]).model_copy(update={"steps": [step]})
    with pytest.raises(OpsError, match="all messages are moved or none"):
        apply(cloud, plan, plan.token)


def test_keys_of_what_a_move_task_moved_are_those_that_were_looked_at(cloud: Cloud) -> None:
    plan = plan_of(cloud)
    (queue,) = queues.find(cloud, [REGION], ["atoll-unit-activity-dlq"])
    looked = Survey((Seen(queue, event_keys=[KEY, OTHER_KEY]),))
    redriven = Redriven(moved_keys=[("elsewhere", "ap-south-1")])
    assert redriven.keys(looked) == [("elsewhere", "ap-south-1")]
    redriven.done.append(Done(plan.steps[0], "client", Tally(moved=2)))
    assert redriven.keys(looked) == [("elsewhere", "ap-south-1")]
    redriven.done[0] = Done(plan.steps[0], "move-task", Tally(moved=2))
    assert redriven.keys(looked) == [("elsewhere", "ap-south-1"), (KEY, REGION), (OTHER_KEY, REGION)]
