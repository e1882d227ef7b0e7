"""The pictures of the documentation: the top of a page, small enough for a repository."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from contract.errors import InputError
from report import images
from report.page import build
from report.screenshots import HEIGHT, LARGEST, WIDTH, screenshot, small_png
from tests.conftest import ROOT


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "report.screenshots", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_top_of_a_page_becomes_a_small_picture(finished, tmp_path, browser):
    """In a process of its own: the fixture's Playwright runs in this one."""
    (tmp_path / "page.html").write_text(build(finished.root), encoding="utf-8")
    done = run(tmp_path, "page.html", "images/page.png")
    assert (done.returncode, done.stderr) == (0, "")
    size = (tmp_path / "images/page.png").stat().st_size
    assert done.stdout == f"images/page.png: {size / 1000:.0f} kB\n"
    assert size <= LARGEST
    picture = Image.open(tmp_path / "images/page.png").convert("RGB")
    assert picture.width == WIDTH
    assert HEIGHT / 4 < picture.height <= HEIGHT
    assert len(picture.getcolors(picture.width * picture.height)) > 20


def test_without_a_chromium_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "browser", lambda: None)
    with pytest.raises(InputError) as caught:
        screenshot(tmp_path / "page.html")
    assert str(caught.value) == (
        "Chromium: is not installed; install chromium, chromium-browser, google-chrome or "
        "google-chrome-stable, or set BROWSER_PATH"
    )


def test_without_a_page_it_asks_for_one(tmp_path):
    done = run(tmp_path, "report.html", "report.png")
    line = "ERROR: report.html: there is no such file; name a report\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert list(tmp_path.iterdir()) == []


def noise(width, height):
    """A picture that compresses badly."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_a_large_picture_has_fewer_colours(tmp_path):
    picture = noise(200, 100)
    sizes = {}
    for largest in (30_000, 17_000, 14_000):
        content = small_png(picture, tmp_path / "noise.png", largest)
        assert len(content) <= largest
        made = Image.open(io.BytesIO(content))
        assert (made.format, made.size) == ("PNG", picture.size)
        sizes[largest] = len(made.convert("RGB").getcolors(picture.width * picture.height))
    assert sizes == {30_000: 256, 17_000: 64, 14_000: 32}


def test_a_picture_that_stays_too_large_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        small_png(noise(200, 100), tmp_path / "noise.png", 1000)
    message = r".*/noise\.png: has \d+ bytes with 32 colours, more than 1000; take a shorter page"
    assert caught.match(f"^{message}$")
