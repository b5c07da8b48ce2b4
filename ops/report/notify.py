"""Telling someone, in two lines, when the verdict of a suite is another than before.

Through SNS and a webhook, as the stage file says. The webhook's address is a secret (who has it can post), so the stage
file names the secret that holds it; the address is never shown, logged or recorded. What cannot be sent is told, and
costs no report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from ops.aws import Cloud, explained
from ops.bucket import Place
from ops.errors import OpsError
from ops.record import REPORTS
from ops.report.suitepage import PAGE
from ops.stage import Stage

ATTEMPTS, TIMEOUT_S, PAUSE_S = 3, 10.0, 1.0
# SNS: a subject is ASCII and shorter than 100 characters. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SUBJECT, LINE = 99, 240


def lines(record: Mapping[str, Any], was: str, where: str) -> tuple[str, str]:
    """What is wrong, or well again; and where to look."""
    wrong = [run for run in record["runs"] if run["verdict"] != "pass" and run["counts"]]
    why = f"{wrong[0]['runbook']}: {wrong[0]['why'] or wrong[0]['verdict']}" if wrong else "every runbook passes"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    first = f"{record['verdict'].upper()} (was {was}): {record['suite']} on {record['stage']}: {why}"
    again = f"ops report {record['suite']} --stage {record['stage']}"
    return first[: LINE - len(more)] + more, f"Page: {where}. Again: {again}"


def due(record: Mapping[str, Any], was: str | None) -> bool:
    """Whether someone is to be told: the verdict changed, or the first one known is no pass."""
    return bool(record["verdict"] != (was or "pass"))


def send(cloud: Cloud, stage: Stage, told: tuple[str, str]) -> list[str]:
    """Tell whoever the stage file names; returns what could not be sent, and why."""
    problems = []
    for name, way in (("topic", _publish), ("webhook", _post)):
        try:
            way(cloud, stage, told)
        except OpsError as error:
            problems.append(f"the {name} was not told: {error}")
    return problems


def _publish(cloud: Cloud, stage: Stage, told: tuple[str, str]) -> None:
    topic = stage.reports.topic_arn
    if topic is None:
        return
    subject = told[0].encode("ascii", "replace").decode()[:SUBJECT]
    with explained("publishing to SNS"):
        cloud.client("sns", topic.split(":")[3]).publish(TopicArn=topic, Subject=subject, Message="\n".join(told))


def _post(
    cloud: Cloud,
    stage: Stage,
    told: tuple[str, str],
    *,
    transport: httpx.BaseTransport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    secret = stage.reports.webhook_secret
    if secret is None:
        return
    with explained(f"reading secret {secret}"):
        found = cloud.client("secretsmanager", stage.home_region).get_secret_value(SecretId=secret)
    address = found.get("SecretString", "").strip()
    if not address.startswith("https://"):
        raise OpsError(f"secret {secret} holds no https:// address")
    why = ""
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, transport=transport) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                sleep(PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = client.post(address, json={"text": "\n".join(told)})
            except httpx.HTTPError as error:
                # Its text may hold the address.
                why = type(error).__name__
                continue
            if answer.is_success:
                return
            why = f"HTTP {answer.status_code}"
            if answer.status_code < 500 and answer.status_code != 429:
                break
    raise OpsError(f"the address in secret {secret} did not take it: {why}")


def where(place: Place | None, directory: str) -> str:
    """The page as it is found from elsewhere; in the folder of reports where nothing is kept in S3."""
    return f"{place.uri(directory) if place else f'{REPORTS.name}/{directory}'}/{PAGE}"
