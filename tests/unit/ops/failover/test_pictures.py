"""The charts of a drill, drawn from one that was recorded on the local cloud: us-east-1 was down for 52 seconds."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from ops import charts
from ops.charts import Chart, NoData
from ops.charts.timeline import Timeline, TimePanel, timeline
from ops.failover import pictures
from ops.failover.arrivals import Span
from ops.failover.measures import Phase, recovery
from ops.load import LoadRecord
from tests.unit.ops.failover.conftest import INDIA, NOON, US, attempt, key_of

RECORDED = Path(__file__).parent / "fixtures" / "drill.csv"
OUTAGE = NOON + 15.5, NOON + 68.0
PHASES = [
    Phase("steady", NOON, OUTAGE[0]),
    Phase("outage of us-east-1", *OUTAGE),
    Phase("failback", OUTAGE[1], NOON + 86),
    Phase("recovered", NOON + 86, None),
]
SVG = "{http://www.w3.org/2000/svg}"


def recorded() -> tuple[LoadRecord, pd.DataFrame]:
    attempts, rows = [], []
    with RECORDED.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines):
            ended, region = NOON + int(line["ended_ms"]) / 1000, line["region"] or None
            one = attempt(
                int(line["event"]),
                city=line["city"],
                source=f"/drills/run/{line['city'].lower().replace(' ', '-')}",
                id=f"1-{line['event']}",
                number=int(line["number"]),
                via=line["via"],
                region=region,
                status=int(line["status"]),
                started=NOON + int(line["started_ms"]) / 1000,
                ended=ended,
                event_key=key_of(int(line["event"])) if line["status"] == "202" else None,
            )
            attempts.append(one)
            for where, column in ((US, "seen_us_ms"), (INDIA, "seen_in_ms")):
                if one.ok and line[column]:
                    seen = NOON + int(line[column]) / 1000
                    rows.append((one.event_key, region, where, ended, seen, (seen - ended) * 1000))
    frame = pd.DataFrame(rows, columns=["event_key", "accepted_region", "region", "accepted", "seen", "lag_ms"])
    for name in ("accepted", "seen"):
        frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
    return LoadRecord("run", tuple(attempts)), frame


@pytest.fixture(autouse=True)
def colours() -> Iterator[None]:
    charts.keep_colours([US, INDIA])
    yield
    charts.keep_colours([])


def texts(chart: Chart | NoData) -> list[str]:
    assert isinstance(chart, Chart)
    return [element.text or "" for element in ElementTree.fromstring(chart.svg).iter(f"{SVG}text")]


def test_recorded_drill_recovered_within_what_the_settings_promise() -> None:
    measured = recovery(recorded()[0], *OUTAGE)

    assert 20 < measured.rto_s < 30
    assert measured.by_city["Mumbai"] == measured.by_city["Singapore"] == 0


def test_pictures_of_a_recorded_drill_share_one_axis_and_name_the_phases_in_each() -> None:
    record, arrivals = recorded()
    drawn = pictures.of_drill(record, arrivals, [Span(US, OUTAGE[0] + 1, OUTAGE[1], "gone")], PHASES)

    assert len(drawn.charts) == 4
    times = []
    for chart in drawn.charts:
        shown = texts(chart)
        assert {phase.name for phase in PHASES} <= set(shown)
        times.append([text for text in shown if re.fullmatch(r"\d\d:\d\d:\d\d", text)])
    assert len({tuple(ticks) for ticks in times}) == 1
    assert len(times[0]) > 3
    assert {US, INDIA, "failed"} <= set(texts(drawn.charts[0]))
    assert {"Mumbai", "New York", "London", "Singapore", US, INDIA} <= set(texts(drawn.charts[1]))
    assert {f"{US} to {INDIA}", f"{INDIA} to {US}"} <= set(texts(drawn.charts[3]))
    html = drawn._repr_html_()
    assert "<script" not in html
    assert html.count("Data as CSV") == 4
    assert html.count('tabindex="0"') == 1  # they scroll as one
    assert all("2026-03-01T12:00" in chart.csv for chart in drawn.charts if isinstance(chart, Chart))


def test_pictures_have_their_plots_at_the_same_place() -> None:
    record, arrivals = recorded()
    drawn = pictures.of_drill(record, arrivals, [], PHASES)

    lefts = set()
    for chart in drawn.charts:
        assert isinstance(chart, Chart)
        root = ElementTree.fromstring(chart.svg)
        first = next(g for g in root.iter(f"{SVG}g") if "translate" in g.get("transform", ""))
        found = re.search(r"translate\(([\d.]+)", first.get("transform", ""))
        assert found
        lefts.add(round(float(found[1])))
    assert max(lefts) - min(lefts) <= 1


@pytest.mark.parametrize("kind", ["no failures", "all failures", "nothing"])
def test_pictures_of_ugly_drills_are_drawn_or_say_what_is_not_there(kind: str) -> None:
    record, arrivals = recorded()
    attempts = {
        "no failures": tuple(one for one in record.attempts if not one.failed),
        "all failures": tuple(replace(one, status=0, region=None, event_key=None) for one in record.attempts),
        "nothing": (),
    }[kind]
    made = LoadRecord("run", attempts)
    drawn = pictures.of_drill(made, arrivals if made.accepted else arrivals.iloc[:0], [], PHASES)

    empty = [chart.reason for chart in drawn.charts if isinstance(chart, NoData)]
    expected: dict[str, list[str]] = {
        "no failures": [],
        "all failures": ["nothing was answered", "nothing was replicated"],
        "nothing": [
            "nothing was sent",
            "nothing was sent through the edge",
            "nothing was answered",
            "nothing was replicated",
        ],
    }
    assert empty == expected[kind]
    if kind != "nothing":
        assert ("failed" in texts(drawn.charts[0])) == (kind == "all failures")


def test_timeline_when_phases_are_short_puts_no_name_on_another() -> None:
    names = ["preflight", "load", "outage of us-east-1", "watch", "moved", "healing", "failback"]
    phases = [Phase(name, NOON + 2 * place, NOON + 2 * place + 2) for place, name in enumerate(names)]
    rows = [{"time": pd.Timestamp(NOON + s, unit="s", tz="UTC"), "v": 1.0, "r": US} for s in range(100)]
    drawn = timeline([TimePanel("t", rows, "points", y="v", colour="r")], phases)

    chart = drawn.charts[0]
    assert isinstance(chart, Chart)
    shown = [text for text in texts(chart) if text in names]
    assert 3 <= len(shown) < len(names)  # what has no room is left out of the drawing, and is in the words
    assert all(name in chart.summary for name in names)


def test_timeline_of_steps_over_a_gap_leaves_it_open() -> None:
    moments = [0, 1, 2, 3, 30, 31, 32]
    rows = [{"time": pd.Timestamp(NOON + s, unit="s", tz="UTC"), "city": "London", "r": US} for s in moments]
    chart = timeline([TimePanel("t", rows, "steps", y="city", colour="r")]).charts[0]

    assert isinstance(chart, Chart)
    assert chart.summary == f"London: {US}, then {US}"


def test_timeline_without_anything_says_so() -> None:
    drawn = timeline([TimePanel("Lag", [], "points", y="v", colour="r", empty="nothing yet")])

    assert isinstance(drawn, Timeline)
    assert [repr(chart) for chart in drawn.charts] == ["Lag: nothing yet"]
