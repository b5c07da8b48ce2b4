from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops import send
from ops.errors import OpsError, UsageError
from ops.post import request_for
from ops.token import Token, Tokens


@settings(max_examples=50)
@given(st.integers(1, 200), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 9))
def test_traffic_with_any_mix_has_the_counts_asked_for(
    count: int, duplicates: float, invalid: float, seed: int
) -> None:
    requests = send.Traffic(count, duplicates, invalid, seed=seed).plan()

    distinct = {(request.source, request.id) for request in requests if request.valid}
    broken = [request for request in requests if not request.valid]
    assert len(requests) == max(count, round(count * duplicates) + round(count * invalid) + 1)
    assert len(broken) == round(count * invalid)
    assert len(requests) - len(broken) - len(distinct) == round(count * duplicates)


@pytest.mark.parametrize(
    ("count", "duplicates", "invalid", "field"),
    [
        (0, 0, 0, "count"),
        (5, 1, 0, "duplicates"),
        (5, -0.1, 0, "duplicates"),
        (5, 0, 2, "invalid"),
        (5, 0.5, 0.5, "together"),
    ],
)
def test_traffic_when_a_figure_makes_no_sense_names_it(
    count: int, duplicates: float, invalid: float, field: str
) -> None:
    with pytest.raises(UsageError, match=field):
        send.Traffic(count, duplicates, invalid)


def test_request_for_the_same_source_and_id_is_the_same_event() -> None:
    request = send.Traffic(1).plan()[0]

    assert request_for(request.source, request.id, True) == request_for(request.source, request.id, True)


def test_request_for_an_invalid_event_lacks_only_its_type() -> None:
    request = send.Traffic(1).plan()[0]
    whole = json.loads(request_for(request.source, request.id, True)[1])
    broken = json.loads(request_for(request.source, request.id, False)[1])

    assert whole.keys() - broken.keys() == {"type"}


def tokens(life_s: float = 3600) -> Tokens:
    """Those of a client; each is another."""
    numbers = itertools.count(1)
    return Tokens(lambda: Token(f"token-{next(numbers)}", life_s))


class Platform(BaseHTTPRequestHandler):
    """Accepts events; fails as its server's script says first."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = self.server.script.pop(0) if self.server.script else 202  # type: ignore[attr-defined]
        self.server.seen.append((body, self.headers["x-atoll-city"]))  # type: ignore[attr-defined]
        self.server.bearers.append(self.headers["authorization"])  # type: ignore[attr-defined]
        answer = (
            json.dumps({"event_key": f"key-{body['id']}", "region": "us-east-1"}).encode() if status == 202 else b"{}"
        )
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def platform(socket_enabled: None) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Platform)
    server.script, server.seen, server.bearers = [], [], []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_send_records_a_line_for_each_event_in_order(platform: ThreadingHTTPServer, tmp_path: Path) -> None:
    requests = send.Traffic(20, cities=("Mumbai",)).plan()
    results = send.send(url(platform), requests, tokens(), out=tmp_path / "out" / "sent.jsonl")

    lines = [json.loads(line) for line in (tmp_path / "out" / "sent.jsonl").read_text().splitlines()]
    assert [(sent.source, sent.id) for sent in results] == [(request.source, request.id) for request in requests]
    assert {line["event_key"] for line in lines} == {f"key-{request.id}" for request in requests}
    assert list(lines[0]) == [
        "event_key",
        "source",
        "id",
        "city",
        "region",
        "status",
        "latency_ms",
        "duplicate",
        "attempts",
    ]
    assert {city for _, city in platform.seen} == {"Mumbai"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [409, 429, 503])
def test_send_when_the_answer_may_be_retried_sends_the_same_event_again(
    platform: ThreadingHTTPServer, status: int
) -> None:
    platform.script[:] = [status, status]  # type: ignore[attr-defined]
    (sent,) = send.send(url(platform), send.Traffic(1).plan(), tokens())

    assert (sent.status, sent.attempts) == (202, 3)
    assert platform.seen[0] == platform.seen[1] == platform.seen[2]  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_send_when_the_answer_is_final_does_not_retry(platform: ThreadingHTTPServer, status: int) -> None:
    platform.script[:] = [status]  # type: ignore[attr-defined]
    (sent,) = send.send(url(platform), send.Traffic(1).plan(), tokens())

    assert (sent.status, sent.attempts, sent.event_key) == (status, 1, None)


@pytest.mark.parametrize("status", [409, 429, 503])
def test_send_when_retries_are_spent_counts_the_event_as_failed_and_again_takes_it(
    platform: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(send, "RETRY_FOR_S", 0)
    platform.script[:] = [status]  # type: ignore[attr-defined]
    requests = send.Traffic(1).plan()
    results = send.send(url(platform), requests, tokens(), out=tmp_path / "sent.jsonl")

    assert (send.summary(results)["failed"], send.summary(results)["rejected"]) == (1, 0)
    assert send.again(tmp_path / "sent.jsonl") == requests


def test_send_when_one_event_was_given_up_tries_the_next_once_until_one_gets_through(
    platform: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "RETRY_FOR_S", 0.2)
    platform.script[:] = [503, 503, 503, 202, 503]  # type: ignore[attr-defined]
    results = send.send(url(platform), send.Traffic(4).plan(), tokens(), concurrency=1)

    assert [(sent.status, sent.attempts) for sent in results] == [(503, 2), (503, 1), (202, 1), (202, 2)]


def test_send_when_nothing_answers_says_so(socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "RETRY_FOR_S", 0)
    with pytest.raises(OpsError, match="gave no answer to any of 2 events"):
        send.send("http://127.0.0.1:9", send.Traffic(2).plan(), tokens())


def test_send_bears_one_token_until_it_has_to_be_renewed(platform: ThreadingHTTPServer) -> None:
    send.send(url(platform), send.Traffic(5).plan(), tokens(), concurrency=1)
    assert platform.bearers == ["Bearer token-1"] * 5  # type: ignore[attr-defined]

    platform.bearers.clear()  # type: ignore[attr-defined]
    send.send(url(platform), send.Traffic(3).plan(), tokens(life_s=0), concurrency=1)
    # The first is fetched before anything is sent.
    assert platform.bearers == ["Bearer token-2", "Bearer token-3", "Bearer token-4"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [401, 403])
def test_send_when_the_api_takes_no_event_of_the_token_says_so(platform: ThreadingHTTPServer, status: int) -> None:
    platform.script[:] = [status, status]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=f"answers {status} to each of 2 events: it does not take the token") as caught:
        send.send(url(platform), send.Traffic(2).plan(), tokens())
    assert "token-1" not in str(caught.value) + caught.value.hint


def test_send_without_a_token_sends_nothing(platform: ThreadingHTTPServer, tmp_path: Path) -> None:
    def refused() -> Token:
        raise UsageError("no secret")

    with pytest.raises(UsageError, match="no secret"):
        send.send(url(platform), send.Traffic(2).plan(), Tokens(refused), out=tmp_path / "sent.jsonl")
    assert platform.seen == []  # type: ignore[attr-defined]
    assert not (tmp_path / "sent.jsonl").exists()


def test_again_reads_the_accepted_events_once_each(platform: ThreadingHTTPServer, tmp_path: Path) -> None:
    requests = send.Traffic(10, duplicates=0.3).plan()
    send.send(url(platform), requests, tokens(), out=tmp_path / "sent.jsonl")

    repeated = send.again(tmp_path / "sent.jsonl")
    assert {(r.source, r.id) for r in repeated} == {(r.source, r.id) for r in requests}
    assert len(repeated) == 7


@pytest.mark.parametrize("content", ["no json\n", '{"source": 1}\n', "[]\n"])
def test_again_with_a_line_that_is_not_ours_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "sent.jsonl").write_text(content)

    with pytest.raises(UsageError, match=r"sent\.jsonl:1 is not a line of ops send"):
        send.again(tmp_path / "sent.jsonl")


def test_again_without_the_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        send.again(tmp_path / "none.jsonl")


def test_summary_counts_each_outcome() -> None:
    def sent(key: str | None, status: int, *, duplicate: bool = False, attempts: int = 1) -> send.Sent:
        return send.Sent(key, "/s", "i", "Mumbai", "us-east-1", status, 10.0, duplicate, attempts)

    figures = send.summary(
        [sent("a", 202), sent("a", 202, duplicate=True), sent(None, 400), sent(None, 503, attempts=5), sent(None, 0)]
    )

    assert {
        name: figures[name] for name in ("sent", "accepted", "distinct", "duplicates", "rejected", "failed", "retried")
    } == {
        "sent": 5,
        "accepted": 2,
        "distinct": 1,
        "duplicates": 1,
        "rejected": 1,
        "failed": 2,
        "retried": 1,
    }
