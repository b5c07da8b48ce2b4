"""A headless Chromium for the tests, and pages that tell what they asked for and complained about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import chromium


@dataclass
class Opened:
    """A page, the requests it made and what its console said."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    unpacked = chromium.unpack()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=unpacked / "chromium", args=chromium.ARGUMENTS, env={**chromium.environment(unpacked)}
        )
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a file; ``context`` is what Playwright's ``new_context`` takes (``color_scheme``, ``viewport``)."""
    contexts = []

    def open_page(path: Path, **context: Any) -> Opened:
        made = browser.new_context(**context)
        contexts.append(made)
        opened = Opened(made.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(path.as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()
