"""Health checks of Route 53 as its API shows them."""

from __future__ import annotations

import importlib
from typing import Any


class HealthChecks:
    """Writes them into answers, booleans spelled ``true`` and ``false``."""

    def __init__(self) -> None:
        self._write = importlib.import_module("ministack.services.route53")._build_health_check_el

    def write(self, parent: Any, hc: Any) -> None:
        """Stands in for ``_build_health_check_el``."""
        config = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in hc["config"].items()
        }
        self._write(parent, {**hc, "config": config})
