"""Any number of experiments as DVC hands them over, with made-up curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from contract.records import EPOCH_COLUMNS, STEP_COLUMNS
from report.experiments import Experiment
from report.results import ModelResults, Workspace
from report.tuning import Axis, Tuning

RATES = {"adam": 1.0, "nesterov": 0.8, "rmsprop": 0.7, "adagrad": 0.5, "adadelta": 0.3, "sgd": 0.2}


def experiments(root: Path, count: int, steps: int) -> list[Experiment]:
    """Returns `count` experiments: optimizers × schedules × seeds, in that order.

    The seventh diverged.
    """
    empty = Workspace.read(root)
    made_up = []
    for number in range(count):
        optimizer = list(RATES)[number % len(RATES)]
        schedule = ("step", "plateau")[number // len(RATES) % 2]
        seed = number // (2 * len(RATES))
        diverged = number == 6
        params = {
            "seed": seed,
            "optimizer": {"name": optimizer, "svoice": {"lr": 5e-4}},
            "schedule": {"name": schedule},
            "clipping": {"name": "norm", "max_norm": 5.0},
            "speech": {"name": "svoice_debug"},
            "svoice": {"N": 128, "L": 8, "H": 128, "R": 6, "epochs": 20, "batch_size": 4},
        }
        models = {
            model.key: _trained(model, number, RATES[optimizer], steps, diverged)
            for model in empty.models
        }
        name = f"many-{optimizer}-{schedule}-norm-seed{seed}"
        made_up.append(Experiment(name, f"{number:040x}", Workspace(root, params, **models)))
    return made_up


def sweep(root: Path, count: int, steps: int) -> list[Experiment]:
    """Returns `count` experiments of one optimizer, each at another learning rate, from 1e-5 to
    0.1."""
    swept = []
    rates = np.geomspace(1e-5, 0.1, count)
    for experiment, rate in zip(experiments(root, count, steps), rates, strict=True):
        params = experiment.workspace.params | {
            "seed": 0,
            "optimizer": {"name": "adam", "svoice": {"lr": float(f"{rate:.2g}")}},
            "schedule": {"name": "step"},
        }
        name = f"many-adam-lr{rate:.2g}"
        workspace = replace(experiment.workspace, params=params)
        swept.append(replace(experiment, name=name, workspace=workspace))
    return swept


SPACES = {  # what a made-up tuning searches
    "adam": {
        "learning_rate": Axis(1e-4, 1e-1, "log"),
        "beta1": Axis(0.5, 0.99, "one_minus_log"),
    },
    "nesterov": {
        "learning_rate": Axis(1e-3, 1.0, "log"),
        "momentum": Axis(0.8, 0.99, "linear"),
    },
    "sgd": {"learning_rate": Axis(1e-3, 1.0, "log")},
}


def tuned(
    root: Path, seeds: int = 3, repetitions: int = 1, trials: int = 4, steps: int = 100
) -> tuple[list[Experiment], Tuning]:
    """Returns the runs that count of three tuned optimizers, among their trials, and the tuning.

    The first trial of each optimizer has a rate at the lower edge of its space, the last one at the
    upper edge, and diverges. The trial before the last one is chosen.
    """
    empty = Workspace.read(root)
    made_up, rows, finals = [], [], []
    for repetition in range(1, repetitions + 1):
        for optimizer, space in SPACES.items():
            names = [f"many-{optimizer}-tuning{repetition}-trial{t}" for t in range(trials)]
            names += [f"many-{optimizer}-tuning{repetition}-seed{seed}" for seed in range(seeds)]
            for index, name in enumerate(names):
                seed = max(0, index - trials)
                number = 1000 * repetition + 10 * seed + index % 7
                diverged = index == trials - 1
                models = {
                    model.key: _trained(model, number, RATES[optimizer], steps, diverged)
                    for model in empty.models
                }
                params = {
                    "seed": seed,
                    "optimizer": {"name": optimizer, "svoice": {"lr": 0.01 * repetition}},
                    "schedule": {"name": "step"},
                    "clipping": {"name": "norm", "max_norm": 5.0},
                }
                workspace = Workspace(root, params, **models)
                made_up.append(Experiment(name, f"{number:040x}", workspace))
                if index >= trials:
                    finals.append((name, optimizer, repetition, seed))
                    continue
                low, high, _ = space["learning_rate"]
                rows += [
                    {
                        "model": key,
                        "variant": optimizer,
                        "repetition": repetition,
                        "trial": index,
                        "experiment": name,
                        "status": model.train["status"],
                        "score": model.headline,
                        "best_valid_loss": model.train["best_valid_loss"],
                        "chosen": index == trials - 2,
                        "learning_rate": np.geomspace(low, high, trials)[index],
                        "beta1": 0.9 if optimizer == "adam" else np.nan,
                        "momentum": 0.985 if optimizer == "nesterov" else np.nan,
                    }
                    for key, model in models.items()
                ]
    columns = ["experiment", "variant", "repetition", "seed"]
    frames = pd.DataFrame(rows), pd.DataFrame(finals, columns=columns)
    return made_up, Tuning(SPACES, *frames, trials, repetitions, seeds)


def _trained(
    model: ModelResults, number: int, rate: float, steps: int, diverged: bool
) -> ModelResults:
    """Returns the results of a training.

    Args:
        model: without results.
        number: the experiment's, which determines the noise.
        rate: how fast the loss falls.
        steps: how many there are; half as many if the training diverged.
        diverged: whether it did.
    """
    generator = np.random.default_rng(number)
    step = np.arange(1, steps + 1)
    loss = 20 * np.exp(-rate * step / steps) - 5 + generator.normal(0, 0.5, steps)
    if diverged:
        step, loss = step[: steps // 2], loss[: steps // 2]
        loss[-1] = np.nan
    curves = {
        "step": step,
        "epoch": step * 20 // steps + 1,
        "loss": loss,
        "learning_rate": 5e-4 * 0.98 ** (step * 20 // steps),
        "gradient_norm": np.exp(generator.normal(1, 1, len(step))),
        "seconds": 0.3 + 0.1 * generator.random(len(step)),
    }
    validated = step[steps // 20 - 1 :: steps // 20]
    valid_loss = loss[validated - 1] + 1
    epochs = {
        "epoch": np.arange(1, len(validated) + 1),
        "step": validated,
        "train_loss": loss[validated - 1],
        "valid_loss": valid_loss,
        "best_valid_loss": np.fmin.accumulate(valid_loss),
    }
    best = float(np.nanmin(valid_loss))
    train = {
        "status": "diverged" if diverged else "completed",
        "steps": len(step),
        "best_valid_loss": best,
        "final_loss": None if diverged else float(loss[-1]),
        "seconds_per_step": 0.35,
        "optimizer_bytes": 8000 if rate > 0.5 else 0,
        "parameters": 1000,
    }
    aggregate = {"SDR": {"mean": -best}, "si_snr_improvement": -best}
    return replace(
        model,
        train=train,
        steps=pd.DataFrame(curves, columns=STEP_COLUMNS),
        epochs=pd.DataFrame(epochs, columns=EPOCH_COLUMNS),
        aggregate=aggregate,
    )
