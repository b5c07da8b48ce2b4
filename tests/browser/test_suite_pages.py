"""The pages of a suite's run and of the history, in a real browser without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ops import report
from ops.record import RESULT
from ops.report import suitepage
from tests.browser.conftest import Open
from tests.browser.test_report_pages import PHONE, contrast
from tests.unit.ops.report.made import record, run

FAILING = {"freshness in ap-south-1": "page: 1h burns 49.0 times its budget, 147 bad of 300"}


@pytest.fixture(scope="session")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight runs of a suite, the last of which fails, with the pages over them."""
    root = tmp_path_factory.mktemp("suites") / "reports"
    earlier: list[dict[str, object]] = []
    for day in range(16, 24):
        last = day == 23
        now = record(
            run(
                "metrics", "fail" if last else "pass", failing=FAILING if last else None, p99_ms=900.0 if last else 80.0
            ),
            run("parity", differences=0),
            day=day,
            missed=["2026-11-22 06:00Z"] if last else [],
        )
        directory = root / "local" / "suites" / f"202611{day}T060000Z-daily"
        directory.mkdir(parents=True)
        (directory / "suite.json").write_text(json.dumps(now))
        suitepage.write(directory, now, earlier)
        earlier.insert(0, now)
    for name in ("metrics", "parity"):
        directory = root / "local" / f"20261123T060000Z-{name}"
        directory.mkdir()
        (directory / "run.html").write_text(f"<h1>{name}</h1>")
        verdict = "fail" if name == "metrics" else "pass"
        times = {"started": "2026-11-23T06:00:00Z", "finished": "2026-11-23T06:00:04Z"}
        result = {"runbook": name, "stage": "local", "verdict": verdict, **times, "checks": [], "figures": {}}
        (directory / RESULT).write_text(json.dumps(result))
    report.write_index(root)
    return root


def last(suites: Path) -> Path:
    return suites / "local" / "suites" / "20261123T060000Z-daily" / "index.html"


def test_suite_page_leads_with_the_verdict_and_the_region(suites: Path, open_page: Open) -> None:
    opened = open_page(last(suites), viewport=PHONE)
    banner = opened.page.get_by_label("Verdict", exact=True)
    expect(banner).to_contain_text("Fail: metrics")
    expect(banner).to_contain_text("freshness in ap-south-1")
    expect(banner).to_contain_text("Missed, because nobody ran it: 2026-11-22 06:00Z")
    box = banner.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= PHONE["height"]
    changed = opened.page.get_by_role("listitem")
    expect(changed.filter(has_text="metrics was pass, is fail")).to_have_count(1)
    expect(changed.filter(has_text="p99 is 900 ms, usually")).to_have_count(1)
    lines = opened.page.get_by_role("img")
    assert lines.count() == 2
    told = (lines.first.get_attribute("aria-label") or "").replace("\N{NO-BREAK SPACE}", " ")
    assert told == "metrics p99 over 8 runs: 80 ms to 900 ms, now 900 ms"
    banner.get_by_role("link", name="metrics").click()
    expect(opened.page.get_by_role("heading", level=1)).to_have_text("metrics")
    assert opened.complaints == []
    assert all(url.startswith("file://") for url in opened.requests)


def test_history_filters_without_a_script(suites: Path, open_page: Open) -> None:
    opened = open_page(suites / "history.html")
    page = opened.page
    rows = page.locator("tbody tr")
    assert rows.count() == 10
    page.get_by_label("Verdict").select_option("fail")
    expect(rows.locator("visible=true")).to_have_count(2)
    page.get_by_label("Runbook or suite").select_option("daily")
    expect(rows.locator("visible=true")).to_have_count(1)
    page.get_by_label("Verdict").focus()
    page.keyboard.press("Home")
    expect(rows.locator("visible=true")).to_have_count(8)
    page.get_by_label("Runbook or suite").select_option("all")
    expect(rows.locator("visible=true")).to_have_count(10)
    assert page.locator("script").count() == 0
    assert opened.complaints == []


def test_index_leads_to_the_latest_report_and_to_the_history(suites: Path, open_page: Open) -> None:
    page = open_page(suites / "index.html").page
    row = page.get_by_role("region", name="Latest run of each suite").get_by_role("row").filter(has_text="daily")
    expect(row).to_contain_text("Fail: metrics")
    row.get_by_role("link", name="daily").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Every morning on local")
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    page.get_by_role("link", name="All reports").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Atoll reports")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["suite", "history"])
def test_pages_when_on_a_phone_fit_and_are_readable(suites: Path, open_page: Open, which: str, scheme: str) -> None:
    opened = open_page(
        last(suites) if which == "suite" else suites / "history.html", viewport=PHONE, color_scheme=scheme
    )
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for selector in (
        "h1",
        "h2",
        ".banner strong",
        ".banner li",
        "th",
        "td",
        "footer",
        "a",
        "label",
        "select",
        ".at-badge",
    ):
        for element in page.locator(selector).all():
            if element.is_visible():
                assert contrast(element) >= 4.5, f"{selector}: {element.inner_text()}"
    assert opened.complaints == []


def test_pages_when_printed_are_black_on_white_without_filters(suites: Path, open_page: Open) -> None:
    page = open_page(suites / "history.html", color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.get_by_label("Filters")).not_to_be_visible()
    expect(page.locator("tbody tr").first).to_be_visible()
