"""What docs/sharing.md shows works: results reach a colleague without a folder that both see.

Only the remotes are common: a bare repository for Git, and a folder for DVC. The commands of DVC
are the page's own, with the tiny sizes. The tests run in this order: each continues from the one
before.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.conftest import OVERRIDES, Repository
from tests.pipeline.test_pipeline import read_table
from tests.test_docs import FENCE, Command, commands, text_of
from tests.yaml_files import read_yaml

PAGE = "docs/sharing.md"


def blocks() -> list[list[Command]]:
    """The commands of each console block of the page."""
    blocks = [match.group() for match in FENCE.finditer(text_of(PAGE))]
    return [commands(block) for block in blocks]


def run_dvc(repository: Repository, block: list[Command], store: Path) -> dict[str, str]:
    """Runs the DVC commands of a block of the page, which must succeed.

    An experiment gets the tiny sizes, and trains SVoice only.

    Args:
        repository: where they run.
        block: of the page.
        store: the folder that is DVC's remote.

    Returns:
        What each command printed, by the command as the page shows it.
    """
    printed = {}
    for command in block:
        if command.words[0] != "dvc":
            continue
        words = [str(store) if word == "/path/to/store" else word for word in command.words]
        if words[1:3] == ["exp", "run"]:
            words += [part for override in OVERRIDES for part in ("-S", override)]
            words.append("summarise_svoice")
        printed[" ".join(command.words)] = repository(*words).stdout
    return printed


def files(repository: Repository) -> dict[str, bytes]:
    """The contents of what SVoice has left in the workspace, by path."""
    return {
        str(path.relative_to(repository.root)): path.read_bytes()
        for folder in ("models/svoice", "results/svoice")
        for path in sorted((repository.root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def remotes(repository: Repository) -> Path:
    """The folder of both remotes, `hub.git` and `store`; the first is the repository's `origin`."""
    folder = repository.root.parent / "remotes"
    hub = folder / "hub.git"
    repository("git", "init", "-q", "--bare", str(hub))
    repository("git", "remote", "add", "origin", hub.as_uri())
    return folder


@pytest.fixture(scope="module")
def colleague(repository: Repository, remotes: Path, tmp_path_factory) -> Repository:
    """A clone of what was pushed, which has nothing but the remotes in common with the first."""
    branch = repository("git", "branch", "--show-current").stdout.strip()
    repository("git", "push", "-q", "origin", branch)
    clone = tmp_path_factory.mktemp("colleague") / "clone"
    hub = remotes / "hub.git"
    subprocess.run(["git", "clone", "-q", "-b", branch, hub.as_uri(), clone], check=True)
    (clone / ".venv").symlink_to(Path(sys.prefix).parent)
    return Repository(clone)


def test_a_colleague_pulls_an_experiment_and_compares_it(repository, remotes, colleague):
    give, take = blocks()[:2]
    run_dvc(repository, give, remotes / "store")
    printed = run_dvc(colleague, take, remotes / "store")
    assert "sgd" in printed["dvc exp show"]
    assert "results/svoice" in printed["dvc pull"]
    plots = (colleague.root / "dvc_plots" / "index.html").read_text()
    assert '"rev": "sgd"' in plots and '"rev": "HEAD"' in plots
    assert len(files(colleague)) >= 10
    assert files(colleague) == files(repository)

    (report,) = (command.words for command in take if command.words[:2] == ["make", "report"])
    (revisions,) = (word.removeprefix("REVS=") for word in report if word.startswith("REVS="))
    module = [sys.executable, "-m", "studies.report", *revisions.split()]
    assert "reports/comparison.html: 2 experiments\n" in colleague(*module).stdout
    page = (colleague.root / "reports/comparison.html").read_text()
    train = json.loads((repository.root / "results/svoice/train.json").read_text())
    assert f"{train['best_valid_loss']:.2f}" in page


def test_results_are_pushed_without_the_data_sets(repository, colleague, remotes):
    store = remotes / "results"
    repository("dvc", "remote", "add", "--local", "--default", "--force", "store", str(store))
    run_dvc(repository, blocks()[2], store)

    outputs = {
        output["path"]: store / "files" / "md5" / output["md5"][:2] / output["md5"][2:]
        for stage in read_yaml(repository.root / "dvc.lock")["stages"].values()
        for output in stage["outs"]
    }
    stored = {path for path, file in outputs.items() if file.exists()}
    assert {"models/svoice", "models/spleeter", "results/svoice/estimates"} <= stored
    assert {"data/music", "data/speech/mixtures", "data/csv/speech/test.csv"} <= {*outputs} - stored

    shutil.rmtree(colleague.root / ".dvc" / "cache")
    colleague("dvc", "remote", "modify", "--local", "store", "url", str(store))
    colleague("dvc", "exp", "pull", "--no-cache", "--force", "origin", "sgd")
    plots = json.loads(colleague("dvc", "plots", "diff", "sgd", "--json").stdout)["data"]
    (losses,) = plots["SVoice: validation loss"]
    points = losses["content"]["data"]["values"]
    pulled = [float(point["valid_loss"]) for point in points if point["rev"] == "sgd"]
    epochs = read_table(repository.root / "results/svoice/epochs.csv")
    assert pulled == list(epochs.valid_loss)
