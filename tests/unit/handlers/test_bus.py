from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from handlers.core import bus
from handlers.core.bus import Bus, Entry, pack

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def entry(key: str, size: int = 2) -> Entry:
    return Entry(event_key=key, detail_type="t", time=NOW, detail="x" * size, trace_header="Root=1")


class FakeEvents:
    """Answers PutEvents from a script: an error code an entry (None: accepted), or an exception; then accepts all."""

    def __init__(self, *script: list[str | None] | Exception) -> None:
        self.script = list(script)
        self.calls: list[list[str]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.calls.append([item["Detail"] for item in Entries])
        step = self.script.pop(0) if self.script else [None] * len(Entries)
        if isinstance(step, Exception):
            raise step
        return {"Entries": [{"ErrorCode": code} if code else {"EventId": "1"} for code in step]}


def publish(client: FakeEvents, entries: list[Entry], may_retry: bool = True) -> tuple[dict[str, Any], list[float]]:
    pauses: list[float] = []
    return Bus(client, "bus", pauses.append).publish(entries, lambda: may_retry), pauses  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 270_000), max_size=60))
def test_pack_of_any_entries_keeps_limits_order_and_all(sizes: list[int]) -> None:
    entries = [entry(str(index), size) for index, size in enumerate(sizes)]
    calls = list(pack(entries))
    assert [item for call in calls for item in call] == entries
    for call in calls:
        assert 1 <= len(call) <= 10
        assert sum(item.size_bytes for item in call) < 1_000_000


def test_pack_of_small_entries_fills_calls() -> None:
    assert [len(call) for call in pack(entry(str(n)) for n in range(25))] == [10, 10, 5]


def test_size_of_an_entry_counts_utf8_bytes() -> None:
    assert Entry("k", "\u00e9", NOW, "\u20ac", "Root=1").size_bytes == 14 + len("atoll.events") + 2 + 3


def test_publish_when_some_are_refused_retries_only_those() -> None:
    client = FakeEvents([None, "ThrottlingException", None], [None])
    results, pauses = publish(client, [entry("a", 1), entry("b", 2), entry("c", 3)])
    assert results == {"a": None, "b": None, "c": None}
    assert client.calls == [["x", "xx", "xxx"], ["xx"]]
    assert len(pauses) == 1


def test_publish_when_one_is_always_refused_reports_it_alone_after_bounded_pauses() -> None:
    client = FakeEvents(["InternalFailure", None], *[["InternalFailure"]] * 20)
    results, pauses = publish(client, [entry("a", 1), entry("b", 2)])
    assert results["b"] is None
    assert results["a"].status == 503
    assert "InternalFailure" in results["a"].detail
    assert len(client.calls) == 5
    assert all(pause <= 0.8 for pause in pauses)


def test_publish_when_the_call_fails_retries_all() -> None:
    results, _ = publish(FakeEvents(ReadTimeoutError(endpoint_url="x")), [entry("a")])
    assert results == {"a": None}


def test_publish_when_there_is_no_time_to_retry_stops() -> None:
    client = FakeEvents(ReadTimeoutError(endpoint_url="x"))
    results, pauses = publish(client, [entry("a")], may_retry=False)
    assert results["a"].kind == "not-published"
    assert (len(client.calls), pauses) == (1, [])


@pytest.mark.parametrize("answer", [{"Entries": []}, {"Entries": [{}]}])
def test_publish_when_the_answer_misses_an_entry_does_not_count_it_as_accepted(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeEvents()
    monkeypatch.setattr(client, "put_events", lambda **_: answer)
    results, _ = publish(client, [entry("a")])
    assert results["a"].status == 503
    assert bus.SOURCE == "atoll.events"
