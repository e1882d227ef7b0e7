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
