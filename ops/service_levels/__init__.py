"""Service levels of the stage file, from CloudWatch's counts: error budget left, burn rates, and page, ticket or ok.

fine, coarse = service_levels.collect(cloud, now)
levels = service_levels.evaluate(fine, coarse, cloud.stage, now)
"""

from ops.service_levels.asking import collect, series
from ops.service_levels.drawing import budget_chart, burn_chart
from ops.service_levels.levels import ALL, Level, evaluate
from ops.service_levels.showing import checks, figures, frame

__all__ = [
    "ALL",
    "Level",
    "budget_chart",
    "burn_chart",
    "checks",
    "collect",
    "evaluate",
    "figures",
    "frame",
    "series",
]
