from __future__ import annotations

import pytest

from handlers.core import settings
from tests.unit.handlers.support import ENVIRONMENT


def test_load_with_all_variables_gives_typed_settings() -> None:
    loaded = settings.load(ENVIRONMENT)
    assert (loaded.stage, loaded.region, loaded.idempotency_window_s) == ("test", "us-east-1", 3600)


def test_load_with_missing_and_wrong_variables_names_each() -> None:
    environment = {**ENVIRONMENT, "ATOLL_EVENT_RETENTION_DAYS": "soon", "ATOLL_TABLE": " "}
    del environment["ATOLL_BUS"]
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(environment)
    message = str(caught.value)
    assert "ATOLL_BUS: is not set" in message
    assert "ATOLL_TABLE: is empty" in message
    assert "ATOLL_EVENT_RETENTION_DAYS: is 'soon'; accepted: a whole number above 0" in message
    assert "serverless.yml" in message
