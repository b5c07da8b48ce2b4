"""The tidy table of metrics: a row a point, and what is asked of it.

Columns: ``time`` (UTC), ``region``, ``resource``, ``metric``, ``statistic``, ``unit``, ``value``. A gap stays a gap: a
missing point is never a zero. ``attrs`` have ``period_s``, ``start``, ``end``, ``asked_end``, ``regions`` and
``incomplete``, as :func:`ops.metrics.collect` sets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ops.metrics.series import PERCENTILES

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["time", "region", "resource", "metric", "statistic", "unit", "value"]
SERIES = ["region", "resource", "metric", "statistic", "unit"]


def make(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """The table of these rows, which have :data:`COLUMNS`."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    frame["value"] = frame["value"].astype("float64")
    return frame.sort_values(["resource", "metric", "statistic", "time"], ignore_index=True)


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all of them; those without rows would change the types of the columns of the others."""
    import pandas as pd

    some = [frame for frame in frames if len(frame)]
    return pd.concat(some, ignore_index=True) if some else make([])


def select(frame: pd.DataFrame, resource: str, metric: str, statistic: str | None = None) -> pd.DataFrame:
    """The rows of one metric; ``resource`` may be a kind (``dlq/``) and then stands for all of it."""
    named = frame["resource"].str.startswith(resource) if resource.endswith("/") else frame["resource"] == resource
    chosen = frame[named & (frame["metric"] == metric)]
    return chosen if statistic is None else chosen[chosen["statistic"] == statistic]


def percentiles(frame: pd.DataFrame, resource: str, metric: str) -> pd.DataFrame:
    """The rows of one metric's percentiles, the lowest percentile first."""
    chosen = select(frame, resource, metric)
    return chosen[chosen["statistic"].isin(PERCENTILES)].sort_values(["statistic", "time"])


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the period that was under way, as long as there are others: it would look like an outage."""
    import pandas as pd

    if "asked_end" not in frame.attrs:
        return frame
    period = pd.Timedelta(seconds=frame.attrs.get("period_s", 60))
    over = frame[frame["time"] + period <= pd.Timestamp(frame.attrs["asked_end"])]
    return over if len(over) else frame


def later(frame: pd.DataFrame, by: timedelta) -> pd.DataFrame:
    """The same rows as if they had been ``by`` later, to lie beside those of another time."""
    return frame.assign(time=frame["time"] + by)
