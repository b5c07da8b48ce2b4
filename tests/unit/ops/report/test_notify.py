"""Who is told, when, and what becomes of it when nobody takes it; the webhook's address is told to nobody."""

from __future__ import annotations

import httpx
import pytest

from ops.aws import Cloud
from ops.bucket import Place
from ops.errors import OpsError
from ops.report import notify
from ops.stage import ReportSettings
from tests.unit.ops.report.made import record, run

ADDRESS = "https://hooks.example.com/T0/" + "s" * 20
FAILED = record(
    run("metrics", "fail", failing={"freshness in ap-south-1": "147 bad of 300"}), run("cost", "error"), run("parity")
)


@pytest.mark.parametrize(
    ("was", "verdict", "due"),
    [("pass", "pass", False), ("pass", "fail", True), ("fail", "fail", False), ("fail", "pass", True),
     ("error", "fail", True), (None, "pass", False), (None, "fail", True)],
)  # fmt: skip
def test_due_when_the_verdict_is_another_than_before(was: str | None, verdict: str, due: bool) -> None:
    assert notify.due(record(verdict=verdict), was) is due


def test_lines_say_what_is_wrong_and_where_to_look() -> None:
    first, second = notify.lines(FAILED, "pass", notify.where(Place("b", "p", "us-east-1"), "local/suites/x"))
    assert first == ("ERROR (was pass): daily on local: metrics: freshness in ap-south-1: 147 bad of 300 (and 1 more)")
    assert second == "Page: s3://b/p/local/suites/x/index.html. Again: ops report daily --stage local"
    long = record(run("metrics", "fail", failing={"x": "y" * 999}), run("cost", "fail"))
    assert len(notify.lines(long, "pass", "p")[0]) == notify.LINE
    assert notify.lines(record(run("metrics")), "fail", "p")[0].endswith("every runbook passes")
    assert notify.where(None, "local/suites/x") == "reports/local/suites/x/index.html"


def told(cloud: Cloud, address: str = ADDRESS) -> Cloud:
    region = cloud.stage.home_region
    topic = cloud.client("sns", region).create_topic(Name="told")["TopicArn"]
    cloud.client("secretsmanager", region).create_secret(Name="hook", SecretString=address)
    settings = ReportSettings(topic_arn=topic, webhook_secret="hook")
    cloud.stage = cloud.stage.model_copy(update={"reports": settings})
    return cloud


def posted(cloud: Cloud, *answers: int | Exception) -> tuple[list[httpx.Request], list[float]]:
    """Post against these answers, one after the other."""
    asked: list[httpx.Request] = []
    slept: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = answers[len(asked) - 1]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found, headers={"location": "https://elsewhere.example"})

    transport = httpx.MockTransport(answer)
    notify._post(cloud, cloud.stage, ("one", "two"), transport=transport, sleep=slept.append)
    return asked, slept


def test_webhook_is_told_in_two_lines_and_again_after_a_failure(account: Cloud) -> None:
    asked, slept = posted(told(account), 503, httpx.ConnectError(ADDRESS), 200)
    assert [str(one.url) for one in asked] == [ADDRESS] * 3
    assert asked[0].read() == b'{"text":"one\\ntwo"}'
    assert slept == [1, 2]


@pytest.mark.parametrize(
    ("answers", "why"),
    [((500, 500, 500), "HTTP 500"), ((404,), "HTTP 404"), ((302,), "HTTP 302"),
     ((httpx.ReadTimeout(ADDRESS),) * 3, "ReadTimeout")],
)  # fmt: skip
def test_webhook_that_does_not_take_it_is_told_of_without_its_address(
    account: Cloud, answers: tuple[int | Exception, ...], why: str
) -> None:
    with pytest.raises(OpsError, match=f"the address in secret hook did not take it: {why}") as raised:
        posted(told(account), *answers)
    assert "hooks.example" not in f"{raised.value}{raised.value.hint}{raised.value.__context__!r}"


def test_send_tells_the_topic_whatever_becomes_of_the_webhook(account: Cloud) -> None:
    told(account, "http://plain.example/hook")
    queue = account.client("sqs", account.stage.home_region)
    url = queue.create_queue(QueueName="hears")["QueueUrl"]
    topic = account.stage.reports.topic_arn
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account.client("sns", account.stage.home_region).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    problems = notify.send(account, account.stage, notify.lines(FAILED, "pass", "page"))
    assert problems == ["the webhook was not told: secret hook holds no https:// address"]
    [heard] = queue.receive_message(QueueUrl=url)["Messages"]
    assert "147 bad of 300" in heard["Body"]


def test_send_where_nobody_is_named_tells_nobody(account: Cloud) -> None:
    assert notify.send(account, account.stage, ("one", "two")) == []
