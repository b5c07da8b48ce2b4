"""A function's environment, and one region's tables and bus on moto."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace

import pytest
from moto import mock_aws

from handlers import ingest
from handlers.core import aws, observability, timestamps
from handlers.core import settings as settings_module
from handlers.core.settings import Settings
from tests.unit.handlers.support import ENVIRONMENT, Cloud


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


def forget() -> None:
    """Make every cached thing of a function anew, as a new function instance would."""
    settings_module.settings.cache_clear()
    ingest._ledger.cache_clear()
    observability._metrics.cache_clear()
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
