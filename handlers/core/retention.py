"""How long an event lives: ``event_retention_days`` from the second it was accepted, alike in every region.

DynamoDB's time to live deletes an item only some time, up to days, after it has expired, in each region at another
moment; and an archive or a DLQ may deliver an event later than that. What has expired therefore counts as deleted at
once: it is not shown, it is not in the way of what comes after it, and no delivery brings it back.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from handlers.core import observability, timestamps
from handlers.core.delivery import Delivery
from handlers.core.settings import Settings


def expiry_s(accepted_at: datetime, settings: Settings) -> int:
    """When an event that was accepted then expires: seconds since 1970, as time to live wants them."""
    return int((accepted_at + timedelta(days=settings.event_retention_days)).timestamp())


def now_s() -> int:
    """The current second since 1970; what expires in it has expired."""
    return int(timestamps.now().timestamp())


def unexpired(deliveries: Iterable[Delivery], settings: Settings) -> list[Delivery]:
    """The deliveries that something is to be done for; of those whose event has expired only a line is logged."""
    at_s, found = now_s(), []
    for delivery in deliveries:
        if expiry_s(delivery.accepted_at, settings) > at_s:
            found.append(delivery)
            continue
        observability.count("EventsExpired")
        observability.logger.info("expired", event_key=delivery.event_key, correlation_id=delivery.correlation_id)
    return found


def lives(item: Mapping[str, Any], at_s: int) -> bool:
    """Whether an item of the table has not expired."""
    return int(item["expires_at"]["N"]) > at_s
