"""Figures as images for papers, drawn by Chromium."""

import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from contract.errors import InputError
from report import images
from report.comparison import compare
from tests.conftest import IN_CI
from tests.report import many

SVG = "{http://www.w3.org/2000/svg}"


def only(page, *sections):
    """The page without its other sections."""
    others = rf"<section id=\"(?!{'|'.join(sections)}).*?</section>"
    return re.sub(others, "", page, flags=re.DOTALL)


def test_every_figure_becomes_a_png_and_an_svg(tmp_path, browser):
    """Outside CI, those of the first three sections do."""
    page = compare(many.experiments(tmp_path, 12, 100))
    page = page if IN_CI else only(page, "which", "speed", "curves")
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


def clip_of(legend):
    """The name of the rectangle that clips a legend."""
    (box,) = [group for group in legend.iter(f"{SVG}g") if group.get("class") == "scrollbox"]
    return box.get("clip-path").removeprefix("url(#").removesuffix(")")


def moved_down(group):
    """By how many pixels a group is moved down."""
    transform = group.get("transform") or "translate(0,0)"
    return float(transform.removeprefix("translate(").removesuffix(")").split(",")[1])


def test_24_variants_of_one_optimizer_are_all_named(tmp_path, browser):
    page = compare(many.sweep(tmp_path, 24, 50))
    images.write(only(page, "curves", "which"), tmp_path / "figures")
    (curves,) = (tmp_path / "figures").glob("*curves-svoice-training-loss.svg")
    drawing = ElementTree.parse(curves).getroot()
    names = [text for text in drawing.iter(f"{SVG}text") if (text.text or "").startswith("lr=")]
    assert len({text.text for text in names}) == len(names) == 24
    legend = [group for group in drawing.iter(f"{SVG}g") if group.get("class") == "legend"]
    lines = [path for path in legend[0].iter(f"{SVG}path") if path.get("class") == "js-line"]
    assert len({path.get("style") for path in lines}) == len(lines) == 24
    # Even the last entry is inside what the legend shows, because paper does not scroll.
    clip = drawing.find(f".//{SVG}clipPath[@id='{clip_of(legend[0])}']/{SVG}rect")
    height = float(clip.get("height"))
    positions = [
        moved_down(group) + moved_down(entry)
        for group in legend[0].iter(f"{SVG}g")
        for entry in group
        if (group.get("class"), entry.get("class")) == ("groups", "traces")
    ]
    assert len(positions) == 24 and max(positions) + 5 < height
    picture = Image.open(curves.with_suffix(".png"))
    assert picture.height > images.HEIGHT * images.SCALE
    (ranks,) = (tmp_path / "figures").glob("*which-svoice-*.svg")
    ticks = [t.text for t in ElementTree.parse(ranks).getroot().iter(f"{SVG}text") if t.text]
    assert len([tick for tick in ticks if tick.startswith("lr=")]) == 24


def test_without_a_chromium_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    page = compare(many.experiments(tmp_path, 2, 20))
    with pytest.raises(InputError) as caught:
        images.write(page, tmp_path / "figures")
    assert str(caught.value) == (
        "Chromium: is not installed; install chromium, chromium-browser, google-chrome or "
        "google-chrome-stable, or set BROWSER_PATH"
    )
    assert not (tmp_path / "figures").exists()
