"""When SQS's own move task is enough, and when it is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ops.redrive.engine import Engine, choose
from ops.redrive.queues import Feed
from ops.redrive.survey import Seen
from tests.unit.ops.redrive.letters import RULE, SQS, STORE, dlq

SOURCE = Feed("queue", STORE, STORE)
FIT = Seen(dlq(SOURCE), messages=3, chosen=3, first=Counter({STORE: 3}), kinds=Counter(sqs=3))


def way(seen: Seen = FIT, asked: str = "auto", everything: bool = True, rate: int = 500) -> Engine:
    return choose(seen, asked, everything=everything, rate_per_s=rate, second="quarantine")


def test_choose_when_all_goes_back_to_the_one_source_takes_the_move_task_and_says_what_it_lacks() -> None:
    assert (way().name, way(asked="move-task").name) == ("move-task", "move-task")
    assert "marks no message as redriven" in way().warning


def test_choose_when_the_client_is_faster_or_asked_for_takes_it() -> None:
    assert way(rate=501).name == "client"
    assert "faster than the 500/s" in way(rate=501).why
    assert way(asked="client").name == "client"


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (replace(FIT, queue=dlq(Feed("rule", RULE, STORE))), "only for DLQs of queues"),
        (replace(FIT, queue=dlq()), "only for DLQs of queues"),
        (replace(FIT, queue=dlq(SOURCE, Feed("queue", f"{SQS}:b", f"{SQS}:b"))), "more than one queue"),
        (replace(FIT, second=1, again=Counter({STORE: 1})), "failed after a redrive"),
        (replace(FIT, kinds=Counter(sqs=2, function=1)), "what SQS itself brought"),
        (replace(FIT, stuck=1), "what SQS itself brought"),
        (replace(FIT, partial=True), "not all of the messages"),
    ],
)
def test_choose_when_the_move_task_is_not_enough_takes_the_client_or_refuses(seen: Seen, why: str) -> None:
    assert way(seen).name == "client"
    assert why in way(seen).why
    assert way(seen, "move-task").refused
    assert not way(seen).refused


def test_choose_when_a_rule_feeds_the_dlq_too_but_sqs_brought_all_that_is_there_takes_the_move_task() -> None:
    assert way(replace(FIT, queue=dlq(SOURCE, Feed("rule", RULE, STORE)))).name == "move-task"


def test_choose_when_filtered_takes_the_client() -> None:
    assert way(everything=False).name == "client"
