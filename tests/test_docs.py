"""What README.md and docs/*.md name exists, and the commands that they show work."""

import functools
import itertools
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from contract import menu
from contract.params import check
from tests import forked
from tests.conftest import ROOT
from tests.test_floors import FLOORS
from tests.test_suites import SUITES
from tests.yaml_files import read_yaml

CONF = ROOT / "conf"
IMAGES = ROOT / "docs" / "images"
LARGEST_IMAGE = 200_000  # bytes, because every clone fetches it
MOST_LINES = 140  # of the README, so that it can be read in three minutes
RESULTS = ROOT / "docs" / "results" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), RESULTS]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ENVIRONMENTS = ("pipeline", "spleeter", "svoice")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")


class Command(NamedTuple):
    """A command of a console block.

    Attributes:
        words: the command, split as a shell splits it.
        output: the lines that the block shows as its output.
    """

    words: list[str]
    output: list[str]


def text_of(name: str) -> str:
    """The text of a file, named by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text of a page without its blocks of code."""
    return FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """The pieces of code in the sentences of a page."""
    return SPAN.findall(prose(text))


def commands(text: str) -> list[Command]:
    """The commands in the console blocks of a page.

    Commands that are joined by && are separate, and the output belongs to the last of them.
    """
    listed = []
    for language, block in FENCE.findall(text):
        if language != "console":
            continue
        for part in block.split("$ ")[1:]:
            line, *output = part.rstrip("\n").split("\n")
            words = shlex.split(line, comments=True)
            for is_separator, group in itertools.groupby(words, lambda word: word == "&&"):
                if not is_separator:
                    listed.append(Command(list(group), []))
            listed[-1].output.extend(output)
    return listed


def codes(text: str) -> list[str]:
    """The commands and the pieces of code in a page, each as one text."""
    return [*spans(text), *(shlex.join(command.words) for command in commands(text))]


def settings(words: list[str]) -> list[str]:
    """The arguments of the options `-S` in a command."""
    return [argument for option, argument in itertools.pairwise(words) if option == "-S"]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    repetitions: dict[str, int] = {}  # of each anchor so far
    for title in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        repetitions[anchor] = repetitions.get(anchor, -1) + 1
        if repetitions[anchor]:
            repetitions[f"{anchor}-{repetitions[anchor]}"] = 0
    return set(repetitions)


def some_experiments(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of as many of a grid's experiments as it takes to try every value once."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = [
        [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [text]
        for override, text in zip(parsed, overrides, strict=True)
    ]
    longest = max(map(len, values), default=1)
    return [[choices[n % len(choices)] for choices in values] for n in range(longest)]


def relative_links(text: str) -> list[str]:
    """The targets of the links and pictures in a page that are not on the web."""
    return [target for target in LINK.findall(prose(text)) if not re.match(r"[a-z]+:", target)]


def make_commands(text: str) -> list[str]:
    """The calls of make in a page."""
    return [code for code in codes(text) if re.match(r"make( |$)", code)]


def studies(text: str) -> list[str]:
    """The studies that a page has `make study` run."""
    calls = make_commands(text)
    return [name for code in calls for name in re.findall(r"^make study .*\bNAME=(\w+)", code)]


def modules(text: str) -> list[tuple[str, str]]:
    """The project's modules that a page has Python run, each after the program that runs it."""
    pattern = r"(\S*(?:python|torchrun)[\d.]*) .*?-m ([\w.]+)"
    calls = [call for code in codes(text) for call in re.findall(pattern, code)]
    return [(program, module) for program, module in calls if module not in ("pytest", "MODULE")]


def choices(text: str) -> list[tuple[str, str]]:
    """The groups of conf/ that a page sets, each with the choices that it names."""
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    pattern = r"(?:^|[ '])([a-z_]+)=([\w,]+)"
    return [
        (group, names)
        for code in codes(text)
        for group, names in re.findall(pattern, code)
        if group in groups and names != "adm"  # which the page shows as refused
    ]


def keys_of(values: object, prefix: str = "") -> set[str]:
    """The keys of a configuration and, after a dot, those of its groups."""
    if not isinstance(values, dict):
        return set()
    nested = (keys_of(value, f"{prefix}{key}.") for key, value in values.items())
    return {f"{prefix}{key}" for key in values}.union(*nested)


@functools.cache
def known_keys() -> set[str]:
    """The keys of all configurations that conf/ can make."""
    groups = [folder for folder in CONF.iterdir() if folder.is_dir() and folder.name != "study"]
    known = keys_of(read_yaml(CONF / "config.yaml"))
    for path in (path for folder in groups for path in folder.glob("*.yaml")):
        content = path.read_text(encoding="utf-8")
        prefix = "" if "@package _global_" in content else f"{path.parent.name}."
        known |= keys_of(read_yaml(path), prefix)
    return known


def keys(text: str) -> list[str]:
    """The keys of the configuration in a page's sentences, with a dot at least."""
    top_level = {key.partition(".")[0] for key in known_keys()}
    # The key without `: value` or `=value`.
    matches = [re.match(r"[a-z_]+(?:\.\w+)+(?=$|[:=])", code) for code in spans(text)]
    named = [match.group() for match in matches if match]
    return [key for key in named if key.partition(".")[0] in top_level]


def is_refused(command: Command) -> bool:
    """Whether the page shows that the command fails."""
    return any(line.startswith("ERROR: ") for line in command.output)


EXPERIMENTS = [
    command
    for name in NAMES
    for command in commands(text_of(name))
    if command.words[:3] == ["dvc", "exp", "run"]
]


def test_the_pages_show_enough_to_check():
    assert len(PAGES) >= 12
    assert len(EXPERIMENTS) >= 15
    assert sum(map(is_refused, EXPERIMENTS)) == 2


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (relative_links, 65),
        (make_commands, 60),
        (studies, 8),
        (modules, 20),
        (choices, 65),
        (keys, 65),
    ],
)
def test_the_pages_show_enough_of_each_kind(kind, least):
    """A pattern that matched nothing would let everything pass."""
    assert sum(len(kind(text_of(name))) for name in NAMES) >= least


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name):
    broken_links = []
    for target in relative_links(text_of(name)):
        path, _, anchor = target.partition("#")
        page = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        exists = page.is_file() and page.is_relative_to(ROOT)
        if exists and anchor:
            exists = anchor in anchors(page.read_text(encoding="utf-8"))
        if not exists:
            broken_links.append(target)
    assert broken_links == []


def test_the_readme_links_to_every_page():
    linked = {target.partition("#")[0] for target in LINK.findall(text_of("README.md"))}
    assert {name for name in NAMES if name != "README.md"} <= linked


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("group", menu.GROUPS)
def test_the_table_of_a_group_is_the_one_that_the_menu_prints(group):
    text = text_of("docs/experiments.md")
    assert text.count(menu.table(group)) == 1, "copy what `python -m contract.menu` prints"
    assert text.count(f"| `{group}` | description |") == 1


def test_the_table_of_groups_lists_every_choice():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", text_of("docs/experiments.md"), re.M)
    listed = {}
    for groups, descriptions in rows:
        for group in SPAN.findall(groups):
            listed.setdefault(group, set(SPAN.findall(descriptions)))
    for group in ("music", "speech", "runtime", "optimizer", "schedule", "clipping", "spleeter"):
        existing = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert existing <= listed[group], group
    assert listed["svoice"] == listed["spleeter"]


@pytest.mark.parametrize("name", NAMES)
def test_every_target_of_make_exists(name):
    makefile = text_of("Makefile")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\((?:value )?([A-Z_]+)\)", makefile))
    for code in make_commands(text_of(name)):
        target, *settings = shlex.split(code)[1:] or ["help"]
        assert target in targets, code
        assert {setting.partition("=")[0] for setting in settings} <= variables, code


@pytest.mark.parametrize("name", NAMES)
def test_every_study_exists(name):
    for study in studies(text_of(name)):
        assert (CONF / "study" / f"{study}.yaml").is_file(), study


@pytest.mark.parametrize("name", NAMES)
def test_every_module_can_be_run_in_the_environment_that_the_page_names(name):
    for program, module in modules(text_of(name)):
        path = ROOT.joinpath(*module.split("."))
        path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8"), module
        if program.startswith(".venv/"):
            environment = program.split("/")[1]
            trainer = {"svoice": "svoice", "spleeter_mod": "spleeter"}.get(path.parts[-2])
            assert environment in ENVIRONMENTS, program
            assert trainer in (None, environment), module


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_of_a_group_exists(name):
    for group, names in choices(text_of(name)):
        existing = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert set(names.split(",")) <= existing, group


def compose_and_check(overrides: list[str]) -> None:
    """Composes and checks a configuration as DVC does."""
    with initialize_config_dir(str(CONF), version_base=None):
        check(OmegaConf.to_container(compose("config", overrides), resolve=True))


@pytest.mark.parametrize(
    "overrides",
    sorted({tuple(settings(command.words)) for command in EXPERIMENTS if not is_refused(command)}),
    ids=" ".join,
)
def test_every_experiment_can_be_composed(overrides):
    for experiment in some_experiments(overrides):
        compose_and_check(experiment)


def test_every_override_in_a_sentence_can_be_composed():
    overrides = [
        setting
        for name in NAMES
        for code in spans(text_of(name))
        if "-S" in code and "…" not in code and not code.startswith("dvc")
        for setting in settings(shlex.split(code))
    ]
    shown_as_refused = {"optimizer=[adam,sgd]", "~optimizer"}
    assert len(overrides) >= 5
    assert shown_as_refused <= set(overrides)
    for override in set(overrides) - shown_as_refused:
        for experiment in some_experiments([override]):
            compose_and_check(experiment)


COMPOSE = """
import os, sys
from dvc.utils.hydra import compose_and_dump
conf = os.path.abspath("conf")
compose_and_dump(sys.argv[1], conf, None, "config", conf, sys.argv[2:])
"""


@pytest.mark.parametrize(
    "command",
    [command for command in EXPERIMENTS if is_refused(command)],
    ids=lambda command: " ".join(settings(command.words)),
)
def test_a_command_that_is_shown_as_refused_is_refused_in_these_words(command, tmp_path):
    compose = [
        sys.executable,
        "-c",
        COMPOSE,
        tmp_path / "configuration.yaml",
        *settings(command.words),
    ]
    done = forked.run_any(compose, ROOT, os.environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == command.output


def test_the_map_of_the_repository_is_right():
    (block,) = (text for _, text in FENCE.findall(text_of("README.md")) if text.startswith("dvc"))
    listed = set(re.findall(r"^([\w.]+/?)  ", block, re.MULTILINE))
    assert {f"{package}/" for package in FLOORS} <= listed
    in_the_text = {"models/", "results/", "conf/study/", "conf/hydra_plugins/"}
    in_the_text |= {"stages/datasets/", "stages/fetching/", "stages/runtime/", "configuration.yaml"}
    for path in (*listed, *in_the_text):
        assert (ROOT / path).exists(), path
        assert path.rstrip("/").rpartition("/")[2] in block


def test_the_table_of_suites_is_that_of_make():
    rows = re.findall(
        r"^\| `(\w+)` \| `(\.venv/\w+)` \| (.+) \|$",
        text_of("docs/contributing.md"),
        re.MULTILINE,
    )
    listed = [(suite, place, " ".join(SPAN.findall(tests))) for suite, place, tests in rows]
    assert listed == SUITES


def test_the_table_of_targets_is_that_of_make_help():
    with_help = re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE)
    table = re.findall(r"^\| (`make .+?) \|", text_of("docs/contributing.md"), re.MULTILINE)
    listed = {code.removeprefix("make ") for row in table for code in SPAN.findall(row)}
    assert listed == set(with_help) - {"help"}


def test_every_picture_is_small_and_shown():
    shown = {
        ((ROOT / name).parent / target).resolve()
        for name in NAMES
        for target in re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", text_of(name))
    }
    pictures = set(IMAGES.glob("*"))
    assert {path for path in shown if path.is_relative_to(IMAGES)} == pictures
    assert {path.name for path in pictures if path.stat().st_size > LARGEST_IMAGE} == set()


def test_the_table_in_the_readme_is_a_part_of_the_one_in_the_page_about_scores():
    (complete,) = (
        text for _, text in FENCE.findall(text_of("docs/scores.md")) if "SVoice," in text
    )
    (excerpt,) = (text for _, text in FENCE.findall(text_of("README.md")) if "SVoice," in text)
    lines = iter(complete.splitlines())
    for line in excerpt.splitlines():
        # `in` advances the iterator, so that the order is checked as well.
        assert line == "…" or line in lines, line


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_the_configuration_exists(name):
    for key in keys(text_of(name)):
        module = ROOT.joinpath(*key.split(".")).with_suffix(".py")
        assert key in known_keys() or module.is_file(), key
