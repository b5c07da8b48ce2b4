from __future__ import annotations

from typing import Any

import pytest

from ops import markup


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("lag_p95_ms", 412.3456, ("lag p95", "412.3\N{NO-BREAK SPACE}ms")),
        ("events", 1234567, ("events", "1,234,567")),
        ("scanned_bytes", 48_213_331, ("scanned", "48.2\N{NO-BREAK SPACE}MB")),
        ("scanned_bytes", 12, ("scanned", "12\N{NO-BREAK SPACE}B")),
        ("cost_usd", 0.00001, ("cost", "< 0.01\N{NO-BREAK SPACE}USD")),
        ("cost_usd", 1234.5, ("cost", "1,234.50\N{NO-BREAK SPACE}USD")),
        ("ok_percent", 99.98, ("ok", "99.98%")),
        ("rate_per_s", 12.5, ("rate", "12.5/s")),
        ("lag_ms", None, ("lag", "no data")),
        ("regions", ["a", "b"], ("regions", "a, b")),
        ("stored", {"a": 1, "b": 2}, ("stored", "a 1, b 2")),
        ("equal", True, ("equal", "yes")),
        ("error_rate", 0.0029, ("error rate", "0.29%")),
        ("error_rate", 0, ("error rate", "0%")),
        ("lag_ms", float("nan"), ("lag", "no data")),
        ("keys", [], ("keys", "none")),
    ],
)
def test_figure_when_its_name_has_a_unit_shows_it(name: str, value: Any, shown: tuple[str, str]) -> None:
    assert markup.figure(name, value) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],  # noqa: RUF001
)
def test_duration_when_given_seconds_reads_naturally(seconds: float | None, text: str) -> None:
    assert markup.duration(seconds) == text


def test_figures_when_they_hold_markup_escape_it() -> None:
    assert "<b>" not in markup.figures({"<b>name": "<b>value"})


def test_figures_when_one_is_a_list_of_rows_leaves_it_out() -> None:
    html = markup.figures({"events": 3, "by_minute": [["12:00", 1]], "receivers": [{"rule": "store"}]})
    assert html.count("<dt>") == 1


def test_figures_when_one_is_a_long_list_show_its_first_members_and_how_many_more() -> None:
    assert "a, b, c, d, e, and 2 more</dd>" in markup.figures({"keys": list("abcdefg")})
    assert "a, b, c, d, e</dd>" in markup.figures({"keys": list("abcde")})


def test_figures_when_one_is_an_identifier_gives_it_room() -> None:
    html = markup.figures({"checksum": "3704:98493a12f3d23b2a", "items": 3704})
    assert html.count('class="at-long"') == 1
