"""The pages an operator opens: the index of reports, and the page of a run, in a real browser without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from ops import report, runbooks
from ops.runbooks import RunOutcome
from ops.stage import ROOT, load_stage
from tests.browser.conftest import Open

FIXTURES = ROOT / "tests" / "notebooks" / "fixtures"
PHONE = {"width": 390, "height": 844}
LUMINANCE = """element => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (text) => { const [r, g, b] = rgb(text); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let ground = element;
  while (/, 0\\)$/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const pair = [light(getComputedStyle(element).color), light(getComputedStyle(ground).backgroundColor)].sort();
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""


@dataclass(frozen=True)
class Reports:
    index: Path
    passing: RunOutcome
    failing: RunOutcome


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Two real runs of the example runbook, and the index over them."""
    root = tmp_path_factory.mktemp("pages") / "reports"
    book, stage = runbooks.find("heartbeat", FIXTURES), load_stage("local")
    passing = runbooks.run(book, stage, root=root)
    failing = runbooks.run(book, stage, {"worst_ms": 900.0}, root=root)
    return Reports(report.write_index(root), passing, failing)


def contrast(element: Locator) -> float:
    return float(element.evaluate(LUMINANCE))


def test_index_when_opened_leads_with_the_verdict_and_to_the_page(reports: Reports, open_page: Open) -> None:
    opened = open_page(reports.index)
    expect(opened.page.get_by_label("Verdict", exact=True)).to_contain_text(
        "1 of 1 latest runs does not pass: heartbeat"
    )
    expect(opened.page.get_by_label("Verdict", exact=True)).to_contain_text("lag into ap-south-1")
    opened.page.get_by_role("row").filter(has_text="Fail").get_by_role("link", name="heartbeat").click()
    expect(opened.page.get_by_role("heading", level=1)).to_have_text("Heartbeat")
    opened.page.get_by_role("link", name="All runs").click()
    expect(opened.page.get_by_role("heading", level=1)).to_have_text("Atoll reports")
    assert opened.complaints == []
    assert all(url.startswith("file://") for url in opened.requests)


def test_run_page_when_opened_shows_verdict_checks_plan_and_charts(reports: Reports, open_page: Open) -> None:
    opened = open_page(reports.failing.page)
    page = opened.page
    assert page.title().startswith("Fail: heartbeat on local")
    expect(page.get_by_label("Verdict", exact=True)).to_contain_text("1 of 2 checks is not ok.")
    order = page.get_by_role("heading").all_inner_texts()
    assert order[:4] == ["Heartbeat", "Checks", "Figures", "Plan"]
    expect(page.get_by_role("region", name="Checks").first).to_contain_text("p95 1,054 ms, objective 900 ms")
    expect(page.get_by_text("ops run heartbeat --stage local -p minutes=60 --apply")).to_be_visible()
    assert page.locator("svg[role=img]").count() == 3
    for chart in page.locator("svg[role=img]").all():
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 500
        assert len(chart.get_attribute("aria-label") or "") > 30
    expect(page.get_by_text("no data in this window")).to_be_visible()
    assert opened.complaints == []
    assert opened.requests == [reports.failing.page.as_uri()]


def test_run_page_when_the_code_is_wanted_unfolds_it_by_keyboard(reports: Reports, open_page: Open) -> None:
    page = open_page(reports.passing.page).page
    code = page.get_by_text("measurements.lags")
    expect(code).not_to_be_visible()
    page.locator("section", has=page.get_by_role("heading", name="Replication lag")).locator("summary").press("Enter")
    expect(code).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["index", "passing", "failing"])
def test_pages_when_on_a_phone_fit_and_are_readable(reports: Reports, open_page: Open, which: str, scheme: str) -> None:
    path = reports.index if which == "index" else getattr(reports, which).page
    opened = open_page(path, viewport=PHONE, color_scheme=scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
    for selector in ("h1", ".banner strong", ".banner p", "th", "td", "footer", "a", "summary", ".at-badge"):
        for element in page.locator(selector).all():
            if element.is_visible():
                assert contrast(element) >= 4.5, f"{selector}: {element.inner_text()}"
    assert opened.complaints == []


def test_run_page_when_an_output_calls_out_is_kept_from_it(tmp_path: Path, reports: Reports, open_page: Open) -> None:
    planted = '<img src="https://example.com/pixel.png"><script>document.title = "taken over"</script>'
    page_file = tmp_path / "run.html"
    page_file.write_text(reports.passing.page.read_text().replace("</main>", f"{planted}</main>"))
    opened = open_page(page_file)
    assert opened.page.title().startswith("Pass")
    assert len(opened.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in opened.complaints)


def test_run_page_when_printed_leaves_out_what_paper_cannot_use(reports: Reports, open_page: Open) -> None:
    page = open_page(reports.passing.page, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator("details").first).not_to_be_visible()
    expect(page.get_by_label("Verdict", exact=True)).to_be_visible()
