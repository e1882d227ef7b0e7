"""The house: who may import whom."""

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports import imports

# Each package and what of the project it may import, besides itself.
FLOORS = {
    "contract": set(),
    "svoice": {"contract"},
    "spleeter_mod": {"contract"},
    "metrics": {"contract"},
    "report": {"metrics", "contract"},
    "stages": {"report", "metrics", "contract"},
    "studies": {"stages", "report", "metrics", "contract"},
}
# What only some environments have: who may import it.
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
    """Of each module of a package, the top-level packages that it imports."""
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths, package
    return {
        str(path.relative_to(ROOT)): {name.partition(".")[0] for name in imports(path)}
        for path in paths
    }


def test_every_package_has_its_floor():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(FLOORS)


@pytest.mark.parametrize("package", FLOORS)
def test_a_part_imports_only_what_is_below_it(package):
    allowed = {package, *FLOORS[package]}
    wrong = {
        module: above
        for module, names in imported(package).items()
        if (above := {name for name in names if name in FLOORS} - allowed)
    }
    assert wrong == {}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_where_it_is_installed(library):
    importing = {
        package for package in FLOORS for names in imported(package).values() if library in names
    }
    assert importing <= LIBRARIES[library]
    assert importing, f"nothing imports {library}"


def test_the_contract_needs_no_framework():
    """It runs in all three environments; only the models of params.yaml need pydantic."""
    outside = {
        module: names - sys.stdlib_module_names - {"contract", "ruamel"}
        for module, names in imported("contract").items()
    }
    assert {module: names for module, names in outside.items() if names} == {
        "contract/params.py": {"pydantic"}
    }


def test_only_studies_touch_dvcs_private_classes():
    private = {
        str(path.relative_to(ROOT)): names
        for package in FLOORS
        for path in (ROOT / package).rglob("*.py")
        if (names := {name for name in imports(path) if name.startswith("dvc.repo.experiments")})
    }
    assert {Path(module).parts[0] for module in private} <= {"studies"}
