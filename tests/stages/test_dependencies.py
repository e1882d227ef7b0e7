"""dvc.yaml names the code that each stage runs: what it imports, and nothing else."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports import imports, python_files
from tests.yaml_files import read_yaml

PACKAGES = ("contract", "metrics", "report", "spleeter_mod", "stages", "studies", "svoice")
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
LAUNCHED = {"spleeter": "spleeter_mod", "svoice": "svoice"}

# Modules that no stage depends on, although it runs them: they cannot change an output.
LEFT_OUT = {
    "stages/__init__.py": "refuses a Python that is not the pipeline's",
    "spleeter_mod/__init__.py": "sets how much TensorFlow logs",
    "svoice/__init__.py": "sets how threads wait and how memory is freed",
    "contract/layout.py": "names the files and folders that dvc.yaml names, too",
    "contract/params.py": "checks values; the values themselves are parameters of the stages",
    "stages/run.py": "reports errors and puts back what was there before",
    "contract/files.py": "writes files whole; how JSON is indented changes no result",
    "contract/locks.py": "makes processes wait for each other",
    "contract/termination.py": "ends a training early; it goes on as if it had not ended",
    "stages/fetching/progress.py": "shows progress",
    "stages/runtime/engine.py": "connects to the Docker engine or podman",
    "stages/runtime/podman.py": "connects to podman",
    "stages/fetching/download.py": "what was downloaded is verified by its checksum",
    "stages/fetching/small_files.py": "what was downloaded is verified by its checksum",
    "stages/fetching/checksums.py": "reads checksums",
    "stages/fetching/unpack.py": "unpacks archives; their contents are the same whoever does it",
    "metrics/core/progress.py": "shows progress",
    "contract/names.py": "refuses names; those that it lets through stay as they are",
    "contract/wav_length.py": "refuses files; those that it lets through stay as they are",
    "contract/yaml_files.py": "reads YAML as DVC does",
    "metrics/core/__init__.py": "names what the package offers",
    "metrics/core/cores.py": "the outputs are the same on any number of cores",
    "metrics/core/errors.py": "has the words of errors",
    "metrics/core/workers.py": "the outputs are the same on any number of cores",
    "metrics/workers.py": "the outputs are the same on any number of cores",
    "contract/errors.py": "has the words of errors",
    "contract/arguments.py": "reads the command line",
    "contract/menu.py": "checks settings; the settings themselves are parameters of the stages",
    "contract/composed.py": "reads settings, which are parameters of the stages",
    "contract/model_settings.py": "checks settings, which are parameters of the stages",
    "contract/ranges.py": "checks settings; the settings themselves are parameters of the stages",
    "contract/libraries.py": "finds libraries, and says which are missing",
    "spleeter_mod/libraries.py": "says which libraries are missing",
    "svoice/standalone.py": "the command line without DVC",
}
# Where such a module can change an output after all, and what it then determines.
EXCEPTIONS = {"report": {"contract/menu.py": "the colours of the optimizers"}}
# Folders of code that a stage depends on as a whole.
WHOLE = {
    "report": "its style sheet, its script and the published numbers count, too",
}


def modules(stage: str) -> list[str]:
    """The modules that a stage's commands run."""
    commands = STAGES[stage]["cmd"]
    names = []
    for command in [commands] if isinstance(commands, str) else commands:
        python, option, module, *arguments = command.split()
        assert (python, option) == ("python", "-m")
        if module == "stages.launch":
            # How a trainer is launched must not change what it learns: that is tested elsewhere.
            model, verb = arguments
            module = f"{LAUNCHED[model]}.{verb}"
        names.append(module)
    return names


def holds_code(path: Path) -> bool:
    """Whether there is more in a file than its docstring."""
    body = ast.parse(path.read_text()).body
    return len(body) > 1


def left_out(stage: str) -> set[str]:
    """The modules on which a stage does not depend, although it runs them."""
    return LEFT_OUT.keys() - EXCEPTIONS.get(stage, {}).keys()


def reached(names: list[str], left_out: set[str]) -> set[str]:
    """The files of this project that are loaded when the modules `names` run.

    Args:
        names: of modules.
        left_out: files that are passed over, with what they import.
    """
    files, waiting = set(), list(names)
    while waiting:
        parts = waiting.pop().split(".")
        if parts[0] not in PACKAGES:
            continue
        waiting += [".".join(parts[:length]) for length in range(1, len(parts))]
        path = ROOT.joinpath(*parts)
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        name = str(path.relative_to(ROOT))
        if not path.is_file() or name in files or name in left_out:
            continue
        files.add(name)
        waiting += imports(path)
    return {name for name in files if holds_code(ROOT / name)}


def inside(name: str, folders) -> bool:
    return any(name.startswith(f"{folder}/") for folder in folders)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage):
    dependencies = STAGES[stage]["deps"]
    runs = reached(modules(stage), left_out(stage))
    listed = {name for name in dependencies if name.endswith(".py")}
    folders = [name for name in dependencies if list((ROOT / name).glob("*.py"))]
    assert {name for name in runs - listed if not inside(name, folders)} == set()
    assert listed - runs == set(), "a change of these would run the stage again for nothing"
    assert set(folders) <= set(WHOLE)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_each_dependency_once(stage):
    dependencies = STAGES[stage]["deps"]
    assert len(dependencies) == len(set(dependencies))
    assert [name for name in dependencies if inside(name, dependencies)] == []


def test_yaml_is_read_by_one_library():
    """PyYAML, which other packages bring along, takes `1e-3` for a text; DVC does not."""
    files = [
        path
        for folder in (*PACKAGES, "conf", "tests", "benchmarks")
        for path in python_files(folder)
    ]
    assert len(files) > 200
    assert [path for path in files if "yaml" in imports(path)] == []


def test_what_is_left_out_is_there():
    assert [name for name in LEFT_OUT if not (ROOT / name).is_file()] == []
    for stage, exceptions in EXCEPTIONS.items():
        assert exceptions.keys() <= LEFT_OUT.keys()
        assert exceptions.keys() <= reached(modules(stage), left_out(stage))


def test_no_stage_depends_on_a_part_of_an_output():
    """DVC would look the part up in the committed dvc.lock, whose folders a clone may not have."""
    outputs = [
        next(iter(output)) if isinstance(output, dict) else output
        for stage in STAGES.values()
        for output in stage.get("outs", []) + stage.get("metrics", [])
    ]
    parts = [
        f"{stage}: {name}"
        for stage, content in STAGES.items()
        for name in content["deps"]
        if inside(name, outputs)
    ]
    assert parts == []
