"""A function's environment, and one region's tables and bus on moto."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from moto import mock_aws

from handlers import ingest
from handlers.core import aws, http, observability, timestamps
from handlers.core import settings as settings_module
from handlers.core.openapi import serving
from handlers.core.routes import ROUTES
from handlers.core.settings import Settings
from tests.unit.handlers import contract
from tests.unit.handlers.support import ENVIRONMENT, Cloud

DOCUMENTED = {route.key for route in ROUTES}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days after the events of these tests, so that none of them has expired."""
    now = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    monkeypatch.setattr(timestamps, "time", SimpleNamespace(time=lambda: now))


@pytest.fixture(autouse=True)
def function_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    forget()
    yield
    forget()


@pytest.fixture(autouse=True)
def answers_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every answer that any test gets from a function against the API's document."""
    respond = http.respond

    def checked(event: Mapping[str, Any], *arguments: Any) -> dict[str, Any]:
        answer = respond(event, *arguments)
        if event["routeKey"] in DOCUMENTED:
            contract.check_answer(event["routeKey"], answer)
        return answer

    monkeypatch.setattr(http, "respond", checked)


def forget() -> None:
    """Make every cached thing of a function anew, as a new function instance would."""
    settings_module.settings.cache_clear()
    settings_module.queue_settings.cache_clear()
    ingest._ledger.cache_clear()
    observability._metrics.cache_clear()
    serving._document.cache_clear()
    aws.reset()


@pytest.fixture
def settings() -> Settings:
    return settings_module.load(ENVIRONMENT)


@pytest.fixture
def logs() -> Iterator[StringIO]:
    """What the functions log during a test, one JSON document a line."""
    handler = observability.logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    stream = StringIO()
    before = handler.setStream(stream)
    yield stream
    handler.setStream(before)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with mock_aws():
        yield Cloud()
