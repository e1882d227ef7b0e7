"""The page in a real browser: headless Chromium draws it, works it, and has nothing to say."""

import json
import os
import re
import shutil
import subprocess

import pytest

from metrics.report import build
from metrics.report.comparison import compare
from tests.metrics import many
from tests.metrics.files import write_training

NAMES = ("chromium", "chromium-browser", "google-chrome")

# Figures are drawn when they come near, so a probe goes past all of them.
DRAWN = """
async function allDrawn() {
  const figures = [...document.querySelectorAll("figure")];
  for (const figure of figures) {
    figure.scrollIntoView();
    while (!figure.querySelector(".plot").layout) await new Promise((go) => setTimeout(go, 50));
  }
  await new Promise((go) => setTimeout(go, 500));
  return figures;
}
"""

# Added to the page under test: works the controls and leaves what it saw in the document.
PROBE = """
<script>
DRAWN
addEventListener("load", async () => {
  const seen = {};
  const figures = await allDrawn();
  seen.drawn = figures.map((figure) => figure.querySelectorAll(".trace").length);
  seen.axes = figures.map((figure) => figure.querySelector(".plot").layout.yaxis.type);
  const log = figures[0].querySelector("button[value=log]");
  log.click();
  await new Promise((done) => setTimeout(done, 500));
  seen.toggled = [
    figures[0].querySelector(".plot").layout.yaxis.type,
    log.getAttribute("aria-pressed"),
    figures[0].querySelector("button[value=linear]").getAttribute("aria-pressed"),
  ];
  seen.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  const players = [...document.querySelectorAll("audio")];
  seen.durations = await Promise.all(players.map((player) =>
    player.readyState ? player.duration
      : new Promise((done) => {
          player.addEventListener("loadedmetadata", () => done(player.duration));
          player.addEventListener("error", () => done(player.error.message));
        })));
  await players[0].play();
  players[0].currentTime = 0.3;
  await players[1].play();
  seen.playing = [!players[0].paused, !players[1].paused, players[1].currentTime >= 0.3];
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>
</body>""".replace("DRAWN", DRAWN)

COUNT = """
<script>
DRAWN
addEventListener("load", async () => {
  const seen = (await allDrawn()).map((figure) => figure.querySelectorAll(".trace").length);
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>
</body>""".replace("DRAWN", DRAWN)

# Of a comparison: hides its first variant, by the keyboard's way to a button.
HIDE = """
<script>
DRAWN
addEventListener("load", async () => {
  const figures = await allDrawn();
  const count = () => figures.map((figure) => figure.querySelector(".plot").data.length);
  const button = document.querySelector(".variants button");
  const seen = { titles: figures.map((f) => f.querySelector("strong").textContent) };
  seen.before = count();
  button.focus();
  button.click();
  seen.pressed = button.getAttribute("aria-pressed");
  await new Promise((go) => setTimeout(go, 500));
  seen.hidden = count();
  button.click();
  await new Promise((go) => setTimeout(go, 500));
  seen.again = count();
  seen.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>
</body>""".replace("DRAWN", DRAWN)


@pytest.fixture
def browse(tmp_path):
    """Opens HTML in Chromium; returns the document as drawn and the console's lines."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = f"no Chromium: none of {', '.join(NAMES)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def run(html, width=1360, dark=False):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        command = [
            program,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            "--autoplay-policy=no-user-gesture-required",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            f"--window-size={width},2000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            path.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout, re.findall(r"CONSOLE.*", done.stderr)

    return run


def probe(html):
    return html.replace("</body>", PROBE)


def seen(document):
    found = re.search(r'data-seen="([^"]*)"', document)
    assert found, "the page's scripts did not run to their end"
    return json.loads(found[1].replace("&quot;", '"'))


@pytest.mark.parametrize(("width", "dark"), [(1360, False), (500, True)])
def test_page_works(finished, browse, width, dark):
    document, console = browse(probe(build(finished.root)), width, dark)
    assert console == []
    found = seen(document)
    # Training loss, validation, gradient norm (with the clipping line), rate, time; twice.
    assert found["drawn"] == [2, 2, 3, 1, 2] * 2
    assert found["axes"] == ["linear", "linear", "log", "linear", "linear"] * 2
    assert found["toggled"] == ["log", "true", "false"]
    assert found["wide"] is False
    assert len(found["durations"]) == 28
    assert all(isinstance(each, float) and each > 0.5 for each in found["durations"])
    assert found["playing"] == [False, True, True]
    colour = "rgb(86, 180, 233)" if dark else "rgb(0, 114, 178)"
    assert colour in document


def test_diverged_and_missing_models_draw_too(finished, browse):
    write_training(finished.root, "spleeter", steps=7, status="diverged")
    shutil.rmtree(finished.root / "results/svoice")
    html = build(finished.root)
    document, console = browse(html.replace("</body>", COUNT))
    assert console == []
    assert seen(document) == [2, 0, 3, 1, 2]  # seven steps: nothing was validated


@pytest.mark.parametrize(("width", "dark"), [(1360, False), (500, True)])
def test_a_comparison_works(tmp_path, browse, width, dark):
    html = compare(many.experiments(tmp_path, 24, 200))
    document, console = browse(html.replace("</body>", HIDE), width, dark)
    assert console == []
    found = seen(document)
    # Each variant has two runs here: two lines in every figure of curves, one in a profile.
    of_curves = [
        title.startswith(("Training", "Validation", "Learning")) for title in found["titles"]
    ]
    lost = [
        before - hidden for before, hidden in zip(found["before"], found["hidden"], strict=True)
    ]
    assert [count for count, curve in zip(lost, of_curves, strict=True) if curve] == [2] * 14
    assert lost.count(1) == 4
    assert found["again"] == found["before"]
    assert found["pressed"] == "false"
    assert found["wide"] is False
