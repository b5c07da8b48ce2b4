"""Whether a region was left on purpose: an item of the global table for each such region, and none for any other.

The runbook ``failover`` writes it and takes it away. Whoever holds a replica can say it of every region, so that the
health of a region does not hang on its own answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from handlers.core import aws
from handlers.core.http import Answer
from handlers.core.problem import ProblemError, shown

if TYPE_CHECKING:
    from handlers.core.settings import Settings

REGION = re.compile(r"[a-z]{2}(?:-[a-z]{1,20}){1,3}-[0-9]{1,2}")
_PK = "CONTROL#evacuation"


def evacuated(settings: Settings, region: str) -> bool:
    """Whether this region's replica holds the flag of ``region``: one strong read, made once, within a second and a
    half."""
    key: Any = {"pk": {"S": _PK}, "sk": {"S": region}}
    return "Item" in aws.dynamodb(probe=True).get_item(TableName=settings.table, Key=key, ConsistentRead=True)


def answer(settings: Settings, region: str) -> Answer:
    """``GET /evacuated/{region}``, for the health checks: 200 when this region's replica says that ``region`` was left.

    Raises:
        ProblemError: ``region`` is not the name of one, or it was not left. Of a region that the stage does not have,
            nothing is read.
    """
    if not REGION.fullmatch(region):
        raise ProblemError(
            "invalid-parameter", f"region: is {shown(region)}; accepted: a region such as us-east-1.", field="region"
        )
    if region not in settings.regions or not evacuated(settings, region):
        raise ProblemError("not-found", f"{region} is not evacuated, as far as {settings.region} knows.")
    return Answer(200, {"evacuated": region, "region": settings.region, "stage": settings.stage})
