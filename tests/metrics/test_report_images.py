"""Figures as images for papers, drawn by the real Chromium."""

from xml.etree import ElementTree

import pytest
from PIL import Image

from metrics.errors import InputError
from metrics.report import images
from metrics.report.comparison import compare
from tests.metrics import many

SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_becomes_a_png_and_an_svg(tmp_path, browser):
    page = compare(many.experiments(tmp_path, 12, 100))
    count = images.write(page, tmp_path / "figures")
    assert count == page.count("<figure ")
    written = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert len(written) == 2 * count
    assert "03-speed-spleeter-targets-reached-by-steps.png" in written
    for path in (tmp_path / "figures").glob("*.png"):
        picture = Image.open(path).convert("RGB")
        assert picture.size == (images.WIDTH * images.SCALE, images.HEIGHT * images.SCALE)
        assert picture.getpixel((0, 0)) == (255, 255, 255)
        assert len(picture.getcolors(picture.width * picture.height)) > 50
    (curves,) = (tmp_path / "figures").glob("*curves-svoice-training-loss.svg")
    drawing = ElementTree.parse(curves).getroot()
    texts = {text.text for text in drawing.iter(f"{SVG}text")}
    assert {"SVoice: Training loss", "step", "adam · step", "sgd · plateau"} <= texts
    assert "#0072b2" in curves.read_text() or "rgb(0, 114, 178)" in curves.read_text()  # adam


def test_without_a_chromium_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    page = compare(many.experiments(tmp_path, 2, 20))
    with pytest.raises(InputError, match=r"^Chromium: found none, expected one of chromium"):
        images.write(page, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
