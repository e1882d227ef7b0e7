"""One look for a variant in every figure: a colour and a dash.

The colour shows the optimizer. Where the variants of an optimizer sweep a number, the shade of the
colour shows the rank of its value. Dashes distinguish what would still look alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import pandas as pd

from contract.menu import OPTIMIZERS
from report.experiments import CHOICES

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SWEEP = 3  # values of a number that make a sweep; dashes distinguish fewer

# Lightness (OKLab) of the first and the last shade, and by how much their hues differ from the
# colour's, in degrees: widely where all shades of a page belong to one colour. Each has a contrast
# to the page of 3 : 1 or more, and the last shade has the strongest.
LIGHTNESS = {"light": (0.64, 0.27), "dark": (0.54, 0.93)}
HUES_ALONE, HUES_AMONG_OTHERS = 140, 25
CHROMA_ALONE = 0.13
SHADE = re.compile(r"(--[a-z]+)-(\d+)-of-(\d+)")


def style(summary: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Returns the look of each variant; no two are the same.

    Args:
        summary: as `report.experiments.summary` returns it.

    Returns:
        By variant, its `color`, the name of a variable of `page_style` or `sheet`, and its `dash`,
        as plotly names it.
    """
    rows = summary.drop_duplicates("variant").to_dict("records")
    by_color: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        optimizer = row["optimizer"]
        color = f"--{optimizer}" if optimizer in OPTIMIZERS else "--muted"
        by_color.setdefault(color, []).append(row)
    looks = {}
    for color, members in by_color.items():
        swept, ranks = _sweep(members)
        numbers = _numbers(members, swept, ranks)
        # Where there are more variants than dashes, each rank of the sweep has several shades.
        shades_per_rank = max(numbers) // len(DASHES) + 1
        shades = shades_per_rank * (max(ranks) + 1)
        for row, rank, number in zip(members, ranks, numbers, strict=True):
            shade = rank * shades_per_rank + number // len(DASHES)
            looks[row["variant"]] = {
                "color": color if shades == 1 else f"{color}-{shade + 1}-of-{shades}",
                "dash": DASHES[number % len(DASHES)],
            }
    return {row["variant"]: looks[row["variant"]] for row in rows}


def _sweep(members: list[dict[str, Any]]) -> tuple[str | None, list[int]]:
    """Returns the numeric setting with the most values, and the rank of each variant's value.

    If no number is swept, the setting is None and all ranks are 0.
    """
    swept, ranks = None, [0] * len(members)
    for setting in (column for column in members[0] if "." in column):
        values = [row[setting] for row in members]
        if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            ranked = {value: rank for rank, value in enumerate(sorted(set(values)))}
            if len(ranked) >= SWEEP and len(ranked) > max(ranks) + 1:
                swept, ranks = setting, [ranked[value] for value in values]
    return swept, ranks


def _numbers(members: list[dict[str, Any]], swept: str | None, ranks: list[int]) -> list[int]:
    """Returns a number for each variant, which no other variant of its rank has.

    Variants that differ in nothing but their rank have the same number, if there are enough dashes
    for that.
    """
    others = [
        tuple(str(row[key]) for key in row if key != swept and (key in CHOICES or "." in key))
        for row in members
    ]
    order = list(dict.fromkeys(others))
    numbers = []
    taken = set()
    for other, rank in zip(others, ranks, strict=True):
        number = order.index(other) if len(order) <= len(DASHES) else 0
        while (rank, number) in taken:
            number += 1
        taken.add((rank, number))
        numbers.append(number)
    return numbers


def sheet(summary: pd.DataFrame) -> str:
    """Returns the style sheet of the shades in `style`, for light and for dark pages.

    Args:
        summary: as `report.experiments.summary` returns it.
    """
    names = dict.fromkeys(look["color"] for look in style(summary).values())
    shades = [match for name in names if (match := SHADE.fullmatch(name))]
    if not shades:
        return ""
    alone = len({match[1] for match in shades}) == 1
    blocks = {}
    for theme, colors in zip(LIGHTNESS, _colors(), strict=True):
        lines = []
        for match in shades:
            name, color, number, count = match[0], match[1], int(match[2]), int(match[3])
            position = (number - 1) / (count - 1)
            lines.append(f"{name}: {_shade(colors[color], position, LIGHTNESS[theme], alone)};")
        blocks[theme] = f":root {{ {' '.join(lines)} }}"
    return f"\n{blocks['light']}\n@media (prefers-color-scheme: dark) {{ {blocks['dark']} }}\n"


def variables(css: str) -> dict[str, str]:
    """Returns the colours of a style sheet by name, as they are on a light page.

    Args:
        css: the text of the style sheet.
    """
    light = re.sub(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{[^}]*\}\s*\}", "", css)
    blocks = re.findall(r":root \{([^}]*)\}", light)
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", " ".join(blocks)))


def page_style() -> str:
    """Returns the style sheet of every page: page.css, and the optimizers' colours."""
    fixed = (files("report") / "page.css").read_text(encoding="utf-8")
    light, dark = (
        " ".join(f"--{name}: {optimizer.colors[theme]};" for name, optimizer in OPTIMIZERS.items())
        for theme in (0, 1)
    )
    return (
        f"{fixed}\n:root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def _colors() -> list[dict[str, str]]:
    """Returns the colours of `page_style` by name, on a light page and on a dark one."""
    blocks = re.findall(r":root \{([^}]*)\}", page_style())
    themes = [dict(re.findall(r"(--[a-z]+): (#[0-9a-f]{6});", block)) for block in blocks]
    (light, dark), optimizers = themes[:2], themes[2:]
    return [{**light, **optimizers[0]}, {**dark, **optimizers[1]}]


def _shade(color: str, position: float, lightness: tuple[float, float], alone: bool) -> str:
    """Returns a shade of a colour.

    Args:
        color: `#rrggbb`.
        position: from 0, the first shade, to 1, the last.
        lightness: the lightness of the first shade and of the last.
        alone: whether the page has shades of no other colour.
    """
    _, chroma, hue = _oklch(color)
    reach = HUES_ALONE if alone else HUES_AMONG_OTHERS
    first, last = lightness
    return _hex(
        first + position * (last - first),
        CHROMA_ALONE if alone else chroma,
        hue + math.radians(reach * (2 * position - 1)),
    )


# Source: Björn Ottosson's OKLab, bottosson.github.io/posts/oklab. Equal steps look equal.
_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_FROM_LAB = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_FROM_CONES = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def _times(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def linear(color: str) -> list[float]:
    """Returns red, green and blue of a colour as light, from 0 to 1, without sRGB's curve.

    Args:
        color: `#rrggbb`.
    """
    values = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def _oklch(color: str) -> tuple[float, float, float]:
    """Returns lightness, chroma and hue (radians) of a colour `#rrggbb`."""
    cones = [value ** (1 / 3) for value in _times(_TO_CONES, linear(color))]
    lightness, a, b = _times(_TO_LAB, cones)
    return lightness, math.hypot(a, b), math.atan2(b, a)


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """Returns a colour as `#rrggbb`.

    If sRGB does not have it, this is the most colourful one that it has of that lightness and hue
    (radians).
    """
    while True:
        lab = lightness, chroma * math.cos(hue), chroma * math.sin(hue)
        light = _times(_FROM_CONES, [value**3 for value in _times(_FROM_LAB, lab)])
        if all(-0.001 <= value <= 1.001 for value in light) or chroma < 0.001:
            break
        chroma *= 0.97
    values = [min(max(v, 0.0), 1.0) for v in light]
    values = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in values]
    return "#" + "".join(f"{round(255 * value):02x}" for value in values)
