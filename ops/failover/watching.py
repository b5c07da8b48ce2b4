"""Watching who answers: the platform's own name, asked as a client in each city would, and every region's ``/status``.

Asking the name is the proof that traffic moves: it goes through DNS and the region that answers says which it is.
Every question opens a connection of its own, so that the name is resolved anew each time. On AWS a city is a label: the
answer is the one that the resolver of this machine gets, and only the local edge plays a resolver in each city.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import pandas as pd

from ops import status
from ops.failover.measures import FAILED
from ops.failover.timeline import Timeline
from ops.fanout import each
from ops.load import FOUR_CITIES
from ops.stage import Stage
from ops.status import Health

CITIES = FOUR_CITIES
TIMEOUT_S = 5.0
POLL_S = 2.0
# Questions at once: a watch must not be the load that it watches.
AT_ONCE = 2
NOBODY = "no answer"


@dataclass(frozen=True)
class Answer:
    """Which region answered the name, and how; no region when nothing did."""

    region: str | None = None
    code: int | None = None

    @property
    def good(self) -> bool:
        return self.code == 200

    def __str__(self) -> str:
        if self.code is None:
            return NOBODY
        return f"{self.region or 'somebody'} ({self.code})"


def ask_name(edge_url: str, city: str) -> Answer:
    """Who answers a caller in ``city`` now."""
    try:
        answer = httpx.get(f"{edge_url}/status", headers={"x-atoll-city": city}, timeout=TIMEOUT_S)
    except httpx.HTTPError:
        return Answer()
    try:
        region = str(answer.json()["region"])
    except (ValueError, KeyError, TypeError):
        region = answer.headers.get("x-atoll-region")
    return Answer(region, answer.status_code)


def ask_cities(edge_url: str, cities: Sequence[str] = CITIES) -> dict[str, Answer]:
    """:func:`ask_name` of every city at once."""
    return each(cities, lambda city: ask_name(edge_url, city))


def says_evacuated(api_url: str, region: str) -> bool | None:
    """Whether the region behind ``api_url`` says that ``region`` was left; None when it does not tell."""
    try:
        code = httpx.get(f"{api_url}/evacuated/{region}", timeout=TIMEOUT_S).status_code
    except httpx.HTTPError:
        return None
    return {200: True, 404: False}.get(code)


def bound_s(stage: Stage) -> float:
    """Within which traffic moves: as many failed probes as turn a health check, and the life of an answer of DNS."""
    return float(stage.health_check.interval_s * stage.health_check.failure_threshold + stage.dns.ttl_s)


@dataclass
class Watch:
    """Asks every two seconds, on a thread of its own, and notes each change; what was seen last is in the attributes.

    ``red`` counts, by region, the polls in a row that its ``/status`` did not answer 200; ``worst`` is the longest row.
    ``good_since`` is when a region last began to be well without a break, evacuated or not.
    """

    edge_url: str
    api_urls: Mapping[str, str]
    timeline: Timeline
    cities: Sequence[str] = CITIES
    poll_s: float = POLL_S
    answers: dict[str, Answer] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    red: dict[str, int] = field(default_factory=dict)
    worst: dict[str, int] = field(default_factory=dict)
    good_since: dict[str, float] = field(default_factory=dict)
    polls: int = 0
    log: list[tuple[float, str, str, str]] = field(default_factory=list)  # when, of what ("city", "region"), who, what

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="failover-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=TIMEOUT_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            self.poll()
            self._stop.wait(max(0.0, self.poll_s - (time.monotonic() - begun)))

    def poll(self) -> None:
        """Ask once, and note what changed."""
        asked: dict[tuple[str, str], Callable[[], Answer | Health]] = {}
        for city in self.cities:
            asked["city", city] = lambda city=city: ask_name(self.edge_url, city)  # type: ignore[misc]
        for region, url in self.api_urls.items():
            asked["region", region] = lambda url=url: status.probe(url, TIMEOUT_S)  # type: ignore[misc]
        for (_, name), found in each(asked, lambda key: asked[key](), AT_ONCE).items():
            if isinstance(found, Answer):
                self._answered(name, found)
            else:
                self._told(name, found)
        self.polls += 1

    def _answered(self, city: str, answer: Answer) -> None:
        before = self.answers.get(city)
        if before != answer:
            at = self.timeline.note(f"{city} is answered by {answer}" + (f", before by {before}" if before else ""))
            self.changed[city] = at
        self.answers[city] = answer
        self.log.append((self.timeline.now(), "city", city, (answer.region or NOBODY) if answer.good else FAILED))

    def _told(self, region: str, health: Health) -> None:
        if self.health.get(region) != health:
            self.timeline.note(f"{region}: {health}")
        self.health[region] = health
        word = "healthy" if health.code == 200 else "evacuated" if health.evacuated else "unhealthy"
        self.log.append((self.timeline.now(), "region", region, word))
        self.red[region] = 0 if health.code == 200 else self.red.get(region, 0) + 1
        self.worst[region] = max(self.worst.get(region, 0), self.red[region])
        if not health.well:
            self.good_since.pop(region, None)
        else:
            self.good_since.setdefault(region, self.timeline.now())

    def wait(
        self, condition: Callable[[], bool], deadline_s: float, sleep: Callable[[float], None] = time.sleep
    ) -> bool:
        """Wait until ``condition`` holds; False when the deadline passes first."""
        end = self.timeline.now() + deadline_s
        while not condition():
            if self.timeline.now() >= end:
                return False
            sleep(min(0.2, self.poll_s))
        return True

    def frame(self, kind: str) -> pd.DataFrame:
        """What was seen of every ``city`` or ``region``, a row a poll: ``time``, its name, and what was seen."""
        seen = {"city": "region", "region": "health"}[kind]
        rows = [(at, who, what) for at, of, who, what in list(self.log) if of == kind]
        frame = pd.DataFrame(rows, columns=["time", kind, seen])
        return frame.assign(time=pd.to_datetime(frame["time"], unit="s", utc=True))

    def moved_from(self, region: str) -> bool:
        """Whether every city is answered well, and none by ``region``."""
        return bool(self.answers) and all(one.good and one.region != region for one in self.answers.values())

    def stands_as(self, before: Mapping[str, Answer]) -> bool:
        """Whether every city is answered well by the region that answered it before."""
        return all(
            (now := self.answers.get(city)) is not None and now.good and now.region == was.region
            for city, was in before.items()
        )
