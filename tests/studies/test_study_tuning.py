"""Tuning by the rules of a study: which trials there are, which is chosen, and what runs then.

The results are made up.
"""

import math

import pandas as pd
import pytest

from contract.errors import InputError
from studies import revisions, tuning
from studies.definition import Study, baseline_name, read_study
from studies.search import dimension, points, read_space, settings_at
from tests.conftest import ROOT
from tests.yaml_files import write_yaml

RULES = {"trials": 3, "seeds": 2, "select": "best_valid_loss"}
CELLS = [{"optimizer": ["adam", "sgd"], "schedule": "step"}]
BOTH = ["spleeter", "svoice"]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def study(cells=CELLS, overrides=(), **rules):
    return Study.model_validate(
        {
            "overrides": list(overrides),
            "cells": cells,
            "baseline": {"optimizer": "adam"},
            "tuning": RULES | rules,
        }
    )


def planned(cells=CELLS, models=BOTH, settings=(), overrides=(), **rules):
    of = study(cells, overrides, **rules)
    return tuning.plan("own", of, of.tuning, models, settings)


def summary(plan, losses, status="completed"):
    """What the report says about the trials.

    Args:
        plan: the trials.
        losses: the validation loss by the model and the name of the experiment, or a pair of it and
            the status.
        status: of the others, whose loss is 5.
    """
    rows = []
    for model in plan.models:
        for experiment in plan.runs.experiments:
            value = losses.get((model, experiment.name), 5.0)
            loss, of_run = value if isinstance(value, tuple) else (value, status)
            run = {"model": model, "experiment": experiment.name, "status": of_run}
            rows.append(run | {"best_valid_loss": loss, "score": 1.0})
    return pd.DataFrame(rows)


def names(experiments):
    return [experiment.name for experiment in experiments]


def test_every_optimizer_gets_the_same_points():
    plan = planned()
    cube = points(3, dimension(), seed=0)
    assert names(plan.runs.experiments) == [
        f"own-{optimizer}-step-trial{trial}" for optimizer in ("adam", "sgd") for trial in range(3)
    ]
    for number, cell in enumerate(plan.cells):
        space = read_space(cell.optimizer)
        of_cell = [trial.settings for trial in plan.trials if trial.cell == number]
        assert of_cell == [settings_at(space, point) for point in cube]


def test_a_trial_has_the_first_seed_and_its_point_for_both_models():
    plan = planned()
    experiment = plan.runs.experiments[0]
    rate, beta2 = plan.trials[0].settings.values()
    assert experiment.overrides == [
        "optimizer=adam",
        "schedule=step",
        "seed=0",
        f"optimizer.spleeter.learning_rate={rate}",
        f"optimizer.spleeter.beta2={beta2}",
        f"optimizer.svoice.lr={rate}",
        f"optimizer.svoice.beta2={beta2}",
    ]
    assert plan.runs.settings[experiment.name] == {
        "optimizer.spleeter.learning_rate": rate,
        "optimizer.spleeter.beta2": beta2,
        "optimizer.svoice.lr": rate,
        "optimizer.svoice.beta2": beta2,
    }


def test_a_study_of_one_model_tunes_only_that():
    plan = planned(models=["svoice"])
    assert not any("spleeter" in text for e in plan.runs.experiments for text in e.overrides)
    trials = tuning.choose(plan, summary(plan, {}))
    assert set(trials["model"]) == {"svoice"}
    assert len(tuning.finals(plan, trials, 2)[0]) == 4


def test_repetitions_have_other_points_and_names():
    plan = planned(repetitions=2)
    assert names(plan.runs.experiments)[6:8] == [
        "own-adam-step-tuning2-trial0",
        "own-adam-step-tuning2-trial1",
    ]
    settings = [tuple(trial.settings.values()) for trial in plan.trials]
    assert len(set(settings)) == len(settings) == 12
    trials = tuning.choose(plan, summary(plan, {}))
    assert trials.groupby(tuning.CHOSEN)["chosen"].sum().tolist() == [1] * 8
    finals, runs = tuning.finals(plan, trials, 1)
    assert names(runs.experiments) == [
        "own-adam-step-seed0",
        "own-sgd-step-seed0",
        "own-adam-step-tuning2-seed0",
        "own-sgd-step-tuning2-seed0",
    ]
    assert [final.repetition for final in finals] == [0, 0, 1, 1]


def test_trials_that_coincide_are_one_experiment(monkeypatch):
    of_cell = iter([0.1, 0.2, 0.1, 0.3, 0.4, 0.5])
    monkeypatch.setattr(tuning.search, "settings_at", lambda *_: {"learning_rate": next(of_cell)})
    plan = planned()
    assert "own-adam-step-trial2" not in names(plan.runs.experiments)
    assert "own-adam-step-trial2" not in plan.runs.settings
    assert [trial.experiment for trial in plan.trials][:3] == [
        "own-adam-step-trial0",
        "own-adam-step-trial1",
        "own-adam-step-trial0",
    ]
    assert len(tuning.choose(plan, summary(plan, {}))) == 12


def test_each_model_has_its_own_best_trial_for_all_seeds():
    plan = planned()
    losses = {("spleeter", "own-adam-step-trial1"): 1.0, ("svoice", "own-adam-step-trial2"): -2.0}
    trials = tuning.choose(plan, summary(plan, losses))
    finals, runs = tuning.finals(plan, trials, 2)
    assert names(runs.experiments) == [
        "own-adam-step-seed0",
        "own-sgd-step-seed0",
        "own-adam-step-seed1",
        "own-sgd-step-seed1",
    ]
    _, spleeter, svoice = (trial.settings for trial in plan.trials[:3])
    for seed, experiment in ((0, runs.experiments[0]), (1, runs.experiments[2])):
        assert experiment.overrides == [
            "optimizer=adam",
            "schedule=step",
            f"seed={seed}",
            f"optimizer.spleeter.learning_rate={spleeter['learning_rate']}",
            f"optimizer.spleeter.beta2={spleeter['beta2']}",
            f"optimizer.svoice.lr={svoice['learning_rate']}",
            f"optimizer.svoice.beta2={svoice['beta2']}",
        ]
    assert [final.seed for final in finals] == [0, 0, 1, 1]
    assert baseline_name("own", plan.study, runs.experiments) == "own-adam-step-seed0"


DIVERGED = "diverged"


@pytest.mark.parametrize(
    ("results", "chosen"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([2.0, 2.0, 2.0], 0),  # the first of the best
        ([(0.5, DIVERGED), 2.0, 3.0], 1),
        ([(math.nan, DIVERGED), (0.5, DIVERGED), 9.0], 2),
        ([(math.nan, DIVERGED), (0.5, DIVERGED), (0.4, DIVERGED)], 2),
        ([(math.nan, DIVERGED), (math.inf, DIVERGED), (None, DIVERGED)], 0),
        ([3.0, (None, "failed"), 2.0], None),
        ([3.0, (None, "missing"), 2.0], None),
    ],
)
def test_which_trial_is_chosen(results, chosen):
    plan = planned()
    losses = {("svoice", f"own-adam-step-trial{i}"): value for i, value in enumerate(results)}
    trials = tuning.choose(plan, summary(plan, losses))
    of_cell = trials[(trials["model"] == "svoice") & (trials["cell"] == 0)]
    assert of_cell.loc[of_cell["chosen"], "trial"].tolist() == ([] if chosen is None else [chosen])
    finals, _ = tuning.finals(plan, trials, 1)
    assert [final.cell for final in finals] == ([1] if chosen is None else [0, 1])


def test_what_the_report_gets():
    plan = planned()
    losses = {("spleeter", "own-adam-step-trial1"): 1.0, ("svoice", "own-adam-step-trial2"): -2.0}
    trials = tuning.choose(plan, summary(plan, losses))
    finals, _ = tuning.finals(plan, trials, 2)
    given = tuning.for_report(plan, trials, finals, 2)
    assert (given.trials_each, given.repetitions, given.seeds) == (3, 1, 2)
    assert given.spaces == {"adam": read_space("adam"), "sgd": read_space("sgd")}
    columns = ["model", "variant", "repetition", "trial", "experiment", "status", "score"]
    columns += ["best_valid_loss", "chosen", "learning_rate", "beta2"]
    assert given.trials.columns.tolist() == columns
    assert len(given.trials) == 12
    chosen = given.trials[given.trials["chosen"]].set_index(["model", "variant"])["trial"]
    assert chosen.to_dict() == {
        ("spleeter", "adam"): 1,
        ("spleeter", "sgd"): 0,
        ("svoice", "adam"): 2,
        ("svoice", "sgd"): 0,
    }
    assert given.trials.loc[given.trials["variant"] == "sgd", "beta2"].isna().all()
    assert given.finals.to_dict("list") == {
        "experiment": [f"own-{name}-step-seed{s}" for s in (0, 1) for name in ("adam", "sgd")],
        "variant": ["adam", "sgd"] * 2,
        "repetition": [0] * 4,
        "seed": [0, 0, 1, 1],
    }


def test_what_is_done_with_another_point_runs_again(monkeypatch):
    """As after more trials, of which another is the best."""
    done = {"a": {"optimizer": {"svoice": {"lr": 0.01}}}, "b": {"optimizer": {"svoice": {}}}}
    monkeypatch.setattr(revisions, "read_file", lambda repo, commit, path: done[commit])
    commits = {name: name for name in done}
    key = "optimizer.svoice.lr"
    assert revisions.outdated(None, commits, {"a": {key: 0.01}, "c": {key: 1.0}}) == {}
    assert revisions.outdated(None, commits, {"a": {key: 0.02}, "b": {key: 0.03}}) == {
        "a": "it is done with optimizer.svoice.lr=0.01, and is now to have 0.02",
        "b": "it is done with optimizer.svoice.lr=None, and is now to have 0.03",
    }


def test_variants_are_named_by_what_distinguishes_the_cells():
    cells = [
        {"optimizer": "adam", "schedule": ["step", "cosine"], "clipping": "norm"},
        {"optimizer": "adam", "schedule": "step", "clipping": "norm", "clipping.max_norm": 1},
    ]
    plan = planned(cells)
    given = tuning.for_report(plan, tuning.choose(plan, summary(plan, {})), [], 1)
    assert list(given.spaces) == [
        "step · clipping.max_norm=5.0",
        "cosine",
        "step · clipping.max_norm=1",
    ]


def test_a_setting_of_all_experiments_may_choose_the_optimizer():
    plan = planned(settings=["optimizer=lion"])
    assert [cell.optimizer for cell in plan.cells] == ["lion"]
    assert names(plan.runs.experiments)[0] == "own-lion-step-trial0"
    assert baseline_name("own", plan.study, plan.runs.experiments, ["optimizer=lion"]) == (
        "own-lion-step-trial0"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cells": [{"schedule": "step"}]},
            "conf/study/own.yaml, cells: the cell {'schedule': 'step'} names no optimizer, and "
            "could not be tuned; add `optimizer` to it, one of the menu",
        ),
        (
            {"cells": [{"optimizer": "adam", "optimizer.svoice.lr": 0.1}]},
            "optimizer.svoice.lr: is set, but a tuned study sets it itself; remove it; "
            "conf/search/adam.yaml says between what it is tuned",
        ),
        (
            {"overrides": ["optimizer.spleeter.beta2=0.9"]},
            "optimizer.spleeter.beta2: is set, but a tuned study sets it itself; remove it; "
            "conf/search/adam.yaml says between what it is tuned",
        ),
        (
            {"settings": ["seed=3"]},
            "seed: is set, but a tuned study sets it itself; use the study's `seed`",
        ),
        ({"settings": ["seed"]}, None),
    ],
)
def test_what_cannot_be_tuned_is_one_line(changes, message):
    with pytest.raises(InputError) as caught:
        planned(**changes)
    if message:
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"trials": 0}, "tuning.trials: found 0, expected a number of at least 1"),
        (
            {"select": "score"},
            "tuning.select: found 'score', expected 'best_valid_loss'",
        ),
        (
            {"budget": 3},
            "tuning.budget: there is no such key here (its value is 3); remove it",
        ),
    ],
)
def test_rules_that_do_not_exist_are_one_line(tmp_path, monkeypatch, rules, message):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "study"
    folder.mkdir(parents=True)
    content = {"overrides": [], "cells": CELLS, "baseline": {}, "tuning": RULES | rules}
    write_yaml(folder / "own.yaml", content)
    with pytest.raises(InputError) as caught:
        read_study("own")
    assert str(caught.value) == f"conf/study/own.yaml, {message}"


@pytest.mark.parametrize(("name", "trials", "runs"), [("tuned_mini", 66, 33), ("tuned_tiny", 4, 4)])
def test_the_size_of_the_tuned_studies(name, trials, runs):
    of = read_study(name)
    plan = tuning.plan(name, of, of.tuning, BOTH)
    assert len(plan.runs.experiments) == trials
    chosen = tuning.choose(plan, summary(plan, {}))
    assert len(tuning.finals(plan, chosen, of.tuning.seeds)[0]) == runs
    assert names(plan.runs.experiments)[0].endswith("-trial0")
