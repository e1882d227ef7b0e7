"""DVC's experiments, read as they are: nothing is checked out, the workspace stays as it was."""

import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dvc.api import DVCFileSystem
from dvc.repo import Repo
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.utils import exp_refs_by_baseline, exp_refs_by_names, fix_exp_head
from dvc.utils.serialize import load_yaml, parse_yaml
from scmrepo.exceptions import SCMError
from scmrepo.git.objects import GitObject

from metrics import choices
from metrics.errors import InputError
from metrics.experiments import Experiment
from metrics.report.results import LOCK, PARAMS, Workspace, value_at
from metrics.workspace import SPLEETER, SVOICE

RESULTS = {"spleeter": SPLEETER, "svoice": SVOICE}
TRAINED = ("train.json", "steps.csv", "epochs.csv", "environment.json")
SCORED = ("scores.json", "scores.csv")
CONF = "conf"
LAST_LINES = 12  # of the log of one that failed


class Found(NamedTuple):
    """A revision: the commit that holds it, how far DVC has come with it, and if it failed the last
    lines of its log."""

    commit: str
    state: str = "done"
    log: str = ""


def read(repository: Path, revisions: Sequence[str], folder: Path) -> list[Experiment]:
    """Reads experiments, commits, branches or tags into folders of their own below `folder`.

    Of one that DVC's queue has not brought to an end, there is the configuration alone. Results
    that an experiment only inherited (it ran the other model's stages) are not its own, and left
    out.

    Raises: `InputError` for a revision that there is not, or a file that is not what it should be.
    """
    with Repo(str(repository)) as repo:
        queued = unfinished(repo)
        found = [_find(repo, queued, revision) for revision in revisions]
        menus = [_menu(repo, each.commit, folder) for each in found]
    experiments = []
    for revision, menu, (commit, state, log) in zip(revisions, menus, found, strict=True):
        root = folder / commit
        files = DVCFileSystem(str(repository), rev=commit)
        _fetch(files, root, [PARAMS, LOCK])
        if state == "done":
            _fetch(files, root, _own(root))
        workspace = Workspace.read(root)
        implied = choices.implied(menu, workspace.params)
        experiments.append(Experiment(revision, commit, workspace, state, log, implied))
    return experiments


def _menu(repo: Repo, commit: str, folder: Path) -> Path:
    """A folder with what a commit's configuration was composed from: one folder for all commits
    that have the same."""
    for tree in repo.scm.get_tree_obj(commit).scandir():
        if tree.name == CONF and tree.isdir:
            menu = folder / f"{CONF}-{tree.sha}"
            if not menu.exists():
                _copy(tree, menu)
            return menu
    return folder / CONF  # which is not there


def _copy(tree: GitObject, target: Path) -> None:
    target.mkdir(parents=True)
    for each in tree.scandir():
        if each.isdir:
            _copy(each, target / each.name)
        elif each.name.endswith(".yaml"):
            with each.open("rb") as file:
                (target / each.name).write_bytes(file.read())


def states(repository: Path) -> dict[str, str]:
    """By name, how far DVC has come with each experiment that starts from the present commit:
    `done`, `queued`, `running` or `failed`."""
    with Repo(str(repository)) as repo:
        return states_at(repo, repo.scm.get_rev())


def states_at(repo: Repo, base: str) -> dict[str, str]:
    """As `states`, of the experiments that start from the commit `base`."""
    queued = {name: state for (name, at), (_, state) in unfinished(repo).items() if at == base}
    return queued | {ref.name: "done" for ref in exp_refs_by_baseline(repo.scm, {base})[base]}


def lost(repo: Repo, commit: str, stages: Collection[str]) -> list[str]:
    """The results which `stages` of an experiment have left, as far as a report needs them, that
    neither git nor DVC's cache nor its remote storage has any more.

    Args:
        commit: the experiment's.
    """
    git = repo.scm.get_fs(commit)
    needed = [
        str(results / name)
        for model, results in RESULTS.items()
        for verb, names in (("train", TRAINED), ("evaluate", SCORED))
        if f"{verb}_{model}" in stages
        for name in names
    ]
    text = git.open(str(LOCK)).read() if git.exists(str(LOCK)) else "{}"
    locked = parse_yaml(text, str(LOCK))
    outs = [out for stage in locked.get("stages", {}).values() for out in stage.get("outs", [])]
    cached = {out["path"] for out in outs if _in_cache(repo, out)}
    missing = [path for path in needed if not git.exists(path) and path not in cached]
    with tempfile.TemporaryDirectory() as folder:
        if missing:  # perhaps remote storage has it
            _fetch(DVCFileSystem(repo.root_dir, rev=commit), Path(folder), map(Path, missing))
        return [path for path in missing if not (Path(folder) / path).is_file()]


def _in_cache(repo: Repo, out: dict) -> bool:
    return bool(out.get("md5")) and Path(repo.cache.local.oid_to_path(out["md5"])).is_file()


def add(repository: Path, experiment: Experiment, paths: Sequence[Path]) -> None:
    """Adds more of an experiment's files to its folder."""
    files = DVCFileSystem(str(repository), rev=experiment.commit)
    _fetch(files, experiment.workspace.root, paths)


def _fetch(files: DVCFileSystem, root: Path, paths: Iterable[Path]) -> None:
    """A file that the cache has no more is as one that is not there."""
    for path in paths:
        target = root / path
        if target.exists() or not files.exists(str(path)):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(str(path), str(target))
        except FileNotFoundError:
            target.unlink(missing_ok=True)


def unfinished(repo: Repo) -> dict[tuple[str, str], tuple[QueueEntry, str]]:
    """What DVC's queue has not brought to a good end, by name and by the commit it starts from."""
    queue = repo.experiments.celery_queue
    entries = {
        "failed": (entry for entry, _ in queue.iter_failed()),
        "queued": queue.iter_queued(),
        "running": queue.iter_active(),
    }
    return {
        (entry.name, entry.baseline_rev): (entry, state)
        for state, found in entries.items()
        for entry in found
    }


def _find(repo: Repo, queued: dict, revision: str) -> Found:
    """Of one name, what starts from the present commit comes before a branch or a tag, and these
    come before what starts from another commit.

    Raises: `InputError` for a name that there is not, or that experiments from several other
        commits have.
    """
    head = repo.scm.get_rev()
    starts = {
        base: Found(entry.stash_rev, state, _last_lines(repo, entry) if state == "failed" else "")
        for (name, base), (entry, state) in queued.items()
        if name == revision
    }
    for ref in exp_refs_by_names(repo.scm, {revision})[revision]:
        starts[ref.baseline_sha] = Found(repo.scm.get_ref(str(ref)))
    if head in starts:
        return starts[head]
    try:
        return Found(repo.scm.resolve_rev(fix_exp_head(repo.scm, revision)))
    except SCMError as error:
        if not starts:
            raise InputError("REVS", repr(revision), "an experiment or a commit") from error
    if len(starts) > 1:
        each = [f"{found.commit[:7]}, from {base[:7]}" for base, found in sorted(starts.items())]
        raise InputError(
            "REVS",
            f"{revision!r}, which is ambiguous: {len(each)} experiments ({'; '.join(each)})",
            f"the commit of one of them, as {each[0][:7]}",
        )
    return next(iter(starts.values()))


def _last_lines(repo: Repo, entry: QueueEntry) -> str:
    process = repo.experiments.celery_queue.proc.get(entry.stash_rev)
    if process is None or not Path(process.stdout).is_file():
        return ""
    lines = Path(process.stdout).read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-LAST_LINES:])


def _own(root: Path) -> list[Path]:
    """The results that belong to the configuration in `root`: dvc.lock says what each stage ran
    with."""

    if not ((root / PARAMS).is_file() and (root / LOCK).is_file()):
        return []
    # DVC's own reader: in both files, 1e-8 and 1e-08 are the same number.
    params, stages = load_yaml(root / PARAMS), load_yaml(root / LOCK)["stages"]
    own = []
    for model, results in RESULTS.items():
        train, evaluate = (stages.get(f"{verb}_{model}", {}) for verb in ("train", "evaluate"))
        if not _ran_with(train, params):
            continue
        own += [results / name for name in TRAINED]
        if _ran_with(evaluate, params) and _of(evaluate, train, f"models/{model}"):
            own += [results / name for name in SCORED]
    return own


def _ran_with(stage: dict, params: dict) -> bool:
    ran_with = stage.get("params", {}).get(str(PARAMS), {})
    return bool(stage) and all(value_at(params, key) == ran for key, ran in ran_with.items())


def _of(evaluate: dict, train: dict, path: str) -> bool:
    """Whether what was evaluated is what was trained."""

    def checksum(entries: list[dict]) -> str | None:
        return next((entry.get("md5") for entry in entries if entry["path"] == path), None)

    return checksum(evaluate.get("deps", [])) == checksum(train.get("outs", []))
