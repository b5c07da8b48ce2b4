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


def test_load_with_the_regions_of_the_stage_gives_them_in_order() -> None:
    loaded = settings.load({**ENVIRONMENT, "ATOLL_REGIONS": "ap-south-1, us-east-1"})
    assert loaded.regions == ("ap-south-1", "us-east-1")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is ''; accepted: different names, separated by commas"),
        ("us-east-1,", "is 'us-east-1,'; accepted: different names"),
        ("us-east-1,us-east-1", "accepted: different names"),
        ("ap-south-1,eu-west-1", "is 'ap-south-1,eu-west-1'; accepted: a list with this region, us-east-1"),
    ],
)
def test_load_with_regions_that_make_no_sense_says_what_would(value: str, problem: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load({**ENVIRONMENT, "ATOLL_REGIONS": value})
    assert str(caught.value).startswith("ATOLL_REGIONS: ")
    assert problem in str(caught.value)


def test_load_queue_with_its_variables_gives_typed_settings() -> None:
    loaded = settings.load_queue(ENVIRONMENT)
    assert (loaded.dlq_url, loaded.max_receive_count) == (ENVIRONMENT["ATOLL_DLQ_URL"], 3)


def test_load_queue_with_missing_and_wrong_variables_names_each() -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_queue({"ATOLL_MAX_RECEIVE_COUNT": "0"})
    assert "ATOLL_DLQ_URL: is not set" in str(caught.value)
    assert "ATOLL_MAX_RECEIVE_COUNT: is '0'; accepted: a whole number above 0" in str(caught.value)
