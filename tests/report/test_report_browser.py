"""The pages in headless Chromium: they are drawn, respond, and cause no messages or requests."""

import itertools
import re
import shutil

import pytest

from report.comparison import compare
from report.experiments import Experiment
from report.page import build
from report.results import Workspace
from tests.conftest import in_ci
from tests.report import many
from tests.report.conftest import DRAWN
from tests.results import write_training
from tests.yaml_files import write_yaml

SCREENS = [(1360, "light"), (390, "dark")]  # a desk's and a phone's width


def of_figures(page, expression):
    """The value of a JavaScript expression for each figure, whose element is `plot`."""
    script = f"[...document.querySelectorAll('figure .plot')].map((plot) => {expression})"
    return page.evaluate(script)


def too_wide(page):
    """Whether the page scrolls sideways."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_figures_are_drawn_and_change_their_axis(finished, browse, width, scheme):
    page = browse(build(finished.root), width, scheme)
    # The scores of both models between their bounds; training loss, validation loss and time of
    # both; two figures with the study's run and this one; gradient norm (with its limit) and
    # learning rate of both.
    lines = [3, 3] + [2, 2, 2] * 2 + [2, 2] + [3, 1] * 2
    assert of_figures(page, "plot.querySelectorAll('.trace').length") == lines
    axes = "plot.layout.yaxis.type"
    assert of_figures(page, axes) == ["linear"] * 10 + ["log", "linear"] * 2
    first = page.locator("figure").nth(2)
    first.get_by_role("button", name="log").press("Enter")  # by keyboard
    assert of_figures(page, axes)[2] == "log"
    assert first.get_by_role("button", name="log").get_attribute("aria-pressed") == "true"
    assert first.get_by_role("button", name="linear").get_attribute("aria-pressed") == "false"
    assert not too_wide(page)
    colour = {"dark": "rgb(86, 180, 233)", "light": "rgb(0, 114, 178)"}[scheme]
    assert colour in page.content()


def test_one_player_plays_at_a_time_and_the_next_continues(finished, browse):
    page = browse(build(finished.root))
    players = page.locator("audio")
    assert players.count() == 28
    seconds = page.evaluate("""
        Promise.all([...document.querySelectorAll("audio")].map((player) => player.readyState
            ? player.duration
            : new Promise((resolve) => player.addEventListener("loadedmetadata",
                () => resolve(player.duration)))))
    """)
    assert all(duration > 0.5 for duration in seconds)
    # So slowly that neither comes to its end meanwhile, however busy the machine is.
    first_paused, second_paused, position = page.evaluate("""async () => {
        const [first, second] = document.querySelectorAll("audio");
        for (const player of [first, second]) player.playbackRate = 1 / 16;
        await first.play();
        first.currentTime = 0.3;
        await second.play();
        return [first.paused, second.paused, second.currentTime];
    }""")
    assert (first_paused, second_paused) == (True, False)
    assert 0.3 <= position < 0.5


def test_diverged_and_missing_models_are_drawn(finished, browse):
    write_training(finished.root, "spleeter", steps=7, status="diverged")
    shutil.rmtree(finished.root / "results/svoice")
    page = browse(build(finished.root))
    drawn = of_figures(page, "plot.querySelectorAll('.trace').length")
    # There are seven steps, and so no validation. The fifth figure has the study's run as well.
    assert drawn == [3, 2, 0, 2, 2, 3, 1]


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), *in_ci((1360, "light"))])
def test_a_comparison_hides_a_variant_in_every_figure(tmp_path, browse, width, scheme):
    page = browse(compare(many.experiments(tmp_path, 24, 200)), width, scheme)
    titles = of_figures(page, "plot.closest('figure').querySelector('strong').textContent")
    before = of_figures(page, "plot.data.length")
    assert 0 not in before
    first = page.locator(".variants button").first
    first.press("Space")
    assert first.get_attribute("aria-pressed") == "false"
    # Each variant has two runs: two lines in every figure of curves, one in a profile.
    lost = {}  # how many lines each figure has lost, by its title: one number per model
    after = of_figures(page, "plot.data.length")
    for title, lines_before, lines_after in zip(titles, before, after, strict=True):
        lost.setdefault(title, []).append(lines_before - lines_after)
    curves = [title for title in lost if "loss" in title or "Learning" in title]
    by_optimizer = [title for title in curves if "by optimizer" in title]
    assert by_optimizer == [
        f"Validation loss by optimizer: {schedule} schedule, norm clipping"
        for schedule in ("step", "plateau")
    ]
    assert len(curves) == 9
    assert all(lost[title] == [2, 2] for title in curves if title != by_optimizer[1])
    against = [title for title in lost if "step against plateau" in title]
    assert len(against) == 6 and lost[against[0]] == [2, 2]
    assert all(lost[title] == [0, 0] for title in [by_optimizer[1], *against[1:]])
    profiles = [title for title in lost if title.startswith("Targets")]
    assert profiles == ["Targets reached, by steps", "Targets reached, by seconds of training"]
    assert all(lost[title] == [1, 1] for title in profiles)
    first.press("Space")
    assert of_figures(page, "plot.data.length") == before
    assert not too_wide(page)


def test_the_trials_of_a_tuning_are_drawn_and_hidden(tmp_path, browse):
    experiments, tuning = many.tuned(tmp_path, repetitions=2)
    page = browse(compare(experiments, tuning=tuning), 390)
    titles = of_figures(page, "plot.closest('figure').querySelector('strong').textContent")
    where = [number for number, title in enumerate(titles) if "over the learning rate" in title]
    assert len(where) == 4
    # A mark for each trial: a dot or, of the last of four, a cross.
    symbols = of_figures(page, "plot._fullData.map(({ marker, x }) => [marker?.symbol, x?.length])")
    for number in where:
        assert symbols[number] == [["circle", 6], ["x", 2]] * 3
    page.locator(".variants button").first.press("Space")
    symbols = of_figures(page, "plot._fullData.map(({ marker, x }) => [marker?.symbol, x?.length])")
    assert symbols[where[0]] == [["circle", 6], ["x", 2]] * 2
    assert page.locator(".answer").count() == 2
    assert page.locator("#methods").inner_text().startswith("We compared 3 variants")
    assert not too_wide(page)


NAMES = """[...document.querySelectorAll("figure")].map((figure) =>
    [...figure.querySelectorAll(".ends span")].map((name) => {
        const box = name.getBoundingClientRect(), around = figure.getBoundingClientRect();
        return [name.textContent, box.top, box.bottom,
            box.left >= around.left && box.right <= around.right + 1];
    }))"""


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(390, "dark"), *in_ci((1280, "light"), (1280, "dark"), (390, "light"))],
)
def test_24_variants_of_one_optimizer_can_be_distinguished(tmp_path, browse, width, scheme):
    page = browse(compare(many.sweep(tmp_path, 24, 100)), width, scheme)
    legend = page.evaluate("""[...document.querySelectorAll(".variants line")].map((line) =>
        getComputedStyle(line).stroke + line.getAttribute("stroke-dasharray"))""")
    assert len(set(legend)) == len(legend) == 24
    # Every figure of lines names each of its variants, inside the figure and without overlaps.
    has_lines = of_figures(page, "plot.data.every(({ mode }) => mode === 'lines')")
    assert sum(has_lines) > 20
    drawn_names = of_figures(page, "[...new Set(plot.data.map(({ name }) => name))]")
    for lines, names, expected in zip(has_lines, page.evaluate(NAMES), drawn_names, strict=True):
        variants = [name for name, *_ in names if name != "published"]
        if not lines:
            assert not names
            continue
        assert sorted(name for name, *_ in names) == sorted(expected)
        assert len(variants) >= 23  # the run that diverged is shorter than the study's
        assert all(re.fullmatch(r"lr=[0-9.e-]+", name) for name in variants)
        assert all(inside for *_, inside in names)
        assert all(
            below >= bottom - 0.5
            for (_, _, bottom, _), (_, below, _, _) in itertools.pairwise(names)
        )
    drawn_looks = of_figures(page, "plot.data.map(({ line }) => line.color + line.dash)")
    for lines, looks in zip(has_lines, drawn_looks, strict=True):
        assert not lines or len(set(looks)) == len(looks)
    # A leader has the colour of its line.
    leaders = page.evaluate("""[...document.querySelectorAll("figure")].map((figure) =>
        new Set([...figure.querySelectorAll(".ends path")].map((path) =>
            path.getAttribute("stroke"))).size)""")
    assert [count >= 24 for count in leaders] == has_lines
    first = page.locator(".variants button").first
    assert first.inner_text() == "lr=1e-05"
    first.press("Space")
    assert all("lr=1e-05" not in [name for name, *_ in names] for names in page.evaluate(NAMES))
    assert not too_wide(page)


def test_names_follow_their_lines_when_the_reader_zooms(tmp_path, browse):
    page = browse(compare(many.experiments(tmp_path, 6, 100)))
    titles = of_figures(page, "plot.closest('figure').querySelector('strong').textContent")
    figure = page.locator("figure").nth(titles.index("Training loss"))
    plot, names = figure.locator(".plot"), figure.locator(".ends span")
    assert sorted(names.all_inner_texts()) == sorted(many.RATES)
    order = "plot => plot._fullData.map(({ name, y }) => [y.at(-1), name])"
    by_loss = [name for _, name in sorted(plot.evaluate(order), reverse=True)]
    assert names.all_inner_texts() == by_loss
    zoom = "(plot, [x, y]) => Plotly.relayout(plot, { 'xaxis.range': x, 'yaxis.range': y })"
    ranges = plot.evaluate("({ layout: { xaxis, yaxis } }) => [xaxis.range, yaxis.range]")
    plot.evaluate(zoom, [[1, 2], [0, 1]])
    assert names.count() == 0  # no line is in view
    plot.evaluate(zoom, ranges)
    assert names.all_inner_texts() == by_loss


def test_estimates_of_several_variants_are_heard_side_by_side(finished, browse, tmp_path):
    experiments = []
    for optimizer in ("adam", "sgd"):
        root = tmp_path / optimizer
        shutil.copytree(finished.root, root)
        params = {**finished.params, "optimizer": {"name": optimizer}}
        write_yaml(root / "configuration.yaml", params)
        experiments.append(Experiment(optimizer, "", Workspace.read(root)))
    page = browse(compare(experiments))
    takes = page.locator(".takes .player")
    # A song has its mixture, and the reference and two estimates of each of four stems; a speech
    # mixture has the same for two speakers.
    assert takes.count() == page.locator(".takes img").count() == (1 + 4 * 3) + (1 + 2 * 3)
    assert page.locator(".takes .player:visible").count() == takes.count()
    page.locator(".variants button").filter(has_text="sgd").press("Enter")
    assert page.locator(".takes .player:visible").count() == takes.count() - 4 - 2
    first, second = (takes.nth(number).locator("audio") for number in (2, 5))
    first.evaluate("player => player.play()")
    first.evaluate("player => { player.currentTime = 0.2 }")
    second.evaluate("player => player.play()")
    assert first.evaluate("player => player.paused")
    assert second.evaluate("player => player.currentTime") >= 0.2
    assert not too_wide(page)


def test_a_page_of_many_runs_opens_before_all_of_it_is_drawn(tmp_path, browser):
    """Figures far down are drawn when the reader comes near them."""
    path = tmp_path / "page.html"
    path.write_text(compare(many.experiments(tmp_path, 48, 400)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN, arg=0)
    assert not page.evaluate(DRAWN, page.locator("figure").count() - 1)
    page.close()
