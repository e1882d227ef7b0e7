"""What a forked command has from the process that it was forked from, in each environment."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests import forked
from tests.forked import PACKAGES, ROOT

INSTALLED = {package: library for package, library in PACKAGES.items() if find_spec(library)}

# Runs in a folder that is not the repository, and does not pass the repository on in PYTHONPATH.
# It prints what is in a forked process before that becomes a command.
PRELOADED = """
import multiprocessing, os, sys
sys.path.insert(0, sys.argv[1])
from tests import forked
assert forked.run(["-c", ""], ".", os.environ).returncode == 0
assert os.getcwd() != sys.argv[1] and "PYTHONPATH" not in os.environ
code = "import sys; print(*sys.modules)"
process = multiprocessing.get_context("forkserver").Process(target=exec, args=(code,))
process.start()
process.join()
"""


def test_libraries_are_imported_before_a_command_wherever_the_tests_run(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, "-c", PRELOADED, str(ROOT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    modules = finished.stdout.split()
    assert "numpy" in modules
    for package, library in INSTALLED.items():
        assert modules.index(package) < modules.index(library)


@pytest.mark.parametrize("package", [*INSTALLED, "contract"])
def test_a_package_sets_the_environment_variables_that_it_sets_in_a_new_process(package, tmp_path):
    code = f"import json, os, {package}; print(json.dumps(dict(os.environ)))"
    environment = {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True
    )
    expected = json.loads(finished.stdout)
    assert len(expected) > len(environment) or package == "contract"
    assert json.loads(forked.run(["-c", code], tmp_path, environment).stdout) == expected


SHOW = """
import json, os, sys
print(json.dumps([__name__, sys.argv, os.path.abspath(sys.path[0])]))
print("an error", file=sys.stderr)
sys.exit(3)
"""


@pytest.mark.parametrize(
    "arguments", [["-c", SHOW], ["-m", "shown"], ["scripts/shown.py"]], ids=lambda given: given[0]
)
def test_a_command_has_the_arguments_and_the_first_folder_of_a_new_process(arguments, tmp_path):
    (tmp_path / "scripts").mkdir()
    for folder in (tmp_path, tmp_path / "scripts"):
        (folder / "shown.py").write_text(SHOW)
    command = [sys.executable, *arguments, "--option", "x"]
    expected = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    done = forked.run(command[1:], tmp_path, os.environ)
    for name in ("returncode", "stdout", "stderr"):
        assert getattr(done, name) == getattr(expected, name), name
    joined = forked.run(command[1:], tmp_path, os.environ, joined=True)
    assert (sorted(joined.stdout.splitlines()), joined.stderr) == (
        sorted((expected.stdout + expected.stderr).splitlines()),
        "",
    )
