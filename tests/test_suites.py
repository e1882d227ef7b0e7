"""The suites of `make test` run every test, and skip none of them in CI because something is
missing."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT, shell_environment

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# The name of each suite, the environment that it runs in, and the arguments of pytest.
SUITES = re.findall(r"^TESTS_(\w+) := (\S+) (.+)$", MAKEFILE, re.MULTILINE)


def files_with_tests(arguments: str) -> list[Path]:
    """The files with tests that pytest finds.

    Args:
        arguments: the arguments of pytest: files and folders, and `--ignore PATH`.
    """
    paths, ignored = [], []
    words = iter(shlex.split(arguments))
    for word in words:
        if word == "--ignore":
            ignored.append(ROOT / next(words))
        else:
            assert not word.startswith("-"), word
            assert (ROOT / word).exists(), word
            paths.append(ROOT / word)
    listed = [
        file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))
    ]
    return [file for file in listed if not any(file.is_relative_to(path) for path in ignored)]


def test_make_runs_all_suites():
    (names,) = re.findall(r"^SUITES := (.+)$", MAKEFILE, re.MULTILINE)
    assert sorted(names.split()) == sorted(name for name, _, _ in SUITES)


def test_make_has_one_recipe_for_each_target():
    done = subprocess.run(
        ["make", "--dry-run", "help"],
        cwd=ROOT,
        env=shell_environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_test_is_in_one_suite_of_its_environment():
    environments = {path: [] for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(environments) > 100
    for _, environment, arguments in SUITES:
        for path in files_with_tests(arguments):
            environments[path].append(environment)
    wrong = {
        str(path.relative_to(ROOT)): of_path
        for path, of_path in environments.items()
        if not of_path or len(of_path) > len(set(of_path))
    }
    assert wrong == {}


def test_no_two_files_of_tests_have_the_same_name():
    """pytest imports them by their names, and refuses the second of a name."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


SKIPS = """
import pytest

def test_that_needs_something():
    pytest.skip("needs x")

def test_of_something_else():
    pytest.skip("does not concern y")
"""


@pytest.mark.parametrize("ci", [None, "true"])
def test_what_is_missing_is_reported_and_fails_in_ci(tmp_path, ci):
    (tmp_path / "test_skips.py").write_text(SKIPS)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    if ci:
        environment["CI"] = ci
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path / "test_skips.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert re.search(r"^SKIPPED .+: does not concern y$", finished.stdout, re.MULTILINE)
    if ci:
        assert finished.returncode == 1
        assert "In CI it is missing: needs x" in finished.stdout
        assert "1 failed, 1 skipped" in finished.stdout
    else:
        assert finished.returncode == 0
        assert re.search(r"^SKIPPED .+: needs x$", finished.stdout, re.MULTILINE)
        assert "2 skipped" in finished.stdout
