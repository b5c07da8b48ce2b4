from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import activity as activity_function
from handlers import query, store
from handlers.core import cursor, listing, timestamps
from handlers.core import settings as settings_module
from handlers.core.cursor import Position
from handlers.core.problem import ProblemError
from ops.divergence.reserved import heartbeat_key
from tests.unit.handlers.support import Cloud, Context, body_of, cloudevent, envelope, request, sqs_event
from tests.unit.handlers.test_processors import accepted, event_key

KEY = event_key("acme", "/shop", "order-1")
DAY = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"}


def get(route: str, *, path: dict[str, str] | None = None, claims: Any = None, **query_: Any) -> dict[str, Any]:
    parameters = {name.rstrip("_"): value for name, value in query_.items()}
    return query.handler(
        request(f"GET {route}", query=urlencode(parameters, doseq=True), path=path, claims=claims), Context()
    )


def get_event(key: str = KEY, **options: Any) -> dict[str, Any]:
    return get("/events/{event_key}", path={"event_key": key}, **options)


def put(*events: dict[str, Any], accepted_at: list[str] | None = None, tenant: str = "acme") -> None:
    times = accepted_at or ["2026-11-20T10:15:31.000Z"] * len(events)
    for event, moment in zip(events, times, strict=True):
        body = envelope(accepted(event, tenant=tenant, accepted_at=moment))
        for function in (store.handler, activity_function.handler):
            assert function(sqs_event(body), Context()) == {"batchItemFailures": []}


def put_at(*accepted_at: str, **members: Any) -> list[str]:
    """Store one event for each accepted time; their ids are the times."""
    put(*(cloudevent(id=moment, **members) for moment in accepted_at), accepted_at=list(accepted_at))
    return list(accepted_at)


def pages(**parameters: Any) -> list[list[str]]:
    """The ids of a listing, page by page, to its end."""
    found: list[list[str]] = []
    following: dict[str, str] = {}
    while True:
        answer = get("/events", **parameters, **following)
        assert answer["statusCode"] == 200, answer
        body = body_of(answer)
        found.append([event["event"]["id"] for event in body["events"]])
        if body["cursor"] is None:
            return found
        following = {"cursor": body["cursor"]}


def reads(cloud: Cloud, operation: str) -> list[dict[str, Any]]:
    noted: list[dict[str, Any]] = []
    event = f"provide-client-params.dynamodb.{operation}"
    cloud.dynamodb.meta.events.register(event, lambda params, **_: noted.append(dict(params)))
    return noted


# --- one event ----------------------------------------------------------------------------------------------------


def test_event_when_stored_is_answered_with_its_stamps(cloud: Cloud) -> None:
    put(cloudevent())
    answer = get_event(KEY.upper())
    body = body_of(answer)
    assert answer["statusCode"] == 200
    assert body["event"] == cloudevent()
    assert {name: body[name] for name in ("event_key", "tenant", "version", "written_region")} == {
        "event_key": KEY,
        "tenant": "acme",
        "version": 1,
        "written_region": "us-east-1",
    }


@pytest.mark.parametrize(
    ("parameters", "strong"), [({}, False), ({"consistency": "eventual"}, False), ({"consistency": "strong"}, True)]
)
def test_event_read_is_strong_only_when_asked(cloud: Cloud, parameters: dict[str, str], strong: bool) -> None:
    noted = reads(cloud, "GetItem")
    get_event(**parameters)
    assert [read["ConsistentRead"] for read in noted] == [strong]


@pytest.mark.parametrize("key", ["00000000-0000-5000-8000-000000000000", "not-a-key", ""])
def test_event_when_there_is_none_answers_404(cloud: Cloud, key: str) -> None:
    answer = get_event(key)
    assert (answer["statusCode"], body_of(answer)["type"]) == (404, "/problems/not-found")


def test_event_of_another_tenant_answers_the_same_404_as_none(cloud: Cloud) -> None:
    put(cloudevent())
    assert get_event(KEY)["statusCode"] == 200
    missing = get_event(event_key("acme", "/shop", "none"), claims={"client_id": "evil"})
    assert missing["statusCode"] == 404
    assert get_event(KEY, claims={"client_id": "evil"})["body"] == missing["body"]


@pytest.mark.parametrize(
    ("route", "path"), [("/events/{event_key}", {"event_key": KEY}), ("/events", None), ("/activity", None)]
)
def test_read_when_the_route_has_no_authorizer_shows_nothing(
    cloud: Cloud, route: str, path: dict[str, str] | None
) -> None:
    put(cloudevent())
    event = request(f"GET {route}", path=path)
    del event["requestContext"]["authorizer"]
    answer = query.handler(event, Context())
    assert (answer["statusCode"], body_of(answer)["type"]) == (500, "/problems/internal-error")


def test_event_when_the_table_does_not_answer_is_503(cloud: Cloud) -> None:
    cloud.fail("dynamodb.GetItem")
    answer = get_event()
    assert (answer["statusCode"], body_of(answer)["type"]) == (503, "/problems/unavailable")
    assert answer["headers"]["retry-after"]


def test_query_of_an_unknown_route_answers_404(cloud: Cloud) -> None:
    assert get("/nothing")["statusCode"] == 404


# --- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ({"limit": "0"}, "limit", "1 to 200"), ({"limit": "201"}, "limit", "1 to 200"),
        ({"limit": "ten"}, "limit", "1 to 200"), ({"limit": "\u0662"}, "limit", "1 to 200"),
        ({"limit": ["1", "2"]}, "limit", "once"),
        ({"from_": "yesterday"}, "from", "RFC 3339"), ({"to": "2026-11-20T00:00:00 05:30"}, "to", "%2B"),
        ({"from_": DAY["to"], "to": DAY["from"]}, "from", "before to"),
        ({"from_": "2026-01-01T00:00:00Z", "to": DAY["to"]}, "from", "31 days"),
        ({"to": "0001-01-01T00:00:00Z"}, "to", "after the year 1"),
        ({"type": ""}, "type", "1 to 128"), ({"consistency": "yes"}, "consistency", "accepted: eventual"),
        ({"tpye": "x"}, "tpye", "from, to, type, limit, cursor, consistency"),
    ],
)  # fmt: skip
def test_listing_when_a_parameter_is_not_valid_names_it_and_what_is_accepted(
    cloud: Cloud, parameters: dict[str, Any], field: str, says: str
) -> None:
    answer = get("/events", **parameters)
    body = body_of(answer)
    assert (answer["statusCode"], body["field"]) == (400, field)
    assert says in body["detail"]


def test_listing_with_strong_consistency_answers_400_and_explains_indexes(cloud: Cloud) -> None:
    body = body_of(get("/events", consistency="strong"))
    assert (body["status"], body["type"], body["field"]) == (400, "/problems/consistency-not-available", "consistency")
    assert "eventual" in body["detail"]


@pytest.mark.parametrize("raw", ["%ff=1", "&".join(f"a{n}=1" for n in range(60))])
def test_query_when_the_string_cannot_be_read_answers_400(cloud: Cloud, raw: str) -> None:
    assert query.handler(request("GET /events", query=raw), Context())["statusCode"] == 400


# --- listing ------------------------------------------------------------------------------------------------------


def test_listing_over_days_is_newest_first_and_pages_lose_and_repeat_nothing(cloud: Cloud) -> None:
    stored = put_at(
        "2026-11-18T23:59:59.999Z", "2026-11-19T00:00:00.000Z", "2026-11-19T12:00:00.000Z",
        "2026-11-20T00:00:00.000Z", "2026-11-20T08:00:00.000Z", "2026-11-20T23:59:59.999Z",
    )  # fmt: skip
    window = {"from_": "2026-11-18T00:00:00Z", "to": "2026-11-21T00:00:00Z"}
    assert pages(**window) == [stored[::-1]]
    for limit in (1, 2, 3, 4, 6):
        found = pages(**window, limit=limit)
        assert [event for page in found for event in page] == stored[::-1]
        assert all(len(page) == limit for page in found[:-1])


def test_listing_window_includes_from_and_excludes_to(cloud: Cloud) -> None:
    stored = put_at("2026-11-20T10:00:00.000Z", "2026-11-20T10:00:00.001Z", "2026-11-20T11:00:00.000Z")
    assert pages(from_=stored[0], to=stored[2]) == [[stored[1], stored[0]]]
    assert pages(from_=stored[1], to="2026-11-20T11:00:00.001Z") == [[stored[2], stored[1]]]


def test_listing_without_a_window_is_the_last_24_hours(cloud: Cloud) -> None:
    now = timestamps.now()
    put_at(timestamps.format_ms(now - timedelta(hours=25)))
    (recent,) = put_at(timestamps.format_ms(now - timedelta(hours=23)))
    assert pages() == [[recent]]


def test_listing_by_type_filters_across_pages(cloud: Cloud) -> None:
    wanted = put_at("2026-11-20T01:00:00.000Z", "2026-11-20T03:00:00.000Z", type="wanted")
    put_at("2026-11-20T02:00:00.000Z", "2026-11-20T04:00:00.000Z")
    found = pages(from_=DAY["from"], to=DAY["to"], type="wanted", limit=1)
    assert [event for page in found for event in page] == wanted[::-1]


def test_listing_shows_only_the_callers_tenant(cloud: Cloud) -> None:
    put(cloudevent(), tenant="acme")
    put(cloudevent(id="mine"), tenant="acm")
    body = body_of(get("/events", claims={"client_id": "acm"}, **{"from_": DAY["from"], "to": DAY["to"]}))
    assert [event["event"]["id"] for event in body["events"]] == ["mine"]


def test_listing_of_an_empty_month_takes_one_request(cloud: Cloud) -> None:
    noted = reads(cloud, "Query")
    assert pages(from_="2026-10-20T12:00:00Z", to="2026-11-20T12:00:00Z") == [[]]
    assert len(noted) == 32


def test_listing_when_its_budget_of_pages_ends_gives_a_cursor_and_goes_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_PAGES", 3)
    stored = put_at("2026-11-01T10:00:00.000Z", "2026-11-08T10:00:00.000Z")
    found = pages(from_="2026-11-01T00:00:00Z", to="2026-11-13T00:00:00Z")
    assert found[0] == []
    assert [event for page in found for event in page] == stored[::-1]


def test_listing_when_its_answer_grows_too_large_ends_the_page_early(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_ANSWER_BYTES", 300)
    stored = put_at(*(f"2026-11-20T0{n}:00:00.000Z" for n in range(5)))
    found = pages(from_=DAY["from"], to=DAY["to"])
    assert len(found) > 1
    assert [event for page in found for event in page] == stored[::-1]


def test_listing_when_new_events_arrive_between_pages_stays_in_its_window(cloud: Cloud) -> None:
    now = timestamps.now()
    moments = [timestamps.format_ms(now - timedelta(hours=hours)) for hours in (3, 2)]
    put_at(*moments)
    first = body_of(get("/events", limit=1))
    put_at(timestamps.format_ms(now - timedelta(hours=1)))
    second = body_of(get("/events", limit=1, cursor=first["cursor"]))
    assert [event["event"]["id"] for event in first["events"] + second["events"]] == moments[::-1]
    assert (second["from"], second["to"]) == (first["from"], first["to"])


def test_cursor_when_foreign_or_altered_answers_400(cloud: Cloud) -> None:
    put_at("2026-11-20T01:00:00.000Z", "2026-11-20T02:00:00.000Z")
    window = {"from_": DAY["from"], "to": DAY["to"]}
    good = body_of(get("/events", **window, limit=1))["cursor"]
    assert get("/events", **window, cursor=good)["statusCode"] == 200
    assert get("/events", cursor=good)["statusCode"] == 200
    foreign = [
        get("/events", **window, cursor=good[:-2]),
        get("/events", **window, cursor="A" + good[1:]),
        get("/events", **window, cursor="\u00e9"),
        get("/events", **window, cursor=""),
        get("/events", **window, cursor=good, type="other"),
        get("/events", **window, cursor=good, claims={"client_id": "other"}),
        get("/events", cursor=good, to="2026-11-20T12:00:00Z"),
    ]
    assert {(answer["statusCode"], body_of(answer)["type"]) for answer in foreign} == {
        (400, "/problems/invalid-cursor")
    }


LAST = 9999 * 365 * 24 * 3600  # seconds from the year 1 that stay within the years a datetime has
moments = st.integers(1, LAST * 1000).map(lambda ms: datetime(1, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
positions = st.builds(lambda start, end, at: Position(start, end, timestamps.format_ms(at)), moments, moments, moments)


@given(positions, st.text(), st.none() | st.text())
def test_cursor_of_any_position_comes_back_as_it_was(position: Position, tenant: str, kind: str | None) -> None:
    text = cursor.encode(position, tenant, kind)
    assert cursor.decode(text, tenant, kind) == position


@given(positions, st.data())
@hypothesis_settings(max_examples=60)
def test_cursor_with_any_character_changed_is_refused(position: Position, data: st.DataObject) -> None:
    text = cursor.encode(position, "t", None)
    index = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[index]))
    altered = text[:index] + other + text[index + 1 :]
    # The last character of Base64 may hold bits that carry nothing: such a text is the same cursor.
    if base64.urlsafe_b64decode(text + "==") == _lenient(altered):
        return
    with pytest.raises(ProblemError):
        cursor.decode(altered, "t", None)


def _lenient(text: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(text + "==")
    except ValueError:
        return None


# --- activity -----------------------------------------------------------------------------------------------------


def test_activity_counts_types_by_hour_and_minute(cloud: Cloud) -> None:
    put(
        cloudevent(id="1"),
        cloudevent(id="2"),
        cloudevent(id="3", time="2026-11-20T10:16:00Z"),
        cloudevent(id="4", type="other", time="2026-11-20T11:00:00Z"),
        cloudevent(id="5", time="2026-11-21T00:00:00Z"),
        cloudevent(id="6", time=None),
    )
    answer = get("/activity", from_=DAY["from"], to=DAY["to"])
    assert answer["statusCode"] == 200
    assert body_of(answer) == {
        "region": "us-east-1",
        "consistency": "eventual",
        "from": "2026-11-20T00:00:00.000Z",
        "to": "2026-11-21T00:00:00.000Z",
        "count": 4,
        "types": [
            {
                "type": "order.created",
                "count": 3,
                "hours": {"2026-11-20T10:00:00Z": 3},
                "minutes": {"2026-11-20T10:15:00Z": 2, "2026-11-20T10:16:00Z": 1},
            },
            {
                "type": "other",
                "count": 1,
                "hours": {"2026-11-20T11:00:00Z": 1},
                "minutes": {"2026-11-20T11:00:00Z": 1},
            },
        ],
    }
    assert body_of(get("/activity", type="other", from_=DAY["from"], to=DAY["to"]))["count"] == 1
    assert body_of(get("/activity", undated="true"))["types"] == [{"type": "order.created", "count": 1}]


def test_activity_window_takes_whole_minutes_and_excludes_its_end(cloud: Cloud) -> None:
    put(cloudevent(id="1"), cloudevent(id="2", time="2026-11-20T10:16:00Z"))

    def counted(start: str, end: str) -> int:
        return int(body_of(get("/activity", from_=start, to=end))["count"])

    assert counted("2026-11-20T10:15:45Z", "2026-11-20T10:16:00Z") == 1
    assert counted("2026-11-20T10:16:00Z", "2026-11-20T10:17:00Z") == 1
    assert counted("2026-11-20T10:17:00Z", "2026-11-20T10:18:00Z") == 0
    assert counted("2026-11-20T10:15:00Z", "2026-11-20T10:16:00.001Z") == 2


def test_activity_over_more_than_a_day_is_by_the_hour(cloud: Cloud) -> None:
    put(cloudevent())
    (entry,) = body_of(get("/activity", from_="2026-11-18T00:00:00Z", to=DAY["to"]))["types"]
    assert (entry["hours"], "minutes" in entry) == ({"2026-11-20T10:00:00Z": 1}, False)


def test_activity_of_an_event_counted_in_two_regions_is_one(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cloudevent())
    (item,) = [item for item in cloud.items() if item["pk"]["S"].startswith("ACTIVITY")]
    twin = {**item, "sk": {"S": item["sk"]["S"].replace("us-east-1", "ap-south-1")}, "region": {"S": "ap-south-1"}}
    twin["seen"] = {"BS": [*item["seen"]["BS"], b"another-16-bytes"]}
    cloud.dynamodb.put_item(TableName="atoll-test", Item=twin)
    assert body_of(get("/activity", from_=DAY["from"], to=DAY["to"]))["count"] == 2
    assert settings_module.settings().region == "us-east-1"


def test_activity_shows_only_the_callers_tenant(cloud: Cloud) -> None:
    put(cloudevent())
    window = {"from_": DAY["from"], "to": DAY["to"]}
    assert body_of(get("/activity", **window))["count"] == 1
    assert body_of(get("/activity", claims={"client_id": "acm"}, **window))["count"] == 0


@pytest.mark.parametrize("consistency", ["strong", "eventual"])
def test_activity_reads_the_base_table_with_the_consistency_asked(cloud: Cloud, consistency: str) -> None:
    noted = reads(cloud, "Query")
    answer = get("/activity", consistency=consistency, from_=DAY["from"], to="2026-11-20T02:30:00Z")
    assert body_of(answer)["consistency"] == consistency
    assert len(noted) == 3
    assert {(read["ConsistentRead"], "IndexName" in read) for read in noted} == {(consistency == "strong", False)}


@pytest.mark.parametrize(
    ("parameters", "field"),
    [({"undated": "true", "to": DAY["to"]}, "to"), ({"undated": "maybe"}, "undated"), ({"limit": "3"}, "limit")],
)
def test_activity_when_a_parameter_is_not_valid_answers_400(
    cloud: Cloud, parameters: dict[str, str], field: str
) -> None:
    answer = get("/activity", **parameters)
    assert (answer["statusCode"], body_of(answer)["field"]) == (400, field)


def test_activity_when_time_runs_out_answers_413_and_never_a_part(cloud: Cloud) -> None:
    answer = query.handler(request("GET /activity"), Context(remaining_ms=1000))
    assert (answer["statusCode"], body_of(answer)["type"]) == (413, "/problems/window-too-busy")


def test_reads_are_counted_when_answered(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    get("/events")
    get_event()
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [line["Reads"] for line in emitted] == [[1.0]]


# --- what has expired ---------------------------------------------------------------------------------------------


def test_reads_when_an_event_has_expired_and_is_not_deleted_yet_do_not_show_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cloudevent(), cloudevent(id="2"), accepted_at=["2026-11-20T00:00:00Z", "2026-11-20T00:00:01Z"])
    expiry = datetime(2026, 12, 20, tzinfo=UTC)
    for seconds, shown in ((-1, ["2", "order-1"]), (0, ["2"]), (1, [])):
        now = (expiry + timedelta(seconds=seconds)).timestamp()
        monkeypatch.setattr(timestamps, "time", SimpleNamespace(time=lambda now=now: now))
        assert get_event()["statusCode"] == (200 if "order-1" in shown else 404)
        assert get_event(consistency="strong")["statusCode"] == (200 if "order-1" in shown else 404)
        assert pages(limit=1, **DAY) in ([[name] for name in shown], [*([name] for name in shown), []])
        assert body_of(get("/activity", **DAY))["count"] == len(shown)


# --- what operating leaves in the table for moments -----------------------------------------------------------------


def test_answers_when_heartbeats_are_in_the_table_are_those_without_them(cloud: Cloud) -> None:
    put(cloudevent())

    def answers() -> list[Any]:
        found = [get_event(), get("/events", **DAY), get("/activity", **DAY), get("/activity", undated="true")]
        return [(answer["statusCode"], body_of(answer)) for answer in found]

    before = answers()
    assert [status for status, _ in before] == [200] * 4
    for region in ("us-east-1", "ap-south-1"):
        heartbeat: Any = heartbeat_key(("pk", "sk"), ("S", "S"), region)
        mark = {"M": {"run": {"S": "1"}, "round": {"N": "1"}}}
        heartbeat |= {"atoll_heartbeat": mark, "expires_at": {"N": "4000000000"}}
        cloud.dynamodb.put_item(TableName=settings_module.settings().table, Item=heartbeat)
    assert answers() == before
