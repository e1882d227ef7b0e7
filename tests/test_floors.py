"""Every package imports only the packages and libraries that it may import, and takes the names of
files from the contract."""

import ast
import sys

import pytest

from contract import layout
from tests.conftest import ROOT
from tests.imports import imports, python_files

# Each package, and the packages of the project that it may import besides itself.
FLOORS = {
    "contract": set(),
    "svoice": {"contract"},
    "spleeter_mod": {"contract"},
    "metrics": {"contract"},
    "report": {"metrics", "contract"},
    "stages": {"report", "metrics", "contract"},
    "studies": {"stages", "report", "metrics", "contract"},
}
# Libraries that are not in all environments, and the packages that may import them.
LIBRARIES = {
    "torch": {"svoice"},
    "tensorflow": {"spleeter_mod"},
    "spleeter": {"spleeter_mod"},
    "dvc": {"studies", "stages"},
    "docker": {"stages"},
    "pydantic": {"contract", "stages", "studies"},
    "plotly": {"report"},
}


def imported(package: str) -> dict[str, set[str]]:
    """The top-level packages that each module of a package imports."""
    paths = python_files(package)
    assert paths, package
    return {
        str(path.relative_to(ROOT)): {name.partition(".")[0] for name in imports(path)}
        for path in paths
    }


def test_the_floors_are_all_packages():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(FLOORS)


@pytest.mark.parametrize("package", FLOORS)
def test_a_package_imports_only_those_below_it(package):
    allowed = {package, *FLOORS[package]}
    ours = {*FLOORS, "tests", "benchmarks", "conf"}
    wrong_imports = {
        module: wrong
        for module, names in imported(package).items()
        if (wrong := (names & ours) - allowed)
    }
    assert wrong_imports == {}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_it_is_installed(library):
    importers = {
        package for package in FLOORS for names in imported(package).values() if library in names
    }
    assert importers <= LIBRARIES[library]
    assert importers, f"nothing imports {library}"


def test_the_contract_needs_no_framework():
    """It runs in all three environments. Only the models of configuration.yaml need pydantic, and
    only what writes events for TensorBoard needs TensorBoard, which both trainers have."""
    others = {
        module: names - sys.stdlib_module_names - {"contract", "ruamel"}
        for module, names in imported("contract").items()
    }
    assert {module: names for module, names in others.items() if names} == {
        "contract/events.py": {"tensorboard"},
        "contract/params.py": {"pydantic"},
    }


def test_the_scores_stand_by_themselves():
    """They are installed as the package separation_scores, too. What they share is imported by a
    relative name, which is right under either name."""
    libraries = {"numpy", "pandas", "scipy", "soundfile", "threadpoolctl", "tqdm"}
    wrong_imports, other_libraries = {}, {}
    for path in python_files("metrics/core"):
        absolute = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
            for name in (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
        }
        module = str(path.relative_to(ROOT))
        tops = {name.partition(".")[0] for name in absolute}
        if others := tops - libraries - sys.stdlib_module_names:
            other_libraries[module] = others
        ours = {name for name in imports(path) if name.partition(".")[0] in FLOORS}
        if wrong := {name for name in ours if not f"{name}.".startswith("metrics.core.")}:
            wrong_imports[module] = wrong
    assert wrong_imports == {}
    # The tool that reads MUSDB, which those have who call this command.
    assert other_libraries == {"metrics/core/museval/cli.py": {"musdb"}}


def test_only_the_scores_have_relative_imports():
    relative = {
        path.parent
        for package in FLOORS
        for path in python_files(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    }
    core = ROOT / "metrics" / "core"
    assert {folder for folder in relative if not folder.is_relative_to(core)} == set()


def test_what_stages_share_imports_no_stage():
    stages = {f"stages.{path.stem}" for path in (ROOT / "stages").glob("[!_]*.py")}
    assert len(stages) > 10
    wrong_imports = {
        str(path.relative_to(ROOT)): wrong
        for folder in ("datasets", "fetching", "runtime")
        for path in sorted((ROOT / "stages" / folder).glob("*.py"))
        if (wrong := stages & set(imports(path)))
    }
    assert wrong_imports == {}


# Modules below studies/ that need more of DVC than its public `dvc.api`, and what for.
PRIVATE_DVC = {
    "stages/run.py": "puts back the outputs that DVC removed: `dvc checkout` leaves out those that "
    "are kept in git, and fails while another command has the repository's lock",
}


def test_below_studies_only_the_public_interface_of_dvc_is_imported():
    private = {
        str(path.relative_to(ROOT))
        for package in set(FLOORS) - {"studies"}
        for path in python_files(package)
        for name in imports(path)
        if name.split(".")[0] in ("dvc", "dvc_data", "dvc_objects", "dvc_task", "scmrepo")
        and not f"{name}.".startswith("dvc.api.")
    }
    assert private == set(PRIVATE_DVC)


def test_only_studies_import_dvcs_experiments():
    importers = {
        package
        for package in FLOORS
        for path in python_files(package)
        if any(name.startswith("dvc.repo.experiments") for name in imports(path))
    }
    assert importers == {"studies"}


NAMES = {
    *(layout.CONF.name, layout.CONFIGURATION.name, layout.PIPELINE.name, layout.LOCK.name),
    *(layout.REPORT.name, layout.SVOICE_MODEL.name, layout.SCRATCH),
    *(layout.MUSEVAL, layout.ENVIRONMENT, layout.SCORES, layout.HEADLINES),
    *layout.RECORDS,
    *map(layout.list_file, ("train", "valid", "test")),
}


@pytest.mark.parametrize("package", [*sorted(set(FLOORS) - {"contract"}), "conf"])
def test_the_names_of_files_are_in_the_contract(package):
    """Docstrings, help texts and messages, which have spaces, may name them as well. What is
    installed by itself has no contract."""
    literals = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in python_files(package)
        if not path.is_relative_to(ROOT / "metrics" / "core")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and not NAMES.isdisjoint(node.value.split("/"))
    ]
    assert literals == []
