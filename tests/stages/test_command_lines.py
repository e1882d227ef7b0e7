"""What can be run in the pipeline's environment helps when asked, and refuses what it does not
know."""

import subprocess
import sys

import pytest

from tests.command_lines import check, first_line, runnable
from tests.stages.workspaces import environment

PACKAGES = ("contract", "stages", "metrics", "report", "studies", "benchmarks", "tests")


@pytest.mark.parametrize("module", runnable(*PACKAGES))
def test_every_module_helps_and_refuses(module, tmp_path):
    check(module, tmp_path, first_line(module))


def test_the_stages_of_the_pipeline_are_among_them():
    expected = {
        "contract.menu",
        "stages.evaluate_spleeter",
        "stages.launch",
        "report.table",
        "studies.report",
    }
    assert expected <= {*runnable(*PACKAGES)}


@pytest.mark.parametrize("module", ["contract.menu", "stages.report", "report.table"])
def test_a_module_without_arguments_takes_none(module, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", module, "now"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    line = f"ERROR: python -m {module}: unrecognized arguments: now; --help lists the options\n"
    assert done.stderr == line


def test_an_unknown_option_is_named_before_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "stages.launch", "spleeter", "--seeds=3"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "unrecognized arguments: --seeds=3;" in done.stderr
