"""Aggregation: every event gets its own answer, whatever went out with it, and no request is larger than asked for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops import send
from ops.batching import CONTENT_TYPE, Aggregation, Aggregator, attempt_together
from ops.errors import UsageError
from ops.post import Answer
from ops.token import Token, Tokens


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["Mumbai", "London", "Sydney"]), min_size=1, max_size=60), st.integers(1, 12))
def test_aggregator_answers_each_event_once_and_keeps_to_size_and_city(cities: list[str], size: int) -> None:
    posts: list[tuple[str, list[bytes]]] = []

    async def post(city: str, bodies: list[bytes]) -> list[Answer]:
        posts.append((city, bodies))
        return [Answer(202, event_key=body.decode()) for body in bodies]

    async def run(aggregation: Aggregation) -> list[Answer]:
        aggregator = Aggregator(aggregation, post)
        return await asyncio.gather(*(aggregator.ask(c, f"{n} {c}".encode()) for n, c in enumerate(cities)))

    aggregation = Aggregation(size, linger_ms=0)
    answers = asyncio.run(run(aggregation))

    assert [answer.event_key for answer in answers] == [f"{n} {city}" for n, city in enumerate(cities)]
    assert all(body.decode().split()[1] == city for city, bodies in posts for body in bodies)
    assert aggregation.requests == len(posts) == sum(-(-count // size) for count in Counter(cities).values())
    for city in set(cities):
        sizes = [len(bodies) for name, bodies in posts if name == city]
        assert max(sizes) <= size
        assert sizes.count(size) >= len(sizes) - 1  # only the last one waited in vain


def test_aggregator_when_a_request_fails_raises_it_for_each_of_its_events() -> None:
    async def post(city: str, bodies: list[bytes]) -> list[Answer]:
        raise UsageError("no token")

    async def run() -> list[Answer | BaseException]:
        aggregator = Aggregator(Aggregation(2), post)
        return await asyncio.gather(*(aggregator.ask("London", b"{}") for _ in range(2)), return_exceptions=True)

    assert [str(error) for error in asyncio.run(run())] == ["no token"] * 2


@pytest.mark.parametrize(("size", "linger_ms", "field"), [(0, 1, "batch"), (501, 1, "batch"), (2, -1, "linger")])
def test_aggregation_when_a_figure_makes_no_sense_names_it(size: int, linger_ms: float, field: str) -> None:
    with pytest.raises(UsageError, match=field):
        Aggregation(size, linger_ms)


RESULTS = [
    {"index": 1, "status": 422, "problem": {}},
    {"index": 0, "status": 202, "event_key": "k0", "duplicate": True},
]


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (200, {"region": "us-east-1", "results": RESULTS}, [(202, "k0", True), (422, None, False)]),
        (429, {"type": "about:blank"}, [(429, None, False)] * 2),
        (202, {"results": RESULTS[:1]}, [(0, None, False)] * 2),
        (202, {"results": [RESULTS[0], RESULTS[0]]}, [(0, None, False), (422, None, False)]),
        (413, None, [(413, None, False)] * 2),
    ],
)
def test_attempt_together_says_of_each_event_what_the_platform_said(
    status: int, content: object, expected: list[tuple[int, str | None, bool]]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == CONTENT_TYPE
        assert json.loads(request.content) == [{"id": 1}, {"id": 2}]
        return httpx.Response(status, json=content) if content else httpx.Response(status, text="<html>")

    async def run() -> list[Answer]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await attempt_together(client, "http://x/events", {}, [b'{"id": 1}', b'{"id": 2}'])

    assert [(one.status, one.event_key, one.duplicate) for one in asyncio.run(run())] == expected


def test_attempt_together_when_nobody_answers_is_no_answer_for_each() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down")

    async def run() -> list[Answer]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await attempt_together(client, "http://x/events", {}, [b"{}"] * 3)

    assert asyncio.run(run()) == [Answer(0)] * 3


class Platform(BaseHTTPRequestHandler):
    """Takes batches; refuses the first event it sees once."""

    def do_POST(self) -> None:
        events = json.loads(self.rfile.read(int(self.headers["content-length"])))
        seen = self.server.seen  # type: ignore[attr-defined]
        results = []
        for index, event in enumerate(events):
            refused = not any(seen) and index == 0
            key = {} if refused else {"event_key": f"key-{event['id']}", "duplicate": False}
            results.append({"index": index, "status": 503 if refused else 202} | key)
        seen.append([event["id"] for event in events])
        answer = json.dumps({"region": "us-east-1", "results": results}).encode()
        self.send_response(202)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def platform(socket_enabled: None) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Platform)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_send_when_aggregated_makes_few_requests_and_repeats_only_what_was_refused(
    platform: ThreadingHTTPServer,
) -> None:
    requests = send.Traffic(20, cities=("Mumbai",)).plan()
    aggregation = Aggregation(5, linger_ms=5)
    results = send.send(
        f"http://127.0.0.1:{platform.server_port}",
        requests,
        Tokens(lambda: Token("t", 3600)),
        concurrency=1,
        aggregation=aggregation,
    )

    seen: list[list[str]] = platform.seen  # type: ignore[attr-defined]
    assert [sent.event_key for sent in results] == [f"key-{request.id}" for request in requests]
    assert sum(len(batch) for batch in seen) == 21
    assert [sent.attempts for sent in results if sent.id == seen[0][0]] == [2]
    assert sum(sent.attempts == 1 for sent in results) == 19
    assert aggregation.requests == len(seen) == send.summary(results, aggregation)["requests"]
    assert len(seen) <= 6
