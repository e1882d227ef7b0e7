"""The scores as a package of their own, installed where nothing else of the project is."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import metrics.core
from tests.conftest import IN_CI, ROOT

PACKAGE = ROOT / "metrics"
# Run in an empty folder.
SCRIPT = """
import importlib.metadata
import sys
import numpy as np
import separation_scores
from separation_scores import museval
for name in separation_scores.__all__:
    assert getattr(separation_scores, name) is not None, name
for module in ("contract", "metrics", "museval", "dvc"):
    assert module not in sys.modules, module
assert importlib.metadata.version("separation-scores") == separation_scores.__version__
rng = np.random.default_rng(0)
references = rng.standard_normal((2, 8000, 2))
estimates = references + 0.1 * references[::-1]
scores = separation_scores.bss_eval(references, estimates, 8000, 0.5, 0.5)
ratios = museval.evaluate(references, estimates, 4000, 4000)
for name, values in zip(("SDR", "ISR", "SIR", "SAR"), ratios):
    assert values.shape == (2, 2)
    np.testing.assert_allclose(values, getattr(scores, name))
assert np.allclose(scores.SDR, 20, atol=0.5)
assert abs(separation_scores.sdr(references[0, :, 0], estimates[:1, :, 0]) - 20) < 1
assert abs(separation_scores.si_snr(references[0, :, 0], estimates[0, :, 0]) - 20) < 1
print(separation_scores.__file__)
"""


def run(*command, folder, **environment):
    """Runs a command in a folder and returns what it prints, without the project's modules."""
    shell = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        list(map(str, command)), cwd=folder, env=shell | environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_all_that_the_package_offers_is_there():
    assert metrics.core.__all__ == sorted(metrics.core.__all__, key=str)
    assert [name for name in metrics.core.__all__ if not hasattr(metrics.core, name)] == []
    documented = set(re.findall(r"`(\w+)`", metrics.core.__doc__))
    undocumented = set(metrics.core.__all__) - documented
    assert undocumented == {"BssEval", "Measures", "SpeakerScores", "__version__"}


def test_every_module_is_in_the_distribution():
    project = (PACKAGE / "pyproject.toml").read_text()
    (packages,) = re.findall(r"^packages = (\[.*\])$", project, re.MULTILINE)
    folders = {path.parent for path in (PACKAGE / "core").rglob("*.py")}
    names = {
        ".".join(("separation_scores", *folder.relative_to(PACKAGE / "core").parts))
        for folder in folders
    }
    assert set(ast.literal_eval(packages)) == names


@pytest.mark.skipif(not IN_CI, reason="CI installs it: that takes a minute and the web")
@pytest.mark.slow
def test_the_package_works_by_itself(tmp_path):
    """A wheel, in a new environment that has nothing but its dependencies."""
    source = tmp_path / "metrics"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, folder=tmp_path)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, source, folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert "separation_scores/py.typed" in files
    (licence,) = (name for name in files if name.endswith("LICENSE"))
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()
    run(python, "-m", "pip", "install", wheel, folder=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    where = Path(run(python, "-c", SCRIPT, folder=empty).strip())
    assert where.is_relative_to(environment)

    # museval's own tests that need no data, with nothing but the import changed.
    run(python, "-m", "pip", "install", "pytest", folder=tmp_path)
    arguments = ("download", "--no-binary", "museval", "--no-deps", "museval==0.4.1")
    run(python, "-m", "pip", *arguments, folder=tmp_path)
    with tarfile.open(tmp_path / "museval-0.4.1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    for name in ("test_bsseval.py", "test_museval.py"):
        text = (tmp_path / "museval-0.4.1" / "tests" / name).read_text()
        text = text.replace("import museval.metrics", "import separation_scores.museval.metrics")
        text = re.sub("^import museval$", "from separation_scores import museval", text, flags=re.M)
        (empty / name).write_text(text)
    assert "18 passed" in run(python, "-m", "pytest", "-q", folder=empty)
