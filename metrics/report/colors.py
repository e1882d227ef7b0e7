"""One look for a variant in every figure. The colour tells its optimizer; where the variants of an
optimizer sweep a number, the shade of the colour tells where in the sweep it is. Dashes tell apart
what then still looks alike.
"""

import math
import re
from collections.abc import Sequence
from importlib.resources import files

import pandas as pd

OPTIMIZERS = (
    *("sgd", "momentum", "nesterov", "adagrad", "adadelta"),
    *("rmsprop", "adam", "adamw", "adamax", "nadam"),
)
CHOICES = ("optimizer", "schedule", "clipping")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SWEEP = 3  # values of a number; fewer are told apart by dashes

# Lightness (OKLab) of the first and the last shade, and by how much their hues differ from the
# colour's, in degrees: widely where all shades of a page are one colour's. Each has a contrast of
# 3 : 1 or more to the page, and the last one is the strongest.
LIGHTNESS = {"light": (0.64, 0.27), "dark": (0.54, 0.93)}
HUES_ALONE, HUES_AMONG_OTHERS = 140, 25
CHROMA_ALONE = 0.13
SHADE = re.compile(r"(--[a-z]+)-(\d+)-of-(\d+)")


def style(summary: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Of each variant in `summary` the colour, a name of the style sheet's or of `sheet`'s, and the
    dash. No two are the same."""
    rows = summary.drop_duplicates("variant").to_dict("records")
    by_color = {}
    for row in rows:
        optimizer = row["optimizer"]
        color = f"--{optimizer}" if optimizer in OPTIMIZERS else "--muted"
        by_color.setdefault(color, []).append(row)
    looks = {}
    for color, members in by_color.items():
        swept, places = _sweep(members)
        numbers = _numbers(members, swept, places)
        # More than there are dashes have each place of the sweep in several shades.
        rounds = max(numbers) // len(DASHES) + 1
        shades = rounds * (max(places) + 1)
        for row, place, number in zip(members, places, numbers, strict=True):
            shade = place * rounds + number // len(DASHES)
            looks[row["variant"]] = {
                "color": color if shades == 1 else f"{color}-{shade + 1}-of-{shades}",
                "dash": DASHES[number % len(DASHES)],
            }
    return {row["variant"]: looks[row["variant"]] for row in rows}


def _sweep(members: list[dict]) -> tuple[str | None, list[int]]:
    """The number of the configuration that has the most values, and the rank of each variant's;
    none and all 0 if no number is swept."""
    swept, best = None, [0] * len(members)
    for setting in (column for column in members[0] if "." in column):
        values = [row[setting] for row in members]
        if all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
            if len(ranks) >= SWEEP and len(ranks) > max(best) + 1:
                swept, best = setting, [ranks[value] for value in values]
    return swept, best


def _numbers(members: list[dict], swept: str | None, places: list[int]) -> list[int]:
    """A number for each variant, that no other variant at its place has. Variants that differ in
    nothing but their place have the same one, where there are dashes enough for that."""
    rests = [
        tuple(str(row[key]) for key in row if key != swept and (key in CHOICES or "." in key))
        for row in members
    ]
    order = list(dict.fromkeys(rests))
    found = []
    taken = set()
    for rest, place in zip(rests, places, strict=True):
        number = order.index(rest) if len(order) <= len(DASHES) else 0
        while (place, number) in taken:
            number += 1
        taken.add((place, number))
        found.append(number)
    return found


def sheet(summary: pd.DataFrame) -> str:
    """The style sheet of the shades in `style`, for light pages and for dark ones."""
    names = dict.fromkeys(look["color"] for look in style(summary).values())
    shades = [match for name in names if (match := SHADE.fullmatch(name))]
    if not shades:
        return ""
    alone = len({match[1] for match in shades}) == 1
    blocks = {}
    for theme, base in zip(LIGHTNESS, _bases(), strict=True):
        lines = []
        for name, color, number, count in ((m[0], m[1], int(m[2]), int(m[3])) for m in shades):
            at = (number - 1) / (count - 1)
            lines.append(f"{name}: {_shade(base[color], at, LIGHTNESS[theme], alone)};")
        blocks[theme] = f":root {{ {' '.join(lines)} }}"
    return f"\n{blocks['light']}\n@media (prefers-color-scheme: dark) {{ {blocks['dark']} }}\n"


def variables(css: str) -> dict[str, str]:
    """The colours of a style sheet by name, as they are on a light page."""
    light = re.sub(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{[^}]*\}\s*\}", "", css)
    blocks = re.findall(r":root \{([^}]*)\}", light)
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", " ".join(blocks)))


def _bases() -> list[dict[str, str]]:
    """The page's colours by name, light and dark."""
    css = (files("metrics.report") / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    return [dict(re.findall(r"(--[a-z]+): (#[0-9a-f]{6});", block)) for block in blocks[:2]]


def _shade(color: str, at: float, lightness: tuple[float, float], alone: bool) -> str:
    """at: from 0, the first shade, to 1, the last one."""
    _, chroma, hue = _oklch(color)
    reach = HUES_ALONE if alone else HUES_AMONG_OTHERS
    first, last = lightness
    return _hex(
        first + at * (last - first),
        CHROMA_ALONE if alone else chroma,
        hue + math.radians(reach * (2 * at - 1)),
    )


# Björn Ottosson's OKLab, bottosson.github.io/posts/oklab: equal steps look equal.
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


def _times(matrix: tuple, vector: Sequence[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def linear(color: str) -> list[float]:
    """`#rrggbb` as light: red, green and blue from 0 to 1, without sRGB's curve."""
    values = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def _oklch(color: str) -> tuple[float, float, float]:
    """Lightness, chroma, hue (radians)."""
    cones = [value ** (1 / 3) for value in _times(_TO_CONES, linear(color))]
    lightness, a, b = _times(_TO_LAB, cones)
    return lightness, math.hypot(a, b), math.atan2(b, a)


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """The colour, or the most colourful one of its lightness and hue that sRGB has."""
    while True:
        lab = lightness, chroma * math.cos(hue), chroma * math.sin(hue)
        light = _times(_FROM_CONES, [value**3 for value in _times(_FROM_LAB, lab)])
        if all(-0.001 <= value <= 1.001 for value in light) or chroma < 0.001:
            break
        chroma *= 0.97
    values = [min(max(v, 0.0), 1.0) for v in light]
    values = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in values]
    return "#" + "".join(f"{round(255 * value):02x}" for value in values)
