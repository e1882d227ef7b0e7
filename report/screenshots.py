"""`python -m report.screenshots PAGE.html PICTURE.png`: the top of a page as a small picture.

A Chromium of this machine draws the page in its light colours, from its head down to the last
figure that fits. `make screenshots` makes the pictures of the documentation in this way.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from contract import files
from contract.arguments import Parser
from contract.errors import InputError, one_line
from report import images

# Pixels: the width of a desktop screen, and the greatest height of a picture.
WIDTH, HEIGHT = 1280, 2000
LARGEST = 200_000  # bytes of a picture: every clone fetches it
PALETTES = (256, 128, 64, 32)  # colours, until the picture is small enough

# Figures are drawn when they come near.
DRAWN = """() => [...document.querySelectorAll("figure .plot")]
    .filter((plot) => plot.getBoundingClientRect().top < innerHeight)
    .every((plot) => plot.layout)"""
END = """() => Math.max(0, ...[...document.querySelectorAll("figure")]
    .map((figure) => figure.getBoundingClientRect().bottom)
    .filter((bottom) => bottom <= innerHeight)) || innerHeight"""


@one_line
def main() -> None:
    """Writes the picture that the command line asks for."""
    parser = Parser(__doc__)
    parser.add_argument("page", type=Path, help="a report")
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    options = parser.parse_args()
    if not options.page.is_file():
        raise InputError(options.page, "there is no such file", "name a report")
    content = small_png(Image.open(io.BytesIO(screenshot(options.page))), options.picture)
    files.write(options.picture, content)
    print(f"{options.picture}: {len(content) / 1000:.0f} kB")


def screenshot(page: Path) -> bytes:
    """Draws the top of a page and returns it as PNG.

    Args:
        page: the file of the page.

    Raises:
        InputError: there is no Chromium.
    """
    program = images.require_browser()
    with sync_playwright() as driver:
        # Chromium refuses its sandbox to root; the page is the project's own and loads nothing.
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        size = {"width": WIDTH, "height": HEIGHT}
        view = chromium.new_page(viewport=size, color_scheme="light")
        view.goto(page.resolve().as_uri())
        view.wait_for_function(DRAWN)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": view.evaluate(END)}
        picture = view.screenshot(clip=clip)
        chromium.close()
    return picture


def small_png(picture: Image.Image, path: Path, largest: int = LARGEST) -> bytes:
    """Returns a picture as PNG, with as many colours as its size allows.

    Args:
        picture: in any mode.
        path: what an error calls it.
        largest: how many bytes it may have.

    Raises:
        InputError: it is too large even with the fewest colours.
    """
    for colors in PALETTES:
        content = io.BytesIO()
        picture.convert("RGB").quantize(colors).save(content, "PNG", optimize=True)
        if content.tell() <= largest:
            return content.getvalue()
    problem = f"has {content.tell()} bytes with {colors} colours, more than {largest}"
    raise InputError(path, problem, "take a shorter page")


if __name__ == "__main__":
    main()
