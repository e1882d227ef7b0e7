"""The documentation: what README.md and docs/*.md name exists."""

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from contract import menu
from contract.params import check
from tests.conftest import ROOT
from tests.test_floors import FLOORS
from tests.yaml_files import read_yaml

CONF = ROOT / "conf"
IMAGES = ROOT / "docs" / "images"
LARGEST_IMAGE = 200_000  # bytes: every clone fetches it
MOST_LINES = 140  # of the README: it is read in three minutes
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ENVIRONMENTS = ("pipeline", "spleeter", "svoice")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")


class Command(NamedTuple):
    """A command of a console block, and what the block says it prints."""

    words: list[str]
    prints: list[str]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """The pieces of code in a page's lines."""
    return SPAN.findall(prose(text))


def commands(text: str) -> list[Command]:
    """The commands of a page's console blocks, those that are joined by && one by one."""
    found = []
    for language, block in FENCE.findall(text):
        if language != "console":
            continue
        for part in block.split("$ ")[1:]:
            line, *prints = part.rstrip("\n").split("\n")
            words = shlex.split(line, comments=True)
            for joined, own in itertools.groupby(words, lambda word: word == "&&"):
                if not joined:
                    found.append(Command(list(own), []))
            found[-1].prints.extend(prints)
    return found


def codes(text: str) -> list[str]:
    """The commands and the pieces of code of a page, each as one text."""
    return [*spans(text), *(shlex.join(command.words) for command in commands(text))]


def settings(words: list[str]) -> list[str]:
    """What stands behind `-S` in a command."""
    return [after for option, after in itertools.pairwise(words) if option == "-S"]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found[plain] = found.get(plain, -1) + 1
        if found[plain]:
            found[f"{plain}-{found[plain]}"] = 0
    return set(found)


def single(overrides: Sequence[str]) -> list[list[str]]:
    """As many of a grid's experiments as it takes for each value of its sweeps to be in one."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = [
        [f"{each.key_or_group}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [written]
        for each, written in zip(parsed, overrides, strict=True)
    ]
    longest = max(map(len, values), default=1)
    return [[choices[n % len(choices)] for choices in values] for n in range(longest)]


def refused(command: Command) -> bool:
    return any(line.startswith("ERROR: ") for line in command.prints)


ALL = [(name, command) for name in NAMES for command in commands(text_of(name))]
EXPERIMENTS = [
    (name, command) for name, command in ALL if command.words[:3] == ["dvc", "exp", "run"]
]


def test_there_is_something_to_check():
    assert len(PAGES) >= 12
    assert len(EXPERIMENTS) >= 15
    assert sum(refused(command) for _, command in EXPERIMENTS) == 2


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name):
    broken = []
    for target in LINK.findall(prose(text_of(name))):
        if re.match(r"[a-z]+:", target):
            continue  # on the web
        path, _, anchor = target.partition("#")
        page = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        good = page.is_file() and page.is_relative_to(ROOT)
        if good and anchor:
            good = anchor in anchors(page.read_text(encoding="utf-8"))
        if not good:
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme():
    linked = {target.partition("#")[0] for target in LINK.findall(text_of("README.md"))}
    assert {name for name in NAMES if name != "README.md"} <= linked


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("group", menu.GROUPS)
def test_the_tables_of_choices_are_the_menus(group):
    text = text_of("docs/experiments.md")
    assert text.count(menu.table(group)) == 1, "copy what `python -m contract.menu` prints"
    assert text.count(f"| `{group}` | description |") == 1


def test_the_table_of_groups_has_every_choice():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", text_of("docs/experiments.md"), re.M)
    listed = {}
    for groups, choices in rows:
        for group in SPAN.findall(groups):
            listed.setdefault(group, set(SPAN.findall(choices)))
    for group in ("music", "speech", "runtime", "optimizer", "schedule", "clipping", "spleeter"):
        there = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert listed[group] & there == there, group
    assert listed["svoice"] == listed["spleeter"]


@pytest.mark.parametrize("name", NAMES)
def test_every_target_of_make_exists(name):
    makefile = text_of("Makefile")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\((?:value )?([A-Z]+)\)", makefile))
    for code in codes(text_of(name)):
        if not re.match(r"make( |$)", code):
            continue
        target, *settings = shlex.split(code)[1:] or ["help"]
        assert target in targets, code
        assert {setting.partition("=")[0] for setting in settings} <= variables, code


@pytest.mark.parametrize("name", NAMES)
def test_every_study_exists(name):
    for code in codes(text_of(name)):
        for study in re.findall(r"^make study .*\bNAME=(\w+)", code):
            assert (CONF / "study" / f"{study}.yaml").is_file(), code


@pytest.mark.parametrize("name", NAMES)
def test_every_module_can_be_run_where_it_is_said_to_be(name):
    for code in codes(text_of(name)):
        for program, module in re.findall(r"(\S*(?:python|torchrun)[\d.]*) .*?-m ([\w.]+)", code):
            if module in ("pytest", "MODULE"):
                continue
            path = ROOT.joinpath(*module.split("."))
            path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
            assert '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8"), code
            if program.startswith(".venv/"):
                environment = program.split("/")[1]
                code_of = {"svoice": "svoice", "spleeter_mod": "spleeter"}.get(path.parts[-2])
                assert environment in ENVIRONMENTS, code
                assert code_of in (None, environment), code


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_of_a_group_exists(name):
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    for code in codes(text_of(name)):
        for group, choices in re.findall(r"(?:^|[ '])([a-z_]+)=([\w,]+)", code):
            if group in groups and choices != "adm":  # which is shown as refused
                there = {path.stem for path in (CONF / group).glob("*.yaml")}
                assert set(choices.split(",")) <= there, code


def composed(overrides: list[str]) -> None:
    """Composes and checks a configuration as DVC does."""
    with initialize_config_dir(str(CONF), version_base=None):
        check(OmegaConf.to_container(compose("config", overrides), resolve=True))


@pytest.mark.parametrize(
    "overrides",
    sorted({tuple(settings(command.words)) for _, command in EXPERIMENTS if not refused(command)}),
    ids=" ".join,
)
def test_every_experiment_can_be_composed(overrides):
    for each in single(overrides):
        composed(each)


def test_every_override_in_a_sentence_can_be_composed():
    found = [
        setting
        for name in NAMES
        for code in spans(text_of(name))
        if "-S" in code and "…" not in code and not code.startswith("dvc")
        for setting in settings(shlex.split(code))
    ]
    shown_as_refused = {"optimizer=[adam,sgd]", "~optimizer"}
    assert len(found) >= 5
    assert shown_as_refused <= set(found)
    for setting in set(found) - shown_as_refused:
        for each in single([setting]):
            composed(each)


COMPOSE = """
import os, sys
from dvc.utils.hydra import compose_and_dump
conf = os.path.abspath("conf")
compose_and_dump(sys.argv[1], conf, None, "config", conf, sys.argv[2:])
"""


@pytest.mark.parametrize(
    "command",
    [command for _, command in EXPERIMENTS if refused(command)],
    ids=lambda command: " ".join(settings(command.words)),
)
def test_what_is_shown_as_refused_is_refused_in_these_words(command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE, tmp_path / "params.yaml", *settings(command.words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == command.prints


def test_the_map_of_the_house_is_true():
    (block,) = (text for _, text in FENCE.findall(text_of("README.md")) if text.startswith("dvc"))
    named = set(re.findall(r"^([\w.]+/?)  ", block, re.MULTILINE))
    assert {f"{package}/" for package in FLOORS} <= named
    inside = {"conf/study/", "stages/datasets/", "stages/fetching/", "stages/runtime/"}
    for part in (*named, *inside, "params.yaml"):
        assert (ROOT / part).exists(), part
        assert part.rstrip("/").rpartition("/")[2] in block


def test_the_suites_of_the_tests_are_those_of_make():
    suites = re.findall(r"^TESTS_(\w+) := (\S+) (.+)$", text_of("Makefile"), re.MULTILINE)
    rows = re.findall(
        r"^\| `(\w+)` \| `(\.venv/\w+)` \| (.+) \|$",
        text_of("docs/contributing.md"),
        re.MULTILINE,
    )
    assert [(suite, place, " ".join(SPAN.findall(tests))) for suite, place, tests in rows] == suites


def test_every_target_is_in_the_list_of_targets():
    helped = re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE)
    table = re.findall(r"^\| (`make .+?) \|", text_of("docs/contributing.md"), re.MULTILINE)
    listed = {code.removeprefix("make ") for row in table for code in SPAN.findall(row)}
    assert listed == set(helped) - {"help"}


def test_pictures_are_small_and_shown():
    shown = {
        ((ROOT / name).parent / target).resolve()
        for name in NAMES
        for target in re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", text_of(name))
    }
    pictures = set(IMAGES.glob("*"))
    assert {path for path in shown if path.is_relative_to(IMAGES)} == pictures
    assert {path.name for path in pictures if path.stat().st_size > LARGEST_IMAGE} == set()


def test_the_readme_shows_a_part_of_what_the_page_about_scores_shows():
    (whole,) = (text for _, text in FENCE.findall(text_of("docs/scores.md")) if "SVoice," in text)
    (part,) = (text for _, text in FENCE.findall(text_of("README.md")) if "SVoice," in text)
    lines = iter(whole.splitlines())
    for line in part.splitlines():
        assert line == "…" or line in lines, line  # in this order


def keys(values: object, prefix: str = "") -> set[str]:
    """The keys of a configuration, those of its groups too, with dots."""
    if not isinstance(values, dict):
        return set()
    inside = (keys(value, f"{prefix}{key}.") for key, value in values.items())
    return {f"{prefix}{key}" for key in values}.union(*inside)


def test_every_key_of_the_configuration_exists():
    groups = [folder for folder in CONF.iterdir() if folder.is_dir() and folder.name != "study"]
    known = keys(read_yaml(CONF / "config.yaml"))
    for path in (path for folder in groups for path in folder.glob("*.yaml")):
        content = path.read_text(encoding="utf-8")
        prefix = "" if "@package _global_" in content else f"{path.parent.name}."
        known |= keys(read_yaml(path), prefix)
    tops = {key.partition(".")[0] for key in known}
    for name in NAMES:
        for code in spans(text_of(name)):
            # Without `: value` or `=value`.
            key = re.match(r"[a-z_]+(?:\.\w+)+(?=$|[:=])", code)
            if key and key.group().partition(".")[0] in tops:
                module = ROOT.joinpath(*key.group().split(".")).with_suffix(".py")
                assert key.group() in known or module.is_file(), f"{name}: {code}"
