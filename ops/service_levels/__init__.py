"""Service levels of the stage file, from the metrics frame: error budget left, burn rates, and page, ticket or ok."""

from ops.service_levels.levels import Level, checks, evaluate, figures, frame, needed_range

__all__ = ["Level", "checks", "evaluate", "figures", "frame", "needed_range"]
