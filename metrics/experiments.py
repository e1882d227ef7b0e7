"""DVC's experiments, read as they are: nothing is checked out, the workspace stays as it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import resolve_rev
from scmrepo.exceptions import SCMError

from metrics.errors import InputError
from metrics.report.results import PARAMS, Workspace
from metrics.workspace import SPLEETER, SVOICE

FILES = (
    PARAMS,
    Path("dvc.lock"),
    *(
        folder / name
        for folder in (SPLEETER, SVOICE)
        for name in (
            *("train.json", "steps.csv", "epochs.csv", "scores.json", "scores.csv"),
            "environment.json",
        )
    ),
)
CHOICES = ("optimizer", "schedule", "clipping")


@dataclass(frozen=True)
class Experiment:
    """What one experiment left. Files that it has not are `None` in its workspace."""

    name: str
    commit: str
    workspace: Workspace


def read(repository: Path, revisions: Sequence[str], folder: Path) -> list[Experiment]:
    """Reads experiments, commits, branches or tags into folders of their own below `folder`.

    Raises: `InputError` for a revision that there is not, or a file that is not what it should be.
    """
    with Repo(str(repository)) as repo:
        commits = [_commit(repo, revision) for revision in revisions]
    found = []
    for revision, commit in zip(revisions, commits, strict=True):
        root = folder / commit
        files = DVCFileSystem(str(repository), rev=commit)
        for path in FILES:
            if files.exists(str(path)):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                _fetch(files, path, root / path)
        found.append(Experiment(revision, commit, Workspace.read(root)))
    return found


def _commit(repo: Repo, revision: str) -> str:
    try:
        return resolve_rev(repo.scm, revision)
    except (DvcException, SCMError) as error:
        raise InputError("REVS", repr(revision), "an experiment or a commit") from error


def _fetch(files: DVCFileSystem, path: Path, target: Path) -> None:
    """A file that the cache has no more is as one that is not there."""
    try:
        files.get_file(str(path), str(target))
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def summary(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """One row per experiment × model: `experiment, commit, model, optimizer, schedule, clipping,
    seed, variant` (`variants`), `status` (that of train.json, or `missing`), `steps,
    best_valid_loss, final_loss, seconds_per_step`, `score` (dB: SDR of Spleeter, SI-SNR improvement
    of SVoice; None if there is none).
    """
    labels = variants([experiment.workspace.params for experiment in experiments])
    rows = []
    for experiment, variant in zip(experiments, labels, strict=True):
        params = experiment.workspace.params
        for model in experiment.workspace.models:
            train = model.train or {}
            rows.append(
                {
                    "experiment": experiment.name,
                    "commit": experiment.commit,
                    "model": model.key,
                    **{choice: params.get(choice, {}).get("name") for choice in CHOICES},
                    "seed": params.get("seed"),
                    "variant": variant,
                    "status": train.get("status", "missing"),
                    **{
                        key: train.get(key)
                        for key in ("steps", "best_valid_loss", "final_loss", "seconds_per_step")
                    },
                    "score": _score(model),
                }
            )
    return pd.DataFrame(rows)


def _score(model) -> float | None:
    aggregate = model.aggregate or {}
    if model.key == "spleeter":
        return aggregate.get("SDR", {}).get("mean")
    return aggregate.get("si_snr_improvement")


def curves(experiments: Sequence[Experiment], name: str) -> pd.DataFrame:
    """The rows of `steps` or `epochs` of all experiments, with `experiment` and `model` before."""
    frames = [
        frame.assign(experiment=experiment.name, model=model.key)
        for experiment in experiments
        for model in experiment.workspace.models
        if (frame := getattr(model, name)) is not None
    ]
    if not frames:
        return pd.DataFrame(columns=["experiment", "model", "step"])
    whole = pd.concat(frames, ignore_index=True)
    return whole[["experiment", "model", *whole.columns.drop(["experiment", "model"])]]


def variants(params: Sequence[dict]) -> list[str]:
    """A label for each configuration, of what differs between them: optimizer, schedule and
    clipping by name, other keys as `key=value`. The seed and where it ran make no other variant."""
    flat = [_flat(values) for values in params]
    keys = sorted({key for values in flat for key in values} - {"seed"})
    keys = [key for key in keys if not key.startswith("runtime.")]
    differing = [key for key in keys if len({str(values.get(key)) for values in flat}) > 1]
    named = [choice for choice in CHOICES if f"{choice}.name" in differing]
    # What a group holds follows from its name, unless the name alone does not tell them apart.
    others = [
        key
        for key in differing
        if not key.endswith(".name")
        and not _follows(flat, key, [f"{choice}.name" for choice in CHOICES])
    ]
    labels = []
    for values in flat:
        parts = [str(values.get(f"{choice}.name")) for choice in named]
        parts += [f"{key}={values[key]}" for key in others if key in values]
        labels.append(" · ".join(parts) or str(values.get("optimizer.name")))
    return labels


def _follows(flat: list[dict], key: str, names: list[str]) -> bool:
    """Whether a key's value is the same in all configurations with the same names."""
    seen = {}
    return all(
        seen.setdefault(tuple(values.get(name) for name in names), values.get(key))
        == values.get(key)
        for values in flat
    )


def _flat(values: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
