"""The looks of variants: no two are the same, and all stand out on light and on dark pages."""

import re
from itertools import chain

import pandas as pd
import pytest

from contract.menu import OPTIMIZERS
from report.colors import linear, page_style, sheet, style, variables
from report.experiments import summary
from report.labels import short
from tests.report import many

SETTING = "optimizer.svoice.lr"


def runs(*variants, setting=SETTING):
    """A summary of variants: optimizer, schedule, clipping, and perhaps a value of the setting."""
    rows = []
    for optimizer, schedule, clipping, *values in variants:
        label = " · ".join([optimizer, schedule, clipping, *(f"{setting}={v}" for v in values)])
        row = {"variant": label, "optimizer": optimizer}
        row |= {"schedule": schedule, "clipping": clipping}
        rows.append(row | dict.fromkeys([setting][: len(values)], *values))
    return pd.DataFrame(rows)


def rates(optimizer, count):
    """Variants of an optimizer at several learning rates."""
    return [(optimizer, "step", "norm", 10 ** (number / 4 - 5)) for number in range(count)]


SCHEDULES = ("step", "plateau", "cosine", "constant", "exponential", "linear")
CLIPPINGS = ("none", "norm", "value", "adaptive")
PAGES = {
    "a sweep": runs(*rates("adam", 24)),
    "a sweep in any order": runs(*sorted(rates("sgd", 24), key=str)),
    "a sweep of an optimizer without a colour": runs(*rates("lamb", 24)),
    "sweeps of all optimizers": runs(*chain(*(rates(name, 9) for name in OPTIMIZERS))),
    "a grid": runs(
        *(
            (optimizer, schedule, clipping, rate)
            for optimizer, schedule, _, rate in rates("adam", 8)
            for clipping in CLIPPINGS
        )
    ),
    "all choices of one optimizer": runs(
        *(("adam", s, c) for s in SCHEDULES for c in CLIPPINGS), setting="x"
    ),
    "more variants than dashes": runs(
        *(("adam", s, "norm") for s in SCHEDULES), *(("adam", "step", c) for c in "ab")
    ),
    "all choices of an optimizer without a colour": runs(
        *(("lamb", s, c) for s in SCHEDULES for c in CLIPPINGS), setting="x"
    ),
}


def themes(summary):
    """The colours of a page by name, light and dark."""
    css = page_style() + sheet(summary)
    light = variables(css)
    dark = re.findall(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}", css)
    assert len(dark) == (3 if sheet(summary) else 2)
    return light, light | dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", " ".join(dark)))


def luminance(color):
    """Relative luminance, as WCAG 2.2 defines it."""
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear(color), strict=True))


def contrast(color, page):
    """Contrast ratio, as WCAG 2.2 defines it."""
    low, high = sorted((luminance(color), luminance(page)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", PAGES)
def test_no_two_variants_look_alike(page):
    looks = style(PAGES[page])
    assert list(looks) == PAGES[page]["variant"].tolist()
    for colors in themes(PAGES[page]):
        seen = {(colors[look["color"]], look["dash"]) for look in looks.values()}
        assert len(seen) == len(looks)


@pytest.mark.parametrize("page", PAGES)
def test_every_look_has_enough_contrast_to_the_page(page):
    """3 : 1, which WCAG 2.2 asks of graphics (1.4.11)."""
    for colors in themes(PAGES[page]):
        for look in style(PAGES[page]).values():
            assert contrast(colors[look["color"]], colors["--page"]) >= 3


def test_every_optimizers_own_colour_has_enough_contrast_to_the_page():
    for colors in themes(runs(("adam", "step", "norm"))):
        for name in OPTIMIZERS:
            assert contrast(colors[f"--{name}"], colors["--page"]) >= 3


def test_shades_follow_the_number_that_is_swept():
    """Their contrast rises with the value, whatever the order of the runs."""
    for name in ("a sweep", "a sweep in any order", "a sweep of an optimizer without a colour"):
        summary = PAGES[name].sort_values(SETTING)
        looks = style(PAGES[name])
        assert {look["dash"] for look in looks.values()} == {"solid"}
        for colors in themes(summary):
            shades = [colors[looks[variant]["color"]] for variant in summary.variant]
            contrasts = [contrast(shade, colors["--page"]) for shade in shades]
            assert contrasts == sorted(contrasts)
            assert contrasts[-1] > 3 * contrasts[0]


def test_a_grid_has_a_shade_for_each_value_and_a_dash_for_each_choice():
    looks = style(PAGES["a grid"])
    assert len({look["color"] for look in looks.values()}) == 8
    assert len({look["dash"] for look in looks.values()}) == len(CLIPPINGS)
    for variant, look in looks.items():
        assert look["dash"] == looks[next(v for v in looks if variant.split(" · ")[2] in v)]["dash"]


def test_few_choices_keep_the_optimizers_colour():
    looks = style(runs(*(("adam", schedule, "norm") for schedule in SCHEDULES)))
    assert {look["color"] for look in looks.values()} == {"--adam"}
    assert len({look["dash"] for look in looks.values()}) == len(SCHEDULES)
    two = style(runs(*rates("adam", 2)))
    assert [look["color"] for look in two.values()] == ["--adam", "--adam"]
    assert [look["dash"] for look in two.values()] == ["solid", "dash"]


def test_labels_have_only_the_last_part_of_a_key_where_that_is_unambiguous():
    assert short(["adam · optimizer.svoice.lr=0.1 · svoice=mini", "sgd"]) == {
        "adam · optimizer.svoice.lr=0.1 · svoice=mini": "adam · lr=0.1 · svoice=mini",
        "sgd": "sgd",
    }
    ambiguous = "svoice.batch_size=4 · spleeter.batch_size=2"
    assert short([ambiguous]) == {ambiguous: ambiguous}


def test_a_summary_has_the_values_of_a_sweep(tmp_path):
    frame = summary(many.sweep(tmp_path, 24, 20))
    assert frame["variant"].nunique() == 24
    assert len({tuple(look.values()) for look in style(frame).values()}) == 24
    assert frame["optimizer.svoice.lr"].nunique() == 24
