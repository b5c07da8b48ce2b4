from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from ops import charts
from ops.charts import Chart, NoData, axes

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(
    minutes: list[int], region: str = "us-east-1", values: list[float | None] | None = None
) -> list[dict[str, Any]]:
    return [
        {"time": START + timedelta(minutes=m), "lag_ms": values[i] if values else float(m), "region": region}
        for i, m in enumerate(minutes)
    ]


def drawn(data: Any, **more: Any) -> Chart:
    chart = charts.lines(data, x="time", y="lag_ms", colour="region", title="Lag", unit="ms", **more)
    assert isinstance(chart, Chart)
    return chart


def strokes(chart: Chart) -> list[str]:
    """The path of each line drawn."""
    marks = ElementTree.fromstring(chart.svg)
    return [p.get("d", "") for p in marks.iter("{http://www.w3.org/2000/svg}path") if p.get("stroke-width") == "2"]


def test_lines_when_drawn_is_well_formed_readable_and_asks_for_nothing() -> None:
    chart = drawn(rows(list(range(10))) + rows(list(range(10)), "ap-south-1"))
    root = ElementTree.fromstring(chart.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label", "").startswith("Lag. us-east-1: 0 to 9 ms, last 9 ms; ap-south-1: 0 to 9 ms")
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"us-east-1", "ap-south-1", "time (UTC), 01 Mar 2026", "lag (ms)", "12:04"} <= texts
    assert not re.search(r'(?:href|src|url)\s*=\s*"?https?:', chart.svg)
    assert "<script" not in chart.svg


@pytest.mark.parametrize(
    "data",
    [
        rows([0, 1, 2, 3, 8, 9, 10, 11]),
        rows([0, 1, 2, 3, 4, 5, 6], values=[1, 2, 3, None, 4, 5, 6]),
        rows([0, 1, 2, 3, 4, 5, 6], values=[1, 2, 3, float("nan"), 4, 5, 6]),
    ],
    ids=["rows missing", "none", "nan"],
)
def test_lines_when_points_are_missing_breaks_the_line(data: Any) -> None:
    (path,) = strokes(drawn(data))
    assert path.count("M") == 2


def test_lines_when_nothing_is_missing_draws_one_line() -> None:
    (path,) = strokes(drawn(rows(list(range(30)))))
    assert path.count("M") == 1


def test_lines_when_a_point_stands_alone_draws_it() -> None:
    alone = drawn(rows([0, 1, 2, 3, 4], values=[1, 2, None, 3, None]))
    together = drawn(rows([0, 1, 2, 3, 4]))
    assert alone.svg.count("<path") > together.svg.count("<path")


def test_lines_when_a_region_is_absent_keeps_the_colour_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "_kept", [])
    charts.keep_colours(["us-east-1", "ap-south-1"])
    both = drawn(rows([0, 1, 2]) + rows([0, 1, 2], "ap-south-1"))
    one = drawn(rows([0, 1, 2], "ap-south-1"))
    assert charts.PALETTE[0] in both.svg
    assert charts.PALETTE[1] in one.svg
    assert charts.PALETTE[0] not in one.svg


@pytest.mark.parametrize(
    "data", [[], pd.DataFrame({"time": [], "lag_ms": [], "region": []}), rows([0, 1], values=[None, float("nan")])]
)
def test_charts_when_there_is_no_data_say_so(data: Any) -> None:
    chart = charts.lines(data, x="time", y="lag_ms", colour="region", title="Lag <p95>")
    assert isinstance(chart, NoData)
    assert "no data in this window" in chart._repr_html_()
    assert "<p95>" not in chart._repr_html_()
    assert isinstance(charts.bars(data, x="region", y="lag_ms"), NoData)
    assert isinstance(charts.heatmap(data, x="region", y="time", value="lag_ms"), NoData)


def test_lines_when_a_column_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="columns: speed not in the data, which has time, lag_ms, region"):
        charts.lines(rows([0]), x="time", y="speed")


def test_lines_when_times_are_text_or_naive_or_pandas_are_the_same() -> None:
    data = rows([0, 1, 2])
    frame = pd.DataFrame(data)
    text = [{**row, "time": row["time"].isoformat().replace("+00:00", "Z")} for row in data]
    naive = [{**row, "time": row["time"].replace(tzinfo=None)} for row in data]
    expected = strokes(drawn(data))
    assert strokes(drawn(frame)) == strokes(drawn(text)) == strokes(drawn(naive)) == expected


def test_charts_when_two_stand_on_a_page_share_no_id() -> None:
    first, second = drawn(rows([0, 1, 2])), drawn(rows([0, 1, 5]))
    ids = [set(re.findall(r'\bid="([^"]+)"', chart.svg)) for chart in (first, second)]
    assert not ids[0] & ids[1]
    for chart, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", chart.svg)) <= own


def test_charts_when_labels_hold_markup_stay_well_formed() -> None:
    evil = '<script>alert(1)</script>"&'
    chart = charts.bars([{"x": evil, "y": 2}], x="x", y="y", title=evil)
    assert isinstance(chart, Chart)
    ElementTree.fromstring(chart.svg)
    assert "<script" not in chart._repr_html_()


def test_chart_when_shown_offers_its_data_as_csv() -> None:
    chart = charts.bars(
        [{"type": "a,b", "events": 2}, {"type": "c", "events": 3}], x="type", y="events", title="Events"
    )
    assert isinstance(chart, Chart)
    assert chart.csv == 'type,events\n"a,b",2\nc,3\n'
    assert 'download="events.csv"' in chart._repr_html_()


def test_heatmap_when_drawn_writes_each_value() -> None:
    data = [{"from": "a", "to": "b", "ms": 412.2}, {"from": "b", "to": "a", "ms": 0}]
    chart = charts.heatmap(data, x="to", y="from", value="ms", unit="ms")
    assert isinstance(chart, Chart)
    assert "412.2 ms" in chart.svg
    assert "0 ms" in chart.svg


def texts(chart: Chart) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(chart.svg).iter("{http://www.w3.org/2000/svg}text")]


def test_charts_when_imported_load_no_altair_until_one_is_drawn() -> None:
    code = (
        "import sys; from ops import charts, runbook; assert 'altair' not in sys.modules;"
        "charts.bars([{'x': 'a', 'y': 1}], x='x', y='y');"
        "sys.exit('altair' not in sys.modules or 'rfc3987_syntax.syntax_helpers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_when_there_is_one_point_only_draws_it_at_its_time() -> None:
    chart = drawn(rows([3]))
    assert "12:03" in texts(chart)
    assert f'fill="{charts.PALETTE[0]}"' in chart.svg


@pytest.mark.parametrize(
    ("minutes", "labels"),
    [
        (7, ["12:00", "12:01", "12:02", "12:03", "12:04", "12:05", "12:06", "12:07"]),
        (60, ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50", "13:00"]),
        (60 * 30, ["12:00", "18:00", "00:00", "06:00", "12:00", "18:00"]),
        (60 * 24 * 6, ["02 Mar", "03 Mar", "04 Mar", "05 Mar", "06 Mar", "07 Mar"]),
        (60 * 24 * 400, ["26 Mar"]),
    ],
)
def test_lines_when_spans_differ_mark_round_times(minutes: int, labels: list[str]) -> None:
    shown = [text for text in texts(drawn(rows([0, minutes]))) if re.fullmatch(r"\d\d(:\d\d| \w{3})", text)]
    assert shown[: len(labels)] == labels
    assert len(shown) <= axes.TICKS


def test_lines_when_values_are_small_counts_mark_whole_numbers_only() -> None:
    assert "0.5" not in texts(drawn(rows([0, 1, 2], values=[0, 1, 0])))
    assert {"0", "1"} <= set(texts(drawn(rows([0, 1, 2], values=[0, 0, 0]))))


def test_lines_when_logarithmic_marks_powers_unless_a_value_is_zero() -> None:
    assert {"10", "100", "1,000"} <= set(texts(drawn(rows([0, 1, 2], values=[12, 900, 4000]), log=True)))
    assert "0" in texts(drawn(rows([0, 1, 2], values=[0, 900, 4000]), log=True))


def test_lines_when_shaded_tell_the_lines_of_a_region_apart_and_keep_its_colour() -> None:
    data = [{**row, "p": p, "lag_ms": row["lag_ms"] + n} for n, p in enumerate(("p50", "p99")) for row in rows([0, 1])]
    chart = drawn(data, shade="p")
    assert {"p50", "p99"} <= set(texts(chart))
    assert chart.summary.startswith("us-east-1 p50: 0 to 1 ms, last 1 ms; us-east-1 p99: 1 to 2 ms")
    widths = {str(width) for width, _ in charts.STRENGTHS[:2]}
    marks = ElementTree.fromstring(chart.svg).iter("{http://www.w3.org/2000/svg}path")
    coloured = [path for path in marks if path.get("stroke") == charts.PALETTE[0]]
    assert {path.get("stroke-width") for path in coloured} >= widths


def test_lines_when_there_are_many_points_draw_all() -> None:
    assert isinstance(drawn(rows(list(range(6000)))), Chart)


def test_bars_when_they_stand_at_times_leave_a_gap_and_stack() -> None:
    data = [
        {"minute": START + timedelta(minutes=m), "events": 10, "type": kind} for m in (0, 1, 4) for kind in ("a", "b")
    ]
    chart = charts.bars(data, x="minute", y="events", colour="type", title="Events")
    assert isinstance(chart, Chart)
    assert {"12:00", "12:04", "20", "time (UTC), 01 Mar 2026"} <= set(texts(chart))
    assert chart.summary.startswith("2026-03-01 12:00 a 10; 2026-03-01 12:00 b 10")


def test_bars_when_small_counts_are_stacked_mark_whole_numbers_up_to_their_sum() -> None:
    data = [{"region": "a", "errors": 3, "kind": kind} for kind in ("4xx", "5xx")]
    chart = charts.bars(data, x="region", y="errors", colour="kind")
    assert isinstance(chart, Chart)
    assert {"0", "6"} <= set(texts(chart))


@pytest.mark.parametrize("draw", [charts.lines, charts.bars], ids=["lines", "bars"])
def test_charts_when_no_time_is_known_say_so(draw: Any) -> None:
    assert isinstance(
        draw(pd.DataFrame({"time": [pd.NaT, pd.NaT], "lag_ms": [1.0, 2.0]}), x="time", y="lag_ms"), NoData
    )


def test_panels_when_drawn_share_one_legend_and_the_time() -> None:
    both = rows([0, 1, 2]) + rows([0, 1, 2], "ap-south-1")
    shown = charts.panels(
        [
            charts.Panel("Lag", both, "ms"),
            charts.Panel("Depth", rows([1]), "messages"),
            charts.Panel("Errors", [], empty="none"),
        ],
        x="time",
        y="lag_ms",
        colour="region",
    )
    lag, depth, errors = shown.charts
    assert isinstance(lag, Chart)
    assert isinstance(depth, Chart)
    assert errors == NoData("Errors", "none")
    clock = [[text for text in texts(chart) if re.match(r"12:0\d", text)] for chart in (lag, depth)]
    assert clock[0] == clock[1]
    assert "ap-south-1" not in texts(lag)
    html = shown._repr_html_()
    assert html.index("ap-south-1") < html.index("<figure")
    assert "time (UTC), 01 Mar 2026" in html
    assert "<small>ms</small>" in html


def test_panels_when_nothing_has_data_say_so() -> None:
    shown = charts.panels([charts.Panel("<b>", [])], x="time", y="value", colour="region")
    assert "no data in this window" in shown._repr_html_()
    assert "<b>" not in shown._repr_html_()


def test_bars_with_a_line_over_them_draw_both_on_one_axis_and_the_line_alone_without_bars() -> None:
    bars = [{"time": START + timedelta(minutes=n), "events": 3, "type": "order.paid"} for n in range(3)]
    line = [{"time": START + timedelta(minutes=n), "events": 40 + n} for n in range(5)]
    chart = charts.bars(bars, x="time", y="events", colour="type", title="Events", line=line)
    assert isinstance(chart, Chart)
    texts = {element.text for element in ElementTree.fromstring(chart.svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"order.paid", "40"} <= texts
    assert "stroke-dasharray" in chart.svg
    alone = charts.bars([], x="time", y="events", title="Events", line=line)
    assert isinstance(alone, Chart)
    assert isinstance(charts.bars([], x="time", y="events", title="Events", line=[]), NoData)
