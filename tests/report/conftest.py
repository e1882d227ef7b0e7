"""Workspaces with results, as for the metrics, and a browser."""

import pytest
from playwright.sync_api import sync_playwright

from report import images
from tests.metrics.conftest import (  # noqa: F401
    finished,
    kept_scores,
    known_scores,
    music,
    speech,
)

# Whether a figure of a page is drawn, by its number.
DRAWN = "number => document.querySelectorAll('figure .plot')[number].layout"


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, headless."""
    program = images.browser()
    if program is None:
        pytest.skip(f"needs one of {', '.join(images.BROWSERS)}")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def browse(browser, tmp_path):
    """Opens HTML as a file and draws all its figures. At the end, there may be no message on the
    console, no error and no request but that of the file itself."""
    opened = []

    def run(html, width=1360, scheme="light"):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        events = []
        page.on("console", lambda message: events.append(message.text))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.on("request", lambda request: events.append(request.url))
        page.goto(path.as_uri())
        for number in range(page.locator("figure").count()):
            page.locator("figure").nth(number).scroll_into_view_if_needed()
            page.wait_for_function(DRAWN, arg=number)
        opened.append((page, events, path.as_uri()))
        return page

    yield run
    embedded = ("data:audio/flac;", "data:image/png;")
    for page, events, address in opened:
        assert [event for event in events if not event.startswith(embedded)] == [address]
        page.close()
