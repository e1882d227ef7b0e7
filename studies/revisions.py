"""Reads DVC's experiments as they are: nothing is checked out, the workspace is not touched."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dvc.api import DVCFileSystem
from dvc.repo import Repo
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.utils import exp_refs_by_baseline, exp_refs_by_names, fix_exp_head
from scmrepo.exceptions import SCMError
from scmrepo.git.objects import GitObject

from contract.dvc_lock import outputs
from contract.errors import InputError
from contract.layout import (
    CONF,
    CONFIGURATION,
    DETAILS,
    ENVIRONMENT,
    EPOCHS,
    LOCK,
    PARAMS,
    SCORES,
    SETTINGS,
    STEPS,
    TRAIN,
)
from contract.models import MODELS
from contract.yaml_files import parse_yaml, read_yaml, value_at, yaml_text
from report.experiments import Experiment
from report.results import Workspace
from studies import choices
from studies.queue_messages import QueueReader

TRAINING_FILES = (TRAIN, STEPS, EPOCHS, ENVIRONMENT)
SCORE_FILES = (DETAILS, SCORES)
LAST_LINES = 12  # how many lines of a failed experiment's log are shown

# Experiments that are in DVC's queue, or failed there, by their name and the commit that they start
# from: the entry of the queue and `queued`, `running` or `failed`.
Unfinished = dict[tuple[str, str], tuple[QueueEntry, str]]


# Settings of experiments by their names, and by keys such as `optimizer.svoice.lr`.
Settings = Mapping[str, Mapping[str, float]]


class Revision(NamedTuple):
    """A commit that holds an experiment, or any other.

    Attributes:
        commit: its hash.
        state: `done`, or what DVC's queue says: `queued`, `running` or `failed`.
        log: the last lines of a failed experiment's log.
    """

    commit: str
    state: str = "done"
    log: str = ""


class Elsewhere(NamedTuple):
    """An experiment that has no result, and that DVC's queue does not know.

    Attributes:
        state: `waiting`, `running` or `failed`.
        log: why it has failed, and the end of its log.
        settings: all of them, in Hydra's grammar.
    """

    state: str
    log: str
    settings: tuple[str, ...]


def read(
    repository: Path,
    names: Sequence[str],
    folder: Path,
    elsewhere: Mapping[str, Elsewhere] | None = None,
) -> list[Experiment]:
    """Reads experiments, commits, branches or tags, each into a folder of its own.

    Only the configuration is read of an experiment that is still in DVC's queue or failed there.
    Results that an experiment has inherited, because it ran the other model's stages alone, are not
    its own and left out.

    Args:
        repository: the root of the repository.
        names: what DVC or Git calls them.
        folder: where their folders are made.
        elsewhere: experiments without a result that run, or have failed, outside DVC's queue, by
            their names.

    Raises:
        InputError: a name means nothing or several things, or a file is invalid.
    """
    without_result = elsewhere or {}
    of_all, names = names, [name for name in names if name not in without_result]
    with Repo(str(repository)) as repo:
        in_queue = unfinished(repo)
        revisions = [_resolve(repo, in_queue, name) for name in names]
        menus = [_menu(repo, revision.commit, folder) for revision in revisions]
    experiments = []
    for name, menu, (commit, state, log) in zip(names, menus, revisions, strict=True):
        root = folder / commit
        files = _files_of(repository.resolve(), commit)
        _fetch(files, root, [CONFIGURATION, LOCK])
        if not (root / CONFIGURATION).is_file() and _is_old(files):
            problem = f"{name!r} has no {CONFIGURATION}: it was made before the project kept one"
            remedy = f"leave it out, or report it where it was made: `git checkout {commit[:7]}`"
            raise InputError("REVS", problem, remedy)
        if state == "done":
            _fetch(files, root, _own_results(root))
        workspace = Workspace.read(root)
        implied = choices.implied(menu, workspace.params)
        experiments.append(Experiment(name, commit, workspace, state, log, implied))
    by_name = {experiment.name: experiment for experiment in experiments}
    for name, experiment in without_result.items():
        by_name[name] = _without_result(name, experiment, folder)
    return [by_name[name] for name in of_all]


def _without_result(name: str, experiment: Elsewhere, folder: Path) -> Experiment:
    """Returns an experiment of which there is nothing but its settings."""
    params = choices.composed(CONF.absolute(), experiment.settings)
    implied = choices.implied(CONF.absolute(), params)
    root = folder / f"without-result-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    root.mkdir()
    (root / CONFIGURATION).write_text(yaml_text(params), encoding="utf-8")
    workspace = Workspace.read(root)
    return Experiment(name, "", workspace, experiment.state, experiment.log, implied)


def _is_old(files: DVCFileSystem) -> bool:
    """Returns whether a commit is of the time when params.yaml was the whole configuration."""
    if not files.exists(str(PARAMS)):
        return False
    params = parse_yaml(files.read_text(str(PARAMS)), PARAMS)
    return isinstance(params, dict) and isinstance(params.get("optimizer"), dict)


def _menu(repo: Repo, commit: str, folder: Path) -> Path:
    """Returns a copy of a commit's conf/, from which its configuration was composed.

    All commits with the same conf/ share one copy. If the commit has none, the path does not exist.
    """
    for tree in repo.scm.get_tree_obj(commit).scandir():
        if tree.name == CONF.name and tree.isdir:
            menu = folder / f"{CONF}-{tree.sha}"
            if not menu.exists():
                _copy_yaml_files(tree, menu)
            return menu
    return folder / CONF.name


def _copy_yaml_files(tree: GitObject, target: Path) -> None:
    target.mkdir(parents=True)
    for entry in tree.scandir():
        if entry.isdir:
            _copy_yaml_files(entry, target / entry.name)
        elif entry.name.endswith(".yaml"):
            with entry.open("rb") as file:
                (target / entry.name).write_bytes(file.read())


def states(repository: Path) -> dict[str, str]:
    """Returns the states of the experiments that start from the current commit.

    Args:
        repository: the root of the repository.

    Returns:
        `done`, `queued`, `running` or `failed` by the experiment's name.
    """
    with Repo(str(repository)) as repo:
        return states_at(repo, repo.scm.get_rev())


def states_at(repo: Repo, baseline: str) -> dict[str, str]:
    """Returns the states of the experiments that start from a commit, as `states` does.

    Args:
        repo: the repository.
        baseline: the commit.
    """
    in_queue = {
        name: state for (name, commit), (_, state) in unfinished(repo).items() if commit == baseline
    }
    refs = exp_refs_by_baseline(repo.scm, {baseline})[baseline]
    return in_queue | {ref.name: "done" for ref in refs}


def missing_results(repo: Repo, commit: str, stages: Collection[str]) -> list[str]:
    """Returns the results of an experiment that a report needs and that are lost.

    They are neither in Git nor in DVC's cache, nor in its remote storage.

    Args:
        repo: the repository.
        commit: the commit of the experiment.
        stages: the stages that it ran.

    Returns:
        Paths, relative to the repository.
    """
    missing = uncached_results(repo, commit, stages)
    with tempfile.TemporaryDirectory() as folder:
        if missing:  # remote storage may have them
            _fetch(DVCFileSystem(repo.root_dir, rev=commit), Path(folder), map(Path, missing))
        return [path for path in missing if not (Path(folder) / path).is_file()]


def uncached_results(repo: Repo, commit: str, stages: Collection[str]) -> list[str]:
    """Returns the results of an experiment that are neither in Git nor in DVC's cache.

    Args:
        repo: the repository.
        commit: the commit of the experiment.
        stages: the stages that it ran.

    Returns:
        Paths, relative to the repository.
    """
    git = repo.scm.get_fs(commit)
    needed = [
        str(model.results / name)
        for model in MODELS.values()
        for verb, names in (("train", TRAINING_FILES), ("evaluate", SCORE_FILES))
        if f"{verb}_{model.key}" in stages
        for name in names
    ]
    locked_outputs = outputs(read_file(repo, commit, LOCK))
    cached = {output["path"] for output in locked_outputs if _is_cached(repo, output)}
    return [path for path in needed if not git.exists(path) and path not in cached]


def incomplete_at(repo: Repo, done: Mapping[str, str], stages: set[str]) -> dict[str, str]:
    """Returns which results have been lost, by the name of an experiment that is done, in words.

    Args:
        repo: the repository.
        done: the commits of the experiments that are done, by their names.
        stages: the stages that each of them ran.
    """
    missing = {name: missing_results(repo, commit, stages) for name, commit in done.items()}
    return {
        name: f"DVC's cache has lost its {', '.join(paths)}"
        for name, paths in missing.items()
        if paths
    }


def outdated(repo: Repo, done: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Returns what is wrong, in words, with experiments that are done with other settings.

    Args:
        repo: the repository.
        done: the commits of the experiments that are done, by their names.
        settings: what they have to be done with.
    """
    outdated = {}
    for name in done.keys() & settings.keys():
        configuration = read_file(repo, done[name], CONFIGURATION)
        for key, value in settings[name].items():
            if (used := value_at(configuration, key)) != value:
                outdated[name] = f"it is done with {key}={used}, and is now to have {value}"
    return outdated


def read_file(repo: Repo, commit: str, path: Path) -> dict[str, Any]:
    """Returns a YAML file of a commit; nothing if it is not there.

    Args:
        repo: the repository.
        commit: its hash.
        path: the file, which Git holds.
    """
    git = repo.scm.get_fs(commit)
    if not git.exists(str(path)):
        return {}
    with git.open(str(path)) as file:
        return parse_yaml(file.read(), path)


def _is_cached(repo: Repo, output: Mapping[str, Any]) -> bool:
    md5 = output.get("md5")
    return bool(md5) and Path(repo.cache.local.oid_to_path(md5)).is_file()


def add_files(repository: Path, experiment: Experiment, paths: Sequence[Path]) -> None:
    """Adds more files of an experiment to its folder.

    Args:
        repository: the root of the repository.
        experiment: as `read` returns it.
        paths: relative to the repository. Those that the experiment does not have are left out.
    """
    _fetch(_files_of(repository.resolve(), experiment.commit), experiment.workspace.root, paths)


@lru_cache(maxsize=4)
def _files_of(repository: Path, commit: str) -> DVCFileSystem:
    """Returns the files of a commit, with those in DVC's cache.

    The last ones are kept, because DVC takes a good part of a second to read a commit's dvc.lock.
    """
    return DVCFileSystem(str(repository), rev=commit)


def _fetch(files: DVCFileSystem, root: Path, paths: Iterable[Path]) -> None:
    """Copies those files to `root` that are there and not lost from the cache."""
    for path in paths:
        target = root / path
        if target.exists() or not files.exists(str(path)):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(str(path), str(target))
        except FileNotFoundError:
            target.unlink(missing_ok=True)


def unfinished(repo: Repo) -> Unfinished:
    """Returns the experiments that are in DVC's queue, or failed there."""
    return {
        (entry.name, entry.baseline_rev): (entry, state)
        for _, entry, state in QueueReader().read(repo.experiments.celery_queue)
        if state != "done"
    }


def _resolve(repo: Repo, in_queue: Unfinished, name: str) -> Revision:
    """Returns the revision of a name.

    An experiment that starts from the current commit has priority over a branch or a tag, and that
    over an experiment that starts from another commit.

    Raises:
        InputError: there is no such revision, or experiments from several other commits have this
            name.
    """
    head = repo.scm.get_rev()
    by_baseline = {
        baseline: Revision(
            entry.stash_rev, state, _last_lines(repo, entry) if state == "failed" else ""
        )
        for (experiment, baseline), (entry, state) in in_queue.items()
        if experiment == name
    }
    for ref in exp_refs_by_names(repo.scm, {name})[name]:
        by_baseline[ref.baseline_sha] = Revision(repo.scm.get_ref(str(ref)))
    if head in by_baseline:
        return by_baseline[head]
    try:
        return Revision(repo.scm.resolve_rev(fix_exp_head(repo.scm, name)))
    except SCMError as error:
        if not by_baseline:
            problem = f"{name!r} is neither an experiment nor a commit"
            remedy = "see `dvc exp list --all-commits` and `git log`"
            raise InputError("REVS", problem, remedy) from error
    if len(by_baseline) > 1:
        commits = [
            f"{revision.commit[:7]} from {baseline[:7]}"
            for baseline, revision in sorted(by_baseline.items())
        ]
        problem = f"{len(commits)} experiments have the name {name!r} ({', '.join(commits)})"
        raise InputError("REVS", problem, f"name one by its commit, such as {commits[0][:7]}")
    return next(iter(by_baseline.values()))


def _last_lines(repo: Repo, entry: QueueEntry) -> str:
    """Returns the end of a failed experiment's log; an empty text if it has none."""
    process = repo.experiments.celery_queue.proc.get(entry.stash_rev)
    return "" if process is None else last_lines(Path(process.stdout))


def last_lines(path: Path) -> str:
    """Returns the last lines of a log that are not empty; an empty text if it is not there.

    Args:
        path: the log.
    """
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-LAST_LINES:])


def _own_results(root: Path) -> list[Path]:
    """Returns the results that belong to the configuration in a folder.

    dvc.lock says what each stage ran with, and what settings the configuration has for it.
    """
    if not ((root / CONFIGURATION).is_file() and (root / LOCK).is_file()):
        return []
    stages = read_yaml(root / LOCK)["stages"]
    settings = stages.get("settings", {})
    configuration = {"path": str(CONFIGURATION), "md5": _md5(root / CONFIGURATION)}
    if not _same(str(CONFIGURATION), settings.get("deps"), [configuration]):
        return []
    paths: list[Path] = []
    for model in MODELS.values():
        train, evaluate = (stages.get(f"{verb}_{model.key}", {}) for verb in ("train", "evaluate"))
        if not _ran_with(settings, train, f"train_{model.key}"):
            continue
        paths += [model.results / name for name in TRAINING_FILES]
        scored = _ran_with(settings, evaluate, f"evaluate_{model.key}")
        if scored and _same(str(model.weights), evaluate.get("deps"), train.get("outs")):
            paths += [model.results / name for name in SCORE_FILES]
    return paths


def _md5(path: Path) -> str:
    """Returns the hash under which DVC knows a file."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def _ran_with(settings: Mapping[str, Any], stage: Mapping[str, Any], name: str) -> bool:
    """Returns whether a stage of dvc.lock ran with the settings that the stage `settings` wrote."""
    return _same(str(SETTINGS / f"{name}.yaml"), stage.get("deps"), settings.get("outs"))


def _same(
    path: str,
    first: Iterable[Mapping[str, Any]] | None,
    second: Iterable[Mapping[str, Any]] | None,
) -> bool:
    """Returns whether two lists of files in dvc.lock hold the same version of a file."""
    versions = [
        {entry["md5"] for entry in entries or () if entry["path"] == path}
        for entries in (first, second)
    ]
    return versions[0] == versions[1] != set()
