"""The results in docs/ are what their data give today, by the statistics of the report."""

import pandas as pd
import pytest

from contract.models import MODELS
from report import papers, ranking
from report.markup import section
from tests.conftest import ROOT

RESULTS = ROOT / "docs" / "results"
BASELINE = " (baseline)"
STUDIES = sorted(folder.name for folder in RESULTS.iterdir() if folder.is_dir())


def ranking_of(runs: pd.DataFrame, baseline: str, folder) -> list[str]:
    """The tables of the ranking of each model, in Markdown."""
    page = section("which", "Which?", *ranking.render(runs, baseline))
    papers.write(page, folder)
    parts = (folder / papers.MARKDOWN).read_text(encoding="utf-8").split("\n\n")
    return [part.strip() for part in parts if part.startswith("| variant | n |")]


@pytest.mark.parametrize("study", STUDIES)
def test_the_tables_are_those_of_the_runs(tmp_path, study):
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    paths = sorted((RESULTS / study).glob("*_runs.csv"))
    assert {path.name.removesuffix("_runs.csv") for path in paths} <= set(MODELS)
    runs = pd.concat(map(pd.read_csv, paths), ignore_index=True)
    (published,) = (RESULTS / study).glob(papers.MARKDOWN)
    marked = [line for line in published.read_text().splitlines() if BASELINE in line]
    (baseline,) = {
        line.split(" | ")[0].removeprefix("| ").removesuffix(BASELINE) for line in marked
    }
    tables = ranking_of(runs, baseline, tmp_path / "tables")
    assert len(tables) == len(paths)
    for table in tables:
        assert table in text


@pytest.mark.parametrize("study", STUDIES)
def test_every_variant_had_the_same_number_of_trials_and_of_seeds(study):
    trials = pd.read_csv(RESULTS / study / "tuning_trials.csv")
    assert set(trials.groupby(["model", "variant"]).size()) == {6}
    for path in (RESULTS / study).glob("*_runs.csv"):
        runs = pd.read_csv(path)
        seeds = runs.groupby("variant")["seed"].agg(lambda column: tuple(sorted(column)))
        assert len(set(seeds)) == 1 and len(seeds) == trials["variant"].nunique()
