"""Lines of the platform's logs that name an id: every region and log group side by side, pages and time bounded.

FilterLogEvents and not Logs Insights: it costs nothing, where Insights is paid by the GB that it reads through, and it
answers at once, for all that is in the log by now. What it reads is bounded by the window and by ``PAGES`` of each
group; a group that has more is named, and so is one that did not answer. A page may be empty, and not be the last.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.stage import Stage

# A page is up to 1 MB of what fits the filter.
PAGES = 100
# Lines of one id in one group: more than an event ever has, and what a shared correlation id may come to.
LINES = 20_000
API = "api"
FUNCTIONS = ("ingest", "query", "store", "activity")


@dataclass(frozen=True)
class Line:
    """One line of a log: ``fields`` is the JSON document in it. ``component`` is the function, or ``api``."""

    time: datetime
    region: str
    component: str
    fields: Mapping[str, Any] = field(hash=False)

    def text(self, name: str) -> str:
        """A field that is a text; empty where it is none."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Search:
    """What was looked for where; ``unread`` says why not all of it was seen; empty where all was."""

    region: str
    group: str
    term: str
    lines: tuple[Line, ...] = ()
    unread: str = ""
    absent: bool = False


def groups(stage: Stage) -> dict[str, str]:
    """Component -> its log group, in every region."""
    found = {name: f"/aws/lambda/{stage.function(name)}" for name in FUNCTIONS}
    return {API: f"/aws/http-api/{stage.prefix}", **found}


def search(cloud: Cloud, terms: Iterable[str], start: datetime, end: datetime) -> list[Search]:
    """Look for each of ``terms`` in every group of every region, from ``start`` to ``end``."""
    known = groups(cloud.stage)
    wanted = [(region, name, term) for term in terms for region in cloud.stage.regions for name in known]
    edges = {"startTime": int(start.timestamp() * 1000), "endTime": int(end.timestamp() * 1000)}

    def one(place: tuple[str, str, str]) -> Search:
        region, component, term = place
        # As the id stands in the JSON of a line, and that as a quoted term of a filter pattern.
        pattern = json.dumps(json.dumps(term)[1:-1])
        asked = {"logGroupName": known[component], "filterPattern": pattern, **edges}
        found, unread = _read(cloud, region, component, asked)
        if found is None:
            return Search(region, known[component], term, absent=True)
        return Search(region, known[component], term, tuple(found), unread)

    return list(each(wanted, one).values())


def lines(searches: Iterable[Search]) -> list[Line]:
    """The lines of all searches, each once, in the order of time; in whatever order they were found."""
    found: dict[tuple[Any, ...], Line] = {}
    for one in searches:
        for line in one.lines:
            document = json.dumps(line.fields, sort_keys=True, default=str)
            found[line.time, line.region, line.component, document] = line
    return [found[key] for key in sorted(found)]


def _read(cloud: Cloud, region: str, component: str, asked: dict[str, Any]) -> tuple[list[Line] | None, str]:
    """The lines of a group, and why not all of them; None where there is no such group."""
    client: Any = cloud.client("logs", region)
    found: list[Line] = []
    try:
        with explained(f"{region}: reading the log {asked['logGroupName']}"):
            for _ in range(PAGES):
                answer = client.filter_log_events(**asked)
                made = (_line(region, component, event) for event in answer.get("events", []))
                found += [line for line in made if line is not None]
                if not answer.get("nextToken"):
                    return found, ""
                if len(found) > LINES:
                    return found, f"more than {LINES:,} lines: make the window smaller"
                asked["nextToken"] = answer["nextToken"]
    except OpsError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and error_code(cause) == "ResourceNotFoundException":
            return None, ""
        return found, str(error)
    return found, f"more than {PAGES} pages: make the window smaller"


def _line(region: str, component: str, event: Mapping[str, Any]) -> Line | None:
    """The JSON document of a log event; None when there is none in it."""
    text = str(event.get("message", ""))
    try:
        fields = json.loads(text[text.index("{") :])
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    at = _own_time(fields.get("timestamp")) or datetime.fromtimestamp(int(event["timestamp"]) / 1000, UTC)
    return Line(at, region, component, fields)


def _own_time(text: Any) -> datetime | None:
    """When the function said it, which is closer than when Logs took it: ``2026-11-23 11:46:28,123+0000``."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S,%f%z").astimezone(UTC)
    except ValueError:
        return None
