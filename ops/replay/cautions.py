"""What stands in the way of a replay, and what its reader has to know: refusals and warnings of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ops.replay.archives import Archive
from ops.replay.counting import PREVIEW_PAGES
from ops.replay.receivers import NO_REPLAYS, Rule, idempotence
from ops.window import text_of

# EventBridge: ten replays at a time in an account and region; events reach the archive up to ten minutes late; counts
# lag by up to a day. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-replay-archived-event.html
MAX_CONCURRENT = 10
ARCHIVE_DELAY = timedelta(minutes=10)


def refusals(source: Archive, running: Sequence[str], asked: Sequence[str], chosen: Sequence[Rule]) -> list[str]:
    """Why the archive cannot be replayed now, or not to the rules asked for."""
    reasons = []
    if source.state != "ENABLED":
        reasons.append(f"the archive is {source.state}")
    if len(running) >= MAX_CONCURRENT:
        reasons.append(f"{len(running)} replays run in {source.region}, and EventBridge allows {MAX_CONCURRENT}")
    unknown = sorted(set(asked) - {rule.name for rule in chosen if rule.targets})
    if unknown:
        reasons.append(f"the bus has no rule with a target named {', '.join(unknown)}")
    reasons += [
        f"rule {rule.name} would not receive them: {rule.would_receive.partition(': ')[2]}"
        for rule in chosen
        if rule.name in asked and not rule.receives
    ]
    return reasons


def about_archive(source: Archive, window: tuple[datetime, datetime], now: datetime, *, own: bool) -> list[str]:
    """What the archive may lack of the window."""
    (start, end), found = window, []
    if end > now - ARCHIVE_DELAY:
        found.append("the window touches the last 10 minutes: EventBridge may not have archived all of them yet")
    if source.created is not None and source.created > start:
        found.append(f"the archive is younger than the window: it was created at {text_of(source.created)}")
    if source.retention_days and start < now - timedelta(days=source.retention_days):
        found.append(f"the archive keeps {source.retention_days} days: the window begins before that")
    # The stage's archives take all that the platform publishes.
    if source.pattern and not own:
        found.append(f"the archive keeps only what its pattern matches: {source.pattern}")
    return found


def about_receivers(cloud: Any, chosen: Sequence[Rule], deliver: bool) -> list[str]:
    """Who would receive nothing, and who might do something twice."""
    if not deliver:
        return ["nothing is delivered to the bus's own rules: the archive is only overheard"]
    found = []
    receiving = [rule for rule in chosen if rule.receives]
    if not receiving:
        found.append("no rule would receive the events; to read the archive only: -p deliver=false")
    excluded = [rule.name for rule in chosen if rule.would_receive == NO_REPLAYS]
    if excluded:
        found.append(f"these rules take no replayed events: {', '.join(excluded)}")
    targets = {target["Arn"] for rule in receiving for target in rule.targets}
    unknown = sorted(arn.rpartition(":")[2] for arn in targets if idempotence(cloud, arn) == "unknown")
    if unknown:
        found.append(f"whether these targets may get an event twice is not known: {', '.join(unknown)}")
    return found


def about_others(running: Sequence[str]) -> list[str]:
    return [f"other replays are running: {', '.join(running)}"] if running else []


def about_counts(complete: bool, in_table: int, by_metrics: int | None) -> list[str]:
    """How far the preview can be relied on."""
    found = []
    if not complete:
        found.append(f"the preview stopped after {PREVIEW_PAGES} pages: there are more events than it counts")
    if by_metrics is not None and by_metrics > in_table:
        found.append(
            f"EventBridge counted {by_metrics:,} events into the archive, and the table has {in_table:,} of the window"
        )
    return found


def applied_before(earlier: Sequence[dict[str, Any]], slices: int) -> list[str]:
    """What an earlier run of the very plan has done."""
    if not earlier:
        return []
    done = len({one["ReplayName"] for one in earlier if one["State"] == "COMPLETED"})
    rest = (
        "applying it again starts nothing; raise `repeat` to replay the window once more"
        if done >= slices
        else "applying it again takes up the rest"
    )
    return [f"this very plan was applied before: {min(done, slices)} of {slices} slices are COMPLETED; {rest}"]


STANDING = (
    "the duration is EventBridge's, at the region's default quota of invocations, or the processors' as they ran of "
    "late; queues may take longer to drain",
    "the cost is EventBridge's and of the temporary queue that overhears; what the targets cost is not in it",
    "the archive's own count of events may lag by up to 24 hours",
)
