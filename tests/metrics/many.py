"""Experiments as DVC would hand them over, as many as one likes: curves of runs that never were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from metrics.experiments import Experiment
from metrics.report.results import Workspace

RATES = {"adam": 1.0, "nesterov": 0.8, "rmsprop": 0.7, "adagrad": 0.5, "adadelta": 0.3, "sgd": 0.2}


def experiments(root: Path, count: int, steps: int) -> list[Experiment]:
    """`count` experiments: optimizers × schedules × seeds, in that order. The seventh diverged."""
    empty = Workspace.read(root)
    found = []
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
        found.append(Experiment(name, f"{number:040x}", Workspace(root, params, **models)))
    return found


def sweep(root: Path, count: int, steps: int) -> list[Experiment]:
    """`count` experiments of one optimizer, each at another learning rate, from 1e-5 to 0.1."""
    found = []
    for each, rate in zip(
        experiments(root, count, steps), np.geomspace(1e-5, 0.1, count), strict=True
    ):
        params = each.workspace.params | {
            "seed": 0,
            "optimizer": {"name": "adam", "svoice": {"lr": float(f"{rate:.2g}")}},
            "schedule": {"name": "step"},
        }
        name = f"many-adam-lr{rate:.2g}"
        found.append(replace(each, name=name, workspace=replace(each.workspace, params=params)))
    return found


def _trained(model, number, rate, steps, diverged):
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
    at = step[steps // 20 - 1 :: steps // 20]
    valid = loss[at - 1] + 1
    epochs = {
        "epoch": np.arange(1, len(at) + 1),
        "step": at,
        "train_loss": loss[at - 1],
        "valid_loss": valid,
        "best_valid_loss": np.fmin.accumulate(valid),
    }
    best = float(np.nanmin(valid))
    train = {
        "status": "diverged" if diverged else "completed",
        "steps": len(step),
        "best_valid_loss": best,
        "final_loss": None if diverged else float(loss[-1]),
        "seconds_per_step": 0.35,
        "parameters": 1000,
    }
    aggregate = {"SDR": {"mean": -best}, "si_snr_improvement": -best}
    return type(model)(
        **{
            **{field: getattr(model, field) for field in model.__dataclass_fields__},
            "train": train,
            "steps": pd.DataFrame(curves),
            "epochs": pd.DataFrame(epochs),
            "aggregate": aggregate,
        }
    )
