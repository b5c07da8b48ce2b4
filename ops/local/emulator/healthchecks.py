"""Health checks of Route 53 as its API shows them."""

from __future__ import annotations

import importlib
from typing import Any


class HealthChecks:
    """Reads them from requests, lists with their values, and writes them into answers, booleans as ``true``, ``false``."""

    def __init__(self) -> None:
        route53 = importlib.import_module("ministack.services.route53")
        self._write, self._read = route53._build_health_check_el, route53._parse_health_check_config

    def write(self, parent: Any, hc: Any) -> None:
        """Stands in for ``_build_health_check_el``."""
        config = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in hc["config"].items()
        }
        self._write(parent, {**hc, "config": config})

    def read(self, el: Any) -> dict[str, Any]:
        """Stands in for ``_parse_health_check_config``."""
        config: dict[str, Any] = self._read(el)
        lists = {one.tag.rpartition("}")[2]: [value.text or "" for value in one] for one in el}
        return config | {name: lists[name] for name in ("ChildHealthChecks", "Regions") if name in config}
