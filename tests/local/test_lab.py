"""A runbook by hand, as an operator does it: JupyterLab on the local cloud, driven in a headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from ops.stage import ROOT
from tests.browser import chromium
from tests.local.conftest import OPS, Atoll

STARTS_S, SOON_MS = 60.0, 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    unpacked = chromium.unpack()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=unpacked / "chromium", args=chromium.ARGUMENTS, env={**chromium.environment(unpacked)}
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """JupyterLab shows what is in the project only."""
    made = ROOT / "reports" / f"by-hand-{tmp_path_factory.getbasetemp().parent.name}"
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def url(atoll: Atoll, reports: Path) -> Iterator[str]:
    """JupyterLab's address, with its token."""
    log = atoll.directory / "lab.log"
    with log.open("wb") as written:
        server = subprocess.Popen(
            [OPS, "lab", "--no-browser"],
            cwd=ROOT,
            env={**atoll.environment, "ATOLL_REPORTS_DIR": str(reports)},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            yield address(server, log)
        finally:
            server.terminate()
            server.wait(timeout=30)


def address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab/tree/\S+token=\S+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def lab(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(SOON_MS)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def choose(page: Page, item: str) -> None:
    """An item of the menu Run."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=item).first.click()


def field(page: Page, name: str) -> Locator:
    return page.get_by_label(name, exact=True)


def test_runbook_when_filled_in_by_hand_says_what_is_wrong_then_runs_and_leaves_its_record(
    lab: Page, reports: Path
) -> None:
    asked: list[str] = []
    lab.on("request", lambda request: asked.append(request.url))
    expect(lab.get_by_role("heading", name="Atoll's runbooks")).to_be_visible(timeout=SOON_MS)
    expect(lab.get_by_role("row").filter(has_text="parity")).to_contain_text("never run")

    lab.get_by_role("link", name="metrics", exact=True).click()
    expect(lab.get_by_role("heading", name="Metrics of the regions")).to_be_visible(timeout=SOON_MS)
    lab.locator(".jp-CodeCell").first.locator(".jp-InputPrompt").click()
    for _ in range(2):  # the parameters, and their form
        choose(lab, "Run Selected Cell")
    expect(field(lab, "period_s")).to_have_value("0", timeout=SOON_MS)

    field(lab, "period_s").fill("a minute")
    expect(lab.get_by_role("alert")).to_contain_text("'a minute' is not a whole number", timeout=SOON_MS)
    choose(lab, "Run All Cells")
    expect(lab.get_by_text("period_s: 'a minute' is not a whole number").first).to_be_visible(timeout=SOON_MS)
    assert not list(reports.glob("local/*-metrics"))

    field(lab, "period_s").fill("60")
    field(lab, "window_start").fill("10m")
    expect(lab.get_by_role("alert")).to_have_count(0)
    choose(lab, "Run All Cells")
    banner = lab.locator(".at-banner")
    expect(banner).to_contain_text("result.json", timeout=SOON_MS)
    # The form kept what was filled in when its cell ran again.
    expect(field(lab, "window_start")).to_have_value("10m")

    [run] = reports.glob("local/*-metrics")
    result = json.loads((run / "result.json").read_text())
    assert result["verdict"] in ("pass", "fail")
    assert {"result.json", "run.html"} <= {path.name for path in run.iterdir()}
    assert [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:", "ws://127.0.0.1:"))
    ] == []


def test_start_page_when_a_runbook_ran_has_its_verdict_and_opens_its_report(
    lab: Page, atoll: Atoll, reports: Path
) -> None:
    atoll.ops("run", "parity", ATOLL_REPORTS_DIR=str(reports))
    lab.reload()
    row = lab.get_by_role("row").filter(has_text="parity")
    expect(row.get_by_role("link", name="Pass")).to_be_visible(timeout=SOON_MS)
